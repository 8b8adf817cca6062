"""Which format it is: exactly one, or none with the reasons a person needs."""

import io

import pytest

from ingest.core.choose import Sighting, read_sighting, recognise
from ingest.core.schema import Container
from tests.ingest.epochs import FORMATS, ONEROSTER, oneroster, students, students_old

KNOWN = tuple(FORMATS.values())


def sightings(files):
    return [read_sighting(name, io.BytesIO(content)) for name, content in files.items()]


def chosen(files, container=Container.LOOSE):
    found = recognise(sightings(files), KNOWN, container)
    return found.format.name if found.format else None


def reasons(files):
    found = recognise(sightings(files), KNOWN)
    assert found.format is None
    return {miss.format: " ".join(miss.reasons) for miss in found.near_misses}


def header(**changes):
    """students.csv of today's layout with some columns renamed (to None: left out)."""
    first, rest = students(2)["students.csv"].split(b"\r\n", 1)
    names = [changes.get(name.replace(" ", "_"), name) for name in first.decode().split(",")]
    return {"students.csv": ",".join(name for name in names if name is not None).encode() + b"\r\n" + rest}


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (students(), "samegoal-students-2"),
        (students_old(), "samegoal-students-1"),
        (oneroster(), "oneroster-1.1"),
        ({"manifest.csv": oneroster()["manifest.csv"]}, "oneroster-1.1"),
    ],
    ids=["students", "students-old", "oneroster", "manifest-only"],
)
def test_each_shipped_format_is_recognised_as_itself(files, name):
    assert chosen({**files, "COMPLETE": b"", ".DS_Store": b"\0\1"}) == name


def test_only_a_format_that_comes_in_zips_is_recognised_in_one():
    assert chosen(oneroster(), Container.ZIP) == "oneroster-1.1"
    assert chosen(students(), Container.ZIP) is None


def test_the_order_of_files_and_formats_does_not_matter():
    files = sightings(oneroster())
    assert recognise(files[::-1], KNOWN[::-1]).format is ONEROSTER


def test_column_names_in_other_case_are_recognised_so_that_the_check_can_tell():
    assert chosen(header(Student_Id="student id", District_Enrollment="DISTRICT ENROLLMENT")) == "samegoal-students-2"


def test_a_missing_column_is_named_with_the_one_that_may_be_meant():
    told = reasons(header(Student_Id="Studnt Id"))
    assert (
        "Column `Student Id` is missing in `students.csv`: is `Studnt Id` meant for it?" in told["samegoal-students-2"]
    )


@pytest.mark.parametrize("written", ["Student Id77", "Student Id\u202877", "Student IdKeane"])
def test_a_name_with_a_value_in_it_is_not_shown(written):
    glued = header(Student_Id=written)["students.csv"].replace(b"\r\n", b",", 1)
    told = reasons({"students.csv": glued})["samegoal-students-2"]
    assert told == "Column `Student Id` is missing in `students.csv`."


def test_e12_a_misnamed_file_is_asked_about():
    told = reasons({"Students.csv": students()["students.csv"]})
    assert "did you mean `students.csv`?" in told["samegoal-students-2"]


def test_a_set_without_its_manifest_is_a_near_miss():
    files = oneroster()
    del files["manifest.csv"]
    assert reasons(files)["oneroster-1.1"].startswith("`manifest.csv` is missing. Without it")


def test_a_file_of_a_later_version_is_a_reason():
    assert (
        "`roles.csv` does not belong to it." in reasons({**oneroster(), "roles.csv": b"sourcedId\r\n"})["oneroster-1.1"]
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "`students.csv` is empty."),
        (b"\r\n  \r\n", "`students.csv` is empty."),
        (
            b",,,\r\n" + students()["students.csv"],
            "The first line of `students.csv` has no column names in it. Leave it out, so that the names come first.",
        ),
        (b'"", ,""\r\n' + students()["students.csv"], "The first line of `students.csv` has no column names in it."),
        (b";;;;\t\r\n" + students()["students.csv"], "The first line of `students.csv` has no column names in it."),
        (b"\x89PNG\r\n\x1a\n\0\0", "cannot be read as text"),
        (students()["students.csv"].replace(b",", b";"), "separated by semicolons"),
    ],
    ids=["empty", "blank lines", "commas above", "quotes and blanks above", "semicolons above", "binary", "semicolons"],
)
def test_a_file_that_cannot_be_read_says_why(content, reason):
    assert reason in reasons({"students.csv": content})["samegoal-students-2"]


