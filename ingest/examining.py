"""What would be said of files if they were uploaded: recognised and checked as any epoch. Nothing of it is kept.

No database and no settings, so that a command and a process apart from all others can do it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial
from typing import BinaryIO

from .core.check import Limits, Source, Verdict, check
from .core.choose import COMPLETE, NearMiss, Recognition, Sighting, read_sighting, recognise, recognise_alone
from .core.delimiters import COMMA, Delimiter
from .core.discovery import TEMPORARY, auto_name, epoch_time, is_epoch_name, means_complete
from .core.display import shown_name
from .core.encodings import WINDOWS_1252, as_utf_8, is_windows_1252
from .core.errors import ArchiveError
from .core.findings import Finding, Severity, Tally, first_of_each
from .core.schema import Container, Format
from .parcels import Open, Parcel

UNRECOGNISED = "unrecognised"
# The finding about an epoch whose name is no real time.
NAME = "epoch-name"


class State(StrEnum):
    """OK: all would be loaded. ERRORS: nothing would be. UNRECOGNISED: it is not known what the files are."""

    OK = "ok"
    ERRORS = "errors"
    UNRECOGNISED = "unrecognised"


@dataclass(frozen=True, slots=True)
class Examined:
    """What the look at a parcel came to; `sources` are its files by the names of their tables."""

    name: str
    files: tuple[str, ...]
    state: State
    message: str
    format: Format | None
    near_misses: tuple[NearMiss, ...]
    findings: tuple[Finding, ...]
    tallies: tuple[Tally, ...]
    verdict: Verdict | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)

    def count(self, severity: Severity) -> int:
        """How many findings of this severity there are, kept or not."""
        return sum(tally.count for tally in self.tallies if tally.severity is severity)


@dataclass(frozen=True, slots=True)
class Wanted:
    """How to look: the `format` (None: it is recognised), how many findings to keep, whether old files may be old.

    `listed`: of how many findings of a kind `examine` tells one by one. `delimiter`: what stands between values.
    `usual`: the name of the format that the district sends, by which a file that is sent by itself is known.
    """

    format: Format | None = None
    per_code: int = 100
    listed: int = 0
    windows_1252: bool = False
    delimiter: Delimiter = COMMA
    usual: str = ""


def examine(
    parcel: Parcel,
    formats: Sequence[Format],
    wanted: Wanted,
    progress: Callable[[int], None] = lambda rows: None,
    each: Callable[[Finding], None] = lambda finding: None,
) -> Examined:
    """Recognises and checks. What the files hold raises nothing; OSError if they cannot be read.

    `each` is told of every finding, kept or not, but for the word that nothing was recognised.
    """
    found = _looked_at(parcel, formats, wanted, progress, each)
    return replace(found, findings=first_of_each(found.findings, wanted.per_code))


def _looked_at(
    parcel: Parcel,
    formats: Sequence[Format],
    wanted: Wanted,
    progress: Callable[[int], None],
    each: Callable[[Finding], None],
) -> Examined:
    trouble = (*name_findings(parcel.name), *_as_sent(parcel), *parcel.trouble)
    for finding in trouble:
        each(finding)
    names = tuple(name for name in parcel.files if name != COMPLETE)
    if parcel.refused:
        message = f"{parcel.refused} Nothing in the zip was looked at."
        return Examined(parcel.name, names, State.ERRORS, message, wanted.format, (), trouble, tallied(trouble))
    own = auto_name(names[0]) if len(names) == len(parcel.files) == 1 and parcel.container is Container.LOOSE else None
    sources = [source_of(own or name, parcel.files[name], wanted) for name in names]
    damaged: list[Finding] = []
    seen = [_sighting(source, damaged) for source in sources]
    told = recognise_alone(seen[0], formats, wanted.usual) if own else recognise(seen, formats, parcel.container)
    known = wanted.format or told.format
    if known is None:
        for finding in damaged:
            each(finding)
        return _unrecognised(parcel, names, told, (*trouble, *damaged), is_damaged=bool(damaged))
    limits = Limits(wanted.per_code, wanted.listed)
    # What is on record is not at hand here: references of a file that is sent by itself are not followed.
    verdict = check(known, sources, limits, progress, each, {} if own else None)
    return _checked(parcel, sources, known, verdict, trouble)


def _checked(
    parcel: Parcel, sources: Sequence[Source], known: Format, verdict: Verdict, trouble: tuple[Finding, ...]
) -> Examined:
    tallies = (*tallied(trouble), *verdict.tallies)
    is_bad = any(tally.severity is Severity.ERROR for tally in tallies)
    return Examined(
        name=parcel.name,
        files=tuple(source.name for source in sources),
        state=State.ERRORS if is_bad else State.OK,
        message=f"The files are {known.title}.",
        format=known,
        near_misses=(),
        findings=(*trouble, *verdict.findings),
        tallies=tallies,
        verdict=verdict,
        sources={table.name: source for source in sources if (table := known.table_of(source.name))},
    )


def _unrecognised(
    parcel: Parcel, names: tuple[str, ...], told: Recognition, trouble: tuple[Finding, ...], is_damaged: bool
) -> Examined:
    findings = (*trouble, Finding("", UNRECOGNISED, Severity.ERROR, told.message))
    state = State.ERRORS if is_damaged else State.UNRECOGNISED
    return Examined(parcel.name, names, state, told.message, None, told.near_misses, findings, tallied(findings))


def _sighting(source: Source, damaged: list[Finding]) -> Sighting:
    try:
        with closing(source.open()) as stream:
            return read_sighting(source.name, stream, source.delimiter)
    except ArchiveError as error:
        damaged.append(Finding(shown_name(source.name), error.code, Severity.ERROR, error.message, hint=error.hint))
        return Sighting(source.name, None)


def source_of(name: str, open_file: Open, wanted: Wanted) -> Source:
    """A file to be checked, as UTF-8 whatever it is written in."""
    if wanted.windows_1252 and is_in_windows_1252(open_file):
        return Source(name, partial(_as_utf_8, open_file), WINDOWS_1252, wanted.delimiter)
    return Source(name, open_file, delimiter=wanted.delimiter)


def is_in_windows_1252(open_file: Open) -> bool:
    """Whether a file is written so, as far as can be told from all of it."""
    try:
        with closing(open_file()) as stream:
            return is_windows_1252(stream)
    except ArchiveError:
        return False


def _as_utf_8(open_file: Open) -> BinaryIO:
    return as_utf_8(open_file())


def _as_sent(parcel: Parcel) -> Iterator[Finding]:
    """What an upload of these files would wait for, whatever is in them."""
    for name, open_file in parcel.files.items() if parcel.container is Container.LOOSE else ():
        if name.casefold().endswith(TEMPORARY):
            message = "This is the name of a file that is not finished. An upload with it waits."
            yield Finding(name, "unfinished", Severity.ERROR, message)
        elif name == COMPLETE:
            with closing(open_file()) as stream:
                if stream.read(1):
                    message = "`COMPLETE` has to be an empty file; this one is not. An upload with it waits."
                    yield Finding(name, "complete-not-empty", Severity.ERROR, message)
        elif means_complete(name):
            message = "The file must be named exactly `COMPLETE`. An upload with this name instead waits."
            yield Finding(name, "complete-name", Severity.ERROR, message)


def name_findings(name: str) -> tuple[Finding, ...]:
    """A name that only looks like a time is no reason to lose a night, but it sorts where it does not belong."""
    if not is_epoch_name(name) or epoch_time(name) is not None:
        return ()
    message = f"The directory's name, {name}, is no real date and time."
    return (Finding("", NAME, Severity.WARNING, message, hint="Name it after the time: YYYYMMDD-HHMMSS."),)


def tallied(found: Iterable[Finding]) -> tuple[Tally, ...]:
    """Each finding counted once."""
    return tuple(Tally(one.file, one.code, one.severity, 1) for one in found)
