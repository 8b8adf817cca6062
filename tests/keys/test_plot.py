"""Time to live as a plot: days, percentiles, scale and paths."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.core.plot import DAYS, Day, Plot, days_of, plot_of, share, told

LAST = date(2026, 11, 22)


def _plot(*days: Day) -> Plot | None:
    return plot_of(days, LAST, width=720, height=240, labels=6)


def _day(ago: int, median: float = 5, most: float = 50) -> Day:
    return Day(LAST - timedelta(days=ago), 1, median, most)


@pytest.mark.parametrize(
    ("values", "percent", "found"),
    [([7], 50, 7), ([7], 95, 7), ([1, 2], 50, 1), ([1, 2, 3], 50, 2), (list(range(1, 101)), 95, 95), ([1, 9], 95, 9)],
)
def test_a_percentile_is_a_value_that_was_measured(values: list[float], percent: int, found: float) -> None:
    assert share(values, percent) == found


def test_durations_are_gathered_by_day_and_never_below_zero() -> None:
    days = days_of([(LAST, 3), (LAST - timedelta(days=1), -2), (LAST, 1), (LAST, 9)])
    assert days == (Day(LAST - timedelta(days=1), 1, 0, 0), Day(LAST, 3, 3, 9))


def test_nothing_gives_no_plot() -> None:
    assert _plot() is None
    assert _plot(_day(DAYS)) is None
    assert _plot(Day(LAST + timedelta(days=1), 1, 1, 1)) is None


def test_days_side_by_side_are_joined_and_a_missing_day_breaks_the_line() -> None:
    plot = _plot(_day(5), _day(4), _day(2))
    assert plot is not None
    assert [step[0] for step in plot.median.path.split(" ")[::2]] == ["M", "L", "M"]
    assert len(plot.median.dots) == 3


def test_the_newest_day_stands_at_the_right_and_the_oldest_at_the_left() -> None:
    plot = _plot(_day(DAYS - 1), _day(0))
    assert plot is not None
    assert [dot.x for dot in plot.median.dots] == [plot.left, plot.right]


def test_the_scale_is_logarithmic_and_longer_is_higher() -> None:
    plot = _plot(_day(2, 1, 1), _day(1, 10, 10), _day(0, 100, 100))
    assert plot is not None
    one, ten, hundred = (dot.y for dot in plot.median.dots)
    assert one > ten > hundred
    assert one - ten == pytest.approx(ten - hundred, abs=0.11)


def test_the_marks_lie_round_all_durations() -> None:
    plot = _plot(_day(0, 5, 4000))
    assert plot is not None
    assert [tick.word for tick in plot.durations] == ["1 s", "10 s", "1 min", "10 min", "1 h", "6 h"]


@given(
    st.lists(
        st.tuples(st.integers(0, DAYS - 1), st.floats(0, 1e10), st.floats(0, 1e10)),
        min_size=1,
        unique_by=lambda d: d[0],
    )
)
def test_whatever_was_measured_stays_within_the_frame(drawn: list[tuple[int, float, float]]) -> None:
    days = [_day(ago, min(a, b), max(a, b)) for ago, a, b in sorted(drawn, reverse=True)]
    plot = _plot(*days)
    assert plot is not None
    assert len(plot.durations) >= 2
    for dot in (*plot.median.dots, *plot.most.dots):
        assert plot.left <= dot.x <= plot.right
        assert plot.top <= dot.y <= plot.bottom
    for median, most in zip(plot.median.dots, plot.most.dots, strict=True):
        assert most.y <= median.y


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.0 s"),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (18720, "5 h 12 min"),
        (86400, "1 day"),
        (183600, "2 days 3 h"),
    ],
)
def test_a_duration_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert told(seconds) == words
