"""What the pages read of epochs."""

from datetime import datetime, timedelta

from django.conf import settings
from django.core.paginator import Page, Paginator
from django.db.models import Count, Prefetch, QuerySet

from accounts.models import District

from .models import Epoch, EpochFile

PER_PAGE = 30


def all_epochs() -> QuerySet[Epoch]:
    """Every epoch of every district, newest first, with what a list shows of each; their logs stay behind."""
    counts = EpochFile.objects.exclude(table="").only("epoch_id", "added", "changed", "removed")
    return Epoch.objects.select_related("district").prefetch_related(Prefetch("files", counts)).defer("log", "tallies")


def epochs_of(district: District) -> QuerySet[Epoch]:
    """A district's epochs, newest first."""
    return all_epochs().filter(district=district)


def last_of(district: District) -> Epoch | None:
    """The newest epoch that came to an end, or the newest at all."""
    rows = epochs_of(district).exclude(state=Epoch.State.GONE)
    return rows.filter(state__in=Epoch.ENDED).first() or rows.first()


def page(rows: QuerySet[Epoch], number: str | None) -> Page[Epoch]:
    """One page of epochs; a number that makes no sense gives the nearest that does."""
    return Paginator(rows, PER_PAGE).get_page(number)


def state_counts() -> dict[str, int]:
    """How many epochs are in each state, over all districts."""
    return dict(Epoch.objects.values_list("state").annotate(Count("pk")).order_by())


def deleted_on(epoch: Epoch) -> datetime | None:
    """When the epoch's files leave /upload-processed/, if they lie there."""
    if not epoch.archive_name or epoch.purged or epoch.finished is None:
        return None
    return epoch.finished + timedelta(days=settings.PROCESSED_DAYS)
