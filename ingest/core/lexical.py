"""Bytes to physical lines, lines to values: streaming, by true line numbers, one bad line never hiding the next.

A quote that is opened and not closed would swallow everything up to the next quote. So a row is one physical line;
lines are joined only where all quotes are right then, and none of the lines added would be a row by itself.
"""

import codecs
import csv
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import BinaryIO, NamedTuple

from ingest.core.delimiters import COMMA
from ingest.core.encodings import ends_in_a_letter, is_utf_8
from ingest.core.errors import ArchiveError

BLOCK = 1 << 18
HEADER_REACH = 1 << 16
JOINED_LINES = 100
JOINED_BYTES = 1 << 16
Read = Callable[[int], bytes]
NumberedLine = tuple[int, bytes]


@dataclass(slots=True)
class Trace:
    """What was seen of a text on the way: its encoding, its line ends, the line that has none.

    `last` is the number of the last line, as soon as it is known; `broken`: why the text could not be read further.
    """

    encoding: str = "UTF-8"
    ends: dict[str, int] = field(default_factory=lambda: {"CRLF": 0, "LF": 0, "CR": 0})
    unended: bool = False
    joined: bool = False
    last: int = 0
    broken: ArchiveError | None = None

    def note_ends(self, pairs: int, feeds: int, returns: int) -> None:
        """Add numbers of CRLF, of LF and of CR; each pair is counted in both of the others, too."""
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
    """Reads UTF-16 as UTF-8. What cannot be decoded ends the text, there, with a byte that UTF-8 does not know."""

    def __init__(self, read: Read, head: bytes) -> None:
        self._read = read
        self._head = head[2:]
        self._encoding = "utf-16-le" if head[:2] == codecs.BOM_UTF16_LE else "utf-16-be"
        self._decoder = codecs.getincrementaldecoder(self._encoding)()
        self._over = False

    def read(self, size: int) -> bytes:
        out = b""
        while not out and not self._over:
            data, self._head = self._head or self._read(size), b""
            self._over = not data
            try:
                out = self._decoder.decode(data, final=not data).encode()
            except UnicodeDecodeError as error:
                self._over, out = True, error.object[: error.start].decode(self._encoding).encode() + b"\xff"
        return out


def opened(stream: BinaryIO, trace: Trace) -> tuple[Read, bytes]:
    """How to read on, and what has been read already, without the byte order mark."""
    head = stream.read(3)
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        trace.encoding = "UTF-16"
        return _Utf16(stream.read, head).read, b""
    return stream.read, head.removeprefix(codecs.BOM_UTF8)


def whole_lines(stream: BinaryIO, limit: int, trace: Trace, size: int = 1) -> Iterator[bytes]:
    """The text in pieces that end at line ends, of about `size` bytes or more; only the last may end elsewhere.

    A line of more than `limit` bytes comes cut to `limit + 1` bytes or more.
    """
    read, head = opened(stream, trace)
    tail, held, length = b"", [], 0
    try:
        while block := head + read(BLOCK):
            head = b""
            while block.endswith(b"\r") and (more := read(1)):
                block += more
            cut = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
            if not cut:
                tail = (tail + block)[: limit + 1]
                continue
            held += [tail, block[:cut]]
            length += len(tail) + cut
            tail = block[cut:][: limit + 1]
            if length >= size:
                yield b"".join(held)
                held, length = [], 0
    except ArchiveError:
        yield b"".join(held)
        raise
    if tail:
        trace.unended = True
    if last := b"".join([*held, tail]):
        yield last


def physical_lines(stream: BinaryIO, limit: int, trace: Trace) -> Iterator[bytes]:
    """Lines without their ends (LF, CRLF or CR). A line over `limit` bytes comes cut to `limit + 1` bytes or more."""
    return lines_of(whole_lines(stream, limit, trace), trace)


def lines_of(pieces: Iterable[bytes], trace: Trace) -> Iterator[bytes]:
    """The lines of pieces that end at line ends."""
    for piece in pieces:
        trace.note_ends(piece.count(b"\r\n"), piece.count(b"\n"), piece.count(b"\r"))
        yield from piece.splitlines()


def numbered(lines: Iterable[bytes], trace: Trace) -> Iterator[NumberedLine]:
    """Lines with their numbers, from 1 on. What cannot be read further is over; `trace` knows why."""
    try:
        for number, line in enumerate(lines, start=1):
            trace.last = number
            yield number, line
    except ArchiveError as error:
        trace.broken = error


def read_header(stream: BinaryIO, mark: str = COMMA.mark) -> tuple[str, ...] | None:
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
    return _header_values(line.rstrip(b"\r\n"), mark)


def _header_values(line: bytes, mark: str) -> tuple[str, ...] | None:
    is_sound = is_utf_8(line)
    try:
        text = line.decode() if is_sound else line.decode("cp1252")
        values = split(text, mark)
    except ValueError:
        return None
    # A header that is no UTF-8 shows all the same what the file is, and the check tells what is wrong with it; but
    # what has neither columns nor plain letters is no text.
    is_text = "\0" not in text if is_sound else len(values) > 1 and all(value.isprintable() for value in values)
    return tuple(values) if is_text else None


class Unclosed(ValueError):
    """A quote is opened and not closed."""


class Stray(ValueError):
    """A quote stands where none may stand. The argument is the position of the value, counted from 1."""


