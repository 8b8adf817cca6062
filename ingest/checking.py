"""Checks an epoch's private copies against its format: every finding, and whether it may be loaded."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings

from . import listings
from .catalogue import format_named, formats
from .core import discovery
from .core.check import FileCounts, Limits, Verdict, check
from .core.choose import COMPLETE, recognise, recognise_alone
from .core.container import damage, read_archive
from .core.delimiters import COMMA, delimiter_of
from .core.discovery import Kind
from .core.findings import Finding as Found
from .core.findings import Severity, Tally, first_of_each
from .core.late import LATE
from .core.listing import CODE, Listing
from .core.references import KeySet
from .core.schema import Format, Mode
from .examining import NAME, name_findings, tallied
from .models import Dataset, Epoch, EpochFile, Finding, Record
from .outcome import is_discarded
from .sameness import rules, same_as
from .sighting import LIMITS, see, the_one_zip
from .staging import is_alone, room_needed, staged, staged_open, staged_source

# Found in a night, but not in what its files say.
OF_ONE_NIGHT = (NAME, LATE)
# Rows of progress reach the page at most this often; a check must not wait for the database.
PROGRESS_SECONDS = 0.5
# What a file that was sent by itself refers to is looked up among at most so many records of a table.
MOST_LOOKED_UP = 300_000


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check came to; `tables` names the table of each file that is one, `listing` holds every finding."""

    findings: tuple[Found, ...]
    tallies: tuple[Tally, ...]
    verdict: Verdict | None
    tables: dict[str, str]
    listing: listings.Spooled | None = None

    @property
    def is_ok(self) -> bool:
        return self.verdict is not None and self.verdict.ok and not self.count(Severity.ERROR)

    def count(self, severity: Severity) -> int:
        """How many findings of this severity there are, stored or not."""
        return sum(tally.count for tally in self.tallies if tally.severity is severity)


def run(epoch: Epoch) -> Checked:
    """Checks the copies. Raises nothing for what the district sent; that becomes findings. Raises NoRoom.

    What was discarded before it was checked, in a district that was closed, is not read.
    """
    if is_discarded(epoch):
        return Checked((), (), None, {})
    with room_needed(), listings.spooling(staged(epoch.pk, epoch.staging)) as (listing, path):
        checked = _looked_at(epoch, listing)
        rows = listing.close(checked.tallies)
        findings = first_of_each(checked.findings, settings.INGEST_FINDINGS_PER_CODE)
        return replace(checked, findings=findings, listing=listings.Spooled(path, rows, listing.left_out))


def _looked_at(epoch: Epoch, listing: Listing) -> Checked:
    files = list(epoch.files.all())
    packed = (*name_findings(epoch.name), *_zip_findings(files))
    known = format_named(epoch.format)
    if known is not None and (latest := same_as(epoch)) is not None:
        return _as_before(epoch, latest, listing)
    for finding in packed:
        listing.add(finding)
    if known is None:
        message = "The format this epoch was taken for is not known any more."
        return _refused(listing, packed, "format-unknown", message)
    if any(finding.severity is Severity.ERROR for finding in packed):
        return _refused(listing, packed)
    if not epoch.format_by_id and not (_is_as_seen(epoch, files) and _is_still(epoch, known, files)):
        message = "The files were changed after they were recognised. Send the epoch again, with COMPLETE last."
        return _refused(listing, packed, "changed-since-recognised", message)
    return _checked(epoch, known, files, packed, listing)


def _as_before(epoch: Epoch, latest: Epoch, listing: Listing) -> Checked:
    """What the same files came to last time, but for what is not about their content."""
    named = name_findings(epoch.name)
    for finding in named:
        listing.add(finding)
    for row in listings.rows_before(latest):
        if row[CODE] not in OF_ONE_NIGHT:
            listing.add_row(row)
    found = [_found(row) for row in latest.findings.exclude(code__in=OF_ONE_NIGHT)]
    tallies = [_tally(told) for told in latest.tallies if told[1] not in OF_ONE_NIGHT]
    files = latest.files.exclude(table="")
    counts = tuple(FileCounts(one.name, one.rows, one.blank, one.errors, one.warnings) for one in files)
    modes = {one.table: Mode(one.mode) for one in files if one.mode}
    verdict = Verdict((), tuple(tallies), counts, modes, latest.is_ok)
    tables = {one.name: one.table for one in files}
    return Checked((*named, *found), (*tallied(named), *tallies), verdict, tables)


def _found(row: Finding) -> Found:
    said = (row.message, row.line, row.column, row.hint, row.value)
    return Found(row.file, row.code, Severity(row.severity), *said)


