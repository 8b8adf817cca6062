"""How fast 13,000 key files reach an OpenSSH host: `python benchmarks/propagation.py`, as root.

The portal's own code (`hosts.remote.RemoteFiles`) against plain paramiko, `sftp -b` and rsync, on a real sshd of our
own, on a disk and in memory, over links with 0, 2 and 20 ms of round trip, all in one run and in turns. Slow peers do
260 files; their figures are scaled to all and marked x. Files are made up: 412 to 1,955 bytes, as one to three keys
take. Both ends share this machine. Everything that is made is removed again, also after Ctrl-C.

Options: --delay 0 --where tmpfs --rounds 3 --quick --no-slow --disk DIRECTORY --files 13000
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
DATA = tempfile.mkdtemp(prefix="propagation-", dir="/dev/shm")
os.environ |= {"DATA_DIR": DATA, "DJANGO_SETTINGS_MODULE": "portal.settings"}

import django  # noqa: E402
import paramiko  # noqa: E402
from django.conf import settings  # noqa: E402

django.setup()

from benchmarks.delayed import Link, dies_with_its_parent, link  # noqa: E402
from hosts import vault  # noqa: E402
from hosts.connect import dial  # noqa: E402
from hosts.core.paths import HostPath  # noqa: E402
from hosts.files import FileRead, HostFiles  # noqa: E402
from hosts.models import Host  # noqa: E402
from hosts.remote import RemoteFiles  # noqa: E402

KEYS = HostPath(("keys",))
FEW, CHANGED, LIMIT = 260, 50, 64 * 1024
PORT = 22960
US, RSYNC = "the portal", "rsync"

Files = dict[str, bytes]


def files_of(count: int, version: int = 0) -> Files:
    """Names and contents; another version differs in every byte and in no length."""
    sizes, letters = random.Random(1), random.Random(version)
    lengths = [min(1955, 412 + int(sizes.expovariate(1 / 385))) for _ in range(count)]
    return {
        f"district-{n:05}.k12.us": letters.randbytes(length // 2).hex().encode() for n, length in enumerate(lengths)
    }


# --- The host ----------------------------------------------------------------------------------------------------


def key_pair(directory: Path, name: str) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True)
    return directory / name


@dataclass(slots=True)
class Server:
    """An sshd at the far end of a link, and the ways that programs reach it from the near end."""

    link: Link
    directory: Path
    port: int

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        settings = [
            f"Port {self.port}",
            "ListenAddress 0.0.0.0",
            f"HostKey {self.directory}/host",
            f"AuthorizedKeysFile {self.directory}/client.pub",
            "PermitRootLogin prohibit-password",
            "StrictModes no",
            "UsePAM no",
            "PidFile none",
            "Subsystem sftp internal-sftp",
        ]
        config = self.directory / f"config-{self.port}"
        config.write_text("\n".join(settings) + "\n")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        # In a namespace of processes, so that its sessions end with it.
        alone = ["unshare", "--pid", "--fork", "--kill-child"]
        command = [*self.link.far, *alone, "/usr/sbin/sshd", "-D", "-f", str(config), "-E", f"{self.directory}/log"]
        sshd = subprocess.Popen(command, preexec_fn=dies_with_its_parent)
        try:
            while b"listening" not in (self.directory / "log").read_bytes() if sshd.poll() is None else False:
                time.sleep(0.05)
            yield
        finally:
            sshd.kill()  # unshare pays no heed to less
            sshd.wait()

    def columns(self) -> dict[str, Any]:
        """Of the host's row. The secret it is sealed with is that of the environment, for this run only."""
        return {
            "name": "benchmark",
            "kind": Host.Kind.OPENSSH,
            "address": self.link.address,
            "port": self.port,
            "username": "root",
            "host_key": " ".join((self.directory / "host.pub").read_text().split()[:2]),
            "client_key_sealed": vault.sealed((self.directory / "client").read_bytes()).decode("ascii"),
        }

    def host(self) -> Host:
        return Host(**self.columns())

    def ssh_options(self) -> list[str]:
        known = self.directory / f"known-{self.port}"
        key = " ".join((self.directory / "host.pub").read_text().split()[:2])
        known.write_text(f"[{self.link.address}]:{self.port} {key}\n")
        return ["-F", "none", "-i", f"{self.directory}/client", f"-oUserKnownHostsFile={known}", "-oBatchMode=yes"]

    @contextlib.contextmanager
    def files(self, root: Path) -> Iterator[RemoteFiles]:
        """What the portal uses, over a connection of its own."""
        with self.link.inside():
            connection = dial(self.host())
        try:
            yield RemoteFiles(lambda: connection, root=os.fsencode(root))
        finally:
            connection.close()


