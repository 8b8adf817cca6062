"""Celery's handles on this package."""

from celery import shared_task

from . import condition, signins
from .lanes import Lanes

HERE = 0  # no host's number
# Beat sends these whether the last are done or not: of a worker's threads a slow host holds one of each.
_readings, _askings = Lanes(1, comes_again=True), Lanes(1, comes_again=True)


@shared_task(name="hosts.read_sign_ins")
def read_sign_ins() -> None:
    """Reads what the hosts' connection logs have said since last time; each host elsewhere by itself."""
    for pk in signins.hosts_elsewhere():
        # Whoever waits for a host that does not answer must not pile up behind himself.
        read_sign_ins_of.apply_async((pk,), expires=60)
    _readings.work(HERE, signins.collect_here)


@shared_task(name="hosts.read_sign_ins_of")
def read_sign_ins_of(host_pk: int) -> None:
    """Reads what one host's connection log has said since last time; nothing if this worker is at that already."""
    _readings.work(host_pk, lambda: signins.collect_from(host_pk))


@shared_task(name="hosts.ask_conditions")
def ask_conditions() -> None:
    """Asks every host how its machine is; each by itself."""
    for pk in condition.hosts_to_ask():
        ask_condition_of.apply_async((pk,), expires=60)


@shared_task(name="hosts.ask_condition_of")
def ask_condition_of(host_pk: int) -> None:
    """Asks one host how its machine is; nothing if this worker is at that already."""
    _askings.work(host_pk, lambda: condition.condition_ask(host_pk))
