"""Limits, raises, blackouts, expected arrivals and looks at records: written down once, with an audit entry each."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from accounts.models import AuditEntry, District, OutboxMessage, User
from accounts.services import Refused
from hosts.models import Host, UploadsSeen
from ingest import allowances, arrivals, limiting, lookups, selectors
from ingest.core.sampling import epoch as sample
from ingest.limiting import Change
from ingest.models import BlackoutDays, Dataset, ExpectedArrival, LimitRaise, MissingNight, Record, StandingLimit
from tests.factories import EpochFactory, StaffFactory

from . import epochs
from .conftest import Clock
from .test_guarding import FULL
from .test_undos import SECOND
from .uploading import NEXT_NIGHT, NIGHT, night

TWENTY = Change("removed", "", Decimal(20), 5)


@pytest.fixture
def staff(district: District) -> User:
    return User.objects.get(email="support@vendor.example")


def today(district: District) -> date:
    return allowances.now_in(district).date()


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("number").values_list("action", flat=True))


def test_a_limit_is_set_changed_and_taken_away(district: District, staff: User) -> None:
    limiting.limits_set(district, TWENTY, is_usual=False, actor=staff)
    limiting.limits_set(district, Change("removed", "", Decimal("2.5"), 0), is_usual=False, actor=staff)
    assert list(StandingLimit.objects.values_list("what", "percent", "floor")) == [("removed", Decimal("2.50"), 0)]
    limiting.limits_set(district, TWENTY, is_usual=True, actor=staff)
    assert not StandingLimit.objects.exists()
    told = AuditEntry.objects.filter(action="limit set").order_by("number").values_list("details", flat=True)
    assert [one.get("before") for one in told] == [None, ["20.00", 5], ["2.50", 0]]


def test_a_raise_said_twice_is_one_and_ends_once(district: District, staff: User) -> None:
    days = {"first": today(district), "last": today(district) + timedelta(days=3)}
    for _ in range(2):
        made = limiting.limit_raise(district, TWENTY, **days, reason="A new school.", actor=staff)
    assert (LimitRaise.objects.count(), actions().count("limit raised")) == (1, 1)
    limiting.raise_end(made, actor=staff)
    with pytest.raises(Refused):
        limiting.raise_end(made, actor=staff)
    assert allowances.limits_of(district).raises == ()
    assert actions().count("limit raise ended") == 1


@pytest.mark.parametrize(
    ("first", "last"), [(0, -1), (-5, -1), (0, 200)], ids=["backwards", "over already", "for ever"]
)
@pytest.mark.parametrize("what", ["raise", "blackout"])
def test_odd_days_are_refused(district: District, staff: User, what: str, first: int, last: int) -> None:
    days = {"first": today(district) + timedelta(days=first), "last": today(district) + timedelta(days=last)}
    ask = {
        "raise": lambda: limiting.limit_raise(district, TWENTY, **days, reason="x", actor=staff),
        "blackout": lambda: limiting.blackout_set(district, **days, why="x", actor=staff),
    }
    with pytest.raises(Refused) as refused:
        ask[what]()
    assert refused.value.code == "days"
    assert not LimitRaise.objects.exists()
    assert not BlackoutDays.objects.exists()


def test_a_blackout_said_twice_is_one_and_ends_once(district: District, staff: User) -> None:
    days = {"first": today(district), "last": today(district)}
    for _ in range(2):
        made = limiting.blackout_set(district, **days, why="We move.", actor=staff)
    assert allowances.calendar_of(district).blackout is not None
    limiting.blackout_end(made, actor=staff)
    with pytest.raises(Refused):
        limiting.blackout_end(made, actor=staff)
    assert allowances.calendar_of(district).blackout is None
    assert [one for one in actions() if "blackout" in one] == ["blackout set", "blackout ended"]


def test_days_are_those_of_the_district(district: District, clock: Clock) -> None:
    """At four in the morning in Ohio it is still yesterday in Hawaii."""
    District.objects.filter(pk=district.pk).update(time_zone="Pacific/Honolulu")
    district.refresh_from_db()
    now = datetime(2026, 11, 22, 4, tzinfo=ZoneInfo("America/New_York"))
    clock.ahead += now - clock.now()
    assert today(district) == date(2026, 11, 21)


# --- Nights that are missing -------------------------------------------------------------------------------------


def expect(district: District, clock: Clock, hour: float) -> None:
    """A night came yesterday at two; one is expected by four; it is `hour` o'clock today."""
    zone = ZoneInfo(district.time_zone)
    ExpectedArrival.objects.create(district=district, by=time(4))
    at = datetime(2026, 11, 21, 2, tzinfo=zone)
    EpochFactory(district=district, state="loaded", queued=at)
    clock.ahead += datetime(2026, 11, 22, tzinfo=zone) + timedelta(hours=hour) - clock.now()


