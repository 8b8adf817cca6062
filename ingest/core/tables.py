"""One file against its table: every line, every value, every key, with the numbers and findings that follow."""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import BinaryIO

from ingest.core.display import counted, listed, shown_name
from ingest.core.errors import ArchiveError
from ingest.core.findings import Ledger
from ingest.core.header import Columns, HeaderFault, read_columns
from ingest.core.lexical import CUT_OFF, Flaw, RawRow, Rows, Trace
from ingest.core.records import Row, first_row, fitted, has_key, key_of_values, picker, read_records, tidied
from ingest.core.references import Keys, KeySet, Waiting
from ingest.core.rowrules import RowFault, RowJudge, row_judge
from ingest.core.rules import usual
from ingest.core.schema import Field, Mode, Reference, Table, key_place
from ingest.core.values import Accepts, acceptor, explain, items
from ingest.core.verdict import Limits, Source

PROGRESS_ROWS = 10_000


@dataclass(slots=True)
class Bench:
    """What all files of one check share."""

    ledger: Ledger
    keys: Keys
    limits: Limits
    progress: Callable[[int], None]
    rows: int = 0


@dataclass(slots=True)
class Marks:
    """Rows of a full file that carry the marks of a file of changes."""

    every: int = 0
    some: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Link:
    """A column that refers to keys: where it stands, and the keys if they are complete by now."""

    at: int
    field: Field
    reference: Reference
    known: Container[str]
    waiting: Waiting | None


