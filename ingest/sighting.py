"""What an epoch's files look like, by name and first line: read in place on the host, or again in our own copy."""

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import BinaryIO

from hosts.core import paths
from hosts.files import Entry

from .core.choose import COMPLETE, Sighting, is_noise, read_sighting
from .core.container import Archive, ArchiveLimits, read_archive
from .core.delimiters import COMMA, Delimiter
from .core.discovery import Kind, Listed, Look, unread_for
from .core.errors import ArchiveError
from .core.schema import Container

LIMITS = ArchiveLimits()
LONGEST_NAME = 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """The sightings of an epoch, and whether they lie loose or in its one zip. `trouble` says why a zip was refused.

    `unpacked`: how many bytes there are in a zip that was not refused, by its table of contents; never more than one
    may hold.
    """

    sightings: tuple[Sighting, ...]
    container: Container
    trouble: str = ""
    unpacked: int = 0


def name_of(entry: Entry) -> str:
    """The name an entry is known by in rows and pages: odd characters escaped, and no longer than a row takes."""
    return paths.shown(entry.name, LONGEST_NAME - 1)


def look_of(entries: Iterable[Entry]) -> Look:
    """What lies there at this moment."""
    return Look.of(map(_listed, entries))


def odd_for(entry: Entry) -> str:
    """Why something is never read (`discovery.unread_for`); empty for a plain file."""
    return unread_for(_listed(entry))


def _listed(entry: Entry) -> Listed:
    return Listed(entry.name, Kind(entry.kind.value), entry.size, entry.links)


def mark_of(entry: Entry) -> str:
    """What a host tells of a file that changes with its content, as one word. Two of the same mark are the same."""
    return f"{entry.inode}-{entry.size}-{entry.modified}-{entry.changed}"


def is_written(epoch: str, writing: Iterable[str]) -> bool:
    """Whether one of the files that are open for writing is the epoch of this name, or lies in it."""
    return any(name == epoch or name.startswith(f"{epoch}/") for name in writing)


def is_zip(name: str) -> bool:
    """Whether a file is named as a zip."""
    return name.casefold().endswith(".zip")


def the_one_zip(names: Iterable[str]) -> str | None:
    """The name of the zip if an epoch is just one zip (beside COMPLETE and what systems leave about)."""
    data = [name for name in names if name != COMPLETE and not is_noise(name)]
    return data[0] if len(data) == 1 and is_zip(data[0]) else None


def see(names: Iterable[str], open_file: Callable[[str], BinaryIO], delimiter: Delimiter = COMMA) -> Seen:
    """Reads the first line of each file; `open_file` gives one by its name. Nothing is followed, nothing is changed."""
    names = [name for name in names if name != COMPLETE]
    packed = the_one_zip(names)
    if packed is not None:
        with closing(open_file(packed)) as file:
            return _see_archive(read_archive(file, packed, LIMITS), delimiter)
    sightings = tuple(_see_file(name, open_file, delimiter) for name in names)
    return Seen(sightings, Container.LOOSE)


def _see_file(name: str, open_file: Callable[[str], BinaryIO], delimiter: Delimiter) -> Sighting:
    with closing(open_file(name)) as file:
        return read_sighting(name, file, delimiter)


def _see_archive(archive: Archive, delimiter: Delimiter) -> Seen:
    if not archive.ok:
        return Seen((), Container.ZIP, archive.refusal)
    sightings = tuple(_see_member(archive, member.name, delimiter) for member in archive.members)
    return Seen(sightings, Container.ZIP, unpacked=sum(member.size for member in archive.members))


def _see_member(archive: Archive, name: str, delimiter: Delimiter) -> Sighting:
    try:
        with closing(archive.open(name)) as file:
            return read_sighting(name, file, delimiter)
    except ArchiveError:  # found again, and told, when the epoch is checked
        return Sighting(name, None)
