"""The audit log's hash chain: each entry's digest covers the one before it, so a changed or lost entry shows."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FIRST = "0" * 64


@dataclass(frozen=True, slots=True)
class Link:
    """What one entry says: `number` counts from 1, `at` is an ISO 8601 time in UTC, `details` is plain JSON."""

    number: int
    at: str
    action: str
    actor: str
    district: str
    subject: str
    details: Mapping[str, object]


def digest(previous: str, link: Link) -> str:
    """SHA-256 in hexadecimal over the digest before and the entry's values in one fixed written form."""
    told = [
        link.number,
        link.at,
        link.action,
        link.actor,
        link.district,
        link.subject,
        dict(link.details),
    ]
    written = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(f"{previous}\n{written}".encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the log at some time. Kept elsewhere, it proves later that nothing up to it was changed."""

    number: int
    digest: str

    def __str__(self) -> str:
        return f"{self.number}:{self.digest}"


START = Head(0, FIRST)
_WRITTEN = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")


def read_head(text: str) -> Head:
    """The head that was written as `number:digest`. Raises ValueError."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise ValueError("A head is the number of an entry, a colon, and 64 digits from 0 to f.")
    return Head(int(found[1]), found[2])


@dataclass(frozen=True, slots=True)
class Walk:
    """How far the entries follow from each other: all up to `end`; those after it are broken off at `broken_at`.

    `met` are the heads asked for that the way led through.
    """

    end: Head
    broken_at: int | None
    met: frozenset[Head]


def walk(links: Iterable[tuple[Link, str]], heads: Iterable[Head] = (), start: Head = START) -> Walk:
    """Goes along the entries behind `start`, each with the digest stored beside it, in order; keeps none."""
    wanted = frozenset(heads)
    end, met = start, wanted & {start}
    for link, stored in links:
        if link.number != end.number + 1 or digest(end.digest, link) != stored:
            return Walk(end, end.number + 1, met)
        end = Head(link.number, stored)
        met |= wanted & {end}
    return Walk(end, None, met)
