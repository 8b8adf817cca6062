"""The likely cause of a bad night: each one named for the nights it spoils, and for no others."""

import random
from dataclasses import replace
from datetime import datetime

import pytest

from ingest.core.causes import Cause, fitting, likely
from ingest.core.facts import Night
from ingest.core.mishaps import IN_JULY, IN_TERM, mishaps
from ingest.core.sampling import epoch
from ingest.core.schema import Mode
from ingest.core.schoolyear import Calendar
from tests.ingest.epochs import FORMATS, ONEROSTER, STUDENTS, Files
from tests.ingest.nights import District, after, students

SIZE = 130
# So many people that there are several schools to refer to.
SCHOOLS = 400
MISHAPS = [
    pytest.param(known, one, day, id=f"{known.name}-{size}-{one.cause}-{one.variant}-{day:%b}".replace(" ", "_"))
    for known, size in [*((known, SIZE) for known in FORMATS.values()), (ONEROSTER, SCHOOLS)]
    for one in mishaps(known, size)
    for day in one.days
    if size == SIZE or one.cause is Cause.SCHOOL_FILTER
]
DISTRICTS: dict[tuple[str, bytes], District] = {}
NIGHTS: dict[tuple[int, int], tuple[Night, District, Files]] = {}


def district_after(known, nights: tuple[Files, ...]) -> District:
    """A district after these nights; most mishaps share theirs."""
    key = known.name, b"".join(content for files in nights for content in files.values())
    if key not in DISTRICTS:
        DISTRICTS[key] = after(known, nights)
    return DISTRICTS[key]


def suspected(district: District, files: Files, day=IN_TERM):
    """The cause named for a night that comes on this day. Only the day differs between nights of the same files."""
    key = id(district), id(files)
    if key not in NIGHTS:
        # What is remembered here keeps its id.
        NIGHTS[key] = district.night(files), district, files
    night = replace(NIGHTS[key][0], arrived=datetime.combine(day, datetime.min.time()))
    return likely(night, district.last, Calendar(day))


@pytest.mark.parametrize(("known", "mishap", "day"), MISHAPS)
def test_of_all_causes_the_right_one_is_named_and_no_other(known, mishap, day):
    found = suspected(district_after(known, mishap.earlier), mishap.tonight, day)
    named = {cause: found is not None and found.cause is cause for cause in Cause}
    assert named == {cause: cause is mishap.cause for cause in Cause}
    assert found.message
    assert found.hint


def test_there_is_a_night_for_every_cause():
    assert {param.values[1].cause for param in MISHAPS} == set(Cause)


@pytest.mark.parametrize("known", FORMATS.values(), ids=list(FORMATS))
def test_good_nights_have_no_cause(known):
    nights = [epoch(known, SIZE, 4, night) for night in range(0, 24, 6)]
    district = after(known, nights[:1])
    for files in nights[1:]:
        for day in (IN_TERM, IN_JULY):
            night = district.night(files, datetime.combine(day, datetime.min.time()))
            assert fitting(night, district.last, Calendar(day)) == ()
        district.apply(files)


def lines_of(files: Files, name: str) -> list[bytes]:
    return files[name].rstrip(b"\r\n").split(b"\r\n")


def joined(lines: list[bytes]) -> bytes:
    return b"\r\n".join([*lines, b""])


def third_gone(lines: list[bytes]) -> list[bytes]:
    """A third of the rows, of no one school."""
    return [line for at, line in enumerate(lines) if not at or at % 3]


def columns_turned(lines: list[bytes]) -> list[bytes]:
    """The columns in another order, header and all."""
    return [b",".join(reversed(line.split(b","))) for line in lines]


def shuffled(lines: list[bytes]) -> list[bytes]:
    rows = lines[1:]
    random.Random(1).shuffle(rows)
    return [lines[0], *rows]


def moved(lines: list[bytes]) -> list[bytes]:
    """Everybody has moved to another town."""
    at = lines[0].split(b",").index(b"City")
    rows = [line.split(b",") for line in lines[1:]]
    return [lines[0], *(b",".join([*row[:at], b"Elsewhere", *row[at + 1 :]]) for row in rows)]


