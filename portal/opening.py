"""Opens the districts of long lists, some at a time; what a killed worker has left is gone on with."""

import logging
import zoneinfo

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts import audit, services
from accounts.core import roster
from accounts.core.names import NameRefused
from accounts.core.roles import Role
from accounts.leases import LeaseLost, lease_end, lease_renew, lease_take
from accounts.models import DistrictImport, User

logger = logging.getLogger(__name__)
# In one transaction: others who write wait no longer than these take.
AT_ONCE = 20


def row_open(row: roster.Row, person: User | None) -> None:
    """One district of a list, and the invitation of its administrator. Raises Refused or NameRefused."""
    district = services.district_open(row.name, row.domain, time_zone=row.time_zone, actor=person)
    if row.administrator_email:
        role = Role.DISTRICT_ADMINISTRATOR
        services.invitation_send(district, row.administrator_email, row.administrator_name, role, actor=person)


def imports_run() -> None:
    """Goes on with every list that is not done, unless somebody is at it."""
    for pk in DistrictImport.objects.filter(finished=None).order_by("pk").values_list("pk", flat=True):
        rows = DistrictImport.objects.filter(pk=pk, finished=None)
        if token := lease_take(rows):
            try:
                _run(DistrictImport.objects.select_related("asked_by").get(pk=pk), token)
            except LeaseLost:
                logger.warning("Another worker has taken import %s over.", pk)
            finally:
                lease_end(DistrictImport.objects.filter(pk=pk), token)


def _run(asked: DistrictImport, token: str) -> None:
    """The rows after those that are done; what has come in their way since the preview is passed over and told."""
    zones = zoneinfo.available_timezones()
    # Those it has opened itself are taken by now, so what is taken is asked row by row.
    found = roster.read_roster(asked.text, taken=(), zones=zones, default_zone=settings.TIME_ZONE)
    while asked.done < asked.total:
        with transaction.atomic():
            lease_renew(DistrictImport.objects.filter(pk=asked.pk), token)
            for row in found.rows[asked.done : asked.done + AT_ONCE]:
                asked.problems += _opened(row, asked.asked_by)
                asked.done += 1
            asked.save(update_fields=["done", "problems"])
    _finish(asked)


def _opened(row: roster.Row, person: User | None) -> list[str]:
    try:
        with transaction.atomic():
            row_open(row, person)
    except (services.Refused, NameRefused) as refused:
        return [f"Line {row.line}, {row.domain}: {refused}"]
    return []


@transaction.atomic
def _finish(asked: DistrictImport) -> None:
    asked.finished, asked.text = timezone.now(), ""
    asked.save(update_fields=["finished", "text"])
    details = {"districts": asked.opened, "passed over": len(asked.problems)}
    audit.record("districts imported", actor=asked.asked_by, subject=str(asked.pk), details=details)
