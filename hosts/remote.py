"""The files of a host elsewhere, over SFTP.

What the portal reaches at the host is its own: keys, claimed, requests, answers, log, and each home's
upload-processed and downloads can be written by the portal's service account and root alone. No district can put a
link there, so looking at each part of a path first (one turn, and once per directory when there are many files) is
proof enough that none is followed, though SFTP has no open-without-following. `upload`, which the district owns, is
another matter: a name looked at can be another thing when it is opened. Nothing below it is ever named in a request
of SFTP; all of it goes through the host's own helper (`helper`), which holds directories by handle.

A renamed file is durable in its content; of the rename itself a host that loses power may forget the last seconds,
and then has the old file. What is on the host is compared at each run.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import secrets
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import BinaryIO, Protocol, TypeVar

from . import steps
from .core import sftp
from .core.errors import HostError, HostFault, NoAtomicRename, NotSafe, NotThere, Refused, TooLarge
from .core.paths import HostPath, Username, name_bytes, name_text, shown
from .core.sftp import Attributes
from .files import TEMPORARY_PREFIX, Entry, EntryKind, FileRead, begun, left_behind, temporary_for
from .helper import RangedFile, Uploads
from .pipeline import WINDOW, Pipeline, Steps
from .steps import Chunks, Target

# Files are for the portal and the group that may read them (the key command's, or a district's), nobody else.
FILE_MODE, DIRECTORY_MODE = 0o640, 0o750
# What stood in a file that nobody could read lets nobody in before it was looked at.
OPENED_MODE = 0o600
READ_AHEAD = 1024 * 1024
# Reading leaves nothing behind, so more may be in flight than when writing.
READ_WINDOW = 4 * WINDOW
_T = TypeVar("_T")
_KINDS = {stat.S_IFREG: EntryKind.FILE, stat.S_IFDIR: EntryKind.DIRECTORY, stat.S_IFLNK: EntryKind.LINK}


class Session(Protocol):
    """An open connection with its SFTP session."""

    pipeline: Pipeline

    def close(self) -> None: ...


def entry_of(name: bytes, found: Attributes) -> Entry:
    """An entry as SFTP tells it. Raises HostFault if the server leaves out what matters."""
    if found.mode is None or found.size is None:
        raise HostFault("The host's SFTP server does not tell what kind of thing an entry is.")
    kind = _KINDS.get(stat.S_IFMT(found.mode), EntryKind.OTHER)
    owned = (found.owner, stat.S_IMODE(found.mode), found.group)
    return Entry(name_text(name), kind, found.size, 1, 0, found.modified or 0, *owned)


class RemoteFiles:
    """`HostFiles` over one SFTP session, opened by `dial` when it is first needed and never a second time.

    A session that broke stays broken: every call raises what broke it. Safe to use from several threads.
    """

    def __init__(
        self,
        dial: Callable[[], Session],
        *,
        root: bytes = b"",
        file_mode: int = FILE_MODE,
        directory_mode: int = DIRECTORY_MODE,
    ) -> None:
        """`root` is where the host's trees lie for the SFTP server, if it does not shut the portal in there."""
        self._dial = dial
        self._root = root
        self._file_mode = file_mode
        self._directory_mode = directory_mode
        self._lock = threading.Lock()
        self._session: Session | None = None
        # Requests that were under way when a connection was cut may still be carried out: no later run's temporary
        # has the same name.
        self._own = secrets.token_hex(6).encode("ascii") + b"-"
        self._counter = itertools.count(1)
        self._uploads = Uploads(self)

    # --- The session

    def close(self) -> None:
        """End the session, if there is one."""
        with self._lock:
            if self._session is not None:
                self._session.close()

    @property
    def is_broken(self) -> bool:
        return self._session is not None and self._session.pipeline.is_broken

    @property
    def silent_for(self) -> float:
        """Seconds since the host was last heard on the session; 0 if there is none yet."""
        return 0.0 if self._session is None else time.monotonic() - self._session.pipeline.heard

    def is_alive(self) -> bool:
        """Whether a session is open and the host answers on it now."""
        if self._session is None or self._session.pipeline.is_broken:
            return False
        with contextlib.suppress(HostError):
            self._do(steps.look(b"/", ""))
            return True
        return False

    @property
    def _pipeline(self) -> Pipeline:
        with self._lock:
            if self._session is None:
                self._session = self._dial()
            return self._session.pipeline

    def _do(self, job: Steps[_T]) -> _T:
        return self._pipeline.do(job)

    @property
    def _chunks(self) -> Chunks:
        return Chunks.of(self._pipeline.limits)

    # --- Looking

    def listing(self, path: HostPath) -> tuple[Entry, ...]:
        if _is_uploaded(path):
            return self._uploads.listing(path)
        self._walk(path)
        found = self._do(steps.listing(self._raw(path), path.name))
        return tuple(sorted((entry_of(*one) for one in found), key=lambda entry: entry.name))

    def stat(self, path: HostPath) -> Entry | None:
        _check_below_root(path)
        if _is_uploaded(path):
            return self._uploads.stat(path)
        try:
            self._walk(path.parent)
        except NotThere:
            return None
        found = self._do(steps.look(self._raw(path), path.name))
        return entry_of(name_bytes(path.name), found) if found else None

    def look_ahead(self, accounts: Sequence[Username]) -> None:
        self._uploads.look_ahead(accounts)

    def open_writes(self, account: Username) -> tuple[str, ...]:
        return self._uploads.look(account).writing

    # --- Reading

    def open_read(self, path: HostPath) -> BinaryIO:
        _check_below_root(path)
        if _is_uploaded(path):
            return self._uploads.open_read(path)
        self._walk(path.parent)
        handle, size = self._do(steps.open_read(self._raw(path), path.name))
        pipeline, chunk = self._pipeline, min(self._chunks.read, sftp.SAFE_CHUNK)

        def ranged(offset: int, length: int) -> bytes:
            return pipeline.do(steps.read_range(handle, path.name, offset, length, chunk))

        return io.BufferedReader(RangedFile(ranged, size, lambda: pipeline.do(steps.close(handle))), READ_AHEAD)

    def read(self, path: HostPath, limit: int) -> bytes:
        if _is_uploaded(path):
            with self.open_read(path) as file:
                content = file.read(limit + 1)
            if len(content) > limit:
                raise TooLarge(f"“{shown(path.name, 80)}” is larger than {limit} bytes.")
            return content
        return self._read(path, limit).content

    def _read(self, path: HostPath, limit: int) -> FileRead:
        _check_below_root(path)
        self._walk(path.parent)
        return self._do(steps.read(self._raw(path), path.name, limit, self._chunks.read))

    def read_many(self, paths: Iterable[HostPath], limit: int) -> Iterator[tuple[HostPath, FileRead | HostError]]:
        """As the interface says. Large files come last and one by one, so that memory stays small."""
        large: deque[HostPath] = deque()
        small = min(limit, steps.SMALL)
        chunk = self._chunks.read

        def reading(path: HostPath, place: bytes) -> Steps[FileRead]:
            return steps.read(place + name_bytes(path.name), path.name, small, chunk)

        for path, outcome in self._many(paths, reading, READ_WINDOW):
            if isinstance(outcome, TooLarge) and small < limit:
                large.append(path)
            else:
                yield path, outcome
        while large:
            path = large.popleft()
            try:
                yield path, self._read(path, limit)
            except HostError as error:
                yield path, error

    # --- Writing

    def write(self, path: HostPath, content: bytes) -> None:
        for _, error in self.write_many([(path, content)]):
            if error is not None:
                raise error

    def write_many(self, items: Iterable[tuple[HostPath, bytes]]) -> Iterator[tuple[HostPath, HostError | None]]:
        contents: dict[HostPath, bytes] = {}

        def paths() -> Iterator[HostPath]:
            for path, content in items:
                contents[path] = content
                yield path

        pipeline, chunk = self._pipeline, self._chunks.write
        if not pipeline.offers(sftp.POSIX_RENAME):
            raise NoAtomicRename("The host's SFTP server has no rename that replaces a file; nothing was written.")
        durable = pipeline.offers(sftp.FSYNC)

        def writing(path: HostPath, place: bytes) -> Steps[None]:
            name = name_bytes(path.name)
            target = Target(place + name, place + self._temporary(temporary_for(name)), path.name, self._file_mode)
            return steps.write(target, contents.pop(path), chunk, durable=durable)

        return self._many(paths(), writing, self._write_window())

    def _temporary(self, start: bytes = TEMPORARY_PREFIX) -> bytes:
        """A name that no other file of this or any other run has."""
        return start + self._own + b"%d" % next(self._counter)

    def _write_window(self) -> int:
        """At most `WINDOW`, and well below the handles that the server keeps open for one session."""
        handles = self._pipeline.limits.handles
        return min(WINDOW, max(1, handles // 2)) if handles else WINDOW

    def open_up(self, paths: Iterable[HostPath]) -> Iterator[tuple[HostPath, HostError | None]]:
        def opening(path: HostPath, place: bytes) -> Steps[None]:
            return steps.open_up(place + name_bytes(path.name), path.name, OPENED_MODE)

        return self._many(paths, opening, WINDOW)

    def rename(self, old: HostPath, new: HostPath) -> None:
        """As the interface says.

        For directories OpenSSH looks and then renames, so of two at the same moment the second could replace an
        empty directory; what districts can bring about goes through the helper, which renames in one step.
        """
        _check_below_root(old)
        _check_below_root(new)
        if _is_uploaded(old):
            self._uploads.claim(old, new)
            return
        self._walk(new.parent)
        self._walk(old.parent)
        self._do(steps.rename(self._raw(old), self._raw(new), old.name, new.name))

    def remove(self, path: HostPath) -> None:
        _check_below_root(path)
        self._walk(path.parent)
        self._do(steps.remove(self._raw(path), path.name))

    def remove_tree(self, path: HostPath) -> None:
        _check_below_root(path)
        with contextlib.suppress(NotThere):
            self._walk(path.parent)
            found = self._do(steps.look(self._raw(path), path.name))
            if found is not None and stat.S_ISDIR(found.mode or 0):
                self._empty(self._raw(path), path.name)
            self._do(steps.remove(self._raw(path), path.name))

    def _empty(self, top: bytes, name: str) -> None:
        """Remove all in a directory. A nested one's directories are moved up first: no path grows with the depth."""
        while entries := self._do(steps.listing(top, name)):
            nested = [one for one, found in entries if stat.S_ISDIR(found.mode or 0)]
            files = [top + b"/" + one for one, found in entries if not stat.S_ISDIR(found.mode or 0)]
            self._all((file, steps.remove_file(file, name)) for file in files)
            for one in nested:
                self._flatten(top, top + b"/" + one, name)

    def _flatten(self, top: bytes, nested: bytes, name: str) -> None:
        jobs = []
        for inner, found in self._do(steps.listing(nested, name)):
            here = nested + b"/" + inner
            if stat.S_ISDIR(found.mode or 0):
                lifted = top + b"/" + self._temporary()
                jobs.append((here, steps.rename(here, lifted, name, name)))
            else:
                jobs.append((here, _forget(steps.remove_file(here, name))))
        self._all(jobs)
        self._do(steps.remove_directory(nested, name))

    def _all(self, jobs: Iterable[tuple[bytes, Steps[object]]]) -> None:
        """Do all of them; raises the first error when all are done."""
        errors = [outcome for _, outcome in self._pipeline.run(jobs) if isinstance(outcome, HostError)]
        if errors:
            raise errors[0]

    def make_directory(self, path: HostPath) -> None:
        for depth in range(1, len(path.parts) + 1):
            here = HostPath(path.parts[:depth])
            self._do(steps.make_directory(self._raw(here), here.name, self._directory_mode))

    def call_off(self, directory: HostPath, names: Collection[str]) -> dict[str, HostError]:
        try:
            there = begun(self.listing(directory), names)
        except NotThere:
            return {}
        place = self._raw(directory) + b"/"
        outcomes = self._pipeline.run(
            (meant, steps.remove_file(place + name_bytes(name), directory.name)) for name, meant in there.items()
        )
        return {meant: outcome for meant, outcome in outcomes if isinstance(outcome, HostError)}

    def sweep(self, path: HostPath, older_than: timedelta) -> int:
        """As the interface says; the age is by the host's own clock, which may be minutes away from ours."""
        self._walk(path)
        found = self._do(steps.listing(self._raw(path), path.name))
        temporaries = [entry_of(*one) for one in found if one[0].startswith(TEMPORARY_PREFIX)]
        if not temporaries:  # nearly always: then nothing is written to learn the time
            return 0
        place = self._raw(path) + b"/"
        old = left_behind(temporaries, self._now(place, path.name, temporaries), older_than)
        files = [place + name_bytes(name) for name in old]
        outcomes = self._pipeline.run((file, steps.remove_file(file, path.name)) for file in files)
        return sum(outcome is True for _, outcome in outcomes)

    def _now(self, place: bytes, name: str, entries: Iterable[Entry]) -> int:
        """The host's time. Where no file can be made it is at least that of the newest of `entries`."""
        try:
            return self._do(steps.clock(place + self._temporary(), name, self._file_mode))
        except (HostFault, Refused):
            return max(entry.modified for entry in entries)

    # --- What several of them share

    def _raw(self, path: HostPath) -> bytes:
        """The path as the SFTP server is told it."""
        return self._root + b"/" + b"/".join(name_bytes(part) for part in path.parts)

    def _walk(self, directory: HostPath) -> None:
        """Make sure that no part of this path is a link. Raises NotSafe, NotThere."""
        if directory.parts:
            above = [self._raw(HostPath(directory.parts[:depth])) for depth in range(1, len(directory.parts) + 1)]
            self._do(steps.walk(above, directory.name))

    def _many(
        self, paths: Iterable[HostPath], job: Callable[[HostPath, bytes], Steps[_T]], window: int
    ) -> Iterator[tuple[HostPath, _T | HostError]]:
        """A job for each path, made of it and its directory's path as the server is told it.

        Each directory is looked at once. Paths that cannot be begun come out with their error, as those that failed.
        """
        refused: deque[tuple[HostPath, HostError]] = deque()
        places: dict[tuple[str, ...], bytes | HostError] = {}

        def jobs() -> Iterator[tuple[HostPath, Steps[_T]]]:
            for path in paths:
                above = path.parts[:-1]
                place = places[above] if above in places else places.setdefault(above, self._place(path))
                if isinstance(place, HostError):
                    refused.append((path, place))
                else:
                    yield path, job(path, place)

        for outcome in self._pipeline.run(jobs(), window):
            yield outcome
            while refused:
                yield refused.popleft()
        yield from refused

    def _place(self, path: HostPath) -> bytes | HostError:
        """The directory of a path as the server is told it, or why nothing is done there."""
        try:
            _check_ours(path)
            self._walk(path.parent)
        except HostError as error:
            return error
        return self._raw(path.parent).rstrip(b"/") + b"/"


def _forget(job: Steps[object]) -> Steps[None]:
    yield from job


def _is_uploaded(path: HostPath) -> bool:
    """Whether it is a district's upload directory or below it."""
    return len(path.parts) > 2 and path.parts[0] == "homes" and path.parts[2] == "upload"


def _check_below_root(path: HostPath) -> None:
    if not path.parts:
        raise NotSafe("The host's root itself is not to be touched.")


def _check_ours(path: HostPath) -> None:
    _check_below_root(path)
    if _is_uploaded(path):
        raise NotSafe(f"“{shown(path.name, 80)}” is a district's, and is not touched over SFTP.")
