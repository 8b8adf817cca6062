"""From a host's row to its files: dialled with time limits, its host key held against the confirmed one.

The comparison is ours, bytes against bytes, and comes before anything is signed. paramiko's `Transport` is used bare:
no policy classes, no known_hosts file, no agent, no other keys (decision 12). What paramiko and sockets raise becomes
a `HostError` here.
"""

from __future__ import annotations

import base64
import contextlib
import io
import os
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import paramiko
from django.conf import settings
from django.dispatch import Signal
from django.utils import timezone
from paramiko.pkey import PKey

from . import vault
from .core.errors import HostDown, HostError, HostKeyChanged, HostKeyUnknown, HostStopped, SignInRefused
from .core.signin import fingerprint as blob_fingerprint
from .files import HostFiles
from .local import LocalFiles
from .models import Host
from .pipeline import ANSWER_SECONDS, Pipeline
from .remote import RemoteFiles

# Each in seconds.
CONNECT_SECONDS = 10.0
BANNER_SECONDS = 10.0
KEY_EXCHANGE_SECONDS = 15.0
SIGN_IN_SECONDS = 15.0
RUN_SECONDS = 15 * 60.0
# A kept connection is closed after this long without use, and asked whether it lives after that long.
IDLE_SECONDS, SURE_SECONDS = 60.0, 2.0

# AES-GCM goes through OpenSSL in one pass and is the quickest that paramiko has.
CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
)
# Host key types, and the signature algorithms each is good for: no SHA-1, no DSA.
SIGNATURES = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
_ANY = tuple(name for names in SIGNATURES.values() for name in names)


@dataclass(frozen=True, slots=True)
class Times:
    """Time limits, in seconds: of connecting, of the server's first line, of agreeing on keys, of signing in, of each
    answer after that, and of everything together (None: without end)."""

    connect: float = CONNECT_SECONDS
    banner: float = BANNER_SECONDS
    key_exchange: float = KEY_EXCHANGE_SECONDS
    sign_in: float = SIGN_IN_SECONDS
    answer: float = ANSWER_SECONDS
    run: float | None = RUN_SECONDS


TIMES = Times()
# A host that was away has answered. With `host`.
host_is_back = Signal()


class Connection:
    """A signed-in connection with one SFTP session."""

    def __init__(self, transport: paramiko.Transport, times: Times) -> None:
        self._transport = transport
        with _translated():
            channel = transport.open_session(timeout=times.answer)
            channel.settimeout(times.answer)
            with _answered_within(times.answer, transport):
                channel.invoke_subsystem("sftp")
        deadline = None if times.run is None else time.monotonic() + times.run
        self.pipeline = Pipeline(_Carrier(channel), answer_seconds=times.answer, deadline=deadline)

    def close(self) -> None:
        """End the connection. One that broke ends at once, so that nothing still unsent is carried out later on."""
        if self.pipeline.is_broken:
            with contextlib.suppress(OSError):
                self._transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.close()


