"""The host tells which accounts' uploads changed, so that nobody has to list 13,000 directories."""

import contextlib
import json
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from portal_host import inotify
from portal_host.changes import Changes
from portal_host.judging import Registered
from portal_host.registry import Registry, registry_write
from portal_host.settings import Host, Places, Portal, Settings

from tests.hosts.clients import Door, sftp
from tests.hosts.serving import until

from .host import OpensshHost, numbers_of


@pytest.fixture
def door(openssh_host: OpensshHost, ours: str, keys: Path) -> Door:
    return openssh_host.door(ours, keys / "ours")


def lines(host: OpensshHost) -> list[dict[str, str]]:
    path = host.root / "log/changes.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


class Told:
    """Who is told from now on."""

    def __init__(self, host: OpensshHost) -> None:
        self._host = host
        self._before = len(lines(host))

    def __call__(self) -> set[str]:
        return {line["account"] for line in lines(self._host)[self._before :] if "account" in line}


def test_each_kind_of_change_is_told(
    openssh_host: OpensshHost, ours: str, theirs: str, door: Door, tmp_path: Path
) -> None:
    (tmp_path / "students.csv").write_text("a")
    for step in (
        "mkdir 20261122-020000",
        f"put {tmp_path}/students.csv 20261122-020000/students.csv",
        "rename 20261122-020000/students.csv 20261122-020000/renamed.csv",
        "rename 20261122-020000 20261123-020000",
        f"put {tmp_path}/students.csv 20261123-020000/students.csv",
        "mkdir 20261123-020000/inner",
        f"put {tmp_path}/students.csv 20261123-020000/inner/students.csv",
        "rm 20261123-020000/inner/students.csv",
        f"put {tmp_path}/students.csv loose.csv",
    ):
        told = Told(openssh_host)
        done = sftp(door, "cd upload", step)
        assert done.code == 0, done.output
        until(lambda told=told: ours in told(), f"a line for: {step}")
        assert theirs not in told()
    log = openssh_host.root / "log/changes.jsonl"
    assert numbers_of(log) == (0, openssh_host.portal_gid, "0o640")
    assert "generation" in lines(openssh_host)[0]


def test_what_changed_while_the_helper_was_away_is_told_when_it_comes_back(
    openssh_host: OpensshHost, ours: str, theirs: str
) -> None:
    openssh_host.helper_stop()
    (openssh_host.upload(ours) / "20261122-020000").mkdir()
    told = Told(openssh_host)
    openssh_host.helper_start()
    until(lambda: ours in told(), "a line for what came meanwhile")
    assert theirs not in told()


def test_a_new_account_is_watched_from_the_start(openssh_host: OpensshHost, ours: str) -> None:
    told = Told(openssh_host)
    (openssh_host.upload(ours) / "x").write_bytes(b"")
    until(lambda: ours in told(), "a line for the new account")


def test_the_portal_reads_it_over_sftp(openssh_host: OpensshHost, ours: str, tmp_path: Path) -> None:
    (openssh_host.upload(ours) / "x").write_bytes(b"")
    until(lambda: lines(openssh_host), "a line")
    done = sftp(openssh_host.portal_door(), f"get /log/changes.jsonl {tmp_path}/changes.jsonl")
    assert done.code == 0, done.output
    assert (tmp_path / "changes.jsonl").read_bytes()


def test_more_directories_than_are_watched_still_come_to_notice(openssh_host: OpensshHost, ours: str) -> None:
    """What is not watched is told by the clock, so nothing is lost and no district can use up all watches."""
    upload = openssh_host.upload(ours)
    for number in range(200):
        (upload / f"{number:03d}").mkdir()
    told = Told(openssh_host)
    until(lambda: ours in told(), "a line for the directories")
    watches = sum(_watches(pid) for pid in openssh_host.helper_pids())
    assert watches <= 64 + 2 * len(openssh_host.wished) + 64


def _watches(pid: int) -> int:
    handles = Path(f"/proc/{pid}/fdinfo")
    return sum(path.read_text().count("inotify wd:") for path in handles.iterdir())


