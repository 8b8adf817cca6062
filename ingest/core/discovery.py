"""When an epoch in `/upload/` may be taken: its name, and whether the upload is over. The clock is the caller's."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ingest.core.choose import COMPLETE
from ingest.core.display import counted, listed, shown_name
from ingest.core.findings import Finding, Severity

EPOCH_NAME = re.compile(r"([0-9]{8}-[0-9]{6})")
TEMPORARY = (".filepart", ".part", ".tmp")
# Jobs that can make no directories send `users_auto.csv` instead: an epoch of one file, `users.csv`, without COMPLETE.
AUTO_END = "_auto.csv"
AUTO_NAME = re.compile(rf"([^.][^/]*){re.escape(AUTO_END)}")
# Why an upload with such an entry is not read, for its finding and in half a sentence.
UNREAD = {
    "link": "This is a link. Links are not followed, and an upload with one is not read.",
    "folder": "This is a folder. The files themselves belong here, without folders.",
    "not-a-file": "This is no plain file, so it is not read.",
    "second-name": "This file has a second name elsewhere (a hard link), by which it could still change.",
    "odd-name": "This name holds characters that cannot be shown. Give the file its usual name.",
}
WHAT = {
    "link": "is a link",
    "folder": "is a folder",
    "not-a-file": "is no plain file",
    "second-name": "has a second name elsewhere (a hard link)",
    "odd-name": "is a name that cannot be shown",
}
NO_COMPLETE = "The file `COMPLETE` is not there yet"


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


def auto_name(name: str) -> str | None:
    """What the file `users_auto.csv` is an epoch of, `users.csv`; None for a file that is no epoch by itself.

    The suffix is case-sensitive, as COMPLETE is.
    """
    match = AUTO_NAME.fullmatch(name)
    return f"{match[1]}.csv" if match else None


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

    @classmethod
    def unseen(cls, why: str) -> "Look":
        """A look that could not be had: as long as the reason is the same, nothing has changed."""
        return cls((), hashlib.blake2b(why.encode("utf-8"), digest_size=16).hexdigest())


class State(StrEnum):
    UPLOADING = "uploading"
    COMPLETE_MISNAMED = "complete_misnamed"
    BEING_WRITTEN = "being_written"
    UNSETTLED = "unsettled"
    TEMPORARY_NAMES = "temporary_names"
    HOSTILE = "hostile"
    TOO_LARGE = "too_large"
    STALLED = "stalled"
    # Not named as an epoch, and processed only if staff say what it is; never, if it holds more than plain files.
    STRANGER = "stranger"
    UNREAD_STRANGER = "unread_stranger"
    RIPE = "ripe"


# What lies there is not only plain, finished files, and is never read: no format given by hand can change that.
UNREADABLE = (
    State.HOSTILE.value,
    State.TEMPORARY_NAMES.value,
    State.TOO_LARGE.value,
    State.UNREAD_STRANGER.value,
)
STRANGERS = (State.STRANGER.value, State.UNREAD_STRANGER.value)


# No upload that comes to an end takes longer.
LONGEST_UPLOAD = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Ripeness:
    """How far an upload is, in a sentence; `names` are the entries it is about."""

    state: State
    message: str
    names: tuple[str, ...] = ()

    @property
    def ripe(self) -> bool:
        return self.state is State.RIPE


def ripeness(
    look: Look, unchanged_for: timedelta, open_writes: bool, quiet: timedelta, *, alone: bool = False
) -> Ripeness:
    """Whether an epoch may be taken. `unchanged_for`: how long looks have had this digest, by our clock.

    Sizes must rest even after COMPLETE, because clients that upload by the alphabet send COMPLETE first. `alone`: a
    file that is an epoch by itself (`auto_name`); it has no COMPLETE, so that its rest is all there is to go by.
    """
    if hostile := never_read(look):
        return hostile
    if not alone and (missing := _without_complete(look)):
        return missing
    if open_writes:
        what = "The file" if alone else "A file of this epoch"
        return Ripeness(State.BEING_WRITTEN, f"{what} is still open for writing.")
    if temporary := [entry for entry in look.entries if entry.name.casefold().endswith(TEMPORARY)]:
        return _told(State.TEMPORARY_NAMES, "has the name of an upload that is not finished.", temporary)
    if unchanged_for < quiet:
        left = int((quiet - unchanged_for).total_seconds() + 0.999)
        what = "Taken" if alone else "Complete; taken"
        return Ripeness(State.UNSETTLED, f"{what} when nothing has changed for {left} more seconds.")
    return Ripeness(State.RIPE, "The upload is complete.")


def never_read(look: Look) -> Ripeness | None:
    """That nothing of it is read, whatever it is called, since not all that lies there is plain files; or None."""
    hostile = [entry for entry in look.entries if unread_for(entry)]
    if not hostile:
        return None
    return _told(State.HOSTILE, f"{WHAT[unread_for(hostile[0])]}, so nothing of this epoch is read.", hostile)


def unread_for(entry: Listed) -> str:
    """The code of why an entry keeps its epoch from being read; empty if it does not."""
    if entry.kind is not Kind.FILE:
        return {Kind.LINK: "link", Kind.DIRECTORY: "folder"}.get(entry.kind, "not-a-file")
    if entry.links != 1:
        return "second-name"
    is_plain = entry.name.isprintable() and entry.name not in ("", ".", "..") and "/" not in entry.name
    return "" if is_plain else "odd-name"


def unread_findings(look: Look) -> tuple[Finding, ...]:
    """A finding for each entry that keeps an epoch from being read."""
    found = ((entry.name, unread_for(entry)) for entry in look.entries)
    return tuple(Finding(shown_name(name), code, Severity.ERROR, UNREAD[code]) for name, code in found if code)


def _told(state: State, what: str, entries: list[Listed]) -> Ripeness:
    names = tuple(entry.name for entry in entries)
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return Ripeness(state, f"{listed(names[:1])}{more} {what}", names)


def stalled(seen: Ripeness, unchanged_for: timedelta, patience: timedelta) -> Ripeness:
    """The same, or that the upload seems to have stopped: it waits for more, and nothing has come for `patience`."""
    if seen.state not in (State.UPLOADING, State.BEING_WRITTEN) or unchanged_for < patience:
        return seen
    hours = counted(int(patience.total_seconds() // 3600), "hour")
    said = f"{NO_COMPLETE}." if seen.state is State.UPLOADING else seen.message
    message = (
        f"{said} Nothing has arrived for {hours}, so it seems to have stopped. Send what is missing, with "
        "`COMPLETE` last, or delete it and send it again."
    )
    return Ripeness(State.STALLED, message, seen.names)


def made_again(seen: Ripeness) -> Ripeness:
    """The same, told of a directory that was taken before and has been made once more: mostly, what came too late."""
    if seen.state not in (State.UPLOADING, State.STALLED):
        return seen
    message = (
        f"{seen.message} An upload of this name was taken before; these files came after it and are no part of it. "
        "With `COMPLETE` they are taken as one by itself: then send all files of the night, whole, or none."
    )
    return Ripeness(seen.state, message, seen.names)


def never_rests(seen: Ripeness, changing_for: timedelta) -> Ripeness:
    """The same, or that the upload never rests: it has changed again and again for so long that none lasts."""
    if seen.ripe or seen.state in (*UNREADABLE, State.STALLED) or changing_for < LONGEST_UPLOAD:
        return seen
    hours = counted(int(LONGEST_UPLOAD.total_seconds() // 3600), "hour")
    message = (
        f"It has changed again and again for {hours}, and is taken only when it rests. Look whether a program sends "
        "the same files over and over, and stop it."
    )
    return Ripeness(State.STALLED, message, seen.names)


def _without_complete(look: Look) -> Ripeness | None:
    complete = next((entry for entry in look.entries if entry.name == COMPLETE), None)
    if complete is None:
        return _incomplete(look)
    if complete.size:
        return Ripeness(State.COMPLETE_MISNAMED, "`COMPLETE` has to be an empty file; this one is not.", (COMPLETE,))
    return None


def _incomplete(look: Look) -> Ripeness:
    meant = [entry for entry in look.entries if means_complete(entry.name)]
    if meant:
        return _told(State.COMPLETE_MISNAMED, "is here: the file must be named exactly `COMPLETE`.", meant)
    return Ripeness(State.UPLOADING, f"{NO_COMPLETE}, so the upload goes on.")


def means_complete(name: str) -> bool:
    """Whether a name is one that people give to `COMPLETE` by mistake."""
    if name.casefold().endswith(TEMPORARY):
        return False
    return re.sub(r"[^a-z]", "", name.casefold().rsplit(".", 1)[0]) in ("complete", "completed")
