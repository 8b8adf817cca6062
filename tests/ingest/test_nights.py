"""What became of each night, and how it is drawn."""

from datetime import date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from ingest.core.arrival import Audience, Expected, overdue
from ingest.core.nights import USUAL, Came, Night, Outcome, night_of, nights_of, tallied
from ingest.core.schoolyear import Calendar
from ingest.core.strip import BARS, SHAPES, strip_of
from ingest.models import Epoch, ExpectedArrival, MissingNight
from ingest.nights import LOOKS, OUTCOMES, SHOWN, last_nights, nights_loaded
from tests.factories import DistrictFactory, EpochFactory, FileFactory

ZONE = ZoneInfo("America/New_York")
TODAY = date(2026, 11, 4)


def came(at: datetime, outcome=Outcome.LOADED, rows=10, number=1) -> Came:
    return Came(number, "20261104-020000", at, outcome, rows)


def at(hour: int, minute: int = 0, *, day: int = 4) -> datetime:
    return datetime(2026, 11, day, hour, minute, tzinfo=ZONE)


def last_of(*these: Came, missing: tuple[date, ...] = (), expected=USUAL) -> Night:
    return nights_of(these, missing, TODAY, 5, expected)[-1]


# --- Which night ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "by", "day"),
    [
        (at(2), None, 4),
        (at(23, day=3), None, 4),
        (at(18, 1, day=3), None, 4),
        (at(17, 59, day=3), None, 3),
        (at(12), None, 4),
        (at(21, 30), time(22), 4),
        (at(10), time(22), 3),
        (at(22, day=3), time(8), 4),
        (at(17, day=3), time(8), 3),
    ],
)
def test_a_night_is_named_after_the_day_in_whose_morning_it_ends(moment, by, day):
    assert night_of(moment, Expected(by) if by else USUAL) == date(2026, 11, day)


@pytest.mark.parametrize("by", [time(0, 30), time(3), time(8), time(12), time(18), time(22)])
@pytest.mark.parametrize("hour", range(24))
def test_a_night_is_told_as_missing_exactly_when_nothing_of_it_has_come(by, hour):
    expected, came_at, due = Expected(by), at(hour, 1, day=3), datetime.combine(TODAY, by, ZONE)
    later = due + timedelta(hours=2)
    told = Audience.DISTRICT in [one.audience for one in overdue(expected, came_at, later, Calendar(TODAY))]
    assert told == (night_of(came_at, expected) < TODAY)


# --- What became of it ---------------------------------------------------------------------------------------------


def test_the_newest_epoch_is_the_last_word_of_a_night():
    night = last_of(came(at(2), Outcome.FAILED, 7), came(at(9), Outcome.LOADED, 8, 2))
    assert (night.outcome, night.rows, [one.number for one in night.came]) == (Outcome.LOADED, 8, [2, 1])


def test_a_held_epoch_is_what_a_night_is_about_whatever_came_later():
    night = last_of(came(at(2), Outcome.HELD, 7), came(at(9), Outcome.WAITING, 8, 2))
    assert (night.outcome, night.rows, [one.number for one in night.came]) == (Outcome.HELD, 7, [1, 2])


def test_rows_of_several_epochs_of_a_night_are_added_up():
    assert last_of(came(at(2), rows=7), came(at(3), rows=8, number=2)).rows == 15


def test_what_came_late_makes_up_for_a_night_that_was_told_as_missing():
    assert last_of(missing=(TODAY,)).outcome == Outcome.MISSING
    assert last_of(came(at(11)), missing=(TODAY,)).outcome == Outcome.LOADED
    assert last_of().outcome == Outcome.NOTHING


def test_tonight_is_shown_as_soon_as_something_has_come_in_it():
    nights = nights_of([came(at(23))], (), TODAY, 5)
    assert [night.day.day for night in nights] == [1, 2, 3, 4, 5]
    assert nights[-1].outcome == Outcome.LOADED


def test_outcomes_are_counted_in_one_order():
    nights = nights_of([came(at(2), Outcome.FAILED), came(at(2, day=3))], (date(2026, 11, 2),), TODAY, 5)
    assert tallied(nights) == (
        (Outcome.LOADED, 1),
        (Outcome.FAILED, 1),
        (Outcome.MISSING, 1),
        (Outcome.NOTHING, 2),
    )


