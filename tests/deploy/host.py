"""A whole OpenSSH host: deploy/openssh/install.sh run for real, sshd on a loopback port, the helper beside it.

It lives in namespaces of its own: its root is an overlay over this machine's, so that the accounts, the configuration
and the programs that are installed are seen by nobody else and go away with it. Where a machine forbids that, it is
installed on the machine itself, but only where CI says that the machine is thrown away afterwards.
"""

import contextlib
import fcntl
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.clients import Door, Ran, program
from tests.hosts.reference import free_port, sshd_path
from tests.hosts.serving import PATIENCE, key_pair, until
from tests.system_packages import find_library

REPOSITORY = Path(__file__).resolve().parents[2]
UID_FIRST = 66000
SERVICE = "sftp-portal"
ANSWER_SECONDS = 120
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"

# Everything that is written goes to memory. The repository is seen as it is, whatever it is mounted from.
_INSIDE = """
set -e
mount -t tmpfs none /mnt
mkdir /mnt/changed /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/changed,workdir=/mnt/work /mnt/root
mount -t proc proc /mnt/root/proc
mount --rbind /dev /mnt/root/dev
mkdir -p "/mnt/root$1"
mount --rbind "$1" "/mnt/root$1"
mount -t tmpfs -o mode=755 none /mnt/root/run
mount -t tmpfs -o mode=755 none /mnt/root/srv
exec chroot /mnt/root /usr/bin/python3 -c '
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
while True:
    signal.pause()
'
"""


class Machine:
    """Somewhere to install a host: `root` is its root directory seen from outside, `run` starts a program in it.

    This one is the machine itself: one process at a time has it, and finds it without accounts.
    """

    root = Path("/")

    def __init__(self) -> None:
        self._lock = os.open("/run/lock/sftp-portal-tests.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for place in ("srv/sftp-portal", "var/lib/sftp-portal", "var/lib/extrausers", "etc/sftp-portal"):
            shutil.rmtree(self.root / place, ignore_errors=True)

    def command(self, *words: str) -> list[str]:
        return list(words)

    def run(self, *words: str, text: str = "") -> Ran:
        """Run a program to its end: exit code and what it said."""
        done = subprocess.run(
            self.command(*words),
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
            check=False,
        )
        return Ran(done.returncode, done.stdout.decode("utf-8", "replace"))

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self.command(*words), stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)

    def stop(self) -> None:
        os.close(self._lock)


