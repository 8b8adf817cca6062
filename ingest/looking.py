"""Looks into every /upload/: remembers what it saw, decides from two looks and the clock what is ripe, queues it."""

import logging
from collections.abc import Iterable
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import District, SftpAccount
from hosts.connect import files_for
from hosts.core import paths
from hosts.core.errors import HostError, NotThere
from hosts.files import Entry, EntryKind, HostFiles

from . import sighting, telling
from .catalogue import formats
from .core import discovery
from .core.choose import COMPLETE, recognise
from .core.discovery import Listed, Look
from .models import Epoch

logger = logging.getLogger(__name__)
UNDECIDED = (Epoch.State.ARRIVING, Epoch.State.WAITING_STAFF)
STRANGER = (
    "Not a date-time directory such as 20261122-020000, so it is not processed by itself. "
    "If it was meant as a nightly upload, send it again in such a directory, with COMPLETE last."
)
# What its district has to mend before it can be taken; if it does not, a person has to look.
NEVER_RIPE = (discovery.State.HOSTILE, discovery.State.TEMPORARY_NAMES, discovery.State.COMPLETE_MISNAMED)


def look_everywhere() -> list[int]:
    """One look at every active district; returns those that have an epoch queued now.

    A district whose host or directory gives trouble is passed over; the others are looked at all the same.
    """
    # One that is stuck before it was claimed still lies in /upload/: it must not be taken for a new arrival.
    outside = Q(state__in=Epoch.OUTSIDE) | Q(state=Epoch.State.STUCK, step="")
    open_rows = Epoch.objects.filter(outside).select_related("district")
    by_account: dict[int, list[Epoch]] = {}
    for epoch in open_rows:
        by_account.setdefault(epoch.account_id, []).append(epoch)
    accounts = SftpAccount.objects.filter(district__state=District.State.ACTIVE).select_related("district", "host")
    queued = []
    for account in accounts:
        try:
            if look(account, by_account.get(account.pk, [])):
                queued.append(account.district_id)
        except HostError as error:
            logger.warning("The uploads of account %s could not be looked at: %s", account.pk, error.code)
        except Exception:  # one district's trouble must not keep the others waiting; the log has it
            logger.exception("The uploads of account %s could not be looked at.", account.pk)
    return queued


def look(account: SftpAccount, known: Iterable[Epoch]) -> bool:
    """One look at one district's /upload/. True if an epoch is queued."""
    files = files_for(account.host)
    username = paths.username(account.username)
    try:
        entries = files.listing(paths.upload(username))
    except NotThere:  # not provisioned yet, or being renamed
        return any(epoch.state == Epoch.State.QUEUED for epoch in known)
    rows = {epoch.name: epoch for epoch in known}
    writing = frozenset(files.open_writes(username))
    for entry in entries:
        name = sighting.name_of(entry)
        epoch = rows.pop(name, None) or _first_seen(account, name)
        if epoch is not None and epoch.state in UNDECIDED:
            _look_at_one(epoch, files, username, entry, writing)
            rows[name] = epoch
    present = {sighting.name_of(entry) for entry in entries}
    _note_gone(epoch for epoch in known if epoch.name not in present)
    return any(epoch.state == Epoch.State.QUEUED for epoch in [*rows.values(), *known])


def _first_seen(account: SftpAccount, name: str) -> Epoch | None:
    try:
        with transaction.atomic():
            return Epoch.objects.create(district=account.district, account=account, name=name)
    except IntegrityError:  # another look was first; the next one goes on with its row
        return None


def _note_gone(epochs: Iterable[Epoch]) -> None:
    """Taken back (or renamed) by the district. A queued one may just have been claimed: its own step decides."""
    for epoch in epochs:
        if epoch.state in UNDECIDED:
            _write(epoch, state=Epoch.State.GONE, finished=timezone.now())


def _look_at_one(
    epoch: Epoch, files: HostFiles, username: paths.Username, entry: Entry, writing: frozenset[str]
) -> None:
    """What cannot be read (or left this moment) says so itself; what lies beside it is looked at all the same."""
    try:
        _look_at(epoch, files, username, entry, writing)
    except HostError as error:
        logger.warning("Epoch %s could not be looked at: %s", epoch.pk, error.code)
        _judge(epoch, epoch.state, error.code, error.message)


