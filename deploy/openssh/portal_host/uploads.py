"""Looking into a district's upload directory and reading from it, whatever modes its client has set.

The district owns what is in there and may change it at any moment: everything is opened below the handle of the
directory above it, links are told and never followed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from hosts.core.errors import NotSafe, TooLarge
from hosts.core.paths import name_bytes, name_text, shown, username
from hosts.core.tree import DEPTH_LIMIT
from hosts.local import directory_open, entry_of, file_open, scanned

from .places import below, closing, root_directory
from .processes import File, open_files, processes_of
from .settings import Host

ENTRIES_LIMIT = 20_000
READ_LIMIT = 262_144

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """One entry below an upload directory, with its own status (a link's, not its target's)."""

    parts: Parts
    status: os.stat_result

    @property
    def file(self) -> File:
        return self.status.st_dev, self.status.st_ino

    @property
    def told(self) -> dict[str, object]:
        entry = entry_of(self.parts[-1], self.status)
        return {
            "path": list(self.parts),
            "kind": entry.kind.value,
            "size": entry.size,
            "links": entry.links,
            "inode": entry.inode,
            "modified": int(self.status.st_mtime),
        }


@dataclass(slots=True)
class Look:
    """`cut`: there is more than was told, deeper or further down the list."""

    found: list[Found]
    cut: bool = False


@contextlib.contextmanager
def upload_directory(host: Host, account: str) -> Iterator[int]:
    """A handle of an account's upload directory. All above it is root's, so its path can be trusted."""
    steps = (b"homes", username(account).encode("ascii"), b"upload")
    with root_directory(host.places.tree) as tree, below(tree, *steps) as upload:
        yield upload


def look(host: Host, account: str, uid: int) -> dict[str, object]:
    """The tree of an account's upload directory, and which of its files the account's sessions are writing."""
    seen = Look([])
    with upload_directory(host, account) as upload:
        _walk(upload, (), seen)
    writing = open_files((process.pid for process in processes_of(uid)), writing=True) if seen.found else {}
    return {
        "entries": [found.told for found in seen.found],
        "writing": [list(found.parts) for found in seen.found if found.file in writing],
        "cut": seen.cut,
    }


def _walk(directory: int, above: Parts, seen: Look) -> None:
    """Deeper than a district may go on any host nothing is opened, so the number of handles is bounded."""
    for name, status in scanned(directory):
        if len(seen.found) >= ENTRIES_LIMIT:
            seen.cut = True
            return
        found = Found((*above, name_text(name)), status)
        seen.found.append(found)
        if not stat.S_ISDIR(status.st_mode):
            continue
        if len(found.parts) >= DEPTH_LIMIT:
            seen.cut = True
            continue
        # Swapped for something else or gone since it was listed: its next look tells.
        with contextlib.suppress(OSError), closing(directory_open(directory, name)) as inner:
            _walk(inner, found.parts, seen)


def read(host: Host, account: str, parts: Parts, offset: int, length: int) -> tuple[bytes, int]:
    """A piece of a regular file with one name only, and the file's size. Raises NotSafe, TooLarge, OSError."""
    if not parts or len(parts) > DEPTH_LIMIT:
        raise NotSafe("This is no path of a file below the upload directory.")
    if length > READ_LIMIT:
        raise TooLarge(f"At most {READ_LIMIT} bytes are read at a time.")
    names = [name_bytes(part) for part in parts]
    with (
        upload_directory(host, account) as upload,
        below(upload, *names[:-1]) as above,
        closing(file_open(above, names[-1], os.O_RDONLY)) as handle,
    ):
        status = os.fstat(handle)
        if status.st_nlink != 1:
            raise NotSafe(f"“{shown(parts[-1], 80)}” has a second name on the host; it is left alone.")
        return os.pread(handle, length, offset), status.st_size
