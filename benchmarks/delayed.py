"""A network link with a delay, for benchmarks: two network namespaces, a TUN device in each, and a line between them.

`python benchmarks/delayed.py MILLISECONDS` makes the namespaces, carries packets between them, each direction taking
half of the time, and says `ready FD` when it can be used. Nothing of it has a name in the system: when the process
ends, however it ends, devices and namespaces are gone. It needs root. (Kernels with sch_netem could do it themselves;
many machines have none.)
"""

import contextlib
import ctypes
import fcntl
import os
import selectors
import signal
import struct
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

NEW_NETWORK = 0x40000000
TUN_SET = 0x400454CA
TUN_BARE = 0x1001  # a TUN device without a header before each packet
DEATH_SIGNAL = 1
NEAR, FAR = "10.213.0.1", "10.213.0.2"
_libc = ctypes.CDLL(None, use_errno=True)


def dies_with_its_parent() -> None:
    """For a child process: it is killed when its parent ends, whatever ends that."""
    _libc.prctl(DEATH_SIGNAL, signal.SIGKILL)


def checked(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@dataclass(frozen=True, slots=True)
class Link:
    """Two ends of a link. `near` and `far` are the words before a command that is to run at that end.

    `address` is the far end as seen from the near one.
    """

    address: str
    near: tuple[str, ...] = ()
    far: tuple[str, ...] = ()
    near_namespace: str = ""

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Sockets that this thread makes meanwhile are at the near end."""
        if not self.near_namespace:
            yield
            return
        with open("/proc/thread-self/ns/net", "rb") as here, open(self.near_namespace, "rb") as there:
            checked(_libc.setns(there.fileno(), NEW_NETWORK))
            try:
                yield
            finally:
                checked(_libc.setns(here.fileno(), NEW_NETWORK))


@contextlib.contextmanager
def link(milliseconds: float) -> Iterator[Link]:
    """A link with that round trip; 0 is this machine's loopback itself."""
    if not milliseconds:
        yield Link("127.0.0.1")
        return
    line = subprocess.Popen(
        [sys.executable, __file__, str(milliseconds)], stdout=subprocess.PIPE, preexec_fn=dies_with_its_parent
    )
    try:
        assert line.stdout is not None
        ready = line.stdout.readline().split()
        if ready[:1] != [b"ready"]:
            raise OSError("the delayed link could not be made (it needs root and /dev/net/tun)")
        near, far = f"/proc/{line.pid}/fd/{int(ready[1])}", f"/proc/{line.pid}/ns/net"
        yield Link(FAR, ("nsenter", f"--net={near}"), ("nsenter", f"--net={far}"), near)
    finally:
        line.kill()
        line.wait()


# --- The line itself ---------------------------------------------------------------------------------------------


def device(own: str, other: str) -> int:
    """A TUN device in a new network namespace, which this process is in from now on."""
    checked(_libc.unshare(NEW_NETWORK))
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, TUN_SET, struct.pack("16sH22x", b"line0", TUN_BARE))
    for words in (
        "link set lo up",
        f"address add {own} peer {other} dev line0",
        "link set line0 txqueuelen 10000",
        "link set line0 up",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    return handle


def carry(near: int, far: int, seconds: float) -> None:
    """Give each packet to the other side after that time. Never returns."""
    other, late = {near: far, far: near}, deque()
    selector = selectors.DefaultSelector()
    for handle in other:
        selector.register(handle, selectors.EVENT_READ)
    while True:
        wait = max(0.0, late[0][0] - time.monotonic()) if late else None
        for key, _ in selector.select(wait):
            with contextlib.suppress(BlockingIOError):
                while True:
                    late.append((time.monotonic() + seconds, other[key.fd], os.read(key.fd, 65536)))
        while late and late[0][0] <= time.monotonic():
            _, handle, packet = late.popleft()
            with contextlib.suppress(OSError):  # as any network, it may lose one
                os.write(handle, packet)


def main(milliseconds: float) -> None:
    """Make the link and carry. Ctrl-C is for the parent, which ends this too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    near = device(NEAR, FAR)
    namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    far = device(FAR, NEAR)
    print(f"ready {namespace}", flush=True)
    carry(near, far, milliseconds / 2000)


if __name__ == "__main__":
    main(float(sys.argv[1]))