def _look_at(epoch: Epoch, files: HostFiles, username: paths.Username, entry: Entry, writing: frozenset[str]) -> None:
    path = paths.upload(username).child(entry.name)
    is_directory = entry.kind is EntryKind.DIRECTORY
    inside = files.listing(path) if is_directory else (entry,)
    seen, now = Look.of(_listed(one) for one in inside), timezone.now()
    if seen.digest != epoch.look_digest:
        _note_change(epoch, seen)
    still = now - epoch.look_since
    is_open = any(name == epoch.name or name.startswith(f"{epoch.name}/") for name in writing)
    if not is_directory or not discovery.is_epoch_name(entry.name):
        _look_at_stranger(epoch, still, is_open)
        return
    quiet = timedelta(0) if epoch.hurry else timedelta(seconds=settings.INGEST_QUIET_SECONDS)
    ripeness = discovery.ripeness(seen, still, is_open, quiet)
    if ripeness.ripe:
        if epoch.state == Epoch.State.ARRIVING or epoch.hurry:
            _recognise(epoch, files, path, [one.name for one in inside])
    elif ripeness.state in NEVER_RIPE and _rests(epoch, still):
        if epoch.state == Epoch.State.ARRIVING or epoch.hurry:
            _leave_for_staff(epoch, ripeness.state.value, ripeness.message)
    elif epoch.state == Epoch.State.ARRIVING or epoch.hurry:
        _judge(epoch, epoch.state, ripeness.state.value, ripeness.message)


def _rests(epoch: Epoch, still: timedelta) -> bool:
    """Whether it has been left alone so long (or staff are in such a hurry) that a person should look at it."""
    return epoch.hurry or still >= timedelta(minutes=settings.INGEST_STRANGER_QUIET_MINUTES)


def _note_change(epoch: Epoch, seen: Look) -> None:
    """Something arrived or left: whatever was decided of it before is open again."""
    data = [one for one in seen.entries if one.kind is discovery.Kind.FILE and one.name != COMPLETE]
    _write(
        epoch,
        state=Epoch.State.ARRIVING,
        look_digest=seen.digest,
        look_since=timezone.now(),
        look_code="",
        look_sentence="",
        file_count=len(data),
        byte_count=sum(one.size for one in data),
    )


def _judge(epoch: Epoch, state: str, code: str, sentence: str, **more: object) -> None:
    """Writes down what was decided, if it is not what the row says already."""
    told = {"state": state, "look_code": code, "look_sentence": sentence[:600], **more}
    if epoch.hurry:
        told["hurry"] = False
    if any(getattr(epoch, name) != value for name, value in told.items()):
        _write(epoch, **told)


def _write(epoch: Epoch, **values: object) -> None:
    """Writes only if the row is still in the state this look knows: staff or a worker may have been quicker."""
    if Epoch.objects.filter(pk=epoch.pk, state=epoch.state).update(**values):
        for name, value in values.items():
            setattr(epoch, name, value)


def _recognise(epoch: Epoch, files: HostFiles, path: paths.HostPath, names: list[str]) -> None:
    seen = sighting.see(names, lambda name: files.open_read(path.child(name)))
    if seen.trouble:
        _leave_for_staff(epoch, "zip-refused", seen.trouble)
        return
    found = recognise(seen.sightings, formats(), seen.container)
    if found.format is None:
        _leave_for_staff(epoch, "not-recognised", found.message)
        return
    _judge(epoch, Epoch.State.QUEUED, "", "", format=found.format.name, queued=timezone.now())


def _look_at_stranger(epoch: Epoch, still: timedelta, is_open: bool) -> None:
    """Something that is no epoch: a dump of the old system, a file in the wrong place. Staff are told when it rests."""
    if epoch.state != Epoch.State.ARRIVING:
        if epoch.hurry:  # only a format given by hand can take it any further
            _write(epoch, hurry=False)
        return
    if is_open or not _rests(epoch, still):
        _judge(epoch, epoch.state, "stranger", STRANGER)
    else:
        _leave_for_staff(epoch, "stranger", STRANGER)


def _leave_for_staff(epoch: Epoch, code: str, sentence: str) -> None:
    """Left untouched where it lies. Staff are told the first time, not at every change the district makes after."""
    with transaction.atomic():
        _judge(epoch, Epoch.State.WAITING_STAFF, code, sentence)
        if epoch.state == Epoch.State.WAITING_STAFF and not epoch.staff_told:
            telling.waiting_staff(epoch)
            _write(epoch, staff_told=True)


def _listed(entry: Entry) -> Listed:
    return Listed(entry.name, discovery.Kind(entry.kind.value), entry.size, entry.links)
