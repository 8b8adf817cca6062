"""A night that was judged, and is delayed before it is loaded: what is true on the day on which it is, counts."""

from collections.abc import Callable

import pytest

from accounts.models import District, User
from ingest import comparing, holds, pipeline, services
from ingest.allowances import now_in
from ingest.core import facts
from ingest.models import BlackoutDays, Epoch, LimitRaise

from . import epochs
from .conftest import Clock
from .test_guarding import FEW, FULL, active, codes
from .uploading import NEXT_NIGHT, NIGHT, night, process, queue

Delay = Callable[[Epoch, Clock], None]


@pytest.fixture
def staff(district: District) -> User:
    return User.objects.get(email="support@vendor.example")


def worker_lost(epoch: Epoch, clock: Clock) -> None:
    """Nobody works on it for three days."""
    clock.move(days=3)


def stuck(epoch: Epoch, clock: Clock) -> None:
    """What was found cannot be read; after three days somebody mends that, and has it processed."""
    kept = {one: one.read_bytes() for one in (comparing.spool_of(epoch, file) for file in epoch.files.all())}
    for place in kept:
        place.write_bytes(b"not what was found")
    for _ in range(pipeline.MOST_TRIES):
        Epoch.objects.filter(pk=epoch.pk).update(next_try=None)
        process(epoch.district)
    assert now(epoch).state == "stuck"
    clock.move(days=3)
    for place, content in kept.items():
        place.write_bytes(content)
    services.epoch_hurry(epoch, actor=User.objects.get(email="support@vendor.example"))


DELAYS = pytest.mark.parametrize("delay", [worker_lost, stuck])


def now(epoch: Epoch) -> Epoch:
    return Epoch.objects.get(pk=epoch.pk)


def judged(district: District, files: dict[str, bytes]) -> Epoch:
    """A second night that has passed the guard and is not loaded yet."""
    epoch = queue(district, NEXT_NIGHT, files)
    while now(epoch).step != "compare":
        pipeline.process_turn(district.pk, lambda: True)
    return now(epoch)


def approved(district: District, staff: User) -> Epoch:
    """A second night that was held and that staff have approved."""
    held = night(district, NEXT_NIGHT, FEW)
    seen = holds.Seen(held.judgement.content, held.judgement.against)
    holds.hold_approve(held, seen=seen, reason="They closed a school.", actor=staff)
    return now(held)


def blackout(district: District) -> None:
    today = now_in(district).date()
    BlackoutDays.objects.create(first=today, last=today, why="Rollover.")


@DELAYS
def test_what_was_approved_is_not_applied_in_a_blackout(
    district: District, staff: User, clock: Clock, delay: Delay
) -> None:
    night(district, NIGHT, FULL)
    epoch = approved(district, staff)
    delay(epoch, clock)
    blackout(district)
    process(district)
    assert (now(epoch).state, now(epoch).judgement.state, active()) == ("blackout", "blackout", 40)


@DELAYS
def test_what_was_approved_is_applied_on_any_other_day(
    district: District, staff: User, clock: Clock, delay: Delay
) -> None:
    night(district, NIGHT, FULL)
    epoch = approved(district, staff)
    delay(epoch, clock)
    process(district)
    assert (now(epoch).state, active()) == ("loaded", 20)


@DELAYS
def test_what_passed_is_not_applied_in_a_blackout(district: District, clock: Clock, delay: Delay) -> None:
    night(district, NIGHT, FULL)
    epoch = judged(district, epochs.students(rows=43))
    delay(epoch, clock)
    blackout(district)
    process(district)
    assert (now(epoch).state, active()) == ("blackout", 40)


@DELAYS
def test_what_a_raise_let_through_is_held_after_it_has_ended(district: District, clock: Clock, delay: Delay) -> None:
    night(district, NIGHT, FULL)
    today = now_in(district).date()
    LimitRaise.objects.create(district=district, what="removed", percent=90, floor=90, first=today, last=today)
    epoch = judged(district, FEW)
    delay(epoch, clock)
    process(district)
    assert (now(epoch).state, codes(now(epoch)), active()) == ("held", ["too-many-removed"], 40)


@DELAYS
def test_what_passes_today_too_is_applied(district: District, clock: Clock, delay: Delay) -> None:
    night(district, NIGHT, FULL)
    epoch = judged(district, epochs.students(rows=43))
    delay(epoch, clock)
    process(district)
    assert (now(epoch).state, active()) == ("loaded", 43)


def test_what_a_raise_let_through_is_held_after_it_has_ended_by_a_new_version_of_the_portal_too(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(district, NIGHT, FULL)
    today = now_in(district).date()
    LimitRaise.objects.create(district=district, what="removed", percent=90, floor=90, first=today, last=today)
    epoch = judged(district, FEW)
    clock.move(days=3)
    monkeypatch.setattr(facts, "LAYOUT", facts.LAYOUT + 1)
    process(district)
    assert (now(epoch).state, codes(now(epoch)), active()) == ("held", ["too-many-removed"], 40)
