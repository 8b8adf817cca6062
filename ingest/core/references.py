"""Keys of the files of one epoch, and the values that refer to them."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from dataclasses import field as made
from typing import Protocol

from ingest.core.findings import Ledger, Severity
from ingest.core.schema import Field, Reference

MISSING_HINT = "Send the record that is referred to in the same epoch, or leave out the row that refers to it."
ZEROS_HINT = (
    "There is one that differs only in the zeros in front, which Excel takes away: send files as your system exports "
    "them, without opening them in Excel."
)
# Ids of digits are padded to no more than this.
_WIDEST = 12
UNKNOWN_HINT = "If it is new, send it as well. Otherwise look whether the value is right."


class KeySet(Protocol):
    """Keys of a table: a set, or a `hashes.KeyRing` for many."""

    def add(self, key: str, /) -> None: ...

    def __contains__(self, key: object, /) -> bool: ...


@dataclass(slots=True, eq=False)
class Waiting:
    """Values of one column that name keys not seen when they were read: each value with its lines."""

    file: str
    field: Field
    reference: Reference
    lines: dict[str, list[int]] = made(default_factory=dict)

    def add(self, key: str, line: int) -> None:
        self.lines.setdefault(key, []).append(line)

    def missing(self, keys: KeySet) -> Iterator[tuple[str, list[int]]]:
        """The values that are none of the keys, by first appearance, each with its lines."""
        return ((value, lines) for value, lines in self.lines.items() if value not in keys)


@dataclass(slots=True)
class Keys:
    """The keys seen so far, by place (`Table.places`). What is not here was not sent in full: nothing can be said.

    `on_record`: tables whose keys are not those of a file but of the records.
    """

    ledger: Ledger
    seen: dict[str, KeySet]
    read: set[str] = made(default_factory=set)
    waiting: list[Waiting] = made(default_factory=list)
    on_record: Container[str] = ()

    def tell(self, file: str, column: Field, reference: Reference, line: int, value: str) -> None:
        """A value refers to a key that there is not."""
        if reference.table in self.on_record:
            report_unknown(self.ledger, file, column, reference, line, value)
        else:
            hint = missing_hint(value, self.seen.get(reference.place, set()))
            report_missing(self.ledger, file, column, reference, line, value, hint)

    def knows(self, place: str) -> bool:
        return place in self.seen

    def done(self, table: str) -> None:
        """The table has been read to its end: what waited for its keys is settled."""
        self.read.add(table)
        for one in [one for one in self.waiting if one.reference.table == table]:
            self._settle(one)
            self.waiting.remove(one)

    def forget(self, table: str) -> None:
        """The table's keys are not to be trusted: nothing is said about references to it."""
        for place in [place for place in self.seen if place.split("\0")[0] == table]:
            del self.seen[place]
        self.waiting = [one for one in self.waiting if one.reference.table != table]

    def _settle(self, one: Waiting) -> None:
        keys: KeySet = self.seen.get(one.reference.place, set())
        for value, lines in one.missing(keys):
            hint = missing_hint(value, keys)
            for line in lines:
                report_missing(self.ledger, one.file, one.field, one.reference, line, value, hint)


def missing_hint(value: str, keys: KeySet) -> str:
    """What to do about a value that is none of the keys. Nothing of either is told: they may be personal."""
    if value.isascii() and value.isdigit():
        bare = value.lstrip("0") or "0"
        if any(bare.zfill(width) in keys for width in range(len(bare), _WIDEST + 1)):
            return ZEROS_HINT
    return MISSING_HINT


def report_missing(
    ledger: Ledger, file: str, column: Field, reference: Reference, line: int, value: str, hint: str
) -> None:
    """Enter that a value refers to a record that is not there."""
    ledger.report(
        column.severity("reference"),
        file,
        "reference",
        f"No row of `{reference.table}` has this key.",
        line=line,
        column=column.name,
        hint=hint,
        value=value,
    )


def report_unknown(ledger: Ledger, file: str, column: Field, reference: Reference, line: int, value: str) -> None:
    """Enter that a value refers to what is not on record. It may come in a file of its own, so this is no error."""
    ledger.report(
        Severity.WARNING if column.severity("reference") else None,
        file,
        "reference",
        f"No record of `{reference.table}` has this key.",
        line=line,
        column=column.name,
        hint=UNKNOWN_HINT,
        value=value,
    )
