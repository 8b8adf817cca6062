"""The pages of one key: rename and restrict, replace, remove, report as lost."""

from datetime import date, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import District, SftpAccount, User
from hosts.models import Host, SessionEnd
from keys.models import AccountKey, KeyFile, LostKey
from keys.services import keys_save
from keys.sets import By
from tests.factories import SignInFactory, StaffFactory
from tests.rows import everything
from tests.signing_in import fresh

from .samples import text

PRIVATE_LINE = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ"
PRIVATE = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{PRIVATE_LINE}\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def keys(account: SftpAccount, dana: User) -> list[AccountKey]:
    """Two keys that Dana saved."""
    keys_save(account, f"{text('ed25519')}\n{text('rsa3072')}", seen_version=1, by=By(dana))
    return list(account.keys.all())


@pytest.fixture
def browser(dana: User) -> Client:
    client = Client()
    client.force_login(dana)
    return fresh(client)


@pytest.fixture
def settings_page(district: District) -> str:
    return reverse("technical_settings", args=[district.slug])


def _page(name: str, key: AccountKey) -> str:
    return reverse(name, args=[key.account.district.slug, key.pk])


def _html(answer: object) -> str:
    return answer.content.decode()


PAGES = ("key_edit", "key_replace", "key_remove", "key_lost")
DATA = {
    "key_edit": {"comment": "another"},
    "key_replace": {"authorized_keys": text("ecdsa256"), "days": 7},
    "key_remove": {},
    "key_lost": {},
}


@pytest.mark.parametrize("name", PAGES)
def test_every_change_of_a_key_asks_for_a_fresh_sign_in(keys: list[AccountKey], dana: User, name: str) -> None:
    client = Client()
    client.force_login(dana)
    before = everything()
    answer = client.post(_page(name, keys[0]), DATA[name])
    assert answer.url.startswith(reverse("account_reauthenticate"))
    assert everything() == before


@pytest.mark.parametrize("name", [name for name in PAGES if DATA[name]])
def test_who_goes_back_without_the_password_finds_what_was_typed(keys: list[AccountKey], dana: User, name: str) -> None:
    client = Client()
    client.force_login(dana)
    before = everything()
    client.post(_page(name, keys[0]), DATA[name])
    shown = _html(client.get(f"{_page(name, keys[0])}?typed"))
    for typed in DATA[name].values():
        assert str(typed) in shown
    assert "What you typed is still here." in shown
    assert everything() == before


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("name", PAGES)
def test_a_key_that_somebody_has_removed_is_told_plainly(
    browser: Client, keys: list[AccountKey], name: str, method: str
) -> None:
    place = _page(name, keys[0])
    keys[0].delete()
    answer = getattr(browser, method)(place, DATA[name])
    assert answer.status_code == 404
    assert "Somebody has removed it in the meantime" in _html(answer)


# --- Rename and restrict -----------------------------------------------------------------------------------------


def test_a_key_gets_a_name_a_last_day_and_networks_and_the_page_says_so(
    browser: Client, keys: list[AccountKey], settings_page: str
) -> None:
    last_day = timezone.now().date() + timedelta(days=400)
    data = {"comment": "sis <b>2</b>", "expires_on": last_day.isoformat(), "networks": "8.8.8.8/24"}
    assert browser.post(_page("key_edit", keys[0]), data).url == settings_page
    key = AccountKey.objects.get(pk=keys[0].pk)
    assert (key.comment, key.expires_on, key.networks) == ("sis <b>2</b>", last_day, ["8.8.8.0/24"])
    shown = _html(browser.get(settings_page))
    assert "Changed:" in shown
    assert "8.8.8.8/24 was read as 8.8.8.0/24." in shown
    assert f"Works until {last_day.day} {last_day:%B %Y}." in shown
    assert "<b>2" not in shown


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("expires_on", "2020-01-01"),
        ("expires_on", "next week"),
        ("networks", "example.com"),
        ("networks", "0.0.0.0/0"),
        ("networks", PRIVATE),
        ("comment", PRIVATE.replace("\n", " ")),
    ],
    ids=["over", "no date", "a name", "everything", "private networks", "private name"],
)
def test_what_cannot_be_taken_is_told_beside_its_field(
    browser: Client, keys: list[AccountKey], field: str, typed: str
) -> None:
    before = everything()
    answer = browser.post(_page("key_edit", keys[0]), {field: typed})
    assert answer.status_code == 422
    assert answer.context["form"].errors[field]
    assert PRIVATE_LINE not in _html(answer)
    assert PRIVATE_LINE not in str(dict(browser.session))
    assert everything() == before


def test_a_long_name_is_shortened_with_a_note_and_not_by_the_browser(
    browser: Client, keys: list[AccountKey], settings_page: str
) -> None:
    place = _page("key_edit", keys[0])
    assert "maxlength" not in _html(browser.get(place)).partition('name="comment"')[2].partition(">")[0]
    assert browser.post(place, {"comment": "x" * 256}).url == settings_page
    assert AccountKey.objects.get(pk=keys[0].pk).comment == "x" * 255
    shown = _html(browser.get(settings_page))
    assert "The comment of this key was longer than 255 characters. It was cut." in shown
    # The whole of it stands in the box, and where the card's name is pointed at; elsewhere its beginning does.
    assert shown.count("x" * 255) == 2
    browser.post(place, {"comment": " ".join(["x" * 127, "y" * 127])})
    assert "It was cut." not in _html(browser.get(settings_page))


