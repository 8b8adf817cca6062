"""What goes into a check and what comes out of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from ingest.core.findings import Finding, Tally
from ingest.core.schema import Mode


@dataclass(frozen=True, slots=True)
class Source:
    """One staged, private file. `open` may be called more than once and gives the same bytes each time."""

    name: str
    open: Callable[[], BinaryIO]


@dataclass(frozen=True, slots=True)
class Limits:
    """`per_code`: findings stored per file and code. `line_bytes`: the longest line that is looked at."""

    per_code: int = 100
    line_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True)
class FileCounts:
    """Numbers of one file. `rows` without the header and without the blank ones."""

    file: str
    rows: int
    blank: int
    errors: int
    warnings: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """All that a check has found.

    `findings` are those stored, `tallies` count all. `modes` says for each data table how its rows are to be compared
    with what is on record; ABSENT: not at all. A format whose records outlive their rows is CHANGES here.
    """

    findings: tuple[Finding, ...]
    tallies: tuple[Tally, ...]
    counts: tuple[FileCounts, ...]
    modes: Mapping[str, Mode]
    ok: bool