# --- What is timed -----------------------------------------------------------------------------------------------


def must(outcomes: Iterator[tuple[HostPath, object]]) -> None:
    for path, error in outcomes:
        if error is not None:
            raise SystemExit(f"{path}: {error}")


def pushed(files: HostFiles, wanted: Files) -> None:
    must(files.write_many((KEYS.child(name), content) for name, content in wanted.items()))


def pushed_and_compared(files: HostFiles, wanted: Files) -> None:
    """Each file is read back as soon as it is in place, while others are still being written."""

    def written() -> Iterator[HostPath]:
        for path, error in files.write_many((KEYS.child(name), content) for name, content in wanted.items()):
            must(iter([(path, error)]))
            yield path

    compared(files, wanted, written())


def compared(files: HostFiles, wanted: Files, paths: Iterable[HostPath] = ()) -> None:
    """Read all and compare by digest."""
    digests = {name: hashlib.sha256(content).digest() for name, content in wanted.items()}
    for path, found in files.read_many(paths or (KEYS.child(name) for name in wanted), LIMIT):
        if not isinstance(found, FileRead) or hashlib.sha256(found.content).digest() != digests.pop(path.name):
            raise SystemExit(f"{path} is not what was written")
    if digests:
        raise SystemExit("some files were never read")


Marks = dict[str, tuple[int, int]]


def marks_of(files: HostFiles) -> Marks:
    """What a listing tells of each file: the state that is kept after a push."""
    return {entry.name: (entry.size, entry.modified) for entry in files.listing(KEYS)}


def nothing_changed(files: HostFiles, known: Marks) -> None:
    if marks_of(files) != known:
        raise SystemExit("something has changed that nobody changed")


def sequential(server: Server, root: Path, wanted: Files) -> None:
    """paramiko's own client, one file after the other, as safe as it can be."""
    host = server.host()
    with server.link.inside():
        transport = paramiko.Transport((host.address, host.port))
    key = paramiko.Ed25519Key.from_private_key_file(f"{server.directory}/client")
    transport.connect(username="root", pkey=key)
    client = paramiko.SFTPClient.from_transport(transport)
    assert client is not None
    for name, content in wanted.items():
        with client.open(f"{root}/keys/.tmp", "w") as file:
            file.write(content)
        client.posix_rename(f"{root}/keys/.tmp", f"{root}/keys/{name}")
    transport.close()


def sftp_batch(server: Server, root: Path, wanted: Files, source: Path) -> None:
    batch = "".join(
        f"put {source}/{name} {root}/keys/.tmp\nrename {root}/keys/.tmp {root}/keys/{name}\n" for name in wanted
    )
    where = ["-P", str(server.port), "-b", "-", f"root@{server.link.address}"]
    run([*server.link.near, "sftp", "-q", *server.ssh_options(), *where], batch)


def has_rsync() -> bool:
    return shutil.which(RSYNC) is not None


def rsync(server: Server, root: Path, source: Path, *options: str) -> str:
    shell = " ".join(["ssh", "-p", str(server.port), *server.ssh_options()])
    return run(
        [*server.link.near, "rsync", *options, "-e", shell, f"{source}/", f"root@{server.link.address}:{root}/keys/"]
    )


def run(command: list[str], text: str = "") -> str:
    done = subprocess.run(command, input=text, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command[0]}: {done.stderr}")
    return done.stdout


