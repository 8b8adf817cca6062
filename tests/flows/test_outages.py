"""A full disk, a database and a broker that go away in mid-epoch: nothing is lost, nothing is applied twice."""

import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.clients import Door, paramiko_client, sftp

from .stack import EMBEDDED, EXTERNAL, Portal, Stack, wait_for
from .test_mishaps import LARGE, slowly
from .uploads import epoch_in, ready_district, students, upload

NO_ROOM = "There is no room left on our side for the files of this epoch. Nothing is lost."
FIRST, SECOND, THIRD, FOURTH = (f"2026112{number}-020000" for number in range(1, 5))
PAUSE = 60


# --- Disks ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cramped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal whose private copies lie on a small disk, and whose host's files lie on another."""
    folder = tmp_path_factory.mktemp("cramped")
    made = Stack(EMBEDDED, folder).portal(folder)
    made.disks = {"staging": 8192, "sftp": 8192}
    made.start()
    try:
        yield made
    finally:
        made.close()


class Filled:
    """A disk on which only so many bytes are left, until somebody makes room."""

    def __init__(self, place: Path, left: int) -> None:
        self.filler = place / ".filler"
        with self.filler.open("wb", buffering=0) as out:
            try:
                while True:
                    out.write(bytes(4096))
            except OSError:
                out.truncate(out.tell() - left)

    def make_room(self) -> None:
        self.filler.unlink()


