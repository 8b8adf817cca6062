"""Mails that staff get together, at eight by their own clock."""

import zoneinfo
from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import timezone

from .core.letters import first_link
from .core.mailing import last_morning
from .models import OutboxMessage, User
from .outbox import message_write

GATHERED = OutboxMessage.State.GATHERED


def digests_send() -> None:
    """Everybody whose eight o'clock has come since something was written to them gets it in one mail."""
    now = timezone.now()
    waiting = OutboxMessage.objects.filter(state=GATHERED).order_by().values_list("to", flat=True).distinct()
    people = {person.email: person for person in User.objects.filter(email__in=list(waiting))}
    for address in waiting:
        _digest_send(address, last_morning(now, zone_of(people.get(address))))


def zone_of(person: User | None) -> zoneinfo.ZoneInfo:
    """The clock a person of staff goes by: their own, or the portal's."""
    return zoneinfo.ZoneInfo((person.time_zone if person else "") or settings.TIME_ZONE)


@transaction.atomic
def _digest_send(address: str, morning: datetime) -> None:
    rows = OutboxMessage.objects.select_for_update().filter(to=address, state=GATHERED, created__lt=morning)
    messages = list(rows.order_by("created", "pk"))
    if not messages:
        return
    told: dict[str, object] = {"messages": [(one, first_link(one.text)) for one in messages]}
    told |= {"portal_url": settings.PUBLIC_URL, "vendor": settings.VENDOR_NAME}
    subject, _, text = render_to_string("mail/digest.txt", told).partition("\n")
    # The next sweep of the outbox sends it.
    message_write("digest", address, subject, text.strip() + "\n", f"{messages[0].pk}-{morning:%Y-%m-%d}", None)
    # As after sending: the outbox keeps that they went, not what they said.
    reason = "Sent in the morning's mail."
    done = {"state": OutboxMessage.State.SENT, "sent": timezone.now(), "text": "", "reason": reason}
    OutboxMessage.objects.filter(pk__in=[message.pk for message in messages]).update(**done)
