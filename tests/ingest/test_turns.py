"""Whose turn it is: in order, one at a time in a district, and nobody kept waiting by another."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone

from accounts.models import District
from hosts.models import Host, UploadsSeen
from ingest import pipeline, tasks, turns
from ingest.models import Epoch, Lane
from tests.factories import DistrictFactory, EpochFactory

from . import epochs
from .uploading import NEXT_NIGHT, NIGHT, look, places_make, put, queue

pytestmark = pytest.mark.django_db
EARLY = datetime(2026, 11, 21, 7, 0, tzinfo=timezone.get_default_timezone())
LARGE, SMALL = turns.LARGE_BYTES, turns.LARGE_BYTES - 1


def _queued(district: District, minutes: int, name: str = NIGHT, **told: Any) -> Epoch:
    """An epoch that was queued so many minutes after the first ones."""
    at = EARLY + timedelta(minutes=minutes)
    return EpochFactory(district=district, name=name, queued=at, **{"state": "queued", "byte_count": 1000, **told})


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Which epochs were processed, as (slug, name); each ends in one step that does nothing else."""
    told: list[tuple[str, str]] = []

    def load(epoch: Epoch, _: object) -> None:
        told.append((epoch.district.slug, epoch.name))
        epoch.state, epoch.finished = Epoch.State.LOADED, timezone.now()

    step: pipeline.Step[None] = pipeline.Step("tell", "", lambda epoch: None, load)
    monkeypatch.setattr(pipeline, "STEPS", (step,))
    return told


def _at_work(district: District, **told: object) -> Lane:
    """A district at which another worker is now."""
    until = timezone.now() + timedelta(minutes=1)
    return Lane.objects.update_or_create(district=district, defaults={"lease_until": until, **told})[0]


def _names(done: list[tuple[str, str]], *districts: District) -> list[str]:
    letters = {district.slug: letter for district, letter in zip(districts, "abcdef", strict=False)}
    return [f"{letters[slug]}{name[6:8]}" for slug, name in done]


def test_a_district_with_many_nights_goes_to_the_end_of_the_line_after_each(done: list[tuple[str, str]]) -> None:
    many, one, late = DistrictFactory(), DistrictFactory(), DistrictFactory()
    for day in (20, 18, 19):
        _queued(many, 0, f"202611{day}-020000")
    _queued(one, 1, "20261121-020000")
    _queued(late, 2, "20261122-020000")
    assert not turns.turns_do()
    assert _names(done, many, one, late) == ["a18", "b21", "c22", "a19", "a20"]


def test_whoever_was_queued_first_is_first_and_no_district_is_left_out(done: list[tuple[str, str]]) -> None:
    districts = [DistrictFactory() for _ in range(45)]
    for number, district in enumerate(reversed(districts)):
        _queued(district, number)
    assert not turns.turns_do(seconds=60)
    assert [slug for slug, _ in done] == [one.slug for one in reversed(districts)]


def test_one_that_cannot_go_on_yet_keeps_nobody_waiting(
    done: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "AT_ONCE", 1)
    resting, other = DistrictFactory(), DistrictFactory()
    _queued(resting, 0, NEXT_NIGHT)
    EpochFactory(district=resting, name=NIGHT, state="arriving", look_code="unsettled")
    _queued(other, 1)
    assert not turns.turns_do()
    assert _names(done, resting, other) == ["b21"]


@pytest.mark.parametrize(
    "before", [{"state": "stuck"}, {"state": "working", "step": "copy", "next_try": timezone.now() + timedelta(days=9)}]
)
def test_a_district_in_trouble_does_not_stand_in_the_line(done: list[tuple[str, str]], before: dict[str, Any]) -> None:
    district = DistrictFactory()
    _queued(district, 0, **before)
    _queued(district, 1, NEXT_NIGHT)
    assert turns.districts_waiting() == 0
    assert not turns.turns_do()
    assert done == []


