"""The first people and the first uploads."""

import json
import stat

import pytest
from django.conf import LazySettings, settings
from django.test import Client
from django.urls import reverse

from accounts.core.roles import Role
from accounts.models import District, User
from ingest import looking, turns
from ingest.models import Epoch
from portal import demo
from tests.factories import HostFactory, PersonFactory


@pytest.fixture(autouse=True)
def _fresh(db: None) -> None:
    settings.DATA_DIR.mkdir(parents=True)
    settings.SFTP_ROOT.mkdir()
    HostFactory()


def _start() -> tuple[demo.Person, ...]:
    people = demo.first_people()
    demo.people_make(people)
    return people


def test_the_first_people_can_sign_in_with_passwords_made_at_random() -> None:
    people = _start()
    assert len({person.password for person in people}) == len(people) == len(demo.CAST)
    for person in people:
        client = Client()
        client.post(reverse("account_login"), {"login": person.email, "password": person.password})
        assert "_auth_user_id" in client.session
    assert District.objects.count() == len(demo.DISTRICTS)


def test_the_passwords_are_kept_for_their_owner_only_and_stay_the_same() -> None:
    people = _start()
    assert stat.S_IMODE(demo.people_file().stat().st_mode) == 0o600
    assert json.loads(demo.people_file().read_text())[0]["password"] == people[0].password
    assert demo.first_people() == people
    assert not demo.people_make(people)
    assert User.objects.count() == len(people)


def test_without_the_demonstration_there_is_one_system_administrator(settings: LazySettings) -> None:
    settings.DEMO = False
    (person,) = _start()
    assert User.objects.get().staff_role == Role.SYSTEM_ADMINISTRATOR
    assert person.password not in str(list(User.objects.values()))
    assert not District.objects.exists()


def test_a_portal_that_has_people_gets_no_more() -> None:
    PersonFactory()
    assert _start() == ()
    assert not demo.people_file().exists()


def test_the_first_uploads_show_one_night_that_loads_and_one_that_waits_for_staff() -> None:
    _start()
    demo.epochs_put()
    looking.look_everywhere()
    Epoch.objects.update(hurry=True)
    looking.look_everywhere()
    while turns.turns_do():
        pass
    assert sorted(Epoch.objects.values_list("state", flat=True)) == ["loaded", "waiting_staff"]
