"""What the pages read of keys: the set an account has, how far it has got, and when the next hourly run comes."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from ipaddress import ip_network
from typing import Any

from celery.schedules import ParseException
from django.conf import settings
from django.db.models import Exists, Max, Min, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from accounts.models import District, RetiredUsername, SftpAccount
from hosts.models import DamagedHome, SignIn

from .core.authorized_keys import Stamp
from .core.errors import KeyProblem
from .core.life import SOON
from .core.publickey import PublicKey
from .core.restrictions import Network
from .models import AccountKey, KeyFile, KeySet, LostKey, PropagationRun, SharedKeyRequest
from .refusals import MOST_SETS, Memory, Offered, offered_by
from .stamps import is_ours

logger = logging.getLogger(__name__)

HOURLY_TASK = "keys.propagate_all"
HOUR = timedelta(hours=1)
# A beat that is merely late is not yet a broken promise.
GRACE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class KeyCard:
    """One key as the page shows it; times are None until it came to the host, or was used.

    `value` is None for a stored row that is no longer a valid key. `on_host`: since when the host has the last set that
    brought it, be it its own, or that of the account's name or state; `off_host`: the same of the one that disabled it.
    """

    key: AccountKey
    value: PublicKey | None
    on_host: datetime | None
    off_host: datetime | None
    first_sign_in: datetime | None
    last_sign_in: datetime | None
    last_address: str


@dataclass(frozen=True, slots=True)
class SignInState:
    """What the host has told of this account: first good sign-in, last good one, last refused one.

    `offered` is what we know of the key that was refused, if that is why.
    """

    first: SignIn | None
    last: SignIn | None
    refused: SignIn | None
    offered: Offered | None = None


def keys_of(account: SftpAccount) -> QuerySet[AccountKey]:
    """The account's keys in the order of its box."""
    return account.keys.select_related("added_by").order_by("position")


@dataclass(frozen=True, slots=True)
class Standing:
    """An account's keys in numbers: all, those that can sign in, those of them that soon cannot, and the first end."""

    count: int
    usable: int
    ending: int
    first_end: date | None


def standing_of(account: SftpAccount, today: date) -> Standing:
    """How an account's keys stand on a day of its district's."""
    keys = list(account.keys.all())
    usable = [key for key in keys if key.is_usable(today)]
    ends = sorted(end for key in usable if (end := key.last_day) and end <= today + SOON)
    return Standing(len(keys), len(usable), len(ends), ends[0] if ends else None)


def box_text(account: SftpAccount) -> str:
    """What the box shows: each key as its line, without restrictions."""
    return "".join(f"{key.line()}\n" for key in keys_of(account))


def networks_of(texts: Iterable[str]) -> tuple[Network, ...]:
    """Stored networks as values."""
    return tuple(ip_network(text) for text in texts)


def is_newer(forgiven_tokens: str, stamp: Stamp) -> bool:
    """Whether the set with this stamp is of a newer database than this one: a portal of ours made it, not this one.

    A set that is known is nearly always the account's own; another's where the account has taken over a name that was
    given up. A stamp that no key of `SECRETS_KEYS` has made is nobody's, and hides nothing; but not if our own oldest
    was made with none of them: the keys may have been lost with the newer database.
    """
    # By its token alone: no other set ever had it, so under another version somebody has copied it.
    known = KeySet.objects.filter(token=stamp.token)
    if stamp.token in forgiven_tokens.split() or known.exists():
        return False
    oldest = KeySet.objects.order_by("pk").values_list("token", flat=True).first()
    return is_ours(stamp.token) or oldest is None or not is_ours(oldest)


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
    held = Q(username=username) & ~Q(Exists(others.filter(cleared__gte=OuterRef("at"))))
    return held & Q(at__lte=until) if until is not None else held


def cards(account: SftpAccount) -> tuple[KeyCard, ...]:
    """Every key of the account with its sign-ins, in the order of the box."""
    good = sign_ins_of(account).filter(accepted=True, fingerprint=OuterRef("fingerprint"))
    keys = keys_of(account).select_related("replaces").prefetch_related("replaced_by")
    keys = keys.annotate(
        first_sign_in=Subquery(good.order_by("at", "pk").values("at")[:1]),
        last_sign_in=Subquery(good.values("at")[:1]),
        last_address=Subquery(good.values("address")[:1]),
    )
    rows = list(keys)
    sets = list(account.key_sets.order_by("-version")[:MOST_SETS]) if rows else []
    return tuple(_card(key, sets) for key in rows)


def _card(key: Any, sets: Sequence[KeySet]) -> KeyCard:
    """`sets`: of the account, newest first."""
    try:
        value = key.value()
    except KeyProblem:
        value = None
    brought = next((made.on_host for made in sets if made.brings(key.fingerprint)), None)
    gone = next((made.on_host for made in sets if made.disables(key.fingerprint)), None)
    return KeyCard(key, value, brought, gone, key.first_sign_in, key.last_sign_in, key.last_address or "")


def is_shut_off(account: SftpAccount) -> bool:
    """Whether its district is suspended or closed, and the host has heard of it: no key of it is there any more."""
    if account.district.state == District.State.ACTIVE or KeyFile.objects.filter(account=account, is_doubted=True):
        return False
    # Any since then will do: what came after it, another name perhaps, has not given the host a key.
    last_open = account.key_sets.filter(is_shut=False).order_by().values("account").annotate(last=Max("version"))
    since = account.key_sets.filter(is_shut=True, on_host__isnull=False)
    return since.filter(version__gt=Coalesce(Subquery(last_open.values("last")), 0)).exists()