def test_two_workers_are_never_at_one_district(done: list[tuple[str, str]]) -> None:
    busy, other = DistrictFactory(), DistrictFactory()
    _queued(busy, 0)
    _queued(other, 1)
    _at_work(busy)
    assert turns.districts_waiting() == 1
    assert not turns.turns_do()
    assert _names(done, busy, other) == ["b21"]


def test_the_epochs_of_a_host_that_does_not_answer_take_no_worker(done: list[tuple[str, str]]) -> None:
    away, here = DistrictFactory(), DistrictFactory()
    host = Host.objects.create(name="upload-9", kind="openssh", address="upload-9.example")
    away.sftp_account.host = host
    away.sftp_account.save()
    _queued(away, 0, account=away.sftp_account)
    _queued(here, 1)
    seen = UploadsSeen.objects.create(host=host, tries=1)
    assert not turns.turns_do()
    assert _names(done, away, here) == ["b21"]
    UploadsSeen.objects.filter(pk=seen.pk).update(tries=0)
    assert not turns.turns_do()
    assert _names(done, away, here) == ["b21", "a21"]


# --- Large ones --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("processes", "at_large", "order"),
    [(2, 0, ["a21", "b21", "c21"]), (2, 1, ["c21", "a21", "b21"]), (3, 1, ["a21", "b21", "c21"]), (1, 0, None)],
)
@pytest.mark.parametrize("size", ["byte_count", "unpacked_bytes"])
def test_large_epochs_leave_one_process_to_the_small_ones_that_wait(
    done: list[tuple[str, str]],
    settings: LazySettings,
    processes: int,
    at_large: int,
    order: list[str] | None,
    size: str,
) -> None:
    settings.WORKER_PROCESSES = processes
    first, second, small = DistrictFactory(), DistrictFactory(), DistrictFactory()
    _queued(first, 0, **{size: LARGE})
    _queued(second, 1, **{size: LARGE})
    _queued(small, 2, **{size: SMALL})
    for _ in range(at_large):
        _at_work(DistrictFactory(), is_large=True)
    assert not turns.turns_do()
    # With a single process nothing can be left over: then it goes by the time alone, and the large ones starve not.
    assert _names(done, first, second, small) == (order or ["a21", "b21", "c21"])


