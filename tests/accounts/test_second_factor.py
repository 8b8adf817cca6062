"""The second factor: set up, asked for, compulsory where it is, and lost."""

import re
import time
from contextlib import AbstractContextManager
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.conf import LazySettings
from django.core.cache import cache
from django.test import Client, TestCase
from django.urls import reverse
from django.utils import timezone

from accounts.core.roles import Role
from accounts.core.slowing import FREE_TRIES
from accounts.models import AuditEntry, OutboxMessage, SecondFactorReset, UsedCode, User
from tests.factories import PASSWORD, MembershipFactory, PersonFactory, StaffFactory

SECRET = "mfa.totp.secret"


@pytest.fixture
def dana(db: None) -> User:
    return MembershipFactory(user__email="dana@smithville.example").user


@pytest.fixture
def ada(db: None, settings: LazySettings) -> User:
    """A system administrator where staff must have a second factor."""
    settings.SECOND_FACTOR_REQUIRED = True
    return StaffFactory(email="ada@vendor.example", staff_role=Role.SYSTEM_ADMINISTRATOR)


def code_of(secret: str, steps: int = 0) -> str:
    """What an app shows now, or so many half minutes later."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps))


def sign_in(person: User, **headers: str) -> Client:
    client = Client(**headers)
    client.answer = client.post(reverse("account_login"), {"login": person.email, "password": PASSWORD})
    return client


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def told_on_commit() -> AbstractContextManager[object]:
    """Allauth tells of changes when they are committed, which no test's transaction ever is."""
    return TestCase.captureOnCommitCallbacks(execute=True)


def set_up(client: Client) -> str:
    """Sets a second factor up as a person does; the secret that their app keeps."""
    assert client.get(reverse("mfa_activate_totp")).status_code == 200
    secret = client.session[SECRET]
    with told_on_commit():
        answer = client.post(reverse("mfa_activate_totp"), {"code": code_of(secret)})
    assert answer.url == reverse("mfa_view_recovery_codes"), answer
    half_minute_later()
    return secret


def half_minute_later() -> None:
    """Codes that were used are good again: half minutes do not go by in a test."""
    cache.clear()
    UsedCode.objects.all().delete()


def type_code(client: Client, code: str) -> Client:
    client.answer = client.post(reverse("mfa_authenticate"), {"code": code})
    return client


def recovery_codes(client: Client) -> list[str]:
    return re.findall(r">(\d{8})<", client.get(reverse("mfa_view_recovery_codes")).content.decode())


# --- Set up and asked for ----------------------------------------------------------------------------------------


def test_somebody_sets_it_up_and_is_asked_for_a_code_from_then_on(dana: User) -> None:
    secret = set_up(sign_in(dana))
    client = sign_in(dana)
    assert (client.answer.url, is_in(client)) == (reverse("mfa_authenticate"), False)
    assert client.get(reverse("mfa_authenticate")).status_code == 200
    assert is_in(type_code(client, code_of(secret)))


def test_a_wrong_first_code_sets_nothing_up(dana: User) -> None:
    client = sign_in(dana)
    client.get(reverse("mfa_activate_totp"))
    wrong = f"{(int(code_of(client.session[SECRET])) + 500_000) % 1_000_000:06}"
    assert client.post(reverse("mfa_activate_totp"), {"code": wrong}).status_code == 200
    assert not Authenticator.objects.exists()


def test_a_password_alone_opens_no_page_any_more(dana: User) -> None:
    set_up(sign_in(dana))
    client = sign_in(dana)
    slug = dana.memberships.get().district.slug
    for place in (reverse("home"), reverse("district_home", args=[slug]), reverse("mfa_index"), reverse("sessions")):
        assert client.get(place).url.startswith(reverse("account_login"))


@pytest.mark.parametrize("steps", [-1, 0, 1])
def test_a_telephone_whose_clock_is_a_little_off_is_believed(dana: User, steps: int) -> None:
    secret = set_up(sign_in(dana))
    assert is_in(type_code(sign_in(dana), code_of(secret, steps)))


