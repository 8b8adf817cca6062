"""Lets the rows through of which nothing has to be said, many at once, and hands all others to the exact reader.

A block of lines becomes columns (pyarrow), each column is judged as a whole (`predicates`), and what later rows and
other files may ask is kept as hashes. A row that is held back is no wrong row yet: `tables` reads it again, the long
way, and every finding comes from there. Blocks are sifted in threads; what comes out is in the file's order.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import reduce
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.core.blocks import Block, block_of, odd_lines, plain_rows
from ingest.core.delimiters import COMMA
from ingest.core.errors import ArchiveError
from ingest.core.hashes import Flags, KeyRing, Numbers, Pair, Words, row_hashes
from ingest.core.header import Columns
from ingest.core.predicates import BLANK, Cells, judge_for
from ingest.core.rowrules import spoken_of
from ingest.core.schema import Agree, Condition, Field, FieldType, Implies, InOrder, NoCircle, Once, SameParts, Table
from ingest.core.values import canonical

THREADS = 2
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class Linked:
    """A column that refers to keys. `ring` None: they are not all known yet. `besides`: what refers to nothing."""

    field: Field
    ring: KeyRing | None
    besides: KeyRing


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be kept of a table's rows. `late`: rules for which rows have to be compared with each other."""

    required: frozenset[str]
    links: Sequence[Linked]
    marks: Sequence[str]
    uniques: Sequence[str]
    rules: Sequence[InOrder | Implies | NoCircle | SameParts]
    late: Sequence[Once | Agree]


@dataclass(slots=True)
class Sifted:
    """What came of one block. Lines are counted from 0 in the block; `lines` of `rows` are those let through.

    `parts`, `uniques`, `links` and `late` are in the order of what was wanted.
    """

    block: Block
    held_back: Numbers
    lines: Numbers
    keys: Pair | None = None
    parts: list[Pair] = field(default_factory=list)
    uniques: list[tuple[Words, Numbers]] = field(default_factory=list)
    links: list[tuple[Pair, Numbers]] = field(default_factory=list)
    late: list[tuple[Words, Words | None, Numbers]] = field(default_factory=list)
    marked: list[Flags] = field(default_factory=list)


class View:
    """The columns of one block, by the names the table has for them."""

    def __init__(self, table: Table, columns: Columns, held: pa.Table, rows: int) -> None:
        self.table = table
        self.columns = columns
        self.rows = rows
        self._held = held
        self._raw: dict[str, Cells] = {}
        self._canonical: dict[str, Cells] = {}

    def raw(self, name: str) -> Cells:
        """A column as it stands in the file."""
        if name not in self._raw:
            self._raw[name] = Cells(_whole(self._held[str(self.columns.places[name])]))
        return self._raw[name]

    def cells(self, name: str) -> Cells:
        """A column as records hold it; one that is not in the file is empty."""
        if name not in self._canonical:
            self._canonical[name] = self._spelled(self.table.field(name))
        return self._canonical[name]

    def _spelled(self, one: Field) -> Cells:
        if one.name not in self.columns.places:
            return Cells(pa.repeat(pa.scalar("", pa.string()), self.rows))
        cells, make = self.raw(one.name), canonical(one)
        as_it_is = one.type is FieldType.LIST and not one.enum and not cells.holding(BLANK).any()
        if make is None or as_it_is or not len(cells.data):
            return cells
        coded = cells.array.dictionary_encode()
        return Cells(pa.array(map(make, coded.dictionary.to_pylist()), pa.string()).take(coded.indices))

    def equal(self, name: str, value: str) -> Flags:
        """In which rows a column holds this value."""
        return _flags(pc.equal(self.cells(name).array, value))

    @property
    def keys(self) -> Cells:
        """The keys of the records, as `records.key_maker` writes them."""
        parts = [self.cells(name) for name in self.table.key]
        return parts[0] if len(parts) == 1 else Cells(pc.binary_join_element_wise(*map(_escaped, parts), "|"))


