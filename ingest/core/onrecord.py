"""The records of one table as a file is compared with them: their numbers, and hashes of what they are and say.

A record takes 33 bytes (its number, its key as 128 bits, its content as 64, and marks) and some four of an index. Two
keys that agree in all 128 bits would be taken for one, in ten million records once in 10^24 times; a record whose
content changes into another of the same 64 bits would be missed, once in 10^19 changes. Neither can be brought about
but by whoever sends both.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.core.hashes import Flags, Numbers, Pair, Words, begins, text_hashes
from ingest.core.rowhash import WORD

REMOVED, KEPT, SEEN = np.uint8(1), np.uint8(2), np.uint8(4)
Marks = NDArray[np.uint8]

KINDS = ("<u8", "<u8", "<u8", "<i8", "u1")
ROW = 33
PAGE = 1 << 16


def told(digests: Pair) -> Words:
    """What a content is compared by."""
    return digests.first ^ digests.second


class Part(NamedTuple):
    """Some records side by side."""

    first: Words
    second: Words
    told: Words
    ids: Numbers
    marks: Marks

    def page(self) -> bytes:
        """As bytes, column by column, little endian."""
        columns: tuple[NDArray[Any], ...] = self
        return b"".join(column.astype(kind).tobytes() for column, kind in zip(columns, KINDS, strict=True))

    @classmethod
    def of_page(cls, page: bytes) -> "Part":
        rows, at = len(page) // ROW, 0
        columns: list[Any] = []
        for kind in KINDS:
            columns.append(np.frombuffer(page, kind, rows, at))
            at += rows * np.dtype(kind).itemsize
        return cls(*columns)


def joined(parts: Sequence[Part]) -> Part:
    """All of them in one."""
    return Part(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def pages(parts: Iterable[Part]) -> Iterator[tuple[int, bytes]]:
    """The same records in pages of a fair size: how many, and the bytes."""
    waiting: list[Part] = []
    rows = 0
    for whole in parts:
        for part in _pieces(whole):
            waiting.append(part)
            rows += len(part.ids)
            if rows >= PAGE:
                yield rows, joined(waiting).page()
                waiting, rows = [], 0
    if rows:
        yield rows, joined(waiting).page()


def _pieces(part: Part) -> Iterator[Part]:
    for at in range(0, len(part.ids), PAGE):
        end = at + PAGE
        yield Part(part.first[at:end], part.second[at:end], part.told[at:end], part.ids[at:end], part.marks[at:end])


class OnRecord:
    """Is filled, closed, and then asked; `marks` is for whoever asks to write in. What is added later counts.

    `rows`: how many are expected. Columns that grow in one piece and are sorted one after the other keep ten million
    records under 600 MB.
    """

    def __init__(self, rows: int = 0) -> None:
        self._rows = 0
        self.first, self.second, self.told = (np.zeros(rows, np.uint64) for _ in range(3))
        self.ids = np.zeros(rows, np.int64)
        self.marks: Marks = np.zeros(rows, np.uint8)
        self._begins, self._shift = np.zeros(2, np.uint32), np.uint64(63)

    def __len__(self) -> int:
        return self._rows

    @property
    def filled(self) -> Part:
        """All that was added."""
        end = self._rows
        return Part(self.first[:end], self.second[:end], self.told[:end], self.ids[:end], self.marks[:end])

    def add(self, part: Part) -> None:
        end = self._rows + len(part.ids)
        if end > len(self.ids):
            self._grow(max(end, len(self.ids) * 3 // 2))
        for name, column in part._asdict().items():
            getattr(self, name)[self._rows : end] = column
        self._rows = end

    def _grow(self, rows: int) -> None:
        for name in Part._fields:
            column = getattr(self, name)
            setattr(self, name, np.concatenate([column, np.zeros(rows - len(column), column.dtype)]))

    def add_page(self, page: bytes) -> None:
        self.add(Part.of_page(page))

    def close(self) -> "OnRecord":
        """Nothing is added from now on."""
        order = _sorting(self.first[: self._rows])
        self.first, self.second = self.first[order], self.second[order]
        last = _last_of_each(self.first, self.second)
        if not last.all():
            order, self.first, self.second = order[last], self.first[last], self.second[last]
        self.told = self.told[order]
        self.ids = self.ids[order]
        self.marks = self.marks[order]
        self._rows = len(order)
        self._begins, self._shift = begins(self.first)
        return self

    def part(self, places: Numbers) -> Part:
        """These records, as removed."""
        marks = np.full(len(places), REMOVED, np.uint8)
        return Part(self.first[places], self.second[places], self.told[places], self.ids[places], marks)

    def find(self, keys: Pair) -> Numbers:
        """The places of these keys, -1 for those that are not here."""
        found = np.full(len(keys), -1, np.int64)
        if not self._rows:
            return found
        rows, at = np.arange(len(keys)), self._begins[keys.first >> self._shift].astype(np.int64)
        while len(rows):
            inside = at < self._rows
            rows, at = (rows, at) if inside.all() else (rows[inside], at[inside])
            here, wanted = self.first[at], keys.first[rows]
            hit = here == wanted
            hit[hit] = self.second[at[hit]] == keys.second[rows[hit]]
            found[rows[hit]] = at[hit]
            on = (here <= wanted) & ~hit
            rows, at = rows[on], at[on] + 1
        return found


@dataclass(frozen=True, slots=True)
class Packed:
    """Records as a database hands them over in bulk: each column one value after another, numbers big endian."""

    ids: bytes
    removed: bytes
    digests: bytes
    lengths: bytes
    keys: bytes

    def add_to(self, known: OnRecord, kept: Sequence[bool] | None = None) -> None:
        """`kept`: which of them no missing row takes away."""
        lengths = np.frombuffer(self.lengths, ">i4").astype(np.int64)
        starts = np.zeros(len(lengths), np.int64)
        np.cumsum(lengths[:-1], out=starts[1:])
        keys = text_hashes(np.frombuffer(self.keys + bytes(WORD), np.uint8), starts, lengths)
        digests = np.frombuffer(self.digests, "<u8").reshape(-1, 2)
        marks = np.frombuffer(self.removed, np.uint8) * REMOVED
        if kept is not None:
            marks = marks | np.array(kept, np.uint8) * KEPT
        ids = np.frombuffer(self.ids, ">i8").astype(np.int64)
        says = told(Pair(digests[:, 0], digests[:, 1]))
        known.add(Part(keys.first, keys.second, says, ids, marks.astype(np.uint8)))

    def key_texts(self) -> Iterator[str]:
        """The keys, one by one."""
        at = 0
        for length in np.frombuffer(self.lengths, ">i4").tolist():
            yield self.keys[at : at + length].decode()
            at += length


def packed(rows: Sequence[tuple[int, bool, bytes, str]]) -> Packed:
    """Rows of id, is_removed, digest and key."""
    keys = [row[3].encode() for row in rows]
    return Packed(
        np.array([row[0] for row in rows], ">i8").tobytes(),
        bytes(bool(row[1]) for row in rows),
        b"".join(row[2] for row in rows),
        np.array([len(key) for key in keys], ">i4").tobytes(),
        b"".join(keys),
    )


def _sorting(words: Words) -> Numbers:
    """What sorts them, equal ones in the order in which they stand. Without equal ones, which is usual, much faster."""
    order = np.argsort(words)
    in_order = words[order]
    return np.argsort(words, kind="stable") if (in_order[1:] == in_order[:-1]).any() else order


def _last_of_each(first: Words, second: Words) -> Flags:
    """Which of these, sorted by `first`, are the last of their key."""
    last = np.ones(len(first), np.bool_)
    like = np.flatnonzero(first[1:] == first[:-1])
    if not len(like):
        return last
    same = second[like] == second[like + 1]
    last[like[same]] = False
    if not same.all():
        # Two keys of one first word may stand in turns.
        places = np.flatnonzero(np.isin(first, first[like[~same]]))
        newest = {(int(first[at]), int(second[at])): at for at in places.tolist()}
        last[places] = [newest[int(first[at]), int(second[at])] == at for at in places.tolist()]
    return last


def flags(marks: Marks, mark: np.uint8) -> Flags:
    """Which of them have this mark."""
    found: Flags = (marks & mark) != 0
    return found