def test_of_a_missing_night_the_district_is_told_first_then_staff_each_once(district: District, clock: Clock) -> None:
    expect(district, clock, 4.5)
    assert arrivals.missing_tell() == 0
    clock.move(hours=1)
    assert (arrivals.missing_tell(), arrivals.missing_tell()) == (1, 0)
    told = OutboxMessage.objects.filter(kind__startswith="night-missing")
    assert list(told.values_list("kind", "to")) == [("night-missing", "dana@smithville.example")]
    clock.move(hours=5)
    assert (arrivals.missing_tell(), arrivals.missing_tell()) == (1, 0)
    assert set(told.values_list("kind", "to")) == {
        ("night-missing", "dana@smithville.example"),
        ("night-missing-staff", "support@vendor.example"),
    }
    assert actions().count("night missing") == 2
    assert list(MissingNight.objects.values_list("audience", flat=True)) == ["staff", "district"]


def test_nobody_is_told_when_a_night_has_come_or_none_is_expected(district: District, clock: Clock) -> None:
    expect(district, clock, 12)
    EpochFactory(district=district, state="loaded", queued=clock.now() - timedelta(hours=10))
    assert arrivals.missing_tell() == 0
    ExpectedArrival.objects.all().delete()
    clock.move(days=2)
    assert arrivals.missing_tell() == 0


@pytest.mark.parametrize("state", ["suspended", "closed"])
def test_of_a_district_that_cannot_upload_nothing_is_missed(district: District, clock: Clock, state: str) -> None:
    expect(district, clock, 12)
    District.objects.update(state=state)
    assert arrivals.missing_tell() == 0


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"state": "waiting_staff", "look_code": "not-recognised"}, 0),
        ({"state": "arriving", "look_code": "uploading"}, 0),
        ({"state": "waiting_staff", "look_code": "stranger"}, 1),
        ({"state": "waiting_staff", "look_code": "unread_stranger"}, 1),
        ({"state": "gone"}, 1),
    ],
    ids=["waits for staff", "arriving", "no epoch at all", "no epoch, with a folder", "taken back"],
)
def test_a_night_that_came_counts_though_it_was_not_taken(
    district: District, clock: Clock, row: dict[str, str], told: int
) -> None:
    expect(district, clock, 6)
    EpochFactory(district=district, queued=None, first_seen=clock.now() - timedelta(hours=3), **row)
    assert arrivals.missing_tell() == told


def test_an_old_night_that_staff_gave_a_format_today_is_not_todays(
    district: District, staff: User, clock: Clock
) -> None:
    expect(district, clock, 6)
    came = clock.now() - timedelta(days=2)
    EpochFactory(district=district, state="loaded", first_seen=came, queued=clock.now(), format_by=staff)
    assert arrivals.missing_tell() == 1


@pytest.mark.parametrize("trouble", ["no answer", "owed", "stopped"])
def test_nothing_is_missed_while_its_host_cannot_be_looked_at(district: District, clock: Clock, trouble: str) -> None:
    expect(district, clock, 6)
    account = district.sftp_account
    values = {"tries": 3} if trouble == "no answer" else {"owed": [account.pk] if trouble == "owed" else []}
    UploadsSeen.objects.create(host=account.host, **values)
    Host.every.update(state="stopped" if trouble == "stopped" else "ready")
    assert arrivals.missing_tell() == 0
    UploadsSeen.objects.update(tries=0, owed=[])
    Host.every.update(state="ready")
    assert arrivals.missing_tell() == 1


@pytest.mark.parametrize(
    ("first", "last", "ended", "told"),
    [(21, 21, None, 0), (20, 25, 7, 0), (20, 25, 3, 1), (22, 22, None, 1)],
    ids=["over since midnight", "ended after it was due", "ended before it was due", "begun since"],
)
def test_it_is_the_blackout_of_the_day_on_which_it_was_due_that_counts(
    district: District, clock: Clock, first: int, last: int, ended: int | None, told: int
) -> None:
    """Due on the 21st at four, as no other day is; now it is one o'clock on the 22nd."""
    zone = ZoneInfo(district.time_zone)
    ExpectedArrival.objects.create(district=district, by=time(4), days="5")
    EpochFactory(district=district, state="loaded", queued=datetime(2026, 11, 14, 2, tzinfo=zone))
    clock.ahead += datetime(2026, 11, 22, 1, tzinfo=zone) - clock.now()
    at = datetime(2026, 11, 21, ended, tzinfo=zone) if ended else None
    days = {"first": date(2026, 11, first), "last": date(2026, 11, last)}
    BlackoutDays.objects.create(district=district, why="x", ended=at, **days)
    assert bool(arrivals.missing_tell()) == bool(told)


def test_the_expected_time_is_set_and_taken_away(district: District, staff: User) -> None:
    limiting.arrival_set(district, time(4), "01234", actor=staff)
    limiting.arrival_set(district, time(5), "0", actor=staff)
    assert list(ExpectedArrival.objects.values_list("by", "days")) == [(time(5), "0")]
    limiting.arrival_set(district, None, "0", actor=staff)
    assert not ExpectedArrival.objects.exists()
    assert actions().count("expected arrival set") == 3


