"""The doors: who gets in where, as a table. An address without a row fails."""

import re
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.core.roles import Role
from accounts.models import District, Membership, User
from hosts.connect import fingerprint
from ingest.catalogue import formats
from tests.factories import PASSWORD
from tests.keys.samples import text
from tests.rows import everything
from tests.signing_in import fresh

from .addresses import NAMES, address
from .scene import ADMINISTRATOR, ISSUER, OFFERED_KEY, OPS, PEOPLE, STATES, STRANGER, SUPPORT, SYSTEM, VIEWER, Scene

Data = dict[str, object]
READ, WRITE, SHOWN, DONE, SHUT, NONE, NOT_SO, REFUSED = "get", "post", 200, 302, 403, 404, 405, 422


@dataclass(frozen=True, slots=True)
class Row:
    """What each of the six people gets at an address, in the order of PEOPLE; `data` is what a write sends."""

    name: str
    method: str
    answers: tuple[int, ...]
    data: Data = field(default_factory=dict)
    # A page or an answer that is there only for those who may change something.
    for_change: bool = False
    # What it shows is written down: that it was asked for changes something.
    is_noted: bool = False
    # Who may ask gets an answer, but there is nothing to be done in the scene.
    is_refused: bool = False

    def when_still(self, answer: int) -> int:
        """What the answer becomes in a district where nothing can be changed."""
        return SHUT if answer in (DONE, REFUSED) or (self.for_change and answer == SHOWN) else answer

    @property
    def title(self) -> str:
        return f"{self.name}-{self.method}"


class Sent:
    """A file that a form sends, as often as it is asked for."""

    name = "students.csv"

    def read(self) -> bytes:
        return b"a,b\r\n1,2\r\n"


def _format() -> str:
    return formats()[0].name


