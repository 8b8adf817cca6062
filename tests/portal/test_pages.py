"""Pages as a whole: they render, cost the same however much they list, and stand no script or style of their own."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import LazySettings, settings
from django.db import connection
from django.template import engines
from django.template.loader import get_template
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.audit import record
from accounts.models import SecondFactorReset, User
from accounts.notices import message_queue
from accounts.tables import PER_PAGE
from hosts.connect import files_for
from hosts.core.paths import downloads
from hosts.models import Host, SignIn
from ingest.models import Epoch, GuardState, MissingNight
from keys.models import (
    AccountKey,
    FoundLine,
    HostRun,
    KeyFile,
    KeySet,
    PropagationFailure,
    PropagationRun,
    SharedKeyRequest,
)
from keys.services import host_add
from keys.sets import PORTAL
from portal.schedules import schedules_sync
from tests.factories import (
    DistrictFactory,
    EpochFactory,
    FileFactory,
    MembershipFactory,
    PersonFactory,
    StaffFactory,
)

from .addresses import address
from .scene import ADMINISTRATOR, OPS, PEOPLE, SUPPORT, SYSTEM, VIEWER, Scene, row_add
from .test_doors import READ, ROWS, SHOWN, Row

TEMPLATES = settings.BASE_DIR / "templates"
FILES = sorted(path for path in TEMPLATES.rglob("*") if path.is_file())


def _title(path: Path) -> str:
    return str(path.relative_to(TEMPLATES))


@pytest.mark.parametrize("path", FILES, ids=_title)
def test_every_template_compiles(path: Path) -> None:
    assert get_template(_title(path))


@pytest.mark.parametrize("path", FILES, ids=_title)
def test_no_template_holds_script_or_style_of_its_own(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)", text), "an inline script"
    assert not re.search(r"<style\b|\sstyle\s*=", text), "an inline style"
    assert not re.search(r"\son[a-z]+\s*=\s*[\"']", text), "an event handler"
    assert not re.search(r"javascript:", text)


def test_every_template_is_used_by_something() -> None:
    """Named in a source or another template, or one that Django or allauth look for by its name."""
    told = "".join(path.read_text("utf-8") for path in FILES)
    told += "".join(
        path.read_text("utf-8")
        for package in ("accounts", "ingest", "keys", "portal")
        for path in (settings.BASE_DIR / package).rglob("*.py")
    )
    theirs = (
        "account/",
        "mfa/",
        "socialaccount/",
        "allauth/",
        "django/",
        "429.html",
        "400.html",
        "403.html",
        "403_csrf.html",
        "404.html",
        "500.html",
    )
    unused = []
    for path in FILES:
        name = _title(path)
        is_notice = name.startswith("mail/") and f'"{path.stem}"' in told
        if not (name.startswith(theirs) or is_notice or f'"{name}"' in told):
            unused.append(name)
    assert unused == []


def _inline(html: str) -> list[str]:
    return re.findall(r"<script(?![^>]*\bsrc=)[^>]*>|<style\b|\sstyle=\"[^\"]*\"|\son[a-z]+=\"", html)


@pytest.mark.parametrize("row", [row for row in ROWS if row.method == READ], ids=lambda row: row.title)
def test_a_page_for_each_who_may_see_it_is_whole(scene: Scene, row: Row) -> None:
    for person, answer in zip(PEOPLE, row.answers, strict=True):
        if answer == SHOWN:
            shown = scene.client(person).get(address(row.name, scene.kwargs(row.name)))
            if shown.streaming:  # a file to be kept, and no page
                assert "attachment" in shown["Content-Disposition"]
                continue
            html = shown.content.decode()
            assert _inline(html) == []
            assert not re.search(r">\s*None\s*<|=\"None\"", html)
            assert not re.search(r"\{[{%#]", html)


SIGNED_OUT = ("help_sftp", "account_login", "account_reset_password", "account_reset_password_done", "account_signup")


@pytest.mark.parametrize("name", SIGNED_OUT)
def test_a_page_for_everybody_is_whole(db: None, name: str) -> None:
    assert _inline(Client().get(reverse(name)).content.decode()) == []


def test_help_asks_the_database_nothing_and_leads_from_the_sign_in_page(db: None) -> None:
    assert reverse("help_sftp") in Client().get(reverse("account_login")).content.decode()
    with CaptureQueriesContext(connection) as queries:
        html = Client().get(reverse("help_sftp")).content.decode()
    assert len(queries) == 0
    anchors = set(re.findall(r'href="#([a-z-]+)"', html))
    assert anchors - {"content"} <= set(re.findall(r'id="([a-z-]+)"', html))


def test_help_names_the_halves_of_a_pair_the_right_way_round(db: None) -> None:
    html = Client().get(reverse("help_sftp")).content.decode()
    for private, public in (("id_rsa", "id_rsa.pub"), ("id_ed25519", "id_ed25519.pub")):
        row = (
            rf"Private[^>]*>\s*<code>{private}</code>\s*</td>\s*<td[^>]*Public[^>]*>\s*<code>{re.escape(public)}</code>"
        )
        assert re.search(row, html)


@pytest.mark.parametrize("person", PEOPLE)
def test_help_is_there_for_whoever_is_signed_in_too(scene: Scene, person: str) -> None:
    assert scene.client(person).get(reverse("help_sftp")).status_code == SHOWN


@pytest.mark.parametrize("status", [400, 403, 404, 500])
def test_an_error_page_needs_nothing(status: int) -> None:
    assert engines["django"].get_template(f"{status}.html").render({})


STATES = [state.value for state in Epoch.State]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("person", [ADMINISTRATOR, VIEWER, SUPPORT, OPS])
def test_an_epoch_can_be_shown_in_every_state(scene: Scene, state: str, person: str) -> None:
    district = scene.districts["active"]
    epoch = EpochFactory(district=district, state=state, trouble="Trouble." if state in ("working", "stuck") else "")
    if state in ("working", "stuck", "loaded", "failed"):
        epoch.steps.create(step="claim")
        epoch.steps.create(step="copy")
        epoch.steps.create(step="check")
        FileFactory(epoch=epoch)
    epoch.findings.create(
        file="a.csv", code="x", severity="error", message="<b>Wrong</b>", value="<i>", hint="Mend it.", line=2
    )
    client = scene.client(person)
    for name in ("epoch", "epoch_state", "uploads", "district_home"):
        shown = client.get(address(name, {"slug": district.slug, "pk": epoch.pk}))
        assert shown.status_code == 200
        assert "<b>Wrong" not in shown.content.decode()


# --- What a page costs -------------------------------------------------------------------------------------------


def _cost(client: Client, place: str) -> int:
    client.get(place)
    with CaptureQueriesContext(connection) as queries:
        assert client.get(place).status_code == 200
    return len(queries)


def _more_epochs() -> None:
    district = DistrictFactory()
    for state in STATES:
        for _ in range(2):
            FileFactory(epoch=EpochFactory(district=district, state=state))


def _more_matters() -> None:
    for state in STATES:
        for _ in range(2):
            FileFactory(epoch=EpochFactory(state=state, finished=timezone.now(), look_code="stalled"))
    for _ in range(2):
        MissingNight.objects.create(
            district=DistrictFactory(), day="2026-11-20", audience="staff", message="It is missing."
        )
        GuardState.objects.create(district=DistrictFactory(), stopped="It was undone.", stopped_at=timezone.now())


def _more_epochs_of_one() -> None:
    district = User.objects.get(email="dana@smithville.example").memberships.get().district
    for state in STATES:
        for _ in range(2):
            FileFactory(epoch=EpochFactory(district=district, state=state))


def _more_findings() -> None:
    epoch = Epoch.objects.get(name="20260101-000000")
    for number in range(8):
        epoch.findings.create(file=f"{number}.csv", code="x", severity="error", message="m")
        FileFactory(epoch=epoch, name=f"{number}.csv", position=number + 1)


def _more_runs() -> None:
    run = PropagationRun.objects.filter(asked_by=None).first()
    for number in range(5):
        PropagationRun.objects.create(cause="now", state="done", asked_by=PersonFactory())
        account = DistrictFactory().sftp_account
        PropagationFailure.objects.create(run=run, account=account, code="x", reason=str(number))
        account.key_file.__class__.objects.filter(account=account).update(state="failed", reason="x")


def _more_hosts() -> None:
    run = PropagationRun.objects.filter(asked_by=None).first()
    for number in range(5):
        host = host_add(f"upload-{number}-{Host.objects.count()}", "a.example", 22, by=PORTAL)
        now = timezone.now()
        HostRun.objects.create(run=run, host=host, state="stopped", started=now, finished=now, unasked=30)
        account = DistrictFactory().sftp_account
        FoundLine.objects.create(host=host, account=account, username=account.username, line="x", line_digest=number)
        KeyFile.objects.filter(account=account).update(state="failed", code="unasked-removal", reason="x")
        told = {"cause": "saved", "at": now, "on_host": now, "run": run}
        KeySet.objects.create(account=account, version=100, **told)
    _more_runs()


def _more_districts() -> None:
    for _ in range(5):
        MembershipFactory()


def _more_people() -> None:
    district = User.objects.get(email="dana@smithville.example").memberships.get().district
    for _ in range(5):
        MembershipFactory(district=district)


def _more_mail() -> None:
    for number in range(5):
        message_queue("test", f"{number}@x.example", "S", "T", about="1")


def _more_audit() -> None:
    for _ in range(5):
        record("looked")


def _more_keys() -> None:
    district = User.objects.get(email="dana@smithville.example").memberships.get().district
    for name in ("ecdsa256", "ecdsa384", "ecdsa521", "rsa2048", "rsa3072"):
        account = DistrictFactory().sftp_account
        row_add(account, name)
        row_add(district.sftp_account, name)
        for state in ("waiting", "allowed"):
            SharedKeyRequest.objects.create(account=account, fingerprint=state, decided=timezone.now(), state=state)
    AccountKey.objects.update(marked=timezone.now(), disable_on=timezone.now().date())


def _more_sign_ins() -> None:
    account = User.objects.get(email="dana@smithville.example").memberships.get().district.sftp_account
    for number in range(2):
        for reason in ("", "unknown-key", "unknown-account", "expired-key"):
            told = {"username": account.username, "fingerprint": f"SHA256:{number}", "address": "198.51.100.7"}
            SignIn.objects.create(
                host=account.host, at=timezone.now(), accepted=not reason, reason=reason, offered=[str(number)], **told
            )


def _more_downloads() -> None:
    district = User.objects.get(email="dana@smithville.example").memberships.get().district
    settings.SFTP_ROOT.mkdir(parents=True, exist_ok=True)
    files, root = files_for(district.sftp_account.host), downloads(district.sftp_account.username)
    for number in range(5):
        place = root.child("docviewer").child(f"2026110{number}-000000")
        files.make_directory(place)
        files.write(place.child("documents.csv"), b"x")


def _more_sessions() -> None:
    person = User.objects.get(email="dana@smithville.example")
    for _ in range(5):
        browser = Client()
        browser.force_login(person)
        browser.get(reverse("sessions"))


def _more_resets() -> None:
    for state in ("waiting", "done", "declined"):
        for _ in range(3):
            SecondFactorReset.objects.create(
                person=PersonFactory(), asked_by=StaffFactory(), decided_by=StaffFactory(), reason="x", state=state
            )


BUDGET = {
    "downloads": (ADMINISTRATOR, _more_downloads),
    "second_factors": (SYSTEM, _more_resets),
    "district_sign_in": (ADMINISTRATOR, _more_people),
    "sessions": (ADMINISTRATOR, _more_sessions),
    "technical_settings": (ADMINISTRATOR, _more_keys),
    "technical_settings_state": (ADMINISTRATOR, _more_keys),
    "connect": (ADMINISTRATOR, _more_sign_ins),
    "connect_state": (ADMINISTRATOR, _more_sign_ins),
    "staff_keys": (SYSTEM, _more_keys),
    "ingest_history": (SYSTEM, _more_epochs),
    "board": (SYSTEM, _more_matters),
    "uploads": (ADMINISTRATOR, _more_epochs_of_one),
    "uploads_rows": (ADMINISTRATOR, _more_epochs_of_one),
    "district_home": (ADMINISTRATOR, _more_epochs_of_one),
    "epoch": (ADMINISTRATOR, _more_findings),
    "epoch_state": (ADMINISTRATOR, _more_findings),
    "propagation": (SYSTEM, _more_hosts),
    "propagation_state": (SYSTEM, _more_hosts),
    "propagation_run": (SYSTEM, _more_hosts),
    "propagation_run_state": (SYSTEM, _more_hosts),
    "operations": (SYSTEM, _more_mail),
    "operations_state": (SYSTEM, _more_mail),
    "propagation_found": (SYSTEM, _more_hosts),
    "hosts": (SYSTEM, _more_hosts),
    "host": (SYSTEM, _more_hosts),
    "districts": (SYSTEM, _more_districts),
    "retention": (SYSTEM, _more_districts),
    "district_retention": (ADMINISTRATOR, _more_epochs_of_one),
    "people": (SYSTEM, _more_districts),
    "district_manage": (SYSTEM, _more_people),
    "outbox": (SYSTEM, _more_mail),
    "audit_log": (SYSTEM, _more_audit),
}


@pytest.mark.parametrize("name", BUDGET)
def test_a_list_costs_the_same_however_long_it_is(db: None, name: str) -> None:
    who, add_more = BUDGET[name]
    schedules_sync()
    district = MembershipFactory(user__email="dana@smithville.example").district
    system = StaffFactory(email="ada@vendor.example", staff_role="system administrator")
    client = Client()
    client.force_login(system if who == SYSTEM else User.objects.get(email="dana@smithville.example"))
    for state in STATES:
        FileFactory(epoch=EpochFactory(district=district, state=state))
    epoch = EpochFactory(district=district, state="failed", name="20260101-000000")
    run = PropagationRun.objects.create(cause="hourly", state="done")
    _more_matters()
    _more_findings()
    _more_hosts()
    _more_sign_ins()
    row_add(district.sftp_account, "ed25519")
    SharedKeyRequest.objects.create(account=district.sftp_account, fingerprint="asked")
    message_queue("test", "first@x.example", "S", "T", about="1")
    pks = {"propagation_run": run.pk, "propagation_run_state": run.pk, "host": run.hosts.first().host_id}
    place = address(name, {"slug": district.slug, "pk": pks.get(name, epoch.pk)})
    few = _cost(client, place)
    add_more()
    assert _cost(client, place) == few
    assert few <= 25


# --- Lists in the address ----------------------------------------------------------------------------------------

LISTS = ("ingest_history", "districts", "outbox", "audit_log", "propagation_found", "people")
ODD = (
    "page=0", "page=-1", "page=99999999999999999999", "page=x", "per_page=0", "per_page=-1", "per_page=x", "sort=x",
    "sort=-name", "sort=;drop", "state=x", "district=x", "since=x", "since=9999-99-99", "name=%00",
    "kind=%00", "to=%FF",
)  # fmt: skip


@pytest.mark.parametrize("query", ODD)
@pytest.mark.parametrize("name", LISTS)
def test_an_odd_address_breaks_no_list(scene: Scene, name: str, query: str) -> None:
    assert scene.client(SYSTEM).get(f"{reverse(name)}?{query}").status_code == 200


def test_nobody_gets_more_rows_at_once_than_a_page_holds(scene: Scene) -> None:
    for number in range(60):
        message_queue("test", f"{number}@x.example", "S", "T", about="1")
    shown = scene.client(SYSTEM).get(f"{reverse('outbox')}?per_page=100000")
    assert len(shown.context["table"].page.object_list) == PER_PAGE


def test_what_lies_behind_many_pages_is_found_by_filters(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of millions is not counted: so many of the newest can be turned to, and the page says so."""
    for number in range(PER_PAGE + 1):
        message_queue("test", f"{number}@x.example", "S", "T", about="1")
    monkeypatch.setattr("accounts.tables.MOST", PER_PAGE + 1)
    client = scene.client(SYSTEM)
    last = client.get(reverse("outbox"), {"page": 2})
    assert "of more than 31" in last.content.decode()
    assert "For what lies further back, filter." in last.content.decode()
    assert [row.record.to for row in client.get(reverse("outbox"), {"page": 3}).context["table"].page.object_list] == [
        row.record.to for row in last.context["table"].page.object_list
    ]
    assert "more than" not in client.get(reverse("outbox"), {"to": "17@x"}).content.decode()