class TableCheck:
    """The check of one file. `run` once; then `rows`, `blank`, `mode` and `usable` tell what came of it."""

    def __init__(self, bench: Bench, table: Table, source: Source, mode: Mode) -> None:
        self.bench = bench
        self.table = table
        self.source = source
        self.file = shown_name(source.name)
        self.mode = mode
        self.rows = self.blank = 0
        self.usable = True
        self.marks = Marks()
        self.required = frozenset(one.name for one in table.fields if one.required or self._is_mark_now(one))
        self.keys: KeySet = bench.keys.seen.get(table.name, set())
        self._twins: set[str] = set()
        self._uniques: dict[str, dict[str, int]] = {}

    def run(self) -> None:
        """Read the file once; twice more only if keys stand in it twice."""
        try:
            with closing(self.source.open()) as stream:
                self._read(self._rows(stream))
            self._tell_twins()
        except ArchiveError as error:
            self._report("unreadable", error.message, hint=error.hint)
            self.usable = False
        self._tell_marks()

    def _rows(self, stream: BinaryIO) -> Rows:
        return Rows(stream, self.bench.limits.line_bytes, self.source.delimiter.mark)

    def _is_mark_now(self, one: Field) -> bool:
        return self.mode is Mode.CHANGES and one.name in self.table.change_marks

    def _report(
        self, code: str, message: str, line: int | None = None, column: str = "", hint: str = "", value: str = ""
    ) -> None:
        severity = self.table.severity(code)
        self.bench.ledger.report(severity, self.file, code, message, line=line, column=column, hint=hint, value=value)

    def _read(self, rows: Rows) -> None:
        feed = iter(rows)
        header = first_row(feed)
        if header is None:
            self.usable = False
            return
        columns = self._columns(header)
        if columns is not None and columns.usable:
            rows.set_width(columns.width)
            self._read_rows(rows, feed, columns, header.values or [])
        self.usable = columns is not None and columns.usable and has_key(self.table, columns)
        self._tell_text(rows.trace, columns is not None and columns.usable)

    def _columns(self, header: RawRow) -> Columns | None:
        if header.flaw:
            self._report(header.flaw.code, header.flaw.message, line=header.line, hint=self._hint(header.flaw))
            return None
        if "\0" in header.text:
            self._report("nul", "There is a NUL character in the header.", line=header.line, hint=BINARY)
            return None
        columns = read_columns(self.table, header.values or [], self.required, self.source.delimiter)
        for one in columns.faults:
            self._tell_header(one, header.line)
        return columns

    def _tell_header(self, one: HeaderFault, line: int) -> None:
        told = one.fault
        known = next((field for field in self.table.fields if field.name == one.column), None)
        severity = (known or self.table).severity(told.code)
        self.bench.ledger.report(
            severity, self.file, told.code, told.message, line=line, column=one.column, hint=told.hint
        )

    def _read_rows(self, rows: Rows, feed: Iterator[RawRow], columns: Columns, header: list[str]) -> None:
        width, judges, links = columns.width, self._judges(columns), self._links(columns)
        key_of, note_key = self._key_maker(columns), self._note_key
        marks = self._mark_places(columns)
        marked = picker([at for at, _ in marks])
        uniques = self._unique_places(columns)
        parts, judge = self._parts(columns), self._judge(columns)
        self._begin(columns, links)
        # A blank after or before what stands between values.
        after, before = (f"{self.source.delimiter.mark} ", f" {self.source.delimiter.mark}")
        for raw in feed:
            line, text, values, flaw, quoted = raw
            if flaw is not None or values is None or len(values) != width:
                values = self._odd(rows, raw, width)
                if values is None:
                    continue
            if (
                quoted
                or not text.isprintable()
                or after in text
                or before in text
                or text[:1] == " "
                or text[-1:] == " "
            ):
                values = self._tidy(raw, values, columns)
            for at, accepts in judges:
                if not accepts(values[at]):
                    counts = self._faults(raw, values, columns, header)
                    break
            else:
                counts = True
            if not counts:
                continue
            self._count()
            if key_of is not None and (key := key_of(values)):
                note_key(key, line)
            for link in links:
                if (value := values[link.at]) and value not in link.known:
                    self._refer(link, value, line)
            for at, known in parts:
                known.add(values[at])
            if judge is not None:
                self._tell_row(judge.look(values, line))
            if marks and any(marked(values)):
                self._mark(marks, values, line)
            for at, name in uniques:
                self._unique(name, values[at], line)
        self._end(judge)

    def _begin(self, columns: Columns, links: list[Link]) -> None:
        """Called when the header is known and before the first row is read."""

    def _judge(self, columns: Columns) -> RowJudge | None:
        return row_judge(self.table, columns.places)

    def _end(self, judge: RowJudge | None) -> None:
        """Called when the last row has been read."""
        if judge is not None:
            self._tell_row(judge.end())

    def _note_key(self, key: str, line: int) -> None:
        if key in self.keys:
            self._twins.add(key)
        else:
            self.keys.add(key)

    def _tell_row(self, faults: Iterable[RowFault]) -> None:
        for one in faults:
            severity = self.table.severity(one.code) if one.severity is None else one.severity
            self.bench.ledger.report(
                severity, self.file, one.code, one.message, line=one.line, column=one.column, hint=one.hint
            )

    def _unique_places(self, columns: Columns) -> list[tuple[int, str]]:
        places = columns.places
        return [(places[one.name], one.name) for one in self.table.fields if one.unique and one.name in places]

    def _parts(self, columns: Columns) -> list[tuple[int, KeySet]]:
        """Columns of the key that others refer to by themselves, and where their values are kept."""
        named = [(name, self.bench.keys.seen.get(key_place(self.table.name, name))) for name in self.table.referred]
        return [(columns.places[name], seen) for name, seen in named if seen is not None and name in columns.places]

    def _count(self) -> None:
        self.rows += 1
        self.bench.rows += 1
        if not self.bench.rows % PROGRESS_ROWS:
            self.bench.progress(self.bench.rows)

    def _judges(self, columns: Columns) -> list[tuple[int, Accepts]]:
        made = [
            (columns.places[one.name], acceptor(one, one.name in self.required))
            for one in self.table.fields
            if one.name in columns.places
        ]
        # Where any text does, only this finds the header where it stands once more among the rows.
        first = [columns.places[name] for name in self.table.key[:1] if name in columns.places]
        again = [(at, columns.names[at].__ne__) for at in first]
        return [*again, *((at, accepts) for at, accepts in made if accepts is not None)]

    def _key_maker(self, columns: Columns) -> Callable[[Sequence[str]], str] | None:
        return key_of_values(self.table, columns) if has_key(self.table, columns) else None

    def _links(self, columns: Columns) -> list[Link]:
        keys, unchecked, links = self.bench.keys, [], []
        for reference in self.table.references:
            column = self.table.field(reference.field)
            if column.name not in columns.places or column.severity("reference") is None:
                continue
            if keys.knows(reference.place):
                links.append(self._link(columns.places[column.name], column, reference))
            else:
                unchecked.append(column.name)
        if unchecked:
            message = f"References in {listed(unchecked)} are not checked: what they refer to was not sent in full."
            self._report("reference-unchecked", message)
        return links

    def _link(self, at: int, column: Field, reference: Reference) -> Link:
        keys = self.bench.keys
        waiting = None
        if reference.table not in keys.read:
            waiting = Waiting(self.file, column, reference)
            keys.waiting.append(waiting)
        return Link(at, column, reference, keys.seen[reference.place], waiting)

    def _refer(self, link: Link, value: str, line: int) -> None:
        for key in items(link.field, value) if link.field.type == "list" else (value,):
            if key in link.known or key in link.reference.besides:
                continue
            if link.waiting is not None:
                link.waiting.add(key, line)
            else:
                self.bench.keys.tell(self.file, link.field, link.reference, line, key)

    def _mark_places(self, columns: Columns) -> list[tuple[int, str]]:
        if self.mode is not Mode.FULL:
            return []
        return [(columns.places[name], name) for name in self.table.change_marks if name in columns.places]

    def _mark(self, marks: list[tuple[int, str]], values: list[str], line: int) -> None:
        filled = [name for at, name in marks if values[at]]
        self.marks.every += len(filled) == len(self.table.change_marks)
        self.marks.some += 1
        if len(self.marks.first) < self.bench.limits.most_told:
            self.marks.first.append((line, filled[0]))

    def _unique(self, name: str, value: str, line: int) -> None:
        first = self._uniques.setdefault(name, {}).setdefault(value, line) if value else line
        if first != line:
            message = f"The value stands in line {first} already, and must stand once only."
            severity = self.table.field(name).severity("not-unique")
            self.bench.ledger.report(severity, self.file, "not-unique", message, line=line, column=name, value=value)

    def _odd(self, rows: Rows, raw: RawRow, width: int) -> list[str] | None:
        """The values of a row that is not plainly of the right width, or None when that has been told."""
        if raw.flaw is None and raw.values is not None:
            if not any(value.strip() for value in raw.values):
                self.blank += 1
                return None
            values = fitted(raw.values, width)
            if values is not None:
                message = f"The row ends in more {self.source.delimiter.many} than the header."
                self._report("trailing-commas", message, line=raw.line)
                return values
        self._count()
        self._tell_flaw(rows, raw, width)
        return None

    def _tell_flaw(self, rows: Rows, raw: RawRow, width: int) -> None:
        found, one = len(raw.values or ()), self.source.delimiter.one
        if (raw.flaw is None or raw.flaw.code == "quote-unclosed") and found < width and rows.at_open_end():
            self._report(CUT_OFF.code, CUT_OFF.message, line=raw.line, hint=CUT_OFF.hint)
        elif raw.flaw is not None:
            self._report(raw.flaw.code, raw.flaw.message, line=raw.line, hint=self._hint(raw.flaw))
        elif found < width:
            message = f"The row has {counted(found, 'value')}, the header has {counted(width, 'column')}."
            hint = f"Is {one} missing, or a line broken in two?"
            self._report("row-short", message, line=raw.line, hint=hint)
        else:
            message = f"The row has {counted(found, 'value')}, the header has {counted(width, 'column')}."
            self._report("row-long", message, line=raw.line, hint=f"A value with {one} in it needs quotes around it.")

    def _hint(self, flaw: Flaw) -> str:
        return NO_WINDOWS_1252 if flaw.code == "encoding" and self.source.encoding else flaw.hint

    def _tidy(self, raw: RawRow, values: list[str], columns: Columns) -> list[str]:
        plain = raw.text.replace("\n", "") if raw.last > raw.line else raw.text
        if raw.last > raw.line:
            self._report("line-break", "A value of this row goes over several lines.", line=raw.line)
        if not plain.isprintable():
            self._tell_controls(raw.line, values, columns)
        clean = tidied(values)
        if clean != values:
            names = {at: name for name, at in columns.places.items()}
            for at, (old, new) in enumerate(zip(values, clean, strict=True)):
                if new and old != new:
                    message = "The value has blanks around it; they are left out."
                    self._report("outer-blanks", message, line=raw.line, column=names.get(at, ""))
        return clean

    def _tell_controls(self, line: int, values: list[str], columns: Columns) -> None:
        names = {at: name for name, at in columns.places.items()}
        for at, value in enumerate(values):
            column = names.get(at, "")
            if "\0" in value:
                self._report("nul", "There is a NUL character in this value.", line=line, column=column, hint=BINARY)
            elif any(_is_control(character) for character in value):
                self._report("control-character", "There is an invisible control character.", line=line, column=column)

    def _faults(self, raw: RawRow, values: list[str], columns: Columns, header: list[str]) -> bool:
        """Tell all that is wrong in a row; False when it is no row of data after all."""
        if not any(values):
            self.blank += 1
            return False
        if values == tidied(header):
            self._report("header-repeated", "The header stands here once more.", line=raw.line, hint=TWICE)
            return False
        for one in self.table.fields:
            if one.name in columns.places:
                self._fault(raw.line, one, values[columns.places[one.name]])
        return True

    def _fault(self, line: int, one: Field, value: str) -> None:
        fault = explain(one, one.name in self.required, value)
        if fault is None:
            return
        code = "key-empty" if fault.code == "required" and one.name in self.table.key else fault.code
        severity = usual(code) if code == "key-empty" else one.severity(code)
        self.bench.ledger.report(
            severity, self.file, code, fault.message, line=line, column=one.name, hint=fault.hint, value=value
        )

    def _tell_text(self, trace: Trace, whole: bool) -> None:
        if self.source.encoding:
            self._report("windows-1252", READ_AS_WINDOWS_1252, hint="Are names with accents right? UTF-8 is safer.")
        if trace.encoding != "UTF-8":
            self._report(
                "utf-16", f"The file is written in {trace.encoding}, not in UTF-8.", hint="Export it as UTF-8."
            )
        if whole and trace.mixed:
            self._report("mixed-line-ends", f"Lines end in different ways: {', '.join(trace.mixed)}.")

    def _tell_twins(self) -> None:
        if self._twins:
            self._compare(self._twin_rows)

    def _compare(self, twin_rows: Callable[[], Iterator[Row]]) -> None:
        """Tell of rows that have one key; they are read twice."""
        first: dict[str, tuple[int, bytes, bool]] = {}
        unlike: set[str] = set()
        for row in twin_rows():
            _, digest, deleted = first.setdefault(row.key, (row.line, row.digest, row.deleted))
            if (digest, deleted) != (row.digest, row.deleted):
                unlike.add(row.key)
        for row in twin_rows():
            self._tell_twin(row.line, row.key, first[row.key][0], row.key in unlike)

    def _twin_rows(self) -> Iterator[Row]:
        records = read_records(self.table, self.source, self.bench.limits, strict=False)
        return (row for row in records if row.key in self._twins)

    def _tell_twin(self, line: int, key: str, first: int, unlike: bool) -> None:
        column = self.table.key[0]
        if unlike:
            other = f"first in line {first}" if first != line else "and again further down"
            message = f"This key stands in several rows that differ ({other}), so none of them can be trusted."
            self._report("key-duplicate", message, line, column, "Send one row for each key.", key)
        elif first != line:
            self._report("key-repeated", f"This row repeats line {first} and counts once.", line, column, value=key)

    def _tell_marks(self) -> None:
        """A file whose every row is marked is one of changes, whatever it was said to be: the data wins."""
        if not self.marks.some:
            return
        names = listed(self.table.change_marks)
        if self.marks.every == self.rows:
            self.mode = Mode.CHANGES
            message = f"Every row has {names}, so this is read as a file of changes: missing rows are not removed."
            self._report("manifest-mode", message, hint=f"In a full file leave {names} empty.")
            return
        for line, column in self.marks.first:
            self._report("marked-in-full", "This is empty in a full file.", line=line, column=column)
        unread = self.marks.some - len(self.marks.first)
        self.bench.ledger.count(self.table.severity("marked-in-full"), self.file, "marked-in-full", unread)


def _is_control(character: str) -> bool:
    return (character < " " and character not in "\t\n") or "\x7f" <= character < "\xa0"


READ_AS_WINDOWS_1252 = "The file is not in UTF-8. It is read as Windows-1252, as your file settings allow."
NO_WINDOWS_1252 = "It is not Windows-1252 either. Have the file exported as UTF-8."
BINARY = "Is this a text file? Export it again."
TWICE = "Leave the second header out; were two files put together?"
