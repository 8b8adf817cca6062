"""Which lines of a pushed authorized_keys file let somebody in.

A strict reader of the AUTHORIZED_KEYS FILE FORMAT of sshd(8). A line is `algorithm base64 [comment]`,
optionally after the options `restrict`, `from="..."` and `expiry-time="..."`. Whatever else a line says, the
line is refused: an option we do not understand may have been meant to forbid something.
"""

from __future__ import annotations

import binascii
import ipaddress
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

ALGORITHMS = frozenset(
    {
        "ssh-rsa",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "ssh-ed25519",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    }
)
FILE_LIMIT = 1024 * 1024
_OPTION = re.compile(r'(?P<name>[A-Za-z0-9-]+)(?:="(?P<value>[^"\\]*)")?(?P<more>,|[ \t]+)')
_TIME = re.compile(r"(?P<digits>[0-9]+)(?P<utc>Z|UTC)?", re.IGNORECASE | re.ASCII)
# sshd takes a time of zero for a mistake; a day more for the host's zone.
_NO_TIME = datetime(1970, 1, 2)
_TIME_FORMATS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Pattern:
    """One entry of `from=`: a network, or a text with `*` and `?` that is held against the address."""

    negated: bool
    network: Network | None
    text: str

    def matches(self, address: Address) -> bool:
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        return _glob(self.text, str(address))


@dataclass(frozen=True, slots=True)
class KeyLine:
    """One line that names a key. `expires` without a time zone is meant in the host's own."""

    algorithm: str
    blob: bytes
    sources: tuple[Pattern, ...] = ()
    expires: datetime | None = None

    def expired(self, now: datetime) -> bool:
        """Whether the line's time is over. `now` is aware, in the host's time zone."""
        if self.expires is None:
            return False
        second = now.replace(microsecond=0)  # sshd counts whole seconds: the one that is named still holds
        return self.expires < (second if self.expires.tzinfo else second.replace(tzinfo=None))

    def allows(self, address: Address) -> bool:
        """Whether `from=` (if any) has the address; one negated match forbids, as PATTERNS in ssh_config(5)
        has it."""
        matching = [source for source in self.sources if source.matches(address)]
        return not self.sources or (bool(matching) and not any(source.negated for source in matching))


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """A line that lets nobody in: its number (from 1) and why."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class KeyFile:
    lines: tuple[KeyLine, ...]
    refused: tuple[RefusedLine, ...]


class _BadLine(ValueError):
    pass


def read_keyfile(content: bytes) -> KeyFile:
    """Read an authorized_keys file. Never raises; a file over FILE_LIMIT bytes holds no key."""
    if len(content) > FILE_LIMIT:
        return KeyFile((), (RefusedLine(1, "file too large"),))
    lines: list[KeyLine] = []
    refused: list[RefusedLine] = []
    for number, raw in enumerate(content.split(b"\n"), 1):
        text = raw.removesuffix(b"\r").decode("latin-1").strip(" \t")
        if not text or text.startswith("#"):
            continue
        try:
            lines.append(_line(text))
        except _BadLine as bad:
            refused.append(RefusedLine(number, str(bad)))
    return KeyFile(tuple(lines), tuple(refused))


def _line(text: str) -> KeyLine:
    if any(ord(character) < 32 and character != "\t" for character in text):
        raise _BadLine("control character")
    first, rest = _split(text)
    if first in ALGORITHMS:
        return KeyLine(first, _blob(first, rest))
    rest, sources, expires = _options(text)
    algorithm, rest = _split(rest)
    if algorithm not in ALGORITHMS:
        raise _BadLine("no key of a known type")
    return KeyLine(algorithm, _blob(algorithm, rest), sources, expires)


def _split(text: str) -> tuple[str, str]:
    parts = re.split(r"[ \t]+", text, maxsplit=1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def _blob(algorithm: str, rest: str) -> bytes:
    """The key's blob (RFC 4253 section 6.6); it must name the same algorithm as the line."""
    text = _split(rest)[0].encode("latin-1")
    try:
        blob = binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        raise _BadLine("not base64") from None
    if binascii.b2a_base64(blob, newline=False) != text:
        raise _BadLine("not base64")
    name = algorithm.encode("ascii")
    if not blob.startswith(struct.pack(">I", len(name)) + name):
        raise _BadLine("key type and key differ")
    return blob


def _options(text: str) -> tuple[str, tuple[Pattern, ...], datetime | None]:
    """Read the options at the start; returns what follows them, and their meaning."""
    sources: tuple[Pattern, ...] | None = None
    expires: list[datetime] = []
    words = list(_option_words(text))
    for name, value, _ in words:
        match name.lower(), value:
            case "restrict", None:
                pass
            case "from", str() if sources is None:
                sources = tuple(_pattern(entry) for entry in value.split(","))
            case "expiry-time", str():
                expires.append(_time(value))
            case _:
                raise _BadLine("unknown or repeated option")
    return text[words[-1][2] :], sources or (), _earliest(expires)


def _option_words(text: str) -> Iterator[tuple[str, str | None, int]]:
    position = 0
    while True:
        found = _OPTION.match(text, position)
        if found is None:
            raise _BadLine("no key of a known type, and no options either")
        position = found.end()
        yield found["name"], found["value"], position
        if found["more"] != ",":
            return


def _earliest(times: list[datetime]) -> datetime | None:
    # One with and one without a zone cannot be compared without knowing the host's zone: refuse, nobody needs
    # it.
    if len({time.tzinfo for time in times}) > 1:
        raise _BadLine("expiry times of two kinds")
    return min(times, default=None)


def _time(text: str) -> datetime:
    found = _TIME.fullmatch(text)
    shape = _TIME_FORMATS.get(len(found["digits"])) if found else None
    if found is None or shape is None:
        raise _BadLine("not an expiry time")
    try:
        moment = datetime.strptime(found["digits"], shape)
    except ValueError:
        raise _BadLine("not an expiry time") from None
    if moment <= _NO_TIME:
        raise _BadLine("not an expiry time")
    return moment.replace(tzinfo=UTC) if found["utc"] else moment


def _pattern(entry: str) -> Pattern:
    """One entry of `from=`.

    A network with host bits set, or a wrong mask, refuses the line as it does in sshd.
    """
    text = entry.removeprefix("!")
    negated = text != entry
    if not text:
        raise _BadLine("empty entry in from")
    if "/" not in text and ("*" in text or "?" in text):
        return Pattern(negated, None, text.lower())
    try:
        if "/" in text and not re.fullmatch(r"[0-9]{1,3}", text.rpartition("/")[2]):
            raise ValueError
        return Pattern(negated, ipaddress.ip_network(text), text)
    except ValueError:
        if "/" in text:
            raise _BadLine("not a network in from") from None
    return Pattern(negated, None, text.lower())


def _glob(pattern: str, text: str) -> bool:
    """Match `*` and `?`, in time bounded by the product of the lengths whatever the pattern."""
    at, star, mark, place = 0, -1, 0, 0
    while place < len(text):
        if at < len(pattern) and pattern[at] in ("?", text[place]):
            at, place = at + 1, place + 1
        elif at < len(pattern) and pattern[at] == "*":
            star, mark, at = at, place, at + 1
        elif star >= 0:
            at, mark = star + 1, mark + 1
            place = mark
        else:
            return False
    return set(pattern[at:]) <= {"*"}
