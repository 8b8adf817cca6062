"""The SFTP programs districts use, each run once with a key: what it printed and its exit code.

Every runner checks the host key, asks nobody anything, and gives up after a minute.
"""

import base64
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import paramiko
import pytest

TIMEOUT = 60


@dataclass(frozen=True, slots=True)
class Door:
    """How to reach an SFTP host: `key` is an OpenSSH private key file, `host_key` a line `algorithm base64`."""

    port: int
    username: str
    key: Path
    host_key: str
    address: str = "127.0.0.1"

    @property
    def host_digest(self) -> str:
        blob = base64.b64decode(self.host_key.split()[1])
        return base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii")

    @property
    def fingerprint(self) -> str:
        return "SHA256:" + self.host_digest.rstrip("=")

    @property
    def target(self) -> str:
        return f"{self.username}@" + (f"[{self.address}]" if ":" in self.address else self.address)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a client did; `output` is what it printed and complained, together."""

    code: int
    output: str


def program(name: str) -> str:
    """The program's path. Missing: the test is skipped at home, and fails in CI."""
    path = shutil.which(name)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not installed")
    return path


def run(command: Sequence[str], text: str = "") -> Ran:
    done = subprocess.run(
        command,
        input=text.encode("utf-8"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT,
        check=False,
    )
    return Ran(done.returncode, done.stdout.decode("utf-8", "replace"))


def ssh_options(door: Door) -> list[str]:
    """What every OpenSSH program is told: this key only, this host key only, no questions, no configuration."""
    known = door.key.with_name(f"{door.key.name}.{door.port}.known_hosts")
    known.write_text(f"[{door.address}]:{door.port} {door.host_key}\n", encoding="ascii")
    settings = {
        "UserKnownHostsFile": known,
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "LogLevel": "ERROR",
    }
    options = [f"-o{name}={value}" for name, value in settings.items()]
    return ["-F", "/dev/null", "-i", str(door.key), *options]


def sftp_command(door: Door, *options: str) -> list[str]:
    return [program("sftp"), *ssh_options(door), "-P", str(door.port), *options, door.target]


def sftp(door: Door, *lines: str, options: Sequence[str] = ()) -> Ran:
    """OpenSSH sftp with a batch; it stops at the first line that fails, unless the line starts with a hyphen."""
    return run(sftp_command(door, *options, "-b", "-"), "\n".join(lines) + "\n")


def ssh(door: Door, *words: str, options: Sequence[str] = ()) -> Ran:
    return run([program("ssh"), *ssh_options(door), "-p", str(door.port), *options, door.target, *words])


def scp(door: Door, *words: str, options: Sequence[str] = ()) -> Ran:
    """scp; a word that starts with a colon is a path on the host."""
    paths = [f"{door.target}{word}" if word.startswith(":") else word for word in words]
    return run([program("scp"), *ssh_options(door), "-P", str(door.port), *options, *paths])


def paramiko_client(door: Door, **options: object) -> paramiko.SSHClient:
    """paramiko, for what no program can be made to ask."""
    client = paramiko.SSHClient()
    host_key = paramiko.Ed25519Key(data=base64.b64decode(door.host_key.split()[1]))
    client.get_host_keys().add(f"[{door.address}]:{door.port}", "ssh-ed25519", host_key)
    try:
        client.connect(
            door.address,
            door.port,
            door.username,
            key_filename=str(door.key),
            allow_agent=False,
            look_for_keys=False,
            **options,
        )
    except BaseException:
        client.close()
        raise
    return client


def putty_key(door: Door) -> Path:
    """The door's key as PuTTY keeps keys, made once."""
    made = door.key.with_suffix(".ppk")
    if not made.exists():
        done = run([program("puttygen"), str(door.key), "-O", "private", "-o", str(made)])
        assert done.code == 0, done.output
    return made


def psftp(door: Door, *lines: str) -> Ran:
    batch = door.key.with_suffix(".psftp")
    batch.write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = ["-batch", "-hostkey", door.fingerprint, "-P", str(door.port), "-i", str(putty_key(door))]
    return run([program("psftp"), *options, "-b", str(batch), door.target])


def lftp(door: Door, *lines: str) -> Ran:
    connect = " ".join(["ssh", "-a", "-x", *ssh_options(door)])
    opening = [
        f"set sftp:connect-program '{connect}'",
        "set net:max-retries 1",
        "set cmd:fail-exit true",
        f"open -u {door.username}, -p {door.port} sftp://{door.address}",
    ]
    return run([program("lftp"), "--norc", "-c", "; ".join([*opening, *lines])])


def curl(door: Door, path: str, *words: str) -> Ran:
    """curl on one path of the host, for instance with `-T FILE`, or `-o FILE`."""
    where = f"sftp://{door.username}@{door.address}:{door.port}{path}"
    keys = ["--key", str(door.key), "--pubkey", f"{door.key}.pub", "--hostpubsha256", door.host_digest]
    return run([program("curl"), "-sS", "--disable", *keys, *words, where])


def rclone(door: Door, *words: str) -> Ran:
    """rclone with its defaults; a word that starts with a colon is a path on the host."""
    ssh_options(door)
    known = door.key.with_name(f"{door.key.name}.{door.port}.known_hosts")
    remote = (
        f":sftp,host={door.address},port={door.port},user={door.username},"
        f"key_file='{door.key}',known_hosts_file='{known}'"
    )
    paths = [f"{remote}{word}" if word.startswith(":") else word for word in words]
    return run([program("rclone"), "--config", "/dev/null", "--retries", "1", *paths])


@dataclass(frozen=True, slots=True)
class Client:
    """One program's way to put, fetch and list, for tests that hold for all of them. Paths on the host are absolute."""

    name: str
    put: Callable[[Door, Path, str], Ran]
    get: Callable[[Door, str, Path], Ran]
    names: Callable[[Door, str], Ran]


CLIENTS = (
    Client(
        "sftp",
        lambda door, here, there: sftp(door, f"put {here} {there}"),
        lambda door, there, here: sftp(door, f"get {there} {here}"),
        lambda door, there: sftp(door, f"ls -1 {there}"),
    ),
    Client(
        "scp",
        lambda door, here, there: scp(door, str(here), f":{there}", options=("-s",)),
        lambda door, there, here: scp(door, f":{there}", str(here), options=("-s",)),
        lambda door, there: sftp(door, f"ls -1 {there}"),
    ),
    Client(
        "psftp",
        lambda door, here, there: psftp(door, f"put {here} {there}"),
        lambda door, there, here: psftp(door, f"get {there} {here}"),
        lambda door, there: psftp(door, f"ls {there}"),
    ),
    Client(
        "lftp",
        lambda door, here, there: lftp(door, f"put {here} -o {there}"),
        lambda door, there, here: lftp(door, f"get {there} -o {here}"),
        lambda door, there: lftp(door, f"cls -1 {there}/"),
    ),
    Client(
        "curl",
        lambda door, here, there: curl(door, there, "-T", str(here)),
        lambda door, there, here: curl(door, there, "-o", str(here)),
        lambda door, there: curl(door, f"{there}/", "--list-only"),
    ),
    Client(
        "rclone",
        lambda door, here, there: rclone(door, "copyto", str(here), f":{there}"),
        lambda door, there, here: rclone(door, "copyto", f":{there}", str(here)),
        lambda door, there: rclone(door, "lsf", f":{there}"),
    ),
)
