"""What the pages read of epochs."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.db.models import Case, Count, F, IntegerField, OuterRef, Prefetch, Q, QuerySet, Subquery, When
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.models import District

from .core.delimiters import Delimiter, delimiter_of
from .core.discovery import STRANGERS
from .models import (
    BlackoutDays,
    Dataset,
    Epoch,
    EpochFile,
    ExpectedArrival,
    FileSettings,
    FindingList,
    GuardState,
    Record,
    StaffNote,
    Trial,
)

PER_PAGE = 30
# What of a judgement only its own page shows.
HEAVY = ("night", "before", "sample", "tables")


def all_epochs() -> QuerySet[Epoch]:
    """Every epoch of every district, newest first, with what a list shows of each; their logs stay behind."""
    counts = EpochFile.objects.exclude(table="").only("epoch_id", "added", "changed", "removed")
    rows = Epoch.objects.select_related("district", "judgement").prefetch_related(Prefetch("files", counts))
    return rows.defer("log", "tallies", *(f"judgement__{name}" for name in HEAVY))


def epochs_of(district: District) -> QuerySet[Epoch]:
    """A district's epochs, newest first."""
    return all_epochs().filter(district=district)


def last_of(district: District) -> Epoch | None:
    """The newest epoch that came to an end, or the newest at all."""
    rows = epochs_of(district).exclude(state=Epoch.State.GONE)
    return rows.filter(state__in=Epoch.ENDED).first() or rows.first()


def left_to_staff(district: District) -> Epoch | None:
    """The newest epoch if it goes no further before staff have looked at it; not what is no epoch by its name."""
    newest = epochs_of(district).exclude(state=Epoch.State.GONE).exclude(look_code__in=STRANGERS).first()
    waits = (Epoch.State.WAITING_STAFF, Epoch.State.STUCK)
    return newest if newest is not None and newest.state in waits else None


def held_first(rows: QuerySet[Epoch]) -> QuerySet[Epoch]:
    """The same epochs, those that wait for a decision of staff on top."""
    is_held = Case(When(state=Epoch.State.HELD, then=0), default=1)
    return rows.order_by(is_held, "-first_seen", "-pk")


def notes_counted(rows: QuerySet[Epoch]) -> QuerySet[Epoch]:
    """The same epochs, each with how many notes staff have written about it (`note_count`)."""
    notes = StaffNote.objects.filter(epoch=OuterRef("pk")).order_by().values("epoch").annotate(number=Count("pk"))
    return rows.annotate(note_count=Coalesce(Subquery(notes.values("number"), output_field=IntegerField()), 0))


def notes_of(epoch: Epoch) -> QuerySet[StaffNote]:
    """What staff have written about an epoch for each other, oldest first."""
    return epoch.staff_notes.select_related("by")


def format_of(district: District) -> str:
    """The name of the format of the last night loaded in a district; empty if none was."""
    loaded = Epoch.objects.filter(district=district, state=Epoch.State.LOADED).order_by("-finished")
    return loaded.values_list("format", flat=True).first() or ""


def held_of(district: District) -> Epoch | None:
    """The night of a district that is held, if one is."""
    return Epoch.objects.filter(district=district, state=Epoch.State.HELD).first()


def stopped_since(district: District) -> GuardState | None:
    """Why nothing is applied in a district until staff release it, if that is so."""
    return GuardState.objects.filter(district=district).exclude(stopped="").first()


def districts_stopped() -> QuerySet[District]:
    """Districts in which nothing is applied until staff release them."""
    return District.objects.exclude(guard=None).exclude(guard__stopped="")


def tables_of(district: District) -> list[tuple[str, str]]:
    """The tables a district has records of, each with its name for people, to choose from."""
    names = Dataset.objects.filter(district=district).order_by("table").values_list("table", flat=True)
    return [(name, name) for name in dict.fromkeys(names)]


def blackouts() -> QuerySet[BlackoutDays]:
    """Every blackout in force or to come anywhere, the next first; those of every district before others."""
    # The last day of a district west of here may still be under way.
    rows = BlackoutDays.objects.filter(ended=None, last__gte=timezone.localdate() - timedelta(days=1))
    return rows.select_related("by", "district").order_by("first", F("district").asc(nulls_first=True), "pk")


def blackouts_past() -> QuerySet[BlackoutDays]:
    """Those that are over or were ended, the newest first."""
    is_over = Q(last__lt=timezone.localdate() - timedelta(days=1)) | Q(ended__isnull=False)
    return BlackoutDays.objects.filter(is_over).select_related("by", "district").order_by("-last", "-pk")


