"""May this night be applied? Compared with the last applied night: go on, or hold and let a person look.

The facts come from `facts`, the limits from `limits`, the day from `schoolyear`, the likely cause from `causes`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from ingest.core.causes import Cause, Suspicion, likely
from ingest.core.diff import What
from ingest.core.display import counted, listed, shown_name
from ingest.core.facts import Applied, Night, TableFacts
from ingest.core.limits import Applying, GuardLimits
from ingest.core.schoolyear import Blackout, Calendar

__all__ = [
    "Blackout",
    "Calendar",
    "Cause",
    "GuardLimits",
    "Judgement",
    "Reason",
    "State",
    "Suspicion",
    "Weight",
    "judge",
]


class State(StrEnum):
    """FAILED: the check found errors. SUPERSEDED: a newer night is applied already. BLACKOUT, HELD: not applied.
    NO_CHANGE: nothing to apply. PASS: apply it."""

    FAILED = "failed"
    SUPERSEDED = "superseded"
    BLACKOUT = "blackout"
    HELD = "held"
    NO_CHANGE = "no-change"
    PASS = "pass"


# In these a night ends without anybody's word.
UNAPPLIED = (State.FAILED, State.SUPERSEDED, State.BLACKOUT)


class Weight(StrEnum):
    HOLD = "hold"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing a person should know. `measured` is over `limit` where there is one; their unit is the message's."""

    code: str
    weight: Weight
    message: str
    table: str = ""
    kind: What | None = None
    measured: int | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of a night, in a sentence, with every reason and the likely cause."""

    state: State
    message: str
    reasons: tuple[Reason, ...] = ()
    cause: Suspicion | None = None

    @property
    def holds(self) -> tuple[Reason, ...]:
        return tuple(one for one in self.reasons if one.weight is Weight.HOLD)


def judge(
    night: Night,
    before: Applied | None,
    limits: GuardLimits,
    calendar: Calendar,
    newer: str = "",
    lost: Sequence[str] = (),
) -> Judgement:
    """Compare a checked night with the last applied one. `newer`: a night after it that was applied before it came.

    `lost`: nights of changes since the last full set that are not applied, the newest last.

    `before` None: the district's first, which passes, and tells; unless there are records, of which then only the
    numbers can be compared.
    """
    reasons = tuple(_Judging(night, before, limits, calendar).reasons())
    if _is_first(night, before):
        reasons = tuple(_softened(one) for one in reasons)
    state = _state(night, reasons, calendar, newer)
    alarmed = state is State.FAILED or any(one.weight is not Weight.NOTE for one in reasons)
    cause = likely(night, before, calendar) if alarmed else None
    message = _superseded(newer) if state is State.SUPERSEDED else _message(state, reasons, calendar)
    if state in UNAPPLIED:
        message = f"{message} {night.loss}".strip()
    if lost and night.is_partial:
        reasons = (*reasons, _changes_lost(lost))
    return Judgement(state, message, _sorted(reasons), cause)


def _state(night: Night, reasons: Iterable[Reason], calendar: Calendar, newer: str) -> State:
    if night.failed:
        return State.FAILED
    if newer:
        return State.SUPERSEDED
    if calendar.blackout is not None:
        return State.BLACKOUT
    if any(one.weight is Weight.HOLD for one in reasons):
        return State.HELD
    return State.PASS if any(_is_changing(one) for one in night.tables) else State.NO_CHANGE


def _superseded(newer: str) -> str:
    return f"Not applied: the newer {shown_name(newer)} was applied before this one had its turn."


def _changes_lost(lost: Sequence[str]) -> Reason:
    if len(lost) > 1:
        told = f"{len(lost)} nights, the last of them {shown_name(lost[-1])}, are not applied; their"
    else:
        told = f"The night {shown_name(lost[0])} is not applied; its"
    return Reason("changes-lost", Weight.WARNING, f"{told} changes are missing until a full set is sent.")


def _is_changing(now: TableFacts) -> bool:
    return bool(now.counts.added or now.counts.changed or now.counts.removed)


def _is_first(night: Night, before: Applied | None) -> bool:
    return before is None and not night.elsewhere and not any(one.base for one in night.tables)


def _softened(reason: Reason) -> Reason:
    return replace(reason, weight=Weight.WARNING) if reason.weight is Weight.HOLD else reason


def _sorted(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    order = list(Weight)
    return tuple(sorted(reasons, key=lambda one: order.index(one.weight)))


def _message(state: State, reasons: Iterable[Reason], calendar: Calendar) -> str:
    holds = [one.message for one in reasons if one.weight is Weight.HOLD]
    match state:
        case State.HELD:
            more = f" And {counted(len(holds) - 1, 'more reason')}." if len(holds) > 1 else ""
            return f"Held, nothing was applied. {holds[0]}{more}"
        case State.BLACKOUT:
            out = calendar.blackout
            until = f" until {_day(out.last)}" if out else ""
            why = f" Reason: {out.why.rstrip('.')}." if out and out.why else ""
            return f"Not applied: blackout{until}.{why} The records stay as they are."
        case State.FAILED:
            return "Nothing was applied: the check found errors."
        case State.NO_CHANGE:
            return "Nothing has changed, so there was nothing to apply."
    return "Within all limits."


class _Judging:
    """The questions, in the order in which they are asked."""

    def __init__(self, night: Night, before: Applied | None, limits: GuardLimits, calendar: Calendar) -> None:
        self.night = night
        self.before = before
        self.limits = limits
        self.calendar = calendar

    def reasons(self) -> Iterator[Reason]:
        if _is_first(self.night, self.before):
            yield self._first()
        elif self._is_of_another_format():
            yield _hold("format-changed", self._format_changed())
        yield from self._ages()
        yield from self._school_year()
        for now in self.night.tables:
            yield from self._faulty(now)
            if not now.present:
                yield from self._gone(now)
            elif now.sound or not self.night.failed:
                yield from self._compared(now, self._then(now))
        yield from self._again()

    def _then(self, now: TableFacts) -> TableFacts | None:
        if self.before is None or self.before.night.format != self.night.format:
            return None
        return self.before.night.table(now.table)

    def _is_of_another_format(self) -> bool:
        if self.before is not None:
            return self.before.night.format != self.night.format
        return bool(self.night.elsewhere) and not any(one.base for one in self.night.tables)

    def _format_changed(self) -> str:
        stay = counted(self.night.elsewhere, "record")
        told = f" The {stay} of other formats would stay beside the new ones." if self.night.elsewhere else ""
        return f"The files are of another format than before, so they cannot be compared.{told}"

    def _first(self) -> Reason:
        here = [one for one in self.night.tables if one.present]
        rows = sum(one.rows for one in here)
        message = f"This is the first epoch: {counted(rows, 'row')} in {counted(len(here), 'file')}. Please look at it."
        return Reason("first", Weight.NOTE, message)

    def _ages(self) -> Iterator[Reason]:
        named, arrived, most = self.night.named, self.night.arrived, self.limits.age_days
        if named is None or most < 0:
            return
        age = arrived - named
        if age > timedelta(days=most):
            message = f"The epoch is named after a time {counted(age.days, 'day')} before it came; {most} may be."
            yield _hold("old-epoch", message, measured=age.days, limit=most)
        elif age < timedelta(days=-1):
            message = f"The epoch is named after a time in the future, {_day(named)}."
            yield Reason("future-epoch", Weight.WARNING, message)

    def _school_year(self) -> Iterator[Reason]:
        years = sorted({year for now in self.night.tables for year in now.years})
        wanted = sorted(self.calendar.years)
        if self.limits.school_year and years and not set(years) & set(wanted):
            told, right = ", ".join(map(str, years)), " or ".join(map(str, wanted))
            yield _hold("wrong-year", f"The files are of the school year {told}; {right} was expected.")

    def _faulty(self, now: TableFacts) -> Iterator[Reason]:
        allowed = self.limits.faulty.allowed(now.rows)
        if allowed is not None and now.faulty > allowed:
            message = f"{_part(now.faulty, now.rows, 'row')} of `{now.file}` have errors; {allowed:,} may have."
            yield _hold("faulty-rows", message, now.table, measured=now.faulty, limit=allowed)

    def _compared(self, now: TableFacts, then: TableFacts | None) -> Iterator[Reason]:
        if not now.base:
            if now.rows and self.before is not None:
                message = f"`{now.file}` is new: there were no records of it before."
                yield Reason("file-new", Weight.NOTE, message, now.table)
            return
        if not now.rows and not now.partial:
            message = f"`{now.file}` has no rows, and there are {counted(now.base, 'record')} of it."
            yield _hold("no-rows-left", message, now.table, measured=0, limit=1)
            return
        if then is not None:
            yield from self._smaller(now, then)
            yield from self._columns(now, then)
        for what in What:
            yield from self._changes(now, what)

    def _gone(self, now: TableFacts) -> Iterator[Reason]:
        then = self._then(now)
        is_whole = any(one.present for one in self.night.tables) and not self.night.is_partial
        is_whole = is_whole and not self.night.alone
        if is_whole and then is not None and then.present and now.table not in self.limits.may_miss:
            yield _hold("file-gone", f"`{now.file}` was not sent; last time it was.", now.table)

    def _smaller(self, now: TableFacts, then: TableFacts) -> Iterator[Reason]:
        allowed = None if now.partial else self.limits.shrink.allowed(then.size)
        lost = then.size - now.size
        if allowed is not None and now.size and lost > allowed:
            share = now.size * 100 // then.size
            message = f"`{now.file}` has only {share} % of its last size ({now.size:,} bytes, not {then.size:,})."
            yield _hold("file-smaller", message, now.table, measured=lost, limit=allowed)

    def _columns(self, now: TableFacts, then: TableFacts) -> Iterator[Reason]:
        empty = {one.name for one in now.columns if not one.filled}
        gone = [one.name for one in then.columns if one.filled and one.name in empty]
        if gone and now.sampled and not now.partial:
            message = f"In `{now.file}` nothing stands in {listed(gone)} any more."
            yield Reason("column-gone", Weight.WARNING, message, now.table)

    def _changes(self, now: TableFacts, what: What) -> Iterator[Reason]:
        number = {What.ADDED: now.counts.added, What.CHANGED: now.counts.changed, What.REMOVED: now.counts.removed}[
            what
        ]
        applying = self.limits.applying(what, now.table, now.base, self.calendar.today)
        if applying.allowed is not None and number > applying.allowed:
            message = _change_words(now, what, number, applying)
            yield _hold(f"too-many-{what}", message, now.table, what, number, applying.allowed)

    def _again(self) -> Iterator[Reason]:
        before = self.before
        if before is None or not any(one.present for one in self.night.tables):
            return
        old = next((one.name for one in before.earlier[::-1] if one.content == self.night.content), None)
        if old is not None and self.night.content != before.content and not self._is_as_applied():
            message = f"The files of an older night, {shown_name(old)}, have come again."
            yield Reason("stale-content", Weight.WARNING, message)
        days, most = (self.night.arrived - before.since).days, self.limits.quiet_days
        if 0 <= most <= days and not any(_is_changing(one) for one in self.night.tables):
            message = f"Nothing has changed for {counted(days, 'day')}. Does the export still run?"
            yield Reason("nothing-new", Weight.WARNING, message, measured=days, limit=most)

    def _is_as_applied(self) -> bool:
        """Whether a file that was sent by itself is what was applied of it last, whatever others came since."""
        here = [(now, self._then(now)) for now in self.night.tables if now.present]
        return self.night.alone and all(then is not None and then.content == now.content for now, then in here)


def _hold(
    code: str,
    message: str,
    table: str = "",
    kind: What | None = None,
    measured: int | None = None,
    limit: int | None = None,
) -> Reason:
    return Reason(code, Weight.HOLD, message, table, kind, measured, limit)


def _change_words(now: TableFacts, what: What, number: int, applying: Applying) -> str:
    allowed = applying.allowed or 0
    until = f", raised until {_day(applying.raised_until)}" if applying.raised_until else ""
    share = f"{applying.percent.normalize():f} % or " if allowed == int(applying.percent * now.base / 100) else ""
    if what is What.ADDED:
        many = f"{counted(number, 'record')} would be added to the {now.base:,} of `{now.file}`"
        return f"{many}; {share}{allowed:,} may be{until}."
    return f"{_part(number, now.base, 'record')} of `{now.file}` would be {what}; {share}{allowed:,} may be{until}."


def _part(number: int, whole: int, noun: str) -> str:
    """`3 of 10 rows (30 %)`."""
    return f"{number:,} of {counted(whole, noun)} ({number * 100 / whole:.3g} %)" if whole else counted(number, noun)


def _day(day: object) -> str:
    return f"{day:%-d %B %Y}"
