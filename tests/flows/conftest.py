"""Both stacks, started for real; a browser; keys made by ssh-keygen."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.parallel import STACKS_RAN
from tests.system_packages import find

from .stack import STACKS, Portal, Stack

# What `inside.person` gives everybody.
PASSWORD = "five-odd-words-for-tests"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless; playwright's own browsers are not to be had everywhere."""
    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=find("chromium"), args=options)
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a browser nobody has signed in to."""
    context = browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture(scope="session", params=STACKS)
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack; its servers run while its tests do."""
    STACKS_RAN.add(request.param)
    made = Stack(request.param, tmp_path_factory.mktemp("stack"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def portal(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """One running portal for all tests of a stack that do not stop it."""
    made = stack.portal(tmp_path_factory.mktemp("portal"))
    made.start()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def key_pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The private half of a pair made by ssh-keygen; the public half lies beside it."""
    return new_pair(tmp_path_factory.mktemp("pair") / "id_ed25519")


def new_pair(path: Path) -> Path:
    """A fresh pair."""
    command = [str(find("ssh-keygen")), "-q", "-t", "ed25519", "-N", "", "-C", "sis-server", "-f", str(path)]
    subprocess.run(command, check=True)
    return path


def sign_in(page: Page, portal: Portal, email: str, password: str) -> None:
    """Signs in as a person does."""
    page.goto(f"{portal.url}/account/login/")
    page.get_by_label("Email").or_(page.get_by_label("E-mail")).first.fill(email)
    page.get_by_label("Password").first.fill(password)
    page.get_by_role("button", name="Sign in").first.click()
    page.wait_for_url(lambda url: "/account/login" not in url)
