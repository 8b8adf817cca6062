"""One way to ask the same of every client, and of both kinds of host.

Each client has the same methods, and says in `cannot` which of them it has not and why. A method gives a Ran: exit code
0 if the client was content. Paths on the host are absolute; `here` is a file or directory on this machine.
"""

import base64
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import paramiko
from paramiko.sftp import CMD_EXTENDED

from tests.hosts import clients
from tests.hosts.clients import Door, Ran
from tests.hosts.serving import Serving

from .host import OpensshHost

NOT_LET_IN = "upload-processed"  # what nobody who is not let in may see
PROBE = "echo $((6*7))"
PROBED = "42"


# --- Hosts -----------------------------------------------------------------------------------------------------------


class Side:
    """One kind of host, with accounts of the same names as the other."""

    name: str

    def admit(self, account: str, *lines: str) -> None:
        raise NotImplementedError

    def door(self, account: str, key: Path) -> Door:
        raise NotImplementedError

    def home(self, account: str) -> Path:
        raise NotImplementedError

    def owner(self, account: str, place: str) -> tuple[int, int] | None:
        """User and group that a file in that place has on this host, if it has not everybody's."""
        return None

    def lay(self, account: str, path: str, content: bytes) -> Path:
        """Lay a file into a home, as the district (in /upload) or the portal would have done it."""
        laid = self.home(account) / path.lstrip("/")
        for above in reversed([parent for parent in laid.parents if not parent.exists()]):
            above.mkdir()
            self._give(account, path, above, 0o750)
        laid.write_bytes(content)
        self._give(account, path, laid, 0o640)
        return laid

    def sweep(self, account: str, name: str) -> None:
        """Take away whatever has a name that begins so."""
        for path in self.home(account).rglob(f"{name}*"):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _give(self, account: str, path: str, made: Path, mode: int) -> None:
        owner = self.owner(account, path.lstrip("/").partition("/")[0])
        if owner is not None:
            os.chown(made, *owner)
            made.chmod(mode)


class Embedded(Side):
    name = "embedded"

    def __init__(self, serving: Serving) -> None:
        self.serving = serving

    def admit(self, account: str, *lines: str) -> None:
        self.serving.admit(account, *lines)

    def door(self, account: str, key: Path) -> Door:
        return self.serving.door(account, key)

    def home(self, account: str) -> Path:
        return self.serving.home(account)


class Openssh(Side):
    name = "openssh"

    def __init__(self, host: OpensshHost, port: int = 0) -> None:
        """`port` is that of another of its sshds."""
        self.host = host
        self._port = port or host.port

    def admit(self, account: str, *lines: str) -> None:
        self.host.account(account, *lines)

    def door(self, account: str, key: Path) -> Door:
        return replace(self.host.door(account, key), port=self._port)

    def home(self, account: str) -> Path:
        return self.host.home(account)

    def owner(self, account: str, place: str) -> tuple[int, int] | None:
        number = self.host.wished[account]
        return (number if place == "upload" else self.host.portal_uid), number


# --- Clients ---------------------------------------------------------------------------------------------------------


class SftpClient:
    """What a client can be asked to do. One that cannot says so in `cannot`, by the method's name."""

    name: ClassVar[str]
    cannot: ClassVar[Mapping[str, str]] = {}

    def names(self, door: Door, there: str) -> Ran:
        """List a directory."""
        raise NotImplementedError

    def put(self, door: Door, here: Path, there: str) -> Ran:
        raise NotImplementedError

    def put_with_times(self, door: Door, here: Path, there: str) -> Ran:
        """Put a file by the client's own way to have its time kept, its default where that is one."""
        raise NotImplementedError

    def put_tree(self, door: Door, here: Path, there: str) -> Ran:
        """Put a directory with all that is in it; `there` is what it will be called."""
        raise NotImplementedError

    def resume(self, door: Door, here: Path, there: str) -> Ran:
        """Go on with a broken upload where it stopped."""
        raise NotImplementedError

    def get(self, door: Door, there: str, here: Path) -> Ran:
        raise NotImplementedError

    def rename(self, door: Door, old: str, new: str) -> Ran:
        raise NotImplementedError

    def mkdir(self, door: Door, there: str) -> Ran:
        raise NotImplementedError

    def rmdir(self, door: Door, there: str) -> Ran:
        raise NotImplementedError

    def remove(self, door: Door, there: str) -> Ran:
        raise NotImplementedError

    def chmod(self, door: Door, mode: int, there: str) -> Ran:
        raise NotImplementedError

    def symlink(self, door: Door, target: str, link: str) -> Ran:
        raise NotImplementedError

    def hardlink(self, door: Door, target: str, link: str) -> Ran:
        raise NotImplementedError

    def shell(self, door: Door) -> Ran:
        """Ask for a shell, and try PROBE in it."""
        raise NotImplementedError

    def program(self, door: Door) -> Ran:
        """Have the host run PROBE."""
        raise NotImplementedError

    def old_scp(self, door: Door, here: Path, there: str) -> Ran:
        """Put a file by the protocol of scp, which needs a program on the host."""
        raise NotImplementedError

    def forward(self, door: Door, port: int) -> Ran:
        """Reach a port of the host's machine; the output is what came from there."""
        raise NotImplementedError


