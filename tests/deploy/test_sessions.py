"""A session stays as long as its key would be let in again, and not a second more: on a real sshd, as root."""

import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from portal_host.sessions import Sessions, keeper_of
from portal_host.settings import Host, Places, Portal, Settings

from hosts.core.events import Event, Kind
from hosts.core.sshdlog import Opened
from tests.hosts.clients import Door, program, sftp_command, ssh_options
from tests.hosts.reference import free_port, sshd_path
from tests.hosts.serving import PATIENCE, public_line, until

from .host import HOST_KEY, OpensshHost
from .journaling import Journaled

# What a host that ends sessions "within about a second" may need on a busy machine.
SOON = 10.0
_numbers = itertools.count(1)


@contextmanager
def _signed_in(door: Door) -> Iterator[subprocess.Popen[bytes]]:
    """An SFTP session that is open and does nothing. (sftp itself would not notice its end before the next command.)"""
    command = [program("ssh"), *ssh_options(door), "-p", str(door.port), "-s", door.target, "sftp"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"\0\0\0\5\1\0\0\0\3")  # SSH_FXP_INIT, version 3
        client.stdin.flush()
        try:
            assert client.stdout.read(5)[4:] == b"\2"
            yield client
        finally:
            client.kill()


def _accepted(count: int = 1) -> object:
    return lambda found: len([event for event in found if event.accepted]) >= count


def _ends(events: list[Event]) -> list[tuple[str, str]]:
    return [(event.reason, event.address) for event in events if event.kind is Kind.ENDED]


def _is_over(client: subprocess.Popen[bytes]) -> bool:
    client.wait(SOON)
    return client.returncode != 0


def _stays(client: subprocess.Popen[bytes], seconds: float = 2.5) -> bool:
    time.sleep(seconds)
    return client.poll() is None


def _remove(host: OpensshHost, name: str) -> None:
    (host.root / "keys" / name).unlink()


def _replace(host: OpensshHost, name: str, keys: Path) -> None:
    host.keys(name, public_line(keys / "theirs"))


def _shut_out(host: OpensshHost, name: str, keys: Path) -> None:
    host.keys(name, f'from="10.1.2.3" {public_line(keys / "ours")}')


def _let_expire(host: OpensshHost, name: str, keys: Path) -> None:
    host.keys(name, f'expiry-time="20200101Z" {public_line(keys / "ours")}')


CHANGES = {
    "its file is removed": (lambda host, name, keys: _remove(host, name), "key-removed"),
    "its line is replaced": (_replace, "key-removed"),
    "its address is shut out": (_shut_out, "address-not-allowed"),
    "its time is over": (_let_expire, "key-expired"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_session_whose_key_goes_is_ended_and_told(shipped: Journaled, ours: str, keys: Path, name: str) -> None:
    change, reason = CHANGES[name]
    with _signed_in(shipped.door(ours, keys / "ours")) as client:
        shipped.wait(ours, _accepted())
        change(shipped.host, ours, keys)
        assert _is_over(client)
    events = shipped.wait(ours, lambda found: bool(_ends(found)))
    assert _ends(events) == [(reason, "127.0.0.1")]
    assert events[-1].fingerprint == events[0].fingerprint


def test_a_key_expires_in_the_middle_of_a_session(shipped: Journaled, ours: str, keys: Path) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=5)).strftime("%Y%m%d%H%M%SZ")
    shipped.host.keys(ours, f'expiry-time="{soon}" {public_line(keys / "ours")}')
    with _signed_in(shipped.door(ours, keys / "ours")) as client:
        shipped.wait(ours, _accepted())
        assert _is_over(client)
    assert _ends(shipped.wait(ours, lambda found: bool(_ends(found)))) == [("key-expired", "127.0.0.1")]


def test_sessions_of_others_and_with_another_key_stay(shipped: Journaled, ours: str, theirs: str, keys: Path) -> None:
    shipped.host.keys(ours, public_line(keys / "ours"), public_line(keys / "stranger"))
    with (
        _signed_in(shipped.door(ours, keys / "ours")) as first,
        _signed_in(shipped.door(ours, keys / "stranger")) as second,
        _signed_in(shipped.door(theirs, keys / "theirs")) as third,
    ):
        shipped.wait(ours, _accepted(2))
        shipped.host.keys(ours, f"restrict {public_line(keys / 'stranger')}")
        assert _is_over(first)
        assert _stays(second)
        assert third.poll() is None
    assert len(_ends(shipped.events(ours))) == 1
    assert _ends(shipped.events(theirs)) == []


