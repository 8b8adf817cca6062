"""A district is suspended while nights of it wait, or are under way: nothing is applied until it is active again."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import District, OutboxMessage, User
from accounts.services import district_state_set
from ingest import holds, pipeline, tasks, turns
from ingest.allowances import now_in
from ingest.models import BlackoutDays, Epoch, LimitRaise

from . import epochs
from .conftest import Clock
from .test_guarding import FEW, FULL, THIRD, active
from .test_late import BAD
from .test_undos import SECOND
from .test_views_holds import client_of, page
from .uploading import NEXT_NIGHT, NIGHT, home, look, night, process, put, queue

BEFORE_LOADING = ("claim", "copy", "check", "compare")


@pytest.fixture
def support(district: District) -> Client:
    return client_of("support@vendor.example")


def suspend(district: District) -> None:
    district_state_set(district, District.State.SUSPENDED, reason="Unpaid.", actor=None)


def resume(district: District) -> None:
    district_state_set(district, District.State.ACTIVE, reason="Paid.", actor=None)


def states() -> list[str]:
    return list(Epoch.objects.order_by("name").values_list("state", flat=True))


def test_a_night_that_was_queued_lies_as_it_was_received_until_the_district_is_active_again(
    district: District, django_capture_on_commit_callbacks
) -> None:
    night(district, NIGHT, FULL)
    queue(district, NEXT_NIGHT, SECOND)
    suspend(district)
    process(district)
    assert (states(), active(), turns.districts_waiting()) == (["loaded", "queued"], 40, 0)
    assert (home(district) / "upload" / NEXT_NIGHT / "COMPLETE").is_file()
    with django_capture_on_commit_callbacks(execute=True) as asked:
        resume(district)
    assert len(asked) > 0
    process(district)
    assert (states(), active()) == (["loaded", "loaded"], 43)


def test_whoever_resumes_a_district_wakes_those_who_work_on_nights(
    district: District, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks
) -> None:
    suspend(district)
    woken: list[object] = []
    monkeypatch.setattr("ingest.receivers.nudge", lambda task: woken.append(task))
    resume(district)
    assert woken == [tasks.process]


@pytest.mark.parametrize("step", BEFORE_LOADING)
def test_a_night_under_way_is_not_applied(district: District, step: str) -> None:
    """It is checked, and waits to be judged; once more, if it has been."""
    queue(district, NIGHT, FULL)
    while Epoch.objects.get().step != step:
        pipeline.process_turn(district.pk, lambda: True)
    suspend(district)
    process(district)
    epoch = Epoch.objects.get()
    assert (epoch.state, epoch.step) == ("behind", "check")
    assert (active(), turns.districts_waiting()) == (0, 0)
    resume(district)
    assert turns.districts_waiting() == 1
    process(district)
    assert (states(), active()) == (["loaded"], 40)


def test_a_night_approved_before_is_not_applied_in_a_blackout_that_has_begun_since(
    district: District, clock: Clock
) -> None:
    actor = User.objects.get(email="support@vendor.example")
    night(district, NIGHT, FULL)
    held = night(district, NEXT_NIGHT, FEW)
    content, against = held.judgement.content, held.judgement.against
    holds.hold_approve(held, seen=holds.Seen(content, against), reason="They closed a school.", actor=actor)
    suspend(district)
    process(district)
    clock.move(days=3)
    today = now_in(district).date()
    BlackoutDays.objects.create(first=today, last=today, why="Rollover.")
    resume(district)
    process(district)
    assert (states(), active()) == (["loaded", "blackout"], 40)


def test_an_approval_outlasts_the_suspension_of_its_district(district: District) -> None:
    actor = User.objects.get(email="support@vendor.example")
    night(district, NIGHT, FULL)
    held = night(district, NEXT_NIGHT, FEW)
    seen = holds.Seen(held.judgement.content, held.judgement.against)
    holds.hold_approve(held, seen=seen, reason="They closed a school.", actor=actor)
    suspend(district)
    process(district)
    resume(district)
    process(district)
    assert (states(), active()) == (["loaded", "loaded"], 20)


def test_a_raise_that_has_ended_meanwhile_lets_nothing_pass(district: District, clock: Clock) -> None:
    night(district, NIGHT, FULL)
    today = now_in(district).date()
    LimitRaise.objects.create(district=district, what="removed", percent=90, floor=90, first=today, last=today)
    epoch = queue(district, NEXT_NIGHT, FEW)
    while Epoch.objects.get(pk=epoch.pk).step != "compare":
        pipeline.process_turn(district.pk, lambda: True)
    suspend(district)
    process(district)
    clock.move(days=3)
    resume(district)
    process(district)
    assert (states(), active()) == (["loaded", "held"], 40)


def test_what_is_loaded_already_comes_to_its_end(district: District) -> None:
    queue(district, NIGHT, FULL)
    while Epoch.objects.get().step != "load":
        pipeline.process_turn(district.pk, lambda: True)
    suspend(district)
    process(district)
    assert (states(), active()) == (["loaded"], 40)


def test_a_night_that_failed_its_check_comes_to_its_end(district: District) -> None:
    queue(district, NIGHT, BAD)
    pipeline.process_turn(district.pk, lambda: True)
    suspend(district)
    process(district)
    assert states() == ["failed"]


def test_what_waited_behind_a_held_night_waits_on(district: District) -> None:
    night(district, NIGHT, FULL)
    night(district, NEXT_NIGHT, FEW)
    night(district, THIRD, FULL)
    suspend(district)
    Epoch.objects.filter(name=NEXT_NIGHT).update(state="discarded")
    process(district)
    assert states() == ["loaded", "discarded", "behind"]
    resume(district)
    process(district)
    assert states() == ["loaded", "discarded", "loaded"]


def test_what_waits_is_discarded_if_the_district_is_closed(
    district: District, django_capture_on_commit_callbacks
) -> None:
    queue(district, NIGHT, FULL)
    while Epoch.objects.get().step != "compare":
        pipeline.process_turn(district.pk, lambda: True)
    queue(district, NEXT_NIGHT, FULL)
    suspend(district)
    process(district)
    assert states() == ["behind", "queued"]
    with django_capture_on_commit_callbacks(execute=True):
        district_state_set(district, District.State.CLOSED, reason="They left.", actor=None)
    process(district)
    assert (states(), active()) == (["discarded", "discarded"], 0)
    assert not OutboxMessage.objects.filter(kind__startswith="epoch-").exclude(kind="epoch-first-loaded").exists()


@pytest.mark.parametrize("way", ["arriving", "queued", "behind"])
def test_the_pages_say_that_it_waits_since_the_district_is_suspended(
    district: District, support: Client, way: str
) -> None:
    if way == "arriving":
        put(district, NIGHT, FULL, complete=False)
        look()
    else:
        queue(district, NIGHT, epochs.students())
    if way == "behind":
        pipeline.process_turn(district.pk, lambda: True)
    suspend(district)
    process(district)
    epoch = Epoch.objects.get()
    assert epoch.state == way
    told = page(support, "epoch", epoch)
    assert "The district is suspended:" in told
    assert "We are working" not in told
    assert "Process now" not in told
    if way != "arriving":
        assert "stage-now" not in told
    assert 'hx-trigger="every 10s"' in told
    every = support.get(reverse("uploads", args=[district.slug])).content.decode()
    assert "The district is suspended:" in every
    assert 'hx-trigger="every 10s"' in every
    resume(district)
    assert "suspended" not in page(support, "epoch", epoch)
