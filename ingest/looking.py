"""Looks into every /upload/: remembers what it saw, decides from two looks and the clock what is ripe, queues it.

A host elsewhere tells whose uploads changed. Only those are looked at, those that the clock may have ripened, and by
turns all others, in case it told less than it should.
"""

import hashlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.leases import lease_kept, lease_take
from accounts.models import District, SftpAccount
from hosts import changes
from hosts.connect import files_for
from hosts.core import paths
from hosts.core.errors import HostError, NotThere, TooLarge
from hosts.files import Entry, EntryKind, HostFiles
from hosts.helper import HelperSilent
from hosts.models import Host, UploadsSeen

from . import rota, selectors, sighting, telling
from .catalogue import formats
from .core import discovery
from .core.choose import COMPLETE, recognise, recognise_alone
from .core.discovery import Look
from .models import Epoch, Finding
from .outcome import LEFT
from .rota import UNDECIDED

logger = logging.getLogger(__name__)
STRANGER = (
    "Not a date-time directory such as 20261122-020000, so it is not processed by itself. "
    "If it was meant as a nightly upload, send it again in such a directory, with COMPLETE last; "
    "or a single file under a name such as users_auto.csv."
)
OUTSIDE = (
    "COMPLETE belongs into the date-time directory of an upload, after its other files. "
    "Here it says nothing; a file such as users_auto.csv needs none."
)
CROWD = "/upload/"  # no entry has such a name
# What its district has to mend before it can be taken; if it does not, a person has to look.
NEVER_RIPE = (discovery.State.HOSTILE, discovery.State.TEMPORARY_NAMES, discovery.State.COMPLETE_MISNAMED)
LOOKED_AT_ONCE = 200


def look_everywhere() -> list[int]:
    """One look at every host, one after the other; returns the districts that have an epoch queued now."""
    queued = look_here()
    for host_pk in changes.hosts_to_look_at():
        queued += look_at_host(host_pk)
    return queued


def look_here() -> list[int]:
    """One look at every active district of the hosts on this machine; returns those with an epoch queued now.

    A district whose directory gives trouble is passed over; the others are looked at all the same.
    """
    known = _known(Epoch.objects.filter(account__host__kind=Host.Kind.EMBEDDED))
    here = SftpAccount.objects.filter(host__kind=Host.Kind.EMBEDDED, district__state=District.State.ACTIVE)
    queued: list[int] = []
    for account in here.select_related("district", "host"):
        _look_alone(account, known.get(account.pk, []), files_for(account.host), queued)
    return queued


def look_at_host(host_pk: int) -> list[int]:
    """One look at what may have changed on a host elsewhere; returns the districts with an epoch queued by now.

    Nothing if another look at it is under way. One that does not answer has a pause, and is then told on from where
    the last good look was.
    """
    UploadsSeen.objects.get_or_create(host_id=host_pk)
    rows = UploadsSeen.objects.filter(host=host_pk)
    token = lease_take(rows)
    queued: list[int] = []
    if token is None:
        return queued
    with lease_kept(rows, token):
        seen = rows.select_related("host").get()
        try:
            _look_round(seen, queued)
        except HostError as error:
            changes.pause_note(seen)
            logger.warning("The uploads of host %s could not be looked at: %s", host_pk, error.code)
    return queued


def _look_round(seen: UploadsSeen, queued: list[int]) -> None:
    """The place reached moves on when all is done: a worker that is killed before leaves it to the next."""
    files, now = files_for(seen.host), timezone.now()
    told = changes.told_since(files, changes.Place(seen.changes_file, seen.changes_offset))
    pks, owed = rota.accounts_due(seen, told.accounts, now), []
    accounts = SftpAccount.objects.filter(host=seen.host).select_related("district", "host")
    for start in range(0, len(pks), LOOKED_AT_ONCE):
        some = accounts.filter(pk__in=pks[start : start + LOOKED_AT_ONCE])
        active = [account for account in some if account.district.state == District.State.ACTIVE]
        # Whatever came while a district was suspended is taken when it is not any more.
        owed += [account.pk for account in some if account.district.state == District.State.SUSPENDED]
        files.look_ahead([paths.username(account.username) for account in active])
        known = _known(Epoch.objects.filter(account__in=active))
        owed += [one.pk for one in active if not _look_alone(one, known.get(one.pk, []), files, queued)]
    reached = {"changes_file": told.after.file, "changes_offset": told.after.offset, "owed": sorted(owed)}
    rows = UploadsSeen.objects.filter(pk=seen.pk, lease_token=seen.lease_token)
    rows.update(**reached, looked=now, tries=0, next_try=None)


