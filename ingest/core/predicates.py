"""Whole columns against their rules: which values are surely right, and only then.

`values.explain` is the truth. What is here may take a right value for a doubtful one, never the other way round
(tests/ingest/test_sieve.py compares the two). Two sieves, one after the other: a plain test of a column's bytes, and
for the values it leaves the exact answer, asked once for each different one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.core.hashes import Bytes, Flags, Numbers, Pair, text_hashes
from ingest.core.patterns import REACH, TOKEN
from ingest.core.rowhash import WORD
from ingest.core.schema import Field, FieldType
from ingest.core.values import INTEGER, ISO_TIME, NUMBER, YEAR, acceptor

BLANK, PLUS = ord(" "), ord("+")
PRINTABLE = [chr(code) for code in range(0x20, 0x7F)]
DAYS = np.array([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] + [0] * 87)
SHAPES = {
    FieldType.INTEGER: INTEGER.pattern,
    FieldType.NUMBER: NUMBER.pattern,
    FieldType.YEAR: YEAR.pattern,
    FieldType.DATETIME: ISO_TIME.pattern,
}


class Cells:
    """One column of a block: an array of texts, and the same as bytes one value after another."""

    def __init__(self, array: pa.StringArray) -> None:
        self.array = array
        _, offsets, data = array.buffers()
        size = len(array)
        self.offsets: Numbers = np.frombuffer(offsets, np.int32, size + 1, array.offset * 4).astype(np.int64)
        first, last = (int(self.offsets[0]), int(self.offsets[-1])) if size else (0, 0)
        held = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        self.data: Bytes = held[first:last]
        self.offsets -= first

    def __len__(self) -> int:
        return len(self.array)

    @cached_property
    def lengths(self) -> Numbers:
        """In bytes."""
        return np.diff(self.offsets)

    @cached_property
    def starts(self) -> Numbers:
        return self.offsets[:-1]

    @cached_property
    def filled(self) -> Flags:
        return self.lengths > 0

    @cached_property
    def hashes(self) -> Pair:
        return text_hashes(self._padded, self.starts, self.lengths)

    @cached_property
    def _padded(self) -> Bytes:
        return np.concatenate([self.data, np.zeros(WORD, np.uint8)])

    def holding(self, byte: int) -> Flags:
        """Which values hold this byte."""
        return self.of(np.flatnonzero(self.data == byte))

    def of(self, places: Numbers) -> Flags:
        """Which values the bytes at these places belong to."""
        found = np.zeros(len(self), np.bool_)
        if len(places):
            found[np.searchsorted(self.offsets, places, side="right") - 1] = True
        return found

    def parts(self, mark: int) -> tuple[Numbers, Numbers, Numbers]:
        """The rows, starts and lengths of what the values give when cut at a byte; an empty value gives nothing."""
        marks = np.flatnonzero(self.data == mark)
        rows = np.flatnonzero(self.filled)
        if not len(marks):
            return rows, self.starts[rows], self.lengths[rows]
        of = np.searchsorted(self.offsets, marks, side="right") - 1
        starts = np.concatenate([self.starts[rows], marks + 1])
        stops = np.concatenate([self.offsets[rows + 1], marks])
        starts.sort()
        stops.sort()
        return np.sort(np.concatenate([rows, of])), starts, stops - starts

    def part_hashes(self, starts: Numbers, lengths: Numbers) -> Pair:
        return text_hashes(self._padded, starts, lengths)


Plain = Callable[[Cells], Flags]


@dataclass(frozen=True, slots=True)
class Judge:
    """One column's sieves. `plain` None: every different value is asked for."""

    plain: Plain | None
    accepts: Callable[[str], object]

    def doubtful(self, cells: Cells) -> Numbers:
        """The places of the values that may be wrong."""
        left = None if self.plain is None else np.flatnonzero(~self.plain(cells))
        if left is not None and not len(left):
            return left
        array = cells.array if left is None else cells.array.take(pa.array(left))
        coded = array.dictionary_encode()
        right = np.array([bool(self.accepts(value)) for value in coded.dictionary.to_pylist()], np.bool_)
        wrong = np.flatnonzero(~right[coded.indices.to_numpy()])
        return wrong if left is None else left[wrong]