@pytest.mark.parametrize("inside", [".", "20261122-020000"])
def test_a_directory_full_of_files_is_not_gone_through_at_each_change_but_told_by_the_clock(
    inside: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("portal_host.changes.SCAN_LIMIT", 20)
    host = Host(Settings(), Places(tmp_path), Portal(0, 0, 0))
    for place in ("log", "homes/few.example/upload/a", "homes/full.example/upload"):
        (tmp_path / "srv/sftp-portal" / place).mkdir(parents=True)
    (tmp_path / "var/lib/sftp-portal").mkdir(parents=True)
    registry_write(host.places, Registry({"few.example": Registered(66001), "full.example": Registered(66002)}))
    full = tmp_path / "srv/sftp-portal/homes/full.example/upload"
    (full / inside).mkdir(exist_ok=True)
    for number in range(100):
        (full / inside / str(number)).touch()
    changes = Changes(host)
    changes.accounts_follow()
    gone_through: list[int] = []
    monkeypatch.setattr("portal_host.changes.os.scandir", _counted(gone_through))
    for number in range(3):
        (full / f"new-{number}").mkdir()
        assert changes.collect() == {"full.example"}
    assert sum(gone_through) <= 3 * (20 + 2 + 5)
    monkeypatch.undo()
    assert changes.unwatched() == {"full.example"}
    for path in [*full.rglob("[0-9]"), *full.rglob("[0-9][0-9]")]:
        path.unlink()
    (full / "last").mkdir()
    changes.collect()
    assert changes.unwatched() == set()
    changes.close()


def _counted(gone_through: list[int]) -> Callable[[int], Any]:
    """os.scandir that notes of each entry that it was come by."""
    scandir = os.scandir

    @contextlib.contextmanager
    def counted(directory: int) -> Iterator[Iterator[os.DirEntry[str]]]:
        def noted() -> Iterator[os.DirEntry[str]]:
            for entry in entries:
                gone_through.append(1)
                yield entry

        with scandir(directory) as entries:
            yield noted()

    return counted


def test_after_an_overflow_everybody_who_has_something_is_told(openssh_host: OpensshHost, tmp_path: Path) -> None:
    """In this process and a tree of its own: while nobody reads, the kernel's queue is filled."""
    settings = Settings()
    host = Host(settings, Places(tmp_path), Portal(0, 0, 0))
    names = ["busy.example", "earlier.example", "empty.example"]
    for place in ("srv/sftp-portal/log", "var/lib/sftp-portal", *(f"srv/sftp-portal/homes/{n}/upload" for n in names)):
        (tmp_path / place).mkdir(parents=True)
    registry_write(host.places, Registry({name: Registered(66000 + at) for at, name in enumerate(names)}))
    homes = tmp_path / "srv/sftp-portal/homes"
    (homes / "earlier.example/upload/x").touch()
    changes = Changes(host)
    assert changes.accounts_follow() == {"earlier.example"}
    room = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(room // 2 + 100):  # each file is two events
        (homes / "busy.example/upload" / str(number)).touch()
    assert changes.collect() == {"busy.example", "earlier.example"}
    (homes / "empty.example/upload/y").touch()
    assert changes.collect() == {"empty.example"}
    changes.close()


def test_the_log_makes_way_for_a_new_one_when_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() != 0:
        pytest.skip("the log belongs to root")
    monkeypatch.setattr("portal_host.changes.SIZE_LIMIT", 200)
    host = Host(Settings(), Places(tmp_path), Portal(0, 0, 0))
    log = tmp_path / "srv/sftp-portal/log"
    log.mkdir(parents=True)
    changes = Changes(host)
    for number in range(5):
        changes.tell([f"district-{number}.example"])
    changes.close()
    files = [(log / name).read_bytes().splitlines() for name in ("changes.jsonl.1", "changes.jsonl")]
    generations = [json.loads(lines[0])["generation"] for lines in files]
    assert generations[0] != generations[1]
    assert all("account" in json.loads(line) for lines in files for line in lines[1:])


def test_a_line_that_a_full_disk_cut_short_is_written_whole_when_there_is_room(tmp_path: Path) -> None:
    """A limit of this process's files cuts a write short as a full disk does."""
    host = Host(Settings(), Places(tmp_path), Portal(0, 0, 0))
    log = tmp_path / "srv/sftp-portal/log"
    log.mkdir(parents=True)
    changes = Changes(host)
    changes.tell(["before.example"])
    whole = (log / "changes.jsonl").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 10, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            changes.tell(["cut.example", "other.example"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (log / "changes.jsonl").read_bytes() == whole
    changes.tell(["cut.example", "other.example"])
    told = [json.loads(line) for line in (log / "changes.jsonl").read_bytes().splitlines()]
    assert [line["account"] for line in told[1:]] == ["before.example", "cut.example", "other.example"]
    changes.close()


def test_a_piece_of_a_line_that_a_power_cut_left_does_not_spoil_the_next(tmp_path: Path) -> None:
    host = Host(Settings(), Places(tmp_path), Portal(0, 0, 0))
    log = tmp_path / "srv/sftp-portal/log"
    log.mkdir(parents=True)
    changes = Changes(host)
    changes.tell(["before.example"])
    with (log / "changes.jsonl").open("ab") as file:
        file.write(b'{"at": "2026-')
    changes.tell(["after.example"])
    assert json.loads((log / "changes.jsonl").read_bytes().splitlines()[-1])["account"] == "after.example"
    changes.close()


def test_names_of_any_length_are_read_as_they_are(tmp_path: Path) -> None:
    watcher = inotify.Watcher()
    directory = os.open(tmp_path, os.O_RDONLY)
    watch = watcher.add(directory, inotify.CREATE)
    names = [b"x" * length for length in (1, 15, 16, 17, 255)] + [b"caf\xe9"]
    for name in names:
        (tmp_path / os.fsdecode(name)).touch()
    assert [(event.watch, event.mask, event.name) for event in watcher.events()] == [
        (watch, inotify.CREATE, name) for name in names
    ]
    watcher.close()
    os.close(directory)
