"""The end of an epoch's way on the host: its place in /upload-processed/, what we lay into it, its deletion one day."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts import audit
from hosts.connect import files_for
from hosts.core import paths
from hosts.core.errors import HostDown, HostError, NotThere
from hosts.files import Entry, EntryKind, HostFiles
from hosts.local import TEMPORARY_PREFIX

from . import listings, logbook
from .core.discovery import EPOCH_NAME, is_epoch_name
from .core.findings import Finding as Found
from .core.late import LATE, Taken, late_findings, made_again, odd_findings
from .models import Epoch, EpochFile, Finding, FindingList, StepTime
from .outcome import ENDED, is_applying, is_ended
from .sighting import mark_of, name_of, odd_for
from .staging import FilesLost, claimed_needed, data_in, digest_of, meant_name, odd_in

logger = logging.getLogger(__name__)
LOG_NAME, RESULT_NAME, FINDINGS_NAME = "processing-log.txt", "result.json", "findings.csv"
OURS = TEMPORARY_PREFIX.decode()
# A host that was down so often in one round is away.
ENOUGH = 10


@dataclass(frozen=True, slots=True)
class Written:
    """A log that was written: its text, the directory's place in /upload-processed/, and what came late.

    `listing`: the list of findings with what came late, not saved yet; None where the one on record is all.
    """

    place: str
    text: str
    late: tuple[Found, ...]
    listing: FindingList | None


def _place(epoch: Epoch) -> tuple[HostFiles, paths.HostPath]:
    files = files_for(epoch.account.host)
    return files, paths.processed(paths.username(epoch.account.username))


def log_write(epoch: Epoch) -> Written:
    """Writes the log, and what stands beside it, into the claimed directory; chooses its place in /upload-processed/.

    All that it returns is on record before anything moves. It is made from rows, and from what has come late, so that
    a second try writes the same, or tells of more, and moves it to the same place. The log comes last: where it is,
    the others are. Raises FilesLost; of an epoch that a person has ended, the log is kept without its files.
    """
    files, claimed = files_for(epoch.account.host), paths.claimed(epoch.pk)
    try:
        inside = _leftovers_remove(files, epoch)
    except NotThere as error:
        if not is_ended(epoch):
            raise FilesLost(FilesLost.about) from error
        files.make_directory(claimed)
        inside = []
    place = _free_name(epoch)
    taken = _taken(inside, epoch)
    names = logbook.Names(place, *(_own_name(wanted, taken) for wanted in (LOG_NAME, RESULT_NAME, FINDINGS_NAME)))
    late = _late(epoch, inside, (names.log, names.result, names.findings))
    longer = listings.longer(epoch, late, logbook.tallies_of(epoch, late)) if late else None
    kept = longer or FindingList.objects.filter(epoch=epoch).first()
    listed = kept.rows if kept else 0
    if kept is not None:
        files.write(claimed.child(names.findings), b"".join(listings.text(kept)))
    files.write(claimed.child(names.result), logbook.result(epoch, names, listed, late).encode())
    text = logbook.text(epoch, names, listed, late)
    files.write(claimed.child(names.log), text.encode())
    return Written(place, text, late, longer)


def _leftovers_remove(files: HostFiles, epoch: Epoch) -> list[Entry]:
    """Removes what a worker killed while writing the log left: it must not come along to where the district sees it.

    Returns what else lies there.

    Every file that the district sent was copied, so a file that was not is ours, whatever the district calls its own.
    """
    place, sent = paths.claimed(epoch.pk), set(epoch.files.values_list("name", flat=True))
    left: list[Entry] = []
    for entry in files.listing(place):
        if entry.kind is EntryKind.FILE and entry.name.startswith(OURS) and name_of(entry) not in sent:
            files.remove(place.child(entry.name))
        else:
            left.append(entry)
    return left


def _late(epoch: Epoch, inside: Collection[Entry], ours: Collection[str]) -> tuple[Found, ...]:
    """What is to be said of files that are not as they were when they were copied: once, however often it is tried.

    Somebody may have held one open when the directory was claimed, have put a folder or a link into it in that moment,
    or have made it again in /upload/ since. `ours`: the
    names of what we lay beside them, and may have already.
    """
    if not epoch.staging or any(code == LATE for _, code, *_ in epoch.tallies):
        return ()
    copied = {one.name: one for one in epoch.files.filter(archive="")}
    taken = (Taken(one.name, one.size, one.sha256) for one in copied.values())
    there = (_as_it_lies(epoch, one, copied) for one in data_in(inside) if one.name not in ours)
    odd = odd_in(files_for(epoch.account.host), epoch, inside)
    found = (*odd_findings(odd), *late_findings(taken, there, is_applying(epoch)))
    return (*found, made_again(epoch.name)) if _is_made_again(epoch) else found


def _as_it_lies(epoch: Epoch, entry: Entry, copied: Mapping[str, EpochFile]) -> Taken:
    """A file as it lies there now. It is read only if it is as long as its copy and its host does not vouch for it."""
    name = meant_name(epoch, entry)
    before = copied.get(name)
    if before is None or before.size != entry.size:
        return Taken(name, entry.size, "")
    if before.mark == mark_of(entry):
        return Taken(name, entry.size, before.sha256)
    with files_for(epoch.account.host).open_read(paths.claimed(epoch.pk).child(entry.name)) as source:
        return Taken(name, entry.size, digest_of(source))


def _is_made_again(epoch: Epoch) -> bool:
    """Whether its directory is in /upload/ once more: of a file by itself that is nothing new."""
    if not is_epoch_name(epoch.name):
        return False
    same = Epoch.objects.filter(account=epoch.account_id, name=epoch.name, state__in=Epoch.OUTSIDE)
    return same.exclude(pk=epoch.pk).exists()


def _free_name(epoch: Epoch) -> str:
    """A name in /upload-processed/ that is free: the epoch's own, or with a number; never one already there, or one
    whose purge may have been broken off: it would take what lies there then."""
    files, place = _place(epoch)
    others = Epoch.objects.filter(account=epoch.account_id, purged=None).exclude(pk=epoch.pk).exclude(archive_name="")
    taken = {entry.name for entry in files.listing(place)}.union(others.values_list("archive_name", flat=True))
    own = epoch.name if EPOCH_NAME.fullmatch(epoch.name) else f"{epoch.started:%Y%m%d-%H%M%S}"
    name, number = own, 2
    while name in taken:
        name, number = f"{own}-{number}", number + 1
    return name


def _taken(inside: Iterable[Entry], epoch: Epoch) -> set[str]:
    """The names of what is the district's: a file we copied, or a directory or link we did not."""
    odd = {entry.name for entry in inside if odd_for(entry)}
    return odd | set(epoch.files.values_list("name", flat=True))


