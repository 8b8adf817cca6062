"""What is remembered of a night so that others can be compared with it: numbers and shapes, and nobody's data.

A file of ten million rows is looked at through a sample of at most `SAMPLED` rows, taken evenly from its whole length;
only the numbers of rows and records, and the school years, are of every row.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from hashlib import blake2b
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

from ingest.core.delimiters import COMMA
from ingest.core.diff import Counts
from ingest.core.display import masked
from ingest.core.findings import Severity
from ingest.core.header import showable
from ingest.core.lexical import read_header
from ingest.core.nearest import folded
from ingest.core.records import Row
from ingest.core.schema import Field, MissingRow, Mode, Table
from ingest.core.schoolyear import YEAR_BEGINS, school_year
from ingest.core.values import ISO_DATE, SCIENTIFIC, YEAR
from ingest.core.verdict import Verdict

LAYOUT = 1
# What is said of a night of changes that is not applied.
LOST = "It held changes only: they are lost until a full set is sent."
SAMPLED = 2048
GROUPS = 64
REMEMBERED_NIGHTS = 60
NUMBER = re.compile(r"[0-9]+")
SLASHED = re.compile(r"[0-9]{1,2}/[0-9]{1,2}/[0-9]{2,4}")


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """One column over the sampled rows: how many of its values are what.

    `zeros`: numbers with a 0 in front; `slashed`: dates as spreadsheets write them; `lengths`: length -> how often;
    `groups`: digest of a value -> how often, empty where there are more than `GROUPS` values.
    """

    name: str
    is_id: bool = False
    is_reference: bool = False
    filled: int = 0
    digits: int = 0
    zeros: int = 0
    scientific: int = 0
    slashed: int = 0
    lengths: tuple[tuple[int, int], ...] = ()
    groups: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Edges:
    """Both ends of a file: the names in its header as they stand there, and whether its last line has no end."""

    names: tuple[str, ...] = ()
    bom: bool = False
    unended: bool = False


NONE = Counts()
NOWHERE = Edges()


@dataclass(frozen=True, slots=True)
class TableFacts:
    """One file of a night, compared with what is on record.

    `base`: records there were. `partial`: a file of changes, in which a missing row says nothing. `sound`: no error was
    found in it. `faulty`: rows with an error (at most; two errors of one row may count twice). `strange`: names in the
    header that are not the format's.
    """

    table: str
    file: str
    present: bool = True
    partial: bool = False
    sound: bool = True
    size: int = 0
    content: str = ""
    rows: int = 0
    faulty: int = 0
    repeated: int = 0
    codes: tuple[tuple[str, int], ...] = ()
    base: int = 0
    counts: Counts = NONE
    edges: Edges = NOWHERE
    strange: tuple[str, ...] = ()
    years: tuple[int, ...] = ()
    sampled: int = 0
    columns: tuple[ColumnFacts, ...] = ()

    @property
    def met(self) -> int:
        """Records that are on record and in the file."""
        return self.counts.changed + self.counts.unchanged

    @property
    def records(self) -> int:
        """Records there are if the file is applied."""
        return self.base + self.counts.added - self.counts.removed

    def column(self, name: str) -> ColumnFacts | None:
        return next((one for one in self.columns if one.name == name), None)

    def code(self, *codes: str) -> int:
        """How often findings of these codes were made in the file."""
        return sum(number for code, number in self.codes if code in codes)


@dataclass(frozen=True, slots=True)
class Night:
    """One checked epoch. `named`: the time its name says, if any; it and `arrived` are of the same zone.

    `failed`: the check found errors, so that nothing of it can be applied. `elsewhere`: records that the district has
    in other formats. `alone`: one file that was sent by itself, which says nothing about the others of its set.
    """

    name: str
    format: str
    arrived: datetime
    tables: tuple[TableFacts, ...]
    named: datetime | None = None
    failed: bool = False
    elsewhere: int = 0
    alone: bool = False

    def table(self, name: str) -> TableFacts | None:
        return next((one for one in self.tables if one.table == name), None)

    @property
    def content(self) -> str:
        """A digest of all that the night says: its format and each file's content."""
        files = sorted((one.table, one.content, one.partial) for one in self.tables if one.present)
        return _digest([self.format, files])

    @property
    def is_partial(self) -> bool:
        return any(one.partial for one in self.tables)

    @property
    def loss(self) -> str:
        """What is lost if it is not applied, in a sentence; empty if nothing is."""
        return LOST if any(one.partial and one.rows for one in self.tables) else ""


@dataclass(frozen=True, slots=True)
class Earlier:
    """A night that was applied once: its name and its content."""

    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Applied:
    """What the records of a district are now: the last applied night, with the facts of files it did not bring.

    `content` is that night's own; `since`: when it came, so nights that change nothing do not move it.
    """

    night: Night
    content: str
    since: datetime
    earlier: tuple[Earlier, ...] = ()

    @property
    def state(self) -> str:
        """A digest of what a night was compared with. It changes as soon as another night is applied or undone."""
        tables = sorted((one.table, one.content, one.records) for one in self.night.tables)
        return _digest([self.night.name, self.night.format, self.content, tables])


