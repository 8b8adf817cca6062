"""The embedded SFTP host: one process that serves the accounts below one root directory to their districts.

    python -m hosts.server --root DIR --port N [--address 127.0.0.1] [--refuse-times]

Prints one line `sftp ready ADDRESS:PORT FINGERPRINT` when it listens. It shares nothing with the portal but
the root: `keys/` and `homes/` are read, `open/` and `log/` written. SIGTERM ends it in order.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import resource
import signal
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
from asyncssh.constants import (
    MSG_DISCONNECT,
    MSG_SERVICE_REQUEST,
    MSG_USERAUTH_REQUEST,
    OPEN_ADMINISTRATIVELY_PROHIBITED,
)
from asyncssh.packet import SSHPacket, String, UInt32
from asyncssh.stream import SSHReader, SSHServerStreamSession, SSHWriter

from .core.errors import NotSafe
from .core.events import OFFERED_LIMIT, TEXT_LIMIT, Event, Kind, event_line, shown_username
from .core.keyfile import ALGORITHMS, FILE_LIMIT, KeyLine
from .core.paths import Username, shown, username
from .core.signin import ENDINGS, Offer, Reason, Strangers, admit, fingerprint, peer_address, telling, verdict
from .keyfiles import KeyFiles
from .local import file_open, replace_file, walked, write_whole
from .session import DistrictTree, OpenWrites, SftpHandler
from .signatures import accept_short_rsa_signatures

logger = logging.getLogger(__name__)

NO_SHELL = (
    "This account is for SFTP only: there is no shell here, and no commands, scp -O or forwarding. "
    "Connect with an SFTP program instead, for example: sftp -P PORT USERNAME@HOST"
)
# What OpenSSH's own server takes today, less what rests on SHA-1.
KEY_EXCHANGES = [
    "mlkem768x25519-sha256",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
]
CIPHERS = [
    "chacha20-poly1305@openssh.com",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
]
MACS = [
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
]
SIGNATURES = ["rsa-sha2-512", "rsa-sha2-256", *sorted(ALGORITHMS - {"ssh-rsa"})]
PLACES = ("keys", "homes", "claimed", "open", "log")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask of the host; quiet until somebody exceeds it. Times in seconds."""

    login_grace: int = 60
    tries: int = 10
    waiting: int = 500
    sessions_of_account: int = 20
    channels: int = 10
    keepalive: int = 30
    key_check: float = 1.0
    log_bytes: int = 16 * 1024 * 1024
    noted_refusals: int = 3


