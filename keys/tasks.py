"""Celery's handles on this package."""

from collections.abc import Iterable

from celery import shared_task
from django.conf import settings
from django.utils import timezone

from accounts.nudge import nudge

from . import nightly, propagation

BUSY_SECONDS, BUSY_TRIES = 2, 5


@shared_task(name="keys.propagate_account")
def propagate_account(account_pk: int, tries: int = 0) -> None:
    """Brings one account's key file to its host, and what else was saved for that host.

    One that another worker is at is tried again a moment later: so a key that is saved in the middle of a run over
    all accounts need not wait for the sweep.
    """
    if not propagation.push_saved(account_pk) and tries < BUSY_TRIES:
        nudge(propagate_account, account_pk, tries + 1, countdown=BUSY_SECONDS)


@shared_task(name="keys.propagate_run")
def propagate_run(run_pk: int) -> None:
    """Does a run that somebody asked for, each host by itself: one that is slow holds up none but its own part."""
    _parts_nudge(run_pk)


def _parts_nudge(run_pk: int, expires: int = 0) -> None:
    parts = propagation.parts_make(run_pk)
    for part_pk in parts:
        nudge(propagate_part, part_pk, expires=expires)
    if not parts:
        propagation.run_do(run_pk)


@shared_task(name="keys.propagate_part")
def propagate_part(part_pk: int) -> None:
    """Does a run's part on one host."""
    propagation.part_do(part_pk)


@shared_task(name="keys.propagate_all")
def propagate_all() -> None:
    """The hourly run over all accounts."""
    propagate_run(propagation.hourly_make().pk)


@shared_task(name="keys.sweep")
def sweep() -> None:
    """Finds what lost messages and killed workers left behind. Each host is gone to by itself."""
    # The next sweep sends it again: if all threads are busy, messages must not pile up.
    expires = settings.SWEEP_SECONDS
    for host_pk in propagation.hosts_left_behind():
        nudge(sweep_host, host_pk, expires=expires)
    for run_pk in propagation.runs_left():
        _parts_nudge(run_pk, expires)


@shared_task(name="keys.sweep_host")
def sweep_host(host_pk: int) -> None:
    """Brings what was left behind to one host."""
    propagation.sweep_host(host_pk)


@shared_task(name="keys.judge")
def judge() -> None:
    """Judges every stored key by today's rules; begun again after a killed worker, those that it had not come to."""
    _nudge_hosts_of(nightly.judge_all(since=timezone.now() - nightly.SAME_NIGHT))


@shared_task(name="keys.retire")
def retire() -> None:
    """Retires replaced keys whose time has come."""
    _nudge_hosts_of(nightly.retire_due())


def _nudge_hosts_of(accounts: Iterable[int]) -> None:
    """Has the files of these accounts brought, those of one host together: what one night takes away is one removal."""
    for account_pk in propagation.one_of_each_host(accounts):
        nudge(propagate_account, account_pk)


@shared_task(name="keys.remind")
def remind() -> None:
    """Reminds people of keys whose last day is near."""
    nightly.remind_due()
