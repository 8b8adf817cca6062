"""Rows of a checked file as records: a key, the values by column name, and a digest to compare nights by."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from operator import itemgetter
from typing import NamedTuple

from ingest.core.errors import RowsError
from ingest.core.header import Columns, read_columns
from ingest.core.lexical import RawRow, Rows
from ingest.core.rowhash import row_hash
from ingest.core.schema import Table
from ingest.core.values import canonical
from ingest.core.verdict import Limits, Source


class Row(NamedTuple):
    """One record. `digest` (16 bytes) tells its content: columns as the format orders them, change marks left out."""

    key: str
    values: dict[str, str]
    digest: bytes
    deleted: bool
    line: int


class RecordMaker:
    """Turns the values of a row, as the file orders them, into a record as the format orders it."""

    def __init__(self, table: Table, columns: Columns) -> None:
        fields = table.kept_fields
        self.names = tuple(field.name for field in fields)
        # A column that the file lacks reads from one empty value put after the row's own.
        self._pick = picker([columns.places.get(name, columns.width) for name in self.names])
        self._shape = [
            (at, make) for at, field in enumerate(fields) if (make := canonical(field)) and field.name in columns.places
        ]
        told = [at for at, field in enumerate(fields) if field.name not in table.change_marks]
        self._told = None if len(told) == len(fields) else picker(told)
        self._deletion = (self.names.index(table.deletion.field), table.deletion.value) if table.deletion else None
        self._key = key_maker([self.names.index(name) for name in table.key])

    def row(self, values: list[str], line: int) -> Row:
        """The record of a row of the header's width."""
        picked = list(self._pick((*values, "")))
        for at, make in self._shape:
            picked[at] = make(picked[at])
        told = picked if self._told is None else self._told(picked)
        gone = self._deletion is not None and picked[self._deletion[0]] == self._deletion[1]
        return Row(self._key(picked), dict(zip(self.names, picked, strict=True)), row_hash(told), gone, line)


def key_maker(places: Sequence[int]) -> Callable[[Sequence[str]], str]:
    """The key of a row: one value as it is, several joined by `|` so that no two sets of values are alike."""
    if len(places) == 1:
        return itemgetter(places[0])
    return lambda values: "|".join(values[at].replace("\\", "\\\\").replace("|", "\\|") for at in places)


def has_key(table: Table, columns: Columns) -> bool:
    """Whether every column of the key is in the file, but those that may be empty."""
    return all(name in columns.places or name in table.optional_key for name in table.key)


def key_of_values(table: Table, columns: Columns) -> Callable[[Sequence[str]], str]:
    """The key of a row as it stands in the file, which is the key of its record.

    A column that may be empty may be missing, too; where case is forgiven, the list's own spelling counts.
    """
    fields = [table.field(name) for name in table.key]
    if all(field.name in columns.places and canonical(field) is None for field in fields):
        return key_maker([columns.places[field.name] for field in fields])
    reads = [(columns.places.get(field.name, columns.width), canonical(field) or str) for field in fields]
    make = key_maker(range(len(reads)))

    def key(values: Sequence[str]) -> str:
        padded = (*values, "")
        return make([shape(padded[at]) for at, shape in reads])

    return key


def tidied(values: list[str]) -> list[str]:
    """Values without outer blanks, which no column here means to have."""
    return [value.strip() for value in values]


def read_records(table: Table, source: Source, limits: Limits, strict: bool = True) -> Iterator[Row]:
    """The records of a file, in its order. Not strict: what is no row is passed over. Raises RowsError if strict."""
    with closing(source.open()) as stream:
        rows = Rows(stream, limits.line_bytes, source.delimiter.mark)
        feed = iter(rows)
        columns = read_columns(table, header_values(feed), frozenset(), source.delimiter)
        if not columns.usable or not has_key(table, columns):
            raise RowsError("not-checked", f"`{table.file}` has no header that can be read.")
        rows.set_width(columns.width)
        maker = RecordMaker(table, columns)
        for raw in feed:
            values = fitted(raw.values, columns.width)
            if values is not None and any(values):
                yield maker.row(values, raw.line)
            elif strict and (raw.flaw or values is None):
                raise RowsError("not-checked", f"`{table.file}` has not passed its check: line {raw.line}.")


def header_values(feed: Iterator[RawRow]) -> list[str]:
    """The values of the first row that is not blank; an empty list where there is none."""
    row = first_row(feed)
    return row.values or [] if row else []


def first_row(feed: Iterator[RawRow]) -> RawRow | None:
    """The first row that is not blank."""
    return next((row for row in feed if row.flaw or any(value.strip() for value in row.values or ())), None)


def fitted(values: list[str] | None, width: int) -> list[str] | None:
    """Values without outer blanks, cut to the width if only empty ones stand beyond; None if they do not fit."""
    if values is None:
        return None
    values = tidied(values)
    if len(values) > width and not any(values[width:]):
        values = values[:width]
    if len(values) < width and not any(values):
        return [""] * width
    return values if len(values) == width else None


def picker(places: Sequence[int]) -> Callable[[Sequence[str]], Sequence[str]]:
    """Takes the values at these places out of a row, always as a sequence."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda values: tuple(values[at] for at in places)