@pytest.mark.parametrize("change", [third_gone, columns_turned, shuffled, moved])
def test_nights_that_are_different_in_no_known_way_have_no_cause(change):
    before = students(SIZE)
    district = district_after(STUDENTS, (before,))
    files = {"students.csv": joined(change(lines_of(before, "students.csv")))}
    assert suspected(district, files) is None


def test_a_file_that_never_ends_in_a_line_end_is_not_cut_off():
    before = {"students.csv": students(SIZE)["students.csv"].rstrip(b"\r\n")}
    lines = lines_of(before, "students.csv")
    assert suspected(district_after(STUDENTS, (before,)), {"students.csv": b"\r\n".join(third_gone(lines))}) is None


@pytest.mark.parametrize(
    ("more", "words"), [(0, "ends without a line end, at"), (9, "ends in the middle of a line, at")]
)
def test_a_whole_last_line_is_not_called_half_of_one(more, words):
    content = students(SIZE)["students.csv"]
    end = content.index(b"\r\n", len(content) // 2)
    found = suspected(district_after(STUDENTS, (students(SIZE),)), {"students.csv": content[: end + more]})
    assert (found.cause, words in found.message) == (Cause.CUT_OFF, True)


def test_a_school_that_was_renamed_has_not_been_left_out():
    before = students(SIZE)
    files = {"students.csv": before["students.csv"].replace(b",005678,", b",007777,")}
    assert suspected(district_after(STUDENTS, (before,)), files) is None


def test_those_who_have_left_school_are_a_rollover_in_july_and_a_filter_in_october():
    before = students(SIZE)
    lines = lines_of(before, "students.csv")
    at = lines[0].split(b",").index(b"Grade")
    files = {"students.csv": joined([line for line in lines if line.split(b",")[at] != b"12"])}
    district = district_after(STUDENTS, (before,))
    assert suspected(district, files, IN_JULY).cause is Cause.ROLLOVER
    found = suspected(district, files, IN_TERM)
    assert found.cause is Cause.SCHOOL_FILTER
    assert "`Grade`" in found.message


def test_all_enrolments_gone_in_july_is_a_rollover():
    before = epoch(ONEROSTER, SIZE)
    district = district_after(ONEROSTER, (before,))
    files = {**before, "enrollments.csv": lines_of(before, "enrollments.csv")[0] + b"\r\n"}
    assert suspected(district, files, IN_JULY).cause is Cause.ROLLOVER
    assert suspected(district, files, IN_TERM) is None


def test_a_small_set_of_changes_is_compared_without_taking_fright():
    district = district_after(ONEROSTER, (epoch(ONEROSTER, SIZE, night=1),))
    files = epoch(ONEROSTER, SIZE, night=4, mode=Mode.CHANGES)
    assert suspected(district, files) is None


def test_after_a_night_of_changes_a_full_set_is_compared_as_before():
    nights = epoch(ONEROSTER, SCHOOLS), epoch(ONEROSTER, SCHOOLS, night=1, mode=Mode.CHANGES)
    district = after(ONEROSTER, nights)
    full = epoch(ONEROSTER, SCHOOLS, night=1)
    assert suspected(district, full) is None
    lines = lines_of(full, "enrollments.csv")
    at = lines[0].split(b",").index(b"schoolSourcedId")
    school = lines[1].split(b",")[at]
    files = {**full, "enrollments.csv": joined([line for line in lines if line.split(b",")[at] != school])}
    assert suspected(district, files).cause is Cause.SCHOOL_FILTER


def test_the_same_files_again_are_named_as_such():
    files = students(SIZE)
    district = after(STUDENTS, (files,))
    found = suspected(district, files)
    assert found.cause is Cause.STALE
    assert "20261001-021000" in found.message


def test_a_first_night_shows_only_what_it_shows_by_itself():
    cut = {"students.csv": students(SIZE)["students.csv"][:-100]}
    assert suspected(District(STUDENTS), cut).cause is Cause.CUT_OFF
    assert suspected(District(STUDENTS), students(SIZE)) is None


def test_no_sentence_holds_a_value_of_a_person():
    before = students(SIZE)
    values = {
        value for line in lines_of(before, "students.csv")[1:] for value in line.decode().split(",") if len(value) > 4
    }
    for mishap in mishaps(STUDENTS, SIZE):
        found = suspected(district_after(STUDENTS, mishap.earlier), mishap.tonight, mishap.days[0])
        assert not any(value in found.message for value in values)
