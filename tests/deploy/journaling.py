"""A journald for a test's own OpenSSH host, an sshd that logs to it, and the portal's log service.

journald needs a /dev/log, and this machine's /dev is not ours to change: the host gets one of its own.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hosts.connlog import read_events
from hosts.core.events import Event
from tests.hosts.clients import Door, program
from tests.hosts.reference import free_port, sshd_path
from tests.hosts.serving import PATIENCE, until

from .host import OpensshHost, confined

JOURNALD = "/lib/systemd/systemd-journald"
_OWN_DEV = """
set -e
mkdir -p /run/dev && mount -t tmpfs none /run/dev
for name in null zero full random urandom tty ptmx; do : >/run/dev/$name; mount --bind /dev/$name /run/dev/$name; done
mkdir /run/dev/pts /run/dev/shm
mount --rbind /dev/pts /run/dev/pts
ln -s /proc/self/fd /run/dev/fd
ln -s /run/systemd/journal/dev-log /run/dev/log
mount --rbind /run/dev /dev
mkdir -p /run/systemd/journal /run/systemd/system /run/log/journal
mount -t tmpfs none /var/log
mount -t sysfs none /sys && mount -t cgroup2 none /sys/fs/cgroup
"""


def _inside(process: subprocess.Popen[bytes]) -> int:
    """A program that was started in the host, below the one that entered the host for it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    found = children.read_text().split() if children.exists() else []
    return int(found[0]) if found else process.pid


class Journaled:
    """The host with its journal: `port` is that of the sshd which logs there."""

    def __init__(self, host: OpensshHost, directory: Path) -> None:
        program(JOURNALD)
        self.host, self.machine = host, host.machine
        done = self.machine.run("sh", "-c", _OWN_DEV)
        assert done.code == 0, done.output
        self._running: list[subprocess.Popen[bytes]] = []
        self.started(JOURNALD)
        until((self.machine.root / "run/systemd/journal/dev-log").exists, "a journal")
        self.port = free_port()
        key = ["-h", "/etc/ssh/ssh_host_ed25519_key"]
        self.started(
            sshd_path(), "-D", "-p", str(self.port), "-o", "ListenAddress=127.0.0.1", "-o", "PidFile=none", *key
        )
        until(self._listens, "an sshd that logs to the journal")
        self._output = directory / "portal-log.out"
        self.shipper: subprocess.Popen[bytes] | None = None

    def started(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a program in the host, until the end."""
        process = self.machine.start(*words)
        self._running.append(process)
        return process

    def _listens(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def ship(self) -> None:
        """Start the log service."""
        starts = self._said().count("portal-log ready") + 1
        with self._output.open("ab") as output:
            self.shipper = subprocess.Popen(
                self.machine.command(*confined("sftp-portal-log"), "/usr/lib/sftp-portal/portal-log"),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        until(lambda: self._said().count("portal-log ready") >= starts, "a log service that is ready")

    def _said(self) -> str:
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def ship_no_more(self, number: int = signal.SIGTERM) -> None:
        if self.shipper is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(_inside(self.shipper), number)
            self.shipper.wait(PATIENCE)
            self.shipper = None

    def door(self, name: str, key: Path) -> Door:
        return Door(self.port, name, key, self.host.host_key)

    def lines(self) -> list[bytes]:
        paths = [self.host.root / "log" / name for name in ("connections.jsonl.1", "connections.jsonl")]
        return [line for path in paths if path.exists() for line in path.read_bytes().splitlines()]

    def events(self, name: str) -> list[Event]:
        """What the log says of one user name."""
        return [event for event in read_events(self.lines()) if event.username == name]

    def wait(self, name: str, found: Callable[[list[Event]], bool], seconds: float = PATIENCE) -> list[Event]:
        deadline = time.monotonic() + seconds
        while not found(events := self.events(name)):
            assert time.monotonic() < deadline, (events, self._said(), self.journal())
            time.sleep(0.02)
        return events

    def journal(self) -> str:
        return self.machine.run("journalctl", "--quiet", "-o", "short").output

    def state(self) -> dict[str, object]:
        return dict(json.loads((self.host.state / "shipping.json").read_bytes()))

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """End a program that was started here."""
        self._running.remove(process)
        with contextlib.suppress(ProcessLookupError):
            os.kill(_inside(process), signal.SIGTERM)
        process.wait(PATIENCE)

    def stop(self) -> None:
        self.ship_no_more()
        for process in reversed(list(self._running)):
            self.end(process)


@contextlib.contextmanager
def journaled(host: OpensshHost, directory: Path) -> Iterator[Journaled]:
    one = Journaled(host, directory)
    try:
        yield one
    finally:
        one.stop()
