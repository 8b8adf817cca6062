"""The connection log that the portal reads: one event a line, each once, in a file that tells by its first line which
one it is."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Iterable

from hosts.core.events import Event, event_line
from hosts.local import file_open, write_whole

from .places import Owned, below, own, root_directory
from .settings import Host

NAME = b"connections.jsonl"
SIZE_LIMIT = 16 * 1024 * 1024
MODE = 0o640
_MARK = re.compile(rb'"mark": "([0-9a-f]{1,64})"')


class ConnectionLog:
    """The log, open for appending. Nobody else writes to it."""

    def __init__(self, host: Host, size_limit: int = SIZE_LIMIT) -> None:
        self._owned = Owned(0, host.portal.gid, MODE)
        self._limit = size_limit
        with root_directory(host.places.tree) as tree, below(tree, b"log") as log:
            self._directory = os.dup(log)
        # What stood there when we began: a restart reads some lines of sshd again, and comes to the same marks.
        self._marks = self._marks_of(NAME + b".1") | self._marks_of(NAME)
        self._handle = self._opened()

    def write(self, events: Iterable[Event]) -> None:
        """Append events that are not there yet, all in one go. Raises OSError with nothing written."""
        new = [event for event in events if not event.mark or event.mark not in self._marks]
        content = b"".join(map(event_line, new))
        if not content:
            return
        size = os.fstat(self._handle).st_size
        if size + len(content) > self._limit:
            self._rotate()
            size = os.fstat(self._handle).st_size
        try:
            write_whole(self._handle, content)
            os.fdatasync(self._handle)
        except OSError:
            os.ftruncate(self._handle, size)
            raise

    def close(self) -> None:
        os.close(self._handle)
        os.close(self._directory)

    def _rotate(self) -> None:
        os.rename(NAME, NAME + b".1", src_dir_fd=self._directory, dst_dir_fd=self._directory)
        old, self._handle = self._handle, self._opened()
        os.close(old)

    def _opened(self) -> int:
        handle = file_open(self._directory, NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        try:
            own(handle, self._owned)
            os.ftruncate(handle, _whole_size(handle))
            if os.fstat(handle).st_size == 0:
                write_whole(handle, json.dumps({"generation": secrets.token_hex(16)}).encode("ascii") + b"\n")
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _marks_of(self, name: bytes) -> set[str]:
        with (
            contextlib.suppress(FileNotFoundError),
            os.fdopen(file_open(self._directory, name, os.O_RDONLY), "rb") as file,
        ):
            found = (_MARK.search(line) for line in file if line.endswith(b"\n"))
            return {one[1].decode("ascii") for one in found if one}
        return set()


def _whole_size(handle: int) -> int:
    """The size without a last line that a power cut left half: it is told again."""
    size = os.fstat(handle).st_size
    tail = os.pread(handle, 64 * 1024, max(0, size - 64 * 1024))
    return size if tail.endswith(b"\n") or not tail else size - len(tail) + tail.rfind(b"\n") + 1
