"""Nights that do not come: who is told, and when."""

from datetime import date, datetime, time, timedelta

import pytest

from ingest.core.arrival import Audience, Expected, overdue, usual_time
from ingest.core.schoolyear import Blackout, Calendar

DUE = datetime(2026, 10, 14, 3, 0)  # a Wednesday
EXPECTED = Expected(time(3, 0))


def told(now: datetime, last: datetime | None, expected=EXPECTED, **other) -> list[Audience]:
    return [one.audience for one in overdue(expected, last, now, Calendar(now.date(), **other))]


@pytest.mark.parametrize(
    ("late", "who"),
    [
        (timedelta(minutes=59), []),
        (timedelta(hours=1), [Audience.DISTRICT]),
        (timedelta(hours=5, minutes=59), [Audience.DISTRICT]),
        (timedelta(hours=6), [Audience.DISTRICT, Audience.STAFF]),
    ],
)
def test_the_district_is_told_first_and_then_staff(late, who):
    assert told(DUE + late, DUE - timedelta(days=1)) == who


@pytest.mark.parametrize("early", [timedelta(0), timedelta(minutes=40), timedelta(hours=7)])
def test_nobody_is_told_of_a_night_that_has_come(early):
    assert told(DUE + timedelta(hours=9), DUE - early) == []


def test_what_is_sent_anew_the_afternoon_before_is_not_the_next_night():
    assert told(DUE + timedelta(hours=9), DUE - timedelta(hours=11)) == [Audience.DISTRICT, Audience.STAFF]


@pytest.mark.parametrize(
    ("by", "came", "who"),
    [
        (time(8), time(22), []),
        (time(8), time(18, 10), []),
        (time(8), time(16), [Audience.DISTRICT, Audience.STAFF]),
        (time(2), time(18, 30), []),
        (time(2), time(17), [Audience.DISTRICT, Audience.STAFF]),
        (time(23), time(14), [Audience.DISTRICT, Audience.STAFF]),
        (time(23), time(16), []),
    ],
)
def test_a_night_comes_in_the_evening_before_at_the_earliest(by, came, who):
    before = DUE.date() - timedelta(days=1)
    due = datetime.combine(before if by > came else DUE.date(), by)
    assert told(due + timedelta(hours=6), datetime.combine(before, came), Expected(by)) == who


def test_a_night_that_comes_late_ends_the_alarm():
    assert told(DUE + timedelta(hours=9), DUE + timedelta(hours=8)) == []


def test_one_day_is_told_of_under_one_name_all_day():
    found = overdue(EXPECTED, DUE - timedelta(days=3), DUE + timedelta(hours=20), Calendar(DUE.date()))
    assert {one.day for one in found} == {date(2026, 10, 14)}
    assert found[0].message == (
        "No epoch has come that was expected by 03:00 on 14 October. The last one came 11 October, 03:00."
    )


def test_weekends_are_not_missed_where_only_weekdays_are_expected():
    weekdays = Expected(time(3, 0), frozenset(range(5)))
    friday = datetime(2026, 10, 16, 2, 50)
    assert told(datetime(2026, 10, 18, 12, 0), friday, weekdays) == []
    assert told(datetime(2026, 10, 19, 12, 0), friday, weekdays) == [Audience.DISTRICT, Audience.STAFF]


def test_nothing_is_missed_on_days_of_blackout_or_before_the_first_night():
    blackout = (Blackout(date(2026, 10, 1), date(2026, 10, 31)),)
    assert told(DUE + timedelta(hours=9), DUE - timedelta(days=3), blackouts=blackout) == []
    assert told(DUE + timedelta(hours=9), None) == []
    assert told(DUE + timedelta(hours=9), DUE - timedelta(days=3), Expected(time(3), frozenset())) == []


def test_the_usual_time_is_learned_around_midnight_too():
    nights = [datetime(2026, 10, day, *at) for day, at in enumerate([(23, 50), (0, 5), (23, 55), (0, 10), (23, 45)], 1)]
    assert usual_time(nights) == time(0, 10)
    assert usual_time(nights[:4]) is None
