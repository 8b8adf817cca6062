"""The files of a host on this machine, by directory handles: no path is ever joined from text and looked up
as a whole.

Each part of a path is opened below the handle of the part before it, without following links, so that a link
put in the way at any moment is refused and not followed (the link races of `openat(2)`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import secrets
import stat
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from .core.errors import (
    AlreadyThere,
    Full,
    HostDown,
    HostError,
    HostFault,
    NotEmpty,
    NotSafe,
    NotThere,
    Refused,
    TooLarge,
)
from .core.paths import HostPath, Username, name_bytes, name_text, open_writes, shown
from .files import TEMPORARY_PREFIX, Entry, EntryKind, FileRead, begun, left_behind, temporary_for

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FILE_FLAGS = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Of a file: for the portal alone.
FILE_MODE = 0o600
OPEN_LIST_LIMIT = 16 * 1024 * 1024
_RENAME_NOREPLACE = 1
_NOT_OFFERED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}
_libc = ctypes.CDLL(None, use_errno=True)

_ERRORS: dict[int, type[HostError]] = {
    errno.ENOENT: NotThere,
    errno.ENOTDIR: NotThere,
    errno.EEXIST: AlreadyThere,
    errno.EISDIR: AlreadyThere,
    errno.ENOTEMPTY: NotEmpty,
    errno.EACCES: Refused,
    errno.EPERM: Refused,
    errno.EROFS: Refused,
    errno.ELOOP: NotSafe,
    errno.ENXIO: NotSafe,
    errno.ENAMETOOLONG: NotSafe,
    errno.ENOSPC: Full,
    errno.EDQUOT: Full,
    errno.EMFILE: Full,
    errno.ENFILE: Full,
    errno.EIO: HostDown,
    errno.ESTALE: HostDown,
}


def translate(error: OSError, name: str) -> HostError:
    """The error of our tree for a system error met at the entry `name`."""
    kind = _ERRORS.get(error.errno or 0, HostFault)
    if kind is HostFault:
        slug = errno.errorcode.get(error.errno or 0, "unknown")
        return HostFault(f"The host failed at “{shown(name, 80)}” ({slug}).")
    return kind.at(shown(name, 80))


@contextlib.contextmanager
def translated(name: str) -> Iterator[None]:
    """Translate system errors met inside into our tree, as errors at the entry `name`."""
    try:
        yield
    except OSError as error:
        raise translate(error, name) from error


def directory_open(above: int, name: bytes) -> int:
    """A handle of the directory `name` below the handle `above`. OSError ELOOP if it is a link."""
    try:
        return os.open(name, DIRECTORY_FLAGS, dir_fd=above)
    except NotADirectoryError:
        # With O_DIRECTORY the kernel says ENOTDIR for a link too; tell the two apart.
        if stat.S_ISLNK(os.lstat(name, dir_fd=above).st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from None
        raise


@contextlib.contextmanager
def walked(root: int, parts: tuple[str, ...], *, make: bool = False) -> Iterator[int]:
    """A handle of the directory at `parts` below the handle `root`, closed afterwards.

    `make`: make what is missing.
    """
    here = os.dup(root)
    try:
        for part in parts:
            name = name_bytes(part)
            if make:
                _make(here, name)
            there = directory_open(here, name)
            os.close(here)
            here = there
        yield here
    finally:
        os.close(here)


def _make(above: int, name: bytes) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=above)
        os.fsync(above)


def rename_exclusive(old_above: int, old: bytes, new_above: int, new: bytes) -> None:
    """Rename without ever replacing: OSError EEXIST if the new name is taken.

    In one step with renameat2(2) where the file system can; else by looking first, which is all that is left.
    """
    if _libc.renameat2(old_above, old, new_above, new, _RENAME_NOREPLACE) == 0:
        return
    code = ctypes.get_errno()
    if code not in _NOT_OFFERED:
        raise OSError(code, os.strerror(code))
    with contextlib.suppress(FileNotFoundError):
        os.lstat(new, dir_fd=new_above)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    os.rename(old, new, src_dir_fd=old_above, dst_dir_fd=new_above)


def file_open(above: int, name: bytes, flags: int, mode: int = FILE_MODE) -> int:
    """A handle of the regular file `name`; OSError ELOOP for a link, NXIO for a FIFO, device, socket or
    directory."""
    handle = os.open(name, flags | FILE_FLAGS, mode, dir_fd=above)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
    return handle


def mode_set(above: int, name: bytes, mode: int) -> None:
    """Give the regular file `name` a mode; OSError as of `file_open`. It need not be readable for that."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            code = errno.ELOOP if stat.S_ISLNK(status.st_mode) else errno.ENXIO
            raise OSError(code, os.strerror(code))
        # A handle of this kind takes no mode itself, and the name could be a link by now.
        os.chmod(f"/proc/self/fd/{handle}", mode)
    finally:
        os.close(handle)


