"""The first line of a file against the columns of its table."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ingest.core.delimiters import COMMA, EVERY, Delimiter
from ingest.core.display import listed, masked, shown_name
from ingest.core.nearest import INVISIBLE, did_you_mean, folded, nearest
from ingest.core.schema import Field, Table
from ingest.core.values import Fault

# A header of more columns is none, and to look for what each of them may mean would take long.
MOST_NEAR = 500
# What some write above the names, so that Excel knows what stands between the values; no other program knows it.
EXCEL_LINE = re.compile(r"sep=.?")
EXCEL_HINT = "Leave that line out, so that the column names come first."
NAME = re.compile(r"[^\W\d](?:[^\W\d]|[ .()#-]){0,39}")


@dataclass(frozen=True, slots=True)
class HeaderFault:
    """A fault of the header and the column name it is about (as it stands in the file, or should stand)."""

    column: str
    fault: Fault


@dataclass(frozen=True, slots=True)
class Columns:
    """Where each known column stands. `usable` False: the rows below cannot be read with this header.

    `names` are the columns as the file names them.
    """

    width: int
    places: dict[str, int]
    faults: tuple[HeaderFault, ...]
    usable: bool
    names: tuple[str, ...] = ()


def read_columns(
    table: Table, header: Sequence[str], required: frozenset[str], delimiter: Delimiter = COMMA
) -> Columns:
    """Find the columns of a table in a header; `required` names those that must be there this time.

    `delimiter`: by what the header was split.
    """
    names = list(header)
    while names and not names[-1].strip():
        names.pop()
    trailing = [HeaderFault("", _trailing(delimiter))] if len(names) < len(header) else []
    strangers = _strangers(table, header)
    if stop := _unusable(table, names, delimiter) or _glued(strangers):
        return Columns(len(header), {}, (stop,), usable=False)
    places, spelled = _places(table, names)
    shown = strangers.shown
    faults = [*trailing, *spelled, *_doubled(names, shown | _known(table)), *_unknown(table, names, places, shown)]
    faults += [*_missing(table, names, places, required, shown), *_order(table, places)]
    bad = any(one.fault.code in ("header-duplicate", "header-empty") for one in faults)
    return Columns(len(header), places, tuple(faults), usable=not bad, names=tuple(name.strip() for name in header))


def other_delimiter(table: Table, header: Sequence[str], used: Delimiter = COMMA) -> str:
    """A sentence if something else than the delimiter by which it was split seems to stand between the columns."""
    if len(header) == 1:
        known = {folded(field.name) for field in table.fields}
        for other in EVERY:
            if other != used and len(known & {folded(name) for name in header[0].split(other.mark)}) > 1:
                return f"seem to be separated by {other.many}; {used.many} are needed."
    return ""


def is_excel_line(header: Sequence[str]) -> bool:
    """Whether it is not the names, but Excel's `sep=,` above them; as it is split by that comma, or not."""
    return bool(header) and EXCEL_LINE.fullmatch(folded(header[0])) is not None and not any(map(str.strip, header[1:]))


@dataclass(frozen=True, slots=True)
class _Strangers:
    """What stands in a header and is no column: `near` one, or `far` from all. `found`: how many columns there are.

    Any of it may be a student's: where the line end after the names is lost, the first row stands among them.
    """

    found: int
    near: tuple[str, ...]
    far: tuple[str, ...]

    @property
    def shown(self) -> frozenset[str]:
        """Those that may be shown: all if they are few and each is written as a name, else none."""
        are_names = len(self.far) * 2 <= self.found and all(map(_is_name, self.far))
        return frozenset((*self.near, *self.far)) if are_names else frozenset()


def showable(table: Table, header: Sequence[str]) -> frozenset[str]:
    """The cells of a header that may be shown as they stand: names of columns, and what can hardly be a value."""
    known = _known(table)
    return _strangers(table, header).shown | {
        name for name in header if folded(name) in known or _is_extra(table, name)
    }


def _strangers(table: Table, header: Sequence[str]) -> _Strangers:
    known, wanted = _known(table), _names(table) if len(header) <= MOST_NEAR else []
    near: list[str] = []
    far: list[str] = []
    for name in header:
        if folded(name) not in known and not _is_extra(table, name):
            (near if _is_near(name, wanted) else far).append(name)
    found = sum(folded(name) in known for name in header)
    return _Strangers(found, tuple(near), tuple(far))


