"""A file that is sent as an epoch by itself (`users_auto.csv`): it says nothing about the others of its set."""

import io
from datetime import datetime

import pytest

from accounts.models import District, User
from ingest import holds
from ingest.core.check import Verdict, check
from ingest.core.choose import Recognition, read_sighting, recognise_alone
from ingest.core.facts import Applied, Night, TableFacts
from ingest.core.facts import applied as applied_after
from ingest.core.guard import Calendar, GuardLimits, State, judge
from ingest.core.sampling import epoch as made
from ingest.core.verdict import Limits
from ingest.models import Dataset, Epoch, Record

from . import epochs
from .epochs import FORMATS, ONEROSTER, STUDENTS, Files, sources
from .uploading import NEXT_NIGHT, NIGHT, home, look, night, process

KNOWN = [*FORMATS.values()]
SET = made(STUDENTS, 40, 1, 0)
NAMES = [
    (known.name, table.file)
    for known in KNOWN
    for files in [made(known, 30, 1, 0)]
    for table in known.tables
    if not known.by_hand and table.file in files
]


def recognised(file: str, content: bytes, usual: str = "") -> Recognition:
    return recognise_alone(read_sighting(file, io.BytesIO(content)), KNOWN, usual)


def checked(known: str, files: Files, on_record: dict[str, set[str]] | None = None) -> Verdict:
    return check(FORMATS[known], sources(files), Limits(), lambda rows: None, on_record=on_record or {})


def send(district: District, file: str, content: bytes) -> Epoch:
    """One file under its `_auto` name, from upload to its end."""
    name = file.replace(".csv", "_auto.csv")
    (home(district) / "upload" / name).write_bytes(content)
    look()
    Epoch.objects.filter(district=district, name=name, state="arriving").update(hurry=True)
    look()
    process(district)
    return Epoch.objects.filter(district=district, name=name).latest("pk")


def some(content: bytes, rows: int) -> bytes:
    """The header and the first rows."""
    return b"\r\n".join([*content.split(b"\r\n")[: rows + 1], b""])


def reasons(epoch: Epoch) -> list[str]:
    return [one["code"] for one in epoch.judgement.reasons if one["weight"] != "note"]


def on_record(table: str) -> int:
    return Record.objects.filter(dataset=Dataset.objects.get(table=table), is_removed=False).count()


# --- What it is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("known", "file"), NAMES)
def test_every_known_file_may_come_alone_in_the_format_that_its_district_sends(known: str, file: str) -> None:
    files = made(FORMATS[known], 30, 1, 0)
    assert getattr(recognised(file, files[file], known).format, "name", None) == known
    verdict = checked(known, {file: files[file]})
    assert "missing-file" not in [one.code for one in verdict.findings]


def test_without_a_usual_format_the_one_is_taken_that_the_file_would_be_anyway() -> None:
    assert recognised("users.csv", SET["users.csv"]).format is STUDENTS
    assert recognised("users.csv", SET["users.csv"], "samegoal-students-1").format is FORMATS["samegoal-students-1"]


def test_of_two_formats_that_fit_a_person_chooses() -> None:
    found = recognised("classes.csv", epochs.oneroster()["classes.csv"])
    assert found.format is None
    assert "a person has to choose" in found.message


def test_a_usual_format_that_the_file_is_not_is_no_reason_to_take_it_for_one() -> None:
    assert recognised("students.csv", SET["students.csv"], "samegoal-students-1").format is STUDENTS
    assert recognised("students.csv", b"nothing\r\n", STUDENTS.name).format is None


def test_what_goes_by_its_owner_does_not_come_without_him() -> None:
    verdict = checked("samegoal-bulk-2", {"guardians.csv": SET["guardians.csv"]})
    assert [one.file for one in verdict.findings if one.code == "missing-file"] == ["students.csv"]


# --- What it refers to -------------------------------------------------------------------------------------------


def test_what_it_refers_to_is_looked_up_on_record_and_a_stranger_is_a_warning() -> None:
    guardians = SET["guardians.csv"]
    ids = {line.split(b",")[0].decode() for line in guardians.split(b"\r\n")[1:-1]}
    assert [one.code for one in checked(STUDENTS.name, {"guardians.csv": guardians}, {"students": ids}).findings] == []
    verdict = checked(STUDENTS.name, {"guardians.csv": guardians}, {"students": ids - {"S0000001"}})
    assert verdict.ok
    assert {(one.code, one.severity.value, one.message) for one in verdict.findings} == {
        ("reference", "warning", "No record of `students` has this key.")
    }


def test_a_large_file_finds_the_same() -> None:
    guardians = made(STUDENTS, 4000, 1, 0)["guardians.csv"]
    limits = Limits(sieve_from=0)
    ids = {line.split(b",")[0].decode() for line in guardians.split(b"\r\n")[1:-1]} - {"S0000001"}
    told = [
        check(STUDENTS, sources({"guardians.csv": guardians}), one, lambda rows: None, on_record={"students": ids})
        for one in (limits, Limits(sieve_from=1 << 40))
    ]
    assert told[0] == told[1]
    assert [one.code for one in told[0].findings][:1] == ["reference"]


