"""`manage.py check_epoch`: folders, zips and files, told in JSON and in words, without a database."""

import io
import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command

from ingest.core.choose import recognise
from ingest.core.sampling import epoch, zipped
from ingest.core.schema import Container
from tests.ingest.epochs import FORMATS, ONEROSTER, STUDENTS, students, with_cell

KEYS = ["path", "recognised", "version", "state", "files", "findings", "counts", "diff"]
FINDING = ["file", "line", "column", "code", "severity", "message"]
Told = dict[str, object]


class Terminal(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        return True


def put(place: Path, files: Mapping[str, bytes]) -> Path:
    """A folder with these files."""
    place.mkdir()
    for name, content in files.items():
        (place / name).write_bytes(content)
    return place


def run(*words: object, err: io.StringIO | None = None) -> tuple[int, str]:
    """The command's exit status and what it wrote."""
    out, status = io.StringIO(), 0
    try:
        call_command("check_epoch", *map(str, words), stdout=out, stderr=err or io.StringIO())
    except SystemExit as end:
        status = int(str(end.code))
    return status, out.getvalue()


def told(*words: object) -> tuple[int, list[Told]]:
    status, out = run(*words, "--json")
    return status, [json.loads(line) for line in out.splitlines()]


def codes(one: Told) -> list[str]:
    return [finding["code"] for finding in one["findings"]]


@pytest.mark.parametrize("known", [one for one in FORMATS.values() if not one.by_hand], ids=lambda one: one.name)
def test_files_of_each_format_are_recognised_and_in_order(known, tmp_path: Path) -> None:
    files = epoch(known, 40)
    status, (one,) = told(put(tmp_path / "20261121-020000", files))
    assert (status, one["state"], one["recognised"], one["version"]) == (0, "ok", known.name, known.version)
    assert list(one) == KEYS
    assert {file["name"] for file in one["files"]} == set(files)
    assert one["counts"]["rows"] == sum(content.count(b"\n") - 1 for content in files.values())
    assert one["diff"] == {}


@pytest.mark.parametrize("known", FORMATS.values(), ids=lambda one: one.name)
def test_a_zip_is_read_as_it_would_be_after_an_upload(known, tmp_path: Path) -> None:
    packed = tmp_path / "roster.zip"
    packed.write_bytes(zipped(epoch(known, 40)))
    status, (one,) = told(packed)
    may_come = Container.ZIP in known.containers and not known.by_hand
    assert (status, one["state"]) == ((0, "ok") if may_come else (2, "unrecognised"))
    status, (other,) = told(put(tmp_path / "in-a-folder", {"any.zip": packed.read_bytes()}))
    assert {**one, "path": ""} == {**other, "path": ""}


def test_a_format_that_is_never_recognised_can_be_asked_for(tmp_path: Path) -> None:
    known = next(one for one in FORMATS.values() if one.by_hand)
    place = put(tmp_path / "epoch", epoch(known, 40))
    status, (one,) = told(place, "--format", known.name)
    assert (status, one["recognised"], one["state"]) == (0, known.name, "ok")


def test_errors_are_told_with_file_line_column_and_the_value_is_not(tmp_path: Path) -> None:
    content = with_cell(students()["students.csv"], 7, "Date of Birth", "31/31/1999x")
    status, (one,) = told(put(tmp_path / "epoch", {"students.csv": content}))
    assert (status, one["state"], one["recognised"]) == (1, "errors", STUDENTS.name)
    (finding,) = one["findings"]
    assert list(finding) == FINDING
    assert (finding["file"], finding["line"], finding["column"]) == ("students.csv", 7, "Date of Birth")
    assert finding["severity"] == "error"
    assert "31/31" not in json.dumps(one)
    assert one["files"] == [{"name": "students.csv", "rows": 50, "errors": 1, "warnings": 0}]
    assert (one["counts"]["errors"], one["counts"]["codes"]) == (1, {finding["code"]: 1})


def test_more_findings_than_are_kept_are_counted(tmp_path: Path, settings) -> None:
    settings.INGEST_FINDINGS_PER_CODE = 3
    content = students(rows=20)["students.csv"].replace(b"\r\n", b",x\r\n").replace(b",x\r\n", b"\r\n", 1)
    _, (one,) = told(put(tmp_path / "epoch", {"students.csv": content}))
    assert (len(one["findings"]), one["counts"]["errors"], one["files"][0]["errors"]) == (3, 20, 20)


def test_of_what_a_zip_or_a_folder_is_refused_for_only_so_much_is_kept_too(tmp_path: Path, settings) -> None:
    settings.INGEST_FINDINGS_PER_CODE = 3
    packed = tmp_path / "roster.zip"
    packed.write_bytes(zipped({f"../odd{number}.csv": b"a" for number in range(20)}))
    _, (one,) = told(packed)
    assert (len(one["findings"]), one["counts"]["codes"]) == (3, {"zip-slip": 20})
    folder = put(tmp_path / "epoch", {"export.csv": b"a,b\r\n1,2\r\n"})
    for number in range(20):
        (folder / f"link{number}.csv").symlink_to("export.csv")
    _, (one,) = told(folder)
    assert Counter(finding["code"] for finding in one["findings"]) == {"link": 3, "unrecognised": 1}
    assert one["counts"]["codes"]["link"] == 20


def test_what_nobody_knows_is_unrecognised_and_says_why(tmp_path: Path) -> None:
    status, (one,) = told(put(tmp_path / "epoch", {"export.csv": b"a,b\r\n1,2\r\n"}))
    assert (status, one["recognised"], one["version"], one["state"]) == (2, None, None, "unrecognised")
    assert codes(one) == ["unrecognised"]
    assert one["files"] == [{"name": "export.csv", "rows": 0, "errors": 0, "warnings": 0}]
    _, text = run(put(tmp_path / "near", {"student.csv": students()["students.csv"]}))
    assert "did you mean `students.csv`?" in text


def test_the_worst_of_several_decides_and_each_has_a_line(tmp_path: Path) -> None:
    good = put(tmp_path / "good", students())
    bad = put(tmp_path / "bad", {"students.csv": with_cell(students()["students.csv"], 3, "Date of Birth", "x")})
    strange = put(tmp_path / "strange", {"a.csv": b"x"})
    status, all_told = told(good, bad, strange)
    assert (status, [one["state"] for one in all_told]) == (2, ["ok", "errors", "unrecognised"])
    assert told(good, bad)[0] == 1
    assert [one["path"] for one in all_told] == [str(good), str(bad), str(strange)]


def twice(place: Path, name: str) -> None:
    """A file that has another name outside of the folder."""
    (place.parent / "elsewhere").write_bytes(b"root:x")
    os.link(place.parent / "elsewhere", place / name)


HOSTILE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a link": ("link", lambda place: (place / "users.csv").symlink_to("/etc/passwd")),
    "a link to a folder": ("link", lambda place: (place / "more").symlink_to("/etc")),
    "a link to nowhere": ("link", lambda place: (place / "more").symlink_to("nowhere")),
    "a link that has its own name": ("link", lambda place: (place / "loop").symlink_to("loop")),
    "a pipe": ("not-a-file", lambda place: os.mkfifo(place / "users.csv")),
    "a hard link": ("second-name", lambda place: twice(place, "users.csv")),
    "a folder": ("folder", lambda place: put(place / "inner", students())),
    "a name that cannot be shown": ("odd-name", lambda place: (place / "x\x01.csv").touch()),
    "a file that is not finished": ("unfinished", lambda place: (place / "x.csv.filepart").touch()),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_plain_file_is_told_and_not_followed(what: str, tmp_path: Path) -> None:
    code, spoil = HOSTILE[what]
    place = put(tmp_path / "epoch", students())
    spoil(place)
    status, (one,) = told(place)
    assert (status, one["recognised"], one["state"]) == (1, STUDENTS.name, "errors")
    assert code in codes(one)
    assert "root:" not in json.dumps(one)


SINGLE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a hard-linked file": ("second-name", lambda path: os.link(path, path.parents[1] / "elsewhere")),
    "a name that cannot be shown": ("odd-name", lambda path: path.rename(path.with_name("x\x01" + path.suffix))),
}


