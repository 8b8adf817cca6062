"""Whose turn it is: no district, however many or large its epochs, keeps another waiting for long.

The rows are the only queue. A turn is one epoch of one district, and whoever has waited longest is next: since his
epoch was queued, or since his last turn ended. So one who sends thirty nights stands at the end of the line after
each. A turn that lasts ends after the step it is at if others wait, and is gone on with when it comes round again.
While small epochs wait, the large ones leave them one of the processes.
"""

import time
from collections.abc import Callable, Iterator

from django.conf import settings
from django.db import transaction
from django.db.models import Case, Max, Min, Q, QuerySet, Value, When
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from accounts.leases import free_to_take

from . import pipeline
from .models import Epoch, Lane

LARGE_BYTES = 4_000_000
# What there is to read: of a zip, what it holds.
WEIGHT = Greatest("byte_count", "unpacked_bytes")
# So long no small epoch takes on a machine and a host that are well; more would leave many half done.
TURN_SECONDS = 10.0
# After so long a message makes room for the next one, so that a worker that is to stop can.
ROUND_SECONDS = 5.0
AT_ONCE = 20
SINCE = Coalesce("queued", "first_seen")
WAITS_SINCE = Greatest(SINCE, Coalesce("district__lane__served", SINCE))


def turns_do(seconds: float = ROUND_SECONDS) -> bool:
    """Does turns for so long; False if nobody waits any more."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not turn_do():
            return False
    return True


def turn_do() -> bool:
    """Does the turn of whoever is next; False if nobody waits who could go on."""
    return any(
        pipeline.process_turn(district_pk, _clock(district_pk), is_large=is_large) for district_pk, is_large in _line()
    )


def districts_waiting() -> int:
    """How many districts have an epoch that could go on now, and nobody at it."""
    return waiting().values("district").distinct().count()


def waiting() -> QuerySet[Epoch]:
    """Epochs that could go on now and belong to no district at which somebody is.

    Those on a host that did not answer when it was last looked at wait until it does: else each would take a worker
    for as long as it takes to find that out again.
    """
    at_work = Lane.objects.filter(lease_until__gte=timezone.now()).values("district")
    return pipeline.can_go_on().exclude(district__in=at_work).exclude(account__host__uploads_seen__tries__gt=0)


def _line() -> Iterator[tuple[int, bool]]:
    """The districts that wait and whether what they wait with is large, whoever is next first."""
    passed: list[int] = []
    while some := list(_in_line().exclude(district__in=passed)[:AT_ONCE]):
        for told in some:
            passed.append(told["district"])
            yield told["district"], told["heaviest"] >= LARGE_BYTES


def _in_line() -> QuerySet[Epoch, dict[str, int]]:
    is_last = Case(When(Q(heaviest__gte=LARGE_BYTES), then=Value(_is_crowded())), default=Value(False))
    rows = waiting().values("district").annotate(heaviest=Max(WEIGHT), since=Min(WAITS_SINCE))
    return rows.annotate(is_last=is_last).order_by("is_last", "since", "district")


def _is_crowded() -> bool:
    """Whether large epochs have all processes that they may have while others wait."""
    at_large = Lane.objects.filter(is_large=True).exclude(lease_until=None)
    return at_large.count() - _dead(at_large.filter(free_to_take())) >= max(1, settings.WORKER_PROCESSES - 1)


def _dead(silent: QuerySet[Lane]) -> int:
    """At how many of these nobody is any more. Who loads for long has his lane locked, and cannot renew its lease."""
    if not silent.exists():
        return 0
    with transaction.atomic():
        return len(silent.select_for_update(skip_locked=True))


def _clock(district_pk: int) -> Callable[[], bool]:
    """Says of a turn that begins now whether it is over: it has lasted, and others wait."""
    end = time.monotonic() + TURN_SECONDS
    return lambda: time.monotonic() >= end and waiting().exclude(district=district_pk).exists()
