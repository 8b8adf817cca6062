"""The log that is put into a processed epoch: read by a person at the district, over SFTP, in any editor.

The same summary gives the same bytes: the times are the caller's, and nothing is ordered by chance.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ingest.core.diff import Counts
from ingest.core.display import counted, shown_name
from ingest.core.findings import Finding, Severity, Tally
from ingest.core.verdict import FileCounts, Verdict

NOT_LOADED = "-"
COLUMNS = ("file", "rows", "blank", "errors", "warnings", "added", "changed", "removed", "unchanged")


@dataclass(frozen=True, slots=True)
class FileSummary:
    """One file's line in the log. `changes` None: nothing of it was loaded."""

    counts: FileCounts
    changes: Counts | None = None


@dataclass(frozen=True, slots=True)
class EpochSummary:
    """All that the log says. `reason` is one sentence; times need a zone; `tallies` count what was not stored too.

    `listing`: the name of the file beside it that has more findings, if there is one.
    """

    epoch: str
    format_title: str
    succeeded: bool
    reason: str
    started: datetime | None = None
    finished: datetime | None = None
    files: tuple[FileSummary, ...] = ()
    findings: tuple[Finding, ...] = ()
    tallies: tuple[Tally, ...] = ()
    listing: str = ""


def summary_of(
    verdict: Verdict,
    epoch: str,
    format_title: str,
    changes: Mapping[str, Counts],
    started: datetime | None = None,
    finished: datetime | None = None,
) -> EpochSummary:
    """A summary of a verdict and of what was loaded after it (`changes`: file name as in the counts -> Counts)."""
    return EpochSummary(
        epoch=epoch,
        format_title=format_title,
        succeeded=verdict.ok,
        reason=_reason(verdict, changes),
        started=started,
        finished=finished,
        files=tuple(FileSummary(one, changes.get(one.file) if verdict.ok else None) for one in verdict.counts),
        findings=verdict.findings,
        tallies=verdict.tallies,
    )


def render_log(summary: EpochSummary) -> str:
    """The log as plain text with LF line ends; its first line begins with SUCCEEDED or FAILED."""
    return "\n".join(_lines(summary, "SUCCEEDED" if summary.succeeded else "FAILED")) + "\n"


def render_check(summary: EpochSummary, word: str) -> str:
    """The same of files that were only checked; its first line begins with `word`."""
    return "\n".join(_lines(summary, word)) + "\n"


def _reason(verdict: Verdict, changes: Mapping[str, Counts]) -> str:
    if not verdict.ok:
        errors = _number(verdict.tallies, Severity.ERROR)
        return f"{counted(errors, 'error')} found, so nothing of this epoch was loaded."
    rows = sum(one.rows for one in verdict.counts if one.file in changes)
    return f"{counted(rows, 'row')} in {counted(len(changes), 'file')} loaded."


def _lines(summary: EpochSummary, word: str) -> Iterator[str]:
    yield f"{word}: {summary.reason}"
    yield ""
    yield f"Epoch:     {shown_name(summary.epoch)}"
    if summary.format_title:
        yield f"Format:    {summary.format_title}"
    if summary.started:
        yield f"Started:   {_time(summary.started)}"
    if summary.finished:
        yield f"Finished:  {_time(summary.finished)}"
    if summary.files:
        yield ""
        yield from _table([COLUMNS, *(_cells(one) for one in summary.files)])
    yield ""
    yield from _findings(summary)


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S %Z").rstrip()


def _cells(one: FileSummary) -> tuple[str, ...]:
    counts, changes = one.counts, one.changes
    numbers = (counts.rows, counts.blank, counts.errors, counts.warnings)
    loaded = (changes.added, changes.changed, changes.removed, changes.unchanged) if changes else ()
    shown = [f"{number:,}" for number in (*numbers, *loaded)]
    return (counts.file, *shown, *[NOT_LOADED] * (len(COLUMNS) - 1 - len(shown)))


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[at]) for row in rows) for at in range(len(COLUMNS))]
    for row in rows:
        first, *others = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join((first.strip().ljust(widths[0]), *others)).rstrip()


def _findings(summary: EpochSummary) -> Iterator[str]:
    if not summary.tallies:
        yield "Nothing was found amiss."
        return
    levels = ((level, _number(summary.tallies, level)) for level in Severity)
    yield "Found: " + ", ".join(counted(number, level.value) for level, number in levels if number) + "."
    yield "Values are shown by their shape only: 9 stands for a digit, X and x for letters."
    for severity in Severity:
        for finding in summary.findings:
            if finding.severity is severity:
                yield ""
                yield from _finding(finding)
    yield from _unshown(summary)


def _finding(finding: Finding) -> Iterator[str]:
    line = f", line {finding.line}" if finding.line is not None else ""
    column = f", column {shown_name(finding.column)}" if finding.column else ""
    yield f"{finding.severity.upper()}  {shown_name(finding.file)}{line}{column}  [{finding.code}]"
    yield f"    {finding.message}"
    if finding.value:
        yield f"    It looks like: {finding.value}"
    if finding.hint:
        yield f"    {finding.hint}"


def _unshown(summary: EpochSummary) -> Iterator[str]:
    kept: dict[tuple[str, str, Severity], int] = {}
    for one in summary.findings:
        kept[one.file, one.code, one.severity] = kept.get((one.file, one.code, one.severity), 0) + 1
    left = [(one, one.count - kept.get((one.file, one.code, one.severity), 0)) for one in summary.tallies]
    more = sorted((tally.file, tally.code, number) for tally, number in left if number > 0)
    if more:
        yield ""
        yield f"Counted, but not shown one by one{f' ({summary.listing} has more)' if summary.listing else ''}:"
        for file, code, number in more:
            yield f"    {file}  [{code}]  {number:,} more"


def _number(tallies: Sequence[Tally], severity: Severity) -> int:
    return sum(tally.count for tally in tallies if tally.severity is severity)