def test_what_changed_while_the_service_was_away_ends_sessions_when_it_is_back(
    journal: Journaled, ours: str, theirs: str, keys: Path
) -> None:
    journal.ship()
    with _signed_in(journal.door(ours, keys / "ours")) as first:
        journal.wait(ours, _accepted())
        time.sleep(1.5)  # it writes down who is here
        journal.ship_no_more(signal.SIGKILL)
        with _signed_in(journal.door(theirs, keys / "theirs")) as second:
            _replace(journal.host, ours, keys)
            _remove(journal.host, theirs)
            assert _stays(first, 1.0)
            journal.ship()
            assert _is_over(first)
            assert _is_over(second)
    for name in (ours, theirs):
        assert _ends(journal.wait(name, lambda found: bool(_ends(found)))) == [("key-removed", "127.0.0.1")]
    journal.ship_no_more()


def test_a_session_nobody_told_us_of_ends_only_where_no_key_lets_anybody_in(
    journal: Journaled, ours: str, theirs: str, keys: Path
) -> None:
    with (
        _signed_in(journal.door(ours, keys / "ours")) as first,
        _signed_in(journal.door(theirs, keys / "theirs")) as second,
    ):
        _forget(journal)
        _remove(journal.host, ours)
        journal.ship()
        assert _is_over(first)
        assert _stays(second)
    assert [reason for reason, _ in _ends(journal.wait(ours, lambda found: bool(_ends(found))))] == ["key-removed"]
    journal.ship_no_more()


@contextmanager
def _bare_sshd(journal: Journaled) -> Iterator[int]:
    """The port of an sshd whose titles have no room but for its own arguments: it was started without environment."""
    port = free_port()
    arguments = ["-p", str(port), "-o", "ListenAddress=127.0.0.1", "-o", "PidFile=none", "-h", HOST_KEY]
    sshd = journal.started("/usr/bin/env", "-i", sshd_path(), "-D", *arguments)
    until(lambda: _answers(port), "an sshd without environment")
    try:
        yield port
    finally:
        journal.end(sshd)


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def long_names(openssh_host: OpensshHost, keys: Path) -> tuple[str, str]:
    """Two accounts with the key `ours` and the longest names there are; they differ in the last character alone."""
    begin = f"n{next(_numbers)}.".ljust(252, "a")
    names = (f"{begin}x", f"{begin}y")
    for name in names:
        openssh_host.account(name, public_line(keys / "ours"))
    return names


@contextmanager
def _both_signed_in(
    journal: Journaled, names: tuple[str, str], keys: Path
) -> Iterator[tuple[subprocess.Popen[bytes], subprocess.Popen[bytes]]]:
    """A session of each, both of them with titles that are cut before the names differ."""
    with (
        _bare_sshd(journal) as port,
        _signed_in(replace(journal.door(names[0], keys / "ours"), port=port)) as first,
        _signed_in(replace(journal.door(names[1], keys / "ours"), port=port)) as second,
    ):
        assert len(_processes_of(journal, names[0][:60], "")) >= 4
        assert not any(_processes_of(journal, name) for name in names)
        yield first, second


def test_a_session_with_a_name_that_sshds_title_has_no_room_for_is_ended(
    shipped: Journaled, ours: str, keys: Path
) -> None:
    name = f"long{next(_numbers)}.".ljust(253, "a")
    shipped.host.account(name, public_line(keys / "ours"))
    with (
        _bare_sshd(shipped) as port,
        _signed_in(replace(shipped.door(name, keys / "ours"), port=port)) as first,
        _signed_in(replace(shipped.door(ours, keys / "ours"), port=port)) as second,
    ):
        shipped.wait(name, _accepted())
        assert not _processes_of(shipped, name)
        _replace(shipped.host, name, keys)
        assert _is_over(first)
        assert _stays(second)
    assert _ends(shipped.wait(name, lambda found: bool(_ends(found)))) == [("key-removed", "127.0.0.1")]


