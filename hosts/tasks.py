"""Celery's handles on this package."""

from celery import shared_task

from . import signins


@shared_task(name="hosts.read_sign_ins")
def read_sign_ins() -> None:
    """Reads what the hosts' connection logs have said since last time."""
    signins.collect_all()
