"""A running SFTP host with two accounts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .clients import Door
from .machine import Machine
from .serving import Serving, key_pair, public_line

OURS = "smithville.k12.oh.us"
THEIRS = "jonestown.k12.oh.us"


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the key pairs `ours`, `theirs` and `stranger`."""
    directory = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs", "stranger"):
        key_pair(directory, name)
    return directory


@pytest.fixture(scope="session")
def shared_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    serving = Serving(tmp_path_factory.mktemp("shared") / "sftp")
    yield serving
    serving.stop()


@pytest.fixture
def host(shared_process: Serving, keys: Path) -> Iterator[Serving]:
    """The host as it is after its first start, with the two accounts. Tests share the process: do not stop it."""
    _admit_both(shared_process, keys)
    yield shared_process
    shared_process.clear()


@pytest.fixture
def own_host(tmp_path: Path, keys: Path) -> Iterator[Serving]:
    """A host whose process this test may stop, kill and start."""
    serving = Serving(tmp_path / "sftp")
    _admit_both(serving, keys)
    yield serving
    serving.stop()


def _admit_both(serving: Serving, keys: Path) -> None:
    serving.admit(OURS, public_line(keys / "ours"))
    serving.admit(THEIRS, public_line(keys / "theirs"))


@pytest.fixture
def door(host: Serving, keys: Path) -> Door:
    return host.door(OURS, keys / "ours")


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A real sshd that the portal is a client of."""
    machine = Machine(tmp_path_factory.mktemp("machine"))
    yield machine
    machine.stop()
