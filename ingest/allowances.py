"""How much a night of a district may change, and what day it is there: from its rows and the settings."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from accounts.models import District

from . import models
from .core.diff import What
from .core.limits import GuardLimits, Limit, Raise, Standing
from .core.schoolyear import Blackout, Calendar


def zone_of(district: District) -> ZoneInfo:
    """The zone in which a district's nights, limits and blackouts are told."""
    return ZoneInfo(district.time_zone)


def now_in(district: District) -> datetime:
    """The time at the district."""
    return timezone.now().astimezone(zone_of(district))


def usual_limits() -> tuple[Standing, ...]:
    """What counts where a district has no limit of its own."""
    told = (
        (What.ADDED, settings.GUARD_ADDED_PERCENT, settings.GUARD_ADDED_FLOOR),
        (What.CHANGED, settings.GUARD_CHANGED_PERCENT, settings.GUARD_CHANGED_FLOOR),
        (What.REMOVED, settings.GUARD_REMOVED_PERCENT, settings.GUARD_REMOVED_FLOOR),
    )
    return tuple(Standing(what, Limit(Decimal(percent), floor)) for what, percent, floor in told)


def limits_of(district: District) -> GuardLimits:
    """Every limit that may count for a district, raises of other days too."""
    return GuardLimits(
        standing=tuple(
            Standing(What(row.what), Limit(row.percent, row.floor), row.table) for row in district.limits.all()
        ),
        raises=tuple(
            Raise(What(row.what), Limit(row.percent, row.floor), row.first, row.last, row.table)
            for row in district.limit_raises.filter(ended=None)
        ),
        usual=usual_limits(),
        shrink=Limit(Decimal(settings.GUARD_SMALLER_PERCENT), 1000),
        age_days=settings.GUARD_AGE_DAYS,
        quiet_days=settings.GUARD_QUIET_DAYS,
        school_year=settings.GUARD_SCHOOL_YEAR,
    )


def calendar_of(district: District, at: datetime | None = None) -> Calendar:
    """The calendar of a district now (or `at` a time), with its own blackouts and those of every district."""
    moment = at or now_in(district)
    today, in_force = moment.date(), Q(ended=None) | Q(ended__gt=moment)
    rows = models.BlackoutDays.objects.filter(in_force, Q(district=district) | Q(district=None), last__gte=today)
    blackouts = tuple(Blackout(row.first, row.last, row.why) for row in rows)
    return Calendar(today, blackouts=blackouts)
