"""What lies in /downloads/: listed without following a link, fetched by its number, written down, told by mail."""

import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from accounts import downloads
from accounts.audit import broken_at
from accounts.core.roles import Role
from accounts.core.shelf import SAYS, Lying, folders_of
from accounts.downloads import number_of, shelf_of
from accounts.models import AuditEntry, District, OutboxMessage
from hosts import provision
from hosts.connect import files_for
from hosts.core.paths import DOWNLOADS, username
from tests.factories import DistrictFactory, MembershipFactory
from tests.signing_in import fresh


@pytest.fixture
def district(db, settings) -> District:
    settings.SFTP_ROOT.mkdir(parents=True)
    district = MembershipFactory(user__email="dana@smithville.example").district
    provision.home_make(files_for(district.sftp_account.host), username(district.sftp_account.username))
    return district


@pytest.fixture
def root(district, settings) -> Path:
    return settings.SFTP_ROOT / "homes" / district.sftp_account.username / "downloads"


@pytest.fixture
def dana(district) -> Client:
    client = Client()
    client.force_login(district.memberships.get().user)
    return fresh(client)


def _places(district: District) -> list[tuple[str, ...]]:
    return [one.place for folder in shelf_of(district.sftp_account).folders for one in folder.files]


def _fetch(client: Client, district: District, *place: str):
    return client.post(_address(district, number_of(district.sftp_account, place)))


def _address(district: District, number: str) -> str:
    return reverse("download_fetch", args=[district.slug, number])


def _page(client: Client, district: District, **more: object) -> str:
    return client.get(reverse("downloads", args=[district.slug]), **more).content.decode()


# --- As folders ----------------------------------------------------------------------------------------------------


def test_files_stand_in_their_folder_the_newest_first_and_loose_ones_last():
    old, new = Lying(("backups", "a.dump"), 1, 10), Lying(("backups", "b.dump"), 1, 20)
    deep, loose = Lying(("docviewer", "20261101-000000", "documents.csv"), 1, 5), Lying(("archive.zip",), 1, 5)
    folders = folders_of(["docviewer", "backups", "pdfs"], [loose, old, deep, new])
    assert [(folder.name, folder.files) for folder in folders] == [
        ("backups", (new, old)),
        ("docviewer", (deep,)),
        ("pdfs", ()),
        ("", (loose,)),
    ]


def test_every_folder_that_always_exists_says_what_is_in_it():
    assert set(SAYS) == {*DOWNLOADS, ""}


# --- Listing -------------------------------------------------------------------------------------------------------


def test_what_lies_there_is_listed_with_its_size_and_day(district, root, dana):
    (root / "backups/smithville.dump").write_bytes(b"x" * 2048)
    os.utime(root / "backups/smithville.dump", (0, datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()))
    html = _page(dana, district)
    row = re.search(r"smithville\.dump.*?</tr>", html, re.DOTALL)[0]
    assert "2.0\xa0KB" in row
    assert "1 Mar, 07:00" in row
    assert all(f"/downloads/{name}/" in html for name in DOWNLOADS)


def test_no_link_is_listed_or_followed_and_nothing_unfinished_is(district, root, tmp_path):
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/shadow").write_text("not yours")
    (root / "backups/link").symlink_to(tmp_path / "secret/shadow")
    (root / "linked").symlink_to(tmp_path / "secret")
    (root / "backups/.portal-tmp-0123-half").write_text("half")
    os.mkfifo(root / "backups/pipe")
    assert _places(district) == []


def test_a_home_that_is_not_made_yet_is_empty(district, root, dana):
    for name in DOWNLOADS:
        (root / name).rmdir()
    root.rmdir()
    assert "There is nothing to download so far." in _page(dana, district)


def test_a_host_that_is_away_is_said_to_be(district, dana, settings, tmp_path):
    settings.SFTP_ROOT = tmp_path / "nowhere"
    html = _page(dana, district)
    assert "We cannot look into your downloads just now." in html


def test_a_page_lists_no_more_than_it_can_and_says_so(district, root, dana, monkeypatch):
    monkeypatch.setattr(downloads, "MOST_FILES", 2)
    for number in range(3):
        (root / f"backups/{number}.dump").touch()
    assert shelf_of(district.sftp_account).is_cut
    assert len(_places(district)) == 2
    assert "There is more than this page shows." in _page(dana, district)


def test_a_deep_tree_is_looked_at_to_its_limit_only(district, root):
    deep = root / "pdfs" / "/".join(str(n) for n in range(10))
    deep.mkdir(parents=True)
    (deep / "x.pdf").touch()
    assert shelf_of(district.sftp_account).is_cut
    assert _places(district) == []


