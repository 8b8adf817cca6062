"""Collects sign-ins and ends of sessions from the hosts' logs: each event once, whatever is killed in between.

A log's file is known by its first line: of an OpenSSH host one that its shipper makes up for each new file, of the
embedded host its first event. Neither SFTP nor a copied disk tells file numbers that could be relied on.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from django.core.cache import cache
from django.db import transaction

from .connect import files_for
from .connlog import Event, read_events
from .core.errors import HostError, NotThere
from .core.events import LINE_LIMIT, OFFERED_LIMIT, Kind
from .core.paths import HostPath
from .files import HostFiles
from .models import Host, SessionEnd, SignIn

logger = logging.getLogger(__name__)

MOST_BYTES = 4 * 1024 * 1024
LOG = HostPath(("log", "connections.jsonl"))
ROTATED = HostPath(("log", "connections.jsonl.1"))
# A host that does not answer is left alone for so long, doubled each time; seconds.
FIRST_PAUSE, LONGEST_PAUSE = 15, 600


@dataclass(frozen=True, slots=True)
class Place:
    """How far a log was read: which file, and the bytes of it."""

    file: str
    offset: int


def collect_here() -> None:
    """Reads on in the log of the host that shares the portal's disk."""
    for pk in Host.objects.filter(kind=Host.Kind.EMBEDDED).values_list("pk", flat=True):
        collect(pk)


def hosts_elsewhere() -> list[int]:
    """The hosts whose logs are read over the network, as far as it makes sense to ask them now."""
    hosts = Host.objects.exclude(kind=Host.Kind.EMBEDDED).exclude(state=Host.State.STOPPED).exclude(host_key="")
    return [pk for pk in hosts.values_list("pk", flat=True) if not cache.get(_pause_key(pk, "until"))]


def collect_from(host_pk: int) -> int:
    """As `collect`, for a host that may not answer: then it has a pause. Returns how many events were kept."""
    try:
        kept = collect(host_pk)
    except HostError as error:
        seconds = min(LONGEST_PAUSE, 2 * cache.get(_pause_key(host_pk, "last"), FIRST_PAUSE // 2 + 1))
        cache.set(_pause_key(host_pk, "until"), True, seconds)
        cache.set(_pause_key(host_pk, "last"), seconds, 2 * LONGEST_PAUSE)
        logger.warning("The sign-ins of host %s could not be read (%s); next try in %s s", host_pk, error.code, seconds)
        return 0
    cache.delete(_pause_key(host_pk, "last"))
    return kept


def _pause_key(host_pk: int, what: str) -> str:
    return f"hosts.signins.{host_pk}.{what}"


def collect(host_pk: int) -> int:
    """Reads what one host's log says beyond what was read; the events and the place reached are one transaction.

    Returns how many events were kept. A long log is read in several calls. Raises HostError.
    """
    host = Host.objects.get(pk=host_pk)
    before = Place(host.log_file, host.log_offset)
    # Nothing is locked while the host is spoken to: it may take its time.
    after, lines = _new_lines(files_for(host), before)
    if after == before:
        return 0
    with transaction.atomic():
        held = Host.objects.select_for_update().get(pk=host_pk)
        if Place(held.log_file, held.log_offset) != before:  # somebody else has read on
            return 0
        kept = _keep(held, list(read_events(lines)))
        held.log_file, held.log_offset = after.file, after.offset
        held.save(update_fields=["log_file", "log_offset"])
    return kept


def _keep(host: Host, events: Sequence[Event]) -> int:
    """Writes down events; one whose mark is known was told twice by the host, and is kept once."""
    marks = [event.mark for event in events if event.mark]
    known = {mark for model in (SignIn, SessionEnd) for mark in _marks_known(host, model, marks)}
    new = []
    for event in events:
        if event.mark not in known:
            new.append(event)
            known |= {event.mark} - {""}
    # Pages count sign-ins: what is none has a table of its own.
    SignIn.objects.bulk_create(_sign_in(host, event) for event in new if event.kind is not Kind.ENDED)
    SessionEnd.objects.bulk_create(_session_end(host, event) for event in new if event.kind is Kind.ENDED)
    return len(new)


def _marks_known(host: Host, model: type[SignIn] | type[SessionEnd], marks: Sequence[str]) -> set[str]:
    step = 500
    found = (model.objects.filter(host=host, mark__in=marks[at : at + step]) for at in range(0, len(marks), step))
    return {mark for rows in found for mark in rows.values_list("mark", flat=True)}


def _new_lines(files: HostFiles, place: Place) -> tuple[Place, list[bytes]]:
    """Whole lines beyond the place reached, and the place after them; first what is left of a file that was rotated
    away under us.

    The log is opened before the rotated file is looked for: once its name leads to a new file, the old one has its
    other name, however the two looks and a rotation fall together.
    """
    with _Log(files, LOG) as fresh:
        # Of a portal that knew its file by its number, the offset is of the file that is there.
        is_same = fresh.name == place.file or (not place.file and place.offset > 0)
        if fresh.name and is_same:
            return fresh.read(place.offset)
        with _Log(files, ROTATED) as rotated:
            if rotated.name and rotated.name == place.file:
                after, left = rotated.read(place.offset)
                if left or not fresh.name:
                    return after, left
        if fresh.name and place.file:
            logger.info("A connection log was begun anew; the one before it was read to its end or is gone")
        return fresh.read(0) if fresh.name else (place, [])


class _Log:
    """One file of a log, open or not there. `name` tells it from every other; empty if it has no whole line yet."""

    def __init__(self, files: HostFiles, path: HostPath) -> None:
        self._file: BinaryIO | None = None
        self.name = ""
        try:
            self._file = files.open_read(path)
        except NotThere:
            return
        # Without the buffer, which would fetch much more from afar than was asked for.
        self._raw = self._file.raw if isinstance(self._file, io.BufferedReader) else self._file
        first, end, _ = self._part(0, LINE_LIMIT).partition(b"\n")
        self.name = hashlib.sha256(first).hexdigest()[:32] if end else ""

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, offset: int) -> tuple[Place, list[bytes]]:
        """Whole lines from an offset on, and the place after them. A file that has become shorter was begun anew."""
        chunk = self._part(offset, MOST_BYTES)
        if not chunk and offset and not self._part(offset - 1, 1):
            offset, chunk = 0, self._part(0, MOST_BYTES)
        whole = chunk[: chunk.rfind(b"\n") + 1]
        return Place(self.name, offset + len(whole)), whole.splitlines()

    def _part(self, offset: int, length: int) -> bytes:
        self._raw.seek(offset)
        return bytes(self._raw.read(length) or b"")


def _sign_in(host: Host, event: Event) -> SignIn:
    return SignIn(
        host=host,
        username=event.username[:253],
        at=event.at,
        accepted=event.accepted,
        fingerprint=event.fingerprint[:60],
        address=event.address[:60],
        client=event.client[:120],
        reason=event.reason[:40],
        tried=event.tried[:20],
        offered=[one[:60] for one in event.offered[:OFFERED_LIMIT]],
        offered_keys=list(event.keys[:OFFERED_LIMIT]),
        mark=event.mark[:64],
    )


def _session_end(host: Host, event: Event) -> SessionEnd:
    return SessionEnd(
        host=host,
        username=event.username[:253],
        at=event.at,
        fingerprint=event.fingerprint[:60],
        address=event.address[:60],
        reason=event.reason[:40],
        mark=event.mark[:64],
    )
