"""The home page of a district: is everything all right, what became of the last nights, and what is left to set up."""

import re
from dataclasses import replace
from datetime import time, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import District
from hosts.models import SignIn
from ingest.allowances import now_in
from ingest.models import Epoch, ExpectedArrival, MissingNight
from keys.core.life import SOON
from keys.models import AccountKey, KeyFile
from keys.selectors import standing_of
from portal.core.onboarding import SETTLED, Facts, Turn, is_settled, steps_of
from tests.factories import EpochFactory, FileFactory, MembershipFactory

from .scene import row_add

NOTHING = Facts(has_keys=False, is_on_host=False, has_signed_in=False, has_uploaded=False, is_with_us=False, nights=0)
WAY = ("generate", "install", "connect", "test", "loaded", "nightly")


@pytest.mark.parametrize(
    ("facts", "first", "turn"),
    [
        ({}, "generate", Turn.NOW),
        ({"has_keys": True}, "install", Turn.OURS),
        ({"has_keys": True, "is_on_host": True}, "connect", Turn.NOW),
        ({"has_keys": True, "is_on_host": True, "has_signed_in": True}, "test", Turn.NOW),
        (
            {"has_keys": True, "is_on_host": True, "has_signed_in": True, "has_uploaded": True, "is_with_us": True},
            "loaded",
            Turn.OURS,
        ),
        ({"has_keys": True, "is_on_host": True, "has_signed_in": True, "has_uploaded": True}, "loaded", Turn.NOW),
        (
            {"has_keys": True, "is_on_host": True, "has_signed_in": True, "has_uploaded": True, "nights": 1},
            "nightly",
            Turn.NOW,
        ),
    ],
)
def test_one_step_at_a_time_is_somebodys_turn(facts, first, turn):
    steps = steps_of(replace(NOTHING, **facts))
    assert tuple(step.name for step in steps) == WAY
    place = WAY.index(first)
    assert [step.turn for step in steps] == [Turn.DONE] * place + [turn] + [Turn.LATER] * (len(WAY) - place - 1)
    assert not is_settled(steps)


def test_what_is_settled_has_no_step_left():
    done = Facts(
        has_keys=True, is_on_host=True, has_signed_in=True, has_uploaded=True, is_with_us=False, nights=SETTLED
    )
    assert is_settled(steps_of(done))


# --- The page ------------------------------------------------------------------------------------------------------


@pytest.fixture
def district(db) -> District:
    return MembershipFactory(user__email="dana@smithville.example").district


def _shown(district: District) -> str:
    client = Client()
    client.force_login(district.memberships.get().user)
    html = client.get(reverse("district_home", args=[district.slug])).content.decode()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html[html.index("<main") :]))


def _connected(district: District) -> AccountKey:
    account = district.sftp_account
    key = row_add(account, "ed25519")
    KeyFile.objects.filter(account=account).update(state="on_host", on_host_since=timezone.now())
    SignIn.objects.create(host=account.host, at=timezone.now(), accepted=True, username=account.username)
    return key


def _loaded(district: District, back: int) -> None:
    when = timezone.now() - timedelta(days=back, minutes=1)
    made = EpochFactory(district=district, state="loaded", first_seen=when, queued=when, finished=when)
    FileFactory(epoch=made, rows=1234)


def test_a_first_visit_shows_the_way_and_no_nights(district):
    shown = _shown(district)
    assert "Set up your SFTP account: step 1 of 3." in shown
    assert "1. Generate a key pair Your turn" in shown
    assert "6. Let it run every night Later" in shown
    assert "The last 60 nights" not in shown


def test_the_way_is_gone_when_nights_load_by_themselves(district):
    _connected(district)
    for back in range(SETTLED - 1):
        _loaded(district, back)
    assert f"Loaded on {SETTLED - 1} of {SETTLED} days so far." in _shown(district)
    _loaded(district, SETTLED)
    shown = _shown(district)
    assert "step by step" not in shown
    assert "Everything is working." in shown
    assert "the highest is 1,234" in shown


def test_a_suspended_district_is_led_nowhere(district):
    District.objects.filter(pk=district.pk).update(state="suspended")
    assert "step by step" not in _shown(district)


def test_a_night_that_did_not_come_is_said_first(district):
    _connected(district)
    _loaded(district, 2)
    ExpectedArrival.objects.create(district=district, by=time(3))
    day = now_in(district).date()
    MissingNight.objects.create(district=district, day=day, audience="district", message="x")
    shown = _shown(district)
    assert f"Your files did not arrive in the night to {day:%A}, {day.day} {day:%B}." in shown
    assert "Missing: 1 night" in shown
    _loaded(district, 0)
    assert "did not arrive" not in _shown(district)


@pytest.mark.parametrize("state", ["waiting_staff", "stuck"])
def test_a_night_that_staff_have_to_look_at_is_not_called_well(district, state):
    _connected(district)
    _loaded(district, 1)
    newest = EpochFactory(district=district, state=state, look_code="not-recognised")
    shown = _shown(district)
    assert "Your newest files are not loaded: our staff have to look at them." in shown
    assert "staff were told. You need do nothing." in shown
    Epoch.objects.filter(pk=newest.pk).update(look_code="stranger")
    assert "Everything is working." in _shown(district)
    Epoch.objects.filter(pk=newest.pk).update(look_code="not-recognised")
    _loaded(district, 0)
    Epoch.objects.exclude(pk=newest.pk).update(first_seen=timezone.now())
    assert "Everything is working." in _shown(district)


def test_a_key_that_ends_soon_is_said_before_it_does(district):
    key = _connected(district)
    _loaded(district, 0)
    today = now_in(district).date()
    AccountKey.objects.filter(pk=key.pk).update(expires_on=today + SOON + timedelta(days=1))
    assert "Everything is working." in _shown(district)
    AccountKey.objects.filter(pk=key.pk).update(expires_on=today + SOON)
    shown = _shown(district)
    assert "soon nobody can send more" in shown
    assert "Expires soon" in shown
    AccountKey.objects.filter(pk=key.pk).update(expires_on=today - timedelta(days=1))
    assert "No key works any more" in _shown(district)


def test_a_key_that_will_be_disabled_ends_the_day_before(district):
    key = _connected(district)
    today = now_in(district).date()
    AccountKey.objects.filter(pk=key.pk).update(disable_on=today + timedelta(days=3))
    standing = standing_of(district.sftp_account, today)
    assert (standing.usable, standing.ending, standing.first_end) == (1, 1, today + timedelta(days=2))
