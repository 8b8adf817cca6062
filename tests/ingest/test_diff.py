"""What a night changes."""

from dataclasses import replace
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.core.check import Limits, Source, check, rows
from ingest.core.diff import Counts, What, compare
from ingest.core.records import Row
from ingest.core.schema import MissingRow, Mode
from tests.ingest.epochs import (
    ONEROSTER,
    STUDENTS,
    checked,
    line_of,
    oneroster,
    sources,
    students,
    with_cell,
)

TABLE = STUDENTS.table("students")


def row(key: str, content: str, deleted: bool = False) -> Row:
    return Row(key, {"v": content}, blake2b(content.encode(), digest_size=16).digest(), deleted, 1)


def digests(records: dict[str, str]) -> dict[str, bytes]:
    return {key: row(key, content).digest for key, content in records.items()}


def rows_of(content: bytes) -> list[Row]:
    return list(rows(STUDENTS, TABLE, sources({"students.csv": content})[0]))


def record_of(content: bytes) -> dict[str, bytes]:
    return {one.key: one.digest for one in rows_of(content)}


def compared(previous, following, mode):
    changes = compare(previous, following, mode)
    return {(one.what, one.key) for one in changes}, changes.counts


def test_a_full_file_adds_changes_and_removes():
    previous = digests({"a": "1", "b": "1", "c": "1"})
    found, counts = compared(previous, [row("a", "1"), row("b", "2"), row("d", "1")], Mode.FULL)
    assert found == {(What.CHANGED, "b"), (What.ADDED, "d"), (What.REMOVED, "c")}
    assert counts == Counts(added=1, changed=1, removed=1, unchanged=1)


def test_a_file_of_changes_removes_only_what_it_says():
    previous = digests({"a": "1", "b": "1", "c": "1"})
    found, counts = compared(previous, [row("b", "1", deleted=True), row("x", "1", deleted=True)], Mode.CHANGES)
    assert found == {(What.REMOVED, "b")}
    assert counts == Counts(removed=1, unchanged=1)


def test_a_row_sent_twice_counts_once():
    _, counts = compared({}, [row("a", "1"), row("a", "1")], Mode.FULL)
    assert counts == Counts(added=1)


def test_a_file_that_was_not_sent_cannot_be_compared():
    with pytest.raises(ValueError, match="not sent"):
        compare({}, [], Mode.ABSENT)


RECORDS = st.dictionaries(st.text(max_size=2), st.text(max_size=2), max_size=12)


@given(RECORDS, RECORDS)
def test_applying_the_changes_from_a_to_b_to_a_gives_b(before, after):
    now = dict(before)
    for change in compare(digests(before), [row(*one) for one in after.items()], Mode.FULL):
        if change.what is What.REMOVED:
            del now[change.key]
        else:
            assert change.row is not None
            now[change.key] = change.row.values["v"]
    assert now == after


def test_the_same_night_again_changes_nothing():
    content = students(200)["students.csv"]
    _, counts = compared(record_of(content), rows_of(content), Mode.FULL)
    assert counts == Counts(unchanged=200)


def test_neither_order_of_columns_nor_line_ends_nor_quotes_nor_ways_of_dates_make_a_change():
    content = with_cell(students(30)["students.csv"], 2, "Date of Birth", "02/03/2010")
    names, *lines = content.decode().rstrip().split("\r\n")
    again = [",".join(f'"{value}"' for value in reversed(line.split(","))) for line in [names, *lines]]
    other = "\n".join(again).replace("02/03/2010", "2010-02-03").encode()
    assert record_of(other) == record_of(content)


def test_one_other_value_is_one_change_with_its_line():
    content = students(30)["students.csv"]
    changes = list(compare(record_of(content), rows_of(with_cell(content, 9, "City", "Elsewhere")), Mode.FULL))
    assert [(one.what, one.row.line, one.row.values["City"]) for one in changes] == [(What.CHANGED, 9, "Elsewhere")]


def test_an_optional_column_left_out_reads_as_empty():
    content = students(5)["students.csv"]
    without = b"\r\n".join(line.rsplit(b",", 1)[0] for line in content.split(b"\r\n"))
    assert [one.values["SIS Internal ID"] for one in rows_of(without)] == [""] * 5


def test_rows_of_changes_carry_the_day_of_change_without_being_changes():
    table = ONEROSTER.table("users")
    full = {one.key: one.digest for one in rows(ONEROSTER, table, sources(oneroster(20))[4])}
    lines = oneroster(20)["users.csv"].split(b"\r\n")
    marked = b"\r\n".join([lines[0], *[one.replace(b",,,", b",active,2026-08-15T00:00:00Z,", 1) for one in lines[1:]]])
    source = sources({"users.csv": marked})[0]
    assert compared(full, rows(ONEROSTER, table, source), Mode.CHANGES)[1] == Counts(unchanged=20)


def test_a_password_is_never_part_of_a_record():
    table = ONEROSTER.table("users")
    content = with_cell(oneroster(5)["users.csv"], 2, "password", "hunter2")
    found = list(rows(ONEROSTER, table, sources({"users.csv": content})[0]))
    assert "hunter2" not in repr(found)
    assert "password" not in found[0].values


def test_nights_of_changes_come_to_the_same_as_full_nights():
    tables = [table for table in ONEROSTER.tables if table.file in oneroster(1000)]
    kept = {table.name: {} for table in tables}
    for night in range(4):
        files = oneroster(1000, night=night, mode=Mode.CHANGES if night else Mode.FULL)
        verdict = checked(ONEROSTER, files)
        assert verdict.ok, verdict.findings[:3]
        for table in tables:
            mode = verdict.modes[table.name]
            if mode is Mode.ABSENT:
                continue
            feed = rows(ONEROSTER, table, sources({table.file: files[table.file]})[0])
            for change in compare(dict(kept[table.name]), feed, mode):
                if change.what is What.REMOVED:
                    del kept[table.name][change.key]
                else:
                    kept[table.name][change.key] = change.row.digest
    last = oneroster(1000, night=3)
    for table in tables:
        feed = rows(ONEROSTER, table, sources({table.file: last[table.file]})[0])
        assert kept[table.name] == {one.key: one.digest for one in feed}


def test_records_that_outlive_their_rows_are_compared_as_changes():
    known = replace(STUDENTS, tables=(replace(TABLE, missing_row=MissingRow.KEPT),))
    verdict = check(known, sources(students(3)), Limits(), lambda count: None)
    assert verdict.modes == {"students": Mode.CHANGES}


def test_rows_of_a_file_that_did_not_pass_are_refused():
    content = students(5)["students.csv"]
    broken = content.replace(line_of(content, 3), b"only,three,values")
    with pytest.raises(Exception, match="has not passed its check: line 3"):
        rows_of(broken)
    with pytest.raises(KeyError):
        rows(STUDENTS, ONEROSTER.table("users"), Source("users.csv", lambda: None))