def _said(text: str) -> str:
    """A word of a batch, for sftp, psftp and lftp."""
    return f'"{text}"'


class OpensshSftp(SftpClient):
    name = "sftp"

    def names(self, door: Door, there: str) -> Ran:
        return clients.sftp(door, f"ls -1 {_said(there)}")

    def put(self, door: Door, here: Path, there: str) -> Ran:
        return clients.sftp(door, f"put {_said(str(here))} {_said(there)}")

    def put_with_times(self, door: Door, here: Path, there: str) -> Ran:
        return clients.sftp(door, f"put -p {here} {there}")

    def put_tree(self, door: Door, here: Path, there: str) -> Ran:
        return clients.sftp(door, f"put -r {here} {there}")

    def resume(self, door: Door, here: Path, there: str) -> Ran:
        return clients.sftp(door, f"reput {here} {there}")

    def get(self, door: Door, there: str, here: Path) -> Ran:
        return clients.sftp(door, f"get {_said(there)} {_said(str(here))}")

    def rename(self, door: Door, old: str, new: str) -> Ran:
        return clients.sftp(door, f"rename {old} {new}")

    def mkdir(self, door: Door, there: str) -> Ran:
        return clients.sftp(door, f"mkdir {there}")

    def rmdir(self, door: Door, there: str) -> Ran:
        return clients.sftp(door, f"rmdir {there}")

    def remove(self, door: Door, there: str) -> Ran:
        return clients.sftp(door, f"rm {there}")

    def chmod(self, door: Door, mode: int, there: str) -> Ran:
        return clients.sftp(door, f"chmod {mode:o} {there}")

    def symlink(self, door: Door, target: str, link: str) -> Ran:
        return clients.sftp(door, f"ln -s {target} {link}")

    def hardlink(self, door: Door, target: str, link: str) -> Ran:
        return clients.sftp(door, f"ln {target} {link}")

    def shell(self, door: Door) -> Ran:
        words = [clients.program("ssh"), *clients.ssh_options(door), "-p", str(door.port), door.target]
        return clients.run(words, f"{PROBE}\n")

    def program(self, door: Door) -> Ran:
        return clients.ssh(door, PROBE)

    def old_scp(self, door: Door, here: Path, there: str) -> Ran:
        return clients.scp(door, str(here), f":{there}", options=("-O",))

    def forward(self, door: Door, port: int) -> Ran:
        return clients.ssh(door, options=("-W", f"127.0.0.1:{port}"))


SFTP_ONLY = "it speaks SFTP and nothing else"


class Psftp(SftpClient):
    name = "psftp"
    cannot: ClassVar[Mapping[str, str]] = {
        "put_with_times": "it never sends times",
        "symlink": "it has no command for links",
        "hardlink": "it has no command for links",
        "shell": SFTP_ONLY,
        "program": SFTP_ONLY,
        "forward": SFTP_ONLY,
    }

    def names(self, door: Door, there: str) -> Ran:
        return clients.psftp(door, f"ls {_said(there)}")

    def put(self, door: Door, here: Path, there: str) -> Ran:
        return clients.psftp(door, f"put {_said(str(here))} {_said(there)}")

    def put_tree(self, door: Door, here: Path, there: str) -> Ran:
        return clients.psftp(door, f"put -r {here} {there}")

    def resume(self, door: Door, here: Path, there: str) -> Ran:
        return clients.psftp(door, f"reput {here} {there}")

    def get(self, door: Door, there: str, here: Path) -> Ran:
        return clients.psftp(door, f"get {_said(there)} {_said(str(here))}")

    def rename(self, door: Door, old: str, new: str) -> Ran:
        return clients.psftp(door, f"mv {old} {new}")

    def mkdir(self, door: Door, there: str) -> Ran:
        return clients.psftp(door, f"mkdir {there}")

    def rmdir(self, door: Door, there: str) -> Ran:
        return clients.psftp(door, f"rmdir {there}")

    def remove(self, door: Door, there: str) -> Ran:
        return clients.psftp(door, f"rm {there}")

    def chmod(self, door: Door, mode: int, there: str) -> Ran:
        return clients.psftp(door, f"chmod {mode:o} {there}")

    def old_scp(self, door: Door, here: Path, there: str) -> Ran:
        """By PuTTY's own pscp."""
        options = ["-scp", "-batch", "-hostkey", door.fingerprint, "-P", str(door.port)]
        key = ["-i", str(clients.putty_key(door))]
        return clients.run([clients.program("pscp"), *options, *key, str(here), f"{door.target}:{there}"])