def judge_for(field: Field, required: bool) -> Judge | None:
    """The sieves of a column; None where every value is right."""
    accepts = acceptor(field, required)
    if accepts is None:
        return None
    tests = _tests(field)
    return Judge(None if tests is None else _all_of(tests, required), accepts)


def _all_of(tests: list[Plain], required: bool) -> Plain:
    def plain(cells: Cells) -> Flags:
        if not len(cells.data):
            return np.full(len(cells), not required)
        right = cells.filled.copy()
        for test in tests:
            right &= test(cells)
        return right if required else right | ~cells.filled

    return plain


def _tests(field: Field) -> list[Plain] | None:
    """Tests for filled values; None: nothing simple can be said of this column."""
    several = sum(map(bool, (field.enum, field.pattern, field.type is not FieldType.STRING)))
    if field.extension or (several > 1 and field.type is not FieldType.LIST):
        return None
    main = _main_test(field)
    if main is None:
        return None
    longest = field.max_length
    return [
        *main,
        *([_is_unrounded] if field.identifier else ()),
        *([lambda cells: cells.lengths <= longest] if longest is not None else ()),
    ]


def _is_unrounded(cells: Cells) -> Flags:
    """Whether a value cannot be what a spreadsheet leaves of an id."""
    right, marked = ~cells.holding(PLUS), cells.holding(ord(".")) | cells.holding(ord(","))
    return right & ~(marked & (cells.holding(ord("E")) | cells.holding(ord("e")))) if marked.any() else right


def _main_test(field: Field) -> list[Plain] | None:
    match field.type:
        case FieldType.BOOLEAN:
            return [_among((*field.true_values, *field.false_values))]
        case FieldType.DATE:
            return [_is_day] if field.formats == ("default",) else None
        case FieldType.DATETIME:
            return [_shaped(SHAPES[field.type]), _is_moment]
        case FieldType.LIST:
            return _list_tests(field)
        case FieldType.STRING if field.enum:
            return [_among(field.enum)]
        case FieldType.STRING:
            return [] if not field.pattern else _pattern_tests(field.pattern)
    return [_shaped(SHAPES[field.type])]


def _among(choices: tuple[str, ...]) -> Plain:
    every = pa.array(choices, pa.string())
    return lambda cells: pc.is_in(cells.array, value_set=every).to_numpy(zero_copy_only=False)


def _shaped(pattern: str) -> Plain:
    # The engine below is RE2: linear time, whatever the pattern.
    whole = f"^(?:{pattern})$"
    return lambda cells: pc.match_substring_regex(cells.array, whole).to_numpy(zero_copy_only=False)


def _list_tests(field: Field) -> list[Plain] | None:
    if field.enum or not field.delimiter.isascii():
        return None
    whole = _whole_parts(ord(field.delimiter))
    if not field.pattern:
        return [whole]
    made = _of_class(field.pattern)
    if made is not None and made[1:] == (1, REACH):
        return [whole, _only(made[0] | {field.delimiter}), _in_reach]
    spelled = _in_ascii(field.pattern, without=field.delimiter)
    if spelled is None:
        return None
    return [whole, _shaped(f"(?:{spelled})(?:\\x{ord(field.delimiter):02x}(?:{spelled}))*"), _in_reach]


def _whole_parts(mark: int) -> Plain:
    """No empty element, and no blank that would have to be left out first."""

    def plain(cells: Cells) -> Flags:
        rows, _, lengths = cells.parts(mark)
        right = ~cells.holding(BLANK)
        right[rows[lengths <= 0]] = False
        return right

    return plain


def _pattern_tests(pattern: str) -> list[Plain] | None:
    made = _of_class(pattern)
    if made is not None:
        letters, least, most = made
        return [_only(letters), lambda cells: (cells.lengths >= least) & (cells.lengths <= most)]
    spelled = _in_ascii(pattern)
    return None if spelled is None else [_shaped(spelled), _in_reach]


