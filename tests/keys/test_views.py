"""Technical Settings and Propagation as people meet them."""

import base64
import re
from urllib.parse import quote, urlencode

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, District, SftpAccount, User
from accounts.services import district_state_set
from keys.models import KeyFile, PropagationFailure, PropagationRun, SharedKeyRequest
from keys.services import keys_save
from keys.sets import By
from tests.factories import PASSWORD, KeyFactory, MembershipFactory, StaffFactory
from tests.rows import everything
from tests.signing_in import fresh

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
    return fresh(client)


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
    assert [problem.line for problem in answer.context["box"].problems] == [2]
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
    assert [fact.label for fact in answer.context["box"].stale.removed] == ["ED25519"]
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


# --- The verdict while pasting -----------------------------------------------------------------------------------


def test_the_verdict_names_each_key_with_its_line_and_stores_nothing(browser: Client, page: str) -> None:
    before = everything()
    answer = browser.post(f"{page}check/", {"authorized_keys": f"# mine\n{text('ed25519')}\n{text('rsa2048')}"})
    found = [(one.line, one.label, [note.code for note in one.notes]) for one in answer.context["verdict"]]
    assert found == [(2, "ED25519", []), (3, "RSA 2048", ["advice-rsa-short"])]
    assert everything() == before


def test_the_verdict_tells_of_a_key_that_is_in_the_box_twice(browser: Client, page: str) -> None:
    answer = browser.post(f"{page}check/", {"authorized_keys": f"{text('ed25519')}\n{text('ed25519')}\n"})
    assert "1 key in the box." in _html(answer)
    assert re.search(r"Line 2:\s+This key is here more than once\. It is kept once\.", _html(answer))


def test_the_notes_after_a_save_name_the_key_or_the_line(browser: Client, page: str) -> None:
    typed = f"{text('ed25519')}\n{text('rsa2048')}\n{text('ed25519')}\n"
    browser.post(page, {"authorized_keys": typed, "version": 1})
    name = text("rsa2048").split(" ", 2)[2].strip()
    short, twice = browser.get(page).context["saved"]["notes"]
    assert short.startswith(f"{name}: This RSA key has 2048 bits.")
    assert twice == "Line 3: This key is here more than once. It is kept once."


def test_the_verdict_ties_each_problem_to_its_line(browser: Client, page: str) -> None:
    html = _html(browser.post(f"{page}check/", {"authorized_keys": f"{text('ed25519')}\n<b>mine</b>\n"}))
    assert 'data-line="2"' in html
    assert "<b>mine" not in html


def test_the_verdict_on_a_private_key_shows_none_of_it(browser: Client, page: str) -> None:
    answer = browser.post(f"{page}check/", {"authorized_keys": f"{text('ed25519')}\n{PRIVATE}"})
    assert "This is a private key" in _html(answer)
    assert PRIVATE_LINE not in _html(answer)


def test_the_verdict_says_when_nobody_could_sign_in_any_more(browser: Client, page: str) -> None:
    assert "nobody can sign in" in _html(browser.post(f"{page}check/", {"authorized_keys": "  \n"}))


# --- More than the web framework reads ---------------------------------------------------------------------------

URLENCODED = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("form", ["multipart", "urlencoded"])
def test_a_paste_of_megabytes_is_told_plainly_and_nothing_is_saved(browser: Client, page: str, form: str) -> None:
    before = everything()
    much = f"{text('ed25519')}\n" * 60_000
    sent = {"authorized_keys": much, "version": 1}
    told = (sent,) if form == "multipart" else (urlencode(sent), URLENCODED)
    answer = browser.post(page, *told)
    shown = _html(answer)
    assert answer.status_code == 413
    assert "Nothing was saved." in shown
    assert "4.0\xa0MB" in shown
    # With the frame of the site, and a way back.
    assert f'href="{page}"' in shown
    assert words("ed25519")["base64"] not in shown
    assert everything() == before


def test_a_form_of_thousands_of_fields_is_told_plainly(browser: Client, page: str) -> None:
    answer = browser.post(page, {f"field{number}": "x" for number in range(1001)})
    assert answer.status_code == 413
    assert "more fields or files than any form here has" in _html(answer)


def test_the_verdict_on_a_paste_of_megabytes_is_a_verdict(browser: Client, page: str) -> None:
    sent = urlencode({"authorized_keys": "x" * 5_000_000})
    answer = browser.post(f"{page}check/", sent, URLENCODED)
    assert answer.status_code == 200
    assert [problem.code for problem in answer.context["paste"].problems] == ["paste-too-long"]
    assert "<html" not in _html(answer)


