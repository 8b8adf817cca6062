"""Celery's handles on this package."""

from celery import shared_task
from django.conf import settings

from accounts.nudge import nudge
from hosts import changes
from hosts.lanes import Lanes

from . import archive, arrivals, endings, forgetting, looking, staging, turns
from .trials import runs

HERE = 0  # no host's number
# Beat asks for a look whether the last one is done or not.
_looks = Lanes(1, comes_again=True)


@shared_task(name="ingest.look")
def look() -> None:
    """Looks into every district's /upload/ and queues what is ripe; on each host elsewhere by itself."""
    for host_pk in changes.hosts_to_look_at():
        # Whoever waits for a host that does not answer must not pile up behind himself.
        look_at_host.apply_async((host_pk,), expires=settings.INGEST_LOOK_SECONDS)
    _looks.work(HERE, lambda: _wake(len(looking.look_here())))


@shared_task(name="ingest.look_at_host")
def look_at_host(host_pk: int) -> None:
    """Looks into what may have changed on one host elsewhere, and queues what is ripe."""
    _wake(len(looking.look_at_host(host_pk)))


def _wake(districts: int) -> None:
    """Has as many processes as there are, and no more than there are districts, see whose turn it is."""
    for _ in range(min(districts, settings.WORKER_PROCESSES)):
        # The next sweep sends it again: while all processes are busy, messages must not pile up.
        nudge(process, expires=settings.SWEEP_SECONDS)


@shared_task(name="ingest.process")
def process() -> None:
    """Processes queued epochs, whoever has waited longest first; leaves what is left to the next message."""
    if turns.turns_do():
        nudge(process, expires=settings.SWEEP_SECONDS)


@shared_task(name="ingest.sweep")
def sweep() -> None:
    """Finds what lost messages and killed workers left behind."""
    endings.closed_end()
    _wake(turns.districts_waiting())
    staging.sweep()


@shared_task(name="ingest.tell_missing")
def tell_missing() -> None:
    """Tells of nights that were expected and have not come."""
    arrivals.missing_tell()


@shared_task(name="ingest.purge")
def purge() -> None:
    """Moves to /upload-processed/ what could not be moved before, and deletes from there what is past its days."""
    archive.unmoved_move()
    archive.purge()


@shared_task(name="ingest.forget")
def forget() -> None:
    """Forgets what records held before nights that are past their days."""
    forgetting.history_forget()


@shared_task(name="ingest.check_trials")
def check_trials() -> None:
    """Checks files that somebody wants to send, and sweeps away what is left of others."""
    runs.look_after()
