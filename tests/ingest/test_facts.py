"""What is remembered of a night: numbers and shapes, cheap to gather, enough to compare with."""

import io
import json
from datetime import datetime

import pytest

from ingest.core.catalogue import SHIPPED
from ingest.core.descriptor import parse_format
from ingest.core.diff import Counts
from ingest.core.errors import DescriptorError
from ingest.core.facts import (
    GROUPS,
    Edges,
    RowGatherer,
    Spread,
    applied,
    column_facts,
    dumped,
    loaded,
    read_edges,
    school_years,
    state_of,
    watched,
    year_columns,
)
from ingest.core.records import Row
from ingest.core.sampling import epoch
from ingest.core.schema import Mode
from tests.ingest.epochs import FORMATS, ONEROSTER, STUDENTS, oneroster
from tests.ingest.nights import FIRST, District, after, students

TABLE = STUDENTS.table("students")


def column(name: str, values: list[str]):
    rows = [{**dict.fromkeys([one.name for one in TABLE.fields], ""), name: value} for value in values]
    return next(one for one in column_facts(TABLE, rows) if one.name == name)


def test_a_column_is_told_by_numbers_and_shapes():
    found = column("Student Id", ["0123", "123", "3.6E+11", "1/12/2027", "", "A7"])
    assert (found.filled, found.digits, found.zeros, found.scientific, found.slashed) == (5, 2, 1, 1, 1)
    assert found.lengths == ((2, 1), (3, 1), (4, 1), (7, 1), (9, 1))
    assert found.is_id
    assert not found.is_reference


def test_a_single_nought_is_no_leading_one():
    assert column("Grade", ["0", "00"]).zeros == 1


def test_groups_are_kept_for_few_values_only_and_never_show_one():
    few = column("City", ["Ashford", "Ashford", "Dunmore"])
    assert sorted(times for _, times in few.groups) == [1, 2]
    assert "Ashford" not in repr(few)
    assert column("City", [f"City {number}" for number in range(GROUPS + 1)]).groups == ()


@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 1000])
def test_a_spread_is_even_and_never_too_many(number):
    spread = Spread(8)
    for one in range(number):
        spread.see(one)
    steps = {b - a for a, b in zip(spread.kept, spread.kept[1:], strict=False)}
    assert spread.number == number
    assert len(spread.kept) <= 8
    assert len(spread.kept) >= min(number, 4)
    assert len(steps) <= 1
    assert spread.kept[:1] == list(range(min(number, 1)))


def test_every_school_year_is_seen_and_not_those_of_the_sample_only():
    table = ONEROSTER.table("academicSessions")
    blank = dict.fromkeys([one.name for one in table.fields], "")
    rows = [Row(str(n), {**blank, "schoolYear": "2031" if n == 4999 else "2027"}, b"", False, n) for n in range(5000)]
    gatherer = RowGatherer(table)
    assert list(watched(rows, gatherer)) == rows
    assert gatherer.seen.rows == 5000
    assert gatherer.seen.years == {2027, 2031}


def test_a_last_day_tells_a_school_year():
    assert school_years(["2027", "2026-12-18", "2027-06-05", "2027-07-01", "", "06/05"]) == {2027, 2028}
    assert school_years(["2026-12-18"], begins=(1, 1)) == {2026}


@pytest.mark.parametrize(
    ("content", "edges"),
    [
        (b"", Edges()),
        (b"a,b\r\n1,2\r\n", Edges(("a", "b"))),
        (b"\xef\xbb\xbfa,b\n1,2", Edges(("a", "b"), bom=True, unended=True)),
        (b"\xef\xbb\xbf\xef\xbb\xbfa\r", Edges(("\ufeffa",), bom=True)),
        ("a,b\n".encode("utf-16"), Edges(("a", "b"))),
        ("a,b\nx".encode("utf-16"), Edges(("a", "b"), unended=True)),
        (b"x", Edges(("x",), unended=True)),
    ],
)
def test_both_ends_of_a_file_are_read(content, edges):
    assert read_edges(io.BytesIO(content)) == edges


def test_a_night_is_told_file_by_file():
    district = after(STUDENTS, [students(1000)])
    lines = students(1000)["students.csv"].split(b"\r\n")
    found = district.night({"students.csv": b"\r\n".join([*lines[:-3], b""])}).table("students")
    assert (found.base, found.rows, found.records, found.partial) == (1000, 998, 998, False)
    assert (found.counts, found.met) == (Counts(removed=2, unchanged=998), 998)
    assert found.column("Grade").digits == found.sampled == 998


