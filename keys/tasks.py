"""Celery's handles on this package."""

from celery import shared_task
from django.utils import timezone

from accounts.nudge import nudge

from . import nightly, propagation


@shared_task(name="keys.propagate_account")
def propagate_account(account_pk: int) -> None:
    """Brings one account's key file to its host."""
    propagation.push_one(account_pk)


@shared_task(name="keys.propagate_run")
def propagate_run(run_pk: int) -> None:
    """Does a run that somebody asked for: its first host here, the others wherever a worker is free."""
    for part_pk in propagation.parts_make(run_pk)[1:]:
        nudge(propagate_part, part_pk)
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
    """Finds what lost messages and killed workers left behind."""
    propagation.sweep()


@shared_task(name="keys.judge")
def judge() -> None:
    """Judges every stored key by today's rules; begun again after a killed worker, those that it had not come to."""
    for account_pk in nightly.judge_all(since=timezone.now() - nightly.SAME_NIGHT):
        propagation.push_one(account_pk)


@shared_task(name="keys.retire")
def retire() -> None:
    """Retires replaced keys whose time has come."""
    for account_pk in nightly.retire_due():
        propagation.push_one(account_pk)


@shared_task(name="keys.remind")
def remind() -> None:
    """Reminds people of keys whose last day is near."""
    nightly.remind_due()
