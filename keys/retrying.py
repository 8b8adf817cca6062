"""When what could not be brought to a host is tried again."""

from datetime import timedelta

from django.db.models import Case, F, QuerySet, Value, When
from django.db.models.functions import Least
from django.utils import timezone

from accounts.leases import free_to_take
from hosts.core.errors import HostDown, HostKeyChanged, HostKeyUnknown, HostStopped, SignInRefused
from hosts.keyplace import KeysShut
from hosts.models import Host

from .models import KeyFile

# A host that is away is tried again after 15 s, 30 s, 1 min ... and then every 5 min.
FIRST_PAUSE = timedelta(seconds=15)
LONGEST_PAUSE = timedelta(minutes=5)
# After so many tries that failed the pause grows no more.
LONGEST_AFTER = 5
# They are counted no further: a host that is away for months must not end in a number too large for its column.
MOST_TRIES = 9999
# What fails for all accounts of a host alike, and is over for all when one gets through.
OF_THE_HOST = tuple(
    error.code for error in (HostDown, SignInRefused, HostKeyUnknown, HostKeyChanged, HostStopped, KeysShut)
)


def pause_after(tries: int) -> timedelta:
    """How long to wait before the next try, after so many that failed."""
    return LONGEST_PAUSE if tries >= LONGEST_AFTER else FIRST_PAUSE * 2**tries


def fail_noted(files: QuerySet[KeyFile], code: str, reason: str, *, again: bool = True) -> None:
    """Notes why these files could not be brought, and when they are tried again: ever later, or with a run only."""
    now = timezone.now()
    # In one statement: one for each number of tries would find what the last has just counted on.
    pauses = Case(
        *(When(tries=tries, then=Value(now + pause_after(tries))) for tries in range(LONGEST_AFTER)),
        default=Value(now + LONGEST_PAUSE),
    )
    files.update(
        state=KeyFile.State.FAILED,
        tries=Least(F("tries") + 1, MOST_TRIES),
        next_try=pauses if again else None,
        code=code,
        reason=reason[:400],
    )


def retry_now(host: Host) -> None:
    """Lets what is to be tried again on this host, because it let nobody in, be tried at once."""
    files = KeyFile.objects.filter(account__host=host, state=KeyFile.State.FAILED, code__in=OF_THE_HOST)
    # Whoever holds one is trying it now, and notes many of them in an order of his own.
    files.filter(free_to_take(), next_try__gt=timezone.now()).update(next_try=timezone.now())
