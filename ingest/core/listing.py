"""Every finding of an epoch as CSV, written row by row as they are found: to be sorted and filtered in a spreadsheet.

At most so many errors, and as many other findings, so that no flood of one kind pushes the other out. A cell that a
spreadsheet would run as a formula begins with an apostrophe.
"""

import csv
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from accounts.core.cells import harmless
from ingest.core.findings import Finding, Severity, Tally

COLUMNS = ("severity", "file", "line", "column", "code", "message", "hint", "value")
CODE = COLUMNS.index("code")
# The last row where not all are listed.
NOT_LISTED = "not-listed"
BLOCK = 1 << 16


class Listing:
    """Writes a list of findings, packed (gzip), to `out`; the same findings give the same bytes.

    At most `most` errors, and as many warnings and notes. `close` it when all have been added.
    """

    def __init__(self, out: BinaryIO, most: int) -> None:
        self.most = most
        # How many were found and are not listed; known when it is closed.
        self.left_out = 0
        self.rows = Counter[bool]()
        self._packed = gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0)
        self._text = io.TextIOWrapper(self._packed, "utf-8", newline="")
        self._write = csv.writer(self._text, lineterminator="\r\n").writerow
        self._write(COLUMNS)

    def add(self, found: Finding) -> None:
        """The next finding; beyond the limit it is passed over."""
        if self._has_room(found.severity):
            told = (found.severity.value, found.file, found.line, found.column, found.code, found.message)
            self._write([harmless(cell) for cell in (*told, found.hint, found.value)])

    def add_row(self, row: list[str]) -> None:
        """A row of another list."""
        if self._has_room(Severity(row[0])):
            self._write(row)

    def close(self, tallies: Iterable[Tally]) -> int:
        """Says in the last row what is missing, if anything is; returns how many are listed. `out` stays open."""
        left = {is_error: -self.rows[is_error] for is_error in (True, False)}
        for tally in tallies:
            left[_is_error(tally.severity)] += tally.count
        self.left_out = max(sum(left.values()), 0)
        if any(left.values()):
            message = f"Not listed: {left[True]:,} more errors, {left[False]:,} more warnings and notes."
            self._write([Severity.NOTE.value, "", "", "", NOT_LISTED, message, "", ""])
        self.release()
        return self.rows.total()

    def release(self) -> None:
        """Writes no more, wherever it has got to."""
        self._text.close()

    def _has_room(self, severity: Severity) -> bool:
        is_error = _is_error(severity)
        has_room = self.rows[is_error] < self.most
        self.rows[is_error] += has_room
        return has_room


def _is_error(severity: Severity) -> bool:
    return severity is Severity.ERROR


def unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The text of a packed list, in pieces of some kilobytes."""
    reader = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    for block in blocks:
        while block:
            yield reader.decompress(block, BLOCK)
            block = reader.unconsumed_tail
    yield reader.flush()


def rows_of(packed: BinaryIO) -> Iterator[list[str]]:
    """The findings of a packed list, as rows for `Listing.add_row`."""
    with gzip.open(packed, "rt", encoding="utf-8", newline="") as text:
        rows = csv.reader(text)
        next(rows, None)
        yield from (row for row in rows if row[CODE] != NOT_LISTED)
