"""Guardians belong to a student: they are loaded with him, and only with him taken away."""

import io

from ingest.core.check import rows
from ingest.core.diff import What, compare
from ingest.core.ownership import owned, removable
from ingest.core.sampling import epoch
from ingest.core.schema import Mode
from tests.ingest.epochs import FORMATS, checked, sources

BULK = FORMATS["samegoal-bulk-2"]
GUARDIANS = BULK.table("guardians")
HEAD = b"Student Id,Last Name,First Name,Relationship\r\n"


def night(*lines: bytes, students: set[str]):
    feed = rows(BULK, GUARDIANS, sources({"guardians.csv": HEAD + b"\r\n".join(lines)})[0])
    return owned(GUARDIANS, feed, students), removable(GUARDIANS, students)


def changes(previous, *lines: bytes, students: set[str]):
    feed, may_go = night(*lines, students=students)
    return {(one.what, one.key) for one in compare(previous, feed, Mode.FULL, may_go)}


def kept(*lines: bytes, students: set[str]):
    return {row.key: row.digest for row in night(*lines, students=students)[0]}


def test_a_guardian_of_nobody_sent_is_not_loaded():
    assert set(kept(b"S1,Hale,Ada,Mother", b"S2,Orr,Ben,Father", students={"S1"})) == {"S1|Hale|Ada"}


def test_a_guardian_who_is_missing_goes_only_if_his_student_is_sent():
    before = kept(b"S1,Hale,Ada,Mother", b"S1,Hale,Ben,Father", b"S2,Orr,Eva,Mother", students={"S1", "S2"})
    assert changes(before, b"S1,Hale,Ada,Mother", students={"S1"}) == {(What.REMOVED, "S1|Hale|Ben")}


def test_an_owner_with_strange_characters_is_read_back_from_the_key():
    may_go = removable(GUARDIANS, {"a|b\\c"})
    assert may_go("a\\|b\\\\c|Hale|Ada")
    assert not may_go("a|b|c")


def test_a_table_that_has_no_owner_keeps_all_rows_and_lets_all_go():
    students = BULK.table("students")
    feed = list(rows(BULK, students, sources(epoch(BULK, 20))[0]))
    assert list(owned(students, feed, set())) == feed
    assert removable(students, set())("anyone")


def test_a_guardian_of_a_student_who_is_not_sent_is_a_warning_and_stops_nothing():
    files = epoch(BULK, 20)
    files["guardians.csv"] += b"NOBODY,Hale,Ada" + b"," * 11 + b"\r\n"
    verdict = checked(BULK, files)
    assert [(one.code, one.column, one.severity) for one in verdict.findings] == [
        ("reference", "Student Id", "warning")
    ]
    assert verdict.ok


def test_a_user_goes_only_when_he_is_marked_as_deleted():
    users = BULK.table("users")
    files = epoch(BULK, 200)
    feed = list(rows(BULK, users, sources({"users.csv": files["users.csv"]})[0]))
    before = {row.key: row.digest for row in feed}
    content = files["users.csv"].decode().splitlines()
    marked = "\r\n".join([content[0], content[1][:-1] + ",TRUE" if content[1].endswith(",") else content[1], ""])
    again = rows(BULK, users, sources({"users.csv": io.BytesIO(marked.encode()).getvalue()})[0])
    mode = checked(BULK, {**files, "users.csv": marked.encode()}).modes["users"]
    assert {(one.what, one.key) for one in compare(before, again, mode)} == {(What.REMOVED, feed[0].key)}
