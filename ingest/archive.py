"""The end of an epoch's way on the host: its place in /upload-processed/, what we lay into it, its deletion one day."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts import audit
from hosts.connect import files_for
from hosts.core import paths
from hosts.core.errors import HostDown, HostError, NotThere
from hosts.files import EntryKind, HostFiles
from hosts.local import TEMPORARY_PREFIX

from . import listings, logbook
from .core.discovery import EPOCH_NAME
from .models import Epoch, FindingList
from .outcome import is_ended
from .sighting import name_of
from .staging import FilesLost, claimed_needed

logger = logging.getLogger(__name__)
LOG_NAME, RESULT_NAME, FINDINGS_NAME = "processing-log.txt", "result.json", "findings.csv"
OURS = TEMPORARY_PREFIX.decode()
# A host that was down so often in one round is away.
ENOUGH = 10


def _place(epoch: Epoch) -> tuple[HostFiles, paths.HostPath]:
    files = files_for(epoch.account.host)
    return files, paths.processed(paths.username(epoch.account.username))


def log_write(epoch: Epoch) -> tuple[str, str]:
    """Writes the log, and what stands beside it, into the claimed directory; chooses its place in /upload-processed/.

    Returns the name of that place and the log's text. Both are on record before anything moves, and all is made from
    rows only, so that a second try writes the same and moves it to the same place. The log comes last: where it is,
    the others are. Raises FilesLost; of an epoch that a person has ended, the log is kept without its files.
    """
    files, claimed = files_for(epoch.account.host), paths.claimed(epoch.pk)
    try:
        _leftovers_remove(files, epoch)
    except NotThere as error:
        if not is_ended(epoch):
            raise FilesLost(FilesLost.about) from error
        files.make_directory(claimed)
    place = _free_name(epoch)
    taken = _taken(files, epoch)
    names = logbook.Names(place, *(_own_name(wanted, taken) for wanted in (LOG_NAME, RESULT_NAME, FINDINGS_NAME)))
    kept = FindingList.objects.filter(epoch=epoch).first()
    listed = kept.rows if kept else 0
    if kept is not None:
        files.write(claimed.child(names.findings), b"".join(listings.text(kept)))
    files.write(claimed.child(names.result), logbook.result(epoch, names, listed).encode())
    text = logbook.text(epoch, names, listed)
    files.write(claimed.child(names.log), text.encode())
    return place, text


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


def _taken(files: HostFiles, epoch: Epoch) -> set[str]:
    """The names of what is the district's: a file we copied, or a directory or link we did not."""
    inside = files.listing(paths.claimed(epoch.pk))
    odd = {entry.name for entry in inside if entry.kind is not EntryKind.FILE}
    return odd | set(epoch.files.values_list("name", flat=True))


def _own_name(wanted: str, taken: set[str]) -> str:
    """A name that nothing of the district's has."""
    stem, _, ending = wanted.rpartition(".")
    name, number = wanted, 2
    while name in taken:
        name, number = f"{stem}-{number}.{ending}", number + 1
    return name


def log_record(epoch: Epoch, prepared: tuple[str, str]) -> None:
    """Keeps the chosen place, and the log's text for the page."""
    epoch.archive_name, epoch.log = prepared


def move(epoch: Epoch) -> None:
    """Moves the claimed directory to its place. Gone from where it was, and there? Then it was moved before."""
    files, place = _place(epoch)
    target = place.child(epoch.archive_name)
    with claimed_needed(files, epoch):
        try:
            files.rename(paths.claimed(epoch.pk), target)
        except NotThere:
            if files.stat(target) is None:
                raise
    # Links, pipes and the like that an OpenSSH host found in it when it was claimed.
    files.remove_tree(paths.claimed_directory().child(f"{epoch.pk}.odd"))


def move_record(epoch: Epoch, _: object) -> None:
    """Nothing but the step itself."""


def purge() -> int:
    """Deletes from /upload-processed/ what is past its days; returns how many epochs that were."""
    before = timezone.now() - timedelta(days=settings.PROCESSED_DAYS)
    due = Epoch.objects.filter(finished__lt=before, purged=None).exclude(archive_name="")
    hosts = due.order_by().values_list("account__host", flat=True).distinct()
    return sum(_purge_at(due.filter(account__host=host)) for host in hosts)


def _purge_at(due: QuerySet[Epoch]) -> int:
    """What is due at one host, as far as it answers: however much one that is away has, others are not kept waiting."""
    count = silent = 0
    for epoch in due.select_related("account__host", "district").order_by("finished")[:1000]:
        try:
            count += _purge_one(epoch)
        except HostError as error:  # tried again next hour
            logger.warning("Epoch %s could not be purged: %s", epoch.pk, error.code)
            silent += isinstance(error, HostDown)
            if silent == ENOUGH:
                break
    return count


def _purge_one(epoch: Epoch) -> int:
    files, place = _place(epoch)
    if files.stat(place) is None:  # being renamed: its files still lie under the old user name
        return 0
    files.remove_tree(place.child(epoch.archive_name))
    with transaction.atomic():
        FindingList.objects.filter(epoch=epoch).delete()
        if not Epoch.objects.filter(pk=epoch.pk, purged=None).update(purged=timezone.now()):
            return 0
        counts = {"files": epoch.files.count(), "bytes": epoch.byte_count}
        details = {"place": f"/upload-processed/{epoch.archive_name}/", **counts}
        audit.record("epoch purged", district=epoch.district, subject=epoch.name, details=details)
    return 1
