"""Old values of records go when they are old; who changed which columns stays, and so does what an undo needs."""

import pytest
from django.conf import LazySettings
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, District, User
from ingest import forgetting, undoing
from ingest.models import Epoch, Lane, Record, RecordChange, RecordLook
from ingest.selectors import record_history

from . import epochs
from .conftest import Clock
from .epochs import with_cell
from .uploading import night

NAMES = [f"202611{day}-020000" for day in range(10, 15)]
WORDS = ["Zero", "One", "Two", "Three", "Four"]


@pytest.fixture
def nights(district: District) -> list[Epoch]:
    """Five nights, each with another first name of one student."""
    plain = epochs.students(rows=30)["students.csv"]
    files = [{"students.csv": with_cell(plain, 3, "First Name", word)} for word in WORDS]
    made = [night(district, name, one) for name, one in zip(NAMES, files, strict=True)]
    assert [one.state for one in made] == ["loaded"] * 5
    return made


def history() -> list[tuple[str, str, list[tuple[str | None, str | None]]]]:
    return [
        (one.epoch.name, one.what, [(old, new) for name, old, new in one.columns if name == "First Name"])
        for one in record_history(_found())
    ]


def _found() -> Record:
    return next(one for one in Record.objects.all() if one.data["First Name"] == WORDS[-1])


def test_old_values_are_forgotten_and_who_when_and_which_columns_stay(nights: list[Epoch], clock: Clock) -> None:
    assert forgetting.history_forget() == 0
    before = history()
    assert [columns for _, _, columns in before] == [
        [("", "Zero")], [("Zero", "One")], [("One", "Two")], [("Two", "Three")], [("Three", "Four")],
    ]  # fmt: skip
    clock.move(days=401)
    assert forgetting.history_forget() == 2
    assert [(name, what) for name, what, _ in history()] == [(name, what) for name, what, _ in before]
    assert [columns for _, _, columns in history()] == [
        [("", None)], [(None, "One")], [("One", "Two")], [("Two", "Three")], [("Three", "Four")],
    ]  # fmt: skip
    assert "Zero" not in str(list(RecordChange.objects.values_list("old")))
    assert RecordChange.objects.filter(forgotten=True).get().old == {"First Name": None}
    told = AuditEntry.objects.filter(action="old values forgotten").order_by("pk")
    assert [(one.subject, one.details) for one in told] == [(NAMES[0], {"changes": 0}), (NAMES[1], {"changes": 1})]
    assert forgetting.history_forget() == 0


@pytest.mark.parametrize("days", [1, 400])
def test_the_newest_nights_can_be_taken_back_one_after_the_other_whatever_the_setting(
    nights: list[Epoch], clock: Clock, settings: LazySettings, days: int
) -> None:
    settings.INGEST_HISTORY_DAYS = days
    clock.move(days=1000)
    forgetting.history_forget()
    for epoch, word in zip(reversed(nights[2:]), reversed(WORDS[1:4]), strict=True):
        undoing.undo(Epoch.objects.get(pk=epoch.pk))
        assert word in {one.data["First Name"] for one in Record.objects.all()}
    with pytest.raises(undoing.Refused, match="has been forgotten"):
        undoing.undo(Epoch.objects.get(pk=nights[1].pk))
    assert "One" in {one.data["First Name"] for one in Record.objects.all()}


def test_what_is_not_old_enough_is_kept(nights: list[Epoch], clock: Clock) -> None:
    clock.move(days=399)
    assert forgetting.history_forget() == 0
    assert not RecordChange.objects.filter(forgotten=True).exists()


def test_many_are_forgotten_in_batches_and_a_killed_run_is_gone_on_with(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = epochs.students(rows=30)["students.csv"]
    for number, name in enumerate(NAMES):
        content = plain
        for line in range(2, 10):
            content = with_cell(content, line, "First Name", f"Name{number}")
        assert night(district, name, {"students.csv": content}).state == "loaded"
    clock.move(days=401)
    monkeypatch.setattr(forgetting, "AT_ONCE", 3)
    some, calls = forgetting._some, []

    def dies(epoch: Epoch) -> int | None:
        calls.append(epoch.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return some(epoch)

    monkeypatch.setattr(forgetting, "_some", dies)
    with pytest.raises(KeyboardInterrupt):
        forgetting.history_forget()
    assert RecordChange.objects.filter(forgotten=True).count() == 3
    assert forgetting.history_forget() == 1
    assert set(RecordChange.objects.filter(forgotten=True).values_list("epoch__name", flat=True)) == {NAMES[1]}
    assert RecordChange.objects.filter(forgotten=True).count() == 8
    assert Lane.objects.get().latest.name == NAMES[-1]


def test_the_page_of_a_record_says_forgotten(nights: list[Epoch], clock: Clock) -> None:
    clock.move(days=401)
    forgetting.history_forget()
    staff = User.objects.get(email="support@vendor.example")
    look = RecordLook.objects.create(record=_found(), by=staff, reason="They asked.", at=forgetting.timezone.now())
    client = Client()
    client.force_login(staff)
    address = reverse("record_look", args=[nights[0].district.slug, look.pk])
    page = client.get(address).content.decode()
    assert page.count("forgotten") == 2
    assert "Three" in page
    assert "Zero" not in page
