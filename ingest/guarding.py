"""Judges a checked night before anything of it is applied, and remembers what was applied.

The two steps around it are here too: "compare", whose record half judges and may hold the night, and "load", which
applies only what may be applied. What is decided is in `core.guard`; this is the coat of rows and files around it.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from django.db.models import Q, Sum
from django.utils import timezone

from accounts.models import District

from . import comparing, loading, telling, undoing
from .allowances import calendar_of, limits_of, zone_of
from .catalogue import format_named, records_of
from .comparing import TableCompared
from .core import facts, holding
from .core.delimiters import delimiter_of
from .core.diff import Counts, What
from .core.diff import compare as compare_rows
from .core.discovery import epoch_time
from .core.display import shown_name
from .core.errors import RowsError
from .core.facts import Applied, Night, Seen, TableFacts
from .core.findings import Severity, Tally
from .core.guard import Judgement as Judged
from .core.guard import State, judge
from .core.limits import GuardLimits
from .core.records import Row, read_records
from .core.schema import Format, MissingRow, Mode, Table
from .core.schoolyear import Calendar
from .core.verdict import FileCounts, Limits, Verdict
from .models import Epoch, EpochFile, GuardState, Judgement, Record
from .outcome import held_for, is_applying, is_discarded, judgement_of
from .sequence import lost_before, newer_than
from .staging import is_alone, staged_file, staged_open, staged_source

# A night with errors is compared row by row in memory, only to guess what went wrong: not if it is larger than this.
MOST_UNSOUND = 300_000
STOPPED = ~Q(stopped="")
UNDOABLE = 3


@dataclass(frozen=True, slots=True)
class Compared:
    """A checked night beside what is on record: per table what would change, and its facts."""

    tables: tuple[TableCompared, ...]
    night: Night


def compare(epoch: Epoch) -> Compared | None:
    """Compares a checked night with the records; nothing is written. None: there is nothing (more) to judge."""
    known = format_named(epoch.format)
    if known is None or is_discarded(epoch):
        return None
    tables = comparing.compared(epoch) if epoch.is_ok else ()
    return Compared(tables, _Gathering(epoch, known, tables).night())


def compare_record(epoch: Epoch, compared: Compared | None) -> None:
    """Writes down what the guard says; over a limit the epoch is held, and people are told."""
    if compared is None:
        return
    if epoch.is_ok:
        comparing.record(epoch, compared.tables)
    state, _ = GuardState.objects.select_for_update().get_or_create(district=epoch.district)
    before = applied_of(state)
    limits, calendar = limits_of(epoch.district), calendar_of(epoch.district)
    lost = lost_before(epoch) if compared.night.is_partial else ()
    judged = judge(compared.night, before, limits, calendar, newer_than(epoch), lost)
    facts_kept = _kept(compared.night) if judged.state in (State.PASS, State.HELD) else None
    told = {
        "state": judged.state.value,
        "content": compared.night.content,
        "against": facts.state_of(before),
        "tables": [table_told(one, limits, calendar) for one in compared.night.tables if one.present],
        "sample": [row_told(one, row) for one in compared.tables for row in one.picked if judged.state is State.HELD],
        "night": facts_kept,
        "before": None,
        "judged": timezone.now(),
        **_words(judged),
        **UNDECIDED,
    }
    if is_approved := _is_still_approved(epoch, told):
        told = {name: value for name, value in told.items() if name not in (*UNDECIDED, "sample")}
    held_before = held_for(judgement_of(epoch))
    judgement, _ = Judgement.objects.update_or_create(epoch=epoch, defaults=told)
    epoch.judgement = judgement
    if judged.state is State.HELD and not is_approved:
        epoch.state = Epoch.State.HELD
        telling.held(epoch, judgement, held_before)


def _is_still_approved(epoch: Epoch, told: Mapping[str, Any]) -> bool:
    """Whether a person has approved just this, so that it is compared again only because what was found is lost."""
    before = judgement_of(epoch)
    if before is None or before.act != Judgement.Act.APPROVED or told["state"] != State.HELD:
        return False
    same = all(getattr(before, name) == told[name] for name in ("content", "against"))
    return same and _numbers(before.tables) == _numbers(told["tables"])


def _numbers(tables: list[dict[str, Any]]) -> list[list[int]]:
    return [[one["base"], *(kind["number"] for kind in one["kinds"])] for one in tables]


def judged_now(epoch: Epoch) -> Judged | None:
    """What the guard would say of a held night by the limits and the calendar of today, from what is kept of it.

    None if it was compared with other records than there are now: then nobody knows before it is compared again.
    """
    judgement = judgement_of(epoch)
    before = applied_of(GuardState.objects.filter(district=epoch.district).first())
    if judgement is None or not judgement.night or judgement.against != facts.state_of(before):
        return None
    kept = facts.loaded(judgement.night)
    limits, calendar = limits_of(epoch.district), calendar_of(epoch.district)
    return judge(kept.night, before, limits, calendar, newer_than(epoch)) if kept else None


def would_pass(judged: Judged | None) -> bool:
    """Whether a night of which the guard says this would be held no longer, and would be applied."""
    return judged is not None and judged.state in (State.PASS, State.NO_CHANGE)


UNDECIDED = {"act": "", "act_message": "", "act_by": None, "act_at": None}


def applied_of(state: GuardState | None) -> Applied | None:
    """What a night is compared with; None for a district without facts of an applied night."""
    kept = facts.loaded(state.applied) if state is not None and state.applied else None
    # A format may have come to share its records with another since.
    return replace(kept, night=replace(kept.night, format=records_of(kept.night.format))) if kept else None


def must_wait(epoch: Epoch) -> bool:
    """Whether a checked night may not be judged yet: one before it is held, or nothing may be applied for now.

    What failed its check ends at once, and so does what was discarded.
    """
    pk = epoch.district_id
    return epoch.is_ok and not is_discarded(epoch) and (is_stopped(pk) or is_suspended(pk))


def must_not_load(epoch: Epoch) -> bool:
    """Whether a night that would be applied has to wait, since its district was suspended after it was judged."""
    return is_applying(epoch) and is_suspended(epoch.district_id)


def is_suspended(district_pk: int) -> bool:
    """Whether a district is suspended now: what has come from it waits."""
    return District.objects.filter(pk=district_pk, state=District.State.SUSPENDED).exists()


def is_stopped(district_pk: int) -> bool:
    """Whether nothing may be applied in a district: a night is held, or one was undone and staff have yet to say so."""
    held = Epoch.objects.filter(district=district_pk, state=Epoch.State.HELD)
    return held.exists() or GuardState.objects.filter(STOPPED, district=district_pk).exists()


def whose_turn_has_come() -> Q:
    """The condition on epochs that waited behind another one, and need not any more."""
    held = Epoch.objects.filter(state=Epoch.State.HELD).values("district")
    stopped = GuardState.objects.filter(STOPPED).values("district")
    return Q(state=Epoch.State.BEHIND) & ~Q(district__in=held) & ~Q(district__in=stopped)


# --- Applying ----------------------------------------------------------------------------------------------------


def load(epoch: Epoch) -> None:
    """Prepares what may be applied; of any other night nothing.

    Raises Outdated if it would not pass any more as it was judged: whatever has kept it, trouble or other districts'
    turns, a blackout may have begun since, or a raise have ended.
    """
    if not is_applying(epoch):
        return
    if not _may_be_applied_now(epoch):
        raise loading.Outdated
    loading.prepare(epoch)


def _may_be_applied_now(epoch: Epoch) -> bool:
    """Whether its judgement is still true today. An approval lifts what holds a night, but no blackout."""
    if calendar_of(epoch.district).blackout is not None:
        return False
    judgement = judgement_of(epoch)
    # What passed is not taken on trust either, if what is kept of it cannot be read: by another version of the portal.
    if judgement is not None and judgement.act != Judgement.Act.APPROVED and judgement.state == State.PASS:
        return would_pass(judged_now(epoch))
    return True


def load_record(epoch: Epoch, prepared: None) -> None:
    """Applies the night if it may be, and remembers what later ones are compared with."""
    judgement = judgement_of(epoch)
    if judgement is None or not is_applying(epoch):
        return
    loading.record(epoch, prepared)
    if judgement.state != State.NO_CHANGE:
        _remember(epoch, judgement)


def _remember(epoch: Epoch, judgement: Judgement) -> None:
    state = GuardState.objects.select_for_update().get(district=epoch.district)
    kept = facts.loaded(judgement.night) if judgement.night else None
    # What changed no record cannot be taken back, and must not push out what can.
    judgement.before = state.applied if epoch.applied_version is not None else None
    judgement.night, judgement.sample = None, []
    judgement.save(update_fields=["before", "night", "sample"])
    state.applied = facts.dumped(facts.applied(kept.night, applied_of(state))) if kept else None
    state.epoch = epoch
    state.save(update_fields=["applied", "epoch"])
    _forget(epoch)


def _forget(epoch: Epoch) -> None:
    """Only the newest nights can be undone, one after the other."""
    rows = Judgement.objects.filter(epoch__district=epoch.district, before__isnull=False).order_by("-judged", "-pk")
    Judgement.objects.filter(pk__in=[one.pk for one in rows.only("pk")[UNDOABLE:]]).update(before=None)


def took_back(epoch: Epoch, why: str) -> None:
    """What a night was compared with before this one counts again, and nothing is applied until staff say so."""
    state, _ = GuardState.objects.select_for_update().get_or_create(district=epoch.district)
    judgement = Judgement.objects.filter(epoch=epoch).first()
    state.applied, state.epoch = (judgement.before if judgement else None), None
    state.stopped, state.stopped_at = why[:400], timezone.now()
    state.save()
    Judgement.objects.filter(epoch=epoch).update(before=None)


@dataclass(frozen=True, slots=True)
class UndoJudged:
    """What taking a night back would do, and what the guard says of that. `holds`: why it is more than usual."""

    holds: tuple[str, ...]
    tables: list[dict[str, Any]]
    sample: list[dict[str, Any]]


def undo_judged(epoch: Epoch) -> UndoJudged:
    """Taking a night back changes records like any night does, so the same limits count; a blackout does not."""
    every = undoing.undo_compared(epoch)
    limits, calendar = limits_of(epoch.district), replace(calendar_of(epoch.district), blackouts=())
    names = {file.table: file.name for file in epoch.files.all()}
    tables = tuple(
        TableFacts(one.table, names.get(one.table, one.table), partial=True, base=one.base, counts=one.counts)
        for one in every
    )
    judged = judge(Night(epoch.name, records_of(epoch.format), timezone.now(), tables), None, limits, calendar)
    return UndoJudged(
        tuple(one.message for one in judged.holds),
        [table_told(one, limits, calendar) for one in tables],
        [row_told(one, row) for one in every for row in one.picked],
    )


# --- Facts -------------------------------------------------------------------------------------------------------


def content_of(epoch: Epoch) -> tuple[str, bool]:
    """The digest of all that a copied and checked epoch says, and whether it holds changes only."""
    known = format_named(epoch.format)
    files = {file.table: file for file in reversed(epoch.files.all())}
    tables = tuple(
        TableFacts(table.name, file.name, partial=_is_partial(table, file), content=_content(file))
        for table in (known.tables if known else ())
        if (file := files.get(table.name))
    )
    night = Night(epoch.name, records_of(epoch.format), epoch.first_seen, tables)
    return night.content, night.is_partial


def is_no_set(epoch: Epoch) -> bool:
    """Whether it says nothing of the files of the usual set: one file by itself, or what staff gave to a loader."""
    known = format_named(epoch.format)
    return is_alone(epoch) or (known is not None and known.by_hand)


def _content(file: EpochFile) -> str:
    """What a file says: its bytes, and how they were read."""
    return "/".join(filter(None, (file.sha256, file.encoding, file.delimiter)))


def _is_partial(table: Table, file: EpochFile) -> bool:
    return file.mode == Mode.CHANGES and table.missing_row is not MissingRow.KEPT


def _mode(file: EpochFile) -> Mode:
    return Mode(file.mode) if file.mode else Mode.ABSENT


class _Gathering:
    """The facts of one night."""

    def __init__(self, epoch: Epoch, known: Format, compared: tuple[TableCompared, ...]) -> None:
        self.epoch, self.known = epoch, known
        self.compared: Mapping[str, TableCompared] = {one.table: one for one in compared}
        rows = list(epoch.files.exclude(table=""))
        self.files = {file.table: file for file in reversed(rows)}
        datasets = epoch.district.datasets
        self.bases = dict(datasets.filter(format=known.records).values_list("table", "active"))
        self.elsewhere = datasets.exclude(format=known.records).aggregate(records=Sum("active"))["records"] or 0
        self.verdict = _verdict(epoch, rows)
        self.before = applied_of(GuardState.objects.filter(district=epoch.district).first())

    def night(self) -> Night:
        zone, named = zone_of(self.epoch.district), epoch_time(self.epoch.name)
        arrived = self.epoch.queued or self.epoch.first_seen
        return Night(
            name=self.epoch.name,
            format=self.known.records,
            arrived=arrived.astimezone(zone),
            tables=tuple(self._table(table) for table in self.known.tables),
            named=named.replace(tzinfo=zone) if named else None,
            failed=not self.epoch.is_ok,
            elsewhere=self.elsewhere,
            alone=is_no_set(self.epoch),
        )

    def _table(self, table: Table) -> TableFacts:
        base, file = self.bases.get(table.name, 0), self.files.get(table.name)
        if file is None:
            return facts.absent(table, base)
        done = self.compared.get(table.name)
        if done is not None:
            base, counts, seen = done.base, done.counts, done.seen
        else:
            counts, seen = self._unsound(table, file, base)
        with staged_file(file).open("rb") as stream, staged_open(file) as text:
            edges = facts.read_edges(stream, text, delimiter_of(file.delimiter).mark)
        told = facts.Told(shown_name(file.name), _mode(file), file.size, _content(file), base, counts, edges)
        made = facts.facts_of(table, told, seen, self.verdict)
        then = self.before.night.table(table.name) if self.before else None
        if done is not None and done.is_same and then is not None:
            # It was not read again: what its rows look like is known.
            return replace(made, sampled=then.sampled, columns=then.columns, years=then.years)
        return made

    def _unsound(self, table: Table, file: EpochFile, base: int) -> tuple[Counts, Seen]:
        """What can be said of a file that was not compared: of one in a night with errors, the rows that are sound."""
        if self.epoch.is_ok or file.rows + base > MOST_UNSOUND:
            return Counts(unchanged=base), Seen(0, ())
        records = Record.objects.filter(dataset__district=self.epoch.district, dataset__format=self.known.records)
        active = records.filter(dataset__table=table.name, is_removed=False).values_list("key", "digest")
        previous = {key: bytes(digest) for key, digest in active.iterator(chunk_size=10_000)}
        gatherer = facts.RowGatherer(table)
        mode = Mode.FULL if file.mode == Mode.FULL else Mode.CHANGES
        changes = compare_rows(previous, facts.watched(_sound_rows(table, file), gatherer), mode)
        for _ in changes:
            pass
        return changes.counts, gatherer.seen


def _sound_rows(table: Table, file: EpochFile) -> Iterator[Row]:
    with suppress(RowsError):
        yield from read_records(table, staged_source(file), Limits(), strict=False)


def _verdict(epoch: Epoch, files: list[EpochFile]) -> Verdict:
    """The verdict of the check, as far as facts need it, from its rows."""
    counts = tuple(FileCounts(shown_name(one.name), one.rows, one.blank, one.errors, one.warnings) for one in files)
    tallies = tuple(Tally(file, code, Severity(level), number) for file, code, level, number in epoch.tallies)
    modes = {one.table: _mode(one) for one in files}
    return Verdict((), tallies, counts, modes, epoch.is_ok)


def _kept(night: Night) -> dict[str, Any]:
    return facts.dumped(Applied(night, night.content, night.arrived))


# --- As pages tell it --------------------------------------------------------------------------------------------


def _words(judged: Judged) -> dict[str, Any]:
    reasons = [
        {"code": one.code, "weight": one.weight.value, "message": one.message, "table": one.table}
        for one in judged.reasons
    ]
    cause = judged.cause
    told = {"cause": cause.cause.value, "message": cause.message, "hint": cause.hint} if cause else None
    return {"message": judged.message, "reasons": reasons, "cause": told}


def table_told(one: TableFacts, limits: GuardLimits, calendar: Calendar) -> dict[str, Any]:
    """What would change of one file, and how much may."""
    numbers = {What.ADDED: one.counts.added, What.CHANGED: one.counts.changed, What.REMOVED: one.counts.removed}
    kinds = []
    for what, number in numbers.items():
        applying = limits.applying(what, one.table, one.base, calendar.today)
        until = applying.raised_until.isoformat() if applying.raised_until else ""
        is_over = bool(one.base) and applying.allowed is not None and number > applying.allowed
        told = {"what": what.value, "number": number, "allowed": applying.allowed, "until": until, "is_over": is_over}
        kinds.append(told)
    return {"table": one.table, "file": one.file, "base": one.base, "rows": one.rows, "kinds": kinds}


def row_told(compared: TableCompared, row: holding.SampleRow) -> dict[str, Any]:
    """One record of the sample, as plain values."""
    return {"table": compared.table, **json.loads(json.dumps(asdict(row)))}
