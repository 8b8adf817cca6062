"""Files in Windows-1252, for districts that say so: read as UTF-8 from the first byte on, so all readers agree.

What a file is written in is decided for the whole of it. One that holds UTF-8 in some lines and something else in
others is left as it is, and its lines are told as errors: read as Windows-1252, the good lines would turn bad.
"""

import codecs
import io
from typing import BinaryIO

WINDOWS_1252 = "windows-1252"
BLOCK = 1 << 18
# What of a line is looked at; a longer one is refused anyway.
LONGEST = 2 << 20
MARKS = (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")


def is_windows_1252(stream: BinaryIO) -> bool:
    """Whether a text has bytes that are not UTF-8, and none that are UTF-8 and more than ASCII.

    Reads all of it. Raises ArchiveError if it cannot be read to its end.
    """
    tail, is_other = stream.read(len(MARKS[-1])), False
    if tail.startswith(MARKS):
        return False
    while block := stream.read(BLOCK):
        lines, _, tail = (tail + block).replace(b"\r", b"\n").rpartition(b"\n")
        if _has_utf_8(lines):
            return False
        is_other = is_other or not lines.isascii()
        tail = tail[-LONGEST:]
    return not _has_utf_8(tail) and (is_other or not tail.isascii())


def _has_utf_8(lines: bytes) -> bool:
    """Whether some line has characters beyond ASCII that are UTF-8."""
    if lines.isascii():
        return False
    return any(not line.isascii() and is_utf_8(line) for line in lines.split(b"\n"))


def is_utf_8(data: bytes) -> bool:
    """Whether bytes are whole UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def ends_in_a_letter(data: bytes) -> bool:
    """Whether bytes are UTF-8 but for a last letter of which the end is missing."""
    try:
        return codecs.utf_8_decode(data)[1] < len(data)
    except UnicodeDecodeError:
        return False


class _AsUtf8(io.RawIOBase):
    """A text in Windows-1252 as UTF-8. The five bytes that mean nothing there stay, and are no UTF-8 either."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._held:
            data = self._stream.read(BLOCK)
            self._held = data.decode("cp1252", "surrogateescape").encode("utf-8", "surrogateescape")
        out, self._held = self._held[: len(buffer)], self._held[len(buffer) :]
        buffer[: len(out)] = out
        return len(out)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def as_utf_8(stream: BinaryIO) -> BinaryIO:
    """A text in Windows-1252, to be read as UTF-8."""
    return io.BufferedReader(_AsUtf8(stream), BLOCK)
