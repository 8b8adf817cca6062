"""Who has which file open, and the end of an account's sessions, by /proc and process handles."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
PROGRAMS = ("sshd", "sshd-session", "sshd-auth")
PATIENCE = 5.0  # seconds for a killed process to be gone
ROUNDS = 5
WRITING = os.O_WRONLY | os.O_RDWR
# Debian gives system users, the one sshd runs as before a sign-in among them, numbers below this one.
FIRST_PERSON = 1000

File = tuple[int, int]  # device and inode


@dataclass(frozen=True, slots=True)
class Process:
    """`uids` are the real, effective, saved and file system user numbers."""

    pid: int
    parent: int
    uids: frozenset[int]


def processes() -> Iterator[Process]:
    """Every process of the system that did not end while we looked."""
    for name in os.listdir(PROC):
        if name.isdigit():
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                yield process_of(int(name))


def process_of(pid: int) -> Process:
    """One process. Raises ProcessLookupError or FileNotFoundError if it has ended."""
    # The owner of /proc/PID tells nothing: of a process that has changed its user it is root.
    content = (PROC / str(pid) / "status").read_bytes()
    fields = dict(line.split(b":\t", 1) for line in content.split(b"\n") if b":\t" in line)
    return Process(pid, int(fields[b"PPid"]), frozenset(map(int, fields[b"Uid"].split())))


def processes_of(uid: int) -> list[Process]:
    return [process for process in processes() if uid in process.uids]


def open_files(pids: Iterable[int], *, writing: bool) -> dict[File, set[int]]:
    """The files these processes have open (`writing`: for writing), and which processes."""
    found: dict[File, set[int]] = {}
    for pid in pids:
        handles = PROC / str(pid) / "fd"
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            for name in os.listdir(handles):
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    status = os.stat(handles / name)
                    if not writing or _is_writing(pid, name):
                        found.setdefault((status.st_dev, status.st_ino), set()).add(pid)
    return found


def _is_writing(pid: int, handle: str) -> bool:
    content = (PROC / str(pid) / "fdinfo" / handle).read_bytes()
    flags = next(line for line in content.splitlines() if line.startswith(b"flags:"))
    return bool(int(flags.split()[1], 8) & WRITING)


def end(pids: Iterable[int], still: Callable[[int], bool]) -> int:
    """Kill processes, and wait until they are gone; returns how many.

    `still` is asked once more when the process is held by a handle, so that a number given to another process
    meanwhile hits nobody.
    """
    held: list[int] = []
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                handle = os.pidfd_open(pid)
                held.append(handle)
                if still(pid):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                else:
                    os.close(held.pop())
        _wait(held)
        return len(held)
    finally:
        for handle in held:
            os.close(handle)


def _wait(handles: Iterable[int]) -> None:
    waiting = set(handles)
    poll = select.poll()
    for handle in waiting:
        poll.register(handle, select.POLLIN)
    deadline = time.monotonic() + PATIENCE
    while waiting and time.monotonic() < deadline:
        for handle, _ in poll.poll(100):
            poll.unregister(handle)
            waiting.discard(handle)


def sessions_end(name: str, uid: int) -> int:
    """End all sessions of an account, those that are just signing in too; returns how many there were.

    sshd's own process for a connection goes first, so that none hands a sign-in on to a new process meanwhile.
    """
    # By number: on a busy machine one that was ended may still be there in the next round.
    keeping: set[int] = set()
    serving: set[int] = set()
    seen: set[int] = set()
    for _ in range(ROUNDS):
        everyone = list(processes())
        mine = {process.pid for process in everyone if uid in process.uids}
        # A title that was cut may be another account's; whom that one has let in stays.
        others = {one.parent for one in everyone if one.pid not in mine and min(one.uids) >= FIRST_PERSON}
        keepers = {one.pid for one in everyone if one.uids == {0} and one.pid not in others and keeps(one.pid, name)}
        if not mine and not keepers:
            break
        keeping |= keepers
        serving |= {one.pid for one in everyone if one.pid in mine - seen and one.parent not in mine | seen}
        seen |= mine
        end(keepers, lambda pid: keeps(pid, name))
        end(mine, lambda pid: uid in process_of(pid).uids)
    return max(len(keeping), len(serving))


def keeps(pid: int, name: str) -> bool:
    """Whether this may be sshd's privileged process of a connection of this account.

    sshd writes the name into its title only for a name that is an account. It writes over its arguments and its
    environment, and no further: with a long name and few variables the title is cut, and fits all accounts whose names
    begin so. A title alone proves nothing, so the program counts too.
    """
    try:
        content = (PROC / str(pid) / "cmdline").read_bytes()
        program = os.path.basename(os.readlink(PROC / str(pid) / "exe")).removesuffix(" (deleted)")
    except OSError:
        return False
    # Behind a title that was cut stands what is left of the arguments.
    word, _, rest = content.partition(b"\0")[0].decode("ascii", "replace").partition(": ")
    return program in PROGRAMS and word in PROGRAMS and rest != "" and f"{name} [priv]".startswith(rest)
