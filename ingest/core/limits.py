"""How much one night may change before a person has to look, and which of several limits counts.

Written down once, here:
1. Of the limits for one kind of change, one for the table goes before one for all tables.
2. A district's own limit goes before the usual one.
3. A raise in force today counts only where it allows more than what it raises; it never makes anything stricter.
4. Of several in the same place, the strictest counts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TypeVar

from ingest.core.diff import What

OFF = Decimal(-1)


@dataclass(frozen=True, slots=True)
class Limit:
    """So many may be different: `percent` of what there was, but never less than `floor`. -1 percent: any number."""

    percent: Decimal
    floor: int = 0

    def allowed(self, base: int) -> int | None:
        """The highest number that passes; None: any. What is exactly at the limit passes."""
        return None if self.percent < 0 else max(self.floor, int(self.percent * base / 100))


@dataclass(frozen=True, slots=True)
class Standing:
    """A limit that stands until it is changed. `table` empty: for every table."""

    what: What
    limit: Limit
    table: str = ""


@dataclass(frozen=True, slots=True)
class Raise:
    """A limit for some days, first and last included."""

    what: What
    limit: Limit
    first: date
    last: date
    table: str = ""

    def in_force(self, today: date) -> bool:
        return self.first <= today <= self.last


@dataclass(frozen=True, slots=True)
class Applying:
    """The limit that counts. `allowed` None: none does. `raised_until`: the last day, if it is a raise."""

    allowed: int | None
    percent: Decimal
    raised_until: date | None = None


USUAL = (
    Standing(What.ADDED, Limit(Decimal(50), 50)),
    Standing(What.CHANGED, Limit(Decimal(50), 20)),
    Standing(What.REMOVED, Limit(Decimal(10), 5)),
)


@dataclass(frozen=True, slots=True)
class GuardLimits:
    """All limits of one district.

    `shrink`: bytes by which a file may be smaller. `faulty`: rows with an error among the rows of a file. `age_days`:
    how much older than its arrival an epoch's name may be; `quiet_days`: how long nothing may change; -1: any time.
    `may_miss`: tables that need not come each night.
    """

    standing: tuple[Standing, ...] = ()
    raises: tuple[Raise, ...] = ()
    usual: tuple[Standing, ...] = USUAL
    shrink: Limit = Limit(Decimal(50), 1000)
    faulty: Limit = Limit(Decimal(1))
    age_days: int = 7
    quiet_days: int = 7
    school_year: bool = True
    may_miss: frozenset[str] = frozenset()

    def applying(self, what: What, table: str, base: int, today: date) -> Applying:
        """The limit for one kind of change of a table that has `base` records."""
        own = _narrowest(what, table, self.standing) or _narrowest(what, table, self.usual)
        stands = _strictest([one.limit for one in own], base)
        raises = _narrowest(what, table, [one for one in self.raises if one.in_force(today)])
        if not raises:
            return stands
        limit = _strictest([one.limit for one in raises], base)
        if _is_no_wider(limit.allowed, stands.allowed):
            return stands
        until = min(one.last for one in raises if one.limit.allowed(base) == limit.allowed)
        return Applying(limit.allowed, limit.percent, until)


Place = TypeVar("Place", Standing, Raise)


def _narrowest(what: What, table: str, every: Iterable[Place]) -> list[Place]:
    fitting = [one for one in every if one.what is what and one.table in ("", table)]
    return [one for one in fitting if one.table] or fitting


def _strictest(limits: Iterable[Limit], base: int) -> Applying:
    every = [Applying(one.allowed(base), one.percent) for one in limits]
    return min(every, key=lambda one: (one.allowed is None, one.allowed or 0), default=Applying(None, OFF))


def _is_no_wider(allowed: int | None, other: int | None) -> bool:
    return other is None or (allowed is not None and allowed <= other)
