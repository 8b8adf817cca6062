"""Which format an epoch is, from the names of its files and their first lines only.

Names of files must be exact, names of columns need only be meant: a file with `student id` is recognised, so that the
check can then say in the district's own log what is to be mended. Of a manifest the few rows are read as well, for
two versions of a format may differ in nothing else.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ingest.core.delimiters import COMMA, NO_VALUE, Delimiter
from ingest.core.display import listed, shown_name
from ingest.core.header import EXCEL_HINT, is_excel_line, other_delimiter, showable
from ingest.core.lexical import HEADER_REACH, Rows, read_header
from ingest.core.nearest import folded, nearest
from ingest.core.schema import Container, Field, Format, Manifest, Property, Table

COMPLETE = "COMPLETE"
MANIFEST_ROWS = 100
NOISE_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class Sighting:
    """One file as it lies there: its bare name, and its header if it is a text that has one.

    `rows` are those of a file of at most 100 rows, as a manifest is; of any other file there are none. `delimiter`: by
    what it was split.
    """

    name: str
    header: tuple[str, ...] | None
    rows: tuple[tuple[str, ...], ...] = ()
    delimiter: Delimiter = COMMA


def read_sighting(name: str, stream: BinaryIO, delimiter: Delimiter = COMMA) -> Sighting:
    """Look at the first 64 KiB of a file."""
    head = b""
    while len(head) < HEADER_REACH and (more := stream.read(HEADER_REACH - len(head))):
        head += more
    header = read_header(io.BytesIO(head), delimiter.mark)
    is_small = header and len(head) < HEADER_REACH
    return Sighting(name, header, _few_rows(head, delimiter.mark) if is_small else (), delimiter)


def _few_rows(content: bytes, mark: str) -> tuple[tuple[str, ...], ...]:
    found: list[tuple[str, ...]] = []
    for row in Rows(io.BytesIO(content), HEADER_REACH, mark):
        if len(found) > MANIFEST_ROWS:
            return ()
        found += [tuple(value.strip() for value in row.values)] if row.values and any(row.values) else []
    return tuple(found[1:])


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A format that the files resemble, and every reason why they are not it."""

    format: str
    title: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recognition:
    """Exactly one format, or none. `near_misses` begins with the format that has the fewest reasons against it."""

    format: Format | None
    near_misses: tuple[NearMiss, ...]
    message: str


def is_noise(name: str) -> bool:
    """Files that operating systems leave about; they are passed over."""
    return name in NOISE_FILES or name.startswith("._")


def recognise(
    sightings: Sequence[Sighting], formats: Sequence[Format], container: Container = Container.LOOSE
) -> Recognition:
    """The one format that these files are. Two that fit are none: staff decide."""
    seen = {one.name: one for one in sightings if one.name != COMPLETE and not is_noise(one.name)}
    against = {known.name: tuple(_reasons(known, seen, container)) for known in formats}
    fitting = [known for known in formats if not against[known.name] and not known.by_hand]
    if fitting:
        return _chosen(fitting)
    alike = [known for known in formats if _resembles(known, seen) and not known.by_hand]
    alike.sort(key=lambda known: (len(against[known.name]), -_likeness(known, seen), known.name))
    misses = tuple(NearMiss(known.name, known.title, against[known.name]) for known in alike)
    return Recognition(None, misses, _none_fits(seen, misses, container))


def recognise_alone(sighting: Sighting, formats: Sequence[Format], usual: str = "") -> Recognition:
    """The format of a file that is an epoch by itself, so that nothing else of its set has to be there.

    `usual`: the name of the format that its district sends, which goes before all others if the file is one of it.
    """
    fitting = [known for known in formats if not known.by_hand and _is_one_of(known, sighting)]
    if mine := [known for known in fitting if known.name == usual]:
        return _chosen(mine)
    found = recognise([sighting], formats)
    return found if found.format is not None or not fitting else _chosen(fitting)


def _is_one_of(known: Format, sighting: Sighting) -> bool:
    table = next((one for one in known.tables if sighting.name in one.files), None)
    return table is not None and Container.LOOSE in known.containers and not [*_header_reasons(table, sighting)]


def _chosen(fitting: Sequence[Format]) -> Recognition:
    if len(fitting) == 1:
        return Recognition(fitting[0], (), f"The files are {fitting[0].title}.")
    titles = " and ".join(known.title for known in fitting)
    misses = tuple(NearMiss(known.name, known.title, ("Another format fits as well.",)) for known in fitting)
    return Recognition(None, misses, f"The files could be {titles}, so a person has to choose.")


def _none_fits(seen: Mapping[str, Sighting], misses: Sequence[NearMiss], container: Container) -> str:
    if not seen:
        return "There are no files to recognise."
    if container is Container.LOOSE and (packed := [name for name in seen if name.casefold().endswith(".zip")]):
        return f"`{shown_name(packed[0])}` is not alone: a zip is opened only where no other file lies beside it."
    if excel := [name for name, one in seen.items() if is_excel_line(one.header or ())]:
        return _excel_line(excel)
    if not misses:
        return "The files resemble no format that is known."
    return f"The files resemble {misses[0].title}, but: {' '.join(misses[0].reasons)}"


def _excel_line(names: Iterable[str]) -> str:
    return f"The first line of {listed(names)} is Excel's `sep=`, which only Excel reads. {EXCEL_HINT}"


