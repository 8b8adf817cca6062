from pathlib import Path

import pytest

from hosts.core.errors import AlreadyThere, HostError
from hosts.core.paths import HostPath, home, upload, username
from hosts.files import HostFiles
from hosts.local import LocalFiles
from hosts.provision import home_make, home_rename

OLD, NEW = username("old.k12.us"), username("new.k12.us")


@pytest.fixture
def files(tmp_path: Path) -> HostFiles:
    return LocalFiles(tmp_path)


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_a_home_has_its_places_and_may_be_made_again(files: HostFiles, tmp_path: Path) -> None:
    home_make(files, OLD)
    files.write(upload(OLD).child("kept"), b"x")
    home_make(files, OLD)
    assert tree(tmp_path / "homes" / OLD) == {
        "upload",
        "upload/kept",
        "upload-processed",
        "downloads",
        "downloads/backups",
        "downloads/docviewer",
        "downloads/pdfs",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"homes", "keys", "claimed"}


def test_a_renamed_home_keeps_its_files(files: HostFiles) -> None:
    home_make(files, OLD)
    files.write(upload(OLD).child("file"), b"kept")
    for _ in range(2):
        home_rename(files, OLD, NEW)
        assert files.read(upload(NEW).child("file"), 10) == b"kept"
        assert files.stat(home(OLD)) is None


def test_a_bare_home_of_the_new_name_gives_way(files: HostFiles) -> None:
    home_make(files, OLD)
    files.write(upload(OLD).child("file"), b"kept")
    home_make(files, NEW)
    home_rename(files, OLD, NEW)
    assert files.read(upload(NEW).child("file"), 10) == b"kept"


def test_a_home_of_the_new_name_with_files_stays_and_so_does_the_old_one(files: HostFiles) -> None:
    home_make(files, OLD)
    files.write(upload(OLD).child("file"), b"old")
    home_make(files, NEW)
    files.write(upload(NEW).child("file"), b"new")
    with pytest.raises(AlreadyThere):
        home_rename(files, OLD, NEW)
    assert files.read(upload(OLD).child("file"), 10) == b"old"
    assert files.read(upload(NEW).child("file"), 10) == b"new"


def test_a_rename_without_an_old_home_makes_the_new_one(files: HostFiles) -> None:
    home_rename(files, OLD, NEW)
    assert files.stat(upload(NEW)) is not None


class Killed(HostError):
    pass


class Dying:
    """Files that fail at the n-th change, as a killed process would stop there."""

    def __init__(self, files: HostFiles, changes: int) -> None:
        self._files = files
        self._left = changes

    def __getattr__(self, name: str):
        if name in ("write", "rename", "remove", "remove_tree", "make_directory"):
            if self._left == 0:
                raise Killed("killed")
            self._left -= 1
        return getattr(self._files, name)


def test_a_rename_killed_anywhere_is_finished_by_the_next_try(tmp_path: Path) -> None:
    changes = 0
    while True:
        files = LocalFiles(tmp_path / str(changes))
        (tmp_path / str(changes)).mkdir()
        home_make(files, OLD)
        home_make(files, NEW)
        files.write(upload(OLD).child("file"), b"kept")
        try:
            home_rename(Dying(files, changes), OLD, NEW)
        except Killed:
            home_rename(files, OLD, NEW)
            changes += 1
        else:
            break
        assert files.read(upload(NEW).child("file"), 10) == b"kept"
        assert files.stat(HostPath(("homes", OLD))) is None
    assert changes > 10