@pytest.mark.parametrize("line", [b"sep=,", b"sep=;", b"SEP=\t", b'"sep=,"', b"\xef\xbb\xbfsep=,", b"sep=,,,"])
@pytest.mark.parametrize("files", [students(), oneroster()], ids=["students", "oneroster"])
def test_a_line_of_excels_above_the_names_is_told_as_what_it_is(files, line):
    name = "users.csv" if "users.csv" in files else "students.csv"
    spoilt = {**files, name: line + b"\r\n" + files[name]}
    told = f"The first line of `{name}` is Excel's `sep=`, which only Excel reads. Leave that line out, "
    found = recognise(sightings(spoilt), KNOWN)
    assert found.format is None
    assert found.message.startswith(told)
    assert "resemble" not in found.message
    right = chosen(files)
    assert reasons(spoilt)[right].startswith(told)


def test_files_that_resemble_nothing_are_said_so():
    found = recognise(sightings({"dump.bak": b"TAPE\0\0"}), KNOWN)
    assert found.format is None
    assert found.near_misses == ()
    assert "resemble no format" in found.message


def test_no_files_are_no_format():
    assert recognise([Sighting("COMPLETE", ())], KNOWN).format is None


def test_two_formats_that_fit_are_none_and_both_are_named():
    found = recognise(sightings(students()), [FORMATS["samegoal-students-2"], FORMATS["samegoal-students-2"]])
    assert found.format is None
    assert len(found.near_misses) == 2


def test_a_hostile_file_name_is_shown_on_one_line():
    told = recognise([Sighting("students\n.csv", None)], KNOWN)
    assert "\n" not in told.message


def manifest_only(version: bytes, rows: int = 13) -> dict[str, bytes]:
    lines = [b"propertyName,value", b"manifest.version,1.0", b"oneroster.version," + version]
    return {"manifest.csv": b"\r\n".join([*lines, *(b"file.f%d,absent" % at for at in range(rows))])}


@pytest.mark.parametrize(("version", "name"), [(b"1.1", "oneroster-1.1"), (b" 1.2 ", "oneroster-1.2"), (b"9", None)])
def test_two_versions_that_differ_in_nothing_else_are_told_apart_by_the_manifest(version, name):
    assert chosen(manifest_only(version)) == name


def test_a_manifest_without_its_version_is_a_near_miss():
    files = {"manifest.csv": b"propertyName,value\r\nmanifest.version,1.0\r\n"}
    assert "has no row `oneroster.version`" in reasons(files)["oneroster-1.1"]


def test_a_manifest_in_utf_16_is_read():
    files = {name: content.decode().encode("utf-16") for name, content in manifest_only(b"1.2").items()}
    assert chosen(files) == "oneroster-1.2"


def test_of_a_long_file_no_rows_are_held():
    assert read_sighting("a.csv", io.BytesIO(b"a,b\n" * 200)).rows == ()
    assert len(read_sighting("a.csv", io.BytesIO(b"a,b\n" * 20)).rows) == 19
    assert read_sighting("a.csv", io.BytesIO(b"a,b\n" + b"x" * 70_000)).rows == ()


def test_a_value_in_a_manifest_is_shown_on_one_line_and_cut():
    told = reasons(manifest_only(b"1.2\x1b" + b"x" * 500))["oneroster-1.2"]
    assert "\x1b" not in told
    assert "x" * 30 not in told


def test_a_format_that_is_only_ever_chosen_by_hand_is_not_recognised():
    alone = [FORMATS["samegoal-bulk-2"]]
    found = recognise(sightings(students()), alone)
    assert (found.format, found.near_misses) == (None, ())


def test_an_empty_file_that_need_not_be_there_keeps_no_format_from_being_known():
    assert chosen({**oneroster(), "demographics.csv": b""}) == "oneroster-1.1"
    assert "`users.csv` is empty." in reasons({**oneroster(), "users.csv": b""})["oneroster-1.1"]


@pytest.mark.parametrize("beside", ["readme.txt", "second.ZIP"])
def test_of_a_zip_that_is_not_alone_it_is_said_why_it_was_not_opened(beside):
    found = recognise(sightings({"roster.zip": b"PK", beside: b"x", "COMPLETE": b""}), KNOWN)
    assert found.message.startswith("`roster.zip` is not alone: a zip is opened only")
