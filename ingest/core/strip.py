"""Nights as a strip: for each a mark whose shape and colour tell its outcome, and above it a bar of its rows.

Lengths are in the units of the SVG's view box. Shapes are paths in a square of ten by ten.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ingest.core.nights import Night, Outcome

SHAPE = 10.0
# Above a mark, below it, and around it.
BARS, WORDS, GAP = 44.0, 18.0, 3.0
BETWEEN_LINES = 10.0
LEAST_BAR = 2.0
# What a date below the marks takes at its right.
WORD = 40.0
SHAPES: Mapping[Outcome, str] = MappingProxyType(
    {
        Outcome.LOADED: "M0.5 0.5H9.5V9.5H0.5Z",
        Outcome.HELD: "M1 0.5H4V9.5H1ZM6 0.5H9V9.5H6Z",
        Outcome.FAILED: "M2 0.5L5 3.5L8 0.5L9.5 2L6.5 5L9.5 8L8 9.5L5 6.5L2 9.5L0.5 8L3.5 5L0.5 2Z",
        Outcome.WAITING: "M5 0.5L9.5 5L5 9.5L0.5 5Z",
        Outcome.NOT_APPLIED: "M0.5 3.8H9.5V6.2H0.5Z",
        Outcome.MISSING: "M0.5 0.5V9.5H9.5V0.5ZM2.3 2.3H7.7V7.7H2.3Z",
        Outcome.NOTHING: "M3.9 3.9H6.1V6.1H3.9Z",
    }
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One night where it is drawn: the corner of its square, and the top and height of its bar (0: none)."""

    night: Night
    shape: str
    x: float
    y: float
    bar_y: float
    bar: float


@dataclass(frozen=True, slots=True)
class Word:
    """A date below the marks."""

    x: float
    y: float
    word: str


@dataclass(frozen=True, slots=True)
class Strip:
    """All there is to draw. A mark fills `mark` of its `cell`; its path is made as large by `scale`."""

    width: float
    height: float
    cell: float
    mark: float
    scale: float
    cells: tuple[Cell, ...]
    words: tuple[Word, ...]


def strip_of(nights: Sequence[Night], *, per_line: int, cell: float) -> Strip:
    """The nights in lines of so many, the oldest first; a bar as high as it can be is that of the most rows."""
    most, mark = max((night.rows for night in nights), default=0), cell - 2
    line = BARS + GAP + cell + WORDS
    lines = [nights[start : start + per_line] for start in range(0, len(nights), per_line)]
    cells: list[Cell] = []
    words: list[Word] = []
    for number, shown in enumerate(lines):
        top = number * (line + BETWEEN_LINES)
        cells += _cells(shown, most, cell, top)
        words += _words(shown, cell, top + line, per_line * cell)
    height = len(lines) * (line + BETWEEN_LINES) - BETWEEN_LINES
    return Strip(per_line * cell, height, cell, mark, mark / SHAPE, tuple(cells), tuple(words))


def _cells(nights: Sequence[Night], most: int, cell: float, top: float) -> Iterator[Cell]:
    for place, night in enumerate(nights):
        bar = max(LEAST_BAR, round(BARS * night.rows / most, 1)) if night.rows else 0.0
        yield Cell(night, SHAPES[night.outcome], place * cell + 1, top + BARS + GAP + 1, top + BARS - bar, bar)


def _words(nights: Sequence[Night], cell: float, bottom: float, width: float) -> Iterator[Word]:
    """The date of the first night and of each Monday that has room for it."""
    free = 0.0
    for place, night in enumerate(nights):
        x = place * cell
        if (place == 0 or night.day.weekday() == 0) and free <= x <= width - WORD:
            free = x + WORD
            yield Word(x, bottom - 5, f"{night.day.day} {night.day:%b}")
