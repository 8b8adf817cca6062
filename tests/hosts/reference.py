"""A real sshd on loopback that serves SFTP to whoever runs the tests: what the embedded host is held against."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.system_packages import find

from .clients import Door, program, run
from .serving import PATIENCE, key_pair, until

ADDRESSES = ("127.0.0.1", "::1")


def sshd_path() -> str:
    """The server's path; it insists on being started by its whole path, and lies in no user's PATH."""
    path = find("sshd")
    return shutil.which(path) or path if path else program("sshd")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Reference:
    """A running sshd: one account, that of the test's own user, and one key file for it."""

    def __init__(
        self,
        directory: Path,
        environment: Mapping[str, str] | None = None,
        *,
        more: Sequence[str] = (),
        fresh_host_key: bool = True,
    ) -> None:
        """`more` lines of configuration go before the others, and so win."""
        directory.mkdir(exist_ok=True)
        self.key_file = directory / "authorized_keys"
        self.username = pwd.getpwuid(os.getuid()).pw_name
        self.port = free_port()
        self._host_key = key_pair(directory, "host_key") if fresh_host_key else directory / "host_key"
        self._log = directory / "log"
        self._config = directory / "config"
        settings = "\n".join([*more, *self._settings()]) + "\n"
        # From 9.8 on sshd shuts out who fails often, as a table of bad lines does; before, it does not know the word.
        self._config.write_text(f"{settings}PerSourcePenalties no\n")
        if run([sshd_path(), "-t", "-f", str(self._config)]).code != 0:
            self._config.write_text(settings)
        if os.geteuid() == 0:  # where sshd's unprivileged half goes; a package without a running service lacks it
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.process = subprocess.Popen(
            [sshd_path(), "-D", "-f", str(self._config), "-E", str(self._log)],
            env={**os.environ, **(environment or {})},
        )
        until(self._listens, "an sshd that listens")

    def _settings(self) -> list[str]:
        return [
            f"Port {self.port}",
            *(f"ListenAddress {address}" for address in ADDRESSES),
            f"HostKey {self._host_key}",
            f"AuthorizedKeysFile {self.key_file}",
            "AuthenticationMethods publickey",
            "PermitRootLogin prohibit-password",
            # The tests' directory lies below one that everybody may write to.
            "StrictModes no",
            "UsePAM no",
            "PidFile none",
            "MaxStartups 100",
            "LogLevel VERBOSE",
            "Subsystem sftp internal-sftp",
            "ForceCommand internal-sftp",
        ]

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log()
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def write(self, content: bytes) -> None:
        """Put the key file in place, as a push does: whole or not at all."""
        fresh = self.key_file.with_suffix(".new")
        fresh.write_bytes(content)
        fresh.replace(self.key_file)

    def door(self, key: Path, address: str = "127.0.0.1") -> Door:
        host_key = Path(f"{self._host_key}.pub").read_text(encoding="ascii")
        return Door(self.port, self.username, key, " ".join(host_key.split()[:2]), address)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
