"""Samples of a file that is read in batches: the same rows that `facts.Spread` keeps of a stream."""

from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

import numpy as np
import pyarrow.compute as pc

from ingest.core.batches import Batch
from ingest.core.facts import SAMPLED, Seen, school_years, year_columns
from ingest.core.hashes import Numbers
from ingest.core.schema import Table
from ingest.core.schoolyear import YEAR_BEGINS

T = TypeVar("T")


class BatchSpread(Generic[T]):
    """Keeps at most `most` things, evenly spread; it is told how many come and says which of them it wants."""

    def __init__(self, most: int) -> None:
        self.number = 0
        self.kept: list[T] = []
        self._most = most
        self._stride = 1

    def wants(self, coming: int) -> Numbers:
        """Places among the next things that are to be kept by `keep`."""
        while self.number + coming > self._stride * self._most:
            del self.kept[1::2]
            self._stride *= 2
        places = np.arange(-self.number % self._stride, coming, self._stride)
        self.number += coming
        return places

    def keep(self, things: Iterable[T]) -> None:
        self.kept += things


class BatchGatherer:
    """What the guard remembers of a file, as `facts.RowGatherer` gathers it."""

    def __init__(self, table: Table, year_begins: tuple[int, int] = YEAR_BEGINS) -> None:
        self._begins = year_begins
        self._years: Sequence[str] = year_columns(table)
        self._found: set[str] = set()
        self._spread: BatchSpread[dict[str, str]] = BatchSpread(SAMPLED)

    def see(self, batch: Batch) -> None:
        self._spread.keep(row.values for row in batch.rows(self._spread.wants(len(batch))))
        for name in self._years:
            self._found.update(pc.unique(batch.columns[name]).to_pylist())

    @property
    def seen(self) -> Seen:
        return Seen(self._spread.number, tuple(self._spread.kept), school_years(self._found, self._begins))
