"""Invented pairs of nights of which the second went wrong in one known way: of any format, out of the descriptor alone.

The nights are those of `sampling`. For tests of the guard, and to show it; each mishap is what its cause leaves behind.
"""

import csv
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import partial
from hashlib import blake2b

from ingest.core.causes import Cause
from ingest.core.sampling import epoch
from ingest.core.schema import Field, FieldType, Format, Table
from ingest.core.values import ISO_DATE

Files = dict[str, bytes]
Rename = Callable[[str], str]
Cells = list[list[str]]

IN_TERM = date(2026, 10, 14)
IN_JULY = date(2027, 7, 8)
NIGHT = 6
OLDER = 2
BOM = "\ufeff"
LONG_NUMBER = 12


@dataclass(frozen=True, slots=True)
class Mishap:
    """The nights before, oldest first (the last one is compared with), and the one that went wrong."""

    cause: Cause
    variant: str
    earlier: tuple[Files, ...]
    tonight: Files

    @property
    def days(self) -> tuple[date, ...]:
        """Days on which the cause is to be named; some causes there are in some weeks only."""
        return (IN_JULY,) if self.cause is Cause.ROLLOVER else (IN_TERM, IN_JULY)


def mishaps(known: Format, size: int = 400, seed: int = 1) -> tuple[Mishap, ...]:
    """Every mishap that can befall a format, each in its variants."""
    before, after = (epoch(known, size, seed, night) for night in (NIGHT, NIGHT + 1))
    plans = _Plans(known, before, after)
    found = [
        Mishap(cause, variant, earlier, tonight)
        for cause, variant, (earlier, tonight) in plans.every()
        if tonight not in (after, earlier[-1])
    ]
    nights = tuple(epoch(known, size, seed, night) for night in range(OLDER, NIGHT + 1))
    return (*found, Mishap(Cause.STALE, "an older night", nights, nights[0]))


Plan = tuple[tuple[Files, ...], Files]


