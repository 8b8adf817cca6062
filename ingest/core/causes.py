"""Why a night is so different: the one likely cause, from the facts of two nights, or none.

A guess is worth something only if it is seldom wrong: each cause asks for evidence that the others do not leave, and
the order of `DETECTORS` decides where two would fit. Nothing is ever done because of a guess.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ingest.core.display import listed, shown_name
from ingest.core.facts import Applied, ColumnFacts, Night, TableFacts
from ingest.core.nearest import INVISIBLE, nearest
from ingest.core.schoolyear import Calendar

# Of fewer records nothing can be said.
FEW = 5
BROKEN_ROW = ("row-short", "row-long", "quote-unclosed", "quote-stray", "key-duplicate", "key-repeated")


class Cause(StrEnum):
    STALE = "stale"
    INVISIBLE_HEADER = "invisible-header"
    HEADER_TYPO = "header-typo"
    CUT_OFF = "cut-off"
    OLD_TAIL = "old-tail"
    SPREADSHEET = "spreadsheet"
    SHORTER_IDS = "shorter-ids"
    WRONG_YEAR = "wrong-year"
    SCHOOL_FILTER = "school-filter"
    NEW_IDS = "new-ids"
    ROLLOVER = "rollover"


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A likely cause: a sentence of what was seen, and a hint of what to do."""

    cause: Cause
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class Pair:
    """One file tonight and in the last applied night."""

    now: TableFacts
    then: TableFacts

    @property
    def whole(self) -> int:
        """Records that were in the file last time; beside them there may be some that outlive their rows."""
        return self.then.met + self.then.counts.added

    @property
    def missed(self) -> int:
        """Records that were in the file last time and are not now."""
        return 0 if self.now.partial else self.whole - self.now.met

    @property
    def is_swapped(self) -> bool:
        """Whether nearly every id is another one than before."""
        now = self.now
        enough = self.whole >= FEW and now.counts.added >= FEW and not now.partial
        return enough and now.met * 10 <= self.whole and now.counts.added >= now.met * 9

    @property
    def is_whole(self) -> bool:
        """Whether most of the records are still there, under their ids."""
        return self.now.met * 2 > self.whole

    def columns(self) -> Iterator[tuple[ColumnFacts, ColumnFacts]]:
        """Columns filled on both nights."""
        for now in self.now.columns:
            then = self.then.column(now.name)
            if then is not None and now.filled and then.filled:
                yield now, then


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a detector may look at. `pairs`: files that came both tonight and before."""

    night: Night
    before: Applied | None
    calendar: Calendar
    pairs: tuple[Pair, ...]

    @property
    def swapped(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.is_swapped]


Detector = Callable[[Evidence], Suspicion | None]


def likely(night: Night, before: Applied | None, calendar: Calendar) -> Suspicion | None:
    """The cause that fits best. `before` None: only what one night shows by itself."""
    return next(iter(fitting(night, before, calendar)), None)


def fitting(night: Night, before: Applied | None, calendar: Calendar) -> tuple[Suspicion, ...]:
    """Every cause that fits, the best first."""
    if before is not None and before.night.format != night.format:
        before = None
    evidence = Evidence(night, before, calendar, tuple(_pairs(night, before)))
    found = (detector(evidence) for detector in DETECTORS)
    return tuple(one for one in found if one is not None)


def _pairs(night: Night, before: Applied | None) -> Iterator[Pair]:
    for now in night.tables:
        then = before.night.table(now.table) if before else None
        if then is not None and now.present:
            yield Pair(now, then)


def _stale(seen: Evidence) -> Suspicion | None:
    before, content = seen.before, seen.night.content
    if before is None or not any(one.present for one in seen.night.tables):
        return None
    same = [before.night.name] if content == before.content else []
    same += [one.name for one in reversed(before.earlier) if one.content == content]
    if not same:
        return None
    message = f"The files are the same, byte for byte, as those of {shown_name(same[0])}."
    return Suspicion(Cause.STALE, message, STALE_HINT)


def _invisible_header(seen: Evidence) -> Suspicion | None:
    for now in seen.night.tables:
        bad = [name for name in now.edges.names if name != name.translate(INVISIBLE)]
        then = seen.before.night.table(now.table) if seen.before else None
        if bad and not (then and set(bad) <= set(then.edges.names)):
            clean = listed(name.translate(INVISIBLE) for name in bad)
            message = f"In the header of `{now.file}` stand invisible characters, in {clean}."
            return Suspicion(Cause.INVISIBLE_HEADER, message, INVISIBLE_HINT)
    return None


def _header_typo(seen: Evidence) -> Suspicion | None:
    for pair in seen.pairs:
        now, then = pair.now.edges.names, pair.then.edges.names
        gone = [name for name in then if name not in now and name not in pair.then.strange]
        new = [name for name in pair.now.strange if name not in then]
        typos = [(name, meant) for name in new if (meant := _meant(name, gone))]
        if typos:
            name, meant = typos[0]
            message = f"In the header of `{pair.now.file}` stands `{shown_name(name)}`, where `{meant}` used to stand."
            return Suspicion(Cause.HEADER_TYPO, message, TYPO_HINT)
        if pair.is_swapped and now != then and sorted(now) == sorted(then) and not _same_shapes(pair):
            message = f"The columns of `{pair.now.file}` stand in another order, and all its ids are different."
            return Suspicion(Cause.HEADER_TYPO, message, ORDER_HINT)
    return None


def _meant(name: str, gone: Sequence[str]) -> str | None:
    return None if name != name.translate(INVISIBLE) else nearest(name, gone)


def _same_shapes(pair: Pair) -> bool:
    """Whether each column holds values as long as before, so that header and columns went together."""
    return all({length for length, _ in a.lengths} & {length for length, _ in b.lengths} for a, b in pair.columns())


def _cut_off(seen: Evidence) -> Suspicion | None:
    cut = [now for now in seen.night.tables if now.code("cut-off")]
    shrunk = [pair.now for pair in seen.pairs if pair.now.edges.unended and not pair.then.edges.unended]
    cut += [now for now in shrunk if now.size * 10 < _size(seen, now) * 9]
    if not cut:
        return None
    size = _size(seen, cut[0])
    share = f", at {cut[0].size * 100 // size} % of its last size" if size > cut[0].size else ""
    # By the facts alone nobody knows whether the last line is whole.
    where = "ends in the middle of a line" if cut[0].code("cut-off") else "ends without a line end"
    message = f"`{cut[0].file}` {where}{share}."
    return Suspicion(Cause.CUT_OFF, message, CUT_HINT)


def _size(seen: Evidence, now: TableFacts) -> int:
    return next((pair.then.size for pair in seen.pairs if pair.now is now), 0)


def _old_tail(seen: Evidence) -> Suspicion | None:
    for pair in seen.pairs:
        now, then = pair.now, pair.then
        broken = now.code(*BROKEN_ROW) > then.code(*BROKEN_ROW)
        if broken and now.size == then.size and now.content != then.content:
            message = f"`{now.file}` is exactly as long as last time, and rows stand in it twice or in pieces."
            return Suspicion(Cause.OLD_TAIL, message, TAIL_HINT)
    return None


def _spreadsheet(seen: Evidence) -> Suspicion | None:
    for pair in seen.pairs:
        if names := [now.name for now, then in pair.columns() if _is_rewritten(now, then, pair)]:
            message = f"In `{pair.now.file}`, {listed(names)} look as a spreadsheet leaves them."
            return Suspicion(Cause.SPREADSHEET, message, SHEET_HINT)
    rounded = [now for now in seen.night.tables if now.code("scientific-notation")]
    if rounded and not any(pair.then.code("scientific-notation") for pair in seen.pairs):
        message = f"Ids in `{rounded[0].file}` are rounded numbers such as 3.6E+11."
        return Suspicion(Cause.SPREADSHEET, message, SHEET_HINT)
    return None


def _is_rewritten(now: ColumnFacts, then: ColumnFacts, pair: Pair) -> bool:
    rounded = now.scientific and not then.scientific
    dates = now.slashed * 2 >= now.filled and then.slashed * 20 < then.filled
    return bool(rounded or dates or (not now.is_id and _lost_zeros(now, then)))


def _lost_zeros(now: ColumnFacts, then: ColumnFacts) -> bool:
    """Whether numbers that began with a 0 still are numbers, but shorter, and do not begin with one any more."""
    had = then.zeros * 20 >= then.filled and then.zeros >= min(FEW, then.filled)
    has = now.zeros * then.filled * 20 > then.zeros * now.filled
    are_numbers = now.digits * then.filled * 10 >= then.digits * now.filled * 9
    return had and not has and are_numbers and _length(then) - _length(now) >= then.zeros / then.filled / 2


def _length(column: ColumnFacts) -> float:
    """The mean length of its values."""
    return sum(length * times for length, times in column.lengths) / column.filled


def _shorter_ids(seen: Evidence) -> Suspicion | None:
    ids = [(pair, now, then) for pair in seen.pairs for now, then in pair.columns() if now.is_id]
    for pair, now, then in ids:
        if _lost_zeros(now, then):
            message = f"The ids in `{now.name}` of `{pair.now.file}` have lost the 0 they began with."
            return Suspicion(Cause.SHORTER_IDS, message, ZERO_HINT)
    # Ids whose length is as it was may be of a kind that did not change, as the name of a role.
    shifts = {_usual_length(then) - _usual_length(now) for pair, now, then in ids if pair.is_swapped} - {0}
    if shifts != {1}:
        return None
    message = f"The ids in {listed(pair.now.file for pair in seen.swapped)} are one character shorter than they were."
    return Suspicion(Cause.SHORTER_IDS, message, ZERO_HINT)


def _usual_length(column: ColumnFacts) -> int:
    """The length in the middle."""
    passed = 0
    for length, times in column.lengths:
        passed += times
        if passed * 2 >= column.filled:
            return length
    return 0


def _wrong_year(seen: Evidence) -> Suspicion | None:
    years = sorted({year for now in seen.night.tables for year in now.years})
    if not years or seen.calendar.years & set(years):
        return None
    told, wanted = " and ".join(map(str, years)), " or ".join(map(str, sorted(seen.calendar.years)))
    message = f"The files are of the school year that ends in {told}; today belongs to the one that ends in {wanted}."
    return Suspicion(Cause.WRONG_YEAR, message, YEAR_HINT)


@dataclass(frozen=True, slots=True)
class _Gap:
    """All rows with some values of a column are gone, and no others: `share` of the rows."""

    pair: Pair
    column: ColumnFacts
    values: int
    share: float


def _school_filter(seen: Evidence) -> Suspicion | None:
    gaps = [gap for pair in seen.pairs for gap in _gaps(pair)]
    if seen.calendar.is_rollover:
        # Those who have left school are a group as well: of a grade, or of a year.
        gaps = [gap for gap in gaps if gap.column.is_reference or not _is_grade(gap.column)]
    if not gaps:
        return None
    gap = max(gaps, key=lambda one: (one.column.is_reference, one.share))
    what = "one value" if gap.values == 1 else f"{gap.values} values"
    message = (
        f"In `{gap.pair.now.file}` all rows with {what} of `{gap.column.name}` are gone ({gap.share:.0%} of all rows); "
        "the others are as they were."
    )
    return Suspicion(Cause.SCHOOL_FILTER, message, FILTER_HINT)


def _gaps(pair: Pair) -> Iterator[_Gap]:
    counts, whole, missed = pair.now.counts, pair.whole, pair.missed
    if missed < FEW or missed * 20 < whole or counts.added * 10 > whole or counts.changed * 5 > whole:
        return
    for now, then in pair.columns():
        gone = [times for value, times in then.groups if value not in dict(now.groups)]
        share = sum(gone) / pair.then.sampled
        if gone and now.groups and abs(share - missed / whole) < 0.04:
            yield _Gap(pair, then, len(gone), share)


def _is_grade(column: ColumnFacts) -> bool:
    """Whether a column may hold grades (`KG`, `09`) or years of graduation."""
    lengths = {length for length, _ in column.lengths}
    return min(lengths, default=0) <= 2 or (lengths == {4} and column.digits == column.filled)


def _new_ids(seen: Evidence) -> Suspicion | None:
    swapped = seen.swapped
    others = any(pair.is_whole for pair in seen.pairs if pair not in swapped and pair.whole >= FEW)
    if not swapped or (others and seen.calendar.is_rollover):
        return None
    files = listed(pair.now.file for pair in swapped)
    message = f"Nearly every id in {files} is a new one, and the rows are about as many as before."
    return Suspicion(Cause.NEW_IDS, message, IDS_HINT)


def _rollover(seen: Evidence) -> Suspicion | None:
    if not seen.calendar.is_rollover:
        return None
    moved = [pair.now.file for pair in seen.pairs if _is_moved(pair)]
    if not moved:
        return None
    message = f"These are the weeks in which school years change, and much of {listed(moved)} has changed with them."
    return Suspicion(Cause.ROLLOVER, message, ROLLOVER_HINT)


def _is_moved(pair: Pair) -> bool:
    now, whole = pair.now, pair.whole
    emptied = not now.rows and not now.partial
    return whole >= FEW and (emptied or pair.missed * 5 >= whole or now.counts.changed * 2 >= whole)


DETECTORS: tuple[Detector, ...] = (
    _stale,
    _invisible_header,
    _header_typo,
    _cut_off,
    _old_tail,
    _spreadsheet,
    _shorter_ids,
    _wrong_year,
    _school_filter,
    _new_ids,
    _rollover,
)

STALE_HINT = "Look whether the nightly export still runs, and whether the upload takes today's files."
INVISIBLE_HINT = (
    "Export as plain UTF-8 text. A mark for the byte order (BOM) may stand once only, before everything else."
)
TYPO_HINT = "Give the column its old name again and send the files once more."
ORDER_HINT = "Look whether the header still names the right columns."
CUT_HINT = "The export or the upload was cut off. Send the whole file again."
TAIL_HINT = "The upload wrote over the old file without emptying it first. Send the file again under a new epoch."
SHEET_HINT = "Do not open and save the files in a spreadsheet; send them as they are exported."
ZERO_HINT = "Have ids exported as text, not as numbers, and send the files again."
YEAR_HINT = "Set the export to the present school year."
FILTER_HINT = "Look whether the export still includes every school."
IDS_HINT = "Has the student system changed its ids? Tell us before you send them; else send the files with the old ids."
ROLLOVER_HINT = (
    "If the student system has moved on to the new year, our staff can approve this. If not, wait until it has."
)
