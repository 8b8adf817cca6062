"""A whole file against the records on hand: read once, its changes spooled, the guard's sample taken on the way."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ingest.core.batches import Batch, read_batches
from ingest.core.diff import Counts, What
from ingest.core.facts import Seen
from ingest.core.gathering import BatchGatherer, BatchSpread
from ingest.core.hashes import Flags, KeyRing
from ingest.core.holding import SAMPLE_ROWS
from ingest.core.matching import Does, Found, Matcher, Outcome
from ingest.core.onrecord import OnRecord
from ingest.core.predicates import Cells
from ingest.core.records import Row
from ingest.core.schema import Mode, Table
from ingest.core.spool import SpoolWriter
from ingest.core.verdict import Limits, Source

KINDS = {
    What.ADDED: (Does.ADDED, Does.RETURNED),
    What.CHANGED: (Does.CHANGED,),
    What.REMOVED: (Does.GONE,),
}


@dataclass(frozen=True, slots=True)
class Pick:
    """One change to be shown: the record's number (0: there is none yet), and the row if one says so."""

    what: What
    id: int
    row: Row | None


@dataclass(frozen=True, slots=True)
class FileCompared:
    """What a file would do. `records`: different records that its rows name."""

    counts: Counts
    records: int
    seen: Seen
    picked: tuple[Pick, ...]


def owner_keys(table: Table, sources: list[Source]) -> KeyRing:
    """The keys of those to whom another table's rows belong."""
    ring = KeyRing()
    for source in sources:
        for batch in read_batches(table, source, Limits()):
            ring.add_many(batch.hashes)
    return ring.close()


def compare_file(
    table: Table, source: Source, mode: Mode, known: OnRecord, owners: KeyRing | None, place: Path
) -> FileCompared:
    """Reads a checked file and spools what it changes. `owners`: whose rows count; None: all do."""
    gatherer, picks, matcher = BatchGatherer(table), _Picks(), Matcher(known, mode)
    with SpoolWriter(place, [one.name for one in table.kept_fields], known) as spool:
        for batch in read_batches(table, source, Limits()):
            gatherer.see(batch)
            found = matcher.see(batch, _mine(table, batch, owners))
            picks.see(batch, found)
            spool.write(batch, found)
        outcome = matcher.finish()
        spool.finish(outcome.missing, outcome.repeated)
    return FileCompared(outcome.counts, outcome.records, gatherer.seen, tuple(picks.all(outcome, known)))


def _mine(table: Table, batch: Batch, owners: KeyRing | None) -> Flags | None:
    return None if owners is None else owners.known(Cells(batch.columns[table.owner]).hashes)


class _Picks:
    def __init__(self) -> None:
        self._kinds: dict[What, BatchSpread[Pick]] = {what: BatchSpread(SAMPLE_ROWS) for what in What}

    def see(self, batch: Batch, found: Found) -> None:
        for what, does in KINDS.items():
            some = found.only(*does)
            wanted = self._kinds[what].wants(len(some))
            rows = batch.rows(some.places[wanted])
            ids = some.ids[wanted].tolist()
            self._kinds[what].keep(Pick(what, number, row) for number, row in zip(ids, rows, strict=True))

    def all(self, outcome: Outcome, known: OnRecord) -> Iterator[Pick]:
        removed = self._kinds[What.REMOVED]
        wanted = outcome.missing[removed.wants(len(outcome.missing))]
        removed.keep(Pick(What.REMOVED, number, None) for number in known.ids[wanted].tolist())
        added = {pick.row.key: pick for pick in reversed(self._kinds[What.ADDED].kept) if pick.row is not None}
        # A new record that two blocks name is there twice; the first counts.
        yield from reversed(added.values())
        yield from self._kinds[What.CHANGED].kept
        yield from removed.kept
