"""A system administrator opens a district, invites its administrator, renames it, suspends and closes it, in pages."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.hosts.clients import lftp, sftp

from .conftest import PASSWORD, new_pair, sign_in
from .stack import Portal, wait_for
from .uploads import students

ADA, SY = "ada@vendor.example", "sy@stony.example"


@pytest.fixture(scope="module")
def administrator(portal: Portal) -> str:
    """Ada, system administrator of the vendor."""
    portal.inside("person", email=ADA, name="Ada Admin", staff_role="system administrator")
    return ADA


@pytest.fixture
def staff_page(page: Page, portal: Portal, administrator: str) -> Page:
    """A page in which Ada has signed in."""
    sign_in(page, portal, administrator, PASSWORD)
    return page


def _form(page: Page, button: str) -> object:
    return page.locator("form").filter(has=page.get_by_role("button", name=button, exact=True))


def test_from_a_new_district_to_its_first_upload_and_its_end(
    staff_page: Page, portal: Portal, browser: Browser, key_pair: Path, tmp_path: Path
) -> None:
    staff_page.goto(f"{portal.url}/staff/districts/open/")
    staff_page.get_by_label("Name of the district").fill("Fernhill Schools")
    staff_page.get_by_label("Domain").fill("Fernhill.K12.oh.us")
    staff_page.get_by_role("button", name="Open").click()
    expect(staff_page.get_by_text("fernhill.k12.oh.us").first).to_be_visible()
    invite = _form(staff_page, "Send invitation")
    invite.get_by_label("Name").fill("Ivy Green")
    invite.get_by_label("E-mail address").fill("ivy@fernhill.example")
    invite.get_by_role("button").click()
    expect(staff_page.get_by_text("on its way").first).to_be_visible()
    ivy = _accept(portal, browser, "ivy@fernhill.example")
    ivy.goto(f"{portal.url}/districts/fernhill-schools/settings/technical/")
    ivy.get_by_label("authorized_keys").fill(key_pair.with_suffix(".pub").read_text())
    ivy.get_by_role("button", name="Save", exact=True).click()
    expect(ivy.get_by_text("1 key").first).to_be_visible()
    _on_host(portal)
    _upload_with_lftp(portal, key_pair, tmp_path)
    _rename(staff_page, portal)
    assert sftp(portal.door("fernhill.k12.oh.us", key_pair), "ls /").code != 0
    renamed = portal.door("fernhill-union.k12.oh.us", key_pair)
    listing = sftp(renamed, "ls -1 /upload-processed")
    assert "20261121-020000" in listing.output
    for state, works in (("suspended", False), ("active", True), ("closed", False)):
        _set_state(staff_page, portal, state)
        _on_host(portal)
        assert (sftp(renamed, "ls /").code == 0) is works, state
    assert ivy.goto(f"{portal.url}/districts/fernhill-schools/").status == 404  # type: ignore[union-attr]
    ivy.context.close()


def _on_host(portal: Portal) -> None:
    wait_for("on the host", lambda: portal.inside("key_file", slug="fernhill-schools")["state"] == "on_host")


def _accept(portal: Portal, browser: Browser, email: str) -> Page:
    text = portal.inside("outbox", to=email)[0][1]
    address = re.search(r"http://\S+/invitations/\S+", text)
    assert address is not None, text
    page = browser.new_context().new_page()
    page.goto(address[0])
    page.get_by_label("password").fill("password1234")
    page.get_by_role("button").last.click()
    expect(page.get_by_text("too common").first).to_be_visible()
    assert page.get_by_label("Your name").input_value() == "Ivy Green"
    page.get_by_label("password").fill("a-garden-of-odd-words")
    page.get_by_role("button").last.click()
    expect(page.get_by_text("Welcome").first).to_be_visible()
    return page


def _upload_with_lftp(portal: Portal, key_pair: Path, folder: Path) -> None:
    name, content = students(size=20).popitem()
    (folder / name).write_bytes(content)
    (folder / "COMPLETE").touch()
    place = "/upload/20261121-020000"
    done = lftp(
        portal.door("fernhill.k12.oh.us", key_pair),
        f"mkdir {place}",
        f"put {folder / name} -o {place}/{name}",
        f"put {folder / 'COMPLETE'} -o {place}/COMPLETE",
    )
    assert done.code == 0, done.output
    wait_for("loaded", lambda: portal.inside("epochs", slug="fernhill-schools")[-1:] and _state(portal) == "loaded")


def _state(portal: Portal) -> str:
    return str(portal.inside("epochs", slug="fernhill-schools")[-1]["state"])


def _rename(page: Page, portal: Portal) -> None:
    page.goto(f"{portal.url}/staff/districts/of/fernhill-schools/")
    form = _form(page, "Save name and domain")
    form.get_by_label("Domain").fill("fernhill-union.k12.oh.us")
    form.get_by_role("button").click()
    expect(page.get_by_text("Tick this box").first).to_be_visible()
    form = _form(page, "Save name and domain")
    assert form.get_by_label("Domain").input_value() == "fernhill-union.k12.oh.us"
    form.get_by_role("checkbox").check()
    form.get_by_role("button").click()
    expect(page.get_by_text("The SFTP user name is fernhill-union.k12.oh.us").first).to_be_visible()
    _on_host(portal)


def _set_state(page: Page, portal: Portal, state: str) -> None:
    page.goto(f"{portal.url}/staff/districts/of/fernhill-schools/")
    form = page.locator("form").filter(has=page.get_by_label("Reason"))
    form.get_by_label("State").select_option(state)
    form.get_by_label("Reason").fill("end of contract")
    form.get_by_role("button").click()
    expect(page.get_by_text(f"is {state} now").first).to_be_visible()


def test_a_csv_opens_many_districts_or_none(staff_page: Page, portal: Portal, tmp_path: Path) -> None:
    header = "name,domain,time_zone,administrator_name,administrator_email\n"
    good = [f"Lake {n},lake{n}.k12.mn.us,America/Chicago,Lee {n},lee@lake{n}.example\n" for n in range(30)]
    file = tmp_path / "districts.csv"
    file.write_text(header + "".join(good) + "Bad,not a domain,,,\n")
    staff_page.goto(f"{portal.url}/staff/districts/import/")
    staff_page.locator("input[type=file]").set_input_files(file)
    staff_page.get_by_role("button").last.click()
    expect(staff_page.get_by_text("A domain is made of letters").first).to_be_visible()
    file.write_text(header + "".join(good))
    staff_page.goto(f"{portal.url}/staff/districts/import/")
    staff_page.locator("input[type=file]").set_input_files(file)
    staff_page.get_by_role("button").last.click()
    staff_page.get_by_role("button", name=re.compile("Open")).last.click()
    expect(staff_page.get_by_text("30 districts are open").first).to_be_visible()
    wait_for("all are on the host", lambda: set(portal.inside("key_files")) == {"on_host"}, 90)
    assert portal.inside("outbox", to="lee@lake29.example") != []


def test_a_host_that_does_not_take_the_file_is_told_with_the_next_try_and_recovers(
    page: Page, portal: Portal, tmp_path: Path
) -> None:
    pair = new_pair(tmp_path / "stonybrook")
    slug = portal.inside(
        "district", name="Stony Brook", domain="stonybrook.k12.oh.us", administrator="sy@stony.example"
    )
    wait_for("made", lambda: portal.inside("key_file", slug=slug)["state"] == "on_host")
    path = portal.data_dir / "sftp" / "keys" / "stonybrook.k12.oh.us"
    path.unlink()
    (path / "something").mkdir(parents=True)  # in the way of the file
    sign_in(page, portal, SY, PASSWORD)
    page.goto(f"{portal.url}/districts/{slug}/settings/technical/")
    page.get_by_label("authorized_keys").fill(pair.with_suffix(".pub").read_text())
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("Failed").first).to_be_visible(timeout=20_000)
    expect(page.get_by_text(re.compile("try again|next try|Next try|tried again")).first).to_be_visible()
    (path / "something").rmdir()
    expect(page.get_by_text("on the host since").first).to_be_visible(timeout=60_000)
    assert sftp(portal.door("stonybrook.k12.oh.us", pair), "ls /").code == 0
