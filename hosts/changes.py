"""What an OpenSSH host tells of changed uploads (`log/changes.jsonl`), read on from the place reached before.

The host's helper writes a line for each account whose uploads changed, and begins each file of the log with a line that
no other has. What cannot be read on from there with certainty is told as everything.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO

from django.utils import timezone

from .core.errors import NotThere
from .core.paths import HostPath
from .files import HostFiles
from .models import Host, UploadsSeen

LOG = HostPath(("log", "changes.jsonl"))
ROTATED = HostPath(("log", "changes.jsonl.1"))
NO_LOG = "none"
FIRST_LINE_LIMIT = 1024
# The helper begins a new file at 4 MB; what is longer is not worth reading.
MOST_BYTES = 16 * 1024 * 1024
# A host that does not answer is left alone for so long, doubled each time.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=15), timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Place:
    """How far the log was read: which file (told by its first line; `NO_LOG`: there was none), and the bytes of it."""

    file: str
    offset: int


@dataclass(frozen=True, slots=True)
class Told:
    """What the host tells since a place: the user names whose uploads changed, or None if it may be any.

    `after` is the place reached.
    """

    accounts: frozenset[str] | None
    after: Place


def told_since(files: HostFiles, before: Place) -> Told:
    """What has changed since `before`. Raises HostError.

    The log is opened before the rotated file is looked for: once its name leads to a new file, the old one has its
    other name, however the two looks and a rotation fall together.
    """
    with _Log(files, LOG) as log:
        if log.name == before.file:
            return _told(log, before.offset)
        with _Log(files, ROTATED) as rotated:
            if not before.file or rotated.name != before.file:
                return Told(None, log.end)
            earlier = _told(rotated, before.offset)
        if log.name == NO_LOG:  # renamed this moment, and its successor is not there yet
            return earlier
        since = _told(log, 0)
        if earlier.accounts is None or since.accounts is None:
            return Told(None, log.end)
        return Told(earlier.accounts | since.accounts, since.after)


def _told(log: _Log, offset: int) -> Told:
    size = log.end.offset
    if not offset <= size <= offset + MOST_BYTES:  # begun anew under its old first line, or grown beyond all measure
        return Told(None, log.end)
    content = log.part(offset, size - offset) if size > offset else b""
    whole = content[: content.rfind(b"\n") + 1]
    names = frozenset(name for line in whole.splitlines() if (name := _name(line)))
    return Told(names, Place(log.name, offset + len(whole)))


def _name(line: bytes) -> str:
    """The user name in a line, or "" if it is about none."""
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    name = told.get("account") if isinstance(told, dict) else None
    return name if isinstance(name, str) else ""


# A host may tell any size; a row can hold this one.
LARGEST = 2**62


class _Log:
    """One file of the log, open or not there. `end` is its end when it was opened."""

    def __init__(self, files: HostFiles, path: HostPath) -> None:
        self._file: BinaryIO | None = None
        self.name, self.end = NO_LOG, Place(NO_LOG, 0)
        try:
            self._file = files.open_read(path)
        except NotThere:
            return
        # Without the buffer, which would fetch much more from afar than was asked for.
        self._raw = self._file.raw if isinstance(self._file, io.BufferedReader) else self._file
        size = min(self._raw.seek(0, os.SEEK_END), LARGEST)
        first, end, _ = self.part(0, min(size, FIRST_LINE_LIMIT)).partition(b"\n")
        if end:
            self.name = hashlib.sha256(first).hexdigest()
            self.end = Place(self.name, size)

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def part(self, offset: int, length: int) -> bytes:
        self._raw.seek(offset)
        return bytes(self._raw.read(length) or b"")


# --- Hosts that do not answer ------------------------------------------------------------------------------------


def hosts_to_look_at() -> list[int]:
    """The hosts whose uploads are looked at over the network, as far as it makes sense to ask them now."""
    hosts = Host.objects.exclude(kind=Host.Kind.EMBEDDED).exclude(state=Host.State.STOPPED).exclude(host_key="")
    return list(hosts.exclude(uploads_seen__next_try__gt=timezone.now()).values_list("pk", flat=True))


def pause_note(seen: UploadsSeen) -> None:
    """The host gave trouble: it is left alone for a while, ever longer."""
    pause = min(FIRST_PAUSE * 2 ** min(seen.tries, 10), LONGEST_PAUSE)
    UploadsSeen.objects.filter(pk=seen.pk).update(tries=seen.tries + 1, next_try=timezone.now() + pause)
