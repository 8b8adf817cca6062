"""The authorized_keys file of an account (sshd(8)): rendered from values, and read back strictly."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from keys.core.algorithms import ALGORITHMS, refusal_for
from keys.core.characters import comment_from
from keys.core.errors import KeyProblem, Refusal
from keys.core.publickey import PublicKey
from keys.core.restrictions import UNRESTRICTED, Restrictions, restrictions_from
from keys.core.wire import decoded

HEADER = "# managed by SFTP Portal"
_TOKEN = re.compile(r"[0-9a-f]{16,32}")
_STAMPED = re.compile(rf"{HEADER} \| set (?P<version>[1-9][0-9]{{0,8}}) \| (?P<token>{_TOKEN.pattern})".encode("ascii"))


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which set of keys a file holds: its version, and a token that no other set ever had.

    A portal put back to an older state sees by it that the host has a set which it does not know. Raises ValueError
    for a version below 1 (or over 9 digits, which not every database holds) and for a token that is not 16 to 32
    lower-case hexadecimal digits.
    """

    version: int
    token: str

    def __post_init__(self) -> None:
        if not 1 <= self.version < 10**9 or not _TOKEN.fullmatch(self.token):
            raise ValueError("a version from 1 on, and a token of 16 to 32 hexadecimal digits")


@dataclass(frozen=True, slots=True)
class Entry:
    """One key that is let in, and from where and until when."""

    key: PublicKey
    restrictions: Restrictions = UNRESTRICTED

    def line(self) -> str:
        """One line of the file, no line end: options only for a key that has restrictions."""
        return f"{self.restrictions.options()} {self.key.line()}".lstrip()


class LineKind(Enum):
    """What a line of a file on a host is to us."""

    HEADER = "header"
    KEY = "key"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it stands, from 1. ``entry`` is there only if the line is exactly what we render for it."""

    number: int
    kind: LineKind
    raw: bytes
    entry: Entry | None = None


def render(entries: Iterable[PublicKey | Entry], stamp: Stamp | None = None) -> bytes:
    """The whole file: our header, then one line a key, each ended by LF. Without keys it lets nobody in."""
    return "".join(f"{line}\n" for line in (header_line(stamp), *(entry.line() for entry in entries))).encode("utf-8")


def header_line(stamp: Stamp | None) -> str:
    """The first line of a file, no line end."""
    return f"{HEADER} | set {stamp.version} | {stamp.token}" if stamp else HEADER


def stored_line(algorithm: str, blob: str, comment: str, options: str = "") -> str:
    """The line of a key that was checked when it was taken, from its stored parts (blob as base64), no line end.

    The same text that ``Entry.line`` gives, without the arithmetic of the key, of which thousands would take seconds.
    Raises KeyProblem for parts that could not make exactly one line of this type.
    """
    known = ALGORITHMS.get(algorithm)
    if known is None:
        raise refusal_for(algorithm)
    if not decoded(blob).startswith(known.prefix):
        raise Refusal.TYPE_MISMATCH.error()
    if comment != comment_from(comment):
        raise Refusal.CONTROL_CHARACTER.error()
    return f"{options} {algorithm} {blob} {comment}".strip()


def read(content: bytes) -> tuple[Line, ...]:
    """The lines of a file on a host. What ``render`` would not have written is foreign; never raises."""
    *lines, rest = content.split(b"\n")
    read_lines = [_read_line(number, raw) for number, raw in enumerate(lines, 1)]
    # A last line without its LF may be cut off: nobody can tell what it was to be.
    unended = [Line(len(lines) + 1, LineKind.FOREIGN, rest)] if rest else []
    return (*read_lines, *unended)


def stamp_of(content: bytes) -> Stamp | None:
    """The stamp in a file's first line; None if the file is not ours, or from before there were stamps."""
    header, end, _ = content.partition(b"\n")
    found = _STAMPED.fullmatch(header) if end else None
    return Stamp(int(found["version"]), found["token"].decode("ascii")) if found else None


def entries_in(lines: Iterable[Line]) -> tuple[Entry, ...]:
    """The keys that a file lets in as we understand it, with their restrictions: its own lines only."""
    return tuple(line.entry for line in lines if line.entry is not None)


def keys_in(lines: Iterable[Line]) -> tuple[PublicKey, ...]:
    """The keys of ``entries_in``."""
    return tuple(entry.key for entry in entries_in(lines))


def _read_line(number: int, raw: bytes) -> Line:
    if number == 1 and (raw == HEADER.encode("ascii") or _STAMPED.fullmatch(raw)):
        return Line(number, LineKind.HEADER, raw)
    entry = _entry_in(raw)
    return Line(number, LineKind.KEY if entry else LineKind.FOREIGN, raw, entry)


def _entry_in(raw: bytes) -> Entry | None:
    """The entry that is rendered as exactly these bytes."""
    text = raw.decode("utf-8", "replace")
    options, _, rest = text.partition(" ") if text.startswith("restrict") else ("", "", text)
    restrictions = restrictions_from(options) if options else UNRESTRICTED
    words = rest.split(" ", 2)
    if restrictions is None or len(words) < 2:
        return None
    try:
        entry = Entry(PublicKey.from_blob(decoded(words[1]), "".join(words[2:])), restrictions)
    except KeyProblem:
        return None
    return entry if entry.line().encode("utf-8") == raw else None
