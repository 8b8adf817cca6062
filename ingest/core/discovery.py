"""When an epoch in `/upload/` may be taken: its name, and whether the upload is over. The clock is the caller's."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ingest.core.choose import COMPLETE
from ingest.core.display import listed

EPOCH_NAME = re.compile(r"([0-9]{8}-[0-9]{6})")
TEMPORARY = (".filepart", ".part", ".tmp")


def is_epoch_name(name: str) -> bool:
    """Whether a name has the shape `YYYYMMDD-HHMMSS`."""
    return EPOCH_NAME.fullmatch(name) is not None


def epoch_time(name: str) -> datetime | None:
    """The time an epoch is named after (no zone: the district's own). None: no real time, or not of the shape."""
    if not is_epoch_name(name):
        return None
    try:
        return datetime.strptime(name, "%Y%m%d-%H%M%S")
    except ValueError:
        return None


class Kind(StrEnum):
    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a directory, as listed without following anything. `links`: names this file has on the disk."""

    name: str
    kind: Kind
    size: int
    links: int = 1


@dataclass(frozen=True, slots=True)
class Look:
    """An epoch's listing at one moment. Two looks with one digest saw the same names, kinds and sizes."""

    entries: tuple[Listed, ...]
    digest: str

    @classmethod
    def of(cls, entries: Iterable[Listed]) -> "Look":
        ordered = tuple(sorted(entries, key=lambda entry: entry.name))
        told = "\0".join(f"{one.name}\0{one.kind}\0{one.size}\0{one.links}" for one in ordered)
        digest = hashlib.blake2b(told.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
        return cls(ordered, digest)


class State(StrEnum):
    UPLOADING = "uploading"
    COMPLETE_MISNAMED = "complete_misnamed"
    BEING_WRITTEN = "being_written"
    UNSETTLED = "unsettled"
    TEMPORARY_NAMES = "temporary_names"
    HOSTILE = "hostile"
    RIPE = "ripe"


@dataclass(frozen=True, slots=True)
class Ripeness:
    """How far an upload is, in a sentence; `names` are the entries it is about."""

    state: State
    message: str
    names: tuple[str, ...] = ()

    @property
    def ripe(self) -> bool:
        return self.state is State.RIPE


def ripeness(look: Look, unchanged_for: timedelta, open_writes: bool, quiet: timedelta) -> Ripeness:
    """Whether an epoch may be taken. `unchanged_for`: how long looks have had this digest, by our clock.

    Sizes must rest even after COMPLETE, because clients that upload by the alphabet send COMPLETE first.
    """
    if hostile := [entry for entry in look.entries if _is_hostile(entry)]:
        return _told(State.HOSTILE, "is no plain file with a plain name, so nothing of this epoch is read.", hostile)
    complete = next((entry for entry in look.entries if entry.name == COMPLETE), None)
    if complete is None:
        return _incomplete(look)
    if complete.size:
        return Ripeness(State.COMPLETE_MISNAMED, "`COMPLETE` has to be an empty file; this one is not.", (COMPLETE,))
    if open_writes:
        return Ripeness(State.BEING_WRITTEN, "A file of this epoch is still open for writing.")
    if temporary := [entry for entry in look.entries if entry.name.casefold().endswith(TEMPORARY)]:
        return _told(State.TEMPORARY_NAMES, "has the name of an upload that is not finished.", temporary)
    if unchanged_for < quiet:
        left = int((quiet - unchanged_for).total_seconds() + 0.999)
        return Ripeness(State.UNSETTLED, f"Complete; taken when nothing has changed for {left} more seconds.")
    return Ripeness(State.RIPE, "The upload is complete.")


def _is_hostile(entry: Listed) -> bool:
    plain = entry.kind is Kind.FILE and entry.links == 1
    return not plain or not entry.name.isprintable() or entry.name in ("", ".", "..") or "/" in entry.name


def _told(state: State, what: str, entries: list[Listed]) -> Ripeness:
    names = tuple(entry.name for entry in entries)
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return Ripeness(state, f"{listed(names[:1])}{more} {what}", names)


def _incomplete(look: Look) -> Ripeness:
    meant = [entry for entry in look.entries if _means_complete(entry.name)]
    if meant:
        return _told(State.COMPLETE_MISNAMED, "is here: the file must be named exactly `COMPLETE`.", meant)
    return Ripeness(State.UPLOADING, "The file `COMPLETE` is not there yet, so the upload goes on.")


def _means_complete(name: str) -> bool:
    if name.casefold().endswith(TEMPORARY):
        return False
    return re.sub(r"[^a-z]", "", name.casefold().rsplit(".", 1)[0]) in ("complete", "completed")
