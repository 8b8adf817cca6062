"""Runs the whole portal as one tree of processes: starts, watches, restarts, stops in order, leaves no orphan."""

import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
SHORTEST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
# A part that lived this long is forgiven its earlier deaths.
HEALTHY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Part:
    """One long-running program. `orphan_signal` is what the kernel sends it if the runner dies unasked."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    grace_seconds: float = 5.0
    orphan_signal: signal.Signals = signal.SIGTERM


class AlreadyRunning(Exception):
    """Another portal works on this data directory."""


def take_data_directory(data_dir: Path, patience: float = 15.0) -> int:
    """Locks the data directory for this runner and all it starts; the lock's file descriptor.

    Children inherit the lock, so it is free only when the last process of an earlier start is gone. Raises
    AlreadyRunning if that does not come about within `patience` seconds.
    """
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(data_dir / "portal.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise AlreadyRunning from None
            time.sleep(0.2)


def free_port(wanted: int, address: str) -> int:
    """`wanted` if nobody listens there, else a free port the system picks."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((address, port))
                return int(probe.getsockname()[1])
    raise OSError(f"No port can be opened on {address}.")


def _before_exec(orphan_signal: signal.Signals, runner: int) -> Callable[[], None]:
    """What runs in the child between fork and exec: die with the runner, even if it is already dead."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None

    def prepare() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, orphan_signal)
            if os.getppid() != runner:
                os._exit(1)

    return prepare


class Child:
    """A part under way, and how often it has died lately."""

    def __init__(self, part: Part, log: Path, lock: int) -> None:
        self.part, self.log, self.lock = part, log, lock
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.pause = SHORTEST_PAUSE
        self.due = 0.0

    def start(self) -> None:
        """Starts the program in a process group of its own, its output going to its log file."""
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.part.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, **self.part.environment},
                process_group=0,
                pass_fds=(self.lock,),
                preexec_fn=_before_exec(self.part.orphan_signal, os.getpid()),
            )
        self.started = time.monotonic()

    def look(self) -> str:
        """Notices a death, and restarts when the pause is over; returns what happened in words, or ""."""
        if self.process is None:
            if time.monotonic() >= self.due:
                self.start()
                return f"{self.part.name} started again"
            return ""
        code = self.process.poll()
        if code is None:
            return ""
        self.kill_group()
        self.process = None
        lived = time.monotonic() - self.started
        self.pause = SHORTEST_PAUSE if lived > HEALTHY_SECONDS else min(self.pause * 2, LONGEST_PAUSE)
        self.due = time.monotonic() + self.pause
        return f"{self.part.name} ended ({_said(code)}); starting it again in {self.pause:g} s. Its log: {self.log}"

    def stop(self) -> None:
        """Asks the program to end, and ends its whole group when its grace is over."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(self.part.grace_seconds)
        self.kill_group()
        self.process.wait()

    def kill_group(self) -> None:
        """Ends what is left of the program and of all it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


def _said(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"


class Runner:
    """Holds the children in the order they were started; stops them in reverse, so that the broker goes last."""

    def __init__(self, log_dir: Path, lock: int, say: Callable[[str], None]) -> None:
        log_dir.mkdir(parents=True, exist_ok=True)
        self.log_dir, self.lock, self.say = log_dir, lock, say
        self.children: list[Child] = []
        self.stopping = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)

    def _asked_to_stop(self, *_: object) -> None:
        self.stopping = True

    def start(self, part: Part) -> Child:
        """Starts one part."""
        child = Child(part, self.log_dir / f"{part.name}.log", self.lock)
        child.start()
        self.children.append(child)
        return child

    def wait_until(self, what: str, is_ready: Callable[[], bool], seconds: float) -> bool:
        """Looks after the children until `is_ready`; False if asked to stop or the time is over."""
        deadline = time.monotonic() + seconds
        while not self.stopping and time.monotonic() < deadline:
            if is_ready():
                return True
            self.look()
            time.sleep(0.05)
        if not self.stopping:
            self.say(f"{what} did not come up within {seconds:g} s. See the logs in {self.log_dir}.")
        return False

    def look(self) -> None:
        """One look at every child."""
        for child in self.children:
            told = child.look()
            if told:
                self.say(told)

    def watch(self) -> None:
        """Looks after the children until somebody asks to stop."""
        while not self.stopping:
            self.look()
            time.sleep(0.2)

    def stop(self) -> None:
        """Stops everything, last started first."""
        for child in reversed(self.children):
            child.stop()
