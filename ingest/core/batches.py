"""The records of a checked file in bulk: keys and digests as arrays, and the values of only those that are asked for.

The records are those of `records.read_records`, in the file's order but for those few that had to be read one by one:
they come in batches of their own, after the block in which they stand.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import reduce
from itertools import chain

import numpy as np
import pyarrow as pa

from ingest.core.blocks import Block, block_of, odd_lines, plain_rows
from ingest.core.delimiters import Delimiter
from ingest.core.errors import ArchiveError, RowsError
from ingest.core.hashes import Flags, Numbers, Pair, row_hashes
from ingest.core.header import Columns, read_columns
from ingest.core.lexical import NumberedLine, RawRow, Rows, Trace, numbered, whole_lines
from ingest.core.predicates import Cells
from ingest.core.records import RecordMaker, Row, first_row, fitted, has_key
from ingest.core.schema import Table
from ingest.core.sieve import View, in_order
from ingest.core.verdict import Limits, Source

FEW = 2_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Some records side by side. `hashes` are those of the keys; `digests` are `Row.digest` as two words each.

    `deleted` says which take a record away, `lines` where they begin; `columns` holds what is kept, by name.
    """

    keys: pa.StringArray
    hashes: Pair
    digests: Pair
    deleted: Flags
    lines: Numbers
    columns: dict[str, pa.StringArray]

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, places: Sequence[int] | Numbers) -> Iterator[Row]:
        """The records at these places, whole."""
        chosen = pa.array(np.asarray(places, np.int64))
        columns = [array.take(chosen).to_pylist() for array in self.columns.values()]
        digests = self.digests.at(np.asarray(places, np.int64)).bytes()
        parts = zip(self.keys.take(chosen).to_pylist(), zip(*columns, strict=True), digests, places, strict=True)
        for key, values, digest, at in parts:
            named = dict(zip(self.columns, values, strict=True))
            yield Row(key, named, digest, bool(self.deleted[at]), int(self.lines[at]))


def read_batches(table: Table, source: Source, limits: Limits) -> Iterator[Batch]:
    """The records of a checked file. Raises RowsError if it has not passed its check."""
    with closing(source.open()) as stream:
        trace = Trace()
        pieces = whole_lines(stream, limits.line_bytes, trace, limits.block_bytes)
        mark = source.delimiter.mark
        first = _with_header(pieces, limits, mark)
        header, columns = _header(table, first, limits, source.delimiter)
        reader = _Reader(table, columns, limits, mark)
        body = block_of(first)
        rest = first[int(body.stops[header - 1]) + 1 :]
        lines = reader.held_back((piece for piece in chain([rest], pieces) if piece), header, trace)
        rows = Rows.of_lines(lines, limits.line_bytes, trace, mark)
        rows.set_width(columns.width)
        yield from reader.batches(rows)


def _with_header(pieces: Iterator[bytes], limits: Limits, mark: str) -> bytes:
    """As much of a text as it takes to have its header, which may stand under blank lines."""
    first = b""
    while more := next(pieces, b""):
        first += more
        if _header_row(first, limits, mark) is not None:
            break
    return first


def _header_row(first: bytes, limits: Limits, mark: str) -> RawRow | None:
    trace = Trace()
    return first_row(iter(Rows.of_lines(numbered(first.splitlines(), trace), limits.line_bytes, trace, mark)))


def _header(table: Table, first: bytes, limits: Limits, delimiter: Delimiter) -> tuple[int, Columns]:
    row = _header_row(first, limits, delimiter.mark)
    columns = read_columns(table, row.values if row and row.values else [], frozenset(), delimiter)
    if row is None or not columns.usable or not has_key(table, columns):
        raise RowsError("not-checked", f"`{table.file}` has no header that can be read.")
    return row.line, columns


class _Reader:
    def __init__(self, table: Table, columns: Columns, limits: Limits, mark: str) -> None:
        self.table = table
        self.columns = columns
        self.limits = limits
        self.mark = mark
        self.maker = RecordMaker(table, columns)
        named = {*table.key, *(one.name for one in table.kept_fields)}
        self.places = sorted({columns.places[name] for name in named if name in columns.places})
        self.told = [one.name for one in table.kept_fields if one.name not in table.change_marks]
        self.ready: deque[Batch] = deque()

    def batches(self, rows: Iterable[RawRow]) -> Iterator[Batch]:
        few: list[Row] = []
        for raw in rows:
            few += self._record(raw)
            while self.ready:
                yield self.ready.popleft()
            if len(few) >= FEW:
                yield self._of_rows(few)
                few = []
        yield from self.ready
        if few:
            yield self._of_rows(few)

    def _record(self, raw: RawRow) -> list[Row]:
        values = fitted(raw.values, self.columns.width)
        if values is None:
            raise RowsError("not-checked", f"`{self.table.file}` has not passed its check: line {raw.line}.")
        return [self.maker.row(values, raw.line)] if any(values) else []

    def held_back(self, pieces: Iterable[bytes], last: int, trace: Trace) -> Iterator[NumberedLine]:
        """The lines to be read one by one; the records of all others become ready on the way."""
        trace.last = last
        try:
            for block, back, batch in in_order(self._read, pieces):
                if batch is not None:
                    batch.lines[:] += trace.last + 1
                    self.ready.append(batch)
                for line in back.tolist():
                    yield trace.last + line + 1, block.line(line)
                trace.last += len(block.stops)
        except ArchiveError as error:
            trace.broken = error

    def _read(self, data: bytes) -> tuple[Block, Numbers, Batch | None]:
        block = block_of(data)
        odd = odd_lines(block, self.limits.line_bytes, self.mark) | (self.columns.width < 2)
        # One line of each block goes the long way, whatever it is: a block may not pass without giving up its batch.
        odd[-1] = True
        held, lines = plain_rows(block, odd, self.columns.width, self.places, self.mark)
        view = View(self.table, self.columns, held, len(lines))
        good = reduce(np.logical_or, [view.cells(name).filled for name in self.table.key])
        back = np.ones(len(odd), np.bool_)
        back[lines[good]] = False
        return block, np.flatnonzero(back), self._of_view(view, good, lines) if good.any() else None

    def _of_view(self, view: View, good: Flags, lines: Numbers) -> Batch:
        keys, deletion = view.keys, self.table.deletion
        digests = row_hashes(view.rows, [view.cells(name).hashes for name in self.told])
        gone = np.zeros(view.rows, np.bool_)
        if deletion is not None:
            gone = view.equal(deletion.field, deletion.value)
        columns = {name: view.cells(name).array for name in self.maker.names}
        batch = Batch(keys.array, keys.hashes, digests, gone, lines, columns)
        return batch if good.all() else _only(batch, good)

    def _of_rows(self, rows: list[Row]) -> Batch:
        keys = Cells(pa.array([row.key for row in rows], pa.string()))
        digests = Pair.of_bytes([row.digest for row in rows])
        deleted = np.array([row.deleted for row in rows], np.bool_)
        columns = {name: pa.array([row.values[name] for row in rows], pa.string()) for name in self.maker.names}
        return Batch(keys.array, keys.hashes, digests, deleted, np.array([row.line for row in rows]), columns)


def _only(batch: Batch, good: Flags) -> Batch:
    chosen = pa.array(np.flatnonzero(good))
    columns = {name: array.take(chosen) for name, array in batch.columns.items()}
    keys, digests = batch.hashes.at(good), batch.digests.at(good)
    return Batch(batch.keys.take(chosen), keys, digests, batch.deleted[good], batch.lines[good], columns)
