"""Putting an OpenSSH line together again that was broken at some column.

The blob says by its own length fields where it ends, so that part is certain. A comment says nothing of the
kind: what follows it is joined only if the line was full to its column, or one short where a blank was lost, or if the
blank at which it was broken is still there. All else could be anything, a password too: then nothing is taken.

Blank lines between the pieces of a blob are skipped, and between the lines of a comment if all lines have as many.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from keys.core.algorithms import ALGORITHMS, refused_by_name
from keys.core.characters import Line
from keys.core.errors import KeyProblem, Refusal
from keys.core.wire import BASE64, encoded_length, encoded_name

_MOST_TYPE_PIECES = 64
_SHORTEST_KEY_PIECE = 16
_LONGEST_NAME = 32  # a word of more base64 characters is a piece of a key, not of a comment
# Where a name cannot end.
_HALF_A_NAME = re.compile(r"[@.-]$")
_USER_AT_HOST = re.compile(r"[\w.+-]{1,64}@[\w.-]{1,253}")
# The same with a host that no password has: p@ssw0rd is a name too, by its shape.
_USER_AT_FULL_HOST = re.compile(r"[\w.+-]{1,64}@[A-Za-z0-9]+[.-][A-Za-z0-9.-]{1,250}")
# Names of options in an authorized_keys file (sshd(8)).
OPTION = (
    r"agent-forwarding|cert-authority|command|environment|expiry-time|from|no-[a-z0-9-]{2,20}|permitlisten"
    r"|permitopen|port-forwarding|principals|pty|restrict|touch-required|tunnel|user-rc|verify-required"
    r"|x11-forwarding"
)
# Options, names of files and addresses, fences and fields of a form: whatever they belong to, they are no comment.
_OF_ITS_OWN = re.compile(
    rf"(?:{OPTION})(?:=|,)|(?:cert-authority|restrict|no-[a-z0-9-]{{2,20}})(?: |$)|[a-z0-9-]{{1,40}}=\""
    r"|~?[/\\]|\.{1,2}[/\\]|[a-z]:[/\\]|\S*\.(?:pub|ppk|pem|key|txt|csv|zip|pdf|docx?|png|jpe?g|gif|bmp)$"
    r"|[a-z]{3,8}://|www\.|(?:sha256|sha1|md5):|[<>]|```|~~~|(?:ssh|ecdsa|sk)-|\w[\w ]{0,30}:(?: |$)",
    re.I,
)
_HYPHENATED = re.compile(r"\w-$")
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


@dataclass(frozen=True, slots=True)
class _Column:
    """Where lines were broken (None: at no one column), and the blanks that all of them have before and behind."""

    width: int | None
    left: int
    right: int

    def leads(self, line: Line) -> bool:
        """Whether a blank of the text stands before what a line shows."""
        return _blanks_before(line) > self.left

    def trails(self, line: Line) -> bool:
        """Whether one stands behind it."""
        return _blanks_behind(line) > self.right

    def blanks_lost(self, line: Line) -> int:
        """How many blanks of the text stand behind what a line shows."""
        return _blanks_behind(line) - self.right

    def length(self, line: Line) -> int:
        """How many characters of the text a line shows, as far as they are still there."""
        return max(_blanks_before(line) - self.left, 0) + len(line.text)

    def goes_on(self, line: Line, following: Line, comment: str) -> bool | None:
        """Whether the next line is the rest of a comment; None where that may be, and nothing shows it."""
        if self.width is None:
            return None if not comment and self.leads(following) else False
        room = self.width - self.length(line)
        if 0 <= room <= len(following.text.partition(" ")[0]) and len(following.text) <= self.width:
            is_broken_here = (
                (0 < room <= self.blanks_lost(line)) or (room == 0 and self.leads(following)) or (comment and room <= 1)
            )
            return True if is_broken_here and not line.text.endswith("\\") else None
        return False

    def is_unclear(self, lines: Sequence[Line]) -> bool:
        """Whether nothing tells where the blanks of a comment on these lines were.

        A full line was broken within a word, or else beside one; the lines around it must say which.
        """
        if self.width is None:
            return False
        # A blank that is still there says all about its break, and a last line nothing.
        missing = [
            None if self.trails(line) or self.leads(following) else self.width - self.length(line)
            for line, following in pairwise(lines)
        ]
        between_words = any(count is not None and count > 1 for count in missing)
        return 0 in missing and (between_words or (0, 1) in pairwise(missing))


_UNBROKEN = _Column(None, 0, 0)


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
    closed_up = _closed_up(lines, at, opening)
    if closed_up is None:
        return _joined(lines, at, opening)
    again = opening_at(closed_up, 0)
    key = _joined(closed_up, 0, again or opening)
    return replace(key, last=at + closed_up[key.last].number - lines[at].number)


def _closed_up(lines: Sequence[Line], at: int, opening: Opening) -> list[Line] | None:
    """The lines from an index to the next key, without the blank ones, if there is one within this key."""
    head, comment = _first_word(opening.rest)
    needed = encoded_length(head, ALGORITHMS[opening.word].fields)
    if comment or (needed is not None and len(head) >= needed):
        return None
    end = opening.last + 1
    while end < len(lines) and (not lines[end].text or opening_at(lines, end) is None):
        end += 1
    kept = [line for line in lines[at:end] if line.text]
    return kept if len(kept) < end - at else None


def _joined(lines: Sequence[Line], at: int, opening: Opening) -> Joined:
    head, comment = _first_word(opening.rest)
    if encoded_name(head) not in (None, opening.word):
        last = opening.last + pieces_behind(lines, opening.last)
        return Joined("", "", last, Refusal.TYPE_MISMATCH.error())
    fields = ALGORITHMS[opening.word].fields
    needed = None if comment else encoded_length(head, fields)
    if comment or (needed is not None and len(head) >= needed):
        key = Joined(head, comment.strip(" "), opening.last)
    else:
        pieces = [head, *_pieces(lines, opening.last)]
        key = _fitted(lines, opening.last, pieces, encoded_length("".join(pieces), fields))
    if key.problem is not None:
        return key
    start = at if opening.rest else opening.last + 1
    return _with_comment(lines, key, start, _column(lines, start, key.last))


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


def _with_comment(lines: Sequence[Line], key: Joined, start: int, column: _Column) -> Joined:
    """Join the rest of a broken comment, where it is certain that the lines belong together."""
    comment, last = key.comment, key.last
    steps = {line.number - above.number for above, line in pairwise(lines[start : last + 1])}
    step = steps.pop() if len(steps) == 1 else 1
    is_certain: bool | None = True
    while last + 1 < len(lines) and _may_go_on(lines, last, step):
        is_certain = column.goes_on(lines[last], lines[last + 1], comment)
        if not is_certain:
            break
        comment += _gap(lines[last], lines[last + 1], column) + lines[last + 1].text
        last += 1
    if is_certain is None or column.is_unclear(lines[key.last : last + 1]):
        return Joined("", "", last + (is_certain is None), Refusal.JOIN_UNCERTAIN.error())
    if last == key.last and _is_name_below(lines, start, last, step, comment):
        return Joined(key.base64, lines[last + 1].text, last + 1)
    if last == key.last and _may_be_name_below(lines, start, last, step, comment):
        return Joined("", "", last + 1, Refusal.JOIN_UNCERTAIN.error())
    return Joined(key.base64, comment.strip(" "), last) if last > key.last else key


def _column(lines: Sequence[Line], start: int, last: int) -> _Column:
    """How the lines from one index to another were broken."""
    if start == last:
        return _UNBROKEN
    widths = {len(line.text) for line in lines[start:last]}
    # A line that was broken beside a blank is shown one shorter.
    width = max(widths) if widths and max(widths) - min(widths) <= 1 else None
    left = min((_blanks_before(line) for line in lines[start + 1 : last + 1]), default=0)
    right = min((_blanks_behind(line) for line in lines[start:last]), default=0)
    return _Column(width, left, right)


def _blanks_before(line: Line) -> int:
    return len(line.raw) - len(line.raw.lstrip(" "))


def _blanks_behind(line: Line) -> int:
    return len(line.raw) - len(line.raw.rstrip(" "))


def _may_go_on(lines: Sequence[Line], last: int, step: int) -> bool:
    """Whether the next line is nothing of its own, and as far below as the lines of this key are."""
    text = lines[last + 1].text
    if lines[last + 1].number - lines[last].number != step:
        return False
    if not text or text.startswith(("#", "---")) or opening_at(lines, last + 1) is not None:
        return False
    if _OF_ITS_OWN.match(text):
        return False
    return len(text) < _LONGEST_NAME or BASE64.fullmatch(text) is None


def _is_name_below(lines: Sequence[Line], start: int, last: int, step: int, comment: str) -> bool:
    """Whether a key that was broken at its blanks ends with a name of the shape ``user@host`` on a line of its own."""
    if comment or last + 1 >= len(lines) or not _may_go_on(lines, last, step):
        return False
    if last + 2 < len(lines) and _may_belong(lines, last + 1, step):
        return False
    is_name = _USER_AT_FULL_HOST.fullmatch(lines[last + 1].text) is not None
    return is_name and _is_broken_at_blanks(lines, start, last)


def _may_belong(lines: Sequence[Line], last: int, step: int) -> bool:
    """Whether the next line may be a part of the same text: there is one, and no blank line or key is between."""
    line = lines[last + 1]
    is_near = line.number - lines[last].number == step
    return is_near and bool(line.text) and opening_at(lines, last + 1) is None


def _may_be_name_below(lines: Sequence[Line], start: int, last: int, step: int, comment: str) -> bool:
    """Whether what follows looks like a comment: ``user@host``, its end, or anything if only blanks were broken."""
    if last + 1 >= len(lines) or not _may_go_on(lines, last, step):
        return False
    text = lines[last + 1].text
    if comment:
        is_cut = text.startswith("@") or _HALF_A_NAME.search(comment) is not None
        return is_cut and _USER_AT_HOST.fullmatch(comment + text) is not None
    return _is_broken_at_blanks(lines, start, last) or _USER_AT_HOST.fullmatch(text) is not None


def _is_broken_at_blanks(lines: Sequence[Line], start: int, last: int) -> bool:
    """Whether the base64 stands whole on a line of its own, as programs for mail leave it that break only at blanks."""
    return start == last and not lines[start].text.startswith(tuple(ALGORITHMS))


def _gap(before: Line, line: Line, column: _Column) -> str:
    """The blank that the break swallowed, if it did."""
    if column.leads(line) or column.trails(before):
        return " "
    return "" if column.length(before) == column.width or _HYPHENATED.search(before.text) else " "


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
