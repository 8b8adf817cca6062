"""The page “Keys” of the vendor's staff."""

from collections.abc import Callable
from datetime import date

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import District, SftpAccount
from keys.models import AccountKey, LostKey, SharedKeyRequest
from keys.services import KeyElsewhere, key_lost, keys_save
from keys.sets import By
from tests.factories import MembershipFactory, StaffFactory
from tests.rows import everything
from tests.signing_in import fresh

from .samples import text


@pytest.fixture
def support(db: None) -> Client:
    client = Client()
    client.force_login(StaffFactory())
    return fresh(client)


@pytest.fixture
def theirs(account: SftpAccount) -> SftpAccount:
    """Another district's account, which has a key already."""
    other = MembershipFactory(district__name="Elm Hollow").district.sftp_account
    keys_save(other, f"{text('rsa3072')}\n{text('ecdsa256')}", seen_version=1, by=By(None))
    return other


@pytest.fixture
def asked(account: SftpAccount, theirs: SftpAccount) -> SharedKeyRequest:
    """This district pasted that key."""
    with pytest.raises(KeyElsewhere):
        keys_save(account, text("rsa3072"), seen_version=1, by=By(None))
    return SharedKeyRequest.objects.get()


def _html(client: Client) -> str:
    return client.get(reverse("staff_keys")).content.decode()


def test_a_request_says_who_asks_and_who_has_the_key(support: Client, asked: SharedKeyRequest) -> None:
    shown = _html(support)
    assert "1 shared key waits for a decision." in shown
    assert asked.account.district.name in shown
    assert "Elm Hollow" in shown


def test_a_request_for_a_key_that_was_lost_elsewhere_says_so(support: Client, theirs: SftpAccount) -> None:
    key_lost(theirs.keys.first(), by=By(None))
    other = MembershipFactory().district.sftp_account
    with pytest.raises(KeyElsewhere):
        keys_save(other, text("rsa3072"), seen_version=1, by=By(None))
    assert LostKey.objects.exists()
    assert "Elm Hollow reported it as lost" in _html(support)


@pytest.mark.parametrize(("decision", "state"), [("allow", "allowed"), ("decline", "declined")])
def test_a_decision_with_a_reason_counts(support: Client, asked: SharedKeyRequest, decision: str, state: str) -> None:
    place = reverse("staff_keys_decide", args=[asked.pk])
    assert support.post(place, {"decision": decision, "reason": "One provider.", "seen": "waiting"}).status_code == 302
    asked.refresh_from_db()
    assert (asked.state, asked.reason) == (state, "One provider.")
    assert "One provider." in _html(support)


@pytest.mark.parametrize(
    "data",
    [
        {"decision": "allow", "seen": "waiting"},
        {"decision": "other", "reason": "x", "seen": "waiting"},
        {"reason": "x", "seen": "waiting"},
        {"decision": "allow", "reason": "x"},
    ],
)
def test_a_decision_without_its_reason_is_none(support: Client, asked: SharedKeyRequest, data: dict[str, str]) -> None:
    before = everything()
    assert support.post(reverse("staff_keys_decide", args=[asked.pk]), data).status_code == 422
    assert everything() == before


def test_a_second_decision_of_the_same_kind_is_told_as_too_late(support: Client, asked: SharedKeyRequest) -> None:
    place = reverse("staff_keys_decide", args=[asked.pk])
    for reason in ("first", "second"):
        support.post(place, {"decision": "allow", "reason": reason, "seen": "waiting"})
    asked.refresh_from_db()
    assert asked.reason == "first"
    assert "Somebody else has decided this" in _html(support)


def test_what_is_decided_can_be_decided_again(support: Client, asked: SharedKeyRequest) -> None:
    place = reverse("staff_keys_decide", args=[asked.pk])
    support.post(place, {"decision": "decline", "reason": "first", "seen": "waiting"})
    shown = _html(support)
    assert "Decide again" in shown
    assert 'name="seen" value="declined"' in shown
    support.post(place, {"decision": "allow", "reason": "second", "seen": "waiting"})
    asked.refresh_from_db()
    assert (asked.state, asked.reason) == ("declined", "first")
    assert support.post(place, {"decision": "allow", "reason": "", "seen": "declined"}).status_code == 422
    support.post(place, {"decision": "allow", "reason": "second", "seen": "declined"})
    asked.refresh_from_db()
    assert (asked.state, asked.reason) == ("allowed", "second")


