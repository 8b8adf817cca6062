"""Celery's handles on this package."""

from celery import shared_task

from . import delivery


@shared_task(name="accounts.send_mail")
def send_mail(pk: int) -> None:
    """Sends one message of the outbox."""
    delivery.message_send(pk)


@shared_task(name="accounts.sweep_mail")
def sweep_mail() -> None:
    """Sends what a lost nudge or a mail server that was away left behind."""
    for pk in delivery.due().values_list("pk", flat=True)[:200]:
        delivery.message_send(pk)
