"""What a file changes, whole batches at once: exactly what `diff.compare` finds row by row (tests compare the two)."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ingest.core.batches import Batch
from ingest.core.diff import Counts, Mode
from ingest.core.hashes import Flags, Numbers, Pair
from ingest.core.onrecord import KEPT, REMOVED, SEEN, OnRecord, flags, told


class Does(IntEnum):
    """What a row does to its record. RETURNED: it is there, but removed."""

    NOTHING = 0
    ADDED = 1
    CHANGED = 2
    RETURNED = 3
    GONE = 4


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of one batch that do something: where they stand in it, what they do, and the record's number.

    `at`: where the record stands among those on hand.
    """

    places: Numbers
    does: NDArray[np.uint8]
    ids: Numbers
    at: Numbers

    def only(self, *wanted: Does) -> "Found":
        chosen = np.isin(self.does, wanted)
        return Found(self.places[chosen], self.does[chosen], self.ids[chosen], self.at[chosen])

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All of a file. `missing`: the records that no row names any more, by their place among those on hand.

    `repeated`: which of the rows that add, change or return (counted over all batches) named a record for the second
    time and are to be passed over.
    """

    counts: Counts
    records: int
    missing: Numbers
    repeated: Numbers


class Matcher:
    """Takes the batches of a file in turn."""

    def __init__(self, known: OnRecord, mode: Mode) -> None:
        if mode is Mode.ABSENT:
            raise ValueError("a table that was not sent cannot be compared")
        self._known = known
        self._mode = mode
        self._numbers = np.zeros(len(Does), np.int64)
        self._written = 0
        self._new: list[Pair] = []
        self._new_places: list[NDArray[np.int32]] = []

    def see(self, batch: Batch, mine: Flags | None) -> Found:
        """What the rows of a batch do; `mine`: which of them count at all."""
        rows = np.arange(len(batch)) if mine is None else np.flatnonzero(mine)
        keys, deleted = (batch.hashes, batch.deleted) if mine is None else (batch.hashes.at(rows), batch.deleted[rows])
        at = self._known.find(keys)
        once = ~_repeats(keys, np.argsort(keys.first))
        there = at >= 0
        does = np.where(deleted, Does.NOTHING, Does.ADDED).astype(np.uint8)
        if there.any():
            once[there] &= ~flags(self._known.marks[at[there]], SEEN)
            says = told(batch.digests if mine is None else batch.digests.at(rows))
            does[there] = self._does(at[there], says[there], deleted[there])
            self._known.marks[at[there]] |= SEEN
        self._numbers += np.bincount(does[once], minlength=len(Does))
        some = once & (does != Does.NOTHING)
        self._remember(keys, once & ~there, does, some)
        ids = np.where(there, self._known.ids[at], 0) if len(self._known) else np.zeros(len(at), np.int64)
        return Found(rows[some], does[some], ids[some], at[some])

    def _does(self, at: Numbers, says: NDArray[np.uint64], deleted: Flags) -> NDArray[np.uint8]:
        removed = flags(self._known.marks[at], REMOVED)
        kept = np.where(self._known.told[at] == says, Does.NOTHING, Does.CHANGED)
        sent = np.where(removed, Does.RETURNED, kept)
        return np.where(deleted, np.where(removed, Does.NOTHING, Does.GONE), sent).astype(np.uint8)

    def _remember(self, keys: Pair, new: Flags, does: NDArray[np.uint8], some: Flags) -> None:
        """Keys without a record, with the place at which their row is written (-1: it is not)."""
        written = some & (does != Does.GONE)
        if new.any():
            places = np.where(written, self._written + np.cumsum(written) - 1, -1)
            self._new.append(keys.at(new))
            self._new_places.append(places[new].astype(np.int32))
        self._written += int(written.sum())

    def finish(self) -> Outcome:
        """The end of the file."""
        repeated = self._repeated()
        missing = np.zeros(0, np.int64)
        if self._mode is Mode.FULL:
            missing = np.flatnonzero((self._known.marks & (SEEN | REMOVED | KEPT)) == 0)
            missing = missing[np.argsort(self._known.ids[missing])]
        number = self._numbers - np.bincount(np.where(repeated < 0, Does.NOTHING, Does.ADDED), minlength=len(Does))
        counts = Counts(
            int(number[Does.ADDED] + number[Does.RETURNED]),
            int(number[Does.CHANGED]),
            int(number[Does.GONE] + len(missing)),
            int(number[Does.NOTHING]),
        )
        return Outcome(counts, int(number.sum()), missing, np.sort(repeated[repeated >= 0]))

    def _repeated(self) -> NDArray[np.int32]:
        """The places of new keys that came before, in another batch."""
        if len(self._new) < 2:
            return np.zeros(0, np.int32)
        first = np.concatenate([one.first for one in self._new])
        in_order = np.sort(first)
        if not (in_order[1:] == in_order[:-1]).any():
            return np.zeros(0, np.int32)
        del in_order
        keys = Pair(first, np.concatenate([one.second for one in self._new]))
        return np.concatenate(self._new_places)[_repeats(keys, np.argsort(first))]


def _repeats(keys: Pair, order: Numbers) -> Flags:
    """Which keys stand before already. `order` sorts `keys.first`."""
    repeated = np.zeros(len(keys), np.bool_)
    in_order = keys.first[order]
    if (in_order[1:] == in_order[:-1]).any():
        order = np.lexsort((keys.second, keys.first))
        one, two = keys.at(order)
        repeated[order[1:][(one[1:] == one[:-1]) & (two[1:] == two[:-1])]] = True
    return repeated
