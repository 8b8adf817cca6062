"""How a stored key comes to its end by itself: judged anew and found unsafe, or its last day near."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType

from keys.core.errors import Problem

# Days before the last day on which people are reminded, the nearest first.
REMINDERS = (0, 7, 30)
# From how long before its end a key is shown in amber.
SOON = timedelta(days=REMINDERS[-1])
AT_ONCE = 0
# Somebody else can sign in with these today, so two weeks are too long; but a job stopped in the same hour stops a
# district's uploads unseen. Three days always hold a working day, whichever night the key is found in.
_URGENT = 3
_DAYS: Mapping[str, int] = MappingProxyType(
    dict.fromkeys(
        (
            "weak-known",
            "weak-small-factors",
            "weak-prime",
            "weak-roca",
            "weak-fermat",
            "weak-pattern",
            "weak-polynomial",
            "weak-shared-primes",
            "weak-xz",
        ),
        _URGENT,
    )
)


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a stored key fails today, and how many days it may still be used (0: it is disabled at once)."""

    code: str
    reason: str
    days: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What a stored key is told of: the reason, the day it is disabled on, and whether it has been."""

    code: str
    reason: str
    disable_on: date
    is_disabled: bool = False


def finding_from(problem: Problem, usual_days: int) -> Finding:
    """What today's policy says against a key that can still be written; `usual_days` of grace, fewer if urgent."""
    return Finding(problem.code, problem.message, min(usual_days, _DAYS.get(problem.code, usual_days)))


def unreadable(problem: Problem) -> Finding:
    """A key that can no longer be written to a host at all, so that no grace would help anybody."""
    return Finding(problem.code, problem.message, AT_ONCE)


def marked(before: Mark | None, finding: Finding | None, today: date) -> Mark | None:
    """The mark a key has after it was judged; None if it passes.

    The day, once told, stays, unless the key now fails for a more urgent reason. A disabled key stays disabled until
    it passes.
    """
    if finding is None:
        return None
    day = today + timedelta(days=finding.days)
    if before is not None:
        is_worse = finding.code != before.code or finding.days == AT_ONCE
        day = min(day, before.disable_on) if is_worse else before.disable_on
    is_disabled = today >= day or (before is not None and before.is_disabled)
    return Mark(finding.code, finding.reason, day, is_disabled)


def reminder_due(last_day: date, today: date, reminded: int | None) -> int | None:
    """Which of REMINDERS is to be sent now, None if none. `reminded` is the last one sent.

    Of several that were missed only the nearest; the last one also after the day, since nobody was told in time.
    """
    left = (last_day - today).days
    due = next((days for days in REMINDERS if left <= days), None)
    is_new = due is not None and (reminded is None or due < reminded)
    return due if is_new else None
