"""What `check_epoch --against` tells: the same as comparing row by row, which is written out here."""

import random
from collections import Counter
from collections.abc import Iterator

import pytest

from ingest.core import tablediff
from ingest.core.check import check
from ingest.core.diff import Counts, What, compare
from ingest.core.nightdiff import Night, TableDiff, differences
from ingest.core.ownership import owned, removable
from ingest.core.records import Row, read_records
from ingest.core.sampling import epoch
from ingest.core.schema import Format, Mode, Table
from ingest.core.verdict import Limits

from .epochs import FORMATS, ONEROSTER, STUDENTS, Files, sources, students


def night(known: Format, files: Files) -> Night:
    every = sources(files)
    verdict = check(known, every, Limits(), lambda rows: None)
    return Night(verdict, {table.name: one for one in every if (table := known.table_of(one.name))})


def rows(known: Format, table: Table, one: Night) -> Iterator[Row]:
    if one.mode(table) is Mode.ABSENT:
        return iter(())
    return owned(table, read_records(table, one.sources[table.name], Limits()), owners(known, table, one))


def owners(known: Format, table: Table, one: Night) -> set[str]:
    source = one.sources.get(table.owner_table) if table.owner else None
    return {row.key for row in read_records(known.table(table.owner_table), source, Limits())} if source else set()


def row_by_row(known: Format, before: Night, after: Night) -> tuple[TableDiff, ...]:
    """The plain way."""
    found = []
    for table in known.tables:
        if after.mode(table) is Mode.ABSENT:
            continue
        was = {row.key: row for row in rows(known, table, before) if not row.deleted}
        may_go = removable(table, owners(known, table, after))
        changes = compare(
            {key: row.digest for key, row in was.items()}, rows(known, table, after), after.mode(table), may_go
        )
        columns: Counter[str] = Counter()
        for change in changes:
            if change.what is What.CHANGED:
                old = was[change.key].values
                columns.update(name for name, value in change.row.values.items() if old[name] != value)
        found.append(TableDiff(table.name, changes.counts, dict(sorted(columns.items()))))
    return tuple(found)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [30, 1500])
def test_two_nights_of_any_format_differ_as_row_by_row(name: str, size: int) -> None:
    known = FORMATS[name]
    before, after = (night(known, epoch(known, size, 1, number)) for number in (2, 5))
    found = differences(known, before, after)
    assert found == row_by_row(known, before, after)
    assert found
    assert any(one.counts.added + one.counts.changed for one in found) or size < 1000


def test_a_night_of_changes_takes_away_what_it_says() -> None:
    before = night(ONEROSTER, epoch(ONEROSTER, 1500, 1, 3))
    after = night(ONEROSTER, epoch(ONEROSTER, 1500, 1, 4, Mode.CHANGES))
    found = differences(ONEROSTER, before, after)
    assert found == row_by_row(ONEROSTER, before, after)
    assert any(one.counts.removed for one in found)


def test_rows_are_the_same_whatever_their_order_and_repeats() -> None:
    dice = random.Random(5)
    first, *lines = students(3000)["students.csv"].splitlines(keepends=True)
    changed = lines[100:]
    dice.shuffle(changed)
    changed[7:7] = [changed[40], changed[2000]]
    before = night(STUDENTS, {"students.csv": b"".join([first, *lines[:2900], *lines[5:9]])})
    after = night(STUDENTS, {"students.csv": b"".join([first, *changed])})
    (found,) = differences(STUDENTS, before, after)
    assert found.counts == Counts(added=100, changed=0, removed=100, unchanged=2800)
    assert (found,) == row_by_row(STUDENTS, before, after)


def test_columns_are_counted_of_the_first_changed_records(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = (night(STUDENTS, students(4000, night=number)) for number in (0, 20))
    (whole,) = differences(STUDENTS, before, after)
    monkeypatch.setattr(tablediff, "_Changed", lambda: made(10))
    (few,) = differences(STUDENTS, before, after)
    assert few.counts == whole.counts
    assert sum(few.columns.values()) == 10 < sum(whole.columns.values())


made = tablediff._Changed


def test_a_file_that_cannot_be_read_has_no_differences() -> None:
    before = night(STUDENTS, {"students.csv": students()["students.csv"] + b"one,two\r\n"})
    assert differences(STUDENTS, before, night(STUDENTS, students())) == ()
