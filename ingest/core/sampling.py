"""Invented epochs of any format and any size, out of the descriptor alone; the same seed gives the same bytes.

`night` 0 is the first; each later night changes, adds and takes away a few rows, and leaves all others as they were,
so two nights give an honest comparison. People and places are made up from short lists of words.
"""

import csv
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from hashlib import blake2b
from math import prod

from ingest.core.schema import Field, FieldType, Format, Mode, Table

GIVEN = "Ada Ben Cleo Dan Eva Finn Gia Hugo Ida Jon Kai Lea Max Nia Otto Pia Quin Rosa Sam Tess Uma Vic Wes Yara Zoë"
FAMILY = (
    "Abel Birch Cole Drake Ellis Frost Grant Hale Irwin Joyce Keane Lowe Marsh Nash Orr Pike Quill Reed Stone Thorn"
)
CITIES = "Ashford,Brookdale,Cedar Falls,Dunmore,Eastbrook,Fairview,Glenwood"
SUBJECTS = "Algebra,Biology,Chemistry,Drama,English,French,Geometry,History,Physics,World History"
STREETS = "Oak Maple Elm Cedar Pine Birch Walnut Chestnut"
WORDS: Mapping[str, Sequence[str]] = {
    "@given-name": GIVEN.split(),
    "@family-name": [*FAMILY.split(), "O'Neal", "Nuñez", "Smith-Hale"],
    "@city": CITIES.split(","),
    "@subject": SUBJECTS.split(","),
    "@street": [f"{number} {name} St" for name in STREETS.split() for number in (1, 12, 107, 2450)],
    "@school": [f"{name} School" for name in ("Lincoln", "Riverside", "Hillcrest", "Lakeview", "North", "South")],
}
BIRTHS = date(2007, 1, 1)
LAST_NIGHT = 25
# A row changes once in so many nights, and two rows in a thousand come and go each night.
PERIOD = 200
PER_MILLE_MOVED = 2
ACTIVE = "active"
IN_STEP = "@in-step"
MARK_TIME = "2026-08-15T00:00:00.000Z"


def epoch(known: Format, size: int = 1000, seed: int = 1, night: int = 0, mode: Mode = Mode.FULL) -> dict[str, bytes]:
    """The files of one night, by name, without COMPLETE. `size` counts the rows of the largest list of people.

    With Mode.CHANGES only what differs from the night before is written (the format must know such files).
    """
    if not 0 <= night <= LAST_NIGHT:
        raise ValueError(f"nights go from 0 to {LAST_NIGHT}")
    made = _Maker(known, size, seed, night)
    tables = [table for table in known.tables if table.sample_rows]
    files = {table.file: _written(table, made.rows(table, mode)) for table in tables}
    if known.manifest:
        files[known.manifest.table.file] = _written(known.manifest.table, _manifest_rows(known, mode))
    return files


