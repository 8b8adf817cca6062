"""Which request does what: one untrusted JSON object in, one JSON object out."""

from __future__ import annotations

import base64
import functools
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict

from hosts.core.errors import HostError, HostFault
from hosts.core.paths import name_bytes, shown
from hosts.local import translate

from . import VERSION
from .accounts import accounts, accounts_same
from .claims import claim
from .judging import BadRequest, Plan
from .processes import sessions_end
from .registry import registry_read
from .renaming import rename
from .settings import Host
from .uploads import look, read

Fields = Mapping[str, object]
Answer = dict[str, object]

NUMBER_LIMIT = 2**63
SSH = "/usr/bin/ssh"  # of the same source package as sshd, which does not tell its version without an error


def answer(host: Host, operation: object) -> Answer:
    """What one operation comes to. Never raises: an error is an answer too, with a code and a sentence."""
    try:
        if not isinstance(operation, dict):
            raise BadRequest("An operation is a JSON object.")
        do = OPERATIONS.get(text(operation, "op"))
        if do is None:
            raise BadRequest("There is no such operation.")
        return do(host, operation)
    except HostError as error:
        return refused(error)
    except OSError as error:
        return refused(translate(error, _named(operation)))
    except Exception:  # the next request must be served whatever this one met
        traceback.print_exc(file=sys.stderr)
        return refused(HostFault("The host's helper failed at this; its log says why."))


def refused(error: HostError) -> Answer:
    return {"error": error.code, "message": error.message}


def _named(operation: object) -> str:
    """What a system error is told of: the entry, else the account."""
    if not isinstance(operation, dict):
        return ""
    path = operation.get("path")
    last = path[-1] if isinstance(path, list) and path else None
    named = (last, operation.get("name"), operation.get("account"), operation.get("new"))
    found = next((one for one in named if isinstance(one, str)), "")
    return shown(found, 80)


def text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise BadRequest(f"“{name}” must be a text.")
    return value


def number(fields: Fields, name: str, least: int) -> int:
    value = fields.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < NUMBER_LIMIT:
        raise BadRequest(f"“{name}” must be a whole number from {least} up.")
    return value


def parts(fields: Fields, name: str) -> tuple[str, ...]:
    value = fields.get(name)
    if not isinstance(value, list) or not all(isinstance(part, str) for part in value):
        raise BadRequest(f"“{name}” must be a list of names.")
    return tuple(value)


def _account(host: Host, fields: Fields) -> tuple[str, int]:
    name = text(fields, "account")
    return name, registry_read(host.places).uid_of(name)


def _accounts(host: Host, fields: Fields) -> Answer:
    plan, ended = accounts(host, fields.get("accounts"))
    for one in plan.damaged:
        print(f"The account {one.name} stays as it is. {one.message}", file=sys.stderr, flush=True)
    return {**_plan_told(plan), "ended": ended}


def _accounts_same(host: Host, fields: Fields) -> Answer:
    return {"same": accounts_same(host, text(fields, "digest"))}


def _plan_told(plan: Plan) -> Answer:
    return {
        "made": [account.name for account in plan.made],
        "removed": [account.name for account in plan.removed],
        "unchanged": len(plan.kept),
        "refused": [asdict(refusal) for refusal in plan.refused],
        "damaged": [asdict(refusal) for refusal in plan.damaged],
    }


def _rename(host: Host, fields: Fields) -> Answer:
    renamed, ended = rename(host, text(fields, "old"), text(fields, "new"), number(fields, "uid", 0))
    return {"renamed": renamed, "ended": ended}


def _look(host: Host, fields: Fields) -> Answer:
    return look(host, *_account(host, fields))


def _read(host: Host, fields: Fields) -> Answer:
    name, _ = _account(host, fields)
    data, size = read(host, name, parts(fields, "path"), number(fields, "offset", 0), number(fields, "length", 1))
    return {"data": base64.b64encode(data).decode("ascii"), "size": size}


def _claim(host: Host, fields: Fields) -> Answer:
    account, uid = _account(host, fields)
    name = text(fields, "name")
    name_bytes(name)
    return claim(host, account, uid, name, number(fields, "number", 1))


def _end(host: Host, fields: Fields) -> Answer:
    return {"ended": sessions_end(*_account(host, fields))}


def _about(host: Host, fields: Fields) -> Answer:
    return about(host)


def about(host: Host) -> Answer:
    """Versions, the range of user numbers, how many accounts there are, the room left, and the time here."""
    space = os.statvfs(host.places.tree)
    return {
        "helper": VERSION,
        "openssh": _openssh(os.stat(SSH).st_mtime_ns),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "accounts": len(registry_read(host.places).active),
        "uid_first": host.settings.uid_first,
        "uid_last": host.settings.uid_last,
        "keys_group": host.portal.keys_gid,
        "free": space.f_bavail * space.f_frsize,
        "total": space.f_blocks * space.f_frsize,
        "free_files": space.f_favail,
        "time": int(time.time()),
    }


@functools.lru_cache(maxsize=1)
def _openssh(stamp: int) -> str:
    done = subprocess.run([SSH, "-V"], capture_output=True, text=True, timeout=10, check=False)
    return done.stderr.strip().partition(",")[0]


OPERATIONS: dict[str, Callable[[Host, Fields], Answer]] = {
    "accounts": _accounts,
    "accounts-same": _accounts_same,
    "rename": _rename,
    "look": _look,
    "read": _read,
    "claim": _claim,
    "end": _end,
    "about": _about,
}
