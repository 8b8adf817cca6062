"""Technical Settings and Propagation as people meet them."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, District, SftpAccount, User
from keys.models import KeyFile, PropagationFailure, PropagationRun
from tests.factories import StaffFactory
from tests.rows import everything

from .samples import text, words

PRIVATE_LINE = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"
PRIVATE = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{PRIVATE_LINE}\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def page(district: District) -> str:
    return reverse("technical_settings", args=[district.slug])


@pytest.fixture
def browser(dana: User) -> Client:
    client = Client()
    client.force_login(dana)
    return client


def _html(answer: object) -> str:
    return answer.content.decode()


def test_a_save_confirms_keys_fingerprints_and_the_time_once(browser: Client, page: str, account: SftpAccount) -> None:
    answer = browser.post(page, {"authorized_keys": text("ed25519"), "version": 1})
    assert (answer.status_code, answer.url) == (302, page)
    shown = browser.get(page)
    assert shown.context["saved"]["added"][0]["fingerprint"] == account.keys.get().fingerprint
    assert shown.context["saved"]["live_by"]
    assert words("ed25519")["base64"] in _html(shown)
    assert browser.get(page).context["saved"] is None


def test_a_refused_paste_keeps_what_was_typed_and_stores_nothing(browser: Client, page: str) -> None:
    before = everything()
    typed = f"{text('ed25519')}\nssh-rsa nonsense <b>mine</b>\n"
    answer = browser.post(page, {"authorized_keys": typed, "version": 1})
    assert answer.status_code == 422
    assert [problem.line for problem in answer.context["problems"]] == [2]
    assert "&lt;b&gt;mine&lt;/b&gt;" in _html(answer)
    assert "<b>mine" not in _html(answer)
    assert everything() == before


@pytest.mark.parametrize("version", ["1", "7", "", None, "nonsense"])
@pytest.mark.parametrize("around", ["{}", f"{text('ed25519')}\n{{}}", "{}\0"], ids=["alone", "after a key", "a NUL"])
def test_a_private_key_is_never_shown_again_nor_stored(
    browser: Client, page: str, around: str, version: str | None
) -> None:
    before = everything()
    data = {"authorized_keys": around.format(PRIVATE)} | ({} if version is None else {"version": version})
    answer = browser.post(page, data)
    assert answer.status_code == 422
    assert PRIVATE_LINE not in _html(answer)
    assert PRIVATE_LINE not in str(dict(browser.session))
    assert everything() == before


@pytest.mark.parametrize("version", ["", None, "nonsense"])
def test_a_form_without_its_version_stores_nothing_and_keeps_the_text(
    browser: Client, page: str, version: str | None
) -> None:
    before = everything()
    data = {"authorized_keys": text("ed25519")} | ({} if version is None else {"version": version})
    answer = browser.post(page, data)
    assert answer.status_code == 422
    assert words("ed25519")["base64"] in _html(answer)
    assert 'name="version" value="1"' in _html(answer)
    assert everything() == before


def test_a_save_from_a_second_tab_is_refused_with_the_difference(
    browser: Client, page: str, account: SftpAccount
) -> None:
    browser.post(page, {"authorized_keys": text("ed25519"), "version": 1})
    answer = browser.post(page, {"authorized_keys": text("rsa3072"), "version": 1})
    assert answer.status_code == 409
    assert [key.algorithm for key in answer.context["stale"].removed] == ["ssh-ed25519"]
    assert words("rsa3072")["base64"] in _html(answer)
    assert 'name="version" value="2"' in _html(answer)
    assert account.keys.get().algorithm == "ssh-ed25519"
    assert browser.post(page, {"authorized_keys": text("rsa3072"), "version": 2}).status_code == 302


def test_a_key_goes_to_the_district_of_the_address_whatever_the_form_says(
    browser: Client, page: str, district: District
) -> None:
    other = StaffFactory()
    extra = {"district": 999, "account": 999, "state": "on_host", "actor": other.pk, "added_by": other.pk}
    browser.post(page, {"authorized_keys": text("ed25519"), "version": 1, **extra})
    file = KeyFile.objects.get(account__district=district)
    assert file.state == "waiting"
    assert file.account.keys.get().added_by != other


@pytest.mark.parametrize(
    ("state", "poll"), [("waiting", 2), ("failed", 2), ("on_host", 5)], ids=["waiting", "failed", "on host"]
)
def test_the_page_looks_again_while_something_is_to_come(
    browser: Client, page: str, account: SftpAccount, state: str, poll: int
) -> None:
    browser.post(page, {"authorized_keys": text("ed25519"), "version": 1})
    KeyFile.objects.update(state=state, reason="The host's disk does not answer.")
    answer = browser.get(f"{page}state/")
    assert answer.context["poll_seconds"] == poll
    assert ("does not answer" in _html(answer)) == (state == "failed")


def test_a_page_without_keys_that_stands_on_the_host_is_still(browser: Client, page: str) -> None:
    KeyFile.objects.update(state="on_host")
    assert browser.get(page).context["poll_seconds"] == 0


def test_a_comment_cannot_bring_anything_into_the_page(browser: Client, page: str) -> None:
    nasty = " ".join([*text("ed25519").split(" ")[:2], "<img src=x onerror=alert(1)>"])
    browser.post(page, {"authorized_keys": nasty, "version": 1})
    assert "<img src=x" not in _html(browser.get(page))


# --- Propagation -------------------------------------------------------------------------------------------------


@pytest.fixture
def ops(district: District) -> Client:
    client = Client()
    client.force_login(StaffFactory(staff_role="ops"))
    return client


def test_propagate_now_asks_for_one_run_however_often_it_is_pressed(ops: Client) -> None:
    for _ in range(3):
        assert ops.post(reverse("propagation_now")).status_code == 302
    run = PropagationRun.objects.get()
    assert (run.cause, run.state) == ("now", "waiting")
    assert AuditEntry.objects.filter(action="propagation asked for").count() == 1


@pytest.mark.parametrize("minutes", ["120", "0", "", "7", "x"])
def test_a_schedule_that_breaks_the_promise_is_refused(ops: Client, minutes: str) -> None:
    before = everything()
    assert ops.post(reverse("propagation_schedule"), {"minutes": minutes}).status_code == 422
    assert everything() == before


def test_a_schedule_that_was_set_is_the_one_the_page_shows(ops: Client) -> None:
    ops.post(reverse("propagation_schedule"), {"minutes": "15"})
    assert ops.get(reverse("propagation")).context["form"].initial == {"minutes": 15}


def test_a_run_tells_whom_it_failed_for(ops: Client, account: SftpAccount) -> None:
    run = PropagationRun.objects.create(cause="hourly", state="done", total=1, failed=1)
    PropagationFailure.objects.create(run=run, account=account, code="full", reason="The host has no room.")
    shown = _html(ops.get(reverse("propagation_run", args=[run.pk])))
    assert account.username in shown
    assert "The host has no room." in shown
    assert ops.get(reverse("propagation_run", args=[run.pk + 1])).status_code == 404
