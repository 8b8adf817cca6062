"""Journey B: an uploaded epoch becomes rows and a log."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from ingest.core import sampling
from tests.hosts.clients import Door, sftp

from .conftest import PASSWORD, sign_in
from .stack import Portal, wait_for
from .uploads import epoch_in, ready_district, rostering, students, upload

DANA = "dana@birchwood.example"
SAM = "sam@vendor.example"


@pytest.fixture(scope="module")
def staff(portal: Portal) -> str:
    """Sam of the vendor's support."""
    portal.inside("person", email=SAM, name="Sam Support", staff_role="support")
    return SAM


@pytest.fixture(scope="module")
def district(portal: Portal, staff: str, key_pair: Path) -> tuple[str, Door]:
    """Birchwood: its slug and the way in."""
    return ready_district(portal, "Birchwood", "birchwood.k12.oh.us", key_pair, administrator=DANA)


@pytest.fixture(autouse=True)
def _guard_rests(portal: Portal, district: tuple[str, Door]) -> None:
    """Each test sends nights of its own kind; what the guard says of that is tested in test_holds.py."""
    portal.inside("guard_rests", slug=district[0])


def test_nothing_happens_before_complete(portal: Portal, district: tuple[str, Door], tmp_path: Path) -> None:
    slug, door = district
    upload(door, tmp_path, "20261101-020000", students(), complete=False)
    found = epoch_in(portal, slug, "20261101-020000", ("arriving",))
    wait_for(
        "two more looks", lambda: epoch_in(portal, slug, "20261101-020000", ("arriving",))["look_code"] == "uploading"
    )
    assert found["format"] == ""
    assert sftp(door, "ls -1 /upload/20261101-020000").output.count(".csv") == 1
    sftp(door, "-rm /upload/20261101-020000/*", "rmdir /upload/20261101-020000")
    assert epoch_in(portal, slug, "20261101-020000", ("gone",))


def test_a_complete_epoch_becomes_rows_and_a_log_while_the_page_watches(
    page: Page, portal: Portal, district: tuple[str, Door], tmp_path: Path
) -> None:
    slug, door = district
    sign_in(page, portal, DANA, PASSWORD)
    page.goto(f"{portal.url}/districts/{slug}/uploads/")
    upload(door, tmp_path / "first", "20261102-020000", students())
    expect(page.get_by_text("Loaded: 40 added").first).to_be_visible(timeout=40_000)
    page.get_by_role("link", name="20261102-020000").first.click()
    expect(page.get_by_text("/upload-processed/20261102-020000/").first).to_be_visible()
    fetched = tmp_path / "log.txt"
    assert sftp(door, f"get /upload-processed/20261102-020000/processing-log.txt {fetched}").code == 0
    log = fetched.read_text()
    assert log.startswith("SUCCEEDED")
    assert "40" in log
    told = portal.inside("snapshot", slug=slug)
    assert len(told["records"]) == 40
    assert "epoch-first-loaded" in [kind for kind, _, _ in told["mail"]]


def test_the_next_night_is_compared_with_the_last(portal: Portal, district: tuple[str, Door], tmp_path: Path) -> None:
    slug, door = district
    before, after = students(night=0, size=2000), students(night=1, size=2000)
    upload(door, tmp_path / "a", "20261103-020000", before)
    epoch_in(portal, slug, "20261103-020000", ("loaded",))
    upload(door, tmp_path / "b", "20261104-020000", after)
    epoch_in(portal, slug, "20261104-020000", ("loaded",))
    old, new = (set(files.popitem()[1].splitlines()[1:]) for files in (dict(before), dict(after)))
    file = portal.inside("snapshot", slug=slug)["files"][-1]
    added, changed, removed = file[5:8]
    assert added + changed == len(new - old)
    assert removed + changed == len(old - new)
    assert file[8] == len(old & new)


def test_an_epoch_with_errors_changes_no_row_and_says_every_line(
    portal: Portal, district: tuple[str, Door], tmp_path: Path
) -> None:
    slug, door = district
    rows = portal.inside("snapshot", slug=slug)["records"]
    name, content = dict(students(size=50)).popitem()
    lines = content.splitlines(keepends=True)
    lines[7] = lines[7].replace(b",", b";", 3)
    lines[20] = lines[19]
    lines[20] = b"" + lines[20][: len(lines[20]) // 2] + b"\r\n"
    upload(door, tmp_path, "20261105-020000", {name: b"".join(lines)})
    found = epoch_in(portal, slug, "20261105-020000", ("failed",))
    assert found["errors"] >= 2
    told = portal.inside("snapshot", slug=slug)
    assert told["records"] == rows
    assert {8, 21} <= {line for _, line, _, _ in told["findings"]}
    log = told["logs"][-1]
    assert log.startswith("FAILED")
    assert "line 8" in log
    assert "line 21" in log
    assert ["epoch-failed", DANA] in [[kind, to] for kind, to, _ in told["mail"]]
    listing = sftp(door, "ls -1 /upload-processed/20261105-020000").output
    assert "processing-log.txt" in listing
    beside = [
        f"get /upload-processed/20261105-020000/{name} {tmp_path}/{name}" for name in ("result.json", "findings.csv")
    ]
    assert sftp(door, *beside).code == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["state"], result["findings_listed"]) == ("failed", len(told["findings"]))
    assert len((tmp_path / "findings.csv").read_bytes().splitlines()) == len(told["findings"]) + 1