class _Carrier:
    """A channel as the pipeline knows them: whatever ends it is an OSError, as it is with sockets."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self.recv = channel.recv
        self.settimeout = channel.settimeout
        self._send = channel.send

    def send(self, content: bytes) -> int:
        try:
            return self._send(content)
        except (EOFError, paramiko.SSHException) as error:
            raise ConnectionError from error


@contextlib.contextmanager
def _answered_within(seconds: float, transport: paramiko.Transport) -> Iterator[None]:
    """Ends the connection if the block waits for longer; for what paramiko waits for without end."""
    late, until = threading.Timer(seconds, transport.close), time.monotonic() + seconds
    late.daemon = True
    late.start()
    try:
        yield
    except paramiko.SSHException:
        if time.monotonic() >= until:
            raise TimeoutError from None
        raise
    finally:
        late.cancel()


# --- The ways to a host's files ----------------------------------------------------------------------------------


def files_for(host: Host) -> HostFiles:
    """The files of a host, for a few calls. A host elsewhere is connected to at the first of them.

    Its connection is kept for the next caller in this process, for a short time. Never raises.
    """
    return LocalFiles(settings.SFTP_ROOT) if host.kind == Host.Kind.EMBEDDED else _kept.files(host)


@contextlib.contextmanager
def connected(host: Host, times: Times = TIMES) -> Iterator[HostFiles]:
    """The files of a host for a whole run, over one connection of its own that is closed afterwards.

    Raises, at once: HostDown, HostStopped, HostKeyUnknown, HostKeyChanged, SignInRefused, BadAnswer.
    """
    if host.kind == Host.Kind.EMBEDDED:
        yield LocalFiles(settings.SFTP_ROOT)
        return
    connection = dial(host, times)
    files = RemoteFiles(lambda: connection)
    try:
        yield files
    finally:
        connection.close()


class _Kept:
    """One connection a host, kept by this process between calls; a forked child has none of its parent's."""

    def __init__(self) -> None:
        # Held only to find the host's own place, never while a host is spoken to: a slow one delays nobody else.
        self._lock = threading.Lock()
        self._process = 0
        self._places: dict[int, _Place] = {}

    def files(self, host: Host) -> RemoteFiles:
        with self._lock:
            if self._process != os.getpid():  # the parent's sockets are the parent's to close
                self._process, self._places = os.getpid(), {}
            place = self._places.setdefault(host.pk, _Place())
        return place.files(host)


