"""What becomes of one table's records between two nights, both read in batches and compared as arrays of hashes.

The same as `diff.compare` finds row by row. Each record of the night before takes the 33 bytes of `onrecord`; its
number there is its place among the rows read, by which the second reading finds the few whose columns are asked for.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ingest.core.batches import Batch, read_batches
from ingest.core.bulk import owner_keys
from ingest.core.diff import Counts
from ingest.core.hashes import Flags, KeyRing, Numbers, Pair
from ingest.core.matching import Does, Found, Matcher
from ingest.core.nightdiff import Night
from ingest.core.onrecord import KEPT, OnRecord, Part, told
from ingest.core.predicates import Cells
from ingest.core.schema import Format, Mode, Table
from ingest.core.verdict import Limits

# Of how many changed records the columns are looked at.
MOST_LOOKED_AT = 50_000


def difference(known: Format, table: Table, before: Night, after: Night) -> tuple[Counts, Mapping[str, int]]:
    """How many records change, and in how many of the changed ones each column differs. Raises RowsError."""
    owners = _owners(known, table, after)
    records = _on_record(known, table, before, owners)
    matcher, changed = Matcher(records, after.mode(table)), _Changed()
    for batch, mine in _batches(known, table, after):
        found = matcher.see(batch, mine).only(Does.CHANGED)
        if len(found) and changed.left:
            changed.see(batch, found)
    counts = matcher.finish().counts
    return counts, changed.columns(known, table, before)


def _batches(known: Format, table: Table, night: Night) -> Iterator[tuple[Batch, Flags | None]]:
    """The records of a table as they would be loaded, and which of them count; none where it was not sent."""
    if night.mode(table) is Mode.ABSENT:
        return
    owners = _owners(known, table, night)
    for batch in read_batches(table, night.sources[table.name], Limits()):
        yield batch, None if owners is None else owners.known(Cells(batch.columns[table.owner]).hashes)


def _owners(known: Format, table: Table, night: Night) -> KeyRing | None:
    """The keys of those to whom the rows of a table belong; None for a table that has no owner."""
    if not table.owner:
        return None
    source = night.sources.get(table.owner_table)
    return owner_keys(known.table(table.owner_table), [source] if source else [])


def _on_record(known: Format, table: Table, before: Night, owners: KeyRing | None) -> OnRecord:
    """The records of the night before. Those whose owner is not in `owners` are not taken away by a missing row."""
    records, row = OnRecord(), 0
    for batch, mine in _batches(known, table, before):
        there = ~batch.deleted if mine is None else mine & ~batch.deleted
        keys, says = batch.hashes.at(there), told(batch.digests.at(there))
        marks = np.zeros(len(keys), np.uint8)
        if owners is not None:
            marks[~owners.known(Cells(batch.columns[table.owner]).hashes.at(there))] = KEPT
        records.add(Part(keys.first, keys.second, says, row + np.flatnonzero(there), marks))
        row += len(batch)
    return records.close()


@dataclass(slots=True)
class _Changed:
    """The first changed records: where they stood the night before, and the hashes of what each column holds now."""

    left: int = MOST_LOOKED_AT
    rows: list[Numbers] = field(default_factory=list)
    hashes: dict[str, list[Pair]] = field(default_factory=dict)

    def see(self, batch: Batch, found: Found) -> None:
        places, ids = found.places[: self.left], found.ids[: self.left]
        self.left -= len(places)
        self.rows.append(ids)
        for name, array in batch.columns.items():
            self.hashes.setdefault(name, []).append(Cells(array).hashes.at(places))

    def columns(self, known: Format, table: Table, before: Night) -> dict[str, int]:
        """In how many of them each column differs from the night before, which is read again."""
        if not self.rows:
            return {}
        rows = np.concatenate(self.rows)
        order = np.argsort(rows)
        rows, first = rows[order], 0
        now = {name: _joined(pairs).at(order) for name, pairs in self.hashes.items()}
        found: Counter[str] = Counter()
        for batch, _ in _batches(known, table, before):
            here = slice(*np.searchsorted(rows, [first, first + len(batch)]))
            places = rows[here] - first
            first += len(batch)
            if len(places):
                found.update({name: _unlike(batch, name, places, one, here) for name, one in now.items()})
        return {name: number for name, number in sorted(found.items()) if number}


def _joined(pairs: list[Pair]) -> Pair:
    return Pair(np.concatenate([one.first for one in pairs]), np.concatenate([one.second for one in pairs]))


def _unlike(batch: Batch, name: str, places: Numbers, now: Pair, here: slice) -> int:
    was = Cells(batch.columns[name]).hashes.at(places)
    return int(np.count_nonzero((was.first != now.first[here]) | (was.second != now.second[here])))
