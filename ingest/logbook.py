"""The log of an epoch, made from its rows alone: made again after a crash, it is the same to the byte."""

from zoneinfo import ZoneInfo

from .catalogue import format_title
from .core.diff import Counts
from .core.display import counted
from .core.findings import Finding, Severity, Tally
from .core.report import EpochSummary, FileSummary, render_log
from .core.verdict import FileCounts
from .models import Epoch, EpochFile


def text(epoch: Epoch) -> str:
    """The plain text that lies in the epoch's directory under /upload-processed/, in the district's own time."""
    zone = ZoneInfo(epoch.district.time_zone)
    loaded = epoch.steps.get(step="load").finished
    summary = EpochSummary(
        epoch=epoch.name,
        format_title=format_title(epoch.format),
        succeeded=epoch.is_ok,
        reason=_reason(epoch),
        started=epoch.started.astimezone(zone) if epoch.started else None,
        finished=loaded.astimezone(zone),
        files=tuple(_file(epoch, file) for file in epoch.files.exclude(table="")),
        findings=tuple(_finding(row) for row in epoch.findings.all()),
        tallies=tuple(Tally(file, code, Severity(level), number) for file, code, level, number in epoch.tallies),
    )
    return render_log(summary)


def _reason(epoch: Epoch) -> str:
    if not epoch.is_ok:
        return f"{counted(epoch.errors, 'error')} found, so nothing of this epoch was loaded. Last night's rows stay."
    files = epoch.files.exclude(mode__in=["", "absent"])
    rows = sum(file.rows for file in files)
    return f"{counted(rows, 'row')} in {counted(len(files), 'file')} loaded."


def _file(epoch: Epoch, file: EpochFile) -> FileSummary:
    counts = FileCounts(file.name, file.rows, file.blank, file.errors, file.warnings)
    is_loaded = epoch.is_ok and file.mode not in ("", "absent")
    changes = Counts(file.added, file.changed, file.removed, file.unchanged) if is_loaded else None
    return FileSummary(counts, changes)


def _finding(row: object) -> Finding:
    told = {name: getattr(row, name) for name in ("file", "code", "message", "line", "column", "hint", "value")}
    return Finding(severity=Severity(row.severity), **told)  # type: ignore[attr-defined]
