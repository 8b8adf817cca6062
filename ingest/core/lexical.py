"""Bytes to physical lines, lines to values: streaming, by true line numbers, one bad line never hiding the next.

A quote that is opened and not closed would swallow everything up to the next quote. So a row is one physical line;
lines are joined only where they give one row of just the right width and none of them would be a row by itself.
"""

import codecs
import csv
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

BLOCK = 1 << 18
HEADER_REACH = 1 << 16
JOINED_LINES = 100
JOINED_BYTES = 1 << 16
CELL = re.compile(r'(?:"((?:[^"]++|"")*+)"|([^",]*+))(,|\Z)')

Read = Callable[[int], bytes]


@dataclass(slots=True)
class Trace:
    """What was seen of a text on the way: its encoding, its line ends, the line that has none."""

    encoding: str = "UTF-8"
    ends: dict[str, int] = field(default_factory=lambda: {"CRLF": 0, "LF": 0, "CR": 0})
    unended: bool = False
    joined: bool = False

    def note_ends(self, block: bytes) -> None:
        pairs, feeds, returns = block.count(b"\r\n"), block.count(b"\n"), block.count(b"\r")
        self.ends["CRLF"] += pairs
        self.ends["LF"] += feeds - pairs
        self.ends["CR"] += returns - pairs

    @property
    def mixed(self) -> tuple[str, ...]:
        """The kinds of line ends if there is more than one kind, and none of them stands inside a value."""
        kinds = tuple(kind for kind, number in self.ends.items() if number)
        return kinds if len(kinds) > 1 and not self.joined else ()


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a line is not a row: a finding's code, a sentence, a hint."""

    code: str
    message: str
    hint: str = ""


class RawRow(NamedTuple):
    """One row as it stands. `values` is None when `flaw` says why.

    `last` is the last physical line of a row in which there were quotes, and 0 for a row without.
    """

    line: int
    text: str
    values: list[str] | None
    flaw: Flaw | None = None
    last: int = 0


class _Utf16:
    """Reads UTF-16 as UTF-8. What cannot be decoded ends the text with a byte that UTF-8 does not know."""

    def __init__(self, read: Read, head: bytes) -> None:
        self._read = read
        self._head = head
        self._decoder = codecs.getincrementaldecoder("utf-16")()
        self._over = False

    def read(self, size: int) -> bytes:
        out = b""
        while not out and not self._over:
            data, self._head = self._head or self._read(size), b""
            self._over = not data
            try:
                out = self._decoder.decode(data, final=not data).encode()
            except UnicodeError:
                self._over, out = True, b"\xff"
        return out


def opened(stream: BinaryIO, trace: Trace) -> tuple[Read, bytes]:
    """How to read on, and what has been read already, without the byte order mark."""
    head = stream.read(3)
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        trace.encoding = "UTF-16"
        return _Utf16(stream.read, head).read, b""
    return stream.read, head.removeprefix(codecs.BOM_UTF8)


def physical_lines(stream: BinaryIO, limit: int, trace: Trace) -> Iterator[bytes]:
    """Lines without their ends (LF, CRLF or CR). A line over `limit` bytes comes cut to `limit + 1` bytes or more."""
    read, head = opened(stream, trace)
    tail = b""
    while block := head + read(BLOCK):
        head = b""
        while block.endswith(b"\r") and (more := read(1)):
            block += more
        cut = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        if not cut:
            tail = (tail + block)[: limit + 1]
            continue
        whole = tail + block[:cut]
        trace.note_ends(whole)
        yield from whole.splitlines()
        tail = block[cut:][: limit + 1]
    if tail:
        trace.unended = True
        yield tail


def read_header(stream: BinaryIO) -> tuple[str, ...] | None:
    """The column names in the first line that is not blank, from at most 64 KiB. None: this is not such a text.

    An empty file has the header `()`.
    """
    read, head = opened(stream, Trace())
    while len(head) < HEADER_REACH and (more := read(HEADER_REACH - len(head))):
        head += more
    lines = head.splitlines(keepends=True)
    if len(head) >= HEADER_REACH and lines:
        del lines[-1]
    line = next((line for line in lines if line.strip()), None)
    if line is None:
        return () if len(head) < HEADER_REACH else None
    return _header_values(line.rstrip(b"\r\n"))


def _header_values(line: bytes) -> tuple[str, ...] | None:
    try:
        text = line.decode()
        values = split(text)
    except ValueError:
        return None
    return None if "\0" in text else tuple(values)


class Unclosed(ValueError):
    """A quote is opened and not closed."""


class Stray(ValueError):
    """A quote stands where none may stand. The argument is the position of the value, counted from 1."""