class OverlaidMachine(Machine):
    """A machine of our own over this one. Raises OSError where namespaces or overlays are not to be had."""

    def __init__(self) -> None:
        spaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        self._process = subprocess.Popen(
            [*spaces, "sh", "-c", _INSIDE, "sh", str(REPOSITORY)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"ready\n":
            raise OSError(self._process.communicate()[1].decode("utf-8", "replace"))
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._inside = int(children[0])
        self.root = Path(f"/proc/{self._inside}/root")

    def command(self, *words: str) -> list[str]:
        return ["nsenter", "-t", str(self._inside), "-m", "-p", "-r", "-w", "--", *words]

    def stop(self) -> None:
        os.kill(self._inside, signal.SIGKILL)  # and with it everything in its process namespace
        self._process.wait(PATIENCE)


def machine() -> Machine:
    """A machine to install a host on; skips the test, in CI fails it, where none can be had."""
    in_ci = bool(os.environ.get("CI"))
    if os.geteuid() != 0:
        (pytest.fail if in_ci else pytest.skip)("installing an SFTP host needs root")
    program("unshare")
    if find_library("libnss_extrausers.so.2") is None:
        (pytest.fail if in_ci else pytest.skip)("libnss-extrausers is not installed")
    try:
        return OverlaidMachine()
    except OSError as error:
        if in_ci:
            return Machine()
        pytest.skip(f"no namespace to install an SFTP host in: {error}")


def confined(unit: str) -> list[str]:
    """What gives a program the powers that a unit of systemd's leaves it, and no others."""
    lines = (REPOSITORY / f"deploy/openssh/{unit}.service").read_text().splitlines()
    powers = next(line for line in lines if line.startswith("CapabilityBoundingSet=")).partition("=")[2].split()
    kept = ",".join("+" + power.removeprefix("CAP_").lower() for power in powers)
    return ["setpriv", f"--bounding-set=-all,{kept}", "--no-new-privs", "--"]


def below(process: subprocess.Popen[bytes]) -> list[int]:
    """What a program that was started on a machine is, below the one that entered the namespaces for it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    inside = [int(pid) for pid in children.read_text().split()] if children.exists() else []
    return inside or [process.pid]


def descendants(pid: int) -> list[int]:
    """All that a process has started and what that has started, outermost first."""
    found = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for child in map(int, tasks.read_text().split()):
                found += [child, *descendants(child)]
    return found


class OpensshHost:
    """An installed and running host.

    `root` is /srv/sftp-portal seen from here, `port` on 127.0.0.1 sshd's, `host_key` a line `algorithm base64`,
    `portal_key` the private key file of the portal's service account.
    """

    def __init__(self, directory: Path) -> None:
        self.machine = machine()
        self.portal_key = key_pair(directory, "portal")
        self._numbers = itertools.count(UID_FIRST)
        self.wished: dict[str, int] = {}
        self._logs = directory
        try:
            self._install(directory)
            self.start()
        except BaseException:
            self.machine.stop()
            raise

    # --- The machine -------------------------------------------------------------------------------------------------

    def install(self, *options: str) -> Ran:
        """Run install.sh once more."""
        script = str(REPOSITORY / "deploy/openssh/install.sh")
        return self.machine.run("sh", script, "--no-packages", "--no-start", *options)

    def _install(self, directory: Path) -> None:
        (self.machine.root / "tmp/portal.pub").write_bytes(Path(f"{self.portal_key}.pub").read_bytes())
        self.installed = self.install("--portal-key", "/tmp/portal.pub")
        assert self.installed.code == 0, self.installed.output
        self.root = self.machine.root / "srv/sftp-portal"
        self.state = self.machine.root / "var/lib/sftp-portal"
        service = self._line("etc/passwd", SERVICE)
        self.portal_uid, self.portal_gid = int(service[2]), int(service[3])
        self.keys_gid = int(self._line("etc/group", "sftp-portal-keys")[2])
        public = (self.machine.root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
        self.host_key = " ".join(public.split()[:2])

    def _line(self, path: str, name: str) -> list[str]:
        lines = (self.machine.root / path).read_text().splitlines()
        return next(line for line in lines if line.startswith(f"{name}:")).split(":")

    def start(self) -> None:
        self.port = free_port()
        (self.machine.root / "run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._sshd = self._sshd_on(self.port)
        self.helper_start()

    def _sshd_on(
        self, port: int, key: str = HOST_KEY, address: str = "127.0.0.1", before: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        # One host key, as the clients of the tests are told of one.
        listening = ["-p", str(port), "-o", f"ListenAddress={address}", "-o", "PidFile=none", "-h", key]
        words = [sshd_path(), "-D", *listening, "-E", "/var/log/sftp-portal-sshd.log"]
        command = [*before, *self.machine.command(*words)]
        sshd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT)

        def listens() -> bool:
            assert sshd.poll() is None, self.log()
            with socket.socket() as client:
                return client.connect_ex((address, port)) == 0

        until(listens, "an sshd that listens")
        return sshd

    @contextlib.contextmanager
    def fresh_sshd(self) -> Iterator[int]:
        """The port of one more sshd, which has read the configuration as it is now."""
        port = free_port()
        sshd = self._sshd_on(port)
        try:
            yield port
        finally:
            for pid in below(sshd):
                os.kill(pid, signal.SIGTERM)
            sshd.wait(PATIENCE)

    def sessions(self) -> list[int]:
        """The processes of all connections that the sshd has now, outermost first."""
        return [process for pid in below(self._sshd) for process in descendants(pid)]

    @contextlib.contextmanager
    def sshd_still(self) -> Iterator[None]:
        """Meanwhile the sshd that listens stands still: who connects hears nothing."""
        listening = below(self._sshd)
        for pid in listening:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            # nsenter stops with what it has started, and starts that again when it is told to go on.
            for pid in [*listening, self._sshd.pid]:
                os.kill(pid, signal.SIGCONT)

    def sshd_kill(self) -> None:
        """Kill the sshd and all its sessions, as a machine that goes down does."""
        for pid in [*below(self._sshd), *self.sessions()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._sshd.wait(PATIENCE)

    def sshd_start(self, key: str = HOST_KEY) -> None:
        """Start an sshd in place of the killed one, with another host key if one is given."""
        self._sshd = self._sshd_on(self.port, key)

    @contextlib.contextmanager
    def sshd_at(self, address: str, before: Sequence[str]) -> Iterator[int]:
        """The port of one more sshd, which listens at another address, for `before` it in another network."""
        port = free_port()
        sshd = self._sshd_on(port, address=address, before=before)
        try:
            yield port
        finally:
            for pid in [pid for one in below(sshd) for pid in (one, *descendants(one))]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            sshd.wait(PATIENCE)

    def helper_start(self) -> None:
        log = (self._logs / "helper.log").open("ab")
        with log:
            self.helper = subprocess.Popen(
                self.machine.command(*confined("sftp-portal-helper"), "/usr/lib/sftp-portal/portal-host", "serve"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def helper_stop(self, number: int = signal.SIGTERM) -> None:
        """Send the helper a signal, and wait for its end."""
        for pid in self.helper_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        self.helper.wait(PATIENCE)

    def may_drop_all(self) -> None:
        """Lets lists drop as many accounts as they like: each test's portal knows only its own."""
        toml = self.machine.root / "etc/sftp-portal/helper.toml"
        toml.write_text(toml.read_text().replace("drop_share = 0.05", "drop_share = 1.0"))
        self.helper_stop()
        self.helper_start()

    def drops_forget(self, old: Collection[str] = ()) -> None:
        """As a day later: what lists have dropped until now counts for no other. `old`: who came before all others."""
        register = self.state / "accounts.json"
        rows = json.loads(register.read_bytes())["accounts"]
        told = {name: {key: value for key, value in row.items() if key != "dropped"} for name, row in rows.items()}
        for name in old:
            told[name].pop("since", None)
        beside = register.with_suffix(".new")
        beside.write_text(json.dumps({"accounts": told}))
        beside.chmod(0o600)
        beside.rename(register)

    def helper_pids(self) -> list[int]:
        """The helper itself, below the program that entered the namespaces for it."""
        return below(self.helper)

    def helper_log(self) -> str:
        return (self._logs / "helper.log").read_text(errors="replace")

    def log(self) -> str:
        """What sshd has logged."""
        path = self.machine.root / "var/log/sftp-portal-sshd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        try:
            with contextlib.suppress(ProcessLookupError):
                self.helper_stop()
            self._sshd.terminate()
            self._sshd.wait(PATIENCE)
        finally:
            self.machine.stop()

    # --- What the portal does ----------------------------------------------------------------------------------------

    def ask(self, operations: Sequence[Any], timeout: float = ANSWER_SECONDS) -> list[dict[str, Any]]:
        """What the helper answers to each of these operations."""
        told = self.answer({"operations": list(operations)}, timeout)
        assert "answers" in told, told
        return list(told["answers"])

    def one(self, op: str, **fields: Any) -> dict[str, Any]:
        """The answer to one operation."""
        return self.ask([{"op": op, **fields}])[0]

    def answer(self, request: dict[str, Any], timeout: float = ANSWER_SECONDS) -> dict[str, Any]:
        number = self.post(request)
        return self.answer_of(number, timeout)

    def post(self, request: dict[str, Any]) -> str:
        """Put a request into the queue; its number."""
        number = secrets.token_hex(16)
        self.put_raw(number, json.dumps({"id": number, **request}).encode("ascii"))
        return number

    def put_raw(self, number: str, content: bytes) -> None:
        self.place(self.root / "requests" / f"{number}.json", content, self.portal_gid, 0o600)

    def answer_of(self, number: str, timeout: float = ANSWER_SECONDS) -> dict[str, Any]:
        path = self.root / "answers" / f"{number}.json"
        deadline = time.monotonic() + timeout
        while not path.exists():
            assert time.monotonic() < deadline, f"the helper did not answer\n{self.helper_log()}"
            time.sleep(0.005)
        return dict(json.loads(path.read_bytes()))

    def place(self, path: Path, content: bytes, gid: int, mode: int) -> None:
        """Put a file there as the portal does: its own, whole or not at all."""
        temporary = path.with_name(f".portal-tmp-{secrets.token_hex(4)}")
        temporary.write_bytes(content)
        os.chown(temporary, self.portal_uid, gid)
        temporary.chmod(mode)
        temporary.rename(path)

    def keys(self, name: str, *lines: str) -> None:
        """Push a key file of these lines."""
        content = "".join(f"{line}\n" for line in lines).encode("utf-8")
        self.place(self.root / "keys" / name, content, self.keys_gid, 0o640)

    def wish(self, **changes: Any) -> dict[str, Any]:
        """Ask for all accounts that are wished for."""
        return self.one("accounts", accounts=[{"name": name, "uid": uid} for name, uid in self.wished.items()])

    def number(self) -> int:
        """A user number no account has had."""
        return next(self._numbers)

    def account(self, name: str, *lines: str) -> int:
        """Make an account, and push its key file of these lines; its user number."""
        self.wished[name] = uid = self.wished.get(name) or self.number()
        told = self.wish()
        assert "error" not in told, told
        assert not told["refused"], told
        self.keys(name, *lines)
        return uid

    def home(self, name: str) -> Path:
        return self.root / "homes" / name

    def upload(self, name: str) -> Path:
        return self.home(name) / "upload"

    # --- Who signs in ------------------------------------------------------------------------------------------------

    def door(self, name: str, key: Path) -> Door:
        return Door(self.port, name, key, self.host_key)

    def portal_door(self) -> Door:
        return self.door(SERVICE, self.portal_key)


@contextlib.contextmanager
def running(directory: Path) -> Iterator[OpensshHost]:
    host = OpensshHost(directory)
    try:
        yield host
    finally:
        host.stop()


def numbers_of(path: Path) -> tuple[int, int, str]:
    """Owner, group and mode of what lies there."""
    status = path.lstat()
    return status.st_uid, status.st_gid, oct(status.st_mode & 0o7777)