def _trouble(portal: Portal, slug: str, name: str, words: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = [one for one in portal.inside("epochs", slug=slug) if one["name"] == name]
        return found[0] if found and words in found[0]["trouble"] else None

    found: dict[str, Any] = wait_for(f"{name} says: {words}", look)
    return found


def _is_loaded_once(portal: Portal, slug: str, name: str, rows: int) -> None:
    told = portal.inside("snapshot", slug=slug)
    assert len([record for record in told["records"] if not record[3]]) == rows
    assert [epoch[0] for epoch in told["epochs"]].count(name) == 1
    loaded = [details for action, details in told["audit"] if action == "epoch loaded"]
    assert len(loaded) == len([epoch for epoch in told["epochs"] if epoch[1] == "loaded"])
    assert portal.inside("audit_is_whole")


def test_no_room_for_private_copies_is_told_and_gone_on_with_when_there_is_room(
    cramped: Portal, key_pair: Path, tmp_path: Path
) -> None:
    slug, door = ready_district(cramped, "Crampton", "crampton.example", key_pair)
    files = students(size=2000)
    disk = Filled(cramped.disk("staging"), len(files["students.csv"]) // 2)
    upload(door, tmp_path, FIRST, files)
    found = _trouble(cramped, slug, FIRST, NO_ROOM)
    assert (found["state"], found["step"]) == ("working", "claim")
    assert [place for place in cramped.disk("staging").rglob("*") if place.is_file()] == [disk.filler]
    disk.make_room()
    epoch_in(cramped, slug, FIRST, ("loaded",), PAUSE)
    _is_loaded_once(cramped, slug, FIRST, 2000)
    wait_for("no private copy is left", lambda: not list(cramped.disk("staging").iterdir()))


def test_no_room_for_what_is_compared_and_for_the_log_is_told_and_gone_on_with(
    cramped: Portal, key_pair: Path, tmp_path: Path
) -> None:
    slug, door = ready_district(cramped, "Tightwood", "tightwood.example", key_pair)
    files = students(size=2000)
    ours = Filled(cramped.disk("staging"), len(files["students.csv"]) + 40_000)
    upload(door, tmp_path, FIRST, files)
    found = _trouble(cramped, slug, FIRST, NO_ROOM)
    assert (found["state"], found["step"]) == ("working", "check")
    assert not list(cramped.disk("staging").rglob("*.arrow"))
    hosts = Filled(cramped.disk("sftp"), 0)
    ours.make_room()
    found = _trouble(cramped, slug, FIRST, "The host has no room")
    assert (found["state"], found["step"]) == ("working", "load")
    hosts.make_room()
    epoch_in(cramped, slug, FIRST, ("loaded",), PAUSE)
    _is_loaded_once(cramped, slug, FIRST, 2000)
    assert "processing-log.txt" in sftp(door, f"ls -1 /upload-processed/{FIRST}").output


def test_e22_of_an_upload_to_a_full_disk_its_client_hears_and_nothing_is_taken(
    cramped: Portal, key_pair: Path, tmp_path: Path
) -> None:
    slug, door = ready_district(cramped, "Fullerton", "fullerton.example", key_pair)
    files = students(size=2000)
    upload(door, tmp_path / "before", FIRST, students(size=2000))
    epoch_in(cramped, slug, FIRST, ("loaded",), PAUSE)
    disk = Filled(cramped.disk("sftp"), 20_000)
    (tmp_path / "students.csv").write_bytes(files["students.csv"])
    (tmp_path / "COMPLETE").touch()
    lines = [f"put {tmp_path / name} /upload/{SECOND}/{name}" for name in ("students.csv", "COMPLETE")]
    heard = sftp(door, f"mkdir /upload/{SECOND}", *lines)
    assert heard.code != 0
    with (
        paramiko_client(door) as client,
        client.open_sftp().open(f"/upload/{SECOND}/students.csv", "wb") as file,
        pytest.raises(OSError, match="The host has no room"),
    ):
        file.write(files["students.csv"])
    found = epoch_in(cramped, slug, SECOND, ("arriving",))
    wait_for("it rests", lambda: epoch_in(cramped, slug, SECOND, ("arriving",))["look_code"] == "uploading")
    assert found["format"] == ""
    # A client that goes on whatever it hears: what is there is not what was to be there.
    sftp(door, *(f"-{line}" for line in lines))
    _trouble(cramped, slug, SECOND, "The host has no room for")  # the list of findings, beside the log
    disk.make_room()
    epoch_in(cramped, slug, SECOND, ("failed", "held", "waiting_staff"), PAUSE)
    upload(door, tmp_path / "after", THIRD, students(night=1, size=2000))
    epoch_in(cramped, slug, THIRD, ("loaded", "held"), PAUSE)
    told = {one["name"]: one for one in cramped.inside("nights", slug=slug)}
    assert told[SECOND]["touched"] == 0


def test_a_connection_that_is_cut_in_mid_file_costs_its_client_one_more_upload(
    cramped: Portal, key_pair: Path, tmp_path: Path
) -> None:
    slug, door = ready_district(cramped, "Cutler", "cutler.example", key_pair)
    files = students(size=LARGE)
    (tmp_path / "students.csv").write_bytes(files["students.csv"])
    lines = (f"mkdir /upload/{FIRST}", f"put {tmp_path / 'students.csv'} /upload/{FIRST}/students.csv")
    sending = slowly(door, *lines, f"put /dev/null /upload/{FIRST}/COMPLETE")
    wait_for("some of it has arrived", lambda: "students.csv" in sftp(door, f"ls -1 /upload/{FIRST}").output, 20)
    sending.kill()
    sending.wait(10)
    wait_for("it rests", lambda: epoch_in(cramped, slug, FIRST, ("arriving",))["look_code"] == "uploading")
    upload(door, tmp_path, FIRST, files)
    epoch_in(cramped, slug, FIRST, ("loaded",), PAUSE)
    _is_loaded_once(cramped, slug, FIRST, LARGE)


# --- Database and broker -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A database and a broker that nobody else uses."""
    made = Stack(EXTERNAL, tmp_path_factory.mktemp("servers"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def served(servers: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal that uses them."""
    made = servers.portal(tmp_path_factory.mktemp("served"))
    made.start()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def senders(served: Portal, key_pair: Path) -> dict[str, Door]:
    """Districts whose nights are under way when a server goes."""
    names = ("Maple", "Oak")
    return dict(ready_district(served, name, f"{name.lower()}.example", key_pair) for name in names)


ROWS = 12_000
GONE = {
    "PostgreSQL is restarted": (FIRST, ("postgres",), signal.SIGINT),
    "PostgreSQL crashes": (SECOND, ("postgres",), signal.SIGQUIT),
    "Redis crashes": (THIRD, ("redis",), signal.SIGKILL),
    "both crash": (FOURTH, ("redis", "postgres"), signal.SIGQUIT),
}


@pytest.mark.parametrize("what", GONE)
def test_servers_that_go_in_mid_epoch_and_come_back_cost_only_time(
    servers: Stack, served: Portal, senders: dict[str, Door], tmp_path: Path, what: str
) -> None:
    name, gone, how = GONE[what]
    files = students(night=int(name[7]), size=ROWS)
    for slug, door in senders.items():
        served.inside("guard_rests", slug=slug)
        upload(door, tmp_path / slug, name, files)
    first = next(iter(senders))
    epoch_in(served, first, name, ("working",))
    for server in gone:
        getattr(servers, server).stop(signal.SIGKILL if server == "redis" else how)
    try:
        status, text = _page(served)
    finally:
        for server in gone:
            getattr(servers, server).start()
    assert (status, "nothing you saved before is lost" in text) == ((500, True) if "postgres" in gone else (200, False))
    served.inside.close()
    for slug in senders:
        epoch_in(served, slug, name, ("loaded",), 120)
        told = served.inside("snapshot", slug=slug)
        assert len([record for record in told["records"] if not record[3]]) == ROWS
        loaded = [details for action, details in told["audit"] if action == "epoch loaded"]
        assert len(loaded) == len(told["epochs"])
    assert served.inside("audit_is_whole")


def _page(portal: Portal) -> tuple[int, str]:
    """What a signed-in person's browser is answered."""
    cookie = f"portal_session_{portal.port}=0123456789abcdefghijklmnopqrstuv"
    asked = urllib.request.Request(f"{portal.url}/", headers={"Cookie": cookie})
    try:
        with urllib.request.urlopen(asked, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