def split(text: str, mark: str = COMMA.mark) -> list[str]:
    """The values of one row by RFC 4180 section 2, strictly; `mark` stands between them. Raises Unclosed or Stray."""
    if '"' not in text:
        return text.split(mark)
    try:
        values: list[str] = next(csv.reader((text,), delimiter=mark, strict=True))
    except (csv.Error, StopIteration):
        return _split_slowly(text, mark)
    # The csv module lets quotes pass inside an unquoted value; only the slow way tells them from doubled ones.
    return _split_slowly(text, mark) if any('"' in value for value in values) else values


@cache
def _cell(mark: str) -> re.Pattern[str]:
    mark = re.escape(mark)
    return re.compile(rf'(?:"((?:[^"]++|"")*+)"|([^"{mark}]*+))({mark}|\Z)')


def _split_slowly(text: str, mark: str) -> list[str]:
    values: list[str] = []
    at, end, cells = 0, mark, _cell(mark)
    while end:
        cell = cells.match(text, at)
        if cell is None:
            raise _quote_trouble(text, at, len(values) + 1)
        quoted, plain, end = cell.groups()
        values.append(plain if quoted is None else quoted.replace('""', '"'))
        at = cell.end()
    return values


def _quote_trouble(text: str, at: int, position: int) -> ValueError:
    closed = re.compile(r'"(?:[^"]++|"")*+"').match(text, at)
    return Stray(position) if closed or text[at] != '"' else Unclosed(position)


class Rows:
    """The rows of one text, header included, each with its first physical line. Raises ArchiveError at a broken end.

    Of a text of which some lines are left out, those left out must be whole rows by themselves.
    """

    def __init__(self, stream: BinaryIO, limit: int, mark: str = COMMA.mark) -> None:
        trace = Trace()
        self._begin(numbered(physical_lines(stream, limit, trace), trace), limit, trace, mark)

    @classmethod
    def of_lines(cls, lines: Iterator[NumberedLine], limit: int, trace: Trace, mark: str = COMMA.mark) -> "Rows":
        """The rows that some lines of a text make up; `trace` is told by whoever gives the lines."""
        made = cls.__new__(cls)
        made._begin(lines, limit, trace, mark)
        return made

    def _begin(self, lines: Iterator[NumberedLine], limit: int, trace: Trace, mark: str) -> None:
        self.trace = trace
        self.limit = limit
        self.mark = mark
        self.line = 0
        self._lines = lines
        self._ahead: deque[NumberedLine] = deque()
        self._width = 0
        self._has_undecodable = False

    def set_width(self, width: int) -> None:
        """How many values a row should have; lines are joined only once this is known."""
        self._width = width

    def __iter__(self) -> Iterator[RawRow]:
        limit, mark = self.limit, self.mark
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
            yield RawRow(line, text, text.split(mark)) if '"' not in text else self._quoted(line, text)
        if self.trace.broken:
            raise self.trace.broken

    def _next(self) -> bytes | None:
        numbered = self._ahead.popleft() if self._ahead else next(self._lines, None)
        if numbered is None:
            return None
        self.line, raw = numbered
        return raw

    def _quoted(self, line: int, text: str) -> RawRow:
        try:
            return RawRow(line, text, split(text, self.mark), None, line)
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
                values = split(text, self.mark)
            except Unclosed:
                continue
            except ValueError:
                return None
            if not self._width:
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
            number, raw = self._ahead[position]
            if number != self.line + position + 1:
                return
            yield raw

    def at_open_end(self) -> bool:
        """Whether the text is over after this row, without a line end."""
        over = next(self._look_ahead(), None) is None and not self._ahead
        return over and self.trace.unended and self.line == self.trace.last

    def _stands_alone(self, text: str) -> bool:
        try:
            return self._width > 1 and len(split(text, self.mark)) == self._width
        except ValueError:
            return False

    def _not_text(self, raw: bytes, error: UnicodeDecodeError) -> Flaw:
        if self.trace.encoding != "UTF-8":
            what = f"From here on the text is not valid {self.trace.encoding}."
            return Flaw("encoding", what, "Have the file exported as UTF-8.")
        # Where other lines are not UTF-8 either, this letter is one of theirs and not half a letter.
        if not self._has_undecodable and ends_in_a_letter(raw) and self.at_open_end():
            return CUT_IN_A_LETTER
        self._has_undecodable = True
        what = f"Byte {error.start + 1} of this line (0x{raw[error.start]:02X}) is not UTF-8."
        return Flaw("encoding", what, SAVE_AS)


SAVE_AS = "Have the file exported as UTF-8. If all of it is Windows-1252, say so in the file settings, under Uploads."
CUT_OFF = Flaw(
    "cut-off",
    "The file ends in the middle of this row.",
    "Was the export or the upload cut off? Send the whole file again.",
)
# Or a whole file of another encoding, of which this is the only such letter.
CUT_IN_A_LETTER = replace(CUT_OFF, hint=f"{CUT_OFF.hint} If it is whole, it is not UTF-8. {SAVE_AS}")
UNCLOSED = Flaw(
    "quote-unclosed",
    "A quote is opened in this row and never closed.",
    "Close the quote, or write a quote that belongs to the value twice, with quotes around the whole value.",
)


def _too_long(limit: int) -> Flaw:
    return Flaw("line-too-long", f"This line has more than {limit:,} bytes.", "Is a line end missing?")
