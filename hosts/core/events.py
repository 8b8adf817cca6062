"""The connection log: one JSON object a line, each a sign-in, an attempt at one, or a session's end by the host.

Keys are told by their fingerprints; only a refused one may be told whole, for somebody to ask for it.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from .paths import USERNAME, shown

TEXT_LIMIT = 100  # characters of anything a client says about itself
OFFERED_LIMIT = 10
LINE_LIMIT = 8192  # bytes
KEYS_LIMIT = 4096  # characters of public keys in one line


class Kind(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    SHELL_REFUSED = "shell-refused"
    ENDED = "ended"


class BadLine(ValueError):
    """The line is not an event."""


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the connection log.

    `username` and `client` are display forms, cut where they are no valid name; `at` is aware, in UTC;
    `fingerprint` is the key that was accepted, or the one that made the refusal; `offered` all keys offered
    by a refused client; `reason` a slug of `signin.Reason`, for `ended` of `signin.Ending`, or `shell-refused`
    with what was tried in `tried`. `keys` are offered public keys as `algorithm base64`; `mark` names the event, where
    its writer could come to write it twice.
    """

    kind: Kind
    at: datetime
    username: str
    address: str
    port: int
    client: str
    fingerprint: str = ""
    reason: str = ""
    offered: tuple[str, ...] = ()
    tried: str = ""
    keys: tuple[str, ...] = ()
    mark: str = ""

    @property
    def accepted(self) -> bool:
        return self.kind is Kind.ACCEPTED


def shown_username(raw: bytes) -> str:
    """What a client gave as user name, fit for the log: a valid name whole, anything else escaped and cut."""
    text = raw.decode("utf-8", "surrogateescape")
    return text if USERNAME.fullmatch(text) else shown(text, TEXT_LIMIT)


def event_line(event: Event) -> bytes:
    """The event as one line of ASCII with its line end."""
    data = {
        "kind": event.kind.value,
        "at": event.at.astimezone(UTC).isoformat(timespec="milliseconds"),
        "username": event.username,
        "address": event.address,
        "port": event.port,
        "client": event.client[: TEXT_LIMIT + 1],
        "fingerprint": event.fingerprint,
        "reason": event.reason,
        "offered": list(event.offered[:OFFERED_LIMIT]),
        "tried": event.tried,
        "mark": event.mark,
        "keys": _keys_within(event.keys),
    }
    return json.dumps({name: value for name, value in data.items() if value}).encode("ascii") + b"\n"


def _keys_within(keys: tuple[str, ...]) -> list[str]:
    """The first of the keys, as many as leave the line well below its limit."""
    sizes = itertools.accumulate(len(key) for key in keys)
    return [key for key, size in zip(keys, sizes, strict=True) if size <= KEYS_LIMIT]


def event_of(line: bytes) -> Event:
    """The event of one line. Raises BadLine for anything that `event_line` would not write."""
    try:
        data = json.loads(line) if len(line) <= LINE_LIMIT else None
        at = datetime.fromisoformat(_text(data, "at"))
        kind = Kind(_text(data, "kind"))
        if at.tzinfo is None:
            raise BadLine("time without a zone")
        at = at.astimezone(UTC)
    except (ValueError, RecursionError, OverflowError) as error:  # the last: beyond the year 9999 or before 1
        raise BadLine("not an event") from error
    return Event(
        kind=kind,
        at=at,
        username=_text(data, "username"),
        address=_text(data, "address"),
        port=_port(data),
        client=_text(data, "client"),
        fingerprint=_text(data, "fingerprint"),
        reason=_text(data, "reason"),
        offered=_texts(data, "offered"),
        tried=_text(data, "tried"),
        keys=_texts(data, "keys"),
        mark=_text(data, "mark"),
    )


def _text(data: object, name: str) -> str:
    value = data.get(name, "") if isinstance(data, dict) else None
    if not isinstance(value, str) or not value.isprintable():
        raise BadLine(f"{name} is not a plain text")
    return value


def _texts(data: object, name: str) -> tuple[str, ...]:
    value = data.get(name, []) if isinstance(data, dict) else None
    if not isinstance(value, list) or not all(isinstance(text, str) and text.isprintable() for text in value):
        raise BadLine(f"{name} is not a list of plain texts")
    return tuple(value)


def _port(data: object) -> int:
    value = data.get("port", 0) if isinstance(data, dict) else None
    if type(value) is not int or not 0 <= value <= 65535:
        raise BadLine("port is not a port")
    return value
