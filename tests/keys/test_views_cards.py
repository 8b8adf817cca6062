"""What a card says of a key."""

from datetime import date, timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.utils import timezone

from accounts.models import District, SftpAccount
from accounts.services import district_rename, district_state_set
from hosts.models import Host, SignIn
from keys import propagation
from keys.models import AccountKey, KeyFile, KeySet, SharedKeyRequest
from keys.selectors import is_shut_off, next_hourly_run
from keys.services import host_move, key_replace, keys_save, shared_key_decide, today_in
from keys.sets import By
from keys.views.cards import Card, cards_of, expiry_told
from tests.factories import StaffFactory

from .samples import text


@pytest.fixture
def key(account: SftpAccount) -> AccountKey:
    keys_save(account, text("ed25519"), seen_version=1, by=By(None))
    return account.keys.get()


def _card(account: SftpAccount, position: int = 0) -> Card:
    file = KeyFile.objects.get(account=account)
    return cards_of(account, file, next_hourly_run(), is_shut_off=is_shut_off(account))[position]


def _stops(card: Card) -> list[str]:
    return [stop.word for stop in card.journey]


def _sign_in(key: AccountKey) -> None:
    told = {"username": key.account.username, "fingerprint": key.fingerprint, "address": "198.51.100.7"}
    SignIn.objects.create(host=Host.objects.get(), at=timezone.now(), accepted=True, **told)


def _on_host(account: SftpAccount) -> None:
    KeyFile.objects.filter(account=account).update(state="on_host", on_host_since=timezone.now())
    account.key_sets.filter(on_host=None).update(on_host=timezone.now())


def test_the_journey_goes_from_saved_to_the_last_login(account: SftpAccount, key: AccountKey) -> None:
    assert _stops(_card(account)) == ["saved", "goes live by", "no login so far"]
    _on_host(account)
    assert _stops(_card(account)) == ["saved", "on the host since", "no login so far"]
    _sign_in(key)
    assert _stops(_card(account)) == ["saved", "on the host since", "first login", "last login"]
    assert _card(account).last_address == "198.51.100.7"


def test_a_key_stays_on_the_host_while_a_later_change_of_another_is_under_way(
    account: SftpAccount, key: AccountKey
) -> None:
    _on_host(account)
    keys_save(account, f"{text('ed25519')}\n{text('rsa3072')}", seen_version=2, by=By(None))
    assert _stops(_card(account)) == ["saved", "on the host since", "no login so far"]
    assert _stops(_card(account, 1)) == ["saved", "goes live by", "no login so far"]


@pytest.mark.parametrize(
    ("left", "sentence"),
    [
        (-1, "Expired: it worked until"),
        (0, "Expires today: works until the end of"),
        (1, "Expires in 1 day: works until"),
        (6, "Expires in 6 days: works until"),
        (30, "Expires in 30 days: works until"),
        (31, "Works until"),
    ],
)
def test_an_end_is_told_as_people_count(left: int, sentence: str) -> None:
    today = date(2026, 11, 3)
    assert expiry_told(today + timedelta(days=left), today).startswith(sentence)


def test_a_key_without_an_end_says_nothing_of_one() -> None:
    assert expiry_told(None, date(2026, 11, 3)) == ""


BADGES = (
    ({"disabled": timezone.now(), "mark_reason": "Weak."}, "Disabled"),
    ({"expires_on": date(2020, 1, 1)}, "Expired"),
    ({"marked": timezone.now(), "disable_on": date(2026, 12, 5), "mark_reason": "Weak."}, "Will be disabled"),
)


@pytest.mark.parametrize(("facts", "word"), BADGES, ids=[word for _, word in BADGES])
def test_the_badge_is_the_one_thing_to_see(
    account: SftpAccount, key: AccountKey, facts: dict[str, object], word: str
) -> None:
    _on_host(account)
    _sign_in(key)
    badge = _card(account).badge
    assert badge is not None
    assert badge.word == "In use"
    AccountKey.objects.update(**facts)
    badge = _card(account).badge
    assert badge is not None
    assert badge.word == word