def test_networks_that_the_whole_account_does_not_have_are_refused(browser: Client, keys: list[AccountKey]) -> None:
    KeyFile.objects.update(networks=["8.8.8.0/24"])
    answer = browser.post(_page("key_edit", keys[0]), {"networks": "9.9.9.0/24"})
    assert answer.context["form"].errors["networks"]


# --- Replace -----------------------------------------------------------------------------------------------------


def test_a_new_key_stands_beside_the_old_one_until_it_has_signed_in(
    browser: Client, keys: list[AccountKey], settings_page: str
) -> None:
    data = {"authorized_keys": text("ecdsa256"), "days": 3}
    assert browser.post(_page("key_replace", keys[0]), data).url == settings_page
    new = AccountKey.objects.get(replaces=keys[0])
    assert (new.label, new.retire_after) == ("ECDSA P-256", 3)
    shown = _html(browser.get(settings_page))
    assert f"Being replaced by {new.comment}. This one retires 3 days after" in shown
    assert "It takes the place of" in shown


@pytest.mark.parametrize(
    ("paste", "code"),
    [
        (f"{text('ecdsa256')}\n{text('ecdsa384')}", "one-key-wanted"),
        (text("rsa3072"), "one-key-wanted"),
        ("nonsense", "not-a-key"),
        (PRIVATE, "private-key"),
    ],
    ids=["two keys", "a key that is there", "nonsense", "a private key"],
)
def test_a_replacement_that_is_none_is_refused_with_a_problem(
    browser: Client, keys: list[AccountKey], paste: str, code: str
) -> None:
    before = everything()
    answer = browser.post(_page("key_replace", keys[0]), {"authorized_keys": paste, "days": 7})
    assert answer.status_code == 422
    assert [problem.code for problem in answer.context["box"]["problems"]] == [code]
    assert PRIVATE_LINE not in _html(answer)
    assert everything() == before


def test_an_empty_replacement_is_refused_beside_the_box(browser: Client, keys: list[AccountKey]) -> None:
    answer = browser.post(_page("key_replace", keys[0]), {"authorized_keys": "", "days": 7})
    assert answer.status_code == 422
    assert "Paste the new public key." in _html(answer)


# --- Remove ------------------------------------------------------------------------------------------------------


def test_one_key_of_two_is_removed_without_typing_anything(
    browser: Client, keys: list[AccountKey], settings_page: str
) -> None:
    assert "to confirm" not in _html(browser.get(_page("key_remove", keys[0])))
    assert browser.post(_page("key_remove", keys[0])).url == settings_page
    assert "Removed:" in _html(browser.get(settings_page))
    assert list(keys[0].account.keys.all()) == [keys[1]]


@pytest.mark.parametrize("name", ["key_remove", "key_lost"])
def test_the_last_key_that_works_goes_only_with_the_user_name_typed(
    browser: Client, keys: list[AccountKey], name: str
) -> None:
    AccountKey.objects.filter(pk=keys[1].pk).update(expires_on=date(2020, 1, 1))
    username = keys[0].account.username
    assert f"Type {username} to confirm" in _html(browser.get(_page(name, keys[0])))
    before = everything()
    for typed in ("", "no"):
        assert browser.post(_page(name, keys[0]), {"confirmed": typed}).status_code == 422
    assert everything() == before
    assert browser.post(_page(name, keys[0]), {"confirmed": username}).status_code == 302
    assert not AccountKey.objects.filter(pk=keys[0].pk).exists()


@pytest.mark.parametrize(("name", "is_safe_way_told"), [("key_remove", True), ("key_lost", False)])
def test_where_no_key_that_has_signed_in_would_be_left_the_safe_way_is_told_but_for_a_lost_one(
    browser: Client, keys: list[AccountKey], name: str, is_safe_way_told: bool
) -> None:
    SignInFactory(username=keys[0].account.username, fingerprint=keys[0].fingerprint)
    shown = _html(browser.get(_page(name, keys[0])))
    assert "No key that has ever signed in would be left." in shown
    assert f"Type {keys[0].account.username} to confirm" in shown
    assert (f'href="{_page("key_replace", keys[0])}"' in shown) is is_safe_way_told


