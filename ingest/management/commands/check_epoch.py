"""`manage.py check_epoch`: what the portal would say to an epoch. Reads a folder or zip, needs no database."""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from ingest.catalogue import format_named, formats
from ingest.core.delimiters import COMMA, EVERY, delimiter_of
from ingest.core.display import listed, shown_name
from ingest.core.findings import Finding, Severity
from ingest.core.nearest import did_you_mean, nearest
from ingest.core.nightdiff import Night, TableDiff, differences
from ingest.core.report import EpochSummary, FileSummary, render_check
from ingest.core.schema import Format
from ingest.core.verdict import FileCounts
from ingest.examining import Examined, State, Wanted, examine
from ingest.parcels import NotReadable, parcel_at

STATUS = {State.OK: 0, State.ERRORS: 1, State.UNRECOGNISED: 2}
NOT_LOOKED_AT = 3
PROGRESS_SECONDS = 0.2
HELP = """\
Check epochs before they are sent: folders, zips or single files. Nothing is changed, and no database is needed.

Exit status, the worst of all: 0 ok; 1 there are errors, so nothing would be loaded; 2 not recognised; 3 could not be
looked at (nothing is there, it cannot be read, no such format). With wrong options it is 2 and nothing is written but
the usage.
"""


class Command(BaseCommand):
    """Each path is one epoch, and with --json one line."""

    help = HELP
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """What to look at, as what, and for whom to write."""
        parser.add_argument("paths", nargs="+", metavar="PATH", help="a folder, a zip or a file")
        parser.add_argument("--json", action="store_true", help="one JSON object an epoch, each on a line of its own")
        parser.add_argument("--format", metavar="NAME", help="check as this format; if not said, it is recognised")
        parser.add_argument("--against", metavar="PATH", help="an earlier epoch: tell what would change")
        parser.add_argument("--windows-1252", action="store_true", help="files that are not UTF-8 are Windows-1252")
        words = [one.word for one in EVERY]
        parser.add_argument(
            "--delimiter", choices=words, default=COMMA.word, help="what stands between values; a comma if not said"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Writes what was found of each epoch as soon as it is known; exits with the worst status."""
        try:
            wanted = self._wanted(options["format"], options["windows_1252"], options["delimiter"])
        except NotReadable as refused:
            self._tell(options["format"], refused.message)
            sys.exit(NOT_LOOKED_AT)
        worst = max(self._look(path, wanted, options) for path in options["paths"])
        if worst:
            sys.exit(worst)

    def _wanted(self, name: str | None, windows_1252: bool, delimiter: str) -> Wanted:
        known = format_named(name) if name else None
        if name and known is None:
            names = [one.name for one in formats()]
            hint = did_you_mean(nearest(name, names)) or f"Known are {listed(names, limit=len(names))}."
            raise NotReadable(f"There is no such format. {hint}")
        kept = settings.INGEST_FINDINGS_PER_CODE
        return Wanted(known, kept, windows_1252=windows_1252, delimiter=delimiter_of(delimiter))

    def _look(self, path: str, wanted: Wanted, options: dict[str, Any]) -> int:
        try:
            with self._examined(path, wanted) as found:
                changes = self._changes(found, wanted, options["against"])
                text = _json(path, found, changes) if options["json"] else _report(path, found, changes)
        except NotReadable as refused:
            self._tell(path, refused.message)
            return NOT_LOOKED_AT
        self._write(text)
        return STATUS[found.state]

    @contextmanager
    def _examined(self, path: str, wanted: Wanted) -> Iterator[Examined]:
        with parcel_at(Path(path)) as parcel:
            try:
                with self._progress(path) as progress:
                    found = examine(parcel, formats(), wanted, progress)
            except OSError as error:
                raise NotReadable(f"This cannot be read ({(error.strerror or 'an error').lower()}).") from None
            yield found

    def _changes(self, found: Examined, wanted: Wanted, against: str | None) -> tuple[TableDiff, ...]:
        if against is None or found.format is None or found.verdict is None:
            return ()
        after = Night(found.verdict, found.sources)
        as_this = replace(wanted, format=found.format)
        try:
            with self._examined(against, as_this) as earlier:
                if earlier.verdict is None or not earlier.sources:
                    raise NotReadable(f"This is no {found.format.title}, so it cannot be compared.")
                return differences(found.format, Night(earlier.verdict, earlier.sources), after)
        except NotReadable as refused:
            raise NotReadable(f"Not compared with {_shown(against)}: {refused.message}") from None

    @contextmanager
    def _progress(self, path: str) -> Iterator[Callable[[int], None]]:
        """Tells on standard error how far it is, if somebody looks."""
        if not self.stderr.isatty():
            yield lambda rows: None
            return
        last = 0.0

        def tell(rows: int) -> None:
            nonlocal last
            if time.monotonic() - last >= PROGRESS_SECONDS:
                last = time.monotonic()
                self._on_terminal(f"\r{_shown(path)}: {rows:,} rows checked\x1b[K")

        try:
            yield tell
        finally:
            self._on_terminal("\r\x1b[K")

    def _on_terminal(self, text: str) -> None:
        self.stderr.write(text, lambda plain: plain, ending="")
        self.stderr.flush()

    def _tell(self, path: str, message: str) -> None:
        self.stderr.write(f"{_shown(path)}: {message}")

    def _write(self, text: str) -> None:
        """With letters that the terminal's encoding does not have as escapes.

        Whoever reads may have seen enough (`| head`): the exit status is told all the same.
        """
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        try:
            self.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self.stdout.flush()
        except BrokenPipeError:
            # As Python's documentation of SIGPIPE has it: what is still to be written, at the exit too, goes nowhere.
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _shown(path: str) -> str:
    return shown_name(path, 4096)


def _json(path: str, found: Examined, changes: tuple[TableDiff, ...]) -> str:
    """One line, ASCII only."""
    return json.dumps(
        {
            "path": _shown(path),
            "recognised": found.format.name if found.format else None,
            "version": found.format.version if found.format else None,
            "state": found.state.value,
            "files": [_file(one) for one in _files(found)],
            "findings": [_finding(one) for one in found.findings],
            "counts": _counts(found),
            "diff": {one.table: _diff(one) for one in changes},
        }
    )


def _files(found: Examined) -> list[FileCounts]:
    """Every file, those that were not read as well."""
    counts = {one.file: one for one in (found.verdict.counts if found.verdict else ())}
    return [counts.get(name) or _unread(found, name) for name in map(shown_name, found.files)]


def _unread(found: Examined, name: str) -> FileCounts:
    told: Counter[Severity] = Counter()
    for one in found.tallies:
        told[one.severity] += one.count if one.file == name else 0
    return FileCounts(name, 0, 0, told[Severity.ERROR], told[Severity.WARNING])


def _file(one: FileCounts) -> dict[str, object]:
    return {"name": one.file, "rows": one.rows, "errors": one.errors, "warnings": one.warnings}


def _finding(one: Finding) -> dict[str, object]:
    return {
        "file": one.file,
        "line": one.line,
        "column": one.column or None,
        "code": one.code,
        "severity": one.severity.value,
        "message": f"{one.message} {one.hint}".strip(),
    }


def _counts(found: Examined) -> dict[str, object]:
    codes: Counter[str] = Counter()
    for one in found.tallies:
        codes[one.code] += one.count
    return {
        "files": len(found.files),
        "rows": sum(one.rows for one in _files(found)),
        "errors": found.count(Severity.ERROR),
        "warnings": found.count(Severity.WARNING),
        "notes": found.count(Severity.NOTE),
        "codes": dict(sorted(codes.items())),
    }


def _diff(one: TableDiff) -> dict[str, object]:
    told = one.counts
    numbers = {"added": told.added, "changed": told.changed, "removed": told.removed, "unchanged": told.unchanged}
    return {**numbers, "columns": dict(one.columns)}


def _report(path: str, found: Examined, changes: tuple[TableDiff, ...]) -> str:
    """For people: as the log of an epoch, and under it why nothing was recognised, or which columns changed."""
    by_file = {
        one.file: next((d for d in changes if d.table == _table(found.format, one.file)), None) for one in _files(found)
    }
    summary = EpochSummary(
        epoch=path,
        format_title=found.format.title if found.format else "",
        succeeded=found.state is State.OK,
        reason=_reason(found),
        files=tuple(FileSummary(one, diff.counts if (diff := by_file[one.file]) else None) for one in _files(found)),
        findings=found.findings,
        tallies=found.tallies,
    )
    below = [f"{miss.title}: {' '.join(miss.reasons)}" for miss in found.near_misses]
    below += [f"Changed in {one.table}: {_columns(one)}" for one in changes if one.columns]
    return "\n".join([render_check(summary, found.state.value.upper()), *below]).rstrip("\n") + "\n"


def _table(known: Format | None, file: str) -> str:
    table = known.table_of(file) if known else None
    return table.name if table else ""


def _reason(found: Examined) -> str:
    if found.state is State.OK:
        return "These files would be loaded."
    if found.state is State.ERRORS:
        return "Nothing of these files would be loaded."
    return found.message


def _columns(one: TableDiff) -> str:
    return ", ".join(f"{name} ({number:,})" for name, number in one.columns.items())
