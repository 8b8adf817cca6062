"""Celery's handles on this package."""

from celery import shared_task

from hosts.lanes import Lanes

from . import delivery, digests

MAIL_SERVER = 0
# A mail server that is slow holds two of a worker's threads; whoever comes meanwhile leaves his letter to them.
_letters = Lanes(2)


@shared_task(name="accounts.send_mail")
def send_mail(pk: int) -> None:
    """Sends one message of the outbox, and what else is due."""
    _letters.work(MAIL_SERVER, delivery.messages_send)


@shared_task(name="accounts.sweep_mail")
def sweep_mail() -> None:
    """Sends what a lost nudge or a mail server that was away left behind."""
    _letters.work(MAIL_SERVER, delivery.messages_send)


@shared_task(name="accounts.send_digests")
def send_digests() -> None:
    """Sends those their mails together for whom it is past eight."""
    digests.digests_send()