# In the order of PEOPLE: administrator, viewer, stranger (of another district), support, ops, system administrator.
ALL_READ = (SHOWN, SHOWN, NONE, SHOWN, SHOWN, SHOWN)
# Pages on which keys are changed: by staff too (with a reason), but names and restrictions are the district's own.
DISTRICTS_OWN = (SHOWN, SHUT, NONE, SHUT, SHUT, SHUT)
KEY_CHANGERS = (SHOWN, SHUT, NONE, SHOWN, SHOWN, SHOWN)
KEY_CHANGED = (DONE, SHUT, NONE, DONE, DONE, DONE)
OWN_PEOPLE = (SHOWN, SHOWN, NONE, SHUT, SHUT, SHUT)
DISTRICT = (
    Row("district_home", READ, ALL_READ),
    Row("technical_settings", READ, ALL_READ),
    Row(
        "technical_settings",
        WRITE,
        (DONE, SHUT, NONE, DONE, DONE, DONE),
        {"authorized_keys": text("ed25519"), "version": 1, "reason": "They asked on the telephone."},
    ),
    Row("district_sign_in", READ, ALL_READ),
    Row("district_sign_in", WRITE, (DONE, SHUT, NONE, SHUT, SHUT, DONE), {"asks": "yes"}),
    Row(
        "provider_pin",
        WRITE,
        (DONE, SHUT, NONE, SHUT, SHUT, DONE),
        {"issuer": ISSUER, "domain": "cedarschools.org"},
    ),
    Row("provider_unpin", WRITE, (DONE, SHUT, NONE, SHUT, SHUT, DONE)),
    Row("district_leave", READ, OWN_PEOPLE),
    # The scene's administrator is the last one.
    Row("district_leave", WRITE, (REFUSED, DONE, NONE, SHUT, SHUT, SHUT)),
    Row("technical_settings_state", READ, ALL_READ),
    Row("connect", READ, ALL_READ),
    Row("connect_state", READ, ALL_READ),
    Row(
        "technical_settings_check",
        WRITE,
        (SHOWN, SHUT, NONE, SHOWN, SHOWN, SHOWN),
        {"authorized_keys": text("ed25519")},
        for_change=True,
    ),
    Row("technical_settings_networks", READ, DISTRICTS_OWN, for_change=True),
    Row("technical_settings_networks", WRITE, (DONE, SHUT, NONE, SHUT, SHUT, SHUT), {"networks": "203.0.113.0/24"}),
    Row("key_edit", READ, DISTRICTS_OWN, for_change=True),
    Row("key_edit", WRITE, (DONE, SHUT, NONE, SHUT, SHUT, SHUT), {"comment": "another name"}),
    Row("key_replace", READ, KEY_CHANGERS, for_change=True),
    Row("key_replace", WRITE, KEY_CHANGED, {"authorized_keys": text("ed25519"), "days": 7, "reason": "They asked."}),
    Row("key_remove", READ, KEY_CHANGERS, for_change=True),
    Row("key_remove", WRITE, KEY_CHANGED, {"reason": "They asked."}),
    Row("key_lost", READ, KEY_CHANGERS, for_change=True),
    Row("key_lost", WRITE, KEY_CHANGED, {"reason": "They asked."}),
    Row("key_lost_told", READ, ALL_READ),
    Row("key_lost_state", READ, ALL_READ),
    # Only the district can say that a key found on the host is its own: not even its vendor's staff.
    Row("found_adopt", WRITE, (DONE, SHUT, NONE, SHUT, SHUT, SHUT)),
    Row("found_dismiss", WRITE, (DONE, SHUT, NONE, SHUT, SHUT, SHUT)),
    Row("uploads", READ, ALL_READ),
    Row("uploads_rows", READ, ALL_READ),
    Row("district_retention", READ, ALL_READ),
    Row("epoch", READ, ALL_READ),
    Row("epoch_state", READ, ALL_READ),
    Row("epoch_log", READ, ALL_READ),
    Row("epoch_findings", READ, ALL_READ),
    Row("epoch_process", WRITE, (SHUT, SHUT, NONE, DONE, SHUT, DONE)),
    Row("epoch_format", WRITE, (SHUT, SHUT, NONE, DONE, SHUT, DONE), {"format": _format()}),
    Row("epoch_decide", WRITE, (SHUT, SHUT, NONE, DONE, SHUT, DONE), {"act": "approve", "reason": "They are sure."}),
    # Of the scene's night nothing is kept to judge it by.
    Row("epoch_judge", WRITE, (SHUT, SHUT, NONE, DONE, SHUT, DONE), {"content": "", "state": ""}, is_refused=True),
    # The scene's epoch is not stopped by trouble.
    Row("epoch_end", WRITE, (SHUT, SHUT, NONE, DONE, SHUT, DONE), {"reason": "Lost."}, is_refused=True),
    # The scene's epochs are not loaded: the page says so, and nothing is taken back.
    Row("epoch_undo", READ, (SHUT, SHUT, NONE, SHOWN, SHUT, SHOWN), for_change=True),
    Row("epoch_undo", WRITE, (SHUT, SHUT, NONE, DONE, SHUT, DONE), {"version": 0, "reason": "x"}, is_refused=True),
    Row("epoch_answer", WRITE, (DONE, SHUT, NONE, SHUT, SHUT, SHUT), {"answer": "It is as it should be."}),
    Row("district_release", WRITE, (SHUT, SHUT, NONE, DONE, SHUT, DONE), {"reason": "Sorted out."}, is_refused=True),
    # What a district has checked before sending is seen by its own people only.
    Row("trials", READ, OWN_PEOPLE),
    Row("trials", WRITE, (DONE, SHUT, NONE, SHUT, SHUT, SHUT), {"files": Sent()}),
    Row("trial", READ, OWN_PEOPLE),
    Row("trial_state", READ, OWN_PEOPLE),
    Row("trial_findings", READ, OWN_PEOPLE),
    Row("trial_forget", WRITE, (DONE, SHUT, NONE, SHUT, SHUT, SHUT)),
    Row("downloads", READ, ALL_READ),
    Row("download_fetch", WRITE, (SHOWN, SHUT, NONE, SHUT, SHUT, SHUT), for_change=True, is_noted=True),
    Row("file_settings", READ, ALL_READ),
    Row("file_settings", WRITE, (DONE, SHUT, NONE, DONE, SHUT, DONE), {"windows_1252": "on", "delimiter": "tab"}),
)
NOBODYS = (NONE, NONE, NONE)
TODAY = timezone.now().date()
DAYS = {
    name: {f"{name}-first": f"{TODAY}", f"{name}-last": f"{TODAY + timedelta(days=3)}"}
    for name in ("raise", "blackout")
}
OPS_READ = (*NOBODYS, SHUT, SHOWN, SHOWN)
OFFERED = fingerprint(OFFERED_KEY)
VENDOR = (
    Row("ingest_history", READ, (*NOBODYS, SHOWN, SHOWN, SHOWN)),
    Row("board", READ, (*NOBODYS, SHOWN, SHOWN, SHOWN)),
    # For colleagues, so also in a district where nothing else can be changed.
    Row("epoch_note", WRITE, (*NOBODYS, DONE, SHUT, DONE), {"note": "Called them; they send it again tonight."}),
    Row("blackouts", READ, (*NOBODYS, SHOWN, SHOWN, SHOWN)),
    Row(
        "blackouts_add",
        WRITE,
        (*NOBODYS, DONE, SHUT, DONE),
        {"whose": "every", "why": "x", "first": f"{TODAY}", "last": f"{TODAY + timedelta(days=3)}"},
    ),
    Row("blackouts_end", WRITE, (*NOBODYS, DONE, SHUT, DONE)),
    Row("guard_settings", READ, (*NOBODYS, SHOWN, SHOWN, SHOWN)),
    Row(
        "guard_limit",
        WRITE,
        (*NOBODYS, DONE, SHUT, DONE),
        {"limit-what": "removed", "limit-table": "", "limit-percent": "20", "limit-floor": "5"},
    ),
    Row(
        "guard_raise",
        WRITE,
        (*NOBODYS, DONE, SHUT, DONE),
        {"raise-what": "removed", "raise-percent": "20", "raise-floor": "5", "raise-reason": "x", **DAYS["raise"]},
    ),
    Row("guard_raise_end", WRITE, (*NOBODYS, DONE, SHUT, DONE)),
    Row("guard_blackout", WRITE, (*NOBODYS, DONE, SHUT, DONE), {"blackout-why": "x", **DAYS["blackout"]}),
    Row("guard_blackout_end", WRITE, (*NOBODYS, DONE, SHUT, DONE)),
    Row("guard_arrival", WRITE, (*NOBODYS, DONE, SHUT, DONE), {"arrival-by": "04:00", "arrival-days": ["0", "1"]}),
    Row("record_find", READ, (*NOBODYS, SHOWN, SHUT, SHOWN)),
    Row(
        "record_find",
        WRITE,
        (*NOBODYS, DONE, SHUT, DONE),
        {"table": "students", "key": "s-1", "reason": "They asked on the telephone."},
    ),
    # Only for whoever has just opened it, which is nobody here.
    Row("record_look", READ, (*NOBODYS, NONE, SHUT, NONE)),
    Row("staff_keys", READ, (*NOBODYS, SHOWN, SHOWN, SHOWN)),
    Row(
        "staff_keys_decide",
        WRITE,
        (*NOBODYS, DONE, SHUT, DONE),
        {"decision": "allow", "seen": "waiting", "reason": "One provider."},
    ),
    Row("propagation", READ, (*NOBODYS, SHUT, SHOWN, SHOWN)),
    Row("propagation_newer", READ, (*NOBODYS, SHUT, SHOWN, SHOWN)),
    Row(
        "propagation_newer",
        WRITE,
        (*NOBODYS, SHUT, DONE, DONE),
        {"reason": "No newer backup.", "seen": "0123456789abcdef"},
    ),
    Row("propagation_state", READ, (*NOBODYS, SHUT, SHOWN, SHOWN)),
    Row("operations", READ, OPS_READ),
    Row("operations_state", READ, OPS_READ),
    Row("propagation_runs", READ, OPS_READ),
    Row("propagation_run", READ, (*NOBODYS, SHUT, SHOWN, SHOWN)),
    Row("propagation_run_state", READ, OPS_READ),
    Row("propagation_stopped", READ, OPS_READ),
    Row("propagation_stopped", WRITE, (*NOBODYS, SHUT, DONE, DONE), {"reason": "They are meant to go."}),
    Row("propagation_stopped_keys", READ, OPS_READ),
    Row("propagation_found", READ, OPS_READ),
    Row("hosts", READ, OPS_READ),
    Row("host", READ, OPS_READ),
    Row("host_new", READ, OPS_READ),
    Row("host_new", WRITE, (*NOBODYS, SHUT, DONE, DONE), {"name": "upload-9", "address": "a.example", "port": "22"}),
    Row("host_edit", READ, OPS_READ),
    Row(
        "host_edit",
        WRITE,
        (*NOBODYS, SHUT, DONE, DONE),
        {"address": "b.example", "port": "2022", "username": "sftp-portal"},
    ),
    Row("host_portal_key", READ, OPS_READ),
    Row("host_portal_key", WRITE, (*NOBODYS, SHUT, DONE, DONE), {"reason": "A backup was lost."}),
    Row("host_remove", READ, OPS_READ),
    Row("host_remove", WRITE, (*NOBODYS, SHUT, DONE, DONE), {"reason": "Too old.", "typed": "upload-2"}),
    # Nobody answers there, so nothing is noted.
    Row("host_connect", WRITE, OPS_READ),
    Row("host_confirm", WRITE, (*NOBODYS, SHUT, DONE, DONE), {"offered": OFFERED, "pasted": OFFERED}),
    Row("host_restart", WRITE, (*NOBODYS, SHUT, DONE, DONE)),
    Row("host_take_new", WRITE, (*NOBODYS, SHUT, DONE, DONE)),
    Row("propagation_now", WRITE, (*NOBODYS, SHUT, DONE, DONE)),
    Row("propagation_schedule", WRITE, (*NOBODYS, SHUT, DONE, DONE), {"minutes": "15"}),
    Row("districts", READ, (*NOBODYS, SHOWN, SHOWN, SHOWN)),
    Row("district_open", READ, (*NOBODYS, SHUT, SHUT, SHOWN)),
    Row(
        "district_open",
        WRITE,
        (*NOBODYS, SHUT, SHUT, DONE),
        {"name": "Oak", "domain": "oak.k12.oh.us", "time_zone": "UTC"},
    ),
    Row("districts_import", READ, (*NOBODYS, SHUT, SHUT, SHOWN)),
    Row(
        "districts_import",
        WRITE,
        (*NOBODYS, SHUT, SHUT, DONE),
        {"text": "name,domain\nOak,oak.k12.oh.us\n", "confirm": "1"},
    ),
    Row("import_shown", READ, (*NOBODYS, SHUT, SHUT, SHOWN)),
    Row("import_state", READ, (*NOBODYS, SHUT, SHUT, SHOWN)),
    Row("district_manage", READ, (*NOBODYS, SHOWN, SHOWN, SHOWN)),
    Row(
        "district_rename",
        WRITE,
        (*NOBODYS, SHUT, SHUT, DONE),
        {"name": "Oak", "domain": "oak.k12.oh.us", "understood": "on"},
    ),
    Row("district_state", WRITE, (*NOBODYS, SHUT, SHUT, DONE), {"state": "closed", "reason": "They left."}),
    Row(
        "district_invite",
        WRITE,
        (*NOBODYS, SHUT, SHUT, DONE),
        {"name": "New", "email": "new@district.example", "role": str(Role.DISTRICT_VIEWER)},
    ),
    Row("retention", READ, (*NOBODYS, SHOWN, SHOWN, SHOWN)),
    Row("people", READ, (*NOBODYS, SHOWN, SHOWN, SHOWN)),
    Row("person_change", READ, (*NOBODYS, SHUT, SHUT, SHOWN)),
    Row("person_change", WRITE, (*NOBODYS, SHUT, SHUT, DONE), {"becomes": "leaves", "reason": "They asked."}),
    Row("second_factors", READ, (*NOBODYS, SHOWN, SHOWN, SHOWN)),
    Row(
        "second_factors",
        WRITE,
        (*NOBODYS, DONE, DONE, DONE),
        {"email": "lost@district.example", "reason": "Called back at the office."},
    ),
    Row("second_factor_decide", WRITE, (*NOBODYS, SHUT, DONE, DONE), {"decision": "allow"}),
    Row("outbox", READ, (*NOBODYS, SHUT, SHUT, SHOWN)),
    Row("outbox_message", READ, (*NOBODYS, SHUT, SHUT, SHOWN)),
    Row("audit_log", READ, (*NOBODYS, SHUT, SHUT, SHOWN)),
)
# Pages every person has for themselves; their own rights are tested with them.
EVERYBODYS = (
    "home",
    "account_email",
    "account_change_password",
    "account_reauthenticate",
    "mails",
    "sessions",
    "mfa_index",
    "mfa_activate_totp",
    "mfa_generate_recovery_codes",
    "mfa_reauthenticate",
    "mfa_list_webauthn",
    "mfa_add_webauthn",
    "socialaccount_connections",
)
# Of somebody who has a second factor, or is about to type its code (tests/accounts/test_second_factor.py).
WITH_SECOND_FACTOR = (
    "mfa_deactivate_totp",
    "mfa_view_recovery_codes",
    "mfa_download_recovery_codes",
    "mfa_reauthenticate_webauthn",
    "mfa_edit_webauthn",
    "mfa_remove_webauthn",
)
# And what they do there: with what is their own, whatever number they send.
OWN_DOINGS = ("session_end", "sessions_end_others")
# What somebody who is not signed in gets; every other address sends them to the sign-in page.
OPEN = {
    "healthz": 200,
    # No broker runs beside these tests, and no token is set: tests/portal/test_watching.py.
    "readyz": 503,
    "metrics": 404,
    "help_sftp": 200,
    "invitation": 410,
    "account_login": 200,
    # Leads to the sign-in page; what it gives a script is only for the browser that asks.
    "mfa_login_webauthn": 302,
    # No other provider is set up here: tests/accounts/test_openid.py.
    "openid_connect_login": 405,
    "openid_connect_callback": 404,
    "account_logout": 302,
    "account_inactive": 200,
    "account_signup": 200,
    "account_email_verification_sent": 200,
    "account_confirm_email": 200,
    "account_reset_password": 200,
    "account_reset_password_done": 200,
    "account_reset_password_from_key": 200,
    "account_reset_password_from_key_done": 200,
}
SIGN_IN_ONLY = ("account_set_password", "mfa_authenticate", "account_confirm_login_code")
# What may be done in a browser that was left open; all else wants a fresh sign-in.
NOT_FRESH = {
    "technical_settings_check",
    "epoch_process",
    "epoch_format",
    "epoch_end",
    "epoch_answer",
    "epoch_note",
    "trials",
    "trial_forget",
    "file_settings",
    "blackouts_add",
    "blackouts_end",
    "guard_limit",
    "guard_raise",
    "guard_raise_end",
    "guard_blackout",
    "guard_blackout_end",
    "guard_arrival",
    "record_find",
    "host_connect",
    "district_open",
}
TOKEN = re.compile(rb'value="[A-Za-z0-9]{64}"')
ROWS = (*DISTRICT, *VENDOR)
WRITES = [row for row in ROWS if row.method == WRITE]


