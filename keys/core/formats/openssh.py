"""The OpenSSH form: ``type base64 comment`` on one line (sshd(8)), or on several if something broke it."""

import re
from collections.abc import Sequence

from keys.core.algorithms import ALGORITHMS, refusal_for
from keys.core.characters import Line
from keys.core.errors import KeyProblem, Note, Refusal
from keys.core.formats.contract import Found, Taken
from keys.core.formats.wrapping import Opening, joined, opening_at, pieces_behind
from keys.core.wire import decoded

_FINGERPRINT = re.compile(r"(?:\d{2,5} +)?(?:SHA1:|SHA256:|MD5:|(?:[0-9a-fA-F]{2}:){15}[0-9a-fA-F]{2}(?![0-9a-fA-F:]))")
_MARKUP = re.compile(r"[^ <&]*+[<&]")


def take(lines: Sequence[Line], at: int) -> Taken | None:
    """One key, if a type word that we know stands at the beginning."""
    opening = opening_at(lines, at)
    if opening is None:
        return None
    if opening.word not in ALGORITHMS:
        return _refused(lines, at, opening)
    other = _other_kind(opening.rest)
    if other is not None:
        return Taken(opening.last + 1 - at, problems=(other.problem(lines[at].number),))
    key = joined(lines, at, opening)
    count, number = key.last + 1 - at, lines[at].number
    try:
        if key.problem is not None:
            raise key.problem
        found = Found(decoded(key.base64), key.comment, number, opening.word)
    except KeyProblem as error:
        return Taken(count, problems=(error.problem.at(number),))
    return Taken(count, (found,), notes=(Note.JOINED.problem(number),) if count > 1 else ())


def _other_kind(rest: str) -> Refusal | None:
    """What else may stand behind a type word."""
    if _FINGERPRINT.match(rest):
        return Refusal.FINGERPRINT
    return Refusal.HTML if _MARKUP.match(rest) else None


def _refused(lines: Sequence[Line], at: int, opening: Opening) -> Taken:
    """A type that we know and do not take: its other pieces are no news."""
    count = opening.last + 1 - at + pieces_behind(lines, opening.last)
    refusal = refusal_for(opening.word)
    return Taken(count, problems=(refusal.problem.at(lines[at].number),) if refusal else ())
