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


class Connection:
    """A signed-in connection with one SFTP session."""

    def __init__(self, transport: paramiko.Transport, times: Times) -> None:
        self._transport = transport
        with _translated():
            channel = transport.open_session(timeout=times.answer)
            channel.settimeout(times.answer)
            channel.invoke_subsystem("sftp")
        deadline = None if times.run is None else time.monotonic() + times.run
        self.pipeline = Pipeline(channel, answer_seconds=times.answer, deadline=deadline)

    def close(self) -> None:
        """End the connection. One that broke ends at once, so that nothing still unsent is carried out later on."""
        if self.pipeline.is_broken:
            with contextlib.suppress(OSError):
                self._transport.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.close()


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
        self._lock = threading.Lock()
        self._process = 0
        self._files: dict[int, tuple[tuple[object, ...], RemoteFiles, float]] = {}

    def files(self, host: Host) -> RemoteFiles:
        now, way = time.monotonic(), _way(host)
        with self._lock:
            if self._process != os.getpid():  # the parent's sockets are the parent's to close
                self._process, self._files = os.getpid(), {}
            known_way, files, used = self._files.pop(host.pk, ((), None, 0.0))
            if files is not None and (known_way != way or not _is_fresh(files, now - used)):
                files.close()
                files = None
            if files is None:
                files = RemoteFiles(lambda: dial(host, Times(run=None)))
            self._files[host.pk] = (way, files, now)
            return files


_kept = _Kept()


def _way(host: Host) -> tuple[object, ...]:
    """All that a connection rests on: when any of it changes, a kept connection is not used again."""
    return (host.address, host.port, host.username, host.host_key, host.state, host.client_key_public)


def _is_fresh(files: RemoteFiles, age: float) -> bool:
    return age < IDLE_SECONDS and not files.is_broken and (age < SURE_SECONDS or files.is_alive())


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
        raise HostDown("The host does not speak SSH as expected, or closed the connection.") from error
