"""SFTP's bytes: what is asked, and that an answer the protocol does not allow is refused, however it comes."""

import contextlib
import itertools
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts.core import sftp
from hosts.core.errors import BadAnswer
from hosts.core.sftp import Attributes, Code, Data, Extended, Found, Handle, Names, Open, Replies, Status


def string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def packet(kind: int, rest: bytes, number: int = 7) -> bytes:
    body = bytes([kind]) + struct.pack(">I", number) + rest
    return struct.pack(">I", len(body)) + body


def status(code: int, message: bytes = b"Failure", number: int = 7) -> bytes:
    return packet(101, struct.pack(">I", code) + string(message) + string(b"en"), number)


WHOLE = struct.pack(">IQIIIII", 15, 5, 1000, 1001, 0o100640, 11, 22)
ROOM = struct.pack(">11Q", 4096, 1024, 10, 9, 8, 7, 6, 5, 4, 1, 255)

REPLIES = {
    "success": (packet(101, struct.pack(">I", 0) + string(b"Success") + string(b"")), Status(7, 0, "Success")),
    "failure": (status(4), Status(7, Code.FAILURE, "Failure")),
    "a code nobody knows": (status(4_000_000_000), Status(7, 4_000_000_000, "Failure")),
    "a message of odd bytes": (status(4, b"\xff\n"), Status(7, 4, "�\n")),
    "a message without end": (status(4, b"x" * 5000), Status(7, 4, "x" * sftp.MESSAGE_LIMIT)),
    "a handle": (packet(102, string(b"\0\1")), Handle(7, b"\0\1")),
    "data": (packet(103, string(b"abc")), Data(7, b"abc")),
    "no data": (packet(103, string(b"")), Data(7, b"")),
    "all attributes": (packet(105, WHOLE), Found(7, Attributes(5, 1000, 0o100640, 22, 1001))),
    "no attributes": (packet(105, struct.pack(">I", 0)), Found(7, Attributes())),
    "some attributes": (packet(105, struct.pack(">IQI", 5, 9, 0o40750)), Found(7, Attributes(9, None, 0o40750, None))),
    "an owner and a group": (packet(105, struct.pack(">III", 2, 8, 9)), Found(7, Attributes(owner=8, group=9))),
    "extended attributes": (
        packet(105, struct.pack(">III", 0x80000004, 0o100600, 1) + string(b"acl") + string(b"x")),
        Found(7, Attributes(None, None, 0o100600, None)),
    ),
    "names": (
        packet(104, struct.pack(">I", 2) + 2 * (string(b"n\xff") + string(b"-rw- n") + WHOLE)),
        Names(7, ((b"n\xff", Attributes(5, 1000, 0o100640, 22, 1001)),) * 2),
    ),
    "an extension's answer": (packet(201, b"anything"), Extended(7, b"anything")),
}


@pytest.mark.parametrize(("content", "reply"), REPLIES.values(), ids=REPLIES.keys())
def test_an_answer_is_read(content: bytes, reply: sftp.Reply) -> None:
    assert list(Replies().feed(content)) == [reply]


@given(cuts=st.lists(st.integers(0, 2000), max_size=8))
def test_answers_are_the_same_however_the_bytes_are_torn(cuts: list[int]) -> None:
    content = b"".join(content for content, _ in REPLIES.values())
    edges = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    replies = Replies()
    found = [reply for start, end in itertools.pairwise(edges) for reply in replies.feed(content[start:end])]
    assert found == [reply for _, reply in REPLIES.values()]