def test_a_zip_is_as_large_as_what_it_holds(district: District) -> None:
    """By its table of contents before anything is copied, by what was unpacked afterwards."""
    more = b"".join(b"%07d\r\n" % number for number in range(LARGE // 9 + 1))
    epoch = queue(district, NIGHT, {"roster.zip": epochs.zipped({**epochs.oneroster(users=4), "more.csv": more})})
    assert epoch.byte_count < LARGE < epoch.unpacked_bytes
    assert list(turns._line()) == [(district.pk, True)]
    Epoch.objects.update(unpacked_bytes=0)
    while Epoch.objects.get().step != "copy":
        pipeline.process_turn(district.pk, lambda: True)
    unpacked = epoch.files.exclude(archive="").values_list("size", flat=True)
    assert Epoch.objects.get().unpacked_bytes == sum(unpacked) == epoch.unpacked_bytes


def test_a_zip_that_says_more_than_one_may_hold_counts_as_it_lies(district: District) -> None:
    packed = bytearray(epochs.oneroster_zip(users=4)["roster.zip"])
    place = packed.rindex(b"PK\x01\x02")
    packed[place + 24 : place + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    put(district, NIGHT, {"roster.zip": bytes(packed)})
    look()
    Epoch.objects.update(hurry=True)
    look()
    epoch = Epoch.objects.get()
    assert (epoch.state, epoch.look_code, epoch.unpacked_bytes) == ("waiting_staff", "zip-refused", 0)


def test_what_a_zip_held_is_forgotten_when_it_changes(district: District) -> None:
    epoch = queue(district, NIGHT, epochs.oneroster_zip(users=4))
    assert epoch.unpacked_bytes > epoch.byte_count
    Epoch.objects.update(state="waiting_staff")
    put(district, NIGHT, {"roster.zip": b"PK"})
    look()
    assert (Epoch.objects.get().state, Epoch.objects.get().unpacked_bytes) == ("arriving", 0)


def test_what_a_turn_is_about_is_noted_while_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    large, small = DistrictFactory(), DistrictFactory()
    told: list[bool] = []
    step: pipeline.Step[None] = pipeline.Step(
        "tell",
        "",
        lambda epoch: told.append(Lane.objects.get(district=epoch.district, lease_until__gt=timezone.now()).is_large),
        lambda epoch, _: setattr(epoch, "state", "loaded"),
    )
    monkeypatch.setattr(pipeline, "STEPS", (step,))
    _queued(large, 0, byte_count=LARGE)
    _queued(small, 1)
    assert not turns.turns_do()
    assert told == [True, False]
    assert not Lane.objects.filter(lease_until__gt=timezone.now()).exists()


def _steps_told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The real steps, and which were done in what order: the district's letter and the step."""
    told: list[str] = []
    plain = pipeline.run_step

    def run_step(step: pipeline.Step[Any], epoch: Epoch, lane: Lane, token: str) -> None:
        plain(step, epoch, lane, token)
        told.append(f"{epoch.district.slug} {step.name}")

    monkeypatch.setattr(pipeline, "run_step", run_step)
    return told


EVERY = [step.name for step in pipeline.STEPS]


def test_a_turn_that_lasts_ends_after_a_step_if_others_wait(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DistrictFactory()
    places_make(other)
    for one in (district, other):
        queue(one, NIGHT, epochs.students(rows=8))
    told = _steps_told(monkeypatch)
    monkeypatch.setattr(turns, "TURN_SECONDS", 0)
    assert not turns.turns_do(seconds=60)
    assert told == [f"{one.slug} {step}" for step in EVERY for one in (district, other)]
    assert set(Epoch.objects.values_list("state", flat=True)) == {"loaded"}


@pytest.mark.parametrize("seconds", [0, 60])
def test_a_turn_goes_on_if_nobody_waits_or_it_is_short(
    district: District, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    queue(district, NIGHT, epochs.students(rows=8))
    if seconds:
        other = DistrictFactory()
        places_make(other)
        queue(other, NIGHT, epochs.students(rows=8))
    told = _steps_told(monkeypatch)
    monkeypatch.setattr(turns, "TURN_SECONDS", seconds)
    assert turns.turn_do()
    assert told == [f"{district.slug} {step}" for step in EVERY]


# --- Messages ----------------------------------------------------------------------------------------------------


@pytest.fixture
def nudged(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(tasks, "nudge", lambda task, *args, **more: told.append({"task": task.name, **more}))
    return told


@pytest.mark.parametrize(("districts", "messages"), [(0, 0), (1, 1), (5, 2)])
def test_no_more_messages_are_sent_than_can_be_read(
    nudged: list[dict[str, Any]], settings: LazySettings, districts: int, messages: int
) -> None:
    settings.WORKER_PROCESSES = 2
    for number in range(districts):
        _queued(DistrictFactory(), number)
    tasks.sweep()
    assert nudged == messages * [{"task": "ingest.process", "expires": settings.SWEEP_SECONDS}]


def test_a_round_ends_when_its_time_is_over_and_says_that_somebody_may_wait(done: list[tuple[str, str]]) -> None:
    _queued(DistrictFactory(), 0)
    assert turns.turns_do(seconds=0)
    assert done == []


def test_only_a_message_that_left_something_sends_another(
    done: list[tuple[str, str]], nudged: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    _queued(DistrictFactory(), 0)
    tasks.process()
    assert (len(done), nudged) == (1, [])
    _queued(DistrictFactory(), 0)
    monkeypatch.setattr(turns, "turns_do", lambda: True)
    tasks.process()
    assert [one["task"] for one in nudged] == ["ingest.process"]
