"""Students whose every value bears a mark, in nights that go well and badly: nothing but their records tells a mark."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.hosts.clients import Door

from .conftest import PASSWORD, sign_in
from .stack import Portal
from .uploads import epoch_in, ready_district, students, upload

DANA, SAM = "dana@rowan.example", "sam@rowan.example"
# Of names, days and addresses; of numbers by which a student is known.
MARKS = ("Qzxv", "Jkwq")
IDS = ("Student Id", "Student Reporting Id")
SOON = 60_000


def marked(size: int = 40) -> list[list[str]]:
    """A night's header and rows; every value that may be anything is marked."""
    header, *rows = csv.reader(io.StringIO(students(size=size)["students.csv"].decode()))
    free = {"Last Name", "First Name", "Middle Name", "Address", "City"}
    for number, row in enumerate(rows):
        for place, name in enumerate(header):
            if name in free:
                row[place] = f"{MARKS[0]}{number}"
            elif name in IDS:
                row[place] = f"{MARKS[1]}{number}"
    return [header, *rows]


def written(rows: list[list[str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()


def _broken() -> bytes:
    """One night with every kind of bad row, each with marked values where they are bad."""
    header, *rows = marked()
    for place in range(len(header)):
        rows[place % len(rows)][place] = f"{MARKS[0]}\x01 no such value {MARKS[1]}"
    rows[30] = rows[30][:3]
    rows[31] = [*rows[31], MARKS[0]]
    rows[33] = list(rows[32])
    rows[33][1] = f"{MARKS[0]}-other"
    return written([header, *rows]) + f'"{MARKS[0]},{MARKS[1]}\r\n'.encode()


NIGHTS = {
    "20261101-020000": (written(marked()), "loaded"),
    "20261102-020000": (_broken(), "failed"),
    # Without a header the first student stands in its place.
    "20261103-020000": (written(marked()[1:]), "waiting_staff"),
    "20261104-020000": (written(marked()).replace(b"\r\n", b"\xff\xfe\r\n"), "failed"),
    "20261105-020000": (written(marked(size=15)), "held"),
}


@pytest.fixture(scope="module")
def district(portal: Portal, key_pair: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Door]:
    """Rowan, after its nights."""
    folder = tmp_path_factory.mktemp("nights")
    slug, door = ready_district(portal, "Rowan", "rowan.k12.oh.us", key_pair, administrator=DANA)
    portal.inside("person", email=SAM, name="Sam Support", staff_role="support")
    for name, (content, state) in NIGHTS.items():
        upload(door, folder / name, name, {"students.csv": content})
        epoch_in(portal, slug, name, (state,))
    return slug, door


@pytest.fixture
def addresses() -> list[str]:
    """Every address that the browsers have asked for."""
    return []


@pytest.fixture
def pages(browser: Browser, portal: Portal, addresses: list[str]) -> Iterator[tuple[Page, Page]]:
    """Browsers of Sam of the vendor's support and of Dana of the district."""
    contexts = [browser.new_context() for _ in range(2)]
    made = [context.new_page() for context in contexts]
    for page, person in zip(made, (SAM, DANA), strict=True):
        page.on("request", lambda request: addresses.append(request.url))
        sign_in(page, portal, person, PASSWORD)
    yield made[0], made[1]
    for context in contexts:
        context.close()


def _told(text: str) -> list[str]:
    return [mark for mark in MARKS if mark.lower() in text.lower()]


def test_no_page_of_a_night_tells_a_value(
    pages: tuple[Page, Page], portal: Portal, district: tuple[str, Door], addresses: list[str]
) -> None:
    slug = district[0]
    nights = portal.inside("epochs", slug=slug)
    numbers = [one["pk"] for one in nights]
    # Whoever decides on a held night reads by their numbers who would go.
    held = next(f"/districts/{slug}/uploads/{one['pk']}/" for one in nights if one["state"] == "held")
    own = [f"/districts/{slug}/", f"/districts/{slug}/uploads/"]
    own += [f"/districts/{slug}/uploads/{number}/" for number in numbers]
    staffs = [*own, "/staff/ingest/", "/staff/ingest/board/", "/staff/audit/", "/staff/outbox/"]
    for page, places in zip(pages, (staffs, own), strict=True):
        for place in places:
            page.goto(f"{portal.url}{place}")
            assert (place, _told(page.content())) == (place, [MARKS[1]] if place == held else [])
        for night in nights:
            for what in {"failed": ("log", "findings"), "loaded": ("log",)}.get(night["state"], ()):
                fetched = page.request.get(f"{portal.url}/districts/{slug}/uploads/{night['pk']}/{what}/")
                assert fetched.ok
                assert (fetched.url, _told(fetched.text())) == (fetched.url, [])


def test_a_check_before_sending_tells_none_and_leaves_none(
    pages: tuple[Page, Page], portal: Portal, district: tuple[str, Door], tmp_path: Path
) -> None:
    dana = pages[1]
    (tmp_path / "students.csv").write_bytes(_broken())
    dana.goto(f"{portal.url}/districts/{district[0]}/uploads/check/")
    dana.locator("input[type=file]").set_input_files(tmp_path / "students.csv")
    dana.get_by_role("button", name="Check these files").click()
    expect(dana.get_by_text("the files have been deleted").first).to_be_visible(timeout=SOON)
    assert _told(dana.content()) == []


def test_a_record_is_found_by_its_id_and_the_id_stands_in_no_address(
    pages: tuple[Page, Page], portal: Portal, district: tuple[str, Door], addresses: list[str]
) -> None:
    sam = pages[0]
    sam.goto(f"{portal.url}/staff/districts/of/{district[0]}/records/")
    sam.get_by_label("id", exact=False).first.fill(f"{MARKS[1]}3")
    sam.get_by_label("reason", exact=False).first.fill("They asked on the telephone.")
    sam.get_by_role("button", name="Find").first.click()
    expect(sam.get_by_text(f"{MARKS[1]}3").first).to_be_visible(timeout=SOON)
    assert [address for address in addresses if _told(address)] == []


def test_neither_log_nor_mail_nor_audit_nor_any_other_table_holds_one(
    portal: Portal, district: tuple[str, Door]
) -> None:
    name, number = MARKS
    assert portal.inside("tables_with", marks=[name]) == ["ingest_record"]
    # Of a night that is held the numbers of some who would go are kept until somebody has decided.
    assert portal.inside("tables_with", marks=[number]) == ["ingest_judgement", "ingest_record"]
    assert _told(portal.output.read_text("utf-8", "replace")) == []
    kept = [path for path in portal.data_dir.rglob("*.log*") if path.is_file()]
    kept += list((portal.data_dir / "broker").rglob("*")) if (portal.data_dir / "broker").is_dir() else []
    assert [path.name for path in kept if path.is_file() and _told(path.read_text("utf-8", "replace"))] == []
