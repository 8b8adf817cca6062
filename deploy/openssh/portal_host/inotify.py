"""inotify(7), by ctypes: no package of its own on the host."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
OVERFLOW = 0x4000
IGNORED = 0x8000
ONLYDIR = 0x1000000
EXCL_UNLINK = 0x4000000
ISDIR = 0x40000000

_HEADER = struct.Struct("iIII")
_READ_SIZE = 1024 * 1024
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Event:
    """`watch` is what `Watcher.add` returned, -1 for an overflow; `name` the entry's, in the watched directory."""

    watch: int
    mask: int
    name: bytes


class Watcher:
    """One inotify instance. `handle` can be polled."""

    def __init__(self) -> None:
        self.handle = _checked(_libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))

    def add(self, directory: int, mask: int) -> int:
        """Watch an open directory, whatever its path is by now. OSError ENOSPC: no watch is left."""
        path = f"/proc/self/fd/{directory}".encode("ascii")
        return _checked(_libc.inotify_add_watch(self.handle, path, mask | ONLYDIR | EXCL_UNLINK))

    def remove(self, watch: int) -> None:
        """Stop watching; fine if the directory is gone."""
        _libc.inotify_rm_watch(self.handle, watch)

    def events(self) -> Iterator[Event]:
        """What has happened; ends when there is no more."""
        while True:
            try:
                content = os.read(self.handle, _READ_SIZE)
            except BlockingIOError:
                return
            yield from parsed(content)

    def close(self) -> None:
        os.close(self.handle)


def parsed(content: bytes) -> Iterator[Event]:
    """The events of what one read(2) gave."""
    at = 0
    while at < len(content):
        watch, mask, _, length = _HEADER.unpack_from(content, at)
        at += _HEADER.size
        yield Event(watch, mask, content[at : at + length].rstrip(b"\0"))
        at += length


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
