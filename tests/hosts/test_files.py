"""What every implementation of `HostFiles` promises: one suite, run against each of them."""

import contextlib
import errno
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from hosts import steps
from hosts.core import sftp
from hosts.core.errors import AlreadyThere, HostDown, HostFault, NotEmpty, NotSafe, NotThere, Refused, TooLarge
from hosts.core.paths import HostPath, username
from hosts.files import TEMPORARY_PREFIX, Entry, EntryKind, FileRead, HostFiles, left_behind, temporary_for
from hosts.local import LocalFiles

from .machine import Machine

AT = HostPath(("homes", "a.us"))


@dataclass(frozen=True, slots=True)
class Subject:
    """An implementation, and the directory its host's root is, for laying traps by hand."""

    files: HostFiles
    root: Path

    @property
    def here(self) -> Path:
        return self.root / "homes" / "a.us"


@pytest.fixture(params=["local", "remote"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    root = tmp_path / "root"
    (root / "homes" / "a.us").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    if request.param == "local":
        yield Subject(LocalFiles(root), root)
    else:
        machine: Machine = request.getfixturevalue("machine")
        files = machine.files(root, file_mode=0o600, directory_mode=0o700)
        yield Subject(files, root)
        files.close()
    assert (tmp_path / "outside" / "secret").read_bytes() == b"secret"
    assert [path.name for path in (tmp_path / "outside").iterdir()] == ["secret"]


def only_here(subject: Subject, why: str) -> None:
    """Skip the implementation over SFTP."""
    if not isinstance(subject.files, LocalFiles):
        pytest.skip(why)


def only_elsewhere(subject: Subject, why: str) -> None:
    """Skip the implementation on this machine."""
    if isinstance(subject.files, LocalFiles):
        pytest.skip(why)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return tmp_path / "outside"


def test_what_is_written_is_read_back_and_replaced_whole(subject: Subject) -> None:
    for content in (b"first" * 100_000, b"", b"second"):
        subject.files.write(AT.child("file"), content)
        assert subject.files.read(AT.child("file"), 1_000_000) == content
    assert [entry.name for entry in subject.files.listing(AT)] == ["file"]


def test_a_reader_sees_the_old_file_or_the_new_one_and_never_a_part(subject: Subject) -> None:
    contents = {bytes([number]) * 200_000 for number in range(10)}
    subject.files.write(AT.child("file"), min(contents))

    def write_all() -> None:
        for content in contents:
            subject.files.write(AT.child("file"), content)

    writer = threading.Thread(target=write_all)
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(subject.files.read(AT.child("file"), 1_000_000))
    writer.join()
    assert seen <= contents


def test_a_file_is_for_the_service_alone(subject: Subject) -> None:
    subject.files.write(AT.child("file"), b"x")
    assert stat.S_IMODE((subject.here / "file").stat().st_mode) == 0o600


def test_more_than_the_limit_is_not_read(subject: Subject) -> None:
    subject.files.write(AT.child("file"), b"12345")
    assert subject.files.read(AT.child("file"), 5) == b"12345"
    with pytest.raises(TooLarge):
        subject.files.read(AT.child("file"), 4)


def test_a_listing_tells_what_is_there_and_follows_nothing(subject: Subject, outside: Path) -> None:
    (subject.here / "directory").mkdir()
    (subject.here / "file").write_bytes(b"12345")
    os.link(subject.here / "file", subject.here / "second name")
    os.symlink(outside / "secret", subject.here / "link")
    os.mkfifo(subject.here / "pipe")
    (subject.here / os.fsdecode(b"odd\xff\n")).write_bytes(b"")
    found = {entry.name: (entry.kind, entry.links) for entry in subject.files.listing(AT)}
    # SFTP tells neither how many names a file has, nor its number.
    is_local = isinstance(subject.files, LocalFiles)
    names = 2 if is_local else 1
    assert found == {
        "directory": (EntryKind.DIRECTORY, names),
        "file": (EntryKind.FILE, names),
        "second name": (EntryKind.FILE, names),
        "link": (EntryKind.LINK, 1),
        "pipe": (EntryKind.OTHER, 1),
        "odd\udcff\n": (EntryKind.FILE, 1),
    }
    there = os.stat(subject.here / "file")
    mode = stat.S_IMODE(there.st_mode)
    numbers = (5, names, there.st_ino * is_local, int(there.st_mtime))
    owned = (os.getuid(), mode, there.st_gid)
    expected = Entry("file", EntryKind.FILE, *numbers, *owned, there.st_ctime_ns * is_local)
    assert subject.files.stat(AT.child("file")) == expected
    assert subject.files.read(AT.child("odd\udcff\n"), 5) == b""


def test_nothing_there_is_told_as_such(subject: Subject) -> None:
    missing = AT.child("missing")
    assert subject.files.stat(missing) is None
    assert subject.files.stat(missing.child("below")) is None
    for ask in (
        lambda: subject.files.listing(missing),
        lambda: subject.files.open_read(missing),
        lambda: subject.files.read(missing, 5),
        lambda: subject.files.write(missing.child("below"), b""),
        lambda: subject.files.rename(missing, AT.child("new")),
        lambda: subject.files.rename(AT, missing.child("below")),
        lambda: subject.files.remove(missing),
    ):
        with pytest.raises(NotThere):
            ask()


def trap_link(subject: Subject, outside: Path) -> str:
    os.symlink(outside / "secret", subject.here / "trap")
    return "trap"


def trap_pipe(subject: Subject, outside: Path) -> str:
    os.mkfifo(subject.here / "trap")
    return "trap"


def trap_socket(subject: Subject, outside: Path) -> str:
    with socket.socket(socket.AF_UNIX) as listening:
        directory = os.open(subject.here, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{directory}/trap")
        os.close(directory)
    return "trap"


def trap_directory(subject: Subject, outside: Path) -> str:
    (subject.here / "trap").mkdir()
    return "trap"


@pytest.mark.parametrize("trap", [trap_link, trap_pipe, trap_socket, trap_directory])
def test_only_a_regular_file_is_read_and_nothing_else_makes_us_wait(subject: Subject, outside: Path, trap) -> None:
    name = trap(subject, outside)
    with pytest.raises(NotSafe):
        subject.files.open_read(AT.child(name))
    with pytest.raises(NotSafe):
        subject.files.read(AT.child(name), 100)


def test_no_link_is_followed_in_any_part_of_a_path(subject: Subject, outside: Path) -> None:
    os.symlink(outside, subject.here / "way")
    os.symlink(subject.here, subject.root / "homes" / "b.us")
    (subject.here / "file").write_bytes(b"")
    for way in (AT.child("way"), HostPath(("homes", "b.us"))):
        inside = way.child("secret" if way.name == "way" else "file")
        for ask in (
            lambda way=way: subject.files.listing(way),
            lambda inside=inside: subject.files.stat(inside),
            lambda inside=inside: subject.files.open_read(inside),
            lambda inside=inside: subject.files.write(inside, b"changed"),
            lambda inside=inside: subject.files.remove(inside),
            lambda inside=inside: subject.files.remove_tree(inside),
            lambda inside=inside: subject.files.rename(inside, AT.child("taken")),
            lambda way=way: subject.files.rename(AT.child("file"), way.child("moved")),
            lambda way=way: subject.files.make_directory(way.child("new")),
            lambda way=way: subject.files.make_directory(way),
        ):
            with pytest.raises(NotSafe):
                ask()


def test_writing_where_a_link_lies_replaces_the_link_and_not_its_target(subject: Subject, outside: Path) -> None:
    os.symlink(outside / "secret", subject.here / "file")
    subject.files.write(AT.child("file"), b"ours")
    assert subject.files.read(AT.child("file"), 10) == b"ours"


def test_many_are_written_and_read_and_one_that_fails_stops_no_other(subject: Subject) -> None:
    places = [AT.child(f"file-{number}") for number in range(300)]
    missing, directory = AT.child("missing").child("file"), AT.child("directory")
    subject.files.make_directory(directory.child("inner"))
    items = [(place, place.name.encode() * 9) for place in [*places, missing, directory]]
    written = dict(subject.files.write_many(items))
    assert {path: type(error) for path, error in written.items() if error} == {
        missing: NotThere,
        directory: type(written[directory]),
    }
    assert set(written) == {path for path, _ in items}
    read = dict(subject.files.read_many([*places, missing, directory], 1000))
    for path in places:
        found, entry = read[path], subject.files.stat(path)
        assert isinstance(found, FileRead)
        assert entry is not None
        owned = (entry.owner, entry.mode, entry.group)
        assert found == FileRead(path.name.encode() * 9, entry.size, entry.modified, *owned)
    assert (type(read[missing]), type(read[directory])) == (NotThere, NotSafe)
    assert len(subject.files.listing(AT)) == 301


def test_what_is_too_large_among_many_is_told_and_the_rest_is_read(subject: Subject) -> None:
    sizes = {AT.child(f"{size}"): size for size in (0, 1, 32767, 32768, 32769, 100_000, 262_144, 300_001)}
    for path, error in subject.files.write_many((path, b"x" * size) for path, size in sizes.items()):
        assert error is None, path
    read = dict(subject.files.read_many(sizes, 300_000))
    assert isinstance(read.pop(AT.child("300001")), TooLarge)
    assert {path: len(found.content) for path, found in read.items() if isinstance(found, FileRead)} == {
        path: size for path, size in sizes.items() if size <= 300_000
    }


def test_a_file_open_for_reading_can_be_read_from_any_place(subject: Subject) -> None:
    content = bytes(range(256)) * 12_000
    subject.files.write(AT.child("file"), content)
    with subject.files.open_read(AT.child("file")) as file:
        file.seek(-1000, os.SEEK_END)
        assert file.read() == content[-1000:]
        file.seek(5)
        assert file.read(2_000_000) == content[5:2_000_005]
        assert file.read() == content[2_000_005:]


def test_a_caller_that_stops_half_way_leaves_whole_files_and_a_usable_host(subject: Subject) -> None:
    written = subject.files.write_many((AT.child(f"file-{number}"), b"x" * 50) for number in range(2000))
    next(written)
    written.close()
    names = {entry.name: entry.size for entry in subject.files.listing(AT)}
    assert 0 < len(names) < 2000
    assert all(name.startswith("file-") and size == 50 for name, size in names.items())


def test_a_rename_moves_a_directory_with_what_is_in_it(subject: Subject) -> None:
    subject.files.make_directory(AT.child("epoch"))
    subject.files.write(AT.child("epoch").child("file"), b"x")
    subject.files.make_directory(HostPath(("claimed",)))
    subject.files.rename(AT.child("epoch"), HostPath(("claimed", "1")))
    assert subject.files.read(HostPath(("claimed", "1", "file")), 5) == b"x"
    assert subject.files.stat(AT.child("epoch")) is None


@pytest.mark.parametrize("taken", ["file", "directory", "empty directory", "dangling link"])
def test_a_rename_never_overwrites(subject: Subject, taken: str) -> None:
    subject.files.write(AT.child("old"), b"old")
    match taken:
        case "file":
            subject.files.write(AT.child("new"), b"new")
        case "dangling link":
            os.symlink("nowhere", subject.here / "new")
        case _:
            subject.files.make_directory(AT.child("new"))
    with pytest.raises(AlreadyThere) as told:
        subject.files.rename(AT.child("old"), AT.child("new"))
    assert "new" in told.value.message
    assert subject.files.read(AT.child("old"), 5) == b"old"


def test_of_many_renames_to_one_name_one_succeeds(subject: Subject) -> None:
    outcomes = []

    def rename(number: int) -> None:
        try:
            subject.files.rename(AT.child(f"old-{number}"), AT.child("new"))
            outcomes.append("moved")
        except AlreadyThere:
            outcomes.append("refused")

    for number in range(8):
        subject.files.make_directory(AT.child(f"old-{number}"))
    threads = [threading.Thread(target=rename, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["moved"] + ["refused"] * 7
    assert len(subject.files.listing(AT)) == 8


def test_files_links_and_empty_directories_are_removed(subject: Subject, outside: Path) -> None:
    subject.files.write(AT.child("file"), b"")
    subject.files.make_directory(AT.child("directory"))
    os.symlink(outside, subject.here / "link")
    for name in ("file", "directory", "link"):
        subject.files.remove(AT.child(name))
    assert subject.files.listing(AT) == ()


def test_a_directory_with_something_in_it_is_not_removed(subject: Subject) -> None:
    subject.files.make_directory(AT.child("directory").child("inner"))
    with pytest.raises(NotEmpty):
        subject.files.remove(AT.child("directory"))


def test_a_tree_goes_with_all_in_it_and_nothing_its_links_point_to(subject: Subject, outside: Path) -> None:
    tree = subject.here / "tree"
    for directory in ("a/b/c", "a/d", "e"):
        (tree / directory).mkdir(parents=True)
        (tree / directory / "file").write_bytes(b"x")
        os.symlink(outside, tree / directory / "way")
        os.link(outside / "secret", tree / directory / "second name")
    os.mkfifo(tree / "pipe")
    subject.files.remove_tree(AT.child("tree"))
    subject.files.remove_tree(AT.child("tree"))
    assert subject.files.listing(AT) == ()


def test_a_link_in_a_trees_place_goes_and_its_target_stays(subject: Subject, outside: Path) -> None:
    os.symlink(outside, subject.here / "tree")
    subject.files.remove_tree(AT.child("tree"))
    assert subject.files.listing(AT) == ()


def test_a_tree_deeper_than_any_limit_of_recursion_or_handles_goes_too(subject: Subject) -> None:
    # Over SFTP the limit is the length of a path, and each level takes some answers.
    name, depth = (b"d", 3000) if isinstance(subject.files, LocalFiles) else (b"d" * 200, 60)
    here = os.open(subject.here, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    subject.files.remove_tree(AT.child(name.decode()))
    assert subject.files.listing(AT) == ()


def test_directories_are_made_with_those_above_and_again(subject: Subject) -> None:
    for _ in range(2):
        subject.files.make_directory(AT.child("a").child("b"))
    entry = subject.files.stat(AT.child("a").child("b"))
    assert entry is not None
    assert entry.kind is EntryKind.DIRECTORY
    assert stat.S_IMODE((subject.here / "a").stat().st_mode) == 0o700


def test_a_file_in_a_directorys_place_is_left(subject: Subject) -> None:
    subject.files.write(AT.child("file"), b"x")
    with pytest.raises(AlreadyThere):
        subject.files.make_directory(AT.child("file"))


def test_open_writes_are_the_lines_of_the_servers_list(subject: Subject) -> None:
    only_here(subject, "a host elsewhere is asked by its helper: test_helper.py")
    account = username("a.us")
    assert subject.files.open_writes(account) == ()
    (subject.root / "open").mkdir()
    (subject.root / "open" / "a.us").write_text("20261122-020000/users.csv\nodd\\u{a}name\n", encoding="utf-8")
    assert subject.files.open_writes(account) == ("20261122-020000/users.csv", "odd\\u{a}name")


def test_old_temporaries_are_swept_and_nothing_else(subject: Subject) -> None:
    ours, young = TEMPORARY_PREFIX.decode() + "1", TEMPORARY_PREFIX.decode() + "2"
    for name in (ours, young, "file"):
        (subject.here / name).write_bytes(b"x")
        if name != young:
            os.utime(subject.here / name, (0, 0))
    assert subject.files.sweep(AT, timedelta(hours=1)) == 1
    assert [entry.name for entry in subject.files.listing(AT)] == [young, "file"]


def test_what_others_have_begun_for_some_files_is_called_off_and_nothing_else(subject: Subject) -> None:
    begun, other, old = temporary_for(b"a"), temporary_for(b"b"), TEMPORARY_PREFIX + b"1-2"
    places = [begun + b"1-1", begun + b"2-7", other + b"1-2", old, b"a", b"b"]
    for name in places:
        (subject.here / name.decode()).write_bytes(b"x")
    for _ in range(2):
        subject.files.call_off(AT, {"a", "c"})
        assert {entry.name for entry in subject.files.listing(AT)} == {name.decode() for name in places[2:]}
    subject.files.call_off(AT.child("missing"), {"a"})


def test_what_cannot_be_called_off_is_told_and_keeps_nothing_else_back(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays, goes = (subject.here / (temporary_for(name).decode() + "1-1") for name in (b"a", b"b"))
    for path in (stays, goes):
        path.write_bytes(b"x")
    unlink, remove_file = os.unlink, steps.remove_file

    def unlinked(name: bytes, **named: int) -> None:
        if name == stays.name.encode():
            raise PermissionError(errno.EPERM, "it stays")
        unlink(name, **named)

    def removed(path: bytes, name: str) -> steps.Steps[bool]:
        if path.endswith(stays.name.encode()):
            raise Refused.at(name)
        return (yield from remove_file(path, name))

    monkeypatch.setattr(os, "unlink", unlinked)
    monkeypatch.setattr(steps, "remove_file", removed)
    stay = subject.files.call_off(AT, {"a", "b"})
    assert {name: type(error) for name, error in stay.items()} == {"a": Refused}
    assert [stays.exists(), goes.exists()] == [True, False]


@pytest.mark.parametrize("called_off", ["file", "other"])
def test_a_write_that_was_called_off_before_its_rename_changes_nothing(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, called_off: str
) -> None:
    subject.files.write(AT.child("file"), b"newer")
    rename, replace = os.rename, sftp.replace

    def meanwhile(act: Callable[..., object]) -> Callable[..., object]:
        def acted(*args: object, **named: object) -> object:
            LocalFiles(subject.root).call_off(AT, {called_off})
            return act(*args, **named)

        return acted

    monkeypatch.setattr(os, "rename", meanwhile(rename))
    monkeypatch.setattr(steps.sftp, "replace", meanwhile(replace))
    with pytest.raises((NotThere, HostFault)) if called_off == "file" else contextlib.nullcontext():
        subject.files.write(AT.child("file"), b"older")
    assert subject.files.read(AT.child("file"), 10) == (b"newer" if called_off == "file" else b"older")
    assert [entry.name for entry in subject.files.listing(AT)] == ["file"]


def test_a_temporary_that_cannot_be_removed_stays_and_the_others_go(subject: Subject) -> None:
    full, old = TEMPORARY_PREFIX.decode() + "1", TEMPORARY_PREFIX.decode() + "2"
    (subject.here / full / "inside").mkdir(parents=True)
    (subject.here / old).write_bytes(b"x")
    for name in (full, old):
        os.utime(subject.here / name, (0, 0))
    assert subject.files.sweep(AT, timedelta(hours=1)) == 1
    assert [entry.name for entry in subject.files.listing(AT)] == [full]


CLOCKS = {"the same": 0, "five minutes behind": -301, "five minutes ahead": 301}


@pytest.mark.parametrize("off", CLOCKS.values(), ids=CLOCKS.keys())
def test_what_is_left_behind_is_told_by_the_clock_that_dated_it(off: int) -> None:
    """A host's clock is that much before or behind ours; what a host said of its time is all that counts."""
    ours = 1_800_000_000
    there = ours + off

    def entry(name: str, age: int, kind: EntryKind = EntryKind.FILE) -> Entry:
        return Entry(name, kind, 1, 1, 0, there - age)

    entries = [
        entry(".portal-tmp-now", 0),
        entry(".portal-tmp-young", 299),
        entry(".portal-tmp-old", 301),
        entry(".portal-tmp-directory", 301, EntryKind.DIRECTORY),
        entry("a.us", 301),
    ]
    assert left_behind(entries, there, timedelta(minutes=5)) == [".portal-tmp-old"]


@pytest.mark.parametrize("off", [-400, 400], ids=["behind", "ahead"])
def test_a_host_whose_clock_is_off_loses_no_file_that_is_being_written(
    subject: Subject, monkeypatch: pytest.MonkeyPatch, off: int
) -> None:
    only_elsewhere(subject, "here there is one clock")
    fresh, old = TEMPORARY_PREFIX.decode() + "1", TEMPORARY_PREFIX.decode() + "2"
    for name in (fresh, old):
        (subject.here / name).write_bytes(b"x")
    now = time.time()
    os.utime(subject.here / old, (now - 310, now - 310))
    monkeypatch.setattr(time, "time", lambda: now - off)  # ours, as the host cannot have one of its own
    assert subject.files.sweep(AT, timedelta(minutes=5)) == 1
    assert [entry.name for entry in subject.files.listing(AT)] == [fresh]


def test_a_file_that_nobody_may_read_is_opened_up_and_nothing_else_is_touched(subject: Subject, outside: Path) -> None:
    (subject.here / "shut").write_bytes(b"x")
    (subject.here / "shut").chmod(0)
    (subject.here / "directory").mkdir(0o700)
    (outside / "secret").chmod(0o644)
    os.symlink(outside / "secret", subject.here / "link")
    told = dict(subject.files.open_up(AT.child(name) for name in ("shut", "directory", "link", "missing")))
    kinds = {path.name: type(error) for path, error in told.items()}
    assert kinds == {"shut": type(None), "directory": NotSafe, "link": NotSafe, "missing": NotThere}
    assert [stat.S_IMODE((subject.here / name).stat().st_mode) for name in ("shut", "directory")] == [0o600, 0o700]
    assert stat.S_IMODE((outside / "secret").stat().st_mode) == 0o644


def test_the_root_itself_is_not_touched(subject: Subject) -> None:
    for ask in (
        lambda: subject.files.remove_tree(HostPath()),
        lambda: subject.files.write(HostPath(), b""),
        lambda: subject.files.rename(HostPath(), AT),
    ):
        with pytest.raises(NotSafe):
            ask()


def test_a_message_tells_the_name_and_none_of_our_paths(subject: Subject) -> None:
    with pytest.raises(NotThere) as told:
        subject.files.read(AT.child("missing\n"), 5)
    assert "missing\\u{a}" in told.value.message
    assert str(subject.root) not in told.value.message
    assert (told.value.code, told.value.retry) == ("not-there", False)


def test_a_host_whose_root_is_gone_is_down_and_worth_another_try(tmp_path: Path) -> None:
    with pytest.raises(HostDown) as told:
        LocalFiles(tmp_path / "gone").listing(AT)
    assert told.value.retry


def test_swapping_a_directory_for_a_link_never_leads_outside(subject: Subject, outside: Path) -> None:
    only_here(subject, "over SFTP only trees are touched that no district can change: see hosts/remote.py")
    (subject.here / "real").mkdir()
    (subject.here / "real" / "secret").write_bytes(b"public")
    os.symlink(outside, subject.here / "fake")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(subject.here / "real", subject.here / "way")
            os.rename(subject.here / "way", subject.here / "real")
            os.rename(subject.here / "fake", subject.here / "way")
            os.rename(subject.here / "way", subject.here / "fake")

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    try:
        for _ in range(2000):
            try:
                seen.add(subject.files.read(AT.child("way").child("secret"), 100))
            except (NotThere, NotSafe):
                seen.add(b"")
    finally:
        stop.set()
        swapper.join()
    assert seen <= {b"", b"public"}