def state_of(before: Applied | None) -> str:
    """The digest of the state; that of a district without any applied night is a digest too."""
    return before.state if before else _digest([])


def applied(night: Night, before: Applied | None) -> Applied:
    """What there is to compare with after this night has been applied."""
    if before is None or before.night.format != night.format:
        return Applied(night, night.content, night.arrived)
    carried = {one.table: _carried(one, night.is_partial or night.alone) for one in before.night.tables}
    now = {one.table: _merged(one, before.night.table(one.table)) for one in night.tables if one.present}
    earlier = (*before.earlier, Earlier(before.night.name, before.content))[-REMEMBERED_NIGHTS:]
    tables = tuple({**carried, **now}.values())
    return Applied(replace(night, tables=tables), night.content, night.arrived, earlier)


def _carried(then: TableFacts, stays: bool) -> TableFacts:
    """Facts of a file that did not come: it stays one of the usual set if only changes or one file were sent."""
    still = replace(then, base=then.records, counts=Counts(unchanged=then.records))
    return still if stays else replace(still, present=False)


def _merged(now: TableFacts, then: TableFacts | None) -> TableFacts:
    """A file of changes says how many records there are now, but not what a whole file looks like."""
    if not now.partial or then is None:
        return now
    return replace(then, content=now.content, base=now.records, counts=Counts(unchanged=now.records))


@dataclass(frozen=True, slots=True)
class Seen:
    """What reading the rows has shown: their number, the sampled values by column name, every school year."""

    rows: int
    sample: tuple[Mapping[str, str], ...]
    years: frozenset[int] = frozenset()


class Gatherer(Protocol):
    """Looks at the records of one file. An engine that reads columns makes a `Seen` in its own way."""

    def see(self, row: Row) -> None: ...

    @property
    def seen(self) -> Seen: ...


class RowGatherer:
    """Looks at records one by one, at the price of a comparison for all but the sampled ones."""

    def __init__(self, table: Table, year_begins: tuple[int, int] = YEAR_BEGINS) -> None:
        self._begins = year_begins
        self._years = year_columns(table)
        self._found: set[str] = set()
        self._spread: Spread[Mapping[str, str]] = Spread(SAMPLED)

    def see(self, row: Row) -> None:
        self._spread.see(row.values)
        for name in self._years:
            self._found.add(row.values[name])

    @property
    def seen(self) -> Seen:
        return Seen(self._spread.number, tuple(self._spread.kept), school_years(self._found, self._begins))


T = TypeVar("T")


class Spread(Generic[T]):
    """Keeps at most `most` things of a stream of unknown length, evenly spread over it, never by chance."""

    def __init__(self, most: int) -> None:
        self.number = 0
        self.kept: list[T] = []
        self._most = most
        self._stride = 1

    def see(self, one: T) -> None:
        if not self.number % self._stride:
            self.kept.append(one)
            if len(self.kept) > self._most:
                del self.kept[1::2]
                self._stride *= 2
        self.number += 1


def watched(rows: Iterable[Row], gatherer: Gatherer) -> Iterator[Row]:
    """The same rows, looked at on their way: so that a comparison and the facts need one reading."""
    for row in rows:
        gatherer.see(row)
        yield row


def year_columns(table: Table) -> tuple[str, ...]:
    """The columns that tell the school year of a file."""
    return tuple(one.name for one in table.kept_fields if one.school_year)


def school_years(values: Iterable[str], begins: tuple[int, int] = YEAR_BEGINS) -> frozenset[int]:
    """The school years named by values of such columns: years, and last days as records hold them."""
    years = {int(value) for value in values if YEAR.fullmatch(value)}
    days = (date.fromisoformat(value) for value in values if ISO_DATE.fullmatch(value))
    return frozenset(years | {school_year(day, begins) for day in days})


