"""Private directories of files that are only checked: who holds one, whether he lives, and that none stays behind.

Whoever fills a directory holds a lock in it, which the kernel lets go when his process dies, however it dies.
"""

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

LOCK, GATE = "lock", "gate"
OLD_SECONDS = 24 * 60 * 60


def root() -> Path:
    """Where they all are."""
    return settings.DATA_DIR / "trials"


def place(name: str) -> Path:
    """The directory of this name; names are made by us."""
    return root() / name


def free_bytes() -> int:
    """How much room there is."""
    root().mkdir(parents=True, exist_ok=True, mode=0o700)
    return shutil.disk_usage(root()).free


class Incoming:
    """A directory that is being filled. Unless it is `kept` it goes away at the end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = place(name)
        self.kept = False


@contextmanager
def incoming() -> Iterator[Incoming]:
    """A fresh private directory, ours for as long as the block runs and this process lives."""
    made = Incoming(secrets.token_hex(16))
    with _locked(root() / GATE):  # nobody sweeps between the directory and its lock
        made.path.mkdir(mode=0o700)
        lock = _lock(made.path / LOCK)
    try:
        yield made
    finally:
        if not made.kept:
            remove(made.name)
        os.close(lock)


def orphans() -> set[str]:
    """Directories whose filler is done or dead, and those that are a day old whoever holds them."""
    if not root().is_dir():
        return set()
    with _locked(root() / GATE):
        return {path.name for path in root().iterdir() if path.is_dir() and _is_orphan(path)}


def remove(name: str) -> None:
    """Removes a directory with all that is in it; nothing happens if it is gone."""
    shutil.rmtree(place(name), ignore_errors=True)


@contextmanager
def turn(most: int) -> Iterator[bool]:
    """Whether the block may check files now: at most so many blocks on this machine may, and none waits for another."""
    root().mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = next((got for number in range(most) if (got := _try(root() / f"turn-{number}")) is not None), None)
    try:
        yield lock is not None
    finally:
        if lock is not None:
            os.close(lock)


def _is_orphan(path: Path) -> bool:
    lock = _try(path / LOCK)
    if lock is not None:
        os.close(lock)
        return True
    return time.time() - path.stat().st_mtime > OLD_SECONDS


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _lock(path)
    try:
        yield
    finally:
        os.close(lock)


def _lock(path: Path, how: int = fcntl.LOCK_EX) -> int:
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(number, how)
    return number


def _try(path: Path) -> int | None:
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        return None
    return number
