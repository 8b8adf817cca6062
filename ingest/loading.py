"""Applies what a comparison has found, in one transaction; what was there before is kept as each record's history."""

from typing import Any

from django.db import connection, transaction
from django.db.models import Sum

from .bulk import CREATE_ALTERED, CREATE_GONE, bulk
from .catalogue import format_named, records_of
from .comparing import files_sent, pages_write, spool_of
from .core.engine import engine
from .models import Addition, Dataset, Epoch, EpochFile, Lane, RecordPage
from .sameness import same_as

HISTORY = "INSERT INTO ingest_recordchange (record_id, epoch_id, what, old, old_digest, old_epoch_id)"
NOTE_ALTERED = """
SELECT r.id, %s, a.what, {diff}, r.digest, r.last_epoch_id FROM altered a JOIN ingest_record r ON r.id = a.id
"""
ALTER = """
UPDATE ingest_record SET digest = a.digest, data = a.data, is_removed = false, last_epoch_id = %s
FROM altered a WHERE ingest_record.id = a.id AND ingest_record.dataset_id = %s
"""
NOTE_GONE = (
    "SELECT r.id, %s, 'removed', '{}', r.digest, r.last_epoch_id FROM gone g JOIN ingest_record r ON r.id = g.id"
)
REMOVE = """
UPDATE ingest_record SET is_removed = true, last_epoch_id = %s
FROM gone g WHERE ingest_record.id = g.id AND ingest_record.dataset_id = %s
"""


# So many rows of pages may always be out of date.
ENOUGH = 1 << 16


class Outdated(Exception):
    """The records are not those any more that the epoch was compared with: it has to be compared again."""


class Miscounted(Exception):
    """What was written is not what was to be written; nothing of it stays."""


def prepare(epoch: Epoch) -> None:
    """Nothing to prepare: the comparison has done that."""


@transaction.atomic
def record(epoch: Epoch, _: object) -> None:
    """Applies every file of an epoch without errors; of one with errors, nothing at all.

    Raises Outdated if something else was applied or undone since it was compared.
    """
    if not epoch.is_ok or format_named(epoch.format) is None:
        return
    lane = Lane.objects.select_for_update().get(district=epoch.district_id)
    if lane.version != epoch.compared_version:
        raise Outdated
    changes = 0 if same_as(epoch) else sum(_file(epoch, file) for file in files_sent(epoch))
    if changes:
        lane.version += 1
        epoch.applied_version = lane.version
    lane.latest = epoch
    lane.save(update_fields=["version", "latest"])


def _file(epoch: Epoch, file: EpochFile) -> int:
    """Applies one file's changes; returns how many there are."""
    dataset, _ = Dataset.objects.get_or_create(
        district=epoch.district, format=records_of(epoch.format), table=file.table
    )
    expected = file.added + file.changed + file.removed
    if not expected:
        return 0
    try:
        spool = engine("spool").Spool(spool_of(epoch, file))
    except FileNotFoundError as error:
        raise Outdated from error
    first = bulk().numbers(spool.added) if spool.added else 0
    written = _add(spool, first, dataset, epoch) if spool.added else 0
    written += _alter(spool, dataset, epoch) if spool.altered or len(spool.gone.ids) else 0
    if written != expected:
        raise Miscounted
    known = format_named(epoch.format)
    if known is not None and known.table(file.table).owner:
        # The records are read instead, and another format of the same ones may know no owner.
        RecordPage.objects.filter(dataset=dataset).delete()
    else:
        _page(spool, first, dataset)
    dataset.active += file.added - file.removed
    dataset.save(update_fields=["active"])
    return expected


def _add(spool: Any, first: int, dataset: Dataset, epoch: Epoch) -> int:
    written = bulk().add(spool, first, dataset.pk, epoch.pk)
    Addition.objects.create(epoch=epoch, dataset=dataset, first=first, last=first + written - 1)
    return written


def _page(spool: Any, first: int, dataset: Dataset) -> None:
    """Adds to the pages what has changed; if they hold much that is out of date, the next comparison makes new ones."""
    pages = RecordPage.objects.filter(dataset=dataset)
    rows = pages.aggregate(rows=Sum("rows"))["rows"] or 0
    is_new = not Addition.objects.filter(dataset=dataset, last__lt=first).exists() if first else False
    if rows > 2 * dataset.active + ENOUGH:
        pages.delete()
    elif rows or is_new:
        pages_write(dataset, spool.parts(first))


def _alter(spool: Any, dataset: Dataset, epoch: Epoch) -> int:
    """Changes, brings back and removes; what was before goes into the history first."""
    way = bulk()
    with connection.cursor() as cursor:
        cursor.execute(CREATE_ALTERED.format(**way.types))
        cursor.execute(CREATE_GONE)
        way.stage(spool)
        cursor.execute(HISTORY + NOTE_ALTERED.format(diff=way.diff), [epoch.pk])
        cursor.execute(HISTORY + NOTE_GONE, [epoch.pk])
        written = _written(cursor, ALTER, [epoch.pk, dataset.pk]) + _written(cursor, REMOVE, [epoch.pk, dataset.pk])
        cursor.execute("DROP TABLE altered")
        cursor.execute("DROP TABLE gone")
    return written


def _written(cursor: Any, statement: str, values: list[int]) -> int:
    cursor.execute(statement, values)
    return cursor.rowcount
