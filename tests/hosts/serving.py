"""The embedded SFTP host as a process of its own, for tests."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hosts import provision
from hosts.connlog import Event, read_events
from hosts.core.paths import HostPath, key_file, username
from hosts.local import LocalFiles

from .clients import Door, program, run

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 30


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for something that will happen; how long it takes is not what is tested."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.05)


def key_pair(directory: Path, name: str, kind: Sequence[str] = ("-t", "ed25519")) -> Path:
    """A new key pair; returns the private key's file, beside which the public one lies."""
    path = directory / name
    done = run([program("ssh-keygen"), "-q", *kind, "-N", "", "-C", name, "-f", str(path)])
    assert done.code == 0, done.output
    return path


def public_line(key: Path) -> str:
    return Path(f"{key}.pub").read_text(encoding="ascii").strip()


def key_fingerprint(key: Path) -> str:
    return run([program("ssh-keygen"), "-lf", f"{key}.pub"]).output.split()[1]


def _target(handle: Path) -> str:
    try:
        return os.readlink(handle)
    except FileNotFoundError:
        return ""


class Serving:
    """A running host: its root, its port and its process."""

    command = ("-m", "hosts.server")

    def __init__(self, root: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self.root = root
        self.files = LocalFiles(root)
        root.mkdir(exist_ok=True)
        self._options = options
        self._environment = {**os.environ, **(environment or {})}
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *self.command, "--root", str(self.root), "--port", "0", *self._options],
            cwd=REPOSITORY,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        ready = self.process.stdout.readline().split()
        assert ready[:2] == ["sftp", "ready"], ready
        self.port = int(ready[2].rpartition(":")[2])
        self.fingerprint = ready[3]
        self._idle_sockets = self._sockets()

    def clear(self) -> None:
        """Wait until the last connection has ended, then forget all accounts and events."""
        until(lambda: self._sockets() == self._idle_sockets, "the end of all connections")
        for name in ("keys", "homes"):
            for entry in self.files.listing(HostPath((name,))):
                self.files.remove_tree(HostPath((name, entry.name)))
        os.truncate(self.root / "log" / "connections.jsonl", 0)

    def _sockets(self) -> int:
        handles = Path(f"/proc/{self.process.pid}/fd")
        return sum(_target(handle).startswith("socket:") for handle in handles.iterdir())

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def admit(self, name: str, *lines: str) -> None:
        """Make the account's home, and push a key file of these lines."""
        provision.home_make(self.files, username(name))
        self.files.write(key_file(username(name)), "".join(f"{line}\n" for line in lines).encode("ascii"))

    def door(self, name: str, key: Path, address: str = "127.0.0.1") -> Door:
        host_key = (self.root / "host_ed25519.pub").read_text(encoding="ascii")
        return Door(self.port, name, key, " ".join(host_key.split()[:2]), address)

    def home(self, name: str) -> Path:
        return self.root / "homes" / name

    def events(self) -> list[Event]:
        return list(read_events((self.root / "log" / "connections.jsonl").read_bytes().splitlines()))

    def last_event(self, count: int) -> Event:
        """The last of `count` events, once there are that many."""
        until(lambda: len(self.events()) >= count, f"{count} events")
        events = self.events()
        assert len(events) == count, events
        return events[-1]
