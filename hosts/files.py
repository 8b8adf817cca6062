"""The one interface to a host's files. `local` implements it for the same machine, `remote` over SFTP.

Paths are `HostPath` values. No call ever follows a symbolic link, in any part of a path. Every failure is a
`HostError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import BinaryIO, Protocol

from .core.errors import HostError
from .core.paths import HostPath, Username

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
    `owner` the user's number on the host, None if it is not told; `mode` the permission bits.
    """

    name: str
    kind: EntryKind
    size: int
    links: int
    inode: int
    modified: int = 0
    owner: int | None = None
    mode: int = 0


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file as it was read: its content, and what a listing tells of it as long as nobody touches it again."""

    content: bytes
    size: int
    modified: int


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

    def open_writes(self, account: Username) -> tuple[str, ...]:
        """The account's files open for writing now: display forms of paths below its upload directory."""

    def sweep(self, path: HostPath, older_than: timedelta) -> int:
        """Remove temporary files that `write` left in a directory when it was killed; returns how many."""
