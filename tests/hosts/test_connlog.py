import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts.connlog import Tally, read_events
from hosts.core.events import LINE_LIMIT, Event, Kind, event_line, shown_username
from hosts.server import ConnectionLog

EVENT = Event(
    kind=Kind.REFUSED,
    at=datetime(2026, 11, 22, 2, 3, 4, 567000, tzinfo=UTC),
    username="smithville.k12.oh.us",
    address="203.0.113.7",
    port=50122,
    client="SSH-2.0-WinSCP_release_6.3",
    fingerprint="SHA256:abc",
    reason="unknown-key",
    offered=("SHA256:abc", "SHA256:def"),
)


def test_an_event_comes_back_as_it_was_written() -> None:
    assert list(read_events([event_line(EVENT)])) == [EVENT]
    assert not EVENT.accepted


def test_the_end_of_a_session_comes_back_as_it_was_written() -> None:
    end = Event(Kind.ENDED, EVENT.at, EVENT.username, EVENT.address, 50122, "x", "SHA256:abc", "key-removed")
    assert list(read_events([event_line(end)])) == [end]
    assert not end.accepted


@given(st.binary(max_size=600))
def test_whatever_a_client_calls_itself_stays_one_short_printable_line(raw: bytes) -> None:
    name = shown_username(raw)
    line = event_line(Event(Kind.REFUSED, EVENT.at, name, "192.0.2.1", 1, "x"))
    assert line.count(b"\n") == 1
    assert len(line) < LINE_LIMIT
    (event,) = read_events([line])
    assert event.username == name
    assert name.isprintable()


def test_a_valid_name_is_kept_whole_and_any_other_is_cut() -> None:
    assert shown_username(b"a" * 253) == "a" * 253
    assert shown_username(b"A" * 253) == "A" * 100 + "…"


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"half a line",
        b"[]",
        b"{}",
        b'{"kind": "accepted"}',
        b'{"kind": "other", "at": "2026-11-22T02:03:04+00:00"}',
        b'{"kind": "accepted", "at": "2026-11-22T02:03:04"}',
        b'{"kind": "accepted", "at": "2026-11-22T02:03:04+00:00", "port": 70000}',
        b'{"kind": "accepted", "at": "2026-11-22T02:03:04+00:00", "port": true}',
        b'{"kind": "accepted", "at": "2026-11-22T02:03:04+00:00", "username": 5}',
        b'{"kind": "accepted", "at": "2026-11-22T02:03:04+00:00", "username": "a\\u0000"}',
        b'{"kind": "accepted", "at": "2026-11-22T02:03:04+00:00", "offered": "x"}',
        b"\xff\xfe",
        b"[" * 8000,
        b" " * (LINE_LIMIT + 1),
    ],
)
def test_a_bad_line_is_skipped_and_counted(line: bytes) -> None:
    tally = Tally()
    assert list(read_events([line, event_line(EVENT)], tally)) == [EVENT]
    assert (tally.events, tally.skipped) == (1, 1)


def numbered(number: int) -> Event:
    return Event(Kind.ACCEPTED, EVENT.at, f"district-{number}.example", "192.0.2.1", 1, "x")


def read_on(log: Path, inode: int, offset: int) -> tuple[list[str], int, int]:
    """A reader that keeps (inode, offset) finishes the file it was in, wherever it went, then reads the new one."""
    names = []
    for path in (log.with_name("connections.jsonl.1"), log):
        with path.open("rb") if path.exists() else open(os.devnull, "rb") as file:
            now = os.fstat(file.fileno()).st_ino
            if path != log and now != inode:
                continue
            file.seek(offset if now == inode else 0)
            names += [event.username for event in read_events(file.readlines())]
            inode, offset = now, file.tell()
    return names, inode, offset


def test_a_reader_loses_nothing_when_the_log_is_rotated(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    root = os.open(tmp_path, os.O_RDONLY)
    log = ConnectionLog(root, limit=10 * len(event_line(numbered(100))))
    names: list[str] = []
    place = (0, 0)
    for number in range(100, 150):
        log.write(numbered(number))
        if number % 4 == 0:
            read, *place = read_on(tmp_path / "log" / "connections.jsonl", *place)
            names += read
    names += read_on(tmp_path / "log" / "connections.jsonl", *place)[0]
    assert names == [f"district-{number}.example" for number in range(100, 150)]
    assert (tmp_path / "log" / "connections.jsonl.1").exists()


def test_half_a_line_of_a_crash_does_not_spoil_the_next(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "connections.jsonl").write_bytes(b'{"kind": "acc')
    ConnectionLog(os.open(tmp_path, os.O_RDONLY), limit=10_000).write(EVENT)
    lines = (tmp_path / "log" / "connections.jsonl").read_bytes().splitlines()
    assert list(read_events(lines)) == [EVENT]
