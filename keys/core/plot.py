"""Time to live of saved keys as a plot: days of durations into the paths of an SVG, on a logarithmic scale.

Lengths are in the units of the SVG's view box, durations in seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

DAYS = 30
# A duration with its word: where a scale of seconds may have a line.
MARKS = (
    (0.1, "0.1 s"),
    (1, "1 s"),
    (10, "10 s"),
    (60, "1 min"),
    (600, "10 min"),
    (3600, "1 h"),
    (6 * 3600, "6 h"),
    (86400, "1 day"),
    (10 * 86400, "10 days"),
    (100 * 86400, "100 days"),
)
SHORTEST = MARKS[0][0]
LEFT, RIGHT, TOP, BOTTOM = 52.0, 16.0, 10.0, 26.0


@dataclass(frozen=True, slots=True)
class Day:
    """One day's durations: how many, the one in the middle, and the one that 95 of 100 do not exceed."""

    day: date
    count: int
    median: float
    most: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A word at a place of an axis."""

    at: float
    word: str


@dataclass(frozen=True, slots=True)
class Dot:
    """A point of a line."""

    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Curve:
    """A line as an SVG path, broken where days are missing, and the points it joins."""

    path: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """All there is to draw. The frame runs from (`left`, `top`) to (`right`, `bottom`)."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    durations: tuple[Tick, ...]
    dates: tuple[Tick, ...]
    median: Curve
    most: Curve


def share(values: Sequence[float], percent: int) -> float:
    """The smallest of `values` (sorted, not empty) that at least so many percent of them do not exceed."""
    return values[max(0, math.ceil(len(values) * percent / 100) - 1)]


def days_of(samples: Iterable[tuple[date, float]]) -> tuple[Day, ...]:
    """The days on which there are durations, oldest first. Below zero (clocks that differ) counts as zero."""
    by_day: dict[date, list[float]] = {}
    for day, seconds in samples:
        by_day.setdefault(day, []).append(max(0.0, seconds))
    return tuple(_day(day, sorted(values)) for day, values in sorted(by_day.items()))


def _day(day: date, values: list[float]) -> Day:
    return Day(day, len(values), share(values, 50), share(values, 95))


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where days and durations stand."""

    first: date
    marks: tuple[tuple[float, str], ...]
    width: float
    height: float

    def x(self, day: date) -> float:
        return round(LEFT + (self.width - LEFT - RIGHT) * (day - self.first).days / (DAYS - 1), 1)

    def y(self, seconds: float) -> float:
        low, high = self.marks[0][0], self.marks[-1][0]
        above = math.log10(min(max(seconds, low), high) / low) / math.log10(high / low)
        return round(self.height - BOTTOM - (self.height - BOTTOM - TOP) * above, 1)


def plot_of(days: Sequence[Day], last: date, *, width: float, height: float, labels: int) -> Plot | None:
    """The plot of the DAYS days up to `last`, with at most `labels` dates below it; None if they hold nothing."""
    first = last - timedelta(days=DAYS - 1)
    shown = [day for day in days if first <= day.day <= last]
    if not shown:
        return None
    marks = _marks(min(day.median for day in shown), max(day.most for day in shown))
    scale = _Scale(first, marks, width, height)
    return Plot(
        width,
        height,
        LEFT,
        width - RIGHT,
        TOP,
        height - BOTTOM,
        tuple(Tick(scale.y(seconds), word) for seconds, word in marks),
        tuple(Tick(scale.x(day), f"{day.day} {day:%b}") for day in _labelled(first, labels)),
        _curve([(day.day, Dot(scale.x(day.day), scale.y(day.median))) for day in shown]),
        _curve([(day.day, Dot(scale.x(day.day), scale.y(day.most))) for day in shown]),
    )


def _marks(least: float, most: float) -> tuple[tuple[float, str], ...]:
    """The marks round all durations: at least two, so that there is a scale."""
    at = [seconds for seconds, _ in MARKS]
    start = max((n for n, mark in enumerate(at) if mark <= max(least, SHORTEST)), default=0)
    end = min((n for n, mark in enumerate(at) if mark >= most), default=len(at) - 1)
    start = min(start, len(at) - 2)
    return MARKS[start : max(end, start + 1) + 1]


def _labelled(first: date, labels: int) -> Iterator[date]:
    step = math.ceil((DAYS - 1) / max(1, labels - 1))
    return (first + timedelta(days=after) for after in range(0, DAYS, step))


def _curve(points: list[tuple[date, Dot]]) -> Curve:
    parts, before = [], None
    for day, dot in points:
        is_next = before is not None and day - before == timedelta(days=1)
        parts.append(f"{'L' if is_next else 'M'}{dot.x:g} {dot.y:g}")
        before = day
    return Curve(" ".join(parts), tuple(dot for _, dot in points))


def told(seconds: float) -> str:
    """A duration as people say it: “0.4 s”, “7 s”, “3 min 20 s”, “5 h 12 min”, “2 days 3 h”."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, less, small in ((86400, "day", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            many, rest = whole // size, whole % size // less
            name = f"{unit}s" if unit == "day" and many > 1 else unit
            return f"{many} {name} {rest} {small}" if rest else f"{many} {name}"
    return f"{whole} s"
