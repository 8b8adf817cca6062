"""The life of a key as its district sees it: judged while pasted, restricted, replaced, retired, lost. And axe."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.hosts.clients import Door, sftp, sftp_command
from tests.keys.samples import text

from .conftest import PASSWORD, new_pair, sign_in
from .stack import Portal, wait_for

DANA, SAM, OLU = "dana@juniper.example", "sam@vendor.example", "olu@vendor.example"
DOMAIN = "juniper.k12.oh.us"
BOX = "authorized_keys"
SOON = 30_000


@pytest.fixture(scope="module")
def district(portal: Portal) -> str:
    """Juniper, administered by Dana; the vendor's Sam and Olu."""
    slug = str(portal.inside("district", name="Juniper", domain=DOMAIN, administrator=DANA))
    portal.inside("person", email=SAM, name="Sam", staff_role="support")
    portal.inside("person", email=OLU, name="Olu", staff_role="ops")
    return slug


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pair the district begins with."""
    return new_pair(tmp_path_factory.mktemp("pairs") / "first")


@pytest.fixture(scope="module")
def second(first: Path) -> Path:
    """The pair that takes its place."""
    return new_pair(first.with_name("second"))


@pytest.fixture
def page(page: Page, portal: Portal, district: str) -> Page:
    """A browser in which Dana has signed in, on Technical Settings."""
    sign_in(page, portal, DANA, PASSWORD)
    page.goto(_settings(portal, district))
    return page


def _settings(portal: Portal, slug: str) -> str:
    return f"{portal.url}/districts/{slug}/settings/technical/"


def _public(pair: Path) -> str:
    return pair.with_suffix(".pub").read_text()


def _save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()


def _wait_on_host(portal: Portal, slug: str) -> None:
    wait_for("on the host", lambda: portal.inside("key_file", slug=slug)["state"] == "on_host")


def axe(page: Page) -> None:
    """Asserts that axe finds nothing on a page."""
    found = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def is_within_narrow_screens(page: Page) -> bool:
    """Whether a page needs no scrolling sideways on a telephone."""
    # A click that leads to another page returns before there is anything of it to measure.
    page.wait_for_load_state()
    wide = []
    for width in (360, 320):
        page.set_viewport_size({"width": width, "height": 800})
        wide.append(page.evaluate("document.documentElement.scrollWidth > innerWidth"))
    page.set_viewport_size({"width": 1280, "height": 720})
    return not any(wide)


@contextlib.contextmanager
def _open_session(door: Door) -> Iterator[subprocess.Popen[bytes]]:
    """An sftp that has signed in and waits for its next command."""
    pipes = subprocess.PIPE
    session = subprocess.Popen(sftp_command(door), stdin=pipes, stdout=pipes, stderr=subprocess.STDOUT)
    assert session.stdin is not None
    assert session.stdout is not None
    try:
        session.stdin.write(b"pwd\n")
        session.stdin.flush()
        while b"Remote working directory" not in session.stdout.readline():
            assert session.poll() is None
        yield session
    finally:
        session.kill()
        session.wait(10)


def test_a_paste_is_judged_while_it_is_typed_and_then_saved(
    page: Page, portal: Portal, district: str, first: Path
) -> None:
    box = page.get_by_label(BOX)
    box.fill(f"{_public(first)}not a key at all\n")
    expect(page.get_by_text("1 problem. As it is, Save would be refused.")).to_be_visible(timeout=SOON)
    expect(page.locator(".gutter-bad")).to_have_text("2 ✗")
    page.locator("#verdict").get_by_role("link", name="Line 2").click()
    assert page.evaluate("getSelection().toString()") == "not a key at all"
    axe(page)
    box.fill(_public(first))
    expect(page.get_by_text("1 key in the box. Not saved yet.")).to_be_visible(timeout=SOON)
    expect(page.locator(".gutter-good")).to_have_text("1 ✓")
    axe(page)
    box.press("Tab")
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_focused()
    _save(page)
    expect(page.get_by_role("heading", name="Saved", exact=True)).to_be_visible()
    _wait_on_host(portal, district)
    assert sftp(portal.door(DOMAIN, first), "ls /").code == 0


def test_a_private_key_does_not_leave_the_browser(page: Page, tmp_path: Path) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or ""))
    secret = new_pair(tmp_path / "secret")
    page.get_by_label(BOX).fill(secret.read_text())
    expect(page.get_by_text("It has not been sent.")).to_be_visible()
    page.wait_for_timeout(1000)
    _save(page)
    page.locator("#key-file").set_input_files(secret)
    expect(page.get_by_text("This file holds a private key.")).to_be_visible()
    assert not any("PRIVATE" in body for body in sent)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "cp1252"])
def test_a_chosen_file_is_read_into_the_box_whatever_its_encoding(page: Page, first: Path, encoding: str) -> None:
    content = _public(first).replace("sis-server", "Büro").encode(encoding)
    page.get_by_label(BOX).fill("")
    file = {"name": "id_ed25519.pub", "mimeType": "text/plain", "buffer": content}
    page.locator("#key-file").set_input_files(files=[file])
    expect(page.get_by_label(BOX)).to_have_value(f"{_public(first).strip().replace('sis-server', 'Büro')}\n")


def test_a_key_is_named_and_restricted_and_the_host_keeps_to_it(
    page: Page, portal: Portal, district: str, first: Path
) -> None:
    page.get_by_role("link", name="Rename and restrict").click()
    axe(page)
    page.get_by_label("Name").fill("night job")
    page.get_by_label("Last day").fill("2090-06-30")
    page.get_by_label("Works only from").fill("example.com")
    _save(page)
    expect(page.get_by_text("Entry 1 is a name, not an IP address.").first).to_be_visible()
    axe(page)
    page.get_by_label("Works only from").fill("8.8.8.8/24")
    _save(page)
    expect(page.get_by_text("The last good sign-in came from 127.0.0.1").first).to_be_visible()
    axe(page)
    page.get_by_label(f"Type {DOMAIN} to confirm").fill(DOMAIN)
    _save(page)
    expect(page.get_by_text("8.8.8.8/24 was read as 8.8.8.0/24.")).to_be_visible()
    expect(page.get_by_text("Works until 30 June 2090.")).to_be_visible()
    axe(page)
    _wait_on_host(portal, district)
    assert sftp(portal.door(DOMAIN, first), "ls /").code != 0
    page.get_by_role("link", name="Rename and restrict").click()
    page.get_by_label("Works only from").fill("127.0.0.1")
    _save(page)
    _wait_on_host(portal, district)
    assert sftp(portal.door(DOMAIN, first), "ls /").code == 0


def test_after_five_minutes_the_password_is_asked_for_and_the_save_goes_on(
    page: Page, portal: Portal, district: str
) -> None:
    portal.inside("sign_ins_grow_old")
    page.get_by_role("link", name="Rename and restrict").click()
    page.get_by_label("Name").fill("nightly job")
    _save(page)
    expect(page.get_by_text("Nothing is saved yet.")).to_be_visible()
    axe(page)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on and save").click()
    expect(page.get_by_role("heading", name="Saved", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="nightly job")).to_be_visible()


def test_what_the_password_brought_back_with_a_question_stands_under_its_own_address(
    page: Page, portal: Portal, district: str
) -> None:
    portal.inside("sign_ins_grow_old")
    page.get_by_label(BOX).fill("")
    _save(page)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Go on and save").click()
    expect(page.get_by_label(f"Type {DOMAIN} to confirm")).to_be_visible()
    assert page.url == _settings(portal, district)
    page.reload()
    expect(page.get_by_role("heading", name="nightly job")).to_be_visible()


@pytest.mark.parametrize("has_script", [True, False], ids=["with script", "without script"])
def test_what_is_sent_after_the_session_has_ended_is_there_again_after_the_sign_in(
    browser: Browser, portal: Portal, district: str, first: Path, has_script: bool
) -> None:
    context = browser.new_context(java_script_enabled=has_script)
    page = context.new_page()
    sign_in(page, portal, DANA, PASSWORD)
    page.goto(_settings(portal, district))
    for cookie in context.cookies():
        if cookie["name"].startswith("portal_session"):
            context.clear_cookies(name=cookie["name"])
    typed = f"{_public(first)}# a new line\n"
    page.get_by_label(BOX).fill(typed)
    if has_script:
        expect(page.get_by_text("You have been signed out. Save asks you to sign in")).to_be_visible(timeout=SOON)
    _save(page)
    expect(page.get_by_text("You had been signed out, so nothing was saved.")).to_be_visible()
    page.get_by_label("E-mail").fill(DANA)
    page.get_by_label("Password").first.fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_text("Nothing was saved. What you typed is still here.")).to_be_visible()
    expect(page.get_by_label(BOX)).to_have_value(typed)
    context.close()


def test_a_check_that_fails_leaves_no_verdict_on_another_text(page: Page, first: Path) -> None:
    box = page.get_by_label(BOX)
    box.fill(_public(first))
    expect(page.get_by_text("1 key in the box. Not saved yet.")).to_be_visible(timeout=SOON)
    page.route("**/check/", lambda route: route.fulfill(status=403, body="no"))
    box.fill("another text")
    expect(page.get_by_text("The box could not be checked just now.")).to_be_visible(timeout=SOON)
    expect(page.get_by_text("1 key in the box. Not saved yet.")).to_be_hidden()


def test_a_replaced_key_retires_some_days_after_the_new_one_has_signed_in(
    page: Page, portal: Portal, district: str, first: Path, second: Path
) -> None:
    page.get_by_role("link", name="Replace").click()
    page.get_by_label("The new public key").fill(_public(second))
    expect(page.get_by_text("1 key in the box. Not saved yet.")).to_be_visible(timeout=SOON)
    axe(page)
    page.get_by_role("button", name="Replace").click()
    expect(page.get_by_text("This one retires 7 days after")).to_be_visible()
    axe(page)
    _wait_on_host(portal, district)
    assert portal.inside("retire", days=30) == 0
    old, new = portal.door(DOMAIN, first), portal.door(DOMAIN, second)
    assert sftp(old, "ls /").code == 0
    assert sftp(new, "ls /").code == 0
    wait_for("the new key's sign-in is known", lambda: _signed_in_keys(portal) == 2)
    assert portal.inside("retire", days=6) == 0
    page.reload()
    expect(page.get_by_text("This one retires on")).to_be_visible()
    assert portal.inside("retire", days=8) == 1
    assert sftp(old, "ls /").code != 0
    assert sftp(new, "ls /").code == 0
    page.reload()
    expect(page.get_by_text("Replaced key retired")).to_be_visible()


def _signed_in_keys(portal: Portal) -> int:
    events = portal.inside("sign_ins", username=DOMAIN)
    return len({event["fingerprint"] for event in events if event["accepted"]})


def test_the_key_of_a_lost_computer_goes_at_once_and_its_open_session_ends(
    page: Page, portal: Portal, district: str, second: Path
) -> None:
    with _open_session(portal.door(DOMAIN, second)) as session:
        page.get_by_role("link", name="This computer was lost").click()
        axe(page)
        page.get_by_label(f"Type {DOMAIN} to confirm").fill(DOMAIN)
        page.get_by_role("button", name="Remove it now and end its sessions").click()
        told = page.locator("#lost-state")
        expect(told.get_by_text("The key no longer opens your account.")).to_be_visible(timeout=SOON)
        expect(told.get_by_text("1 open session ended.")).to_be_visible(timeout=SOON)
        assert session.stdin is not None
        # sftp sees that its connection is gone when it is to do something; on one that lives it would go on.
        with contextlib.suppress(BrokenPipeError):
            session.stdin.write(b"ls /\n")
            session.stdin.flush()
        wait_for("the session has ended", lambda: session.poll() is not None, 20)
        assert session.returncode != 0
    axe(page)
    assert is_within_narrow_screens(page)
    assert sftp(portal.door(DOMAIN, second), "ls /").code != 0
    page.goto(_settings(portal, district))
    page.get_by_label(BOX).fill(_public(second))
    _save(page)
    expect(page.get_by_text("It is not taken again.").first).to_be_visible()
    page.get_by_role("link", name="What became of it").click()
    expect(page.get_by_text("The host confirmed it")).to_be_visible()


@pytest.mark.parametrize("has_script", [True, False], ids=["with script", "without script"])
def test_every_page_about_keys_passes_axe_and_fits_a_telephone(
    portal: Portal, district: str, browser: Browser, has_script: bool
) -> None:
    names = ("rsa2048", "ecdsa521", "sk_ed25519")
    portal.inside("save_keys", slug=district, text="\n".join(map(text, names)))
    settings = _settings(portal, district)
    for email, places in (
        (DANA, (settings, f"{settings}networks/", f"{settings}keys/0/edit/")),
        (SAM, (settings, f"{portal.url}/staff/keys/")),
        (OLU, (f"{portal.url}/staff/keys/", f"{portal.url}/staff/propagation/")),
    ):
        context = browser.new_context(java_script_enabled=has_script)
        page = context.new_page()
        sign_in(page, portal, email, PASSWORD)
        for place in places:
            page.goto(place)
            # Axe is script itself.
            if has_script:
                axe(page)
            assert is_within_narrow_screens(page), place
        page.goto(settings)
        for name in ("Replace", "Remove"):
            page.get_by_role("link", name=name).first.click()
            if has_script:
                axe(page)
            assert is_within_narrow_screens(page), name
            page.goto(settings)
        context.close()


def test_connect_says_why_a_try_was_refused_and_turns_green_by_itself(
    portal: Portal, browser: Browser, tmp_path: Path
) -> None:
    domain, lee = "larch.k12.oh.us", "lee@larch.example"
    slug = str(portal.inside("district", name="Larch", domain=domain, administrator=lee))
    ours, strangers = new_pair(tmp_path / "ours"), new_pair(tmp_path / "strangers")
    portal.inside("save_keys", slug=slug, text=_public(ours))
    _wait_on_host(portal, slug)
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, portal, lee, PASSWORD)
    page.goto(f"{portal.url}/districts/{slug}/connect/")
    expect(page.locator("#connect-answer").get_by_text("Nobody has signed in yet.")).to_be_visible()
    assert sftp(portal.door(domain, strangers), "ls /").code != 0
    expect(page.locator("#connect-answer").get_by_text("The last try to connect was refused")).to_be_visible(
        timeout=SOON
    )
    expect(page.get_by_text("The key it offered is not one of yours here.")).to_be_visible()
    page.get_by_text("Is this key yours?").click()
    expect(page.get_by_text(" ".join(_public(strangers).split()[:2]))).to_be_visible()
    page.get_by_text("What to send to whoever runs that program").click()
    expect(page.get_by_text(f"sign-in as {domain} at ")).to_be_visible()
    axe(page)
    assert is_within_narrow_screens(page)
    assert sftp(portal.door(domain, ours), "ls /").code == 0
    expect(page.locator("#connect-answer").get_by_text("You can connect.")).to_be_visible(timeout=SOON)
    assert portal.door(domain, ours).host_key in page.locator("#fact-known-hosts").inner_text()
    programs = page.get_by_role("navigation", name="Programs").get_by_role("link").all_inner_texts()
    for program in programs:
        page.get_by_role("navigation", name="Programs").get_by_role("link", name=program, exact=True).click()
        expect(page.locator("#recipe-title")).to_have_text(program)
        axe(page)
        assert is_within_narrow_screens(page), program
    context.close()


def test_without_script_a_chosen_file_and_a_typed_confirmation_do(
    portal: Portal, district: str, browser: Browser, tmp_path: Path
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, portal, DANA, PASSWORD)
    page.goto(_settings(portal, district))
    page.get_by_label(BOX).fill("")
    _save(page)
    page.get_by_label(f"Type {DOMAIN} to confirm").fill(DOMAIN)
    _save(page)
    expect(page.get_by_text("No key is left.")).to_be_visible()
    page.get_by_label("Or choose a .pub file").set_input_files(new_pair(tmp_path / "plain").with_suffix(".pub"))
    _save(page)
    expect(page.get_by_text("Your account has 1 key now.")).to_be_visible()
    context.close()
