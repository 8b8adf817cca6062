"""E1 to E22: every way in which nightly files are known to go wrong, through real SFTP uploads, on a running portal."""

import subprocess
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.clients import Door, paramiko_client, sftp, sftp_command
from tests.ingest.epochs import with_cell

from .mishaps import CASES, Case, joined, lines, students
from .stack import Portal, wait_for
from .uploads import epoch_in, ready_district, upload

# Rows of a file that takes a slow client some seconds.
LARGE = 15_000
# States in which nothing more happens by itself.
RESTING = ("loaded", "failed", "held", "waiting_staff", "superseded", "gone")


def night_name(days_ago: int) -> str:
    """The name of a night of these days."""
    return f"{date.today() - timedelta(days=days_ago):%Y%m%d}-020000"


@pytest.fixture(scope="module")
def told(portal: Portal, key_pair: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What became of every night of every case, by the case's slug; the districts send side by side."""
    folder = tmp_path_factory.mktemp("mishaps")
    public = key_pair.with_suffix(".pub").read_text()
    slugs = {case: portal.inside("district", name=case.slug, domain=f"{case.slug}.example") for case in CASES}
    for slug in slugs.values():
        portal.inside("save_keys", slug=slug, text=public)
    wait_for("all keys are on the host", lambda: set(portal.inside("key_files")) == {"on_host"}, 120)
    for number in range(max(len(case.nights) for case in CASES)):
        sending = [case for case in CASES if number < len(case.nights)]
        for case in sending:
            name = night_name(len(case.nights) - number - 1)
            upload(portal.door(f"{case.slug}.example", key_pair), folder / case.slug, name, case.nights[number])
        wait_for(
            f"night {number} has ended everywhere",
            lambda: all(_rests(portal.inside("nights", slug=slugs[case]), number + 1) for case in sending),  # noqa: B023
            180,
        )
    return {case.slug: portal.inside("nights", slug=slugs[case]) for case in CASES}


def _rests(nights: list[dict[str, Any]], count: int) -> bool:
    return len(nights) >= count and nights[-1]["state"] in RESTING


@pytest.mark.parametrize("case", CASES, ids=[case.slug for case in CASES])
def test_what_goes_wrong_is_found_and_named_and_never_wrecks_a_roster(
    told: dict[str, list[dict[str, Any]]], case: Case
) -> None:
    *earlier, last = told[case.slug]
    assert {one["state"] for one in earlier} <= {"loaded"}
    assert last["state"] == case.state, last
    assert case.codes <= set(last["codes"])
    assert last["cause"] == case.cause
    assert case.state == "loaded" or last["touched"] == 0


@pytest.fixture(scope="module")
def sender(portal: Portal, key_pair: Path) -> tuple[str, Door]:
    """A district for what needs a client of its own kind: its slug and the way in."""
    return ready_district(portal, "Odd senders", "odd-senders.example", key_pair)


def slowly(door: Door, *commands: str) -> subprocess.Popen[str]:
    """OpenSSH's sftp at 2 Mbit a second, begun and not waited for."""
    sending = subprocess.Popen(
        sftp_command(door, "-l", "2000", "-b", "-"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert sending.stdin is not None
    sending.stdin.write("\n".join(commands) + "\n")
    sending.stdin.close()
    return sending


def _large(tmp_path: Path, rows: int = LARGE) -> Path:
    """A file that takes such a client longer than an upload has to rest."""
    place = tmp_path / "students.csv"
    place.write_bytes(students(0, rows)["students.csv"])
    return place


def test_e1_of_a_client_that_is_killed_in_mid_file_nothing_is_taken(
    portal: Portal, sender: tuple[str, Door], tmp_path: Path
) -> None:
    slug, door = sender
    name = night_name(3)
    sending = slowly(door, f"mkdir /upload/{name}", f"put {_large(tmp_path)} /upload/{name}/students.csv")
    wait_for("some of it has arrived", lambda: "students.csv" in sftp(door, f"ls -1 /upload/{name}").output, 60)
    sending.kill()
    sending.wait(10)
    time.sleep(4)  # longer than an upload has to rest
    found = epoch_in(portal, slug, name, ("arriving",))
    assert (found["look_code"], found["format"]) == ("uploading", "")
    sftp(door, f"rm /upload/{name}/students.csv", f"rmdir /upload/{name}")
    epoch_in(portal, slug, name, ("gone",))


def test_e1_of_half_a_file_without_a_directory_nothing_is_applied(
    portal: Portal, sender: tuple[str, Door], tmp_path: Path
) -> None:
    slug, door = sender
    sending = slowly(door, f"put {_large(tmp_path)} /upload/students_auto.csv")
    try:
        wait_for("some of it has arrived", lambda: "students_auto.csv" in sftp(door, "ls -1 /upload").output, 60)
        time.sleep(3)
        # Between two looks nothing is known of it.
        told = lambda: epoch_in(portal, slug, "students_auto.csv", ("arriving",))["look_code"]  # noqa: E731
        assert wait_for("a look says how far it is", told, 20) in ("being_written", "unsettled")
    finally:
        sending.kill()
        sending.wait(10)
    epoch_in(portal, slug, "students_auto.csv", ("failed",))
    assert portal.inside("nights", slug=slug)[-1]["touched"] == 0


def test_e9_complete_that_comes_first_is_waited_behind(
    portal: Portal, sender: tuple[str, Door], tmp_path: Path
) -> None:
    """Clients that send by the alphabet do this: C comes before s."""
    slug, door = sender
    name, place = night_name(2), _large(tmp_path)
    (tmp_path / "COMPLETE").touch()
    sending = slowly(
        door,
        f"mkdir /upload/{name}",
        f"put {tmp_path / 'COMPLETE'} /upload/{name}/COMPLETE",
        f"put {place} /upload/{name}/students.csv",
    )
    assert sending.wait(60) == 0
    epoch_in(portal, slug, name, ("loaded",))
    (found,) = [one for one in portal.inside("nights", slug=slug) if one["name"] == name]
    assert (found["state"], found["touched"]) == ("loaded", LARGE)


def test_e3_a_shorter_night_written_over_a_longer_one_is_found(
    portal: Portal, sender: tuple[str, Door], tmp_path: Path
) -> None:
    """By a client that opens what is there without emptying it: the old file's end stays."""
    slug, door = sender
    name, shorter = night_name(1), joined(lines(students(9, 40)["students.csv"])[:20])
    upload(door, tmp_path / "long", name, students(1, 40), complete=False)
    with paramiko_client(door) as client:
        files = client.open_sftp()
        with files.open(f"/upload/{name}/students.csv", "r+b") as file:
            file.write(with_cell(shorter, 20, "Last Name", "Longer-Than-Before"))
        files.open(f"/upload/{name}/COMPLETE", "wb").close()
    found = epoch_in(portal, slug, name, (*RESTING,))
    assert found["state"] in ("failed", "held"), found
    assert portal.inside("nights", slug=slug)[-1]["touched"] == 0


def test_e10_a_night_that_is_complete_only_after_a_later_one_is_superseded(
    portal: Portal, key_pair: Path, tmp_path: Path
) -> None:
    slug, door = ready_district(portal, "Late nights", "late-nights.example", key_pair)
    late, later = night_name(3), night_name(2)
    upload(door, tmp_path / "late", late, students(1), complete=False)
    upload(door, tmp_path / "later", later, students(2))
    epoch_in(portal, slug, later, ("loaded",))
    rows = portal.inside("snapshot", slug=slug)["records"]
    (tmp_path / "COMPLETE").touch()
    sftp(door, f"put {tmp_path / 'COMPLETE'} /upload/{late}/COMPLETE")
    epoch_in(portal, slug, late, ("superseded",))
    told = portal.inside("snapshot", slug=slug)
    assert told["records"] == rows
    assert later in told["logs"][0]
    assert sftp(door, f"ls -1 /upload-processed/{late}").output.count("students.csv") == 1