def _in_reach(cells: Cells) -> Flags:
    return cells.lengths <= REACH


def _only(letters: frozenset[str] | set[str]) -> Plain:
    """All bytes are of these characters."""
    other = np.ones(256, np.bool_)
    other[[ord(letter) for letter in letters]] = False
    return lambda cells: ~cells.of(np.flatnonzero(other[cells.data]))


def _of_class(pattern: str) -> tuple[set[str], int, int] | None:
    """The characters and the least and greatest length, for a pattern that is one repeated class of them."""
    tokens = list(TOKEN.finditer(pattern))
    if not 1 <= len(tokens) <= 2 or tokens[0].lastgroup not in ("set", "escape", "one"):
        return None
    letters = _letters(tokens[0].group())
    if not letters or (len(tokens) == 2 and tokens[1].lastgroup != "repeat"):
        return None
    least, most = _times(tokens[1].group()) if len(tokens) == 2 else (1, 1)
    return set(letters), max(least, 1), min(most, REACH)


def _times(repeat: str) -> tuple[int, int]:
    if repeat in "*+?":
        return {"*": (0, REACH), "+": (1, REACH), "?": (0, 1)}[repeat]
    low, comma, high = repeat[1:-1].partition(",")
    return int(low), (int(high) if high else REACH) if comma else int(low)


def _letters(token: str) -> list[str]:
    """The printable ASCII characters that a class stands for; none where it stands for a place."""
    if token in ("^", "$", "\\b", "\\B"):
        return []
    return [letter for letter in PRINTABLE if re.fullmatch(token, letter)]


def _in_ascii(pattern: str, without: str = "") -> str | None:
    """The pattern for printable ASCII, spelled so that no two engines can read it differently; None if it cannot be.

    `without` is a character that no value can have.
    """
    out = []
    for token in TOKEN.finditer(pattern):
        kind, text = token.lastgroup, token.group()
        if kind in ("set", "escape", "one"):
            letters = [letter for letter in _letters(text) if letter != without]
            if not letters:
                return None
            text = "[" + "".join(f"\\x{ord(letter):02x}" for letter in letters) + "]"
        out.append("(?:" if kind == "open" else text)
    spelled = "".join(out)
    return spelled if _is_taken(spelled) else None


def _is_taken(spelled: str) -> bool:
    try:
        pc.match_substring_regex(pa.array([""]), f"^(?:{spelled})$")
    except pa.ArrowInvalid:
        return False
    return True


def _is_day(cells: Cells) -> Flags:
    """YYYY-MM-DD, and there is such a day."""
    right: Flags = cells.lengths == 10
    rows = np.flatnonzero(right)
    taken = cells.data[cells.starts[rows][:, None] + np.arange(10)]
    right[rows] = (taken[:, [4, 7]] == ord("-")).all(axis=1) & _days(taken)
    return right


def _is_moment(cells: Cells) -> Flags:
    """The first nineteen bytes, already of the right shape, are a day and a time of day."""
    right: Flags = cells.lengths >= 19
    rows = np.flatnonzero(right)
    taken = cells.data[cells.starts[rows][:, None] + np.arange(19)]
    hour, minute, second = (_number(taken[:, at : at + 2]) for at in (11, 14, 17))
    right[rows] = _days(taken) & (hour < 24) & (minute < 60) & (second < 60)
    return right


def _days(taken: Bytes) -> Flags:
    digits = taken[:, [0, 1, 2, 3, 5, 6, 8, 9]]
    year, month, day = _number(taken[:, :4]), _number(taken[:, 5:7]), _number(taken[:, 8:10])
    right: Flags = ((digits >= ord("0")) & (digits <= ord("9"))).all(axis=1) & (year > 0)
    month[~right] = 0
    leap = (month == 2) & (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    right &= (day >= 1) & (day <= DAYS[month] + leap)
    return right


def _number(digits: Bytes) -> Numbers:
    out = np.zeros(len(digits), np.int64)
    for column in digits.T:
        out = out * 10 + (column.astype(np.int64) - ord("0"))
    return out
