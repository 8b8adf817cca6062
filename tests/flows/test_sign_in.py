"""A second factor from its setting up to its loss, in Chromium: every page of it passes axe and fits a telephone."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Browser, Page, expect

from tests.accounts.provider import SignInProvider

from .conftest import PASSWORD, sign_in
from .stack import Portal, Stack
from .test_key_life import axe, is_within_narrow_screens

VERA, SAM, OLU, PIA = "vera@willow.example", "sam@willow.example", "olu@willow.example", "pia@willow.example"
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


def has_device(page: Page) -> None:
    """Puts a device into this browser that keeps passkeys and is always unlocked by its owner."""
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    kind = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
    told = {**kind, "isUserVerified": True, "automaticPresenceSimulation": True}
    session.send("WebAuthn.addVirtualAuthenticator", {"options": told})


def test_a_passkey_is_added_signs_in_alone_and_is_taken_off(page: Page, portal: Portal) -> None:
    """In Chromium with a device of its own: what the page's script says to it, the portal understands."""
    refused: list[str] = []
    page.on("console", lambda line: refused.append(line.text) if line.type == "error" else None)
    portal.inside("person", email=PIA, name="Pia Passkey", staff_role="support")
    has_device(page)
    sign_in(page, portal, PIA, PASSWORD)
    page.goto(f"{portal.url}/account/second-factor/")
    fine(page)
    page.get_by_role("link", name="Add a passkey").click()
    fine(page)
    page.get_by_label("Name").fill("Office computer")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    page.goto(f"{portal.url}/account/second-factor/webauthn/")
    expect(page.get_by_role("rowheader", name="Office computer")).to_be_visible()
    fine(page)
    page.get_by_role("link", name="Rename").click()
    fine(page)
    page.get_by_label("Name").fill("Kitchen computer")
    page.get_by_role("button", name="Save the name").click()

    # The same device has one already.
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_text("This device has a passkey for your account already.")).to_be_visible()
    fine(page)

    # It signs in alone, and after the password, too.
    page.context.clear_cookies()
    page.goto(f"{portal.url}/account/login/")
    fine(page)
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", name="This morning")).to_be_visible()
    page.context.clear_cookies()
    sign_in(page, portal, PIA, PASSWORD)
    fine(page)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="This morning")).to_be_visible()
    page.goto(f"{portal.url}/account/second-factor/webauthn/reauthenticate/")
    fine(page)
    page.get_by_role("button", name="Go on with a passkey").click()
    expect(page.get_by_role("heading", name="This morning")).to_be_visible()

    page.goto(f"{portal.url}/account/second-factor/webauthn/")
    page.get_by_role("link", name="Take off").click()
    fine(page)
    page.get_by_role("button", name="Take it off").click()
    expect(page.get_by_text("You have none yet.")).to_be_visible()
    fine(page)
    page.context.clear_cookies()
    page.goto(f"{portal.url}/account/login/")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("This passkey was not accepted.")).to_be_visible()
    fine(page)
    assert refused == []


def test_another_provider_is_connected_and_signs_in(page: Page, stack: Stack, tmp_path: Path) -> None:
    """In Chromium, which follows a form to another place only where the portal's policy says so."""
    provider = SignInProvider()
    provider.person = {"sub": "pia-1", "email": PIA}
    portal = stack.portal(tmp_path)
    portal.environment["OPENID_PROVIDERS"] = json.dumps([provider.setting()])
    try:
        portal.start()
        slug = portal.inside("district", name="Oak", domain="oak.k12.oh.us", administrator=PIA)
        sign_in(page, portal, PIA, PASSWORD)
        page.goto(f"{portal.url}/account/connected/")
        fine(page)
        page.get_by_role("button", name="Connect School ID").click()
        expect(page.get_by_text("Connected. It signs you in from now on.")).to_be_visible()
        fine(page)
        page.goto(f"{portal.url}/districts/{slug}/sign-in/")
        page.get_by_label("Domain").fill("oakschools.example")
        page.get_by_role("button", name="Believe it").click()
        expect(page.get_by_text("is believed about addresses of")).to_be_visible()
        fine(page)
        page.context.clear_cookies()
        page.goto(f"{portal.url}/account/login/")
        fine(page)
        page.get_by_role("button", name="Sign in with School ID").click()
        expect(page).to_have_url(f"{portal.url}/districts/{slug}/")
        page.context.clear_cookies()
        provider.person["sub"] = "somebody-else"
        page.goto(f"{portal.url}/account/login/")
        page.get_by_role("button", name="Sign in with School ID").click()
        expect(page.get_by_text("Nobody here signs in with that account.")).to_be_visible()
    finally:
        portal.close()
        provider.close()
