"""Takes an epoch out of the district's reach, and makes the one private copy that everything after works on."""

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.utils import timezone

from hosts.connect import files_for
from hosts.core import paths
from hosts.core.errors import HostError, NotThere
from hosts.files import Entry, EntryKind, HostFiles

from .core.choose import COMPLETE
from .core.container import read_archive
from .core.errors import ArchiveError
from .models import Epoch, EpochFile
from .sighting import LIMITS, name_of, the_one_zip

BLOCK = 1024 * 1024


class Vanished(HostError):
    """The directory is no longer in /upload/: the district took it back before we did."""

    code = "vanished"
    retry = False


@dataclass(frozen=True, slots=True)
class Copied:
    """One private copy: its number in staging, its name for people, the zip it came in (or ""), size and digest."""

    number: int
    name: str
    archive: str
    size: int
    sha256: str


def claim(epoch: Epoch) -> object:
    """Renames the directory out of the district's reach. Done before? Then there is nothing left to do.

    Staff may have given a format to a single loose file; that one is moved into a directory of its own.
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
        raise Vanished("The directory is no longer in /upload/.")
    if entry.kind is EntryKind.DIRECTORY:
        files.rename(upload.child(entry.name), mine)
    else:
        files.make_directory(mine)
        files.rename(upload.child(entry.name), mine.child(entry.name))
    return None


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

    A worker that was killed half-way left a directory nobody will name; `clear` removes it with the rest.
    """
    files = files_for(epoch.account.host)
    attempt = secrets.token_hex(8)
    place = staged(epoch.pk, attempt)
    place.mkdir(parents=True, mode=0o700)
    copied = tuple(_copies(files, epoch.pk, place))
    return attempt, copied


def _copies(files: HostFiles, number: int, place: Path) -> Iterator[Copied]:
    claimed, numbers = paths.claimed(number), count()
    entries = [one for one in files.listing(claimed) if one.kind is EntryKind.FILE and one.name != COMPLETE]
    packed = the_one_zip(entry.name for entry in entries)
    for entry in entries:
        target = place / f"{next(numbers):05}"
        with files.open_read(claimed.child(entry.name)) as source:
            yield _copy_stream(source, target, name_of(entry), "")
        if entry.name == packed:
            yield from _unpacked(target, name_of(entry), place, numbers)


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


def copy_record(epoch: Epoch, prepared: tuple[str, tuple[Copied, ...]]) -> None:
    """Notes each copy with its digest; only what is noted here is ever read again."""
    attempt, copied = prepared
    epoch.staging = attempt
    epoch.files.all().delete()
    EpochFile.objects.bulk_create(
        EpochFile(
            epoch=epoch,
            position=one.number,
            name=one.name,
            archive=one.archive,
            size=one.size,
            sha256=one.sha256,
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
    """The private copy of one file, opened for reading."""
    return staged_file(file).open("rb")


def clear(epoch_pk: int) -> None:
    """Removes all private copies of an epoch."""
    shutil.rmtree(settings.STAGING_DIR / str(epoch_pk), ignore_errors=True)


def sweep() -> None:
    """Removes the private copies of epochs that have ended: their worker died before it could."""
    if not settings.STAGING_DIR.is_dir():
        return
    numbers = [int(place.name) for place in settings.STAGING_DIR.iterdir() if place.name.isdecimal()]
    for pk in Epoch.objects.filter(pk__in=numbers, state__in=Epoch.ENDED).values_list("pk", flat=True):
        clear(pk)
