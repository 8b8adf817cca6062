"""Every account ever made, kept by root: which number a name has, for ever."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass

from hosts.core.errors import HostFault, NotThere
from hosts.core.paths import username

from .judging import Registered
from .places import Owned, content_of, publish, root_directory
from .settings import Places

FILE = b"accounts.json"
ALLOWANCE = b"allow-drop"
ALLOWANCE_SECONDS = 3600
LIMIT = 64 * 1024 * 1024
ROOT_ONLY = Owned(0, 0, 0o600)


@dataclass(frozen=True, slots=True)
class Registry:
    accounts: Mapping[str, Registered]

    def uid_of(self, name: str) -> int:
        """The number of an account, be it a former one: its data are kept. Raises NotThere, NotSafe.

        A name that was given up is no account's any more: its number would mean the account under its new name.
        """
        known = self.accounts.get(username(name))
        if known is None or known.renamed:
            raise NotThere(f"The host has no account “{name}”.")
        return known.uid

    def number_of(self, name: str) -> int | None:
        """The number a name was ever given, be it given up since."""
        known = self.accounts.get(name)
        return known.uid if known is not None else None

    @property
    def active(self) -> dict[str, int]:
        return {name: one.uid for name, one in self.accounts.items() if not one.former}

    @property
    def given_up(self) -> dict[int, list[str]]:
        """By user number the names its account had before."""
        found: dict[int, list[str]] = {}
        for name, one in self.accounts.items():
            if one.renamed:
                found.setdefault(one.uid, []).append(name)
        return found


def registry_read(places: Places) -> Registry:
    """What is registered. A file that cannot be understood stops everything: guessing would give numbers twice."""
    return _read(places, registry_stamp(places))


@functools.lru_cache(maxsize=1)
def _read(places: Places, stamp: tuple[int, int] | None) -> Registry:
    with root_directory(places.state) as state:
        content = content_of(state, FILE, LIMIT)
    if content is None:
        return Registry({})
    try:
        rows = json.loads(content)["accounts"]
        return Registry({name: _registered(row) for name, row in rows.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HostFault("The register of accounts on the host cannot be read. Restore it from a backup.") from error


def _registered(row: Mapping[str, int]) -> Registered:
    rest = bool(row.get("renamed", False)), int(row.get("dropped", 0)), int(row.get("since", 0))
    return Registered(int(row["uid"]), bool(row["former"]), *rest)


def _row(one: Registered) -> dict[str, int]:
    told = {"renamed": one.renamed, "dropped": one.dropped, "since": one.since}
    return {"uid": one.uid, "former": one.former, **{name: value for name, value in told.items() if value}}


def registry_write(places: Places, registry: Registry) -> None:
    rows = {name: _row(one) for name, one in sorted(registry.accounts.items())}
    content = json.dumps({"accounts": rows}, indent=0).encode("ascii")
    with root_directory(places.state) as state:
        publish(state, FILE, content, ROOT_ONLY)


def allowance_give(places: Places, count: int) -> None:
    """Allow the next list to drop that many accounts; good for an hour."""
    with root_directory(places.state) as state:
        publish(state, ALLOWANCE, str(count).encode("ascii"), ROOT_ONLY)


def allowance(places: Places) -> int:
    """How many accounts root has allowed the next list to drop; 0 if nothing was said or it is too long ago."""
    with root_directory(places.state) as state:
        try:
            age = time.time() - os.lstat(ALLOWANCE, dir_fd=state).st_mtime
        except FileNotFoundError:
            return 0
        content = content_of(state, ALLOWANCE, 20) or b""
    return int(content) if content.isdigit() and 0 <= age <= ALLOWANCE_SECONDS else 0


def allowance_use(places: Places) -> None:
    """It was for once."""
    with root_directory(places.state) as state, contextlib.suppress(FileNotFoundError):
        os.unlink(ALLOWANCE, dir_fd=state)


def registry_stamp(places: Places) -> tuple[int, int] | None:
    """Something that is another after each write of the register."""
    with root_directory(places.state) as state:
        try:
            status = os.lstat(FILE, dir_fd=state)
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns
