"""Which format an epoch is, from the names of its files and their first lines only.

Names of files must be exact, names of columns need only be meant: a file with `student id` is recognised, so that the
check can then say in the district's own log what is to be mended.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ingest.core.display import listed, shown_name
from ingest.core.header import other_delimiter
from ingest.core.nearest import folded, nearest
from ingest.core.schema import Container, Format, Table

COMPLETE = "COMPLETE"
NOISE_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})


@dataclass(frozen=True, slots=True)
class Sighting:
    """One file as it lies there: its bare name, and its header if it is a text that has one."""

    name: str
    header: tuple[str, ...] | None


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
    fitting = [known for known in formats if not against[known.name]]
    if len(fitting) == 1:
        return Recognition(fitting[0], (), f"The files are {fitting[0].title}.")
    if fitting:
        titles = " and ".join(known.title for known in fitting)
        misses = tuple(NearMiss(known.name, known.title, ("Another format fits as well.",)) for known in fitting)
        return Recognition(None, misses, f"The files could be {titles}, so a person has to choose.")
    alike = [known for known in formats if _resembles(known, seen)]
    alike.sort(key=lambda known: (len(against[known.name]), known.name))
    misses = tuple(NearMiss(known.name, known.title, against[known.name]) for known in alike)
    return Recognition(None, misses, _none_fits(seen, misses))


def _none_fits(seen: Mapping[str, Sighting], misses: Sequence[NearMiss]) -> str:
    if not seen:
        return "There are no files to recognise."
    if not misses:
        return "The files resemble no format that is known."
    return f"The files resemble {misses[0].title}, but: {' '.join(misses[0].reasons)}"


def _reasons(known: Format, seen: Mapping[str, Sighting], container: Container) -> Iterator[str]:
    if container not in known.containers:
        yield "It does not come in a zip." if container is Container.ZIP else "It comes in a zip only."
    for table in known.all_tables:
        sighting = _sighted(table, seen)
        if sighting is not None:
            yield from _header_reasons(table, sighting)
        elif table.name in known.recognised_by or (table.required and not known.recognised_by):
            yield _missing(table, seen, known)
    for name in known.foreign_files:
        if name in seen:
            yield f"`{name}` does not belong to it."


def _sighted(table: Table, seen: Mapping[str, Sighting]) -> Sighting | None:
    return next((seen[file] for file in table.files if file in seen), None)


def _missing(table: Table, seen: Mapping[str, Sighting], known: Format) -> str:
    strangers = [name for name in seen if known.table_of(name) is None]
    like = nearest(table.file, strangers)
    if like is None:
        return f"`{table.file}` is missing."
    return f"`{table.file}` is missing, but `{shown_name(like)}` is here: did you mean `{table.file}`?"


def _header_reasons(table: Table, sighting: Sighting) -> Iterator[str]:
    rule, name = table.recognise, sighting.name
    if not (rule.all or rule.any or rule.none):
        return
    if sighting.header is None:
        yield f"`{name}` cannot be read as text with a header."
    elif not any(column.strip() for column in sighting.header):
        yield f"`{name}` is empty."
    elif spoken := other_delimiter(table, sighting.header):
        yield f"The columns of `{name}` seem to be separated by {spoken}; commas are needed."
    else:
        yield from _column_reasons(table, name, sighting.header)


def _column_reasons(table: Table, file: str, header: Sequence[str]) -> Iterator[str]:
    rule = table.recognise
    there = {folded(column) for column in header}
    left = [column for column in header if folded(column) not in {folded(field.name) for field in table.fields}]
    for column in rule.all:
        if folded(column) not in there:
            like = nearest(column, left)
            hint = f": is `{shown_name(like)}` meant for it?" if like else "."
            yield f"Column `{column}` is missing in `{file}`{hint}"
    if rule.any and not there & {folded(column) for column in rule.any}:
        yield f"`{file}` has none of the columns {listed(rule.any)}."
    for column in rule.none:
        if folded(column) in there:
            yield f"`{file}` has the column `{column}`, which does not belong to it."


def _resembles(known: Format, seen: Mapping[str, Sighting]) -> bool:
    files = [file for table in known.all_tables for file in table.files]
    return any(name in files or nearest(name, files) for name in seen)
