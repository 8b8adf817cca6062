"""An epoch's way from the district's hands to rows and a log: the ordered steps, one line each.

Every step has two halves. `do` reads and touches files, may be repeated after a crash and then comes to the same.
`record` writes rows; it, the step's name on the epoch and the proof that the lease is still ours are one
transaction. So a worker killed anywhere leaves an epoch whose `step` tells the next worker where to go on.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from accounts.leases import LeaseLost, lease_kept, lease_renew, lease_take
from hosts.core.errors import HostError

from . import archive, checking, loading, staging, telling
from .core import discovery
from .models import Epoch, Lane, StepTime

logger = logging.getLogger(__name__)
Prepared = TypeVar("Prepared")
MOST_TRIES = 6
FIRST_PAUSE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Step(Generic[Prepared]):
    """One step: `says` is what people read while it runs, `do` prepares, `record` writes what `do` returned."""

    name: str
    says: str
    do: Callable[[Epoch], Prepared]
    record: Callable[[Epoch, Prepared], None]


STEPS: tuple[Step[Any], ...] = (
    Step("claim", "Taking the files over", staging.claim, staging.claim_record),
    Step("copy", "Copying the files", staging.copy, staging.copy_record),
    Step("check", "Checking every row", checking.run, checking.record),
    Step("load", "Loading the rows", loading.prepare, loading.record),
    Step("log", "Writing the log", archive.log_write, archive.log_record),
    Step("move", "Moving it to /upload-processed/", archive.move, archive.move_record),
    Step("tell", "Telling people", telling.prepare, telling.record),
)


def steps_left(epoch: Epoch) -> tuple[Step[Any], ...]:
    """The steps this epoch has not finished, in order."""
    names = [step.name for step in STEPS]
    return STEPS[names.index(epoch.step) + 1 :] if epoch.step else STEPS


def run_step(step: Step[Any], epoch: Epoch, lane: Lane, token: str) -> None:
    """Does one step and records it. Raises LeaseLost if another worker has taken the district over."""
    prepared = step.do(epoch)
    with transaction.atomic():
        lease_renew(Lane.objects.filter(pk=lane.pk), token)
        step.record(epoch, prepared)
        epoch.step, epoch.tries, epoch.next_try, epoch.trouble = step.name, 0, None, ""
        epoch.save()
        StepTime.objects.get_or_create(epoch=epoch, step=step.name)


def process(epoch: Epoch, lane: Lane, token: str) -> None:
    """Takes one epoch through the steps it has left; what goes wrong is noted on it and tried again later."""
    try:
        for step in steps_left(epoch):
            run_step(step, epoch, lane, token)
        staging.clear(epoch.pk)
    except LeaseLost:
        raise
    except staging.Vanished:
        _gone(epoch, lane, token)
    except Exception as error:
        _trouble(epoch, error, lane, token)


def _gone(epoch: Epoch, lane: Lane, token: str) -> None:
    with transaction.atomic():
        _lease_must_be_ours(lane, token)
        epoch.state, epoch.finished = Epoch.State.GONE, timezone.now()
        epoch.save(update_fields=["state", "finished"])


def _lease_must_be_ours(lane: Lane, token: str) -> None:
    """A worker that hung meets errors because another has gone on: what it thinks of the epoch counts no more."""
    lease_renew(Lane.objects.filter(pk=lane.pk), token)


def _trouble(epoch: Epoch, error: Exception, lane: Lane, token: str) -> None:
    with transaction.atomic():
        _lease_must_be_ours(lane, token)
        epoch.refresh_from_db()
        _trouble_note(epoch, error)
        epoch.save()


def _trouble_note(epoch: Epoch, error: Exception) -> None:
    if isinstance(error, HostError):
        logger.warning("Epoch %s stopped after step %r: %s", epoch.pk, epoch.step, error.code)
        epoch.trouble = error.message[:400]
    else:
        logger.error("Epoch %s stopped after step %r: %s", epoch.pk, epoch.step, type(error).__name__, exc_info=error)
        epoch.trouble = f"Something went wrong on our side ({type(error).__name__}). Nothing is lost."
    epoch.tries += 1
    epoch.next_try = timezone.now() + FIRST_PAUSE * 2 ** min(epoch.tries, 8)
    if epoch.tries >= MOST_TRIES and epoch.state != Epoch.State.STUCK:
        epoch.state = Epoch.State.STUCK
        telling.stuck(epoch)


def process_district(district_pk: int) -> None:
    """Takes a district's epochs, one after the other in name order, until none is left that can go on."""
    lane, _ = Lane.objects.get_or_create(district_id=district_pk)
    rows = Lane.objects.filter(pk=lane.pk)
    token = lease_take(rows)
    if token is None:
        return
    with suppress(LeaseLost), lease_kept(rows, token):
        while (epoch := next_epoch(district_pk)) is not None:
            process(epoch, lane, token)


def next_epoch(district_pk: int) -> Epoch | None:
    """The epoch to go on with: one begun before any other, then the queued ones by name.

    One that trouble holds up holds up those after it: a night must not be applied over a later one.
    """
    epochs = Epoch.objects.filter(district_id=district_pk).select_related("district", "account__host")
    begun = epochs.filter(state__in=Epoch.OURS).order_by("started").first()
    if begun is not None:
        return begun if begun.state == Epoch.State.WORKING and _may_go_on(begun) else None
    first = epochs.filter(state=Epoch.State.QUEUED).order_by("name", "pk").first()
    return None if first is None or not _may_go_on(first) or _is_overtaking(first) else first


def _is_overtaking(epoch: Epoch) -> bool:
    """Whether an earlier night is complete too and only rests before it is taken: it goes first."""
    resting = Epoch.objects.filter(district_id=epoch.district_id, state=Epoch.State.ARRIVING)
    return resting.filter(look_code=discovery.State.UNSETTLED.value, name__lt=epoch.name).exists()


def _may_go_on(epoch: Epoch) -> bool:
    return epoch.next_try is None or epoch.next_try <= timezone.now()


def _is_due() -> Q:
    return Q(next_try=None) | Q(next_try__lte=timezone.now())


def districts_with_work() -> list[int]:
    """Districts that have an epoch queued or begun, whose next try (if any) has come."""
    rows = Epoch.objects.filter(state__in=[Epoch.State.QUEUED, Epoch.State.WORKING]).filter(_is_due())
    return list(dict.fromkeys(rows.order_by("queued").values_list("district_id", flat=True)))
