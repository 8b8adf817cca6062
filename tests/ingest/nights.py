"""Nights as the guard sees them: files are checked, compared with the records so far, and their facts gathered."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ingest.core.diff import Change, What, compare
from ingest.core.errors import RowsError
from ingest.core.facts import (
    Applied,
    Night,
    RowGatherer,
    TableFacts,
    Told,
    absent,
    applied,
    facts_of,
    read_edges,
    watched,
)
from ingest.core.records import Row, read_records
from ingest.core.sampling import epoch
from ingest.core.schema import Format, Mode, Table
from ingest.core.verdict import Limits, Source, Verdict
from tests.ingest.epochs import STUDENTS, Files, checked, sources

FIRST = datetime(2026, 10, 1, 2, 10)


@dataclass
class District:
    """A district's records in memory, by table and key, and the facts of its last applied night."""

    known: Format
    records: dict[str, dict[str, Row]] = field(default_factory=dict)
    last: Applied | None = None
    nights: int = 0
    _changes: dict[str, list[Change]] = field(default_factory=dict)

    def night(self, files: Files, arrived: datetime | None = None, name: str = "") -> Night:
        """Check and compare the files; nothing is applied."""
        arrived = arrived or FIRST + timedelta(days=self.nights)
        verdict = checked(self.known, files)
        self._changes = {}
        tables = tuple(self._table(table, files, verdict) for table in self.known.tables)
        name = name or f"{arrived:%Y%m%d-%H%M%S}"
        return Night(name, self.known.name, arrived, tables, arrived, failed=not verdict.ok)

    def apply(self, files: Files, arrived: datetime | None = None) -> Night:
        """Apply the files whatever they are, and count the night."""
        night = self.night(files, arrived)
        for table, changes in self._changes.items():
            self._apply(self.records.setdefault(table, {}), changes)
        self.last = applied(night, self.last)
        self.nights += 1
        return night

    def changes(self, table: Table, files: Files) -> list[Change]:
        """The changes the files would make in one table."""
        self.night(files)
        return self._changes[table.name]

    def _apply(self, on_record: dict[str, Row], changes: Sequence[Change]) -> None:
        for change in changes:
            if change.what is What.REMOVED:
                del on_record[change.key]
            else:
                on_record[change.key] = change.row

    def _digests(self, table: Table) -> Mapping[str, bytes]:
        return {key: row.digest for key, row in self.records.get(table.name, {}).items()}

    def _table(self, table: Table, files: Files, verdict: Verdict) -> TableFacts:
        base = len(self.records.get(table.name, {}))
        if table.file not in files:
            return absent(table, base)
        content, mode = files[table.file], verdict.modes[table.name]
        gatherer = RowGatherer(table)
        changes = compare(self._digests(table), watched(_rows(table, files), gatherer), _compared_as(mode))
        self._changes[table.name] = list(changes)
        source = sources({table.file: content})[0]
        digest = hashlib.sha256(content).hexdigest()
        told = Told(table.file, mode, len(content), digest, base, changes.counts, read_edges(source.open()))
        return facts_of(table, told, gatherer.seen, verdict)


def _compared_as(mode: Mode) -> Mode:
    """What has no rows counts as not sent; it is compared as what changes nothing."""
    return Mode.CHANGES if mode is Mode.ABSENT else mode


def _rows(table: Table, files: Files) -> Sequence[Row]:
    source: Source = sources({table.file: files[table.file]})[0]
    rows: list[Row] = []
    with suppress(RowsError):
        rows += read_records(table, source, Limits(), strict=False)
    return rows


def students(rows: int = 50, seed: int = 1, night: int = 0) -> Files:
    """One file of students by itself."""
    return {"students.csv": epoch(STUDENTS, rows, seed, night)["students.csv"]}


def after(known: Format, nights: Sequence[Files]) -> District:
    """A district to which these nights have been applied."""
    made = District(known)
    for files in nights:
        made.apply(files)
    return made
