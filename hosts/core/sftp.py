"""SFTP version 3 as bytes: requests to be sent, and what a server answers, read strictly.

The protocol is draft-ietf-secsh-filexfer-02, with OpenSSH's extensions (PROTOCOL, section 4 of the OpenSSH sources):
posix-rename, fsync, statvfs and limits. A server is trusted to keep our files, but not to be sane: whatever it sends
that the protocol does not allow raises `BadAnswer`, and nothing it claims makes us allocate more than `PACKET_LIMIT`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from .errors import BadAnswer

VERSION = 3
# OpenSSH's own limit of a packet, with room for the header of one that carries that much data.
PACKET_LIMIT = 256 * 1024 + 1024
# What every server must take in one packet (the draft, section 3), less what stands around the data.
SAFE_CHUNK = 32 * 1024
MESSAGE_LIMIT = 200

POSIX_RENAME = b"posix-rename@openssh.com"
FSYNC = b"fsync@openssh.com"
STATVFS = b"statvfs@openssh.com"
LIMITS = b"limits@openssh.com"


class Kind(IntEnum):
    """The first byte of a packet."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    SETSTAT = 9
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    RENAME = 18
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Code(IntEnum):
    """What a status says (section 7 of the draft)."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8


class Open(IntFlag):
    """How a file is opened."""

    READ = 0x01
    WRITE = 0x02
    CREATE = 0x08
    EXCLUSIVE = 0x20


class _Has(IntFlag):
    """Which attributes follow."""

    SIZE = 0x01
    OWNER = 0x02
    MODE = 0x04
    TIMES = 0x08
    EXTENDED = 0x80000000


_ALL = _Has.SIZE | _Has.OWNER | _Has.MODE | _Has.TIMES
_HEADER = struct.Struct(">IBI")
_LENGTH = struct.Struct(">I")
_WORDS = struct.Struct(">II")
_LONG = struct.Struct(">Q")
_READ = struct.Struct(">QI")
_WHOLE = struct.Struct(">IQIIIII")
_SPACE = struct.Struct(">11Q")
_LIMITS = struct.Struct(">4Q")
_HEAD = 5  # the kind and the number, which the length counts too


# --- What a server answers ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Version:
    """The answer to `greeting`: the version spoken, and the extensions offered with their own versions."""

    version: int
    extensions: dict[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Status:
    """How a request ended. `code` is a `Code`, or a number that we do not know; `message` is the server's, cut."""

    number: int
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Handle:
    """An open file or directory."""

    number: int
    handle: bytes


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a file."""

    number: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is known of a file; None where the server did not say. `modified` counts seconds since the epoch."""

    size: int | None = None
    owner: int | None = None
    mode: int | None = None
    modified: int | None = None
    group: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to `lstat`."""

    number: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Names:
    """Some entries of a directory: their raw names and attributes."""

    number: int
    entries: tuple[tuple[bytes, Attributes], ...]


@dataclass(frozen=True, slots=True)
class Extended:
    """What an extension answers, unread."""

    number: int
    body: bytes


Reply = Status | Handle | Data | Found | Names | Extended


@dataclass(frozen=True, slots=True)
class Room:
    """The space of a file system: bytes and file numbers that are free for us, and whether it is read-only."""

    free_bytes: int
    free_files: int
    read_only: bool


@dataclass(frozen=True, slots=True)
class Limits:
    """The most a server takes: bytes of one read and one write, and open handles. 0: it does not say."""

    read: int
    write: int
    handles: int


class _Body:
    """The rest of a packet, read from the front."""

    __slots__ = ("_at", "_bytes")

    def __init__(self, content: bytes) -> None:
        self._bytes = content
        self._at = 0

    def fields(self, form: struct.Struct) -> tuple[int, ...]:
        if len(self._bytes) - self._at < form.size:
            raise BadAnswer.of("a packet that ends too early")
        found = form.unpack_from(self._bytes, self._at)
        self._at += form.size
        return found

    def number(self) -> int:
        return self.fields(_LENGTH)[0]

    def string(self) -> bytes:
        length = self.number()
        if len(self._bytes) - self._at < length:
            raise BadAnswer.of("a string longer than its packet")
        start, self._at = self._at, self._at + length
        return self._bytes[start : self._at]

    def peek(self) -> int:
        found, self._at = self.number(), self._at - _LENGTH.size
        return found

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._bytes)

    def end(self) -> None:
        if not self.is_at_end:
            raise BadAnswer.of("a packet with something behind its end")


def _attributes(body: _Body) -> Attributes:
    if body.peek() == _ALL:  # what OpenSSH always sends
        whole = body.fields(_WHOLE)
        return Attributes(size=whole[1], owner=whole[2], mode=whole[4], modified=whole[6], group=whole[3])
    flags = body.number()
    if flags & ~(_ALL | _Has.EXTENDED):
        raise BadAnswer.of("attributes that version 3 does not have")
    size = body.fields(_LONG)[0] if flags & _Has.SIZE else None
    owner, group = body.fields(_WORDS) if flags & _Has.OWNER else (None, None)
    mode = body.number() if flags & _Has.MODE else None
    modified = body.fields(_WORDS)[1] if flags & _Has.TIMES else None
    for _ in range(body.number() if flags & _Has.EXTENDED else 0):
        body.string(), body.string()
    return Attributes(size, owner, mode, modified, group)


def _status(number: int, body: _Body) -> Status:
    code, message, _ = body.number(), body.string(), body.string()
    return Status(number, code, message[:MESSAGE_LIMIT].decode("utf-8", "replace"))


def _names(number: int, body: _Body) -> Names:
    entries = []
    count = body.number()
    if not count:  # a directory's end has an answer of its own: without it, this could go on for ever
        raise BadAnswer.of("a listing's part without a name")
    for _ in range(count):
        name, _ = body.string(), body.string()
        entries.append((name, _attributes(body)))
    return Names(number, tuple(entries))


def _extended(number: int, body: _Body) -> Extended:
    rest = bytes(body._bytes[body._at :])
    body._at = len(body._bytes)
    return Extended(number, rest)


_READERS: dict[int, Callable[[int, _Body], Reply]] = {
    Kind.STATUS: _status,
    Kind.HANDLE: lambda number, body: Handle(number, body.string()),
    Kind.DATA: lambda number, body: Data(number, body.string()),
    Kind.NAME: _names,
    Kind.ATTRS: lambda number, body: Found(number, _attributes(body)),
    Kind.EXTENDED_REPLY: _extended,
}


def _reply(kind: int, number: int, content: bytes) -> Reply:
    if content == _FINE and kind == Kind.STATUS:  # by far the most of what a push hears
        return Status(number, Code.OK, "Success")
    reader = _READERS.get(kind)
    if reader is None:
        raise BadAnswer.of(f"a packet of kind {kind}")
    body = _Body(content)
    reply = reader(number, body)
    body.end()
    return reply


class Replies:
    """Cuts what a server sends into answers, however the bytes are torn on the way."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[Reply]:
        """The answers that are whole now, in order. Raises BadAnswer at the first that is none."""
        content, at = self._rest + chunk, 0
        while len(content) - at >= _HEADER.size:
            length, kind, number = _HEADER.unpack_from(content, at)
            _check_length(length)
            end = at + _LENGTH.size + length
            if end > len(content):
                break
            yield _reply(kind, number, content[at + _HEADER.size : end])
            at = end
        self._rest = content[at:]
        if len(self._rest) >= _LENGTH.size:
            _check_length(_LENGTH.unpack_from(self._rest)[0])


