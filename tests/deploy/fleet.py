"""Two hundred districts as rows of the database, their sets of keys, and what of them stands on a host."""

import base64
import hashlib
import os
from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.utils import timezone

from accounts.core.roles import Role
from accounts.models import District, Membership, SftpAccount, User
from hosts import vault
from hosts.connect import fingerprint
from hosts.models import Host
from keys.core.publickey import PublicKey
from keys.models import AccountKey, KeyFile, KeySet
from keys.wanted import wanted

from .host import SERVICE, OpensshHost

COUNT = 200
# Always the same numbers: a host never gives an account another user number, and a test's database begins anew.
FIRST = 5001
TEMPORARY = ".portal-tmp-"
NAMES = tuple(f"fleet{number}.k12.oh.us" for number in range(COUNT))

Contents = dict[str, bytes]


def host_columns(host: OpensshHost) -> dict[str, object]:
    """Of the row by which the portal knows this host."""
    return {
        "name": "whole",
        "kind": Host.Kind.OPENSSH,
        "address": "127.0.0.1",
        "port": host.port,
        "username": SERVICE,
        "host_key": host.host_key,
        "fingerprint": fingerprint(host.host_key),
        "client_key_sealed": vault.sealed(host.portal_key.read_bytes()).decode("ascii"),
    }


def fleet_make(row: Host, count: int = COUNT) -> None:
    """The districts with their accounts on that host, all without keys yet, and Dana, who administers them all."""
    numbers = range(FIRST, FIRST + count)
    places = list(zip(numbers, NAMES, strict=False))
    District.objects.bulk_create(
        District(pk=number, name=f"Fleet {number}", slug=f"fleet-{number}", domain=name) for number, name in places
    )
    SftpAccount.objects.bulk_create(
        SftpAccount(pk=number, district_id=number, host=row, username=name) for number, name in places
    )
    KeyFile.objects.bulk_create(KeyFile(pk=number, account_id=number) for number in numbers)
    KeySet.objects.bulk_create(KeySet(account_id=number, version=1, cause="account") for number in numbers)
    dana = User.objects.create(email="dana@fleet.example", name="Dana")
    role = Role.DISTRICT_ADMINISTRATOR
    Membership.objects.bulk_create(Membership(user=dana, district_id=number, role=role) for number in numbers)


def sets_save(wave: str, keys: int = 1) -> None:
    """New keys for every account in place of all it had, as if each district had saved its box."""
    files = list(KeyFile.objects.order_by("pk"))
    gone = {pk: [] for pk in (file.account_id for file in files)}
    for key in AccountKey.objects.all():
        gone[key.account_id].append({"fingerprint": key.fingerprint, "label": "Ed25519", "comment": key.comment})
    AccountKey.objects.all().delete()
    AccountKey.objects.bulk_create(_row(file.account_id, position, wave) for file in files for position in range(keys))
    at = timezone.now() - timedelta(minutes=1)
    for file in files:
        file.version += 1
        file.state, file.wanted, file.tries, file.next_try, file.code, file.reason = "waiting", at, 0, None, "", ""
    KeyFile.objects.bulk_update(files, ["version", "state", "wanted", "tries", "next_try", "code", "reason"])
    KeySet.objects.bulk_create(
        KeySet(account_id=file.account_id, version=file.version, cause="saved", at=at, removed=gone[file.account_id])
        for file in files
    )


def _row(account_pk: int, position: int, wave: str) -> AccountKey:
    key = public_key(f"{wave} {account_pk} {position}")
    return AccountKey(
        account_id=account_pk,
        position=position,
        algorithm=key.algorithm,
        blob=key.blob_base64,
        comment=key.comment,
        fingerprint=key.fingerprint,
    )


@cache
def public_key(seed: str) -> PublicKey:
    """An invented key, always the same of one seed."""
    private = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(seed.encode()).digest())
    line = private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    return PublicKey.from_blob(base64.b64decode(line.split()[1]), seed)


def contents() -> Contents:
    """By user name what each file should hold now."""
    return {one.username: one.content for one in wanted(KeyFile.objects.all())}


def standing(host: OpensshHost) -> Contents:
    """All that stands in the host's directory of keys."""
    return {path.name: path.read_bytes() for path in (host.root / "keys").iterdir() if path.is_file()}


def strays(host: OpensshHost) -> list[Path]:
    """What a push left behind, wherever the portal writes."""
    places = (host.root / name for name in ("keys", "requests", "answers", "claimed"))
    return [path for place in places for path in place.glob(f"{TEMPORARY}*")]


def time_passes(host: OpensshHost, minutes: int = 59) -> None:
    """What was left behind is as old as it is when the next hourly run comes."""
    for path in strays(host):
        moment = path.stat().st_mtime - minutes * 60
        os.utime(path, (moment, moment))


def check_whole(host: OpensshHost, *sets: Contents) -> None:
    """Every account has its file, and that is byte for byte one of these sets."""
    found = {name: content for name, content in standing(host).items() if not name.startswith(TEMPORARY)}
    assert found.keys() == sets[0].keys()
    broken = [name for name, content in found.items() if content not in [one[name] for one in sets]]
    assert not broken, {name: found[name] for name in broken[:3]}


def host_cleared(host: OpensshHost, but: Iterable[str] = ()) -> None:
    """Forgets all key files: a test's database knows nothing of the sets of the test before."""
    for place in ("keys", "requests", "answers"):
        for path in (host.root / place).iterdir():
            if path.is_file():
                path.unlink()
