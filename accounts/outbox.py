"""The rows of the outbox: each notice once to each address, however often its step is repeated."""

import hashlib

from django.conf import settings

from .models import District, OutboxMessage

LONGEST_KEY = 200


def message_write(
    kind: str,
    address: str,
    subject: str,
    text: str,
    about: str,
    district: District | None,
    *,
    is_gathered: bool = False,
) -> OutboxMessage | None:
    """A mail that waits for the mail server, or for the morning; None if it was written before."""
    sent = OutboxMessage.State.WAITING if settings.EMAIL_URL else OutboxMessage.State.KEPT
    message, is_new = OutboxMessage.objects.get_or_create(
        key=_key(kind, about, address),
        defaults={
            "kind": kind,
            "to": address,
            "district": district,
            "subject": " ".join(subject.split())[:200],
            "text": text,
            "state": OutboxMessage.State.GATHERED if is_gathered else sent,
        },
    )
    return message if is_new else None


def _key(kind: str, about: str, address: str) -> str:
    """What makes a notice the same one; an address that would be cut off stands there by its digest."""
    whole = f"{kind}:{about}:{address}"
    return whole if len(whole) <= LONGEST_KEY else f"{kind}:{about}:{hashlib.sha256(address.encode()).hexdigest()}"
