"""The key files on the host's disk: read fresh for a sign-in, and watched at little cost for open sessions."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .core.errors import HostError
from .core.keyfile import FILE_LIMIT, KeyLine, read_keyfile
from .core.paths import Username, key_file
from .local import LocalFiles

# Two changes within one tick of the file system's clock look the same; seconds.
SETTLED = 2.0


@dataclass(frozen=True, slots=True)
class _Look:
    """What tells one state of a file from another, and the lines it had."""

    mark: tuple[int, ...]
    lines: tuple[KeyLine, ...]


class KeyFiles:
    """The key files below a host's root, which other processes replace at any time."""

    def __init__(self, root: Path, *, settled: float = SETTLED) -> None:
        self._settled = settled
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._files = LocalFiles(root)
        self._looks: dict[Username, _Look] = {}

    def lines(self, account: Username) -> tuple[KeyLine, ...] | None:
        """The account's key lines as they are on disk now, or None if it has no key file that can be read."""
        try:
            return read_keyfile(self._files.read(key_file(account), FILE_LIMIT)).lines
        except HostError:
            return None

    def lines_of(self, accounts: Iterable[Username]) -> dict[Username, tuple[KeyLine, ...]]:
        """The key lines of many accounts as they are now; none where there is no file that can be read.

        A file that is as it was at the last call is not read again.
        """
        self._looks = {account: self._looked(account) for account in accounts}
        return {account: look.lines for account, look in self._looks.items()}

    def _looked(self, account: Username) -> _Look:
        mark = self._mark(account)
        look = self._looks.get(account)
        if look is not None and mark and look.mark == mark:
            return look
        return _Look(mark, self.lines(account) or ())

    def _mark(self, account: Username) -> tuple[int, ...]:
        """Tells one state of a file from another; empty if it cannot be told, as of a file just changed."""
        try:
            found = os.stat("/".join(key_file(account).parts), dir_fd=self._root, follow_symlinks=False)
        except OSError:
            return ()
        if time.time() - found.st_ctime < self._settled:
            return ()
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