def _ask(client: Client, row: Row, kwargs: Data) -> int:
    return getattr(client, row.method)(address(row.name, kwargs), row.data).status_code


def _cases(rows: tuple[Row, ...]) -> list[object]:
    return [
        pytest.param(row, person, answer, id=f"{row.title}-{person}")
        for row in rows
        for person, answer in zip(PEOPLE, row.answers, strict=True)
    ]


def test_every_address_has_a_row() -> None:
    told = {*(row.name for row in ROWS), *EVERYBODYS, *OWN_DOINGS, *WITH_SECOND_FACTOR, *OPEN, *SIGN_IN_ONLY}
    assert set(NAMES) == told


@pytest.mark.parametrize("name", NAMES)
def test_whoever_is_not_signed_in_is_sent_to_the_sign_in_page(scene: Scene, name: str) -> None:
    place = address(name, scene.kwargs(name))
    answer = Client().get(place)
    if name in OPEN:
        assert answer.status_code == OPEN[name]
    else:
        assert answer.status_code == 302
        assert answer.url.startswith(reverse("account_login"))


@pytest.mark.parametrize("row", WRITES, ids=lambda row: row.title)
def test_whoever_is_not_signed_in_writes_nothing(scene: Scene, row: Row) -> None:
    before = everything()
    answer = Client().post(address(row.name, scene.kwargs(row.name)), row.data)
    assert (answer.status_code, answer.url.partition("?")[0]) == (302, reverse("account_login"))
    assert everything() == before


