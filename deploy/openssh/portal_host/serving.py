"""The daemon: waits for requests and for changes of uploads, and does what they ask, one after the other."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import inotify
from .changes import Changes
from .claims import records_prune
from .keyplace import keys_mend
from .places import below, root_directory
from .registry import registry_stamp
from .requests import leftovers_remove, requests_serve
from .settings import Host

POLL_SECONDS = 5.0  # the safety net under inotify
SETTLE_SECONDS = 1.0  # what changes within it is told together
UNWATCHED_SECONDS = 60.0
ALL_SECONDS = 3600.0
TIDY_SECONDS = 300.0
ALONE_SECONDS = 0.2  # between tries to be the only helper


@dataclass(slots=True)
class Clock:
    """Something to be done again and again: `due` is in the seconds of time.monotonic()."""

    every: float
    do: Callable[[], None]
    due: float = 0.0


class Daemon:
    """Everything that is held open while the helper runs."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._changes = Changes(host)
        self._changed: set[str] = set()
        self._quiet_until = 0.0
        self._stamp: object = None
        self._requests = inotify.Watcher()
        with root_directory(host.places.tree) as tree, below(tree, b"requests") as requests:
            self._requests.add(requests, inotify.MOVED_TO)
        self._clocks = (
            Clock(ALL_SECONDS, self._look_at_all),
            Clock(UNWATCHED_SECONDS, self._look_at_unwatched),
            Clock(TIDY_SECONDS, self._tidy),
        )

    def run(self, stop: int) -> None:
        """Serve until the handle `stop` can be read."""
        while stop not in (ready := self._wait(stop)):
            for _ in self._requests.events():
                pass
            # First, so that whoever gets an answer finds them well.
            _guarded(self._keys_mend)
            _guarded(lambda: requests_serve(self._host))
            _guarded(self._accounts_follow)
            if self._changes.handle in ready:
                _guarded(self._changes_collect)
            for clock in self._clocks:
                if clock.due <= time.monotonic():
                    clock.due = time.monotonic() + clock.every
                    _guarded(clock.do)
            _guarded(self._changes_tell)

    def _wait(self, stop: int) -> list[int]:
        """The handles that can be read. Changes are read seldom: the kernel joins equal ones meanwhile."""
        now = time.monotonic()
        handles, until = [stop, self._requests.handle], now + POLL_SECONDS
        if self._quiet_until <= now:
            handles.append(self._changes.handle)
        else:
            until = min(until, self._quiet_until)
        until = min(until, *(clock.due for clock in self._clocks))
        return select.select(handles, [], [], max(0.0, until - now))[0]

    def _accounts_follow(self) -> None:
        stamp = registry_stamp(self._host.places)
        if stamp != self._stamp:
            self._changed |= self._changes.accounts_follow()
            self._stamp = stamp

    def _changes_collect(self) -> None:
        self._changed |= self._changes.collect()
        self._quiet_until = time.monotonic() + SETTLE_SECONDS

    def _changes_tell(self) -> None:
        self._changes.tell(self._changed)
        self._changed = set()

    def _look_at_all(self) -> None:
        self._changed |= self._changes.all_filled()

    def _look_at_unwatched(self) -> None:
        self._changed |= self._changes.unwatched()

    def _keys_mend(self) -> None:
        if keys_mend(self._host):
            told = "The directory of key files had lost its owner, group or mode, and has them again."
            print(told, file=sys.stderr, flush=True)

    def _tidy(self) -> None:
        leftovers_remove(self._host)
        records_prune(self._host)


def _guarded(do: Callable[[], object]) -> None:
    """A full disk or the like must not end the daemon: it is told, and tried again."""
    try:
        do()
    except Exception:
        traceback.print_exc(file=sys.stderr)
        time.sleep(0.2)


@contextlib.contextmanager
def stop_handle() -> Iterator[int]:
    """A handle that can be read once this process was asked to end."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(-1)
        os.close(reading)
        os.close(writing)


@contextlib.contextmanager
def alone(host: Host, stop: int) -> Iterator[bool]:
    """Wait until no other helper serves this host; False if `stop` could be read first.

    Two at once would both begin what one request asks for, and one of them would answer that it cannot be done.
    """
    with root_directory(host.places.state) as state:
        is_asked_to_end = False
        while not (is_alone := _locked(state)) and not is_asked_to_end:
            is_asked_to_end = bool(select.select([stop], [], [], ALONE_SECONDS)[0])
        yield is_alone


def _locked(directory: int) -> bool:
    """The lock goes with the process, however that ends."""
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def serve(host: Host) -> None:
    """Run the daemon until it is asked to end."""
    with stop_handle() as stop, alone(host, stop) as is_alone:
        if is_alone:
            daemon = Daemon(host)
            print("portal-host ready", flush=True)
            daemon.run(stop)
