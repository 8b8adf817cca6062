"""The log of an epoch and its result for programs: of the same rows, and the same that came late, the same to the byte.

`late` is everywhere what was found while the log is written: it becomes rows of the epoch with it.
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from django.conf import settings

from .catalogue import format_named, format_title
from .core.delimiters import COMMA
from .core.diff import Counts
from .core.display import counted
from .core.findings import Finding, Severity, Tally, first_of_each
from .core.guard import State
from .core.report import EpochSummary, FileSummary, render_log
from .core.result import EpochResult, FileResult, GuardResult, render_result
from .core.verdict import FileCounts
from .examining import tallied
from .models import Epoch, EpochFile
from .outcome import end_of, is_applying, is_discarded, is_ended, judgement_of, loss_of, missing_before


@dataclass(frozen=True, slots=True)
class Names:
    """What our own files in an epoch's directory are called, and `place`, the directory in /upload-processed/."""

    place: str
    log: str
    result: str
    findings: str


def text(epoch: Epoch, names: Names, listed: int, late: tuple[Finding, ...]) -> str:
    """The plain text that lies in the epoch's directory under /upload-processed/, in the district's own time.

    `listed`: how many findings stand in the list beside it.
    """
    zone = ZoneInfo(epoch.district.time_zone)
    loaded = epoch.steps.get(step="load").finished
    summary = EpochSummary(
        epoch=epoch.name,
        format_title=format_title(epoch.format),
        succeeded=is_applying(epoch),
        reason=_reason(epoch),
        started=epoch.started.astimezone(zone) if epoch.started else None,
        finished=loaded.astimezone(zone),
        files=tuple(_file(epoch, file) for file in epoch.files.exclude(table="")),
        findings=(*late_kept(late), *(_finding(row) for row in epoch.findings.all())),
        tallies=tallies_of(epoch, late),
        listing=names.findings if listed else "",
    )
    return render_log(summary)


def result(epoch: Epoch, names: Names, listed: int, late: tuple[Finding, ...]) -> str:
    """The text of the result, with `listed` as for the log."""
    known = format_named(epoch.format)
    told = EpochResult(
        epoch=epoch.name,
        directory=names.place,
        succeeded=is_applying(epoch),
        state=end_of(epoch).value,
        reason=_reason(epoch),
        format=epoch.format,
        format_version=known.version if known else "",
        format_title=format_title(epoch.format),
        started=epoch.started,
        finished=epoch.steps.get(step="load").finished,
        log=names.log,
        findings_file=names.findings if listed else "",
        listed=listed,
        files=tuple(_file_result(epoch, file) for file in epoch.files.all()),
        findings=(*late_kept(late), *(_finding(row) for row in epoch.findings.all())),
        tallies=tallies_of(epoch, late),
        guard=_guard(epoch),
    )
    return render_result(told)


def late_kept(late: tuple[Finding, ...]) -> tuple[Finding, ...]:
    """Those of what came late that are kept one by one; all are counted."""
    return first_of_each(late, settings.INGEST_FINDINGS_PER_CODE)


def tallies_of(epoch: Epoch, late: tuple[Finding, ...]) -> tuple[Tally, ...]:
    """How often each code was found."""
    kept = (Tally(file, code, Severity(level), number) for file, code, level, number in epoch.tallies)
    return (*tallied(late), *kept)


def _reason(epoch: Epoch) -> str:
    judgement = judgement_of(epoch)
    if not epoch.is_ok and not is_discarded(epoch):
        told = f"{counted(epoch.errors, 'error')} found, so nothing of this epoch was loaded. Last night's rows stay."
        return f"{told} {loss_of(epoch)}".strip()
    if judgement is not None and not is_applying(epoch):
        return judgement.act_message or judgement.message
    files = epoch.files.exclude(mode__in=["", "absent"])
    rows = sum(file.rows for file in files)
    is_same = judgement is not None and judgement.state == State.NO_CHANGE
    what = "checked. Nothing has changed, so there was nothing to apply." if is_same else "loaded."
    told = f"{counted(rows, 'row')} in {counted(len(files), 'file')} {what} {missing_before(epoch)}".strip()
    return f"{told} {judgement.act_message}" if judgement is not None and is_ended(epoch) else told


def _file(epoch: Epoch, file: EpochFile) -> FileSummary:
    counts = FileCounts(file.name, file.rows, file.blank, file.errors, file.warnings)
    return FileSummary(counts, _changes(epoch, file))


def _changes(epoch: Epoch, file: EpochFile) -> Counts | None:
    is_loaded = is_applying(epoch) and file.mode not in ("", "absent")
    return Counts(file.added, file.changed, file.removed, file.unchanged) if is_loaded else None


def _file_result(epoch: Epoch, file: EpochFile) -> FileResult:
    same = ("name", "archive", "size", "sha256", "table", "mode", "rows", "blank", "errors", "warnings")
    told = {name: getattr(file, name) for name in same}
    encoding, delimiter = file.encoding or "utf-8", file.delimiter or COMMA.word
    return FileResult(**told, encoding=encoding, delimiter=delimiter, changes=_changes(epoch, file))


def _guard(epoch: Epoch) -> GuardResult | None:
    judgement = judgement_of(epoch)
    if judgement is None or not judgement.state:  # discarded while it waited for its turn
        return None
    reasons = tuple(one["code"] for one in judgement.reasons)
    cause = judgement.cause["cause"] if judgement.cause else ""
    return GuardResult(judgement.state, reasons, cause, judgement.act)


def _finding(row: object) -> Finding:
    told = {name: getattr(row, name) for name in ("file", "code", "message", "line", "column", "hint", "value")}
    return Finding(severity=Severity(row.severity), **told)  # type: ignore[attr-defined]
