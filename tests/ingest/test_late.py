"""What is written to an epoch's files after they were copied: the copy counts, and the log says so."""

import csv
import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from accounts.models import District
from ingest import pipeline, staging
from ingest.core.late import AGAIN, Taken, late_findings
from ingest.models import Epoch, FindingList, Record

from . import epochs
from .test_result import lying
from .uploading import (
    NEXT_NIGHT,
    NIGHT,
    Watched,
    fifo,
    folder,
    home,
    link_hard,
    link_out_of,
    look,
    night,
    nothing,
    process,
    put,
    queue,
    staged,
    use,
)

FILE = "students.csv"
STILL = "Its files were still changing while we copied them. We copy them again."
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


def rewritten(place: Path) -> None:
    """Other content, just as long, and the time of the old: all that a client can do to hide it."""
    before = place.stat()
    place.write_bytes(place.read_bytes().replace(b"1", b"7"))
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (place.stat().st_size, place.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


@pytest.mark.parametrize("moment", [0, staging.SAME_MOMENT], ids=["vouched for", "read again"])
def test_another_content_of_the_same_size_and_time_is_told(
    district: District, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    monkeypatch.setattr(staging, "SAME_MOMENT", moment)
    after_copy(monkeypatch, lambda epoch: rewritten(claimed(epoch) / FILE))
    epoch = night(district, NIGHT, epochs.students())
    assert bool(epoch.files.get().mark) is not bool(moment)
    assert list(epoch.findings.values_list("file", "code")) == [(FILE, "late")]
    assert "it is as long as it was, but something else stands in it." in epoch.log
    lies = home(district) / "upload-processed" / NIGHT / FILE
    assert hashlib.sha256(lies.read_bytes()).hexdigest() != epoch.files.get().sha256


def test_a_file_that_was_only_touched_is_not_late(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    after_copy(monkeypatch, lambda epoch: os.utime(claimed(epoch) / FILE, (1, 1)))
    assert "[late]" not in night(district, NIGHT, epochs.students()).log


def test_a_file_its_host_vouches_for_is_not_read_again(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "SAME_MOMENT", 0)
    read: list[str] = []
    files = Watched(lambda _, name: read.append(name), nothing)
    queue(district, NIGHT, epochs.students())
    use(monkeypatch, files)
    process(district)
    assert (Epoch.objects.get().state, read.count("open_read")) == ("loaded", 1)


def test_what_changes_while_it_is_copied_is_copied_again_whole(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_stream = staging._copy_stream

    def changed_meanwhile(*args: Any) -> staging.Copied:
        done = copy_stream(*args)
        rewritten(claimed(Epoch.objects.get()) / FILE)
        return done

    with monkeypatch.context() as patch:
        patch.setattr(staging, "_copy_stream", changed_meanwhile)
        epoch = night(district, NIGHT, epochs.students())
        assert (epoch.step, epoch.tries, epoch.trouble) == ("claim", 1, STILL)
        assert [place for top in staged() for place in top.iterdir()] == []
    Epoch.objects.update(next_try=None)
    process(district)
    epoch.refresh_from_db()
    lies = home(district) / "upload-processed" / NIGHT / FILE
    assert epoch.files.get().sha256 == hashlib.sha256(lies.read_bytes()).hexdigest()
    assert (epoch.finished is not None, "[late]" in epoch.log) == (True, False)


def test_what_is_opened_in_the_moment_of_the_claim_is_given_back(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The host tells that it is open only when it was renamed already."""
    epoch = queue(district, NIGHT, epochs.students())
    told = settings.SFTP_ROOT / "open" / district.domain

    def opened(_: int, name: str) -> None:
        if name == "rename":
            told.parent.mkdir(exist_ok=True)
            told.write_text(f"{NIGHT}/{FILE}\n")

    use(monkeypatch, Watched(opened, nothing))
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.step) == ("arriving", "")
    assert (home(district) / "upload" / NIGHT / FILE).is_file()
    assert not claimed(epoch).exists()


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (folder, "A folder"),
        (link_out_of, "A link"),
        (fifo, "Something that is no plain file"),
        (link_hard, "A file that has a second name elsewhere (a hard link)"),
    ],
)
def test_what_is_made_between_the_look_and_the_claim_is_told_and_not_read(
    district: District, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path, str], None], what: str
) -> None:
    epoch = queue(district, NIGHT, epochs.students())

    def made(_: int, name: str) -> None:
        if name == "rename" and (place := home(district) / "upload" / NIGHT).exists():
            make(place, "more.csv")

    use(monkeypatch, Watched(made, nothing))
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, [file.name for file in epoch.files.all()]) == ("loaded", [FILE])
    message = f"{what} was put here in the moment in which it was taken. It was not read."
    told = [(one["file"], one["code"], one["severity"], one["message"]) for one in lying(epoch)["findings"]]
    assert ("more.csv", "late", "warning", message) in told
    assert f"WARNING  more.csv  [late]\n    {message}\n" in epoch.log


def test_a_directory_that_is_made_again_is_told_in_the_log_and_where_it_lies(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(_: Epoch) -> None:
        put(district, NIGHT, {"teachers.csv": b"a,b\r\n"}, complete=False)
        look()

    with monkeypatch.context() as patch:
        after_copy(patch, again)
        queue(district, NIGHT, epochs.students())
        process(district)
    second, first = Epoch.objects.order_by("state")
    assert (first.state, second.state) == ("loaded", "arriving")
    assert list(first.findings.values_list("file", "code", "message")) == [(f"{NIGHT}/", "late", AGAIN)]
    assert f"WARNING  {NIGHT}/  [late]" in first.log
    assert [one["code"] for one in lying(first)["findings"]] == ["late"]
    look()
    second.refresh_from_db()
    assert "An upload of this name was taken before" in second.look_sentence
    assert (home(district) / "upload" / NIGHT / "teachers.csv").is_file()


def test_the_first_directory_of_a_name_is_told_nothing_of_another(district: District) -> None:
    put(district, NIGHT, epochs.students(), complete=False)
    look()
    look()
    assert "taken before" not in Epoch.objects.get().look_sentence


def test_a_file_is_compared_by_its_name_its_size_and_its_digest() -> None:
    copied = [Taken("a.csv", 1, "a"), Taken("b.csv", 2, "b"), Taken("c.csv", 3, "c"), Taken("e.csv", 3, "e")]
    there = [Taken("c.csv", 4, ""), Taken("a.csv", 1, "a"), Taken("d\x1b.csv", 2, ""), Taken("e.csv", 3, "f")]
    found = list(late_findings(copied, there, is_loaded=True))
    assert [one.file for one in found] == ["c.csv", "d\\x1b.csv", "e.csv"]
    assert "it had 3 bytes then, and has 4 bytes now." in found[0].message
    assert "it is as long as it was" in found[2].message
    assert not list(late_findings(copied, copied, is_loaded=True))
