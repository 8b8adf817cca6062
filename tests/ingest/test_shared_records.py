"""Formats that are layouts of the same records: a district goes on with those it has, whichever of them comes."""

from importlib import import_module

import pytest
from django.apps import apps

from accounts.models import District, User
from ingest import holds, services
from ingest.catalogue import formats
from ingest.core.sampling import epoch as sample
from ingest.models import Dataset, Epoch, GuardState, Record, RecordPage
from tests.factories import EpochFactory

from . import epochs
from .test_guarding import FULL, THIRD, active, codes, lines
from .test_holds import seen
from .uploading import NEXT_NIGHT, NIGHT, night, process, queue

BULK = epochs.FORMATS["samegoal-bulk-2"]


@pytest.fixture
def staff(district: District) -> User:
    return User.objects.get(email="support@vendor.example")


def approve(held: Epoch, staff: User) -> Epoch:
    holds.hold_approve(held, seen=seen(held), reason="A new layout.", actor=staff)
    process(held.district)
    held.refresh_from_db()
    return held


def test_a_new_layout_changes_the_records_and_adds_none(district: District, staff: User) -> None:
    night(district, NIGHT, epochs.students_old(rows=40))
    held = night(district, NEXT_NIGHT, FULL)
    assert (held.state, codes(held)) == ("held", ["too-many-changed"])
    assert approve(held, staff).state == "loaded"
    assert (active(), Record.objects.count(), Dataset.objects.filter(table="students").count()) == (40, 40, 1)
    assert night(district, THIRD, FULL).judgement.state == "no-change"


def test_the_bulk_loader_adds_to_and_updates_what_nights_have_made(district: District, staff: User) -> None:
    full = sample(epochs.STUDENTS, 40)
    header, first, *_ = full["guardians.csv"].splitlines(keepends=True)
    owner, _, *rest = first.split(b",")
    theirs = [b",".join([owner, name, *rest]) for name in (b"Uncle", b"Aunt")]
    full["guardians.csv"] += b"".join(theirs)
    night(district, NIGHT, full)
    students = sample(BULK, 42)["students.csv"].splitlines(keepends=True)
    sent = [students[0], *(one for one in students if one.startswith(owner)), *students[-2:]]
    waits = queue(district, NEXT_NIGHT, {"students.csv": b"".join(sent), "guardians.csv": header + first})
    found = given_to_bulk(waits, staff)
    assert active_of("students") == 42
    gone = Record.objects.filter(dataset__table="guardians", is_removed=True)
    assert {one.key.split("|")[0].encode() for one in gone} == {owner}
    assert (found.state, gone.count()) == ("loaded", len(theirs))
    # Compared with what the bulk load has left, by whoever reads the records anew.
    pages = RecordPage.objects.filter(dataset__table="guardians").count()
    after = night(district, THIRD, full)
    assert (pages, after.state) == (0, "loaded")
    assert after.files.get(table="guardians").added == len(theirs)
    assert after.files.get(table="students").removed == 2


def given_to_bulk(found: Epoch, staff: User) -> Epoch:
    """A night given to the bulk loader by staff, and let through by them if it is held."""
    Epoch.objects.filter(pk=found.pk).update(state=Epoch.State.WAITING_STAFF, format="")
    services.epoch_format_assign(found, BULK.name, actor=staff)
    process(found.district)
    found.refresh_from_db()
    return approve(found, staff) if found.state == "held" else found


def active_of(table: str) -> int:
    return Record.objects.filter(dataset__table=table, is_removed=False).count()


def test_facts_from_before_formats_shared_their_records_are_of_the_same_ones(district: District) -> None:
    night(district, NIGHT, FULL)
    state = GuardState.objects.get()
    state.applied["night"]["format"] = epochs.STUDENTS.name
    state.save()
    assert night(district, NEXT_NIGHT, epochs.students(rows=42)).state == "loaded"


def test_every_word_of_shared_records_is_said_by_two_formats_or_is_a_name() -> None:
    told = [one.records for one in formats()]
    assert all(told.count(one.records) > 1 or one.records == one.name for one in formats())


@pytest.mark.parametrize("newest", ["sds-2", "sds-2.1"])
def test_records_from_before_are_those_of_the_newest_format(district: District, newest: str) -> None:
    """What other formats had made is kept aside, and held nights are compared anew."""
    night(district, NIGHT, FULL)
    held = night(district, NEXT_NIGHT, lines(FULL, slice(0, 21), slice(41, None)))
    older = next(name for name in ("sds-2", "sds-2.1") if name != newest)
    for number, name in enumerate((older, newest), 1):
        Dataset.objects.create(district=district, format=name, table="users", active=number)
        EpochFactory(district=district, format=name, state="loaded", applied_version=10 + number)
    import_module("ingest.migrations.0011_shared_records").share(apps, None)
    kept = Dataset.objects.filter(format__startswith="sds")
    assert dict(kept.values_list("format", "active")) == {"sds-2": 2, f"{older}-before": 1}
    nights = Epoch.objects.filter(format__startswith="sds").order_by("pk")
    assert list(nights.values_list("applied_version", flat=True)) == [None, 12]
    held.refresh_from_db()
    assert (held.state, held.step, held.steps.filter(step="compare").exists()) == ("behind", "check", False)
    process(district)
    held.refresh_from_db()
    assert held.state == "held"