@pytest.mark.parametrize("steps", [-3, 3])
def test_an_old_code_is_not(dana: User, steps: int) -> None:
    secret = set_up(sign_in(dana))
    assert not is_in(type_code(sign_in(dana), code_of(secret, steps)))


@pytest.mark.parametrize("again", ["{}", " {} "])
def test_no_code_is_taken_twice(dana: User, again: str) -> None:
    secret = set_up(sign_in(dana))
    code = code_of(secret)
    assert is_in(type_code(sign_in(dana), code))
    assert not is_in(type_code(sign_in(dana), again.format(code)))


def test_nor_by_another_process_which_shares_no_memory(dana: User) -> None:
    secret = set_up(sign_in(dana))
    code = code_of(secret)
    assert is_in(type_code(sign_in(dana), code))
    cache.clear()
    assert not is_in(type_code(sign_in(dana), code))
    cache.clear()
    UsedCode.objects.update(at=timezone.now() - timedelta(minutes=2))
    assert is_in(type_code(sign_in(dana), code))


def test_nor_is_the_one_it_was_set_up_with(dana: User) -> None:
    client = sign_in(dana)
    client.get(reverse("mfa_activate_totp"))
    code = code_of(client.session[SECRET])
    assert client.post(reverse("mfa_activate_totp"), {"code": code}).status_code == 302
    cache.clear()
    assert not is_in(type_code(sign_in(dana), code))


def test_a_recovery_code_opens_once_and_stands_in_the_audit_log(dana: User) -> None:
    client = sign_in(dana)
    set_up(client)
    code = recovery_codes(client)[3]
    assert is_in(type_code(sign_in(dana), code))
    assert not is_in(type_code(sign_in(dana), code))
    assert AuditEntry.objects.get(action="recovery code used").actor == dana.email


def test_new_recovery_codes_end_the_old_ones(dana: User) -> None:
    client = sign_in(dana)
    set_up(client)
    old = recovery_codes(client)
    client.post(reverse("mfa_generate_recovery_codes"))
    new = recovery_codes(client)
    assert len({*old, *new}) == 20
    assert (is_in(type_code(sign_in(dana), old[0])), is_in(type_code(sign_in(dana), new[0]))) == (False, True)


def test_there_are_no_recovery_codes_before_a_second_factor(dana: User) -> None:
    client = sign_in(dana)
    client.post(reverse("mfa_generate_recovery_codes"))
    assert client.get(reverse("mfa_view_recovery_codes")).status_code == 404
    assert not Authenticator.objects.exists()


def test_wrong_codes_are_slowed_down_from_where_they_come(dana: User) -> None:
    secret = set_up(sign_in(dana))
    client = sign_in(dana)
    for _ in range(FREE_TRIES):
        type_code(client, "x")
    assert "Wait a minute" in type_code(client, code_of(secret)).answer.content.decode()
    assert is_in(type_code(sign_in(dana, REMOTE_ADDR="203.0.113.9"), code_of(secret)))


def test_a_new_password_by_mail_still_asks_for_the_code(dana: User) -> None:
    set_up(sign_in(dana))
    client, new = Client(), "quite-another-set-of-words"
    client.post(reverse("account_reset_password"), {"email": dana.email})
    text = OutboxMessage.objects.get(kind="password_reset_key").text
    link = next(word for word in text.split() if "/password/reset/key/" in word)
    form = client.get("/" + link.split("/", 3)[3], follow=True)
    client.post(form.redirect_chain[-1][0], {"password1": new, "password2": new})
    assert not is_in(client)
    client.post(reverse("account_login"), {"login": dana.email, "password": new})
    assert not is_in(client)


def test_what_proves_somebody_is_sealed_in_the_database(dana: User) -> None:
    client = sign_in(dana)
    secret = set_up(client)
    codes = recovery_codes(client)
    kept = str(list(Authenticator.objects.values()))
    assert secret not in kept
    assert not any(code in kept for code in codes)


