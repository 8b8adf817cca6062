"""How passwords are kept."""

import pytest
from django.conf import LazySettings
from django.contrib.auth.hashers import make_password
from django.test import Client
from django.urls import reverse

from accounts.models import User
from portal import settings as written
from tests.factories import StaffFactory

WORDS = "a long enough password"


@pytest.fixture(autouse=True)
def as_written(settings: LazySettings) -> None:
    """Other tests have a quick way, which is none for passwords of people."""
    settings.PASSWORD_HASHERS = written.PASSWORD_HASHERS


def test_passwords_are_kept_by_argon2() -> None:
    kept = make_password(WORDS)
    assert kept.startswith("argon2$argon2id$v=19$m=47104,t=2,p=1$")
    assert kept != make_password(WORDS)


def test_one_kept_in_the_way_before_works_and_is_made_anew(db: None) -> None:
    person = StaffFactory()
    for words, way in ((f"not {WORDS}", "pbkdf2_sha256"), (WORDS, "argon2")):
        User.objects.filter(pk=person.pk).update(password=make_password(WORDS, hasher="pbkdf2_sha256"))
        Client().post(reverse("account_login"), {"login": person.email, "password": words})
        person.refresh_from_db()
        assert person.password.startswith(f"{way}$")
