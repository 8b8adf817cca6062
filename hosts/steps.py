"""What each operation on a host's files asks of its SFTP server, turn by turn: jobs for `pipeline`.

Here, and nowhere else, an SFTP status becomes an error of ours. A server says little (OpenSSH's "Failure" stands for
a full disk, a read-only one, a name that is taken and more), so where it matters a second question is asked.

Paths are raw bytes from the root of the portal's chroot. `name` is what a message calls the thing.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .core import sftp
from .core.errors import (
    AlreadyThere,
    BadAnswer,
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
from .core.paths import shown
from .core.sftp import Attributes, Code, Data, Extended, Found, Handle, Open, Reply, Status
from .files import FileRead
from .pipeline import Steps

# Directories read ahead: a listing's answers hold some hundred names each.
AHEAD = 32
LIST_LIMIT = 1_000_000
# Bytes and file numbers a disk that refuses a small file for want of room may still count as free: what the jobs
# beside it have just given back.
NO_ROOM_BYTES, NO_ROOM_FILES = 2 * 1024 * 1024, 64
# The most that one job of many asks for at a time, so that all of them together stay small in memory.
SMALL = 32 * 1024

_ERRORS: dict[int, type[HostError]] = {
    Code.NO_SUCH_FILE: NotThere,
    Code.PERMISSION_DENIED: Refused,
    Code.BAD_MESSAGE: NotSafe,  # OpenSSH's word for a name that is too long
    Code.NO_CONNECTION: HostDown,
    Code.CONNECTION_LOST: HostDown,
}


@dataclass(frozen=True, slots=True)
class Chunks:
    """The most bytes of one read and one write."""

    read: int
    write: int

    @classmethod
    def of(cls, limits: sftp.Limits) -> Chunks:
        most = sftp.PACKET_LIMIT - 4096
        return cls(min(limits.read or sftp.SAFE_CHUNK, most), min(limits.write or sftp.SAFE_CHUNK, most))


def failure(status: Status, name: str) -> HostError:
    """The error that a status stands for, met at `name`."""
    kind = _ERRORS.get(status.code, HostFault)
    if kind is HostFault:
        return HostFault(f"The host failed at “{shown(name, 80)}” ({shown(status.message, 80)}).")
    return kind.at(shown(name, 80))


def is_fine(answer: Reply) -> bool:
    return not isinstance(answer, Status) or answer.code == Code.OK


def check(answers: Sequence[Reply], name: str) -> None:
    """Raises the error of the first answer that is one."""
    for answer in answers:
        if not is_fine(answer):
            assert isinstance(answer, Status)
            raise failure(answer, name)


# --- Looking -----------------------------------------------------------------------------------------------------


def look(path: bytes, name: str) -> Steps[Attributes | None]:
    """What is at `path` itself, or None."""
    (answer,) = yield [sftp.lstat(path)]
    if isinstance(answer, Found):
        return answer.attributes
    if answer.code == Code.NO_SUCH_FILE:
        return None
    raise failure(answer, name)


def walk(parents: Sequence[bytes], name: str) -> Steps[None]:
    """Make sure that each of `parents` is a directory and no link."""
    answers = yield [sftp.lstat(path) for path in parents]
    check(answers, name)
    for answer in answers:
        if stat.S_ISLNK(answer.attributes.mode or 0):
            raise NotSafe.at(shown(name, 80))
        if not stat.S_ISDIR(answer.attributes.mode or 0):
            raise NotThere.at(shown(name, 80))


def listing(path: bytes, name: str) -> Steps[list[tuple[bytes, Attributes]]]:
    """The entries of a directory without `.` and `..`, in the server's order."""
    (opened,) = yield [sftp.open_directory(path)]
    check([opened], name)
    found: list[tuple[bytes, Attributes]] = []
    ahead, error = 2, None
    while error is None:
        if len(found) > LIST_LIMIT:
            raise TooLarge(f"“{shown(name, 80)}” holds more than {LIST_LIMIT} entries.")
        answers = yield [sftp.read_directory(opened.handle)] * ahead
        for answer in answers:
            if isinstance(answer, Status):
                error = error or answer
            else:
                found += answer.entries
        ahead = AHEAD
    yield [sftp.close(opened.handle)]
    if error.code != Code.EOF:
        raise failure(error, name)
    return [entry for entry in found if entry[0] not in (b".", b"..")]