HOSTILE = {
    "longer than any packet": struct.pack(">I", sftp.PACKET_LIMIT + 1),
    "four gigabytes": b"\xff" * 4,
    "empty": struct.pack(">I", 0) + b"12345",
    "shorter than its head": struct.pack(">IB", 4, 101) + b"123",
    "a request": packet(3, string(b"/etc/passwd") + b"\0" * 8),
    "a second version": struct.pack(">IBI", 5, 2, 3),
    "a kind nobody knows": packet(77, b""),
    "a status that ends early": packet(101, struct.pack(">I", 0)),
    "a status with more behind": packet(101, struct.pack(">I", 0) + string(b"Success") + string(b"") + b"!"),
    "a handle longer than its packet": packet(102, struct.pack(">I", 99) + b"x"),
    "a handle with more behind": packet(102, string(b"x") + b"y"),
    "data longer than its packet": packet(103, struct.pack(">I", 0xFFFFFFFF) + b"x"),
    "names that are not there": packet(104, struct.pack(">I", 0xFFFFFFFF)),
    "attributes nobody knows": packet(105, struct.pack(">I", 0x100)),
    "attributes that end early": packet(105, struct.pack(">I", 15) + b"x"),
    "extended attributes without end": packet(105, struct.pack(">II", 0x80000000, 0xFFFFFFFF)),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_the_protocol_does_not_allow_is_refused(content: bytes) -> None:
    with pytest.raises(BadAnswer) as told:
        list(Replies().feed(content))
    assert told.value.retry


@given(st.binary(max_size=400))
def test_noise_is_refused_or_waited_for_and_never_a_surprise(noise: bytes) -> None:
    with contextlib.suppress(BadAnswer):
        list(Replies().feed(noise))


@given(st.sampled_from(sorted(REPLIES)), st.integers(4, 3000), st.integers(0, 255))
def test_one_changed_byte_is_an_answer_or_refused_and_never_a_surprise(name: str, place: int, byte: int) -> None:
    content = bytearray(REPLIES[name][0])
    content[place % len(content)] = byte
    with contextlib.suppress(BadAnswer):
        list(Replies().feed(bytes(content)))


def version(number: int, *extensions: bytes) -> bytes:
    body = b"\2" + struct.pack(">I", number) + b"".join(map(string, extensions))
    return struct.pack(">I", len(body)) + body


def test_the_greeting_is_answered_with_a_version_and_extensions() -> None:
    answer = version(3, b"posix-rename@openssh.com", b"1", b"limits@openssh.com", b"1")
    assert all(sftp.version_in(answer[:length]) is None for length in range(len(answer)))
    found = sftp.version_in(answer)
    assert found == sftp.Version(3, {sftp.POSIX_RENAME: b"1", sftp.LIMITS: b"1"})
    assert sftp.greeting() == struct.pack(">IBI", 5, 1, 3)


@pytest.mark.parametrize(
    "content",
    [version(6), version(2), packet(101, b"")[:9], version(3, b"half"), version(3) + b"!", b"SSH-2.0-OpenSSH_9.2\r\n"],
    ids=["version 6", "version 2", "a status", "half an extension", "more behind", "another protocol"],
)
def test_another_greeting_is_refused(content: bytes) -> None:
    with pytest.raises(BadAnswer):
        sftp.version_in(content)


REQUESTS: dict[str, tuple[Callable[[], sftp.Request], int, bytes]] = {
    "open to read": (lambda: sftp.open_file(b"/a", Open.READ), 3, string(b"/a") + struct.pack(">II", 1, 0)),
    "open anew": (
        lambda: sftp.open_file(b"/a", Open.WRITE | Open.CREATE | Open.EXCLUSIVE, 0o640),
        3,
        string(b"/a") + struct.pack(">III", 0x2A, 4, 0o640),
    ),
    "close": (lambda: sftp.close(b"h"), 4, string(b"h")),
    "read": (lambda: sftp.read(b"h", 2**40, 9), 5, string(b"h") + struct.pack(">QI", 2**40, 9)),
    "write": (lambda: sftp.write(b"h", 9, b"abc"), 6, string(b"h") + struct.pack(">Q", 9) + string(b"abc")),
    "lstat": (lambda: sftp.lstat(b"/a"), 7, string(b"/a")),
    "set mode": (lambda: sftp.set_mode(b"/a", 0o640), 9, string(b"/a") + struct.pack(">II", 4, 0o640)),
    "open directory": (lambda: sftp.open_directory(b"/a"), 11, string(b"/a")),
    "read directory": (lambda: sftp.read_directory(b"h"), 12, string(b"h")),
    "remove": (lambda: sftp.remove(b"/a"), 13, string(b"/a")),
    "make directory": (lambda: sftp.make_directory(b"/a", 0o750), 14, string(b"/a") + struct.pack(">II", 4, 0o750)),
    "remove directory": (lambda: sftp.remove_directory(b"/a"), 15, string(b"/a")),
    "rename": (lambda: sftp.rename(b"/a", b"/b"), 18, string(b"/a") + string(b"/b")),
    "replace": (
        lambda: sftp.replace(b"/a", b"/b"),
        200,
        string(b"posix-rename@openssh.com") + string(b"/a") + string(b"/b"),
    ),
    "flush": (lambda: sftp.flush(b"h"), 200, string(b"fsync@openssh.com") + string(b"h")),
    "space": (lambda: sftp.space(b"/"), 200, string(b"statvfs@openssh.com") + string(b"/")),
    "limits": (sftp.limits, 200, string(b"limits@openssh.com")),
}


@pytest.mark.parametrize(("made", "kind", "body"), REQUESTS.values(), ids=REQUESTS.keys())
def test_a_request_is_these_bytes(made: Callable[[], sftp.Request], kind: int, body: bytes) -> None:
    assert made().packet(0x01020304) == packet(kind, body, 0x01020304)


def test_the_answers_of_extensions_are_read_strictly() -> None:
    assert sftp.room_in(Extended(1, ROOM)) == sftp.Room(1024 * 8, 5, True)
    assert sftp.limits_in(Extended(1, struct.pack(">4Q", 1, 2, 3, 4))) == sftp.Limits(2, 3, 4)
    for body in (b"", ROOM[:-1], ROOM + b"!"):
        with pytest.raises(BadAnswer):
            sftp.room_in(Extended(1, body))
        with pytest.raises(BadAnswer):
            sftp.limits_in(Extended(1, body))