@pytest.mark.parametrize("few", [900, 0])
def test_epochs_are_found_by_words_of_their_district(scene: Scene, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr("ingest.tables.FEW", few)
    EpochFactory(district=DistrictFactory(name="Birchwood", domain="birchwood.k12.oh.us"))
    for words in ("birch", "BIRCHWOOD.K12"):
        shown = scene.client(SYSTEM).get(reverse("ingest_history"), {"district": words})
        found = {row.record.district.name for row in shown.context["table"].page.object_list}
        assert found == {"Birchwood"}


@pytest.mark.parametrize("page", ["0", "-1", "x", "99999", ""])
def test_an_odd_page_of_uploads_is_the_nearest(scene: Scene, page: str) -> None:
    place = address("uploads", scene.kwargs("uploads"))
    assert scene.client(ADMINISTRATOR).get(f"{place}?page={page}").status_code == 200


# --- The frame ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("person", "place"),
    [(SUPPORT, "board"), (OPS, "propagation"), (SYSTEM, "board")],
)
def test_home_is_the_page_of_a_persons_first_question(scene: Scene, person: str, place: str) -> None:
    assert scene.client(person).get(reverse("home")).url == reverse(place)


def test_home_of_a_person_with_one_district_several_or_none(scene: Scene) -> None:
    stranger = scene.client("stranger").get(reverse("home"))
    assert stranger.url == reverse("district_home", args=[scene.theirs.slug])
    several = scene.client(ADMINISTRATOR).get(reverse("home"))
    assert [district.slug for district in several.context["districts"]] == ["cedar-active", "cedar-suspended"]
    client = Client()
    client.force_login(PersonFactory())
    assert client.get(reverse("home")).context["districts"] == []


