"""The morning's board: what needs a person, oldest first, and nothing else."""

from datetime import date, datetime, timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import District
from ingest import board as boards
from ingest.board import Kind, board
from ingest.models import Epoch, GuardState, HoldNote, Judgement, MissingNight
from tests.factories import DistrictFactory, EpochFactory, StaffFactory

from .test_guarding import FEW, FULL
from .uploading import NEXT_NIGHT, NIGHT, night

pytestmark = pytest.mark.django_db


def _ago(hours: float) -> datetime:
    return timezone.now() - timedelta(hours=hours)


def _shown() -> list[tuple[Kind, str]]:
    return [(one.kind, one.district.name) for one in board().matters]


def _missing(district: District, hours: float, *, audience: str = "staff", days_before: int = 0) -> MissingNight:
    day = date(2026, 11, 20) - timedelta(days=days_before)
    told = {"district": district, "day": day, "audience": audience, "message": "Nothing has come."}
    return MissingNight.objects.create(told=_ago(hours), **told)


def test_all_that_needs_a_person_stands_there_oldest_first() -> None:
    states = {
        Kind.STUCK: {"state": "stuck", "first_seen": _ago(5)},
        Kind.WAITING: {"state": "waiting_staff", "first_seen": _ago(30)},
        Kind.FAILED: {"state": "failed", "finished": _ago(3)},
        Kind.STALLED: {"state": "arriving", "look_code": "stalled", "look_since": _ago(20)},
    }
    for kind, told in states.items():
        EpochFactory(district=DistrictFactory(name=kind.word), **told)
    held = EpochFactory(district=DistrictFactory(name="Held"), state="held")
    Judgement.objects.create(epoch=held, state="held", message="It would lose many.", judged=_ago(4))
    _missing(DistrictFactory(name="Missing"), 2)
    GuardState.objects.create(district=DistrictFactory(name="Undone"), stopped="It was undone.", stopped_at=_ago(1))
    for state in ("arriving", "queued", "working", "behind", "loaded", "discarded", "undone", "gone"):
        EpochFactory(state=state, finished=_ago(1))
    order = [Kind.WAITING, Kind.STALLED, Kind.STUCK, Kind.HELD, Kind.FAILED, Kind.MISSING, Kind.RELEASE]
    found = board()
    assert [one.kind for one in found.matters] == order
    assert (dict(found.counts), found.total) == (dict.fromkeys(Kind, 1), 7)
    assert found.matters[3].sentence == "It would lose many."


@pytest.mark.parametrize("after", ["loaded", "failed", None])
def test_a_failed_night_goes_once_another_was_loaded_or_failed(after: str | None) -> None:
    district = DistrictFactory(name="Cedar")
    first = EpochFactory(district=district, state="failed", finished=_ago(30))
    newer = EpochFactory(district=district, state=after, finished=_ago(2)) if after else None
    EpochFactory(state="loaded", finished=_ago(1))
    expected = {"loaded": [], "failed": [newer], None: [first]}[after]
    assert [one.epoch for one in board().matters] == expected


def test_what_failed_or_was_missing_a_week_ago_is_no_news() -> None:
    EpochFactory(state="failed", finished=_ago(24 * 8))
    _missing(DistrictFactory(), 24 * 8)
    EpochFactory(state="waiting_staff", first_seen=_ago(24 * 8))
    assert [one.kind for one in board().matters] == [Kind.WAITING]


def test_a_missing_night_is_for_staff_once_they_were_told_and_until_something_comes() -> None:
    told, came, only_district, closed = (DistrictFactory(name=name) for name in ("Told", "Came", "Not yet", "Closed"))
    for district in (told, came, closed):
        _missing(district, 20, days_before=1)
        _missing(district, 3)
    _missing(only_district, 3, audience="district")
    EpochFactory(district=came, state="arriving", first_seen=_ago(1))
    for code in ("stranger", "unread_stranger"):  # no epoch of any night
        EpochFactory(district=told, name=f"dump {code}", state="arriving", look_code=code, first_seen=_ago(1))
    District.objects.filter(pk=closed.pk).update(state="closed")
    assert _shown() == [(Kind.MISSING, "Told")]


def test_a_held_night_says_whether_the_district_was_asked_and_answered(district: District) -> None:
    night(district, NIGHT, FULL)
    held = night(district, NEXT_NIGHT, FEW)
    assert held.state == "held"
    plain = board().matters[0].sentence
    HoldNote.objects.create(epoch=held, text="Is it right?", is_question=True)
    assert board().matters[0].sentence == f"{plain} The district was asked and has not answered yet."
    HoldNote.objects.create(epoch=held, text="It is.", is_question=False)
    assert board().matters[0].sentence == f"{plain} The district has answered."


def test_of_very_many_the_oldest_are_shown_and_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "SHOWN", 3)
    newest = [EpochFactory(state="waiting_staff", first_seen=_ago(hours)).pk for hours in range(1, 6)]
    EpochFactory(state="stuck", started=_ago(9))
    found = board()
    assert [one.epoch.pk for one in found.matters[1:]] == [newest[4], newest[3]]
    assert (dict(found.counts), found.total) == ({Kind.WAITING: 5, Kind.STUCK: 1}, 6)


def test_the_page_tells_it_with_a_way_to_each_and_is_glad_if_there_is_nothing() -> None:
    client = Client()
    client.force_login(StaffFactory(staff_role="support"))
    EpochFactory(state="loaded", finished=_ago(1))
    assert "All clear" in _page(client)
    assert "1 night was loaded in the last 24 hours" in _page(client)
    epoch = EpochFactory(district=DistrictFactory(name="<Cedar>"), state="stuck", trouble="The disk is full.")
    missing = _missing(DistrictFactory(), 1).district
    shown = _page(client)
    assert "2 need a person." in shown
    assert "&lt;Cedar&gt;" in shown
    assert "The disk is full." in shown
    assert reverse("epoch", args=[epoch.district.slug, epoch.pk]) in shown
    assert reverse("uploads", args=[missing.slug]) in shown
    Epoch.objects.filter(pk=epoch.pk).update(state="loaded")
    assert "1 needs a person." in _page(client)


def _page(client: Client) -> str:
    return " ".join(client.get(reverse("board")).content.decode().split())
