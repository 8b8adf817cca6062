"""What depends on the day: blackouts, the weeks in which years change, nights that do not come, uploads that stop."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, Page, expect

from ingest.core.causes import Cause
from ingest.core.mishaps import IN_JULY, mishaps
from tests.hosts.clients import sftp

from .conftest import PASSWORD, sign_in
from .mishaps import known
from .stack import EMBEDDED, ROOT, Portal, Stack, wait_for
from .uploads import epoch_in, ready_district, students, upload

DANA, SAM = "dana@ironwood.example", "sam@ironwood.example"
FIRST, SECOND, THIRD = (f"2026112{number}-020000" for number in range(1, 4))


# Who sees, checks and judges uploads, and who notes that none has come.
OURS = {"worker": "celery", "worker-soon": "soon", "worker-runs": "runs"}


class Worker:
    """All workers but that of saved keys, as one that lives on a day of our choice."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.process: subprocess.Popen[bytes] | None = None

    def live(self, hours: float) -> None:
        """So many hours from now, from now on."""
        self.stop()
        command = [sys.executable, "-m", "celery", "-A", "tests.flows.moved", "worker", "-c", "2"]
        options = ["--queues", ",".join(OURS.values()), "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
        told = self.portal.environment | {"MOVED_HOURS": str(hours)}
        with (self.portal.data_dir / "moved-worker.log").open("ab") as log:
            self.process = subprocess.Popen([*command, *options], cwd=ROOT, env=told, stdout=log, stderr=log)

    def stop(self) -> None:
        """Ends it."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal whose workers are ours."""
    folder = tmp_path_factory.mktemp("calendar")
    made = Stack(EMBEDDED, folder).portal(folder)
    made.start(*(word for name in OURS for word in ("--without", name)))
    made.inside("person", email=SAM, name="Sam Support", staff_role="support")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def worker(portal: Portal) -> Iterator[Worker]:
    """Our workers, today."""
    made = Worker(portal)
    made.live(0)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture
def sam(browser: Browser, portal: Portal) -> Iterator[Page]:
    """A browser in which Sam of the vendor's support has signed in."""
    context = browser.new_context()
    page = context.new_page()
    sign_in(page, portal, SAM, PASSWORD)
    yield page
    context.close()


def _settings(page: Page, portal: Portal, slug: str, heading: str) -> None:
    """Opens the form below one heading of a district's limits."""
    page.goto(f"{portal.url}/staff/districts/of/{slug}/limits/")
    page.get_by_text(heading, exact=True).click()


def _records(portal: Portal, slug: str) -> object:
    return portal.inside("snapshot", slug=slug)["records"]


def test_e6_a_raised_limit_that_is_forgotten_ends_by_itself(
    portal: Portal, worker: Worker, sam: Page, key_pair: Path, tmp_path: Path
) -> None:
    slug, door = ready_district(portal, "August", "august.example", key_pair)
    upload(door, tmp_path / FIRST, FIRST, students(size=40))
    epoch_in(portal, slug, FIRST, ("loaded",))
    _settings(sam, portal, slug, "Raise a limit")
    form = sam.get_by_role("region", name="Raised for some days")
    form.get_by_label("Of records").select_option("removed")
    form.get_by_label("Percent").fill("50")
    form.get_by_label("First day").fill(f"{date.today() - timedelta(days=1)}")
    form.get_by_label("Last day").fill(f"{date.today() + timedelta(days=1)}")
    form.get_by_label("Reason").fill("A school has closed.")
    form.get_by_role("button", name="Raise it").click()
    expect(sam.get_by_text("It ends by itself after its last day.")).to_be_visible()

    upload(door, tmp_path / SECOND, SECOND, students(size=25))
    epoch_in(portal, slug, SECOND, ("loaded",))
    before = _records(portal, slug)
    worker.live(72)
    upload(door, tmp_path / THIRD, THIRD, students(size=15))
    epoch_in(portal, slug, THIRD, ("held",))
    assert "too-many-removed" in portal.inside("nights", slug=slug)[-1]["codes"]
    assert _records(portal, slug) == before
    worker.live(0)


def test_e13_in_a_blackout_nights_are_received_and_checked_and_not_applied(
    portal: Portal, worker: Worker, sam: Page, key_pair: Path, tmp_path: Path
) -> None:
    slug, door = ready_district(portal, "Ironwood", "ironwood.example", key_pair, administrator=DANA)
    upload(door, tmp_path / FIRST, FIRST, students(size=40))
    epoch_in(portal, slug, FIRST, ("loaded",))
    before = _records(portal, slug)
    _settings(sam, portal, slug, "Set a blackout")
    form = sam.get_by_role("region", name="Blackouts")
    form.get_by_label("First day").fill(f"{date.today() - timedelta(days=1)}")
    form.get_by_label("Last day").fill(f"{date.today() + timedelta(days=9)}")
    form.get_by_label("Reason").fill("The years change.")
    form.get_by_role("button", name="Set the blackout").click()
    expect(sam.get_by_text("On these days nights are received and not applied.")).to_be_visible()

    upload(door, tmp_path / SECOND, SECOND, students(size=43))
    found = epoch_in(portal, slug, SECOND, ("blackout",))
    assert _records(portal, slug) == before
    listed = sftp(door, f"ls -1 /upload-processed/{SECOND}").output
    assert "students.csv" in listed
    assert "processing-log.txt" in listed
    sam.goto(f"{portal.url}/districts/{slug}/uploads/{found['pk']}/")
    expect(sam.get_by_text("The years change.").first).to_be_visible()

    sam.goto(f"{portal.url}/staff/districts/of/{slug}/limits/")
    sam.get_by_role("button", name="End it").click()
    expect(sam.get_by_text("Nights are applied every day.")).to_be_visible()
    upload(door, tmp_path / THIRD, THIRD, students(size=43))
    epoch_in(portal, slug, THIRD, ("loaded",))
    assert len(portal.inside("snapshot", slug=slug)["records"]) == 43


def test_e13_enrolments_that_are_all_new_in_july_are_held_as_a_change_of_years(
    portal: Portal, worker: Worker, key_pair: Path, tmp_path: Path
) -> None:
    every = mishaps(known("oneroster-1.1"), 60)
    rolled = next(one for one in every if one.cause is Cause.ROLLOVER and "enrolments" in one.variant)
    slug, door = ready_district(portal, "July", "july.example", key_pair)
    upload(door, tmp_path / FIRST, FIRST, rolled.earlier[-1])
    epoch_in(portal, slug, FIRST, ("loaded",))
    before = _records(portal, slug)
    worker.live((IN_JULY - date.today()).total_seconds() / 3600)
    upload(door, tmp_path / SECOND, SECOND, rolled.tonight)
    epoch_in(portal, slug, SECOND, ("held",))
    assert portal.inside("nights", slug=slug)[-1]["cause"] == "rollover"
    assert _records(portal, slug) == before
    worker.live(0)


def test_e14_of_a_night_that_does_not_come_the_district_hears_first_then_staff(
    portal: Portal, worker: Worker, sam: Page, key_pair: Path, tmp_path: Path
) -> None:
    slug, door = ready_district(portal, "Missing", "missing.example", key_pair, administrator="dana@missing.example")
    upload(door, tmp_path / FIRST, FIRST, students(size=40))
    epoch_in(portal, slug, FIRST, ("loaded",))
    _settings(sam, portal, slug, "Change it")
    now = datetime.now(ZoneInfo("America/New_York"))
    sam.get_by_label("Expected by").fill(f"{now - timedelta(minutes=1):%H:%M}")
    for day in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"):
        sam.get_by_label(day).check()
    sam.get_by_role("button", name="Save", exact=True).click()
    expect(sam.get_by_text("Saved.")).to_be_visible()

    def told(to: str) -> list[str]:
        return [text for _, text in portal.inside("outbox", to=to) if "No epoch has come" in text]

    # A whole day later by two hours, then by eight.
    worker.live(26)
    portal.inside("missing_ask")
    wait_for("the district is told", lambda: told("dana@missing.example"))
    assert told(SAM) == []
    worker.live(32)
    portal.inside("missing_ask")
    wait_for("staff are told", lambda: told(SAM))
    portal.inside("missing_ask")
    upload(door, tmp_path / SECOND, SECOND, students(size=41))
    epoch_in(portal, slug, SECOND, ("loaded",))
    assert (len(told("dana@missing.example")), len(told(SAM))) == (1, 1)
    sam.goto(f"{portal.url}/staff/districts/of/{slug}/limits/")
    expect(sam.get_by_text("Missing lately")).to_be_visible()
    worker.live(0)


def test_e22_an_upload_that_stops_half_way_is_told(
    portal: Portal, worker: Worker, key_pair: Path, tmp_path: Path
) -> None:
    slug, door = ready_district(portal, "Stalled", "stalled.example", key_pair, administrator="dana@stalled.example")
    upload(door, tmp_path, FIRST, students(size=40), complete=False)
    epoch_in(portal, slug, FIRST, ("arriving",))
    worker.live(7)
    for person in ("dana@stalled.example", SAM):
        wait_for(f"{person} is told", lambda: [one for one in portal.inside("outbox", to=person) if FIRST in one[1]])  # noqa: B023
    assert epoch_in(portal, slug, FIRST, ("arriving",))["look_code"] == "stalled"
    (tmp_path / "COMPLETE").touch()
    sftp(door, f"put {tmp_path / 'COMPLETE'} /upload/{FIRST}/COMPLETE")
    epoch_in(portal, slug, FIRST, ("loaded",))
