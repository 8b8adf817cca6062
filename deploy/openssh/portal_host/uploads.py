"""Looking into a district's upload directory and reading from it, whatever modes its client has set.

The district owns what is in there and may change it at any moment: everything is opened below the handle of the
directory above it, links are told and never followed.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from hosts.core.errors import NotSafe, TooLarge
from hosts.core.paths import name_bytes, name_text, shown, username
from hosts.core.tree import DEPTH_LIMIT, ENTRIES_LIMIT
from hosts.local import entry_of, file_open, scanned

from .places import below, closing, root_directory
from .processes import File, open_files, processes_of
from .settings import Host

# Characters of names in an answer, as JSON spells them (a control character is six), for the top and for all inside it.
# An answer is for many accounts: none may fill it alone, though it may name its top twice more (too full, too deep).
NAMES_LIMIT = 4 * 1024 * 1024
READ_LIMIT = 262_144

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """One entry below an upload directory, with its own status (a link's, not its target's)."""

    parts: Parts
    status: os.stat_result

    @property
    def steps(self) -> list[bytes]:
        return [name_bytes(part) for part in self.parts]

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
class Room:
    """How much has been told of what may be."""

    entries: int = 0
    names: int = 0

    def take(self, parts: Parts) -> bool:
        """Whether there was room for it."""
        self.entries += 1
        self.names += sum(len(json.dumps(part)) for part in parts)
        return self.entries <= ENTRIES_LIMIT and self.names <= NAMES_LIMIT


@dataclass(slots=True)
class Look:
    """What was found. The top has a room of its own, so that whatever lies in its directories it is told.

    `cut`: there is more at the top than was told. `too_full`, `too_deep`: the directories of the top of which not all
    was told.
    """

    found: list[Found] = field(default_factory=list)
    cut: bool = False
    too_full: set[str] = field(default_factory=set)
    too_deep: set[str] = field(default_factory=set)
    top: Room = field(default_factory=Room)
    inside: Room = field(default_factory=Room)

    def add(self, found: Found) -> bool:
        """Whether there was room for it."""
        is_top = len(found.parts) == 1
        if (self.top if is_top else self.inside).take(found.parts):
            self.found.append(found)
            return True
        if is_top:
            self.cut = True
        else:
            self.too_full.add(found.parts[0])
        return False


@contextlib.contextmanager
def upload_directory(host: Host, account: str) -> Iterator[int]:
    """A handle of an account's upload directory. All above it is root's, so its path can be trusted."""
    steps = (b"homes", username(account).encode("ascii"), b"upload")
    with root_directory(host.places.tree) as tree, below(tree, *steps) as upload:
        yield upload


def look(host: Host, account: str, uid: int) -> dict[str, object]:
    """The tree of an account's upload directory, and which of its files the account's sessions are writing."""
    seen = Look()
    with upload_directory(host, account) as upload:
        _look(upload, seen)
    writing = open_files((process.pid for process in processes_of(uid)), writing=True) if seen.found else {}
    return {
        "entries": [found.told for found in seen.found],
        "writing": [list(found.parts) for found in seen.found if found.file in writing],
        "cut": seen.cut,
        "too_full": sorted(seen.too_full),
        "too_deep": sorted(seen.too_deep),
    }


def _look(upload: int, seen: Look) -> None:
    """The top, then what lies in its directories, the small ones first, and what is nested in those last.

    So a tree that takes all the room leaves none to itself rather than to the epochs beside it.
    """
    tops = sorted(_listed(upload, (), seen), key=lambda one: (one.status.st_size, one.parts))
    nested: list[Found] = []
    # Swapped for something else or gone since it was listed: its next look tells.
    for top in [] if seen.cut else tops:
        with contextlib.suppress(OSError), below(upload, *top.steps) as directory:
            nested += _listed(directory, top.parts, seen)
    for one in nested:
        with contextlib.suppress(OSError), below(upload, *one.steps) as directory:
            _walk(directory, one.parts, seen)


def _listed(directory: int, above: Parts, seen: Look) -> list[Found]:
    """Tell what lies in a directory, as far as there is room; returns the directories in it."""
    found = []
    for name, status in scanned(directory):
        one = Found((*above, name_text(name)), status)
        if not seen.add(one):
            break
        if stat.S_ISDIR(status.st_mode):
            found.append(one)
    return found


def _walk(directory: int, above: Parts, seen: Look) -> None:
    """Deeper than a district may go on any host nothing is opened, so the number of handles is bounded."""
    for found in _listed(directory, above, seen):
        if len(found.parts) >= DEPTH_LIMIT:
            seen.too_deep.add(found.parts[0])
        else:
            with contextlib.suppress(OSError), below(directory, found.steps[-1]) as inner:
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
