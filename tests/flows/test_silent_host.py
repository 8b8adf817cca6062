"""A host that accepts connections and never answers, and real workers: a key saved for another does not wait for it."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.keys.samples import text

from .stack import EMBEDDED, Portal, Stack, wait_for

# More than the worker of saved keys has threads.
SAVES = 32
# Shortly before the portal's patience with the greeting ends: then it waits for the next word.
LATE_SECONDS = 8


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a listener that greets as an SSH server does, late, and never says another word."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        threading.Thread(target=_greet, args=(listener,), daemon=True).start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)


def _greet(listener: socket.socket) -> None:
    kept = []
    with contextlib.suppress(OSError):  # it is over
        while True:
            kept.append(listener.accept()[0])
            threading.Timer(LATE_SECONDS, kept[-1].sendall, (b"SSH-2.0-silent\r\n",)).start()
    for each in kept:
        each.close()


@pytest.fixture
def unswept(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal whose sweep comes too late to help; what it promises is what it ships with."""
    made = stack.portal(tmp_path_factory.mktemp("portal"))
    made.environment["SWEEP_SECONDS"] = "120"
    made.start()
    try:
        yield made
    finally:
        made.close()


@pytest.mark.parametrize("stack", [EMBEDDED], indirect=True)
def test_a_key_that_is_saved_for_a_host_that_works_waits_for_no_silent_one(unswept: Portal, silent: int) -> None:
    healthy = str(unswept.inside("district", name="Rowan", domain="rowan.k12.oh.us", administrator="d@rowan.example"))
    wait_for("its empty file", lambda: unswept.inside("key_file", slug=healthy)["state"] == "on_host")
    unswept.inside("host_with_districts", port=silent, count=SAVES)
    unswept.inside("save_keys", slug=healthy, text=text("rsa2048"))
    version = unswept.inside("key_file", slug=healthy)["version"]
    there = lambda: unswept.inside("key_file", slug=healthy)["host_version"] == version  # noqa: E731
    wait_for("the saved key is on its host", there)
    assert unswept.inside("key_files").get("failed", 0) == 0, "it came only after the silent host was given up"
    # The others say why, in the end: none waits for a thread.
    wait_for("no silent host is waited for", lambda: unswept.inside("key_files").get("failed", 0) == SAVES)
    assert text("rsa2048").split()[1] in (unswept.data_dir / "sftp/keys/rowan.k12.oh.us").read_text()
