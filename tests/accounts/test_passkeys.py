"""Passkeys: added, named, taken off; they sign in alone, and count as the second factor."""

import json

import pytest
from allauth.mfa.models import Authenticator
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse

from accounts.core.roles import Role
from accounts.models import AuditEntry, OutboxMessage, User
from tests.factories import MembershipFactory, StaffFactory

from .authenticators import Device
from .test_second_factor import is_in, recovery_code_of, set_up, sign_in, told_on_commit, type_code

ADD, LOGIN, AGAIN = "mfa_add_webauthn", "mfa_login_webauthn", "mfa_reauthenticate_webauthn"


@pytest.fixture
def dana(db: None) -> User:
    return MembershipFactory(user__email="dana@smithville.example").user


def add(client: Client, device: Device, name: str = "Office computer") -> None:
    """Adds a passkey as a person does."""
    answer = try_to_add(client, device, name)
    assert answer.status_code == 302, answer.context["form"].errors


def try_to_add(client: Client, device: Device, name: str = "") -> object:
    options = client.get(reverse(ADD)).context["js_data"]["creation_options"]
    with told_on_commit():
        return client.post(reverse(ADD), {"name": name, "credential": device.make(_plain(options))})


def _plain(options: object) -> dict[str, object]:
    return json.loads(json.dumps(options, default=dict))


def show(device: Device, handle: bytes | None = None) -> Client:
    """Signs in with a passkey alone."""
    client = Client()
    options = client.get(reverse(LOGIN), headers={"accept": "application/json"}).json()["request_options"]
    client.answer = client.post(reverse(LOGIN), {"credential": device.show(options, handle)})
    return client


def with_passkey(person: User) -> Device:
    device = Device()
    add(sign_in(person), device)
    return device


# --- Added and shown ---------------------------------------------------------------------------------------------


def test_a_passkey_is_added_and_signs_in_alone(dana: User) -> None:
    client = show(with_passkey(dana))
    assert is_in(client)
    assert client.get(reverse("sessions")).status_code == 200


def test_recovery_codes_come_with_the_first_one_and_not_before(dana: User) -> None:
    client = sign_in(dana)
    assert client.get(reverse("mfa_view_recovery_codes")).status_code == 404
    assert try_to_add(client, Device()).url == reverse("mfa_view_recovery_codes")
    assert try_to_add(client, Device()).url == reverse("mfa_index")


def test_it_is_told_by_mail_and_stands_in_the_audit_log(dana: User) -> None:
    client = sign_in(dana)
    add(client, Device())
    client.post(reverse("mfa_remove_webauthn", args=[_only(dana).pk]))
    entries = AuditEntry.objects.filter(action__startswith="passkey").order_by("number")
    assert [(one.action, one.actor, one.details) for one in entries] == [
        (action, dana.email, {"name": "Office computer"}) for action in ("passkey added", "passkey taken off")
    ]
    kinds = set(OutboxMessage.objects.filter(to=dana.email).values_list("kind", flat=True))
    assert {"webauthn_added", "webauthn_removed"} <= kinds


def test_without_a_name_it_gets_one_and_it_can_be_renamed(dana: User) -> None:
    client = sign_in(dana)
    add(client, Device(), "")
    assert _only(dana).wrap().name == "Passkey 1"
    place = reverse("mfa_edit_webauthn", args=[_only(dana).pk])
    assert client.post(place, {"name": ""}).status_code == 200
    assert client.post(place, {"name": "<b>Key ring</b>"}).status_code == 302
    assert "&lt;b&gt;Key ring" in client.get(reverse("mfa_list_webauthn")).content.decode()


def test_with_one_a_password_alone_opens_nothing_any_more(dana: User) -> None:
    device = with_passkey(dana)
    client = sign_in(dana)
    assert (client.answer.url, is_in(client)) == (reverse("mfa_authenticate"), False)
    options = client.get(reverse("mfa_authenticate")).context["js_data"]["request_options"]
    client.post(reverse("mfa_authenticate"), {"credential": device.show(_plain(options))})
    assert is_in(client)


def test_a_recovery_code_stands_in_for_a_lost_one(dana: User) -> None:
    with_passkey(dana)
    assert is_in(type_code(sign_in(dana), recovery_code_of(dana)))


def test_whoever_is_signed_in_elsewhere_by_the_password_alone_is_signed_out(dana: User) -> None:
    elsewhere, here = sign_in(dana), sign_in(dana)
    add(here, Device())
    assert (is_in(here), elsewhere.get(reverse("sessions")).status_code) == (True, 302)
    elsewhere = type_code(sign_in(dana), recovery_code_of(dana))
    add(here, Device())
    assert elsewhere.get(reverse("sessions")).status_code == 200


def test_of_several_factors_the_last_one_that_goes_takes_the_recovery_codes_with_it(dana: User) -> None:
    client = sign_in(dana)
    set_up(client)
    add(client, Device())
    client.post(reverse("mfa_deactivate_totp"))
    assert set(Authenticator.objects.values_list("type", flat=True)) == {"webauthn", "recovery_codes"}
    client.post(reverse("mfa_remove_webauthn", args=[_only(dana).pk]))
    assert not Authenticator.objects.exists()


# --- Refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "device",
    [Device(is_unlocked=False), Device(origin="https://evil.example")],
    ids=["nobody was asked for a finger, face or PIN", "made for another address"],
)
def test_such_a_passkey_is_not_added(dana: User, device: Device) -> None:
    answer = try_to_add(sign_in(dana), device)
    assert (answer.status_code, "not added" in answer.content.decode()) == (200, True)
    assert not Authenticator.objects.exists()


