"""One SFTP session of a district: what its requests do to the files, and how its packets are read.

`DistrictTree` is the meaning of each request, below the district's home and by directory handles only.
`SftpHandler` reads requests and sends answers; it differs from asyncssh's own in three ways: WRITE requests
with bytes after their end are taken as OpenSSH takes them (rclone before 1.62 sends them), requests that
would let one session stop all others are not offered, and answers to many small requests travel together.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, cast

from asyncssh import (
    SFTPAttrs,
    SFTPError,
    SFTPFailure,
    SFTPLimits,
    SFTPName,
    SFTPNoSuchFile,
    SFTPOpUnsupported,
    SFTPPermissionDenied,
    SFTPServer,
    SSHServerChannel,
)
from asyncssh.constants import (
    FXF_APPEND,
    FXF_CREAT,
    FXF_EXCL,
    FXF_READ,
    FXF_TRUNC,
    FXF_WRITE,
    FXP_OPENDIR,
    FXP_WRITE,
)
from asyncssh.packet import PacketDecodeError, SSHPacket, UInt32
from asyncssh.sftp import SFTPBadMessage, SFTPServerHandler

from .core.errors import HostError, NotSafe, NotThere, Refused
from .core.paths import Username, name_bytes, name_text, shown
from .core.tree import PLACES, Parts, is_in_upload, is_visible, is_writable, resolve
from .local import file_open, rename_exclusive, scanned, translate, walked, write_whole

PACKET_LIMIT = 262_144  # bytes, the limits OpenSSH's own server announces
DATA_LIMIT = 261_120
HANDLE_LIMIT = 128
ANSWER_LIMIT = 256 * 1024
_READ_ONLY = "You can write only below /upload."
_TAKEN = "This upload has been taken over, so the file can no longer be changed. Send it in a new one."
_Handlers = dict[int | bytes, Any]
Times = tuple[int, int]  # when it was read and when it was written, in seconds since the epoch


class OpenWrites:
    """Which files each account has open for writing, told to the portal in one small file an account."""

    def __init__(self, root: int) -> None:
        with walked(root, ("open",), make=True) as directory:
            self._directory = os.dup(directory)
        self._files: dict[Username, dict[int, Parts]] = {}

    def wipe(self) -> None:
        """Forget what a killed server left: nothing is open when we start."""
        for name, status in list(scanned(self._directory)):
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(name, dir_fd=self._directory)

    def opened(self, account: Username, handle: int, parts: Parts) -> None:
        self._files.setdefault(account, {})[handle] = parts
        try:
            self._tell(account)
        except OSError:
            self._files[account].pop(handle)
            raise

    def closed(self, account: Username, handle: int) -> None:
        if self._files.get(account, {}).pop(handle, None) is not None:
            self._tell(account)

    def renamed(self, account: Username, old: Parts, new: Parts) -> None:
        """Follow a rename of the file, or of a directory above it."""
        files = self._files.get(account, {})
        moved = {handle: parts for handle, parts in files.items() if parts[: len(old)] == old}
        for handle, parts in moved.items():
            files[handle] = new + parts[len(old) :]
        if moved:
            self._tell(account)

    def count(self, account: Username) -> int:
        return len(self._files.get(account, {}))

    def _tell(self, account: Username) -> None:
        """Write the account's list, whole at any moment; not made durable, since a new start wipes it."""
        name = name_bytes(account)
        files = self._files.get(account)
        if not files:
            self._files.pop(account, None)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._directory)
            return
        lines = sorted({"/".join(shown(part) for part in parts[1:]) for parts in files.values()})
        temporary = b"." + secrets.token_hex(8).encode("ascii")
        handle = file_open(self._directory, temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            write_whole(handle, "".join(line + "\n" for line in lines).encode("utf-8"))
        finally:
            os.close(handle)
        os.rename(temporary, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)


@dataclass(frozen=True, slots=True, eq=False)
class OpenFile:
    """A file a client has open."""

    handle: int
    name: str
    writing: bool


def sftp_error(error: HostError) -> SFTPError:
    """The SFTP status of an error of ours."""
    if isinstance(error, NotThere):
        return SFTPNoSuchFile(error.message)
    if isinstance(error, Refused | NotSafe):
        return SFTPPermissionDenied(error.message)
    return SFTPFailure(error.message)


@contextlib.contextmanager
def answered(name: str) -> Iterator[None]:
    """Turn what goes wrong at the entry `name` into the SFTP status for the client."""
    try:
        yield
    except OSError as error:
        raise sftp_error(translate(error, name)) from error
    except HostError as error:
        raise sftp_error(error) from error


def _resolved(path: bytes) -> Parts:
    with answered(""):
        return resolve(path)


def _writable(path: bytes) -> Parts:
    parts = _resolved(path)
    if not is_writable(parts):
        raise SFTPPermissionDenied(_READ_ONLY)
    return parts


def _existing(path: bytes) -> Parts:
    parts = _resolved(path)
    if not is_visible(parts):
        raise SFTPNoSuchFile("There is nothing of that name.")
    return parts


def _attributes(status: os.stat_result, writable: bool) -> SFTPAttrs:
    """What a client is told about an entry.

    Modes and owners say what it may do here, not how the host keeps it.
    """
    allowed = (0o600 if writable else 0o400) | (0o100 if stat.S_ISDIR(status.st_mode) else 0)
    return SFTPAttrs(
        size=status.st_size,
        uid=0,
        gid=0,
        permissions=stat.S_IFMT(status.st_mode) | allowed,
        atime=int(status.st_mtime),
        mtime=int(status.st_mtime),
        nlink=status.st_nlink,
    )


def _unshared(status: os.stat_result) -> None:
    """Refuse to change a file with a second name, which may be somebody else's."""
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        raise Refused("This file has a second name; it cannot be changed.")


def is_taken(root: int, handle: int) -> bool:
    """Whether an open file no longer lies in an upload directory below `root`: the portal has renamed one above it."""
    top, place = (os.readlink(f"/proc/self/fd/{one}".encode("ascii")) for one in (root, handle))
    if not place.startswith(top.rstrip(b"/") + b"/"):
        return False
    parts = place[len(top.rstrip(b"/")) + 1 :].split(b"/")
    return parts[0] != b"homes" or parts[2:3] != [b"upload"]


def _set(handle: int, size: int | None, times: Times | None) -> None:
    if size is not None:
        os.ftruncate(handle, size)
    if times is not None:
        os.utime(handle, times)


class DistrictTree(SFTPServer):
    """The requests of one session, meant from the account's home.

    `root` is a handle of the host's root; `refuse_times` answers a request that only changes times with
    "unsupported" instead of doing it.
    """

    def __init__(
        self, channel: Any, *, root: int, account: Username, writes: OpenWrites, refuse_times: bool = False
    ) -> None:
        super().__init__(channel)
        self._root = root
        self._account = account
        self._writes = writes
        self._refuse_times = refuse_times
        self._open: set[OpenFile] = set()

    def open(self, path: bytes, pflags: int, attrs: SFTPAttrs) -> OpenFile:
        writing = bool(pflags & (FXF_WRITE | FXF_APPEND | FXF_CREAT | FXF_TRUNC))
        parts = _writable(path) if writing else _existing(path)
        if len(self._open) >= HANDLE_LIMIT or self._writes.count(self._account) >= 2 * HANDLE_LIMIT:
            raise SFTPFailure("You have too many files open.")
        with self._above(parts) as (above, name):
            handle = file_open(above, name, _system_flags(pflags))
            try:
                if writing:
                    self._told(handle, parts)
                if pflags & FXF_TRUNC:
                    os.ftruncate(handle, 0)
            except BaseException:
                os.close(handle)
                self._writes.closed(self._account, handle)
                raise
        file = OpenFile(handle, parts[-1], writing)
        self._open.add(file)
        return file

    def _told(self, handle: int, parts: Parts) -> None:
        """Tell that a file is open for writing, before anything is cut off or written; the caller takes it back.

        Told first, and then looked whether it was taken; who claims renames first, and then asks what is open. So one
        of the two always sees the other.
        """
        _unshared(os.fstat(handle))  # a file with a second name may be somebody else's too
        self._writes.opened(self._account, handle, parts)
        self._still_theirs(handle)

    def _still_theirs(self, handle: int) -> None:
        if is_taken(self._root, handle):
            raise Refused(_TAKEN)

    def open56(self, path: bytes, desired_access: int, flags: int, attrs: SFTPAttrs) -> object:
        raise SFTPOpUnsupported("This server speaks SFTP version 3.")

    def close(self, file_obj: OpenFile) -> None:  # type: ignore[override]
        self._open.discard(file_obj)
        with answered(file_obj.name):
            os.close(file_obj.handle)
            if file_obj.writing:
                self._writes.closed(self._account, file_obj.handle)

    def exit(self) -> None:
        with contextlib.ExitStack() as closing:
            for file in self._open:
                closing.callback(self.close, file)

    def read(self, file_obj: OpenFile, offset: int, size: int) -> bytes:  # type: ignore[override]
        with answered(file_obj.name):
            return os.pread(file_obj.handle, min(size, DATA_LIMIT), offset)

    def write(self, file_obj: OpenFile, offset: int, data: bytes) -> int:  # type: ignore[override]
        with answered(file_obj.name):
            self._still_theirs(file_obj.handle)
            done = os.pwrite(file_obj.handle, data, offset)
            while done < len(data):
                done += os.pwrite(file_obj.handle, data[done:], offset + done)
        return done

    def stat(self, path: bytes) -> SFTPAttrs:
        # A link is told as a link: its target, wherever that is, is nobody's business.
        return self.lstat(path)

    def lstat(self, path: bytes) -> SFTPAttrs:
        parts = _existing(path)
        with self._above(parts) as (above, name):
            return _attributes(os.lstat(name, dir_fd=above), is_in_upload(parts))

    def fstat(self, file_obj: OpenFile) -> SFTPAttrs:  # type: ignore[override]
        with answered(file_obj.name):
            return _attributes(os.fstat(file_obj.handle), file_obj.writing)

    def setstat(self, path: bytes, attrs: SFTPAttrs) -> None:
        if _resolved(path) == ("upload",) and attrs.size is None:
            # Asked for by whoever puts a directory's content there (`put -r epoch/. /upload`); nothing of it is kept.
            self._times(attrs)
            return
        parts = _writable(path)
        times = self._times(attrs)
        with self._above(parts) as (above, name):
            if attrs.size is None:
                _unshared(os.lstat(name, dir_fd=above))
                if times is not None:
                    # Of the link, if it is one: what it leads to is left alone.
                    os.utime(name, times, dir_fd=above, follow_symlinks=False)
                return
            handle = file_open(above, name, os.O_WRONLY)
            try:
                self._told(handle, parts)
                _set(handle, attrs.size, times)
            finally:
                os.close(handle)
                self._writes.closed(self._account, handle)

    def lsetstat(self, path: bytes, attrs: SFTPAttrs) -> None:
        self.setstat(path, attrs)

    def fsetstat(self, file_obj: OpenFile, attrs: SFTPAttrs) -> None:  # type: ignore[override]
        if not file_obj.writing:
            raise SFTPPermissionDenied("This file is open for reading only.")
        times = self._times(attrs)
        with answered(file_obj.name):
            self._still_theirs(file_obj.handle)
            _set(file_obj.handle, attrs.size, times)

    def _times(self, attrs: SFTPAttrs) -> Times | None:
        """The times to set, if any. Permissions and owners are taken and ignored: no upload fails over them."""
        if attrs.mtime is None:
            return None
        if not self._refuse_times:
            return (attrs.mtime if attrs.atime is None else attrs.atime), attrs.mtime
        if attrs.size is None and attrs.permissions is None and attrs.uid is None:
            raise SFTPOpUnsupported("File times cannot be set on this server.")
        return None

    async def scandir(self, path: bytes) -> AsyncIterator[SFTPName]:
        parts = _existing(path)
        with answered(parts[-1] if parts else "/"), self._home() as home, walked(home, parts) as directory:
            found = [
                (name, _attributes(status, is_in_upload((*parts, name_text(name)))))
                for name, status in scanned(directory)
                if parts or name_text(name) in PLACES
            ]
            itself = _attributes(os.fstat(directory), is_in_upload(parts))
        for name in (b".", b".."):
            yield SFTPName(name, attrs=itself)
        for name, attributes in found:
            yield SFTPName(name, attrs=attributes)

    def remove(self, path: bytes) -> None:
        with self._above(_writable(path)) as (above, name):
            os.unlink(name, dir_fd=above)

    def mkdir(self, path: bytes, attrs: SFTPAttrs) -> None:
        with self._above(_writable(path)) as (above, name):
            os.mkdir(name, 0o700, dir_fd=above)

    def rmdir(self, path: bytes) -> None:
        with self._above(_writable(path)) as (above, name):
            os.rmdir(name, dir_fd=above)

    def realpath(self, path: bytes) -> bytes:
        return b"/" + b"/".join(name_bytes(part) for part in _resolved(path))

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._rename(oldpath, newpath, rename_exclusive)

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        self._rename(oldpath, newpath, _rename_over)

    def _rename(self, oldpath: bytes, newpath: bytes, move: Any) -> None:
        old, new = _writable(oldpath), _writable(newpath)
        with self._above(old) as (old_above, old_name), self._above(new) as (new_above, new_name):
            move(old_above, old_name, new_above, new_name)
            self._writes.renamed(self._account, old, new)

    def readlink(self, path: bytes) -> bytes:
        raise SFTPPermissionDenied("Links are not followed here.")

    def symlink(self, oldpath: bytes, newpath: bytes) -> None:
        raise SFTPPermissionDenied("Links cannot be made here.")

    def link(self, oldpath: bytes, newpath: bytes) -> None:
        raise SFTPPermissionDenied("Links cannot be made here.")

    def lock(self, file_obj: object, offset: int, length: int, flags: int) -> None:
        raise SFTPOpUnsupported("Files cannot be locked here.")

    def unlock(self, file_obj: object, offset: int, length: int) -> None:
        raise SFTPOpUnsupported("Files cannot be locked here.")

    def statvfs(self, path: bytes) -> os.statvfs_result:
        with answered(""), self._home() as home:
            return os.fstatvfs(home)

    def fstatvfs(self, file_obj: OpenFile) -> os.statvfs_result:  # type: ignore[override]
        with answered(file_obj.name):
            return os.fstatvfs(file_obj.handle)

    async def fsync(self, file_obj: OpenFile) -> None:  # type: ignore[override]
        # The one request that may wait long for the disk; the other sessions go on meanwhile.
        copy = os.dup(file_obj.handle)
        try:
            with answered(file_obj.name):
                await asyncio.to_thread(os.fsync, copy)
        finally:
            os.close(copy)

    def format_user(self, uid: int | None) -> str:
        return "sftp"

    def format_group(self, gid: int | None) -> str:
        return "sftp"

    @contextlib.contextmanager
    def _home(self) -> Iterator[int]:
        with walked(self._root, ("homes", self._account)) as home:
            yield home

    @contextlib.contextmanager
    def _above(self, parts: Parts) -> Iterator[tuple[int, bytes]]:
        """The handle of the directory that holds what is at `parts`, and its name in there."""
        with answered(parts[-1] if parts else "/"), self._home() as home, walked(home, parts[:-1]) as above:
            yield above, name_bytes(parts[-1]) if parts else b"."


def _system_flags(pflags: int) -> int:
    """The flags of open(2) for those of an OPEN request. Cutting off waits until we know what we opened."""
    writing = bool(pflags & (FXF_WRITE | FXF_APPEND | FXF_CREAT | FXF_TRUNC))
    flags = (os.O_RDWR if pflags & FXF_READ else os.O_WRONLY) if writing else os.O_RDONLY
    for asked, flag in ((FXF_APPEND, os.O_APPEND), (FXF_CREAT, os.O_CREAT), (FXF_EXCL, os.O_EXCL)):
        flags |= flag if pflags & asked else 0
    return flags


def _rename_over(old_above: int, old: bytes, new_above: int, new: bytes) -> None:
    os.rename(old, new, src_dir_fd=old_above, dst_dir_fd=new_above)


class SftpHandler(SFTPServerHandler):
    """Reads the requests of one session and sends the answers."""

    # Not offered: hard links; `copy-data` and `ranges`, which work without pause until they are done.
    _extensions: list[tuple[bytes, bytes]] = [
        (b"posix-rename@openssh.com", b"1"),
        (b"statvfs@openssh.com", b"2"),
        (b"fstatvfs@openssh.com", b"2"),
        (b"fsync@openssh.com", b"1"),
        (b"lsetstat@openssh.com", b"1"),
        (b"limits@openssh.com", b"1"),
    ]

    def __init__(self, server: DistrictTree, reader: Any, writer: Any) -> None:
        super().__init__(server, reader, writer, 3)
        self._answers: list[bytes] = []
        self._answers_size = 0

    async def recv_packets(self) -> None:
        try:
            await self._serve()
        except PacketDecodeError as error:
            await self._cleanup(SFTPBadMessage(str(error)))
        except EOFError:
            await self._cleanup(None)
        except (OSError, SFTPError) as error:
            await self._cleanup(error)

    async def _cleanup(self, exc: Exception | None) -> None:
        """End the session with exit code 0: scp takes its success from that, and asyncssh sends none."""
        if self._writer and not self._writer.channel.is_closing():
            await self._send()
            cast(SSHServerChannel[bytes], self._writer.channel).exit(0)
        await super()._cleanup(exc)

    async def _serve(self) -> None:
        """Take what has arrived, answer all of it, send the answers in one go, wait for them to leave."""
        waiting = b""
        while self._reader:
            arrived = await self._reader.read(4 * PACKET_LIMIT)
            if not arrived:
                raise EOFError
            waiting = await self._take(waiting + arrived)
            await self._send()

    async def _take(self, data: bytes) -> bytes:
        """Serve the whole packets in `data`; returns the rest."""
        start = 0
        while len(data) >= start + 4:
            length = int.from_bytes(data[start : start + 4], "big")
            if length > PACKET_LIMIT:
                raise SFTPBadMessage("Packet too large")
            end = start + 4 + length
            if end > len(data):
                break
            packet = SSHPacket(data[start + 4 : end])
            await self._process_packet(packet.get_byte(), packet.get_uint32(), packet)
            start = end
            if self._answers_size >= ANSWER_LIMIT:
                await self._send()
        return data[start:]

    def send_packet(self, pkttype: int, pktid: int | None, *args: bytes) -> None:
        payload = bytes([pkttype]) + b"".join(args)
        self._answers.append(UInt32(len(payload)) + payload)
        self._answers_size += len(payload)
        if pktid is None and self._writer:
            self._writer.write(self._taken_answers())

    async def _send(self) -> None:
        if self._answers and self._writer and not self._writer.channel.is_closing():
            self._writer.write(self._taken_answers())
            await self._writer.drain()

    def _taken_answers(self) -> bytes:
        answers = b"".join(self._answers)
        self._answers.clear()
        self._answers_size = 0
        return answers

    async def _process_write(self, packet: SSHPacket) -> int:
        handle = packet.get_string()
        offset = packet.get_uint64()
        data = packet.get_string()
        file = self._file_handles.get(handle)
        if not isinstance(file, OpenFile) or not file.writing:
            raise SFTPPermissionDenied("This file is not open for writing.")
        return self._server.write(file, offset, data)  # type: ignore[return-value]

    async def _process_opendir(self, packet: SSHPacket) -> bytes:
        if len(self._dir_handles) >= HANDLE_LIMIT:
            raise SFTPFailure("You have too many directories open.")
        return await super()._process_opendir(packet)

    async def _process_limits(self, packet: SSHPacket) -> SFTPLimits:
        return SFTPLimits(PACKET_LIMIT, DATA_LIMIT, DATA_LIMIT, HANDLE_LIMIT)

    _packet_handlers: _Handlers = {
        **{
            request: handler
            for request, handler in SFTPServerHandler._packet_handlers.items()
            if request not in (b"copy-data", b"ranges@asyncssh.com")
        },
        FXP_WRITE: _process_write,
        FXP_OPENDIR: _process_opendir,
        b"limits@openssh.com": _process_limits,
    }
