"""What a check finds: one frozen value per finding, and a ledger that counts all and keeps some."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice, zip_longest

from ingest.core.display import masked


class Severity(StrEnum):
    """ERROR: nothing of the epoch is loaded. WARNING: loaded, should be mended. NOTE: good to know."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found. `line` is the physical line (1 is the file's first); `value` only ever a shape."""

    file: str
    code: str
    severity: Severity
    message: str
    line: int | None = None
    column: str = ""
    hint: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """How often one code was found in one file, stored or not."""

    file: str
    code: str
    severity: Severity
    count: int


def first_of_each(findings: Iterable[Finding], most: int) -> tuple[Finding, ...]:
    """At most so many of each code, in the order given. Where one code is an error here and a warning there, errors go
    first; files are taken in turn, so that none is left out for the first."""
    found = tuple(findings)
    places: dict[str, dict[Severity, dict[str, list[int]]]] = {}
    for place, one in enumerate(found):
        places.setdefault(one.code, {}).setdefault(one.severity, {}).setdefault(one.file, []).append(place)
    kept: set[int] = set()
    for levels in places.values():
        worst_first = (levels[level] for level in Severity if level in levels)
        turns = (turn for files in worst_first for turn in zip_longest(*files.values()))
        kept.update(islice((place for turn in turns for place in turn if place is not None), most))
    return tuple(one for place, one in enumerate(found) if place in kept)


@dataclass(slots=True)
class Ledger:
    """Counts every finding and keeps the first `per_code` of each code. `each` hears of all, one by one."""

    per_code: int
    each: Callable[[Finding], None] | None = None
    kept: list[Finding] = field(default_factory=list)
    totals: Counter[tuple[str, str, Severity]] = field(default_factory=Counter)

    def add(self, finding: Finding) -> None:
        if self.totals[finding.file, finding.code, finding.severity] < self.per_code:
            self.kept.append(finding)
        self.totals[finding.file, finding.code, finding.severity] += 1
        if self.each is not None:
            self.each(finding)

    def report(
        self,
        severity: Severity | None,
        file: str,
        code: str,
        message: str,
        *,
        line: int | None = None,
        column: str = "",
        hint: str = "",
        value: str = "",
    ) -> None:
        """Enter a finding of this severity (None: the rule is off). Of `value` only the shape is kept."""
        if severity is not None:
            self.add(Finding(file, code, severity, message, line, column, hint, masked(value)))

    def count(self, severity: Severity | None, file: str, code: str, times: int) -> None:
        """Count findings that nobody needs to read one by one."""
        if severity is not None and times:
            self.totals[file, code, severity] += times

    def number(self, file: str, severity: Severity) -> int:
        return sum(n for (name, _, level), n in self.totals.items() if name == file and level is severity)

    def tallies(self) -> tuple[Tally, ...]:
        """By file, code and severity."""
        return tuple(Tally(file, code, level, n) for (file, code, level), n in sorted(self.totals.items()))

    def findings(self, order: Mapping[str, int]) -> tuple[Finding, ...]:
        """What was kept, by file in the given order, then by line and column."""
        last = len(order)
        found = sorted(self.kept, key=lambda f: (order.get(f.file, last), f.file, f.line or 0, f.column))
        return first_of_each(found, self.per_code)

    @property
    def clean(self) -> bool:
        return not any(level is Severity.ERROR for _, _, level in self.totals)