class Lftp(SftpClient):
    name = "lftp"
    cannot: ClassVar[Mapping[str, str]] = {
        "hardlink": "over SFTP it makes symbolic links only",
        "shell": SFTP_ONLY,
        "program": SFTP_ONLY,
        "old_scp": SFTP_ONLY,
        "forward": SFTP_ONLY,
    }

    def names(self, door: Door, there: str) -> Ran:
        return clients.lftp(door, f"cls -1 {_said(there.rstrip('/') + '/')}")

    def put(self, door: Door, here: Path, there: str) -> Ran:
        return clients.lftp(door, f"put {_said(str(here))} -o {_said(there)}")

    put_with_times = put

    def put_tree(self, door: Door, here: Path, there: str) -> Ran:
        return clients.lftp(door, f"mirror -R {here} {there}")

    def resume(self, door: Door, here: Path, there: str) -> Ran:
        return clients.lftp(door, f"put -c {here} -o {there}")

    def get(self, door: Door, there: str, here: Path) -> Ran:
        return clients.lftp(door, f"get {_said(there)} -o {_said(str(here))}")

    def rename(self, door: Door, old: str, new: str) -> Ran:
        return clients.lftp(door, f"mv {old} {new}")

    def mkdir(self, door: Door, there: str) -> Ran:
        return clients.lftp(door, f"mkdir {there}")

    def rmdir(self, door: Door, there: str) -> Ran:
        return clients.lftp(door, f"rmdir {there}")

    def remove(self, door: Door, there: str) -> Ran:
        return clients.lftp(door, f"rm {there}")

    def chmod(self, door: Door, mode: int, there: str) -> Ran:
        return clients.lftp(door, f"chmod {mode:o} {there}")

    def symlink(self, door: Door, target: str, link: str) -> Ran:
        return clients.lftp(door, f"ln -s {target} {link}")


class Rclone(SftpClient):
    name = "rclone"
    cannot: ClassVar[Mapping[str, str]] = {
        "resume": "it begins again with a broken file",
        "chmod": "it has no command for modes",
        "symlink": "it has no command for links",
        "hardlink": "it has no command for links",
        "shell": SFTP_ONLY,
        "program": SFTP_ONLY,
        "old_scp": SFTP_ONLY,
        "forward": SFTP_ONLY,
    }

    def names(self, door: Door, there: str) -> Ran:
        # Else it tries ten times to sign in.
        return clients.rclone(door, "lsf", "--low-level-retries", "1", f":{there}")

    def put(self, door: Door, here: Path, there: str) -> Ran:
        return clients.rclone(door, "copyto", str(here), f":{there}")

    put_with_times = put

    def put_tree(self, door: Door, here: Path, there: str) -> Ran:
        return clients.rclone(door, "copy", str(here), f":{there}")

    def get(self, door: Door, there: str, here: Path) -> Ran:
        return clients.rclone(door, "copyto", f":{there}", str(here))

    def rename(self, door: Door, old: str, new: str) -> Ran:
        return clients.rclone(door, "moveto", f":{old}", f":{new}")

    def mkdir(self, door: Door, there: str) -> Ran:
        return clients.rclone(door, "mkdir", f":{there}")

    def rmdir(self, door: Door, there: str) -> Ran:
        return clients.rclone(door, "rmdir", f":{there}")

    def remove(self, door: Door, there: str) -> Ran:
        return clients.rclone(door, "deletefile", f":{there}")


