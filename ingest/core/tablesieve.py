"""The check of a large file: the sieve lets most rows through, `tables` reads the others one by one.

Findings are those of `TableCheck` to the letter. What only the whole file shows (keys that stand twice, references to
what comes later, rules on several rows) is told of lines that hashes have picked out, and that are read once more.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from dataclasses import field as made
from itertools import chain
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.core.blocks import block_of, lines_at
from ingest.core.errors import ArchiveError
from ingest.core.hashes import Doubles, Groups, KeyRing, Numbers, Pair, Words, folded
from ingest.core.header import Columns, read_columns
from ingest.core.lexical import NumberedLine, RawRow, Rows, Trace, lines_of, numbered, whole_lines
from ingest.core.predicates import Cells
from ingest.core.records import RecordMaker, Row, first_row, fitted
from ingest.core.references import KeySet, Waiting
from ingest.core.rowhash import text_hash
from ingest.core.rowrules import RowFault, RowJudge, rules_of
from ingest.core.schema import Agree, Field, FieldType, Once, Reference, RowRule, Table, key_place
from ingest.core.sieve import Linked, Sieve, Sifted, Wanted, in_order
from ingest.core.tables import PROGRESS_ROWS, Link, TableCheck
from ingest.core.values import canonical, items
from ingest.core.verdict import Limits, Source

# Rows read again are kept, if there are no more of them, rather than read a third time.
FEW = 10_000


class SievedCheck(TableCheck):
    """As TableCheck. A small file, or one whose header cannot be used, is read row by row."""

    sifted: "_Sifting | None" = None

    def run(self) -> None:
        """As of TableCheck; lines of which only the whole file tells are read once more."""
        super().run()
        for ring in map(self._own_ring, self.table.places):
            if ring is not None:
                ring.close()

    def _rows(self, stream: BinaryIO) -> Rows:
        limits, trace = self.bench.limits, Trace()
        pieces = whole_lines(stream, limits.line_bytes, trace, limits.block_bytes)
        first = next(pieces, b"")
        head = self._header_line(first) if len(first) >= limits.sieve_from else 0
        if not head:
            lines = numbered(lines_of(chain([first], pieces), trace), trace)
        else:
            self.sifted = _Sifting()
            lines = self._held_back(head, first, pieces, trace)
        return Rows.of_lines(lines, limits.line_bytes, trace, self.source.delimiter.mark)

    def _header_line(self, first: bytes) -> int:
        """The line of a header that can be used; 0 where there is none among the first lines."""
        trace = Trace()
        lines, limit = numbered(first.splitlines(), trace), self.bench.limits.line_bytes
        rows = Rows.of_lines(lines, limit, trace, self.source.delimiter.mark)
        header = first_row(iter(rows))
        if header is None or header.values is None or "\0" in header.text or len(header.values) < 2:
            return 0
        columns = read_columns(self.table, header.values, self.required, self.source.delimiter)
        return header.line if columns.usable else 0

    def _links(self, columns: Columns) -> list[Link]:
        if self.sifted is not None:
            seen = self.bench.keys.seen
            seen.update((place, KeyRing()) for place in self.table.places if place in seen)
            self.sifted.recall = Recall(self.source, columns.width, self.bench.limits)
        return super()._links(columns)

    def _own_ring(self, place: str) -> KeyRing | None:
        ring = self.bench.keys.seen.get(place)
        return ring if isinstance(ring, KeyRing) else None

    def _link(self, at: int, column: Field, reference: Reference) -> Link:
        if self.sifted is None:
            return super()._link(at, column, reference)
        keys = self.bench.keys
        if reference.table in keys.read:
            return Link(at, column, reference, ring_of(keys.seen[reference.place]), None)
        waiting = ManyWaiting(self.file, column, reference, at=at, recall=self.sifted.recall)
        keys.waiting.append(waiting)
        self.sifted.waiting.append(waiting)
        return Link(at, column, reference, frozenset(), waiting)

    def _judge(self, columns: Columns) -> RowJudge | None:
        if self.sifted is None:
            return super()._judge(columns)
        rules = rules_of(self.table, columns.places)
        self.sifted.late = [
            _Late(rule, rule.what, self.table, columns) for rule in rules if isinstance(rule.what, Once | Agree)
        ]
        self.sifted.early = [rule for rule in rules if not isinstance(rule.what, Once | Agree)]
        return _EarlyJudge(self.table, self.sifted.early, columns, self.sifted.late) if rules else None

    def _begin(self, columns: Columns, links: list[Link]) -> None:
        if self.sifted is None:
            return
        marks = [name for _, name in self._mark_places(columns)]
        uniques = [name for _, name in self._unique_places(columns)]
        linked = [
            Linked(one.field, one.known if isinstance(one.known, KeyRing) else None, ring_of(one.reference.besides))
            for one in links
        ]
        early = [rule.what for rule in self.sifted.early if not isinstance(rule.what, Once | Agree)]
        late = [one.what for one in self.sifted.late]
        wanted = Wanted(self.required, linked, marks, uniques, early, late)
        limit, mark = self.bench.limits.line_bytes, self.source.delimiter.mark
        self.sifted.begin(Sieve(self.table, columns, wanted, limit, mark), self._own_ring)

    def _held_back(self, head: int, first: bytes, pieces: Iterator[bytes], trace: Trace) -> Iterator[NumberedLine]:
        """The header, and then only the lines that the sieve holds back."""
        block = block_of(first)
        for at in range(head):
            yield at + 1, block.line(at)
        body = int(block.stops[head - 1]) + 1
        begun = block_of(first[:body])
        trace.note_ends(begun.pairs, begun.feeds, begun.returns)
        trace.last = head
        assert self.sifted is not None
        try:
            for part in self.sifted.sieve.all(piece for piece in chain([first[body:]], pieces) if piece):
                before = trace.last
                self._take(self.sifted, part, before, trace)
                for line in part.held_back.tolist():
                    yield before + line + 1, part.block.line(line)
        except ArchiveError as error:
            trace.broken = error

    def _take(self, sifted: "_Sifting", part: Sifted, before: int, trace: Trace) -> None:
        trace.note_ends(part.block.pairs, part.block.feeds, part.block.returns)
        trace.last = before + len(part.block.stops)
        rows, told = len(part.lines), self.bench.rows
        self.rows += rows
        self.bench.rows += rows
        sifted.take(part, before + 1)
        self._take_marks(sifted, part, before + 1)
        for number in range(told // PROGRESS_ROWS + 1, self.bench.rows // PROGRESS_ROWS + 1):
            self.bench.progress(number * PROGRESS_ROWS)

    def _take_marks(self, sifted: "_Sifting", part: Sifted, first: int) -> None:
        if not any(flags.any() for flags in part.marked):
            return
        filled = np.stack(part.marked)
        number = filled.sum(axis=0)
        self.marks.every += int((number == len(self.table.change_marks)).sum())
        self.marks.some += int((number > 0).sum())
        names = sifted.sieve.wanted.marks
        for row in np.flatnonzero(number)[: self.bench.limits.most_told - len(sifted.marked)].tolist():
            sifted.marked.append((first + int(part.lines[row]), names[int(filled[:, row].argmax())]))

    def _tell_marks(self) -> None:
        if self.sifted is not None:
            self.marks.first = sorted([*self.marks.first, *self.sifted.marked])[: self.bench.limits.most_told]
        super()._tell_marks()

    def _note_key(self, key: str, line: int) -> None:
        if self.sifted is None:
            super()._note_key(key, line)
        else:
            self.sifted.note_key(key, line)

    def _faults(self, raw: RawRow, values: list[str], columns: Columns, header: list[str]) -> bool:
        counts = super()._faults(raw, values, columns, header)
        if self.sifted is not None and not counts and any(values):
            self.sifted.headers.append(raw.line)
        return counts

    def _unique(self, name: str, value: str, line: int) -> None:
        if self.sifted is None:
            super()._unique(name, value, line)
        elif value:
            self.sifted.uniques[name].add(text_hash(value)[0], line)

    def _read_rows(self, rows: Rows, feed: Iterator[RawRow], columns: Columns, header: list[str]) -> None:
        try:
            super()._read_rows(rows, feed, columns, header)
        except ArchiveError:
            self._tell_late()
            raise

    def _end(self, judge: RowJudge | None) -> None:
        self._tell_late()
        super()._end(judge)

    def _tell_late(self) -> None:
        """Rules that compare rows, and values that stand twice: told of the lines that hashes have picked out."""
        if self.sifted is None:
            return
        columns, late, uniques = self.sifted.sieve.columns, self.sifted.late, self.sifted.uniques
        rules = RowJudge(self.table, [one.rule for one in late], columns.places)
        for line, values in self.sifted.recall(line for one in late for line in one.groups.lines()):
            self._tell_row(rules.look(values, line))
        for line, values in self.sifted.recall(line for one in uniques.values() for line in one.lines()):
            for name in uniques:
                super()._unique(name, values[columns.places[name]], line)

    def _tell_twins(self) -> None:
        if self.sifted is None:
            super()._tell_twins()
        elif lines := self.sifted.twins.lines():
            self._compare_lines(self.sifted, lines)

    def _compare_lines(self, sifted: "_Sifting", lines: list[int]) -> None:
        maker = RecordMaker(self.table, sifted.sieve.columns)
        counted, every = set(lines), sorted({*lines, *sifted.headers})

        def read() -> Iterator[Row]:
            return (maker.row(values, line) for line, values in sifted.recall(every))

        kept = list(read()) if len(every) <= FEW else None
        again = read if kept is None else kept.__iter__
        seen: set[str] = set()
        for row in again():
            if row.line in counted:
                (self._twins if row.key in seen else seen).add(row.key)
        if self._twins:
            self._compare(lambda: (row for row in again() if row.key in self._twins))


class Recall:
    """Reads chosen lines of a file again, the exact way."""

    def __init__(self, source: Source, width: int, limits: Limits) -> None:
        self.source = source
        self.width = width
        self.limits = limits

    def __call__(self, lines: Iterable[int]) -> Iterator[tuple[int, list[str]]]:
        """The rows that begin in these lines, in the file's order, as they would be judged."""
        asked = set(lines)
        if not asked:
            return
        limit, trace = self.limits.line_bytes, Trace()
        with closing(self.source.open()) as stream:
            pieces = whole_lines(stream, limit, trace, self.limits.block_bytes)
            wanted = _unbroken(lines_at(in_order(block_of, pieces), sorted(asked)))
            rows = Rows.of_lines(wanted, limit, trace, self.source.delimiter.mark)
            rows.set_width(self.width)
            for raw in rows:
                if raw.line in asked and (values := fitted(raw.values, self.width)) is not None:
                    yield raw.line, values