def room(path: bytes) -> Steps[sftp.Room | None]:
    """The space of the file system at `path`; None if the server does not tell."""
    (answer,) = yield [sftp.space(path)]
    return sftp.room_in(answer) if isinstance(answer, Extended) else None


# --- Reading -----------------------------------------------------------------------------------------------------


def read(path: bytes, name: str, limit: int, chunk: int) -> Steps[FileRead]:
    """The whole of a regular file, of at most `limit` bytes.

    Looked at before it is opened: opening a pipe would keep the server waiting, and all our other requests with it.
    """
    found = yield from _regular(path, name)
    size = found.size or 0
    if size > limit:
        raise _too_large(name, limit)
    (opened,) = yield [sftp.open_file(path, Open.READ)]
    check([opened], name)
    # One byte more than it should hold: a file that grew meanwhile is not taken for whole.
    wanted = [*parts(size + 1, chunk)]
    answers = yield [*(sftp.read(opened.handle, at, count) for at, count in wanted), sftp.close(opened.handle)]
    content = _joined(answers[:-1], wanted, name)
    if len(content) != size:
        raise HostFault(f"“{shown(name, 80)}” changed while it was read.")
    mode = stat.S_IMODE(found.mode or 0)
    return FileRead(content, size, found.modified or 0, found.owner, mode, found.group)


def _regular(path: bytes, name: str) -> Steps[Attributes]:
    (found,) = yield [sftp.lstat(path)]
    check([found], name)
    attributes: Attributes = found.attributes
    if not stat.S_ISREG(attributes.mode or 0) or attributes.size is None:
        raise NotSafe.at(shown(name, 80))
    return attributes


def open_up(path: bytes, name: str, mode: int) -> Steps[None]:
    """Give a regular file a mode. Only where no district can put a link: setting a mode follows it."""
    yield from _regular(path, name)
    check((yield [sftp.set_mode(path, mode)]), name)


def _too_large(name: str, limit: int) -> TooLarge:
    return TooLarge(f"“{shown(name, 80)}” is larger than {limit} bytes.")


def _joined(answers: Sequence[Data | Status], wanted: Sequence[tuple[int, int]], name: str) -> bytes:
    """The bytes of successive reads, up to the first that came short: there the file ends."""
    content = []
    for answer, (_, count) in zip(answers, wanted, strict=True):
        data = _data(answer, name)
        content.append(data)
        if len(data) > count:
            raise BadAnswer.of("more than was asked for")
        if len(data) < count:
            break
    return b"".join(content)


def _data(answer: Data | Status, name: str) -> bytes:
    if isinstance(answer, Data):
        return answer.data
    if answer.code == Code.EOF:
        return b""
    raise failure(answer, name)


def parts(length: int, chunk: int) -> Iterator[tuple[int, int]]:
    """Offset and length of each part of something of that length."""
    return ((at, min(chunk, length - at)) for at in range(0, length, chunk))


def open_read(path: bytes, name: str) -> Steps[tuple[bytes, int]]:
    """A regular file opened for reading, and its size."""
    size = (yield from _regular(path, name)).size or 0
    (opened,) = yield [sftp.open_file(path, Open.READ)]
    check([opened], name)
    return opened.handle, size


def read_range(handle: bytes, name: str, offset: int, length: int, chunk: int) -> Steps[bytes]:
    """Up to `length` bytes of an open file from `offset`; fewer at its end."""
    wanted = [*parts(length, chunk)]
    answers = yield [sftp.read(handle, offset + at, count) for at, count in wanted]
    return _joined(answers, wanted, name)


def close(handle: bytes) -> Steps[None]:
    yield [sftp.close(handle)]


# --- Writing -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """A file to be put in place: where, under which temporary name first, with which mode, and how it is called."""

    path: bytes
    temporary: bytes
    name: str
    mode: int


