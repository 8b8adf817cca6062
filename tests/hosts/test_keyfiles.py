import os
import shutil
from pathlib import Path

import pytest

from hosts.core.paths import key_file, username
from hosts.keyfiles import KeyFiles
from hosts.local import LocalFiles

from .test_keyfile import BLOB, KEY

ACCOUNT = username("smithville.k12.oh.us")
OTHER = username("jonestown.k12.oh.us")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "keys").mkdir()
    return tmp_path


def push(root: Path, *lines: str) -> None:
    LocalFiles(root).write(key_file(ACCOUNT), "".join(f"{line}\n" for line in lines).encode())


def blobs(watched: KeyFiles) -> list[bytes]:
    return [line.blob for line in watched.lines_of([ACCOUNT])[ACCOUNT]]


def test_every_account_asked_for_has_its_lines_or_none(root: Path) -> None:
    push(root, KEY, "rubbish")
    lines = KeyFiles(root).lines_of([ACCOUNT, OTHER])
    assert [line.blob for line in lines[ACCOUNT]] == [BLOB]
    assert lines[OTHER] == ()


def test_a_pushed_file_is_seen_and_an_unchanged_one_not_read_again(root: Path) -> None:
    push(root, KEY)
    watched = KeyFiles(root, settled=0)
    before = watched.lines_of([ACCOUNT])[ACCOUNT]
    assert watched.lines_of([ACCOUNT])[ACCOUNT] is before
    push(root, KEY)
    assert watched.lines_of([ACCOUNT])[ACCOUNT] is not before
    push(root)
    assert blobs(watched) == []


def test_a_file_changed_twice_within_a_tick_of_the_clock_is_read_twice(root: Path) -> None:
    push(root, KEY)
    watched = KeyFiles(root)
    assert blobs(watched) == [BLOB]
    path = root / "keys" / ACCOUNT
    stamp = path.stat()
    path.write_text("#" + KEY[1:] + "\n")
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert blobs(watched) == []


@pytest.mark.parametrize("how", ["gone", "a link", "a directory", "too large", "no directory"])
def test_a_file_that_cannot_be_read_lets_nobody_in(how: str, root: Path) -> None:
    push(root, KEY)
    watched = KeyFiles(root, settled=0)
    assert blobs(watched) == [BLOB]
    path = root / "keys" / ACCOUNT
    match how:
        case "gone":
            path.unlink()
        case "a link":
            path.rename(root / "elsewhere")
            path.symlink_to(root / "elsewhere")
        case "a directory":
            path.unlink()
            path.mkdir()
        case "too large":
            push(root, *[KEY] * 20_000)
        case "no directory":
            shutil.rmtree(root / "keys")
    assert blobs(watched) == []
    assert watched.lines(ACCOUNT) is None