@pytest.mark.parametrize("what", SINGLE)
@pytest.mark.parametrize("name", ["users.csv", "roster.zip"])
def test_a_file_that_is_named_itself_is_told_the_same_as_in_its_folder(what: str, name: str, tmp_path: Path) -> None:
    code, spoil = SINGLE[what]
    content = zipped(epoch(ONEROSTER, 20)) if name.endswith(".zip") else b"root:x\r\n"
    place = put(tmp_path / "epoch", {name: content})
    spoil(place / name)
    (path,) = place.iterdir()
    status, (inside, itself) = told(place, path)
    assert status in (1, 2)
    assert code in codes(itself)
    assert {**itself, "path": ""} == {**inside, "path": ""}


def test_a_file_that_becomes_a_pipe_after_the_listing_is_not_waited_for(tmp_path: Path, monkeypatch) -> None:
    place = put(tmp_path / "epoch", students())

    def swapped(*words: object) -> object:
        (place / "students.csv").unlink()
        os.mkfifo(place / "students.csv")
        return recognise(*words)

    monkeypatch.setattr("ingest.examining.recognise", swapped)
    err = io.StringIO()
    assert run(place, "--json", err=err) == (3, "")
    assert "cannot be read" in err.getvalue()


def test_a_name_that_would_steer_a_terminal_or_break_json_is_escaped(tmp_path: Path) -> None:
    place = put(tmp_path / "epoch", {**students(), "\x1b[31m.csv": b"a\r\n"})
    Path(os.fsdecode(os.fsencode(place) + b"/\xff.csv")).write_bytes(b"a\r\n")
    _, out = run(place, "--json")
    assert "\\udc" not in out
    names = {file["name"] for file in json.loads(out)["files"]}
    assert len(names) == 3
    assert all(name.isprintable() for name in names)
    _, text = run(place)
    assert "\x1b" not in text


