"""Why nobody got in: the same client against the embedded host and a real sshd comes to the same reason on both."""

import contextlib
import itertools
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
import pytest

from hosts.connlog import read_events
from hosts.core.events import Event, Kind
from tests.hosts.clients import Door, curl, scp, sftp, ssh
from tests.hosts.reference import free_port, sshd_path
from tests.hosts.serving import PATIENCE, Serving, key_fingerprint, key_pair, public_line, until

from .host import OpensshHost
from .journaling import Journaled

_LIMITED = """
import functools, sys
from hosts import server
server.Limits = functools.partial(server.Limits, LIMITS)
sys.exit(server.main(sys.argv[1:]))
"""

_numbers = itertools.count(1)
_addresses = (f"127.0.7.{number}" for number in itertools.count(1))


@dataclass(frozen=True, slots=True)
class Side:
    """One kind of host. `busy_port`: of a host that has room for two who have not signed in."""

    name: str
    port: int
    busy_port: int
    host_key: str
    admit: Callable[..., object]
    lines: Callable[[], list[bytes]]

    def door(self, name: str, key: Path) -> Door:
        return Door(self.port, name, key, self.host_key)

    def told(self, sought: Callable[[Event], bool], count: int) -> list[Event]:
        """Those events, once there are that many."""

        def found() -> list[Event]:
            return [event for event in read_events(self.lines()) if sought(event)]

        until(lambda: len(found()) >= count, f"{count} events on the {self.name} host")
        return found()


class BusyServing(Serving):
    command = ("-c", _LIMITED.replace("LIMITS", "waiting=2"))


class ImpatientServing(Serving):
    command = ("-c", _LIMITED.replace("LIMITS", "login_grace=1"))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    roots = tmp_path_factory.mktemp("embedded")
    with contextlib.ExitStack() as stack:
        plain, busy = Serving(roots / "plain"), BusyServing(roots / "busy")
        stack.callback(plain.stop)
        stack.callback(busy.stop)
        logs = [serving.root / "log" / "connections.jsonl" for serving in (plain, busy)]
        host_key = (plain.root / "host_ed25519.pub").read_text(encoding="ascii")
        yield Side(
            "embedded",
            plain.port,
            busy.port,
            " ".join(host_key.split()[:2]),
            plain.admit,
            lambda: [line for log in logs for line in log.read_bytes().splitlines()],
        )


@pytest.fixture
def openssh(shipped: Journaled, openssh_host: OpensshHost) -> Iterator[Side]:
    port = free_port()
    key = ["-h", "/etc/ssh/ssh_host_ed25519_key"]
    # Of MaxStartups sshd takes the last value it reads, not the first: an option would lose against our file.
    told = "LogLevel VERBOSE\nMaxStartups 2\nListenAddress 127.0.0.1\nPidFile none\n"
    (shipped.machine.root / "run/busy.conf").write_text(told)
    sshd = shipped.started(sshd_path(), "-D", "-f", "/run/busy.conf", "-p", str(port), *key)
    until(lambda: _answers(port), "an sshd with little room")
    try:
        yield Side("openssh", shipped.port, port, openssh_host.host_key, openssh_host.account, shipped.lines)
    finally:
        shipped.end(sshd)


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(params=["embedded", "openssh"])
def side(request: pytest.FixtureRequest) -> Side:
    return request.getfixturevalue(request.param)


# --- What clients do: with a door that the account's own key opens, and the keys' directory -----------------------


def _with(name: str, *options: str) -> Callable[[Door, Path], object]:
    return lambda door, keys: sftp(Door(door.port, door.username, keys / name, door.host_key), "pwd", options=options)


def _none(door: Door, keys: Path) -> object:
    return ssh(door, options=("-oPubkeyAuthentication=no",))


def _password(door: Door, keys: Path) -> None:
    with contextlib.closing(paramiko.Transport((door.address, door.port))) as transport:
        transport.start_client()
        with contextlib.suppress(paramiko.SSHException):
            transport.auth_password(door.username, "secret", fallback=False)


class _Unwilling(paramiko.Ed25519Key):
    """A key whose signatures are another's."""

    other: paramiko.Ed25519Key

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> paramiko.Message:
        return paramiko.Message(self.other.sign_ssh_data(data).asbytes())


def _wrongly_signed(door: Door, keys: Path) -> None:
    key = _Unwilling(filename=str(door.key))
    key.other = paramiko.Ed25519Key(filename=str(keys / "stranger"))
    with contextlib.closing(paramiko.Transport((door.address, door.port))) as transport:
        transport.start_client()
        with contextlib.suppress(paramiko.SSHException):
            transport.auth_publickey(door.username, key)


def _many_keys(door: Door, keys: Path) -> object:
    for number in range(24):
        if not (keys / f"many-{number}").exists():
            key_pair(keys, f"many-{number}")
    own = [f"-oIdentityFile={keys / f'many-{number}'}" for number in range(24)]
    return ssh(Door(door.port, door.username, keys / "stranger", door.host_key), options=own)


def _old_signature(door: Door, keys: Path) -> object:
    # libssh2 before 1.11, as in this curl, knows no other signature for RSA keys.
    return curl(Door(door.port, door.username, keys / "rsa", door.host_key), "/")


@dataclass(frozen=True, slots=True)
class Row:
    """What a client does, with what options its key stands in the file, and the reason on both hosts (or on sshd)."""

    does: Callable[[Door, Path], object]
    reason: str
    options: str = ""
    on_sshd: str = ""


