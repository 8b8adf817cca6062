"""Loads a checked epoch: what was added, changed and removed against the night before, in one transaction."""

import json
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice

from django.db import connection

from .catalogue import format_named
from .core.check import Source, rows
from .core.diff import Change, What, compare
from .core.schema import Mode
from .models import Dataset, Epoch, Record
from .staging import staged_open

BATCH = 2000
UPSERT = """
INSERT INTO ingest_record (dataset_id, key, digest, data, is_removed, first_epoch_id, last_epoch_id)
VALUES (%s, %s, %s, {json}, %s, %s, %s)
ON CONFLICT (dataset_id, key) DO UPDATE SET
  digest = excluded.digest, data = excluded.data,
  is_removed = excluded.is_removed, last_epoch_id = excluded.last_epoch_id
"""
REMOVE = "UPDATE ingest_record SET is_removed = %s, last_epoch_id = %s WHERE dataset_id = %s AND key = %s"


def prepare(epoch: Epoch) -> None:
    """Nothing to prepare: the rows are read inside the transaction that writes them, from copies nobody changes."""


def record(epoch: Epoch, _: object) -> None:
    """Applies every table of an epoch without errors; of one with errors, nothing at all."""
    known = format_named(epoch.format)
    if not epoch.is_ok or known is None:
        return
    for file in epoch.files.exclude(table="").exclude(mode__in=["", Mode.ABSENT.value]):
        dataset, _ = Dataset.objects.get_or_create(district=epoch.district, format=known.name, table=file.table)
        source = Source(file.name, partial(staged_open, file))
        feed = rows(known, known.table(file.table), source)
        changes = compare(_on_record(dataset), feed, Mode(file.mode))
        _apply(dataset, epoch, changes)
        told = changes.counts
        file.added, file.changed, file.removed, file.unchanged = told.added, told.changed, told.removed, told.unchanged
        file.save()


def _on_record(dataset: Dataset) -> dict[str, bytes]:
    active = Record.objects.filter(dataset=dataset, is_removed=False).values_list("key", "digest")
    return {key: bytes(digest) for key, digest in active.iterator(chunk_size=10_000)}


def _apply(dataset: Dataset, epoch: Epoch, changes: Iterator[Change]) -> None:
    """Writes changes in batches: one statement each for what is there and for what is gone."""
    upsert = UPSERT.format(json="%s::jsonb" if connection.vendor == "postgresql" else "%s")
    with connection.cursor() as cursor:
        while batch := list(islice(changes, BATCH)):
            kept = [_values(dataset, epoch, change) for change in batch if change.what is not What.REMOVED]
            gone = [(True, epoch.pk, dataset.pk, change.key) for change in batch if change.what is What.REMOVED]
            _many(cursor, upsert, kept)
            _many(cursor, REMOVE, gone)


def _many(cursor: object, statement: str, values: Iterable[tuple[object, ...]]) -> None:
    values = list(values)
    if values:
        cursor.executemany(statement, values)  # type: ignore[attr-defined]


def _values(dataset: Dataset, epoch: Epoch, change: Change) -> tuple[object, ...]:
    row = change.row
    assert row is not None  # only a removed record has none
    return dataset.pk, row.key, row.digest, json.dumps(row.values), False, epoch.pk, epoch.pk
