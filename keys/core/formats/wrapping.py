"""Putting an OpenSSH line together again that was broken at some column.

The blob says by its own length fields where it ends, so that part is certain. A comment says nothing of the
kind: what follows it is joined only if the line was full, if its next word had no room left on it, or if a
blank or a name of the shape ``user@host`` shows that the line goes on.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from keys.core.algorithms import ALGORITHMS, refused_by_name
from keys.core.characters import Line
from keys.core.errors import KeyProblem, Refusal
from keys.core.wire import BASE64, encoded_length, encoded_name

_MOST_TYPE_PIECES = 64
_SHORTEST_KEY_PIECE = 16
_LONGEST_NAME = 32  # a word of more base64 characters is a piece of a key, not of a comment
# What no word of a sentence looks like, and the end of a host's name does.
_END_OF_NAME = re.compile(r"^@|[\w-]\.[a-z]{2,}$|\d$")
_USER_AT_HOST = re.compile(r"[\w.+-]{1,64}@[\w.-]{1,253}")
# Names of options in an authorized_keys file (sshd(8)).
OPTION = (
    r"agent-forwarding|cert-authority|command|environment|expiry-time|from|no-[a-z0-9-]{2,20}|permitlisten"
    r"|permitopen|port-forwarding|principals|pty|restrict|touch-required|tunnel|user-rc|verify-required"
    r"|x11-forwarding"
)
# Options, and names of files: whatever they belong to, they are no comment.
_OF_ITS_OWN = re.compile(
    rf"(?:{OPTION})(?:=|,)|(?:cert-authority|restrict|no-[a-z0-9-]{{2,20}})(?: |$)|[a-z0-9-]{{1,40}}=\""
    r"|~?[/\\]|\.{1,2}[/\\]|[a-z]:[/\\]|\S*\.(?:pub|ppk|pem)$",
    re.I,
)
_FIRST_WORD = re.compile(r"\S{1,64}(?= |$)")


@dataclass(frozen=True, slots=True)
class Opening:
    """A type word, what stands behind it, and the index of the line that ends it."""

    word: str
    rest: str
    last: int


@dataclass(frozen=True, slots=True)
class Joined:
    """The base64 and the comment of one key, the index of its last line, and why it could not be joined."""

    base64: str
    comment: str
    last: int
    problem: KeyProblem | None = None


def opening_at(lines: Sequence[Line], at: int) -> Opening | None:
    """The type word that begins at a line, even if it is itself broken over a few lines."""
    text = lines[at].text
    for last in range(at, min(at + _MOST_TYPE_PIECES, len(lines))):
        if last > at:
            text += lines[last].text
        word = _FIRST_WORD.match(text)
        if word is not None and _is_type(word[0]):
            return Opening(word[0], text[word.end() :].strip(" "), last)
        if not _may_become_type(text):
            return None
    return None


def joined(lines: Sequence[Line], at: int, opening: Opening) -> Joined:
    """The key whose type word is at an index, with as many further lines as its blob asks for."""
    head, comment = _first_word(opening.rest)
    if encoded_name(head) not in (None, opening.word):
        last = opening.last + pieces_behind(lines, opening.last)
        return Joined("", "", last, Refusal.TYPE_MISMATCH.error())
    fields = ALGORITHMS[opening.word].fields
    needed = encoded_length(head, fields)
    if comment or (needed is not None and len(head) >= needed):
        key = Joined(head, comment.strip(" "), opening.last)
    else:
        pieces = [head, *_pieces(lines, opening.last)]
        key = _fitted(lines, opening.last, pieces, encoded_length("".join(pieces), fields))
    if key.problem is not None:
        return key
    start = at if opening.rest else opening.last + 1
    return _with_comment(lines, key, start, _width(lines, start, key.last))


def pieces_behind(lines: Sequence[Line], last: int) -> int:
    """How many lines behind an index are pieces of base64, the last of them perhaps short or with a comment."""
    at = last + 1
    while at < len(lines) and len(lines[at].text) >= _SHORTEST_KEY_PIECE and BASE64.fullmatch(lines[at].text):
        at += 1
    count = at - last - 1
    if at == len(lines) or not _begins_with_base64(lines[at]):
        return count
    is_long = len(_first_word(lines[at].text)[0]) >= _SHORTEST_KEY_PIECE
    return count + 1 if count or is_long else count


def _pieces(lines: Sequence[Line], last: int) -> list[str]:
    """The first words of the lines that could go on with the base64; the last of them may have a comment."""
    pieces = []
    for index in range(last + 1, len(lines)):
        if not _begins_with_base64(lines[index]):
            break
        piece, comment = _first_word(lines[index].text)
        pieces.append(piece)
        if comment:
            break
    return pieces


def _fitted(lines: Sequence[Line], first: int, pieces: list[str], needed: int | None) -> Joined:
    """Take pieces until the blob is whole; it must end where a piece ends."""
    length, last = 0, first + len(pieces) - 1
    for count, piece in enumerate(pieces):
        length += len(piece)
        if needed is not None and length >= needed:
            if length > needed:
                return Joined("", "", last, Refusal.JOIN_UNCERTAIN.error())
            comment = lines[first + count].text.partition(" ")[2].strip(" ") if count else ""
            return Joined("".join(pieces[: count + 1]), comment, first + count)
    return Joined("", "", last, Refusal.TRUNCATED.error())


def _with_comment(lines: Sequence[Line], key: Joined, start: int, width: int | None) -> Joined:
    """Join the rest of a broken comment, where it is certain that the lines belong together."""
    comment, last = key.comment, key.last
    while last + 1 < len(lines) and _may_go_on(lines, last) and _goes_on(lines, last, width, comment):
        last += 1
        comment += _gap(lines[last - 1], lines[last], width) + lines[last].text
    if last == key.last and _is_name_below(lines, start, last, comment):
        comment, last = comment + lines[last + 1].text, last + 1
    return Joined(key.base64, comment.strip(" "), last)


def _width(lines: Sequence[Line], start: int, last: int) -> int | None:
    """The column at which the lines up to an index were broken; None if there is no such column."""
    widths = {len(line.text) for line in lines[start:last]}
    # A line that was broken beside a blank is shown one shorter.
    return max(widths) if widths and max(widths) - min(widths) <= 1 else None


def _may_go_on(lines: Sequence[Line], last: int) -> bool:
    """Whether the next line is nothing of its own."""
    text = lines[last + 1].text
    if not text or text.startswith(("#", "---")) or opening_at(lines, last + 1) is not None:
        return False
    if _OF_ITS_OWN.match(text):
        return False
    return len(text) < _LONGEST_NAME or BASE64.fullmatch(text) is None


def _goes_on(lines: Sequence[Line], last: int, width: int | None, comment: str) -> bool:
    """Whether the next line is the rest of the comment: there was no room for it, or a blank leads it."""
    line, following = lines[last], lines[last + 1]
    if width is None:
        return not comment and following.raw.startswith(" ") and not line.raw.startswith(" ")
    no_room = len(line.text) + 1 + len(following.text.partition(" ")[0]) > width
    return no_room and len(line.text) <= width and len(following.text) <= width


def _is_name_below(lines: Sequence[Line], start: int, last: int, comment: str) -> bool:
    """Whether a name of the shape ``user@host`` follows, or its end, or any comment if only blanks were broken."""
    if last + 1 >= len(lines) or not _may_go_on(lines, last):
        return False
    text, ends = lines[last + 1].text, last + 2 >= len(lines)
    if not ends and lines[last + 2].text and opening_at(lines, last + 2) is None:
        return False
    if comment:
        return _END_OF_NAME.search(text) is not None and _USER_AT_HOST.fullmatch(comment + text) is not None
    broken_at_blanks = start == last and not lines[start].text.startswith(tuple(ALGORITHMS))
    return broken_at_blanks or _USER_AT_HOST.fullmatch(text) is not None


def _gap(before: Line, line: Line, width: int | None) -> str:
    """The blank that the break swallowed, if it did."""
    full = len(before.text) == width
    return "" if (full and not line.raw.startswith(" ")) or before.text.endswith("-") else " "


def _begins_with_base64(line: Line) -> bool:
    piece = _first_word(line.text)[0]
    return bool(piece) and BASE64.fullmatch(piece) is not None


def _first_word(text: str) -> tuple[str, str]:
    """A word and what follows it. A backslash that ends the line only says that the line goes on."""
    word, _, rest = text.partition(" ")
    return (word, rest) if rest else (word.removesuffix("\\"), rest)


def _is_type(word: str) -> bool:
    return word in ALGORITHMS or refused_by_name(word)


def _may_become_type(text: str) -> bool:
    return bool(text) and any(name.startswith(text) for name in ALGORITHMS)