class Curl(SftpClient):
    name = "curl"
    cannot: ClassVar[Mapping[str, str]] = {
        "put_with_times": "it sends no times with what it uploads",
        "put_tree": "it takes no directories",
        "hardlink": "it makes symbolic links only",
        "shell": "it has no way to ask for one",
        "program": "it has no way to ask for one",
        "forward": "it has no way to ask for it",
    }

    def names(self, door: Door, there: str) -> Ran:
        return clients.curl(door, quote(there.rstrip("/") + "/"), "--list-only")

    def put(self, door: Door, here: Path, there: str) -> Ran:
        return clients.curl(door, quote(there), "-T", str(here))

    def resume(self, door: Door, here: Path, there: str) -> Ran:
        return clients.curl(door, quote(there), "-T", str(here), "-C", "-")

    def get(self, door: Door, there: str, here: Path) -> Ran:
        return clients.curl(door, quote(there), "-o", str(here))

    def _quoted(self, door: Door, command: str) -> Ran:
        return clients.curl(door, "/upload/", "--list-only", "-Q", command)

    def rename(self, door: Door, old: str, new: str) -> Ran:
        return self._quoted(door, f"rename {old} {new}")

    def mkdir(self, door: Door, there: str) -> Ran:
        return self._quoted(door, f"mkdir {there}")

    def rmdir(self, door: Door, there: str) -> Ran:
        return self._quoted(door, f"rmdir {there}")

    def remove(self, door: Door, there: str) -> Ran:
        return self._quoted(door, f"rm {there}")

    def chmod(self, door: Door, mode: int, there: str) -> Ran:
        return self._quoted(door, f"chmod {mode:o} {there}")

    def symlink(self, door: Door, target: str, link: str) -> Ran:
        return self._quoted(door, f"symlink {target} {link}")

    def old_scp(self, door: Door, here: Path, there: str) -> Ran:
        """By the address of a file on an SSH server that curl calls scp://."""
        keys = ["--key", str(door.key), "--pubkey", f"{door.key}.pub", "--hostpubsha256", door.host_digest]
        where = f"scp://{door.username}@{door.address}:{door.port}{there}"
        return clients.run([clients.program("curl"), "-sS", "--disable", "-m", "30", *keys, "-T", str(here), where])


@contextmanager
def connected(door: Door) -> Iterator[paramiko.Transport]:
    """paramiko, signed in; raises SSHException if the host is another one or does not let in."""
    with socket.create_connection((door.address, door.port), 30) as line:
        transport = paramiko.Transport(line)
        try:
            host_key = paramiko.Ed25519Key(data=base64.b64decode(door.host_key.split()[1]))
            transport.connect(host_key, door.username, pkey=paramiko.Ed25519Key(filename=str(door.key)))
            yield transport
        finally:
            transport.close()


def _tried(door: Door, doing: Callable[[paramiko.Transport], str | None]) -> Ran:
    try:
        with connected(door) as transport:
            return Ran(0, doing(transport) or "")
    except (OSError, EOFError, paramiko.SSHException) as error:
        return Ran(1, f"{type(error).__name__}: {error}")


def asked(door: Door, doing: Callable[[paramiko.SFTPClient], Any]) -> Ran:
    """Do something with paramiko's SFTP client."""

    def with_sftp(transport: paramiko.Transport) -> str:
        with paramiko.SFTPClient.from_transport(transport) as raw:  # type: ignore[union-attr]
            return str(doing(raw) or "")

    return _tried(door, with_sftp)


