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
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.leases import LeaseLost, lease_kept, lease_renew, lease_take_at_once
from accounts.models import District
from hosts.core.errors import HostError

from . import archive, checking, guarding, loading, staging, telling
from .core import discovery
from .core.display import shown_name
from .models import Epoch, Lane, StepTime
from .outcome import is_discarded

logger = logging.getLogger(__name__)
Prepared = TypeVar("Prepared")
MOST_TRIES = 6
# So long a night waits for an earlier one that is complete and only has to rest: one that never rests keeps nobody.
REST = timedelta(minutes=30)
STILL_SENT = (
    "Files of it were still being sent whenever we tried to take it. Give it its format again when that has ended."
)
FIRST_PAUSE = timedelta(seconds=5)
JUDGED = "compare"
# Before these steps a night may have to wait for others, or for its district.
MUST_WAIT = {JUDGED: guarding.must_wait, "load": guarding.must_not_load}
# They read the private copies.
READING = ("check", JUDGED)


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
    Step("compare", "Comparing with the records", guarding.compare, guarding.compare_record),
    Step("load", "Loading the rows", guarding.load, guarding.load_record),
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
        if epoch.state == Epoch.State.STUCK:
            epoch.state = Epoch.State.WORKING
        step.record(epoch, prepared)
        epoch.step, epoch.tries, epoch.next_try, epoch.trouble = step.name, 0, None, ""
        epoch.save()
        StepTime.objects.bulk_create([StepTime(epoch=epoch, step=step.name)], ignore_conflicts=True)


def process(epoch: Epoch, lane: Lane, token: str, is_over: Callable[[], bool]) -> None:
    """Takes one epoch through the steps it has left; what goes wrong is noted on it and tried again later.

    It goes no further if the guard holds it, or if it has to wait behind one that is held; nor past a step after which
    its turn `is_over`.
    """
    try:
        if not _is_begun(epoch, lane, token):
            return
        for step in steps_left(epoch):
            if step.name in MUST_WAIT and MUST_WAIT[step.name](epoch):
                _wait(epoch, step, lane, token)
                return
            if step.name in READING and not (is_discarded(epoch) or staging.is_copied(epoch)):
                _copy_again(epoch, lane, token)
            run_step(step, epoch, lane, token)
            if epoch.state == Epoch.State.HELD or (epoch.finished is None and is_over()):
                return
        staging.clear(epoch.pk)
    except LeaseLost:
        raise
    except staging.Vanished:
        _gone(epoch, lane, token)
    except staging.NotAtRest as error:
        _not_yet(epoch, error, lane, token)
    except loading.Outdated:
        _judge_again(epoch, lane, token)
    except Exception as error:
        _trouble(epoch, error, lane, token)


def _copy_again(epoch: Epoch, lane: Lane, token: str) -> None:
    attempt = staging.copy_again(epoch)
    with transaction.atomic():
        _lease_must_be_ours(lane, token)
        epoch.staging = attempt
        epoch.save(update_fields=["staging"])


def _is_begun(epoch: Epoch, lane: Lane, token: str) -> bool:
    """Whether it may go on; one that waited behind another does so unless somebody has just decided otherwise."""
    if epoch.state != Epoch.State.BEHIND:
        return True
    with transaction.atomic():
        _lease_must_be_ours(lane, token)
        rows = Epoch.objects.filter(pk=epoch.pk, state=Epoch.State.BEHIND)
        is_ours = bool(rows.update(state=Epoch.State.WORKING))
    epoch.state = Epoch.State.WORKING
    return is_ours


def _wait(epoch: Epoch, step: Step[Any], lane: Lane, token: str) -> None:
    """What was judged before is judged once more when its turn comes: by the limits and blackouts of that day."""
    with transaction.atomic():
        _lease_must_be_ours(lane, token)
        epoch.state = Epoch.State.BEHIND
        if step.name != JUDGED:
            _unjudge(epoch)
        epoch.save(update_fields=["state", "step"])


def _gone(epoch: Epoch, lane: Lane, token: str) -> None:
    with transaction.atomic():
        _lease_must_be_ours(lane, token)
        epoch.state, epoch.finished = Epoch.State.GONE, timezone.now()
        epoch.save(update_fields=["state", "finished"])


def _not_yet(epoch: Epoch, error: HostError, lane: Lane, token: str) -> None:
    """It goes on arriving, and is queued again when it rests. One that staff gave a format is tried a few times.

    Until the next look it counts as one that only has to rest, so that no later night goes first meanwhile.
    """
    if epoch.format_by_id:
        if epoch.tries + 1 < MOST_TRIES:
            _trouble(epoch, error, lane, token)
        else:
            _back_to_staff(epoch, lane, token)
        return
    with transaction.atomic():
        _lease_must_be_ours(lane, token)
        now = timezone.now()
        changed = {"look_digest": "", "look_since": now, "queued": None, "tries": 0, "next_try": None}
        if epoch.queued is not None and epoch.queued < now - REST:
            changed["changing_since"] = now  # it had come to rest, and only waited for its turn
        rows = Epoch.objects.filter(pk=epoch.pk, step="")
        changed |= {"look_code": discovery.State.UNSETTLED.value, "look_sentence": error.message, "trouble": ""}
        rows.update(state=Epoch.State.ARRIVING, **changed)


