"""The Connect page: values and recipes of the account's own, and why the last tries did or did not work."""

import html
import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import District, SftpAccount, User
from hosts.models import Host, SignIn
from keys.models import KeyFile
from keys.services import keys_save
from keys.sets import By
from tests.factories import MembershipFactory

from .samples import text, words

HOST_KEY = f"ssh-ed25519 {words('ed25519')['base64']}"


@pytest.fixture
def page(account: SftpAccount, dana: User) -> Client:
    Host.objects.update(host_key=HOST_KEY, fingerprint="SHA256:x", address="upload.example.com", port=2222)
    client = Client()
    client.force_login(dana)
    return client


def _get(page: Client, account: SftpAccount, name: str = "connect", **query: str) -> str:
    answer = page.get(reverse(name, args=[account.district.slug]), query)
    assert answer.status_code == 200
    return html.unescape(re.sub(r"\s+", " ", answer.content.decode()))


def _save(account: SftpAccount) -> None:
    keys_save(account, text("rsa3072"), seen_version=KeyFile.objects.get(account=account).version, by=By(None))


def _tried(account: SftpAccount, reason: str = "", **other: object) -> SignIn:
    told = {"username": account.username, "address": "198.51.100.7", "host": account.host, "at": timezone.now()}
    return SignIn.objects.create(**{**told, "accepted": not reason, "reason": reason, **other})


def test_the_values_are_the_accounts_own(page: Client, account: SftpAccount) -> None:
    shown = _get(page, account)
    for value in ("upload.example.com", "2222", account.username, "/upload/", f"[upload.example.com]:2222 {HOST_KEY}"):
        assert value in shown


def test_the_recipe_that_was_looked_at_is_the_one_of_the_next_visit(page: Client, account: SftpAccount) -> None:
    first = _get(page, account)
    assert '<h3 id="recipe-title">WinSCP</h3>' in first
    assert '<h3 id="recipe-title">lftp</h3>' in _get(page, account, **{"with": "lftp"})
    assert '<h3 id="recipe-title">lftp</h3>' in _get(page, account)
    assert '<h3 id="recipe-title">lftp</h3>' in _get(page, account, **{"with": "no-such"})


@pytest.mark.parametrize("changed", [{"host_key": ""}, {"address": "an odd name"}])
def test_without_a_key_to_trust_or_a_plain_name_there_is_no_recipe(
    page: Client, account: SftpAccount, changed: dict[str, str]
) -> None:
    Host.objects.update(**changed)
    shown = _get(page, account)
    assert "there is nothing your program could check" in shown
    assert "recipe-title" not in shown
    assert account.username in shown


def test_the_page_turns_green_by_itself_at_the_first_good_sign_in(page: Client, account: SftpAccount) -> None:
    assert "Save a public key first." in _get(page, account)
    _save(account)
    assert "Your keys are on the way" in _get(page, account, "connect_state")
    KeyFile.objects.update(state="on_host", on_host_since=timezone.now())
    waiting = _get(page, account, "connect_state")
    assert "Nobody has signed in yet." in waiting
    assert 'hx-trigger="every 5s"' in waiting
    _tried(account)
    green = _get(page, account, "connect_state")
    assert "You can connect." in green
    assert "hx-trigger" not in green


def test_a_refused_try_is_told_first_with_its_reason_and_a_line_for_the_vendor(
    page: Client, account: SftpAccount
) -> None:
    _save(account)
    registered = account.keys.get().fingerprint
    _tried(account, at=timezone.now() - timedelta(hours=1))
    _tried(account, "unknown-key", fingerprint="SHA256:theirs", offered=["SHA256:theirs"], client="WinSCP 6.3")
    shown = _get(page, account)
    assert "The last try to connect was refused" in shown
    assert 'hx-trigger="every 5s"' in shown
    assert "The key it offered is not one of yours here." in shown
    line = re.search(r'<code id="to-vendor-\d+">(.*?)</code>', shown).group(1)
    for fact in (
        "198.51.100.7 (WinSCP 6.3)",
        "unknown-key",
        "SHA256:theirs",
        registered,
        "upload.example.com port 2222",
    ):
        assert fact in line
    assert shown.count("A good sign-in") == 1


def test_an_unknown_key_can_be_looked_at_by_who_may_save_it(page: Client, account: SftpAccount) -> None:
    line = " ".join(text("ed25519").split()[:2])
    _tried(account, "unknown-key", fingerprint="SHA256:theirs", offered=["SHA256:theirs"], offered_keys=[line])
    shown = _get(page, account)
    assert "Is this key yours?" in shown
    assert line in shown
    page.force_login(MembershipFactory(district=account.district, role="district viewer").user)
    assert "Is this key yours?" not in _get(page, account)


def test_a_key_that_is_known_is_not_asked_about(page: Client, account: SftpAccount) -> None:
    _save(account)
    known = account.keys.get()
    told = {"fingerprint": known.fingerprint, "offered": [known.fingerprint], "offered_keys": [known.line()]}
    _tried(account, "unknown-key", **told)
    assert "Is this key yours?" not in _get(page, account)


def test_what_a_client_says_of_itself_is_shown_as_text(page: Client, account: SftpAccount) -> None:
    _tried(account, "unknown-key", client="<img src=x onerror=alert(1)>")
    answer = page.get(reverse("connect", args=[account.district.slug])).content.decode()
    assert "<img src=x" not in answer
    assert "&lt;img src=x" in answer


def test_a_suspended_district_is_told_so_first(page: Client, account: SftpAccount) -> None:
    _tried(account)
    District.objects.update(state="suspended")
    assert "This district is suspended: nobody should connect now." in _get(page, account)


def test_another_districts_tries_are_not_shown(page: Client, account: SftpAccount) -> None:
    _tried(account, "unknown-key", username="jonestown.k12.oh.us", address="203.0.113.9")
    assert "203.0.113.9" not in _get(page, account)
