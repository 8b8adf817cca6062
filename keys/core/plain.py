"""The short way for what nearly every paste is: whole OpenSSH lines with a plain comment, and nothing else.

It says nothing new: a text that is taken here gives the same keys on the long way through ``formats``, only later.
Whatever is unusual about a text, it is left to that way, and so is every refusal.
"""

import re

from keys.core.characters import split_lines, tidy
from keys.core.errors import KeyProblem
from keys.core.formats.private import has_sign
from keys.core.publickey import PublicKey
from keys.core.wire import decoded

# Letters, marks and words that hold no piece of a key (too short, or without a capital).
_WORD = r"(?:[A-Za-z0-9+/]{1,15}|[a-z0-9]{16,63})(?![A-Za-z0-9+/])"
_OTHER = (
    r"[@._\-'\"()\[\]{}<>&\\,:;!?*#=~$%^|`"
    r"\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017e\u0391-\u03a1\u03b1-\u03c9\u0410-\u044f]"
)
_LINE = re.compile(
    r"[ \t]*((?:ssh|ecdsa|sk)-[a-z0-9@.-]{3,40}) (AAAA[A-Za-z0-9+/]++={0,2})"
    rf"(?: ((?:{_WORD}|{_OTHER})(?: *(?:{_WORD}|{_OTHER}))*+))?[ \t]*"
)
_MOST_CHARACTERS_IN_COMMENT = 100


def plain_keys(text: str, most: int) -> list[tuple[PublicKey, int]] | None:
    """Each key with its line, counted from 1; None if the text is more than that, or has over ``most`` lines."""
    lines = split_lines(text)
    if len(lines) > most:
        return None
    keys = []
    for number, line in enumerate(lines, 1):
        key = _key(line) if line else None
        if key is not None:
            keys.append((key, number))
        elif line.strip(" \t"):
            return None
    return keys


def _key(line: str) -> PublicKey | None:
    plain = _LINE.fullmatch(line)
    if plain is None:
        return None
    word, base64, comment = plain.groups("")
    if len(comment) > _MOST_CHARACTERS_IN_COMMENT or has_sign(comment):
        return None
    try:
        return PublicKey(word, decoded(base64), tidy(comment) if "  " in comment else comment)
    except KeyProblem:
        return None