def test_any_other_request_that_cannot_be_read_is_answered_as_before(browser: Client, page: str) -> None:
    assert browser.get(page, headers={"host": "evil.example"}).status_code == 400


# --- A file instead of a paste -----------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_a_chosen_file_is_added_to_the_box_whatever_its_encoding(
    browser: Client, page: str, account: SftpAccount, encoding: str
) -> None:
    line = " ".join([*text("ed25519").split(" ")[:2], "Büro"])
    file = SimpleUploadedFile("id_ed25519.pub", f"{line}\r\n".encode(encoding))
    data = {"authorized_keys": f"{text('rsa3072')}\n", "version": 1, "key_file": file}
    assert browser.post(page, data).status_code == 302
    assert [key.algorithm for key in account.keys.all()] == ["ssh-rsa", "ssh-ed25519"]
    assert account.keys.last().comment == "Büro"


def test_of_two_chosen_files_both_are_added(browser: Client, page: str, account: SftpAccount) -> None:
    assert _chooser_takes_several(_html(browser.get(page)))
    names = ("ed25519", "ecdsa256")
    files = [SimpleUploadedFile(f"{name}.pub", text(name).encode()) for name in names]
    assert browser.post(page, {"authorized_keys": "", "version": 1, "key_file": files}).status_code == 302
    assert [key.algorithm for key in account.keys.all()] == ["ssh-ed25519", "ecdsa-sha2-nistp256"]


def _chooser_takes_several(html: str) -> bool:
    return " multiple" in html.partition('id="key-file"')[2].partition(">")[0]


def test_a_private_key_in_the_second_of_two_files_is_refused(browser: Client, page: str) -> None:
    before = everything()
    files = [SimpleUploadedFile("a.pub", text("ed25519").encode()), SimpleUploadedFile("a", PRIVATE.encode())]
    answer = browser.post(page, {"authorized_keys": "", "version": 1, "key_file": files})
    assert answer.status_code == 422
    assert PRIVATE_LINE not in _html(answer)
    assert everything() == before


def test_who_pastes_a_declined_key_again_reads_the_reason(
    browser: Client, page: str, account: SftpAccount, dana: User
) -> None:
    KeyFactory(line=text("ed25519"))
    data = {"authorized_keys": text("ed25519"), "version": 1}
    assert "We have told our support" in _html(browser.post(page, data))
    SharedKeyRequest.objects.update(state="declined", reason="One key for each district.", decided=timezone.now())
    shown = _html(browser.post(page, data)).partition('id="problems"')[2].partition("</ul>")[0]
    assert "One key for each district." in shown
    assert "We have told our support" not in shown


def test_a_chosen_file_with_a_private_key_is_refused_and_not_shown(browser: Client, page: str) -> None:
    before = everything()
    file = SimpleUploadedFile("id_ed25519", PRIVATE.encode("utf-16"))
    answer = browser.post(page, {"authorized_keys": text("rsa3072"), "version": 1, "key_file": file})
    assert answer.status_code == 422
    assert PRIVATE_LINE not in _html(answer)
    assert everything() == before


def test_a_chosen_file_with_a_private_key_that_is_no_text_is_told_as_private(browser: Client, page: str) -> None:
    before = everything()
    body = "".join(line for line in PRIVATE.split("\n") if not line.startswith("-"))
    content = base64.b64decode(body + "=" * (-len(body) % 4))
    data = {"authorized_keys": text("rsa3072"), "version": 1, "key_file": SimpleUploadedFile("id", content)}
    answer = browser.post(page, data)
    assert answer.status_code == 422
    assert "that was a private key" in _html(answer)
    assert everything() == before


# --- A fresh sign-in ---------------------------------------------------------------------------------------------


@pytest.fixture
def late(dana: User) -> Client:
    """A browser that was left open for longer than a sign-in is fresh."""
    client = Client()
    client.force_login(dana)
    return fresh(client, seconds_ago=301)


def test_a_save_after_five_minutes_asks_for_the_password_and_then_goes_on_by_itself(
    late: Client, page: str, account: SftpAccount
) -> None:
    before = everything()
    file = SimpleUploadedFile("id.pub", text("rsa3072").encode("utf-16"))
    asked = late.post(page, {"authorized_keys": text("ed25519"), "version": 1, "key_file": file})
    assert (asked.status_code, asked.url) == (302, f"{reverse('account_reauthenticate')}?next={quote(page, safe='')}")
    assert everything() == before
    shown = _html(late.get(asked.url))
    assert "Nothing is saved yet" in shown
    assert f'href="{page}"' in shown
    wrong = late.post(asked.url, {"password": "wrong", "next": page})
    assert wrong.status_code == 200
    assert everything() == before
    done = late.post(asked.url, {"password": PASSWORD, "next": page})
    assert (done.status_code, done.url) == (302, page)
    assert [key.algorithm for key in account.keys.all()] == ["ssh-ed25519", "ssh-rsa"]
    assert late.post(page, {"authorized_keys": text("ed25519"), "version": 2}).url == page


