"""A block of whole lines, looked at as bytes: where its lines end, and which of them only the exact reader may read.

A line is plain if it is a row by itself whatever stands before and after it: UTF-8, every quote where RFC 4180 wants
it, no control character, no blank around a value. `lexical` decides on all others.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
from pyarrow import csv

from ingest.core.delimiters import COMMA, TAB
from ingest.core.hashes import Bytes, Flags, Numbers
from ingest.core.lexical import JOINED_LINES, NumberedLine

LINES_AT_ONCE = 64
FEED, RETURN, BLANK, QUOTE, DELETE = b'\n\r "\x7f'


def _set_of(*codes: int) -> Flags:
    made = np.zeros(256, np.bool_)
    made[list(codes)] = True
    return made


@cache
def _controls(mark: str) -> Flags:
    return _set_of(*set(range(BLANK)) - {FEED, RETURN, ord(mark)})


@cache
def _beside_quotes(mark: str) -> Flags:
    return _set_of(FEED, RETURN, ord(mark), QUOTE)


# What `str.strip` takes away and what counts as a control character, outside ASCII, as UTF-8 begins them; and the byte
# order mark, which the engine leaves out where it stands first.
ODD_AFTER: dict[tuple[int, int], Iterable[int]] = {
    **{(0xC2, second): range(256) for second in range(0x80, 0xA1)},
    (0xE1, 0x9A): (0x80,),
    (0xE2, 0x80): (*range(0x80, 0x8B), 0xA8, 0xA9, 0xAF),
    (0xE2, 0x81): (0x9F,),
    (0xE3, 0x80): (0x80,),
    (0xEF, 0xBB): (0xBF,),
}
# By two bytes, the row of the third in the table that follows; row 0: nothing odd.
ODD_ROWS = np.zeros((256, 256), np.uint8)
ODD_THIRDS = np.zeros((len(ODD_AFTER) + 1, 256), np.bool_)
for row, (pair, thirds) in enumerate(ODD_AFTER.items(), start=1):
    ODD_ROWS[pair] = row
    ODD_THIRDS[row, list(thirds)] = True


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines. `stops` are the places of their ends; `pairs`, `feeds`, `returns` count CRLF, LF and CR.

    `low` are the places of all bytes up to the quote, where everything odd in ASCII is; `low_bytes` those bytes.
    """

    data: bytes
    stops: Numbers
    low: Numbers
    low_bytes: Bytes
    pairs: int
    feeds: int
    returns: int

    @property
    def held(self) -> Bytes:
        return np.frombuffer(self.data, np.uint8)

    @property
    def starts(self) -> Numbers:
        starts = np.empty_like(self.stops)
        starts[:1] = 0
        starts[1:] = self.stops[:-1] + 1
        return starts

    def line(self, at: int) -> bytes:
        """The line at this place, counted from 0, without its end."""
        start = int(self.stops[at - 1]) + 1 if at else 0
        return self.data[start : int(self.stops[at])].removesuffix(b"\r")


def block_of(data: bytes) -> Block:
    """Finds the line ends of a block, which are LF, CRLF and CR; its last line may lack one."""
    held = np.frombuffer(data, np.uint8)
    low = np.flatnonzero(held <= QUOTE)
    low_bytes = held[low]
    stops = feeds = low[low_bytes == FEED]
    returns = int(np.count_nonzero(low_bytes == RETURN))
    pairs = 0
    if returns:
        pairs = int(np.count_nonzero(held[feeds[feeds > 0] - 1] == RETURN))
        if pairs < returns:
            every = low[low_bytes == RETURN]
            alone = every[held[np.minimum(every + 1, len(held) - 1)] != FEED]
            stops = np.sort(np.concatenate([feeds, alone]))
    if len(held) and (not len(stops) or stops[-1] != len(held) - 1):
        stops = np.concatenate([stops, [len(held)]])
    return Block(data, stops, low, low_bytes, pairs, len(feeds), returns)


def odd_lines(block: Block, limit: int, mark: str = COMMA.mark) -> Flags:
    """Which lines are not plain, by their place; a line of more than `limit` bytes is not. `mark`: between values."""
    held, stops = block.held, block.stops
    lengths = np.diff(stops, prepend=-1) - 1
    odd: Flags = (lengths > limit) | (lengths == 0)
    if block.pairs:
        odd |= lengths == 1
    for places in _odd_places(block, held, mark):
        if len(places):
            odd[np.searchsorted(stops, places)] = True
    _mark_quotes(block, held, odd, mark)
    if not block.data.isascii():
        _mark_undecodable(block, odd)
    return odd