def test_a_name_that_no_screen_shows_is_listed_and_can_be_fetched(district, root, dana):
    raw = os.fsencode(root / "backups") + b"/\xff\n<b>.dump"
    Path(os.fsdecode(raw)).write_bytes(b"odd")
    html = _page(dana, district)
    assert "\\xff\\u{a}&lt;b&gt;.dump" in html
    number = re.search(r"/downloads/([0-9a-f]{32})/fetch/", html)[1]
    answer = dana.post(_address(district, number))
    assert b"".join(answer.streaming_content) == b"odd"
    assert "\n" not in answer["Content-Disposition"]


# --- Fetching ------------------------------------------------------------------------------------------------------


def test_a_file_comes_as_an_attachment_whole_and_under_its_name(district, root, dana):
    content = os.urandom(300_000)
    (root / "archive.zip").write_bytes(content)
    answer = _fetch(dana, district, "archive.zip")
    assert b"".join(answer.streaming_content) == content
    assert answer["Content-Disposition"] == 'attachment; filename="archive.zip"'
    assert (answer["Content-Type"], answer["Content-Length"]) == ("application/octet-stream", "300000")


def test_fetching_is_written_down_and_told_to_administrators_without_the_name(district, root, dana):
    other = MembershipFactory(district=district)
    MembershipFactory(district=district, role=Role.DISTRICT_VIEWER)
    (root / "pdfs/Jo Doe.pdf").write_bytes(b"x")
    _fetch(dana, district, "pdfs", "Jo Doe.pdf").close()
    entry = AuditEntry.objects.get(action="download fetched")
    assert (entry.actor, entry.subject, entry.details["bytes"]) == ("dana@smithville.example", "/downloads/pdfs/", 1)
    mails = OutboxMessage.objects.filter(kind="download-fetched")
    assert {mail.to for mail in mails} == {"dana@smithville.example", other.user.email}
    assert all("/downloads/pdfs/" in mail.text and "dana@smithville.example" in mail.text for mail in mails)
    assert not any("Doe" in text for text in [str(entry.details), *(mail.subject + mail.text for mail in mails)])
    assert broken_at() is None


def test_each_time_is_told_by_a_mail_of_its_own(district, root, dana):
    (root / "archive.zip").touch()
    for _ in range(2):
        _fetch(dana, district, "archive.zip").close()
    assert OutboxMessage.objects.filter(kind="download-fetched").count() == 2


def test_a_sign_in_that_is_not_fresh_is_asked_for_first(district, root, settings):
    (root / "archive.zip").touch()
    client = Client()
    client.force_login(district.memberships.get().user)
    answer = _fetch(fresh(client, settings.FRESH_SIGN_IN_SECONDS + 1), district, "archive.zip")
    assert answer.status_code == 302
    assert answer.url.startswith(reverse("account_reauthenticate"))
    assert "Give your password first." in client.get(answer.url).content.decode()
    assert not AuditEntry.objects.filter(action="download fetched").exists()


def test_the_number_of_another_districts_file_fetches_nothing(district, root, dana):
    other = DistrictFactory()
    (root / "archive.zip").touch()
    answer = dana.post(_address(district, number_of(other.sftp_account, ("archive.zip",))))
    assert answer.url == reverse("downloads", args=[district.slug])
    assert "not there any more" in _page(dana, district)


def test_what_became_a_link_since_it_was_listed_is_not_followed(district, root, dana, tmp_path):
    (root / "archive.zip").touch()
    assert _places(district) == [("archive.zip",)]
    (tmp_path / "shadow").write_text("not yours")
    (root / "archive.zip").unlink()
    (root / "archive.zip").symlink_to(tmp_path / "shadow")
    assert _fetch(dana, district, "archive.zip").status_code == 302
    assert not AuditEntry.objects.filter(action="download fetched").exists()


@pytest.mark.parametrize("number", ["0" * 32, "x", "etc-passwd"])
def test_a_number_that_is_none_fetches_nothing(district, dana, number):
    assert dana.post(_address(district, number)).status_code == 302
    assert not OutboxMessage.objects.filter(kind="download-fetched").exists()


def test_an_address_tells_no_name(district, root, dana):
    (root / "pdfs/Jo Doe.pdf").touch()
    assert re.findall(r'action="[^"]*Doe[^"]*"', _page(dana, district)) == []


def test_only_who_may_fetch_is_shown_how(district, root):
    (root / "archive.zip").touch()
    viewer = MembershipFactory(district=district, role=Role.DISTRICT_VIEWER).user
    client = Client()
    client.force_login(viewer)
    html = _page(client, district)
    assert "archive.zip" in html
    assert "/fetch/" not in html
    assert "only administrators of the district" in html


def test_a_file_dated_in_days_to_come_breaks_no_page(district, root, dana):
    (root / "archive.zip").touch()
    ahead = (datetime.now(UTC) + timedelta(days=400)).timestamp()
    os.utime(root / "archive.zip", (ahead, ahead))
    assert "archive.zip" in _page(dana, district)
