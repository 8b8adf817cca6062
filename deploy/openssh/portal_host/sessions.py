"""The sessions that are open now, and the end of those whose key would not be let in any more.

sshd asks for keys when somebody signs in, and never again. So each session's process is known here by a handle, with
the fingerprint and the address that the log told of it, and is held against its account's key file whenever that
changes and once a second. What is known outlives a restart of ours; a process that came while nobody was listening is
found by the user number of what it runs. Its title has the name too, but cut where it is long.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from hosts.core.errors import HostError
from hosts.core.events import Event, Kind
from hosts.core.keyfile import KeyLine
from hosts.core.paths import Username
from hosts.core.signin import ENDINGS, Ending, Reason, admit, fingerprint, peer_address
from hosts.core.sshdlog import Opened
from hosts.keyfiles import KeyFiles

from . import inotify
from .places import Owned, below, content_of, publish, root_directory
from .processes import PROC, end, keeps, process_of, processes
from .registry import registry_read
from .settings import Host

STATE = b"sessions.json"
STATE_LIMIT = 16 * 1024 * 1024
ROOT_ONLY = Owned(0, 0, 0o600)
PATIENCE = 2.0  # seconds that a session has to go by itself
CHECK_SECONDS = 1.0
SCAN_SECONDS = 60.0
# What the log says of a moment, and what the kernel says of it, may differ by the tick of a clock.
SLACK = timedelta(seconds=2)
_KEY_CHANGES = inotify.MOVED_TO | inotify.MOVED_FROM | inotify.DELETE | inotify.CLOSE_WRITE


@dataclass(frozen=True, slots=True)
class Keeper:
    """sshd's privileged process of a connection: `started` in clock ticks since the machine's start."""

    pid: int
    started: int
    username: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the log told of a session; all empty if it did not."""

    fingerprint: str = ""
    address: str = ""
    port: int = 0


@dataclass(slots=True)
class Session:
    """An open session. `handle` is its process's; `ending` when it was asked to end, on time.monotonic()'s clock."""

    keeper: Keeper
    handle: int
    known: Known
    ending: float = 0.0


