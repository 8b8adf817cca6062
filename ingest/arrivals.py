"""Nights that are missing: the district is told first, then staff, each once."""

from datetime import datetime

from django.db import transaction
from django.db.models import Max

from accounts import audit
from accounts.models import District, SftpAccount
from hosts.models import Host, UploadsSeen

from . import telling
from .allowances import calendar_of, now_in, zone_of
from .core.arrival import Expected, Overdue, last_due, overdue, usual_time
from .models import Epoch, ExpectedArrival, MissingNight
from .nights import came_of

LOOKED_AT = 14


def missing_tell() -> int:
    """Tells of every night that is overdue by now; how many were told."""
    rows = ExpectedArrival.objects.filter(district__state=District.State.ACTIVE).select_related("district")
    return sum(_tell_once(row.district, one) for row in rows for one in overdue_of(row))


def overdue_of(row: ExpectedArrival) -> tuple[Overdue, ...]:
    """Who is to be told by now that a district's night is missing. Nobody, while its uploads cannot be looked at."""
    district, now = row.district, now_in(row.district)
    expected = Expected(row.by, frozenset(int(day) for day in row.days))
    due = last_due(expected, now)
    if due is None or not _is_looked_at(district.sftp_account):
        return ()
    last = _last_come(district)
    return overdue(expected, last.astimezone(zone_of(district)) if last else None, now, calendar_of(district, due))


def _is_looked_at(account: SftpAccount) -> bool:
    """Whether the last look at its uploads was a good one; else they may have come, and nobody has seen it yet."""
    if account.host.state == Host.State.STOPPED:
        return False
    seen = UploadsSeen.objects.filter(host=account.host).first()
    return seen is None or not (seen.tries or account.pk in seen.owed)


def _last_come(district: District) -> datetime | None:
    """When its last epoch came, whatever became of it: complete if looks have found it so, else as first seen."""
    return came_of(district).aggregate(last=Max("came"))["last"]


def usual_time_of(district: District) -> str:
    """By when its nights usually have come, as HH:MM; empty if too few have."""
    zone = zone_of(district)
    found = usual_time([one.astimezone(zone) for one in _arrived(district)])
    return f"{found:%H:%M}" if found else ""


def _arrived(district: District) -> list[datetime]:
    rows = Epoch.objects.filter(district=district, queued__isnull=False).order_by("-queued")[:LOOKED_AT]
    return [one for one in rows.values_list("queued", flat=True) if one is not None]


@transaction.atomic
def _tell_once(district: District, missing: Overdue) -> int:
    row = {"district": district, "day": missing.day, "audience": missing.audience.value}
    _, is_new = MissingNight.objects.get_or_create(**row, defaults={"message": missing.message[:300]})
    if is_new:
        telling.missing(district, missing.audience, missing.day, missing.message)
        details = {"day": str(missing.day), "told": missing.audience.value}
        audit.record("night missing", district=district, details=details)
    return int(is_new)
