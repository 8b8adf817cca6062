"""The connection log of a host, read: lines in, events out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from .core.events import BadLine, Event, event_of

__all__ = ["Event", "Tally", "read_events"]


@dataclass(slots=True)
class Tally:
    """How many lines were events, and how many were skipped because they were not."""

    events: int = 0
    skipped: int = 0


def read_events(lines: Iterable[bytes], tally: Tally | None = None) -> Iterator[Event]:
    """The events of whole lines (with or without line end), in order; other lines are skipped and counted in
    `tally`."""
    counts = tally if tally is not None else Tally()
    for line in lines:
        try:
            event = event_of(line)
        except BadLine:
            counts.skipped += 1
            continue
        counts.events += 1
        yield event