@dataclass(frozen=True, slots=True)
class _Plans:
    """All mishaps but the stale one, from a good pair of nights."""

    known: Format
    before: Files
    after: Files

    def every(self) -> list[tuple[Cause, str, Plan]]:
        numbered, wider = self._renamed(_numbered, _numbered), self._renamed(_prefixed, _numbered)
        every = [
            (Cause.INVISIBLE_HEADER, "two byte order marks", self._after(self._headed(_marked))),
            (Cause.INVISIBLE_HEADER, "a blank of no width", self._after(self._headed(_widthless))),
            (Cause.HEADER_TYPO, "key", self._after(self._misspelled(key=True))),
            (Cause.HEADER_TYPO, "other column", self._after(self._misspelled(key=False))),
            (Cause.CUT_OFF, "in mid-row", self._after(self._cut(in_last=False))),
            (Cause.CUT_OFF, "in the last value", self._after(self._cut(in_last=True))),
            (Cause.OLD_TAIL, "", self._after(self._tailed())),
            (Cause.SPREADSHEET, "numbers and days", self._through_a_spreadsheet()),
            (Cause.SPREADSHEET, "rounded ids", self._renamed(_long, lambda value: _as_spreadsheet(_long(value)))),
            (Cause.SHORTER_IDS, "lost zero", (numbered[0], self._mapped(numbered[1], _without_zero))),
            (Cause.SHORTER_IDS, "lost letter", wider),
            (Cause.WRONG_YEAR, "", self._after(self._of_last_year())),
            (Cause.NEW_IDS, "", self._renamed(lambda value: value, _scrambled)),
        ]
        every += [(Cause.SCHOOL_FILTER, name, self._after(files)) for name, files in self._filtered()]
        return every + [(Cause.ROLLOVER, name, self._after(files)) for name, files in self._rolled_over()]

    def _after(self, tonight: Files) -> Plan:
        return (self.before,), {**self.after, **tonight}

    @property
    def largest(self) -> Table:
        return max(self._tables(), key=lambda table: len(self.after[table.file]))

    def _tables(self) -> list[Table]:
        return [table for table in self.known.tables if table.file in self.after]

    def _renamed(self, before: Rename, after: Rename) -> Plan:
        """Both nights with other ids, everywhere they stand."""
        return (self._mapped(self.before, before),), self._mapped(self.after, after)

    def _mapped(self, files: Files, rename: Rename) -> Files:
        out = dict(files)
        for table in self._tables():
            names = {*table.key, *(reference.field for reference in table.references)}
            out[table.file] = _rewritten(files[table.file], lambda name, value: rename(value), names)
        return out

    def _each(self, files: Files, change: Rename) -> Files:
        """Files of which every value was changed."""
        mapped = {one.file: _rewritten(files[one.file], lambda name, value: change(value)) for one in self._tables()}
        return {**files, **mapped}

    def _through_a_spreadsheet(self) -> Plan:
        """Ids and all else rewritten. It is a mishap of its own only where something beside the ids shows it."""
        before, tonight = self._renamed(_numbered, _numbered)
        rewritten = self._each(tonight, _as_spreadsheet)
        shown = any(_shows(table, rewritten[table.file], tonight[table.file]) for table in self._tables())
        return before, rewritten if shown else self.after

    def _headed(self, change: Callable[[list[str]], list[str]]) -> Files:
        header, *rows = _cells(self.after[self.largest.file])
        return {self.largest.file: _written([change(header), *rows])}

    def _misspelled(self, key: bool) -> Files:
        """A letter is missing in the name of a column that is filled."""
        table = self.largest
        header, *rows = _cells(self.after[table.file])
        filled = [name for at, name in enumerate(header) if rows[0][at] and rows[1][at] and len(name) > 4]
        wanted = table.key if key else [name for name in filled if not table.field(name).required]
        name = next((name for name in filled if name in wanted), "")
        return {table.file: _written([[one[:-2] + one[-1] if one == name else one for one in header], *rows])}

    def _cut(self, in_last: bool) -> Files:
        """The largest file ends at half its size: inside a row, or after the last comma of one."""
        content = self.after[self.largest.file]
        end = content.index(b"\r\n", len(content) // 2)
        return {self.largest.file: content[: end if in_last else content.rindex(b"\r\n", 0, end) + 8]}

    def _tailed(self) -> Files:
        """A shorter file was written over that of the night before, and the rest of that was left."""
        old = self.before[self.largest.file]
        header, *rows = _cells(self.after[self.largest.file])
        new = _written([header, *(row for at, row in enumerate(rows) if at % 16)])
        return {self.largest.file: new + old[len(new) :]}

    def _of_last_year(self) -> Files:
        """Each school year, and each day in a file that has one, is a year older."""
        return {
            table.file: _rewritten(self.after[table.file], partial(_year_before, table))
            for table in self._tables()
            if any(one.school_year for one in table.fields)
        }

    def _filtered(self) -> list[tuple[str, Files]]:
        """The rows of one school of several are not there; or those of one only are."""
        table = self.largest
        header, *rows = _cells(self.after[table.file])
        name = _school_column(table, header, rows)
        if not name:
            return []
        at = header.index(name)
        school = rows[0][at]
        without = [row for row in rows if row[at] != school]
        only = [row for row in rows if row[at] == school]
        named = "by reference" if name in _referring(table) else "by name"
        return [
            (f"one is missing, {named}", {table.file: _written([header, *without])}),
            (f"one is left, {named}", {table.file: _written([header, *only])}),
        ]

    def _rolled_over(self) -> list[tuple[str, Files]]:
        """In July: what nothing refers to has new ids; or the oldest have left, and all others are a grade up."""
        leaves = [table for table in self._tables() if self._is_leaf(table)]
        renewed = {
            table.file: _rewritten(self.after[table.file], lambda name, value: _scrambled(value), set(table.key))
            for table in leaves
        }
        every = [("all enrolments are new", renewed)] if leaves and len(leaves) < len(self._tables()) else []
        return every + [("a grade up", files) for files in self._graded_up()]

    def _is_leaf(self, table: Table) -> bool:
        refers = {reference.field for reference in table.references}
        used = any(one.table == table.name for other in self.known.tables for one in other.references)
        return bool(refers) and not used and not refers & set(table.key)

    def _graded_up(self) -> list[Files]:
        for table in self._tables():
            grade = next((one for one in table.fields if _is_grade(one)), None)
            if grade is not None and not table.references:
                steps = dict(zip(sorted(set(grade.sample)), sorted(set(grade.sample))[1:], strict=False))
                header, *rows = _cells(self.after[table.file])
                at = header.index(grade.name)
                up = [[*row[:at], steps[row[at]], *row[at + 1 :]] for row in rows if row[at] in steps]
                return [{table.file: _written([header, *up])}]
        return []


def _is_grade(one: Field) -> bool:
    return len(set(one.sample)) >= 4 and all(value.isdigit() and len(value) <= 2 for value in one.sample)


def _school_column(table: Table, header: list[str], rows: Cells) -> str:
    """A column with a few values that each have a good part of the rows; one that refers goes first."""
    wanted = sorted(header, key=lambda name: name not in _referring(table))
    return next((name for name in wanted if _has_groups({*_values(rows, header.index(name))}, table, name)), "")


def _values(rows: Cells, at: int) -> list[str]:
    return [row[at] for row in rows]


def _has_groups(values: set[str], table: Table, name: str) -> bool:
    return 3 <= len(values) <= 12 and "" not in values and table.field(name).required and name not in table.key


def _referring(table: Table) -> set[str]:
    return {reference.field for reference in table.references}


def _marked(names: list[str]) -> list[str]:
    return [BOM + BOM + names[0], *names[1:]]


def _widthless(names: list[str]) -> list[str]:
    return [names[0], names[1] + "\u200b", *names[2:]]


def _numbered(value: str) -> str:
    """An id as digits that begin with one 0."""
    digits = "".join(character for character in value if character.isdigit())
    return f"01{int(digits):06d}" if digits else value


def _long(value: str) -> str:
    """An id as a number of so many digits that a spreadsheet rounds it."""
    return "36" + _numbered(value).rjust(10, "0") if value else value


def _prefixed(value: str) -> str:
    return "A" + _numbered(value) if value else value


def _without_zero(value: str) -> str:
    return value[1:] if value.startswith("0") else value


def _scrambled(value: str) -> str:
    return "n" + blake2b(value.encode(), digest_size=5).hexdigest() if value else value


def _as_spreadsheet(value: str) -> str:
    """A value as a spreadsheet writes it that was never told that it is a text."""
    if (day := ISO_DATE.fullmatch(value)) is not None:
        return f"{int(day['m'])}/{int(day['d'])}/{day['Y']}"
    if not (value.isascii() and value.isdigit()):
        return value
    number = value.lstrip("0") or "0"
    return f"{int(number):.1E}".replace("E+0", "E+") if len(number) >= LONG_NUMBER else number


def _shows(table: Table, rewritten: bytes, before: bytes) -> bool:
    """Whether a column tells that is no id, and not a day that may be written in several ways."""
    ids = {*table.key, *_referring(table)}
    telling = [one for one in table.kept_fields if one.name not in ids and not one.identifier and len(one.formats) < 2]
    header, *rows = _cells(rewritten)
    _, *old = _cells(before)
    places = [header.index(one.name) for one in telling]
    return any(row[at] != other[at] for row, other in zip(rows, old, strict=True) for at in places)


def _year_before(table: Table, name: str, value: str) -> str:
    if table.field(name).type not in (FieldType.YEAR, FieldType.DATE):
        return value
    return re.sub("[0-9]{4}", lambda year: str(int(year[0]) - 1), value)


def _rewritten(content: bytes, change: Callable[[str, str], str], names: set[str] | None = None) -> bytes:
    """A file of which the values (of the columns named) were changed; the empty ones stay."""
    header, *rows = _cells(content)
    chosen = [not names or name in names for name in header]
    told = [
        [change(name, value) if yes and value else value for name, yes, value in zip(header, chosen, row, strict=True)]
        for row in rows
    ]
    return _written([header, *told])


def _cells(content: bytes) -> Cells:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def _written(rows: Cells) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()
