"""What became of an epoch, for programs: `result.json`, which lies beside the log and is described in docs/result.md.

The same epoch gives the same bytes. No value from the files is in it, only shapes, as in the log.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from ingest.core.diff import Counts
from ingest.core.findings import Finding, Severity, Tally

# Told in every result. A program that knows this number can read the result; what is only added does not change it.
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class FileResult:
    """One file of the epoch. `table`: what it was taken for, empty if nothing; `changes` None: nothing was loaded."""

    name: str
    archive: str
    size: int
    sha256: str
    encoding: str
    delimiter: str
    table: str
    mode: str
    rows: int
    blank: int
    errors: int
    warnings: int
    changes: Counts | None = None


@dataclass(frozen=True, slots=True)
class GuardResult:
    """What the guard said: its state, the codes of its reasons, the likely cause, and what a person decided."""

    state: str
    reasons: tuple[str, ...]
    cause: str
    decision: str


@dataclass(frozen=True, slots=True)
class EpochResult:
    """All that the result says. `directory`, `log` and `findings_file` are names in /upload-processed/ and below it.

    `findings` are those kept, `tallies` count all, `listed` is how many stand in the findings file. Times need a zone.
    """

    epoch: str
    directory: str
    succeeded: bool
    state: str
    reason: str
    format: str
    format_version: str
    format_title: str
    started: datetime | None
    finished: datetime | None
    log: str
    findings_file: str
    listed: int
    files: tuple[FileResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    tallies: tuple[Tally, ...] = ()
    guard: GuardResult | None = None


def render_result(result: EpochResult) -> str:
    """The result as JSON in ASCII with LF line ends, one value a line."""
    told = {
        "schema_version": SCHEMA_VERSION,
        "epoch": result.epoch,
        "directory": result.directory,
        "succeeded": result.succeeded,
        "state": result.state,
        "reason": result.reason,
        "format": _format(result),
        "started": _time(result.started),
        "finished": _time(result.finished),
        "log": result.log,
        "findings_file": result.findings_file or None,
        "findings_listed": result.listed,
        "counts": _counts(result),
        "files": [_file(one) for one in result.files],
        "codes": [_tally(one) for one in result.tallies],
        "findings": [_finding(one) for one in result.findings],
        "guard": _guard(result.guard),
    }
    return json.dumps(told, indent=1) + "\n"


def _format(result: EpochResult) -> Mapping[str, str] | None:
    if not result.format:
        return None
    return {"name": result.format, "version": result.format_version, "title": result.format_title}


def _time(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None


def _counts(result: EpochResult) -> Mapping[str, int]:
    by_level = {f"{level.value}s": _number(result.tallies, level) for level in Severity}
    loaded = [one.changes for one in result.files if one.changes]
    return {
        "files": len(result.files),
        "rows": sum(one.rows for one in result.files),
        **by_level,
        "added": sum(one.added for one in loaded),
        "changed": sum(one.changed for one in loaded),
        "removed": sum(one.removed for one in loaded),
        "unchanged": sum(one.unchanged for one in loaded),
    }


def _number(tallies: tuple[Tally, ...], severity: Severity) -> int:
    return sum(tally.count for tally in tallies if tally.severity is severity)


def _file(one: FileResult) -> Mapping[str, object]:
    told = asdict(one)
    for name in ("archive", "table", "mode"):
        told[name] = told[name] or None
    return told


def _tally(one: Tally) -> Mapping[str, object]:
    return {"file": one.file, "code": one.code, "severity": one.severity.value, "count": one.count}


def _finding(one: Finding) -> Mapping[str, object]:
    return {
        "file": one.file,
        "line": one.line,
        "column": one.column or None,
        "code": one.code,
        "severity": one.severity.value,
        "message": one.message,
        "hint": one.hint or None,
        "value": one.value or None,
    }


def _guard(guard: GuardResult | None) -> Mapping[str, object] | None:
    if guard is None:
        return None
    return {
        "state": guard.state,
        "reasons": list(guard.reasons),
        "cause": guard.cause or None,
        "decision": guard.decision or None,
    }
