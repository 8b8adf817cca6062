"""When an epoch of a district is expected, and who is told if none has come: the district first, then staff."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from enum import StrEnum

from ingest.core.schoolyear import Calendar

EVERY_DAY = frozenset(range(7))
LEARNED_FROM = 5
# What came before the evening belongs to the night before: one that was held is often sent anew in the afternoon.
EVENING = time(18)
LEAST_EARLY, MOST_EARLY = timedelta(hours=8), timedelta(hours=15)


class Audience(StrEnum):
    DISTRICT = "district"
    STAFF = "staff"


@dataclass(frozen=True, slots=True)
class Expected:
    """Each of these weekdays (0 is Monday) an epoch should have come by `by`, in the district's own time."""

    by: time
    days: frozenset[int] = EVERY_DAY
    district_after: timedelta = timedelta(hours=1)
    staff_after: timedelta = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Overdue:
    """A night that is missing. `day` with `audience` is told once."""

    day: date
    audience: Audience
    message: str


def last_due(expected: Expected, now: datetime) -> datetime | None:
    """By when the latest epoch should have come; None if none is expected on any day."""
    for back in range(8):
        due = datetime.combine(now.date() - timedelta(days=back), expected.by, now.tzinfo)
        if due <= now and due.weekday() in expected.days:
            return due
    return None


def overdue(expected: Expected, last: datetime | None, now: datetime, calendar: Calendar) -> tuple[Overdue, ...]:
    """Who is to be told by now that the latest expected epoch is missing.

    `last`: when the last epoch came, None for a district that never sent one: nothing is missing yet. All times are of
    the district's zone. `calendar`: that of the day on which it was due.
    """
    due = last_due(expected, now)
    if last is None or due is None or calendar.blackout is not None or last > begins(expected, due.date(), due.tzinfo):
        return ()
    late = now - due
    waits = {Audience.DISTRICT: expected.district_after, Audience.STAFF: expected.staff_after}
    message = (
        f"No epoch has come that was expected by {due:%H:%M} on {due:%-d %B}. The last one came {last:%-d %B, %H:%M}."
    )
    return tuple(Overdue(due.date(), audience, message) for audience, wait in waits.items() if late >= wait)


def begins(expected: Expected, day: date, zone: tzinfo | None) -> datetime:
    """From when on what comes is the night of this day."""
    due = datetime.combine(day, expected.by, zone)
    return due - _early(due)


def _early(due: datetime) -> timedelta:
    """How long before it is due a night may come: expected by the morning, it may come since the evening before."""
    days = 0 if due.time() >= EVENING else 1
    evening = datetime.combine(due.date() - timedelta(days=days), EVENING, due.tzinfo)
    return min(max(due - evening, LEAST_EARLY), MOST_EARLY)


def usual_time(arrivals: Sequence[datetime]) -> time | None:
    """By when epochs usually have come, from the last nights: later than nine in ten of them. None: too few to tell.

    Counted from noon to noon, so that nights around midnight belong together.
    """
    if len(arrivals) < LEARNED_FROM:
        return None
    minutes = sorted((one.hour * 60 + one.minute - 720) % 1440 for one in arrivals)
    late = (minutes[min(len(minutes) * 9 // 10, len(minutes) - 1)] + 720) % 1440
    return time(late // 60, late % 60)
