"""Gets the programs the tests run for real: by apt where this may be done, else says what is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# program -> Debian package. PostgreSQL's servers are not on PATH in Debian.
PROGRAMS = {
    "sshd": "openssh-server",
    "sftp": "openssh-client",
    "ssh-keygen": "openssh-client",
    "psftp": "putty-tools",
    "puttygen": "putty-tools",
    "lftp": "lftp",
    "rclone": "rclone",
    "curl": "curl",
    "openssl": "openssl",
    "initdb": "postgresql",
    "redis-server": "redis-server",
    "nginx": "nginx-light",
    "chromium": "chromium",
    "fc-list": "fontconfig",
    "systemd-analyze": "systemd",
}
# A file -> its Debian package, for packages without a program. Below any library directory.
LIBRARIES = {"libnss_extrausers.so.2": "libnss-extrausers"}
PLACES = [*os.environ.get("PATH", "").split(":"), "/usr/sbin", "/sbin"]


def find(program: str) -> str | None:
    """The program's path, also where Debian keeps servers."""
    servers = sorted((str(path.parent) for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")), reverse=True)
    return shutil.which(program, path=":".join([*servers, *PLACES]))


def find_library(name: str) -> Path | None:
    """The library's path, wherever this release of Debian or Ubuntu keeps libraries."""
    return next((path for pattern in (name, f"*/{name}") for path in Path("/usr/lib").glob(pattern)), None)


def missing() -> list[str]:
    """The packages whose programs or libraries are not there."""
    programs = {package for program, package in PROGRAMS.items() if find(program) is None}
    return sorted(programs | {package for name, package in LIBRARIES.items() if find_library(name) is None})


def install(packages: list[str]) -> None:
    """Installs Debian packages; a failure shows in what is missing afterwards."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    print("Installing for the tests: " + " ".join(packages), flush=True)
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages],
    ):
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)


def main() -> int:
    """Exit status 1 when something is missing and cannot be installed."""
    wanted = missing()
    if wanted and shutil.which("apt-get") and os.geteuid() == 0:
        install(wanted)
        wanted = missing()
    if wanted:
        print("The tests run real servers and clients; these packages are missing: " + " ".join(wanted))
        print("On Debian or Ubuntu:  sudo apt-get install " + " ".join(wanted))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
