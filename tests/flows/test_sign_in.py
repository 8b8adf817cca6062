"""A second factor from its setting up to its loss, in Chromium: every page of it passes axe and fits a telephone."""

import time
from collections.abc import Iterator

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Browser, Page, expect

from .conftest import PASSWORD, sign_in
from .stack import Portal
from .test_key_life import axe, is_within_narrow_screens

VERA, SAM, OLU = "vera@willow.example", "sam@willow.example", "olu@willow.example"
SCHEMES = ("light", "dark")


@pytest.fixture
def browsers(browser: Browser, portal: Portal) -> Iterator[list[Page]]:
    """Three browsers, each of somebody else."""
    contexts = [browser.new_context() for _ in range(3)]
    yield [context.new_page() for context in contexts]
    for context in contexts:
        context.close()


def fine(page: Page) -> None:
    for details in page.locator("main details").all():
        details.evaluate("one => one.open = true")
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        axe(page)
    assert is_within_narrow_screens(page), page.url


def _code(secret: str, steps: int) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps))


def test_a_second_factor_is_set_up_asked_for_lost_and_set_up_anew(browsers: list[Page], portal: Portal) -> None:
    slug = portal.inside("district", name="Willow", domain="willow.k12.oh.us", administrator=VERA)
    portal.inside("person", email=SAM, name="Sam Support", staff_role="support")
    portal.inside("person", email=OLU, name="Olu Ops", staff_role="ops")
    vera, sam, olu = browsers
    sign_in(vera, portal, VERA, PASSWORD)
    vera.goto(f"{portal.url}/districts/{slug}/sign-in/")
    fine(vera)
    vera.get_by_role("button", name="Ask everybody for a second factor").click()

    # Nothing else opens now.
    vera.goto(f"{portal.url}/districts/{slug}/")
    expect(vera.get_by_text("This comes first.")).to_be_visible()
    fine(vera)
    secret = vera.locator("details code").inner_text().strip()
    vera.get_by_label("Code").fill(_code(secret, 0))
    vera.get_by_role("button", name="Set it up").click()
    expect(vera.get_by_role("heading", name="Recovery codes")).to_be_visible()
    fine(vera)
    vera.get_by_role("link", name="I have noted them, go on").click()
    expect(vera).to_have_url(f"{portal.url}/districts/{slug}/")
    for place in ("second-factor/", "second-factor/recovery-codes/generate/", "sessions/"):
        vera.goto(f"{portal.url}/account/{place}")
        fine(vera)

    # The next sign-in asks for a code of the app.
    vera.context.clear_cookies()
    sign_in(vera, portal, VERA, PASSWORD)
    vera.get_by_label("Code").fill("no code")
    vera.get_by_role("button", name="Sign in", exact=True).click()
    expect(vera.get_by_role("heading", name="You are not signed in")).to_be_visible()
    fine(vera)
    # Of the half minute after: whatever was typed before was of another.
    vera.get_by_label("Code").fill(_code(secret, 1))
    vera.get_by_role("button", name="Sign in", exact=True).click()
    expect(vera).to_have_url(f"{portal.url}/districts/{slug}/")

    # Lost: Sam asks, and cannot decide; Olu takes it off, and Vera is signed out.
    sign_in(sam, portal, SAM, PASSWORD)
    sam.goto(f"{portal.url}/staff/second-factors/")
    sam.get_by_label("Whose").fill(VERA)
    sam.get_by_label("Reason").fill("Called back at the office.")
    sam.get_by_role("button", name="Ask to take it off").click()
    expect(sam.get_by_text("You have asked, so somebody else decides.")).to_be_visible()
    fine(sam)
    sign_in(olu, portal, OLU, PASSWORD)
    olu.goto(f"{portal.url}/staff/second-factors/")
    olu.get_by_role("button", name=f"Take it off for {VERA}").click()
    expect(olu.get_by_text("They are signed out everywhere.")).to_be_visible()
    fine(olu)
    vera.goto(f"{portal.url}/districts/{slug}/")
    expect(vera.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(vera, portal, VERA, PASSWORD)
    expect(vera.get_by_text("This comes first.")).to_be_visible()
