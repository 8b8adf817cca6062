"""Lines that say nothing: blank ones, ``#`` lines and code fences; but a ``#`` line may hold a piece of a key."""

import re
from collections.abc import Sequence

from keys.core.algorithms import ALGORITHMS
from keys.core.characters import Line
from keys.core.errors import Note, Problem, Refusal
from keys.core.formats.contract import Taken
from keys.core.formats.private import is_key_piece
from keys.core.wire import BASE64, encoded_length, encoded_name

_FENCE = re.compile(r"(?:```+|~~~+) ?[\w-]{0,20}")
_MARKS = "#>|*;:`\"' "
_SHORTEST_REFUSED = 40
_PUBLIC_BLOCK = re.compile(r"(?:-{2,5} ?)(BEGIN|END) (?:[A-Z0-9]+ )?(?:PUBLIC KEY|CERTIFICATE)")


def take(lines: Sequence[Line], at: int) -> Taken | None:
    """As many lines as say nothing; those that begin with # are told once."""
    end = at
    while end < len(lines) and _is_quiet(lines[end].text):
        end += 1
    if end == at:
        return None
    left_out = [line for line in lines[at:end] if line.text.startswith("#")]
    notes = (Note.LINES_LEFT_OUT.problem(left_out[0].number),) if left_out else ()
    return Taken(end - at, problems=_pieces(left_out), notes=notes)


def _is_quiet(text: str) -> bool:
    if not text or text.startswith("#"):
        return True
    return text.startswith(("`", "~")) and _FENCE.fullmatch(text) is not None


def _pieces(lines: Sequence[Line]) -> tuple[Problem, ...]:
    """Each block of ``#`` lines that hold nothing but base64, and are no part of a public key in such lines."""
    found, length, missing = list[Problem](), 0, 0
    public = _in_public_blocks(lines)
    for line in lines:
        text, in_public = line.text.strip(_MARKS), line.number in public
        goes_on = length > 0 and bool(text) and BASE64.fullmatch(text) is not None
        if in_public or not (goes_on or is_key_piece(text)) or encoded_name(text) in ALGORITHMS:
            length, missing = 0, _missing(text)
        elif missing > 0:
            missing -= len(text)
        else:
            told, length = length >= _SHORTEST_REFUSED, length + len(text)
            if length >= _SHORTEST_REFUSED and not told:
                found.append(Refusal.KEY_PART.problem(line.number))
    return tuple(found)


def _in_public_blocks(lines: Sequence[Line]) -> frozenset[int]:
    """Numbers of the lines from a BEGIN to its END; a block without an END hides nothing."""
    inside, begun = set[int](), list[int]()
    for line in lines:
        block = _PUBLIC_BLOCK.match(line.text.strip(_MARKS))
        if block is None:
            begun += (line.number,) if begun else ()
        elif block[1] == "BEGIN":
            begun = [line.number]
        else:
            inside.update(begun)
            begun = []
    return frozenset(inside)


def _missing(text: str) -> int:
    """How many characters of base64 should follow on the next lines, if this is a public key that was broken."""
    words = text.split(" ")
    blob = words[-1]
    algorithm = ALGORITHMS.get(encoded_name(blob) or "")
    if algorithm is None or len(words) > 2:
        return 0
    # The length fields of RSA and ECDSA may lie on a later line: then one more line is let through.
    needed = encoded_length(blob, algorithm.fields)
    return len(blob) if needed is None else needed - len(blob)
