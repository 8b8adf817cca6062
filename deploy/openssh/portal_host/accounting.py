"""Sessions that wanted a shell or a command, told by the kernel's process accounting: acct(2), records as in acct(5).

sshd starts a process for whatever a session asks for, and where that is not SFTP the process says so to the client and
ends with status 1. It says so to syslog, too, but from a home without a /dev/log nobody hears it. The kernel notes each
process's end, with its user and with the process that had started it, which sshd's log names.

A client that is gone before it is answered is not told of: then the process has lost what would find its session.
A machine has one such file. Where Debian's package acct writes one, that one is read, and nothing is turned on.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from hosts.local import FILE_FLAGS

from .processes import PROGRAMS
from .settings import Host

NAME = "ended-processes"
OTHERS = "var/log/account/pacct"  # of the package acct
SIZE_LIMIT = 1024 * 1024
READ_SIZE = 1024 * 1024
_RECORD = struct.Struct("=xB2xII8xIIf16x16s")
_VERSION = 3
_TICKS = 100
_REFUSED = 1 << 8  # as of wait(2): ended by itself, with status 1
# One that did speak SFTP ends so, too, if its connection breaks at the wrong moment; hardly ever at once.
_LONGEST = 5 * _TICKS

_libc = ctypes.CDLL(None, use_errno=True)


class _Record(NamedTuple):
    """`status` as of wait(2), `began` in seconds since the epoch, `lasted` in ticks of which _TICKS are a second."""

    version: int
    status: int
    uid: int
    parent: int
    began: int
    lasted: float
    name: bytes

    @property
    def program(self) -> str:
        return self.name.rstrip(b"\0").decode("ascii", "replace")


@dataclass(frozen=True, slots=True)
class Refusal:
    """A session was refused what it wanted. `child`: sshd's process of the connection that runs as the account."""

    child: int
    at: datetime


class Accounting:
    """Process accounting, turned on until `close`. Only what is told from now on is read.

    A kernel or a container that does not let us have it is told to the operator, and refusals are then not known.
    """

    def __init__(self, host: Host, size_limit: int = SIZE_LIMIT) -> None:
        self._first, self._last = host.settings.uid_first, host.settings.uid_last
        self._limit = size_limit
        others = host.places.root / OTHERS
        self._is_ours = not others.exists()
        self._path = host.places.state / NAME if self._is_ours else others
        self._file: int | None = None
        self._inode = self._offset = 0
        try:
            self._begin()
        except OSError as error:
            print(
                f"No process accounting ({error.strerror}): who tries a shell is not told", file=sys.stderr, flush=True
            )

    def refusals(self) -> Iterator[Refusal]:
        """What was refused since the last call."""
        if self._file is None:
            return
        yield from self._read()
        if self._is_current():
            return
        # The kernel and we hold the old file by a handle: nothing is lost between the two.
        old = self._file
        if self._is_ours:
            self._turn_on()
        yield from self._read()
        os.close(old)
        self._open(at_end=False)

    def _is_current(self) -> bool:
        try:
            is_same = os.stat(self._path).st_ino == self._inode
        except FileNotFoundError:  # of others: they are just changing it
            return not self._is_ours
        return is_same and (not self._is_ours or self._offset < self._limit)

    def close(self) -> None:
        """Turn it off again, if it was turned on here."""
        if self._file is None:
            return
        os.close(self._file)
        self._file = None
        if self._is_ours:
            _libc.acct(None)
            self._path.unlink(missing_ok=True)

    def _begin(self) -> None:
        if self._is_ours:
            self._turn_on()
        self._open(at_end=not self._is_ours)

    def _turn_on(self) -> None:
        """Begin a new file, and have the kernel write there."""
        self._path.unlink(missing_ok=True)
        os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | FILE_FLAGS, 0o600))
        if _libc.acct(os.fsencode(self._path)) != 0:
            code = ctypes.get_errno()
            self._path.unlink()
            raise OSError(code, os.strerror(code))

    def _open(self, *, at_end: bool) -> None:
        self._file = os.open(self._path, os.O_RDONLY | FILE_FLAGS)
        status = os.fstat(self._file)
        self._inode, self._offset = status.st_ino, status.st_size if at_end else 0

    def _read(self) -> Iterator[Refusal]:
        assert self._file is not None
        while content := os.pread(self._file, READ_SIZE, self._offset):
            whole = len(content) - len(content) % _RECORD.size
            if not whole:
                return
            self._offset += whole
            for record in _RECORD.iter_unpack(content[:whole]):
                refusal = self._refusal(_Record(*record))
                if refusal is not None:
                    yield refusal

    def _refusal(self, record: _Record) -> Refusal | None:
        is_account = self._first <= record.uid <= self._last and record.program in PROGRAMS
        is_ours = is_account and record.parent > 1 and record.version & 0x7F == _VERSION
        if not is_ours or record.status != _REFUSED or not 0 <= record.lasted <= _LONGEST:
            return None
        return Refusal(record.parent, datetime.fromtimestamp(record.began, UTC))
