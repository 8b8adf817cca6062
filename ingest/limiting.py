"""How much a night of a district may change, when nothing is applied, and by when one is expected: written down."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import District, User
from accounts.services import Refused

from .allowances import now_in
from .models import BlackoutDays, ExpectedArrival, LimitRaise, StandingLimit

__all__ = [
    "Change",
    "Refused",
    "arrival_set",
    "blackout_end",
    "blackout_set",
    "blackouts_set",
    "limit_raise",
    "limits_set",
    "raise_end",
]
LONGEST_DAYS = 92


@dataclass(frozen=True, slots=True)
class Change:
    """A limit as it is typed. `table` empty: for every file; `percent` -1: any number."""

    what: str
    table: str
    percent: Decimal
    floor: int

    @property
    def told(self) -> dict[str, object]:
        return {"what": self.what, "table": self.table, "percent": str(self.percent), "floor": self.floor}


@transaction.atomic
def limits_set(district: District, change: Change, *, is_usual: bool, actor: User) -> None:
    """Sets a district's own standing limit, or (`is_usual`) takes it away so that the usual one counts."""
    rows = StandingLimit.objects.select_for_update().filter(district=district, what=change.what, table=change.table)
    before = rows.first()
    if is_usual:
        rows.delete()
    else:
        told = {"percent": change.percent, "floor": change.floor}
        StandingLimit.objects.update_or_create(district=district, what=change.what, table=change.table, defaults=told)
    details: dict[str, object] = {**change.told, "usual": is_usual}
    if before is not None:
        details["before"] = [str(before.percent), before.floor]
    audit.record("limit set", actor=actor, district=district, details=details)


@transaction.atomic
def limit_raise(district: District, change: Change, *, first: date, last: date, reason: str, actor: User) -> LimitRaise:
    """A wider limit for some days, first and last included; it ends by itself. Raises Refused for odd days."""
    _days_must_be_fine(district, first, last)
    facts = {"what": change.what, "table": change.table, "percent": change.percent, "floor": change.floor}
    made, is_new = LimitRaise.objects.get_or_create(
        district=district, first=first, last=last, ended=None, **facts, defaults={"reason": reason, "by": actor}
    )
    if is_new or made.reason != reason:
        # Whoever has something to add about the same days is heard.
        LimitRaise.objects.filter(pk=made.pk).update(reason=reason, by=actor)
        details = {**change.told, "first": str(first), "last": str(last), "reason": reason}
        audit.record("limit raised", actor=actor, district=district, details=details)
    return made


@transaction.atomic
def raise_end(made: LimitRaise, *, actor: User) -> None:
    """Ends a raise before its last day. Raises Refused if it has ended."""
    if not LimitRaise.objects.filter(pk=made.pk, ended=None).update(ended=timezone.now()):
        raise Refused("ended", "This raise has been ended already.")
    details = {"what": made.what, "table": made.table, "last": str(made.last)}
    audit.record("limit raise ended", actor=actor, district=made.district, details=details)


@transaction.atomic
def blackouts_set(districts: Sequence[District], *, first: date, last: date, why: str, actor: User) -> None:
    """The same blackout for each of these districts, all or none. Raises Refused for odd days."""
    for district in districts:
        blackout_set(district, first=first, last=last, why=why, actor=actor)


@transaction.atomic
def blackout_set(district: District | None, *, first: date, last: date, why: str, actor: User) -> BlackoutDays:
    """Days on which nights are received and checked, but not applied. Raises Refused for odd days.

    None: of every district, those too that are opened later.
    """
    _days_must_be_fine(district, first, last)
    made, is_new = BlackoutDays.objects.get_or_create(
        district=district, first=first, last=last, ended=None, defaults={"why": why, "by": actor}
    )
    if is_new or made.why != why:
        # Whoever has something to add about the same days is heard.
        BlackoutDays.objects.filter(pk=made.pk).update(why=why, by=actor)
        details = {"first": str(first), "last": str(last), "reason": why, **_whose(district)}
        audit.record("blackout set", actor=actor, district=district, details=details)
    return made


@transaction.atomic
def blackout_end(made: BlackoutDays, *, actor: User) -> None:
    """Ends a blackout, or takes one back that is to come. Raises Refused if it has ended."""
    if not BlackoutDays.objects.filter(pk=made.pk, ended=None).update(ended=timezone.now()):
        raise Refused("ended", "This blackout has been ended already.")
    details = {"first": str(made.first), "last": str(made.last), **_whose(made.district)}
    audit.record("blackout ended", actor=actor, district=made.district, details=details)


@transaction.atomic
def arrival_set(district: District, by: time | None, days: str, *, actor: User) -> None:
    """By when a night is expected, in the district's own time, on weekdays (0 is Monday); None: none is."""
    if by is None or not days:
        ExpectedArrival.objects.filter(district=district).delete()
        details: dict[str, object] = {"by": "never"}
    else:
        ExpectedArrival.objects.update_or_create(district=district, defaults={"by": by, "days": days})
        details = {"by": f"{by:%H:%M}", "days": days}
    audit.record("expected arrival set", actor=actor, district=district, details=details)


def _whose(district: District | None) -> dict[str, str]:
    return {} if district else {"districts": "every"}


def _days_must_be_fine(district: District | None, first: date, last: date) -> None:
    if last < first:
        raise Refused("days", "The last day is before the first one.")
    if last < (now_in(district).date() if district else timezone.localdate()):
        raise Refused("days", "The last day is over already.")
    if (last - first).days > LONGEST_DAYS:
        raise Refused("days", f"That is longer than {LONGEST_DAYS} days. Choose an earlier last day.")
