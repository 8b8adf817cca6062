"""Keys of the files of one epoch, and the values that refer to them."""

from collections.abc import Collection
from dataclasses import dataclass
from dataclasses import field as made

from ingest.core.findings import Ledger
from ingest.core.schema import Field, Reference

MISSING_HINT = "Send the record that is referred to in the same epoch, or leave out the row that refers to it."


@dataclass(slots=True)
class Waiting:
    """Values of one column that name keys not seen when they were read: each value with its lines."""

    file: str
    field: Field
    reference: Reference
    lines: dict[str, list[int]] = made(default_factory=dict)


@dataclass(slots=True)
class Keys:
    """The keys seen so far, by table. A table that is not here was not sent in full, and nothing can be said."""

    ledger: Ledger
    seen: dict[str, set[str]]
    read: set[str] = made(default_factory=set)
    waiting: list[Waiting] = made(default_factory=list)

    def knows(self, table: str) -> bool:
        return table in self.seen

    def done(self, table: str) -> None:
        """The table has been read to its end: what waited for its keys is settled."""
        self.read.add(table)
        for one in [one for one in self.waiting if one.reference.table == table]:
            self._settle(one)
            self.waiting.remove(one)

    def forget(self, table: str) -> None:
        """The table's keys are not to be trusted: nothing is said about references to it."""
        self.seen.pop(table, None)
        self.waiting = [one for one in self.waiting if one.reference.table != table]

    def _settle(self, one: Waiting) -> None:
        keys: Collection[str] = self.seen.get(one.reference.table, ())
        for value, lines in one.lines.items():
            if value not in keys:
                for line in lines:
                    report_missing(self.ledger, one.file, one.field, one.reference, line, value)


def report_missing(ledger: Ledger, file: str, column: Field, reference: Reference, line: int, value: str) -> None:
    """Enter that a value refers to a record that is not there."""
    ledger.report(
        column.severity("reference"),
        file,
        "reference",
        f"No row of `{reference.table}` has this key.",
        line=line,
        column=column.name,
        hint=MISSING_HINT,
        value=value,
    )
