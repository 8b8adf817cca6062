"""The one way out for mail: every notice is a row of the outbox first, written in the transaction it tells of."""

import hashlib
from collections.abc import Iterable, Mapping

from django.conf import settings
from django.template.loader import render_to_string

from .core.roles import Role
from .models import District, OutboxMessage, User
from .nudge import nudge
from .tasks import send_mail

LONGEST_KEY = 200


def notice_send(
    kind: str,
    to: Iterable[str],
    context: Mapping[str, object],
    *,
    about: str,
    district: District | None = None,
) -> None:
    """Queues the notice `kind` (template `mail/<kind>.txt`, subject on its first line) to each address, once.

    `about` names what it tells of ("epoch-12"): the same kind about the same thing to the same address is one mail,
    however often a step is repeated after a crash.
    """
    told = {
        **context,
        "portal_url": settings.PUBLIC_URL,
        "vendor": settings.VENDOR_NAME,
        "district": district,
    }
    subject, _, text = render_to_string(f"mail/{kind}.txt", told).partition("\n")
    for address in sorted(set(to)):
        _queue(kind, address, subject, text.strip() + "\n", about, district)


def message_queue(kind: str, address: str, subject: str, text: str, *, about: str) -> None:
    """Queues a mail whose words somebody else wrote (allauth's password reset and e-mail confirmation)."""
    _queue(kind, address, subject, text, about, None)


def _key(kind: str, about: str, address: str) -> str:
    """What makes a notice the same one; an address that would be cut off stands there by its digest."""
    whole = f"{kind}:{about}:{address}"
    return whole if len(whole) <= LONGEST_KEY else f"{kind}:{about}:{hashlib.sha256(address.encode()).hexdigest()}"


def _queue(kind: str, address: str, subject: str, text: str, about: str, district: District | None) -> None:
    message, is_new = OutboxMessage.objects.get_or_create(
        key=_key(kind, about, address),
        defaults={
            "kind": kind,
            "to": address,
            "district": district,
            "subject": " ".join(subject.split())[:200],
            "text": text,
            "state": OutboxMessage.State.WAITING if settings.EMAIL_URL else OutboxMessage.State.KEPT,
        },
    )
    if is_new and settings.EMAIL_URL:
        nudge(send_mail, message.pk)


def administrators_of(district: District) -> list[str]:
    """The addresses of a district's administrators who can sign in."""
    return list(
        User.objects.filter(
            memberships__district=district,
            memberships__role=Role.DISTRICT_ADMINISTRATOR,
            is_active=True,
        ).values_list("email", flat=True)
    )


def staff_in(*roles: Role) -> list[str]:
    """The addresses of the vendor's people in these roles."""
    return list(User.objects.filter(staff_role__in=roles, is_active=True).values_list("email", flat=True))