def test_a_mark_is_told_with_its_day_and_reason(account: SftpAccount, key: AccountKey) -> None:
    AccountKey.objects.update(marked=timezone.now(), disable_on=date(2026, 12, 5), mark_reason="It is weak.")
    assert _card(account).warnings == ("This key will be disabled on 5 December 2026: It is weak.",)


def test_a_replacement_is_told_on_both_cards(account: SftpAccount, key: AccountKey) -> None:
    key_replace(key, text("rsa3072"), days=1, by=By(None))
    old, new = (_card(account, position) for position in (0, 1))
    assert "retires 1 day after" in old.notes[0]
    assert new.notes[0].startswith("It takes the place of")
    AccountKey.objects.filter(replaces=key).update(retires_old=timezone.now())
    assert "This one retires on" in _card(account).notes[0]
    assert _card(account, 1).notes == ()


def test_of_two_in_its_place_only_the_one_that_has_signed_in_is_told_to_have(
    account: SftpAccount, key: AccountKey
) -> None:
    for name in ("rsa3072", "ecdsa256"):
        key_replace(key, text(name), days=1, by=By(None))
    unused, used = account.keys.filter(replaces=key)
    AccountKey.objects.filter(pk=used.pk).update(retires_old=timezone.now())
    first, second = _card(account).notes
    assert first.startswith(f"Being replaced by {unused.comment}.")
    assert second.startswith(f"Replaced by {used.comment}, which has signed in.")
    assert (len(_card(account, 1).notes), _card(account, 2).notes) == (1, ())


def _host_down(account: SftpAccount) -> None:
    KeyFile.objects.filter(account=account).update(state="failed", next_try=timezone.now(), reason="It is away.")


def _state_set(account: SftpAccount, state: str) -> SftpAccount:
    district_state_set(account.district, District.State(state), reason="x", actor=None)
    return SftpAccount.objects.get(pk=account.pk)


def _held_back(account: SftpAccount) -> SharedKeyRequest:
    """Support declines a key that the district has."""
    facts = {"account": account, "fingerprint": account.keys.get().fingerprint}
    request = SharedKeyRequest.objects.create(**facts, state="allowed")
    _decide(request, allow=False)
    return request


def _decide(request: SharedKeyRequest, *, allow: bool) -> None:
    seen, confirmed = request.state, request.account.username
    shared_key_decide(request, allow=allow, reason="x", actor=StaffFactory(), seen=seen, confirmed=confirmed)


def test_a_suspended_districts_key_may_work_until_its_host_has_heard_of_it(
    account: SftpAccount, key: AccountKey
) -> None:
    _on_host(account)
    account = _state_set(account, "suspended")
    assert _stops(_card(account))[1] == "may still work: taken off the host by"
    _host_down(account)
    assert _stops(_card(account))[1] == "may still work: not taken off the host yet, we try again"
    _on_host(account)
    assert _stops(_card(account))[1] == "not on the host: the district is suspended"


def test_a_name_given_to_a_suspended_district_brings_no_key_back(account: SftpAccount, key: AccountKey) -> None:
    account = _state_set(account, "suspended")
    _on_host(account)
    district_rename(account.district, name="x", domain="other.k12.oh.us", actor=None)
    _host_down(account)
    assert _stops(_card(account))[1] == "not on the host: the district is suspended"
    # Nor does it take one off that came back before.
    account = _state_set(account, "active")
    _on_host(account)
    account = _state_set(account, "suspended")
    district_rename(account.district, name="x", domain="another.k12.oh.us", actor=None)
    _host_down(account)
    assert _stops(_card(account))[1] == "may still work: not taken off the host yet, we try again"


