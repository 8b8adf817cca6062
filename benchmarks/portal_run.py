"""A whole run of the portal over one OpenSSH host, in a process of its own: called by `propagation.py`.

It makes so many districts with one to three keys each in a database of its own (SQLite), runs what the hourly task
runs, and prints one JSON object: seconds and CPU seconds of deciding what each file should hold, its queries, seconds
of each kind of run with what it wrote, and the most memory the process ever took, Celery's imports included.

Homes are taken for made: that is the work of the host's own helper, told when accounts come or go. A run asks it
whether all are there, and does its own work meanwhile: that question is left out.
"""

import argparse
import base64
import functools
import hashlib
import json
import os
import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
os.environ |= {"DJANGO_SETTINGS_MODULE": "portal.settings", "LOG_LEVEL": "ERROR"}

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

import portal.celery  # noqa: E402, F401 a worker has it in memory too
from accounts.models import District, SftpAccount  # noqa: E402
from hosts import connect  # noqa: E402
from hosts.core.accountlist import list_digest  # noqa: E402
from hosts.models import Host  # noqa: E402
from keys import propagation, telling  # noqa: E402
from keys.models import AccountKey, KeyFile, KeySet, PropagationRun  # noqa: E402
from keys.wanted import wanted  # noqa: E402

ROUNDS = 3


def districts_make(host: Host, count: int) -> None:
    """So many active districts, each with one to three Ed25519 keys that were just saved."""
    chance = random.Random(1)
    names = [f"district-{number:05}.k12.us" for number in range(count)]
    made = District.objects.bulk_create(
        District(name=name, slug=name[:31], domain=name, state=District.State.ACTIVE) for name in names
    )
    accounts = SftpAccount.objects.bulk_create(
        SftpAccount(district=one, host=host, username=one.domain) for one in made
    )
    KeyFile.objects.bulk_create(KeyFile(account=account) for account in accounts)
    KeySet.objects.bulk_create(KeySet(account=one, version=1, cause=KeySet.Cause.ACCOUNT) for one in accounts)
    rows = (_key(account, at, chance) for account in accounts for at in range(chance.randint(1, 3)))
    AccountKey.objects.bulk_create(rows, batch_size=500)


def _key(account: SftpAccount, position: int, chance: random.Random) -> AccountKey:
    blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + chance.randbytes(32)
    print_of = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return AccountKey(
        account=account,
        position=position,
        algorithm="ssh-ed25519",
        blob=base64.b64encode(blob).decode(),
        comment=f"nightly export {position}",
        fingerprint=f"SHA256:{print_of}",
    )


def deciding() -> dict[str, Any]:
    """What each file should hold, for all accounts."""
    with CaptureQueriesContext(connection) as queries:
        files = sum(1 for _ in wanted(KeyFile.objects.all()))
    rounds = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        for _one in wanted(KeyFile.objects.all()):
            pass
        rounds.append((time.process_time() - cpu, time.perf_counter() - wall))
    cpu, wall = sorted(rounds)[ROUNDS // 2]
    return {"files": files, "queries": len(queries), "cpu": cpu, "wall": wall}


def run(*, thorough: bool = False) -> dict[str, Any]:
    """One run over all accounts, as the hourly task does it."""
    row = PropagationRun.objects.create(cause=PropagationRun.Cause.HOURLY, thorough=thorough)
    wall, cpu = time.perf_counter(), time.process_time()
    propagation.run_do(row.pk)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    row.refresh_from_db()
    told = {"written": row.written, "unchanged": row.unchanged, "failed": row.failed}
    if row.failed or row.state != PropagationRun.State.DONE:
        raise SystemExit(f"the run did not end well: {told} {row.hosts.get().reason}")
    return {"wall": wall, "cpu": cpu, **told}


def memory() -> float:
    """The most memory this process has taken so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("root", help="where the tree is that the host's SFTP server shows")
    parser.add_argument("host", help="the host's row as JSON")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    host = Host.objects.create(**json.loads(options.host))
    child = os.fork()
    if child == 0:  # so that making the rows leaves no memory behind
        districts_make(host, options.count)
        os._exit(0)
    if os.waitpid(child, 0)[1]:
        raise SystemExit("the districts were not made")
    connection.close()
    host.accounts_digest = list_digest(telling.wished(host))
    host.save()
    telling.Roster.ask = lambda roster: None  # type: ignore[method-assign]
    connect.RemoteFiles = functools.partial(connect.RemoteFiles, root=os.fsencode(options.root))  # type: ignore[misc]
    told: dict[str, Any] = {"idle": memory(), "deciding": deciding()}
    told["first push"] = run()
    told["nothing changed"] = run()
    told["every file read"] = run(thorough=True)
    some = list(KeyFile.objects.order_by("?")[:50])
    for file in some:
        KeyFile.objects.filter(pk=file.pk).update(version=2, state=KeyFile.State.WAITING)
        KeySet.objects.create(account_id=file.account_id, version=2, cause=KeySet.Cause.ACCOUNT)
    told["50 changed"] = run()
    print(json.dumps({**told, "memory": memory()}))


if __name__ == "__main__":
    main()
