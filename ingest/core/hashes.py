"""The hashes of `rowhash`, whole columns at once, and sets of keys that take sixteen bytes a key."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ingest.core.rowhash import FACTORS, MASK, SEEDS, SHIFT, WORD, row_hash, text_hash

Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

Digest = bytes

_SHIFT = np.uint64(SHIFT)
_KEEP = np.array([(1 << 8 * length) - 1 for length in range(WORD)] + [MASK], np.uint64)


class Pair(NamedTuple):
    """The two lanes of many hashes."""

    first: Words
    second: Words

    def __len__(self) -> int:
        return len(self.first)

    def at(self, places: Numbers | Flags) -> "Pair":
        return Pair(self.first[places], self.second[places])

    def bytes(self) -> list[Digest]:
        """Sixteen bytes each, as `row_hash` has them."""
        flat = np.stack(self, axis=1).astype("<u8").tobytes()
        return [flat[at : at + 2 * WORD] for at in range(0, len(flat), 2 * WORD)]

    @classmethod
    def of_bytes(cls, hashes: "Sequence[Digest]") -> "Pair":
        """The other way round."""
        both = np.frombuffer(b"".join(hashes), "<u8").reshape(-1, 2)
        return cls(both[:, 0].copy(), both[:, 1].copy())


def text_hashes(data: Bytes, starts: Numbers, lengths: Numbers) -> Pair:
    """The hashes of many texts that lie in `data`. Seven bytes or more must follow the last of them."""
    lanes = [lengths.astype(np.uint64) ^ np.uint64(seed) for seed in SEEDS]
    # Not aligned, so that a word may be taken from any byte on.
    words = np.lib.stride_tricks.as_strided(data[:WORD].view("<u8"), (max(len(data) - WORD + 1, 0),), (1,))
    at, left, rows = starts, lengths, None
    while len(left) and int(left.max()) > 0:
        if int(left.min()) <= 0:
            some = np.flatnonzero(left > 0)
            at, left, rows = at[some], left[some], some if rows is None else rows[some]
        taken = words[at] & _KEEP[np.minimum(left, WORD)]
        for lane, factor, word in zip(lanes, FACTORS, (taken, taken.byteswap()), strict=True):
            if rows is None:
                lane ^= word
                _mix(lane, factor)
            else:
                part = lane[rows] ^ word
                lane[rows] = _mix(part, factor)
        at, left = at + WORD, left - WORD
    return Pair(*(_mix(lane, factor) for lane, factor in zip(lanes, FACTORS, strict=True)))


def row_hashes(rows: int, columns: Iterable[Pair]) -> Pair:
    """The digests of many rows, from the hashes of their columns; a column of one hash stands for a whole one."""
    lanes = [np.full(rows, seed, np.uint64) for seed in SEEDS]
    for column in columns:
        for lane, hashes, factor in zip(lanes, column, FACTORS, strict=True):
            lane ^= hashes
            _mix(lane, factor)
    return Pair(lanes[0], lanes[1])


def folded(texts: Iterable[str]) -> int:
    """Both lanes of a row's digest in one word: the first by itself takes some texts that differ for one."""
    digest = row_hash(texts)
    return int.from_bytes(digest[:WORD], "little") ^ int.from_bytes(digest[WORD:], "little")


def _mix(lane: Words, factor: int) -> Words:
    lane *= np.uint64(factor)
    lane ^= lane >> _SHIFT
    return lane


def begins(in_order: Words) -> tuple[NDArray[np.uint32], np.uint64]:
    """An index of sorted hashes: where those begin whose first bits are a number, and how far to shift to see them."""
    bits = max(len(in_order).bit_length(), 1)
    shift = np.uint64(64 - bits)
    edges = np.arange(1 << bits, dtype=np.uint64) << shift
    return np.searchsorted(in_order, edges).astype(np.uint32), shift