def test_who_goes_back_without_the_password_finds_what_was_typed_and_nothing_saved(
    late: Client, page: str, account: SftpAccount
) -> None:
    before = everything()
    typed = f"{text('ed25519')}\n# <b>mine</b>\n"
    asked = late.post(page, {"authorized_keys": typed, "version": 1})
    back = f"{page}?typed"
    assert f'href="{back}"' in _html(late.get(asked.url))
    shown = late.get(back)
    assert shown.context["box"].text == typed
    assert "Nothing was saved. What you typed is still here." in _html(shown)
    assert "# &lt;b&gt;mine" in _html(shown)
    assert everything() == before
    # Once, and not kept any longer; a password given later saves nothing by itself.
    assert text("ed25519").split(" ")[1] not in str(dict(late.session))
    assert late.get(back).context["box"].text == ""
    late.post(asked.url, {"password": PASSWORD, "next": page})
    assert everything() == before


def test_who_is_asked_for_the_password_with_nothing_typed_is_not_told_that_it_is_kept(late: Client, page: str) -> None:
    bare = _html(late.get(reverse("account_reauthenticate")))
    assert "is kept" not in bare
    assert "Nothing is saved yet" not in bare
    asked = late.post(page, {"authorized_keys": text("ed25519"), "version": 1})
    assert "What you typed is kept" in _html(late.get(asked.url))


def test_what_was_typed_is_shown_on_no_other_page(late: Client, page: str) -> None:
    other = MembershipFactory(user=User.objects.get(email="dana@smithville.example")).district
    late.post(page, {"authorized_keys": text("ed25519"), "version": 1})
    assert late.get(f"{reverse('technical_settings', args=[other.slug])}?typed").context["box"].text == ""
    assert late.get(page).context["box"].text == ""
    assert late.get(f"{page}?typed").context["box"].text == text("ed25519")


def test_a_session_without_any_record_of_a_sign_in_is_not_fresh(dana: User, page: str) -> None:
    client = Client()
    client.force_login(dana)
    answer = client.post(page, {"authorized_keys": text("ed25519"), "version": 1})
    assert answer.url.startswith(reverse("account_reauthenticate"))


def test_the_fresh_sign_in_of_another_person_in_the_same_browser_does_not_count(dana: User, page: str) -> None:
    client = Client()
    client.force_login(StaffFactory())
    other = fresh(client)
    other.force_login(dana)
    answer = other.post(page, {"authorized_keys": text("ed25519"), "version": 1})
    assert answer.url.startswith(reverse("account_reauthenticate"))


@pytest.mark.parametrize("paste", [PRIVATE, "nonsense"], ids=["a private key", "what is no key"])
def test_what_would_be_refused_is_refused_at_once_and_never_kept(late: Client, page: str, paste: str) -> None:
    answer = late.post(page, {"authorized_keys": paste, "version": 1})
    assert answer.status_code == 422
    assert paste.splitlines()[0] not in str(dict(late.session))


@pytest.mark.parametrize("address", ["//evil.example/", "https://evil.example/", "javascript:alert(1)"])
def test_the_way_back_leads_nowhere_else(late: Client, page: str, address: str) -> None:
    shown = _html(late.get(reverse("account_reauthenticate"), {"next": address}))
    assert "Go back without saving" not in shown


# --- What is asked before a change -------------------------------------------------------------------------------


def test_an_emptied_box_is_saved_only_with_the_user_name_typed(
    browser: Client, page: str, account: SftpAccount
) -> None:
    browser.post(page, {"authorized_keys": text("ed25519"), "version": 1})
    asked = browser.post(page, {"authorized_keys": "", "version": 2})
    assert asked.status_code == 422
    assert f"Type {account.username} to confirm" in _html(asked)
    wrong = browser.post(page, {"authorized_keys": "", "version": 2, "confirmed": "no"})
    assert "This is not the user name" in _html(wrong)
    assert account.keys.count() == 1
    done = browser.post(page, {"authorized_keys": "", "version": 2, "confirmed": account.username.upper()})
    assert done.status_code == 302
    assert "No key is left" in _html(browser.get(page))