class Paramiko(SftpClient):
    """The library that districts' own Python programs use; its `put` asks for the size afterwards."""

    name = "paramiko"
    cannot: ClassVar[Mapping[str, str]] = {"old_scp": SFTP_ONLY}

    def names(self, door: Door, there: str) -> Ran:
        return asked(door, lambda raw: "\n".join(raw.listdir(there)))

    def put(self, door: Door, here: Path, there: str) -> Ran:
        return asked(door, lambda raw: raw.put(str(here), there))

    def put_with_times(self, door: Door, here: Path, there: str) -> Ran:
        """As WinSCP does it: all of the file, then a request that sets its times."""

        def both(raw: paramiko.SFTPClient) -> None:
            raw.put(str(here), there)
            raw.utime(there, (here.stat().st_mtime, here.stat().st_mtime))

        return asked(door, both)

    def put_tree(self, door: Door, here: Path, there: str) -> Ran:
        """It has no call for it: as such programs do it by themselves."""

        def all_of_it(raw: paramiko.SFTPClient) -> None:
            for path in [here, *sorted(here.rglob("*"))]:
                name = f"{there}/{path.relative_to(here)}".removesuffix("/.")
                raw.mkdir(name) if path.is_dir() else raw.put(str(path), name)

        return asked(door, all_of_it)

    def resume(self, door: Door, here: Path, there: str) -> Ran:
        """As such programs do it: see how much is there, and write the rest behind it."""

        def the_rest(raw: paramiko.SFTPClient) -> None:
            done = raw.stat(there).st_size or 0
            with raw.open(there, "r+") as file:
                file.seek(done)
                file.write(here.read_bytes()[done:])

        return asked(door, the_rest)

    def get(self, door: Door, there: str, here: Path) -> Ran:
        return asked(door, lambda raw: raw.get(there, str(here)))

    def rename(self, door: Door, old: str, new: str) -> Ran:
        return asked(door, lambda raw: raw.rename(old, new))

    def mkdir(self, door: Door, there: str) -> Ran:
        return asked(door, lambda raw: raw.mkdir(there))

    def rmdir(self, door: Door, there: str) -> Ran:
        return asked(door, lambda raw: raw.rmdir(there))

    def remove(self, door: Door, there: str) -> Ran:
        return asked(door, lambda raw: raw.remove(there))

    def chmod(self, door: Door, mode: int, there: str) -> Ran:
        return asked(door, lambda raw: raw.chmod(there, mode))

    def symlink(self, door: Door, target: str, link: str) -> Ran:
        return asked(door, lambda raw: raw.symlink(target, link))

    def hardlink(self, door: Door, target: str, link: str) -> Ran:
        return asked(door, lambda raw: raw._request(CMD_EXTENDED, "hardlink@openssh.com", target, link))

    def _channel(self, door: Door, opened: Callable[[paramiko.Transport], paramiko.Channel], text: str) -> Ran:
        def talk(transport: paramiko.Transport) -> str:
            with opened(transport) as channel:
                channel.settimeout(30)
                with suppress(OSError):  # it may have shut its ear already
                    channel.sendall(text.encode())
                    channel.shutdown_write()
                channel.set_combine_stderr(True)
                return b"".join(iter(lambda: channel.recv(4096), b"")).decode("utf-8", "replace")

        return _tried(door, talk)

    def shell(self, door: Door) -> Ran:
        def opened(transport: paramiko.Transport) -> paramiko.Channel:
            channel = transport.open_session()
            channel.invoke_shell()
            return channel

        return self._channel(door, opened, f"{PROBE}\n")

    def program(self, door: Door) -> Ran:
        def opened(transport: paramiko.Transport) -> paramiko.Channel:
            channel = transport.open_session()
            channel.exec_command(PROBE)
            return channel

        return self._channel(door, opened, "")

    def forward(self, door: Door, port: int) -> Ran:
        there, back = ("127.0.0.1", port), ("127.0.0.1", 1)
        return self._channel(door, lambda transport: transport.open_channel("direct-tcpip", there, back), "")


CLIENTS: tuple[SftpClient, ...] = (OpensshSftp(), Psftp(), Lftp(), Rclone(), Curl(), Paramiko())
PROGRAMS = ("sftp", "ssh", "scp", "psftp", "pscp", "puttygen", "lftp", "rclone", "curl")


# --- The table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cell:
    action: str
    client: str
    host: str


class Table:
    """What came of each action, by client and host: one word a cell."""

    def __init__(self, actions: Iterable[str]) -> None:
        self.actions = list(actions)
        self.words: dict[Cell, str] = {}
        self.reasons: dict[str, list[str]] = {}

    def cannot(self, cell: Cell, reason: str) -> None:
        self.words[cell] = "-"
        entry = f"{cell.client}: {reason}"
        if entry not in self.reasons.setdefault(cell.action, []):
            self.reasons[cell.action].append(entry)

    def empty(self) -> list[Cell]:
        cells = (Cell(a, c.name, h) for a in self.actions for c in CLIENTS for h in HOSTS)
        return [cell for cell in cells if not self.words.get(cell)]

    def text(self) -> str:
        """The table, and below it why a client has no part in an action."""
        rows = [("", "host", *(client.name for client in CLIENTS))]
        for action in self.actions:
            for host in HOSTS:
                words = (self.words.get(Cell(action, client.name, host), "") for client in CLIENTS)
                rows.append((action if host == HOSTS[0] else "", host, *words))
        widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
        lines = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        lines.insert(1, "  ".join("-" * width for width in widths))
        notes = [f"- {action}: {'; '.join(why)}." for action, why in self.reasons.items()]
        return "\n".join([*lines, "", "A client that cannot do it:", *notes])


HOSTS = ("embedded", "openssh")