def test_whoever_is_signed_in_elsewhere_by_the_password_alone_is_signed_out(dana: User) -> None:
    elsewhere, here = sign_in(dana), sign_in(dana)
    set_up(here)
    assert (is_in(here), elsewhere.get(reverse("sessions")).status_code) == (True, 302)


def test_it_is_told_by_mail_and_stands_in_the_audit_log(dana: User) -> None:
    client = sign_in(dana)
    set_up(client)
    with told_on_commit():
        client.post(reverse("mfa_generate_recovery_codes"))
    client.post(reverse("mfa_deactivate_totp"))
    actions = ["second factor set up", "recovery codes made anew", "second factor given up"]
    entries = AuditEntry.objects.filter(action__in=actions).order_by("number")
    assert [(entry.action, entry.actor) for entry in entries] == [(action, dana.email) for action in actions]
    kinds = set(OutboxMessage.objects.filter(to=dana.email).values_list("kind", flat=True))
    assert {"totp_activated", "recovery_codes_generated", "totp_deactivated"} <= kinds


def test_an_address_can_still_be_changed(dana: User) -> None:
    client = sign_in(dana)
    set_up(client)
    client.post(reverse("account_email"), {"email": "new@smithville.example", "action_add": ""})
    assert OutboxMessage.objects.filter(to="new@smithville.example").exists()


def test_and_who_waits_for_that_mail_can_set_it_up(dana: User) -> None:
    client = sign_in(dana)
    client.post(reverse("account_email"), {"email": "new@smithville.example", "action_add": ""})
    set_up(client)


def test_a_sign_in_that_is_not_fresh_neither_sets_it_up_nor_shows_codes(dana: User, settings: LazySettings) -> None:
    client = sign_in(dana)
    set_up(client)
    settings.FRESH_SIGN_IN_SECONDS = 0
    for name in ("mfa_view_recovery_codes", "mfa_download_recovery_codes", "mfa_deactivate_totp"):
        assert client.get(reverse(name)).url.startswith(reverse("account_reauthenticate"))
    client.post(reverse("mfa_deactivate_totp"))
    assert Authenticator.objects.filter(type="totp").exists()


# --- Compulsory --------------------------------------------------------------------------------------------------

PLACES = ("home", "audit_log", "districts", "outbox", "staff_keys", "propagation", "ingest_history")


@pytest.mark.parametrize("name", PLACES)
def test_no_page_of_staff_opens_before_they_have_it(ada: User, name: str) -> None:
    client = sign_in(ada)
    answer = client.get(reverse(name))
    assert answer.url == reverse("mfa_activate_totp") + "?first"
    shown = client.get(answer.url)
    assert shown.status_code == 200
    assert "This comes first" in shown.content.decode()


def test_nor_is_anything_written(ada: User) -> None:
    told = {"name": "Oak", "domain": "oak.k12.oh.us", "time_zone": "UTC"}
    assert sign_in(ada).post(reverse("district_open"), told).url == reverse("mfa_activate_totp") + "?first"
    assert not AuditEntry.objects.filter(action="district opened").exists()


def test_with_it_all_pages_open(ada: User) -> None:
    client = sign_in(ada)
    set_up(client)
    assert [client.get(reverse(name)).status_code for name in PLACES[1:]] == [200] * (len(PLACES) - 1)


def test_whoever_takes_it_off_is_led_back(ada: User) -> None:
    client = sign_in(ada)
    set_up(client)
    assert client.get(reverse("audit_log")).status_code == 200
    client.post(reverse("mfa_deactivate_totp"))
    assert client.get(reverse("audit_log")).url == reverse("mfa_activate_totp") + "?first"


@pytest.mark.parametrize("name", ["account_logout", "account_change_password", "sessions", "healthz"])
def test_what_is_needed_without_it_stays_open(ada: User, name: str) -> None:
    assert sign_in(ada).get(reverse(name)).status_code == 200


