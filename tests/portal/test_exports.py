"""Lists as CSV: through the page's own door, by its filters, harmless in a spreadsheet, without student data."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts.audit import record
from accounts.core.cells import FORMULA, harmless
from accounts.models import District, User
from hosts.models import Host
from ingest.models import Epoch, MissingNight, Record
from keys.models import FoundLine, KeySet, PropagationFailure, PropagationRun
from tests.factories import DistrictFactory, EpochFactory, FileFactory, MembershipFactory, PersonFactory

from .addresses import address
from .scene import PEOPLE, SYSTEM, Scene
from .test_doors import READ, ROWS, SHOWN, Row

EXPORTS = (
    "ingest_history",
    "board",
    "propagation_runs",
    "propagation_run",
    "propagation_found",
    "audit_log",
    "districts",
    "people",
)
ROWS_OF = {row.name: row for row in ROWS if row.method == READ}
STUDENT = "Zzyzx-Marked-Student"


def _rows(client: Client, place: str, query: str = "") -> list[dict[str, str]]:
    answer = client.get(f"{place}?export=csv&{query}")
    assert answer.status_code == SHOWN
    assert re.fullmatch(r'attachment; filename="[a-z0-9-]+\.csv"', answer["Content-Disposition"])
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def _place(scene: Scene, name: str) -> str:
    return address(name, scene.kwargs(name))


def _evil(scene: Scene) -> None:
    """One row on each list in which whatever people may name begins as a formula does."""
    district = DistrictFactory(name="=1+1")
    person = PersonFactory(email="-x@district.example", name='=HYPERLINK("http://x.example")')
    MembershipFactory(user=person, district=district)
    EpochFactory(district=district, name="+evil", state=Epoch.State.WAITING_STAFF, look_sentence="@SUM(A1)")
    record("\tlooked", actor=person, district=district, subject="=cmd|' /C calc'!A0")
    account, host = district.sftp_account, Host.objects.get(name="upload-1")
    FoundLine.objects.create(host=host, account=account, username="-evil", line="=x", line_digest="1", label="+1")
    PropagationFailure.objects.create(run=scene.run, account=account, code="@x", reason="=1")
    told = {"cause": "saved", "at": timezone.now(), "on_host": timezone.now(), "run": scene.run}
    KeySet.objects.create(account=account, version=100, **told)
    PropagationRun.objects.create(cause="now", state="done", asked_by=person)


@pytest.mark.parametrize("name", EXPORTS)
def test_no_cell_of_any_list_is_run_by_a_spreadsheet(scene: Scene, name: str) -> None:
    _evil(scene)
    rows = _rows(scene.client(SYSTEM), _place(scene, name))
    cells = [cell for row in rows for cell in row.values()]
    assert any(cell.startswith("'") and cell[1:].startswith(FORMULA) for cell in cells)
    assert [cell for cell in cells if cell.startswith(FORMULA)] == []


@pytest.mark.parametrize("cell", ["=1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "＝1"])
def test_what_looks_like_a_formula_begins_with_an_apostrophe(cell: str) -> None:
    assert harmless(cell) == f"'{cell}"


@pytest.mark.parametrize(("cell", "text"), [("a=1", "a=1"), (None, ""), (0, "0"), ("'x", "'x")])
def test_all_else_stays_as_it_is(cell: object, text: str) -> None:
    assert harmless(cell) == text


def _cases() -> Iterator[object]:
    for name in EXPORTS:
        row = ROWS_OF[name]
        for person, answer in zip(PEOPLE, row.answers, strict=True):
            yield pytest.param(row, person, answer, id=f"{name}-{person}")


@pytest.mark.parametrize(("row", "person", "answer"), list(_cases()))
def test_a_list_opens_to_those_who_may_see_its_page_and_to_nobody_else(
    scene: Scene, row: Row, person: str, answer: int
) -> None:
    shown = scene.client(person).get(_place(scene, row.name), {"export": "csv"})
    assert (shown.status_code, shown.streaming) == (answer, answer == SHOWN)


@pytest.mark.parametrize("name", EXPORTS)
def test_nobody_who_is_not_signed_in_gets_a_list(scene: Scene, name: str) -> None:
    answer = Client().get(_place(scene, name), {"export": "csv"})
    assert (answer.status_code, answer.url.partition("?")[0]) == (302, reverse("account_login"))


@pytest.mark.parametrize("name", EXPORTS)
def test_each_page_leads_to_its_list_and_keeps_the_filters(scene: Scene, name: str) -> None:
    html = scene.client(SYSTEM).get(_place(scene, name), {"state": "held", "page": "1"}).content.decode()
    assert re.findall(r'href="(\?[^"]*export=csv[^"]*)"', html) == ["?state=held&amp;export=csv"]


@pytest.mark.parametrize("name", EXPORTS)
def test_no_student_data_is_in_a_list(scene: Scene, name: str) -> None:
    epoch = scene.epochs["active"]
    epoch.findings.create(
        file="a.csv", code="x", severity="error", message="Wrong.", value=STUDENT, hint="Mend it.", line=2
    )
    Record.objects.update(data={"Name": STUDENT})
    answer = scene.client(SYSTEM).get(_place(scene, name), {"export": "csv"})
    assert STUDENT.encode() not in b"".join(answer.streaming_content)


def test_the_filters_and_the_order_in_the_address_hold(scene: Scene) -> None:
    client, place = scene.client(SYSTEM), reverse("districts")
    assert {row["State"] for row in _rows(client, place, "state=closed")} == {"Closed"}
    names = [row["Name"] for row in _rows(client, place, "sort=-name")]
    assert names == list(District.objects.order_by("-name").values_list("name", flat=True))
    held = _rows(client, reverse("ingest_history"), "state=held")
    assert len(held) == Epoch.objects.filter(state="held").count() > 0
    assert {row["State"] for row in held} == {"Held"}
    assert [row["Staff role"] for row in _rows(client, reverse("people"), "whose=district")].count("") > 0
    assert _rows(client, reverse("people"), "name=nobody-is-called-so") == []


def test_a_list_has_all_rows_and_not_a_page_of_them(scene: Scene) -> None:
    for number in range(130):
        record(f"looked {number}")
    assert len(_rows(scene.client(SYSTEM), reverse("audit_log"), "page=2&what=x")) >= 130
    now = timezone.now()
    for number in range(61):
        told = {"day": f"2026-11-{number % 28 + 1:02}", "audience": "staff", "message": "It is missing."}
        MissingNight.objects.create(district=DistrictFactory(), told=now, **told)
    rows = _rows(scene.client(SYSTEM), reverse("board"))
    assert len([row for row in rows if row["Why"] == "Missing"]) == 61


def test_times_are_exact_and_have_the_zone_of_who_asks(scene: Scene) -> None:
    User.objects.filter(pk=scene.people[SYSTEM].pk).update(time_zone="Australia/Perth")
    moment = datetime.fromisoformat("2026-11-20T07:08:09+00:00")
    district = DistrictFactory(name="Zulu")
    District.objects.filter(pk=district.pk).update(created=moment)
    (row,) = _rows(scene.client(SYSTEM), reverse("districts"), "name=Zulu")
    assert row["Opened"] == "2026-11-20T15:08:09+08:00"


def _more(scene: Scene) -> None:
    for _ in range(3):
        FileFactory(epoch=EpochFactory(state=Epoch.State.WAITING_STAFF))
        MembershipFactory()
        account = DistrictFactory().sftp_account
        PropagationFailure.objects.create(run=scene.run, account=account, code="x", reason="y")
        told = {"cause": "saved", "at": timezone.now(), "on_host": timezone.now(), "run": scene.run}
        KeySet.objects.create(account=account, version=100, **told)
        PropagationRun.objects.create(cause="now", state="done", asked_by=PersonFactory())
        FoundLine.objects.create(host=account.host, account=account, username="x", line="x", line_digest=account.pk)


@pytest.mark.parametrize("name", EXPORTS)
def test_a_list_costs_the_same_however_long_it_is(scene: Scene, name: str) -> None:
    client = scene.client(SYSTEM)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert _rows(client, _place(scene, name))
        return len(queries)

    _evil(scene)
    cost()
    few = cost()
    _more(scene)
    assert cost() == few <= 15
