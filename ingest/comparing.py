"""Compares a checked epoch with the records on hand: what it would change, before anything is changed.

What is found lies in a spool beside the private copies until it is loaded. It is true of one state of the district's
records only, told by the lane's `version`, which moves with all that is applied or undone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Sum

from .bulk import Span, bulk
from .catalogue import format_named, records_of
from .core import facts, holding
from .core.diff import Change, Counts, What
from .core.engine import engine
from .core.ownership import removable
from .core.schema import Format, Mode, Table
from .models import Addition, Dataset, Epoch, EpochFile, Lane, Record, RecordPage
from .sameness import same_as
from .staging import room_needed, staged, staged_source


@dataclass(frozen=True, slots=True)
class TableCompared:
    """What one file of an epoch would do. `base`: records there were; `seen` and `picked`: for the guard and people.

    `records`: different records that its rows name. `is_same`: the whole epoch is byte for byte what the records
    agree with, so it was not read again, and `seen` has no sample: the facts are those there were.
    """

    table: str
    counts: Counts
    base: int
    seen: facts.Seen
    picked: tuple[holding.SampleRow, ...]
    records: int = 0
    is_same: bool = False


def compared(epoch: Epoch) -> tuple[TableCompared, ...]:
    """Compares every file that was sent; of an epoch with errors, none. Nothing in the database is changed.

    Raises NoRoom if what it finds cannot be kept.
    """
    known = format_named(epoch.format)
    if not epoch.is_ok or known is None:
        return ()
    epoch.compared_version = version_of(epoch)
    if (latest := same_as(epoch)) is not None:
        return tuple(_unchanged(epoch, file) for file in files_sent(latest))
    return tuple(_table(epoch, known, file) for file in files_sent(epoch))


def record(epoch: Epoch, tables: tuple[TableCompared, ...]) -> None:
    """Notes what each file would do."""
    told = {one.table: one for one in tables}
    files = files_sent(epoch)
    for file in files:
        if one := told.get(file.table):
            counts = one.counts
            file.added, file.changed, file.removed = counts.added, counts.changed, counts.removed
            file.unchanged, file.records = counts.unchanged, one.records
    EpochFile.objects.bulk_update(files, ["added", "changed", "removed", "unchanged", "records"], batch_size=500)


def version_of(epoch: Epoch) -> int:
    """The state the district's records are in now."""
    return Lane.objects.filter(district=epoch.district_id).values_list("version", flat=True).first() or 0


def on_hand(epoch: Epoch) -> dict[str, int]:
    """How many records there are now, by table, of the district and format of an epoch."""
    datasets = Dataset.objects.filter(district=epoch.district_id, format=records_of(epoch.format))
    return dict(datasets.values_list("table", "active"))


def files_sent(epoch: Epoch) -> list[EpochFile]:
    """The files whose rows are compared and loaded."""
    return list(epoch.files.exclude(table="").exclude(mode__in=["", Mode.ABSENT.value]))


def spool_of(epoch: Epoch, file: EpochFile) -> Path:
    """Where a file's changes against the state it was compared with lie."""
    return staged(epoch.pk, epoch.staging) / f"changes-{file.position:05}-{epoch.compared_version}.arrow"


def _unchanged(epoch: Epoch, file: EpochFile) -> TableCompared:
    base = on_hand(epoch).get(file.table, 0)
    return TableCompared(
        file.table, Counts(unchanged=file.records), base, facts.Seen(file.rows, ()), (), file.records, is_same=True
    )


def _table(epoch: Epoch, known: Format, file: EpochFile) -> TableCompared:
    table = known.table(file.table)
    dataset = Dataset.objects.filter(district=epoch.district_id, format=known.records, table=table.name).first()
    owners = _owners(epoch, known, table)
    on_record = _on_record(epoch, dataset, table, owners)
    with room_needed():
        place = spool_of(epoch, file)
        found = engine("bulk").compare_file(table, staged_source(file), Mode(file.mode), on_record, owners, place)
    base = dataset.active if dataset else 0
    shown = tuple(_shown(table, found.picked))
    return TableCompared(table.name, found.counts, base, found.seen, shown, found.records)


def _owners(epoch: Epoch, known: Format, table: Table) -> Any:
    """The keys of those in this epoch to whom a table's rows belong; None for a table that has no owner."""
    if not table.owner:
        return None
    above = known.table(table.owner_table)
    return engine("bulk").owner_keys(above, [staged_source(file) for file in epoch.files.filter(table=above.name)])


def _on_record(epoch: Epoch, dataset: Dataset | None, table: Table, owners: Any) -> Any:
    """Every record there is or was, as `onrecord.OnRecord`."""
    if dataset is None:
        return engine("onrecord").OnRecord().close()
    pages = RecordPage.objects.filter(dataset=dataset)
    rows = pages.aggregate(rows=Sum("rows"))["rows"] or 0
    known = engine("onrecord").OnRecord(rows or dataset.active)
    if owners is None:
        for page in pages.values_list("data", flat=True).iterator(chunk_size=4):
            known.add_page(bytes(page))
    if not len(known):
        for packed in bulk().on_record(dataset.pk, spans_of(dataset)):
            packed.add_to(known, None if owners is None else _kept(packed, table, owners))
        if owners is None:
            _pages_renew(epoch, dataset, [known.filled])
    return known.close()


@transaction.atomic
def _pages_renew(epoch: Epoch, dataset: Dataset, parts: Sequence[Any]) -> None:
    lane = Lane.objects.select_for_update().get(district=epoch.district_id)
    if lane.version == epoch.compared_version:
        RecordPage.objects.filter(dataset=dataset).delete()
        pages_write(dataset, parts)


def pages_write(dataset: Dataset, parts: Iterable[Any]) -> None:
    """Keeps what later comparisons ask of these records."""
    for rows, data in engine("onrecord").pages(parts):
        RecordPage.objects.create(dataset=dataset, rows=rows, data=data)


def _kept(packed: Any, table: Table, owners: Any) -> list[bool]:
    """Which records stay though no row names them, since their owner is not sent."""
    may_go = removable(table, owners)
    return [not may_go(key) for key in packed.key_texts()]


def spans_of(dataset: Dataset) -> list[Span]:
    """Between which numbers a dataset's records lie."""
    return list(Addition.objects.filter(dataset=dataset).values_list("first", "last"))


def _shown(table: Table, picked: Sequence[Any]) -> Iterator[holding.SampleRow]:
    """The picked changes as people may see them."""
    before = Record.objects.in_bulk([pick.id for pick in picked if pick.id])
    for pick in picked:
        was = before.get(pick.id)
        old = was.data if was and pick.what is not What.ADDED else None
        key = was.key if was else pick.row.key
        yield holding.sample_row(table, Change(pick.what, key, pick.row), old)