class _Place:
    """The kept connection of one host."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._way: tuple[object, ...] = ()
        self._files: RemoteFiles | None = None

    def files(self, host: Host) -> RemoteFiles:
        """The same files as before, if the way there is the same and the host still answers on it; else new ones."""
        way = _way(host)
        with self._lock:
            if self._files is not None and (self._way != way or not _is_fresh(self._files)):
                self._files.close()
                self._files = None
            if self._files is None:
                self._way, self._files = way, RemoteFiles(lambda: _dialled(host))
            return self._files


_kept = _Kept()


def _dialled(host: Host) -> Connection:
    """A connection to be kept. A host that was away and answers now is no longer waited for."""
    connection = dial(host, Times(run=None))
    host_answered(host)
    return connection


def host_answered(host: Host) -> None:
    """Notes that the host, after failed tries, is back; `host_is_back` tells whoever has something waiting for it."""
    # With a key that was replaced meanwhile nothing would be reached any more.
    rows = Host.objects.filter(pk=host.pk, client_key_public=host.client_key_public).exclude(next_try=None)
    if rows.update(last_ok=timezone.now(), tries=0, next_try=None, reason=""):
        host_is_back.send(Host, host=host)


def _way(host: Host) -> tuple[object, ...]:
    """All that a connection rests on: when any of it changes, a kept connection is not used again."""
    return (host.address, host.port, host.username, host.host_key, host.state, host.client_key_public)


def _is_fresh(files: RemoteFiles) -> bool:
    """How long nothing was heard counts, not when it was asked for: another thread may be in the midst of its work."""
    silent = files.silent_for
    return not files.is_broken and silent < IDLE_SECONDS and (silent < SURE_SECONDS or files.is_alive())


# --- Dialling ----------------------------------------------------------------------------------------------------


def dial(host: Host, times: Times = TIMES) -> Connection:
    """A connection to the host, its key compared and the portal signed in. Raises what `connected` raises."""
    if host.state == Host.State.STOPPED:
        raise HostStopped(f"The SFTP host “{host.name}” is stopped. {host.reason}")
    transport = _shaken_hands(host, times)
    try:
        _check_host_key(host, transport.get_remote_server_key())
        _sign_in(host, transport, times)
        return Connection(transport, times)
    except BaseException:
        transport.close()
        raise


def _shaken_hands(host: Host, times: Times) -> paramiko.Transport:
    """A transport whose keys are agreed. A host that has no key of the confirmed type any more shows another."""
    pinned = host.host_key.split(" ", 1)[0]
    try:
        return _transport(host, times, SIGNATURES.get(pinned, _ANY))
    except _NothingInCommon:
        if not host.host_key:
            raise
    return _transport(host, times, _ANY)


class _NothingInCommon(HostDown):
    """The host and the portal share no algorithm."""

    code = "no-common-algorithm"


def _transport(host: Host, times: Times, host_key_algorithms: tuple[str, ...]) -> paramiko.Transport:
    with _translated():
        connection = socket.create_connection((host.address, host.port), times.connect)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # When nothing more fits into the kernel's buffer paramiko tries for ever: the kernel has to give up.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(times.answer * 1000))
        transport = paramiko.Transport(connection)
        transport.banner_timeout, transport.handshake_timeout = times.banner, times.key_exchange
        transport.auth_timeout, transport.channel_timeout = times.sign_in, times.answer
        options = transport.get_security_options()
        options.ciphers, options.digests, options.key_types = CIPHERS, MACS, host_key_algorithms
        try:
            transport.start_client(timeout=times.banner + times.key_exchange)
            if not transport.initial_kex_done:
                raise TimeoutError
        except BaseException:
            transport.close()
            raise
        return transport


def _sign_in(host: Host, transport: paramiko.Transport, times: Times) -> None:
    if not host.client_key_sealed:
        raise SignInRefused(f"The portal has no key of its own for “{host.name}” yet. Make one, and install it there.")
    private = vault.opened(host.client_key_sealed.encode("ascii")).decode("ascii")
    key = paramiko.Ed25519Key.from_private_key(io.StringIO(private))
    try:
        with _translated():
            transport.auth_publickey(host.username, key)
    except _NotLetIn:
        raise SignInRefused(
            f"“{host.name}” does not let the portal in as “{host.username}”. Install the portal's public key there."
        ) from None


# --- The host key ------------------------------------------------------------------------------------------------


def fingerprint(line: str) -> str:
    """The SHA-256 fingerprint of a key line `type base64`, as ssh-keygen shows it."""
    return blob_fingerprint(base64.b64decode(line.split(" ")[1]))


def _check_host_key(host: Host, key: PKey) -> None:
    """Raises HostKeyUnknown or HostKeyChanged, having noted the key that was shown, unless it is the confirmed one."""
    shown = f"{key.get_name()} {key.get_base64()}"
    if host.host_key == shown:
        return
    noted = {"offered_key": shown, "offered_at": timezone.now()}
    rows = Host.objects.filter(pk=host.pk, host_key=host.host_key)
    if not host.host_key:
        rows.update(**noted)
        raise HostKeyUnknown(
            f"“{host.name}” shows the host key {fingerprint(shown)}. Compare it with the one the machine itself has, "
            "and confirm it."
        )
    message = (
        f"It showed the host key {fingerprint(shown)} instead of the confirmed {fingerprint(host.host_key)}. Either "
        "the machine was set up anew, or somebody else answers in its place. Nothing was sent to it."
    )
    rows.update(state=Host.State.STOPPED, reason=message, **noted)
    raise HostKeyChanged(f"The SFTP host “{host.name}” was stopped. {message}")


# --- Foreign errors ----------------------------------------------------------------------------------------------


class _NotLetIn(HostError):
    """The key exchange went well, the signature did not."""


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn what paramiko and sockets raise into our tree."""
    try:
        yield
    except HostError:
        raise
    except paramiko.AuthenticationException as error:
        if "timeout" in str(error).lower():
            raise HostDown("The host did not answer in time to the portal's sign-in.") from error
        if "shut down" in str(error):  # so paramiko calls a connection that ended before there was an answer
            raise HostDown("The host closed the connection while the portal signed in.") from error
        raise _NotLetIn("The host refused the portal's key.") from error
    except paramiko.ssh_exception.IncompatiblePeer as error:
        raise _NothingInCommon("The host and the portal have no algorithm in common that is safe today.") from error
    except TimeoutError as error:
        raise HostDown("The host did not answer in time.") from error
    except socket.gaierror as error:
        raise HostDown("The host's name is not known to the network.") from error
    except (OSError, EOFError) as error:
        raise HostDown("The host cannot be reached, or closed the connection.") from error
    except paramiko.SSHException as error:
        if isinstance(error.__context__, TimeoutError) or "timeout" in str(error).lower():
            raise HostDown("The host did not answer in time.") from error
        raise HostDown("The host does not speak SSH as expected, or closed the connection.") from error
