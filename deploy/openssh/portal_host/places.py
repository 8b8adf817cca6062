"""Directories and files with their owners and modes, by directory handles."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hosts.core.errors import NotSafe
from hosts.local import DIRECTORY_FLAGS, directory_open, file_open, write_whole

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose a directory or file is, and its mode."""

    uid: int
    gid: int
    mode: int


@contextlib.contextmanager
def closing(handle: int) -> Iterator[int]:
    try:
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def root_directory(path: Path) -> Iterator[int]:
    """A handle of a directory that only root can have put there. Raises NotSafe if others could have."""
    with closing(os.open(path, DIRECTORY_FLAGS)) as handle:
        status = os.fstat(handle)
        if status.st_uid != 0 or status.st_mode & 0o022:
            raise NotSafe(f"The directory “{path.name}” must belong to root, and nobody else may write to it.")
        yield handle


@contextlib.contextmanager
def below(above: int, *names: bytes) -> Iterator[int]:
    """A handle of a directory some steps below another one; no step follows a link."""
    here = os.dup(above)
    try:
        for name in names:
            there = directory_open(here, name)
            os.close(here)
            here = there
        yield here
    finally:
        os.close(here)


def directory_make(above: int, name: bytes, owned: Owned) -> None:
    """Make a directory, or give one that is there its owner and mode again."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
    status = os.lstat(name, dir_fd=above)
    if stat.S_ISDIR(status.st_mode) and owned == owned_of(status):
        return
    with closing(directory_open(above, name)) as handle:
        own(handle, owned)


def owned_of(status: os.stat_result) -> Owned:
    return Owned(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))


def own(handle: int, owned: Owned) -> bool:
    """Give an open file or directory its owner and mode; whether that changed anything.

    The order matters: a change of the owner takes set-id bits away.
    """
    if owned_of(os.fstat(handle)) == owned:
        return False
    os.fchown(handle, owned.uid, owned.gid)
    os.fchmod(handle, owned.mode)
    return True


def publish(above: int, name: bytes, content: bytes, owned: Owned, *, durable: bool = True) -> None:
    """Put a file into a directory, whole or not at all: temporary name, owner and mode, rename."""
    temporary = b".new-" + secrets.token_hex(8).encode("ascii")
    try:
        with closing(file_open(above, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)) as handle:
            write_whole(handle, content)
            own(handle, owned)
            if durable:
                os.fsync(handle)
        os.rename(temporary, name, src_dir_fd=above, dst_dir_fd=above)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=above)
        raise
    if durable:
        os.fsync(above)


def content_of(above: int, name: bytes, limit: int) -> bytes | None:
    """The content of a regular file of at most `limit` bytes, or None if there is none. Raises NotSafe if larger."""
    try:
        handle = file_open(above, name, os.O_RDONLY)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise NotSafe(f"“{os.fsdecode(name)}” holds more than {limit} bytes.")
    return content


def file_system_sync(handle: int) -> None:
    """Make durable whatever was changed on the file system of an open directory."""
    if _libc.syncfs(handle) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