def blackouts_of(district: District, today: date) -> QuerySet[BlackoutDays]:
    """Those in force or to come that count for a district, of every district too."""
    rows = BlackoutDays.objects.filter(Q(district=district) | Q(district=None), ended=None, last__gte=today)
    return rows.select_related("by").order_by("first", "pk")


def blackout_of_all(today: date) -> BlackoutDays | None:
    """The one in force today for every district, if there is one."""
    return BlackoutDays.objects.filter(district=None, ended=None, first__lte=today, last__gte=today).first()


def expected_of(district: District) -> ExpectedArrival | None:
    """By when a district's night is expected, if anybody has said so."""
    return ExpectedArrival.objects.filter(district=district).first()


def page(rows: QuerySet[Any], number: str | None) -> Page[Any]:
    """One page of rows; a number that makes no sense gives the nearest that does."""
    return Paginator(rows, PER_PAGE).get_page(number)


def loaded_lately() -> int:
    """How many nights were loaded in the last 24 hours, over all districts."""
    return Epoch.objects.filter(state=Epoch.State.LOADED, finished__gt=timezone.now() - timedelta(days=1)).count()


def open_counts() -> dict[str, int]:
    """How many epochs are in each state that waits for a person, and how many loaded or failed in the last 24 hours,
    over all districts."""
    waits = (Epoch.State.HELD, Epoch.State.BEHIND, Epoch.State.WAITING_STAFF, Epoch.State.STUCK)
    lately = (Epoch.State.LOADED, Epoch.State.FAILED)
    recent = Q(state__in=lately, finished__gt=timezone.now() - timedelta(days=1))
    counted = Epoch.objects.filter(Q(state__in=waits) | recent).values_list("state").annotate(Count("pk"))
    return dict(counted.order_by())


def deleted_on(epoch: Epoch) -> datetime | None:
    """When the epoch's files leave /upload-processed/, if they lie there."""
    if not epoch.archive_name or epoch.purged or epoch.finished is None:
        return None
    return epoch.finished + timedelta(days=settings.PROCESSED_DAYS)


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """What one epoch did to a record (added, changed, removed, returned), and each column before and after.

    A value that is None has been forgotten.
    """

    epoch: Epoch
    what: str
    columns: tuple[tuple[str, str | None, str | None], ...]


def record_history(record: Record) -> list[RecordEvent]:
    """All that has happened to a record, the newest last. What was taken back has not happened."""
    data: dict[str, str | None] = dict(record.data)
    told: list[RecordEvent] = []
    for change in record.changes.select_related("epoch").order_by("-pk"):
        old = {name: value if change.forgotten else value or "" for name, value in change.old.items()}
        columns = tuple((name, value, data.get(name, "")) for name, value in old.items())
        told.append(RecordEvent(change.epoch, change.what, columns))
        absent = () if change.forgotten else {name for name, value in change.old.items() if value is None}
        data = {name: value for name, value in {**data, **old}.items() if name not in absent}
    first = tuple((name, "", value) for name, value in data.items())
    return [RecordEvent(record.first_epoch, "added", first), *reversed(told)]


def trials_of(district: District) -> QuerySet[Trial]:
    """What a district had checked before sending, newest first; the findings stay behind."""
    return Trial.objects.filter(district=district).select_related("asked_by").defer("findings", "near_misses", "counts")


@dataclass(frozen=True, slots=True)
class Listed:
    """How many findings stand in a list, and how many more were found."""

    rows: int
    left_out: int


def listed_of(owner: Epoch | Trial) -> Listed | None:
    """How long the list of an epoch or trial is; None if there is no list (any more)."""
    told = FindingList.objects.filter(**_owned(owner)).values_list("rows", "left_out").first()
    return Listed(*told) if told else None


def finding_list_of(owner: Epoch | Trial) -> FindingList | None:
    """The list of all findings of an epoch or trial, if there is one."""
    return FindingList.objects.filter(**_owned(owner)).first()


def _owned(owner: Epoch | Trial) -> dict[str, Epoch | Trial]:
    return {"epoch" if isinstance(owner, Epoch) else "trial": owner}


def file_settings_of(district: District) -> FileSettings:
    """What a district says of how its files are written; what is usual, if it says nothing."""
    return FileSettings.objects.filter(district=district).first() or FileSettings(district=district)


def delimiter_in(district: District) -> Delimiter:
    """What stands between the values of a district's files."""
    return delimiter_of(file_settings_of(district).delimiter)
