"""Invented epochs by the names people know, and small ways to damage and check them."""

import io
from collections.abc import Mapping

from ingest.core.catalogue import read_catalogue
from ingest.core.check import Limits, Source, Verdict, check
from ingest.core.sampling import epoch, zipped
from ingest.core.schema import Format, Mode

FORMATS = {known.name: known for known in read_catalogue()}
STUDENTS = FORMATS["samegoal-students-2"]
STUDENTS_OLD = FORMATS["samegoal-students-1"]
ONEROSTER = FORMATS["oneroster-1.1"]

Files = dict[str, bytes]


def students(rows: int = 50, seed: int = 1, night: int = 0) -> Files:
    """SameGoal students.csv in today's layout, and nothing else."""
    return {"students.csv": epoch(STUDENTS, rows, seed, night)["students.csv"]}


def students_old(rows: int = 50, seed: int = 1, night: int = 0) -> Files:
    """SameGoal students.csv in the older layout, and nothing else."""
    return {"students.csv": epoch(STUDENTS_OLD, rows, seed, night)["students.csv"]}


def oneroster(users: int = 50, seed: int = 1, night: int = 0, mode: Mode = Mode.FULL) -> Files:
    """A OneRoster 1.1 set as loose files, bulk or (Mode.CHANGES) delta."""
    return epoch(ONEROSTER, users, seed, night, mode)


def oneroster_zip(users: int = 50, seed: int = 1, night: int = 0) -> Files:
    """A OneRoster 1.1 bulk set as one zip."""
    return {"roster.zip": zipped(oneroster(users, seed, night))}


def sources(files: Mapping[str, bytes]) -> list[Source]:
    return [Source(name, lambda content=content: io.BytesIO(content)) for name, content in files.items()]


def checked(known: Format, files: Mapping[str, bytes], per_code: int = 100) -> Verdict:
    return check(known, sources(files), Limits(per_code=per_code), lambda rows: None)


def found(verdict: Verdict) -> list[tuple[str, int | None, str, str]]:
    """Findings as (code, line, column, severity), in the verdict's order."""
    return [(one.code, one.line, one.column, one.severity.value) for one in verdict.findings]


def with_cell(content: bytes, line: int, column: str, value: str) -> bytes:
    """The file with one value replaced; lines count from 1 (the header). No value of it may be quoted."""
    lines = content.split(b"\r\n")
    at = lines[0].decode().split(",").index(column)
    values = lines[line - 1].decode().split(",")
    values[at] = value
    lines[line - 1] = ",".join(values).encode()
    return b"\r\n".join(lines)


def with_line(content: bytes, line: int, replaced: bytes) -> bytes:
    """The file with one line replaced."""
    lines = content.split(b"\r\n")
    lines[line - 1] = replaced
    return b"\r\n".join(lines)


def line_of(content: bytes, line: int) -> bytes:
    return content.split(b"\r\n")[line - 1]