def _check_length(length: int) -> None:
    if not _HEAD <= length <= PACKET_LIMIT:
        raise BadAnswer.of(f"a packet of {length} bytes")


def version_in(content: bytes) -> Version | None:
    """The server's first packet, or None if it is not whole yet. Nothing may follow it: we asked for no more."""
    if len(content) < _LENGTH.size:
        return None
    length = _LENGTH.unpack_from(content)[0]
    _check_length(length)
    if len(content) < _LENGTH.size + length:
        return None
    body = _Body(content[_LENGTH.size + 1 :])
    version, extensions = body.number(), {}
    while not body.is_at_end:
        name = body.string()
        extensions[name] = body.string()
    if content[_LENGTH.size] != Kind.VERSION or version != VERSION:
        raise BadAnswer.of("another version of SFTP than 3")
    return Version(version, extensions)


def room_in(reply: Extended) -> Room:
    """The answer to `statvfs`."""
    body = _Body(reply.body)
    _, unit, _, _, blocks, _, _, files, _, flags, _ = body.fields(_SPACE)
    body.end()
    return Room(unit * blocks, files, bool(flags & 1))


def limits_in(reply: Extended) -> Limits:
    """The answer to `limits`."""
    body = _Body(reply.body)
    _, read, write, handles = body.fields(_LIMITS)
    body.end()
    return Limits(read, write, handles)


