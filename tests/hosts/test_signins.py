"""Collecting sign-in events: each line once, whatever is rotated, cut off or written meanwhile."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.conf import settings
from django.db import transaction

from hosts import signins, tasks
from hosts.core.events import Event, Kind, event_line
from hosts.models import Host, SessionEnd, SignIn
from tests.factories import HostFactory


@pytest.fixture
def host(db: None) -> Host:
    (settings.SFTP_ROOT / "log").mkdir(parents=True)
    return HostFactory()


def _log() -> Path:
    return settings.SFTP_ROOT / "log" / "connections.jsonl"


def _line(number: int) -> bytes:
    """A line as the host writes it."""
    at = datetime(2026, 11, 22, 2, number, tzinfo=UTC)
    return event_line(Event(Kind.ACCEPTED, at, f"district{number}.us", "192.0.2.7", 2222, "SSH-2.0-x", "SHA256:abc"))


def _write(*numbers: int) -> None:
    with _log().open("ab") as log:
        for number in numbers:
            log.write(_line(number))


def _rotate() -> None:
    _log().rename(_log().with_name("connections.jsonl.1"))


def _collect(host: Host) -> list[str]:
    """The user names that one more collection brings."""
    before = set(SignIn.objects.values_list("pk", flat=True))
    kept = signins.collect(host.pk)
    new = SignIn.objects.exclude(pk__in=before).order_by("pk")
    assert kept == len(new)
    return [row.username for row in new]


def _names(*numbers: int) -> list[str]:
    return [f"district{number}.us" for number in numbers]


def test_each_event_is_kept_once(host: Host) -> None:
    assert _collect(host) == []
    _write(1, 2)
    assert _collect(host) == _names(1, 2)
    assert _collect(host) == []
    _write(3)
    tasks.read_sign_ins()
    assert SignIn.objects.count() == 3


def test_a_line_that_is_not_whole_yet_waits(host: Host) -> None:
    whole = _line(1)
    _log().write_bytes(whole[:20])
    assert _collect(host) == []
    with _log().open("ab") as log:
        log.write(whole[20:])
    assert _collect(host) == _names(1)


def test_nothing_is_lost_when_the_log_is_rotated(host: Host) -> None:
    _write(1)
    assert _collect(host) == _names(1)
    _write(2)
    _rotate()
    _write(3)
    assert [*_collect(host), *_collect(host)] == _names(2, 3)
    assert _collect(host) == []


def test_nothing_is_lost_between_the_old_log_and_a_new_one(host: Host) -> None:
    _write(1)
    _collect(host)
    _write(2)
    _rotate()
    assert _collect(host) == _names(2)
    _write(3)
    assert _collect(host) == _names(3)


@pytest.mark.parametrize("moment", ["connections.jsonl", "connections.jsonl.1"])
def test_nothing_is_lost_when_the_log_is_rotated_while_we_look(
    host: Host, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    _write(1)
    _collect(host)
    _write(2)
    plain, rotated = Path.open, []

    def open_late(path: Path, *told: str) -> object:
        if path.name == moment and not rotated and "rb" in told:
            rotated.append(moment)
            _rotate()
            plain(_log(), "wb").close()
        return plain(path, *told)

    if moment.endswith(".1"):
        _rotate()
        _log().touch()
        rotated.append("already")
    monkeypatch.setattr(Path, "open", open_late)
    found = [*_collect(host), *_collect(host)]
    monkeypatch.undo()
    _write(3)
    assert [*found, *_collect(host), *_collect(host)] == _names(2, 3)


def test_a_log_that_was_begun_anew_is_read_from_its_start(host: Host) -> None:
    _write(1, 2, 3)
    _collect(host)
    with _log().open("r+b") as log:
        log.truncate(0)
    _write(4)
    assert _collect(host) == _names(4)


def test_lines_that_are_no_events_are_passed_over(host: Host) -> None:
    _write(1)
    with _log().open("ab") as log:
        log.write(b'not json\n{"event": 1}\n\xff\xfe\n\n')
    _write(2)
    assert _collect(host) == _names(1, 2)


def test_events_and_place_are_one(host: Host) -> None:
    _write(1)
    with transaction.atomic():
        signins.collect(host.pk)
        transaction.set_rollback(True)
    assert _collect(host) == _names(1)


def test_a_refused_attempt_keeps_its_reason(host: Host) -> None:
    at = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    event = Event(Kind.REFUSED, at, "x" * 101, "2001:db8::1", 2222, "c" * 101, "SHA256:abc", "unknown-key")
    _log().write_bytes(event_line(event))
    signins.collect(host.pk)
    row = SignIn.objects.get()
    assert (row.accepted, row.reason, row.at, row.address) == (False, "unknown-key", at, "2001:db8::1")


def test_a_long_log_is_read_in_several_goes(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signins, "MOST_BYTES", 2 * len(_line(1)) + 5)
    _write(1, 2, 3)
    assert _collect(host) == _names(1, 2)
    assert _collect(host) == _names(3)


def test_a_session_the_host_ended_is_kept_once_and_is_no_sign_in(host: Host) -> None:
    at = datetime(2026, 11, 22, 2, 5, tzinfo=UTC)
    end = Event(Kind.ENDED, at, "district1.us", "2001:db8::1", 2222, "SSH-2.0-x", "SHA256:abc", "key-removed")
    _write(1)
    with _log().open("ab") as log:
        log.write(event_line(end))
    with transaction.atomic():
        assert signins.collect(host.pk) == 2
        transaction.set_rollback(True)
    assert not SessionEnd.objects.exists()
    for _ in range(2):
        signins.collect(host.pk)
    row = SessionEnd.objects.get()
    assert (row.host, row.username, row.at, row.address) == (host, "district1.us", at, "2001:db8::1")
    assert (row.fingerprint, row.reason) == ("SHA256:abc", "key-removed")
    assert SignIn.objects.get().accepted
