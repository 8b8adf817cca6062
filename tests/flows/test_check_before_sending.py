"""Check before sending: dropped or chosen, with and without script, by keyboard, on a telephone, past a dead worker."""

import contextlib
import os
import re
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from .conftest import PASSWORD, sign_in
from .stack import Portal, wait_for
from .test_key_life import axe, is_within_narrow_screens
from .uploads import rostering, students

DANA = "dana@hazel.example"
SOON = 60_000
RESULT = re.compile(r"/uploads/check/\d+/$")
DROP = """
([form, files]) => {
  const held = new DataTransfer();
  for (const [name, text] of files) held.items.add(new File([text], name));
  const told = { dataTransfer: held, bubbles: true, cancelable: true };
  document.querySelector(form).dispatchEvent(new DragEvent("drop", told));
}
"""


@pytest.fixture(scope="module")
def uploads(portal: Portal) -> str:
    """Where Hazel's pages of uploads are."""
    slug = portal.inside("district", name="Hazel", domain="hazel.k12.oh.us", administrator=DANA)
    return f"{portal.url}/districts/{slug}/uploads/"


@pytest.fixture
def dana(browser: Browser, portal: Portal, uploads: str) -> Iterator[Page]:
    """A browser in which Dana of Hazel has signed in."""
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, portal, DANA, PASSWORD)
    yield page
    context.close()


def put(place: Path, files: Mapping[str, bytes]) -> list[Path]:
    """The files, to be chosen."""
    for name, content in files.items():
        (place / name).write_bytes(content)
    return [place / name for name in files]


def left(portal: Portal) -> list[Path]:
    """What was sent and is still there."""
    return [path for path in (portal.data_dir / "trials").glob("*/*") if path.name != "lock"]


def whole(page: Page) -> None:
    """Asserts that a page is accessible and fits a telephone."""
    axe(page)
    assert is_within_narrow_screens(page)


def test_dropped_files_are_checked_and_gone(dana: Page, portal: Portal, uploads: str) -> None:
    dana.goto(uploads)
    dana.get_by_role("link", name="Check files before sending").click()
    whole(dana)
    files = [[name, content.decode()] for name, content in rostering().items()]
    dana.evaluate(DROP, ["[data-drop]", files])
    expect(dana.get_by_text("manifest.csv, ")).to_be_visible()
    dana.get_by_role("button", name="Check these files").click()
    expect(dana.get_by_text("These files are in order").first).to_be_visible(timeout=SOON)
    whole(dana)
    assert left(portal) == []
    assert not portal.inside("snapshot", slug=uploads.split("/")[-3])["records"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_errors_are_told_as_after_an_upload(dana: Page, uploads: str, tmp_path: Path, scheme: str) -> None:
    dana.emulate_media(color_scheme=scheme)
    bad = {name: content.replace(b"\r\nS0000007,", b"\r\nS0000008,") for name, content in students().items()}
    dana.goto(f"{uploads}check/")
    dana.get_by_label("Files of one night").set_input_files(put(tmp_path, {**bad, "notes.txt": b"x"}))
    dana.get_by_role("button", name="Check these files").click()
    expect(dana.get_by_text("These files have errors").first).to_be_visible(timeout=SOON)
    expect(dana.get_by_text("line 8").first).to_be_visible()
    whole(dana)
    dana.goto(f"{uploads}check/")
    expect(dana.get_by_text("Has errors").first).to_be_visible()
    whole(dana)


def test_what_is_refused_is_told_where_it_was_chosen(dana: Page, uploads: str) -> None:
    dana.goto(f"{uploads}check/")
    dana.evaluate(DROP, ["[data-drop]", [["a.csv", "1"], ["a.csv", "2"]]])
    dana.get_by_role("button", name="Check these files").click()
    expect(dana.get_by_role("alert")).to_be_focused(timeout=SOON)
    expect(dana.get_by_text("Two of the files are named a.csv.")).to_be_visible()
    whole(dana)


def test_it_works_without_script(browser: Browser, portal: Portal, uploads: str, tmp_path: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    sign_in(page, portal, DANA, PASSWORD)
    page.goto(f"{uploads}check/")
    page.get_by_label("Files of one night").set_input_files(put(tmp_path, {"strange.csv": b"a,b\r\n1,2\r\n"}))
    page.get_by_role("button", name="Check these files").click()
    page.wait_for_url(RESULT)
    look = page.get_by_role("link", name="See how far it is")

    def is_done() -> bool:
        if look.count():
            look.click()
        return page.get_by_text("We do not recognise these files.").count() > 0

    wait_for("the result", is_done)
    context.close()


def test_a_dead_worker_costs_only_time_and_leaves_nothing(
    dana: Page, portal: Portal, uploads: str, tmp_path: Path
) -> None:
    dana.goto(f"{uploads}check/")
    dana.get_by_label("Files of one night").set_input_files(put(tmp_path, students(size=60_000)))
    dana.get_by_role("button", name="Check these files").click()
    child = wait_for("the check has begun", lambda: _named(portal, b"ingest.trials.process"))
    worker = _parent(child)
    assert b"worker-runs@" in Path(f"/proc/{worker}/cmdline").read_bytes()
    os.kill(worker, signal.SIGKILL)
    wait_for("the check died with its worker", lambda: not Path(f"/proc/{child}/cmdline").exists())
    expect(dana.get_by_text("These files are in order").first).to_be_visible(timeout=SOON)
    assert left(portal) == []


def test_file_settings_can_be_changed_on_a_telephone(dana: Page, uploads: str) -> None:
    dana.goto(f"{uploads}file-settings/")
    whole(dana)
    dana.get_by_label("Our files are in Windows-1252").check()
    dana.get_by_role("button", name="Save").click()
    expect(dana.get_by_text("UTF-8, or else Windows-1252.")).to_be_visible()
    whole(dana)


def _named(portal: Portal, module: bytes) -> int:
    """A process that runs this module for this portal: a child of one of its own."""
    ours = set(portal.processes())
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if module in (entry / "cmdline").read_bytes().split(b"\0") and _parent(int(entry.name)) in ours:
                return int(entry.name)
    return 0


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[1])