def test_staff_who_stop_allowing_the_only_key_are_asked_for_the_user_name(
    support: Client, asked: SharedKeyRequest
) -> None:
    place = reverse("staff_keys_decide", args=[asked.pk])
    support.post(place, {"decision": "allow", "reason": "One provider.", "seen": "waiting"})
    assert "It is disabled there at once" not in _html(support)
    keys_save(asked.account, text("rsa3072"), seen_version=1, by=By(None))
    assert "It is disabled there at once" in _html(support)
    decline = {"decision": "decline", "reason": "It has gone.", "seen": "allowed"}
    answer = support.post(place, decline)
    assert answer.status_code == 422
    assert "No key that works would be left" in answer.content.decode()
    assert f"Type {asked.account.username} to confirm" in answer.content.decode()
    assert asked.account.keys.get().disabled is None
    assert support.post(place, {**decline, "confirmed": asked.account.username}).status_code == 302
    assert asked.account.keys.get().disabled is not None


def test_marked_disabled_and_leaking_keys_of_all_districts_are_listed(
    support: Client, account: SftpAccount, theirs: SftpAccount
) -> None:
    keys_save(account, text("ecdsa521"), seen_version=1, by=By(None))
    marked, disabled = theirs.keys.all()
    facts = {"marked": timezone.now(), "mark_reason": "It is weak.", "disable_on": date(2026, 12, 5)}
    AccountKey.objects.filter(pk=marked.pk).update(**facts)
    AccountKey.objects.filter(pk=disabled.pk).update(**facts, disabled=timezone.now())
    shown = support.get(reverse("staff_keys"))
    assert set(shown.context["troubled"]) == {marked, disabled}
    assert [key.label for key in shown.context["leaking"]] == ["ECDSA P-521"]
    assert "will be disabled 5 December 2026" in shown.content.decode()


def _shared(asked: SharedKeyRequest, theirs: SftpAccount) -> AccountKey:
    """This district has the other's key too, with leave of staff; the key in the other's account."""
    SharedKeyRequest.objects.update(state="allowed", decided=timezone.now())
    keys_save(asked.account, text("rsa3072"), seen_version=1, by=By(None))
    return theirs.keys.get(fingerprint=asked.fingerprint)


def test_a_key_that_one_district_lost_and_another_still_uses_leads_the_page(
    support: Client, asked: SharedKeyRequest, theirs: SftpAccount
) -> None:
    key = _shared(asked, theirs)
    assert "All clear." in _html(support)
    key_lost(key, by=By(None))
    shown = _html(support)
    assert "1 key reported lost still opens an account." in shown
    assert f"#key-{asked.account.keys.get().pk}" in shown
    assert "Elm Hollow reported it as lost" in shown
    assert "All clear." not in shown


def test_so_does_one_that_its_first_owner_still_uses(
    support: Client, asked: SharedKeyRequest, theirs: SftpAccount
) -> None:
    key = _shared(asked, theirs)
    key_lost(asked.account.keys.get(), by=By(None), confirmed=asked.account.username)
    assert list(support.get(reverse("staff_keys")).context["lost"]) == [key]


NOT_OPEN = {
    "it is disabled there": lambda asked: asked.account.keys.update(disabled=timezone.now()),
    "it is removed there": lambda asked: asked.account.keys.all().delete(),
    "that district is closed": lambda asked: District.objects.filter(pk=asked.account.district_id).update(
        state="closed"
    ),
    "staff have allowed it since": lambda asked: SharedKeyRequest.objects.update(decided=timezone.now()),
}


@pytest.mark.parametrize("change", NOT_OPEN.values(), ids=NOT_OPEN)
def test_a_lost_key_is_no_longer_told_of_when(
    support: Client, asked: SharedKeyRequest, theirs: SftpAccount, change: Callable[[SharedKeyRequest], object]
) -> None:
    key_lost(_shared(asked, theirs), by=By(None))
    change(asked)
    assert list(support.get(reverse("staff_keys")).context["lost"]) == []


def test_the_page_says_whether_there_is_a_blocklist(support: Client, settings: LazySettings, tmp_path: object) -> None:
    settings.BADKEYS_BLOCKLIST_DIR = str(tmp_path)
    assert "manage.py blocklist" in _html(support)


def test_all_clear_is_said(support: Client) -> None:
    assert "All clear." in _html(support)