@pytest.mark.parametrize(
    ("state", "known", "doubted"),
    [
        ("active", "on the host since", "goes live by"),
        ("suspended", "not on the host: the district is suspended", "may still work: taken off the host by"),
    ],
)
def test_of_a_host_that_moved_nothing_is_known_until_it_was_read(
    account: SftpAccount, key: AccountKey, state: str, known: str, doubted: str
) -> None:
    if state != "active":
        account = _state_set(account, state)
    propagation.push_one(account.pk)
    before = KeyFile.objects.get(account=account).on_host_since
    assert _stops(_card(account))[1] == known
    host_move(account.host, "elsewhere.example", 22, "sftp-portal", by=By(None))
    assert _stops(_card(account))[1] == doubted
    KeyFile.objects.update(state="failed", next_try=timezone.now(), reason="It is away.")
    assert _stops(_card(account))[1].endswith(
        "not on the host yet, we try again" if state == "active" else "we try again"
    )
    propagation.push_one(account.pk)
    assert _stops(_card(account))[1] == known
    assert KeyFile.objects.get(account=account).on_host_since > before


def test_what_was_on_the_host_before_sets_told_of_it_is_still_known(account: SftpAccount, key: AccountKey) -> None:
    account = _state_set(account, "suspended")
    _on_host(account)
    keys_save(account, text("rsa3072"), seen_version=3, by=By(None), confirmed=account.username)
    KeySet.objects.update(is_shut=False)
    import_module("keys.migrations.0009_shut_sets").note_shut(apps, None)
    assert list(account.key_sets.order_by("version").values_list("is_shut", flat=True)) == [False, False, True, True]
    assert is_shut_off(account)


def test_a_key_disabled_in_a_suspended_district_left_the_host_with_the_others(
    account: SftpAccount, key: AccountKey
) -> None:
    account = _state_set(account, "suspended")
    _on_host(account)
    key.disabled = timezone.now()
    key.save()
    _host_down(account)
    assert _stops(_card(account))[1] == "not on the host: the district is suspended"
    assert _card(account).warnings[0].endswith("It is no longer on the host.")


def test_a_key_is_on_its_way_again_after_its_district_was_suspended(account: SftpAccount, key: AccountKey) -> None:
    _on_host(account)
    account = _state_set(account, "suspended")
    _on_host(account)
    account = _state_set(account, "active")
    assert _stops(_card(account))[1] == "goes live by"
    _host_down(account)
    assert _stops(_card(account))[1] == "not on the host yet, we try again"
    _on_host(account)
    assert _stops(_card(account))[1] == "on the host since"


def test_a_disabled_key_may_work_until_its_host_has_heard_of_it(account: SftpAccount, key: AccountKey) -> None:
    _on_host(account)
    _held_back(account)
    _host_down(account)
    assert _stops(_card(account))[1] == "may still work: not taken off the host yet, we try again"
    assert _card(account).warnings[0].endswith("It may still work until the host has it.")
    _on_host(account)
    assert _stops(_card(account))[1] == "taken off the host"
    assert _card(account).warnings[0].endswith("It is no longer on the host.")
    # Whatever else is under way by then.
    _host_down(account)
    assert _stops(_card(account))[1] == "taken off the host"


def test_a_key_that_works_again_is_on_its_way_first(account: SftpAccount, key: AccountKey) -> None:
    _on_host(account)
    request = _held_back(account)
    _on_host(account)
    _decide(request, allow=True)
    _host_down(account)
    assert _stops(_card(account))[1] == "not on the host yet, we try again"
    _on_host(account)
    assert _stops(_card(account))[1] == "on the host since"


def test_a_row_that_is_no_longer_a_key_still_has_a_card(account: SftpAccount, key: AccountKey) -> None:
    AccountKey.objects.update(blob="AAAA")
    card = _card(account)
    assert (card.label, card.advice) == ("ssh-ed25519", ())


def test_soon_is_counted_in_the_districts_own_day(account: SftpAccount, key: AccountKey) -> None:
    AccountKey.objects.update(expires_on=today_in(account.district))
    assert _card(account).expiry.startswith("Expires today")
