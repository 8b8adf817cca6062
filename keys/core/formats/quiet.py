"""Lines that say nothing: blank ones, ``#`` lines, and the caption above PuTTYgen's box."""

from collections.abc import Sequence

from keys.core.characters import Line
from keys.core.errors import Note
from keys.core.formats.contract import Taken

_CAPTIONS = ("public key for pasting into",)


def take(lines: Sequence[Line], at: int) -> Taken | None:
    """One line, if it says nothing."""
    text = lines[at].text
    if text.startswith("#"):
        return Taken(1, notes=(Note.LINES_LEFT_OUT.problem(lines[at].number),))
    if not text or text.lower().startswith(_CAPTIONS):
        return Taken(1)
    return None