ROWS = {
    "a stranger's key": Row(_with("stranger"), "unknown-key"),
    "a key whose last day is over": Row(_with("ours"), "expired-key", 'expiry-time="20200101Z" '),
    "a key that may come from elsewhere": Row(_with("ours"), "address-not-allowed", 'from="192.0.2.7" '),
    "a stranger's key before one that is over": Row(
        lambda door, keys: _with("stranger", f"-oIdentityFile={keys / 'ours'}")(door, keys),
        "expired-key",
        'expiry-time="20200101Z" ',
    ),
    "no key": Row(_none, "no-key-offered"),
    # Where passwords are switched off, sshd does not say that one was tried.
    "a password": Row(_password, "wrong-method", on_sshd="no-key-offered"),
    "a key that does not sign": Row(_wrongly_signed, "not-signed"),
    "a signature with SHA-1": Row(_old_signature, "sha1-signature"),
    "more keys than are looked at": Row(_many_keys, "too-many-keys"),
}


@pytest.fixture
def all_keys(keys: Path) -> Path:
    if not (keys / "rsa").exists():
        key_pair(keys, "rsa", ("-t", "rsa", "-b", "2048"))
    return keys


@pytest.mark.parametrize("name", ROWS)
def test_a_refusal_has_the_same_reason_on_both_hosts(side: Side, all_keys: Path, name: str) -> None:
    row, account = ROWS[name], f"reasons-{next(_numbers)}.k12.oh.us"
    lines = [f"{row.options}{public_line(all_keys / one)}" for one in ("ours", "rsa")]
    side.admit(account, *lines)
    row.does(side.door(account, all_keys / "ours"), all_keys)
    (event,) = side.told(lambda event: event.username == account, 1)
    expected = row.on_sshd if side.name == "openssh" and row.on_sshd else row.reason
    assert (event.kind, event.reason) == (Kind.REFUSED, expected)
    if row.reason == "unknown-key":
        stranger = public_line(all_keys / "stranger").rsplit(" ", 1)[0]
        assert (event.fingerprint, event.keys) == (key_fingerprint(all_keys / "stranger"), (stranger,))
    if row.reason in ("expired-key", "address-not-allowed", "not-signed"):
        assert event.fingerprint == key_fingerprint(all_keys / "ours")


@pytest.mark.parametrize("words", [(), ("ls",), ("scp",)], ids=["shell", "command", "old scp"])
def test_a_shell_tried_is_told_on_both_hosts(side: Side, keys: Path, words: tuple[str, ...]) -> None:
    account = f"reasons-{next(_numbers)}.k12.oh.us"
    side.admit(account, public_line(keys / "ours"))
    door = side.door(account, keys / "ours")
    ran = scp(door, f"{door.key}.pub", ":/upload/x", options=("-O",)) if "scp" in words else ssh(door, *words)
    assert ran.code != 0
    assert "SFTP" in ran.output.upper()
    accepted, refused = side.told(lambda event: event.username == account, 2)
    assert (accepted.kind, refused.kind) == (Kind.ACCEPTED, Kind.SHELL_REFUSED)
    assert refused.fingerprint == accepted.fingerprint == key_fingerprint(keys / "ours")


# --- Who never said who they are --------------------------------------------------------------------------------------


def test_no_common_algorithm_is_told_on_both_hosts(side: Side, keys: Path) -> None:
    address = next(_addresses)
    options = ("-oKexAlgorithms=diffie-hellman-group1-sha1", f"-oBindAddress={address}")
    assert ssh(side.door("nobody.k12.us", keys / "ours"), options=options).code == 255
    (event,) = side.told(lambda event: event.address == address, 1)
    assert (event.reason, event.username) == ("no-common-algorithm", "")


def test_who_leaves_early_is_told_once_on_both_hosts(side: Side) -> None:
    address, after = next(_addresses), next(_addresses)
    for source in (address, address, after):
        with _connected(side.port, source) as client:
            assert client.recv(255).startswith(b"SSH-2.0-")
    side.told(lambda event: event.address == after, 1)
    assert [event.reason for event in side.told(lambda event: event.address == address, 1)] == ["left-early"]


def test_who_is_too_slow_is_told(tmp_path: Path) -> None:
    """sshd 9.2 ends such a connection without a word: its log is read as saying so after five minutes of silence."""
    serving = ImpatientServing(tmp_path / "sftp")
    try:
        with _connected(serving.port, "127.0.0.1") as client:
            while client.recv(255):
                pass
        assert serving.last_event(1).reason == "too-slow"
    finally:
        serving.stop()


def test_a_host_that_is_busy_says_so_on_both_hosts(side: Side) -> None:
    address = next(_addresses)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            until(lambda: _gets_in(stack, side.busy_port), "those of earlier tests have gone")
        with _connected(side.busy_port, address) as client, contextlib.suppress(ConnectionResetError):
            assert not client.recv(255).startswith(b"SSH-2.0-")
    (event,) = side.told(lambda event: event.address == address, 1)
    assert event.reason == "host-busy"


def _gets_in(stack: contextlib.ExitStack, port: int) -> bool:
    """Whether one more connection is greeted; it stays open."""
    with contextlib.suppress(ConnectionResetError):
        return stack.enter_context(_connected(port, next(_addresses))).recv(255).startswith(b"SSH-2.0-")
    return False


def _connected(port: int, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE, (source, 0))
