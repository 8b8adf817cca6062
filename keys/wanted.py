"""What each account's file on its host should hold, for thousands of accounts at once.

One query whatever the number of accounts, and rows as plain values: model instances of 13,000 accounts
and their keys would cost seconds.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from itertools import groupby
from operator import itemgetter
from zoneinfo import ZoneInfo

from django.db.models import F, FilteredRelation, Q, QuerySet

from accounts.models import District

from .core.authorized_keys import Stamp, header_line, stored_line
from .core.drift import Known, Mark, digest_of
from .core.errors import KeyProblem
from .core.restrictions import Restrictions, combined, end_of_day
from .models import KeyFile
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
    forgiven_tokens: str
    read_at: datetime | None
    has_home: bool


_FILE = ("pk", "account_id", "account__username", "version", "networks", "account__district__state")
_FILE_KNOWN = ("account__district__time_zone", "host_version", "digest", "host_size", "host_modified")
_FILE_REST = ("state", "forgiven_tokens", "read_at", "has_home", "next_digest")
_KEY = ("algorithm", "blob", "comment", "networks", "expires_on", "fingerprint")


def wanted(files: QuerySet[KeyFile]) -> Iterator[Wanted]:
    """What the files should hold, ordered by account.

    One statement, so that all of it is of one moment: with the number of a set just saved and the keys of the set
    before, a file would be written, found as written, and be wrong.
    """
    usable = FilteredRelation("account__keys", condition=Q(account__keys__disabled=None))
    stamp = FilteredRelation("account__key_sets", condition=Q(account__key_sets__version=F("version")))
    rows = files.annotate(usable=usable, stamp=stamp).order_by("account_id", "usable__position")
    columns = (*_FILE, *_FILE_KNOWN, *_FILE_REST, "stamp__token", *(f"usable__{name}" for name in _KEY))
    for _, same in groupby(rows.values_list(*columns).iterator(ROWS), itemgetter(0)):
        yield _wanted(list(same))


def _wanted(rows: list[tuple]) -> Wanted:
    """Of the rows of one account: the file's columns, the same in each, then those of a key, or none."""
    pk, account_pk, username, version, networks, district_state, zone, host_version, digest, size, modified, *rest = (
        rows[0][: -len(_KEY)]
    )
    state, forgiven_tokens, read_at, has_home, next_digest, token = rest
    stamp = Stamp(version, token) if token is not None else None
    keys = [row[-len(_KEY) :] for row in rows if row[-1] is not None]
    usable = keys if district_state == District.State.ACTIVE else ()
    lines = [header_line(stamp), *filter(None, (_line(key, account_pk, tuple(networks), zone) for key in usable))]
    content = "".join(f"{line}\n" for line in lines).encode("utf-8")
    known = Known(host_version, digest, None if size is None else Mark(size, modified), next_digest)
    on_host = state == KeyFile.State.ON_HOST
    told = (known, on_host, forgiven_tokens, read_at, has_home)
    return Wanted(pk, account_pk, username, version, content, digest_of(content), *told)


def _line(key: tuple, account_pk: int, whole: tuple[str, ...], zone: str) -> str:
    """The key's line; empty for one that could not sign in either way, or is no longer valid."""
    algorithm, blob, comment, networks, expires_on, fingerprint = key
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
