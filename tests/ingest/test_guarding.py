"""A night is judged before anything of it is applied; over a limit it is held, and the nights after it wait."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.conf import LazySettings
from django.utils import timezone

from accounts.models import AuditEntry, District, OutboxMessage, User
from ingest import guarding, holds, pipeline, services, turns, undos
from ingest.allowances import now_in
from ingest.core import mishaps
from ingest.core.diff import What
from ingest.models import BlackoutDays, Dataset, Epoch, GuardState, Judgement, LimitRaise, Record, StandingLimit

from . import epochs
from .conftest import Clock
from .uploading import NEXT_NIGHT, NIGHT, home, look, night, process, put, queue, staged

THIRD = "20261123-020000"
FOURTH = "20261124-020000"


def lines(files: dict[str, bytes], *kept: slice) -> dict[str, bytes]:
    """The file of students with some of its lines only."""
    every = files["students.csv"].split(b"\r\n")
    return {"students.csv": b"\r\n".join([one for part in kept for one in every[part]])}


FULL = epochs.students(rows=40)
FEW = lines(FULL, slice(0, 21), slice(41, None))
"""Half of the students are gone."""


def active() -> int:
    return Record.objects.filter(is_removed=False).count()


def state(name: str) -> str:
    return Epoch.objects.get(name=name).state


def codes(epoch: Epoch) -> list[str]:
    return [one["code"] for one in epoch.judgement.reasons if one["weight"] == "hold"]


def test_the_first_night_passes_and_says_so(district: District) -> None:
    epoch = night(district, NIGHT, FULL)
    assert (epoch.state, epoch.judgement.state) == ("loaded", "pass")
    assert [one["code"] for one in epoch.judgement.reasons] == ["first"]
    assert (epoch.judgement.night, epoch.judgement.sample) == (None, [])
    assert GuardState.objects.get().epoch == epoch


def test_a_night_that_loses_too_many_is_held_and_nothing_of_it_is_applied(district: District) -> None:
    night(district, NIGHT, FULL)
    epoch = night(district, NEXT_NIGHT, FEW)
    assert (epoch.state, epoch.step, active()) == ("held", "compare", 40)
    assert "too-many-removed" in codes(epoch)
    assert "20 of 40 records (50 %) of `students.csv` would be removed" in epoch.judgement.message
    assert [one["number"] for one in epoch.judgement.tables[0]["kinds"]] == [0, 0, 20]
    assert len(epoch.judgement.sample) == 20
    assert staged()
    assert not (home(district) / "upload-processed" / NEXT_NIGHT).exists()


def test_people_are_told_of_a_hold_once_and_without_a_value_of_a_student(district: District) -> None:
    night(district, NIGHT, FULL)
    epoch = night(district, NEXT_NIGHT, FEW)
    Epoch.objects.filter(pk=epoch.pk).update(state="working", step="check")
    process(district)
    told = OutboxMessage.objects.filter(kind__startswith="epoch-held").values_list("kind", "to")
    assert sorted(told) == [
        ("epoch-held", "dana@smithville.example"),
        ("epoch-held-staff", "support@vendor.example"),
    ]
    values = {value for record in Record.objects.all() for value in record.data.values() if len(value) > 5}
    text = "".join(OutboxMessage.objects.values_list("text", flat=True)) + str(list(AuditEntry.objects.values()))
    assert not [value for value in values if value in text]


def again(district: District, epoch: Epoch) -> list[str]:
    """The subjects of what its administrator was told, when it has been judged once more."""
    Epoch.objects.filter(pk=epoch.pk).update(state="working", step="check")
    process(district)
    assert state(epoch.name) == "held"
    told = OutboxMessage.objects.filter(kind="epoch-held", to="dana@smithville.example").order_by("pk")
    staff = OutboxMessage.objects.filter(kind="epoch-held-staff", to="support@vendor.example")
    assert len(told) == len(staff)
    return list(told.values_list("subject", flat=True))


def test_people_are_told_once_more_if_it_is_held_for_other_reasons(
    district: District, settings: LazySettings, clock: Clock
) -> None:
    night(district, NIGHT, FULL)
    epoch = night(district, NEXT_NIGHT, FEW)
    first = f"{district.name}: the files of {NEXT_NIGHT} are held"
    other = f"{district.name}: the files of {NEXT_NIGHT} are still held, for other reasons"
    assert again(district, epoch) == [first]
    Record.objects.filter(pk=Record.objects.first().pk).delete()
    Dataset.objects.update(active=39)
    assert again(district, epoch) == [first]  # other numbers, and the same reasons
    settings.GUARD_AGE_DAYS = 7
    clock.move(days=30)
    assert again(district, epoch) == [first]  # it goes by when it came
    Epoch.objects.filter(pk=epoch.pk).update(queued=timezone.now())
    assert again(district, epoch) == [first, other]
    assert "old-epoch" in codes(Epoch.objects.get(pk=epoch.pk))
    mail = OutboxMessage.objects.filter(kind="epoch-held").order_by("pk")[1].text
    assert "held for other reasons than we wrote before" in mail
    assert again(district, epoch) == [first, other]
    settings.GUARD_AGE_DAYS = -1
    assert again(district, epoch) == [first, other, other]  # as at first, and the last mail says otherwise


def test_the_sample_and_the_facts_hold_no_value_of_a_student(district: District) -> None:
    night(district, NIGHT, FULL)
    epoch = night(district, NEXT_NIGHT, FEW)
    known = epochs.STUDENTS.tables[0]
    personal = [one.name for one in known.kept_fields if one.personal]
    values = {
        record.data[name] for record in Record.objects.all() for name in personal if len(record.data.get(name, "")) > 3
    }
    kept = f"{epoch.judgement.sample}{epoch.judgement.night}{GuardState.objects.get().applied}"
    assert values
    assert not [value for value in values if f"'{value}'" in kept]


def test_nights_behind_a_held_one_are_received_checked_and_wait(district: District) -> None:
    night(district, NIGHT, FULL)
    night(district, NEXT_NIGHT, FEW)
    bad = epochs.with_cell(FULL["students.csv"], 3, "Date of Birth", "")
    third = night(district, THIRD, {"students.csv": bad})
    fourth = night(district, FOURTH, FULL)
    assert [one.state for one in (third, fourth)] == ["behind" if third.is_ok else "failed", "behind"]
    assert (fourth.step, fourth.files.get().rows) == ("check", 40)
    assert not (home(district) / "upload" / FOURTH).exists()
    process(district)
    assert (state(NEXT_NIGHT), state(FOURTH), active()) == ("held", "behind", 40)
    assert turns.districts_waiting() == 0


def test_a_night_that_fails_its_check_ends_at_once_even_behind_a_held_one(district: District) -> None:
    night(district, NIGHT, FULL)
    night(district, NEXT_NIGHT, FEW)
    bad = {"students.csv": epochs.with_line(FULL["students.csv"], 3, b"one,two")}
    epoch = night(district, THIRD, bad)
    assert (epoch.state, epoch.archive_name, epoch.judgement.state) == ("failed", THIRD, "failed")
    assert state(NEXT_NIGHT) == "held"


def test_a_night_without_changes_ends_well_and_applies_nothing(district: District) -> None:
    night(district, NIGHT, FULL)
    before = GuardState.objects.get().applied
    epoch = night(district, NEXT_NIGHT, FULL)
    assert (epoch.state, epoch.judgement.state) == ("loaded", "no-change")
    assert epoch.log.startswith("SUCCEEDED")
    assert GuardState.objects.get().applied == before
    assert set(Record.objects.values_list("last_epoch__name", flat=True)) == {NIGHT}


def test_a_blackout_lets_nothing_be_applied_and_keeps_nobody_waiting(district: District) -> None:
    night(district, NIGHT, FULL)
    today = date.today()
    BlackoutDays.objects.create(
        district=district, first=today - timedelta(days=2), last=today + timedelta(days=2), why="x"
    )
    epoch = night(district, NEXT_NIGHT, epochs.students(rows=40, night=1))
    assert (epoch.state, epoch.archive_name, epoch.judgement.state) == ("blackout", NEXT_NIGHT, "blackout")
    assert epoch.log.startswith("FAILED: Not applied: blackout")
    assert epoch.judgement.sample == []
    assert set(Record.objects.values_list("last_epoch__name", flat=True)) == {NIGHT}
    BlackoutDays.objects.all().delete()
    assert night(district, THIRD, epochs.students(rows=40, night=1)).state == "loaded"


def test_a_blackout_of_every_district_counts_and_one_that_was_ended_does_not(district: District) -> None:
    night(district, NIGHT, FULL)
    today = date.today()
    days = {"first": today - timedelta(days=2), "last": today + timedelta(days=2), "why": "x"}
    made = BlackoutDays.objects.create(district=None, **days)
    assert night(district, NEXT_NIGHT, epochs.students(rows=40, night=1)).state == "blackout"
    BlackoutDays.objects.filter(pk=made.pk).update(ended="2026-01-01T00:00:00Z")
    assert night(district, THIRD, epochs.students(rows=40, night=1)).state == "loaded"


def test_limits_of_the_district_go_before_the_usual_ones(district: District, settings: LazySettings) -> None:
    settings.GUARD_REMOVED_PERCENT, settings.GUARD_REMOVED_FLOOR = 60, 0
    night(district, NIGHT, FULL)
    StandingLimit.objects.create(district=district, what="removed", percent=40, floor=0)
    epoch = night(district, NEXT_NIGHT, FEW)
    assert codes(epoch) == ["too-many-removed"]
    assert epoch.judgement.tables[0]["kinds"][2] == {
        "what": "removed",
        "number": 20,
        "allowed": 16,
        "until": "",
        "is_over": True,
    }


@pytest.mark.parametrize(("last", "wanted"), [(0, "loaded"), (-1, "held")])
def test_a_raise_counts_until_its_last_day_and_not_after(district: District, last: int, wanted: str) -> None:
    night(district, NIGHT, FULL)
    today = guarding.calendar_of(district).today
    days = {"first": today - timedelta(days=3), "last": today + timedelta(days=last)}
    LimitRaise.objects.create(district=district, what="removed", percent=80, reason="x", **days)
    assert night(district, NEXT_NIGHT, FEW).state == wanted


def test_limits_of_one_district_are_no_other_districts(district: District) -> None:
    other = District.objects.create(name="Other", slug="other", domain="other.example")
    StandingLimit.objects.create(district=other, what="removed", percent=-1)
    night(district, NIGHT, FULL)
    assert night(district, NEXT_NIGHT, FEW).state == "held"


def test_the_likely_cause_is_named_of_a_night_that_failed_too(district: District) -> None:
    night(district, NIGHT, FULL)
    text = FULL["students.csv"]
    cut = {"students.csv": text[: len(text) // 2]}
    epoch = night(district, NEXT_NIGHT, cut)
    assert (epoch.state, epoch.judgement.cause["cause"]) in [("failed", "cut-off"), ("held", "cut-off")]


def test_a_night_that_was_judged_by_an_older_portal_is_compared_by_numbers_only(district: District) -> None:
    """After an upgrade there are records but no facts of what was applied."""
    night(district, NIGHT, FULL)
    GuardState.objects.update(applied={"layout": 0})
    epoch = night(district, NEXT_NIGHT, FEW)
    assert codes(epoch) == ["too-many-removed"]


def test_only_the_newest_nights_keep_what_was_before_them(district: District, clock: Clock) -> None:
    for number in range(6):
        clock.move(minutes=1)
        made = night(district, f"2026112{number}-020000", epochs.students(rows=40 + number))
        assert made.state == "loaded", (made.trouble, made.judgement.message)
    kept = Judgement.objects.filter(before__isnull=False).order_by("epoch__name")
    assert [one.epoch.name for one in kept] == [f"2026112{number}-020000" for number in (3, 4, 5)]


def at(district: District, clock: Clock, day: date) -> None:
    """It is noon of that day at the district."""
    clock.ahead += datetime.combine(day, time(12), ZoneInfo(district.time_zone)) - clock.now()


def test_a_night_that_is_named_after_a_day_long_ago_is_held(
    district: District, clock: Clock, settings: LazySettings
) -> None:
    settings.GUARD_AGE_DAYS = 7
    night(district, NIGHT, FULL)
    at(district, clock, date(2026, 11, 28))
    assert night(district, NEXT_NIGHT, FULL).state == "loaded"
    at(district, clock, date(2026, 12, 8))
    assert codes(night(district, THIRD, FULL)) == ["old-epoch"]


def test_files_of_another_school_year_are_held(district: District, clock: Clock, settings: LazySettings) -> None:
    settings.GUARD_SCHOOL_YEAR = True
    at(district, clock, mishaps.IN_TERM)
    night(district, NIGHT, epochs.oneroster(users=20))
    at(district, clock, date(2028, 10, 14))
    assert "wrong-year" in codes(night(district, NEXT_NIGHT, epochs.oneroster(users=20)))


def night_or_by_hand(district: District, name: str, files: dict[str, bytes]) -> Epoch:
    """A night whose format staff say, if its columns are so wrong that nobody recognises it."""
    put(district, name, files)
    look()
    Epoch.objects.filter(name=name).update(hurry=True)
    look()
    epoch = Epoch.objects.get(name=name)
    if epoch.state == "waiting_staff":
        staff = User.objects.get(email="support@vendor.example")
        services.epoch_format_assign(epoch, epochs.STUDENTS.name, actor=staff)
    process(district)
    return Epoch.objects.get(name=name)


MISHAPS = [one for one in mishaps.mishaps(epochs.STUDENTS, size=120) if mishaps.IN_TERM in one.days]


@pytest.mark.parametrize("mishap", MISHAPS, ids=lambda one: f"{one.cause}-{one.variant}")
def test_each_mishap_is_named_as_the_likely_cause(district: District, clock: Clock, mishap: mishaps.Mishap) -> None:
    at(district, clock, mishaps.IN_TERM)
    for what in What:
        StandingLimit.objects.create(district=district, what=what.value, percent=-1)
    for number, files in enumerate(mishap.earlier):
        assert night(district, f"20261122-0{number}0000", files).state == "loaded"
    StandingLimit.objects.all().delete()
    epoch = night_or_by_hand(district, "20261122-090000", mishap.tonight)
    assert epoch.judgement.cause["cause"] == mishap.cause.value
    assert epoch.judgement.cause["hint"]


def test_a_waiting_night_goes_on_by_a_sweep_when_none_is_held_any_more(district: District) -> None:
    night(district, NIGHT, FULL)
    night(district, NEXT_NIGHT, FEW)
    queue(district, THIRD, FULL)
    process(district)
    assert state(THIRD) == "behind"
    Epoch.objects.filter(name=NEXT_NIGHT).update(state="gone")
    assert turns.districts_waiting() == 1
    process(district)
    assert (state(THIRD), Epoch.objects.get(name=THIRD).judgement.state) == ("loaded", "no-change")


SECOND = epochs.students(rows=43)


@pytest.mark.parametrize("name", ["20361122-020000", "20269999-020000"])
@pytest.mark.parametrize("files", [FULL, SECOND], ids=["which changed nothing", "which changed some"])
def test_a_night_named_after_no_day_or_one_to_come_keeps_no_other_out(
    district: District, name: str, files: dict[str, bytes]
) -> None:
    night(district, NIGHT, FULL)
    assert night(district, name, files).state == "loaded"
    assert night(district, NEXT_NIGHT, epochs.students(rows=44)).state == "loaded"


def test_a_night_that_completes_late_is_not_applied_and_its_district_hears_of_it(district: District) -> None:
    night(district, NIGHT, FULL)
    night(district, THIRD, SECOND)
    late = night(district, NEXT_NIGHT, FULL)
    assert (late.state, late.judgement.message.count("Not applied")) == ("superseded", 1)
    (mail,) = OutboxMessage.objects.filter(kind="epoch-superseded")
    assert mail.subject.endswith(f"the files of {NEXT_NIGHT} came too late")


def test_a_night_taken_back_may_come_again_though_a_later_one_had_changed_nothing(district: District) -> None:
    night(district, NIGHT, FULL)
    taken_back = night(district, NEXT_NIGHT, SECOND)
    night(district, THIRD, SECOND)
    actor = User.objects.get(email="support@vendor.example")
    version = undos.version_of(taken_back)
    undos.epoch_undo(taken_back, version=version, is_over_seen=True, reason="Wrong.", actor=actor)
    holds.district_release(district, reason="Sent again.", actor=actor)
    assert night(district, NEXT_NIGHT, SECOND).state == "loaded"


def test_a_night_of_another_format_is_held_though_nothing_is_known_of_the_last_one(district: District) -> None:
    night(district, NIGHT, FULL)
    GuardState.objects.update(applied=None)
    epoch = night(district, NEXT_NIGHT, epochs.oneroster(users=5))
    assert (epoch.state, codes(epoch)) == ("held", ["format-changed"])
    assert "The 40 records of other formats would stay beside the new ones." in epoch.judgement.message


def test_a_night_that_was_judged_before_a_blackout_began_is_not_applied_in_it(district: District) -> None:
    night(district, NIGHT, FULL)
    epoch = queue(district, NEXT_NIGHT, epochs.students(rows=43))
    while Epoch.objects.get(pk=epoch.pk).step != "compare":
        pipeline.process_turn(district.pk, lambda: True)  # others wait, and have their turns in between
    today, staff = now_in(district).date(), User.objects.get(email="support@vendor.example")
    BlackoutDays.objects.create(district=district, first=today, last=today, by=staff)
    process(district)
    epoch = Epoch.objects.get(pk=epoch.pk)
    assert (epoch.state, epoch.judgement.state, active()) == ("blackout", "blackout", 40)
