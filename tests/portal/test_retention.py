"""The page that says what is kept how long: every setting of that kind stands on it, with the value that counts."""

import re

import pytest
from django.conf import LazySettings
from django.urls import reverse

from portal import settings as shipped
from portal.retention import kept

from .addresses import address
from .scene import ADMINISTRATOR, SUPPORT, Scene

# Settings in days and hours that say when something is asked, judged or told, not how long anything is kept.
OTHERS = {"INGEST_ROTA_HOURS", "INGEST_STALLED_HOURS", "GUARD_AGE_DAYS", "GUARD_QUIET_DAYS"}


def test_every_setting_in_days_or_hours_stands_on_the_page_or_keeps_nothing() -> None:
    named = {name for name in vars(shipped) if re.fullmatch(r"[A-Z_]+_(DAYS|HOURS)", name)}
    assert {one.setting for one in kept() if one.setting} == named - OTHERS


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("PROCESSED_DAYS", "77 days"),
        ("INGEST_HISTORY_DAYS", "77 days"),
        ("TRIAL_RESULT_HOURS", "77 hours"),
        ("KEY_GRACE_DAYS", "77 days"),
        ("INVITATION_DAYS", "77 days"),
    ],
)
def test_a_setting_that_was_changed_is_what_the_page_says(settings: LazySettings, name: str, says: str) -> None:
    setattr(settings, name, 77)
    assert [one.how_long for one in kept() if one.setting == name] == [says]
    setattr(settings, name, 1)
    assert [one.how_long for one in kept() if one.setting == name] == [says.replace("77", "1").removesuffix("s")]


def test_a_district_reads_its_own_part_without_the_names_of_settings(scene: Scene) -> None:
    theirs = scene.client(ADMINISTRATOR).get(address("district_retention", scene.kwargs("district_retention")))
    html = theirs.content.decode()
    assert "Uploaded files" in html
    assert "PROCESSED_DAYS" not in html
    assert "Notes of staff" not in html
    all_of_it = scene.client(SUPPORT).get(reverse("retention")).content.decode()
    assert "PROCESSED_DAYS" in all_of_it
    assert "Notes of staff" in all_of_it
