"""Notes on an epoch: staff write and read them, nobody else, and whatever is typed is text."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditEntry, District, OutboxMessage
from ingest.models import Epoch, StaffNote
from tests.factories import DistrictFactory, EpochFactory, MembershipFactory, StaffFactory

ODD = '<img src=x onerror=alert(1)>\n{{ settings.SECRET_KEY }} `<b>` "quoted"'


def _client(role: str) -> Client:
    client = Client()
    client.force_login(StaffFactory(staff_role=role))
    return client


@pytest.fixture
def epoch(db: None) -> Epoch:
    return EpochFactory(state=Epoch.State.FAILED)


def _place(name: str, epoch: Epoch) -> str:
    return reverse(name, args=[epoch.district.slug, epoch.pk])


def _write(client: Client, epoch: Epoch, text: str) -> int:
    return client.post(_place("epoch_note", epoch), {"note": text}).status_code


def test_a_note_is_on_the_epochs_page_for_colleagues_and_never_for_its_district(epoch: Epoch) -> None:
    assert _write(_client("support"), epoch, "They mend it tonight.") == 302
    assert "They mend it tonight." in _client("ops").get(_place("epoch", epoch)).content.decode()
    theirs = Client()
    theirs.force_login(MembershipFactory(district=epoch.district).user)
    for name in ("epoch", "epoch_state", "epoch_log"):
        assert b"They mend it tonight." not in theirs.get(_place(name, epoch)).content
    assert not OutboxMessage.objects.exists()


def test_a_note_is_text_whatever_is_typed(epoch: Epoch) -> None:
    client = _client("support")
    assert _write(client, epoch, ODD) == 302
    html = client.get(_place("epoch", epoch)).content.decode()
    assert "&lt;img src=x onerror=alert(1)&gt;<br>{{ settings.SECRET_KEY }} `&lt;b&gt;` &quot;quoted&quot;" in html
    assert "<img src=x" not in html


@pytest.mark.parametrize("text", ["", " \n ", "x" * 2001, "a\0b"])
def test_what_is_no_note_is_not_kept_and_what_was_typed_stays(epoch: Epoch, text: str) -> None:
    client = _client("support")
    answer = client.post(_place("epoch_note", epoch), {"note": text})
    assert answer.status_code == 422
    assert "Your note was not kept" in answer.content.decode()
    assert text.strip().replace("\0", "") in answer.content.decode().replace("\0", "")
    assert not StaffNote.objects.exists()


def test_the_audit_log_tells_that_there_is_one_and_not_what_it_says(epoch: Epoch) -> None:
    _write(_client("support"), epoch, "Zzyzx called.")
    entry = AuditEntry.objects.get(action="epoch: note written")
    assert (entry.subject, entry.district) == (epoch.name, epoch.district.slug)
    assert entry.details == {"note": StaffNote.objects.get().pk}


@pytest.mark.parametrize("state", ["suspended", "closed"])
def test_a_note_can_be_written_where_nothing_else_can_be_changed(epoch: Epoch, state: str) -> None:
    District.objects.update(state=state)
    assert _write(_client("support"), epoch, "They left in June.") == 302


def test_an_epoch_of_another_district_gets_no_note_under_this_one(epoch: Epoch) -> None:
    place = reverse("epoch_note", args=[DistrictFactory().slug, epoch.pk])
    assert _client("support").post(place, {"note": "x"}).status_code == 404
    assert not StaffNote.objects.exists()


def test_the_history_counts_them(epoch: Epoch) -> None:
    client, other = _client("support"), EpochFactory()
    for _ in range(2):
        _write(client, epoch, "x")
    table = client.get(reverse("ingest_history")).context["table"]
    assert {row.record.pk: row.record.note_count for row in table.rows} == {epoch.pk: 2, other.pk: 0}
    csv = b"".join(client.get(reverse("ingest_history"), {"export": "csv"}).streaming_content).decode()
    assert f",2,{epoch.pk}\r\n" in csv


def test_the_page_costs_the_same_however_many_notes_there_are(epoch: Epoch) -> None:
    client = _client("system administrator")

    def cost() -> int:
        _write(client, epoch, "x")
        client.get(_place("epoch", epoch))
        with CaptureQueriesContext(connection) as queries:
            client.get(_place("epoch", epoch))
        return len(queries)

    few = cost()
    for _ in range(4):
        StaffNote.objects.create(epoch=epoch, text="x", by=StaffFactory())
    assert cost() == few <= 25
