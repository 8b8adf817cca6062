"""The one interface to a host's files. `local` implements it for the same machine, `remote` over SFTP.

Paths are `HostPath` values. No call ever follows a symbolic link, in any part of a path. Every failure is a
`HostError`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import BinaryIO, Protocol

from .core.errors import HostError
from .core.paths import HostPath, Username, name_bytes

# A leading dot is no user name's first character, so a temporary in keys/ is never taken for an account's
# file.
TEMPORARY_PREFIX = b".portal-tmp-"


class EntryKind(Enum):
    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a directory.

    `name` may carry undecodable bytes as surrogates: show it with `paths.shown`. `size` is in bytes, `links`
    counts the file's names (over 1: another name can change it), `inode` tells two files of one host apart;
    over SFTP, which tells neither, they are 1 and 0. `modified` is in seconds since the epoch, by the host's clock;
    `owner` and `group` are numbers on the host, None if they are not told; `mode` the permission bits. `changed`: when
    anything of it last changed, in nanoseconds by the host's clock, which no client can set; 0 over SFTP, which does
    not tell.
    """

    name: str
    kind: EntryKind
    size: int
    links: int
    inode: int
    modified: int = 0
    owner: int | None = None
    mode: int = 0
    group: int | None = None
    changed: int = 0


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file as it was read: its content, and what a listing tells of it as long as nobody touches it again."""

    content: bytes
    size: int
    modified: int
    owner: int | None = None
    mode: int = 0
    group: int | None = None


def left_behind(entries: Iterable[Entry], now: float, older_than: timedelta) -> list[str]:
    """The names of the temporary files among `entries` that are older than that; `now` by the clock that dated them."""
    limit = now - older_than.total_seconds()
    return [
        entry.name
        for entry in entries
        if entry.kind is EntryKind.FILE and is_temporary(entry.name) and entry.modified < limit
    ]


def is_temporary(name: str) -> bool:
    """Whether a thing of this name is, or takes the name of, what `write` has under way."""
    return name.startswith(TEMPORARY_PREFIX.decode("ascii"))


def temporary_for(name: bytes) -> bytes:
    """How the name of every temporary file begins that is to become the file `name`, whoever writes it."""
    return TEMPORARY_PREFIX + hashlib.sha256(name).hexdigest()[:16].encode("ascii") + b"-"


def begun(entries: Iterable[Entry], names: Iterable[str]) -> dict[str, str]:
    """The temporary files among `entries` that are to become files of these names, each with the name it would get."""
    meant = {temporary_for(name_bytes(name)).decode("ascii"): name for name in names}
    temporaries = [entry.name for entry in entries if entry.kind is EntryKind.FILE and is_temporary(entry.name)]
    length = len(temporary_for(b""))
    return {name: meant[name[:length]] for name in temporaries if name[:length] in meant}


class HostFiles(Protocol):
    """The files of one host."""

    def listing(self, path: HostPath) -> tuple[Entry, ...]:
        """What is in a directory, sorted by name. Raises NotThere, NotSafe."""

    def stat(self, path: HostPath) -> Entry | None:
        """What is at `path`, or None. A link is told as a link; a link on the way there raises NotSafe."""

    def open_read(self, path: HostPath) -> BinaryIO:
        """A regular file, opened for reading. Raises NotThere, and NotSafe for links, FIFOs and the like."""

    def read(self, path: HostPath, limit: int) -> bytes:
        """The whole content of a regular file of at most `limit` bytes.

        Raises TooLarge, NotThere, NotSafe.
        """

    def write(self, path: HostPath, content: bytes) -> None:
        """Put a file there, or replace it: at any moment it is whole, the old or the new.

        Durable on return.
        """

    def write_many(self, items: Iterable[tuple[HostPath, bytes]]) -> Iterator[tuple[HostPath, HostError | None]]:
        """Write each as `write` does, many at a time where that is faster.

        Each path comes out once, in any order, with None or with what went wrong; one that failed never stops the
        others, and has its old content. The items are taken as they are needed, not all at once.
        """

    def read_many(self, paths: Iterable[HostPath], limit: int) -> Iterator[tuple[HostPath, FileRead | HostError]]:
        """Read each as `read` does, many at a time where that is faster; each comes out once, in any order."""

    def open_up(self, paths: Iterable[HostPath]) -> Iterator[tuple[HostPath, HostError | None]]:
        """Give files of ours a mode in which we may read them, and nobody else; each comes out once.

        NotSafe for what is no ordinary file, Refused for what is somebody else's.
        """

    def rename(self, old: HostPath, new: HostPath) -> None:
        """Move a file or directory within the host's file system.

        Raises AlreadyThere rather than overwrite.
        """

    def remove(self, path: HostPath) -> None:
        """Remove a file, a link or an empty directory. Raises NotThere, NotEmpty."""

    def remove_tree(self, path: HostPath) -> None:
        """Remove whatever is at `path`, with all below it; fine if nothing is there."""

    def make_directory(self, path: HostPath) -> None:
        """Make a directory, and those above it; fine if it is there. Raises AlreadyThere if a file is."""

    def look_ahead(self, accounts: Sequence[Username]) -> None:
        """Look into these accounts' upload directories in a few turns, where each would take its own.

        Listings and open writes of the next seconds tell what was seen then, or raise the account's error.
        """

    def open_writes(self, account: Username) -> tuple[str, ...]:
        """The account's files open for writing now: display forms of paths below its upload directory."""

    def call_off(self, directory: HostPath, names: Collection[str]) -> dict[str, HostError]:
        """Removes what others have begun to put there under these names: a rename of theirs that comes late, because
        the host stood still, finds no file. Whatever they had finished before stands.

        Returns the names for which that could not be done, and why; they keep none of the others back.
        """

    def sweep(self, path: HostPath, older_than: timedelta) -> int:
        """Remove temporary files that `write` left in a directory when it was killed; returns how many.

        One that cannot be removed stays, and is no reason to leave the others.
        """