@pytest.mark.parametrize(("row", "person", "answer"), _cases(ROWS))
def test_each_person_gets_what_the_table_says(scene: Scene, row: Row, person: str, answer: int) -> None:
    before = everything()
    assert _ask(scene.client(person), row, scene.kwargs(row.name)) == answer
    is_written = (answer == DONE and not row.is_refused) or (answer == SHOWN and row.is_noted)
    assert (everything() != before) == is_written


@pytest.mark.parametrize(("row", "person", "answer"), _cases(DISTRICT))
def test_a_suspended_district_can_be_read_and_not_changed(scene: Scene, row: Row, person: str, answer: int) -> None:
    before = everything()
    wanted = row.when_still(answer)
    assert _ask(scene.client(person), row, scene.kwargs(row.name, "suspended")) == wanted
    assert everything() == before


@pytest.mark.parametrize(("row", "person", "answer"), _cases(DISTRICT))
def test_a_closed_district_is_there_for_staff_only(scene: Scene, row: Row, person: str, answer: int) -> None:
    before = everything()
    wanted = NONE if person in (ADMINISTRATOR, VIEWER, STRANGER) else row.when_still(answer)
    assert _ask(scene.client(person), row, scene.kwargs(row.name, "closed")) == wanted
    assert everything() == before


