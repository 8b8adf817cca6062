"""A whole portal under test: `manage.py up` with real parts on free ports, and a hand inside it."""

import atexit
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
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
    "INGEST_AUTO_QUIET_SECONDS": "2",
    # Nights of tests are named after days that were long ago, and their files are of those years.
    "GUARD_AGE_DAYS": "-1",
    "GUARD_SCHOOL_YEAR": "false",
    "SWEEP_SECONDS": "2",
    "LEASE_SECONDS": "4",
    "SIGN_IN_EVENTS_SECONDS": "1",
    "DEMO": "0",
    # Tests sign staff in by the hundred; tests/accounts/test_second_factor.py tests what is compulsory.
    "SECOND_FACTOR_REQUIRED": "0",
    "DJANGO_ALLOW_ASYNC_UNSAFE": "true",
}
# Of new databases: they sort as people do, as on most machines where PostgreSQL was set up in some language. By bytes,
# as SQLite does, no test would see an order that is the database's own matter.
SORTED = ("--locale-provider=icu", "--icu-locale=en-US")


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
    """A PostgreSQL cluster of our own; as root it runs as the user Debian made for it.

    It has a database `ready` with all tables, unless it `is_bare`.
    """

    def __init__(self, folder: Path, *, is_bare: bool = False) -> None:
        self.folder, self.port = folder, free_port()
        self.bin = Path(str(find("initdb"))).parent
        folder.mkdir(mode=0o700)
        is_root = os.geteuid() == 0  # PostgreSQL refuses to run as root
        self.as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if is_root else []
        if self.as_user:
            shutil.chown(folder, "postgres", "postgres")
            for parent in folder.parents[:4]:
                parent.chmod(parent.stat().st_mode | 0o011)
        if is_bare:
            told = ["-D", str(folder / "data"), "-A", "trust", "-U", "portal", "--no-sync", "-E", "UTF8"]
            self._run("initdb", *told, *SORTED)
        else:
            subprocess.run(["cp", "-a", str(_ready_cluster() / "data"), str(folder)], check=True)
        argv = [*self.as_user, str(self.bin / "postgres"), "-D", str(folder / "data"), "-p", str(self.port)]
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "max_connections": 100}
        self.argv = [*argv, *(f"--{name}={value}" for name, value in settings.items()), "-F"]
        self.start()

    def start(self) -> None:
        """Starts the server, and waits until it answers."""
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(self.argv, stdout=quiet, stderr=quiet, cwd="/")
        wait_for("PostgreSQL answers", self._answers, 30)

    def database(self, name: str) -> str:
        """The address of a new, empty database."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "portal", name)
        return self._address(name)

    def ready(self, name: str) -> str:
        """The address of a new database with all tables, and nothing in them."""
        self.copy("ready", name)
        return self._address(name)

    def _address(self, name: str) -> str:
        return f"postgres://portal@127.0.0.1:{self.port}/{name}"

    def remove(self, name: str) -> None:
        """Removes a database."""
        self._run("dropdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "portal", "--force", name)

    def copy(self, old: str, new: str) -> None:
        """Makes a new database just as another is, to which nobody may be connected."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "portal", "--template", old, new)

    def _run(self, program: str, *words: str) -> None:
        command = [*self.as_user, str(self.bin / program), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    def _answers(self) -> bool:
        command = [str(self.bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Fast shutdown, by its own pid; with QUIT it drops all as in a crash."""
        self.process.send_signal(how)
        self.process.wait(30)


class Redis:
    """Debian's redis-server on a port of its own."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        argv = [str(find("redis-server")), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)]
        self.argv = [*argv, "--appendonly", "yes", "--save", ""]
        self.start()

    def start(self) -> None:
        """Starts the server, and waits until it answers."""
        self.process = subprocess.Popen(self.argv, stdout=subprocess.DEVNULL)
        wait_for("Redis answers", self._answers, 30)

    def broker(self, number: int) -> str:
        """The address of one of its sixteen databases."""
        return f"redis://127.0.0.1:{self.port}/{number}"

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it, by its own pid."""
        self.process.send_signal(how)
        self.process.wait(30)


def _environment() -> dict[str, str]:
    """What every portal is told; where its parts are it is told by itself."""
    ours = ("DATABASE_URL", "BROKER_URL", "PORT", "SFTP_PORT", "EMAIL_URL")
    return {name: value for name, value in os.environ.items() if name not in ours} | PACE


def _migrate(told: dict[str, str]) -> None:
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(command, cwd=ROOT, env=_environment() | {"DATA_DIR": folder} | told, check=True)


@cache
def _ready_sqlite() -> bytes:
    """A database with all tables and nothing in them. Making one takes longer than all else of a start."""
    with tempfile.TemporaryDirectory() as folder:
        _migrate({"DATA_DIR": folder})
        return Path(folder, "portal.sqlite3").read_bytes()


@cache
def _ready_cluster() -> Path:
    """A cluster, stopped, whose database `ready` has all tables."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = Postgres(folder / "postgres", is_bare=True)
    _migrate({"DATABASE_URL": made.database("ready")})
    made.stop()
    return made.folder


class Stack:
    """The servers portals are started on. Each portal gets a database and a broker of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.count = name, 0
        is_external = name == EXTERNAL
        self.postgres = Postgres(folder / "postgres") if is_external else None
        self.redis = Redis(folder / "redis") if is_external else None

    def portal(self, folder: Path, *, is_first: bool = False) -> "Portal":
        """A portal that is not started yet; its state goes below `folder`.

        `is_first`: it makes its tables itself, as the first start of a portal does.
        """
        self.count += 1
        told = _environment() | {"DATA_DIR": str(folder / "var")}
        # Portals of several test processes start at one time: each gets ports of its own from the beginning.
        told |= {"PORT": str(free_port()), "SFTP_PORT": str(free_port())}
        if self.postgres and self.redis:
            make = self.postgres.database if is_first else self.postgres.ready
            told["DATABASE_URL"] = make(f"portal{self.count}")
            told["BROKER_URL"] = self.redis.broker(self.count % 16)
        elif not is_first:
            (folder / "var").mkdir(mode=0o700)
            (folder / "var" / "portal.sqlite3").write_bytes(_ready_sqlite())
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
    # Places below the data directory that are small disks of their own: their sizes in kilobytes.
    disks: dict[str, int] = field(default_factory=dict)
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
                [*self._mounting(), sys.executable, "manage.py", "up", *words],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_for("the portal is up\n" + self.output.read_text(), self._is_up, 60)

    def _mounting(self) -> list[str]:
        """What comes before a program that has small disks, which nobody else sees and which end with it."""
        if not self.disks:
            return []
        alone = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-ec"]
        lines = []
        for name, size in self.disks.items():
            (self.data_dir / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            lines.append(f"mount -t tmpfs -o size={size}k,mode=700 tmpfs '{self.data_dir / name}'")
        return [*alone, "\n".join([*lines, 'exec "$@"']), "sh"]

    def disk(self, name: str) -> Path:
        """A place below the data directory as the portal sees it."""
        assert self.process is not None
        seen = Path(f"/proc/{self.process.pid}/root") if self.disks else Path("/")
        return seen / (self.data_dir / name).relative_to("/")

    def _is_up(self) -> bool:
        text = self.output.read_text()
        assert self.process is not None
        assert self.process.poll() is None, text
        web = re.search(r"https?://localhost:(\d+)", text)
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
        line = self.disk("sftp/host_ed25519.pub").read_text("ascii")
        return Door(self.sftp_port, username, key, " ".join(line.split()[:2]))


class Inside:
    """A process with the portal's own settings that does and tells things a browser cannot (see `inside.py`)."""

    def __init__(self, environment: dict[str, str], module: str = "tests.flows.inside") -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
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