def test_every_outcome_and_every_state_has_a_look_and_outcomes_look_different():
    assert set(LOOKS) == set(SHAPES) == set(Outcome)
    assert len({look.word for look in LOOKS.values()}) == len(set(SHAPES.values())) == len(Outcome)
    waiting = {state for state in Epoch.State if state not in OUTCOMES}
    assert waiting == {*Epoch.OUTSIDE, *Epoch.OURS} - {Epoch.State.HELD}


# --- The strip -----------------------------------------------------------------------------------------------------


def test_the_highest_bar_is_that_of_the_most_rows_and_no_rows_have_none():
    nights = [Night(TODAY, Outcome.LOADED, rows) for rows in (1000, 500, 1, 0)]
    bars = [cell.bar for cell in strip_of(nights, per_line=4, cell=12).cells]
    assert bars == [BARS, BARS / 2, 2, 0]


@pytest.mark.parametrize(("per_line", "cell"), [(60, 12.0), (30, 11.0), (7, 10.0)])
@pytest.mark.parametrize("number", [0, 1, 59, 60])
def test_everything_drawn_lies_in_the_picture_and_nothing_on_another(per_line, cell, number):
    days = [Night(TODAY + timedelta(days=n), Outcome.LOADED, n) for n in range(number)]
    strip = strip_of(days, per_line=per_line, cell=cell)
    assert len(strip.cells) == number
    assert all(0 <= one.x <= strip.width - strip.mark and one.bar_y >= 0 for one in strip.cells)
    assert all(one.y + strip.mark < strip.height for one in strip.cells)
    assert len({(one.x, one.y) for one in strip.cells}) == number
    places = [(word.y, word.x) for word in strip.words]
    assert all(b[0] > a[0] or b[1] - a[1] >= 40 for a, b in pairwise(places))
    assert all(word.x <= strip.width - 40 for word in strip.words)


# --- From the rows -------------------------------------------------------------------------------------------------


@pytest.fixture
def district(db):
    return DistrictFactory(time_zone="America/Los_Angeles")


def _night(district, back: int, state="loaded", rows=5, hour=2) -> Epoch:
    zone = ZoneInfo(district.time_zone)
    day = timezone.now().astimezone(zone).date() - timedelta(days=back)
    when = datetime.combine(day, time(hour), zone)
    epoch = EpochFactory(district=district, state=state, first_seen=when, queued=when, finished=when)
    FileFactory(epoch=epoch, rows=rows)
    FileFactory(epoch=epoch, rows=rows, position=1, name="users.csv")
    return epoch


def test_a_districts_nights_are_its_own_by_its_own_clock(district):
    _night(district, 1)
    _night(DistrictFactory(), 1)
    nights = last_nights(district).nights
    assert len(nights) == SHOWN
    told = {night.day: night.rows for night in nights if night.came}
    assert told == {timezone.now().astimezone(ZoneInfo(district.time_zone)).date() - timedelta(days=1): 10}


def test_a_night_is_missing_only_where_one_is_expected(district):
    day = timezone.now().astimezone(ZoneInfo(district.time_zone)).date() - timedelta(days=1)
    MissingNight.objects.create(district=district, day=day, audience=Audience.DISTRICT, message="x")
    assert last_nights(district).missing is None
    ExpectedArrival.objects.create(district=district, by=time(3))
    assert last_nights(district).missing == day
    _night(district, 1, state="failed")
    assert last_nights(district).missing is None


def test_what_was_taken_back_or_never_was_an_epoch_did_not_come(district):
    EpochFactory(district=district, state="gone")
    EpochFactory(district=district, state="waiting_staff", look_code="stranger")
    assert not last_nights(district).has_any
    EpochFactory(district=district, state="arriving")
    assert last_nights(district).has_any


def test_days_of_loaded_nights_are_counted_once(district):
    for back, state in ((1, "loaded"), (1, "loaded"), (2, "failed"), (3, "loaded"), (90, "loaded")):
        _night(district, back, state)
    assert (nights_loaded(district, 2), nights_loaded(district, 5)) == (2, 3)
