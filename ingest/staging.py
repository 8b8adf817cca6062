"""Takes an epoch out of the district's reach, and makes the one private copy that everything after works on."""

import errno
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.utils import timezone

from accounts.models import RetiredUsername
from hosts import helper
from hosts.connect import files_for
from hosts.core import paths
from hosts.core.errors import AlreadyThere, HostDown, HostError, NotThere, TooLarge
from hosts.files import Entry, EntryKind, HostFiles
from hosts.models import Host

from .core.choose import COMPLETE
from .core.container import read_archive
from .core.delimiters import COMMA, delimiter_of
from .core.discovery import auto_name, never_read
from .core.encodings import WINDOWS_1252, as_utf_8, is_windows_1252
from .core.errors import ArchiveError
from .core.verdict import Source
from .models import Epoch, EpochFile
from .selectors import file_settings_of
from .sighting import LIMITS, is_written, is_zip, look_of, mark_of, name_of, odd_for, the_one_zip

BLOCK = 1024 * 1024
# A change this soon after another one may leave the same time on a file.
SAME_MOMENT = 2_000_000_000
FULL = (errno.ENOSPC, errno.EDQUOT)


class Vanished(HostError):
    """The directory is no longer in /upload/: the district took it back before we did."""

    code = "vanished"
    retry = False


class NoRoom(HostError):
    """There is no space left on the portal's own disk, where private copies lie."""

    code = "no-room"
    retry = True
    about = "There is no room left on our side for the files of this epoch. Nothing is lost."


class FilesLost(HostError):
    """What was claimed is not (all) where it was put, or is not what it was, and there is no copy of it either."""

    code = "files-lost"
    retry = False
    about = "Files of this epoch are lost or damaged on our side."


class NotAtRest(HostError):
    """Since the directory was found complete, somebody has begun to send to it again."""

    code = "not-at-rest"
    retry = True


class StillWritten(HostError):
    """What was claimed has changed while it was copied: the copies may be of two states of it."""

    code = "still-written"
    retry = True


class BeingRenamed(HostError):
    """The account has a new user name that its host has not heard of yet: its directory moves in a moment."""

    code = "being-renamed"
    retry = True


