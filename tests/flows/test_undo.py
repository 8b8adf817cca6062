"""A night that should not have been applied is taken back, in Chromium: nothing is final (E20)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.hosts.clients import Door

from .conftest import PASSWORD, sign_in
from .mishaps import joined, lines
from .stack import Portal
from .test_holds import fine
from .uploads import epoch_in, ready_district, students, upload

DANA, SAM = "dana@larch.example", "sam@larch.example"
FIRST, SECOND, AGAIN, RETURN = (f"2026110{number}-020000" for number in range(1, 5))


def fewer() -> dict[str, bytes]:
    """The first night without three of its forty pupils."""
    return {"students.csv": joined(lines(students(size=40)["students.csv"])[:-3])}


@pytest.fixture(scope="module")
def district(portal: Portal, key_pair: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Door]:
    """Larch: a night of 40."""
    slug, door = ready_district(portal, "Larch", "larch.example", key_pair, administrator=DANA)
    portal.inside("person", email=SAM, name="Sam Support", staff_role="support")
    upload(door, tmp_path_factory.mktemp("first"), FIRST, students(size=40))
    epoch_in(portal, slug, FIRST, ("loaded",))
    return slug, door


@pytest.fixture
def sam(browser: Browser, portal: Portal, district: tuple[str, Door]) -> Iterator[Page]:
    """A browser in which Sam of the vendor's support has signed in."""
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, portal, SAM, PASSWORD)
    yield page
    context.close()


def _records(portal: Portal, slug: str) -> list[Any]:
    records: list[Any] = portal.inside("snapshot", slug=slug)["records"]
    return records


def _removed(records: list[Any]) -> list[str]:
    return [key for _, key, _, is_removed, _ in records if is_removed]


def test_a_night_is_taken_back_the_district_waits_and_the_same_files_are_compared_anew(
    sam: Page, portal: Portal, district: tuple[str, Door], tmp_path: Path
) -> None:
    slug, door = district
    before = _records(portal, slug)
    upload(door, tmp_path / SECOND, SECOND, fewer())
    found = epoch_in(portal, slug, SECOND, ("loaded",))
    gone = _removed(_records(portal, slug))
    assert len(gone) == 3

    sam.goto(f"{portal.url}/districts/{slug}/uploads/{found['pk']}/")
    sam.get_by_role("link", name="Take it back").click()
    fine(sam)
    sam.get_by_label("Reason").fill("Three pupils were left out by mistake.")
    sam.get_by_role("button", name="Take it back").click()
    expect(sam.get_by_text("Loaded, then taken back.").first).to_be_visible()
    fine(sam)
    assert epoch_in(portal, slug, SECOND, ("undone",))
    assert _records(portal, slug) == before
    assert [subject for subject, _ in portal.inside("outbox", to=DANA) if SECOND in subject]

    # The same files again are no “nothing has changed”: they would take the three away once more. Until staff say so
    # they wait.
    upload(door, tmp_path / AGAIN, AGAIN, fewer())
    epoch_in(portal, slug, AGAIN, ("behind",))
    assert _records(portal, slug) == before
    sam.goto(f"{portal.url}/districts/{slug}/uploads/")
    expect(sam.get_by_text("Nothing is applied for now")).to_be_visible()
    sam.get_by_label("Why it may go on").fill("The district says that they have left.")
    sam.get_by_role("button", name="Release this district").click()
    epoch_in(portal, slug, AGAIN, ("loaded",))
    assert _removed(_records(portal, slug)) == gone
    assert portal.inside("nights", slug=slug)[-1]["touched"] == 3


def test_who_was_removed_comes_back_as_who_was_there(
    portal: Portal, district: tuple[str, Door], tmp_path: Path
) -> None:
    slug, door = district
    before = _records(portal, slug)
    upload(door, tmp_path, RETURN, students(size=40))
    epoch_in(portal, slug, RETURN, ("loaded",))
    after = _records(portal, slug)
    assert [one[:3] for one in after] == [one[:3] for one in before]
    assert _removed(after) == []
    assert {one[4] for one in after if one[1] in _removed(before)} == {RETURN}


def test_the_audit_chain_is_whole_after_all_this(portal: Portal, district: tuple[str, Door]) -> None:
    assert portal.inside("audit_is_whole")
