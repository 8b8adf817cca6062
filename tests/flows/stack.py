"""A whole portal under test: `manage.py up` with real parts on free ports, and a hand inside it."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.hosts.clients import Door
from tests.system_packages import find

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED, EXTERNAL = "SQLite + Valkey", "PostgreSQL + Redis"
STACKS = (EMBEDDED, EXTERNAL)
# The same paces on both stacks, short so that nobody waits: what is tested is the order of things, not the clock.
PACE = {
    "INGEST_LOOK_SECONDS": "1",
    "INGEST_QUIET_SECONDS": "2",
    "SWEEP_SECONDS": "2",
    "LEASE_SECONDS": "4",
    "SIGN_IN_EVENTS_SECONDS": "1",
    "DEMO": "0",
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, look: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Looks until there is something to see."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if seen := look():
            return seen
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds:g} s: {what}")


class Postgres:
    """A PostgreSQL cluster of our own; as root it runs as the user Debian made for it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.bin = Path(str(find("initdb"))).parent
        folder.mkdir(mode=0o700)
        is_root = os.geteuid() == 0  # PostgreSQL refuses to run as root
        self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if is_root else []
        if self.as_user:
            shutil.chown(folder, "postgres", "postgres")
            for parent in folder.parents[:4]:
                parent.chmod(parent.stat().st_mode | 0o011)
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "portal", "--no-sync", "-E", "UTF8")
        argv = [*self.as_user, str(self.bin / "postgres"), "-D", str(folder / "data"), "-p", str(self.port)]
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "max_connections": 60}
        argv += [f"--{name}={value}" for name, value in settings.items()]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen([*argv, "-F"], stdout=quiet, stderr=quiet, cwd="/")
        wait_for("PostgreSQL answers", self._answers, 30)

    def database(self, name: str) -> str:
        """The address of a new, empty database."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "portal", name)
        return f"postgres://portal@127.0.0.1:{self.port}/{name}"

    def _run(self, program: str, *words: str) -> None:
        command = [*self.as_user, str(self.bin / program), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    def _answers(self) -> bool:
        command = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def stop(self) -> None:
        """Fast shutdown, by its own pid."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)


class Redis:
    """Debian's redis-server on a port of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        argv = [str(find("redis-server")), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self.process = subprocess.Popen([*argv, "--appendonly", "yes", "--save", ""], stdout=subprocess.DEVNULL)
        wait_for("Redis answers", self._answers, 30)

    def broker(self, number: int) -> str:
        """The address of one of its sixteen databases."""
        return f"redis://127.0.0.1:{self.port}/{number}"

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self) -> None:
        """Ends it, by its own pid."""
        self.process.terminate()
        self.process.wait(30)


class Stack:
    """The servers portals are started on. Each portal gets a database and a broker of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.count = name, 0
        is_external = name == EXTERNAL
        self.postgres = Postgres(folder / "postgres") if is_external else None
        self.redis = Redis(folder / "redis") if is_external else None

    def portal(self, folder: Path) -> "Portal":
        """A portal that is not started yet; its state goes below `folder`."""
        self.count += 1
        ours = ("DATABASE_URL", "BROKER_URL", "PORT", "SFTP_PORT", "EMAIL_URL")
        told = {name: value for name, value in os.environ.items() if name not in ours} | PACE
        told["DATA_DIR"] = str(folder / "var")
        # Portals of several test processes start at one time: each gets ports of its own from the beginning.
        told |= {"PORT": str(free_port()), "SFTP_PORT": str(free_port())}
        if self.postgres and self.redis:
            told["DATABASE_URL"] = self.postgres.database(f"portal{self.count}")
            told["BROKER_URL"] = self.redis.broker(self.count % 16)
        return Portal(self.name, folder / "var", told, folder / "up.log")

    def close(self) -> None:
        """Stops the servers."""
        for server in (self.postgres, self.redis):
            if server is not None:
                server.stop()


@dataclass
class Portal:
    """One running portal and what a test needs to reach it."""

    name: str
    data_dir: Path
    environment: dict[str, str]
    output: Path
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    sftp_port: int = 0
    _inside: "Inside | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self, *words: str) -> None:
        """`manage.py up`, until it has said where it is."""
        self.output.write_bytes(b"")
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", *words],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for("the portal is up\n" + self.output.read_text(), self._is_up, 60)

    def _is_up(self) -> bool:
        text = self.output.read_text()
        assert self.process is not None
        assert self.process.poll() is None, text
        web = re.search(r"http://localhost:(\d+)", text)
        sftp = re.search(r"SFTP host +\S+ port (\d+)", text)
        if web and sftp and "Ctrl-C" in text:
            self.port, self.sftp_port = int(web[1]), int(sftp[1])
            return True
        return False

    def stop(self) -> str:
        """TERM, as systemd or a person would; returns all it has said."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)
        return self.output.read_text()

    def kill(self) -> None:
        """SIGKILL of the runner alone."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def processes(self) -> list[int]:
        """Every process that works for this data directory, whoever its parent is (not the hand inside)."""
        mine = f"DATA_DIR={self.data_dir}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != (self._inside.pid if self._inside else 0):
                with contextlib.suppress(OSError):
                    is_zombie = entry.joinpath("stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
                    if not is_zombie and mine in entry.joinpath("environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
        return found

    @property
    def inside(self) -> "Inside":
        """The hand inside, started when it is first needed."""
        if self._inside is None or self._inside.process.poll() is not None:
            self._inside = Inside(self.environment)
        return self._inside

    def close(self) -> None:
        """Stops the portal and the hand."""
        self.stop()
        if self._inside is not None:
            self._inside.close()

    def door(self, username: str, key: Path) -> Door:
        """How a client reaches this portal's SFTP host."""
        line = (self.data_dir / "sftp" / "host_ed25519.pub").read_text("ascii")
        return Door(self.sftp_port, username, key, " ".join(line.split()[:2]))


class Inside:
    """A process with the portal's own settings that does and tells things a browser cannot (see `inside.py`)."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.flows.inside"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self.process.pid

    def __call__(self, name: str, /, **told: object) -> Any:
        """Calls one function of `inside.py` by name; what it returns."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, told]).encode() + b"\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)
