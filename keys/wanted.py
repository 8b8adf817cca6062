"""What each account's file on its host should hold, for thousands of accounts at once.

A fixed number of queries whatever the number of accounts, and rows as plain values: model instances of 13,000 accounts
and their keys would cost seconds.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from itertools import groupby
from operator import itemgetter
from zoneinfo import ZoneInfo

from django.db.models import F, QuerySet

from accounts.models import District

from .core.authorized_keys import Stamp, header_line, stored_line
from .core.drift import Known, Mark, digest_of
from .core.errors import KeyProblem
from .core.restrictions import Restrictions, combined, end_of_day
from .models import AccountKey, KeyFile, KeySet
from .selectors import networks_of

logger = logging.getLogger(__name__)
# Rows fetched at a time: what is in memory stays the same however many accounts there are.
ROWS = 2000


@dataclass(frozen=True, slots=True)
class Wanted:
    """One account's file: what it should hold, and what was last read back from the host."""

    file_pk: int
    account_pk: int
    username: str
    version: int
    content: bytes
    digest: str
    known: Known
    on_host: bool
    forgiven_token: str
    read_at: datetime | None


_FILE = ("pk", "account_id", "account__username", "version", "networks", "account__district__state")
_FILE_KNOWN = ("account__district__time_zone", "host_version", "digest", "host_size", "host_modified")
_FILE_REST = ("state", "forgiven_token", "read_at")
_KEY = ("account_id", "algorithm", "blob", "comment", "networks", "expires_on", "fingerprint")


def wanted(files: QuerySet[KeyFile]) -> Iterator[Wanted]:
    """What the files should hold, ordered by account. Three queries, read side by side."""
    rows = files.order_by("account_id").values_list(*_FILE, *_FILE_KNOWN, *_FILE_REST)
    accounts = files.values("account_id")
    keys = AccountKey.objects.filter(account__in=accounts, disabled=None).order_by("account_id", "position")
    stamps = KeySet.objects.filter(account__in=accounts, version=F("account__key_file__version"))
    keys_by_account = _Beside(keys.values_list(*_KEY).iterator(ROWS))
    stamp_by_account = _Beside(
        stamps.order_by("account_id").values_list("account_id", "version", "token").iterator(ROWS)
    )
    for row in rows.iterator(ROWS):
        stamp = [Stamp(version, token) for _, version, token in stamp_by_account.of(row[1])]
        yield _wanted(row, keys_by_account.of(row[1]), stamp[0] if stamp else None)


class _Beside:
    """Rows sorted by their first column, taken group by group beside another list in the same order."""

    def __init__(self, rows: Iterable[tuple]) -> None:
        self._groups = groupby(rows, itemgetter(0))
        self._next: tuple[int, list[tuple]] | None = self._group()

    def of(self, number: int) -> list[tuple]:
        while self._next is not None and self._next[0] < number:
            self._next = self._group()
        return self._next[1] if self._next is not None and self._next[0] == number else []

    def _group(self) -> tuple[int, list[tuple]] | None:
        found = next(self._groups, None)
        return (found[0], list(found[1])) if found else None


def _wanted(row: tuple, keys: list[tuple], stamp: Stamp | None) -> Wanted:
    pk, account_pk, username, version, networks, district_state, zone, host_version, digest, size, modified, *rest = row
    state, forgiven_token, read_at = rest
    usable = keys if district_state == District.State.ACTIVE else ()
    lines = [header_line(stamp), *filter(None, (_line(key, tuple(networks), zone) for key in usable))]
    content = "".join(f"{line}\n" for line in lines).encode("utf-8")
    known = Known(host_version, digest, None if size is None else Mark(size, modified))
    on_host = state == KeyFile.State.ON_HOST
    return Wanted(
        pk, account_pk, username, version, content, digest_of(content), known, on_host, forgiven_token, read_at
    )


def _line(key: tuple, whole: tuple[str, ...], zone: str) -> str:
    """The key's line; empty for one that could not sign in either way, or is no longer valid."""
    account_pk, algorithm, blob, comment, networks, expires_on, fingerprint = key
    options = _options(whole, tuple(networks), expires_on, zone)
    try:
        return "" if options is None else stored_line(algorithm, blob, comment, options)
    except KeyProblem as problem:
        logger.error("Key %s of account %s is not written to its host: %s", fingerprint, account_pk, problem.code)
        return ""


def _options(whole: tuple[str, ...], own: tuple[str, ...], expires_on: date | None, zone: str) -> str | None:
    if not (whole or own or expires_on):
        return ""
    return _restrictions(whole, own, expires_on, zone)


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _restrictions(whole: tuple[str, ...], own: tuple[str, ...], expires_on: date | None, zone: str) -> str | None:
    networks = combined(networks_of(whole), networks_of(own))
    if networks is None:
        return None
    expires = end_of_day(expires_on, _zone(zone)) if expires_on else None
    return Restrictions(networks, expires).options()
