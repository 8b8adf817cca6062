"""What is written to an epoch's files after they were copied: the copy counts, and the log says so."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings

from accounts.models import District
from ingest import pipeline
from ingest.core.late import late_findings
from ingest.models import Epoch, FindingList, Record

from . import epochs
from .test_result import lying
from .uploading import NEXT_NIGHT, NIGHT, home, night, process, queue

FILE = "students.csv"
BAD = {FILE: epochs.with_line(epochs.students()[FILE], 3, b"one,two")}


def after_copy(monkeypatch: pytest.MonkeyPatch, act: Callable[[Epoch], object]) -> None:
    """Lets somebody in when all has been copied."""

    def armed(one: pipeline.Step) -> pipeline.Step:
        return replace(one, do=lambda epoch: (one.do(epoch), act(epoch))[0])

    steps = tuple(armed(one) if one.name == "copy" else one for one in pipeline.STEPS)
    monkeypatch.setattr(pipeline, "STEPS", steps)


def claimed(epoch: Epoch) -> Path:
    return settings.SFTP_ROOT / "claimed" / str(epoch.pk)


def rows_listed(epoch: Epoch) -> list[dict[str, str]]:
    text = (home(epoch.district) / "upload-processed" / epoch.archive_name / "findings.csv").read_text()
    return list(csv.DictReader(io.StringIO(text)))


def test_a_write_through_a_handle_that_stayed_open_is_told_and_the_copy_is_loaded(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    epoch = queue(district, NIGHT, epochs.students(rows=8))
    before = len(epochs.students(rows=8)[FILE])
    with (home(district) / "upload" / NIGHT / FILE).open("ab", buffering=0) as handle:
        after_copy(monkeypatch, lambda _: handle.write(epochs.students(rows=12)[FILE][before:]))
        process(district)
    epoch.refresh_from_db()
    after = len(epochs.students(rows=12)[FILE])
    assert (home(district) / "upload-processed" / NIGHT / FILE).stat().st_size == after > before
    assert (epoch.state, epoch.warnings, Record.objects.count()) == ("loaded", 1, 8)
    message = (
        f"The file has changed after it was taken: it had {before:,} bytes then, and has {after:,} bytes now. "
        "What was loaded is the copy taken before."
    )
    assert f"WARNING  {FILE}  [late]\n    {message}\n" in epoch.log
    assert "Found: 1 warning." in epoch.log
    assert list(epoch.findings.values_list("file", "code", "severity", "message")) == [
        (FILE, "late", "warning", message)
    ]
    told = lying(epoch)
    assert [(one["code"], one["message"]) for one in told["findings"]] == [("late", message)]
    assert told["codes"] == [{"file": FILE, "code": "late", "severity": "warning", "count": 1}]
    assert (told["counts"]["warnings"], told["findings_listed"]) == (1, 1)
    assert [(one["code"], one["message"]) for one in rows_listed(epoch)] == [("late", message)]
    assert FindingList.objects.get(epoch=epoch).rows == 1


def test_a_file_that_became_shorter_and_one_that_came_are_told_beside_what_was_found_before(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meddle(epoch: Epoch) -> None:
        (claimed(epoch) / FILE).write_bytes(b"short")
        (claimed(epoch) / "teachers.csv").write_bytes(b"a,b\r\n")

    after_copy(monkeypatch, meddle)
    epoch = night(district, NIGHT, BAD)
    assert (epoch.state, epoch.errors, epoch.warnings) == ("failed", 1, 2)
    told = {one["file"]: one["message"] for one in lying(epoch)["findings"] if one["code"] == "late"}
    assert told[FILE].endswith("and has 5 bytes now. What was looked at is the copy taken before.")
    assert told["teachers.csv"] == "The file came after the others had been taken. Nothing of it was read."
    assert [one["code"] for one in rows_listed(epoch)] == ["late", "late", "row-short"]
    assert lying(epoch)["findings_listed"] == 3


@pytest.mark.parametrize(
    "files", [epochs.students(), epochs.oneroster_zip(users=4), {**epochs.students(), "x.md": b""}]
)
def test_nothing_is_told_of_files_that_stayed_as_they_were(
    district: District, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]
) -> None:
    steps = tuple(replace(one, do=lambda epoch, do=one.do: (do(epoch), do(epoch))[1]) for one in pipeline.STEPS)
    monkeypatch.setattr(pipeline, "STEPS", steps)
    epoch = night(district, NIGHT, files)
    assert epoch.state == "loaded"
    assert "[late]" not in epoch.log


def test_a_zip_and_a_file_that_is_an_epoch_by_itself_are_known_by_what_was_sent(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        after_copy(patch, lambda epoch: (claimed(epoch) / "roster.zip").write_bytes(b"PK"))
        packed = night(district, NIGHT, epochs.oneroster_zip(users=4))
    assert list(packed.findings.values_list("file", "code")) == [("roster.zip", "late")]
    alone = home(district) / "upload" / "users_auto.csv"
    for changes, expected in ((b"", []), (b"x", [("users.csv", "late")])):
        alone.write_bytes(epochs.oneroster(users=4)["users.csv"])
        epoch = Epoch.objects.create(
            district=district, account=district.sftp_account, name=alone.name, state="queued", format=packed.format
        )
        with monkeypatch.context() as patch:
            after_copy(patch, lambda epoch, more=changes: (claimed(epoch) / alone.name).open("ab").write(more))
            process(district)
        assert list(epoch.findings.values_list("file", "code")) == expected


def test_the_same_files_the_next_night_are_not_called_late(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        after_copy(patch, lambda epoch: (claimed(epoch) / FILE).write_bytes(b""))
        assert night(district, NIGHT, epochs.students()).warnings == 1
    again = night(district, NEXT_NIGHT, epochs.students())
    assert (again.state, again.warnings, again.findings.count()) == ("loaded", 0, 0)
    assert "Nothing was found amiss." in again.log
    assert not FindingList.objects.filter(epoch=again).exists()


def test_it_is_told_once_if_the_log_is_written_again(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where staff end an epoch whose files could not be moved after the log was written."""
    after_copy(monkeypatch, lambda epoch: (claimed(epoch) / FILE).write_bytes(b""))
    queue(district, NIGHT, epochs.students())

    while Epoch.objects.get().step != "log":
        pipeline.process_turn(district.pk, lambda: True)
    Epoch.objects.update(step="load")
    process(district)
    epoch = Epoch.objects.get()
    assert (epoch.state, epoch.warnings, epoch.log.count("[late]")) == ("loaded", 1, 1)
    assert (len(lying(epoch)["findings"]), len(rows_listed(epoch))) == (1, 1)


def test_an_epoch_without_copies_has_nothing_late(district: District) -> None:
    """It was ended before its files could be read."""
    queue(district, NIGHT, epochs.students())
    epoch = Epoch.objects.get()
    pipeline.staging.claim(epoch)
    Epoch.objects.update(step="load", state="working", started=pipeline.timezone.now())
    pipeline.StepTime.objects.create(epoch=epoch, step="load")
    process(district)
    assert "[late]" not in Epoch.objects.get().log


def test_a_file_is_compared_by_its_name_and_its_size() -> None:
    copied = [("a.csv", 1), ("b.csv", 2), ("c.csv", 3)]
    there = [("c.csv", 4), ("a.csv", 1), ("d\x1b.csv", 2)]
    found = list(late_findings(copied, there, is_loaded=True))
    assert [one.file for one in found] == ["c.csv", "d\\x1b.csv"]
    assert "it had 3 bytes then, and has 4 bytes now." in found[0].message
    assert not list(late_findings(copied, copied, is_loaded=True))