def write_whole(handle: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(handle, view) :]


def replace_file(above: int, name: bytes, content: bytes) -> None:
    """Put a file into the directory `above` under a temporary name, make it durable, and rename it over
    `name`."""
    temporary = temporary_for(name) + secrets.token_hex(8).encode("ascii")
    handle = file_open(above, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        try:
            write_whole(handle, content)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.rename(temporary, name, src_dir_fd=above, dst_dir_fd=above)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=above)
        raise
    os.fsync(above)


def entry_of(name: str, status: os.stat_result) -> Entry:
    kinds = {
        stat.S_IFREG: EntryKind.FILE,
        stat.S_IFDIR: EntryKind.DIRECTORY,
        stat.S_IFLNK: EntryKind.LINK,
    }
    kind = kinds.get(stat.S_IFMT(status.st_mode), EntryKind.OTHER)
    numbers = (status.st_size, status.st_nlink, status.st_ino, int(status.st_mtime))
    owned = (status.st_uid, stat.S_IMODE(status.st_mode), status.st_gid)
    return Entry(name, kind, *numbers, *owned, status.st_ctime_ns)


def scanned(directory: int) -> Iterator[tuple[bytes, os.stat_result]]:
    """The entries of an open directory with their own status (of a link, not of its target)."""
    with os.scandir(directory) as entries:
        for entry in entries:
            # An entry that is removed while we look was never there for us.
            with contextlib.suppress(FileNotFoundError):
                yield os.fsencode(entry.name), entry.stat(follow_symlinks=False)


def tree_empty(directory: int) -> None:
    """Remove everything in an open directory, never following a link.

    A nested directory is emptied by moving its own directories up here first, so that neither recursion nor
    the number of handles grows with the depth of a tree that somebody made deep on purpose.
    """
    while entries := list(scanned(directory)):
        for name, status in entries:
            if stat.S_ISDIR(status.st_mode):
                _flatten(directory, name)
                os.rmdir(name, dir_fd=directory)
            else:
                os.unlink(name, dir_fd=directory)


def _flatten(top: int, name: bytes) -> None:
    nested = directory_open(top, name)
    try:
        for inner, status in list(scanned(nested)):
            if stat.S_ISDIR(status.st_mode):
                lifted = TEMPORARY_PREFIX + secrets.token_hex(8).encode("ascii")
                os.rename(inner, lifted, src_dir_fd=nested, dst_dir_fd=top)
            else:
                os.unlink(inner, dir_fd=nested)
    finally:
        os.close(nested)


