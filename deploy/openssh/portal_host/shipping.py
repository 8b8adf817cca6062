"""sshd's log turned into the connection log: each event once, whatever is restarted in between.

    portal-log [--root DIR] [--file PATH [--trusted-plain]] [--no-accounting]

The journal is followed from the place that was kept; where a connection had not ended there, from that connection's
first line. Lines that are read a second time come to events with marks that the log has already. The events are on the
disk before the place is, so a cut between the two costs a few lines read twice, and nothing else.

From the journal, lines are chosen by the name their sender gives itself and believed by what the kernel says of the
sender (hosts.core.sshdlines): choosing by `_COMM=sshd` would lose what a process says right before its end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from hosts.core.events import Event, Kind
from hosts.core.paths import USERNAME
from hosts.core.sshdlines import PROGRAMS, Line, journal_record, plain_line, stamped_line
from hosts.core.sshdlog import Opened, SshdLog, Told, with_keys

from .accounting import Accounting
from .connections import ConnectionLog
from .offers import key_taken, offers_tidy
from .places import Owned, content_of, publish, root_directory
from .serving import stop_handle
from .sessions import Sessions
from .settings import BadSettings, Host, Places, host_of

STATE = b"shipping.json"
STATE_LIMIT = 64 * 1024
ROOT_ONLY = Owned(0, 0, 0o600)
READ_SIZE = 1024 * 1024
LINE_LIMIT = 256 * 1024
WAIT_SECONDS = 0.5
TIDY_SECONDS = 60.0
KEEP_PLACE_SECONDS = 1.0
_FIELDS = "MESSAGE,SYSLOG_IDENTIFIER,_PID,_UID,_COMM,_EXE"


@dataclass(frozen=True, slots=True)
class Place:
    """Where to read on. `is_needed`: the line at this place itself is wanted, too; empty: from now on."""

    at: str = ""
    is_needed: bool = False


class Source(Protocol):
    """Lines of sshd, as they come. `place` is where it begins."""

    place: Place

    def handle(self) -> int | None:
        """What can be polled for more, if anything can."""

    def lines(self) -> Iterator[tuple[str, Line | None]]:
        """What there is now: places, and the line there if it is sshd's. Ends when there is no more yet."""

    def close(self) -> None: ...