def test_what_was_dumped_is_loaded_again():
    last = after(ONEROSTER, [oneroster(20), oneroster(20, night=3)]).last
    kept = json.loads(json.dumps(dumped(last)))
    assert loaded(kept) == last
    assert loaded(kept).state == last.state


def test_what_another_version_dumped_is_not_taken_for_facts():
    assert loaded({**dumped(after(STUDENTS, [students(5)]).last), "layout": 0}) is None
    assert loaded({}) is None


def test_facts_hold_no_value_of_a_person():
    kept = json.dumps(dumped(after(STUDENTS, [students(60)]).last))
    values = {value for line in students(60)["students.csv"].decode().split("\r\n")[1:] for value in line.split(",")}
    assert not [value for value in values if len(value) > 6 and value in kept]


def test_a_first_line_that_is_a_person_is_not_kept():
    lines = students(20)["students.csv"].split(b"\r\n")
    district = after(STUDENTS, [students(20)])
    found = district.night({"students.csv": b"\r\n".join(lines[1:])}).table("students")
    assert (found.edges.names, found.strange) == ((), ())


def test_a_row_that_stands_in_the_header_is_kept_as_shapes():
    content = students(20)["students.csv"]
    names, row = (line.decode().split(",") for line in content.split(b"\r\n")[:2])
    glued = content.replace(b"\r\n", b",", 1)
    found = after(STUDENTS, [students(20)]).night({"students.csv": glued}).table("students")
    assert found.edges.names[: len(names)] == tuple(names)
    assert not {value for value in row if len(value) > 1} & {*found.edges.names, *found.strange}


def test_the_content_is_that_of_all_files_and_the_format():
    one, other = District(ONEROSTER).night(oneroster(9)), District(ONEROSTER).night(oneroster(9))
    assert one.content == other.content
    changed = {**oneroster(9), "orgs.csv": oneroster(9, seed=2)["orgs.csv"]}
    assert District(ONEROSTER).night(changed).content != one.content
    less = {name: content for name, content in oneroster(9).items() if name != "demographics.csv"}
    assert District(ONEROSTER).night(less).content != one.content


def test_the_state_changes_with_each_applied_night_and_is_that_of_a_comparison():
    district = District(STUDENTS)
    states = [state_of(None)]
    for night in range(3):
        district.apply(students(20, night=night))
        states.append(state_of(district.last))
    assert len(set(states)) == 4


def test_a_file_that_did_not_come_keeps_its_facts():
    files = oneroster(20)
    district = after(ONEROSTER, [files])
    less = {name: content for name, content in files.items() if name != "demographics.csv"}
    district.apply(less)
    kept = district.last.night.table("demographics")
    assert not kept.present
    assert kept.records == len(files["demographics.csv"].split(b"\r\n")) - 2
    assert kept.columns


def test_a_night_of_changes_moves_the_number_of_records_but_not_the_shape_of_a_file():
    district = after(ONEROSTER, [oneroster(1000)])
    before = district.last.night.table("enrollments")
    changes = district.apply(epoch(ONEROSTER, 1000, night=1, mode=Mode.CHANGES)).table("enrollments").counts
    now = district.last.night.table("enrollments")
    assert (now.size, now.sampled, now.present, now.partial) == (before.size, before.sampled, True, False)
    assert changes.added > 0
    assert now.met == now.records == before.records + changes.added - changes.removed


def test_another_format_begins_anew():
    last = after(STUDENTS, [students(5)]).last
    night = District(ONEROSTER).night(oneroster(5))
    assert applied(night, last).earlier == ()


def test_a_night_that_brings_the_same_moves_no_date_when_it_is_not_applied():
    district = after(STUDENTS, [students(5)])
    assert district.last.since == FIRST
    assert district.night(students(5), datetime(2026, 11, 1)).content == district.last.content


def test_records_that_outlive_their_rows_make_no_file_of_changes():
    night = District(STUDENTS).night(students(5))
    assert not night.is_partial
    assert night.table("students").counts == Counts(added=5)


def test_only_a_year_or_a_day_may_be_marked_as_a_school_year():
    told = json.loads((SHIPPED / f"{STUDENTS.name}.json").read_text())
    fields = told["resources"][0]["schema"]["fields"]
    fields[0].setdefault("sftpPortal", {})["schoolYear"] = True
    with pytest.raises(DescriptorError, match="only a year or a date"):
        parse_format(json.dumps(told).encode())
    assert [name for known in FORMATS.values() for table in known.tables for name in year_columns(table)]
