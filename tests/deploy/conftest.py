"""A whole OpenSSH host, shared by all tests of one process: each makes accounts of its own."""

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.serving import key_pair, public_line

from .host import REPOSITORY, OpensshHost, running
from .journaling import Journaled, journaled

# The helper's package lies where install.sh takes it from, and is imported under the name it has on a host.
sys.path.insert(0, str(REPOSITORY / "deploy/openssh"))

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def openssh_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpensshHost]:
    """The host. Do not stop it for good."""
    with running(tmp_path_factory.mktemp("openssh")) as host:
        yield host


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the key pairs `ours`, `theirs` and `stranger`."""
    directory = tmp_path_factory.mktemp("keys")
    for name in ("ours", "theirs", "stranger"):
        key_pair(directory, name)
    return directory


@pytest.fixture(scope="session")
def journal(openssh_host: OpensshHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journaled]:
    """The same host with a journal, an sshd that logs to it, and the log service, which is not started yet."""
    with journaled(openssh_host, tmp_path_factory.mktemp("journal")) as one:
        yield one


@pytest.fixture
def shipped(journal: Journaled) -> Iterator[Journaled]:
    """The same with its log service running."""
    journal.ship()
    yield journal
    journal.ship_no_more()


@pytest.fixture
def ours(openssh_host: OpensshHost, keys: Path) -> str:
    """A new account with the key `ours`."""
    return _account(openssh_host, keys / "ours")


@pytest.fixture
def theirs(openssh_host: OpensshHost, keys: Path) -> str:
    """Another new account, with the key `theirs`."""
    return _account(openssh_host, keys / "theirs")


def _account(host: OpensshHost, key: Path) -> str:
    name = f"district-{next(_numbers)}.k12.oh.us"
    host.account(name, public_line(key))
    return name
