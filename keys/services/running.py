"""What people want of propagation, written down: one transaction each, a nudge on commit."""

from collections.abc import Iterable

from django.db import transaction
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from accounts import audit
from accounts.models import SftpAccount, User
from accounts.nudge import nudge
from hosts.models import Host

from ..models import HostRun, KeyFile, KeySet, PropagationRun
from ..overview import full_runs
from ..selectors import HOURLY_TASK
from ..sets import PORTAL, By, file_locked, set_first, set_make
from ..tasks import propagate_account, propagate_run
from .guards import ReasonMissing, reason_given

# Every choice divides the hour, so the clock times a page promises are plain, and none is longer than an hour.
HOURLY_CHOICES = (60, 30, 20, 15, 10, 5)
# Sets of a host that were decided about and are remembered; more do not stand there at one time.
FORGIVEN = 8
# No set gets a higher number by itself. A stamp's number is not sealed: after the highest there is, none would be left.
MOST_TAKEN_OVER = 10**8


@transaction.atomic
def propagation_want(account: SftpAccount) -> None:
    """Marks the account's file as waiting for its host: its name, its district's state or its host has changed."""
    file, is_new = KeyFile.objects.get_or_create(account=account)
    if is_new:
        set_first(file)
    else:
        set_make(file_locked(account), KeySet.Cause.ACCOUNT, PORTAL)
    nudge(propagate_account, account.pk)


@transaction.atomic
def older_set_keep(account: SftpAccount, *, seen: str, by: By) -> KeySet:
    """Keeps the database's set although the host has one the database does not know (an old database was restored).

    `seen`: the token of that set, as it was shown to whoever decides. Raises NothingToSettle if the host has not that
    set, and ReasonMissing.
    """
    reason_given(account, by)
    file = file_locked(account)
    if not file.found or file.found["token"] != seen:
        raise NothingToSettle
    file.forgiven_tokens = " ".join([file.found["token"], *file.forgiven_tokens.split()][:FORGIVEN])
    if file.found["version"] <= MOST_TAKEN_OVER:
        file.version = max(file.version, file.found["version"])
    file.found = None
    file.save(update_fields=["forgiven_tokens", "version", "found"])
    made = set_make(file, KeySet.Cause.SETTLED, by)
    nudge(propagate_account, account.pk)
    return made


class NothingToSettle(Exception):
    """The host has no set that is unknown here, or another one than was shown."""


@transaction.atomic
def run_want(cause: PropagationRun.Cause, *, actor: User | None) -> PropagationRun:
    """Asks for a run over all accounts; one that is asked for and not begun yet serves everybody who asks."""
    run = full_runs().filter(state=PropagationRun.State.WAITING).first()
    if run is None:
        run = PropagationRun.objects.create(cause=cause, asked_by=actor)
        if actor is not None:
            audit.record("propagation asked for", actor=actor, subject="all accounts")
    nudge(propagate_run, run.pk)
    return run


@transaction.atomic
def run_want_by_command(hosts: Iterable[Host], *, thorough: bool) -> PropagationRun:
    """Notes a run over these hosts that whoever called does at once; `thorough` reads every file."""
    run = PropagationRun.objects.create(cause=PropagationRun.Cause.COMMAND, thorough=thorough)
    HostRun.objects.bulk_create([HostRun(run=run, host=host) for host in hosts])
    audit.record("propagation asked for", actor=None, subject="all accounts", details={"by": "command line"})
    return run


@transaction.atomic
def unasked_allow(part: HostRun, *, by: By) -> PropagationRun:
    """Lets just those keys go that a stopped run would have removed, and asks for a run at once.

    Raises NothingToSettle if the run is not stopped or was allowed already, and ReasonMissing.
    """
    if not by.reason.strip():
        raise ReasonMissing
    stopped = HostRun.objects.filter(pk=part.pk, state=HostRun.State.STOPPED, allowed=None)
    if not stopped.update(allowed=timezone.now(), allowed_by=by.actor, allowed_reason=by.reason.strip()[:400]):
        raise NothingToSettle
    details = {"reason": by.reason, "from": by.address, "keys": part.unasked}
    audit.record("unasked removal allowed", actor=by.actor, subject=part.host.name, details=details)
    return run_want(PropagationRun.Cause.NOW, actor=by.actor)


@transaction.atomic
def hourly_set(minutes: int, *, actor: User) -> None:
    """Sets how often all accounts are propagated: every `minutes`, one of HOURLY_CHOICES (60 at most)."""
    if minutes not in HOURLY_CHOICES:
        raise ValueError("The run over all accounts comes every 5, 10, 15, 20, 30 or 60 minutes.")
    row = PeriodicTask.objects.get(task=HOURLY_TASK)
    crontab, _ = CrontabSchedule.objects.get_or_create(
        minute="0" if minutes == 60 else f"*/{minutes}",
        hour="*",
        day_of_month="*",
        month_of_year="*",
        day_of_week="*",
        timezone="UTC",
    )
    row.crontab = crontab
    row.save()
    audit.record("propagation schedule set", actor=actor, subject=f"every {minutes} minutes")