# --- One place and one delay -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Column:
    """Seconds by row, of each round; `scaled` rows were measured on fewer files."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    scaled: set[str] = field(default_factory=set)

    def time(self, row: str, work: Callable[[], object], factor: float = 1.0) -> None:
        began = time.perf_counter()
        work()
        self.seconds.setdefault(row, []).append((time.perf_counter() - began) * factor)
        if factor != 1.0:
            self.scaled.add(row)

    def __getitem__(self, row: str) -> float:
        return statistics.median(self.seconds[row])


Block = Callable[[Column, Path], None]


@dataclass(slots=True)
class Methods:
    """What is measured at one place and delay, in blocks that each have a directory of their own."""

    server: Server
    source: Path
    options: argparse.Namespace
    wanted: Files

    def blocks(self) -> list[Block]:
        theirs = [self.theirs] if has_rsync() else []
        slow = [] if self.options.no_slow else [self.one_by_one]
        return [self.ours_with_read_back, *theirs, self.ours, *slow]

    def ours_with_read_back(self, column: Column, place: Path) -> None:
        def work() -> None:
            with self.server.files(place) as files:
                pushed_and_compared(files, self.wanted)

        column.time(f"{US}: first push with read-back", work)
        check_same(place / "keys", self.wanted)

    def ours(self, column: Column, place: Path) -> None:
        def connected(work: Callable[[HostFiles], object]) -> Callable[[], None]:
            def connected_work() -> None:
                with self.server.files(place) as files:
                    work(files)

            return connected_work

        column.time(f"{US}: first push alone", connected(lambda files: pushed(files, self.wanted)))
        column.time(f"{US}: every file read and compared", connected(lambda files: compared(files, self.wanted)))
        check_same(place / "keys", self.wanted)
        with self.server.files(place) as files:
            known = marks_of(files)
        column.time(f"{US}: nothing changed", connected(lambda files: nothing_changed(files, known)))
        count = self.options.files
        changed = dict(list(files_of(count, version=2).items())[:: count // CHANGED][:CHANGED])

        def some_changed(files: HostFiles) -> None:
            nothing_changed(files, known)
            pushed(files, changed)
            compared(files, changed)

        column.time(f"{US}: {CHANGED} changed", connected(some_changed))

    def theirs(self, column: Column, place: Path) -> None:
        column.time(f"{RSYNC} -a --fsync: first push", lambda: rsync(self.server, place, self.source, "-a", "--fsync"))
        column.time(f"{RSYNC} -anc: compared", lambda: rsync(self.server, place, self.source, "-anc"))
        check_same(place / "keys", self.wanted)
        column.time(f"{RSYNC} -a: nothing changed", lambda: rsync(self.server, place, self.source, "-a"))

    def one_by_one(self, column: Column, place: Path) -> None:
        few = dict(list(self.wanted.items())[: self.options.few])
        factor = self.options.files / self.options.few
        column.time("paramiko, one by one: first push", lambda: sequential(self.server, place, few), factor)
        column.time("sftp -b: first push", lambda: sftp_batch(self.server, place, few, self.source), factor)


def measure(column: Column, methods: Methods, above: Path, turn: int) -> None:
    """One round of everything. Each round begins with another block: what a disk has just done is felt by the next."""
    blocks = methods.blocks()
    for block in blocks[turn % len(blocks) :] + blocks[: turn % len(blocks)]:
        place = above / "place"
        (place / "keys").mkdir(parents=True)
        os.sync()
        time.sleep(1)
        block(column, place)
        shutil.rmtree(place)


def check_same(directory: Path, wanted: Files) -> None:
    if {path.name: path.read_bytes() for path in directory.iterdir()} != wanted:
        raise SystemExit("what lies on the host is not what was pushed")


def told(name: str, column: Column) -> None:
    """The column's rows, then how it stands against its goals."""
    print(f"\n{name}")
    for row, seconds in column.seconds.items():
        mark = " x" if row in column.scaled else ""
        spread = f"   [{min(seconds):.2f} to {max(seconds):.2f}]" if len(seconds) > 1 else ""
        print(f"  {row:42}{statistics.median(seconds):10.2f} s{mark}{spread}")
    if not has_rsync():
        print(f"  {RSYNC} is not installed: row left out")
    for goal, value in goals(column):
        print(f"    {goal:56}{value:8.2f}")


def goals(column: Column) -> Iterator[tuple[str, float]]:
    """What the column's goals are measured by; without those against rsync where that was left out."""
    read, still = column[f"{US}: every file read and compared"], column[f"{US}: nothing changed"]
    if has_rsync():
        theirs = column[f"{RSYNC} -a --fsync: first push"] + column[f"{RSYNC} -anc: compared"]
        ours = column[f"{US}: first push with read-back"]
        yield f"push with read-back, against {RSYNC} --fsync and -anc", ours / theirs
        yield f"nothing changed, against {RSYNC} -a", still / column[f"{RSYNC} -a: nothing changed"]
    yield "every file read, against nothing changed", read / still
    yield f"{CHANGED} changed, seconds more than nothing changed", column[f"{US}: {CHANGED} changed"] - still
    if column.scaled:
        slow = column["paramiko, one by one: first push"]
        yield "paramiko one by one, against the push alone", slow / column[f"{US}: first push alone"]


