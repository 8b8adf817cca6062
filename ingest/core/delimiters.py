"""What stands between the values of a row. A district says what its files use; nothing is guessed."""

from typing import NamedTuple


class Delimiter(NamedTuple):
    """The word it is known by in settings, the character, and how people call one and many of it."""

    word: str
    mark: str
    one: str
    many: str


COMMA = Delimiter("comma", ",", "a comma", "commas")
EVERY = (
    COMMA,
    Delimiter("semicolon", ";", "a semicolon", "semicolons"),
    Delimiter("tab", "\t", "a tab", "tabs"),
    Delimiter("pipe", "|", "an upright bar", "upright bars"),
)
TAB = "\t"
# What a line without a single value is made of, whatever its file is said to use.
NO_VALUE = " " + "".join(one.mark for one in EVERY)


def delimiter_of(word: str) -> Delimiter:
    """The delimiter of that word; a comma where nothing is said."""
    return next((one for one in EVERY if one.word == word), COMMA)
