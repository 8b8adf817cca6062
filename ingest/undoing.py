"""Takes the last applied epoch back: every record is again as it was, those that it added are gone."""

from dataclasses import replace

from django.db import connection, transaction
from django.utils import timezone

from .bulk import bulk
from .catalogue import format_named, records_of
from .comparing import TableCompared, files_sent, on_hand
from .core import facts, holding
from .core.diff import Change, Counts, What
from .core.records import Row
from .core.schema import Table
from .models import Addition, Dataset, Epoch, Lane, Record, RecordChange, RecordPage

RESTORE = """
UPDATE ingest_record AS r
SET data = {restored}, digest = c.old_digest, is_removed = (c.what = 'returned'), last_epoch_id = c.old_epoch_id
FROM ingest_recordchange c WHERE c.record_id = r.id AND c.epoch_id = %s
"""
FORGET = "DELETE FROM ingest_recordchange WHERE epoch_id = %s"
UNADD = "DELETE FROM ingest_record WHERE id BETWEEN %s AND %s AND dataset_id = %s AND first_epoch_id = %s"
# What becomes of a record again.
BECOMES = {
    RecordChange.What.CHANGED: What.CHANGED,
    RecordChange.What.REMOVED: What.ADDED,
    RecordChange.What.RETURNED: What.REMOVED,
}


class Refused(Exception):
    """This epoch cannot be taken back; `message` says why, for people."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


def refusal(epoch: Epoch) -> str:
    """Why an epoch cannot be taken back; empty if it can."""
    if epoch.undone:
        return "It was taken back already."
    if epoch.applied_version is None:
        return "It changed no record, so there is nothing to take back."
    newest = Epoch.objects.filter(district=epoch.district_id).order_by("-applied_version")
    latest = newest.filter(applied_version__isnull=False).first()
    if latest is not None and latest.pk != epoch.pk:
        return f"A newer epoch, {latest.name}, has been applied since. Only the last one can be taken back."
    if RecordChange.objects.filter(epoch=epoch, forgotten=True).exists():
        return "It is so long ago that what was before it has been forgotten. Send the right files instead."
    return ""


@transaction.atomic
def undo(epoch: Epoch) -> dict[str, Counts]:
    """Takes the last applied epoch back exactly; what this added, changed and removed, by table.

    `epoch` is brought up to date. Nothing is the same as before any more: the same files are compared anew. Raises
    Refused if it was not applied, was taken back, or something newer is applied.
    """
    lane = Lane.objects.select_for_update().get(district=epoch.district_id)
    epoch.refresh_from_db(fields=["applied_version", "undone"])
    if why := refusal(epoch):
        raise Refused(why)
    done = undo_counts(epoch)
    with connection.cursor() as cursor:
        cursor.execute(RESTORE.format(restored=bulk().restored), [epoch.pk])
        cursor.execute(FORGET, [epoch.pk])
        for one in Addition.objects.filter(epoch=epoch):
            cursor.execute(UNADD, [one.first, one.last, one.dataset_id, epoch.pk])
    Addition.objects.filter(epoch=epoch).delete()
    RecordPage.objects.filter(dataset__district=epoch.district_id, dataset__format=records_of(epoch.format)).delete()
    for table, counts in done.items():
        dataset = Dataset.objects.get(district=epoch.district_id, format=records_of(epoch.format), table=table)
        dataset.active += counts.added - counts.removed
        dataset.save(update_fields=["active"])
    lane.version, lane.latest = lane.version + 1, None
    lane.save(update_fields=["version", "latest"])
    epoch.applied_version, epoch.undone = None, timezone.now()
    epoch.save(update_fields=["applied_version", "undone"])
    return done


def undo_counts(epoch: Epoch) -> dict[str, Counts]:
    """What taking it back would do: what it added goes, what it removed comes back."""
    on_record = on_hand(epoch)
    told = {}
    for file in files_sent(epoch):
        stays = on_record.get(file.table, 0) - file.added - file.changed
        told[file.table] = Counts(file.removed, file.changed, file.added, stays)
    return told


def undo_compared(epoch: Epoch) -> tuple[TableCompared, ...]:
    """The same as `comparing.compared` says of a night, for the guard and for people: with a sample of rows."""
    known, bases = format_named(epoch.format), on_hand(epoch)
    if known is None:
        return ()
    return tuple(
        TableCompared(
            table, counts, bases.get(table, 0), facts.Seen(0, ()), _picked(epoch, known.table(table)), is_same=True
        )
        for table, counts in undo_counts(epoch).items()
    )


def _picked(epoch: Epoch, table: Table) -> tuple[holding.SampleRow, ...]:
    dataset = Dataset.objects.get(district=epoch.district_id, format=records_of(epoch.format), table=table.name)
    picked: list[tuple[What, Record, dict[str, str | None]]]
    picked = [(What.REMOVED, one, {}) for one in _added(epoch, dataset)]
    changes = RecordChange.objects.filter(epoch=epoch, record__dataset=dataset).select_related("record").order_by("pk")
    for what, becomes in BECOMES.items():
        picked += [(becomes, one.record, one.old) for one in changes.filter(what=what)[: holding.SAMPLE_ROWS]]
    return tuple(_shown(table, what, record, old) for what, record, old in picked)


def _shown(table: Table, what: What, record: Record, old: dict[str, str | None]) -> holding.SampleRow:
    after = {name: value for name, value in {**record.data, **old}.items() if value is not None}
    row = None if what is What.REMOVED else Row(record.key, after, b"", False, 0)
    shown = holding.sample_row(table, Change(what, record.key, row), None if what is What.ADDED else record.data)
    return replace(shown, line=None)


def _added(epoch: Epoch, dataset: Dataset) -> list[Record]:
    span = Addition.objects.filter(epoch=epoch, dataset=dataset).first()
    if span is None:
        return []
    rows = Record.objects.filter(pk__range=(span.first, span.last), dataset=dataset, first_epoch=epoch)
    return list(rows.order_by("pk")[: holding.SAMPLE_ROWS])
