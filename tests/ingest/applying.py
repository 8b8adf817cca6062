"""Nights straight into the records: checked, compared and loaded, with neither a host nor a guard."""

from collections.abc import Mapping
from hashlib import sha256

from django.db import transaction

from accounts.models import District
from ingest import checking, comparing, loading, staging
from ingest.core.schema import Format, Mode
from ingest.models import Epoch, Lane, Record
from tests.factories import EpochFactory, StaffFactory

from .epochs import STUDENTS

# Everything of a record but its number.
WHOLE = ("dataset__table", "key", "digest", "data", "is_removed", "first_epoch__name", "last_epoch__name")


def arrived(district: District, name: str, files: Mapping[str, bytes], known: Format = STUDENTS) -> Epoch:
    """An epoch whose private copies were made and checked."""
    epoch = copied(district, name, files, known)
    checking.record(epoch, checking.run(epoch))
    epoch.save()
    return epoch


def copied(district: District, name: str, files: Mapping[str, bytes], known: Format) -> Epoch:
    Lane.objects.get_or_create(district=district)
    epoch = EpochFactory(district=district, name=name, format=known.name, format_by=StaffFactory(), state="working")
    place = staging.staged(epoch.pk, "one")
    place.mkdir(parents=True)
    made = []
    for number, (file, content) in enumerate(files.items()):
        (place / f"{number:05}").write_bytes(content)
        made.append(staging.Copied(number, file, "", len(content), sha256(content).hexdigest()))
    staging.copy_record(epoch, ("one", tuple(made)))
    return epoch


def unchecked(district: District, name: str, tables: Mapping[str, tuple[Mode, bytes]], known: Format) -> Epoch:
    """An epoch that is taken to have passed, whatever stands in it."""
    epoch = copied(district, name, {known.table(table).file: content for table, (_, content) in tables.items()}, known)
    for table, (mode, _) in tables.items():
        epoch.files.filter(name=known.table(table).file).update(table=table, mode=mode.value)
    epoch.is_ok = True
    epoch.save()
    return epoch


def compare(epoch: Epoch) -> tuple[comparing.TableCompared, ...]:
    tables = comparing.compared(epoch)
    comparing.record(epoch, tables)
    epoch.save()
    return tables


def load(epoch: Epoch) -> Epoch:
    with transaction.atomic():
        loading.record(epoch, loading.prepare(epoch))
        epoch.state = Epoch.State.LOADED
        epoch.save()
    return epoch


def apply(district: District, name: str, files: Mapping[str, bytes], known: Format = STUDENTS) -> Epoch:
    """A night from its copies to its end, whatever it changes."""
    epoch = arrived(district, name, files, known)
    assert epoch.is_ok, list(epoch.findings.values_list("file", "line", "code"))
    compare(epoch)
    return load(epoch)


def records(district: District) -> list[tuple[object, ...]]:
    """All records of a district, removed ones too, but for their numbers."""
    rows = Record.objects.filter(dataset__district=district).order_by("dataset__table", "key").values_list(*WHOLE)
    return [tuple(bytes(one) if isinstance(one, memoryview) else one for one in row) for row in rows]


def active(district: District, table: str) -> set[str]:
    rows = Record.objects.filter(dataset__district=district, dataset__table=table, is_removed=False)
    return set(rows.values_list("key", flat=True))
