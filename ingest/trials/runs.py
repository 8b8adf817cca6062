"""Checks files that somebody wants to send: one after the other, in the order of asking, and then they are gone."""

import base64
import logging
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from accounts.leases import LeaseLost, free_to_take, lease_kept, lease_renew, lease_take

from ..models import FindingList, Trial
from ..selectors import file_settings_of, format_of
from . import places
from .process import Died, Order, Report, examined_apart

logger = logging.getLogger(__name__)
MOST_TRIES = 2
DIED = "The check came to no end: the files were too much for it. Send fewer or smaller ones, or ask our support."
GIVEN_UP = "Something went wrong on our side, so the files were not checked. Send them once more."


def look_after() -> None:
    """Removes what nobody owns any more and results that are past their time; then checks what waits."""
    sweep()
    run_waiting()


def sweep() -> None:
    """Directories without a living owner or a row that waits for them go away, and so do old results."""
    left = places.orphans()
    # Whoever fills a directory lets it go only when its row is there, so a row that is not seen now never comes.
    wanted = Trial.objects.filter(place__in=left, state__in=Trial.UNDER_WAY).values_list("place", flat=True)
    for name in left - set(wanted):
        places.remove(name)
    before = timezone.now() - timedelta(hours=settings.TRIAL_RESULT_HOURS)
    Trial.objects.filter(finished__lt=before).delete()


def run_waiting() -> None:
    """Checks what waits until nothing does, unless enough others are at it: they take what is left here, too."""
    with places.turn(settings.TRIALS_AT_ONCE) as is_mine:
        while is_mine and (taken := _take()) is not None:
            _run(*taken)


def _take() -> tuple[Trial, str] | None:
    waiting = Trial.objects.filter(state__in=Trial.UNDER_WAY).order_by("asked", "pk")
    for pk in waiting.filter(free_to_take()).values_list("pk", flat=True)[:50]:
        token = lease_take(waiting.filter(pk=pk))
        if token is not None:
            return Trial.objects.select_related("district").get(pk=pk), token
    return None


def _run(trial: Trial, token: str) -> None:
    rows = Trial.objects.filter(pk=trial.pk)
    with suppress(LeaseLost), lease_kept(rows, token):
        report = _checked(trial, token)
        # First the files, then the word that they are gone.
        places.remove(trial.place)
        with transaction.atomic():
            lease_renew(rows, token)
            _record(Trial.objects.select_for_update().get(pk=trial.pk), report)


def _checked(trial: Trial, token: str) -> Report | str:
    """The report, or a sentence why there is none."""
    is_old = trial.asked < timezone.now() - timedelta(hours=settings.TRIAL_RESULT_HOURS)
    if is_old or trial.tries >= MOST_TRIES or not places.place(trial.place).is_dir():
        return GIVEN_UP
    rows = Trial.objects.filter(pk=trial.pk, lease_token=token)
    rows.update(state=Trial.State.CHECKING, tries=trial.tries + 1, rows_read=0)
    said = file_settings_of(trial.district)
    order = Order(
        folder=places.place(trial.place),
        files={file["name"]: f"{number:05}" for number, file in enumerate(trial.files)},
        per_code=settings.INGEST_FINDINGS_PER_CODE,
        listed=settings.INGEST_FINDINGS_LISTED,
        windows_1252=said.windows_1252,
        delimiter=said.delimiter,
        seconds=settings.TRIAL_MINUTES * 60,
        usual=format_of(trial.district),
    )

    def progress(read: int) -> None:
        rows.update(rows_read=read)

    try:
        return examined_apart(order, progress)
    except Died:
        logger.warning("The check of trial %s came to no end.", trial.pk)
        return DIED


def _record(trial: Trial, report: Report | str) -> None:
    trial.finished = timezone.now()
    if isinstance(report, str):
        trial.state, trial.message = Trial.State.STOPPED, report
    else:
        trial.state = Trial.State.DONE
        trial.outcome, trial.format, trial.message = report["outcome"], report["format"], report["message"]
        trial.near_misses, trial.findings, trial.counts = report["near_misses"], report["findings"], report["files"]
        trial.errors, trial.warnings = report["errors"], report["warnings"]
        trial.rows_read = sum(one["rows"] for one in trial.counts)
        _list_keep(trial, report["list"])
    trial.save()


def _list_keep(trial: Trial, told: dict[str, Any]) -> None:
    if told["rows"]:
        kept = {"rows": told["rows"], "left_out": told["left_out"], "data": base64.b64decode(told["data"])}
        FindingList.objects.update_or_create(trial=trial, defaults=kept)
