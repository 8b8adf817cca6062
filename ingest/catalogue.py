"""The formats this portal knows: every descriptor in `ingest/formats/`, read once."""

from functools import cache

from .core.catalogue import read_catalogue
from .core.schema import Format


@cache
def formats() -> tuple[Format, ...]:
    """Every known format, by name. Raises DescriptorError for a file that is none."""
    return read_catalogue()


def format_named(name: str) -> Format | None:
    """The format of that name, or None if there is none (any more)."""
    return next((one for one in formats() if one.name == name), None)


def records_of(name: str) -> str:
    """Whose records a format speaks of; of one whose descriptor is gone, its own."""
    found = format_named(name)
    return found.records if found else name


def format_title(name: str) -> str:
    """A format's title for people, or its name if the descriptor is gone."""
    found = format_named(name) if name else None
    return found.title if found else name
