"""What a host tells of changed uploads is read on from the place reached, and is everything where that is not sure."""

import io
import json
import secrets
from pathlib import Path

import pytest

from hosts import changes
from hosts.changes import NO_LOG, Place, told_since
from hosts.local import LocalFiles
from hosts.models import Host, UploadsSeen

NOWHERE = Place("", 0)


class Log:
    """A host's log, written as its helper does."""

    def __init__(self, root: Path) -> None:
        self.path = root / "log" / "changes.jsonl"
        self.rotated = root / "log" / "changes.jsonl.1"
        self.path.parent.mkdir()

    def begin(self) -> None:
        self.path.write_text(json.dumps({"generation": secrets.token_hex(16)}) + "\n")

    def tell(self, *names: object) -> None:
        with self.path.open("a") as file:
            file.writelines(
                json.dumps({"at": "2026-11-22T02:00:00.000+00:00", "account": name}) + "\n" for name in names
            )

    def rotate(self) -> None:
        self.path.rename(self.rotated)
        self.begin()


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    made = Log(tmp_path)
    made.begin()
    return made


def test_a_host_that_is_seen_for_the_first_time_tells_of_everybody(files: LocalFiles, log: Log) -> None:
    log.tell("a.us")
    told = told_since(files, NOWHERE)
    assert (told.accounts, told.after.offset) == (None, log.path.stat().st_size)


def test_lines_are_told_once_and_from_the_place_reached(files: LocalFiles, log: Log) -> None:
    place = told_since(files, NOWHERE).after
    assert told_since(files, place) == changes.Told(frozenset(), place)
    log.tell("a.us", "b.us", "a.us")
    told = told_since(files, place)
    assert told.accounts == {"a.us", "b.us"}
    assert told_since(files, place) == told
    assert told_since(files, told.after) == changes.Told(frozenset(), told.after)


def test_a_line_that_is_still_being_written_is_left_for_the_next_time(files: LocalFiles, log: Log) -> None:
    place = told_since(files, NOWHERE).after
    log.tell("a.us")
    with log.path.open("a") as file:
        file.write('{"account": "b.')
    told = told_since(files, place)
    assert told.accounts == {"a.us"}
    with log.path.open("a") as file:
        file.write('us"}\n')
    assert told_since(files, told.after).accounts == {"b.us"}


def test_what_stood_last_in_a_log_that_was_rotated_is_told_with_what_stands_in_the_new_one(
    files: LocalFiles, log: Log
) -> None:
    place = told_since(files, NOWHERE).after
    log.tell("a.us")
    log.rotate()
    log.tell("b.us")
    told = told_since(files, place)
    assert told.accounts == {"a.us", "b.us"}
    assert told_since(files, told.after).accounts == frozenset()


def test_between_a_rotation_and_the_new_log_the_old_one_is_read_on(files: LocalFiles, log: Log) -> None:
    place = told_since(files, NOWHERE).after
    log.tell("a.us")
    log.path.rename(log.rotated)
    told = told_since(files, place)
    assert told.accounts == {"a.us"}
    log.begin()
    log.tell("b.us")
    assert told_since(files, told.after).accounts == {"b.us"}


def rotated_twice(log: Log) -> None:
    log.rotate()
    log.rotate()


def removed(log: Log) -> None:
    log.path.unlink()


def begun_anew(log: Log) -> None:
    log.begin()


def emptied(log: Log) -> None:
    log.path.write_bytes(b"")


def cut_short(log: Log) -> None:
    log.path.write_bytes(log.path.read_bytes().splitlines(keepends=True)[0])


def blown_up(log: Log) -> None:
    with log.path.open("r+b") as file:
        file.truncate(log.path.stat().st_size + changes.MOST_BYTES + 1)


class Boasting(io.BytesIO):
    """A file whose host says that it is larger than any number of ours."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return 2**64 - 1 if whence == io.SEEK_END else super().seek(offset, whence)


@pytest.mark.django_db
def test_a_size_beyond_all_measure_is_one_that_a_row_can_hold(
    files: LocalFiles, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.tell("a.us")
    content = log.path.read_bytes()
    monkeypatch.setattr(LocalFiles, "open_read", lambda *_: Boasting(content))
    told = told_since(files, NOWHERE)
    host = Host.objects.create(name="boasting", address="sftp.example")
    UploadsSeen.objects.create(host=host, changes_file=told.after.file, changes_offset=told.after.offset)
    assert told_since(files, told.after).accounts == frozenset()


@pytest.mark.parametrize("harm", [rotated_twice, removed, begun_anew, emptied, cut_short, blown_up])
def test_a_log_that_cannot_be_read_on_tells_of_everybody_once(files: LocalFiles, log: Log, harm: object) -> None:
    log.tell("a.us")
    place = told_since(files, NOWHERE).after
    harm(log)  # type: ignore[operator]
    told = told_since(files, place)
    assert told.accounts is None
    assert told_since(files, told.after).accounts == frozenset()


def test_a_host_without_a_log_has_nothing_to_tell_until_it_has_one(files: LocalFiles, tmp_path: Path) -> None:
    place = told_since(files, NOWHERE).after
    assert place == Place(NO_LOG, 0)
    assert told_since(files, place).accounts == frozenset()
    log = Log(tmp_path)
    log.begin()
    log.tell("a.us")
    assert told_since(files, place).accounts == {"a.us"}


@pytest.mark.parametrize("line", ["", "no JSON", "[]", '"a"', '{"account": 1}', '{"other": "x"}', "[" * 100_000, "\0"])
def test_lines_that_say_nothing_are_passed_over(files: LocalFiles, log: Log, line: str) -> None:
    place = told_since(files, NOWHERE).after
    with log.path.open("a") as file:
        file.write(f"{line}\n")
    log.tell("a.us")
    assert told_since(files, place).accounts == {"a.us"}