def _whole(column: pa.ChunkedArray) -> pa.StringArray:
    return column.chunk(0) if column.num_chunks == 1 else pa.array([], pa.string())


def _escaped(cells: Cells) -> pa.StringArray:
    array = pc.replace_substring(cells.array, "\\", "\\\\")
    return pc.replace_substring(array, "|", "\\|")


class Sieve:
    """The sieve of one file whose header is known."""

    def __init__(self, table: Table, columns: Columns, wanted: Wanted, limit: int, mark: str = COMMA.mark) -> None:
        self.table = table
        self.columns = columns
        self.wanted = wanted
        self.limit = limit
        self.mark = mark
        self.has_key = all(name in columns.places or name in table.optional_key for name in table.key)
        self.judges = [
            (one.name, judge)
            for one in table.fields
            if one.name in columns.places and (judge := judge_for(one, one.name in wanted.required))
        ]
        self.tests = [_suspicion(rule) for rule in wanted.rules]
        self.places = sorted({columns.places[name] for name in self._named() if name in columns.places})

    def _named(self) -> Iterator[str]:
        yield from self.table.key
        yield from self.table.referred
        yield from (name for name, _ in self.judges)
        yield from (link.field.name for link in self.wanted.links)
        yield from (*self.wanted.marks, *self.wanted.uniques)
        for rule in (*self.wanted.rules, *self.wanted.late):
            yield from spoken_of(rule)

    def all(self, pieces: Iterable[bytes]) -> Iterator[Sifted]:
        """Sifts pieces of whole lines, a few at the same time."""
        return in_order(self.sift, pieces)

    def sift(self, data: bytes) -> Sifted:
        """Sifts one piece."""
        block = block_of(data)
        odd = odd_lines(block, self.limit, self.mark)
        held, lines = plain_rows(block, odd, self.columns.width, self.places, self.mark)
        if held.num_rows != len(lines):
            lines, held = lines[:0], held.slice(0, 0)
        view = View(self.table, self.columns, held, len(lines))
        good = self._good(view)
        back = np.ones(len(block.stops), np.bool_)
        back[lines[good]] = False
        return self._kept(view, good, Sifted(block, np.flatnonzero(back), lines[good]))

    def _good(self, view: View) -> Flags:
        good = np.ones(view.rows, np.bool_)
        if not view.rows:
            return good
        for name, judge in self.judges:
            good[judge.doubtful(view.raw(name))] = False
        for name in self.table.key[:1]:
            if name in self.columns.places:
                again = pc.equal(view.raw(name).array, self.columns.names[self.columns.places[name]])
                good &= ~_flags(again)
        for link in self.wanted.links:
            if link.ring is not None:
                good[_unknown(link, link.ring, view.raw(link.field.name))] = False
        for test in self.tests:
            good &= ~test(view)
        return good

    def _kept(self, view: View, good: Flags, out: Sifted) -> Sifted:
        wanted, lines = self.wanted, out.lines
        if self.has_key:
            out.keys = _at(view.keys.hashes, good)
        out.parts = [_at(view.raw(name).hashes, good) for name in self.table.referred if name in self.columns.places]
        out.uniques = [_filled(view.raw(name), good, lines) for name in wanted.uniques]
        out.links = [_waiting(link, view, good, lines) for link in wanted.links if link.ring is None]
        out.late = [_compared(rule, view, good, lines) for rule in wanted.late]
        out.marked = [view.raw(name).filled[good] for name in wanted.marks]
        return out


def in_order(work: Callable[[bytes], Out], pieces: Iterable[bytes]) -> Iterator[Out]:
    """Works on pieces in threads and gives what comes out in their order; no more than a few pieces are held."""
    ahead: deque[Future[Out]] = deque()
    broken: ArchiveError | None = None
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for piece in pieces:
                ahead.append(pool.submit(work, piece))
                if len(ahead) > THREADS:
                    yield ahead.popleft().result()
        except ArchiveError as error:
            broken = error
        while ahead:
            yield ahead.popleft().result()
    if broken:
        raise broken


