"""The pages of hosts, runs and findings in every state: axe, narrow screens, and a host key confirmed by keyboard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.hosts.machine import Machine
from tests.keys.samples import text

from .conftest import PASSWORD, sign_in
from .stack import Portal, wait_for
from .test_key_life import axe, is_within_narrow_screens

OLU, DANA = "olu@rowan.example", "dana@rowan.example"
DOMAIN = "rowan.k12.oh.us"
SOON = 30_000
STATES = ("new", "offered", "working", "stopped", "away", "refusing", "full", "damaged", "new-key")


@pytest.fixture(scope="module")
def places(portal: Portal) -> Iterator[dict[str, str]]:
    """A district with a finding, a stopped run and a host in each state: where each page is."""
    slug = str(portal.inside("district", name="Rowan", domain=DOMAIN, administrator=DANA))
    portal.inside("person", email=OLU, name="Olu", staff_role="ops")
    portal.inside("save_keys", slug=slug, text=text("rsa2048"))
    wait_for("on the host", lambda: portal.inside("key_file", slug=slug)["state"] == "on_host")
    line = portal.data_dir / "sftp/keys" / DOMAIN
    line.write_text(line.read_text() + text("ed25519"))
    portal.inside("run_now")
    wait_for("what was added is found", lambda: portal.inside("found_lines", username=DOMAIN))
    yield {"settings": f"/districts/{slug}/settings/technical/", **portal.inside("propagation_states")}
    portal.inside("propagation_calm")


@pytest.fixture
def ops(browser: Browser, portal: Portal, places: dict[str, str]) -> Iterator[Page]:
    """A browser in which Olu of the vendor's ops has signed in."""
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, portal, OLU, PASSWORD)
    yield page
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_of_propagation_passes_axe_and_fits_a_telephone(
    ops: Page, portal: Portal, places: dict[str, str], scheme: str
) -> None:
    ops.emulate_media(color_scheme=scheme)
    host = f"/staff/hosts/{places['working']}/"
    pages = [
        "/staff/propagation/",
        "/staff/propagation/found/",
        "/staff/propagation/runs/",
        "/staff/propagation/runs/?over=some&page=2",
        "/staff/propagation/runs/?ended=trouble",
        f"/staff/propagation/runs/{places['run']}/",
        f"/staff/propagation/runs/{places['stopped-run']}/",
        f"/staff/propagation/stopped/{places['stopped-part']}/",
        f"/staff/propagation/stopped/{places['stopped-part']}/keys/",
        "/staff/hosts/",
        "/staff/hosts/new/",
        *(f"{host}{name}/" for name in ("edit", "portal-key", "remove")),
        *(f"/staff/hosts/{places[state]}/" for state in STATES),
    ]
    for place in pages:
        ops.goto(f"{portal.url}{place}")
        ops.wait_for_load_state("networkidle")
        axe(ops)
        assert is_within_narrow_screens(ops), place


def test_runs_are_filtered_and_paged_by_keyboard(ops: Page, portal: Portal, places: dict[str, str]) -> None:
    ops.goto(f"{portal.url}/staff/propagation/runs/")
    ops.get_by_label("Over").focus()
    ops.keyboard.type("Some")
    _press(ops, "Filter")
    ops.wait_for_url("**over=some**")
    expect(ops.get_by_label("Over")).to_have_value("some")
    _follow(ops, "Next")
    ops.wait_for_url("**page=2**")
    assert "over=some" in ops.url
    expect(ops.get_by_text("Schedule", exact=True)).to_have_count(0)
    axe(ops)
    _follow(ops, "Previous")
    ops.wait_for_url("**page=1**")


def test_what_is_not_known_of_a_host_does_not_run_into_what_stands_beside_it(
    ops: Page, portal: Portal, places: dict[str, str]
) -> None:
    ops.set_viewport_size({"width": 360, "height": 800})
    for place in ("/staff/propagation/", "/staff/hosts/"):
        ops.goto(f"{portal.url}{place}")
        for told in ops.get_by_text("not known").all():
            box, label = told.bounding_box(), told.locator("xpath=../following-sibling::td[1]").bounding_box()
            assert box is not None
            assert label is not None
            assert label["y"] >= box["y"] + box["height"], place