@pytest.mark.parametrize("person", PEOPLE)
def test_the_rail_leads_nowhere_that_is_shut(scene: Scene, person: str) -> None:
    client = scene.client(person)
    first = client.get(reverse("home"), follow=True)
    for entry in first.context["rail"]:
        assert client.get(entry.address).status_code == 200
        shown = client.get(entry.address).context["rail"]
        assert [one.label for one in shown if one.is_here] == [entry.label]


def test_times_are_in_the_zone_of_the_person_or_else_of_their_district(scene: Scene) -> None:
    def zone(person: str) -> str:
        html = scene.client(person).get(address("district_home", scene.kwargs("district_home"))).content.decode()
        return re.search(r"Times are in your time zone: (\S+)", html)[1]

    assert zone(ADMINISTRATOR) in ("EST", "EDT")
    User.objects.filter(pk=scene.people[ADMINISTRATOR].pk).update(time_zone="Australia/Perth")
    scene.people[ADMINISTRATOR].refresh_from_db()
    assert zone(ADMINISTRATOR) == "AWST"


# --- Headers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["account_login", "home", "healthz"])
def test_every_answer_carries_the_headers_that_shut_the_browser_in(db: None, name: str) -> None:
    headers = Client().get(reverse(name)).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert (headers["X-Frame-Options"], headers["X-Content-Type-Options"]) == ("DENY", "nosniff")
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert {"camera=()", "geolocation=()", "clipboard-write=(self)"} <= set(headers["Permissions-Policy"].split(", "))