def test_a_zip_that_may_not_be_read_is_an_error_and_nothing_of_it_is_looked_at(tmp_path: Path) -> None:
    packed = tmp_path / "roster.zip"
    packed.write_bytes(zipped({**students(), "../../evil.csv": b"x"}))
    status, (one,) = told(packed)
    assert (status, one["state"], one["recognised"], one["files"]) == (1, "errors", None, [])
    assert "zip-slip" in codes(one)


def test_a_damaged_file_in_a_zip_is_an_error(tmp_path: Path) -> None:
    # In a small file the header cannot be read, in a large one something far below: it is one and the same damage.
    for users in (400, 10_000):
        content = bytearray(zipped(epoch(ONEROSTER, users)))
        member = zipfile.ZipFile(io.BytesIO(content)).getinfo("users.csv")
        at = member.header_offset + member.compress_size - 100
        content[at : at + 20] = bytes(20)
        packed = tmp_path / "roster.zip"
        packed.write_bytes(content)
        status, (one,) = told(packed)
        assert (status, one["state"], codes(one)) == (1, "errors", ["zip-damaged"])


@pytest.mark.parametrize("name", ["nowhere", "pipe"])
def test_what_cannot_be_looked_at_is_a_plain_sentence_and_the_others_are_done(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    good, err = put(tmp_path / "good", students()), io.StringIO()
    status, out = run(tmp_path / name, good, "--json", err=err)
    assert (status, [json.loads(line)["state"] for line in out.splitlines()]) == (3, ["ok"])
    assert name in err.getvalue()
    assert "Traceback" not in err.getvalue()


def test_a_format_nobody_knows_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    err = io.StringIO()
    status, out = run(put(tmp_path / "epoch", students()), "--format", STUDENTS.name + "x", err=err)
    assert (status, out) == (3, "")
    assert f"Did you mean `{STUDENTS.name}`?" in err.getvalue()


def test_a_name_that_only_looks_like_a_time_is_a_warning(tmp_path: Path) -> None:
    status, (one,) = told(put(tmp_path / "20261341-020000", students()))
    assert (status, codes(one), one["counts"]["warnings"]) == (0, ["epoch-name"], 1)


# --- Compared with an earlier one ----------------------------------------------------------------------------------


def test_against_an_earlier_epoch_it_is_told_what_would_change_and_in_which_columns(tmp_path: Path) -> None:
    before, after = epoch(ONEROSTER, 1000, night=0), epoch(ONEROSTER, 1000, night=3)
    old, new = put(tmp_path / "old", before), put(tmp_path / "new", after)
    _, (one,) = told(new, "--against", old)
    users = one["diff"]["users"]
    lines = [set(files["users.csv"].splitlines()[1:]) for files in (before, after)]
    keys = [{line.split(b",")[0] for line in side} for side in lines]
    added, removed = len(keys[1] - keys[0]), len(keys[0] - keys[1])
    assert (users["added"], users["removed"]) == (added, removed)
    assert users["changed"] == len(lines[1] - lines[0]) - added > 0
    assert users["unchanged"] == len(lines[0] & lines[1])
    assert sum(users["columns"].values()) == users["changed"]
    assert set(users["columns"]) <= {field.name for field in ONEROSTER.table("users").fields}
    _, text = run(new, "--against", old)
    assert "Changed in users: " in text


def test_against_itself_nothing_would_change_though_it_is_zipped(tmp_path: Path) -> None:
    files = epoch(ONEROSTER, 60)
    packed = tmp_path / "roster.zip"
    packed.write_bytes(zipped(files))
    _, (one,) = told(put(tmp_path / "epoch", files), "--against", packed)
    assert set(one["diff"]) == {table.name for table in ONEROSTER.tables if table.file in files}
    assert all(not (it["added"] or it["changed"] or it["removed"]) for it in one["diff"].values())
    assert all(it["unchanged"] for it in one["diff"].values())


def test_guardians_are_compared_for_those_students_only_that_are_sent(tmp_path: Path) -> None:
    known = next(one for one in FORMATS.values() if any(table.owner for table in one.tables))
    owned = next(table for table in known.tables if table.owner)
    files = epoch(known, 60)
    above = known.table(owned.owner_table).file
    rows = files[above].splitlines(keepends=True)
    fewer = {**files, above: b"".join(rows[:-10])}
    wanted = ("--format", known.name)
    _, (one,) = told(put(tmp_path / "new", fewer), "--against", put(tmp_path / "old", files), *wanted)
    assert one["diff"][owned.name]["removed"] == 0


def test_what_is_another_format_cannot_be_compared(tmp_path: Path) -> None:
    other, err = put(tmp_path / "old", {"what.csv": b"a,b\r\n"}), io.StringIO()
    status, out = run(put(tmp_path / "new", students()), "--against", other, "--json", err=err)
    assert (status, out) == (3, "")
    assert str(other) in err.getvalue()


# --- As a program --------------------------------------------------------------------------------------------------


AWAY = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing", "BROKER_URL": "redis://127.0.0.1:1/0"}


def _program(*words: object, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "manage.py", "check_epoch", *map(str, words)]
    told = {**os.environ, **AWAY}
    return subprocess.run(
        command, cwd=settings.BASE_DIR, env=told, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


def test_it_needs_no_database_and_a_large_file_is_read_in_bulk(tmp_path: Path) -> None:
    content = epoch(STUDENTS, 200_000)["students.csv"]
    bad = with_cell(content, 150_001, "Date of Birth", "x")
    done = _program(put(tmp_path / "epoch", {"students.csv": bad}), "--json")
    assert (done.returncode, done.stderr) == (1, "")
    one = json.loads(done.stdout)
    assert one["files"] == [{"name": "students.csv", "rows": 200_000, "errors": 1, "warnings": 0}]
    assert [finding["line"] for finding in one["findings"]] == [150_001]


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_whoever_has_read_enough_still_has_the_exit_status(words: list[str], tmp_path: Path) -> None:
    bad = with_cell(students()["students.csv"], 2, "Date of Birth", "x")
    places = [put(tmp_path / "one", {"students.csv": bad}), put(tmp_path / "two", students())]
    nobody, writing = os.pipe()
    os.close(nobody)
    try:
        done = _program(*places, *words, stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_progress_is_told_on_a_terminal_and_nowhere_else(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("ingest.management.commands.check_epoch.PROGRESS_SECONDS", 0)
    place = put(tmp_path / "epoch", students(rows=30_000))
    terminal, pipe = Terminal(), io.StringIO()
    assert run(place, err=terminal)[1] == run(place, err=pipe)[1]
    assert "30,000 rows checked" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert pipe.getvalue() == ""


def test_a_person_reads_what_would_happen_first(tmp_path: Path) -> None:
    _, good = run(put(tmp_path / "good", students()))
    assert good.startswith("OK: These files would be loaded.\n")
    bad = with_cell(students()["students.csv"], 3, "Date of Birth", "x")
    _, text = run(put(tmp_path / "bad", {"students.csv": bad}))
    assert text.startswith("ERRORS: Nothing of these files would be loaded.\n")
    assert "students.csv, line 3, column Date of Birth" in text


def test_a_file_that_is_an_epoch_by_itself_is_checked_as_one(tmp_path: Path) -> None:
    files = epoch(FORMATS["samegoal-students-2"], 20)
    for name in ("students", "guardians"):
        (tmp_path / f"{name}_auto.csv").write_bytes(files[f"{name}.csv"])
        status, (one,) = told(tmp_path / f"{name}_auto.csv", "--format", "samegoal-students-2")
        assert (status, one["state"], [file["name"] for file in one["files"]]) == (0, "ok", [f"{name}.csv"])
    status, (one,) = told(put(tmp_path / "two", {"students_auto.csv": files["students.csv"], "COMPLETE": b""}))
    assert (status, one["state"]) == (2, "unrecognised")


WAITS = {
    "unfinished": {"guardians.csv.part": b""},
    "complete-not-empty": {"COMPLETE": b"done"},
    "complete-name": {"complete.txt": b""},
}


@pytest.mark.parametrize("code", WAITS)
def test_what_an_upload_would_wait_for_is_an_error(tmp_path: Path, code: str) -> None:
    files = epoch(FORMATS["samegoal-students-2"], 20)
    status, (one,) = told(put(tmp_path / "20261121-020000", {**files, **WAITS[code]}))
    assert (status, one["state"]) == (1, "errors")
    assert code in codes(one)
