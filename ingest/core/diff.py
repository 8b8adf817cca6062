"""What a file changes, compared with what is on record: row by row, holding no more than keys and digests."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from ingest.core.records import Row
from ingest.core.schema import Mode

__all__ = ["Change", "Comparison", "Counts", "Mode", "What", "compare"]


class What(StrEnum):
    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """One record that becomes different. `row` is None where the file does not hold the record any more."""

    what: What
    key: str
    row: Row | None


@dataclass(frozen=True, slots=True)
class Counts:
    """Records, not rows: a row that is sent twice counts once."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0


class Comparison(Iterator[Change]):
    """The changes, one at a time; `counts` is complete when they are used up."""

    def __init__(self, changes: Iterator[Change | None]) -> None:
        self._changes = changes
        self._numbers = dict.fromkeys(What, 0)
        self._unchanged = 0

    def __next__(self) -> Change:
        for change in self._changes:
            if change is not None:
                self._numbers[change.what] += 1
                return change
            self._unchanged += 1
        raise StopIteration

    @property
    def counts(self) -> Counts:
        return Counts(
            self._numbers[What.ADDED], self._numbers[What.CHANGED], self._numbers[What.REMOVED], self._unchanged
        )


def compare(
    previous: Mapping[str, bytes], rows: Iterable[Row], mode: Mode, removable: Callable[[str], bool] = lambda key: True
) -> Comparison:
    """Compare rows with the active records (`previous`: key -> digest).

    FULL: a record that no row names is removed, if its key is `removable` (see `ownership`). CHANGES: it stays.
    ABSENT is refused with ValueError: a file that was not sent says nothing, and must not be compared.
    """
    if mode is Mode.ABSENT:
        raise ValueError("a table that was not sent cannot be compared")
    return Comparison(_changes(previous, rows, mode, removable))


def _changes(
    previous: Mapping[str, bytes], rows: Iterable[Row], mode: Mode, removable: Callable[[str], bool]
) -> Iterator[Change | None]:
    seen: set[str] = set()
    for row in rows:
        if row.key not in seen:
            seen.add(row.key)
            yield _change(previous.get(row.key), row)
    if mode is Mode.FULL:
        yield from (Change(What.REMOVED, key, None) for key in previous if key not in seen and removable(key))


def _change(before: bytes | None, row: Row) -> Change | None:
    if row.deleted:
        return None if before is None else Change(What.REMOVED, row.key, row)
    if before is None:
        return Change(What.ADDED, row.key, row)
    return None if before == row.digest else Change(What.CHANGED, row.key, row)
