"""What people do with their own account through the pages: a new password, a new address, and no way to sign up."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from accounts.adapter import Adapter
from accounts.models import OutboxMessage, User
from tests.factories import PASSWORD, MembershipFactory, PersonFactory
from tests.rows import everything

NEW = "quite-another-set-of-words"


@pytest.fixture
def dana(db: None) -> User:
    return MembershipFactory(user__email="dana@smithville.example").user


def _link(kind: str, to: str) -> str:
    """The path of the link in the newest letter of that kind."""
    text = OutboxMessage.objects.filter(kind=kind, to=to).latest("pk").text
    found = re.search(r"https?://[^/\s]+(/\S+)", text)
    assert found, text
    return found[1]


def _can_sign_in(email: str, password: str) -> bool:
    client = Client()
    client.post(reverse("account_login"), {"login": email, "password": password})
    return "_auth_user_id" in client.session


@pytest.mark.parametrize("method", ["get", "post"])
def test_nobody_signs_up(db: None, method: str) -> None:
    data = {"email": "new@x.example", "password1": NEW, "password2": NEW}
    answer = getattr(Client(), method)(reverse("account_signup"), data)
    assert b"invite" in answer.content
    assert not User.objects.exists()
    assert not OutboxMessage.objects.exists()


def test_a_forgotten_password_is_replaced_by_a_letter(dana: User) -> None:
    client = Client()
    assert client.post(reverse("account_reset_password"), {"email": dana.email}).status_code == 302
    form = client.get(_link("password_reset_key", dana.email), follow=True)
    assert form.status_code == 200
    done = client.post(form.redirect_chain[-1][0], {"password1": NEW, "password2": NEW}, follow=True)
    assert done.status_code == 200
    assert (_can_sign_in(dana.email, NEW), _can_sign_in(dana.email, PASSWORD)) == (True, False)


def test_the_letters_link_works_once(dana: User) -> None:
    client = Client()
    client.post(reverse("account_reset_password"), {"email": dana.email})
    link = _link("password_reset_key", dana.email)
    form = client.get(link, follow=True)
    client.post(form.redirect_chain[-1][0], {"password1": NEW, "password2": NEW})
    again = Client()
    form = again.get(link, follow=True)
    place = form.redirect_chain[-1][0] if form.redirect_chain else link
    again.post(place, {"password1": "yet-another-set-of-words", "password2": "yet-another-set-of-words"})
    assert _can_sign_in(dana.email, NEW)


@pytest.mark.parametrize("who", ["nobody@x.example", "ended@x.example"])
def test_a_reset_for_nobody_or_an_ended_account_writes_nothing_and_says_the_same(dana: User, who: str) -> None:
    ended = PersonFactory(email="ended@x.example")
    User.objects.filter(pk=ended.pk).update(is_active=False)
    before = everything()
    answer = Client().post(reverse("account_reset_password"), {"email": who})
    assert (answer.status_code, answer.url) == (302, reverse("account_reset_password_done"))
    assert everything() == before


def test_an_account_that_ends_while_its_letter_is_under_way_stays_ended(dana: User) -> None:
    client = Client()
    client.post(reverse("account_reset_password"), {"email": dana.email})
    User.objects.update(is_active=False)
    form = client.get(_link("password_reset_key", dana.email), follow=True)
    place = form.redirect_chain[-1][0] if form.redirect_chain else "/"
    before = everything()
    client.post(place, {"password1": NEW, "password2": NEW})
    assert everything() == before
    assert not _can_sign_in(dana.email, NEW)


def test_nor_does_it_if_it_ends_while_the_form_is_open(dana: User) -> None:
    client = Client()
    client.post(reverse("account_reset_password"), {"email": dana.email})
    form = client.get(_link("password_reset_key", dana.email), follow=True)
    User.objects.update(is_active=False)
    before = User.objects.get().password
    client.post(form.redirect_chain[-1][0], {"password1": NEW, "password2": NEW})
    assert User.objects.get().password == before


@pytest.mark.parametrize("weak", ["short", "q1w2e3r4t5y6", "dana@smithville.example"])
def test_a_weak_new_password_is_refused(dana: User, weak: str) -> None:
    client = Client()
    client.force_login(dana)
    data = {"oldpassword": PASSWORD, "password1": weak, "password2": weak}
    client.post(reverse("account_change_password"), data)
    assert _can_sign_in(dana.email, PASSWORD)


def test_a_password_is_changed_by_who_knows_it(dana: User) -> None:
    client = Client()
    client.force_login(dana)
    data = {"password1": NEW, "password2": NEW}
    client.post(reverse("account_change_password"), {"oldpassword": "wrong", **data})
    assert _can_sign_in(dana.email, PASSWORD)
    client.post(reverse("account_change_password"), {"oldpassword": PASSWORD, **data})
    assert _can_sign_in(dana.email, NEW)


def test_an_address_changes_when_the_letter_to_the_new_one_is_answered(dana: User) -> None:
    client = Client()
    client.post(reverse("account_login"), {"login": dana.email, "password": PASSWORD})
    client.post(reverse("account_email"), {"email": "new@smithville.example", "action_add": ""})
    dana.refresh_from_db()
    assert dana.email == "dana@smithville.example"
    link = _link("email_confirmation", "new@smithville.example")
    assert client.get(link).status_code == 200
    client.post(link)
    dana.refresh_from_db()
    assert dana.email == "new@smithville.example"
    assert (_can_sign_in("new@smithville.example", PASSWORD), _can_sign_in("dana@smithville.example", PASSWORD)) == (
        True,
        False,
    )


def test_an_address_that_somebody_has_is_not_taken_over(dana: User) -> None:
    PersonFactory(email="mo@maplegrove.example")
    client = Client()
    client.post(reverse("account_login"), {"login": dana.email, "password": PASSWORD})
    client.post(reverse("account_email"), {"email": "mo@maplegrove.example", "action_add": ""})
    for mail in OutboxMessage.objects.filter(kind="email_confirmation"):
        assert client.post(_link("email_confirmation", mail.to)).status_code < 500
    assert sorted(User.objects.values_list("email", flat=True)) == ["dana@smithville.example", "mo@maplegrove.example"]


def test_the_address_cannot_be_taken_away(dana: User) -> None:
    client = Client()
    client.post(reverse("account_login"), {"login": dana.email, "password": PASSWORD})
    client.post(reverse("account_email"), {"email": dana.email, "action_remove": ""})
    assert dana.emailaddress_set.count() == 1


def test_no_letter_says_a_password(dana: User) -> None:
    client = Client()
    client.force_login(dana)
    client.post(reverse("account_change_password"), {"oldpassword": PASSWORD, "password1": NEW, "password2": NEW})
    texts = " ".join(OutboxMessage.objects.values_list("text", flat=True))
    assert NEW not in texts
    assert PASSWORD not in texts


@pytest.mark.parametrize("is_named", [True, False])
def test_no_letter_of_any_kind_is_written_to_an_account_that_has_ended(dana: User, is_named: bool) -> None:
    User.objects.update(is_active=False)
    dana.refresh_from_db()
    context = {"user": dana} if is_named else {}
    Adapter().send_mail("account/email/password_changed", dana.email, {**context, "password_reset_url": "/"})
    assert not OutboxMessage.objects.exists()
