"""Which accounts of a host elsewhere are looked at now: whom the host named, whom the clock, and whose turn it is."""

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q, QuerySet

from accounts.models import RetiredUsername, SftpAccount
from hosts.models import UploadsSeen

from .core import discovery
from .models import Epoch

UNDECIDED = (Epoch.State.ARRIVING, Epoch.State.WAITING_STAFF)
# What only its district can change, and its host tells of that: it is not looked at for ever because of the clock.
UNFINISHED = (discovery.State.UPLOADING.value, discovery.State.BEING_WRITTEN.value)
PATIENT = (*UNFINISHED, discovery.State.STALLED.value, *discovery.STRANGERS)
# Turns in one round. Few enough that most looks find nobody's turn, and need ask the host nothing.
TURNS = 48


def accounts_due(seen: UploadsSeen, named: frozenset[str] | None, now: datetime) -> list[int]:
    """The accounts of a host that are to be looked at now; `named`: those it told of (None: it cannot say)."""
    accounts = SftpAccount.objects.filter(host=seen.host)
    if named is None or seen.looked is None:
        return sorted(accounts.values_list("pk", flat=True))
    due = set(restless(now).filter(account__host=seen.host).values_list("account_id", flat=True))
    due |= _with_names(seen, named) | _in_turn(seen, now)
    return sorted(due | set(seen.owed))


def _with_names(seen: UploadsSeen, names: frozenset[str]) -> set[int]:
    if not names:
        return set()
    today = SftpAccount.objects.filter(host=seen.host).values_list("pk", "username")
    # It may have been told of before it was given another name.
    before = RetiredUsername.objects.filter(account__host=seen.host).values_list("account_id", "username")
    return {pk for rows in (today, before) for pk, name in rows if name in names}


def _in_turn(seen: UploadsSeen, now: datetime) -> set[int]:
    if seen.looked is None or not (turns := turns_between(seen.looked, now)):
        return set()
    accounts = SftpAccount.objects.filter(host=seen.host).annotate(turn=F("pk") % TURNS)
    return set(accounts.filter(turn__in=turns).values_list("pk", flat=True))


def turns_between(before: datetime, now: datetime) -> set[int]:
    """The turns that have come since `before`; each comes once in `INGEST_ROTA_HOURS`."""
    length = settings.INGEST_ROTA_HOURS * 3600 / TURNS
    first, last = (int(moment.timestamp() / length) for moment in (before, now))
    return {number % TURNS for number in range(max(first, last - TURNS) + 1, last + 1)}


def restless(now: datetime) -> QuerySet[Epoch]:
    """Epochs that may be judged otherwise now though nobody touched them: by the clock, or because staff asked."""
    rested = now - timedelta(minutes=2 * settings.INGEST_STRANGER_QUIET_MINUTES)
    by_clock = Q(state=Epoch.State.ARRIVING) & (Q(look_since__gte=rested) | ~Q(look_code__in=PATIENT))
    stalls = now - timedelta(hours=settings.INGEST_STALLED_HOURS)
    by_clock |= Q(state=Epoch.State.ARRIVING, look_code__in=UNFINISHED, look_since__lte=stalls)
    return Epoch.objects.filter(by_clock | Q(state__in=UNDECIDED, hurry=True))
