"""Other roles, leaving a district, and the end of an account; no district is left without an administrator."""

import pytest
from django.test import Client
from django.urls import reverse

from accounts import services
from accounts.core.roles import Role
from accounts.models import AuditEntry, District, Membership, OutboxMessage, User
from tests.factories import PASSWORD, DistrictFactory, MembershipFactory, StaffFactory
from tests.rows import everything
from tests.signing_in import fresh

ENDS, LEAVES = "ends", "leaves"


@pytest.fixture
def district(db: None) -> District:
    return DistrictFactory()


@pytest.fixture
def dana(district: District) -> User:
    """Its one administrator."""
    return MembershipFactory(district=district, user__email="dana@smithville.example").user


@pytest.fixture
def vic(district: District) -> User:
    return MembershipFactory(district=district, role=Role.DISTRICT_VIEWER, user__email="vic@smithville.example").user


@pytest.fixture
def system(db: None) -> Client:
    return browser_of(StaffFactory(staff_role=Role.SYSTEM_ADMINISTRATOR))


def browser_of(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return fresh(client)


def change(client: Client, person: User, becomes: str, reason: str = "They asked.") -> int:
    one = person.memberships.get()
    place = reverse("person_change", args=[one.district.slug, one.pk])
    return client.post(place, {"becomes": becomes, "reason": reason}).status_code


def leave(person: User, district: District) -> int:
    return browser_of(person).post(reverse("district_leave", args=[district.slug])).status_code


def role_of(person: User) -> str:
    return person.memberships.get().role


def can_sign_in(person: User) -> bool:
    client = Client()
    client.post(reverse("account_login"), {"login": person.email, "password": PASSWORD})
    return "_auth_user_id" in client.session


# --- Roles and leaving -------------------------------------------------------------------------------------------


def test_staff_give_another_role_with_a_reason(system: Client, dana: User, vic: User) -> None:
    assert change(system, vic, Role.DISTRICT_ADMINISTRATOR) == 302
    assert change(system, dana, Role.DISTRICT_VIEWER) == 302
    assert (role_of(vic), role_of(dana)) == (Role.DISTRICT_ADMINISTRATOR, Role.DISTRICT_VIEWER)
    entry = AuditEntry.objects.filter(action="role given").latest("number")
    assert (entry.subject, entry.details) == (dana.email, {"role": "district viewer", "reason": "They asked."})


def test_without_a_reason_nothing_changes(system: Client, dana: User, vic: User) -> None:
    assert change(system, vic, LEAVES, "") == 422
    assert role_of(vic) == Role.DISTRICT_VIEWER


def test_somebody_leaves_by_themselves_and_sees_nothing_of_it_any_more(
    district: District, dana: User, vic: User
) -> None:
    client = browser_of(vic)
    assert client.get(reverse("district_leave", args=[district.slug])).status_code == 200
    assert client.post(reverse("district_leave", args=[district.slug])).status_code == 302
    assert client.get(reverse("district_home", args=[district.slug])).status_code == 404
    entry = AuditEntry.objects.get(action="left district")
    assert (entry.actor, entry.subject, entry.district) == (vic.email, vic.email, district.slug)


@pytest.mark.parametrize("becomes", [Role.DISTRICT_VIEWER, LEAVES, ENDS])
def test_the_last_administrator_stays(system: Client, district: District, dana: User, vic: User, becomes: str) -> None:
    before = everything()
    assert change(system, dana, becomes) == 422
    assert leave(dana, district) == 422
    assert everything() == before


def test_an_administrator_whose_account_has_ended_is_none(system: Client, district: District, dana: User) -> None:
    other = MembershipFactory(district=district).user
    User.objects.filter(pk=other.pk).update(is_active=False)
    assert leave(dana, district) == 422
    User.objects.filter(pk=other.pk).update(is_active=True)
    assert leave(dana, district) == 302


def test_the_last_administrator_of_one_of_several_districts_keeps_the_account(
    system: Client, district: District, dana: User
) -> None:
    MembershipFactory(district=district)
    elsewhere = MembershipFactory(user=dana)
    with pytest.raises(services.Refused, match=elsewhere.district.name):
        services.account_end(dana, reason="x", actor=dana)
    assert User.objects.get(pk=dana.pk).is_active
    assert dana.memberships.count() == 2


def test_the_last_system_administrator_keeps_the_account(db: None) -> None:
    ada, eve = (StaffFactory(staff_role=Role.SYSTEM_ADMINISTRATOR) for _ in range(2))
    services.account_end(ada, reason="x", actor=eve)
    with pytest.raises(services.Refused):
        services.account_end(eve, reason="x", actor=eve)
    assert User.objects.get(pk=eve.pk).is_active


@pytest.mark.parametrize("becomes", [LEAVES, ENDS])
def test_an_open_invitation_does_not_bring_somebody_back(
    system: Client, district: District, dana: User, vic: User, becomes: str
) -> None:
    services.invitation_send(district, vic.email, "Vic", Role.DISTRICT_ADMINISTRATOR, actor=dana)
    text = OutboxMessage.objects.get(kind="invitation").text
    place = next(word for word in text.split() if "/invitations/" in word).partition("8000")[2]
    assert change(system, vic, becomes) == 302
    User.objects.filter(pk=vic.pk).update(is_active=True)  # even if the account came back
    assert browser_of(vic).get(place).status_code == 410


# --- The end of an account ---------------------------------------------------------------------------------------


@pytest.fixture
def ended(system: Client, dana: User, vic: User) -> User:
    assert can_sign_in(vic)
    assert change(system, vic, ENDS) == 302
    vic.refresh_from_db()
    return vic


def test_an_account_that_has_ended_signs_in_nowhere_and_is_in_no_district(ended: User) -> None:
    assert (ended.is_active, can_sign_in(ended), ended.memberships.count()) == (False, False, 0)
    assert AuditEntry.objects.get(action="account ended").subject == ended.email


def test_whoever_is_signed_in_with_it_is_signed_out(system: Client, dana: User, vic: User) -> None:
    client = Client()
    client.post(reverse("account_login"), {"login": vic.email, "password": PASSWORD})
    assert client.get(reverse("sessions")).status_code == 200
    change(system, vic, ENDS)
    assert client.get(reverse("sessions")).status_code == 302


def test_it_gets_no_letter_to_replace_its_password(ended: User) -> None:
    count = OutboxMessage.objects.count()
    Client().post(reverse("account_reset_password"), {"email": ended.email})
    assert OutboxMessage.objects.count() == count


def test_nor_does_one_that_came_before_open_it(system: Client, dana: User, vic: User) -> None:
    client = Client()
    client.post(reverse("account_reset_password"), {"email": vic.email})
    text = OutboxMessage.objects.get(kind="password_reset_key").text
    link = next(word for word in text.split() if "/password/reset/key/" in word)
    change(system, vic, ENDS)
    form = client.get("/" + link.split("/", 3)[3], follow=True)
    place = form.redirect_chain[-1][0] if form.redirect_chain else "/"
    before = User.objects.get(pk=vic.pk).password
    client.post(place, {"password1": "quite-another-set-of-words", "password2": "quite-another-set-of-words"})
    assert User.objects.get(pk=vic.pk).password == before
    assert not can_sign_in(User.objects.get(pk=vic.pk))


def test_it_can_not_be_invited_again(ended: User, district: District) -> None:
    with pytest.raises(services.Refused, match="has ended"):
        services.invitation_send(district, ended.email, "Vic", Role.DISTRICT_VIEWER, actor=None)


# --- The pages ---------------------------------------------------------------------------------------------------


def test_a_change_wants_a_fresh_sign_in_and_keeps_what_was_typed(system: Client, dana: User, vic: User) -> None:
    late, one = fresh(system, seconds_ago=301), vic.memberships.get()
    place = reverse("person_change", args=[one.district.slug, one.pk])
    asked = late.post(place, {"becomes": LEAVES, "reason": "They asked."})
    assert asked.url.startswith(reverse("account_reauthenticate"))
    shown = late.get(f"{place}?typed").context["form"]
    assert (shown["becomes"].value(), shown["reason"].value()) == (LEAVES, "They asked.")
    assert Membership.objects.filter(user=vic).exists()


def test_somebody_of_another_district_is_not_found_under_this_one(system: Client, district: District) -> None:
    theirs = MembershipFactory()
    assert system.get(reverse("person_change", args=[district.slug, theirs.pk])).status_code == 404