def _tally(told: list[Any]) -> Tally:
    file, code, severity, number = told
    return Tally(file, code, Severity(severity), number)


def _checked(
    epoch: Epoch, known: Format, files: list[EpochFile], packed: tuple[Found, ...], listing: Listing
) -> Checked:
    data = _data(files)
    limits = Limits(settings.INGEST_FINDINGS_PER_CODE, settings.INGEST_FINDINGS_LISTED)
    on_record = _on_record(epoch, known, data[0]) if is_alone(epoch) else None
    sources = [staged_source(file) for file in data]
    verdict = check(known, sources, limits, _progress(epoch.pk), listing.add, on_record)
    tables = {file.name: table.name for file in data if (table := known.table_of(file.name))}
    return Checked((*packed, *verdict.findings), (*tallied(packed), *verdict.tallies), verdict, tables)


def _data(files: list[EpochFile]) -> list[EpochFile]:
    """The files to be read: what was in the zip if the epoch is one, else all."""
    return [file for file in files if file.archive] or files


def _on_record(epoch: Epoch, known: Format, file: EpochFile) -> dict[str, KeySet]:
    """The keys on record of what a file refers to, where they are few enough and the reference names all of the key."""
    table = known.table_of(file.name)
    asked = {one.table for one in table.references if one.place == one.table} if table else set()
    here = Dataset.objects.filter(district=epoch.district, format=known.records, table__in=asked)
    found: dict[str, KeySet] = {}
    for one in here.filter(active__range=(1, MOST_LOOKED_UP)):
        records = Record.objects.filter(dataset=one, is_removed=False)
        found[one.table] = set(records.values_list("key", flat=True).iterator(chunk_size=10_000))
    return found


def _is_as_seen(epoch: Epoch, files: list[EpochFile]) -> bool:
    """Whether the copies have the names and sizes that rested: an OpenSSH host takes what is being sent once more."""
    if not epoch.look_digest:
        return True
    own = discovery.auto_name(epoch.name) is not None
    loose = [(epoch.name if own else file.name, file.size) for file in files if not file.archive]
    # Of the names that are read, only a backslash is written otherwise in a row.
    names = [(name.replace(2 * "\\", "\\"), size) for name, size in (loose if own else [*loose, (COMPLETE, 0)])]
    copied = discovery.Look.of(discovery.Listed(name, Kind.FILE, size) for name, size in names)
    return copied.digest == epoch.look_digest


def _is_still(epoch: Epoch, known: Format, files: list[EpochFile]) -> bool:
    loose = {file.name: file for file in files if not file.archive}
    # All were copied under one setting.
    delimiter = delimiter_of(files[0].delimiter) if files else COMMA
    seen = see(loose, lambda name: staged_open(loose[name]), delimiter)
    if is_alone(epoch):
        found = recognise_alone(seen.sightings[0], formats(), known.name)
    else:
        found = recognise(seen.sightings, formats(), seen.container)
    return found.format is not None and found.format.name == known.name


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
        found += map(damage, lost)
    return tuple(found)


def _refused(listing: Listing, found: tuple[Found, ...], code: str = "", message: str = "") -> Checked:
    if code:
        found = (*found, Found("", code, Severity.ERROR, message))
        listing.add(found[-1])
    return Checked(found, tallied(found), None, {})


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
    epoch.is_ok, epoch.rules = checked.is_ok, rules()
    epoch.errors, epoch.warnings = checked.count(Severity.ERROR), checked.count(Severity.WARNING)
    epoch.tallies = [[one.file, one.code, one.severity.value, one.count] for one in checked.tallies]
    epoch.progress_done = sum(one.rows for one in checked.verdict.counts) if checked.verdict else 0
    epoch.findings.all().delete()
    Finding.objects.bulk_create((Finding.of(epoch, one) for one in checked.findings), batch_size=500)
    if checked.listing is not None:
        listings.keep(epoch, checked.listing)
    counts = {one.file: one for one in checked.verdict.counts} if checked.verdict else {}
    files = _data(list(epoch.files.all()))
    for file in files:
        file.table = checked.tables.get(file.name, "")
        if checked.verdict and file.table in checked.verdict.modes:
            file.mode = checked.verdict.modes[file.table].value
        if file.name in counts:
            told = counts[file.name]
            file.rows, file.blank, file.errors, file.warnings = told.rows, told.blank, told.errors, told.warnings
    EpochFile.objects.bulk_update(files, ["table", "mode", "rows", "blank", "errors", "warnings"], batch_size=500)
