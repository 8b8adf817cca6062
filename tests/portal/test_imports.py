"""Long lists of districts: previewed in short, opened in parts behind the pages, gone on with after a crash."""

import pytest
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse

from accounts.core.roster import Row
from accounts.models import AuditEntry, District, DistrictImport, Invitation, User
from portal import opening
from portal.imports import MOST_AT_ONCE
from portal.imports_page import MOST_SHOWN
from tests.factories import DistrictFactory, HostFactory, StaffFactory
from tests.rows import everything
from tests.signing_in import fresh

HEADER = "name,domain,administrator_email\n"
MANY = MOST_AT_ONCE + 15


def _text(number: int = MANY) -> str:
    return HEADER + "".join(f"Oak {n},oak{n}.k12.oh.us,ann@oak{n}.example\n" for n in range(number))


@pytest.fixture
def client(db: None) -> Client:
    HostFactory()
    client = Client()
    client.force_login(StaffFactory(staff_role="system administrator"))
    return fresh(client)


def _ask(client: Client, text: str) -> DistrictImport:
    answer = client.post(reverse("districts_import"), {"text": text, "confirm": "yes"})
    asked = DistrictImport.objects.get()
    assert (answer.status_code, answer.url) == (302, reverse("import_shown", args=[asked.pk]))
    return asked


def test_a_long_list_is_written_down_and_opened_by_a_worker(client: Client) -> None:
    asked = _ask(client, _text())
    assert (District.objects.count(), asked.total, asked.done) == (0, MANY, 0)
    assert (
        f"0 of {MANY} districts are dealt with."
        in client.get(reverse("import_shown", args=[asked.pk])).content.decode()
    )
    place = reverse("import_shown", args=[asked.pk])
    assert place in client.get(reverse("districts")).content.decode()
    opening.imports_run()
    assert place not in client.get(reverse("districts")).content.decode()
    assert District.objects.count() == Invitation.objects.count() == MANY
    assert AuditEntry.objects.filter(action="district opened", actor=User.objects.get().email).count() == MANY
    asked.refresh_from_db()
    # The addresses in the file are needed no more.
    assert (asked.done, asked.problems, asked.text, asked.finished is not None) == (MANY, [], "", True)
    assert AuditEntry.objects.get(action="districts imported").details == {"districts": MANY, "passed over": 0}
    html = client.get(reverse("import_state", args=[asked.pk])).content.decode()
    assert f"{MANY} districts are open" in html
    assert "hx-get" not in html


def test_a_short_list_is_opened_at_once(client: Client) -> None:
    assert client.post(reverse("districts_import"), {"text": _text(MOST_AT_ONCE), "confirm": "yes"}).status_code == 302
    assert (District.objects.count(), DistrictImport.objects.count()) == (MOST_AT_ONCE, 0)


def test_a_worker_that_was_killed_has_opened_whole_parts_and_the_next_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    _ask(client, _text())
    real = opening.row_open

    def dying(row: Row, person: User | None) -> None:
        if row.domain == f"oak{opening.AT_ONCE + 5}.k12.oh.us":
            raise DatabaseError("gone")
        real(row, person)

    monkeypatch.setattr(opening, "row_open", dying)
    with pytest.raises(DatabaseError):
        opening.imports_run()
    assert DistrictImport.objects.get().done == District.objects.count() == opening.AT_ONCE
    monkeypatch.undo()
    opening.imports_run()
    assert DistrictImport.objects.get().done == District.objects.count() == MANY
    assert Invitation.objects.count() == MANY


def test_what_comes_in_the_way_is_passed_over_and_told_and_nothing_of_it_stays(client: Client) -> None:
    asked = _ask(client, _text())
    DistrictFactory(name="Other", domain="oak3.k12.oh.us")
    StaffFactory(email="ann@oak7.example")
    opening.imports_run()
    asked.refresh_from_db()
    first, second = asked.problems
    assert first.startswith("Line 5, oak3.k12.oh.us: Another district has the domain")
    assert second.startswith("Line 9, oak7.k12.oh.us: ann@oak7.example is one of your own staff")
    assert not District.objects.filter(domain="oak7.k12.oh.us").exists()
    assert asked.opened == MANY - 2
    assert "2 lines were passed over." in client.get(reverse("import_shown", args=[asked.pk])).content.decode()


def test_what_is_done_is_not_done_again(client: Client) -> None:
    _ask(client, _text())
    opening.imports_run()
    before = everything()
    opening.imports_run()
    assert everything() == before


def test_a_long_preview_shows_its_first_lines_and_those_with_problems(client: Client) -> None:
    fine = client.post(reverse("districts_import"), {"text": _text(200)})
    assert (fine.status_code, len(fine.context["rows"])) == (200, MOST_SHOWN)
    assert f"The first {MOST_SHOWN} of 200 are shown." in fine.content.decode()
    bad = client.post(reverse("districts_import"), {"text": _text(200) + "Bad,no-dot,\n" * 60})
    assert bad.status_code == 422
    assert [row.domain for row in bad.context["rows"]] == ["no-dot"] * MOST_SHOWN
    assert "60 lines have problems. The first are:" in bad.content.decode()
    assert not District.objects.exists()