@contextmanager
def room_needed() -> Iterator[None]:
    """Raises NoRoom where what is written inside finds our disk, or its share of it, full."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise NoRoom(NoRoom.about) from error


@contextmanager
def claimed_needed(files: HostFiles, epoch: Epoch) -> Iterator[None]:
    """Raises FilesLost where what is done inside finds that what was claimed is no longer there."""
    try:
        yield
    except NotThere as error:
        if files.stat(paths.claimed(epoch.pk)) is not None:
            raise
        raise FilesLost(FilesLost.about) from error


@dataclass(frozen=True, slots=True)
class Copied:
    """One private copy: its number in staging, its name for people, the zip it came in (or ""), size and digest.

    `encoding`: what it is written in if that is not UTF-8 and its district may send such files. `delimiter`: what it is
    read by if its district says that it is not commas. `mark`: as `mark_of` tells.
    """

    number: int
    name: str
    archive: str
    size: int
    sha256: str
    encoding: str = ""
    delimiter: str = ""
    mark: str = ""


def claim(epoch: Epoch) -> object:
    """Renames the directory out of the district's reach. Done before? Then there is nothing left to do.

    Staff may have given a format to a single loose file; that one is moved into a directory of its own. Raises
    NotAtRest: it may have been queued long ago.
    """
    files = files_for(epoch.account.host)
    mine = paths.claimed(epoch.pk)
    there = files.stat(mine)
    if there is not None and files.listing(mine):
        return None
    upload = paths.upload(paths.username(epoch.account.username))
    entry = next((one for one in _listing(files, upload) if name_of(one) == epoch.name), None)
    if entry is None:
        if there is not None:
            return None
        raise _not_found(epoch)
    _rest_needed(files, epoch, entry)
    target = mine
    if entry.kind is not EntryKind.DIRECTORY:
        files.make_directory(mine)
        target = mine.child(entry.name)
    files.rename(upload.child(entry.name), target)
    if epoch.account.host.kind == Host.Kind.EMBEDDED:  # elsewhere the claim itself ends whoever has a file open
        _unopened_needed(files, epoch, target, upload.child(entry.name))
    return None


def _unopened_needed(files: HostFiles, epoch: Epoch, mine: paths.HostPath, theirs: paths.HostPath) -> None:
    """Gives back what somebody began to write in the moment in which it was taken. From then on no write reaches it.

    If the district has put another there meanwhile, that is what is open.
    """
    if is_written(epoch.name, files.open_writes(paths.username(epoch.account.username))):
        with suppress(AlreadyThere):
            files.rename(mine, theirs)
            raise NotAtRest("Files of it are being sent just now. We try again.")


def _rest_needed(files: HostFiles, epoch: Epoch, entry: Entry) -> None:
    username = paths.username(epoch.account.username)
    if is_written(epoch.name, files.open_writes(username)):
        raise NotAtRest("Files of it are being sent just now. We try again.")
    place = paths.upload(username).child(entry.name)
    try:
        look = look_of(files.listing(place) if entry.kind is EntryKind.DIRECTORY else (entry,))
    except TooLarge as error:
        raise NotAtRest(error.message) from error
    if unread := never_read(look):  # whatever staff have said it is
        raise NotAtRest(unread.message)
    # What staff have looked at is what they wanted.
    if epoch.look_digest and not epoch.format_by_id and look.digest != epoch.look_digest:
        raise NotAtRest("Its files have changed since it was complete. We look at it again.")


def _not_found(epoch: Epoch) -> HostError:
    if RetiredUsername.objects.filter(account=epoch.account, cleared=None).exists():
        return BeingRenamed("The account is about to get its new user name on the host. We try again.")
    return Vanished("The directory is no longer in /upload/.")


def _listing(files: HostFiles, path: paths.HostPath) -> tuple[Entry, ...]:
    try:
        return files.listing(path)
    except NotThere:
        return ()


def claim_record(epoch: Epoch, _: object) -> None:
    """From here on the epoch is ours."""
    epoch.state, epoch.started = Epoch.State.WORKING, timezone.now()


def copy(epoch: Epoch) -> tuple[str, tuple[Copied, ...]]:
    """Copies every file once, zips unpacked, into a fresh private directory; returns its name and what lies in it.

    A worker that was killed half-way left a directory nobody will name; `clear` removes it with the rest. One that
    fails takes its own away, so that no try leaves less room for the next. Raises NoRoom.
    """
    files = files_for(epoch.account.host)
    attempt = secrets.token_hex(8)
    place = staged(epoch.pk, attempt)
    try:
        with room_needed(), claimed_needed(files, epoch):
            place.mkdir(parents=True, mode=0o700)
            copied = tuple(_copies(files, epoch, place))
    except Exception:
        shutil.rmtree(place, ignore_errors=True)
        raise
    said = file_settings_of(epoch.district)
    if said.windows_1252:
        copied = tuple(replace(one, encoding=_encoding(one, place)) for one in copied)
    if said.delimiter != COMMA.word:
        copied = tuple(replace(one, delimiter=said.delimiter) for one in copied)
    return attempt, copied


def _encoding(one: Copied, place: Path) -> str:
    with (place / f"{one.number:05}").open("rb") as file:
        return WINDOWS_1252 if not is_zip(one.name) and is_windows_1252(file) else ""


def _copies(files: HostFiles, epoch: Epoch, place: Path) -> Iterator[Copied]:
    claimed, numbers, now = paths.claimed(epoch.pk), count(), time.time_ns()
    entries = data_in(files.listing(claimed))
    packed = the_one_zip(entry.name for entry in entries)
    for entry in entries:
        target = place / f"{next(numbers):05}"
        with files.open_read(claimed.child(entry.name)) as source:
            copied = _copy_stream(source, target, meant_name(epoch, entry), "")
        yield replace(copied, mark="" if entry.changed > now - SAME_MOMENT else mark_of(entry))
        if entry.name == packed:
            yield from _unpacked(target, name_of(entry), place, numbers)
    if data_in(files.listing(claimed)) != entries:
        raise StillWritten("Its files were still changing while we copied them. We copy them again.")


def digest_of(source: BinaryIO) -> str:
    """The digest of what is read from there, as that of a copy is told."""
    digest = hashlib.sha256()
    while block := source.read(BLOCK):
        digest.update(block)
    return digest.hexdigest()


def data_in(inside: Iterable[Entry]) -> list[Entry]:
    """The files among what lies in a claimed directory that are copied: the plain ones.

    Whatever else is there came after the last look, in the moment of the claim.
    """
    return [one for one in inside if one.name != COMPLETE and not odd_for(one)]


def odd_in(files: HostFiles, epoch: Epoch, inside: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    """What else lies there, by name and `odd_for`: it came after the last look, in the moment of the claim.

    An OpenSSH host has moved links and the like aside, under numbers; there a plain file has a second name.
    """
    yield from ((one.name, odd_for(one)) for one in inside if odd_for(one))
    aside = _listing(files, paths.claimed_aside(epoch.pk))
    names = _names_aside(files, epoch) if aside else {}
    for one in aside:
        yield names.get(one.name, f"{epoch.name}/"), odd_for(one) or "second-name"


def _names_aside(files: HostFiles, epoch: Epoch) -> Mapping[str, str]:
    """What that was called before it was moved aside, by its number there: the host has it in its record of the claim.

    So nothing has to be kept here, and a worker that died after the claim has lost nothing. Asking begins no new claim,
    as what was claimed lies there. Where the record is lost, or of another name, it goes on without these names.
    """
    try:
        return helper.claim(files, paths.username(epoch.account.username), epoch.name, epoch.pk).odd
    except HostDown:  # asked again in a moment
        raise
    except HostError:
        return {}


def meant_name(epoch: Epoch, entry: Entry) -> str:
    """The file's name; of one that is an epoch by itself, the name it stands for."""
    name = name_of(entry)
    return auto_name(name) or name if name == epoch.name else name


