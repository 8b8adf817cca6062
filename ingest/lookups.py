"""Staff look at one record's history: only with a reason, and the audit log keeps that they did."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import islice

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import District, User
from accounts.services import Refused

from .catalogue import formats
from .models import Dataset, Record, RecordLook

__all__ = ["Refused", "look_of", "record_look"]
OPEN_FOR = timedelta(minutes=30)
# Of so many whole ids one is to be chosen.
MOST_TOLD = 10
# Between a table and the format whose records are meant, where there are several.
OF = "/"


def record_look(district: District, table: str, key: str, *, reason: str, actor: User) -> RecordLook:
    """Opens one record for this person for a short while. Raises Refused if there is none of that id, or several.

    Where several columns make up an id, the first of them is enough. `table` is one of `tables_to_find`. The audit log
    gets the record's number here, never its id: that may be a student's. It keeps vain looks too.
    """
    found = _found(district, table, key)
    made = _look(district, table, found, reason, actor)
    if made is None and found:
        whole = ", ".join(one.key for one in found[:MOST_TOLD])
        more = ", and more" if len(found) > MOST_TOLD else ""
        raise Refused(
            "several-records", f"Several records begin with this id. Give the whole id of one: {whole}{more}."
        )
    if made is None:
        raise Refused("no-record", "There is no record with this id in that file, nor was there one.")
    return made


def tables_to_find(district: District) -> list[tuple[str, str]]:
    """The tables a district has records of, to choose from; each by itself where two formats name theirs alike."""
    rows = list(district.datasets.order_by("table", "format").values_list("table", "format"))
    tables = [table for table, _ in rows]
    return [
        (f"{table}{OF}{name}", f"{table} ({_title(name)})") if tables.count(table) > 1 else (table, table)
        for table, name in rows
    ]


def _title(records: str) -> str:
    return next((one.title for one in formats() if one.records == records), records)


def _found(district: District, table: str, key: str) -> list[Record]:
    """The record of just this id; else those whose id is made up of several columns and begins with it, a few."""
    name, _, records = table.partition(OF)
    datasets = district.datasets.filter(table=name)
    if records:
        datasets = datasets.filter(format=records)
    exact = list(Record.objects.filter(dataset__in=datasets, key=key).order_by("-pk"))
    return exact or list(islice(_beginning(datasets, key), MOST_TOLD + 1))


def _beginning(datasets: Iterable[Dataset], key: str) -> Iterator[Record]:
    first = key.replace("\\", "\\\\").replace("|", "\\|") + "|"
    for dataset in datasets:
        if _is_made_up(dataset):
            rows = Record.objects.filter(dataset=dataset, key__startswith=first).order_by("key")
            # SQLite takes capitals for small letters here.
            yield from (one for one in rows.iterator() if one.key.startswith(first))


def _is_made_up(dataset: Dataset) -> bool:
    """Whether several columns make up an id."""
    layouts = (one for one in formats() if one.records == dataset.format)
    return any(table.name == dataset.table and len(table.key) > 1 for one in layouts for table in one.tables)


@transaction.atomic
def _look(district: District, table: str, found: list[Record], reason: str, actor: User) -> RecordLook | None:
    details = {"table": table, "reason": reason}
    if len(found) != 1:
        subject = "several found" if found else "not found"
        audit.record("record looked for", actor=actor, district=district, subject=subject, details=details)
        return None
    subject = f"record {found[0].pk}"
    audit.record("record looked at", actor=actor, district=district, subject=subject, details=details)
    return RecordLook.objects.create(record=found[0], by=actor, reason=reason)


def look_of(pk: int, person: User) -> RecordLook | None:
    """What this person has just opened; None for anybody else, and when the time is over."""
    rows = RecordLook.objects.filter(pk=pk, by=person, at__gte=timezone.now() - OPEN_FOR)
    return rows.select_related("record__dataset__district").first()