def test_where_nothing_is_on_record_the_log_says_that_nothing_was_looked_up(district: District) -> None:
    epoch = send(district, "guardians.csv", SET["guardians.csv"])
    assert epoch.state == "loaded"
    assert "References in `Student Id` are not checked" in epoch.log


def test_a_guardian_of_a_student_who_is_not_on_record_is_loaded_with_a_warning(district: District) -> None:
    send(district, "students.csv", some(SET["students.csv"], 20))
    epoch = send(district, "guardians.csv", SET["guardians.csv"])
    assert (epoch.state, epoch.errors) == ("loaded", 0)
    assert epoch.warnings > 0
    assert "No record of `students` has this key." in epoch.log


# --- Night after night -------------------------------------------------------------------------------------------


def test_files_that_come_one_by_one_are_loaded_night_after_night(district: District) -> None:
    for number in range(2):
        for file in SET:
            epoch = send(district, file, SET[file])
            assert (epoch.state, reasons(epoch)) == ("loaded", []), (number, file)
    assert on_record("students") == 40


def test_a_file_alone_takes_only_its_own_rows_away(district: District) -> None:
    night(district, NIGHT, SET)
    before = {one.table: one.active for one in Dataset.objects.all()}
    epoch = send(district, "students.csv", some(SET["students.csv"], 37))
    assert (epoch.state, epoch.judgement.state) == ("loaded", "pass")
    assert {one.table: one.active for one in Dataset.objects.all()} == {**before, "students": 37}
    assert on_record("guardians") == before["guardians"]


def test_the_next_set_is_compared_with_the_last_whole_one(district: District) -> None:
    night(district, NIGHT, SET)
    send(district, "users.csv", SET["users.csv"])
    send(district, "students.csv", some(SET["students.csv"], 39))
    epoch = night(district, NEXT_NIGHT, {name: SET[name] for name in SET if name != "users.csv"})
    assert (epoch.state, reasons(epoch)) == ("held", ["file-gone"])
    assert "`users.csv` was not sent" in epoch.judgement.message


def test_a_file_of_a_set_with_a_manifest_is_known_by_what_its_district_sends(district: District) -> None:
    night(district, NIGHT, epochs.oneroster())
    epoch = send(district, "classes.csv", epochs.oneroster()["classes.csv"])
    assert (epoch.state, epoch.format, reasons(epoch)) == ("loaded", ONEROSTER.name, [])
    assert on_record("orgs") > 0


def test_a_file_that_is_as_it_was_has_not_come_again(district: District) -> None:
    send(district, "students.csv", SET["students.csv"])
    send(district, "users.csv", SET["users.csv"])
    assert reasons(send(district, "students.csv", SET["students.csv"])) == []


def test_an_older_file_that_comes_again_is_told(district: District) -> None:
    send(district, "students.csv", SET["students.csv"])
    send(district, "students.csv", some(SET["students.csv"], 39))
    assert reasons(send(district, "students.csv", SET["students.csv"])) == ["stale-content"]


def test_a_file_alone_is_never_passed_over_in_favour_of_another(district: District) -> None:
    night(district, NIGHT, SET)
    send(district, "students.csv", some(SET["students.csv"], 10))
    send(district, "users.csv", some(SET["users.csv"], 20))
    line = holds.line_of(district, holds.epochs_in_line(district))
    assert [one.is_alone for one in line.queue] == [True, True]
    assert holds.Act.SKIP not in holds.allowed(line)
    first = holds.epochs_in_line(district)[0]
    seen = holds.Seen(first.judgement.content, first.judgement.against)
    holds.hold_discard(first, seen=seen, reason="too few", actor=User.objects.get(email="support@vendor.example"))
    process(district)
    assert Epoch.objects.get(name="users_auto.csv").state in ("loaded", "held")


def test_what_was_remembered_before_is_no_file_alone() -> None:
    at = datetime(2026, 11, 21)
    before = Applied(Night("a", "f", at, (TableFacts("s", "s.csv", rows=9), TableFacts("u", "u.csv", rows=9))), "1", at)
    alone = Night(
        "s_auto.csv", "f", at, (TableFacts("s", "s.csv", rows=8), TableFacts("u", "u.csv", False)), alone=True
    )
    kept = applied_after(alone, before)
    assert [one.present for one in kept.night.tables] == [True, True]
    whole = Night("b", "f", at, (TableFacts("s", "s.csv", rows=8), TableFacts("u", "u.csv", False)))
    assert judge(whole, kept, GuardLimits(), Calendar(at.date())).state is State.HELD


def test_a_directory_with_the_file_that_came_by_itself_is_judged_as_a_directory(district: District) -> None:
    files = made(STUDENTS, 20)
    night(district, NIGHT, files)
    changed = files["guardians.csv"].replace(b"Mother", b"Father", 1)
    assert send(district, "guardians.csv", changed).state == "loaded"
    assert night(district, NEXT_NIGHT, {"guardians.csv": changed}).state == "failed"