def _odd_places(block: Block, held: Bytes, mark: str) -> Iterator[Numbers]:
    yield block.low[_controls(mark)[block.low_bytes]]
    if mark == TAB:
        # Inside quotes a tab is a blank, and may have to be taken away.
        yield block.low[block.low_bytes == QUOTE]
    blanks = block.low[block.low_bytes == BLANK]
    before, after = _beside(held, blanks)
    beside = _beside_quotes(mark)
    yield blanks[beside[before] | beside[after]]
    high = np.flatnonzero(held >= DELETE)
    if len(high):
        yield high[held[high] == DELETE]
        yield _odd_characters(held, high)


def _beside(held: Bytes, places: Numbers) -> tuple[Bytes, Bytes]:
    """The bytes before and after each place; beyond the block's edges there are line ends."""
    last = len(held) - 1
    before, after = held[places - 1], held[np.minimum(places + 1, last)]
    if len(places) and places[0] == 0:
        before[0] = FEED
    if len(places) and places[-1] == last:
        after[-1] = FEED
    return before, after


def _odd_characters(held: Bytes, leads: Numbers) -> Numbers:
    """Those of the places at which a blank or a control character beyond ASCII begins."""
    last = len(held) - 1
    rows = ODD_ROWS[held[leads], held[np.minimum(leads + 1, last)]]
    some = np.flatnonzero(rows)
    places: Numbers = leads[some]
    return places[ODD_THIRDS[rows[some], held[np.minimum(places + 2, last)]]]


def _mark_quotes(block: Block, held: Bytes, odd: Flags, mark: str) -> None:
    """Quotes open after a comma and close before one; two together stand for one, which comes to the same."""
    quotes, stops = block.low[block.low_bytes == QUOTE], block.stops
    if not len(quotes):
        return
    until = np.searchsorted(quotes, stops)
    number = np.diff(until, prepend=0)
    unpaired = (number & 1).astype(np.bool_)
    odd |= unpaired
    turn = np.arange(len(quotes))
    if unpaired.any():
        turn -= np.repeat(until - number, number)
    before, after = _beside(held, quotes)
    opens = (turn & 1) == 0
    beside = _beside_quotes(mark)
    wrong = quotes[np.where(opens, ~beside[before], ~beside[after])]
    if len(wrong):
        odd[np.searchsorted(stops, wrong)] = True


def _mark_undecodable(block: Block, odd: Flags) -> None:
    if _is_text(block.data):
        return
    for first in range(0, len(odd), LINES_AT_ONCE):
        last = min(first + LINES_AT_ONCE, len(odd)) - 1
        start = int(block.stops[first - 1]) + 1 if first else 0
        if not _is_text(block.data[start : int(block.stops[last])]):
            for at in range(first, last + 1):
                odd[at] |= not _is_text(block.line(at))


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def plain_rows(
    block: Block, odd: Flags, width: int, places: Iterable[int], mark: str = COMMA.mark
) -> tuple[pa.Table, Numbers]:
    """Some columns, by their places, of the plain lines that have `width` values; and the places of those lines."""
    kept = np.flatnonzero(~odd)
    bad: list[int] = []

    def pass_over(row: csv.InvalidRow) -> str:
        bad.append(row.number - 1)
        return "skip"

    names = [str(at) for at in range(width)]
    chosen = [str(at) for at in sorted(places)]
    if not len(kept):
        return pa.table({name: pa.array([], pa.string()) for name in chosen}), kept
    data = block.data if len(kept) == len(odd) else _without(block, odd)
    table = csv.read_csv(
        pa.py_buffer(data),
        read_options=csv.ReadOptions(use_threads=False, column_names=names, block_size=len(data) + 1),
        parse_options=csv.ParseOptions(delimiter=mark, ignore_empty_lines=False, invalid_row_handler=pass_over),
        convert_options=csv.ConvertOptions(
            check_utf8=False, column_types=dict.fromkeys(chosen, pa.string()), include_columns=chosen
        ),
    )
    return table.combine_chunks(), np.delete(kept, bad) if bad else kept


def _without(block: Block, odd: Flags) -> bytes:
    """The plain lines only."""
    out, at = [], 0
    view = memoryview(block.data)
    starts = block.starts
    for line in np.flatnonzero(odd).tolist():
        out.append(view[at : int(starts[line])])
        at = int(block.stops[line]) + 1
    return b"".join([*out, view[at:]])


def lines_at(blocks: Iterable[Block], wanted: list[int]) -> Iterator[NumberedLine]:
    """The lines of these numbers (from 1 on, in order), and those that may belong to them since a quote is open."""
    left = iter(wanted)
    number = next(left, None)
    first, more = 1, 0
    for block in blocks:
        if number is None and not more:
            return
        after = first + len(block.stops)
        at = first
        while (number is not None and number < after) or more:
            at = at if more or number is None else max(number, at)
            if at >= after:
                break
            line = block.line(at - first)
            more = JOINED_LINES if at == number and line.count(b'"') % 2 else max(more - 1, 0)
            while number is not None and number <= at:
                number = next(left, None)
            yield at, line
            at += 1
        first = after