# --- What we ask -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """One request without its number. `wants` is the answer that means success; a Status may always come instead."""

    kind: Kind
    body: bytes
    wants: type[Reply]

    def packet(self, number: int) -> bytes:
        """The bytes to send; the answer will carry `number` (32 bits)."""
        return _HEADER.pack(_HEAD + len(self.body), self.kind, number) + self.body


def _string(content: bytes) -> bytes:
    return _LENGTH.pack(len(content)) + content


def _mode(mode: int) -> bytes:
    return _WORDS.pack(_Has.MODE, mode)


_NO_ATTRIBUTES = _LENGTH.pack(0)
_FINE = _LENGTH.pack(Code.OK) + _string(b"Success") + _string(b"")


def greeting() -> bytes:
    """The first packet of a session, whole."""
    return _WORDS.pack(_HEAD, 0)[:4] + bytes([Kind.INIT]) + _LENGTH.pack(VERSION)


def open_file(path: bytes, how: Open, mode: int | None = None) -> Request:
    """Open a file; `mode` is for one that is made, less the server's umask."""
    attributes = _NO_ATTRIBUTES if mode is None else _mode(mode)
    return Request(Kind.OPEN, _string(path) + _LENGTH.pack(how) + attributes, Handle)


def close(handle: bytes) -> Request:
    return Request(Kind.CLOSE, _string(handle), Status)


def read(handle: bytes, offset: int, length: int) -> Request:
    return Request(Kind.READ, _string(handle) + _READ.pack(offset, length), Data)


def write(handle: bytes, offset: int, content: bytes) -> Request:
    return Request(Kind.WRITE, _string(handle) + _LONG.pack(offset) + _string(content), Status)


def lstat(path: bytes) -> Request:
    """What is at `path` itself: a link is told as a link."""
    return Request(Kind.LSTAT, _string(path), Found)


def set_mode(path: bytes, mode: int) -> Request:
    """Give what is at `path` these permission bits. A link is followed: look first."""
    return Request(Kind.SETSTAT, _string(path) + _mode(mode), Status)


def open_directory(path: bytes) -> Request:
    return Request(Kind.OPENDIR, _string(path), Handle)


def read_directory(handle: bytes) -> Request:
    """Some more entries; a Status EOF when there are none left."""
    return Request(Kind.READDIR, _string(handle), Names)


def remove(path: bytes) -> Request:
    """Remove a file or a link."""
    return Request(Kind.REMOVE, _string(path), Status)


def make_directory(path: bytes, mode: int) -> Request:
    return Request(Kind.MKDIR, _string(path) + _mode(mode), Status)


def remove_directory(path: bytes) -> Request:
    """Remove an empty directory."""
    return Request(Kind.RMDIR, _string(path), Status)


def rename(old: bytes, new: bytes) -> Request:
    """Version 3's rename, which fails if the new name is taken."""
    return Request(Kind.RENAME, _string(old) + _string(new), Status)


def replace(old: bytes, new: bytes) -> Request:
    """OpenSSH's rename, which replaces what has the new name, as rename(2) does."""
    return Request(Kind.EXTENDED, _string(POSIX_RENAME) + _string(old) + _string(new), Status)


def flush(handle: bytes) -> Request:
    """Make what was written durable."""
    return Request(Kind.EXTENDED, _string(FSYNC) + _string(handle), Status)


def space(path: bytes) -> Request:
    """The space of the file system that `path` is on: read the answer with `room_in`."""
    return Request(Kind.EXTENDED, _string(STATVFS) + _string(path), Extended)


def limits() -> Request:
    """What the server takes at most: read the answer with `limits_in`."""
    return Request(Kind.EXTENDED, _string(LIMITS), Extended)
