"""The short way for what nearly every paste is: whole OpenSSH lines with a plain comment, and nothing else.

It says nothing new: a text that is taken here gives the same keys on the long way through ``formats``, only later.
Whatever is unusual about a text, it is left to that way, and so is every refusal.
"""

import re

from keys.core.characters import split_lines
from keys.core.errors import KeyProblem
from keys.core.publickey import PublicKey
from keys.core.wire import decoded

# Words that hold no piece of a key (too short, or without a capital), and none that says there is a private one.
_WORD = r"(?:[A-Za-z0-9]{1,15}|[a-z0-9]{16,63})"
_LINE = re.compile(
    r"((?:ssh|ecdsa|sk)-[a-z0-9@.-]{3,40}) (AAAA[A-Za-z0-9+/]+={0,2})"
    r"(?: (?!.*(?:[Pp][Rr][Ii][Vv]|SECRET|PuTTY-User|b3Blb))("
    rf"{_WORD}(?:[@._ -]{_WORD})*))?"
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
        elif line:
            return None
    return keys


def _key(line: str) -> PublicKey | None:
    plain = _LINE.fullmatch(line)
    if plain is None:
        return None
    word, base64, comment = plain.groups("")
    if len(comment) > _MOST_CHARACTERS_IN_COMMENT:
        return None
    try:
        return PublicKey(word, decoded(base64), comment)
    except KeyProblem:
        return None
