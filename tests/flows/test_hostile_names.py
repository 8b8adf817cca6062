"""Markup wherever a district may write something: no page runs it, and every page that can be reached is whole."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from tests.hosts.clients import sftp

from .conftest import PASSWORD, sign_in
from .stack import EMBEDDED, Portal, wait_for
from .test_key_life import axe, is_within_narrow_screens
from .uploads import epoch_in, students, upload

NASTY = "<img src=x onerror=alert(1)>"
# As long as some addresses are.
DANA = "dana.ruiz-of-the-district-office@alder-local-school-district.example"
SAM = "sam@alder.example"
# Addresses that answer with a file, or are left for good.
NOT_PAGES = ("/log/", "/findings/", "/logout/", ".csv", ".txt", "/known-hosts", "/recipe")
# Pages are the same whatever stands behind them.
pytestmark = pytest.mark.parametrize("stack", [EMBEDDED], indirect=True)
RAN = "window.ran = false; window.alert = () => { window.ran = true; };"


@pytest.fixture(scope="module")
def district(portal: Portal, key_pair: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A district of that name, with such a key, such an administrator, such files; its slug."""
    folder = tmp_path_factory.mktemp("nights")
    slug = portal.inside("district", name=f"Alder {NASTY}", domain="alder.k12.oh.us", administrator=DANA)
    kind, blob, *_ = key_pair.with_suffix(".pub").read_text().split()
    portal.inside("save_keys", slug=slug, text=f"{kind} {blob} {NASTY}")
    portal.inside("person", email=SAM, name=f"Sam {NASTY}", staff_role="system administrator")
    wait_for("the key is on the host", lambda: portal.inside("key_file", slug=slug)["state"] == "on_host")
    door = portal.door("alder.k12.oh.us", key_pair)
    upload(door, folder / "a", "20261101-020000", students())
    epoch_in(portal, slug, "20261101-020000", ("loaded",))
    upload(door, folder / "b", "20261102-020000", students(size=15))
    epoch_in(portal, slug, "20261102-020000", ("held",))
    upload(door, folder / "c", "20261103-020000", students() | {f"{NASTY}.csv": b"a,b\r\n1,2\r\n"})
    (folder / NASTY).write_bytes(b"x")
    sftp(door, f'put "{folder / NASTY}" "/upload/{NASTY}"', f'mkdir "/upload/d {NASTY}"')
    # Tries to sign in that are refused, with such a name.
    sftp(portal.door(f"{NASTY}.k12.oh.us", key_pair), "ls")
    wait_for("what was put there is seen", lambda: len(portal.inside("epochs", slug=slug)) >= 5)
    return slug


@pytest.fixture(params=[DANA, SAM])
def person(request: pytest.FixtureRequest, browser: Browser, portal: Portal, district: str) -> Iterator[Page]:
    """A browser in which one of them has signed in."""
    context = browser.new_context()
    context.add_init_script(RAN)
    page = context.new_page()
    sign_in(page, portal, request.param, PASSWORD)
    yield page
    context.close()


def _shape(place: str) -> str:
    """Addresses that differ in a number alone lead to pages alike: three of each are looked at."""
    return "/".join("n" if part.isdigit() else part for part in place.split("/"))


def _links(page: Page) -> list[str]:
    """Where the page leads: paths, in their order, without what is asked for behind them."""
    found = page.locator("a[href]").evaluate_all(
        "all => all.map(one => new URL(one.getAttribute('href'), location).href)"
    )
    here = urlsplit(page.url)
    paths = [urlsplit(one).path for one in found if urlsplit(one).netloc == here.netloc]
    return [path for path in dict.fromkeys(paths) if not any(no in path for no in NOT_PAGES)]


def test_no_page_runs_what_a_district_wrote(person: Page, portal: Portal, district: str) -> None:
    said: list[str] = []
    person.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    person.on("pageerror", lambda error: said.append(str(error)))
    places, seen, shown = [urlsplit(person.url).path], dict[str, int](), 0
    done: set[str] = set()
    while places:
        place = places.pop(0)
        if place in done or seen.get(_shape(place), 0) >= 3:
            continue
        done.add(place)
        seen[_shape(place)] = seen.get(_shape(place), 0) + 1
        answer = person.goto(f"{portal.url}{place}")
        assert answer is not None
        assert (place, answer.status) == (place, 200)
        assert (place, person.evaluate("window.ran")) == (place, False)
        assert (place, person.locator("[onerror]").count()) == (place, 0)
        assert (place, said) == (place, [])
        axe(person)
        assert is_within_narrow_screens(person), place
        shown += NASTY in person.locator("body").inner_text()
        places += _links(person)
    # The crawl went through the portal, and what is nasty was there to be seen.
    assert f"/districts/{district}/uploads/" in done
    assert len(done) >= 12
    assert shown >= 8
