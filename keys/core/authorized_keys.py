"""The authorized_keys file of an account (sshd(8)): rendered from values, and read back strictly."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from keys.core.errors import KeyProblem
from keys.core.publickey import PublicKey
from keys.core.wire import decoded

HEADER = "# managed by SFTP Portal"


class LineKind(Enum):
    """What a line of a file on a host is to us."""

    HEADER = "header"
    KEY = "key"
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it stands, from 1. ``key`` is there only if the line is exactly what we render for it."""

    number: int
    kind: LineKind
    raw: bytes
    key: PublicKey | None = None


def render(keys: Iterable[PublicKey]) -> bytes:
    """The whole file: our header, then one line a key, each ended by LF. Without keys it lets nobody in."""
    lines = [HEADER, *(key.line() for key in keys)]
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def read(content: bytes) -> tuple[Line, ...]:
    """The lines of a file on a host. What ``render`` would not have written is foreign; never raises."""
    *lines, rest = content.split(b"\n")
    read_lines = [_read_line(number, raw) for number, raw in enumerate(lines, 1)]
    # A last line without its LF may be cut off: nobody can tell what it was to be.
    unended = [Line(len(lines) + 1, LineKind.FOREIGN, rest)] if rest else []
    return (*read_lines, *unended)


def keys_in(lines: Iterable[Line]) -> tuple[PublicKey, ...]:
    """The keys that a file lets in as we understand it: its own lines only."""
    return tuple(line.key for line in lines if line.key is not None)


def _read_line(number: int, raw: bytes) -> Line:
    if number == 1 and raw == HEADER.encode("ascii"):
        return Line(number, LineKind.HEADER, raw)
    key = _key_in(raw)
    return Line(number, LineKind.KEY if key else LineKind.FOREIGN, raw, key)


def _key_in(raw: bytes) -> PublicKey | None:
    words = raw.decode("utf-8", "replace").split(" ", 2)
    if len(words) < 2:
        return None
    try:
        key = PublicKey.from_blob(decoded(words[1]), "".join(words[2:]))
    except KeyProblem:
        return None
    return key if key.line().encode("utf-8") == raw else None
