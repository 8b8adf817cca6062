"""Forgets what records held before, when that is long ago. Who changed which columns, and in which night, stays.

The newest nights that were applied keep it, however old they are, for they can be taken back one after the other.
"""

from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone

from accounts import audit

from .bulk import bulk
from .guarding import UNDOABLE
from .models import Epoch, Lane, RecordChange

AT_ONCE = 5_000
FORGET = """
UPDATE ingest_recordchange SET forgotten = true, old = {emptied} WHERE id IN (
  SELECT id FROM ingest_recordchange WHERE epoch_id = %s AND NOT forgotten ORDER BY id LIMIT %s)
"""


def history_forget() -> int:
    """Forgets the values before every night that is past its days; returns how many nights that were.

    Killed half-way, the next run goes on where this one stopped.
    """
    before = timezone.now() - timedelta(days=settings.INGEST_HISTORY_DAYS)
    due = Epoch.objects.filter(finished__lt=before, forgotten=None, applied_version__isnull=False)
    return sum(_forget(epoch) for epoch in due.select_related("district").order_by("finished", "pk"))


def _forget(epoch: Epoch) -> bool:
    while (number := _some(epoch)) == AT_ONCE:
        pass
    if number is None:
        return False
    with transaction.atomic():
        Epoch.objects.filter(pk=epoch.pk).update(forgotten=timezone.now())
        details = {"changes": RecordChange.objects.filter(epoch=epoch).count()}
        audit.record("old values forgotten", district=epoch.district, subject=epoch.name, details=details)
    return True


@transaction.atomic
def _some(epoch: Epoch) -> int | None:
    """Forgets some values; None if the night may have to be taken back, or one is loaded just now.

    Meanwhile none of the district's can be taken back.
    """
    if Lane.locked_at_once(epoch.district) is None:
        return None
    newer = Epoch.objects.filter(district=epoch.district_id, applied_version__gt=epoch.applied_version)
    if newer.count() < UNDOABLE:
        return None
    with connection.cursor() as cursor:
        cursor.execute(FORGET.format(emptied=bulk().emptied), [epoch.pk, AT_ONCE])
        return cursor.rowcount