def test_a_form_of_a_host_that_is_refused_passes_axe(ops: Page, portal: Portal, places: dict[str, str]) -> None:
    for name, button in (("portal-key", "Make a new key"), ("remove", "Remove this host")):
        ops.goto(f"{portal.url}/staff/hosts/{places['working']}/{name}/")
        ops.get_by_role("button", name=button).click()
        expect(ops.get_by_role("alert")).to_be_focused()
        axe(ops)
        assert is_within_narrow_screens(ops), name


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_district_with_a_finding_reads_it_on_an_accessible_page(
    browser: Browser, portal: Portal, places: dict[str, str], scheme: str
) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    sign_in(page, portal, DANA, PASSWORD)
    page.goto(f"{portal.url}{places['settings']}")
    expect(page.get_by_text("It is ours: add it")).to_be_visible()
    axe(page)
    assert is_within_narrow_screens(page)
    context.close()


def test_a_host_key_is_compared_and_confirmed_by_keyboard_alone(
    ops: Page, portal: Portal, tmp_path: Path, places: dict[str, str]
) -> None:
    machine = Machine(tmp_path / "machine")
    try:
        ops.goto(f"{portal.url}/staff/hosts/")
        _press(ops, "Add a host")
        expect(ops.get_by_role("heading", name="Add a host")).to_be_visible(timeout=SOON)
        for label, typed in (("Name", "by keyboard"), ("Address", "127.0.0.1"), ("Port", str(machine.sshd.port))):
            _tab_to(ops, label)
            ops.keyboard.press("Control+A")
            ops.keyboard.type(typed)
        ops.keyboard.press("Enter")
        expect(ops.get_by_role("heading", name="by keyboard", exact=True)).to_be_visible(timeout=SOON)
        _press(ops, "Try to connect")
        field = ops.get_by_label("Fingerprint on the machine itself")
        expect(field).to_be_visible(timeout=SOON)
        # Enter without having compared confirms nothing.
        _press(ops, "Confirm this host key")
        expect(ops.get_by_role("alert")).to_be_focused(timeout=SOON)
        expect(ops.get_by_text("Paste the fingerprint, or tick that you have compared it.").first).to_be_visible()
        # The summary's link leads to the field.
        _press(ops, "Fingerprint on the machine itself")
        expect(field).to_be_focused()
        ops.keyboard.type(f"256 {portal.inside('fingerprint_of', line=machine.host_key)} root@upload (ED25519)")
        ops.keyboard.press("Enter")
        expect(ops.get_by_text("The host key of by keyboard is confirmed.")).to_be_visible(timeout=SOON)
    finally:
        machine.stop()


def test_propagation_without_trouble_passes_axe(ops: Page, portal: Portal) -> None:
    portal.inside("propagation_calm")
    ops.goto(f"{portal.url}/staff/propagation/")
    expect(ops.locator(".answer")).to_be_visible(timeout=SOON)
    expect(ops.locator(".answer.tone-act")).to_have_count(0)
    axe(ops)
    assert is_within_narrow_screens(ops)


def _press(page: Page, name: str) -> None:
    _tab_to(page, name)
    page.keyboard.press("Enter")


def _follow(page: Page, name: str) -> None:
    """A link below a long table: more rows than anybody presses Tab for."""
    page.get_by_role("link", name=name, exact=True).focus()
    page.keyboard.press("Enter")


def _tab_to(page: Page, name: str) -> None:
    """Presses Tab until what is called so has the focus."""
    called = "(document.activeElement.labels?.[0] ?? document.activeElement).innerText.trim()"
    for _ in range(60):
        if page.evaluate(called) == name:
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never came to {name}.")
