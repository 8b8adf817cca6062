"""Leases: how one worker at a time does a row's work, and how another takes over when it dies.

The row is the queue. A worker takes a row by a conditional UPDATE, keeps renewing its lease while it works, and
every later write of its own says "if the lease is still mine". A worker that was killed stops renewing; one that
hung and woke up late finds its lease gone, and its writes refused.
"""

import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection, models, transaction
from django.utils import timezone

logger = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another worker has taken this row over: stop, it will finish the work."""


class Leased(models.Model):
    """A row that one worker at a time may work on."""

    lease_token = models.CharField(max_length=32, blank=True, default="", editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        abstract = True


def free_to_take() -> models.Q:
    """The condition on rows whose lease nobody holds, or whose holder has gone silent."""
    return models.Q(lease_until__isnull=True) | models.Q(lease_until__lt=timezone.now())


def lease_take(rows: models.QuerySet) -> str | None:
    """Takes the lease of the one row in `rows`; its token, or None if another worker has it (or no row matched)."""
    token = secrets.token_hex(16)
    until = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
    return token if rows.filter(free_to_take()).update(lease_token=token, lease_until=until) else None


@transaction.atomic
def lease_take_at_once(rows: models.QuerySet) -> str | None:
    """The same, but None too if somebody has the row locked: he is at it, however long his transaction lasts.

    Meanwhile his lease cannot be renewed, so it may have run out, and whoever wanted it would wait for him.
    """
    free = rows.filter(free_to_take()).select_for_update(skip_locked=True)
    return lease_take(rows) if list(free.values_list("pk", flat=True)) else None


def lease_renew(rows: models.QuerySet, token: str) -> None:
    """Makes the lease last another `LEASE_SECONDS` from now. Raises LeaseLost if it is no longer ours."""
    until = timezone.now() + timedelta(seconds=settings.LEASE_SECONDS)
    if not rows.filter(lease_token=token).update(lease_until=until):
        raise LeaseLost


def lease_end(rows: models.QuerySet, token: str) -> None:
    """Gives the lease back; nothing happens if it is no longer ours."""
    rows.filter(lease_token=token).update(lease_token="", lease_until=None)


@contextmanager
def lease_kept(rows: models.QuerySet, token: str) -> Iterator[None]:
    """Renews the lease from a second thread while the block runs, and gives it back at the end."""
    done = threading.Event()
    keeper = threading.Thread(target=_keep, args=(rows, token, done), daemon=True)
    keeper.start()
    try:
        yield
    finally:
        done.set()
        keeper.join()
        lease_end(rows, token)


def _keep(rows: models.QuerySet, token: str, done: threading.Event) -> None:
    try:
        while not done.wait(settings.LEASE_SECONDS / 3):
            _renew_once(rows, token)
    finally:
        connection.close()


def _renew_once(rows: models.QuerySet, token: str) -> None:
    try:
        lease_renew(rows.all(), token)
    except LeaseLost:
        logger.warning("A lease was taken over while its work was still under way.")
    except DatabaseError as error:  # a long writer on SQLite: try again at the next beat
        logger.warning("A lease could not be renewed: %s", error)