class LocalFiles:
    """`HostFiles` for a host whose root is a directory of this machine. Holds no handle between calls."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def listing(self, path: HostPath) -> tuple[Entry, ...]:
        with self._directory(path) as directory:
            entries = [entry_of(name_text(name), status) for name, status in scanned(directory)]
        return tuple(sorted(entries, key=lambda entry: entry.name))

    def stat(self, path: HostPath) -> Entry | None:
        try:
            with self._above(path) as (above, name):
                return entry_of(path.name, os.lstat(name, dir_fd=above))
        except NotThere:
            return None

    def open_read(self, path: HostPath) -> BinaryIO:
        with self._above(path) as (above, name):
            return os.fdopen(file_open(above, name, os.O_RDONLY), "rb")

    def read(self, path: HostPath, limit: int) -> bytes:
        return self._read(path, limit).content

    def _read(self, path: HostPath, limit: int) -> FileRead:
        with self.open_read(path) as file, translated(path.name):
            found = os.fstat(file.fileno())  # first: what is changed while it is read shows in the next listing
            content = file.read(limit + 1)
        if len(content) > limit:
            raise TooLarge(f"“{shown(path.name, 80)}” is larger than {limit} bytes.")
        owned = (found.st_uid, stat.S_IMODE(found.st_mode), found.st_gid)
        return FileRead(content, found.st_size, int(found.st_mtime), *owned)

    def write(self, path: HostPath, content: bytes) -> None:
        with self._above(path) as (above, name):
            replace_file(above, name, content)

    def write_many(self, items: Iterable[tuple[HostPath, bytes]]) -> Iterator[tuple[HostPath, HostError | None]]:
        for path, content in items:
            try:
                self.write(path, content)
            except HostError as error:
                yield path, error
            else:
                yield path, None

    def read_many(self, paths: Iterable[HostPath], limit: int) -> Iterator[tuple[HostPath, FileRead | HostError]]:
        for path in paths:
            try:
                yield path, self._read(path, limit)
            except HostError as error:
                yield path, error

    def open_up(self, paths: Iterable[HostPath]) -> Iterator[tuple[HostPath, HostError | None]]:
        for path in paths:
            try:
                with self._above(path) as (above, name):
                    mode_set(above, name, FILE_MODE)
            except HostError as error:
                yield path, error
            else:
                yield path, None

    def rename(self, old: HostPath, new: HostPath) -> None:
        with self._above(new) as (new_above, new_name), self._above(old) as (old_above, old_name):
            try:
                rename_exclusive(old_above, old_name, new_above, new_name)
            except FileExistsError as error:
                raise translate(error, new.name) from error
            os.fsync(new_above)
            os.fsync(old_above)

    def remove(self, path: HostPath) -> None:
        with self._above(path) as (above, name):
            try:
                os.unlink(name, dir_fd=above)
            except IsADirectoryError:
                os.rmdir(name, dir_fd=above)
            os.fsync(above)

    def remove_tree(self, path: HostPath) -> None:
        with contextlib.suppress(NotThere), self._above(path) as (above, name):
            if not stat.S_ISDIR(os.lstat(name, dir_fd=above).st_mode):
                os.unlink(name, dir_fd=above)
                return
            directory = directory_open(above, name)
            try:
                tree_empty(directory)
            finally:
                os.close(directory)
            os.rmdir(name, dir_fd=above)

    def make_directory(self, path: HostPath) -> None:
        entry = self.stat(path) if path.parts else None
        if entry is not None and entry.kind in (EntryKind.FILE, EntryKind.OTHER):
            raise AlreadyThere(f"“{shown(path.name, 80)}” is already on the host, and not a directory.")
        with translated(path.name), self._rooted() as root, walked(root, path.parts, make=True):
            pass

    def look_ahead(self, accounts: Sequence[Username]) -> None:
        """Nothing is far away here."""

    def open_writes(self, account: Username) -> tuple[str, ...]:
        try:
            content = self.read(open_writes(account), OPEN_LIST_LIMIT)
        except NotThere:
            return ()
        return tuple(content.decode("utf-8").split("\n")[:-1])

    def call_off(self, directory: HostPath, names: Collection[str]) -> dict[str, HostError]:
        stay: dict[str, HostError] = {}
        with contextlib.suppress(NotThere), self._directory(directory) as here:
            for name, meant in begun(self.listing(directory), names).items():
                try:
                    os.unlink(name_bytes(name), dir_fd=here)
                except FileNotFoundError:
                    pass  # it is a file by now, or gone
                except OSError as error:
                    stay[meant] = translate(error, directory.name)
        return stay

    def sweep(self, path: HostPath, older_than: timedelta) -> int:
        removed = 0
        with self._directory(path) as directory:
            found = [one for one in scanned(directory) if one[0].startswith(TEMPORARY_PREFIX)]
            entries = [entry_of(name_text(name), status) for name, status in found]
            for name in left_behind(entries, time.time(), older_than):
                with contextlib.suppress(OSError):
                    os.unlink(name_bytes(name), dir_fd=directory)
                    removed += 1
        return removed

    @contextlib.contextmanager
    def _rooted(self) -> Iterator[int]:
        try:
            root = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise HostDown("The directory the SFTP host lives in cannot be opened.") from error
        try:
            yield root
        finally:
            os.close(root)

    @contextlib.contextmanager
    def _directory(self, path: HostPath) -> Iterator[int]:
        with translated(path.name), self._rooted() as root, walked(root, path.parts) as directory:
            yield directory

    @contextlib.contextmanager
    def _above(self, path: HostPath) -> Iterator[tuple[int, bytes]]:
        """The handle of the directory a path's last part lies in, and that part."""
        if not path.parts:
            raise NotSafe("The host's root itself is not to be touched.")
        with translated(path.name), self._rooted() as root, walked(root, path.parts[:-1]) as above:
            yield above, name_bytes(path.name)