def split(text: str) -> list[str]:
    """The values of one row by RFC 4180 section 2, strictly. Raises Unclosed or Stray."""
    if '"' not in text:
        return text.split(",")
    try:
        values: list[str] = next(csv.reader((text,), strict=True))
    except (csv.Error, StopIteration):
        return _split_slowly(text)
    # The csv module lets quotes pass inside an unquoted value; only the slow way tells them from doubled ones.
    return _split_slowly(text) if any('"' in value for value in values) else values


def _split_slowly(text: str) -> list[str]:
    values: list[str] = []
    at, mark = 0, ","
    while mark:
        cell = CELL.match(text, at)
        if cell is None:
            raise _quote_trouble(text, at, len(values) + 1)
        quoted, plain, mark = cell.groups()
        values.append(plain if quoted is None else quoted.replace('""', '"'))
        at = cell.end()
    return values


def _quote_trouble(text: str, at: int, position: int) -> ValueError:
    closed = re.compile(r'"(?:[^"]++|"")*+"').match(text, at)
    return Stray(position) if closed or text[at] != '"' else Unclosed(position)


class Rows:
    """The rows of one text, header included, each with its first physical line."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self.trace = Trace()
        self.limit = limit
        self.line = 0
        self._lines = physical_lines(stream, limit, self.trace)
        self._ahead: deque[bytes] = deque()
        self._width = 0

    def set_width(self, width: int) -> None:
        """How many values a row should have; lines are joined only to give exactly that many."""
        self._width = width

    def __iter__(self) -> Iterator[RawRow]:
        limit = self.limit
        while (raw := self._next()) is not None:
            line = self.line
            if len(raw) > limit:
                yield RawRow(line, "", None, _too_long(limit))
                continue
            try:
                text = raw.decode()
            except UnicodeDecodeError as error:
                yield RawRow(line, "", None, self._not_text(raw, error))
                continue
            yield RawRow(line, text, text.split(",")) if '"' not in text else self._quoted(line, text)

    def _next(self) -> bytes | None:
        raw = self._ahead.popleft() if self._ahead else next(self._lines, None)
        self.line += raw is not None
        return raw

    def _quoted(self, line: int, text: str) -> RawRow:
        try:
            return RawRow(line, text, split(text), None, line)
        except Stray as error:
            message = f"Value {error.args[0]} of this row has a quote in a place where none may stand."
            return RawRow(line, text, None, Flaw("quote-stray", message, 'Inside quotes write each quote twice: `""`.'))
        except Unclosed:
            return self._joined(line, text) or RawRow(line, text, None, UNCLOSED)

    def _joined(self, line: int, text: str) -> RawRow | None:
        size = len(text)
        for number, raw in enumerate(self._look_ahead(), start=1):
            size += len(raw)
            try:
                part = raw.decode()
                if size > JOINED_BYTES or self._stands_alone(part):
                    return None
                text += "\n" + part
                if '"' not in part:
                    continue
                values = split(text)
            except Unclosed:
                continue
            except ValueError:
                return None
            if len(values) != self._width:
                return None
            for _ in range(number):
                self._next()
            self.trace.joined = True
            return RawRow(line, text, values, None, line + number)
        return None

    def _look_ahead(self) -> Iterator[bytes]:
        for position in range(JOINED_LINES):
            if position == len(self._ahead):
                following = next(self._lines, None)
                if following is None:
                    return
                self._ahead.append(following)
            yield self._ahead[position]

    def at_open_end(self) -> bool:
        """Whether the text is over after this row, without a line end."""
        return next(self._look_ahead(), None) is None and self.trace.unended

    def _stands_alone(self, text: str) -> bool:
        try:
            return self._width > 1 and len(split(text)) == self._width
        except ValueError:
            return False

    def _not_text(self, raw: bytes, error: UnicodeDecodeError) -> Flaw:
        if self.trace.encoding != "UTF-8":
            return Flaw("encoding", f"From here on the text is not valid {self.trace.encoding}.", SAVE_AS)
        what = f"Byte {error.start + 1} of this line (0x{raw[error.start]:02X}) is not UTF-8."
        return Flaw("encoding", what, SAVE_AS)


SAVE_AS = "Have the file exported as UTF-8."
UNCLOSED = Flaw(
    "quote-unclosed",
    "A quote is opened in this row and never closed.",
    "Close the quote, or write a quote that belongs to the value twice, with quotes around the whole value.",
)


def _too_long(limit: int) -> Flaw:
    return Flaw("line-too-long", f"This line has more than {limit:,} bytes.", "Is a line end missing?")