def read_edges(stream: BinaryIO, text: BinaryIO | None = None, mark: str = COMMA.mark) -> Edges:
    """Both ends of a text that can be sought in; `text` is the same as UTF-8 where it is in another encoding.

    `mark` stands between its values.
    """
    bom = stream.read(3) == b"\xef\xbb\xbf"
    stream.seek(0)
    names = read_header(text or stream, mark) or ()
    end = stream.seek(0, os.SEEK_END)
    stream.seek(max(end - 2, 0))
    # In UTF-16 a NUL may stand behind the line end.
    return Edges(names, bom, bool(end) and not stream.read(2).rstrip(b"\0").endswith((b"\n", b"\r")))


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a file beside its rows. `file` as in the verdict; `content`: any digest of its bytes."""

    file: str
    mode: Mode
    size: int
    content: str
    base: int
    counts: Counts
    edges: Edges


def facts_of(table: Table, told: Told, seen: Seen, verdict: Verdict) -> TableFacts:
    """The facts of one file that was sent."""
    counted = next((one for one in verdict.counts if one.file == told.file), None)
    codes = Counter[str]()
    for one in verdict.tallies:
        codes[one.code] += one.count if one.file == told.file else 0
    errors = sum(one.count for one in verdict.tallies if one.file == told.file and one.severity is Severity.ERROR)
    rows = counted.rows if counted else seen.rows
    names = _kept_names(table, told.edges.names)
    return TableFacts(
        table=table.name,
        file=told.file,
        partial=told.mode is Mode.CHANGES and table.missing_row is not MissingRow.KEPT,
        sound=not errors,
        size=told.size,
        content=told.content,
        rows=rows,
        faulty=min(errors, rows),
        repeated=codes["key-repeated"] + codes["key-duplicate"],
        codes=tuple(sorted((code, number) for code, number in codes.items() if number)),
        base=told.base,
        counts=told.counts,
        edges=replace(told.edges, names=names),
        strange=_strange(table, names),
        years=tuple(sorted(seen.years)),
        sampled=len(seen.sample),
        columns=column_facts(table, seen.sample),
    )


def absent(table: Table, base: int) -> TableFacts:
    """The facts of a file that was not sent."""
    return TableFacts(table.name, table.file, present=False, base=base, counts=Counts(unchanged=base))


def _kept_names(table: Table, names: Sequence[str]) -> tuple[str, ...]:
    """The names in a first line. What may be a value is kept as a shape; without a known name nothing is kept."""
    known, shown = {folded(name) for name in _known_names(table)}, showable(table, names)
    is_header = any(folded(name) in known for name in names)
    return tuple(name if name in shown else masked(name) for name in names) if is_header else ()


def _strange(table: Table, names: Sequence[str]) -> tuple[str, ...]:
    known = _known_names(table)
    return tuple(name for name in names if name and name not in known)


def _known_names(table: Table) -> set[str]:
    return {name for one in table.fields for name in (one.name, *one.aliases)}


def column_facts(table: Table, sample: Sequence[Mapping[str, str]]) -> tuple[ColumnFacts, ...]:
    """The facts of every stored column over sampled rows."""
    references = {one.field for one in table.references}
    return tuple(_column(table, one, references, [row[one.name] for row in sample]) for one in table.kept_fields)


def _column(table: Table, one: Field, references: set[str], values: Sequence[str]) -> ColumnFacts:
    filled = [value for value in values if value]
    different = Counter(filled)
    numbers = {value: times for value, times in different.items() if NUMBER.fullmatch(value)}
    return ColumnFacts(
        name=one.name,
        is_id=one.identifier or one.name in table.key or one.name in references,
        is_reference=one.name in references,
        filled=len(filled),
        digits=sum(numbers.values()),
        zeros=sum(times for value, times in numbers.items() if value[0] == "0" and len(value) > 1),
        scientific=sum(times for value, times in different.items() if SCIENTIFIC.fullmatch(value)),
        slashed=sum(times for value, times in different.items() if SLASHED.fullmatch(value)),
        lengths=tuple(sorted(Counter(map(len, filled)).items())),
        groups=_groups(different),
    )


def _groups(different: Counter[str]) -> tuple[tuple[str, int], ...]:
    if len(different) > GROUPS:
        return ()
    named = ((blake2b(value.encode(), digest_size=6).hexdigest(), times) for value, times in different.items())
    return tuple(sorted(named))


def _digest(told: object) -> str:
    return blake2b(json.dumps(told).encode(), digest_size=16).hexdigest()


def dumped(state: Applied) -> dict[str, Any]:
    """As plain JSON values, to be kept with the district."""
    return {"layout": LAYOUT, **json.loads(json.dumps(asdict(state), default=datetime.isoformat))}


def loaded(kept: Mapping[str, Any]) -> Applied | None:
    """What `dumped` gave; None if another version of the portal wrote it, so that there is nothing to compare with."""
    if kept.get("layout") != LAYOUT:
        return None
    earlier = tuple(Earlier(**one) for one in kept["earlier"])
    return Applied(_night(kept["night"]), kept["content"], datetime.fromisoformat(kept["since"]), earlier)


def _night(kept: Mapping[str, Any]) -> Night:
    named = datetime.fromisoformat(kept["named"]) if kept["named"] else None
    tables = tuple(_table(one) for one in kept["tables"])
    arrived = datetime.fromisoformat(kept["arrived"])
    more = {"elsewhere": kept.get("elsewhere", 0), "alone": kept.get("alone", False)}
    return Night(kept["name"], kept["format"], arrived, tables, named, kept["failed"], **more)


def _table(kept: Mapping[str, Any]) -> TableFacts:
    edges = Edges(tuple(kept["edges"]["names"]), kept["edges"]["bom"], kept["edges"]["unended"])
    columns = tuple(ColumnFacts(**{name: _tupled(value) for name, value in one.items()}) for one in kept["columns"])
    plain = {name: _tupled(value) for name, value in kept.items()}
    return TableFacts(**{**plain, "edges": edges, "columns": columns, "counts": Counts(**kept["counts"])})


def _tupled(value: Any) -> Any:
    return tuple(_tupled(one) for one in value) if isinstance(value, list) else value