def test_nor_does_it_sign_in(dana: User) -> None:
    device = with_passkey(dana)
    device.flags &= ~device.flags.UV
    assert not is_in(show(device))


def test_a_passkey_that_nobody_added_signs_in_nobody(dana: User) -> None:
    own, stranger = with_passkey(dana), Device()
    assert not is_in(show(stranger, own.handle))
    assert not is_in(show(stranger, b"999"))


def test_nor_does_one_person_sign_in_as_another(dana: User) -> None:
    device, mo = with_passkey(dana), MembershipFactory().user
    with_passkey(mo)
    assert not is_in(show(device, str(mo.pk).encode()))


def test_an_answer_that_was_heard_does_not_sign_in_again(dana: User) -> None:
    device, client = with_passkey(dana), Client()
    options = client.get(reverse(LOGIN), headers={"accept": "application/json"}).json()["request_options"]
    heard = device.show(options)
    other = Client()
    other.get(reverse(LOGIN), headers={"accept": "application/json"})
    for browser in (other, Client()):
        browser.post(reverse(LOGIN), {"credential": heard})
        assert not is_in(browser)


def test_one_that_was_taken_off_signs_in_no_more(dana: User) -> None:
    device = with_passkey(dana)
    client = show(device)
    client.post(reverse("mfa_remove_webauthn", args=[_only(dana).pk]))
    assert not is_in(show(device))


def test_an_account_that_has_ended_is_not_signed_in(dana: User) -> None:
    device = with_passkey(dana)
    User.objects.update(is_active=False)
    assert not is_in(show(device))


MALFORMED = ["", "{", "[]", "1", "null", "{}", '{"response": []}', '{"response": {"userHandle": 5}}', '"x"']


@pytest.mark.parametrize("sent", MALFORMED)
def test_what_no_browser_sends_is_refused_and_no_error(dana: User, sent: str) -> None:
    with_passkey(dana)
    client = Client()
    client.get(reverse(LOGIN), headers={"accept": "application/json"})
    assert client.post(reverse(LOGIN), {"credential": sent}).status_code == 302
    assert not is_in(client)
    half = sign_in(dana)
    half.get(reverse("mfa_authenticate"))
    assert half.post(reverse("mfa_authenticate"), {"credential": sent}).status_code == 200
    assert not is_in(half)
    inside = type_code(sign_in(dana), recovery_code_of(dana))
    inside.get(reverse(ADD))
    assert inside.post(reverse(ADD), {"name": "x", "credential": sent}).status_code == 200
    assert Authenticator.objects.filter(type="webauthn").count() == 1


def test_somebody_elses_is_neither_renamed_nor_taken_off(dana: User) -> None:
    with_passkey(dana)
    client = sign_in(MembershipFactory().user)
    for name in ("mfa_edit_webauthn", "mfa_remove_webauthn"):
        place = reverse(name, args=[_only(dana).pk])
        assert (client.get(place).status_code, client.post(place, {"name": "x"}).status_code) == (404, 404)
    assert _only(dana).wrap().name == "Office computer"


def test_a_sign_in_that_is_not_fresh_changes_none(dana: User, settings: LazySettings) -> None:
    client = show(with_passkey(dana))
    settings.FRESH_SIGN_IN_SECONDS = 0
    pk = _only(dana).pk
    for place in (reverse(ADD), reverse("mfa_edit_webauthn", args=[pk]), reverse("mfa_remove_webauthn", args=[pk])):
        assert client.get(place).url.startswith(reverse("account_reauthenticate"))
        client.post(place, {"name": "x"})
    assert _only(dana).wrap().name == "Office computer"


# --- Where a second factor must be -------------------------------------------------------------------------------


def test_staff_who_sign_in_with_one_are_asked_for_nothing_more(db: None, settings: LazySettings) -> None:
    settings.SECOND_FACTOR_REQUIRED = True
    ada = StaffFactory(staff_role=Role.SYSTEM_ADMINISTRATOR)
    client = sign_in(ada)
    assert client.get(reverse("audit_log")).url == reverse("mfa_activate_totp") + "?first"
    device = Device()
    add(client, device)
    assert client.get(reverse("audit_log")).status_code == 200
    assert show(device).get(reverse("audit_log")).status_code == 200
    client.post(reverse("mfa_remove_webauthn", args=[_only(ada).pk]))
    assert client.get(reverse("audit_log")).url == reverse("mfa_activate_totp") + "?first"


def test_a_district_that_asks_for_one_sees_who_has_it(dana: User) -> None:
    client = show(with_passkey(dana))
    slug = dana.memberships.get().district.slug
    shown = client.get(reverse("district_sign_in", args=[slug])).context["people"]
    assert [one.has_second_factor for one in shown] == [True]


def test_a_passkey_proves_once_more_who_somebody_is(dana: User, settings: LazySettings) -> None:
    device = with_passkey(dana)
    client = type_code(sign_in(dana), recovery_code_of(dana))
    session = client.session
    session["account_authentication_methods"] = []
    session.save()
    place = reverse("district_sign_in", args=[dana.memberships.get().district.slug])
    asked = client.post(place, {"asks": "yes"})
    assert "Use a passkey instead" in client.get(asked.url).content.decode()
    options = client.get(reverse(AGAIN), {"next": place}).context["js_data"]["request_options"]
    done = client.post(reverse(AGAIN), {"credential": device.show(_plain(options)), "next": place})
    assert (done.status_code, done.url) == (302, place)
    assert dana.memberships.get().district.asks_second_factor


def _only(person: User) -> Authenticator:
    return Authenticator.objects.get(user=person, type="webauthn")
