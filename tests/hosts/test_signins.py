"""Collecting sign-in events: each line once, whatever is rotated, cut off or written meanwhile."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import transaction

from hosts import condition, signins, tasks
from hosts.core.errors import HostDown
from hosts.core.events import Event, Kind, event_line
from hosts.core.paths import HostPath
from hosts.local import LocalFiles
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
    plain, rotated = LocalFiles.open_read, []

    def open_late(files: LocalFiles, path: HostPath) -> BinaryIO:
        if path.name == moment and not rotated:
            rotated.append(moment)
            _rotate()
            _write(3)
        return plain(files, path)

    if moment.endswith(".1"):
        _rotate()
        rotated.append("already")
    monkeypatch.setattr(LocalFiles, "open_read", open_late)
    found = [*_collect(host), *_collect(host)]
    monkeypatch.undo()
    _write(4)
    later = [*_collect(host), *_collect(host)]
    assert [*found, *later] == _names(*([2, 4] if moment.endswith(".1") else [2, 3, 4]))


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


def test_what_was_offered_and_what_was_tried_are_kept(host: Host) -> None:
    at = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
    prints, keys = ("SHA256:abc", "SHA256:def"), ("ssh-ed25519 AAAA",)
    refused = Event(
        Kind.REFUSED, at, "district1.us", "192.0.2.7", 1, "", "SHA256:abc", "unknown-key", offered=prints, keys=keys
    )
    shell = Event(Kind.SHELL_REFUSED, at, "district1.us", "192.0.2.7", 2, "", "x", "shell-refused", tried="forwarding")
    _log().write_bytes(event_line(refused) + event_line(shell))
    signins.collect(host.pk)
    first, second = SignIn.objects.order_by("pk")
    assert (first.offered, first.offered_keys, first.tried) == (list(prints), list(keys), "")
    assert (second.offered, second.offered_keys, second.tried) == ([], [], "forwarding")
    assert (second.accepted, second.reason) == (False, "shell-refused")


def test_of_two_readers_at_once_one_keeps_what_there_is(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(1, 2)
    plain = signins._new_lines

    def slow(files: LocalFiles, place: signins.Place) -> tuple[signins.Place, list[bytes]]:
        """While the first one reads, another has read and kept the same, and the log has gone on."""
        read = plain(files, place)
        monkeypatch.undo()
        assert signins.collect(host.pk) == 2
        _write(3)
        return read

    monkeypatch.setattr(signins, "_new_lines", slow)
    assert signins.collect(host.pk) == 0
    assert _collect(host) == _names(3)
    assert sorted(SignIn.objects.values_list("username", flat=True)) == _names(1, 2, 3)


def test_a_log_that_was_cut_short_and_has_grown_again_is_read_from_its_start(host: Host) -> None:
    _write(1, 2, 3)
    _collect(host)
    content = _line(4) + _line(5) + _line(6) + _line(7)
    _log().write_bytes(content)
    assert [*_collect(host), *_collect(host)] == _names(4, 5, 6, 7)


def test_a_log_that_is_away_and_comes_back_is_read_on_where_we_were(host: Host) -> None:
    _write(1)
    _collect(host)
    away = _log().with_name("elsewhere")
    _log().rename(away)
    assert _collect(host) == []
    away.rename(_log())
    _write(2)
    assert _collect(host) == _names(2)


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


# --- Hosts elsewhere


def _marked(number: int, mark: str) -> bytes:
    at = datetime(2026, 11, 22, 3, number, tzinfo=UTC)
    return event_line(Event(Kind.ACCEPTED, at, f"district{number}.us", "192.0.2.7", 2222, "", "SHA256:abc", mark=mark))


def test_a_file_is_known_by_its_first_line_and_that_line_is_no_event(host: Host) -> None:
    _log().write_bytes(b'{"generation": "0001"}\n')
    assert _collect(host) == []
    _write(1)
    assert _collect(host) == _names(1)
    _write(2)
    _rotate()
    _log().write_bytes(b'{"generation": "0002"}\n')
    _write(3)
    assert [*_collect(host), *_collect(host)] == _names(2, 3)
    # A log that was copied back to another disk is still the same.
    content = _log().read_bytes()
    _log().unlink()
    _log().write_bytes(content)
    assert _collect(host) == []


def test_an_event_that_the_host_tells_twice_is_kept_once(host: Host) -> None:
    _log().write_bytes(_marked(1, "a") + _marked(1, "a") + _marked(2, "b"))
    assert _collect(host) == _names(1, 2)
    _rotate()
    _log().write_bytes(b'{"generation": "0002"}\n' + _marked(2, "b") + _marked(3, "c"))
    assert _collect(host) == _names(3)


def test_a_place_noted_by_an_older_portal_is_gone_on_from(host: Host) -> None:
    _write(1)
    Host.objects.filter(pk=host.pk).update(log_offset=_log().stat().st_size)
    _write(2)
    assert _collect(host) == _names(2)


def test_a_host_that_does_not_answer_has_growing_pauses_and_costs_the_others_nothing(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Host.objects.create(name="away", kind=Host.Kind.OPENSSH, host_key="ssh-ed25519 AAAA")
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(tasks.read_sign_ins_of, "apply_async", lambda args, **_: asked.append(args))
    _write(1)
    tasks.read_sign_ins()
    assert asked == [(away.pk,)]
    assert SignIn.objects.count() == 1

    monkeypatch.setattr(signins, "files_for", _down)
    pauses = []
    for _ in range(3):
        assert signins.collect_from(away.pk) == 0
        pauses.append(cache.get(f"hosts.signins.{away.pk}.last"))
    assert signins.hosts_elsewhere() == []
    assert signins.FIRST_PAUSE <= pauses[0] < pauses[1] < pauses[2] <= signins.LONGEST_PAUSE


def _down(host: Host) -> LocalFiles:
    raise HostDown("The host does not answer.")


@pytest.mark.parametrize(
    ("task", "asking"),
    [(tasks.read_sign_ins_of, signins), (tasks.ask_condition_of, condition)],
    ids=["log", "condition"],
)
def test_a_slow_host_holds_one_thread_however_often_it_is_asked(
    host: Host, monkeypatch: pytest.MonkeyPatch, task: Callable[[int], None], asking: ModuleType
) -> None:
    slow = Host.objects.create(name="slow", kind=Host.Kind.OPENSSH, host_key="ssh-ed25519 AAAA")
    other = Host.objects.create(name="other", kind=Host.Kind.OPENSSH, host_key="ssh-ed25519 BBBB")
    asked: list[str] = []

    def slowly(row: Host) -> LocalFiles:
        """While it answers, the next are sent: each would be another thread."""
        asked.append(row.name)
        if row == slow and len(asked) < 6:
            task(slow.pk)
            task(other.pk)
        raise HostDown("The host did not answer in time.")

    monkeypatch.setattr(asking, "files_for", slowly)
    task(slow.pk)
    assert asked == ["slow", "other"]
    asked += 4 * ["much later"]
    task(slow.pk)
    assert asked[-1] == "slow"


def test_a_disk_of_ours_that_does_not_answer_holds_one_thread(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def slowly(row: Host) -> LocalFiles:
        asked.append(row.name)
        if len(asked) < 5:
            tasks.read_sign_ins()
        return LocalFiles(settings.SFTP_ROOT)

    monkeypatch.setattr(signins, "files_for", slowly)
    tasks.read_sign_ins()
    assert asked == [host.name]


def test_hosts_that_are_stopped_or_not_confirmed_are_not_asked(host: Host) -> None:
    Host.objects.create(name="new", kind=Host.Kind.OPENSSH)
    Host.objects.create(name="stopped", kind=Host.Kind.OPENSSH, host_key="x y", state=Host.State.STOPPED)
    assert signins.hosts_elsewhere() == []