def test_a_key_that_another_district_has_is_refused_at_its_line_without_telling_whose(
    browser: Client, page: str
) -> None:
    theirs = MembershipFactory(district__name="Elm Hollow").district
    keys_save(theirs.sftp_account, text("rsa3072"), seen_version=1, by=By(None))
    answer = browser.post(page, {"authorized_keys": f"{text('ed25519')}\n{text('rsa3072')}", "version": 1})
    assert answer.status_code == 422
    assert [(problem.code, problem.line) for problem in answer.context["box"].problems] == [("key-elsewhere", 2)]
    assert "Elm Hollow" not in _html(answer)
    assert "Waiting" in _html(browser.get(page))


def test_names_given_and_taken_are_told_as_what_they_are(browser: Client, page: str) -> None:
    kind, blob, _ = text("ed25519").split(" ", 2)
    browser.post(page, {"authorized_keys": f"{kind} {blob} old", "version": 1})
    browser.post(page, {"authorized_keys": f"{kind} {blob} new", "version": 2})
    assert "New name:" in _html(browser.get(page))
    browser.post(page, {"authorized_keys": f"{kind} {blob}", "version": 3})
    assert "Name taken away:" in _html(browser.get(page))


def test_staff_say_why_and_the_district_reads_it(browser: Client, page: str, account: SftpAccount) -> None:
    client = Client()
    client.force_login(StaffFactory(name="Sam Support"))
    data = {"authorized_keys": text("ed25519"), "version": 1}
    refused = fresh(client).post(page, data)
    assert refused.status_code == 422
    assert "Say why" in _html(refused)
    assert words("ed25519")["base64"] in _html(refused)
    assert not account.keys.exists()
    assert client.post(page, {**data, "reason": "Dana telephoned."}).status_code == 302
    shown = _html(browser.get(page))
    assert "Reason: Dana telephoned." in shown
    assert "Sam Support" in shown


def test_a_private_key_in_the_field_of_the_reason_is_neither_kept_nor_shown(page: str, account: SftpAccount) -> None:
    client = Client()
    client.force_login(StaffFactory())
    secret = f"-----BEGIN OPENSSH PRIVATE KEY----- {PRIVATE_LINE}"
    before = everything()
    answer = fresh(client).post(page, {"authorized_keys": text("ed25519"), "version": 1, "reason": secret})
    assert answer.status_code == 422
    assert PRIVATE_LINE not in _html(answer)
    assert everything() == before


def test_recent_changes_tell_who_from_where_what_and_when_the_host_had_it(
    browser: Client, page: str, account: SftpAccount
) -> None:
    browser.post(page, {"authorized_keys": text("ed25519"), "version": 1}, REMOTE_ADDR="198.51.100.7")
    assert "Not confirmed by the host yet" in _html(browser.get(page))
    account.key_sets.update(on_host=timezone.now())
    shown = _html(browser.get(page))
    assert "198.51.100.7" in shown
    assert "Confirmed by the host" in shown


def test_of_the_recent_changes_all_but_the_last_are_folded(browser: Client, page: str) -> None:
    for version, name in enumerate(("ed25519", "rsa2048", "rsa3072"), start=1):
        browser.post(page, {"authorized_keys": text(name), "version": version})
    changes = _html(browser.get(page)).partition('id="changes"')[2]
    before, _, folded = changes.partition("2 earlier changes")
    assert (before.count('class="stage '), folded.count('class="stage ')) == (1, 2)


def test_a_stored_key_that_is_no_longer_valid_does_not_break_the_page(
    browser: Client, page: str, account: SftpAccount
) -> None:
    browser.post(page, {"authorized_keys": text("ed25519"), "version": 1})
    account.keys.update(blob="AAAA")
    assert browser.get(page).status_code == 200
    assert browser.get(f"{page}state/").status_code == 200


# --- Networks of all keys ----------------------------------------------------------------------------------------


def test_networks_of_the_account_are_masked_with_a_note_and_shown(
    browser: Client, page: str, account: SftpAccount
) -> None:
    browser.post(page, {"authorized_keys": text("ed25519"), "version": 1})
    assert browser.post(f"{page}networks/", {"networks": "8.8.8.8/24"}).status_code == 302
    shown = _html(browser.get(page))
    assert "8.8.8.8/24 was read as 8.8.8.0/24." in shown
    assert "All keys work only from" in shown
    assert KeyFile.objects.get(account=account).networks == ["8.8.8.0/24"]


