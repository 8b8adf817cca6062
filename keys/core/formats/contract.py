"""What a form is given and what it gives back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from keys.core.characters import Line
from keys.core.errors import Problem


@dataclass(frozen=True, slots=True)
class Found:
    """A blob that claims to be a key, not yet checked. ``word`` is the type written before it, if any."""

    blob: bytes
    comment: str
    line: int
    word: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """What a form took: how many lines (at least one), and what was in them."""

    lines: int
    found: tuple[Found, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()


class Form(Protocol):
    """Never raises; looks at ``lines[at:]`` only; costs no more than the lines it takes."""

    def __call__(self, lines: Sequence[Line], at: int) -> Taken | None: ...