def is_alone(epoch: Epoch) -> bool:
    """Whether it is one file that was sent as an epoch by itself, as `users_auto.csv` is."""
    own = auto_name(epoch.name)
    return own is not None and [file.name for file in epoch.files.all()] == [own]


def _unpacked(packed: Path, name: str, place: Path, numbers: Iterator[int]) -> Iterator[Copied]:
    """The members of our copy of a zip, each a copy of its own; a refused zip has none, and the check says why."""
    with packed.open("rb") as file:
        archive = read_archive(file, name, LIMITS)
        for member in archive.members if archive.ok else ():
            target = place / f"{next(numbers):05}"
            try:
                with archive.open(member.name) as source:
                    yield _copy_stream(source, target, member.name, name)
            except (
                ArchiveError
            ):  # damaged: no copy, so the check finds the file missing, and reads the zip's own findings
                target.unlink(missing_ok=True)


def _copy_stream(source: BinaryIO, target: Path, name: str, archive: str) -> Copied:
    digest, size = hashlib.sha256(), 0
    with target.open("xb") as out:
        while block := source.read(BLOCK):
            digest.update(block)
            size += out.write(block)
        out.flush()
        os.fsync(out.fileno())
    return Copied(int(target.name), name, archive, size, digest.hexdigest())


def is_copied(epoch: Epoch) -> bool:
    """Whether every private copy is still where it was put; whoever has replaced a disk has lost them."""
    files = [(staged_file(file), file.size) for file in epoch.files.all()]
    try:
        return staged(epoch.pk, epoch.staging).is_dir() and all(place.stat().st_size == size for place, size in files)
    except FileNotFoundError:
        return False


def copy_again(epoch: Epoch) -> str:
    """Makes the private copies anew; the name of their directory. Each has to be what it was.

    Raises FilesLost or NoRoom.
    """
    try:
        attempt, copied = copy(epoch)
    except NotThere as error:
        raise FilesLost(FilesLost.about) from error
    before = epoch.files.values_list("position", "name", "archive", "size", "sha256")
    if {(one.number, one.name, one.archive, one.size, one.sha256) for one in copied} != set(before):
        shutil.rmtree(staged(epoch.pk, attempt), ignore_errors=True)
        raise FilesLost(FilesLost.about)
    return attempt


def copy_record(epoch: Epoch, prepared: tuple[str, tuple[Copied, ...]]) -> None:
    """Notes each copy with its digest; only what is noted here is ever read again."""
    attempt, copied = prepared
    epoch.staging = attempt
    epoch.unpacked_bytes = sum(one.size for one in copied if one.archive)
    epoch.files.all().delete()
    EpochFile.objects.bulk_create(
        EpochFile(
            epoch=epoch,
            position=one.number,
            name=one.name,
            archive=one.archive,
            size=one.size,
            sha256=one.sha256,
            encoding=one.encoding,
            delimiter=one.delimiter,
            mark=one.mark,
        )
        for one in copied
    )


def staged(epoch_pk: int, attempt: str) -> Path:
    """The private directory of one attempt at copying an epoch; both parts are made by us."""
    return settings.STAGING_DIR / str(epoch_pk) / attempt


def staged_file(file: EpochFile) -> Path:
    """The private copy of one file."""
    return staged(file.epoch_id, file.epoch.staging) / f"{file.position:05}"


def staged_open(file: EpochFile) -> BinaryIO:
    """The private copy of one file, opened for reading; as UTF-8 if it is known to be written otherwise."""
    stream = staged_file(file).open("rb")
    return as_utf_8(stream) if file.encoding else stream


def staged_source(file: EpochFile) -> Source:
    """The private copy of one file, as a check and a comparison read it."""
    return Source(file.name, partial(staged_open, file), file.encoding, delimiter_of(file.delimiter))


def clear(epoch_pk: int) -> None:
    """Removes all private copies of an epoch."""
    shutil.rmtree(settings.STAGING_DIR / str(epoch_pk), ignore_errors=True)


def sweep() -> None:
    """Removes private copies that nobody will read: of epochs that have ended, and those of an attempt that was killed.

    Their worker died before it could.
    """
    if not settings.STAGING_DIR.is_dir():
        return
    numbers = [int(place.name) for place in settings.STAGING_DIR.iterdir() if place.name.isdecimal()]
    for pk in Epoch.objects.filter(pk__in=numbers, state__in=Epoch.ENDED).values_list("pk", flat=True):
        clear(pk)
    # Once an attempt is on record another one is begun only if it is lost, by whoever works on it then.
    copied = Epoch.objects.filter(pk__in=numbers).exclude(state__in=Epoch.ENDED).exclude(staging="")
    copied = copied.exclude(district__lane__lease_until__gte=timezone.now())
    for pk, attempt in copied.values_list("pk", "staging"):
        for place in (settings.STAGING_DIR / str(pk)).glob("*"):
            if place.name != attempt:
                shutil.rmtree(place, ignore_errors=True)