def _known(epochs: QuerySet[Epoch]) -> dict[int, list[Epoch]]:
    """The epochs that lie in /upload/, as far as we know, by account."""
    # One that is stuck before it was claimed still lies in /upload/: it must not be taken for a new arrival.
    outside = Q(state__in=Epoch.OUTSIDE) | Q(state=Epoch.State.STUCK, step="") | Q(look_code=LEFT)
    by_account: dict[int, list[Epoch]] = {}
    for epoch in epochs.filter(outside).select_related("district"):
        by_account.setdefault(epoch.account_id, []).append(epoch)
    return by_account


def _look_alone(account: SftpAccount, known: Iterable[Epoch], files: HostFiles, queued: list[int]) -> bool:
    """One look whose trouble is its own; whether it is done with, or else is to come again soon.

    Raises HelperSilent: whoever is next would wait as long.
    """
    try:
        if look(account, known, files):
            queued.append(account.district_id)
    except HelperSilent:
        raise
    except HostError as error:
        logger.warning("The uploads of account %s could not be looked at: %s", account.pk, error.code)
        return not error.retry
    except Exception:  # one district's trouble must not keep the others waiting; the log has it
        logger.exception("The uploads of account %s could not be looked at.", account.pk)
        return False
    return True


def look(account: SftpAccount, known: Iterable[Epoch], files: HostFiles) -> bool:
    """One look at one district's /upload/. True if an epoch is queued."""
    username = paths.username(account.username)
    try:
        entries = files.listing(paths.upload(username))
    except NotThere:  # not provisioned yet, or being renamed
        return any(epoch.state == Epoch.State.QUEUED for epoch in known)
    except TooLarge as error:
        _look_at_crowd(account, known, error)
        return any(epoch.state == Epoch.State.QUEUED for epoch in known)
    rows = {epoch.name: epoch for epoch in known}
    writing = frozenset(files.open_writes(username))
    for entry in entries:
        name = sighting.name_of(entry)
        epoch = rows.pop(name, None)
        if epoch is not None and epoch.look_code == LEFT:
            epoch = epoch if _is_as_left(epoch, files, username, entry) else None
        epoch = epoch or _first_seen(account, name)
        if epoch is not None and epoch.state in UNDECIDED:
            _look_at_one(epoch, files, username, entry, writing)
            rows[name] = epoch
    present = {sighting.name_of(entry) for entry in entries}
    _note_gone(epoch for epoch in known if epoch.name not in present)
    return any(epoch.state == Epoch.State.QUEUED for epoch in [*rows.values(), *known])


def _look_at_crowd(account: SftpAccount, known: Iterable[Epoch], error: TooLarge) -> None:
    """The upload directory itself is too full to be listed: a row of its own tells of it, and what was known stays."""
    epoch = next((one for one in known if one.name == CROWD), None) or _first_seen(account, CROWD)
    if epoch is not None and epoch.state in UNDECIDED:
        _look_at_too_large(epoch, error)


def _first_seen(account: SftpAccount, name: str) -> Epoch | None:
    try:
        with transaction.atomic():
            now = timezone.now()
            return Epoch.objects.create(district=account.district, account=account, name=name, first_seen=now)
    except IntegrityError:  # another look was first; the next one goes on with its row
        return None


def _note_gone(epochs: Iterable[Epoch]) -> None:
    """Taken back (or renamed) by the district. A queued one may just have been claimed: its own step decides."""
    for epoch in epochs:
        if epoch.state in UNDECIDED:
            _write(epoch, state=Epoch.State.GONE, finished=timezone.now())
        elif epoch.look_code == LEFT:
            _write(epoch, look_code="")


def _is_as_left(epoch: Epoch, files: HostFiles, username: paths.Username, entry: Entry) -> bool:
    """Whether nobody has touched what staff ended where it lay. If anybody has, it is a new arrival from now on.

    What it is measured by was seen before it was queued. The same files sent again have other inodes or times; they
    are passed over only if an OpenSSH host, which tells less, has them in the same inodes with the same times.
    """
    path = paths.upload(username).child(entry.name)
    try:
        inside = files.listing(path) if entry.kind is EntryKind.DIRECTORY else (entry,)
    except HelperSilent:
        raise
    except HostError:  # perhaps just why it was ended
        return True
    marks = _marks_of(inside)
    if epoch.look_marks == marks or (not epoch.look_marks and _is_as_looked_at(epoch, inside)):
        _write(epoch, look_marks=marks)
        return True
    _write(epoch, look_code="")
    return False