class Sessions:
    """All open sessions of accounts. `handle` can be polled: key files changed."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._open: dict[int, Session] = {}
        self._keys = KeyFiles(host.places.tree)
        self._watcher = inotify.Watcher()
        with root_directory(host.places.tree) as tree, below(tree, b"keys") as keys:
            self._watcher.add(keys, _KEY_CHANGES)
        self._checked = self._scanned = 0.0
        self._remembered = self._read_state()
        self._is_changed = False

    @property
    def handle(self) -> int:
        return self._watcher.handle

    @property
    def usernames(self) -> list[str]:
        """Whose sessions are open, once for each."""
        return [session.keeper.username for session in self._open.values()]

    def opened(self, told: Opened) -> None:
        """Somebody has signed in, now or a while ago."""
        keeper = keeper_of(told.pid, told.username)
        if keeper is None or _start(keeper) > told.at + SLACK:
            return
        session = self._take(keeper)
        if session is not None:
            session.known = Known(told.fingerprint, told.address, told.port)
            self._is_changed = True
            self._checked = 0.0

    def look(self, write: Callable[[list[Event]], None]) -> None:
        """What is to be done now: find sessions, let go of those that are over, end those that may not stay.

        An end is written down before it is brought about: of two that are killed in between, the log has both.
        """
        now = time.monotonic()
        if self._keys_changed() or now - self._checked >= CHECK_SECONDS:
            self._checked = now
            self._let_go()
            if now - self._scanned >= SCAN_SECONDS or not self._scanned:
                self._scanned = now
                self._scan()
            self._judge(write)
            self._hurry(now)
        if self._is_changed:
            self._write_state()

    def _keys_changed(self) -> bool:
        return any(True for _ in list(self._watcher.events()))

    # --- Which sessions there are

    def _take(self, keeper: Keeper) -> Session | None:
        """The session of this process, held by a handle that no other process can come to have."""
        known = self._open.get(keeper.pid)
        if known is not None and known.keeper == keeper:
            return known
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(keeper.pid)
            if keeper_of(keeper.pid, keeper.username) != keeper:
                os.close(handle)
                return None
            if known is not None:
                os.close(known.handle)
            told = self._remembered.get(keeper, Known())
            self._open[keeper.pid] = Session(keeper, handle, told)
            return self._open[keeper.pid]
        return None

    def _scan(self) -> None:
        for keeper in [*self._remembered, *self._found()]:
            self._take(keeper)
        self._remembered.clear()

    def _found(self) -> Iterator[Keeper]:
        """Who keeps the sessions that run as accounts now: nothing does before it has signed in."""
        names = self._names()
        for process in processes():
            keeper = keeper_of(process.parent, names.get(min(process.uids), ""))
            if keeper is not None:
                yield keeper

    def _names(self) -> dict[int, str]:
        """The name that each user number stands for."""
        try:
            accounts = registry_read(self._host.places).accounts
        except HostError as error:
            print(f"{error}; sessions are known by sshd's log alone", file=sys.stderr, flush=True)
            return {}
        return {one.uid: name for name, one in accounts.items() if not one.renamed}

    def _own_processes(self, keeper: Keeper) -> Iterator[int]:
        """What the session runs as its account: nothing before it has signed in. The innermost comes first."""
        settings = self._host.settings
        for pid in _descendants(keeper.pid):
            if _is_within(pid, settings.uid_first, settings.uid_last):
                yield pid

    def _let_go(self) -> None:
        poll = select.poll()
        by_handle = {session.handle: session for session in self._open.values()}
        for handle in by_handle:
            poll.register(handle, select.POLLIN)
        for handle, _ in poll.poll(0):
            os.close(handle)
            del self._open[by_handle[handle].keeper.pid]
            self._is_changed = True

    # --- Which may stay

    def _judge(self, write: Callable[[list[Event]], None]) -> None:
        staying = [session for session in self._open.values() if not session.ending]
        names = {Username(session.keeper.username) for session in staying}
        lines, now = self._keys.lines_of(names), datetime.now().astimezone()
        for session in staying:
            reason = _refusal(session.known, lines[Username(session.keeper.username)], now)
            if reason is not None:
                write([_ended(session, ENDINGS[reason])])
                self._end(session)

    def _end(self, session: Session) -> None:
        session.ending = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(session.handle, signal.SIGTERM)

    def _hurry(self, now: float) -> None:
        """Kill what did not go when it was asked to, and what it started."""
        settings = self._host.settings
        for session in self._open.values():
            if session.ending and now - session.ending > PATIENCE:
                pids = list(self._own_processes(session.keeper))
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(session.handle, signal.SIGKILL)
                end(pids, lambda pid: _is_within(pid, settings.uid_first, settings.uid_last))

    # --- What outlives us

    def _read_state(self) -> dict[Keeper, Known]:
        """What was told of the sessions before we were started. A note we cannot read is none."""
        with root_directory(self._host.places.state) as state:
            content = content_of(state, STATE, STATE_LIMIT)
        try:
            rows = json.loads(content or b"{}").get("sessions", [])
            return {Keeper(row["pid"], row["started"], row["username"]): _known(row) for row in rows}
        except (ValueError, KeyError, TypeError, AttributeError):
            print("sessions.json cannot be read; sessions are found by their processes", file=sys.stderr, flush=True)
            return {}

    def _write_state(self) -> None:
        rows = [asdict(session.keeper) | asdict(session.known) for session in self._open.values()]
        with root_directory(self._host.places.state) as state:
            publish(state, STATE, json.dumps({"sessions": rows}).encode("ascii"), ROOT_ONLY, durable=False)
        self._is_changed = False


def _known(row: dict[str, object]) -> Known:
    match row:
        case {"fingerprint": str(fingerprint), "address": str(address), "port": int(port)}:
            return Known(fingerprint, address, port)
    raise ValueError("not what we wrote")


def keeper_of(pid: int, username: str) -> Keeper | None:
    """sshd's process of a connection of this account, if that is what this one may be."""
    try:
        if not username or process_of(pid).uids != {0} or not keeps(pid, username):
            return None
        # The name of a process may hold spaces and brackets; the fields begin after the last of them.
        started = int((PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[19])
    except OSError:
        return None
    return Keeper(pid, started, username)


def _start(keeper: Keeper) -> datetime:
    """When the process was started, by the clock on the wall."""
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - keeper.started / os.sysconf("SC_CLK_TCK")
    return datetime.now(UTC) - timedelta(seconds=age)


def _refusal(known: Known, lines: tuple[KeyLine, ...], now: datetime) -> Reason | None:
    """Why the session may not stay; of one that nobody told us of, only that nothing lets its account in at all."""
    if not known.fingerprint:
        return None if any(not line.expired(now) for line in lines) else Reason.UNKNOWN_KEY
    blob = next((line.blob for line in lines if fingerprint(line.blob) == known.fingerprint), b"")
    return admit(lines, blob, peer_address(known.address), now)


def _ended(session: Session, ending: Ending) -> Event:
    keeper, known = session.keeper, session.known
    mark = hashlib.sha256(f"ended {keeper.pid} {keeper.started} {keeper.username}".encode("ascii")).hexdigest()[:24]
    return Event(
        kind=Kind.ENDED,
        at=datetime.now(UTC),
        username=keeper.username,
        address=known.address,
        port=known.port,
        client="",
        fingerprint=known.fingerprint,
        reason=ending,
        mark=mark,
    )


def _is_within(pid: int, first: int, last: int) -> bool:
    """Whether a process runs as an account."""
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        return all(first <= uid <= last for uid in process_of(pid).uids)
    return False


def _descendants(pid: int) -> Iterator[int]:
    children: Iterable[int] = ()
    with contextlib.suppress(OSError):
        children = [int(child) for child in (PROC / f"{pid}/task/{pid}/children").read_text().split()]
    for child in children:
        yield from _descendants(child)
        yield child