def test_of_two_sessions_that_a_cut_title_does_not_tell_apart_the_one_whose_keys_have_gone_is_ended(
    journal: Journaled, long_names: tuple[str, str], keys: Path
) -> None:
    """Nobody told us of either: the user number says whose it is."""
    with _both_signed_in(journal, long_names, keys) as (first, second):
        _forget(journal)
        _remove(journal.host, long_names[0])
        journal.ship()
        try:
            assert _is_over(first)
            assert _stays(second)
            ends = _ends(journal.wait(long_names[0], lambda found: bool(_ends(found))))
            assert [reason for reason, _ in ends] == ["key-removed"]
        finally:
            journal.ship_no_more()


def test_of_two_sessions_that_a_cut_title_does_not_tell_apart_the_helper_ends_the_right_one(
    journal: Journaled, long_names: tuple[str, str], keys: Path
) -> None:
    with _both_signed_in(journal, long_names, keys) as (first, second):
        assert journal.host.one("end", account=long_names[0])["ended"] >= 1
        assert _is_over(first)
        assert _stays(second, 1.0)


def _forget(journal: Journaled) -> None:
    """As if the service had never run: it reads the journal from now on."""
    for name in ("shipping.json", "sessions.json"):
        (journal.host.state / name).unlink(missing_ok=True)


def test_who_has_not_signed_in_yet_is_not_a_session(shipped: Journaled, ours: str, keys: Path) -> None:
    _remove(shipped.host, ours)
    command = sftp_command(shipped.door(ours, keys / "ours"))
    client = subprocess.run(command, input="", capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert "Permission denied" in client.stderr
    time.sleep(2)
    assert {event.kind for event in shipped.events(ours)} == {Kind.REFUSED}


def test_a_session_that_does_not_go_when_asked_is_killed(shipped: Journaled, ours: str, keys: Path) -> None:
    with _signed_in(shipped.door(ours, keys / "ours")) as client:
        shipped.wait(ours, _accepted())
        stopped = _processes_of(shipped, ours)
        assert len(stopped) >= 2
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        _remove(shipped.host, ours)
        assert _is_over(client)
    deadline = time.monotonic() + SOON
    while _processes_of(shipped, ours):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _processes_of(journal: Journaled, name: str, after: str = "( |@)") -> list[int]:
    """sshd's processes of this account on this host: another process of tests may run one with the same names."""
    command = ["pgrep", "-f", f"^sshd(-session)?: {name}{after}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    pids = [int(pid) for pid in done.stdout.split()]
    return [pid for pid in pids if _space(Path(f"/proc/{pid}")) == _space(journal.machine.root.parent)]


def _space(process: Path) -> str:
    """The process namespace of a process; of the machine itself, our own."""
    path = process / "ns/pid"
    with suppress(OSError):
        return os.readlink(path if path.is_symlink() else "/proc/self/ns/pid")
    return ""


def test_a_title_alone_makes_no_keeper(tmp_path: Path) -> None:
    """Somebody may call his process what he likes; it must be sshd's program, and root's."""
    title = "sshd: smithville.k12.oh.us [priv]"
    with subprocess.Popen(["bash", "-c", f"exec -a '{title}' sleep 60"]) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while title.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
                assert time.monotonic() < deadline
            assert keeper_of(process.pid, "smithville.k12.oh.us") is None
        finally:
            process.kill()


def test_what_the_log_says_of_an_older_process_with_that_number_is_not_taken_for_this_one(
    shipped: Journaled, ours: str, keys: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "srv/sftp-portal"
    (tree / "keys").mkdir(parents=True)
    (tmp_path / "var/lib/sftp-portal").mkdir(parents=True)
    here = Host(Settings(), Places(tmp_path), Portal(4711, 4712, 4713))
    with _signed_in(shipped.door(ours, keys / "ours")):
        event = shipped.wait(ours, _accepted())[0]
        keepers = [keeper for pid in _processes_of(shipped, ours) if (keeper := keeper_of(pid, ours))]
        assert len(keepers) == 1
        for ago, name, found in ((300, ours, []), (0, "other.k12.oh.us", []), (0, ours, [ours])):
            known = Sessions(here)
            at = event.at - timedelta(seconds=ago)
            known.opened(Opened(keepers[0].pid, at, name, event.fingerprint, event.address, event.port))
            assert known.usernames == found