def _back_to_staff(epoch: Epoch, lane: Lane, token: str) -> None:
    """It waits as it did before they gave it a format: no trouble of ours, and no reason to keep later nights."""
    with transaction.atomic():
        _lease_must_be_ours(lane, token)
        waits = {"state": Epoch.State.WAITING_STAFF, "look_sentence": STILL_SENT, "trouble": ""}
        nothing = {"format": "", "format_by": None, "queued": None, "tries": 0, "next_try": None}
        Epoch.objects.filter(pk=epoch.pk, step="").update(**waits, **nothing)


def _judge_again(epoch: Epoch, lane: Lane, token: str) -> None:
    """What it was compared with, or judged by, is not so any more."""
    with transaction.atomic():
        _lease_must_be_ours(lane, token)
        epoch.refresh_from_db()
        _unjudge(epoch)
        epoch.save(update_fields=["step"])


def _unjudge(epoch: Epoch) -> None:
    epoch.step = "check"
    epoch.steps.filter(step=JUDGED).delete()


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
        # What it is called on the host after it was claimed is our own number.
        epoch.trouble = error.message.replace(f"“{epoch.pk}”", f"“{shown_name(epoch.name)}”")[:400]
    else:
        logger.error("Epoch %s stopped after step %r: %s", epoch.pk, epoch.step, type(error).__name__, exc_info=error)
        epoch.trouble = f"Something went wrong on our side ({type(error).__name__})."
    epoch.tries += 1
    epoch.next_try = timezone.now() + FIRST_PAUSE * 2 ** min(epoch.tries, 8)
    if epoch.tries < MOST_TRIES:
        return
    if not passes(error):
        epoch.next_try = None
    if epoch.state != Epoch.State.STUCK:
        epoch.state = Epoch.State.STUCK
        telling.stuck(epoch)


def passes(error: Exception) -> bool:
    """Whether trouble may be over one day without anybody touching the epoch: a full disk, a host that is away.

    Such an epoch is tried on, now and then, when people have long been told; all others wait for them.
    """
    return isinstance(error, HostError) and error.retry


def process_turn(district_pk: int, is_over: Callable[[], bool] = lambda: False, *, is_large: bool = False) -> bool:
    """Takes the epoch that is next in a district as far as it goes, or until the turn `is_over` after a step.

    False if there is none that can go on, or another worker is at one of this district.
    """
    lane, _ = Lane.objects.get_or_create(district_id=district_pk)
    rows = Lane.objects.filter(pk=lane.pk)
    token = lease_take_at_once(rows)
    if token is None:
        return False
    with suppress(LeaseLost), lease_kept(rows, token):
        epoch = next_epoch(district_pk)
        if epoch is None:
            return False
        if is_large != lane.is_large:
            rows.update(is_large=is_large)
        process(epoch, lane, token, is_over)
        rows.filter(lease_token=token).update(served=timezone.now())
    return True


def next_epoch(district_pk: int) -> Epoch | None:
    """The epoch to go on with: one begun before any other, then by name those that wait for their turn.

    One that trouble holds up holds up those after it: a night must not be applied over a later one. While one is held
    by the guard, those after it are received and checked. While the district is suspended none is taken that was not
    begun before.
    """
    epochs = Epoch.objects.filter(district_id=district_pk).select_related("district", "account__host")
    begun = epochs.filter(state__in=[Epoch.State.WORKING, Epoch.State.STUCK]).order_by("started").first()
    if begun is not None:
        is_given_up = begun.state == Epoch.State.STUCK and begun.next_try is None
        return begun if not is_given_up and _may_go_on(begun) else None
    if guarding.is_suspended(district_pk):
        return None
    waiting = [Epoch.State.QUEUED]
    if not guarding.is_stopped(district_pk):
        waiting.append(Epoch.State.BEHIND)
    first = epochs.filter(state__in=waiting).order_by("name", "pk").first()
    return None if first is None or not _may_go_on(first) or _is_overtaking(first) else first


def _is_overtaking(epoch: Epoch) -> bool:
    """Whether an earlier night is complete too and only rests before it is taken: it goes first, if it rests soon."""
    resting = Epoch.objects.filter(district_id=epoch.district_id, state=Epoch.State.ARRIVING, name__lt=epoch.name)
    resting, long_ago = resting.filter(look_code=discovery.State.UNSETTLED.value), timezone.now() - REST
    if epoch.queued is not None and epoch.queued < long_ago:
        resting = resting.filter(changing_since__gte=long_ago)
    return resting.exists()


def _may_go_on(epoch: Epoch) -> bool:
    return epoch.next_try is None or epoch.next_try <= timezone.now()


def can_go_on() -> QuerySet[Epoch]:
    """Epochs queued or begun, whose next try (if any) has come, of districts that trouble does not hold up.

    In a suspended district only those begun go on, as far as they may.
    """
    states = Q(state=Epoch.State.QUEUED) | guarding.whose_turn_has_come()
    states &= ~Q(district__state=District.State.SUSPENDED)
    states |= Q(state=Epoch.State.WORKING) | Q(state=Epoch.State.STUCK, next_try__isnull=False)
    begun = Q(state__in=[Epoch.State.STUCK, Epoch.State.WORKING], next_try__gt=timezone.now())
    rests = Q(state=Epoch.State.STUCK, next_try=None) | begun
    held_up = Epoch.objects.filter(rests).values("district")
    is_due = Q(next_try=None) | Q(next_try__lte=timezone.now())
    return Epoch.objects.filter(states).filter(is_due).exclude(district__in=held_up)