@pytest.mark.parametrize("row", WRITES, ids=lambda row: row.title)
def test_a_write_without_a_csrf_token_is_refused_and_writes_nothing(scene: Scene, row: Row) -> None:
    who = next(person for person, answer in zip(PEOPLE, row.answers, strict=True) if answer in (DONE, SHOWN))
    before = everything()
    assert _ask(scene.client(who, enforce_csrf_checks=True), row, scene.kwargs(row.name)) == SHUT
    assert everything() == before


@pytest.mark.parametrize("row", WRITES, ids=lambda row: row.title)
def test_a_write_cannot_be_asked_for_by_a_link(scene: Scene, row: Row) -> None:
    who = next(person for person, answer in zip(PEOPLE, row.answers, strict=True) if answer in (DONE, SHOWN))
    before = everything()
    answer = scene.client(who).get(address(row.name, scene.kwargs(row.name)), row.data)
    has_page = any(other.name == row.name and other.method == READ for other in ROWS)
    assert answer.status_code == (SHOWN if has_page else NOT_SO)
    assert everything() == before


@pytest.mark.parametrize("row", WRITES, ids=lambda row: row.title)
def test_what_opens_an_account_or_decides_about_a_night_wants_a_fresh_sign_in(scene: Scene, row: Row) -> None:
    who = next(person for person, answer in zip(PEOPLE, row.answers, strict=True) if answer in (DONE, SHOWN))
    client = fresh(scene.client(who), seconds_ago=301)
    before = everything()
    answer = client.post(address(row.name, scene.kwargs(row.name)), row.data)
    asks = answer.headers.get("Location", "").startswith(reverse("account_reauthenticate"))
    assert asks == (row.name not in NOT_FRESH)
    assert not asks or everything() == before