def write(target: Target, content: bytes, chunk: int, *, durable: bool) -> Steps[None]:
    """Put a file in place: new file, content, flush, close, all answered well; then, and only then, the rename.

    If anything fails the old file is untouched, and the temporary is removed.
    """
    (opened,) = yield [sftp.open_file(target.temporary, Open.WRITE | Open.CREATE | Open.EXCLUSIVE, target.mode)]
    if not isinstance(opened, Handle):
        raise (yield from _why(opened, target, len(content)))
    answers = yield _filling(opened.handle, content, chunk, durable)
    bad = next((answer for answer in answers if answer.code != Code.OK), None)
    if bad is None:
        (bad,) = yield [sftp.replace(target.temporary, target.path)]
        if bad.code == Code.OK:
            return
    error = yield from _why(bad, target, len(content))
    yield [sftp.remove(target.temporary)]
    raise error


def _filling(handle: bytes, content: bytes, chunk: int, durable: bool) -> list[sftp.Request]:
    writes = [sftp.write(handle, at, content[at : at + count]) for at, count in parts(len(content), chunk)]
    return [*writes, *([sftp.flush(handle)] if durable else []), sftp.close(handle)]


def _why(status: Status, target: Target, size: int) -> Steps[HostError]:
    """The error of a write that failed. Asked while the temporary is still there: removing it would make room."""
    if status.code != Code.FAILURE:
        return failure(status, target.name)
    (answer,) = yield [sftp.space(target.path.rpartition(b"/")[0] or b"/")]
    if isinstance(answer, Extended):
        room = sftp.room_in(answer)
        if room.read_only:
            return Refused.at(shown(target.name, 80))
        if room.free_bytes < size + NO_ROOM_BYTES or room.free_files < NO_ROOM_FILES:
            return Full.at(shown(target.name, 80))
    return failure(status, target.name)


def clock(path: bytes, name: str, mode: int) -> Steps[int]:
    """The host's time in seconds, told by a new empty file at `path`, which goes again."""
    (opened,) = yield [sftp.open_file(path, Open.WRITE | Open.CREATE | Open.EXCLUSIVE, mode)]
    check([opened], name)
    answers = yield [sftp.close(opened.handle), sftp.lstat(path), sftp.remove(path)]
    check(answers, name)
    return answers[1].attributes.modified or 0


# --- Moving and removing -----------------------------------------------------------------------------------------


def rename(old: bytes, new: bytes, name: str, new_name: str) -> Steps[None]:
    """Version 3's rename: it refuses a name that is taken, though it does not say so."""
    (answer,) = yield [sftp.rename(old, new)]
    if answer.code == Code.OK:
        return
    there, taken = yield [sftp.lstat(old), sftp.lstat(new)]
    if isinstance(there, Found) and isinstance(taken, Found):
        raise AlreadyThere.at(shown(new_name, 80))
    raise failure(answer, name)


def remove(path: bytes, name: str) -> Steps[None]:
    """Remove a file, a link, or an empty directory."""
    (found,) = yield [sftp.lstat(path)]
    check([found], name)
    if not stat.S_ISDIR(found.attributes.mode or 0):
        check((yield [sftp.remove(path)]), name)
        return
    (answer,) = yield [sftp.remove_directory(path)]
    if answer.code == Code.FAILURE and (yield from listing(path, name)):
        raise NotEmpty.at(shown(name, 80))
    check([answer], name)


def remove_file(path: bytes, name: str) -> Steps[bool]:
    """Remove a file or a link; False if it is not there."""
    (answer,) = yield [sftp.remove(path)]
    if answer.code == Code.NO_SUCH_FILE:
        return False
    check([answer], name)
    return True


def remove_directory(path: bytes, name: str) -> Steps[None]:
    check((yield [sftp.remove_directory(path)]), name)


def make_directory(path: bytes, name: str, mode: int) -> Steps[None]:
    """Make a directory; fine if it is there. Raises AlreadyThere for a file, NotSafe for a link in its place."""
    (found,) = yield [sftp.lstat(path)]
    if not isinstance(found, Found):
        (answer,) = yield [sftp.make_directory(path, mode)]
        if answer.code == Code.OK:
            return
        (found,) = yield [sftp.lstat(path)]  # made by another meanwhile?
        if not isinstance(found, Found):
            raise failure(answer, name)
    kind = found.attributes.mode or 0
    if stat.S_ISLNK(kind):
        raise NotSafe.at(shown(name, 80))
    if not stat.S_ISDIR(kind):
        raise AlreadyThere(f"“{shown(name, 80)}” is already on the host, and not a directory.")
