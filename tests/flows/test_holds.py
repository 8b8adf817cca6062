"""A held night from upload to decision, in Chromium: every page of it passes axe and fits a telephone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.hosts.clients import Door

from .conftest import PASSWORD, sign_in
from .stack import Portal
from .test_key_life import axe, is_within_narrow_screens
from .uploads import epoch_in, ready_district, students, upload

DANA, SAM = "dana@hazel.example", "sam@hazel.example"
FIRST, HELD, BEHIND, STRANGE = (f"2026110{day}-020000" for day in (1, 2, 3, 4))
SOON = 40_000


@pytest.fixture(scope="module")
def district(portal: Portal, key_pair: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Door]:
    """Hazel: a night of 40, one of 15 that is held, and one of 40 behind it."""
    folder = tmp_path_factory.mktemp("nights")
    slug, door = ready_district(portal, "Hazel", "hazel.k12.oh.us", key_pair, administrator=DANA)
    portal.inside("person", email=SAM, name="Sam Support", staff_role="support")
    for name, size, state in ((FIRST, 40, "loaded"), (HELD, 15, "held"), (BEHIND, 40, "behind")):
        upload(door, folder / name, name, students(size=size))
        epoch_in(portal, slug, name, (state,))
    return slug, door


@pytest.fixture
def pages(browser: Browser, portal: Portal, district: tuple[str, Door]) -> Iterator[tuple[Page, Page]]:
    """Browsers of Sam of the vendor's support and of Dana of the district."""
    contexts = [browser.new_context() for _ in range(2)]
    made = [context.new_page() for context in contexts]
    for page, person in zip(made, (SAM, DANA), strict=True):
        sign_in(page, portal, person, PASSWORD)
    yield made[0], made[1]
    for context in contexts:
        context.close()


def fine(page: Page) -> None:
    for details in page.locator("main details").all():
        details.evaluate("one => one.open = true")
    axe(page)
    assert is_within_narrow_screens(page), page.url


def _number(portal: Portal, slug: str, name: str) -> int:
    return next(one["pk"] for one in portal.inside("epochs", slug=slug) if one["name"] == name)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_of_a_hold_passes_axe_and_fits_a_telephone(
    pages: tuple[Page, Page], portal: Portal, district: tuple[str, Door], scheme: str
) -> None:
    slug = district[0]
    numbers = {name: _number(portal, slug, name) for name in (FIRST, HELD, BEHIND)}
    places = [f"/districts/{slug}/uploads/{number}/" for number in numbers.values()]
    own = [*places, f"/districts/{slug}/", f"/districts/{slug}/uploads/"]
    staffs = [
        *own,
        "/staff/ingest/",
        "/staff/ingest/board/",
        f"/districts/{slug}/uploads/{numbers[FIRST]}/undo/",
        f"/staff/districts/of/{slug}/limits/",
        f"/staff/districts/of/{slug}/records/",
    ]
    for page, wanted in zip(pages, (staffs, own), strict=True):
        page.emulate_media(color_scheme=scheme)
        for place in wanted:
            page.goto(f"{portal.url}{place}")
            page.wait_for_load_state("domcontentloaded")
            fine(page)


def test_the_board_of_the_morning_is_walked_by_keyboard(
    pages: tuple[Page, Page], portal: Portal, district: tuple[str, Door], tmp_path: Path
) -> None:
    upload(district[1], tmp_path / STRANGE, STRANGE, {"strange.csv": b"a,b\n1,2\n"})
    epoch_in(portal, district[0], STRANGE, ("waiting_staff",))
    sam = pages[0]
    sam.goto(portal.url)
    expect(sam.get_by_role("heading", name="This morning")).to_be_visible()
    links = sam.locator("[data-board] a")
    # Beside these two there may be what other tests have left.
    expect(sam.locator("[data-board] a", has_text="Hazel")).to_have_count(2)
    last = links.count() - 1
    # Outside of the list its letters mean nothing.
    sam.keyboard.press("j")
    expect(links.first).not_to_be_focused()
    for begun, moves in ((0, (("j", 1), ("k", 0), ("k", 0))), (last - 1, (("j", last), ("j", last), ("k", last - 1)))):
        links.nth(begun).focus()
        for key, place in moves:
            sam.keyboard.press(key)
            expect(links.nth(place)).to_be_focused()
    sam.locator("[data-board] li", has_text=HELD).get_by_role("link").focus()
    sam.keyboard.press("Enter")
    expect(sam.get_by_role("button", name="Decide", exact=True)).to_be_visible()


def test_a_hold_is_asked_about_answered_and_approved_and_the_next_night_goes_on(
    pages: tuple[Page, Page], portal: Portal, district: tuple[str, Door]
) -> None:
    slug = district[0]
    sam, dana = pages
    place = f"{portal.url}/districts/{slug}/uploads/{_number(portal, slug, HELD)}/"
    sam.goto(place)
    sam.get_by_role("button", name="Decide", exact=True).click()
    expect(sam.get_by_role("alert")).to_be_focused(timeout=SOON)
    fine(sam)
    _decide(sam, "Ask the district", "Did a school close?")
    expect(sam.get_by_text("The district was asked.")).to_be_visible(timeout=SOON)
    dana.goto(place)
    expect(dana.get_by_text("Did a school close?")).to_be_visible()
    dana.get_by_label("Your answer").fill("Yes, one did.")
    dana.get_by_role("button", name="Send to").click()
    expect(dana.get_by_text("Thank you. Our staff were told.")).to_be_visible(timeout=SOON)
    sam.goto(place)
    expect(sam.get_by_text("Yes, one did.")).to_be_visible()
    _decide(sam, "Approve once", "The district says that a school closed.")
    assert epoch_in(portal, slug, HELD)["state"] == "loaded"
    assert epoch_in(portal, slug, BEHIND, ("loaded", "held"))["state"] in ("loaded", "held")
    sam.goto(place)
    expect(sam.get_by_text("The district says that a school closed.").first).to_be_visible()
    fine(sam)


def _decide(page: Page, act: str, words: str) -> None:
    page.get_by_label(act, exact=True).check()
    page.get_by_label("Reason, or your question").fill(words)
    page.get_by_role("button", name="Decide", exact=True).click()