@pytest.mark.parametrize("role", [Role.SUPPORT, Role.OPS, Role.SYSTEM_ADMINISTRATOR])
@pytest.mark.parametrize("is_required", [True, False])
def test_it_is_asked_of_every_role_of_staff_where_it_is_required(
    db: None, settings: LazySettings, role: Role, is_required: bool
) -> None:
    settings.SECOND_FACTOR_REQUIRED = is_required
    answer = sign_in(StaffFactory(staff_role=role)).get(reverse("ingest_history"))
    assert answer.status_code == (302 if is_required else 200)


def test_somebody_who_becomes_staff_is_asked_at_once(dana: User, settings: LazySettings) -> None:
    settings.SECOND_FACTOR_REQUIRED = True
    client = sign_in(dana)
    assert client.get(reverse("home"), follow=True).status_code == 200
    User.objects.filter(pk=dana.pk).update(staff_role=Role.SUPPORT)
    assert client.get(reverse("home")).url == reverse("mfa_activate_totp") + "?first"


# --- A district's choice -----------------------------------------------------------------------------------------


def _choose(client: Client, person: User, asks: str) -> int:
    slug = person.memberships.get().district.slug
    return client.post(reverse("district_sign_in", args=[slug]), {"asks": asks}).status_code


def test_a_district_asks_all_its_people_or_leaves_it_to_them(dana: User) -> None:
    district = dana.memberships.get().district
    vic, stranger = MembershipFactory(district=district, role=Role.DISTRICT_VIEWER).user, MembershipFactory().user
    home = reverse("district_home", args=[district.slug])
    client, viewer = sign_in(dana), sign_in(vic)
    assert _choose(client, dana, "yes") == 302
    needed = reverse("mfa_activate_totp") + "?first"
    assert [browser.get(home).headers.get("Location") for browser in (client, viewer)] == [needed, needed]
    assert sign_in(stranger).get(reverse("home"), follow=True).status_code == 200
    set_up(viewer)
    assert viewer.get(home).status_code == 200
    set_up(client)
    shown = client.get(reverse("district_sign_in", args=[district.slug])).context["people"]
    assert [one.has_second_factor for one in shown] == [True, True]
    assert _choose(client, dana, "no") == 302
    actions = ["second factor made compulsory", "second factor left to each person"]
    entries = AuditEntry.objects.filter(action__in=actions).order_by("number")
    assert [(entry.action, entry.actor, entry.district) for entry in entries] == [
        (action, dana.email, district.slug) for action in actions
    ]


def test_the_same_choice_again_writes_nothing(dana: User) -> None:
    _choose(sign_in(dana), dana, "no")
    assert not AuditEntry.objects.filter(action__startswith="second factor").exists()


def test_the_choice_wants_a_fresh_sign_in(dana: User, settings: LazySettings) -> None:
    client = sign_in(dana)
    settings.FRESH_SIGN_IN_SECONDS = 0
    assert _choose(client, dana, "yes") == 302
    assert not dana.memberships.get().district.asks_second_factor


# --- Lost --------------------------------------------------------------------------------------------------------


@pytest.fixture
def lost(dana: User) -> User:
    """Dana, whose telephone is gone with her codes."""
    set_up(sign_in(dana))
    return dana


def _staff(role: Role = Role.OPS) -> tuple[User, Client]:
    person = StaffFactory(staff_role=role)
    return person, sign_in(person)


def _ask(client: Client, email: str) -> int:
    return client.post(reverse("second_factors"), {"email": email, "reason": "Called back."}).status_code


def _decide(client: Client, decision: str = "allow") -> None:
    reset = SecondFactorReset.objects.get()
    assert client.post(reverse("second_factor_decide", args=[reset.pk]), {"decision": decision}).status_code == 302


def _has(person: User) -> bool:
    return Authenticator.objects.filter(user=person).exists()