def _reasons(known: Format, seen: Mapping[str, Sighting], container: Container) -> Iterator[str]:
    if container not in known.containers:
        yield "It does not come in a zip." if container is Container.ZIP else "It comes in a zip only."
    wanted = _wanted(known, seen)
    for table in known.all_tables:
        sighting = _sighted(table, seen)
        if sighting is not None and (not _is_blank(sighting) or _needed(known, table)):
            yield from _header_reasons(table, sighting)
        elif sighting is None and table.name in wanted:
            yield _missing(table, seen, known)
    yield from _manifest_reasons(known.manifest, seen) if known.manifest else ()
    for name in known.foreign_files:
        if name in seen:
            yield f"`{name}` does not belong to it."


def _is_blank(sighting: Sighting) -> bool:
    """Whether a file has no header to be known by: it cannot be read, or is empty."""
    return not any(column.strip() for column in sighting.header or ())


def _needed(known: Format, table: Table) -> bool:
    """Whether the format may be known by this file. What else cannot be read is told by the check, in the log."""
    return table.required or table.name in (*known.recognised_by, *known.recognised_by_any)


def _wanted(known: Format, seen: Mapping[str, Sighting]) -> set[str]:
    """The tables whose files have to be here."""
    named = {*known.recognised_by}
    if known.recognised_by_any and not any(_sighted(known.table(name), seen) for name in known.recognised_by_any):
        named.add(known.recognised_by_any[0])
    if named or known.recognised_by_any:
        return named
    return {table.name for table in known.all_tables if table.required}


def _manifest_reasons(manifest: Manifest, seen: Mapping[str, Sighting]) -> Iterator[str]:
    sighting = _sighted(manifest.table, seen)
    if sighting is None or not sighting.header:
        return
    columns = [folded(name) for name in sighting.header]
    if not {folded(manifest.name_field), folded(manifest.value_field)} <= {*columns}:
        return
    name_at, value_at = columns.index(folded(manifest.name_field)), columns.index(folded(manifest.value_field))
    pairs = {row[name_at]: row[value_at] for row in sighting.rows if len(row) > max(name_at, value_at)}
    for one in manifest.properties:
        if one.tells:
            yield from _property_reasons(one, sighting.name, pairs)


def _property_reasons(one: Property, file: str, pairs: Mapping[str, str]) -> Iterator[str]:
    value = next((pairs[name] for name in (one.name, *one.aliases) if name in pairs), None)
    if value is None:
        yield f"`{file}` has no row `{one.name}`, by which it is known."
    elif value not in one.values:
        yield f"`{one.name}` in `{file}` is `{shown_name(value, 20)}` and not {listed(one.values)}."


def _sighted(table: Table, seen: Mapping[str, Sighting]) -> Sighting | None:
    return next((seen[file] for file in table.files if file in seen), None)


def _missing(table: Table, seen: Mapping[str, Sighting], known: Format) -> str:
    strangers = [name for name in seen if known.table_of(name) is None]
    like = nearest(table.file, strangers)
    if like is None:
        return " ".join(filter(None, (f"`{table.file}` is missing.", table.if_missing)))
    return f"`{table.file}` is missing, but `{shown_name(like)}` is here: did you mean `{table.file}`?"


def _header_reasons(table: Table, sighting: Sighting) -> Iterator[str]:
    rule, name = table.recognise, sighting.name
    if not (rule.all or rule.any or rule.none):
        return
    if sighting.header is None:
        yield f"`{name}` cannot be read as text with a header."
    elif not sighting.header:
        yield f"`{name}` is empty."
    elif is_excel_line(sighting.header):
        yield _excel_line([name])
    elif not any(column.strip(NO_VALUE) for column in sighting.header):
        yield f"The first line of `{name}` has no column names in it. Leave it out, so that the names come first."
    elif sentence := other_delimiter(table, sighting.header, sighting.delimiter):
        yield f"The columns of `{name}` {sentence}"
    else:
        yield from _column_reasons(table, name, sighting.header)


def _column_reasons(table: Table, file: str, header: Sequence[str]) -> Iterator[str]:
    rule = table.recognise
    there = {folded(column) for column in header}
    shown = showable(table, header)
    left = [one for one in shown if folded(one) not in {folded(field.name) for field in table.fields}]
    for column in rule.all:
        if not there & _names(table, column):
            like = nearest(column, left)
            hint = f": is `{shown_name(like)}` meant for it?" if like else "."
            yield f"Column `{column}` is missing in `{file}`{hint}"
    if rule.any and not there & {folded(column) for column in rule.any}:
        yield f"`{file}` has none of the columns {listed(rule.any)}."
    for column in rule.none:
        if folded(column) in there:
            yield f"`{file}` has the column `{column}`, which does not belong to it."


def _names(table: Table, column: str) -> set[str]:
    """Every name under which a column may come."""
    known = next((field for field in table.fields if field.name == column), None)
    return _field_names(known) if known else {folded(column)}


def _likeness(known: Format, seen: Mapping[str, Sighting]) -> int:
    """How many columns there are where the format has some of that name."""
    return sum(_known_columns(table, _sighted(table, seen)) for table in known.all_tables)


def _known_columns(table: Table, sighting: Sighting | None) -> int:
    names = {name for field in table.fields for name in _field_names(field)}
    return len(names & {folded(column) for column in (sighting.header or ())}) if sighting else 0


def _field_names(field: Field) -> set[str]:
    return {folded(name) for name in (field.name, *field.aliases)}


def _resembles(known: Format, seen: Mapping[str, Sighting]) -> bool:
    files = [file for table in known.all_tables for file in table.files]
    return any(name in files or nearest(name, files) for name in seen)
