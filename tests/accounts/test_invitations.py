"""Invitations: the only way in, open once, for one person, for a week."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import services
from accounts.core.roles import Role
from accounts.models import AuditEntry, District, Invitation, Membership, OutboxMessage, User
from tests.factories import DistrictFactory, MembershipFactory, PersonFactory, StaffFactory
from tests.rows import everything


@pytest.fixture
def district(db: None) -> District:
    return DistrictFactory()


def _invite(district: District, email: str = "new@district.example") -> str:
    """Invites, and returns the address in the mail."""
    services.invitation_send(district, email, "New", Role.DISTRICT_VIEWER, actor=None)
    mail = OutboxMessage.objects.filter(kind="invitation", to=email).latest("pk")
    return next(word for word in mail.text.split() if "/invitations/" in word).partition("8000")[2]


def _welcome(place: str, client: Client | None = None) -> object:
    return (client or Client()).post(place, {"name": "New", "password": "some-odd-words-of-mine"})


def test_an_invited_person_is_in_at_once_and_only_once(district: District) -> None:
    place = _invite(district)
    client = Client()
    assert client.get(place).status_code == 200
    assert _welcome(place, client).url == reverse("district_home", args=[district.slug])
    assert client.get(reverse("district_home", args=[district.slug])).status_code == 200
    assert (Client().get(place).status_code, _welcome(place).status_code) == (410, 410)
    assert Membership.objects.get(district=district).role == Role.DISTRICT_VIEWER
    told = list(AuditEntry.objects.filter(district=district.slug).order_by("number").values_list("action", flat=True))
    assert told == ["district opened", "invitation sent", "role given", "invitation accepted"]


@pytest.mark.parametrize("password", ["short", "new@district.example", "q1w2e3r4t5y6"])
def test_a_weak_password_is_refused_and_the_invitation_stays_open(district: District, password: str) -> None:
    place = _invite(district)
    assert Client().post(place, {"name": "New", "password": password}).status_code == 422
    assert not User.objects.exists()
    assert Client().get(place).status_code == 200


def _expire(district: District) -> None:
    Invitation.objects.update(expires=timezone.now() - timedelta(seconds=1))


def _use(district: District) -> None:
    Invitation.objects.update(accepted=timezone.now())


def _close(district: District) -> None:
    services.district_state_set(district, District.State.CLOSED, reason="x", actor=None)


def _again(district: District) -> None:
    _invite(district)


def _end(district: District) -> None:
    PersonFactory(email="new@district.example")
    User.objects.update(is_active=False)


@pytest.mark.parametrize("change", [_expire, _use, _close, _again, _end])
def test_an_invitation_that_is_over_opens_nothing(district: District, change: object) -> None:
    place = _invite(district)
    change(district)
    before = everything()
    assert Client().get(place).status_code == 410
    assert _welcome(place).status_code == 410
    assert everything() == before


def test_a_suspended_district_still_takes_its_people_in(district: District) -> None:
    place = _invite(district)
    services.district_state_set(district, District.State.SUSPENDED, reason="x", actor=None)
    assert _welcome(place).status_code == 302


def test_a_known_person_must_sign_in_before_another_district_is_theirs(district: District) -> None:
    person = MembershipFactory(user__email="new@district.example").user
    place = _invite(district)
    assert Client().get(place).url.startswith(reverse("account_login"))
    assert _welcome(place).url.startswith(reverse("account_login"))
    client = Client()
    client.force_login(person)
    assert not Membership.objects.filter(user=person, district=district).exists()
    assert client.get(place).status_code == 200
    assert client.post(place).status_code == 302
    assert Membership.objects.filter(user=person).count() == 2


def test_an_invitation_of_somebody_else_is_shut_to_who_is_signed_in(district: District) -> None:
    PersonFactory(email="new@district.example")
    client = Client()
    client.force_login(PersonFactory())
    place = _invite(district)
    assert (client.get(place).status_code, client.post(place).status_code) == (403, 403)
    assert not Membership.objects.exists()


def test_staff_and_ended_people_are_not_invited(district: District) -> None:
    staff, ended = StaffFactory(), PersonFactory()
    User.objects.filter(pk=ended.pk).update(is_active=False)
    codes = []
    for person in (staff, ended):
        with pytest.raises(services.Refused) as refused:
            services.invitation_send(district, person.email, "X", Role.DISTRICT_VIEWER, actor=None)
        codes.append(refused.value.code)
    assert codes == ["is-staff", "account-ended"]
    assert not OutboxMessage.objects.exists()


def test_an_invitation_used_twice_at_once_counts_once(district: District) -> None:
    _invite(district)
    invitation = Invitation.objects.get()
    services.invitation_accept(invitation, name="New", password="some-odd-words-of-mine")
    with pytest.raises(services.Refused, match="used"):
        services.invitation_accept(invitation, name="New", password="some-odd-words-of-mine")
    assert User.objects.count() == 1


def test_the_token_is_in_the_mail_and_nowhere_else(district: District) -> None:
    token = _invite(district).strip("/").rpartition("/")[2]
    rows = everything()
    rows.pop("accounts.OutboxMessage")
    assert token not in str(rows)
