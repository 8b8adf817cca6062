"""A real sshd as the portal sees it: a host elsewhere, with its row's values, reached over SFTP."""

import contextlib
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hosts import vault
from hosts.connect import TIMES, Times, dial
from hosts.models import Host
from hosts.remote import RemoteFiles

from .reference import Reference
from .serving import key_pair, public_line


class Machine:
    """An sshd whose only account is the test's own, and the portal's key for it."""

    def __init__(self, directory: Path, *, more: Sequence[str] = (), fresh_host_key: bool = True) -> None:
        """`more` lines of sshd's configuration go before the others, and so win."""
        self.sshd = Reference(directory, more=more, fresh_host_key=fresh_host_key)
        self.directory = directory
        key = key_pair(directory, "portal")
        self.sshd.write(public_line(key).encode("ascii") + b"\n")
        self._sealed = vault.sealed(key.read_bytes()).decode("ascii")
        self.host_key = self.sshd.door(key).host_key

    def host(self, **values: object) -> Host:
        """A row for this machine, not saved; `values` in place of what is right."""
        right = {
            "name": "machine",
            "kind": Host.Kind.OPENSSH,
            "address": "127.0.0.1",
            "port": self.sshd.port,
            "username": self.sshd.username,
            "host_key": self.host_key,
            "client_key_sealed": self._sealed,
        }
        return Host(**(right | values))

    def files(self, root: Path, *, port: int = 0, times: Times = TIMES, **options: int) -> RemoteFiles:
        """The files below `root`; by way of another port, if one is given."""
        host = self.host(**({"port": port} if port else {}))
        return RemoteFiles(lambda: dial(host, times), root=os.fsencode(root), **options)

    def sessions(self) -> list[int]:
        """The processes that serve SFTP now: of each connection the innermost one."""
        return _leaves(self.sshd.process.pid)

    def kill_sessions(self) -> None:
        for process in self.sessions():
            with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(process, signal.SIGKILL)

    def stop(self) -> None:
        self.sshd.stop()


def hurried(**seconds: float) -> Times:
    """The usual time limits, some of them shorter."""
    return replace(TIMES, **seconds)


def _leaves(process: int) -> list[int]:
    children = [
        int(child) for tasks in Path(f"/proc/{process}/task").glob("*/children") for child in tasks.read_text().split()
    ]
    return [leaf for child in children for leaf in (_leaves(child) or [child])]
