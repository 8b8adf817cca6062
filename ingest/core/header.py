"""The first line of a file against the columns of its table."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.core.display import listed, shown_name
from ingest.core.nearest import did_you_mean, folded, nearest
from ingest.core.schema import Field, Table
from ingest.core.values import Fault

OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "upright bars"}


@dataclass(frozen=True, slots=True)
class HeaderFault:
    """A fault of the header and the column name it is about (as it stands in the file, or should stand)."""

    column: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class Columns:
    """Where each known column stands. `usable` False: the rows below cannot be read with this header."""

    width: int
    places: dict[str, int]
    faults: tuple[HeaderFault, ...]
    usable: bool


def read_columns(table: Table, header: Sequence[str], required: frozenset[str]) -> Columns:
    """Find the columns of a table in a header; `required` names those that must be there this time."""
    names = list(header)
    while names and not names[-1].strip():
        names.pop()
    trailing = [HeaderFault("", TRAILING)] if len(names) < len(header) else []
    if stop := _unusable(table, names):
        return Columns(len(header), {}, (stop,), usable=False)
    places, spelled = _places(table, names)
    faults = [*trailing, *spelled, *_doubled(names), *_unknown(table, names, places)]
    faults += [*_missing(table, names, places, required), *_order(table, places)]
    bad = any(one.fault.code in ("header-duplicate", "header-empty") for one in faults)
    return Columns(len(header), places, tuple(faults), usable=not bad)


def other_delimiter(table: Table, header: Sequence[str]) -> str | None:
    """What else than a comma seems to stand between the columns, in words."""
    if len(header) == 1:
        known = {folded(field.name) for field in table.fields}
        for mark, spoken in OTHER_DELIMITERS.items():
            if len(known & {folded(name) for name in header[0].split(mark)}) > 1:
                return spoken
    return None


TRAILING = Fault("header-trailing", "The header ends in commas with no name after them; they are passed over.")


def _unusable(table: Table, names: list[str]) -> HeaderFault | None:
    if spoken := other_delimiter(table, names):
        message = f"The columns seem to be separated by {spoken}; commas are needed."
        return HeaderFault("", Fault("delimiter", message, "Set the export to comma-separated values."))
    known = {folded(name) for field in table.fields for name in (field.name, *field.aliases)}
    if not known & {folded(name) for name in names}:
        message = "The first line does not hold the column names."
        return HeaderFault("", Fault("no-header", message, f"It should begin {listed(_names(table), limit=4)}."))
    return None


def _names(table: Table) -> list[str]:
    return [field.name for field in table.fields]


def _places(table: Table, names: list[str]) -> tuple[dict[str, int], list[HeaderFault]]:
    exact = {name: at for at, name in reversed(list(enumerate(names)))}
    loose = {folded(name): at for at, name in reversed(list(enumerate(names)))}
    places: dict[str, int] = {}
    faults: list[HeaderFault] = []
    for field in table.fields:
        found = _place(field, exact, loose)
        if found is not None:
            places[field.name] = found
            faults += _spelling(field, names[found])
    return places, faults


def _place(field: Field, exact: dict[str, int], loose: dict[str, int]) -> int | None:
    every = (field.name, *field.aliases)
    return next(
        (at for at in (*map(exact.get, every), *(loose.get(folded(name)) for name in every)) if at is not None), None
    )


def _spelling(field: Field, name: str) -> Iterator[HeaderFault]:
    if name == field.name:
        return
    if name in field.aliases:
        yield HeaderFault(shown_name(name), Fault("header-alias", f"This column is read as `{field.name}`."))
        return
    message = "This column's name has other letters, blanks or invisible characters than it should."
    yield HeaderFault(shown_name(name), Fault("header-case", message, did_you_mean(field.name)))


def _doubled(names: list[str]) -> Iterator[HeaderFault]:
    for name, times in Counter(folded(name) for name in names).items():
        if not name:
            message = "A column has no name."
            yield HeaderFault("", Fault("header-empty", message, "Give every column its name, or leave it out."))
        elif times > 1:
            first = next(other for other in names if folded(other) == name)
            message = f"This column stands {times} times in the header."
            yield HeaderFault(shown_name(first), Fault("header-duplicate", message, "Leave one of them."))


def _unknown(table: Table, names: list[str], places: dict[str, int]) -> Iterator[HeaderFault]:
    taken = set(places.values())
    wanted = [field.name for field in table.fields if field.name not in places]
    for at, name in enumerate(names):
        if at in taken or not folded(name) or folded(name) in {folded(names[other]) for other in taken}:
            continue
        if table.extra_columns and re.fullmatch(table.extra_columns, name[:255]):
            continue
        meant = nearest(name, wanted)
        yield HeaderFault(
            shown_name(name),
            Fault("unknown-column", "This column is not known and is passed over.", did_you_mean(meant)),
        )


def _missing(table: Table, names: list[str], places: dict[str, int], required: frozenset[str]) -> Iterator[HeaderFault]:
    left = [name for at, name in enumerate(names) if at not in places.values() and folded(name)]
    for field in table.fields:
        if field.name in places:
            continue
        code = "missing-column" if field.name in required else "missing-optional-column"
        like = nearest(field.name, left)
        hint = f"Is `{shown_name(like)}` meant for it?" if like else ""
        yield HeaderFault(field.name, Fault(code, f"Column `{field.name}` is missing.", hint))


def _order(table: Table, places: dict[str, int]) -> Iterator[HeaderFault]:
    found = [places[field.name] for field in table.fields if field.name in places]
    if found != sorted(found):
        message = "The columns stand in another order than they should."
        yield HeaderFault("", Fault("header-order", message, f"The order is {listed(_names(table), limit=30)}."))
