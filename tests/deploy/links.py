"""A network link that can be taken down: a pair of devices, one of them in a network namespace of its own."""

import itertools
import os
import subprocess

_numbers = itertools.count(1)


class Link:
    """`address` is the far end, `far` the words before a command that is to run there.

    Nothing of it outlives its holder, a process that does nothing.
    """

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "setpriv", "--pdeathsig", "KILL", "--", "sh", "-c", "echo ready; exec sleep infinity"],
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self.far = ("nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--")
        number = os.getpid() * 8 + next(_numbers)
        network = f"10.{200 + number // 16384 % 50}.{number // 64 % 256}.{number % 64 * 4}"
        near, self.address = (f"{network.rpartition('.')[0]}.{number % 64 * 4 + end}" for end in (1, 2))
        self._near = f"lk{number}"
        for words in (
            f"link add {self._near} type veth peer name far netns {self._holder.pid}",
            f"address add {near}/30 dev {self._near}",
            f"link set {self._near} up",
        ):
            subprocess.run(["ip", *words.split()], check=True)
        subprocess.run([*self.far, "ip", "address", "add", f"{self.address}/30", "dev", "far"], check=True)
        self.up()

    def up(self) -> None:
        subprocess.run([*self.far, "ip", "link", "set", "far", "up"], check=True)

    def down(self) -> None:
        """Nothing comes through from now on, and nobody is told."""
        subprocess.run([*self.far, "ip", "link", "set", "far", "down"], check=True)

    def stop(self) -> None:
        # The namespace may live on for a while in what runs there; the device goes now.
        subprocess.run(["ip", "link", "del", self._near], check=False)
        self._holder.kill()
        self._holder.wait()