def _unbroken(lines: Iterator[NumberedLine]) -> Iterator[NumberedLine]:
    # Whatever is asked for stands before the place where the file cannot be read further.
    with suppress(ArchiveError):
        yield from lines


@dataclass(slots=True, eq=False, kw_only=True)
class ManyWaiting(Waiting):
    """References to keys not known yet, as hashes and lines: 20 bytes each."""

    at: int
    recall: Recall
    hashes: list[Pair] = made(default_factory=list)
    numbers: list[NDArray[np.uint32]] = made(default_factory=list)
    few: set[int] = made(default_factory=set)

    def add(self, key: str, line: int) -> None:
        self.few.add(line)

    def add_many(self, hashes: Pair, lines: Numbers) -> None:
        self.hashes.append(hashes)
        self.numbers.append(lines.astype(np.uint32))

    def missing(self, keys: KeySet) -> Iterator[tuple[str, list[int]]]:
        """As of Waiting; lines with keys that seem to be missing are read again."""
        ring = ring_of(keys)
        for hashes, numbers in zip(self.hashes, self.numbers, strict=True):
            self.few.update(numbers[~ring.known(hashes)].tolist())
        for line, values in self.recall(self.few):
            for key in referred(self.field, values[self.at]):
                if key not in keys and key not in self.reference.besides:
                    Waiting.add(self, key, line)
        return Waiting.missing(self, keys)


