"""An epoch's way: killed, robbed of its lease, or failing at any point, it comes to what an undisturbed night does."""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts import services as district_services
from accounts.models import AuditEntry, District, OutboxMessage, RetiredUsername, User
from hosts.core.errors import HostDown, HostError, Refused
from ingest import looking, pipeline, services, turns
from ingest.models import Dataset, Epoch, EpochFile, Finding, Lane, Record
from ingest.wording import sentence
from tests.factories import EpochFactory, MembershipFactory, StaffFactory

from . import epochs, uploading
from .conftest import Clock
from .uploading import (
    NEXT_NIGHT,
    NIGHT,
    Broken,
    Crash,
    Watched,
    home,
    later,
    link_out_of,
    night,
    nothing,
    on_disk,
    places_make,
    process,
    put,
    queue,
    staged,
    use,
    wipe,
)

CLOCK = re.compile(r"^(Started|Finished): .*$", re.MULTILINE)
COUNTS = ("name", "archive", "sha256", "table", "mode", "rows", "added", "changed", "removed", "unchanged")
BAD = {"students.csv": epochs.with_line(epochs.students()["students.csv"], 3, b"one,two")}


def left_behind(district: District) -> dict[str, object]:
    """All that processing leaves for a district, without clock times and row numbers of steps."""
    mine = Epoch.objects.filter(district=district).order_by("pk")
    fields = ("name", "state", "step", "archive_name", "tries", "trouble", "is_ok", "errors", "warnings")
    records = Record.objects.filter(dataset__district=district).order_by("dataset__table", "key")
    return {
        "epochs": list(mine.values_list(*fields)),
        "logs": [CLOCK.sub("", epoch.log) for epoch in mine],
        "steps": [list(epoch.steps.values_list("step", flat=True)) for epoch in mine],
        "files": list(EpochFile.objects.filter(epoch__district=district).values_list(*COUNTS)),
        "findings": list(Finding.objects.filter(epoch__district=district).values_list("file", "line", "code")),
        "records": list(records.values_list("dataset__table", "key", "data", "is_removed", "last_epoch__name")),
        "mail": sorted(OutboxMessage.objects.filter(district=district).values_list("kind", "to", "subject")),
        "audit": list(AuditEntry.objects.filter(district=district.slug).values_list("action", "details")),
        "disk": on_disk(district),
        "staged": staged(),
    }


@contextmanager
def world(files: dict[str, bytes]) -> Iterator[District]:
    """A district that had a night before and has another queued; all of it is taken back afterwards."""
    wipe()
    with transaction.atomic():
        StaffFactory(email="support@vendor.example")
        made = MembershipFactory(
            user__email="dana@smithville.example",
            district__name="Smithville",
            district__domain="smithville.k12.oh.us",
        ).district
        places_make(made)
        night(made, NIGHT, _before(files))
        queue(made, NEXT_NIGHT, files)
        yield made
        transaction.set_rollback(True)


def _before(files: dict[str, bytes]) -> dict[str, bytes]:
    """A night before these files, of the same format."""
    of_sets = {"orgs.csv": epochs.oneroster(users=4), "roster.zip": epochs.oneroster_zip(users=4)}
    return next((before for file, before in of_sets.items() if file in files), epochs.students(rows=8))


def undisturbed(files: dict[str, bytes]) -> tuple[dict[str, object], int]:
    """What a night leaves when nothing goes wrong, and how many calls of the host that takes."""
    calls: list[str] = []
    with pytest.MonkeyPatch.context() as patch, world(files) as district:
        use(patch, Watched(lambda number, name: calls.append(name), nothing))
        process(district)
        return left_behind(district), len(calls)


def disturbed(files: dict[str, bytes], disturb: Callable[[District], Watched]) -> dict[str, object]:
    """What a night leaves when a worker is disturbed, and another comes after it."""
    with pytest.MonkeyPatch.context() as patch, world(files) as district:
        use(patch, disturb(district))
        with suppress(Crash):
            process(district)
        Lane.objects.update(lease_until=None)
        process(district)
        looking.look_everywhere()
        pipeline.staging.sweep()
        return left_behind(district)


