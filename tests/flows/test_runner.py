"""`manage.py up`: starts, restarts what dies, stops in order, leaves no orphan, and goes on where it was killed."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.clients import sftp

from .stack import EMBEDDED, Portal, Stack, free_port, wait_for
from .uploads import epoch_in, ready_district, students, upload


@pytest.fixture
def portal(stack: Stack, tmp_path: Path) -> Iterator[Portal]:
    """A portal that is not started yet."""
    yield from _looked_after(stack.portal(tmp_path))


@pytest.fixture
def new_portal(stack: Stack, tmp_path: Path) -> Iterator[Portal]:
    """One whose database is empty."""
    yield from _looked_after(stack.portal(tmp_path, is_first=True))


def _looked_after(made: Portal) -> Iterator[Portal]:
    try:
        yield made
    finally:
        made.close()
        for pid in made.processes():
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def plain_portal(tmp_path: Path) -> Iterator[Portal]:
    """The same on the embedded stack only: for what has nothing to do with the database or the broker."""
    made = Stack(EMBEDDED, tmp_path).portal(tmp_path)
    try:
        yield made
    finally:
        made.close()


def _parts(portal: Portal) -> dict[str, int]:
    """The runner's own children, by the word that tells them apart."""
    assert portal.process is not None
    words = {f"{name}@": name for name in ("worker", "worker-keys", "worker-runs", "worker-soon")}
    words |= {"beat": "beat", "gunicorn": "web", "hosts.server": "sftp", "valkey": "broker"}
    told = {}
    for pid in portal.processes():
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        if parent == portal.process.pid:
            told |= {part: pid for word, part in words.items() if word in line}
    return told


def test_term_stops_everything_and_a_second_start_knows_the_first(new_portal: Portal) -> None:
    new_portal.start()
    assert len(_parts(new_portal)) >= 7
    first = new_portal.output.read_text()
    said = new_portal.stop()
    assert said.rstrip().endswith("Stopped.")
    assert new_portal.process is not None
    assert new_portal.process.returncode == 0
    assert new_portal.processes() == []
    new_portal.start()
    password = next(line for line in first.splitlines() if "system administrator" in line)
    assert password in new_portal.output.read_text()


def test_ctrl_c_stops_everything(plain_portal: Portal) -> None:
    plain_portal.start()
    assert plain_portal.process is not None
    plain_portal.process.send_signal(signal.SIGINT)
    plain_portal.process.wait(60)
    assert plain_portal.processes() == []


def test_killed_parts_are_started_again_and_the_work_goes_on(portal: Portal, key_pair: Path) -> None:
    portal.start()
    before = _parts(portal)
    slug = portal.inside("district", name="Ash Grove", domain="ashgrove.k12.oh.us")
    for part in before:
        os.kill(before[part], signal.SIGKILL)
    portal.inside("save_keys", slug=slug, text=key_pair.with_suffix(".pub").read_text())
    wait_for("all parts are back", lambda: _are_others(before, _parts(portal)), 60)
    wait_for("the key is on the host", lambda: portal.inside("key_file", slug=slug)["state"] == "on_host", 60)
    wait_for("it signs in", lambda: sftp(portal.door("ashgrove.k12.oh.us", key_pair), "ls /").code == 0, 30)
    said = portal.output.read_text()
    assert all(f"{part} ended (signal 9)" in said for part in before)


def _are_others(before: dict[str, int], after: dict[str, int]) -> bool:
    return set(after) == set(before) and not set(after.values()) & set(before.values())


def test_a_killed_runner_leaves_no_orphan_and_the_next_start_finishes_its_work(
    portal: Portal, key_pair: Path, tmp_path: Path
) -> None:
    portal.start()
    slug, door = ready_district(portal, "Elm Hill", "elmhill.k12.oh.us", key_pair)
    upload(door, tmp_path / "night", "20261121-020000", students(size=20_000))
    epoch_in(portal, slug, "20261121-020000", ("working",))
    _kill_and_see_nothing_left(portal)
    portal.start()
    epoch_in(portal, slug, "20261121-020000", ("loaded",), 120)
    assert len(portal.inside("snapshot", slug=slug)["records"]) == 20_000


@pytest.mark.parametrize("after", [0, 4, 10])
def test_a_killed_runner_that_was_idle_leaves_no_orphan(plain_portal: Portal, after: int) -> None:
    plain_portal.start()
    time.sleep(after)
    _kill_and_see_nothing_left(plain_portal)


def _kill_and_see_nothing_left(portal: Portal) -> None:
    portal.kill()
    wait_for("no process is left", lambda: portal.processes() == [], 15)


def test_a_taken_port_is_told_and_another_used(plain_portal: Portal) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        plain_portal.environment |= {"PORT": str(taken), "SFTP_PORT": str(free_port())}
        plain_portal.start()
        assert f"Port {taken} is taken" in plain_portal.output.read_text()
        assert plain_portal.port != taken
        assert plain_portal.sftp_port == int(plain_portal.environment["SFTP_PORT"])


def test_two_portals_do_not_share_a_data_directory(plain_portal: Portal, tmp_path: Path) -> None:
    plain_portal.start()
    second = Portal(plain_portal.name, plain_portal.data_dir, plain_portal.environment, tmp_path / "second.log")
    with pytest.raises(AssertionError, match="Another portal is running"):
        second.start()


def test_state_is_kept_from_others(plain_portal: Portal) -> None:
    plain_portal.start()
    assert plain_portal.data_dir.stat().st_mode & 0o077 == 0
    for name in ("secret-key", "first-people.json", "sftp/host_ed25519"):
        assert (plain_portal.data_dir / name).stat().st_mode & 0o077 == 0, name
