"""How text from a district may be shown: names made harmless, values reduced to their shape."""

from collections.abc import Iterable

NAME_LENGTH = 80
SHAPE_LENGTH = 20


def shown_name(name: str, limit: int = NAME_LENGTH) -> str:
    """A file or column name on one line: control and undecodable characters escaped, long names cut."""
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
    return escaped if len(escaped) <= limit else escaped[: limit - 1] + "…"


def masked(value: str) -> str:
    """The shape of a value and nothing more: `A-4` becomes `X-9`, at most 20 characters long."""
    shape = "".join(_shape(character) for character in value[:SHAPE_LENGTH])
    return shape + "…" if len(value) > SHAPE_LENGTH else shape


def listed(names: Iterable[str], limit: int = 8) -> str:
    """Names in backticks joined by commas; what is over the limit is counted."""
    every = [f"`{shown_name(name)}`" for name in names]
    more = len(every) - limit
    return ", ".join(every[:limit]) + (f" and {more} more" if more > 0 else "")


def counted(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _shape(character: str) -> str:
    if character.isdigit():
        return "9"
    if character.isalpha():
        return "X" if character.isupper() else "x"
    return character if character.isascii() and character.isprintable() else "?"
