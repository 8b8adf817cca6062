"""Rows that belong to a record of another file: guardians to their student.

What is sent for somebody is the whole truth about him, and says nothing about anybody else. So rows whose owner is not
sent are not loaded, and a row that is missing takes its record away only if its owner is sent.
"""

from collections.abc import Callable, Container, Iterable, Iterator

from ingest.core.records import Row
from ingest.core.schema import Table


def owned(table: Table, rows: Iterable[Row], owners: Container[str]) -> Iterator[Row]:
    """The rows of those among `owners`, keys of `table.owner_table`; all rows of a table that has no owner."""
    return (row for row in rows if not table.owner or row.values[table.owner] in owners)


def removable(table: Table, owners: Container[str]) -> Callable[[str], bool]:
    """Whether a record on file, known by its key, may be removed because no row names it any more."""
    return lambda key: not table.owner or _first_part(key) in owners


def _first_part(key: str) -> str:
    """The first of the values that `records.key_maker` has joined; the owner's column is the first of the key."""
    out, escaped = "", False
    for character in key:
        if escaped or character not in "\\|":
            out, escaped = out + character, False
        elif character == "|":
            break
        else:
            escaped = True
    return out