@pytest.mark.parametrize("row", [row for row in ROWS if row.method == READ], ids=lambda row: row.title)
def test_a_page_that_is_only_read_takes_nothing(scene: Scene, row: Row) -> None:
    if any(other.name == row.name and other.method == WRITE for other in ROWS):
        return
    before = everything()
    assert scene.client(SYSTEM).post(address(row.name, scene.kwargs(row.name))).status_code == NOT_SO
    assert everything() == before


@pytest.mark.parametrize("person", [SUPPORT, OPS, ADMINISTRATOR])
def test_only_who_may_delete_may_close_a_district(scene: Scene, person: str) -> None:
    place = address("district_state", scene.kwargs("district_state"))
    answer = scene.client(person).post(place, {"state": "closed", "reason": "x"})
    assert answer.status_code in (SHUT, NONE)
    assert District.objects.get(pk=scene.districts["active"].pk).state == "active"


@pytest.mark.parametrize("row", [row for row in DISTRICT if row.name.startswith("epoch")], ids=lambda row: row.title)
@pytest.mark.parametrize("person", [ADMINISTRATOR, SUPPORT, SYSTEM])
def test_an_epoch_of_another_district_is_not_found_under_mine(scene: Scene, row: Row, person: str) -> None:
    kwargs = {"slug": scene.districts["active"].slug, "pk": scene.their_epoch.pk}
    is_shut_anyway = row.answers[PEOPLE.index(person)] == SHUT
    before = everything()
    assert _ask(scene.client(person), row, kwargs) == (SHUT if is_shut_anyway else NONE)
    assert everything() == before


@pytest.mark.parametrize("row", [row for row in DISTRICT if row.name.startswith("trial_")], ids=lambda row: row.title)
@pytest.mark.parametrize("person", [ADMINISTRATOR, VIEWER])
def test_a_check_of_another_district_is_not_found_under_mine(scene: Scene, row: Row, person: str) -> None:
    kwargs = {"slug": scene.districts["active"].slug, "pk": scene.their_trial.pk}
    is_shut_anyway = row.answers[PEOPLE.index(person)] == SHUT
    before = everything()
    assert _ask(scene.client(person), row, kwargs) == (SHUT if is_shut_anyway else NONE)
    assert everything() == before


