"""Staff look at one record's history: only with a reason, and the audit log keeps that they did."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import District, User
from accounts.services import Refused

from .models import Record, RecordLook

__all__ = ["Refused", "look_of", "record_look"]
OPEN_FOR = timedelta(minutes=30)


def record_look(district: District, table: str, key: str, *, reason: str, actor: User) -> RecordLook:
    """Opens one record for this person for a short while. Raises Refused if there is none of that id.

    The audit log gets the record's number here, never its id: that may be a student's. It keeps vain looks too.
    """
    made = _look(district, table, key, reason, actor)
    if made is None:
        raise Refused("no-record", "There is no record with this id in that file, nor was there one.")
    return made


@transaction.atomic
def _look(district: District, table: str, key: str, reason: str, actor: User) -> RecordLook | None:
    found = Record.objects.filter(dataset__district=district, dataset__table=table, key=key).order_by("-pk").first()
    details = {"table": table, "reason": reason}
    if found is None:
        audit.record("record looked for", actor=actor, district=district, subject="not found", details=details)
        return None
    audit.record("record looked at", actor=actor, district=district, subject=f"record {found.pk}", details=details)
    return RecordLook.objects.create(record=found, by=actor, reason=reason)


def look_of(pk: int, person: User) -> RecordLook | None:
    """What this person has just opened; None for anybody else, and when the time is over."""
    rows = RecordLook.objects.filter(pk=pk, by=person, at__gte=timezone.now() - OPEN_FOR)
    return rows.select_related("record__dataset__district").first()
