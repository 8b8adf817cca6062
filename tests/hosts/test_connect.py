"""The way to a host elsewhere: its key, the portal's own key, time limits, and one connection for many calls."""

import contextlib
import gc
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from hosts import connect, services, vault
from hosts.connect import connected, dial, files_for, fingerprint
from hosts.core.errors import HostDown, HostError, HostKeyChanged, HostKeyUnknown, HostStopped, SignInRefused
from hosts.core.paths import HostPath
from hosts.local import LocalFiles
from hosts.models import Host

from .machine import Machine, hurried
from .reference import free_port
from .serving import key_fingerprint, key_pair, public_line, until

pytestmark = pytest.mark.django_db


def saved(machine: Machine, **values: object) -> Host:
    host = machine.host(**values)
    host.save()
    return host


def here(path: Path) -> HostPath:
    """A place of this machine as a host that shuts nobody in has it."""
    return HostPath(path.parts[1:])


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Machine]:
    """A machine whose keys a test may change."""
    machine = Machine(tmp_path / "other")
    yield machine
    machine.stop()


# --- The host key


def test_a_host_with_its_confirmed_key_is_reached(machine: Machine, tmp_path: Path) -> None:
    with connected(saved(machine)) as files:
        files.write(here(tmp_path / "file"), b"x")
        assert files.read(here(tmp_path / "file"), 9) == b"x"


def test_a_new_host_shows_its_key_and_waits_for_a_person(machine: Machine, tmp_path: Path) -> None:
    host = saved(machine, host_key="", state=Host.State.NEW)
    for _ in range(2):
        with pytest.raises(HostKeyUnknown) as told, connected(host):
            pass
    host.refresh_from_db()
    shown = fingerprint(machine.host_key)
    assert shown in told.value.message
    assert not told.value.retry
    assert (host.host_key, host.offered_key, host.state) == ("", machine.host_key, Host.State.NEW)
    assert host.offered_at is not None
    services.host_key_confirm(host, shown)
    assert (host.host_key, host.offered_key, host.state, host.fingerprint) == (
        machine.host_key,
        "",
        Host.State.READY,
        shown,
    )
    with connected(host) as files:
        assert files.stat(here(tmp_path)) is not None


def test_nobody_is_signed_in_to_before_the_key_is_confirmed(other: Machine) -> None:
    with pytest.raises(HostKeyUnknown):
        dial(saved(other, host_key=""))
    assert "Accepted" not in other.sshd.log()
    assert "Failed" not in other.sshd.log()


def test_our_fingerprint_is_that_of_ssh_keygen(other: Machine) -> None:
    assert fingerprint(other.host_key) == key_fingerprint(other.directory / "host_key")


def test_a_fingerprint_that_was_not_shown_confirms_nothing(machine: Machine) -> None:
    host = saved(machine, host_key="", offered_key=machine.host_key)
    for wrong in ("", "SHA256:" + "A" * 43, fingerprint(machine.host_key)[:-1], fingerprint(machine.host_key).lower()):
        with pytest.raises(services.NotTheOfferedKey):
            services.host_key_confirm(host, wrong)
    never = saved(machine, name="never seen", host_key="")
    with pytest.raises(services.NotTheOfferedKey):
        services.host_key_confirm(never, fingerprint(machine.host_key))
    assert not Host.objects.filter(host_key=machine.host_key).exists()


def test_two_hosts_with_one_key_are_refused(machine: Machine) -> None:
    saved(machine)
    twin = saved(machine, name="twin", host_key="", offered_key=machine.host_key)
    with pytest.raises(services.HostKeyTaken) as told:
        services.host_key_confirm(twin, fingerprint(machine.host_key))
    assert "machine" in told.value.message
    twin.refresh_from_db()
    assert twin.host_key == ""


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_changed_key_stops_the_host_and_nothing_is_sent(other: Machine, kind: str, tmp_path: Path) -> None:
    """Of the same type, and of another: then the host has no key of the confirmed type at all."""
    was = public_line(key_pair(tmp_path, "was", ("-t", kind)))
    host = saved(other, host_key=" ".join(was.split()[:2]))
    with pytest.raises(HostKeyChanged) as told, connected(host):
        pass
    host.refresh_from_db()
    assert fingerprint(other.host_key) in told.value.message
    assert (host.state, host.offered_key) == (Host.State.STOPPED, other.host_key)
    assert host.host_key == " ".join(was.split()[:2])
    assert fingerprint(was) in host.reason
    assert "Accepted" not in other.sshd.log()
    with pytest.raises(HostStopped) as stopped:
        files_for(host).stat(here(tmp_path))
    assert host.reason in stopped.value.message
    services.host_key_confirm(host, fingerprint(other.host_key))
    with connected(host) as files:
        assert files.stat(here(tmp_path)) is not None