@pytest.mark.parametrize("row", [row for row in DISTRICT if row.name.startswith("key_")], ids=lambda row: row.title)
@pytest.mark.parametrize("person", [ADMINISTRATOR, SUPPORT, SYSTEM])
def test_a_key_of_another_district_is_not_found_under_mine(scene: Scene, row: Row, person: str) -> None:
    kwargs = {"slug": scene.districts["active"].slug, "pk": scene.their_key.pk}
    is_shut_anyway = row.answers[PEOPLE.index(person)] == SHUT
    before = everything()
    assert _ask(scene.client(person), row, kwargs) == (SHUT if is_shut_anyway else NONE)
    assert everything() == before


@pytest.mark.parametrize("row", [row for row in DISTRICT if row.name.startswith("found_")], ids=lambda row: row.title)
def test_a_line_found_in_another_districts_file_is_not_found_under_mine(scene: Scene, row: Row) -> None:
    kwargs = {"slug": scene.districts["active"].slug, "pk": scene.their_found.pk}
    before = everything()
    assert _ask(scene.client(ADMINISTRATOR), row, kwargs) == NONE
    assert everything() == before


@pytest.mark.parametrize("row", DISTRICT, ids=lambda row: row.title)
def test_a_stranger_cannot_tell_a_district_from_none(scene: Scene, row: Row) -> None:
    client = scene.client(STRANGER)
    theirs = getattr(client, row.method)(address(row.name, scene.kwargs(row.name)), row.data)
    nobodys = getattr(client, row.method)(
        address(row.name, {"slug": "no-such-district", "pk": 1, "number": "0"}), row.data
    )
    assert (theirs.status_code, nobodys.status_code) == (NONE, NONE)
    assert TOKEN.sub(b"", theirs.content) == TOKEN.sub(b"", nobodys.content)


@pytest.mark.parametrize("row", DISTRICT, ids=lambda row: row.title)
def test_whose_membership_was_taken_away_is_a_stranger_at_once(scene: Scene, row: Row) -> None:
    client = scene.client(ADMINISTRATOR)
    Membership.objects.filter(user=scene.people[ADMINISTRATOR], district=scene.districts["active"]).delete()
    assert _ask(client, row, scene.kwargs(row.name)) == NONE


@pytest.mark.parametrize("person", [ADMINISTRATOR, SYSTEM])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_whose_account_has_ended_is_signed_out_everywhere_at_once(scene: Scene, row: Row, person: str) -> None:
    client = scene.client(person)
    User.objects.filter(pk=scene.people[person].pk).update(is_active=False)
    before = everything()
    assert _ask(client, row, scene.kwargs(row.name)) == 302
    assert everything() == before


def test_whose_account_has_ended_cannot_sign_in_again(scene: Scene) -> None:
    person = scene.people[ADMINISTRATOR]
    User.objects.filter(pk=person.pk).update(is_active=False)
    client = Client()
    client.post(reverse("account_login"), {"login": person.email, "password": PASSWORD})
    assert "_auth_user_id" not in client.session


def test_a_person_signs_in_with_address_and_password(scene: Scene) -> None:
    client = Client()
    answer = client.post(
        reverse("account_login"), {"login": scene.people[STRANGER].email.upper(), "password": PASSWORD}
    )
    assert answer.url == reverse("home")
    assert client.get(reverse("home")).url == reverse("district_home", args=[scene.theirs.slug])


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("name", EVERYBODYS)
def test_everybody_has_their_own_pages(scene: Scene, name: str, person: str) -> None:
    assert scene.client(person).get(reverse(name), follow=True).status_code == 200


@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize("name", OWN_DOINGS)
def test_nobody_does_something_of_their_own_by_a_link(scene: Scene, name: str, person: str) -> None:
    assert scene.client(person).get(address(name, scene.kwargs(name))).status_code == NOT_SO


@pytest.mark.parametrize("state", STATES)
def test_a_page_shows_a_write_only_to_those_who_may(scene: Scene, state: str) -> None:
    place = address("technical_settings", scene.kwargs("technical_settings", state))
    shown = {person: scene.client(person).get(place) for person in (ADMINISTRATOR, VIEWER, SUPPORT)}
    has_save = {person: b'<form id="keys-form"' in answer.content for person, answer in shown.items()}
    assert has_save == {ADMINISTRATOR: state == "active", VIEWER: False, SUPPORT: state == "active"}