def test_two_of_staff_take_a_lost_one_off_and_a_new_one_is_set_up(lost: User) -> None:
    (asker, asking), (decider, deciding) = _staff(Role.SUPPORT), _staff()
    assert _ask(asking, lost.email) == 302
    assert _has(lost)
    _decide(deciding)
    assert not _has(lost)
    client = sign_in(lost)
    assert is_in(client)
    set_up(client)
    told = AuditEntry.objects.get(action="second factor reset done")
    assert (told.actor, told.subject, told.details["asked by"]) == (decider.email, lost.email, asker.email)
    assert AuditEntry.objects.get(action="second factor reset asked").actor == asker.email
    kinds = OutboxMessage.objects.filter(to=lost.email).values_list("kind", flat=True)
    assert {"second-factor-asked", "second-factor-off"} <= set(kinds)


def test_one_alone_takes_nothing_off(lost: User) -> None:
    _, client = _staff(Role.SYSTEM_ADMINISTRATOR)
    _ask(client, lost.email)
    _decide(client)
    assert _has(lost)
    assert SecondFactorReset.objects.get().state == "waiting"


def test_nor_does_whose_it_is(db: None) -> None:
    ops, client = _staff()
    set_up(client)
    _ask(client, ops.email)
    assert not SecondFactorReset.objects.exists()
    _ask(_staff(Role.SUPPORT)[1], ops.email)
    _decide(client)
    assert _has(ops)


def test_support_asks_and_does_not_decide(lost: User) -> None:
    _ask(_staff(Role.SUPPORT)[1], lost.email)
    place = reverse("second_factor_decide", args=[SecondFactorReset.objects.get().pk])
    assert _staff(Role.SUPPORT)[1].post(place, {"decision": "allow"}).status_code == 403
    assert _has(lost)


def test_what_was_declined_stays_on_and_is_not_decided_again(lost: User) -> None:
    _ask(_staff(Role.SUPPORT)[1], lost.email)
    _decide(_staff()[1], "decline")
    _decide(_staff()[1])
    assert _has(lost)
    assert AuditEntry.objects.filter(action="second factor reset declined").count() == 1


def test_after_a_day_it_must_be_asked_anew(lost: User) -> None:
    _ask(_staff(Role.SUPPORT)[1], lost.email)
    SecondFactorReset.objects.update(ends=timezone.now() - timedelta(seconds=1))
    _, client = _staff()
    _decide(client)
    assert _has(lost)
    assert "Ran out" in client.get(reverse("second_factors")).content.decode()
    assert _ask(client, lost.email) == 302


def test_whoever_was_signed_in_with_it_is_signed_out(lost: User) -> None:
    client = sign_in(lost)
    type_code(client, recovery_code_of(lost))
    assert client.get(reverse("sessions")).status_code == 200
    _ask(_staff(Role.SUPPORT)[1], lost.email)
    _decide(_staff()[1])
    assert client.get(reverse("sessions")).status_code == 302


def recovery_code_of(person: User) -> str:
    return Authenticator.objects.get(user=person, type="recovery_codes").wrap().get_unused_codes()[0]


@pytest.mark.parametrize("email", ["nobody@x.example", "without@x.example"])
def test_who_is_unknown_or_has_none_is_told_so(lost: User, email: str) -> None:
    PersonFactory(email="without@x.example")
    assert _ask(_staff()[1], email) == 422


def test_it_is_asked_once(lost: User) -> None:
    assert [_ask(_staff()[1], lost.email) for _ in range(2)] == [302, 422]


def test_asking_and_deciding_want_a_fresh_sign_in(lost: User, settings: LazySettings) -> None:
    (_, asking), (_, deciding) = _staff(), _staff()
    _ask(asking, lost.email)
    settings.FRESH_SIGN_IN_SECONDS = 0
    _decide(deciding)
    assert _has(lost)
    SecondFactorReset.objects.all().delete()
    _ask(asking, lost.email)
    assert not SecondFactorReset.objects.exists()