def _marks_of(inside: Iterable[Entry]) -> str:
    """A digest of what a host tells of these that changes with their content, or when they are sent again."""
    told = "\0".join(f"{one.name}\0{one.kind}\0{sighting.mark_of(one)}" for one in inside)
    return hashlib.blake2b(told.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _is_as_looked_at(epoch: Epoch, inside: Sequence[Entry]) -> bool:
    """The same of one of which no marks are kept, since it could not be listed, or an older version looked at it."""
    is_newer = epoch.queued is not None and any(one.changed > epoch.queued.timestamp() * 1e9 for one in inside)
    return epoch.look_digest in (_marks_of(inside), sighting.look_of(inside).digest) and not is_newer


def _look_at_one(
    epoch: Epoch, files: HostFiles, username: paths.Username, entry: Entry, writing: frozenset[str]
) -> None:
    """What cannot be read (or left this moment) says so itself; what lies beside it is looked at all the same."""
    try:
        _look_at(epoch, files, username, entry, writing)
    except HelperSilent:
        raise
    except TooLarge as error:
        _look_at_too_large(epoch, error)
    except HostError as error:
        logger.warning("Epoch %s could not be looked at: %s", epoch.pk, error.code)
        _judge(epoch, epoch.state, error.code, error.message)


def _look_at_too_large(epoch: Epoch, error: TooLarge) -> None:
    """More than a host lists. Its district may still be tidying up; a person looks at it when it rests."""
    seen = Look.unseen(error.message)
    if seen.digest != epoch.look_digest:
        _note_change(epoch, seen)
    if epoch.state == Epoch.State.ARRIVING or epoch.hurry:
        if _rests(epoch, timezone.now() - epoch.look_since):
            _leave_for_staff(epoch, discovery.State.TOO_LARGE.value, error.message)
        else:
            _judge(epoch, epoch.state, discovery.State.TOO_LARGE.value, error.message)


def _look_at(epoch: Epoch, files: HostFiles, username: paths.Username, entry: Entry, writing: frozenset[str]) -> None:
    path = paths.upload(username).child(entry.name)
    is_directory = entry.kind is EntryKind.DIRECTORY
    inside = files.listing(path) if is_directory else (entry,)
    seen, now = sighting.look_of(inside), timezone.now()
    if seen.digest != epoch.look_digest:
        _note_change(epoch, seen)
    _note_marks(epoch, _marks_of(inside))
    still = now - epoch.look_since
    is_open = sighting.is_written(epoch.name, writing)
    own = discovery.auto_name(entry.name) if entry.kind is EntryKind.FILE else None
    if own is None and not (is_directory and discovery.is_epoch_name(entry.name)):
        _look_at_stranger(epoch, seen, still, is_open)
        return
    seconds = settings.INGEST_QUIET_SECONDS if own is None else settings.INGEST_AUTO_QUIET_SECONDS
    quiet = timedelta(0) if epoch.hurry else timedelta(seconds=seconds)
    ripeness = discovery.ripeness(seen, still, is_open, quiet, alone=own is not None)
    ripeness = discovery.stalled(ripeness, still, timedelta(hours=settings.INGEST_STALLED_HOURS))
    ripeness = discovery.never_rests(ripeness, epoch.look_since - epoch.changing_since)
    if ripeness.state in (discovery.State.UPLOADING, discovery.State.STALLED) and _was_taken(epoch):
        ripeness = discovery.made_again(ripeness)
    if ripeness.ripe:
        if epoch.state == Epoch.State.ARRIVING or epoch.hurry:
            _recognise(epoch, files, {own: path} if own else {one.name: path.child(one.name) for one in inside}, own)
    elif ripeness.state in NEVER_RIPE and _rests(epoch, still):
        if epoch.state == Epoch.State.ARRIVING or epoch.hurry:
            with transaction.atomic():
                _note_unread(epoch, seen)
                _leave_for_staff(epoch, ripeness.state.value, ripeness.message)
    elif epoch.state == Epoch.State.ARRIVING or epoch.hurry:
        with transaction.atomic():
            if ripeness.state is discovery.State.STALLED and epoch.look_code != ripeness.state.value:
                telling.stalled(epoch, ripeness.message)
            _judge(epoch, epoch.state, ripeness.state.value, ripeness.message)


def _was_taken(epoch: Epoch) -> bool:
    """Whether another upload of its name was taken from the same district."""
    others = Epoch.objects.filter(district=epoch.district_id, name=epoch.name).exclude(pk=epoch.pk)
    return others.exclude(state__in=(*Epoch.OUTSIDE, Epoch.State.GONE)).exists()


def _rests(epoch: Epoch, still: timedelta) -> bool:
    """Whether it has been left alone so long (or staff are in such a hurry) that a person should look at it."""
    return epoch.hurry or still >= timedelta(minutes=settings.INGEST_STRANGER_QUIET_MINUTES)


def _note_unread(epoch: Epoch, seen: Look) -> None:
    """A finding for each entry that keeps it from being read, of the first ones only."""
    found = discovery.unread_findings(seen)
    epoch.findings.all().delete()
    told = [Finding(epoch=epoch, file=one.file, code=one.code, severity=one.severity, message=one.message)
            for one in found[: settings.INGEST_FINDINGS_PER_CODE]]  # fmt: skip
    Finding.objects.bulk_create(told)
    _write(epoch, errors=len(found))


def _note_change(epoch: Epoch, seen: Look) -> None:
    """Something arrived or left: whatever was decided of it before is open again."""
    if epoch.errors:
        epoch.findings.all().delete()
    data = [one for one in seen.entries if one.kind is discovery.Kind.FILE and one.name != COMPLETE]
    now = timezone.now()
    has_rested = now - epoch.look_since >= timedelta(hours=settings.INGEST_STALLED_HOURS)
    _write(
        epoch,
        state=Epoch.State.ARRIVING,
        look_digest=seen.digest,
        look_since=now,
        changing_since=now if has_rested else epoch.changing_since,
        look_code="",
        look_sentence="",
        errors=0,
        unpacked_bytes=0,
        file_count=len(data),
        byte_count=sum(one.size for one in data),
    )


def _note_marks(epoch: Epoch, marks: str) -> None:
    """Up to when it is queued: should staff end it where it lies, whatever is sent from then on is something new."""
    if epoch.look_marks != marks:
        _write(epoch, look_marks=marks)


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


def _recognise(epoch: Epoch, files: HostFiles, places: Mapping[str, paths.HostPath], own: str | None) -> None:
    """By the files' names, which are `places`' keys, and their first lines; `own`: of the one sent by itself."""
    seen = sighting.see(places, lambda name: files.open_read(places[name]), selectors.delimiter_in(epoch.district))
    if seen.trouble:
        _leave_for_staff(epoch, "zip-refused", seen.trouble)
        return
    if seen.unpacked:
        _write(epoch, unpacked_bytes=seen.unpacked)
    if own:
        found = recognise_alone(seen.sightings[0], formats(), selectors.format_of(epoch.district))
    else:
        found = recognise(seen.sightings, formats(), seen.container)
    if found.format is None:
        _leave_for_staff(epoch, "not-recognised", found.message)
        return
    _judge(epoch, Epoch.State.QUEUED, "", "", format=found.format.name, queued=timezone.now())


def _look_at_stranger(epoch: Epoch, seen: Look, still: timedelta, is_open: bool) -> None:
    """Something that is no epoch: a dump of the old system, a file in the wrong place. Staff are told when it rests."""
    if epoch.state != Epoch.State.ARRIVING:
        if epoch.hurry:  # only a format given by hand can take it any further
            _write(epoch, hurry=False)
        return
    code, sentence = discovery.State.STRANGER, OUTSIDE if epoch.name == COMPLETE else STRANGER
    if is_open or not _rests(epoch, still):
        _judge(epoch, epoch.state, code.value, sentence)
        return
    unread = discovery.never_read(seen)
    with transaction.atomic():
        if unread is not None:
            _note_unread(epoch, seen)
            code, sentence = discovery.State.UNREAD_STRANGER, f"{unread.message} {sentence}"
        _leave_for_staff(epoch, code.value, sentence)


def _leave_for_staff(epoch: Epoch, code: str, sentence: str) -> None:
    """Left untouched where it lies. Staff are told the first time, not at every change the district makes after."""
    with transaction.atomic():
        _judge(epoch, Epoch.State.WAITING_STAFF, code, sentence)
        if epoch.state == Epoch.State.WAITING_STAFF and not epoch.staff_told:
            telling.waiting_staff(epoch)
            _write(epoch, staff_told=True)
