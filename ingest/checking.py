"""Checks an epoch's private copies against its format: every finding, and whether it may be loaded."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from django.conf import settings

from .catalogue import format_named, formats
from .core.check import Limits, Source, Verdict, check
from .core.choose import recognise
from .core.container import read_archive
from .core.discovery import epoch_time, is_epoch_name
from .core.findings import Finding as Found
from .core.findings import Severity, Tally
from .core.schema import Format
from .models import Epoch, EpochFile, Finding
from .sighting import LIMITS, see, the_one_zip
from .staging import staged_open

# Rows of progress reach the page at most this often; a check must not wait for the database.
PROGRESS_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check came to; `tables` names the table of each file that is one."""

    findings: tuple[Found, ...]
    tallies: tuple[Tally, ...]
    verdict: Verdict | None
    tables: dict[str, str]

    @property
    def is_ok(self) -> bool:
        return self.verdict is not None and self.verdict.ok and not self.count(Severity.ERROR)

    def count(self, severity: Severity) -> int:
        """How many findings of this severity there are, stored or not."""
        return sum(tally.count for tally in self.tallies if tally.severity is severity)


def run(epoch: Epoch) -> Checked:
    """Checks the copies. Raises nothing for what the district sent; that becomes findings."""
    files = list(epoch.files.all())
    packed = (*_name_findings(epoch.name), *_zip_findings(files))
    known = format_named(epoch.format)
    if known is None:
        return _refused(packed, "format-unknown", "The format this epoch was taken for is not known any more.")
    if any(finding.severity is Severity.ERROR for finding in packed):
        return _refused(packed)
    if not epoch.format_by_id and not _is_still(known, files):
        message = "The files were changed after they were recognised. Send the epoch again, with COMPLETE last."
        return _refused(packed, "changed-since-recognised", message)
    return _checked(epoch, known, files, packed)


def _checked(epoch: Epoch, known: Format, files: list[EpochFile], packed: tuple[Found, ...]) -> Checked:
    data = _data(files)
    limits = Limits(per_code=settings.INGEST_FINDINGS_PER_CODE)
    sources = [Source(file.name, partial(staged_open, file)) for file in data]
    verdict = check(known, sources, limits, _progress(epoch.pk))
    tables = {file.name: table.name for file in data if (table := known.table_of(file.name))}
    return Checked((*packed, *verdict.findings), (*_tallied(packed), *verdict.tallies), verdict, tables)


def _data(files: list[EpochFile]) -> list[EpochFile]:
    """The files to be read: what was in the zip if the epoch is one, else all."""
    return [file for file in files if file.archive] or files


def _is_still(known: Format, files: list[EpochFile]) -> bool:
    loose = {file.name: file for file in files if not file.archive}
    seen = see(loose, lambda name: staged_open(loose[name]))
    found = recognise(seen.sightings, formats(), seen.container)
    return found.format is not None and found.format.name == known.name


def _name_findings(name: str) -> tuple[Found, ...]:
    """A name that only looks like a time is no reason to lose a night, but it sorts where it does not belong."""
    if not is_epoch_name(name) or epoch_time(name) is not None:
        return ()
    message = f"The directory's name, {name}, is no real date and time."
    return (Found("", "epoch-name", Severity.WARNING, message, hint="Name it after the time: YYYYMMDD-HHMMSS."),)


def _zip_findings(files: list[EpochFile]) -> tuple[Found, ...]:
    """What is to be said of the zip itself, if the epoch is one."""
    found: list[Found] = []
    packed = the_one_zip(file.name for file in files if not file.archive)
    if packed is not None:
        with staged_open(next(file for file in files if file.name == packed and not file.archive)) as stream:
            archive = read_archive(stream, packed, LIMITS)
            found += archive.findings
            here = {file.name for file in files if file.archive}
            lost = [member.name for member in archive.members if archive.ok and member.name not in here]
        found += [
            Found(name, "zip-damaged", Severity.ERROR, "This file in the zip is damaged.", hint="Make the zip again.")
            for name in lost
        ]
    return tuple(found)


def _refused(found: tuple[Found, ...], code: str = "", message: str = "") -> Checked:
    if code:
        found = (*found, Found("", code, Severity.ERROR, message))
    return Checked(found, _tallied(found), None, {})


def _tallied(found: Iterable[Found]) -> tuple[Tally, ...]:
    return tuple(Tally(one.file, one.code, one.severity, 1) for one in found)


def _progress(epoch_pk: int) -> Callable[[int], None]:
    last = 0.0

    def tell(rows: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            Epoch.objects.filter(pk=epoch_pk).update(progress_done=rows)

    return tell


def record(epoch: Epoch, checked: Checked) -> None:
    """Notes the findings, the counts per file, and whether the epoch may be loaded."""
    epoch.is_ok = checked.is_ok
    epoch.errors, epoch.warnings = checked.count(Severity.ERROR), checked.count(Severity.WARNING)
    epoch.tallies = [[one.file, one.code, one.severity.value, one.count] for one in checked.tallies]
    epoch.progress_done = sum(one.rows for one in checked.verdict.counts) if checked.verdict else 0
    epoch.findings.all().delete()
    Finding.objects.bulk_create((_row(epoch, one) for one in checked.findings), batch_size=500)
    counts = {one.file: one for one in checked.verdict.counts} if checked.verdict else {}
    for file in _data(list(epoch.files.all())):
        file.table = checked.tables.get(file.name, "")
        if checked.verdict and file.table in checked.verdict.modes:
            file.mode = checked.verdict.modes[file.table].value
        if file.name in counts:
            told = counts[file.name]
            file.rows, file.blank, file.errors, file.warnings = told.rows, told.blank, told.errors, told.warnings
        file.save()


def _row(epoch: Epoch, found: Found) -> Finding:
    return Finding(
        epoch=epoch,
        file=found.file[:1024],
        line=found.line,
        column=found.column[:200],
        code=found.code,
        severity=found.severity.value,
        message=found.message[:600],
        hint=found.hint[:400],
        value=found.value[:120],
    )
