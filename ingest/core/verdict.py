"""What goes into a check and what comes out of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from ingest.core.delimiters import COMMA, Delimiter
from ingest.core.findings import Finding, Tally
from ingest.core.schema import Mode


@dataclass(frozen=True, slots=True)
class Source:
    """One staged, private file. `open` may be called more than once and gives the same bytes each time.

    `encoding`: what the file is written in where `open` gives it otherwise; empty where it gives it as it is.
    `delimiter`: what stands between its values.
    """

    name: str
    open: Callable[[], BinaryIO]
    encoding: str = ""
    delimiter: Delimiter = COMMA


@dataclass(frozen=True, slots=True)
class Limits:
    """`per_code`: findings stored per code. `listed`: how many of a kind anybody is told of one by one.

    `line_bytes`: the longest line that is looked at.
    A file of `sieve_from` bytes or more goes through the sieve, in blocks of about `block_bytes`.
    """

    per_code: int = 100
    listed: int = 20_000
    line_bytes: int = 1 << 20
    sieve_from: int = 1 << 18
    block_bytes: int = 2 << 20

    @property
    def most_told(self) -> int:
        """How many findings of a kind have to be known one by one."""
        return max(self.per_code, self.listed)


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