def test_a_restriction_that_shuts_everybody_out_goes_only_with_the_user_name_typed(
    browser: Client, keys: list[AccountKey]
) -> None:
    account = keys[0].account
    SignInFactory(username=account.username, address="8.8.8.8")
    pages = {
        reverse("technical_settings_networks", args=[account.district.slug]): {"networks": "8.8.4.0/24"},
        _page("key_edit", keys[0]): {"networks": "8.8.4.0/24"},
    }
    keys[1].delete()
    for place, data in pages.items():
        before = everything()
        assert "to confirm" not in _html(browser.get(place))
        for typed, said in (("", "The last good sign-in came from 8.8.8.8"), ("no", "This is not the user name")):
            answer = browser.post(place, {**data, "confirmed": typed})
            assert answer.status_code == 422
            assert said in _html(answer)
            assert f"Type {account.username} to confirm" in _html(answer)
        assert everything() == before
        assert browser.post(place, {**data, "confirmed": account.username}).status_code == 302
        browser.post(place, {"networks": ""})


@pytest.mark.parametrize("name", ["key_replace", "key_remove", "key_lost"])
def test_staff_must_say_why_they_change_a_key(keys: list[AccountKey], name: str) -> None:
    client = Client()
    client.force_login(StaffFactory())
    before = everything()
    assert fresh(client).post(_page(name, keys[0]), DATA[name]).status_code == 422
    assert everything() == before
    assert client.post(_page(name, keys[0]), {**DATA[name], "reason": "They asked."}).status_code == 302
    assert keys[0].account.key_sets.first().reason == "They asked."


def test_names_and_restrictions_are_the_districts_own(keys: list[AccountKey]) -> None:
    client = Client()
    client.force_login(StaffFactory())
    assert fresh(client).get(_page("key_edit", keys[0])).status_code == 403


# --- A lost computer ---------------------------------------------------------------------------------------------


@pytest.fixture
def lost(browser: Client, keys: list[AccountKey]) -> LostKey:
    """A key whose computer Dana has just reported as lost."""
    browser.post(_page("key_lost", keys[0]))
    return LostKey.objects.get()


def _lost_page(lost: LostKey, name: str = "key_lost_told") -> str:
    return reverse(name, args=[lost.account.district.slug, lost.pk])


def _end(lost: LostKey, **other: object) -> SessionEnd:
    told = {"username": lost.account.username, "fingerprint": lost.fingerprint, "at": timezone.now()}
    told |= {"host": Host.objects.get(), "address": "198.51.100.7", "reason": "key-removed"}
    return SessionEnd.objects.create(**{**told, **other})


def test_the_key_of_a_lost_computer_goes_at_once_and_its_page_follows_the_host(browser: Client, lost: LostKey) -> None:
    state = _lost_page(lost, "key_lost_state")
    first = browser.get(state)
    assert "We are telling the SFTP host" in _html(first)
    assert first.context["poll_seconds"] == 1
    lost.key_set.on_host = timezone.now()
    lost.key_set.save()
    assert "The host confirmed it" in _html(browser.get(state))
    _end(lost)
    told = browser.get(state)
    assert "1 open session ended." in _html(told)
    assert "198.51.100.7" in _html(told)


def test_while_a_newer_list_is_unsettled_the_page_promises_no_time(browser: Client, lost: LostKey) -> None:
    newer = {"state": "failed", "code": "newer-on-host", "reason": "The SFTP host has a newer list."}
    found = {"version": 9, "token": "0" * 16, "fingerprints": [lost.fingerprint]}
    KeyFile.objects.update(**newer, found=found)
    shown = _html(browser.get(_lost_page(lost, "key_lost_state")))
    assert "The key may still work." in shown
    assert "at the latest at" not in shown
    KeyFile.objects.update(found={**found, "fingerprints": []})
    # An empty set stands under a name that was given up: what was found says nothing of the key.
    shown = _html(browser.get(_lost_page(lost, "key_lost_state")))
    assert "The key may still work." in shown
    KeyFile.objects.update(found={**found, "fingerprints": ["SHA256:" + "a" * 43]})
    shown = _html(browser.get(_lost_page(lost, "key_lost_state")))
    assert "The key no longer opens your account." in shown
    assert "had a newer list of keys" in shown
    assert "at the latest at" not in shown


def test_only_sessions_of_that_key_and_account_after_it_was_lost_are_told(browser: Client, lost: LostKey) -> None:
    _end(lost, username="other.k12.oh.us")
    _end(lost, fingerprint="SHA256:other")
    _end(lost, at=lost.at - timedelta(minutes=1))
    assert list(browser.get(_lost_page(lost)).context["ends"]) == []


def test_the_page_of_a_lost_key_stays_and_comes_to_rest(browser: Client, lost: LostKey, settings_page: str) -> None:
    assert _lost_page(lost) in _html(browser.get(settings_page))
    LostKey.objects.update(at=timezone.now() - timedelta(days=9))
    lost.key_set.on_host = timezone.now() - timedelta(days=9)
    lost.key_set.save()
    shown = browser.get(_lost_page(lost))
    assert shown.context["poll_seconds"] == 0
    assert "No session was open" in _html(shown)


def test_a_lost_key_is_not_taken_again(browser: Client, lost: LostKey, settings_page: str) -> None:
    version = lost.account.key_file.__class__.objects.get(account=lost.account).version
    answer = browser.post(settings_page, {"authorized_keys": text("ed25519"), "version": version})
    assert [problem.code for problem in answer.context["box"].problems] == ["key-lost"]