@pytest.mark.parametrize("kind", [("-t", "ecdsa", "-b", "384"), ("-t", "rsa", "-b", "3072")], ids=["ecdsa", "rsa"])
def test_other_types_of_host_key_are_pinned_alike(tmp_path: Path, kind: tuple[str, ...]) -> None:
    (tmp_path / "typed").mkdir()
    key_pair(tmp_path / "typed", "host_key", kind)
    machine = Machine(tmp_path / "typed", fresh_host_key=False)
    try:
        with connected(saved(machine)) as files:
            assert files.stat(here(tmp_path)) is not None
    finally:
        machine.stop()


# --- The portal's own key


def test_the_portals_key_is_made_sealed_and_opens_the_host(other: Machine, tmp_path: Path) -> None:
    host = saved(other, client_key_sealed="")
    with pytest.raises(SignInRefused):
        dial(host)
    public = services.host_client_key_make(host)
    with pytest.raises(SignInRefused) as told:
        dial(host)
    assert not told.value.retry
    other.sshd.write(public.encode("ascii") + b"\n")
    with connected(Host.objects.get(pk=host.pk)) as files:
        assert files.stat(here(tmp_path)) is not None
    row = Host.objects.filter(pk=host.pk).values().get()
    assert not any("PRIVATE KEY" in str(value) for value in row.values())
    assert public.startswith("ssh-ed25519 ")


def test_no_other_key_of_this_machine_is_tried(other: Machine) -> None:
    host = saved(other)
    services.host_client_key_make(host)
    with pytest.raises(SignInRefused):
        dial(host)
    assert other.sshd.log().count("Failed publickey") <= 1


# --- Time limits, and hosts that are no hosts


@contextlib.contextmanager
def listening(greeting: bytes | None) -> Iterator[int]:
    """A port that accepts, says so much (None: closes at once), and then nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    if greeting is None:
                        connection.close()
                    else:
                        connection.sendall(greeting)
                        taken.append(connection)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        for connection in taken:
            connection.close()


@pytest.mark.parametrize(
    "greeting",
    [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 5000, None],
    ids=["silent", "silent after its name", "a web server", "noise", "closes"],
)
def test_what_is_no_sftp_host_is_told_in_time(machine: Machine, greeting: bytes | None) -> None:
    times = hurried(banner=0.5, key_exchange=0.5, sign_in=1.0)
    with listening(greeting) as port, pytest.raises(HostDown) as told:
        dial(machine.host(port=port), times)
    assert told.value.retry


def test_a_port_nobody_listens_on_is_a_host_that_is_down(machine: Machine) -> None:
    with pytest.raises(HostDown):
        dial(machine.host(port=free_port()))


def test_a_name_nobody_knows_is_a_host_that_is_down(machine: Machine) -> None:
    with pytest.raises(HostDown):
        dial(machine.host(address="no-such-host.invalid"))


def test_a_host_with_algorithms_of_yesterday_only_is_not_spoken_to(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "old", more=("KexAlgorithms diffie-hellman-group14-sha1", "MACs hmac-sha1"))
    try:
        with pytest.raises(HostDown) as told:
            dial(machine.host())
        assert told.value.code == "no-common-algorithm"
    finally:
        machine.stop()


def test_a_host_without_sftp_is_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "shell", more=("ForceCommand /bin/echo This service is closed.",))
    try:
        with pytest.raises(HostError):
            dial(machine.host(), hurried(answer=2.0))
    finally:
        machine.stop()


# --- Many calls


def test_the_embedded_host_is_this_machines_own_directory() -> None:
    host = Host(kind=Host.Kind.EMBEDDED)
    assert isinstance(files_for(host), LocalFiles)
    with connected(host) as files:
        assert isinstance(files, LocalFiles)


def test_nothing_is_dialled_before_it_is_needed(machine: Machine) -> None:
    files = files_for(saved(machine, port=free_port()))
    with pytest.raises(HostDown):
        files.stat(HostPath(("tmp",)))


def test_callers_after_each_other_share_a_connection(other: Machine, tmp_path: Path) -> None:
    host = saved(other)
    for _ in range(5):
        assert files_for(Host.objects.get(pk=host.pk)).stat(here(tmp_path)) is not None
    assert other.sshd.log().count("Accepted publickey") == 1


def test_a_shared_connection_that_was_cut_is_made_anew(other: Machine, tmp_path: Path) -> None:
    host = saved(other)
    files = files_for(host)
    assert files.stat(here(tmp_path)) is not None
    other.kill_sessions()
    with pytest.raises(HostDown):
        files.stat(here(tmp_path))
    assert files_for(host).stat(here(tmp_path)) is not None


def test_a_host_that_is_stopped_meanwhile_is_not_reached_by_an_old_connection(other: Machine, tmp_path: Path) -> None:
    host = saved(other)
    assert files_for(host).stat(here(tmp_path)) is not None
    host.state = Host.State.STOPPED
    with pytest.raises(HostStopped):
        files_for(host).stat(here(tmp_path))


def test_a_host_that_does_not_answer_delays_its_own_callers_only(
    machine: Machine, other: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosts.connect.SURE_SECONDS", 0.0)
    slow, healthy = saved(other), saved(machine, name="healthy")
    assert files_for(slow).stat(here(tmp_path)) is not None
    sessions = other.sessions()
    for pid in sessions:
        os.kill(pid, signal.SIGSTOP)
    waiting = threading.Thread(target=files_for, args=[slow])
    try:
        waiting.start()
        until(lambda: _holds_its_place(slow), "the silent host is asked")
        assert files_for(healthy).stat(here(tmp_path)) is not None
        assert waiting.is_alive()
    finally:
        for pid in sessions:
            os.kill(pid, signal.SIGCONT)
        waiting.join()


def _holds_its_place(host: Host) -> bool:
    return connect._kept._places[host.pk]._lock.locked()


def test_a_connection_in_the_midst_of_its_work_is_not_closed_under_it(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long ago it was asked for."""
    monkeypatch.setattr("hosts.connect.IDLE_SECONDS", 1.0)
    host = saved(machine)
    (tmp_path / "file").write_bytes(b"x" * 100)
    files = files_for(host)
    with files.open_read(here(tmp_path / "file")) as file:
        for _ in range(4):
            time.sleep(0.4)
            assert files.stat(here(tmp_path)) is not None
        assert files_for(host) is files
        assert file.read() == b"x" * 100
    time.sleep(1.1)
    assert files_for(host) is not files


