"""The page of blackouts of every district and of several: set, told on the pages they count for, ended."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, District
from ingest.models import BlackoutDays, Epoch
from tests.factories import DistrictFactory, StaffFactory

from .test_guarding import FEW, FULL, active
from .uploading import NEXT_NIGHT, NIGHT, night, places_make

pytestmark = pytest.mark.django_db
TODAY = timezone.localdate()


def _client(role: str = "support") -> Client:
    client = Client()
    client.force_login(StaffFactory(staff_role=role))
    return client


@pytest.fixture
def support() -> Client:
    return _client()


def _add(client: Client, **told: object) -> tuple[int, str]:
    data = {"whose": "every", "names": "", "first": TODAY, "last": TODAY + timedelta(days=2), "why": "Summer break."}
    answer = client.post(reverse("blackouts_add"), {**data, **told}, follow=True)
    return answer.status_code, " ".join(answer.content.decode().split())


def _told(client: Client, name: str, *args: object) -> str:
    return " ".join(client.get(reverse(name, args=args)).content.decode().split())


def test_a_blackout_of_every_district_counts_for_each_and_is_told_on_its_pages(
    district: District, support: Client
) -> None:
    night(district, NIGHT, FULL)
    status, told = _add(support)
    assert (status, "Set for every district." in told) == (200, True)
    later = DistrictFactory()
    places_make(later)
    assert night(district, NEXT_NIGHT, FEW).state == "blackout"
    assert night(later, NIGHT, FULL).state == "blackout"
    assert active() == 40
    assert "Of every district:" in _told(support, "guard_settings", district.slug)
    assert "A blackout of every district: Summer break." in _told(support, "ingest_history")
    assert "Every district’s" in _told(support, "blackouts")
    entry = AuditEntry.objects.get(action="blackout set")
    assert (entry.district, entry.details["districts"], entry.details["reason"]) == ("", "every", "Summer break.")


def test_it_ends_when_staff_say_so_once_and_nights_are_applied_again(district: District, support: Client) -> None:
    night(district, NIGHT, FULL)
    _add(support)
    place = reverse("blackouts_end", args=[BlackoutDays.objects.get().pk])
    assert "Ended." in support.post(place, follow=True).content.decode()
    assert "has been ended already" in support.post(place, follow=True).content.decode()
    assert AuditEntry.objects.filter(action="blackout ended").count() == 1
    told = _told(support, "blackouts")
    assert "None. Every district’s nights are applied every day." in told
    assert "Summer break." in told
    night(district, NEXT_NIGHT, FULL)
    assert Epoch.objects.get(name=NEXT_NIGHT).state == "loaded"


def test_several_districts_are_named_and_no_other_has_it(support: Client) -> None:
    first, second, other = DistrictFactory(), DistrictFactory(), DistrictFactory()
    status, told = _add(support, whose="some", names=f"{first.domain}\n {second.domain.upper()} , {first.domain}")
    assert (status, "Set for 2 districts." in told) == (200, True)
    assert set(BlackoutDays.objects.values_list("district", flat=True)) == {first.pk, second.pk}
    assert AuditEntry.objects.filter(action="blackout set", district=first.slug).count() == 1
    assert "None. Nights are applied every day." in _told(support, "guard_settings", other.slug)
    assert "Summer break." in _told(support, "guard_settings", first.slug)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"whose": "some", "names": "no.such.example"}, "No district has this user name: no.such.example."),
        ({"whose": "some", "names": " "}, "Name at least one district"),
        ({"whose": ""}, "Choose whose nights are not applied."),
        ({"last": TODAY - timedelta(days=9)}, "The last day is before the first one."),
        ({"last": TODAY + timedelta(days=400)}, "That is longer than 92 days."),
        ({"first": TODAY - timedelta(days=9), "last": TODAY - timedelta(days=5)}, "The last day is over already."),
        ({"why": ""}, "This field is required."),
    ],
)
def test_what_cannot_be_is_said_and_what_was_typed_is_kept(support: Client, told: dict[str, object], says: str) -> None:
    status, page = _add(support, **told)
    assert (status, says in page, "No blackout was saved" in page) == (422, True, True)
    assert ("Summer break." in page) == ("why" not in told)
    assert not BlackoutDays.objects.exists()


def test_ops_read_it_and_change_nothing() -> None:
    BlackoutDays.objects.create(first=TODAY, last=TODAY, why="Summer break.")
    told = _told(_client("ops"), "blackouts")
    assert "Summer break." in told
    assert "<button" not in told.split("<main", 1)[1]


def test_a_page_of_many_is_turned(support: Client) -> None:
    for number in range(35):
        BlackoutDays.objects.create(district=DistrictFactory(), first=TODAY, last=TODAY, why=f"Reason {number}.")
    assert "Reason 34." not in _told(support, "blackouts")
    second = support.get(reverse("blackouts") + "?page=2").content.decode()
    assert "Reason 34." in second