@dataclass(slots=True)
class _Late:
    """A rule that compares rows."""

    rule: RowRule
    what: Once | Agree
    table: Table
    columns: Columns
    groups: Doubles | Groups = made(init=False)

    def __post_init__(self) -> None:
        self.groups = Groups() if isinstance(self.what, Agree) else Doubles()

    def note(self, values: Sequence[str], line: int) -> None:
        """A row that was held back. It may be none the rule is about: that is seen when it is read again."""
        of = folded(self._texts(self.what.of, values))
        if isinstance(self.what, Agree) and isinstance(self.groups, Groups):
            self.groups.say(of, folded(self._texts(self.what.fields, values)), line)
        else:
            self.groups.add(of, line)

    def _texts(self, names: Sequence[str], values: Sequence[str]) -> Iterator[str]:
        for name in names:
            make = canonical(self.table.field(name)) or str
            yield make(values[self.columns.places[name]])

    def note_many(self, of: Words, says: Words | None, lines: Numbers) -> None:
        if isinstance(self.groups, Groups) and says is not None:
            self.groups.say_many(of, says, lines)
        else:
            self.groups.add_many(of, lines)


class _EarlyJudge(RowJudge):
    """Judges single rows, and notes what has to be compared with other rows."""

    def __init__(self, table: Table, rules: Sequence[RowRule], columns: Columns, late: Sequence[_Late]) -> None:
        super().__init__(table, rules, columns.places)
        self._late = late

    def look(self, values: Sequence[str], line: int) -> Iterator[RowFault]:
        for one in self._late:
            one.note(values, line)
        return super().look(values, line)


