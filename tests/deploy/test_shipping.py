"""sshd's log becomes the connection log: each event once, whatever is rotated, stopped or killed in between."""

import base64
import errno
import json
import os
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from portal_host import connections, offers, shipping
from portal_host.accounting import Accounting
from portal_host.connections import ConnectionLog
from portal_host.settings import Host, Places, Portal, Settings
from portal_host.shipping import LogFile, Place, Shipping

from hosts.connlog import read_events
from hosts.core.events import Event, Kind, event_line
from hosts.core.signin import fingerprint
from tests.hosts.clients import Door, Ran, lftp, scp, sftp, sftp_command, ssh
from tests.hosts.serving import public_line, until

from .host import numbers_of
from .journaling import Journaled

NAME = "smithville.k12.oh.us"
START = datetime.now(UTC).replace(microsecond=0)
KEY = "SHA256:" + "k" * 43

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the log belongs to root")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """The directories of a host, below one of the test's own."""
    for name in (
        "srv/sftp-portal/log",
        "srv/sftp-portal/keys",
        f"srv/sftp-portal/homes/{NAME}",
        "var/lib/sftp-portal/offers",
    ):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "srv/sftp-portal").chmod(0o755)
    return Host(Settings(), Places(tmp_path), Portal(4711, 4712, 4713))


