"""Home, help and downloads of a district in Chromium: axe, telephones, and a file fetched with the password asked."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from .conftest import PASSWORD, sign_in
from .stack import Portal, wait_for
from .test_holds import fine

DANA, DOMAIN = "dana@willow.example", "willow.k12.oh.us"


@pytest.fixture(scope="module")
def slug(portal: Portal) -> str:
    """Willow, new here."""
    return str(portal.inside("district", name="Willow", domain=DOMAIN, administrator=DANA))


@pytest.fixture(scope="module")
def root(portal: Portal, slug: str) -> Path:
    """Willow's downloads on the embedded host, with an archive of an earlier system."""
    place = portal.data_dir / "sftp/homes" / DOMAIN / "downloads"
    wait_for("the home is made", place.is_dir)
    (place / "archive-2019.zip").write_bytes(os.urandom(3_000_000))
    return place


@pytest.fixture
def dana(browser: Browser, portal: Portal, slug: str) -> Iterator[Page]:
    """A browser in which Dana of Willow has signed in."""
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, portal, DANA, PASSWORD)
    yield page
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_pass_axe_and_fit_a_telephone(
    dana: Page, page: Page, portal: Portal, slug: str, root: Path, scheme: str
) -> None:
    for one, places in (
        (dana, (f"/districts/{slug}/", f"/districts/{slug}/downloads/", "/help/sftp/")),
        (page, ("/help/sftp/", "/account/login/")),
    ):
        one.emulate_media(color_scheme=scheme)
        for place in places:
            one.goto(f"{portal.url}{place}")
            one.wait_for_load_state("networkidle")
            fine(one)


def test_a_first_visit_leads_to_the_first_step_and_to_help(dana: Page, portal: Portal, slug: str) -> None:
    dana.goto(f"{portal.url}/districts/{slug}/")
    expect(dana.get_by_role("heading", name="1. Generate a key pair")).to_be_visible()
    dana.get_by_role("link", name="Help with SFTP").click()
    expect(dana.get_by_role("heading", name="Your SFTP account")).to_be_visible()


def test_a_file_is_fetched_whole_after_the_password_was_given_again(
    dana: Page, portal: Portal, slug: str, root: Path
) -> None:
    portal.inside("sign_ins_grow_old")
    dana.goto(f"{portal.url}/districts/{slug}/downloads/")
    fetch = dana.get_by_role("button", name="Fetch archive-2019.zip")
    fetch.click()
    expect(dana.get_by_text("Give your password first.")).to_be_visible()
    dana.get_by_label("Password").fill(PASSWORD)
    dana.get_by_role("button", name="Go on").click()
    with dana.expect_download() as coming:
        fetch.click()
    assert coming.value.suggested_filename == "archive-2019.zip"
    assert Path(coming.value.path()).read_bytes() == (root / "archive-2019.zip").read_bytes()
    assert [subject for subject, _ in portal.inside("outbox", to=DANA)][-1].startswith("Willow: a file was fetched")