def test_when_nights_usually_come_is_learned_from_them(district: District, clock: Clock) -> None:
    zone = ZoneInfo(district.time_zone)
    for day in range(1, 8):
        EpochFactory(district=district, state="loaded", queued=datetime(2026, 10, day, 2, day, tzinfo=zone))
    assert arrivals.usual_time_of(district) == "02:07"


# --- One record --------------------------------------------------------------------------------------------------


def test_a_record_is_found_by_its_id_with_its_history_and_the_id_is_in_no_audit_entry(
    district: District, staff: User
) -> None:
    night(district, NIGHT, FULL)
    night(district, NEXT_NIGHT, SECOND)
    record = Record.objects.filter(first_epoch__name=NEXT_NIGHT).first()
    look = lookups.record_look(district, "students", record.key, reason="They asked.", actor=staff)
    assert look.record == record
    assert [(one.epoch.name, one.what) for one in selectors.record_history(record)] == [(NEXT_NIGHT, "added")]
    entry = AuditEntry.objects.get(action="record looked at")
    assert (entry.subject, entry.details["reason"]) == (f"record {record.pk}", "They asked.")
    assert record.key not in f"{entry.subject}{entry.details}"


def test_a_vain_look_is_refused_and_in_the_audit_log_all_the_same(district: District, staff: User) -> None:
    with pytest.raises(Refused) as refused:
        lookups.record_look(district, "students", "no-such-id", reason="x", actor=staff)
    assert refused.value.code == "no-record"
    entry = AuditEntry.objects.get(action="record looked for")
    assert "no-such-id" not in f"{entry.subject}{entry.details}"


def test_a_look_is_its_persons_own_and_ends_by_itself(district: District, staff: User, clock: Clock) -> None:
    night(district, NIGHT, FULL)
    look = lookups.record_look(district, "students", Record.objects.first().key, reason="x", actor=staff)
    assert lookups.look_of(look.pk, staff) == look
    assert lookups.look_of(look.pk, StaffFactory()) is None
    clock.move(minutes=31)
    assert lookups.look_of(look.pk, staff) is None


def test_where_several_columns_make_up_an_id_the_first_finds_it(district: District, staff: User) -> None:
    night(district, NIGHT, sample(epochs.FORMATS["clever"], 6))
    record = Record.objects.filter(dataset__table="students").first()
    student = record.data["Student_id"]
    assert record.key != student
    assert lookups.record_look(district, "students", student, reason="They asked.", actor=staff).record == record
    for other in (student.upper(), student[:-1]):
        with pytest.raises(Refused) as refused:
            lookups.record_look(district, "students", other, reason="x", actor=staff)
        assert refused.value.code == "no-record"


def test_of_several_records_whose_ids_begin_alike_one_is_to_be_chosen(district: District, staff: User) -> None:
    night(district, NIGHT, sample(epochs.FORMATS["clever"], 6))
    same = list(Record.objects.filter(dataset__table="enrollments", key__startswith="sec-000001|").order_by("key"))
    assert len(same) > 1
    with pytest.raises(Refused) as refused:
        lookups.record_look(district, "enrollments", "sec-000001", reason="x", actor=staff)
    assert (refused.value.code, same[0].key in refused.value.message) == ("several-records", True)
    assert AuditEntry.objects.get(action="record looked for").subject == "several found"
    assert lookups.record_look(district, "enrollments", same[1].key, reason="x", actor=staff).record == same[1]


def test_records_of_two_formats_with_the_same_name_and_id_are_both_found(district: District, staff: User) -> None:
    night(district, NIGHT, FULL)
    first = Record.objects.filter(dataset__table="students").first()
    dataset = Dataset.objects.create(district=district, format="clever", table="students", active=1)
    night_of = {"first_epoch": first.first_epoch, "last_epoch": first.last_epoch}
    second = Record.objects.create(dataset=dataset, key=first.key, digest=b"0" * 16, data={}, **night_of)
    choices = [value for value, _ in lookups.tables_to_find(district)]
    assert choices == ["students/clever", "students/samegoal"]
    for choice, record in zip(choices, (second, first), strict=True):
        assert lookups.record_look(district, choice, first.key, reason="x", actor=staff).record == record


def test_a_record_of_another_district_is_not_found(district: District, staff: User) -> None:
    night(district, NIGHT, FULL)
    other = EpochFactory().district
    with pytest.raises(Refused):
        lookups.record_look(other, "students", Record.objects.first().key, reason="x", actor=staff)


def test_other_words_for_the_same_days_are_heard(district: District, staff: User) -> None:
    days = {"first": today(district), "last": today(district)}
    for words in ("A new school.", "Two new schools."):
        limiting.blackout_set(district, **days, why=words, actor=staff)
        limiting.limit_raise(district, TWENTY, **days, reason=words, actor=staff)
    assert (BlackoutDays.objects.get().why, LimitRaise.objects.get().reason) == (words, words)
    assert actions()[-4:] == ["blackout set", "limit raised"] * 2
