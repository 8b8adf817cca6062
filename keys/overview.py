"""What the pages of propagation read: hosts, runs, what was found and what is held, how long saved keys took."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Count, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.models import SftpAccount
from hosts.models import DamagedHome, Host

from .bringing import UnaskedRemoval
from .core.plot import DAYS, Day, days_of, share
from .models import FoundLine, HostRun, KeyFile, KeySet, PropagationRun
from .taking_out import NewerOnHost

LATELY = timedelta(days=7)
# A run of another cause looks at some accounts only, or perhaps at some hosts only.
FULL_CAUSES = (PropagationRun.Cause.HOURLY, PropagationRun.Cause.NOW, PropagationRun.Cause.START)
# What waits for a person's decision is told by itself, apart from what is merely tried again.
HELD_CODES = (NewerOnHost.code, UnaskedRemoval.code)


@dataclass(frozen=True, slots=True)
class Counts:
    """How many accounts there are, and how many of them are in each state."""

    total: int
    on_host: int
    waiting: int
    failed: int
    held: int


@dataclass(frozen=True, slots=True)
class Brought:
    """How long the sets took that a run brought, from being saved to being read back: in seconds."""

    count: int
    median: float
    most: float
    longest: float


def counts() -> Counts:
    """All accounts by state, in one query."""
    is_held, is_failed = Q(code__in=HELD_CODES), Q(state=KeyFile.State.FAILED)
    told = KeyFile.objects.aggregate(
        total=Count("pk"),
        on_host=Count("pk", filter=Q(state=KeyFile.State.ON_HOST)),
        waiting=Count("pk", filter=Q(state=KeyFile.State.WAITING)),
        failed=Count("pk", filter=is_failed & ~is_held),
        held=Count("pk", filter=is_failed & is_held),
    )
    return Counts(**told)


def failed_files() -> QuerySet[KeyFile]:
    """Accounts that could not be brought and are tried again by themselves."""
    failed = KeyFile.objects.filter(state=KeyFile.State.FAILED).exclude(code__in=HELD_CODES)
    return failed.select_related("account__district")


def held_files() -> QuerySet[KeyFile]:
    """Accounts that would lose keys nobody asked to remove, and are left alone for now."""
    held = KeyFile.objects.filter(state=KeyFile.State.FAILED, code=UnaskedRemoval.code)
    return held.select_related("account__district", "account__host")


def hosts_counted() -> QuerySet[Host]:
    """Hosts with `account_count`, how many of these are not `on_host` (`waiting_count`), how many have a damaged home
    there (`damaged_count`), and `drifted_count` lately."""
    since = timezone.now() - LATELY
    accounts = SftpAccount.objects.filter(host=OuterRef("pk")).order_by().values("host")
    waiting = KeyFile.objects.filter(account__host=OuterRef("pk")).exclude(state=KeyFile.State.ON_HOST)
    parts = HostRun.objects.filter(host=OuterRef("pk"), started__gte=since).order_by().values("host")
    damaged = DamagedHome.objects.filter(host=OuterRef("pk")).order_by().values("host")
    return Host.objects.select_related("accounts_told").annotate(
        account_count=_number(accounts.annotate(number=Count("pk"))),
        waiting_count=_number(waiting.order_by().values("account__host").annotate(number=Count("pk"))),
        damaged_count=_number(damaged.annotate(number=Count("pk"))),
        drifted_count=_number(parts.annotate(number=Sum("drifted"))),
    )


def _number(rows: QuerySet) -> Coalesce:
    return Coalesce(Subquery(rows.values("number"), output_field=IntegerField()), 0)


def stopped_parts() -> QuerySet[HostRun]:
    """The parts that wait for a decision: of each host the last that came to an end of its own, if that was a stop."""
    ended = (HostRun.State.DONE, HostRun.State.STOPPED)
    later = HostRun.objects.filter(host=OuterRef("host"), state__in=ended, finished__gt=OuterRef("finished"))
    stopped = HostRun.objects.filter(state=HostRun.State.STOPPED, allowed=None, host__removed=None)
    return stopped.exclude(Exists(later)).select_related("host")


def full_runs() -> QuerySet[PropagationRun]:
    """Runs over all accounts of all hosts."""
    return runs_marked().filter(cause__in=FULL_CAUSES)


def hosts_not_looked_through() -> list[Host]:
    """Hosts with accounts that were lost in their last part, each with `looked_through`: when one last came to its end.

    What is known of their accounts is as old as that, but for those that were saved and brought since.
    """
    ended = HostRun.objects.filter(host=OuterRef("pk"), state__in=HostRun.ENDED).order_by("-finished", "-pk")
    whole = Q(state=HostRun.State.DONE) | Q(state=HostRun.State.STOPPED, code__in=["", *HostRun.ODD])
    hosts = Host.objects.filter(accounts__isnull=False).distinct()
    hosts = hosts.annotate(is_last_whole=Subquery(ended.annotate(is_whole=Q(whole)).values("is_whole")[:1]))
    hosts = hosts.annotate(looked_through=Subquery(ended.filter(whole).values("finished")[:1]))
    return list(hosts.filter(is_last_whole=False))


def runs_marked() -> QuerySet[PropagationRun]:
    """Runs, each with whether one of its parts stopped (`has_stopped`) or failed as a whole (`has_failed`), or
    tells of something else to look at (`has_told`)."""
    parts = HostRun.objects.filter(run=OuterRef("pk"))
    return PropagationRun.objects.select_related("asked_by").annotate(
        has_stopped=Exists(parts.filter(state=HostRun.State.STOPPED)),
        has_failed=Exists(parts.filter(state=HostRun.State.FAILED)),
        has_told=Exists(parts.exclude(code="")),
    )


def found_undecided() -> tuple[int, int]:
    """How many lines taken off hosts lately nobody has decided about, and how many of them are of no account."""
    kept = FoundLine.objects.filter(found__gte=timezone.now() - LATELY, state=FoundLine.State.KEPT)
    told = kept.aggregate(count=Count("pk"), nobodys=Count("pk", filter=Q(account=None)))
    return told["count"], told["nobodys"]


def found_of(account: SftpAccount) -> QuerySet[FoundLine]:
    """What was taken off the account's host and is undecided, or was decided lately."""
    lately = timezone.now() - timedelta(days=DAYS)
    rows = account.found_lines.filter(Q(state=FoundLine.State.KEPT) | Q(decided__gte=lately))
    return rows.select_related("decided_by")


def days_lately(today: date) -> tuple[Day, ...]:
    """Time to live of the sets that people made in the DAYS days up to `today`, in the current time zone."""
    since = timezone.make_aware(datetime.combine(today - timedelta(days=DAYS - 1), datetime.min.time()))
    sets = KeySet.objects.filter(at__gte=since, on_host__isnull=False).exclude(cause=KeySet.Cause.ACCOUNT)
    return days_of(_samples(sets.order_by().values_list("at", "on_host").iterator()))


def _samples(times: Iterable[tuple[datetime, datetime | None]]) -> Iterator[tuple[date, float]]:
    for at, on_host in times:
        if on_host is not None:
            yield timezone.localtime(at).date(), (on_host - at).total_seconds()


def brought_by(run: PropagationRun) -> Brought | None:
    """How long the sets took that this run brought; None if it brought none."""
    times = run.key_sets.order_by().values_list("at", "on_host")
    lasted = sorted(max(0.0, (on_host - at).total_seconds()) for at, on_host in times.iterator() if on_host)
    return Brought(len(lasted), share(lasted, 50), share(lasted, 95), lasted[-1]) if lasted else None