@pytest.mark.parametrize("typed", ["example.com", "0.0.0.0/0", PRIVATE], ids=["a name", "everything", "a private key"])
def test_networks_that_are_none_are_refused_beside_the_field(browser: Client, page: str, typed: str) -> None:
    before = everything()
    answer = browser.post(f"{page}networks/", {"networks": typed})
    assert answer.status_code == 422
    assert answer.context["form"].errors["networks"]
    assert PRIVATE_LINE not in _html(answer)
    assert everything() == before


# --- Propagation -------------------------------------------------------------------------------------------------


@pytest.fixture
def ops(district: District) -> Client:
    client = Client()
    client.force_login(StaffFactory(staff_role="ops"))
    return fresh(client)


def test_propagate_now_asks_for_one_run_however_often_it_is_pressed(ops: Client) -> None:
    for _ in range(3):
        assert ops.post(reverse("propagation_now")).status_code == 302
    run = PropagationRun.objects.get()
    assert (run.cause, run.state) == ("now", "waiting")
    assert AuditEntry.objects.filter(action="propagation asked for").count() == 1


@pytest.mark.parametrize("minutes", ["120", "0", "", "7", "x"])
def test_a_schedule_that_breaks_the_promise_is_refused(ops: Client, minutes: str) -> None:
    before = everything()
    answer = ops.post(reverse("propagation_schedule"), {"minutes": minutes})
    assert answer.status_code == 422
    wanted = "All accounts are gone through at least once an hour" if minutes else "Choose how often."
    assert wanted in answer.content.decode()
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


def _newer(account: SftpAccount, fingerprints: list[str]) -> str:
    found = {"version": 7, "token": "0123456789abcdef", "fingerprints": fingerprints}
    KeyFile.objects.filter(account=account).update(found=found)
    return reverse("propagation_newer", args=[account.key_file.pk])


def test_a_newer_set_on_the_host_is_shown_with_what_is_at_stake(ops: Client, account: SftpAccount) -> None:
    keys_save(account, f"{text('ed25519')}\n{text('rsa3072')}", seen_version=1, by=By(None))
    stays, comes_back = account.keys.all()
    place = _newer(account, [stays.fingerprint, "SHA256:only-there"])
    assert place in _html(ops.get(reverse("propagation")))
    newer = ops.get(place).context["newer"]
    assert (newer.staying, newer.coming_back, newer.going) == ((stays,), (comes_back,), ("SHA256:only-there",))


def test_the_databases_set_is_kept_with_a_reason_only(ops: Client, account: SftpAccount) -> None:
    place = _newer(account, [])
    assert ops.post(place, {"reason": " "}).status_code == 422
    assert KeyFile.objects.get(account=account).found
    assert ops.post(place, {"reason": "No newer backup.", "seen": "0123456789abcdef"}).url == reverse("propagation")
    file = KeyFile.objects.get(account=account)
    assert (file.found, file.state) == (None, "waiting")
    assert account.key_sets.first().reason == "No newer backup."
    assert ops.get(place).status_code == 404


# What is known of the file that a suspended district's host should have -> what its pages say.
ON_THE_WAY_OFF = {
    "told": ("on_host", "Nobody can sign in: this district is suspended.", "Nobody can sign in over SFTP."),
    "waiting": (
        "waiting",
        "This district is suspended. Its keys are being taken off the SFTP host.",
        "may still work until it has heard of it",
    ),
    "failed": (
        "failed",
        "This district is suspended, but its keys may still work.",
        "but may still work. It is away. We try again at",
    ),
}


@pytest.mark.parametrize("name", ON_THE_WAY_OFF)
def test_that_nobody_can_sign_in_is_said_when_the_host_has_heard_of_it(
    browser: Client, page: str, account: SftpAccount, name: str
) -> None:
    state, sentence, at_home = ON_THE_WAY_OFF[name]
    KeyFactory(account=account, line=text("ed25519"))
    account.key_sets.update(on_host=timezone.now())
    district_state_set(account.district, District.State.SUSPENDED, reason="x", actor=None)
    next_try = timezone.now() if state == "failed" else None
    KeyFile.objects.update(state=state, next_try=next_try, reason="It is away.", on_host_since=timezone.now())
    if state == "on_host":
        account.key_sets.update(on_host=timezone.now())
    home = reverse("district_home", args=[account.district.slug])
    for client in (browser, _support()):
        shown = _text(client.get(page))
        assert sentence in shown
        assert ("Nobody can sign in" in shown) == (state == "on_host")
        assert "On its way" not in shown
        shown = _text(client.get(home))
        assert at_home in shown
        assert ("1 key, not on the SFTP host." in shown) == (state == "on_host")


def _support() -> Client:
    client = Client()
    client.force_login(StaffFactory())
    return fresh(client)


def _text(answer: object) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", _html(answer)).split())