def _at(hashes: Pair, good: Flags) -> Pair:
    return hashes if good.all() else hashes.at(good)


def _filled(cells: Cells, good: Flags, lines: Numbers) -> tuple[Words, Numbers]:
    """The hashes of filled values, and their lines."""
    filled = cells.filled[good]
    return cells.hashes.first[good][filled], lines[filled]


def _parts(link: Linked, cells: Cells) -> tuple[Pair, Numbers]:
    """The hashes of the keys that values refer to, and the rows of the values."""
    if link.field.type is not FieldType.LIST:
        rows = np.flatnonzero(cells.filled)
        return (cells.hashes if len(rows) == len(cells) else cells.hashes.at(rows)), rows
    rows, starts, lengths = cells.parts(ord(link.field.delimiter))
    return cells.part_hashes(starts, lengths), rows


def _unknown(link: Linked, ring: KeyRing, cells: Cells) -> Numbers:
    """The rows in which a key is not known, or has blanks around it, so that it may not be what it seems."""
    hashes, rows = _parts(link, cells)
    left = np.flatnonzero(~ring.known(hashes))
    if len(left):
        left = left[~link.besides.known(hashes.at(left))]
    return rows[left]


def _waiting(link: Linked, view: View, good: Flags, lines: Numbers) -> tuple[Pair, Numbers]:
    hashes, rows = _parts(link, view.raw(link.field.name))
    let_through = good[rows]
    numbers = np.zeros(view.rows, np.int64)
    numbers[good] = lines
    return hashes.at(let_through), numbers[rows[let_through]]


def _folded(view: View, names: Sequence[str]) -> Words:
    first, second = row_hashes(view.rows, [view.cells(name).hashes for name in names])
    return first ^ second


def _compared(rule: Once | Agree, view: View, good: Flags, lines: Numbers) -> tuple[Words, Words | None, Numbers]:
    """What tells the group of a row, what it says in its group (nothing if it may not have one), and its line."""
    if isinstance(rule, Agree):
        return _folded(view, rule.of)[good], _folded(view, rule.fields)[good], lines
    counts = good & _all(view, rule.where)
    for name in rule.of:
        counts &= view.cells(name).filled
    return _folded(view, rule.of)[counts], None, lines[counts[good]]


def _suspicion(rule: InOrder | Implies | NoCircle | SameParts) -> Callable[[View], Flags]:
    """Which rows may break a rule."""
    match rule:
        case InOrder(first, last):
            return lambda view: (
                view.cells(last).filled & _flags(pc.greater(view.cells(first).array, view.cells(last).array))
            )
        case Implies(when, then):
            return lambda view: _all(view, when) & ~_meets(view, then)
        case NoCircle(name):
            return lambda view: view.cells(name).filled
        case SameParts(first, last, mark):
            return lambda view: (
                view.cells(first).filled
                & view.cells(last).filled
                & _flags(pc.not_equal(_count(view, first, mark), _count(view, last, mark)))
            )


def _flags(array: pa.BooleanArray) -> Flags:
    return np.asarray(array.to_numpy(zero_copy_only=False), np.bool_)


def _count(view: View, name: str, mark: str) -> pa.Array:
    return pc.count_substring(view.cells(name).array, mark)


def _meets(view: View, one: Condition) -> Flags:
    cells = view.cells(one.field)
    if one.filled is not None:
        return cells.filled if one.filled else ~cells.filled
    return _flags(pc.is_in(cells.array, value_set=pa.array(one.values, pa.string())))


def _all(view: View, conditions: Sequence[Condition]) -> Flags:
    return reduce(np.logical_and, [_meets(view, one) for one in conditions], np.ones(view.rows, np.bool_))
