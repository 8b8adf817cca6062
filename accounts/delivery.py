"""Sends what waits in the outbox through the vendor's mail server."""

import logging
from datetime import timedelta
from smtplib import SMTPException

from django.core.mail import EmailMultiAlternatives
from django.db.models import Q, QuerySet
from django.template.loader import render_to_string
from django.utils import timezone

from .core.letters import blocks_of
from .leases import lease_end, lease_take
from .models import OutboxMessage

logger = logging.getLogger(__name__)
FIRST_PAUSE = timedelta(minutes=1)
MOST_TRIES = 12
# The others are for the next sweep.
MOST_AT_ONCE = 200


def due() -> QuerySet[OutboxMessage]:
    """Messages that wait for the mail server now, oldest first."""
    waiting = Q(state=OutboxMessage.State.WAITING, next_try__lte=timezone.now())
    return OutboxMessage.objects.filter(waiting).order_by("created")


def messages_send() -> None:
    """Sends what is due, the oldest first; what another thread is sending already is left to it."""
    for pk in due().values_list("pk", flat=True)[:MOST_AT_ONCE]:
        message_send(pk)


def message_send(pk: int) -> None:
    """Sends one message if it is due and nobody else is sending it; a failure waits longer each time."""
    rows = due().filter(pk=pk)
    token = lease_take(rows)
    if token is None:
        return
    message = OutboxMessage.objects.get(pk=pk)
    try:
        # One Message-ID per row: if a crash makes us send twice, mail programs show it once.
        headers = {"Message-ID": f"<outbox-{message.pk}-{message.created:%Y%m%d%H%M%S}@sftp-portal>"}
        letter = EmailMultiAlternatives(message.subject, message.text, to=[message.to], headers=headers)
        letter.attach_alternative(html_of(message), "text/html")
        letter.send()
    except (SMTPException, OSError) as error:
        _failed(message, type(error).__name__)
    except Exception as error:  # a letter that cannot be put together must not keep the others waiting
        logger.exception("Outbox message %s could not be put together.", pk)
        _failed(message, type(error).__name__)
    else:
        message.state, message.sent, message.reason = OutboxMessage.State.SENT, timezone.now(), ""
        # A sent letter may hold a link that opens an account: the outbox keeps that it went, not what it said.
        message.text = ""
        message.save(update_fields=["state", "sent", "reason", "text"])
    lease_end(OutboxMessage.objects.filter(pk=pk), token)


def html_of(message: OutboxMessage) -> str:
    """The same words as HTML."""
    return render_to_string("mail/base.html", {"subject": message.subject, "blocks": blocks_of(message.text)})


def _failed(message: OutboxMessage, error: str) -> None:
    message.tries += 1
    message.reason = f"The mail server did not take it ({error})."
    message.next_try = timezone.now() + FIRST_PAUSE * 2 ** min(message.tries - 1, 7)
    if message.tries >= MOST_TRIES:
        message.state = OutboxMessage.State.FAILED
    message.save(update_fields=["tries", "reason", "next_try", "state"])
    logger.warning("Outbox message %s was not taken: %s", message.pk, error)