# --- The portal's own run ----------------------------------------------------------------------------------------


def portal_runs(server: Server, place: Path, options: argparse.Namespace) -> None:
    """Whole runs of the portal with its database, each number of accounts in a process of its own."""
    print("\nWhole runs of the portal (database: SQLite), tmpfs, 0 ms")
    secrets = {"SECRETS_KEYS": ",".join(settings.SECRETS_KEYS)}  # what the host's row is sealed with
    for count in (options.files // 4, options.files, options.files * 2):
        root, data = place / f"run-{count}", Path(tempfile.mkdtemp(dir="/dev/shm"))
        (root / "keys").mkdir(parents=True)
        host = json.dumps(server.columns())
        script = [sys.executable, str(ROOT / "benchmarks" / "portal_run.py"), str(count), str(root), host]
        done = subprocess.run(
            script, env={**os.environ, "DATA_DIR": str(data), **secrets}, stdout=subprocess.PIPE, text=True, check=False
        )
        shutil.rmtree(data)
        if done.returncode != 0:
            raise SystemExit("the portal's run failed")
        told_run(count, json.loads(done.stdout))
        shutil.rmtree(root)


def told_run(count: int, told: dict[str, Any]) -> None:
    """One number of accounts."""
    deciding = told["deciding"]
    print(f"  {count:,} accounts")
    print(f"    deciding what each holds   {deciding['cpu']:6.2f} s CPU, {deciding['queries']} queries")
    for row in ("first push", "nothing changed", "every file read", f"{CHANGED} changed"):
        of = told[row]
        print(f"    {row:25}  {of['wall']:6.2f} s, {of['cpu']:.2f} s CPU; {of['written']:,} written")
    print(f"    memory  {told['memory']:.0f} MB at most; {told['idle']:.0f} MB before the first run")


@contextlib.contextmanager
def directory_in(above: str) -> Iterator[Path]:
    """A directory that is removed afterwards, even while an ended session's last requests are still carried out."""
    place = Path(tempfile.mkdtemp(prefix="propagation-", dir=above))
    try:
        yield place
    finally:
        for _ in range(50):
            shutil.rmtree(place, ignore_errors=True)
            if not place.exists():
                break
            time.sleep(0.2)


# --- All of it ---------------------------------------------------------------------------------------------------


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--delay", type=float, action="append", help="milliseconds; may be given more than once")
    parser.add_argument("--where", choices=["tmpfs", "disk"], action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--files", type=int, default=13_000)
    parser.add_argument("--few", type=int, default=FEW, help="files for the slow peers")
    parser.add_argument("--quick", action="store_true", help="a tenth of the files, once")
    parser.add_argument("--no-slow", action="store_true", help="without paramiko one by one, and sftp -b")
    parser.add_argument("--disk", default="/var/tmp", help="a directory on a disk")
    options = parser.parse_args()
    if options.quick:
        options.files, options.few, options.rounds = 1300, 26, 1
    return options


def main() -> None:
    """Each place and delay, and the memory."""
    options = read_options()
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, DATA, ignore_errors=True)
        if os.geteuid() != 0:
            raise SystemExit("This makes network namespaces and an sshd of its own: run it as root.")
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(dir="/dev/shm")))
        key_pair(directory, "host"), key_pair(directory, "client")
        source = directory / "source"
        source.mkdir()
        for name, content in files_of(options.files).items():
            (source / name).write_bytes(content)
        print(f"{options.files:,} files, {sum(map(len, files_of(options.files).values())) / 1e6:.2f} MB", end="; ")
        print(f"{options.rounds} rounds, medians; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for delay in options.delay or [0, 2, 20]:
            made = stack.enter_context(link(delay))
            (directory / "log").write_bytes(b"")
            server = Server(made, directory, PORT + int(delay))
            with server.running():
                for where in options.where or ["tmpfs", "disk"]:
                    above = "/dev/shm" if where == "tmpfs" else options.disk
                    with directory_in(above) as place:
                        column = Column()
                        methods = Methods(server, source, options, files_of(options.files))
                        for turn in range(options.rounds):
                            measure(column, methods, place, turn)
                        told(f"{where}, {delay:g} ms", column)
                        if where == "tmpfs" and not delay:
                            portal_runs(server, place, options)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    main()
