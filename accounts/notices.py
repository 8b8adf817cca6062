"""The one way out for mail: every notice is a row of the outbox first, written in the transaction it tells of."""

from collections.abc import Iterable, Mapping

from django.conf import settings
from django.template.loader import render_to_string

from .core.mailing import How, group_of
from .core.roles import Role
from .models import District, MailChoice, OutboxMessage, User
from .nudge import nudge
from .outbox import message_write
from .tasks import send_mail


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
    wanted = _chosen(kind)
    for address in sorted(set(to)):
        how = wanted.get(address, How.EACH)
        if how is not How.NONE:
            _queue(kind, address, subject, text.strip() + "\n", about, district, is_gathered=how is How.MORNING)


def _chosen(kind: str) -> dict[str, How]:
    """Who has chosen something else for mails of this kind than to get each at once."""
    group = group_of(kind)
    if group is None:
        return {}
    rows = MailChoice.objects.filter(group=group.name).values_list("user__email", "how")
    return {address: How(how) for address, how in rows if How(how) in group.choices}


def choices_of(person: User) -> dict[str, How]:
    """What a person has chosen, by group."""
    return {group: How(how) for group, how in person.mail_choices.values_list("group", "how")}


def message_queue(kind: str, address: str, subject: str, text: str, *, about: str) -> None:
    """Queues a mail whose words somebody else wrote (allauth's password reset and e-mail confirmation)."""
    _queue(kind, address, subject, text, about, None)


def _queue(
    kind: str,
    address: str,
    subject: str,
    text: str,
    about: str,
    district: District | None,
    *,
    is_gathered: bool = False,
) -> None:
    message = message_write(kind, address, subject, text, about, district, is_gathered=is_gathered)
    if message is not None and message.state == OutboxMessage.State.WAITING:
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
