"""Celery's handles on this package."""

from celery import shared_task

from . import signins


@shared_task(name="hosts.read_sign_ins")
def read_sign_ins() -> None:
    """Reads what the hosts' connection logs have said since last time; each host elsewhere by itself."""
    for pk in signins.hosts_elsewhere():
        # Whoever waits for a host that does not answer must not pile up behind himself.
        read_sign_ins_of.apply_async((pk,), expires=60)
    signins.collect_here()


@shared_task(name="hosts.read_sign_ins_of")
def read_sign_ins_of(host_pk: int) -> None:
    """Reads what one host's connection log has said since last time."""
    signins.collect_from(host_pk)
