"""A form about keys that is sent when the sign-in has ended: nothing is saved, and what was typed waits."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from accounts.models import District, SftpAccount, User
from tests.factories import PASSWORD, KeyFactory, PersonFactory
from tests.rows import everything

from .samples import text, words

PRIVATE_LINE = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"
PRIVATE = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{PRIVATE_LINE}\n-----END OPENSSH PRIVATE KEY-----\n"
STILL_HERE = "Nothing was saved. What you typed is still here."


@pytest.fixture
def page(district: District) -> str:
    return reverse("technical_settings", args=[district.slug])


def _signed_in(client: Client, sign_in_page: str, email: str) -> str:
    """Where the sign-in leads to, as the form on its page says."""
    told = parse_qs(urlsplit(sign_in_page).query)
    answer = client.post(sign_in_page, {"login": email, "password": PASSWORD, "next": told["next"][0]})
    assert answer.status_code == 302
    return str(answer.url)


def test_a_save_while_signed_out_waits_in_the_box_and_is_not_done(
    page: str, account: SftpAccount, dana: User, client: Client
) -> None:
    before = everything()
    file = SimpleUploadedFile("id.pub", text("rsa3072").encode())
    sent = client.post(page, {"authorized_keys": text("ed25519"), "version": 1, "key_file": file})
    assert urlsplit(sent.url).path == reverse("account_login")
    assert "What you typed is there again once you have signed in." in client.get(sent.url).content.decode()
    back = _signed_in(client, sent.url, dana.email)
    assert back == f"{page}?typed"
    shown = client.get(back)
    assert shown.context["box"].text == f"{text('ed25519')}\n{text('rsa3072')}"
    assert STILL_HERE in shown.content.decode()
    assert everything() == before
    # Once, and not kept any longer.
    assert words("ed25519")["base64"] not in str(dict(client.session))
    assert client.get(back).context["box"].text == ""
    assert client.post(page, {"authorized_keys": shown.context["box"].text, "version": 1}).url == page
    assert account.keys.count() == 2


@pytest.mark.parametrize(
    ("name", "typed", "shown"),
    [
        ("key_replace", {"authorized_keys": text("ed25519"), "days": 30}, words("ed25519")["base64"]),
        ("key_edit", {"comment": "night job", "networks": "8.8.8.0/24"}, "night job"),
        ("technical_settings_networks", {"networks": "8.8.8.0/24"}, "8.8.8.0/24"),
    ],
)
def test_what_was_typed_on_another_page_about_keys_waits_too(
    account: SftpAccount, dana: User, client: Client, name: str, typed: dict[str, object], shown: str
) -> None:
    key = KeyFactory(account=account, line=text("rsa2048"))
    place = [account.district.slug] if name.startswith("technical") else [account.district.slug, key.pk]
    sent = client.post(reverse(name, args=place), typed)
    answer = client.get(_signed_in(client, sent.url, dana.email))
    assert STILL_HERE in answer.content.decode()
    assert shown in answer.content.decode()


@pytest.mark.parametrize("field", ["authorized_keys", "reason", "no field of ours"])
@pytest.mark.parametrize("around", ["{}", f"{text('ed25519')}\n{{}}", "{}\0"], ids=["alone", "after a key", "a NUL"])
def test_a_private_key_sent_while_signed_out_is_not_kept_and_its_owner_is_told(
    page: str, dana: User, client: Client, field: str, around: str
) -> None:
    sent = client.post(page, {"version": 1, field: around.format(PRIVATE)})
    assert PRIVATE_LINE not in str(dict(client.session))
    told = client.get(sent.url).content.decode()
    assert "throw this key away now" in told
    assert PRIVATE_LINE not in told
    assert client.get(_signed_in(client, sent.url, dana.email)).context["box"].text == ""


def test_more_than_is_ever_read_is_not_kept(page: str, client: Client) -> None:
    sent = client.post(page, {"authorized_keys": "x" * 70_000, "version": 1})
    assert "This is too long" in client.get(sent.url).content.decode()
    assert len(str(dict(client.session))) < 5_000


def test_what_waits_is_shown_on_its_own_page_only_and_to_whom_its_door_opens(
    page: str, account: SftpAccount, client: Client
) -> None:
    sent = client.post(page, {"authorized_keys": text("ed25519"), "version": 1})
    stranger = PersonFactory()
    answer = client.get(_signed_in(client, sent.url, stranger.email))
    assert answer.status_code == 404
    assert words("ed25519")["base64"] not in answer.content.decode()


def test_a_form_from_elsewhere_is_neither_done_nor_kept(page: str, db: None) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post(page, {"authorized_keys": text("ed25519"), "version": 1}).status_code == 403
    assert settings.SESSION_COOKIE_NAME not in client.cookies


def test_the_live_verdict_of_somebody_signed_out_leaves_nothing_behind(page: str, client: Client) -> None:
    answer = client.post(f"{page}check/", {"authorized_keys": text("ed25519")}, headers={"hx-request": "true"})
    assert urlsplit(answer.url).path == reverse("account_login")
    assert settings.SESSION_COOKIE_NAME not in client.cookies


def test_a_form_of_any_other_page_is_told_not_to_be_saved(client: Client, db: None) -> None:
    sent = client.post(reverse("propagation_now"))
    told = "You had been signed out, so nothing was saved. What you typed was not kept."
    assert told in client.get(sent.url).content.decode()
