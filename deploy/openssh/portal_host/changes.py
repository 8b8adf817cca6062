"""Which accounts' uploads changed, told to the portal in `log/changes.jsonl`.

Every upload directory is watched, and what lies in it down to a bounded number of directories an account. Where
watching cannot tell (a start, an overflow, more directories than are watched), every account that has anything in its
upload directory is told: too much is told rather than too little.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from hosts.local import directory_open, file_open, write_whole

from . import inotify
from .places import Owned, below, closing, own, root_directory
from .registry import registry_read
from .settings import Host

NAME = b"changes.jsonl"
SIZE_LIMIT = 4 * 1024 * 1024
DEPTH_LIMIT = 4
SCAN_LIMIT = 2000  # entries of one upload directory that are gone through for directories to watch
MASK = inotify.CLOSE_WRITE | inotify.MOVED_FROM | inotify.MOVED_TO | inotify.CREATE | inotify.DELETE


@dataclass(slots=True)
class Watched:
    """A directory that is watched: `depth` is 1 for an upload directory itself, `inner` the watches of those in it."""

    account: str
    depth: int
    inner: list[int]


class Changes:
    """The watches of all upload directories. `handle` can be polled."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._watcher = inotify.Watcher()
        self._watched: dict[int, Watched] = {}
        self._tops: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._scans: dict[str, int] = {}
        self._unwatched: set[str] = set()
        self._missing: set[str] = set()

    @property
    def handle(self) -> int:
        return self._watcher.handle

    @property
    def count(self) -> int:
        """How many directories are watched."""
        return len(self._watched)

    def close(self) -> None:
        self._watcher.close()

    def accounts_follow(self) -> set[str]:
        """Watch the accounts there are now; returns those among the new ones that have something already.

        One that was renamed is told too: what happened under its old name was lost with the watches.
        """
        registry = registry_read(self._host.places)
        active, left = registry.active, set()
        for gone in self._tops.keys() - active.keys():
            self._drop(self._tops.pop(gone))
            self._unwatched.discard(gone)
            left.add(registry.number_of(gone))
        self._missing &= active.keys()
        changed = {account for account, uid in active.items() if uid in left}
        with self._homes() as homes:
            for account in active.keys() - self._tops.keys():
                if self._top_add(homes, account):
                    changed.add(account)
        return changed

    def all_filled(self) -> set[str]:
        """Every account that has anything in its upload directory."""
        with self._homes() as homes:
            return {account for account in registry_read(self._host.places).active if _filled(homes, account)}

    def unwatched(self) -> set[str]:
        """The accounts that watching does not tell all about, and that have anything in their upload directory."""
        with self._homes() as homes:
            late = {account for account in list(self._missing) if self._top_add(homes, account)}
            return late | {account for account in self._unwatched if _filled(homes, account)}

    def collect(self) -> set[str]:
        """The accounts whose uploads changed since the last call."""
        changed: set[str] = set()
        moved: set[str] = set()
        for event in self._watcher.events():
            if event.mask & inotify.OVERFLOW:
                return self._start_again()
            watched = self._watched.get(event.watch)
            if watched is None:
                continue
            if event.mask & inotify.IGNORED:
                self._forget(event.watch)
                continue
            changed.add(watched.account)
            if event.mask & inotify.ISDIR:
                moved.add(watched.account)
        for account in moved:
            self._top_again(account)
        return changed

    def tell(self, accounts: Iterable[str]) -> None:
        """One line an account, at the end of the log; a log that is full makes way for a new one."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        lines = "".join(json.dumps({"at": at, "account": account}) + "\n" for account in sorted(accounts))
        if lines:
            with root_directory(self._host.places.tree) as tree, below(tree, b"log") as log:
                _log_write(log, lines.encode("ascii"), Owned(0, self._host.portal.gid, 0o640))

    @contextlib.contextmanager
    def _homes(self) -> Iterator[int]:
        with root_directory(self._host.places.tree) as tree, below(tree, b"homes") as homes:
            yield homes

    def _top_add(self, homes: int, account: str) -> bool:
        """Watch a whole upload directory; whether anything is in it. One that is not made yet is tried by the clock."""
        self._counts[account] = self._scans[account] = 0
        self._missing.add(account)
        with contextlib.suppress(FileNotFoundError), below(homes, account.encode("ascii"), b"upload") as upload:
            self._missing.discard(account)
            watch = self._add(upload, account, 1)
            if watch is not None:
                self._tops[account] = watch
            return _has_any(upload)
        return False

    def _add(self, directory: int, account: str, depth: int) -> int | None:
        """Watch a directory and those in it; None if that cannot be, and the account is looked at by the clock."""
        if self._counts[account] >= self._host.settings.watches_per_account or depth > DEPTH_LIMIT:
            self._unwatched.add(account)
            return None
        try:
            watch = self._watcher.add(directory, MASK)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.ENOMEM):
                raise
            if not self._unwatched:
                print("no inotify watches are left: raise fs.inotify.max_user_watches", file=sys.stderr, flush=True)
            self._unwatched.add(account)
            return None
        self._counts[account] += 1
        self._watched[watch] = watched = Watched(account, depth, [])
        for name in self._directories(directory, account):
            self._inner_add(directory, name, watched)
        return watch

    def _directories(self, directory: int, account: str) -> Iterator[bytes]:
        """The directories in one, of those entries that may be gone through; the rest is looked at by the clock.

        No entry is asked for its status: this is done at each directory that a district makes or removes.
        """
        with os.scandir(directory) as entries:
            for entry in entries:
                self._scans[account] += 1
                if self._scans[account] > SCAN_LIMIT:
                    self._unwatched.add(account)
                    return
                if entry.is_dir(follow_symlinks=False):
                    yield os.fsencode(entry.name)

    def _inner_add(self, directory: int, name: bytes, above: Watched) -> None:
        with contextlib.suppress(OSError), closing(directory_open(directory, name)) as inner:
            watch = self._add(inner, above.account, above.depth + 1)
            if watch is not None:
                above.inner.append(watch)

    def _top_again(self, account: str) -> None:
        """Watch an upload directory anew: directories came, left or changed their names.

        What happens between the old watches and the new ones is told too, as the account is told after this.
        """
        self._drop(self._tops.pop(account, None))
        self._unwatched.discard(account)
        with self._homes() as homes:
            self._top_add(homes, account)

    def _drop(self, watch: int | None) -> None:
        watched = self._watched.pop(watch, None) if watch is not None else None
        if watch is None or watched is None:
            return
        self._counts[watched.account] -= 1
        self._watcher.remove(watch)
        for inner in watched.inner:
            self._drop(inner)

    def _forget(self, watch: int) -> None:
        """The directory itself is gone; the one above it has told so."""
        watched = self._watched.pop(watch)
        self._counts[watched.account] -= 1

    def _start_again(self) -> set[str]:
        """Events were lost: watch everything anew, and tell of everybody who has anything."""
        for _ in self._watcher.events():
            pass
        for account in list(self._tops):
            self._top_again(account)
        return self.all_filled()


def _filled(homes: int, account: str) -> bool:
    with (
        contextlib.suppress(FileNotFoundError),
        below(homes, account.encode("ascii"), b"upload") as upload,
    ):
        return _has_any(upload)
    return False


def _has_any(directory: int) -> bool:
    with os.scandir(directory) as entries:
        return next(entries, None) is not None


def _log_write(log: int, lines: bytes, owned: Owned) -> None:
    try:
        size = os.lstat(NAME, dir_fd=log).st_size
    except FileNotFoundError:
        size = 0
    if size > SIZE_LIMIT:
        os.rename(NAME, NAME + b".1", src_dir_fd=log, dst_dir_fd=log)
        size = 0
    if size == 0:
        # A reader tells by its first line whether it is still the file it read before.
        lines = json.dumps({"generation": secrets.token_hex(16)}).encode("ascii") + b"\n" + lines
    with closing(file_open(log, NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT)) as handle:
        own(handle, owned)
        _lines_add(handle, lines)


def _lines_add(handle: int, lines: bytes) -> None:
    """All of them or none: a piece of one would spoil the next, and its account would not be told."""
    size = os.fstat(handle).st_size
    if size and os.pread(handle, 1, size - 1) != b"\n":  # a power cut left a piece; nobody has read it
        lines = b"\n" + lines
    try:
        write_whole(handle, lines)
    except OSError:
        os.ftruncate(handle, size)
        raise