def zipped(files: Mapping[str, bytes]) -> bytes:
    """The files as one zip, at its root; the same files give the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()


Cell = Callable[[int, int, int], str]


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes rows of one night. A cell comes from the row's number, the row's dice, and the night of its change."""

    known: Format
    size: int
    seed: int
    night: int

    def rows(self, table: Table, mode: Mode) -> Iterator[list[str]]:
        marked = self._cells(table, ACTIVE if mode is Mode.CHANGES else "")
        gone = self._cells(table, table.deletion.value) if mode is Mode.CHANGES and table.deletion else marked
        free = [at for at, one in enumerate(table.fields) if _may_change(table, one)]
        first, last = self._window(table, self.night)
        before, until = self._window(table, max(self.night - 1, 0))
        for index in range(first if mode is Mode.FULL else before, last):
            dice = self._dice(table.name, index)
            changed = dice % PERIOD if free and 0 < dice % PERIOD <= self.night else 0
            fresh = index >= until or changed == self.night
            if mode is Mode.FULL or index < first or fresh:
                row = [cell(index, dice, 0) for cell in (marked if index >= first else gone)]
                if changed:
                    at = free[dice // PERIOD % len(free)]
                    row[at] = marked[at](index, dice, changed)
                yield row

    def _cells(self, table: Table, status: str) -> list[Cell]:
        return [self._cell(table, one, status) for one in table.fields]

    def _cell(self, table: Table, one: Field, status: str) -> Cell:
        if one.name in table.change_marks:
            mark = _mark(one, table, status)
            return lambda index, dice, changed: mark
        target = next((ref.table for ref in table.references if ref.field == one.name), None)
        if target is not None:
            return self._referring(table, one, self.known.table(target))
        if one.name in table.key:
            return self._keyed(table, one)
        return _invented(one, self._dice(table.name, one.name) | 1)

    def _keyed(self, table: Table, one: Field) -> Cell:
        if one.name in table.optional_key and not one.sample:
            return lambda index, dice, changed: ""
        if len(table.key) > 1 and (len(one.sample) > 1 or WORDS.keys() & set(one.sample)):
            pick = _choice(one, self._dice(table.name, one.name) | 1)
            return lambda index, dice, changed: pick(index, dice, 0)
        template = one.sample[0] if one.sample else f"{table.name}#########"
        return lambda index, dice, changed: _template(template, index)

    def _referring(self, table: Table, one: Field, target: Table) -> Cell:
        if not target.sample_rows or (target.name == table.name and not one.required):
            return lambda index, dice, changed: ""
        part = next(ref.part for ref in table.references if ref.field == one.name)
        count, key = self._count(target), target.field(part or target.key[0])
        template = key.sample[0] if key.sample else f"{target.name}#########"
        if one.sample == (IN_STEP,):
            return lambda index, dice, changed: _template(template, index % count)
        if one.name in table.key:
            if self._leader(table) is target:
                return lambda index, dice, changed: _template(template, index)
            # The keys of other tables as one's own key: the rows go side by side, then each with another.
            steps = self._steps_before(table, one)
            return lambda index, dice, changed: _template(template, _turned(index, steps, count))
        factor = self._dice(table.name, one.name) | 1
        return lambda index, dice, changed: _template(template, _mixed(dice, factor) % count)

    def _steps_before(self, table: Table, one: Field) -> tuple[int, ...]:
        """How many records there are of each table whose key stands in this one's key before `one`."""
        targets = {ref.field: ref.table for ref in table.references if ref.field in table.key}
        sizes = {name: self._count(self.known.table(targets[name])) for name in table.key if name in targets}
        ranked = sorted(sizes, key=lambda name: (-sizes[name], name))
        return tuple(sizes[name] for name in ranked[: ranked.index(one.name)])

    def _count(self, table: Table) -> int:
        rows = max(table.sample_rows * self.size // 1000, 1)
        targets = {ref.field: self.known.table(ref.table) for ref in table.references if ref.field in table.key}
        if any(_is_unlike(table.field(name)) for name in table.key if name not in (*targets, *table.optional_key)):
            return rows
        # Of two keys there are only so many pairs.
        return min(rows, prod(self._count(one) for one in targets.values() if one.sample_rows))

    def _window(self, table: Table, night: int) -> tuple[int, int]:
        """First and last row number of a night. Rows that others refer to are only ever added."""
        if (leader := self._leader(table)) is not None:
            first, _ = self._window(leader, night)
            return first, first + self._count(table)
        moved = night * (self._count(table) * PER_MILLE_MOVED // 1000)
        stays = any(self._leader(other) is not table for other in self._referring_to(table))
        return 0 if stays else moved, self._count(table) + moved

    def _referring_to(self, table: Table) -> list[Table]:
        return [other for other in self.known.tables if any(ref.table == table.name for ref in other.references)]

    def _leader(self, table: Table) -> Table | None:
        """The table whose rows come and go with this one's: there is a row for each, and nobody else names them."""
        targets = [ref.table for ref in table.references if ref.field in table.key]
        if len(table.key) < 2 or len(targets) != 1 or targets == [table.name]:
            return None
        leader = self.known.table(targets[0])
        alone = self._referring_to(leader) == [table]
        return leader if alone and leader.sample_rows >= table.sample_rows > 0 else None

    def _dice(self, *what: object) -> int:
        text = "\0".join(map(str, (self.seed, *what)))
        return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _is_unlike(one: Field) -> bool:
    """Whether a column of the key has another value in every row."""
    return not one.sample or (len(one.sample) == 1 and "#" in one.sample[0])


def _turned(index: int, steps: Sequence[int], count: int) -> int:
    """Which of `count` records a row names, so that no two rows name the same ones all together."""
    turn = 0
    for step in steps:
        index, turn = index // step, turn + index % step
    return (index + turn) % count


def _mixed(dice: int, factor: int) -> int:
    return (dice * factor & 0xFFFFFFFFFFFFFFFF) >> 24


def _may_change(table: Table, one: Field) -> bool:
    bound = {*table.key, *table.change_marks, *(reference.field for reference in table.references)}
    return one.name not in bound and not one.discard and (len(set(one.sample)) > 1 or _is_free(one))


def _is_free(one: Field) -> bool:
    """Whether any text does: such a column takes a number behind its value when it changes."""
    free = one.type is FieldType.STRING and not (one.enum or one.pattern or one.discard or one.identifier)
    return free and (one.required or bool(one.sample))


def _invented(one: Field, factor: int) -> Cell:
    pick = _choice(one, factor)
    if len(set(one.sample)) > 1 or not _is_free(one):
        return pick
    return lambda index, dice, changed: pick(index, dice, 0) + (f" {changed}" if changed else "")


def _choice(one: Field, factor: int) -> Cell:
    choices = one.sample or _plain_choices(one)
    if choices == ("@birth-date",):
        return lambda index, dice, changed: _day(one, _mixed(dice, factor) % 4300)
    words = WORDS.get(choices[0], choices)
    if not any("#" in word for word in words):
        return lambda index, dice, changed: words[(_mixed(dice, factor) + changed) % len(words)]
    return lambda index, dice, changed: _template(words[(_mixed(dice, factor) + changed) % len(words)], index)


def _plain_choices(one: Field) -> Sequence[str]:
    """Values for a column of which the descriptor gives no sample."""
    if not one.required:
        return ("",)
    simple: Mapping[FieldType, Sequence[str]] = {
        FieldType.INTEGER: ("1", "2", "3"),
        FieldType.NUMBER: ("1.5", "20", "99.9"),
        FieldType.BOOLEAN: (one.true_values[0], one.false_values[0]),
        FieldType.DATE: tuple(_day(one, days) for days in range(0, 4000, 365)),
        FieldType.DATETIME: (MARK_TIME,),
        FieldType.YEAR: ("2027",),
    }
    return simple.get(one.type) or one.enum or (f"{one.name} #",)


def _template(sample: str, index: int) -> str:
    """The run of `#` in a template is the row's number, with zeros before it."""
    marks = sample.count("#")
    return sample.replace("#" * marks, str(index + 1).zfill(marks)) if marks else sample


def _day(one: Field, days: int) -> str:
    form = one.formats[0] if one.formats else "default"
    return (BIRTHS + timedelta(days=days)).strftime("%Y-%m-%d" if form == "default" else form)


def _mark(one: Field, table: Table, status: str) -> str:
    if not status:
        return ""
    return status if table.deletion and one.name == table.deletion.field else MARK_TIME


def _manifest_rows(known: Format, mode: Mode) -> Iterator[list[str]]:
    manifest = known.manifest
    if manifest is None:
        return
    for one in manifest.properties:
        if one.required:
            yield [one.name, one.values[0] if one.values else "invented"]
    words = {mode: word for word, mode in manifest.modes.items()}
    for table in known.tables:
        yield [manifest.mode_prefix + table.name, words[mode if table.sample_rows else Mode.ABSENT]]


def _written(table: Table, rows: Iterator[list[str]]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([one.name for one in table.fields])
    writer.writerows(rows)
    return out.getvalue().encode()