class Syslog:
    """A syslog file, written as sshd writes it."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        # Of now, not of when the tests were collected: a connection that has long been silent is told as over.
        self.start = datetime.now(UTC).replace(microsecond=0)
        path.touch()

    def say(self, pid: int, message: str) -> None:
        self.count += 1
        at = (self.start + timedelta(seconds=self.count)).isoformat()
        with self.path.open("a") as file:
            file.write(f"{at} vm sshd[{pid}]: {message}\n")

    def arrive(self, pid: int) -> None:
        self.say(pid, f'Connection from 192.0.2.7 port {pid} on 192.0.2.1 port 22 rdomain ""')

    def offer(self, pid: int, key: str = KEY) -> None:
        self.say(pid, f"Failed publickey for {NAME} from 192.0.2.7 port {pid} ssh2: ED25519 {key}")

    def leave(self, pid: int) -> None:
        self.say(pid, f"Connection closed by authenticating user {NAME} 192.0.2.7 port {pid} [preauth]")

    def refuse(self, *pids: int) -> None:
        for pid in pids:
            self.arrive(pid)
            self.offer(pid)
            self.leave(pid)

    def rotate(self) -> None:
        self.path.rename(self.path.with_name(f"{self.path.name}.1"))
        self.path.touch()


@pytest.fixture
def syslog(tmp_path: Path) -> Syslog:
    return Syslog(tmp_path / "auth.log")


def _shipping(host: Host, syslog: Syslog) -> Shipping:
    return Shipping(host, lambda place: LogFile(syslog.path, place, shipping._line_of(False)))


def _read(one: Shipping) -> None:
    """Read all there is, and note the place as a service does that is not killed."""
    while one.read():
        pass
    one._keep_place(is_last=True)


def _lines(host: Host) -> list[bytes]:
    log = host.places.tree / "log"
    return [line for name in ("connections.jsonl.1", "connections.jsonl") if (log / name).exists()
            for line in (log / name).read_bytes().splitlines()]  # fmt: skip


def _ports(host: Host) -> list[int]:
    return [event.port for event in read_events(_lines(host))]


def test_lines_become_events_and_the_file_is_for_the_portal_to_read_only(host: Host, syslog: Syslog) -> None:
    one = _shipping(host, syslog)
    syslog.refuse(1)
    _read(one)
    event = next(read_events(_lines(host)))
    assert (event.kind, event.username, event.reason, event.fingerprint) == (Kind.REFUSED, NAME, "unknown-key", KEY)
    assert numbers_of(host.places.tree / "log/connections.jsonl") == (0, 4712, "0o640")
    assert list(json.loads(_lines(host)[0])) == ["generation"]


def test_nothing_from_before_the_first_start_is_told(host: Host, syslog: Syslog) -> None:
    syslog.refuse(1)
    one = _shipping(host, syslog)
    syslog.refuse(2)
    _read(one)
    assert _ports(host) == [2]


@pytest.mark.parametrize("said", range(7))
def test_a_restart_at_any_line_loses_nothing_and_doubles_nothing(host: Host, syslog: Syslog, said: int) -> None:
    _read(_shipping(host, syslog))
    # Two connections at the same time, and the service is stopped after any line of them.
    steps = [
        lambda: syslog.arrive(1),
        lambda: syslog.arrive(2),
        lambda: syslog.offer(2),
        lambda: syslog.offer(1),
        lambda: syslog.leave(2),
        lambda: syslog.leave(1),
    ]
    one = _shipping(host, syslog)
    for step in steps[:said]:
        step()
        _read(one)
    two = _shipping(host, syslog)
    for step in steps[said:]:
        step()
    _read(two)
    _read(_shipping(host, syslog))
    assert sorted(_ports(host)) == [1, 2]
    assert {event.reason for event in read_events(_lines(host))} == {"unknown-key"}


def test_a_place_that_was_not_noted_costs_nothing_but_reading_twice(host: Host, syslog: Syslog) -> None:
    _read(_shipping(host, syslog))
    state = host.places.state / "shipping.json"
    syslog.refuse(1)
    _read(_shipping(host, syslog))
    before = state.read_bytes()
    syslog.refuse(2, 3)
    _read(_shipping(host, syslog))
    state.write_bytes(before)
    syslog.refuse(4)
    _read(_shipping(host, syslog))
    assert _ports(host) == [1, 2, 3, 4]


def test_syslogs_file_may_be_rotated_at_any_moment(host: Host, syslog: Syslog) -> None:
    one = _shipping(host, syslog)
    syslog.refuse(1)
    syslog.rotate()
    syslog.refuse(2)
    _read(one)
    syslog.arrive(3)
    _read(one)
    syslog.rotate()
    two = _shipping(host, syslog)
    syslog.offer(3)
    syslog.leave(3)
    _read(two)
    assert _ports(host) == [1, 2, 3]


def test_a_line_that_is_not_whole_yet_waits(host: Host, syslog: Syslog) -> None:
    one = _shipping(host, syslog)
    syslog.arrive(1)
    syslog.offer(1)
    at = (syslog.start + timedelta(seconds=9)).isoformat()
    rest = f"{at} vm sshd[1]: Connection closed by authenticating user {NAME} 192.0.2.7 port 1 [preauth]\n"
    with syslog.path.open("a") as file:
        file.write(rest[:50])
    _read(one)
    assert _ports(host) == []
    with syslog.path.open("a") as file:
        file.write(rest[50:])
    _read(one)
    assert _ports(host) == [1]


def test_the_log_is_rotated_by_size_and_each_file_tells_which_it_is(host: Host) -> None:
    log = ConnectionLog(host, size_limit=2000)
    events = [Event(Kind.ACCEPTED, START, NAME, "192.0.2.7", n, "", KEY, mark=f"{n:024x}") for n in range(30)]
    for event in events:
        log.write([event])
    paths = [host.places.tree / "log" / name for name in ("connections.jsonl.1", "connections.jsonl")]
    assert all(path.stat().st_size <= 2000 for path in paths)
    firsts = [json.loads(path.read_bytes().splitlines()[0])["generation"] for path in paths]
    assert len(set(firsts)) == 2
    assert _ports(host) == list(range(30 - len(_ports(host)), 30))


def test_half_a_line_of_a_power_cut_is_taken_away_and_told_again(host: Host) -> None:
    event = Event(Kind.ACCEPTED, START, NAME, "192.0.2.7", 1, "", KEY, mark="a" * 24)
    ConnectionLog(host).write([event])
    path = host.places.tree / "log/connections.jsonl"
    half = event_line(Event(Kind.ACCEPTED, START, NAME, "192.0.2.7", 2, "", KEY, mark="b" * 24))
    with path.open("ab") as file:
        file.write(half[:-10])
    log = ConnectionLog(host)
    log.write(
        [
            Event(Kind.ACCEPTED, START, NAME, "192.0.2.7", port, "", KEY, mark=mark * 24)
            for port, mark in ((1, "a"), (2, "b"))
        ]
    )
    assert _ports(host) == [1, 2]


def test_on_a_full_disk_nothing_is_lost_or_half_written(
    host: Host, syslog: Syslog, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = _shipping(host, syslog)
    syslog.refuse(1)
    plain = connections.write_whole

    def full(handle: int, content: bytes) -> None:
        os.write(handle, content[:40])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(connections, "write_whole", full)
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            one.read()
    one._keep_place(is_last=True)
    assert _ports(host) == []
    # Stopped and started while it was full, it reads those lines again.
    monkeypatch.setattr(connections, "write_whole", plain)
    two = _shipping(host, syslog)
    syslog.refuse(2)
    _read(two)
    assert _ports(host) in ([1, 2], [2, 1])


def test_what_a_refused_key_was_is_added_from_the_key_commands_note(host: Host, syslog: Syslog) -> None:
    one = _shipping(host, syslog)
    blob = b"\0\0\0\x0bssh-ed25519" + b"\0\0\0\x20" + b"p" * 32
    mark = fingerprint(blob)
    note = host.places.state / "offers" / mark.removeprefix("SHA256:").replace("/", "_")
    key = f"ssh-ed25519 {base64.b64encode(blob).decode()}"
    note.write_text(f"{key}\n")
    syslog.arrive(1)
    syslog.offer(1, mark)
    syslog.leave(1)
    _read(one)
    assert [event.keys for event in read_events(_lines(host))] == [(key,)]
    assert not note.exists()


@pytest.mark.parametrize(
    "content", ["ssh-ed25519 AAAA\n", "ssh-dss AAAA\n", "x", "", "ssh-ed25519 AAAA", "ssh-ed25519 !\n"]
)
def test_a_note_that_is_not_what_its_name_says_is_not_taken(host: Host, content: str) -> None:
    (host.places.state / "offers" / ("k" * 43)).write_text(content)
    assert offers.key_taken(host.places, KEY) == ""


def test_odd_things_among_the_notes_are_not_followed_and_old_notes_go(host: Host, tmp_path: Path) -> None:
    directory = host.places.state / "offers"
    (tmp_path / "secret").write_text("ssh-ed25519 AAAA\n")
    (directory / ("k" * 43)).symlink_to(tmp_path / "secret")
    os.mkfifo(directory / "fifo")
    assert offers.key_taken(host.places, KEY) == ""
    assert offers.key_taken(host.places, "SHA256:../../secret") == ""
    assert offers.offers_tidy(host.places, time.time() + offers.KEPT_SECONDS + 60) == 2
    assert (tmp_path / "secret").exists()


# --- What the kernel notes of ended processes


def _ended(**changes: object) -> bytes:
    """A record of acct(5), version 3, of a process that ended as one does that was asked for a shell."""
    fields = {"flags": 1, "version": 3, "status": 256, "uid": 66000, "gid": 66000, "pid": 9, "parent": 8}
    fields |= {"began": 1_795_000_000, "lasted": 0.0, "name": b"sshd"} | changes
    return struct.pack("=BB2xIIIIIIf16x16s", *fields.values())


@pytest.fixture
def others(host: Host) -> Path:
    """Process accounting as somebody else has turned it on."""
    path = host.places.root / "var/log/account/pacct"
    path.parent.mkdir(parents=True)
    path.write_bytes(_ended(parent=7))
    return path


IS_NO_REFUSAL: dict[str, dict[str, object]] = {
    "a good end": {"status": 0},
    "status 2": {"status": 512},
    "a signal": {"status": 1},
    "somebody else": {"uid": 1000},
    "another program": {"name": b"sh"},
    "it worked for a while": {"lasted": 501.0},
    "its parent is gone": {"parent": 1},
    "another form of record": {"version": 2},
}


@pytest.mark.parametrize("name", IS_NO_REFUSAL)
def test_other_ends_of_processes_are_no_refusals(host: Host, others: Path, name: str) -> None:
    one = Accounting(host)
    with others.open("ab") as file:
        file.write(_ended(**IS_NO_REFUSAL[name]) + _ended(parent=11))
    assert [refusal.child for refusal in one.refusals()] == [11]
    one.close()


def test_accounting_of_others_is_read_from_now_on_through_its_rotation_and_left_alone(host: Host, others: Path) -> None:
    one = Accounting(host)
    with others.open("ab") as file:
        file.write(_ended(parent=11) + _ended(parent=12)[:30])
        file.flush()
        assert [refusal.child for refusal in one.refusals()] == [11]
        others.rename(others.with_name("pacct.1"))
        assert list(one.refusals()) == []
        others.touch()
        file.write(_ended(parent=12)[30:])
    assert [refusal.child for refusal in one.refusals()] == [12]
    others.write_bytes(_ended(parent=13))
    assert [refusal.child for refusal in one.refusals()] == [13]
    one.close()
    assert others.exists()
    assert not (host.places.state / "ended-processes").exists()


# --- With a real sshd and a real journal


def test_sign_ins_of_a_real_host_are_told(shipped: Journaled, ours: str, keys: Path) -> None:
    assert sftp(shipped.door(ours, keys / "ours"), "pwd").code == 0
    events = shipped.wait(ours, bool)
    assert [(event.kind, event.fingerprint) for event in events] == [(Kind.ACCEPTED, _mark(keys / "ours"))]


def test_a_strangers_key_is_told_with_the_key_itself(shipped: Journaled, ours: str, keys: Path) -> None:
    assert sftp(shipped.door(ours, keys / "stranger"), "pwd").code != 0
    event = shipped.wait(ours, bool)[0]
    assert (event.kind, event.reason, event.offered) == (Kind.REFUSED, "unknown-key", (_mark(keys / "stranger"),))
    assert event.keys == (" ".join(Path(f"{keys / 'stranger'}.pub").read_text().split()[:2]),)


@pytest.mark.parametrize(
    ("options", "reason"),
    [('expiry-time="20200101Z"', "expired-key"), ('from="10.1.2.3"', "address-not-allowed")],
)
def test_why_a_known_key_was_refused_is_told(
    shipped: Journaled, ours: str, keys: Path, options: str, reason: str
) -> None:
    shipped.host.keys(ours, f"{options} {public_line(keys / 'ours')}")
    assert sftp(shipped.door(ours, keys / "ours"), "pwd").code != 0
    event = shipped.wait(ours, bool)[0]
    assert (event.kind, event.reason, event.fingerprint) == (Kind.REFUSED, reason, _mark(keys / "ours"))


NOT_SFTP: dict[str, Callable[[Door], Ran]] = {
    "ssh": ssh,
    "ssh with a command": lambda door: ssh(door, "ls", "-l"),
    "scp -O": lambda door: scp(door, f"{door.key}.pub", ":/upload/x", options=("-O",)),
    "scp -O, to fetch": lambda door: scp(door, ":/upload/x", str(door.key.parent / "fetched"), options=("-O",)),
}


@pytest.mark.parametrize("name", NOT_SFTP)
def test_who_tries_a_shell_is_told_so_and_it_is_an_event(shipped: Journaled, ours: str, keys: Path, name: str) -> None:
    ran = NOT_SFTP[name](shipped.door(ours, keys / "ours"))
    assert ran.code != 0
    events = shipped.wait(ours, lambda found: len(found) >= 2)
    assert [event.kind for event in events] == [Kind.ACCEPTED, Kind.SHELL_REFUSED]
    refused = events[1]
    assert (refused.reason, refused.tried, refused.fingerprint) == ("shell-refused", "shell", _mark(keys / "ours"))
    assert (refused.address, refused.port) == ("127.0.0.1", events[0].port)
    assert refused.at >= events[0].at


def test_sftp_is_no_shell_however_it_ends(shipped: Journaled, ours: str, keys: Path, tmp_path: Path) -> None:
    door = shipped.door(ours, keys / "ours")
    big = tmp_path / "big"
    big.write_bytes(bytes(64 * 1024 * 1024))
    assert sftp(door, "pwd").code == lftp(door, "ls").code == scp(door, str(keys / "ours.pub"), ":/upload/y").code == 0
    for _ in range(5):
        # Killed in the middle: what it had sent is not read to its end.
        quiet = subprocess.DEVNULL
        client = subprocess.Popen(sftp_command(door, "-b", "-"), stdin=subprocess.PIPE, stdout=quiet, stderr=quiet)
        assert client.stdin is not None
        client.stdin.write(f"put {big} /upload/big\n".encode())
        client.stdin.flush()
        until((shipped.host.upload(ours) / "big").exists, "an upload that has begun")
        client.kill()
        client.communicate()
        (shipped.host.upload(ours) / "big").unlink()
    ssh(door, "true")
    events = shipped.wait(ours, lambda found: found and not found[-1].accepted)
    assert [event.accepted for event in events] == [True] * 9 + [False]


def test_each_shell_tried_in_one_connection_is_told(shipped: Journaled, ours: str, keys: Path) -> None:
    door = shipped.door(ours, keys / "ours")
    shared = ("-oControlMaster=auto", f"-oControlPath={keys}/shared", "-oControlPersist=5")
    for _ in range(2):
        assert ssh(door, "id", options=shared).code == 1
    ssh(door, options=("-Oexit", *shared))
    events = shipped.wait(ours, lambda found: len(found) >= 3)
    assert [event.kind for event in events] == [Kind.ACCEPTED, Kind.SHELL_REFUSED, Kind.SHELL_REFUSED]
    assert len({event.mark for event in events}) == 3


def test_our_own_accounting_makes_way_for_a_new_file_and_is_turned_off_at_the_end(journal: Journaled) -> None:
    journal.ship()
    assert (journal.host.state / "ended-processes").exists()
    journal.ship_no_more()
    assert not (journal.host.state / "ended-processes").exists()
    told = journal.machine.run("python3", "-IBc", _ROTATING)
    assert told.code == 0, told.output


_ROTATING = """
import os, subprocess, sys
sys.path.insert(0, "/usr/lib/sftp-portal")
from pathlib import Path
from portal_host import accounting
from portal_host.settings import Host, Places, Portal, Settings