class KeyRing:
    """A set of texts that is filled, closed, and then only asked. It holds 16 bytes a text and a small index.

    Two texts of one hash would be taken for one: among ten million keys and as many that refer to them, once in
    10^24 files.
    """

    def __init__(self) -> None:
        self._parts: list[Pair] = []
        self._few: list[tuple[int, int]] = []
        self._sorted = Pair(np.zeros(0, np.uint64), np.zeros(0, np.uint64))
        self._begins = np.zeros(2, np.uint32)
        self._shift = np.uint64(63)

    def add(self, text: str) -> None:
        self._few.append(text_hash(text))

    def add_many(self, hashes: Pair) -> None:
        self._parts.append(hashes)

    def close(self) -> "KeyRing":
        """Nothing is added from now on."""
        few = np.array(self._few, np.uint64).reshape(-1, 2)
        every = _joined([*self._parts, Pair(few[:, 0].copy(), few[:, 1].copy())])
        self._parts, self._few = [], []
        order = np.argsort(every.first)
        self._sorted = Pair(every.first[order], every.second[order])
        self._begins, self._shift = begins(self._sorted.first)
        return self

    def __contains__(self, text: object) -> bool:
        one, two = text_hash(str(text))
        return bool(self.known(Pair(np.array([one], np.uint64), np.array([two], np.uint64)))[0])

    def known(self, hashes: Pair) -> Flags:
        """Which of these are in the set."""
        found = np.zeros(len(hashes), np.bool_)
        first, second = self._sorted
        if not len(first):
            return found
        rows = np.arange(len(hashes))
        at = self._begins[hashes.first >> self._shift].astype(np.int64)
        while len(rows):
            inside = at < len(first)
            rows, at = (rows, at) if inside.all() else (rows[inside], at[inside])
            here, wanted = first[at], hashes.first[rows]
            hit = (here == wanted) & (second[at] == hashes.second[rows])
            found[rows[hit]] = True
            on = (here <= wanted) & ~hit
            rows, at = rows[on], at[on] + 1
        return found


def _joined(parts: list[Pair]) -> Pair:
    return Pair(np.concatenate([one.first for one in parts]), np.concatenate([one.second for one in parts]))


class Doubles:
    """Finds the lines in which something stands twice: 8 bytes for what it is, 4 for its line."""

    def __init__(self) -> None:
        self._hashes: list[Words] = []
        self._lines: list[NDArray[np.uint32]] = []
        self._few: list[tuple[int, int]] = []

    def add(self, what: int, line: int) -> None:
        self._few.append((what, line))

    def add_many(self, hashes: Words, lines: Numbers) -> None:
        self._hashes.append(hashes)
        self._lines.append(lines.astype(np.uint32))

    def lines(self) -> list[int]:
        """The lines, in order, of everything that may stand twice; equal hashes are not yet equal texts."""
        few = np.array(self._few, np.uint64).reshape(-1, 2)
        self.add_many(few[:, 0].copy(), few[:, 1].astype(np.int64))
        return self._of(_twice(np.concatenate(self._hashes)))

    def _of(self, wanted: Words) -> list[int]:
        if not len(wanted):
            return []
        ring = KeyRing()
        ring.add_many(Pair(wanted, wanted))
        ring.close()
        both = zip(self._hashes, self._lines, strict=True)
        found = [lines[ring.known(Pair(hashes, hashes))] for hashes, lines in both]
        return sorted(np.concatenate(found).tolist())


class Groups(Doubles):
    """Finds the lines of groups of which not all say the same: 8 bytes more for what each says."""

    def __init__(self) -> None:
        super().__init__()
        self._says: list[Words] = []
        self._few_say: list[int] = []

    def say(self, what: int, says: int, line: int) -> None:
        self.add(what, line)
        self._few_say.append(says)

    def say_many(self, what: Words, says: Words, lines: Numbers) -> None:
        self.add_many(what, lines)
        self._says.append(says)

    def lines(self) -> list[int]:
        few = np.array(self._few, np.uint64).reshape(-1, 2)
        self.say_many(few[:, 0].copy(), np.array(self._few_say, np.uint64), few[:, 1].astype(np.int64))
        what, says = np.concatenate(self._hashes), np.concatenate(self._says)
        order = np.argsort(what)
        what, says = what[order], says[order]
        unlike = (what[1:] == what[:-1]) & (says[1:] != says[:-1])
        return self._of(what[1:][unlike])


def _twice(hashes: Words) -> Words:
    hashes.sort()
    twice: Words = hashes[1:][hashes[1:] == hashes[:-1]]
    return twice
