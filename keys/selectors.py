"""What the pages read of keys: the set an account has, how far it has got, and when the next hourly run comes."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from celery.schedules import ParseException
from django.conf import settings
from django.db.models import Max, Min, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from accounts.models import RetiredUsername, SftpAccount
from hosts.models import SignIn

from .core.publickey import PublicKey
from .models import AccountKey, KeyFile, PropagationRun

HOURLY_TASK = "keys.propagate_all"
HOUR = timedelta(hours=1)
# A beat that is merely late is not yet a broken promise.
GRACE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class KeyCard:
    """One key as the page shows it; sign-in times are None until the key was used."""

    key: AccountKey
    value: PublicKey
    first_sign_in: datetime | None
    last_sign_in: datetime | None
    last_address: str


@dataclass(frozen=True, slots=True)
class SignInState:
    """What the host has told of this account: first good sign-in, last good one, last refused one."""

    first: SignIn | None
    last: SignIn | None
    refused: SignIn | None


def keys_of(account: SftpAccount) -> QuerySet[AccountKey]:
    """The account's keys in the order of its box."""
    return account.keys.select_related("added_by").order_by("position")


def box_text(account: SftpAccount) -> str:
    """What the box shows: each key as the line we render from its values."""
    return "".join(f"{key.value().line()}\n" for key in keys_of(account))


def file_content_keys(account: SftpAccount) -> tuple[PublicKey, ...]:
    """The keys whose lines must stand on the host: all of an active district's, none of any other's."""
    if account.district.state != "active":
        return ()
    return tuple(key.value() for key in keys_of(account))


def sign_ins_of(account: SftpAccount) -> QuerySet[SignIn]:
    """The sign-ins under the account's user name and those it had before, newest first: its history is one.

    A name that another district had before or took over later is ours only for the time in which it was.
    """
    mine = _held(account, account.username, None)
    for retired in account.retired_usernames.all():
        mine |= _held(account, retired.username, retired.cleared)
    return SignIn.objects.filter(mine)


def _held(account: SftpAccount, username: str, until: datetime | None) -> Q:
    """The sign-ins under `username` up to `until` (None: up to now), from when the last other account gave it up."""
    others = RetiredUsername.objects.filter(username=username, cleared__isnull=False).exclude(account=account)
    if until is not None:
        others = others.filter(cleared__lt=until)
    since = others.aggregate(since=Max("cleared"))["since"]
    held = Q(username=username)
    held &= Q(at__lte=until) if until is not None else Q()
    return held & Q(at__gt=since) if since is not None else held


def cards(account: SftpAccount) -> tuple[KeyCard, ...]:
    """Every key of the account with its sign-ins, in the order of the box."""
    good = sign_ins_of(account).filter(accepted=True, fingerprint=OuterRef("fingerprint"))
    keys = keys_of(account).annotate(
        first_sign_in=Subquery(good.order_by("at", "pk").values("at")[:1]),
        last_sign_in=Subquery(good.values("at")[:1]),
        last_address=Subquery(good.values("address")[:1]),
    )
    return tuple(KeyCard(key, key.value(), key.first_sign_in, key.last_sign_in, key.last_address or "") for key in keys)


def sign_in_state(account: SftpAccount) -> SignInState:
    """First and last good sign-in, and the last refused one if it came after the last good one."""
    events = sign_ins_of(account)
    good = events.filter(accepted=True)
    last = good.first()
    refused = events.filter(accepted=False).first()
    if refused and last and refused.at < last.at:
        refused = None
    return SignInState(good.order_by("at", "pk").first(), last, refused)


def next_hourly_run(now: datetime | None = None) -> datetime:
    """When beat next starts the run over all accounts, from the schedule as it is set now."""
    now = now or timezone.now()
    row = PeriodicTask.objects.filter(task=HOURLY_TASK, enabled=True).select_related("crontab").first()
    if row is None or row.crontab is None:
        return now + HOUR
    try:
        minutes = sorted(row.crontab.schedule.minute)
    except (ParseException, ValueError):  # broken by hand; the sweep keeps the promise until the next start
        return now + HOUR
    start = now.replace(second=0, microsecond=0, minute=0)
    times = [start + timedelta(hours=h, minutes=m) for h in (0, 1) for m in minutes]
    return next(time for time in times if time > now)


def due() -> QuerySet[KeyFile]:
    """Key files that wait for the host, and failed ones whose next try has come."""
    now = timezone.now()
    waiting = KeyFile.objects.filter(state=KeyFile.State.WAITING)
    failed = KeyFile.objects.filter(state=KeyFile.State.FAILED, next_try__lte=now)
    return (waiting | failed).order_by("wanted")


def left_behind() -> QuerySet[KeyFile]:
    """Due key files older than one sweep: the nudge that should have brought them was lost."""
    return due().filter(wanted__lt=timezone.now() - timedelta(seconds=settings.SWEEP_SECONDS))


def is_overdue() -> bool:
    """Whether no run over all accounts was begun for more than an hour, whatever the schedule says."""
    full = PropagationRun.objects.exclude(cause=PropagationRun.Cause.SAVED).first()
    since = full.asked if full else KeyFile.objects.aggregate(first=Min("wanted"))["first"]
    return since is not None and since < timezone.now() - HOUR - GRACE


def unfinished_runs() -> QuerySet[PropagationRun]:
    """Runs that were asked for or begun and have not ended."""
    return PropagationRun.objects.exclude(state=PropagationRun.State.DONE).order_by("asked")
