"""Real rosters of a vendor's own making, read where they lie: each is known as what it is, and clean."""

import io
from pathlib import Path

import pytest

from ingest.core.check import rows
from ingest.core.choose import read_sighting, recognise
from ingest.core.schema import Mode
from tests.ingest.epochs import FORMATS, checked, sources

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
ROSTERS = SAMPLES / "microsoft_sds"
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the shared samples are not on this machine")

KNOWN_AS = {
    "SDS Format/100 Users": "sds-1",
    "SDS Format/25 Users": "sds-1",
    "SDS Format/Min Required Attributes": "sds-1",
    "UK Format/100 Users": "sds-1-uk",
    "UK Format/25 Users": "sds-1-uk",
    "UK Format/Min Required Attributes": "sds-1-uk",
    "SDS v2": "sds-2",
    "SDS v2.1": "sds-2.1",
}


def roster(folder: str) -> dict[str, bytes]:
    files = {path.name: path.read_bytes() for path in sorted((ROSTERS / folder).glob("*.csv"))}
    assert files
    return files


def recognised(files: dict[str, bytes]):
    return recognise([read_sighting(name, io.BytesIO(content)) for name, content in files.items()], [*FORMATS.values()])


def test_every_roster_there_is_has_its_place_here():
    assert {str(path.parent.relative_to(ROSTERS)) for path in ROSTERS.rglob("*.csv")} == set(KNOWN_AS)


@pytest.mark.parametrize("folder", KNOWN_AS)
def test_a_real_roster_is_known_and_has_no_findings(folder):
    files = roster(folder)
    known = recognised(files).format
    assert known is FORMATS[KNOWN_AS[folder]]
    verdict = checked(known, files)
    assert verdict.findings == ()
    assert {name for name, mode in verdict.modes.items() if mode is Mode.FULL} == {
        known.table_of(name).name for name in files
    }
    assert sum(one.rows for one in verdict.counts) == sum(content.count(b"\r\n") - 1 for content in files.values())


def test_the_rows_of_a_real_roster_are_read_with_their_dates_mended_and_without_passwords():
    known = FORMATS["sds-1"]
    content = roster("SDS Format/100 Users")["Student.csv"]
    kept = list(rows(known, known.table("Student"), sources({"Student.csv": content})[0]))
    assert len(kept) == 86
    assert kept[0].values["Birthdate"] == "2000-04-02"
    assert all("Password" not in row.values for row in kept)


def test_roles_in_capital_and_small_letters_are_stored_in_one_spelling():
    known = FORMATS["sds-2"]
    content = roster("SDS v2")["users.csv"]
    kept = rows(known, known.table("users"), sources({"users.csv": content})[0])
    assert {row.values["role"] for row in kept} == {
        "student",
        "teacher",
        "staff",
        "faculty",
        "aide",
        "professor",
        "lecturer",
    }


@pytest.mark.parametrize("folder", KNOWN_AS)
@pytest.mark.parametrize("damage", ["cut off", "an id gone", "a reference gone"])
def test_damage_to_a_real_roster_is_found(folder, damage):
    files = roster(folder)
    name = next(name for name in files if name.casefold() in ("student.csv", "users.csv"))
    lines = files[name].rstrip(b"\r\n").split(b"\r\n")
    if damage == "cut off":
        lines[-1] = lines[-1].split(b",")[0]
        files[name] = b"\r\n".join(lines)
        expected = (name, "cut-off", len(lines))
    elif damage == "an id gone":
        lines[2] = b"," + lines[2].split(b",", 1)[1]
        files[name] = b"\r\n".join([*lines, b""])
        expected = (name, "key-empty", 3)
    else:
        schools = next(name for name in files if name.casefold() in ("school.csv", "orgs.csv"))
        files[schools] = b"\r\n".join([*files[schools].split(b"\r\n")[:1], b"nobody,Nowhere" + b"," * 20, b""])
        files[schools] = padded(files[schools])
        users = next(name for name in files if name.casefold() in ("section.csv", "classes.csv"))
        expected = (users, "reference", 2)
    verdict = checked(FORMATS[KNOWN_AS[folder]], files)
    assert expected in {(one.file, one.code, one.line) for one in verdict.findings}


def padded(content: bytes) -> bytes:
    """The second line with as many values as the first."""
    head, row, *rest = content.split(b"\r\n")
    values = row.split(b",") + [b""] * 20
    return b"\r\n".join([head, b",".join(values[: head.count(b",") + 1]), *rest])


@pytest.mark.parametrize("folder", ["SDS Format/25 Users", "SDS v2.1"])
def test_a_real_roster_without_one_of_its_files_is_left_for_staff(folder):
    files = roster(folder)
    name = next(name for name in files if name in ("Teacher.csv", "users.csv"))
    del files[name]
    found = recognised(files)
    assert found.format is None
    assert f"`{name}` is missing." in found.message
