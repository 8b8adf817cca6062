"""The end of an epoch's way on the host: its place in /upload-processed/, the log in it, and its deletion one day."""

import logging
from datetime import timedelta

from django.conf import settings
from django.utils import timezone

from hosts.connect import files_for
from hosts.core import paths
from hosts.core.errors import HostError, NotThere
from hosts.files import EntryKind, HostFiles
from hosts.local import TEMPORARY_PREFIX

from . import logbook
from .core.discovery import EPOCH_NAME
from .models import Epoch
from .sighting import name_of

logger = logging.getLogger(__name__)
LOG_NAME = "processing-log.txt"
OURS = TEMPORARY_PREFIX.decode()


def _place(epoch: Epoch) -> tuple[HostFiles, paths.HostPath]:
    files = files_for(epoch.account.host)
    return files, paths.processed(paths.username(epoch.account.username))


def log_write(epoch: Epoch) -> tuple[str, str]:
    """Writes the log into the claimed directory, from rows only, and chooses the epoch's place in /upload-processed/.

    Returns the name of that place and the log's text. Both are on record before anything moves, so that a second try
    writes the same and moves it to the same place.
    """
    text = logbook.text(epoch)
    files = files_for(epoch.account.host)
    _leftovers_remove(files, epoch)
    files.write(paths.claimed(epoch.pk).child(_log_name(epoch)), text.encode())
    return _free_name(epoch), text


def _leftovers_remove(files: HostFiles, epoch: Epoch) -> None:
    """Removes what a worker killed while writing the log left: it must not come along to where the district sees it.

    Every file that the district sent was copied, so a file that was not is ours, whatever the district calls its own.
    """
    place, sent = paths.claimed(epoch.pk), set(epoch.files.values_list("name", flat=True))
    for entry in files.listing(place):
        if entry.kind is EntryKind.FILE and entry.name.startswith(OURS) and name_of(entry) not in sent:
            files.remove(place.child(entry.name))


def _free_name(epoch: Epoch) -> str:
    """A name in /upload-processed/ that is free: the epoch's own, or with a number; never one already there."""
    files, place = _place(epoch)
    taken = {entry.name for entry in files.listing(place)}
    own = epoch.name if EPOCH_NAME.fullmatch(epoch.name) else f"{epoch.started:%Y%m%d-%H%M%S}"
    name, number = own, 2
    while name in taken:
        name, number = f"{own}-{number}", number + 1
    return name


def _log_name(epoch: Epoch) -> str:
    """A name that nothing of the district's has: a file we copied, or a directory or link we did not."""
    inside = files_for(epoch.account.host).listing(paths.claimed(epoch.pk))
    odd = {entry.name for entry in inside if entry.kind is not EntryKind.FILE}
    taken = odd | set(epoch.files.values_list("name", flat=True))
    name, number = LOG_NAME, 2
    while name in taken:
        name, number = LOG_NAME.replace(".txt", f"-{number}.txt"), number + 1
    return name


def log_record(epoch: Epoch, prepared: tuple[str, str]) -> None:
    """Keeps the chosen place, and the log's text for the page."""
    epoch.archive_name, epoch.log = prepared


def move(epoch: Epoch) -> None:
    """Moves the claimed directory to its place. Gone from where it was, and there? Then it was moved before."""
    files, place = _place(epoch)
    target = place.child(epoch.archive_name)
    try:
        files.rename(paths.claimed(epoch.pk), target)
    except NotThere:
        if files.stat(target) is None:
            raise


def move_record(epoch: Epoch, _: object) -> None:
    """Nothing but the step itself."""


def purge() -> int:
    """Deletes from /upload-processed/ what is past its days; returns how many epochs that were."""
    before = timezone.now() - timedelta(days=settings.PROCESSED_DAYS)
    due = Epoch.objects.filter(finished__lt=before, purged=None).exclude(archive_name="")
    count = 0
    for epoch in due.select_related("account__host")[:1000]:
        try:
            count += _purge_one(epoch)
        except HostError as error:  # its host is away: tried again next hour, the others now
            logger.warning("Epoch %s could not be purged: %s", epoch.pk, error.code)
    return count


def _purge_one(epoch: Epoch) -> int:
    files, place = _place(epoch)
    if files.stat(place) is None:  # being renamed: its files still lie under the old user name
        return 0
    files.remove_tree(place.child(epoch.archive_name))
    return Epoch.objects.filter(pk=epoch.pk).update(purged=timezone.now())
