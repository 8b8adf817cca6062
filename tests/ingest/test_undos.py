"""Staff take the last night back: bound to what they saw, and nothing new is applied until they say so."""

import pytest
from django.conf import LazySettings

from accounts.models import AuditEntry, District, OutboxMessage, User
from accounts.services import Refused
from ingest import guarding, holds, undos
from ingest.models import Epoch, GuardState, Record
from tests.factories import EpochFactory

from . import epochs
from .test_guarding import FEW, FULL, THIRD, active, state
from .uploading import NEXT_NIGHT, NIGHT, night, process

SECOND = epochs.students(rows=43)


@pytest.fixture
def staff(district: District) -> User:
    return User.objects.get(email="support@vendor.example")


@pytest.fixture
def last(district: District) -> Epoch:
    """A night of 43 after one of 40."""
    night(district, NIGHT, FULL)
    return night(district, NEXT_NIGHT, SECOND)


def undo(epoch: Epoch, staff: User, **told: object) -> None:
    told = {"version": undos.version_of(epoch), "is_over_seen": False, "reason": "It was a test.", **told}
    undos.epoch_undo(epoch, actor=staff, **told)


def rows() -> list[tuple[object, ...]]:
    return list(Record.objects.filter(is_removed=False).order_by("key").values_list("key", "data"))


def test_the_page_tells_what_would_change(last: Epoch) -> None:
    judged = guarding.undo_judged(last)
    assert [kind["number"] for kind in judged.tables[0]["kinds"]] == [0, 0, 3]
    assert judged.holds == ()
    assert {row["what"] for row in judged.sample} == {"removed"}


def test_a_night_is_taken_back_and_the_district_is_stopped(district: District, staff: User, last: Epoch) -> None:
    undo(last, staff)
    last.refresh_from_db()
    assert (last.state, active()) == ("undone", 40)
    stopped = GuardState.objects.get()
    assert stopped.stopped == f"{NEXT_NIGHT} was taken back by {staff}. It was a test."
    assert guarding.applied_of(stopped).night.name == NIGHT
    assert AuditEntry.objects.get(action="epoch undone").details["reason"] == "It was a test."
    assert OutboxMessage.objects.filter(kind="epoch-undone").count() == 1


def test_the_same_files_are_no_no_change_after_an_undo(district: District, staff: User, last: Epoch) -> None:
    undo(last, staff)
    again = night(district, THIRD, SECOND)
    assert (again.state, active()) == ("behind", 40)
    holds.district_release(district, reason="Sorted out.", actor=staff)
    process(district)
    again = Epoch.objects.get(pk=again.pk)
    assert (again.state, again.judgement.state, active()) == ("loaded", "pass", 43)


def test_two_nights_are_taken_back_one_after_the_other(district: District, staff: User) -> None:
    night(district, NIGHT, FULL)
    before = rows()
    second = night(district, NEXT_NIGHT, SECOND)
    third = night(district, THIRD, epochs.students(rows=45))
    with pytest.raises(Refused, match="newer epoch"):
        undo(second, staff)
    undo(third, staff)
    undo(second, staff)
    assert rows() == before
    assert guarding.applied_of(GuardState.objects.get()).night.name == NIGHT


def test_more_than_a_night_may_change_has_to_be_seen(district: District, staff: User, last: Epoch) -> None:
    first = Epoch.objects.get(name=NIGHT)
    undo(last, staff)
    assert guarding.undo_judged(first).holds
    with pytest.raises(Refused) as refused:
        undo(first, staff)
    assert (refused.value.code, active()) == ("over-limit", 40)
    undo(first, staff, is_over_seen=True)
    assert active() == 0


def test_of_two_people_only_the_first_is_heard(staff: User, last: Epoch) -> None:
    undo(last, staff)
    with pytest.raises(Refused, match="taken back already"):
        undo(last, staff)
    assert AuditEntry.objects.filter(action="epoch undone").count() == 1


def test_a_page_that_shows_another_state_takes_nothing_back(staff: User, last: Epoch) -> None:
    with pytest.raises(Refused) as refused:
        undo(last, staff, version=undos.version_of(last) + 1)
    assert (refused.value.code, active()) == ("seen-before", 43)


def test_nothing_is_taken_back_without_a_reason_or_while_a_night_is_processed(
    district: District, staff: User, last: Epoch
) -> None:
    with pytest.raises(Refused) as refused:
        undo(last, staff, reason=" ")
    assert refused.value.code == "no-reason"
    EpochFactory(district=district, state="working")
    with pytest.raises(Refused, match="being processed"):
        undo(last, staff)
    assert active() == 43


def test_a_held_night_is_compared_anew_after_an_undo(district: District, staff: User, last: Epoch) -> None:
    held = night(district, THIRD, FEW)
    assert held.state == "held"
    against = held.judgement.against
    undo(last, staff)
    holds.district_release(district, reason="Sorted out.", actor=staff)
    process(district)
    held = Epoch.objects.get(pk=held.pk)
    assert (state(THIRD), held.judgement.tables[0]["base"]) == ("held", 40)
    assert held.judgement.against != against


def test_no_more_nights_are_taken_back_than_the_guard_remembers(district: District, staff: User) -> None:
    every = [night(district, f"2026112{day}-020000", epochs.students(rows=40 + day)) for day in range(1, 6)]
    for epoch in every[:1:-1]:
        undo(epoch, staff)
        assert GuardState.objects.get().applied is not None
    with pytest.raises(Refused, match="last 3 nights"):
        undo(every[1], staff)
    assert active() == 42


def test_nights_that_were_approved_and_changed_nothing_push_none_out_that_can_be_taken_back(
    district: District, staff: User, last: Epoch, settings: LazySettings
) -> None:
    settings.GUARD_AGE_DAYS, settings.INGEST_SUPERSEDE = 7, False
    for hour in range(guarding.UNDOABLE):
        held = night(district, f"20260101-{hour:02}0000", SECOND)
        seen = holds.Seen(held.judgement.content, held.judgement.against)
        holds.hold_approve(held, seen=seen, reason="It is right.", actor=staff)
        process(district)
        held.refresh_from_db()
        assert (held.state, held.applied_version) == ("loaded", None)
    undo(last, staff)
    assert active() == 40
    assert guarding.applied_of(GuardState.objects.get()).night.name == NIGHT
