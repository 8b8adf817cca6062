"""The changes a comparison has found, in a file beside the private copies, until they are loaded or thrown away."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from zipfile import BadZipFile

import numpy as np
import pyarrow as pa

from ingest.core.batches import Batch
from ingest.core.hashes import Numbers, Pair
from ingest.core.matching import Does, Found
from ingest.core.onrecord import OnRecord, Part, told
from ingest.core.predicates import Cells

FIXED = {"does": pa.uint8(), "id": pa.int64(), "key": pa.string(), "digest": pa.binary(16)}


@dataclass(frozen=True, slots=True)
class Changes:
    """Some rows that add, change or return, side by side."""

    does: Numbers
    table: pa.RecordBatch

    @property
    def columns(self) -> dict[str, pa.StringArray]:
        """The values, by column name."""
        return dict(zip(self.table.schema.names[len(FIXED) :], self.table.columns[len(FIXED) :], strict=True))

    def part(self, ids: Numbers) -> Part:
        """The records that they become."""
        keys = Cells(self.table["key"]).hashes
        raw = b"".join(self.table["digest"].to_pylist())
        both = np.frombuffer(raw, "<u8").reshape(-1, 2)
        return Part(keys.first, keys.second, told(Pair(both[:, 0], both[:, 1])), ids, np.zeros(len(ids), np.uint8))

    @property
    def ids(self) -> Numbers:
        """The numbers of the records there are."""
        numbers: Numbers = self.table["id"].to_numpy(zero_copy_only=False)
        return numbers

    def only(self, *wanted: Does) -> "Changes":
        chosen = np.isin(self.does, wanted)
        if chosen.all():
            return self
        return Changes(self.does[chosen], self.table.filter(pa.array(chosen)))

    def __len__(self) -> int:
        return len(self.does)


class SpoolWriter:
    """Writes batch after batch; without `finish` there is nothing, and what fails leaves nothing. Raises OSError."""

    def __init__(self, place: Path, columns: Sequence[str], known: OnRecord) -> None:
        self._place = place
        self._known = known
        place.with_suffix(".end").unlink(missing_ok=True)
        schema = pa.schema([*FIXED.items(), *((name, pa.string()) for name in columns)])
        self._file = pa.OSFile(str(place), "wb")
        self._out = pa.ipc.new_stream(self._file, schema)
        self._schema = schema
        self._gone: list[Numbers] = []
        self._numbers = np.zeros(len(Does), np.int64)

    def __enter__(self) -> "SpoolWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._out.close()
            self._file.close()
            return
        with suppress(OSError):  # the end of the file may find as little room as what has failed
            self._out.close()
        with suppress(OSError):
            self._file.close()
        for suffix in (".part", self._place.suffix):
            self._place.with_suffix(suffix).unlink(missing_ok=True)

    def write(self, batch: Batch, found: Found) -> None:
        gone = found.does == Does.GONE
        if gone.any():
            self._gone.append(found.at[gone])
            found = found.only(Does.ADDED, Does.CHANGED, Does.RETURNED)
        self._numbers += np.bincount(found.does, minlength=len(Does))
        if not len(found):
            return
        arrays = [batch.keys, *batch.columns.values()]
        digests = batch.digests
        if len(found) < len(batch):
            chosen = pa.array(found.places)
            arrays, digests = [array.take(chosen) for array in arrays], digests.at(found.places)
        flat = pa.py_buffer(np.stack(digests, axis=1).astype("<u8"))
        digest = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(found), [None, flat])
        fixed = [pa.array(found.does), pa.array(found.ids), arrays[0], digest]
        self._out.write_batch(pa.RecordBatch.from_arrays([*fixed, *arrays[1:]], schema=self._schema))

    def finish(self, missing: Numbers, repeated: Numbers) -> None:
        """From now on it can be read."""
        self._out.close()
        part = self._place.with_suffix(".part")
        with part.open("wb") as out:
            gone = self._known.part(np.concatenate([*self._gone, missing]))
            np.savez(out, **gone._asdict(), repeated=repeated, numbers=self._numbers)
        os.replace(part, self._place.with_suffix(".end"))


class Spool:
    """What a comparison has found. Raises FileNotFoundError if there is nothing, not all of it, or nothing we can read.

    `added` and `altered`: how many rows add, and change or return (at most); `gone`: what is removed.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        if not place.is_file():
            raise FileNotFoundError("the rows are gone")
        try:
            self._read_end()
        except (KeyError, ValueError, IndexError, BadZipFile) as error:
            raise FileNotFoundError("it was written by another version of the portal, or is damaged") from error

    def _read_end(self) -> None:
        with np.load(self._place.with_suffix(".end"), allow_pickle=False) as end:
            self.gone = Part(*(end[name] for name in Part._fields))
            self._repeated: Numbers = end["repeated"].astype(np.int64)
            self.added = int(end["numbers"][Does.ADDED])
            self.altered = int(end["numbers"][Does.CHANGED] + end["numbers"][Does.RETURNED])

    def parts(self, first: int) -> Iterator[Part]:
        """All records that become different, as they become; `first`: the number of the first one that is new."""
        for changes in self.changes(Does.ADDED):
            yield changes.part(np.arange(first, first + len(changes)))
            first += len(changes)
        for changes in self.changes(Does.CHANGED, Does.RETURNED):
            yield changes.part(changes.ids)
        yield self.gone

    def changes(self, *wanted: Does) -> Iterator[Changes]:
        """The rows that do one of these things, some at a time."""
        before = 0
        with pa.memory_map(str(self._place)) as source, pa.ipc.open_stream(source) as stream:
            for table in stream:
                does = table["does"].to_numpy(zero_copy_only=False).copy()
                here = self._repeated[(self._repeated >= before) & (self._repeated < before + len(does))]
                does[here - before] = Does.NOTHING
                before += len(does)
                chosen = Changes(does, table).only(*wanted)
                if len(chosen):
                    yield chosen