class ConnectionLog:
    """The file of sign-in events, one line each.

    A full file becomes `.1`; a reader that holds on to it loses nothing.
    """

    NAME = b"connections.jsonl"

    def __init__(self, root: int, limit: int) -> None:
        with walked(root, ("log",)) as directory:
            self._directory = os.dup(directory)
        self._limit = limit
        self._handle = self._opened()

    def write(self, event: Event) -> None:
        """Append an event. A log that cannot be written is told to the operator and keeps nobody out."""
        line = event_line(event)
        try:
            if os.fstat(self._handle).st_size + len(line) > self._limit:
                self._rotate()
            size = os.fstat(self._handle).st_size
            if os.write(self._handle, line) != len(line):
                os.ftruncate(self._handle, size)
                logger.error("The connection log could not be written: the disk is full")
        except OSError as error:
            logger.error("The connection log could not be written: %s", error.strerror)

    def _rotate(self) -> None:
        os.rename(self.NAME, self.NAME + b".1", src_dir_fd=self._directory, dst_dir_fd=self._directory)
        old, self._handle = self._handle, self._opened()
        os.close(old)

    def _opened(self) -> int:
        handle = file_open(self._directory, self.NAME, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        size = os.fstat(handle).st_size
        if size and os.pread(handle, 1, size - 1) != b"\n":
            # A line cut short by a full disk or a power cut must not spoil the next one.
            write_whole(handle, b"\n")
        return handle


class SftpHost:
    """Everything the connections share: the root, the log, who is signed in."""

    def __init__(self, root: Path, *, limits: Limits, refuse_times: bool) -> None:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for place in PLACES:
            with walked(self.root, (place,), make=True):
                pass
        self.limits = limits
        self.refuse_times = refuse_times
        self.writes = OpenWrites(self.root)
        self.log = ConnectionLog(self.root, limits.log_bytes)
        self.connections: set[DistrictConnection] = set()
        self.strangers = Strangers()
        self.keys = KeyFiles(root)

    def take(self) -> bool:
        """Make sure that no other process serves this root; the lock goes with the process."""
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self.root, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def signed_in(self, account: Username) -> int:
        return sum(connection.account == account for connection in self.connections)

    def waiting(self) -> int:
        return sum(connection.account is None for connection in self.connections)

    async def watch_keys(self) -> None:
        """Close the sessions whose key line has gone, expired or no longer allows their address."""
        while True:
            await asyncio.sleep(self.limits.key_check)
            try:
                self.look_at_keys()
            except Exception:
                # A watch that has ended would leave lost keys inside for good: tell, and look again.
                logger.exception("The sessions could not be held against their keys")

    def look_at_keys(self) -> None:
        """Hold every session against its account's key file as it is now."""
        sessions = [(connection, connection.account) for connection in self.connections if connection.account]
        lines = self.keys.lines_of({account for _, account in sessions})
        now = datetime.now().astimezone()
        for connection, account in sessions:
            connection.stand_or_fall(lines[account], now)


@dataclass(slots=True)
class Attempt:
    """What a client has tried under one user name."""

    raw_username: bytes
    methods: set[str] = field(default_factory=set)
    offers: list[Offer] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    end: Reason | None = None


class DistrictConnection(asyncssh.SSHServer):
    """One connection: who is it, may they in, and what did we note about it."""

    def __init__(self, host: SftpHost) -> None:
        self._host = host
        self.account: Username | None = None
        self._blob = b""
        self._attempt: Attempt | None = None
        self._algorithm = b""
        self._tries = 0
        self._refusals = 0
        self._channels = 0

    def connection_made(self, conn: Any) -> None:
        self._conn = conn
        address, self._port = conn.get_extra_info("peername")[:2]
        self._address = peer_address(address)
        if self._host.waiting() >= self._host.limits.waiting:
            self._note_stranger(Reason.HOST_BUSY)
            conn.abort()
            return
        self._host.connections.add(self)
        # asyncssh tells its owner about keys only, and sets no limit to tries: look at each request before it
        # does.
        conn._packet_handlers = {
            **conn._packet_handlers,
            MSG_SERVICE_REQUEST: self._service_requested,
            MSG_USERAUTH_REQUEST: self._sign_in_requested,
        }

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.connections.discard(self)
        is_late = isinstance(exc, asyncssh.ConnectionLost) and "Login timeout" in exc.reason
        if self._attempt is None and self.account is None:
            self._gone_unknown(exc, is_late)
        elif self._attempt is not None:
            self._attempt.end = self._attempt.end or (Reason.TOO_SLOW if is_late else None)
            self._note_refused()

    def _gone_unknown(self, exc: Exception | None, is_late: bool) -> None:
        if self._nothing_agreed(exc) and not is_late:
            self._note(Kind.REFUSED, "", reason=Reason.NO_COMMON_ALGORITHM)
        else:
            self._note_stranger(Reason.TOO_SLOW if is_late else Reason.LEFT_EARLY)

    def _note_stranger(self, reason: Reason) -> None:
        if self._host.strangers.is_news(str(self._address), datetime.now(UTC)):
            self._note(Kind.REFUSED, "", reason=reason)

    def _nothing_agreed(self, exc: Exception | None) -> bool:
        """Whether a client that said what it is left over the algorithms: most leave as soon as they see our list."""
        told_itself = bool(self._conn.get_extra_info("client_version"))
        agreed = self._conn._kex is not None or self._conn._session_id
        return isinstance(exc, asyncssh.KeyExchangeFailed) or (told_itself and not agreed)

    def _service_requested(self, conn: Any, pkttype: int, pktid: int, packet: SSHPacket) -> Any:
        # paramiko asks for the service again with each key it offers; OpenSSH's server takes that, so do we.
        if self._attempt is not None and self.account is None:
            conn._next_service = b"ssh-userauth"
        return type(conn)._packet_handlers[MSG_SERVICE_REQUEST](conn, pkttype, pktid, packet)

    def _sign_in_requested(self, conn: Any, pkttype: int, pktid: int, packet: SSHPacket) -> Any:
        if self.account is None:
            self._try_noted(SSHPacket(packet.get_remaining_payload()))
        return type(conn)._packet_handlers[MSG_USERAUTH_REQUEST](conn, pkttype, pktid, packet)

    def _try_noted(self, request: SSHPacket) -> None:
        """Note what a sign-in request (RFC 4252 section 5) tries. Raises PermissionDenied after too many."""
        raw, _service, method = request.get_string(), request.get_string(), request.get_string()
        if self._attempt is None or self._attempt.raw_username != raw:
            self._note_refused()
            self._attempt = Attempt(raw)
        self._attempt.methods.add(shown(method.decode("latin-1"), TEXT_LIMIT))
        self._algorithm = b""
        if method == b"publickey":
            request.get_boolean()
            self._algorithm = request.get_string()
        self._tries += 1
        # `none` first, and two requests for each key: what is asked of a client with that many keys to offer.
        if self._tries > 1 + 2 * self._host.limits.tries:
            self._attempt.end = Reason.TOO_MANY_KEYS
            raise asyncssh.PermissionDenied("Too many tries to sign in")

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Whether this key may sign in now. asyncssh checks the signature after this."""
        attempt = self._attempt
        if attempt is None:
            return False
        account = self._account_of(attempt, username)
        reason = self._judge(account, key.public_data)
        offer = Offer(fingerprint(key.public_data), reason)
        if offer not in attempt.offers:
            attempt.offers.append(offer)
        if reason is Reason.UNKNOWN_KEY and len(attempt.keys) < OFFERED_LIMIT:
            told = key.export_public_key("openssh").decode("ascii").split()[:2]
            attempt.keys[offer.fingerprint] = " ".join(told)
        self._blob = b"" if reason else key.public_data
        return reason is None

    def _account_of(self, attempt: Attempt, given: str) -> Username | None:
        """The account meant; the name must be valid as it was sent, not only after asyncssh has normalised
        it."""
        with contextlib.suppress(NotSafe):
            return username(given) if given.encode("utf-8") == attempt.raw_username else None
        return None

    def _judge(self, account: Username | None, blob: bytes) -> Reason | None:
        lines = self._host.keys.lines(account) if account else None
        if account is None or lines is None:
            return Reason.UNKNOWN_ACCOUNT
        reason = admit(lines, blob, self._address, datetime.now().astimezone())
        if reason is None and self._algorithm == b"ssh-rsa":
            return Reason.SHA1_SIGNATURE
        if reason is None and self._host.signed_in(account) >= self._host.limits.sessions_of_account:
            return Reason.TOO_MANY_SESSIONS
        return reason

    def auth_completed(self) -> None:
        if self._attempt is None or not self._blob:
            self._conn.abort()
            return
        self.account = username(self._attempt.raw_username.decode("ascii"))
        self._note(Kind.ACCEPTED, self.account, fingerprint=fingerprint(self._blob))

    def stand_or_fall(self, lines: tuple[KeyLine, ...], now: datetime) -> None:
        """Close the session, and note it, if the key it came in with would not be let in by these lines now."""
        reason = admit(lines, self._blob, self._address, now)
        if self.account is None or reason is None:
            return
        self._host.connections.discard(self)  # noted once, even if it takes a while to go
        self._note(Kind.ENDED, self.account, fingerprint=fingerprint(self._blob), reason=ENDINGS[reason])
        self.close("The key you signed in with no longer opens this account.")

    def close(self, reason: str) -> None:
        """End the connection with a word to whoever uses it."""
        # asyncssh's own `disconnect` closes the channels first, and a client whose channel has gone reads no further.
        try:
            self._conn.send_packet(MSG_DISCONNECT, UInt32(asyncssh.DISC_BY_APPLICATION), String(reason), String(""))
        finally:
            self._conn.abort()

    def session_requested(self) -> Any:
        self._channels += 1
        if self.account is None or len(self._conn._channels) >= self._host.limits.channels:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "Too many sessions in one connection")
        return DistrictSession(self)

    def tree_for(self, channel: Any) -> DistrictTree:
        """The files of one SFTP session of this connection."""
        if self.account is None:
            raise asyncssh.PermissionDenied("Not signed in")
        return DistrictTree(
            channel,
            root=self._host.root,
            account=self.account,
            writes=self._host.writes,
            refuse_times=self._host.refuse_times,
        )

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        raise self._forwarding_refused()

    def unix_connection_requested(self, dest_path: str) -> bool:
        raise self._forwarding_refused()

    def server_requested(self, listen_host: str, listen_port: int) -> bool:
        self._forwarding_refused()
        return False

    def unix_server_requested(self, listen_path: str) -> bool:
        self._forwarding_refused()
        return False

    def _forwarding_refused(self) -> asyncssh.ChannelOpenError:
        self.note_shell("forwarding")
        return asyncssh.ChannelOpenError(OPEN_ADMINISTRATIVELY_PROHIBITED, NO_SHELL)

    def note_shell(self, tried: str) -> None:
        """Note that somebody signed in and then tried what there is not; a few times, not as often as they
        like."""
        self._refusals += 1
        if self._refusals <= self._host.limits.noted_refusals and self.account:
            self._note(
                Kind.SHELL_REFUSED,
                self.account,
                fingerprint=fingerprint(self._blob),
                reason=Kind.SHELL_REFUSED,
                tried=tried,
            )

    def _note_refused(self) -> None:
        attempt = self._attempt
        if attempt is None or self.account is not None:
            return
        account = self._account_of(attempt, attempt.raw_username.decode("utf-8", "replace"))
        known = account is not None and self._host.keys.lines(account) is not None
        reason = verdict(account=known, offers=attempt.offers, methods=attempt.methods, end=attempt.end)
        self._note(
            Kind.REFUSED,
            shown_username(attempt.raw_username),
            reason=reason,
            fingerprint=telling(attempt.offers, reason),
            offered=tuple(dict.fromkeys(offer.fingerprint for offer in attempt.offers))[:OFFERED_LIMIT],
            keys=tuple(attempt.keys.values()),
        )

    def _note(self, kind: Kind, name: str, **told: Any) -> None:
        client = shown(self._conn.get_extra_info("client_version", ""), TEXT_LIMIT)
        at = datetime.now(UTC)
        self._host.log.write(Event(kind, at, name, str(self._address), self._port, client, **told))


class DistrictSession(SSHServerStreamSession[bytes]):
    """One channel: the SFTP subsystem, or a clear word to whoever tries a shell, a command or the old scp."""

    def __init__(self, connection: DistrictConnection) -> None:
        super().__init__(None)
        self._connection = connection

    def shell_requested(self) -> bool:
        self._connection.note_shell("shell")
        return True

    def exec_requested(self, command: str) -> bool:
        self._connection.note_shell("scp" if command.startswith("scp ") else "exec")
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        if subsystem != "sftp":
            self._connection.note_shell("subsystem")
        return subsystem == "sftp"

    def session_started(self) -> None:
        channel: Any = self._chan
        if channel.get_subsystem() != "sftp":
            self._word_of_refusal(channel)
            channel.exit(1)
            return
        reader, writer = SSHReader[bytes](self, channel), SSHWriter[bytes](self, channel)
        handler = SftpHandler(self._connection.tree_for(channel), reader, writer)
        channel.get_connection().create_task(handler.run(), reader.logger)

    def _word_of_refusal(self, channel: Any) -> None:
        if (channel.get_command() or "").startswith("scp "):
            # In scp's own words, a byte and a line: libssh2 (curl's scp://) takes silence for an upload that went well.
            channel.write(b"\x02" + NO_SHELL.encode("ascii") + b"\n")
        else:
            channel.write_stderr(NO_SHELL.encode("ascii") + b"\r\n")


def host_key(root: int) -> asyncssh.SSHKey:
    """The host's key, made at the first start and kept: a client that knows it must never see another."""
    name = b"host_ed25519"
    try:
        handle = file_open(root, name, os.O_RDONLY)
    except FileNotFoundError:
        key = asyncssh.generate_private_key("ssh-ed25519", comment="SFTP Portal host key")
        replace_file(root, name, key.export_private_key())
    else:
        with os.fdopen(handle, "rb") as file:
            key = asyncssh.import_private_key(file.read(FILE_LIMIT))
    replace_file(root, name + b".pub", key.export_public_key())
    return key


async def listen(host: SftpHost, key: asyncssh.SSHKey, address: str, port: int) -> asyncssh.SSHAcceptor:
    """Start to listen. Port 0 takes a free one. Raises OSError if the port is taken."""
    limits = host.limits
    return await asyncssh.listen(
        address,
        port,
        server_factory=lambda: DistrictConnection(host),
        server_host_keys=[key],
        server_version="SFTPPortal",
        login_timeout=limits.login_grace,
        keepalive_interval=limits.keepalive,
        keepalive_count_max=4,
        public_key_auth=True,
        password_auth=False,
        kbdint_auth=False,
        host_based_auth=False,
        gss_host=None,
        allow_pty=False,
        x11_forwarding=False,
        agent_forwarding=False,
        allow_scp=False,
        compression_algs=["none"],
        kex_algs=KEY_EXCHANGES,
        encryption_algs=CIPHERS,
        mac_algs=MACS,
        signature_algs=SIGNATURES,
        encoding=None,
        reuse_address=True,
    )


async def serve(host: SftpHost, address: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then close what is open."""
    accept_short_rsa_signatures()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    key = host_key(host.root)
    acceptor = await listen(host, key, address, port)
    host.writes.wipe()
    watch = asyncio.create_task(host.watch_keys())
    print(f"sftp ready {address}:{acceptor.get_port()} {key.get_fingerprint()}", flush=True)
    await stop.wait()
    watch.cancel()
    acceptor.close()
    for connection in list(host.connections):
        connection.close("The SFTP server is stopping. Please try again in a moment.")
    # One turn of the loop for the farewells to leave; the process then goes, whatever a client does.
    await asyncio.sleep(0.2)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hosts.server", description="The embedded SFTP host.")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--refuse-times", action="store_true")
    options = parser.parse_args(arguments)
    os.umask(0o077)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    host = SftpHost(options.root, limits=Limits(), refuse_times=options.refuse_times)
    if not host.take():
        print("Another SFTP host already serves this directory.", file=sys.stderr)
        return 1
    try:
        asyncio.run(serve(host, options.address, options.port))
    except OSError as error:
        print(f"The SFTP host could not listen on port {options.port}: {error.strerror}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
