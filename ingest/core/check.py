"""A format and the files of an epoch -> every finding, and a verdict. Any error: nothing of the epoch is loaded."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from ingest.core.choose import COMPLETE, is_noise
from ingest.core.display import shown_name
from ingest.core.engine import engine
from ingest.core.findings import Finding, Ledger, Severity
from ingest.core.manifest import Stated, read_manifest
from ingest.core.nearest import did_you_mean, nearest
from ingest.core.records import Row
from ingest.core.references import Keys, KeySet
from ingest.core.schema import Format, MissingRow, Mode, Table
from ingest.core.tables import Bench, TableCheck
from ingest.core.verdict import FileCounts, Limits, Source, Verdict

__all__ = ["FileCounts", "Limits", "Row", "Source", "Verdict", "check", "rows"]


def check(
    known: Format,
    sources: Sequence[Source],
    limits: Limits,
    progress: Callable[[int], None],
    each: Callable[[Finding], None] | None = None,
    on_record: Mapping[str, KeySet] | None = None,
) -> Verdict:
    """Check the files of one epoch against their format.

    `progress` is called now and then with the number of rows read so far, over all files; `each` with every finding,
    those that the verdict only counts as well, about in the order of the files. `on_record`: not None if one file was
    sent by itself, so that nothing else of its set is missed; what it refers to is looked up among these keys of the
    records, by table, or not at all. Wrong data raises nothing; what a
    source's `open` or `read` raises (other than ArchiveError) comes through, for the caller to try again.
    """
    return _Check(known, sources, Ledger(limits.per_code, each), limits, progress, on_record).run()


def rows(known: Format, table: Table, source: Source) -> Iterator[Row]:
    """The records of one checked file, about in its order; a row sent twice comes twice. Raises RowsError if unchecked.

    `batches.read_batches` gives the same in bulk.
    """
    if table not in known.all_tables:
        raise KeyError(table.name)
    batches = engine("batches").read_batches(table, source, Limits())
    return (row for batch in batches for row in batch.rows(range(len(batch))))


class _Check:
    def __init__(
        self,
        known: Format,
        sources: Sequence[Source],
        ledger: Ledger,
        limits: Limits,
        progress: Callable[[int], None],
        on_record: Mapping[str, KeySet] | None,
    ) -> None:
        self.known = known
        self.on_record = on_record
        self.limits = limits
        self.ledger = ledger
        self.placed: dict[str, Source] = {}
        self.strangers: list[str] = []
        self.done: dict[str, TableCheck] = {}
        self._place(sources)
        self.bench = Bench(self.ledger, Keys(self.ledger, {}), limits, progress)

    def run(self) -> Verdict:
        stated = self._stated()
        modes = {table.name: self._mode(table, stated) for table in self.known.tables}
        self._tell_missing(modes, stated)
        full = [table for table in self.known.tables if modes[table.name] is Mode.FULL and table.name in self.placed]
        asked = {reference.place for table in self.known.tables for reference in table.references}
        self.bench.keys.seen = {place: set() for table in full for place in table.places if place in asked}
        self._look_up()
        for table in self.known.load_order:
            if table.name in self.placed:
                self._check_table(table, modes[table.name])
        self._tell_strangers()
        self.bench.progress(self.bench.rows)
        return self._verdict()

    def _look_up(self) -> None:
        """Has references to files that were not sent looked up in what is on record."""
        known = {table: keys for table, keys in (self.on_record or {}).items() if table not in self.placed}
        keys = self.bench.keys
        keys.seen, keys.read, keys.on_record = {**keys.seen, **known}, {*known}, known.keys()

    def _report(self, file: str, code: str, message: str, hint: str = "") -> None:
        self.ledger.report(self.known.severity(code), shown_name(file), code, message, hint=hint)

    def _place(self, sources: Sequence[Source]) -> None:
        for source in sources:
            bare = source.name.rsplit("/", 1)[-1]
            table = self.known.table_of(bare)
            if table is None:
                self.strangers += [bare] if bare != COMPLETE else []
            elif table.name in self.placed:
                self._report(source.name, "file-twice", "This file is here under two names.", "Send it once only.")
            else:
                self.placed[table.name] = source

    def _stated(self) -> Stated | None:
        manifest = self.known.manifest
        if manifest is None:
            return None
        source = self.placed.get(manifest.table.name)
        if source is None and self.on_record is not None:
            return None
        if source is None:
            self._report(manifest.table.file, "missing-file", *self._missing_words(manifest.table))
            return Stated(readable=False)
        self._check_table(manifest.table, Mode.FULL)
        if not self.done[manifest.table.name].usable:
            return Stated(readable=False)
        return read_manifest(self.known, manifest, source, self.ledger, self.limits)

    def _mode(self, table: Table, stated: Stated | None) -> Mode:
        here = table.name in self.placed
        if stated is None or not stated.readable:
            return Mode.FULL if here else Mode.ABSENT
        mode = stated.modes.get(table.name)
        if here and mode in (None, Mode.ABSENT):
            what = "says that this file is not sent, but it is here" if mode else "does not say what this file is"
            self._report(self.placed[table.name].name, "manifest-mismatch", f"The manifest {what}.")
            return Mode.FULL
        if not here and mode in (Mode.FULL, Mode.CHANGES):
            message, hint = self._missing_words(table)
            self._report(table.file, "missing-file", f"The manifest says that it is sent. {message}", hint)
        return mode if mode is not None else Mode.ABSENT

    def _tell_missing(self, modes: dict[str, Mode], stated: Stated | None) -> None:
        required = [table for table in self.known.tables if table.required and self.on_record is None]
        if stated is not None and not any(modes[table.name] is Mode.FULL for table in required):
            if stated.readable and not any(mode is not Mode.ABSENT for mode in modes.values()):
                file = self.known.all_tables[0].file
                self._report(file, "nothing-sent", "The manifest says that nothing has changed; nothing is loaded.")
            return
        for table in (*required, *self._needed(modes)):
            if table.name not in self.placed and modes[table.name] is Mode.ABSENT:
                self._report(table.file, "missing-file", *self._missing_words(table))

    def _needed(self, modes: dict[str, Mode]) -> list[Table]:
        """Tables that are not required by themselves, but by others that are here."""
        full = [table for table in self.known.tables if modes[table.name] is Mode.FULL and table.name in self.placed]
        if self.on_record is not None:
            # What a row does depends on whether its owner is sent, so these cannot come without.
            full = [table for table in full if table.owner]
        needed = {name for table in full for name in table.needs}
        any_of = self.known.recognised_by_any if self.on_record is None else ()
        if any_of and not self.placed.keys() & set(any_of):
            needed.add(any_of[0])
        return [table for table in self.known.tables if table.name in needed and not table.required]

    def _missing_words(self, table: Table) -> tuple[str, str]:
        like = nearest(table.file, self.strangers)
        hint = f"`{shown_name(like)}` is here. {did_you_mean(table.file)}" if like else ""
        return f"`{table.file}` is missing.", hint

    def _tell_strangers(self) -> None:
        wanted = [table.file for table in self.known.all_tables if table.name not in self.placed]
        for name in self.strangers:
            if is_noise(name):
                self._report(name, "noise-file", "This file is passed over: it is no data.")
            else:
                hint = did_you_mean(nearest(name, wanted))
                self._report(name, "unknown-file", "This file does not belong to the format and is passed over.", hint)

    def _check_table(self, table: Table, mode: Mode) -> None:
        run: TableCheck = engine("tablesieve").SievedCheck(self.bench, table, self.placed[table.name], mode)
        self.done[table.name] = run
        run.run()
        if not run.rows and run.mode is Mode.FULL:
            self._tell_empty(run)
        if not run.usable:
            self.bench.keys.forget(table.name)
        self.bench.keys.done(table.name)

    def _tell_empty(self, run: TableCheck) -> None:
        if run.table.required or run.table.needs_rows or run.table not in self.known.tables:
            if not self.ledger.number(run.file, Severity.ERROR):
                self._report(run.file, "no-rows", "The file has no rows. Nothing is taken away because of it.", NO_ROWS)
            return
        run.mode = Mode.ABSENT
        if self.ledger.number(run.file, Severity.ERROR):
            return
        message = "The file has no rows and counts as not sent; nothing is taken away because of it."
        self._report(run.file, "no-rows-optional", message)

    def _final_mode(self, table: Table) -> Mode:
        run = self.done.get(table.name)
        if run is None:
            return Mode.ABSENT
        kept = run.mode is Mode.FULL and table.missing_row is MissingRow.KEPT
        return Mode.CHANGES if kept else run.mode

    def _verdict(self) -> Verdict:
        order = {shown_name(run.source.name): place for place, run in enumerate(self.done.values())}
        modes = {table.name: self._final_mode(table) for table in self.known.tables}
        return Verdict(
            findings=self.ledger.findings(order),
            tallies=self.ledger.tallies(),
            counts=tuple(self._counts(run) for run in self.done.values()),
            modes=MappingProxyType(modes),
            ok=self.ledger.clean,
        )

    def _counts(self, run: TableCheck) -> FileCounts:
        errors, warnings = (self.ledger.number(run.file, level) for level in (Severity.ERROR, Severity.WARNING))
        return FileCounts(run.file, run.rows, run.blank, errors, warnings)


NO_ROWS = "Did the export fail? Send the file with all its rows."