def _own_name(wanted: str, taken: set[str]) -> str:
    """A name that nothing of the district's has."""
    stem, _, ending = wanted.rpartition(".")
    name, number = wanted, 2
    while name in taken:
        name, number = f"{stem}-{number}.{ending}", number + 1
    return name


def log_record(epoch: Epoch, written: Written) -> None:
    """Keeps the chosen place, the log's text for the page, and what came late with the other findings."""
    epoch.archive_name, epoch.log = written.place, written.text
    if written.listing is not None:
        written.listing.save()
    Finding.objects.bulk_create(Finding.of(epoch, one) for one in logbook.late_kept(written.late))
    epoch.warnings += len(written.late)
    epoch.tallies = [*epoch.tallies, *([one.file, one.code, one.severity.value, 1] for one in written.late)]


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
    files.remove_tree(paths.claimed_aside(epoch.pk))


def move_record(epoch: Epoch, _: object) -> None:
    """Nothing but the step itself."""


def unmoved() -> QuerySet[Epoch]:
    """Epochs that staff have ended though they could not be moved, or not even be taken over."""
    steps = StepTime.objects.filter(epoch=OuterRef("pk"))
    rows = Epoch.objects.filter(finished__isnull=False, purged=None)
    return rows.filter(Exists(steps.filter(step=ENDED)), ~Exists(steps.filter(step="move")))


def unmoved_move() -> int:
    """Moves what could not be moved when its epoch was ended, and can be now; returns how many that were."""
    since, count = timezone.now() - timedelta(days=settings.PROCESSED_DAYS), 0
    for epoch in unmoved().filter(finished__gte=since).select_related("account__host", "district")[:1000]:
        try:
            count += _move_late(epoch)
        except HostError as error:  # tried again next hour
            logger.warning("Epoch %s could still not be moved: %s", epoch.pk, error.code)
    return count


def _move_late(epoch: Epoch) -> int:
    if not epoch.archive_name:
        files, claimed = files_for(epoch.account.host), paths.claimed(epoch.pk)
        if files.stat(claimed) is None or not (epoch.step or files.listing(claimed)):  # it lies in /upload/ to this day
            return 0
        epoch.started = epoch.started or epoch.finished
        StepTime.objects.get_or_create(epoch=epoch, step="load")
        written = log_write(epoch)
        with transaction.atomic():
            log_record(epoch, written)
            epoch.save()
    move(epoch)
    StepTime.objects.get_or_create(epoch=epoch, step="move")
    return 1


def purge() -> int:
    """Deletes from /upload-processed/ what is past its days; returns how many epochs that were."""
    before = timezone.now() - timedelta(days=settings.PROCESSED_DAYS)
    due = Epoch.objects.filter(finished__lt=before, purged=None)
    due = due.filter(~Q(archive_name="") | Q(pk__in=unmoved().values("pk")))
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
    if epoch.archive_name:
        files.remove_tree(place.child(epoch.archive_name))
    is_removed = bool(epoch.archive_name)
    if unmoved().filter(pk=epoch.pk).exists():
        claimed = paths.claimed(epoch.pk)
        is_removed |= files.stat(claimed) is not None and bool(epoch.step or files.listing(claimed))
        files.remove_tree(claimed)
    with transaction.atomic():
        FindingList.objects.filter(epoch=epoch).delete()
        if not Epoch.objects.filter(pk=epoch.pk, purged=None).update(purged=timezone.now()):
            return 0
        if not is_removed:  # it was left in /upload/, and lies there for all we know
            return 0
        counts = {"files": epoch.files.count(), "bytes": epoch.byte_count}
        where = f"/upload-processed/{epoch.archive_name}/" if epoch.archive_name else "never moved there"
        details = {"place": where, **counts}
        audit.record("epoch purged", district=epoch.district, subject=epoch.name, details=details)
    return 1