class _Sifting:
    """What is known so far of a file that goes through the sieve."""

    sieve: Sieve
    recall: Recall

    def __init__(self) -> None:
        self.waiting: list[ManyWaiting] = []
        self.early: list[RowRule] = []
        self.late: list[_Late] = []
        self.marked: list[tuple[int, str]] = []
        self.headers: list[int] = []
        self.twins = Doubles()
        self.uniques: dict[str, Doubles] = {}
        self.ring: KeyRing | None = None
        self.rings: list[KeyRing | None] = []

    def begin(self, sieve: Sieve, ring_at: Callable[[str], KeyRing | None]) -> None:
        """The header is known."""
        self.sieve = sieve
        self.uniques = {name: Doubles() for name in sieve.wanted.uniques}
        table, places = sieve.table, sieve.columns.places
        self.ring = ring_at(table.name)
        self.rings = [ring_at(key_place(table.name, name)) for name in table.referred if name in places]

    def note_key(self, key: str, line: int) -> None:
        """A row that was held back."""
        self.twins.add(text_hash(key)[0], line)
        if self.ring is not None:
            self.ring.add(key)

    def take(self, part: Sifted, first: int) -> None:
        """The rows of a block, of which `first` is the first line."""
        if part.keys is not None:
            self.twins.add_many(part.keys.first, first + part.lines)
            if self.ring is not None:
                self.ring.add_many(part.keys)
        for ring, hashes in zip(self.rings, part.parts, strict=True):
            if ring is not None:
                ring.add_many(hashes)
        for doubles, (words, lines) in zip(self.uniques.values(), part.uniques, strict=True):
            doubles.add_many(words, first + lines)
        for waiting, (pair, lines) in zip(self.waiting, part.links, strict=True):
            waiting.add_many(pair, first + lines)
        for late, (of, says, lines) in zip(self.late, part.late, strict=True):
            late.note_many(of, says, first + lines)


def referred(field: Field, value: str) -> Sequence[str]:
    """The keys that a value refers to."""
    if field.type is FieldType.LIST:
        return items(field, value)
    return (value,) if value else ()


def ring_of(keys: KeySet | Iterable[str]) -> KeyRing:
    """Keys as a ring, however they are held."""
    if isinstance(keys, KeyRing):
        return keys
    ring = KeyRing()
    if isinstance(keys, Iterable):
        ring.add_many(Cells(pa.array(list(keys), pa.string())).hashes)
    return ring.close()
