"""Collects sign-ins and ends of sessions from the hosts' logs: each line once, whatever is killed in between."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.db import transaction

from .connlog import Event, read_events
from .core.events import Kind
from .models import Host, SessionEnd, SignIn

MOST_BYTES = 4 * 1024 * 1024


def collect_all() -> None:
    """Reads on in every host's log."""
    for pk in Host.objects.values_list("pk", flat=True):
        collect(pk)


def collect(host_pk: int) -> int:
    """Reads what one host's log says beyond what was read; the events and the place reached are one transaction.

    Returns how many events were kept. A long log is read in several calls.
    """
    log = settings.SFTP_ROOT / "log" / "connections.jsonl"
    with transaction.atomic():
        host = Host.objects.select_for_update().get(pk=host_pk)
        lines = _new_lines(host, log)
        events = list(read_events(lines))
        # Pages count sign-ins: what is none has a table of its own.
        SignIn.objects.bulk_create(_sign_in(host, event) for event in events if event.kind is not Kind.ENDED)
        SessionEnd.objects.bulk_create(_session_end(host, event) for event in events if event.kind is Kind.ENDED)
        host.save(update_fields=["log_inode", "log_offset"])
    return len(events)


def _new_lines(host: Host, log: Path) -> list[bytes]:
    """Whole lines beyond the place reached; first what is left of a file that was rotated away under us.

    The log is opened before the rotated file is looked for: once its name leads to a new file, the old one has its
    other name, however the two looks and a rotation fall together.
    """
    with _opened(log) as fresh:
        if fresh is not None and _inode(fresh) == host.log_inode:
            return _read(host, fresh)
        with _opened(log.with_name(f"{log.name}.1")) as rotated:
            left = _read(host, rotated) if rotated is not None and _inode(rotated) == host.log_inode else []
        if left or fresh is None:
            return left
        host.log_inode, host.log_offset = _inode(fresh), 0
        return _read(host, fresh)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO | None]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield None
        return
    with file:
        yield file


def _inode(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_ino


def _read(host: Host, log: BinaryIO) -> list[bytes]:
    if os.fstat(log.fileno()).st_size < host.log_offset:  # begun anew, or an inode number used again
        host.log_offset = 0
    log.seek(host.log_offset)
    chunk = log.read(MOST_BYTES)
    whole = chunk[: chunk.rfind(b"\n") + 1]
    host.log_offset += len(whole)
    return whole.splitlines()


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
    )


def _session_end(host: Host, event: Event) -> SessionEnd:
    return SessionEnd(
        host=host,
        username=event.username[:253],
        at=event.at,
        fingerprint=event.fingerprint[:60],
        address=event.address[:60],
        reason=event.reason[:40],
    )