def test_a_child_process_leaves_its_parents_connection_alone(other: Machine, tmp_path: Path) -> None:
    """The child connects to nothing: in the fork of a process with threads a lock may be held by nobody for ever."""
    host = saved(other)
    assert files_for(host).stat(here(tmp_path)) is not None
    parents = files_for(host)
    child = os.fork()
    if child == 0:
        try:
            told = "the parent's" if files_for(host) is parents else "its own"
            del parents
            gc.collect()  # what is thrown away must not say goodbye over the parent's socket
            (tmp_path / "child").write_text(told)
        except BaseException:
            (tmp_path / "child").write_text(traceback.format_exc())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert (tmp_path / "child").read_text() == "its own"
    assert files_for(host).stat(here(tmp_path)) is not None
    assert other.sshd.log().count("Accepted publickey") == 1


# --- The vault


def test_what_is_sealed_is_opened_and_can_be_sealed_anew(settings) -> None:
    old, new = settings.SECRETS_KEYS[0], "A" * 43 + "="
    token = vault.sealed(b"secret")
    assert b"secret" not in token
    assert vault.sealed(b"secret") != token
    assert vault.opened(token) == b"secret"
    settings.SECRETS_KEYS = [new, old]
    assert vault.opened(token) == b"secret"
    fresh = vault.resealed(token)
    settings.SECRETS_KEYS = [new]
    assert vault.opened(fresh) == b"secret"
    for broken in (token, fresh[:-2], b"", b"secret"):
        with pytest.raises(vault.SealBroken) as told:
            vault.opened(broken)
        assert "secret" not in str(told.value)


def test_a_host_whose_key_of_the_portal_cannot_be_opened_says_how_to_mend_it(machine: Machine, settings) -> None:
    host = saved(machine)
    settings.SECRETS_KEYS = ["A" * 43 + "="]
    with pytest.raises(HostError) as told, connected(host):
        pass
    assert (told.value.code, told.value.retry) == ("seal-broken", False)
    assert "SECRETS_KEYS" in told.value.message


def test_a_host_that_was_away_and_answers_any_question_is_waited_for_no_longer(
    machine: Machine, tmp_path: Path
) -> None:
    later = timezone.now() + timedelta(minutes=5)
    host = saved(machine, tries=7, next_try=later, reason="The host did not answer in time.")
    assert files_for(host).stat(here(tmp_path)) is not None
    host.refresh_from_db()
    assert (host.tries, host.next_try, host.reason) == (0, None, "")