def _is_near(name: str, wanted: Sequence[str]) -> bool:
    meant = nearest(name, wanted)
    return bool(meant) and _digits(name) == _digits(meant or "") and _is_name(re.sub(r"\d", "", name))


def _is_name(text: str) -> bool:
    return bool(NAME.fullmatch(text.translate(INVISIBLE)))


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _is_extra(table: Table, name: str) -> bool:
    return bool(table.extra_columns and re.fullmatch(table.extra_columns, name[:255]))


def _known(table: Table) -> frozenset[str]:
    return frozenset(folded(name) for field in table.fields for name in (field.name, *field.aliases))


def _glued(strangers: _Strangers) -> HeaderFault | None:
    """A fault if a whole row seems to stand behind the names, with a value in it that is no name of anything."""
    many = len(strangers.far) >= max(strangers.found + len(strangers.near) - 1, 3)
    if many and any(_is_value(text) for text in strangers.far):
        message = "The first line holds more than the column names: is a line end missing after them?"
        return HeaderFault(
            "", Fault("header-glued", message, "Each row needs a line of its own. Export the file again.")
        )
    return None


def _is_value(text: str) -> bool:
    return "@" in text or (bool(text.strip()) and not any(map(str.isalpha, text)))


def _trailing(used: Delimiter) -> Fault:
    return Fault("header-trailing", f"The header ends in {used.many} with no name after them; they are passed over.")


def _unusable(table: Table, names: list[str], used: Delimiter) -> HeaderFault | None:
    if is_excel_line(names):
        message = "The first line is Excel's `sep=`, which only Excel reads, and not the column names."
        return HeaderFault("", Fault("no-header", message, EXCEL_HINT))
    if sentence := other_delimiter(table, names, used):
        return HeaderFault("", Fault("delimiter", f"The columns {sentence}", SAY_SO))
    if not _known(table) & {folded(name) for name in names}:
        message = "The first line does not hold the column names."
        return HeaderFault("", Fault("no-header", message, f"It should begin {listed(_names(table), limit=4)}."))
    return None


SAY_SO = "Change the export, or say in the file settings, under Uploads, what your files use."


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


def _doubled(names: list[str], shown: frozenset[str]) -> Iterator[HeaderFault]:
    for name, times in Counter(folded(name) for name in names).items():
        if not name:
            message = "A column has no name."
            yield HeaderFault("", Fault("header-empty", message, "Give every column its name, or leave it out."))
        elif times > 1:
            first = next(other for other in names if folded(other) == name)
            message = f"This column stands {times} times in the header."
            column = shown_name(first) if shown & {first, name} else masked(first)
            yield HeaderFault(column, Fault("header-duplicate", message, "Leave one of them."))


def _unknown(table: Table, names: list[str], places: dict[str, int], shown: frozenset[str]) -> Iterator[HeaderFault]:
    taken = set(places.values())
    wanted = [field.name for field in table.fields if field.name not in places]
    for at, name in enumerate(names):
        if at in taken or not folded(name) or folded(name) in {folded(names[other]) for other in taken}:
            continue
        if _is_extra(table, name):
            continue
        hint = did_you_mean(nearest(name, wanted))
        if name not in shown:
            hint = f"It is column {at + 1}. Only the shape of its name is shown, as it may be a value. {hint}".rstrip()
        column = shown_name(name) if name in shown else masked(name)
        yield HeaderFault(column, Fault("unknown-column", "This column is not known and is passed over.", hint))


def _missing(
    table: Table, names: list[str], places: dict[str, int], required: frozenset[str], shown: frozenset[str]
) -> Iterator[HeaderFault]:
    left = [name for at, name in enumerate(names) if at not in places.values() and folded(name)]
    for field in table.fields:
        if field.name in places:
            continue
        code = "missing-column" if field.name in required else "missing-optional-column"
        like = nearest(field.name, left)
        hint = f"Is {_named(like, names, shown)} meant for it?" if like else ""
        yield HeaderFault(field.name, Fault(code, f"Column `{field.name}` is missing.", hint))


def _named(name: str, names: list[str], shown: frozenset[str]) -> str:
    return f"`{shown_name(name)}`" if name in shown else f"column {names.index(name) + 1}"


def _order(table: Table, places: dict[str, int]) -> Iterator[HeaderFault]:
    found = [places[field.name] for field in table.fields if field.name in places]
    if found != sorted(found):
        message = "The columns stand in another order than they should."
        yield HeaderFault("", Fault("header-order", message, f"The order is {listed(_names(table), limit=30)}."))
