"""The audit log's hash chain: each entry's digest covers the one before it, so a changed or lost entry shows."""

import hashlib
import json
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


def first_break(links: Iterable[tuple[Link, str]]) -> int | None:
    """The number of the first entry that does not follow from those before it, or None if all do.

    `links` are the entries in order, each with the digest stored beside it.
    """
    previous, expected = FIRST, 1
    for link, stored in links:
        if link.number != expected or digest(previous, link) != stored:
            return expected
        previous, expected = stored, expected + 1
    return None