accounting.PROGRAMS = ("python3",)
one = accounting.Accounting(Host(Settings(), Places(Path("/")), Portal(0, 0, 0)), size_limit=640)
path, found, files = Path("/var/lib/sftp-portal/ended-processes"), [], set()
for _ in range(50):
    child = os.fork()
    if not child:
        os.setresuid(66001, 66001, 66001)
        os._exit(1)
    os.waitpid(child, 0)
    found += one.refusals()
    files.add(path.stat().st_ino)
    assert path.stat().st_size <= 640 + 6400
assert [refusal.child for refusal in found] == [os.getpid()] * 50, len(found)
one.close()
assert not path.exists()
"""


def test_who_is_no_district_is_not_told_of(shipped: Journaled, ours: str, keys: Path) -> None:
    ssh(shipped.door("root", keys / "ours"), "id")
    assert sftp(shipped.door("sftp-portal", shipped.host.portal_key), "pwd").code == 0
    assert sftp(shipped.door(ours, keys / "ours"), "pwd").code == 0
    shipped.wait(ours, bool)
    assert shipped.events("root") == shipped.events("sftp-portal") == []


def test_the_journal_is_gone_on_from_after_a_stop_and_after_a_kill(journal: Journaled, ours: str, keys: Path) -> None:
    door = journal.door(ours, keys / "ours")
    journal.ship()
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM):
        assert sftp(door, "pwd").code == 0
        journal.ship_no_more(number)
        assert sftp(door, "pwd").code == 0
        journal.ship()
    events = journal.wait(ours, lambda found: len(found) >= 8)
    journal.ship_no_more()
    assert len(journal.events(ours)) == 8
    assert len({event.mark for event in events}) == 8
    assert journal.state()["needed"] is False


def _mark(key: Path) -> str:
    return fingerprint(base64.b64decode(Path(f"{key}.pub").read_text().split()[1]))


def test_the_place_of_nothing_is_from_now_on() -> None:
    assert Place() == Place("", False)