BEHIND_HTTPS = """
import json, django
django.setup()
from django.test import Client
told = {"host": "portal.example", "x-forwarded-proto": "https"}
page = Client().get("/account/login/", headers=told)
plain = Client().get("/account/login/", headers={"host": "portal.example"})
forged = Client(REMOTE_ADDR="10.0.0.9").get("/account/login/", headers=told)
cookies = {name: bool(cookie["secure"]) for name, cookie in page.cookies.items()}
print(json.dumps([page.status_code, page.headers.get("Strict-Transport-Security"), cookies, plain.url, forged.url]))
"""


def test_behind_https_browsers_are_told_to_keep_to_it(tmp_path: Path) -> None:
    told = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "portal.settings",
        "DATA_DIR": str(tmp_path),
        "PUBLIC_URL": "https://portal.example",
        "ALLOWED_HOSTS": "portal.example",
        "TRUSTED_PROXIES": "127.0.0.1",
    }
    command = [sys.executable, "-c", BEHIND_HTTPS]
    done = subprocess.run(command, cwd=settings.BASE_DIR, env=told, capture_output=True, text=True, check=True)
    status, transport, cookies, *sent_to = json.loads(done.stdout)
    assert (status, transport) == (200, "max-age=31536000")
    assert cookies == {"portal_csrf": True}
    # In plain text, and said to be over TLS by somebody who is no proxy of ours.
    assert sent_to == ["https://portal.example/account/login/"] * 2


def test_cookies_are_kept_from_scripts_and_other_ports(scene: Scene) -> None:
    client = Client()
    client.post(reverse("account_login"), {"login": scene.people[VIEWER].email, "password": "five-odd-words-for-tests"})
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert str(settings.PORT) in settings.SESSION_COOKIE_NAME


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example"])
def test_an_address_that_is_not_ours_is_not_answered(db: None, settings: LazySettings, host: str) -> None:
    settings.ALLOWED_HOSTS = ["localhost"]
    assert Client().get("/healthz", headers={"host": host}).status_code == 400


def test_a_log_is_a_download_and_nothing_a_browser_runs(scene: Scene) -> None:
    answer = scene.client(VIEWER).get(address("epoch_log", scene.kwargs("epoch_log")))
    assert answer["Content-Type"].startswith("text/plain")
    assert answer["Content-Disposition"] == 'attachment; filename="20261101-000000-log.txt"'