class Journal:
    """journald's journal, by `journalctl --follow`; one that ends is started again where it ended."""

    def __init__(self, place: Place) -> None:
        self.place = place if place.at else Place(_last_cursor())
        self._rest = b""
        self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        names = [word for name in sorted(PROGRAMS) for word in ("-t", name)]
        option = "--cursor" if self.place.is_needed else "--after-cursor"
        begin = [f"{option}={self.place.at}"] if self.place.at else []
        command = [
            "journalctl",
            "--follow",
            "--quiet",
            "--output=json",
            f"--output-fields={_FIELDS}",
            "--lines=all",
            *names,
            *begin,
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        return process

    def handle(self) -> int | None:
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def lines(self) -> Iterator[tuple[str, Line | None]]:
        for raw in self._raw_lines():
            record = journal_record(raw)
            if record is not None:
                self.place = Place(record.cursor)
                yield record.cursor, record.line

    def _raw_lines(self) -> Iterator[bytes]:
        handle = self.handle()
        assert handle is not None
        try:
            content = os.read(handle, READ_SIZE)
        except BlockingIOError:
            return
        if not content:
            self._again()
            return
        *whole, rest = (self._rest + content).split(b"\n")
        self._rest = rest if len(rest) < LINE_LIMIT else b""
        yield from whole

    def _again(self) -> None:
        self._process.wait()
        print(f"journalctl ended ({self._process.returncode}); it is started again", file=sys.stderr, flush=True)
        time.sleep(WAIT_SECONDS)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._rest = b""
        self._process = self._started()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def _last_cursor() -> str:
    """Where the journal ends now; empty if there is nothing in it yet."""
    command = ["journalctl", "--quiet", "--output=json", "--output-fields=MESSAGE", "--lines=1"]
    record = journal_record(subprocess.run(command, capture_output=True, check=False).stdout)
    return record.cursor if record else ""


LineOf = Callable[[bytes], Line | None]


class LogFile:
    """A file that syslog writes to; when it is rotated away, it is read to its end, and then the new one.

    A place in it is `inode:offset`.
    """

    def __init__(self, path: Path, place: Place, line_of: LineOf) -> None:
        self._path, self._line_of = path, line_of
        inode, _, offset = place.at.partition(":")
        self._inode, self._offset = int(inode or 0), int(offset or 0)
        self._file: int | None = None
        self._find(is_first=not place.at)
        self.place = Place(f"{self._inode}:{self._offset}")

    def _find(self, *, is_first: bool = False) -> None:
        """Open the file we were reading, wherever it is now, else the one that is there."""
        for path in (self._path, self._path.with_name(f"{self._path.name}.1")):
            handle = _opened(path)
            if handle is not None and os.fstat(handle).st_ino == self._inode:
                self._file = handle
                break
            if handle is not None:
                os.close(handle)
        else:
            self._open_new(at_end=is_first)
        if self._file is not None and os.fstat(self._file).st_size < self._offset:
            self._offset = 0

    def _open_new(self, *, at_end: bool = False) -> None:
        self._file = _opened(self._path)
        if self._file is not None:
            status = os.fstat(self._file)
            self._inode, self._offset = status.st_ino, status.st_size if at_end else 0

    def handle(self) -> int | None:
        return None

    def lines(self) -> Iterator[tuple[str, Line | None]]:
        if self._file is None:
            self._open_new()
        if self._file is None:
            return
        content = os.pread(self._file, READ_SIZE, self._offset)
        whole = content[: content.rfind(b"\n") + 1]
        yield from self._lines_of(whole)
        if not whole and self._followed(bool(content)):
            yield from self.lines()

    def _lines_of(self, whole: bytes) -> Iterator[tuple[str, Line | None]]:
        for raw in whole.splitlines(keepends=True):
            place = f"{self._inode}:{self._offset}"
            self._offset += len(raw)
            line = self._line_of(raw)
            yield f"{self._inode}:{self._offset}", replace(line, place=place) if line else None

    def _followed(self, has_half_a_line: bool) -> bool:
        """Whether the reading goes on in a new file, the old one having been rotated away and read to its end."""
        assert self._file is not None
        if os.fstat(self._file).st_size < self._offset:
            self._offset = 0
            return True
        try:
            is_same = os.stat(self._path).st_ino == self._inode
        except FileNotFoundError:
            return False
        if is_same:
            return False
        if has_half_a_line and time.time() - os.fstat(self._file).st_mtime < 60:
            return False
        os.close(self._file)
        self._open_new()
        return self._file is not None

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None


class Homes:
    """Which names are accounts: those that have a home on this host."""

    def __init__(self, places: Places) -> None:
        self._path = places.tree / "homes"

    def has(self, name: str) -> bool:
        return USERNAME.fullmatch(name) is not None and os.path.lexists(self._path / name)

    def whole(self, cut: str) -> str:
        """The one account whose name begins so; what was given if there are none or several."""
        found = [name for name in os.listdir(self._path) if name.startswith(cut)]
        return found[0] if len(found) == 1 else cut


class Shipping:
    """All that is held while the log is followed."""

    def __init__(self, host: Host, source: Callable[[Place], Source], ends: Accounting | None = None) -> None:
        self._host, self._ends = host, ends
        homes = Homes(host.places)
        self._sshd = SshdLog(is_account=homes.has, whole_name=homes.whole)
        self._log = ConnectionLog(host)
        self._sessions = Sessions(host)
        self._kept = self._read_place()
        self._source = source(self._kept)
        self._place = self._kept if self._kept.at else self._source.place
        self._waiting: list[Event] = []
        self._tidied = self._kept_at = 0.0
        self._keep_place()

    def run(self, stop: int) -> None:
        """Ship until the handle `stop` can be read."""
        is_more = False
        while stop not in self._wait(stop, 0 if is_more else WAIT_SECONDS):
            is_more = _guarded(self.read)
            _guarded(self.hear_refusals)
            # A log that cannot be written keeps nobody inside.
            _guarded(self.look)
        self._keep_place(is_last=True)
        self._source.close()
        self._log.close()
        if self._ends is not None:
            self._ends.close()

    def read(self) -> bool:
        """Read and write what there is; whether there may be more at once."""
        self._flush()
        latest = None
        for place, line in self._source.lines():
            self._place = Place(place)
            latest = line.at if line else latest
            for told in self._sshd.read(line) if line else ():
                if isinstance(told, Opened):
                    self._sessions.opened(told)
                self._keep_event(told)
        # While lines come, theirs is the clock: read late, a connection's end may stand further down.
        for told in self._sshd.overdue(latest or datetime.now(UTC)):
            self._keep_event(told)
        self._flush()
        self._keep_place()
        return latest is not None

    def hear_refusals(self) -> bool:
        """Write down who wanted something else than SFTP, which sshd's log does not tell."""
        for refusal in self._ends.refusals() if self._ends else ():
            for told in self._sshd.refused(refusal.child, refusal.at):
                self._keep_event(told)
        self._flush()
        return False

    def look(self) -> bool:
        """What is to be done by the clock."""
        self._sessions.look(self._ended)
        if time.monotonic() - self._tidied > TIDY_SECONDS or not self._tidied:
            self._tidied = time.monotonic()
            offers_tidy(self._host.places)
        return False

    def _keep_event(self, told: Told) -> None:
        if isinstance(told, Event):
            self._waiting.append(self._with_keys(told))

    def _ended(self, events: list[Event]) -> None:
        """Write down who is sent away now; it happens even if it cannot be written."""
        self._waiting += events
        with contextlib.suppress(OSError):
            self._flush()

    def _wait(self, stop: int, seconds: float) -> list[int]:
        handle = None if self._waiting else self._source.handle()
        handles = [stop, self._sessions.handle, *([] if handle is None else [handle])]
        return select.select(handles, [], [], seconds)[0]

    def _flush(self) -> None:
        """Write what waits. On a full disk it goes on waiting, no line more is read, and journald keeps the rest."""
        if self._waiting:
            self._log.write(self._waiting)
            self._waiting = []

    def _with_keys(self, event: Event) -> Event:
        if event.kind is not Kind.REFUSED or not event.offered:
            return event
        keys = (key_taken(self._host.places, one) for one in event.offered)
        return with_keys(event, tuple(key for key in keys if key))

    def _read_place(self) -> Place:
        with root_directory(self._host.places.state) as state:
            content = content_of(state, STATE, STATE_LIMIT)
        try:
            data = json.loads(content or b"{}")
            return Place(str(data.get("place", "")), bool(data.get("needed", False)))
        except (ValueError, AttributeError):
            print("shipping.json cannot be read; sshd's log is read from now on", file=sys.stderr, flush=True)
            return Place()

    def _keep_place(self, *, is_last: bool = False) -> None:
        """Note from where lines are needed. Not durable at once: an older place costs a few lines more."""
        needed = self._sshd.needed_from
        place = Place(needed, True) if needed else self._place
        now = time.monotonic()
        if self._waiting or place == self._kept or (now - self._kept_at < KEEP_PLACE_SECONDS and not is_last):
            return
        self._kept, self._kept_at = place, now
        content = json.dumps({"place": place.at, "needed": place.is_needed}).encode("ascii")
        with root_directory(self._host.places.state) as state:
            publish(state, STATE, content, ROOT_ONLY, durable=False)


def _guarded(do: Callable[[], bool]) -> bool:
    """A full disk or the like must not end the daemon: it is told, and tried again."""
    try:
        return do()
    except OSError as error:
        print(f"{type(error).__name__}: {error.strerror}; tried again", file=sys.stderr, flush=True)
    except Exception:
        traceback.print_exc(file=sys.stderr)
    time.sleep(WAIT_SECONDS)
    return False


def _line_of(is_plain: bool) -> LineOf:
    if is_plain:
        return lambda raw: plain_line(raw, datetime.now(UTC))
    return lambda raw: stamped_line(raw, datetime.now().astimezone())


def _source(given: argparse.Namespace) -> Callable[[Place], Source]:
    if given.file is None:
        return Journal
    return lambda place: LogFile(given.file, place, _line_of(given.trusted_plain))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="portal-log", description="Tells the portal who signed in on this host.")
    parser.add_argument("--root", type=Path, default=Path("/"), help="where the host's files lie; for tests")
    parser.add_argument("--file", type=Path, help="follow this file of syslog's instead of the journal")
    parser.add_argument(
        "--trusted-plain",
        action="store_true",
        help="the file is sshd's own (sshd -E), where a client can forge lines: for trying things out only",
    )
    parser.add_argument(
        "--no-accounting",
        action="store_true",
        help="leave the kernel's process accounting alone; nobody is told then that a shell was tried",
    )
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Exit status 2 when the host is not set up."""
    given = _parser().parse_args(words)
    if os.geteuid() != 0:
        print("portal-log must be run by root.", file=sys.stderr)
        return 2
    os.umask(0o027)
    try:
        host = host_of(Places(given.root))
    except BadSettings as error:
        print(error, file=sys.stderr)
        return 2
    with stop_handle() as stop:
        shipping = Shipping(host, _source(given), None if given.no_accounting else Accounting(host))
        print("portal-log ready", flush=True)
        shipping.run(stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