def test_many_files_come_loose_or_in_one_zip(portal: Portal, key_pair: Path, tmp_path: Path) -> None:
    # The other's records are of another format, and a change of formats is held whatever the guard's limits are.
    slug, door = ready_district(portal, "Alderwood", "alderwood.k12.oh.us", key_pair)
    upload(door, tmp_path / "loose", "20261106-020000", rostering())
    loose = epoch_in(portal, slug, "20261106-020000", ("loaded",))
    packed = {"roster.zip": sampling.zipped(rostering(night=1))}
    upload(door, tmp_path / "zip", "20261107-020000", packed)
    zipped = epoch_in(portal, slug, "20261107-020000", ("loaded",))
    assert loose["format"] == zipped["format"] != ""


def test_what_is_not_recognised_stays_and_waits_for_staff_who_are_told_once(
    page: Page, portal: Portal, district: tuple[str, Door], staff: str, tmp_path: Path
) -> None:
    slug, door = district
    name, content = dict(students(size=30)).popitem()
    upload(door, tmp_path, "20261108-020000", {"who knows.csv": b"a,b\r\n1,2\r\n"})
    found = epoch_in(portal, slug, "20261108-020000", ("waiting_staff",))
    assert "who knows.csv" in sftp(door, "ls -1 /upload/20261108-020000").output
    told = [mail for mail in portal.inside("outbox", to=SAM) if "20261108-020000" in mail[1]]
    assert len(told) == 1
    sign_in(page, portal, SAM, PASSWORD)
    page.goto(f"{portal.url}/staff/ingest/?state=waiting_staff")
    page.get_by_role("link", name="20261108-020000").click()
    page.get_by_role("button", name="Process now").click()
    expect(page.get_by_text("Asked for").first).to_be_visible()
    assert epoch_in(portal, slug, "20261108-020000", ("waiting_staff",))["pk"] == found["pk"]
    # The district mends it: the right file under the right name, and nobody has to press anything.
    (tmp_path / name).write_bytes(content)
    sftp(door, 'rm "/upload/20261108-020000/who knows.csv"', f"put {tmp_path / name} /upload/20261108-020000/{name}")
    epoch_in(portal, slug, "20261108-020000", ("loaded",))
    assert len([mail for mail in portal.inside("outbox", to=SAM) if "20261108-020000" in mail[1]]) == 1


def test_staff_assign_a_format_by_hand(
    page: Page, portal: Portal, district: tuple[str, Door], staff: str, tmp_path: Path
) -> None:
    slug, door = district
    name, _ = dict(students(size=30)).popitem()
    upload(door, tmp_path, "20261109-020000", {name: b"Nobody,Knows\r\n1,2\r\n"})
    found = epoch_in(portal, slug, "20261109-020000", ("waiting_staff",))
    sign_in(page, portal, SAM, PASSWORD)
    page.goto(f"{portal.url}/districts/{slug}/uploads/{found['pk']}/")
    page.get_by_label("Format").select_option(index=1)
    page.get_by_role("button", name="Assign").click()
    ended = epoch_in(portal, slug, "20261109-020000", ("failed",))
    assert ended["errors"] > 0


def test_two_epochs_of_one_district_at_once_are_applied_one_after_the_other_by_name(
    portal: Portal, key_pair: Path, tmp_path: Path
) -> None:
    slug, door = ready_district(portal, "Twin Rivers", "twinrivers.k12.oh.us", key_pair)
    upload(door, tmp_path / "later", "20261111-020000", students(night=1, size=400), complete=False)
    upload(door, tmp_path / "earlier", "20261110-020000", students(night=0, size=400), complete=False)
    empty = tmp_path / "COMPLETE"
    empty.touch()
    sftp(door, f"put {empty} /upload/20261111-020000/COMPLETE", f"put {empty} /upload/20261110-020000/COMPLETE")
    for name in ("20261110-020000", "20261111-020000"):
        epoch_in(portal, slug, name, ("loaded",))
    order = [step[0] for step in portal.inside("steps", slug=slug)]
    assert order == sorted(order), "the steps of one epoch stand between those of the other"
    assert {record[4] for record in portal.inside("snapshot", slug=slug)["records"]} == set(order)


def test_the_audit_chain_is_whole_after_all_this(portal: Portal, district: tuple[str, Door]) -> None:
    assert portal.inside("audit_is_whole")