NIGHTS = {
    "one file": epochs.students(rows=12, night=1),
    "a set": epochs.oneroster(users=4, night=1),
    "a zip": epochs.oneroster_zip(users=4, night=1),
    "with an error": BAD,
    "held": epochs.students(rows=80),
}


def _at(n: int, act: Callable[[], None]) -> Callable[[int, str], None]:
    def now(number: int, name: str) -> None:
        if number == n:
            act()

    return now


def _crash() -> None:
    raise Crash


@pytest.mark.django_db
@pytest.mark.parametrize("files", NIGHTS.values(), ids=NIGHTS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_crash_at_any_call_of_the_host_changes_nothing_in_the_end(files: dict[str, bytes], when: str) -> None:
    wanted, calls = undisturbed(files)
    assert calls >= 5
    assert wanted["epochs"][-1][1] in ("loaded", "failed", "held")
    for n in range(1, calls + 1):
        act = (_at(n, _crash), nothing) if when == "before" else (nothing, _at(n, _crash))
        assert disturbed(files, lambda _, act=act: Watched(*act)) == wanted, f"killed {when} call {n}"


@pytest.mark.django_db
@pytest.mark.parametrize("files", NIGHTS.values(), ids=NIGHTS)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_worker_that_wakes_up_late_writes_nothing(files: dict[str, bytes], when: str) -> None:
    """It hangs at a call of the host; another takes the district over and does all; then it goes on."""
    wanted, calls = undisturbed(files)

    def overtaken(district: District, n: int) -> Watched:
        def other() -> None:
            Lane.objects.update(lease_until=looking.timezone.now() - timedelta(seconds=1))
            process(district)

        act = (_at(n, other), nothing) if when == "before" else (nothing, _at(n, other))
        return Watched(*act)

    for n in range(1, calls + 1):
        left = disturbed(files, lambda district, n=n: overtaken(district, n))
        assert left == wanted, f"overtaken {when} call {n}"


@pytest.mark.django_db
@pytest.mark.parametrize("place", ["before", "between", "inside"])
def test_a_crash_at_any_seam_of_the_steps_changes_nothing_in_the_end(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    files = NIGHTS["one file"]
    wanted, _ = undisturbed(files)
    plain = pipeline.STEPS
    for step in plain:
        crashed: list[str] = []

        def crash(crashed: list[str] = crashed) -> None:
            if not crashed:
                crashed.append("")
                raise Crash

        with world(files) as district:
            monkeypatch.setattr(
                pipeline, "STEPS", tuple(_armed(one, crash, place) if one is step else one for one in plain)
            )
            with pytest.raises(Crash):
                process(district)
            process(district)
            assert left_behind(district) == wanted, f"killed {place} in {step.name}"


def _armed(step: pipeline.Step, crash: Callable[[], None], place: str) -> pipeline.Step:
    def do(epoch: Epoch) -> object:
        if place == "before":
            crash()
        prepared = step.do(epoch)
        if place == "between":
            crash()
        return prepared

    def record(epoch: Epoch, prepared: object) -> None:
        step.record(epoch, prepared)
        if place == "inside":
            crash()

    return replace(step, do=do, record=record)


@pytest.mark.django_db
@pytest.mark.parametrize("files", NIGHTS.values(), ids=NIGHTS)
def test_each_step_done_twice_comes_to_the_same(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    wanted, _ = undisturbed(files)
    twice = tuple(replace(step, do=lambda epoch, do=step.do: (do(epoch), do(epoch))[1]) for step in pipeline.STEPS)
    monkeypatch.setattr(pipeline, "STEPS", twice)
    with world(files) as district:
        process(district)
        assert left_behind(district) == wanted


@pytest.mark.django_db
def test_a_crash_right_after_any_step_changes_nothing_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    files = NIGHTS["one file"]
    wanted, _ = undisturbed(files)
    plain = pipeline.run_step
    for last in pipeline.STEPS:
        with world(files) as district, monkeypatch.context() as patch:

            def then_crash(step: pipeline.Step, *told: object, last: pipeline.Step = last) -> None:
                plain(step, *told)
                if step is last:
                    raise Crash

            patch.setattr(pipeline, "run_step", then_crash)
            with pytest.raises(Crash):
                process(district)
            patch.setattr(pipeline, "run_step", plain)
            process(district)
            pipeline.staging.sweep()
            assert left_behind(district) == wanted, f"killed after {last.name}"


def test_a_name_uploaded_again_after_a_killed_claim_is_another_epoch(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(district, NIGHT, epochs.students(rows=8))
    with monkeypatch.context() as patch:
        use(patch, Watched(nothing, lambda number, name: _crash() if name == "rename" else None))
        with pytest.raises(Crash):
            process(district)
    put(district, NIGHT, epochs.students(rows=12))
    process(district)
    looking.look_everywhere()
    Epoch.objects.filter(state="arriving").update(hurry=True)
    looking.look_everywhere()
    process(district)
    told = Epoch.objects.order_by("pk").values_list("state", "archive_name", "files__rows")
    assert list(told) == [("loaded", NIGHT, 8), ("loaded", f"{NIGHT}-2", 12)]


# --- What a night leaves -----------------------------------------------------------------------------------------


def test_a_night_becomes_rows_a_log_and_one_mail(district: District) -> None:
    epoch = night(district, NIGHT, epochs.students(rows=8))
    assert (epoch.state, epoch.archive_name, epoch.errors) == ("loaded", NIGHT, 0)
    assert Record.objects.filter(dataset__district=district, is_removed=False).count() == 8
    place = home(district) / "upload-processed" / NIGHT
    left = ["COMPLETE", "processing-log.txt", "result.json", "students.csv"]
    assert sorted(one.name for one in place.iterdir()) == left
    assert (place / "processing-log.txt").read_text() == epoch.log
    assert epoch.log.startswith("SUCCEEDED")
    assert not list((home(district) / "upload").iterdir())
    assert [mail.kind for mail in OutboxMessage.objects.all()] == ["epoch-first-loaded"]
    assert not staged()


def test_the_second_night_is_told_by_what_it_changed_and_in_no_mail(district: District) -> None:
    first = epochs.students(rows=8)
    night(district, NIGHT, first)
    lines = first["students.csv"].split(b"\r\n")
    changed = b"\r\n".join([*lines[:3], *lines[4:]])
    epoch = night(district, NEXT_NIGHT, {"students.csv": changed})
    file = epoch.files.get()
    assert (file.added, file.changed, file.removed, file.unchanged) == (0, 0, 1, 7)
    assert Record.objects.filter(is_removed=True).count() == 1
    assert OutboxMessage.objects.count() == 1


def test_a_night_that_changes_nothing_says_that_nothing_was_loaded(district: District) -> None:
    night(district, NIGHT, epochs.students(rows=8))
    log = night(district, NEXT_NIGHT, epochs.students(rows=8)).log
    assert log.startswith("SUCCEEDED: 8 rows in 1 file checked. Nothing has changed, so there was nothing to apply.")


def test_a_row_that_comes_back_is_no_longer_removed(district: District) -> None:
    first = epochs.students(rows=8)
    lines = first["students.csv"].split(b"\r\n")
    night(district, NIGHT, first)
    night(district, NEXT_NIGHT, {"students.csv": b"\r\n".join([*lines[:3], *lines[4:]])})
    file = night(district, "20261123-020000", first).files.get()
    assert (file.added, file.unchanged) == (1, 7)
    assert not Record.objects.filter(is_removed=True).exists()


def test_an_epoch_with_an_error_loads_nothing_and_those_who_must_act_are_told(district: District) -> None:
    night(district, NIGHT, epochs.students(rows=8))
    before = list(Record.objects.values("key", "digest", "data", "is_removed", "last_epoch"))
    epoch = night(district, NEXT_NIGHT, BAD)
    assert (epoch.state, epoch.errors) == ("failed", 1)
    assert list(Record.objects.values("key", "digest", "data", "is_removed", "last_epoch")) == before
    assert epoch.log.startswith("FAILED")
    assert (home(district) / "upload-processed" / NEXT_NIGHT / "processing-log.txt").read_text() == epoch.log
    told = OutboxMessage.objects.filter(kind="epoch-failed").values_list("to", flat=True)
    assert sorted(told) == ["dana@smithville.example", "support@vendor.example"]


def test_a_failed_first_night_leaves_no_dataset(district: District) -> None:
    night(district, NIGHT, BAD)
    assert not Dataset.objects.exists()


def test_neither_log_nor_mail_nor_page_tells_a_value_of_a_student(district: District) -> None:
    content = epochs.with_cell(epochs.students(rows=8)["students.csv"], 3, "Date of Birth", "Zanzibar-Quux")
    epoch = night(district, NIGHT, {"students.csv": content})
    assert epoch.state == "failed"
    told = epoch.log + "".join(OutboxMessage.objects.values_list("text", flat=True))
    told += str(list(Finding.objects.values()))
    assert "Zanzibar" not in told


def test_two_nights_at_once_are_loaded_in_the_order_of_their_names(district: District) -> None:
    put(district, NEXT_NIGHT, epochs.students(rows=8, night=1))
    put(district, NIGHT, epochs.students(rows=8))
    looking.look_everywhere()
    Epoch.objects.update(hurry=True)
    looking.look_everywhere()
    process(district)
    started = Epoch.objects.order_by("started").values_list("name", "state")
    assert list(started) == [(NIGHT, "loaded"), (NEXT_NIGHT, "loaded")]


def test_an_earlier_night_that_only_rests_goes_first(district: District) -> None:
    queue(district, NEXT_NIGHT, epochs.students(rows=8, night=1))
    put(district, NIGHT, epochs.students(rows=8))
    looking.look_everywhere()
    process(district)
    assert dict(Epoch.objects.values_list("name", "state")) == {NIGHT: "arriving", NEXT_NIGHT: "queued"}


def test_an_earlier_night_that_never_rests_keeps_later_ones_for_a_while_only(district: District, clock: Clock) -> None:
    queue(district, NEXT_NIGHT, epochs.students(rows=8))
    place = put(district, NIGHT, epochs.students(rows=8))
    for number in range(1, 3):
        (place / "students.csv").write_bytes(b"x" * number)  # sent over and over
        looking.look_everywhere()
        process(district)
        assert Epoch.objects.get(name=NEXT_NIGHT).state == "queued"
    clock.move(hours=1)
    (place / "students.csv").write_bytes(b"x")
    looking.look_everywhere()
    process(district)
    told = Epoch.objects.order_by("name").values_list("name", "state", "look_code")
    assert list(told) == [(NIGHT, "arriving", "unsettled"), (NEXT_NIGHT, "loaded", "")]


def test_an_earlier_night_that_is_found_not_to_rest_is_not_overtaken_before_the_next_look(district: District) -> None:
    queue(district, NIGHT, epochs.students(rows=8))
    queue(district, NEXT_NIGHT, epochs.students(rows=8))
    (home(district) / "upload" / NIGHT / "students.csv").write_bytes(b"x")
    process(district)
    assert not pipeline.process_turn(district.pk)
    assert list(Epoch.objects.order_by("name").values_list("state", flat=True)) == ["arriving", "queued"]


def test_a_night_that_waited_long_for_its_turn_is_one_that_rests_again(district: District, clock: Clock) -> None:
    queue(district, NIGHT, epochs.students(rows=8))
    queue(district, NEXT_NIGHT, epochs.students(rows=8))
    clock.move(hours=30)
    (home(district) / "upload" / NIGHT / "students.csv").write_bytes(b"x")
    process(district)
    assert not pipeline.process_turn(district.pk)
    looking.look_everywhere()
    assert not pipeline.process_turn(district.pk)
    told = Epoch.objects.order_by("name").values_list("state", "look_code")
    assert list(told) == [("arriving", "unsettled"), ("queued", "")]
    assert not OutboxMessage.objects.exists()


def test_what_staff_gave_a_format_keeps_no_night_while_it_is_still_sent(district: District, clock: Clock) -> None:
    (home(district) / "upload" / "old.csv").write_bytes(epochs.students(rows=8)["students.csv"])
    looking.look_everywhere()
    clock.move(hours=1)
    looking.look_everywhere()
    services.epoch_format_assign(Epoch.objects.get(), epochs.STUDENTS.name, actor=StaffFactory())
    listed = settings.SFTP_ROOT / "open" / district.domain
    listed.parent.mkdir(exist_ok=True)
    listed.write_text("old.csv\n")
    for _ in range(pipeline.MOST_TRIES):
        process(district)
        clock.move(hours=1)
    told = Epoch.objects.values_list("state", "look_code", "look_sentence", "format", "trouble")
    assert list(told) == [("waiting_staff", "stranger", pipeline.STILL_SENT, "", "")]
    assert not OutboxMessage.objects.filter(kind="epoch-stuck").exists()
    queue(district, NIGHT, epochs.students(rows=8))
    process(district)
    assert Epoch.objects.get(name=NIGHT).state == "loaded"


def test_a_queued_epoch_whose_directory_left_is_gone(district: District) -> None:
    epoch = queue(district, NIGHT, epochs.students())
    (home(district) / "upload" / NIGHT).rename(home(district) / "upload" / "elsewhere")
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.tries) == ("gone", 0)
    assert not OutboxMessage.objects.exists()


def test_a_queued_epoch_waits_while_its_account_is_given_another_name(district: District) -> None:
    epoch = queue(district, NIGHT, epochs.students())
    old = home(district)
    district_services.district_rename(district, name="Renamed", domain="renamed.k12.oh.us", actor=None)
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.tries, epoch.step) == ("queued", 1, "")
    old.rename(old.parent / "renamed.k12.oh.us")
    RetiredUsername.objects.update(cleared=timezone.now())
    Epoch.objects.update(next_try=None)
    process(district)
    epoch.refresh_from_db()
    assert epoch.state == "loaded"


def test_what_is_changed_after_the_claim_is_not_what_is_checked(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open handle outlives the rename: what it writes after the copy reaches nobody."""
    content = epochs.students(rows=8)
    epoch = queue(district, NIGHT, content)
    handle = (home(district) / "upload" / NIGHT / "students.csv").open("r+b")
    steps = list(pipeline.STEPS)
    at = [step.name for step in steps].index("check")

    def vandal(one: Epoch) -> object:
        handle.write(b"garbage" * 100)
        handle.flush()
        return pipeline.checking.run(one)

    steps[at] = replace(steps[at], do=vandal)
    monkeypatch.setattr(pipeline, "STEPS", tuple(steps))
    process(district)
    handle.close()
    epoch.refresh_from_db()
    assert (epoch.state, epoch.errors) == ("loaded", 0)


def test_what_was_changed_between_look_and_claim_is_found_out(district: District) -> None:
    """Names and sizes are what they were, so that nothing but the copy tells."""
    epoch = queue(district, NIGHT, epochs.students(rows=8))
    place = home(district) / "upload" / NIGHT / "students.csv"
    place.write_bytes(b"a,b\r\n1,2\r\n".ljust(place.stat().st_size))
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, list(epoch.findings.values_list("code", flat=True))) == (
        "failed",
        ["changed-since-recognised"],
    )


def _once_more(place: Path) -> None:
    """The first half of a file that is sent again."""
    (place / "students.csv").write_bytes(b"".join(epochs.students(rows=8)["students.csv"].splitlines(True)[:5]))


def _other_name(place: Path) -> None:
    place.joinpath("students.csv").rename(place.parent / "elsewhere.csv")
    os.link(place.parent / "elsewhere.csv", place / "students.csv")


@pytest.mark.parametrize(
    ("change", "becomes"),
    [
        (_once_more, "queued"),
        (lambda place: (place / "late.csv").touch(), "queued"),
        (lambda place: (place / "students.csv.filepart").touch(), "waiting_staff"),
        (lambda place: (place / "COMPLETE").unlink(), "arriving"),
        (lambda place: link_out_of(place, "late.csv"), "waiting_staff"),
        (_other_name, "waiting_staff"),
    ],
    ids=["sent again", "one more", "unfinished", "not complete", "link", "second name"],
)
def test_a_queued_epoch_that_does_not_rest_any_more_is_not_taken(
    district: District, clock: Clock, change: Callable[[Path], object], becomes: str
) -> None:
    """It may have been queued long before a worker comes to it."""
    epoch = queue(district, NIGHT, epochs.students(rows=8))
    change(home(district) / "upload" / NIGHT)
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.step, epoch.tries, Record.objects.count()) == ("arriving", "", 0, 0)
    looking.look_everywhere()
    clock.move(hours=1)
    looking.look_everywhere()
    epoch.refresh_from_db()
    assert epoch.state == becomes


def test_a_queued_epoch_with_an_open_file_is_not_taken_until_it_is_closed(district: District, clock: Clock) -> None:
    epoch = queue(district, NIGHT, epochs.students(rows=8))
    writing = settings.SFTP_ROOT / "open" / district.domain
    writing.parent.mkdir(exist_ok=True)
    writing.write_text(f"{NIGHT}/students.csv\n")
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.step) == ("arriving", "")
    writing.unlink()
    looking.look_everywhere()
    clock.move(hours=1)
    looking.look_everywhere()
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, Record.objects.count()) == ("loaded", 8)


def test_an_epoch_that_staff_gave_a_format_keeps_it_while_a_file_is_open(district: District) -> None:
    epoch = queue(district, NIGHT, epochs.students(rows=8))
    Epoch.objects.update(format_by=User.objects.first())
    writing = settings.SFTP_ROOT / "open" / district.domain
    writing.parent.mkdir(exist_ok=True)
    writing.write_text(f"{NIGHT}/students.csv\n")
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.step, epoch.tries) == ("queued", "", 1)
    writing.unlink()
    Epoch.objects.update(next_try=None)
    process(district)
    epoch.refresh_from_db()
    assert epoch.state == "loaded"


def test_a_format_that_is_gone_is_said(district: District) -> None:
    epoch = queue(district, NIGHT, epochs.students(rows=8))
    Epoch.objects.update(format="a-format-of-old")
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.findings.get().code) == ("failed", "format-unknown")


# --- Trouble -----------------------------------------------------------------------------------------------------


def until_stuck(epoch: Epoch, district: District, clock: Clock, trouble: str) -> None:
    """Tries, ever later, until staff are told."""
    pauses = []
    for tries in range(1, pipeline.MOST_TRIES):
        process(district)
        epoch.refresh_from_db()
        assert epoch.tries == tries
        assert epoch.state in ("queued", "working")
        assert epoch.trouble == trouble
        pauses.append(later(epoch))
        process(district)
        epoch.refresh_from_db()
        assert epoch.tries == tries
        clock.move(seconds=pauses[-1].total_seconds() + 1)
    assert pauses == sorted(pauses)
    assert pauses[-1] > 4 * pauses[0]
    process(district)
    epoch.refresh_from_db()
    assert epoch.state == "stuck"


def told_once() -> OutboxMessage:
    told = OutboxMessage.objects.filter(kind="epoch-stuck").order_by("to")
    assert [one.to for one in told] == ["ops@vendor.example", "support@vendor.example"]
    return told[0]


@pytest.mark.parametrize("call", ["rename", "open_read", "write", "listing"])
def test_trouble_is_tried_again_ever_later_then_stops_and_staff_are_told_once(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    epoch = queue(district, NIGHT, epochs.students(rows=8))
    host = Broken(call, error=Refused)
    use(monkeypatch, host.files)
    until_stuck(epoch, district, clock, "The host's disk does not answer.")
    clock.move(days=1)
    assert turns.districts_waiting() == 0
    process(district)
    assert "choose “Process now”" in told_once().text

    host.is_broken = False
    services.epoch_hurry(epoch, actor=User.objects.get(email="support@vendor.example"))
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.tries, epoch.trouble, epoch.archive_name) == ("loaded", 0, "", NIGHT)


@pytest.mark.parametrize("call", ["rename", "open_read", "write", "listing"])
def test_trouble_that_passes_is_told_once_and_tried_until_it_is_over(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """A host that is away all night keeps hundreds of nights waiting: nobody is to go through them by hand."""
    epoch = queue(district, NIGHT, epochs.students(rows=8))
    host = Broken(call, error=HostDown)
    use(monkeypatch, host.files)
    until_stuck(epoch, district, clock, "The host's disk does not answer.")
    for _ in range(5):
        assert turns.districts_waiting() == 0
        clock.move(minutes=25)
        assert turns.districts_waiting() == 1
        process(district)
        epoch.refresh_from_db()
        assert epoch.state == "stuck"
    assert "goes on by itself" in told_once().text
    assert sentence(epoch) == "The host's disk does not answer. We try again by ourselves. Our staff were told."
    assert AuditEntry.objects.filter(action="epoch stopped by trouble").count() == 1

    host.is_broken = False
    clock.move(minutes=25)
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.tries, epoch.trouble, epoch.archive_name) == ("loaded", 0, "", NIGHT)


def test_an_unexpected_fault_is_told_without_its_text(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(epoch: Epoch) -> object:
        raise ValueError("a student's name may stand here")

    steps = [replace(step, do=fault) if step.name == "check" else step for step in pipeline.STEPS]
    monkeypatch.setattr(pipeline, "STEPS", tuple(steps))
    epoch = night_or_trouble(district)
    assert (epoch.state, epoch.step, epoch.tries) == ("working", "copy", 1)
    assert "ValueError" in epoch.trouble
    assert "student" not in epoch.trouble


def night_or_trouble(district: District) -> Epoch:
    """An epoch as a first try left it."""
    epoch = queue(district, NIGHT, epochs.students(rows=8))
    process(district)
    epoch.refresh_from_db()
    return epoch


@pytest.mark.parametrize("error", [HostDown, Refused])
@pytest.mark.parametrize("call", ["rename", "open_read"])
def test_a_later_night_never_overtakes_one_in_trouble(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch, call: str, error: type[HostError]
) -> None:
    """Before and after the claim, waiting for a next try or stuck: yesterday must not be loaded over today."""
    queue(district, NIGHT, epochs.students(rows=8))
    queue(district, NEXT_NIGHT, epochs.students(rows=12, night=1))
    host = Broken(call, error=error)
    use(monkeypatch, host.files)
    for _ in range(pipeline.MOST_TRIES):
        process(district)
        host.is_broken = False
        process(district)
        assert Epoch.objects.get(name=NEXT_NIGHT).state == "queued"
        host.is_broken = True
        clock.move(hours=1)
    stuck = Epoch.objects.get(name=NIGHT)
    assert stuck.state == "stuck"
    assert (stuck.next_try is None) == (error is Refused)
    host.is_broken = False
    if error is Refused:
        process(district)
        assert Epoch.objects.get(name=NEXT_NIGHT).state == "queued"
    services.epoch_hurry(stuck, actor=StaffFactory())
    process(district)
    ended = Epoch.objects.order_by("finished").values_list("name", "state")
    assert list(ended) == [(NIGHT, "loaded"), (NEXT_NIGHT, "loaded")]
    assert set(Record.objects.filter(is_removed=False).values_list("last_epoch__name", flat=True)) >= {NEXT_NIGHT}


def test_one_district_in_trouble_does_not_keep_another_waiting(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    night_or_trouble(district)
    EpochFactory(district=district, state="stuck", step="copy")
    other = MembershipFactory().district
    places_make(other)
    assert night(other, NIGHT, epochs.students(rows=8)).state == "loaded"


def test_a_lease_that_another_holds_is_not_worked_on(district: District) -> None:
    epoch = queue(district, NIGHT, epochs.students(rows=8))
    Lane.objects.update_or_create(
        district=district,
        defaults={"lease_token": "another", "lease_until": looking.timezone.now() + timedelta(minutes=1)},
    )
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.step) == ("queued", "")


def test_a_fault_met_by_a_worker_that_was_overtaken_is_not_noted(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = queue(district, NIGHT, epochs.students(rows=8))

    def overtaken(number: int, name: str) -> None:
        if name == "open_read":
            Lane.objects.update(lease_token="another")
            raise HostDown("The host's disk does not answer.")

    use(monkeypatch, Watched(overtaken, nothing))
    process(district)
    epoch.refresh_from_db()
    assert (epoch.tries, epoch.trouble) == (0, "")
    assert Lane.objects.get().lease_token == "another"


def test_a_district_with_four_nights_waits_once(district: District) -> None:
    for number in count():
        EpochFactory(district=district, state="queued", name=f"2026010{number}-000000", queued=looking.timezone.now())
        if number == 3:
            break
    assert turns.districts_waiting() == 1


def test_private_copies_of_ended_epochs_are_swept_and_no_others(district: District) -> None:
    ended, working = EpochFactory(district=district, state="loaded"), EpochFactory(district=district, state="working")
    for epoch in (ended, working):
        uploading.settings.STAGING_DIR.joinpath(str(epoch.pk), "x").mkdir(parents=True)
    pipeline.staging.sweep()
    assert [place.name for place in staged()] == [str(working.pk)]


def test_of_an_epoch_that_is_held_for_days_no_copy_of_a_killed_try_stays(district: District) -> None:
    held, copying = EpochFactory(district=district, state="held", staging="one"), EpochFactory(district=district)
    for epoch in (held, copying):
        for attempt in ("one", "other"):
            uploading.settings.STAGING_DIR.joinpath(str(epoch.pk), attempt).mkdir(parents=True)
    pipeline.staging.sweep()
    left = uploading.settings.STAGING_DIR.glob("*/*")
    assert sorted((int(place.parent.name), place.name) for place in left) == [
        (held.pk, "one"),
        (copying.pk, "one"),
        (copying.pk, "other"),
    ]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize(
    ("place", "left"),
    [
        ("ingest.staging._copy_stream", set()),
        ("ingest.core.listing.Listing.close", {"00000"}),
        ("ingest.core.bulk.read_batches", {"00000", "findings"}),
    ],
)
def test_a_full_disk_of_ours_is_told_as_such_and_what_was_begun_leaves_room(
    district: District, monkeypatch: pytest.MonkeyPatch, place: str, left: set[str], code: int
) -> None:
    """Of steps that are over their work is left: the copy, and the list of what the check has found."""

    def full(*_: object) -> Iterator[object]:
        raise OSError(code, "full")
        yield

    monkeypatch.setattr(place, full if "bulk" in place else lambda *_: next(full()))
    epoch = night_or_trouble(district)
    assert epoch.trouble == "There is no room left on our side for the files of this epoch. Nothing is lost."
    assert (epoch.state, epoch.tries) == ("working", 1)
    files = (one.name for one in uploading.settings.STAGING_DIR.rglob("*") if one.is_file())
    assert {name.partition("-")[0] for name in files} == left
