"""`result.json` beside the log: what programs read of an epoch, by a schema that is written down."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from accounts.models import District
from ingest.core.diff import Counts
from ingest.core.findings import Finding, Severity, Tally
from ingest.core.result import SCHEMA_VERSION, EpochResult, FileResult, GuardResult, render_result
from ingest.models import Epoch

from .epochs import oneroster, oneroster_zip, students, with_cell
from .uploading import NEXT_NIGHT, NIGHT, Broken, home, night, process, put, queue, use

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "result.schema.json").read_text())
WHEN = datetime(2026, 11, 22, 2, 5, tzinfo=UTC)
TYPES = {"string": str, "integer": int, "boolean": bool, "object": dict, "array": list, "null": type(None)}
BAD = {"students.csv": with_cell(students()["students.csv"], 7, "Date of Birth", "31/31/Zanzibar")}


def fits(value: object, schema: dict, place: str = "$") -> None:
    """What of JSON Schema the schema uses, and no more: an unknown word is refused."""
    assert not schema.keys() - WORDS, place
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    assert any(type(value) is TYPES[kind] for kind in kinds), f"{place} is {value!r}"
    assert value in schema.get("enum", [value]), place
    assert "const" not in schema or value == schema["const"], place
    if isinstance(value, str) and "pattern" in schema:
        assert re.search(schema["pattern"], value), place
    if isinstance(value, dict):
        assert value.keys() == schema["properties"].keys() == {*schema["required"]}, place
        for name, one in value.items():
            fits(one, schema["properties"][name], f"{place}.{name}")
    for at, one in enumerate(value if isinstance(value, list) else ()):
        fits(one, schema["items"], f"{place}[{at}]")


WORDS = {"$schema", "title", "description", "type", "enum", "const", "pattern", "properties", "required", "items"}


def lying(epoch: Epoch, name: str = "result.json") -> dict:
    path = home(epoch.district) / "upload-processed" / epoch.archive_name / name
    told = json.loads(path.read_text("ascii"))
    fits(told, SCHEMA)
    return told


def test_a_result_says_all_there_is_and_fits_its_schema() -> None:
    file = FileResult("a.csv", "", 10, "00" * 32, "utf-8", "comma", "a", "full", 3, 1, 1, 2, Counts(1, 2, 3, 4))
    told = render_result(
        EpochResult(
            epoch="20261122-020000",
            directory="20261122-020000-2",
            succeeded=True,
            state="loaded",
            reason="3 rows in 1 file loaded.",
            format="f",
            format_version="1",
            format_title="F",
            started=WHEN,
            finished=None,
            log="processing-log.txt",
            findings_file="findings.csv",
            listed=3,
            files=(file,),
            findings=(Finding("a.csv", "enum", Severity.ERROR, "m", 2, "b", "h", "X-9"),),
            tallies=(Tally("a.csv", "enum", Severity.ERROR, 1), Tally("a.csv", "x", Severity.WARNING, 2)),
            guard=GuardResult("held", ("file-gone",), "cut-off", "approved"),
        )
    )
    found = json.loads(told)
    fits(found, SCHEMA)
    assert found["schema_version"] == SCHEMA_VERSION
    assert (found["started"], found["finished"]) == ("2026-11-22T02:05:00Z", None)
    numbers = {"files": 1, "rows": 3, "errors": 1, "warnings": 2, "notes": 0}
    assert found["counts"] == {**numbers, "added": 1, "changed": 2, "removed": 3, "unchanged": 4}
    assert found["guard"] == {
        "state": "held", "reasons": ["file-gone"], "cause": "cut-off", "decision": "approved",
    }  # fmt: skip
    assert told.isascii()
    assert told.endswith("}\n")


def test_a_good_night_and_its_log_say_the_same(district: District) -> None:
    epoch = night(district, NIGHT, oneroster(users=4))
    told = lying(epoch)
    assert (told["succeeded"], told["state"], told["directory"]) == (True, "loaded", epoch.archive_name)
    assert epoch.log.startswith(f"SUCCEEDED: {told['reason']}\n")
    assert (told["log"], told["findings_file"], told["findings_listed"]) == ("processing-log.txt", None, 0)
    files = {one["name"]: one for one in told["files"]}
    for row in epoch.files.all():
        mine = files[row.name]
        assert (mine["sha256"], mine["size"], mine["rows"]) == (row.sha256, row.size, row.rows)
        assert (mine["changes"] or {}).get("added", 0) == row.added
    assert told["counts"]["added"] == told["counts"]["rows"] - files["manifest.csv"]["rows"]


def test_a_bad_night_says_what_was_found_and_no_value(district: District) -> None:
    epoch = night(district, NIGHT, BAD)
    told = lying(epoch)
    assert (told["succeeded"], told["state"]) == (False, "failed")
    assert epoch.log.startswith(f"FAILED: {told['reason']}\n")
    assert told["codes"] == [{"file": "students.csv", "code": "type", "severity": "error", "count": 1}]
    assert (told["findings"][0]["line"], told["findings"][0]["column"]) == (7, "Date of Birth")
    assert told["findings_listed"] == 1
    assert "Zanzibar" not in json.dumps(told)
    assert [one["changes"] for one in told["files"]] == [None]


def test_a_zip_tells_its_files_and_where_they_came_in(district: District) -> None:
    told = lying(night(district, NIGHT, oneroster_zip(users=4)))
    assert {one["archive"] for one in told["files"]} == {None, "roster.zip"}


def test_a_night_that_was_held_tells_why_and_what_was_decided(district: District) -> None:
    night(district, NIGHT, students(rows=80))
    epoch = night(district, NEXT_NIGHT, students(rows=8))
    assert epoch.state == "held"
    Epoch.objects.filter(pk=epoch.pk).update(state="working")
    epoch.judgement.act, epoch.judgement.act_message = "discarded", "Discarded by staff."
    epoch.judgement.save()
    process(district)
    epoch.refresh_from_db()
    told = lying(epoch)
    assert (told["succeeded"], told["state"], told["reason"]) == (False, "discarded", "Discarded by staff.")
    assert (told["guard"]["state"], told["guard"]["decision"]) == ("held", "discarded")
    assert "too-many-removed" in told["guard"]["reasons"]


def test_a_file_of_the_district_with_the_results_name_stays(district: District) -> None:
    epoch = night(district, NIGHT, {**students(), "result.json": b"ours"})
    place = home(district) / "upload-processed" / epoch.archive_name
    assert (place / "result.json").read_bytes() == b"ours"
    assert lying(epoch, "result-2.json")["state"] == "loaded"


@pytest.mark.parametrize("lost", [1, 2, 3], ids=["the list", "the result", "the log"])
def test_where_one_of_the_three_could_not_be_written_the_next_try_writes_all(
    district: District, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """Killed there instead: `test_pipeline` crashes at every call of the host."""
    epoch = queue(district, NIGHT, BAD)
    host, writes = Broken(), []

    def third(number: int, name: str) -> None:
        writes.extend([name] if name == "write" else [])
        if host.is_broken and len(writes) == lost:
            raise host.error("The host's disk does not answer.")

    host.files._before = third
    use(monkeypatch, host.files)
    process(district)
    claimed = {path.name for path in (home(district).parents[1] / "claimed" / str(epoch.pk)).iterdir()}
    assert "processing-log.txt" not in claimed
    host.is_broken = False
    Epoch.objects.update(next_try=None)
    process(district)
    epoch.refresh_from_db()
    assert lying(epoch)["findings_listed"] == 1
    left = {path.name for path in (home(district) / "upload-processed" / epoch.archive_name).iterdir()}
    assert left == {"COMPLETE", "students.csv", "processing-log.txt", "result.json", "findings.csv"}


def test_a_name_that_is_taken_is_told_as_it_was_given(district: District) -> None:
    for _ in range(2):
        put(district, NIGHT, students())
        epoch = night(district, NIGHT, students())
    assert (lying(epoch)["epoch"], lying(epoch)["directory"]) == (NIGHT, f"{NIGHT}-2")
