"""Journey A: a pasted key becomes a line on the host, and opens exactly the right doors."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.hosts.clients import psftp, scp, sftp, ssh

from .conftest import PASSWORD, new_pair, sign_in
from .stack import Portal, wait_for

DANA = "dana@cedarcreek.example"
DOMAIN = "cedarcreek.k12.oh.us"


@pytest.fixture(scope="module")
def district(portal: Portal) -> str:
    """Cedar Creek, administered by Dana."""
    return str(portal.inside("district", name="Cedar Creek", domain=DOMAIN, administrator=DANA))


@pytest.fixture
def page(page: Page, portal: Portal) -> Page:
    """A browser in which Dana has signed in."""
    sign_in(page, portal, DANA, PASSWORD)
    return page


def settings_page(page: Page, portal: Portal, slug: str) -> None:
    page.goto(f"{portal.url}/districts/{slug}/settings/technical/")


def test_a_pasted_key_goes_live_while_the_page_watches_and_signs_in(
    page: Page, portal: Portal, district: str, key_pair: Path
) -> None:
    settings_page(page, portal, district)
    box = page.get_by_label("authorized_keys")
    box.fill(key_pair.with_suffix(".pub").read_text())
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("1 key").first).to_be_visible()
    expect(page.get_by_text("on the host since").first).to_be_visible(timeout=20_000)
    door = portal.door(DOMAIN, key_pair)
    listed = sftp(door, "ls -1 /", "ls -1 /downloads")
    assert listed.code == 0, listed.output
    names = [line.strip().strip("/") for line in listed.output.splitlines() if not line.startswith("sftp>")]
    assert sorted(name.removeprefix("downloads/") for name in names) == sorted(
        ["downloads", "upload", "upload-processed", "backups", "docviewer", "pdfs"]
    )
    assert psftp(door, "ls /upload", "quit").code == 0
    wait_for("the sign-in is kept", lambda: [e for e in portal.inside("sign_ins", username=DOMAIN) if e["accepted"]])
    event = portal.inside("sign_ins", username=DOMAIN)[0]
    assert event["address"] == "127.0.0.1"
    assert event["fingerprint"].startswith("SHA256:")
    expect(page.get_by_text("127.0.0.1").first).to_be_visible(timeout=20_000)


def test_there_is_no_shell_no_command_and_no_legacy_scp(
    portal: Portal, district: str, key_pair: Path, tmp_path: Path
) -> None:
    door = portal.door(DOMAIN, key_pair)
    file = tmp_path / "x.txt"
    file.write_text("x")
    for ran in (ssh(door), ssh(door, "id"), scp(door, str(file), ":/upload/x.txt", options=("-O",))):
        assert ran.code != 0
        assert "uid=" not in ran.output
    assert ssh(door, options=("-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1")).code != 0


def test_only_upload_can_be_written_to(portal: Portal, district: str, key_pair: Path, tmp_path: Path) -> None:
    door = portal.door(DOMAIN, key_pair)
    file = tmp_path / "x.txt"
    file.write_text("x")
    assert sftp(door, f"put {file} /upload/x.txt", "rm /upload/x.txt").code == 0
    for place in ("/", "/upload-processed/", "/downloads/", "/downloads/backups/"):
        for line in (f"put {file} {place}x.txt", f"mkdir {place}x", f"chmod 777 {place}"):
            refused = sftp(door, line)
            assert refused.code != 0, line
            assert "denied" in refused.output.lower(), refused.output


def test_a_stale_save_from_a_second_tab_is_refused_with_the_difference(
    page: Page, portal: Portal, district: str, tmp_path: Path, key_pair: Path
) -> None:
    settings_page(page, portal, district)
    second = page.context.new_page()
    settings_page(second, portal, district)
    both = key_pair.with_suffix(".pub").read_text() + new_pair(tmp_path / "other").with_suffix(".pub").read_text()
    page.get_by_label("authorized_keys").fill(both)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("2 keys").first).to_be_visible()
    before = portal.inside("key_file", slug=district)["version"]
    second.get_by_role("button", name="Save", exact=True).click()
    expect(second.get_by_text("changed").first).to_be_visible()
    expect(second.get_by_text("SHA256:").first).to_be_visible()
    assert portal.inside("key_file", slug=district)["version"] == before


@pytest.mark.parametrize(
    ("has_script", "told"),
    [(True, "There is a private key in the box. It has not been sent."), (False, "Stop: that was a private key")],
    ids=["with script", "without script"],
)
def test_a_private_key_is_refused_and_nowhere_repeated(
    browser: Browser, portal: Portal, district: str, tmp_path: Path, has_script: bool, told: str
) -> None:
    secret = new_pair(tmp_path / "secret").read_text()
    context = browser.new_context(java_script_enabled=has_script)
    page = context.new_page()
    sign_in(page, portal, DANA, PASSWORD)
    settings_page(page, portal, district)
    page.get_by_label("authorized_keys").fill(secret)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text(told).first).to_be_visible()
    piece = secret.splitlines()[2]
    assert piece not in page.content()
    logs = list((portal.data_dir / "log").glob("*.log"))
    assert logs
    for log in logs:
        assert piece not in log.read_text(errors="replace")
    context.close()


def _wait_for_sign_in(portal: Portal) -> None:
    def has_come() -> bool:
        return any(event["accepted"] for event in portal.inside("sign_ins", username=DOMAIN))

    wait_for("a good sign-in is known", has_come)


def test_a_removed_key_no_longer_works_after_the_next_propagation(
    page: Page, portal: Portal, district: str, key_pair: Path, tmp_path: Path
) -> None:
    other = new_pair(tmp_path / "replacement")
    assert sftp(portal.door(DOMAIN, key_pair), "ls /").code == 0
    _wait_for_sign_in(portal)
    settings_page(page, portal, district)
    page.get_by_label("authorized_keys").fill(other.with_suffix(".pub").read_text())
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("No key that has ever signed in would be left.")).to_be_visible()
    page.get_by_label(f"Type {DOMAIN} to confirm").fill(DOMAIN)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Your account has 1 key now.")).to_be_visible()
    wait_for("on the host", lambda: portal.inside("key_file", slug=district)["state"] == "on_host")
    assert sftp(portal.door(DOMAIN, key_pair), "ls /").code != 0
    assert sftp(portal.door(DOMAIN, other), "ls /").code == 0
    wait_for(
        "the refusal is kept with its reason",
        lambda: "unknown-key" in [event["reason"] for event in portal.inside("sign_ins", username=DOMAIN)],
    )


def test_script_is_not_needed_to_save(portal: Portal, district: str, browser: Browser, tmp_path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, portal, DANA, PASSWORD)
    settings_page(page, portal, district)
    box = page.get_by_label("authorized_keys")
    box.fill(box.input_value() + new_pair(tmp_path / "plain").with_suffix(".pub").read_text())
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Your account has 2 keys now.")).to_be_visible()
    context.close()
