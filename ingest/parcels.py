"""Files on this machine's own disk, as somebody would upload them: a folder, a zip, a single file. Nothing is followed.

No database and no settings: whoever checks files before they are sent need not have any.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from hosts.core import paths

from .core.container import read_archive
from .core.discovery import UNREAD
from .core.findings import Finding, Severity
from .core.schema import Container
from .sighting import LIMITS, the_one_zip

LONGEST_NAME = 255
MOST_ENTRIES = 1000
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# A pipe that was put in a file's place is opened without waiting for whoever writes to it, and then refused.
FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
Open = Callable[[], BinaryIO]
DAMAGED = "The zip cannot be read to its end."


class NotReadable(Exception):
    """What was named cannot be looked at; `message` is a sentence for whoever named it."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class Parcel:
    """Files to be looked at, by name. `trouble` is said of what else lies there, and of a zip by itself.

    `refused`: why a zip may not be read, or not to its end, so that none of its files is to be looked at; empty if all
    may be.
    """

    name: str
    files: Mapping[str, Open]
    container: Container = Container.LOOSE
    trouble: tuple[Finding, ...] = ()
    refused: str = ""


@contextmanager
def parcel_at(path: Path) -> Iterator[Parcel]:
    """The parcel at a place that a person named, while the block runs. Raises NotReadable.

    The place itself may be a link, for they named it; nothing in it may.
    """
    with ExitStack() as stack:
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                found = _of_folder(path, stack)
            elif stat.S_ISREG(status.st_mode):
                found = _of_file(path, status)
            else:
                raise NotReadable("This is neither a folder nor a file.")
            parcel = stack.enter_context(unpacked(found))
        except FileNotFoundError:
            raise NotReadable("There is nothing at this place. Is the name right?") from None
        except OSError as error:
            raise NotReadable(f"This cannot be read ({(error.strerror or 'an error').lower()}).") from None
        yield parcel


@contextmanager
def unpacked(parcel: Parcel) -> Iterator[Parcel]:
    """The same parcel; if all its data is one zip, that zip's members. They can be read while the block runs."""
    packed = the_one_zip(parcel.files)
    if packed is None:
        yield parcel
        return
    with closing(parcel.files[packed]()) as file:
        archive = read_archive(file, packed, LIMITS)
        members = {member.name: partial(archive.open, member.name) for member in archive.members if archive.ok}
        # All is read once before any of it is looked at, as a night's copy is: the same damage, the same word for it.
        lost = archive.damaged()
        trouble = (*parcel.trouble, *archive.findings, *lost)
        refused = archive.refusal or (DAMAGED if lost else "")
        yield replace(parcel, files=members, container=Container.ZIP, trouble=trouble, refused=refused)


def opened(name: str | Path, folder: int | None = None) -> BinaryIO:
    """A plain file, below an open folder if one is given. Raises OSError for a link or anything else."""
    number = os.open(name, FILE, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(errno.EINVAL, "no plain file")
    return open(number, "rb")


def _of_file(path: Path, status: os.stat_result) -> Parcel:
    """One file by itself, to which the same is said as if it lay in a folder."""
    trouble = _file_trouble(path.name, status)
    name = paths.shown(path.name, LONGEST_NAME)
    files = {} if status.st_nlink > 1 else {name: partial(opened, path.resolve())}
    return Parcel(path.name, files, trouble=(trouble,) if trouble else ())


def _of_folder(path: Path, stack: ExitStack) -> Parcel:
    folder = os.open(path, FOLDER)
    stack.callback(os.close, folder)
    with os.scandir(folder) as listing:
        entries = sorted(islice(listing, MOST_ENTRIES + 1), key=lambda entry: entry.name)
    if len(entries) > MOST_ENTRIES:
        raise NotReadable(f"There are more than {MOST_ENTRIES:,} things in this folder. It cannot be an epoch.")
    trouble = [found for entry in entries if (found := _trouble(entry)) is not None]
    plain = [entry for entry in entries if entry.is_file(follow_symlinks=False) and not _has_second_name(entry)]
    files = {paths.shown(entry.name, LONGEST_NAME): partial(opened, entry.name, folder) for entry in plain}
    return Parcel(path.resolve().name, files, trouble=tuple(trouble))


def _trouble(entry: "os.DirEntry[str]") -> Finding | None:
    """What an upload with this entry in it would be refused for, or wait for."""
    if entry.is_symlink():
        return _told(entry.name, "link")
    if entry.is_dir(follow_symlinks=False):
        return _told(entry.name, "folder")
    if not entry.is_file(follow_symlinks=False):
        return _told(entry.name, "not-a-file")
    return _file_trouble(entry.name, entry.stat(follow_symlinks=False))


def _file_trouble(name: str, status: os.stat_result) -> Finding | None:
    if status.st_nlink > 1:
        return _told(name, "second-name")
    if not name.isprintable():
        return _told(name, "odd-name")
    return None


def _has_second_name(entry: "os.DirEntry[str]") -> bool:
    return entry.stat(follow_symlinks=False).st_nlink > 1


def _told(name: str, code: str) -> Finding:
    return Finding(paths.shown(name, LONGEST_NAME), code, Severity.ERROR, UNREAD[code])
