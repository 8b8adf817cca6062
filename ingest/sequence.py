"""What other nights of a district mean for one: a later one applied before it, and changes before it that are lost."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Max, Q

from .allowances import zone_of
from .catalogue import format_named, formats, records_of
from .core.discovery import AUTO_END, EPOCH_NAME, epoch_time
from .core.schema import MissingRow, Mode
from .models import Epoch, EpochFile

TIMED = f"^{EPOCH_NAME.pattern}$"


def newer_than(epoch: Epoch) -> str:
    """The name of a later night that was applied already; nights are applied by name, so this one came too late."""
    if not settings.INGEST_SUPERSEDE or epoch_time(epoch.name) is None:
        return ""
    # Told by its shape: where other kinds of names sort is the database's own matter.
    later = epoch.district.epochs.filter(state=Epoch.State.LOADED, name__gt=epoch.name, name__regex=TIMED)
    later = later.order_by("-name")
    undone = epoch.district.epochs.aggregate(last=Max("undone"))["last"]
    if undone is not None:
        # What changed nothing before one was taken back was the same as that one: it says nothing of today's records.
        later = later.exclude(applied_version=None, finished__lt=undone)
    zone = zone_of(epoch.district)
    return next(
        (name for name, seen in later.values_list("name", "first_seen") if _is_of_its_day(name, seen, zone)), ""
    )


def _is_of_its_day(name: str, seen: datetime, zone: ZoneInfo) -> bool:
    """Whether a night is named after a time that was not still to come. A clock gone wrong, or a slip of the hand,
    would keep out every night until that time."""
    named = epoch_time(name)
    return named is not None and named.replace(tzinfo=zone) <= seen + timedelta(days=1)


def lost_before(epoch: Epoch) -> tuple[str, ...]:
    """The names of nights of changes that are not applied, since the last full set that is."""
    known = format_named(epoch.format)
    tables = [table.name for table in known.tables if table.missing_row is not MissingRow.KEPT] if known else []
    layouts = [one.name for one in formats() if one.records == records_of(epoch.format)]
    files = EpochFile.objects.filter(epoch__district=epoch.district, epoch__format__in=layouts, table__in=tables)
    of_changes = files.filter(mode=Mode.CHANGES.value, rows__gt=0).values("epoch")
    in_full = files.filter(mode=Mode.FULL.value).values("epoch")
    nights = epoch.district.epochs.filter(format__in=layouts).exclude(pk=epoch.pk)
    loaded = nights.filter(state=Epoch.State.LOADED, pk__in=in_full).exclude(pk__in=of_changes)
    whole = loaded.exclude(name__endswith=AUTO_END).order_by("-finished").first()
    # Of one that was not read so far nobody knows whether it held changes only.
    read = EpochFile.objects.filter(epoch__district=epoch.district).exclude(mode="").values("epoch")
    lost = nights.filter(Q(pk__in=of_changes) | ~Q(pk__in=read))
    lost = lost.filter(state__in=[Epoch.State.FAILED, *Epoch.UNAPPLIED, Epoch.State.UNDONE])
    if whole is not None:
        lost = lost.filter(first_seen__gt=whole.first_seen, name__gt=whole.name)
    return tuple(lost.order_by("finished").values_list("name", flat=True))
