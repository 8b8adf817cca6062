"""What one epoch's files would change if another's had been loaded before: record by record, and in which columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ingest.core.diff import Counts
from ingest.core.engine import engine
from ingest.core.errors import ArchiveError, RowsError
from ingest.core.schema import Format, Mode, Table
from ingest.core.verdict import Source, Verdict


@dataclass(frozen=True, slots=True)
class Night:
    """One epoch that was checked: its verdict, and its files by the names of their tables."""

    verdict: Verdict
    sources: Mapping[str, Source]

    def mode(self, table: Table) -> Mode:
        return self.verdict.modes[table.name] if table.name in self.sources else Mode.ABSENT


@dataclass(frozen=True, slots=True)
class TableDiff:
    """What becomes of a table's records. `columns`: in how many changed records each differs.

    `columns` is of the first 50,000 changed records.
    """

    table: str
    counts: Counts
    columns: Mapping[str, int] = field(default_factory=dict)


def differences(known: Format, before: Night, after: Night) -> tuple[TableDiff, ...]:
    """Table by table, those that were sent and whose rows can be read. Takes some fifty bytes a record."""
    return tuple(found for table in known.tables if (found := _difference(known, table, before, after)) is not None)


def _difference(known: Format, table: Table, before: Night, after: Night) -> TableDiff | None:
    if after.mode(table) is Mode.ABSENT:
        return None
    try:
        counts, columns = engine("tablediff").difference(known, table, before, after)
    except (RowsError, ArchiveError):
        return None
    return TableDiff(table.name, counts, columns)
