"""A district's nights, and what became of each. A night is named after the day in whose morning it ends."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum

from ingest.core.arrival import Expected, begins

ONE_DAY = timedelta(days=1)
# Of a district of which nobody has said when its files are expected.
USUAL = Expected(time(6))


class Outcome(StrEnum):
    """What became of a night; each has a word, a shape, an icon and a colour of its own."""

    LOADED = "loaded"
    HELD = "held"
    FAILED = "failed"
    WAITING = "waiting"
    NOT_APPLIED = "not-applied"
    MISSING = "missing"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Came:
    """One epoch that came: when, by the clock of its district, what became of it, and how many rows were read."""

    number: int
    name: str
    at: datetime
    outcome: Outcome
    rows: int


@dataclass(frozen=True, slots=True)
class Night:
    """One night: what became of it, the rows of that, and what came in it: first what it is about, then newest."""

    day: date
    outcome: Outcome
    rows: int = 0
    came: tuple[Came, ...] = ()


def night_of(at: datetime, expected: Expected = USUAL) -> date:
    """The night that a time belongs to, as they are told of who wait for it (`arrival.overdue`)."""
    days = (at.date() + ONE_DAY, at.date())
    return next((day for day in days if at > begins(expected, day, at.tzinfo)), at.date() - ONE_DAY)


def nights_of(
    came: Iterable[Came], missing: Collection[date], today: date, count: int, expected: Expected = USUAL
) -> tuple[Night, ...]:
    """The last nights, oldest first, up to today's, or to tonight's if something has come in it already.

    `missing`: nights of which the district was told that nothing had come. What came after that counts.
    """
    by_night: dict[date, list[Came]] = {}
    for one in came:
        by_night.setdefault(night_of(one.at, expected), []).append(one)
    last = max([today, *by_night])
    days = [last - ONE_DAY * back for back in reversed(range(count))]
    return tuple(_night(day, by_night.get(day, []), is_missing=day in missing) for day in days)


def _night(day: date, came: list[Came], *, is_missing: bool) -> Night:
    if not came:
        return Night(day, Outcome.MISSING if is_missing else Outcome.NOTHING)
    newest_first = sorted(came, key=lambda one: (one.at, one.number), reverse=True)
    outcome = _outcome([one.outcome for one in newest_first])
    about_first = tuple(sorted(newest_first, key=lambda one: one.outcome is not outcome))
    return Night(day, outcome, sum(one.rows for one in came if one.outcome is outcome), about_first)


def _outcome(newest_first: Sequence[Outcome]) -> Outcome:
    """The last word of a night is its newest epoch's; but while one is held, that is what somebody must look at."""
    return Outcome.HELD if Outcome.HELD in newest_first else newest_first[0]


def tallied(nights: Iterable[Night]) -> tuple[tuple[Outcome, int], ...]:
    """How many nights had each outcome, in the order in which outcomes are told; those that none had are left out."""
    counts = Counter(night.outcome for night in nights)
    return tuple((outcome, counts[outcome]) for outcome in Outcome if counts[outcome])
