"""The file that says what the other files are: full, changes only, or not sent."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ingest.core.display import listed, shown_name
from ingest.core.errors import ArchiveError, RowsError
from ingest.core.findings import Ledger
from ingest.core.nearest import did_you_mean, nearest
from ingest.core.records import Row, read_records
from ingest.core.schema import Format, Manifest, Mode, Property
from ingest.core.verdict import Limits, Source


@dataclass(slots=True)
class Stated:
    """What a manifest says of each table; a table it does not speak of is not in `modes`."""

    modes: dict[str, Mode] = field(default_factory=dict)
    readable: bool = True


def read_manifest(known: Format, manifest: Manifest, source: Source, ledger: Ledger, limits: Limits) -> Stated:
    """Read and judge the pairs of a manifest. Lines that are no rows have been told already."""
    return _Reading(known, manifest, shown_name(source.name), ledger).run(source, limits)


class _Reading:
    def __init__(self, known: Format, manifest: Manifest, file: str, ledger: Ledger) -> None:
        self.known = known
        self.manifest = manifest
        self.file = file
        self.ledger = ledger

    def run(self, source: Source, limits: Limits) -> Stated:
        try:
            rows = {row.key: row for row in read_records(self.manifest.table, source, limits, strict=False)}
        except (RowsError, ArchiveError):
            return Stated(readable=False)
        for one in self.manifest.properties:
            self._judge_property(one, rows)
        stated = Stated(dict(self._modes(rows)))
        self._tell_unknown(rows)
        return stated

    def _report(self, code: str, message: str, row: Row | None, column: str = "", hint: str = "") -> None:
        line = row.line if row else None
        severity = self.manifest.table.severity(code)
        self.ledger.report(severity, self.file, code, message, line=line, column=column, hint=hint)

    def _judge_property(self, one: Property, rows: Mapping[str, Row]) -> None:
        row = next((rows[name] for name in (one.name, *one.aliases) if name in rows), None)
        if row is None:
            if one.required:
                self._report("manifest-missing", f"The row `{one.name}` is missing.", None, self.manifest.name_field)
        elif one.values and row.values[self.manifest.value_field] not in one.values:
            message = f"`{one.name}` has to be {listed(one.values)} here."
            self._report("manifest-value", message, row, self.manifest.value_field)

    def _modes(self, rows: Mapping[str, Row]) -> Iterator[tuple[str, Mode]]:
        for table in self.known.tables:
            row = rows.get(self.manifest.mode_prefix + table.name)
            if row is None:
                self._report(
                    "manifest-incomplete", f"The row `{self.manifest.mode_prefix}{table.name}` is missing.", None
                )
                continue
            mode = self.manifest.modes.get(row.values[self.manifest.value_field])
            if mode is not None:
                yield table.name, mode
                continue
            message = f"What `{shown_name(row.key)}` is must be one of {listed(self.manifest.modes)}."
            self._report("manifest-value", message, row, self.manifest.value_field)

    def _tell_unknown(self, rows: Mapping[str, Row]) -> None:
        names = {name for one in self.manifest.properties for name in (one.name, *one.aliases)}
        names |= {self.manifest.mode_prefix + table.name for table in self.known.tables}
        for row in rows.values():
            if row.key not in names:
                hint = did_you_mean(nearest(row.key[:100], names - rows.keys()))
                message = f"`{shown_name(row.key)}` is not known in a manifest and is passed over."
                self._report("manifest-unknown", message, row, self.manifest.name_field, hint)
