"""Lines that say nothing: blank ones, ``#`` lines and code fences."""

import re
from collections.abc import Sequence

from keys.core.characters import Line
from keys.core.errors import Note
from keys.core.formats.contract import Taken

_FENCE = re.compile(r"(?:```+|~~~+) ?[\w-]{0,20}")


def take(lines: Sequence[Line], at: int) -> Taken | None:
    """As many lines as say nothing; those that begin with # are told once."""
    end, left_out = at, None
    while end < len(lines) and _is_quiet(text := lines[end].text):
        if left_out is None and text.startswith("#"):
            left_out = lines[end].number
        end += 1
    if end == at:
        return None
    return Taken(end - at, notes=() if left_out is None else (Note.LINES_LEFT_OUT.problem(left_out),))


def _is_quiet(text: str) -> bool:
    if not text or text.startswith("#"):
        return True
    return text.startswith(("`", "~")) and _FENCE.fullmatch(text) is not None