def changes_of(account: SftpAccount) -> QuerySet[KeySet]:
    """What was changed of the account's keys, newest first; not what happened to its name or state."""
    return account.key_sets.exclude(cause=KeySet.Cause.ACCOUNT).select_related("actor")


def newer_on_host() -> QuerySet[KeyFile]:
    """Accounts whose host has a set of keys that this database does not know."""
    return KeyFile.objects.filter(found__isnull=False).select_related("account__district", "account__host")


def sharers_of(fingerprints: Iterable[str]) -> dict[str, list[AccountKey | LostKey]]:
    """By fingerprint the accounts that have this key or have reported it lost; closed districts do not count."""
    found: dict[str, list[AccountKey | LostKey]] = {print: [] for print in fingerprints}
    used = AccountKey.objects.exclude(account__district__state=District.State.CLOSED)
    for key in used.filter(fingerprint__in=found).select_related("account__district"):
        found[key.fingerprint].append(key)
    for lost in LostKey.objects.filter(fingerprint__in=found).select_related("account__district"):
        found[lost.fingerprint].append(lost)
    return found


def lost_elsewhere() -> QuerySet[AccountKey]:
    """Keys that another district has reported lost and that still let somebody in, the newest loss first.

    Not those that staff have allowed since. Each with `lost_at` and `lost_by`, the name of that district.
    """
    lost = LostKey.objects.filter(fingerprint=OuterRef("fingerprint")).exclude(account=OuterRef("account"))
    # Few keys are lost: only theirs are asked about at all.
    keys = AccountKey.objects.filter(disabled=None, fingerprint__in=LostKey.objects.values("fingerprint"))
    keys = keys.exclude(account__district__state=District.State.CLOSED)
    keys = keys.annotate(
        lost_at=Subquery(lost.values("at")[:1]), lost_by=Subquery(lost.values("account__district__name")[:1])
    )
    allowed = SharedKeyRequest.objects.filter(
        account=OuterRef("account"),
        fingerprint=OuterRef("fingerprint"),
        state=SharedKeyRequest.State.ALLOWED,
        decided__gt=OuterRef("lost_at"),
    )
    keys = keys.filter(lost_at__isnull=False).exclude(Exists(allowed))
    return keys.select_related("account__district").order_by("-lost_at", "pk")


def troubled_keys() -> QuerySet[AccountKey]:
    """Keys of all districts that will be disabled or are, the nearest day first."""
    troubled = AccountKey.objects.filter(Q(marked__isnull=False) | Q(disabled__isnull=False))
    return troubled.select_related("account__district").order_by("disabled", "disable_on", "pk")


def keys_of_type(algorithm: str) -> QuerySet[AccountKey]:
    """Keys of one type in all districts that are not closed."""
    keys = AccountKey.objects.filter(algorithm=algorithm).exclude(account__district__state=District.State.CLOSED)
    return keys.select_related("account__district").order_by("account__district__name", "position")


def is_upload_blocked(account: SftpAccount) -> bool:
    """Whether the account's home on its host is damaged so that nothing can be uploaded, as the host told last."""
    homes = account.host.damaged_homes.filter(username=account.username)
    return homes.filter(code=DamagedHome.UPLOAD_BLOCKED).exists()


def sign_in_state(account: SftpAccount) -> SignInState:
    """First and last good sign-in, and the last refused one if it came after the last good one."""
    events = sign_ins_of(account)
    good = events.filter(accepted=True)
    last = good.first()
    refused = events.filter(accepted=False).first()
    if refused and last and refused.at < last.at:
        refused = None
    offered = offered_by(Memory(account), refused) if refused else None
    return SignInState(_first(good), last, refused, offered)


def first_sign_in(account: SftpAccount) -> SignIn | None:
    """The first good sign-in there ever was."""
    return _first(sign_ins_of(account).filter(accepted=True))


def _first(good: QuerySet[SignIn]) -> SignIn | None:
    return good.order_by("at", "pk").first()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in; `offered` is what we know of the key that was refused, if that is why."""

    sign_in: SignIn
    offered: Offered | None


def attempts_of(account: SftpAccount, most: int) -> tuple[Attempt, ...]:
    """The last tries to sign in, good and refused, newest first. A fixed number of queries, however many they are."""
    memory = Memory(account)
    return tuple(Attempt(one, None if one.accepted else offered_by(memory, one)) for one in sign_ins_of(account)[:most])


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
    # The command's runs may be over one host or one account, the sweep's are over what was left behind.
    causes = (PropagationRun.Cause.HOURLY, PropagationRun.Cause.NOW, PropagationRun.Cause.START)
    full = PropagationRun.objects.filter(cause__in=causes).first()
    since = full.asked if full else KeyFile.objects.aggregate(first=Min("wanted"))["first"]
    return since is not None and since < timezone.now() - HOUR - GRACE


def unfinished_runs() -> QuerySet[PropagationRun]:
    """Runs that were asked for or begun and have not ended."""
    return PropagationRun.objects.exclude(state=PropagationRun.State.DONE).order_by("asked")
