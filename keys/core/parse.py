"""One pasted text -> keys, and everything a person should know about it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from keys.core.characters import (
    COMMENT_LENGTH,
    Line,
    comment_from,
    count_lines,
    forbidden_lines,
    is_read_as_bytes,
    lines_from,
    tidy,
)
from keys.core.errors import KeyProblem, Note, Problem, Refusal
from keys.core.formats import FORMS, Found, Taken, pem
from keys.core.formats.pem import spelling_at
from keys.core.formats.private import is_key_piece, is_secret, private_key_lines, private_key_lines_of_long
from keys.core.formats.private_bytes import has_secret_fields
from keys.core.plain import plain_keys
from keys.core.policy import Policy, advise, judge, weaknesses
from keys.core.publickey import PublicKey
from keys.core.weak import shared_factors

# The base64 of the first bytes of a blob, whatever its type.
_SECOND_KEY = re.compile(r"AAAA[A-P].(?:NzaC1|NrL[WX]|VjZHNh)[A-Za-z0-9+/]{16}")
_SHORTEST_PIECE_IN_COMMENT = 40
_QUOTES = "\"'`"
# How a picture, a PDF, a word processor's file and an archive begin.
_DOCUMENT = re.compile(
    "[\x89\u2030\ufffd]PNG|\xff\xd8\xff|GIF8|%PDF-|{\\\\rtf|PK\x03\x04|\xd0\xcf\x11\xe0|\x1f\x8b\x08|II\\*\0|MM\0\\*"
    "|RIFF.{4}WEBP|BM.{4}\0{4}|\0\0\0.ftyp",
    re.S,
)


@dataclass(frozen=True, slots=True)
class Paste:
    """What a text holds. Its keys are all taken (no problems) or none is.

    ``lines`` tells for each key the line it began at. Beside a private key nothing else is read.
    """

    keys: tuple[PublicKey, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    private_key: bool = False
    lines: tuple[int, ...] = ()

    @property
    def accepted(self) -> bool:
        return not self.problems

    @property
    def loose_notes(self) -> tuple[Problem, ...]:
        """Notes about lines at which no key is kept: one that stands here twice, for example."""
        return tuple(note for note in self.notes if note.line not in self.lines)


def parse_paste(text: str, policy: Policy = Policy()) -> Paste:  # noqa: B008 (a frozen value)
    """Read whatever somebody pasted. Never raises; an empty text is accepted and has no keys.

    A paste that has no other problem is also put to ``policy.weak``, if there is one: that takes milliseconds a key.
    """
    plain = None if _is_too_long(text, policy) else plain_keys(text, policy.maximum_keys)
    if plain is None:
        return _read_at_length(text, policy)
    gathering = _Gathering(policy)
    for key, line in plain:
        gathering.add_key(key, line)
    return gathering.paste()


def _read_at_length(text: str, policy: Policy) -> Paste:
    """By the forms that people paste; a private key is looked for before anything else is."""
    private = private_key_lines_of_long(text) if _is_too_long(text, policy) else private_key_lines(text)
    if private:
        return _private(private, policy)
    unreadable = _unreadable(text, policy)
    if unreadable:
        return Paste(problems=_listed(unreadable, policy))
    gathering, lines, read = _Gathering(policy), lines_from(text), 0
    for taken in _taken(lines):
        gathering.add(taken)
        read += taken.lines
        if gathering.is_full:
            gathering.left_unread_from = read + 1 if read < len(lines) else None
            break
    told = gathering.private or gathering.private_when_rendered()
    return _private(told, policy) if told else gathering.paste()


def _private(lines: Sequence[int], policy: Policy) -> Paste:
    problems = [Refusal.PRIVATE_KEY.problem(line) for line in lines]
    return Paste(problems=_listed(problems, policy), private_key=True)


def _length(text: str) -> int:
    """In bytes of UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _is_too_long(text: str, policy: Policy) -> bool:
    """Told by the count of its characters where that is enough."""
    return len(text) > policy.maximum_paste_bytes or (not text.isascii() and _length(text) > policy.maximum_paste_bytes)


def _unreadable(text: str, policy: Policy) -> list[Problem]:
    """What must be mended before anything else can be looked at."""
    if _is_too_long(text, policy):
        return [Refusal.PASTE_TOO_LONG.problem(length=_length(text), most=policy.maximum_paste_bytes)]
    count = count_lines(text)
    if count > policy.maximum_paste_lines:
        return [Refusal.TOO_MANY_LINES.problem(count=count, most=policy.maximum_paste_lines)]
    if _DOCUMENT.match(text):
        return [Refusal.DOCUMENT.problem()]
    if is_read_as_bytes(text):
        return [Refusal.UTF16.problem()]
    return [Refusal.CONTROL_CHARACTER.problem(number) for number in forbidden_lines(text)]


def _taken(lines: Sequence[Line]) -> Iterator[Taken]:
    """Cut the lines up among the forms: the first that knows them takes them."""
    at, read = 0, dict[str, Taken]()
    while at < len(lines):
        taken = _block_again(lines, at, read)
        if taken is None:
            taken = next(taken for form in FORMS if (taken := form(lines, at)) is not None)
        yield taken
        at += taken.lines


def _block_again(lines: Sequence[Line], at: int, read: dict[str, Taken]) -> Taken | None:
    """A block of PEM, each different one read once: a point of a curve takes long to check."""
    spelt = spelling_at(lines, at)
    if spelt is None:
        return None
    text, block = spelt
    if text not in read:
        taken = pem.take(lines, at)
        if taken is None or not taken.found:
            return taken
        read[text] = taken
    first, number = read[text], lines[at].number
    found = tuple(replace(key, line=number) for key in first.found)
    return Taken(block.lines, found, notes=tuple(note.at(number) for note in first.notes))


def _in_order(problems: list[Problem]) -> list[Problem]:
    return sorted(problems, key=lambda problem: problem.line or 0) if len(problems) > 1 else problems


def _listed(problems: list[Problem], policy: Policy) -> tuple[Problem, ...]:
    """As many as a person can take in, then one that says there are more."""
    most = policy.maximum_problems
    if len(problems) <= most:
        return tuple(problems)
    return (*problems[:most], Refusal.MORE_PROBLEMS.problem(problems[most].line))


@dataclass(slots=True)
class _Gathering:
    """Keys, problems and notes as they come in, in the order of their lines."""

    policy: Policy
    lines: dict[bytes, int] = field(default_factory=dict)
    keys: list[PublicKey] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[Problem] = field(default_factory=list)
    private: list[int] = field(default_factory=list)
    again: int = 0
    left_unread_from: int | None = None

    def add(self, taken: Taken) -> None:
        self.problems += taken.problems
        self.notes += (note for note in taken.notes if not self._told_once(note))
        for found in taken.found:
            self._add_found(found)

    def add_key(self, key: PublicKey, line: int) -> bool:
        """Whether it was taken: a key that is here already is not, nor is one that the policy refuses."""
        if self._is_known(key.blob, line):
            return False
        refused = judge(key, self.policy)
        if refused:
            self.problems += [problem.at(line) for problem in refused]
            return False
        self.lines[key.blob] = line
        self.keys.append(key)
        self.notes += [advice.at(line) for advice in advise(key, self.policy)]
        return True

    def private_when_rendered(self) -> list[int]:
        """Where a comment, now that it is clean, is what is looked for in a paste: it was spelt otherwise there."""
        if self.problems:
            return []
        lines = private_key_lines("\n".join(key.line() for key in self.keys))
        return [self.lines[self.keys[line - 1].blob] for line in lines]

    @property
    def is_full(self) -> bool:
        """Whether there is more than a person wants to be told, so that reading on is idle."""
        most = self.policy.maximum_keys
        if len(self.keys) > most or len(self.problems) > self.policy.maximum_problems:
            return True
        # A key in another spelling takes as long to read as a new one. Without a problem all must be read.
        return bool(self.problems) and len(self.keys) + len(self.problems) + self.again > 2 * most

    def paste(self) -> Paste:
        most = self.policy.maximum_keys
        if len(self.keys) > most:
            line = self.lines[self.keys[most].blob]
            self.problems.append(Refusal.TOO_MANY_KEYS.problem(line, most=most))
        elif self.problems and self.left_unread_from and len(self.problems) <= self.policy.maximum_problems:
            self.problems.append(Refusal.MORE_PROBLEMS.problem(self.left_unread_from))
        if self.policy.weak is not None and not self.problems:
            self.problems += self._weaknesses()
        return Paste(
            keys=tuple(self.keys),
            problems=_listed(_in_order(self.problems), self.policy),
            notes=tuple(_in_order(self.notes)),
            lines=tuple(self.lines.values()),
        )

    def _add_found(self, found: Found) -> None:
        comment = tidy(found.comment)
        words = comment.split(" ") if len(comment) >= _SHORTEST_PIECE_IN_COMMENT else []
        if len(comment) > COMMENT_LENGTH:  # what is kept of it ends where its last word may not
            words += comment_from(comment).split(" ")
        if is_secret(comment.strip(_QUOTES)):
            self.private.append(found.line)
            return
        try:
            if _SECOND_KEY.search(comment):
                raise Refusal.TWO_KEYS_IN_LINE.error()
            key = None if found.blob in self.lines else _key_from(found)
            if any(is_secret(word.strip(_QUOTES)) for word in words):
                self.private.append(found.line)
                return
            _check_comment(words)
        except KeyProblem as error:
            if has_secret_fields(found.blob):
                self.private.append(found.line)
            self.problems.append(error.problem.at(found.line))
            return
        if key is None:
            self._is_known(found.blob, found.line)
        elif self.add_key(key, found.line) and len(comment) > COMMENT_LENGTH:
            self.notes.append(Note.COMMENT_SHORTENED.problem(found.line, most=COMMENT_LENGTH))

    def _weaknesses(self) -> Iterator[Problem]:
        for key in self.keys:
            yield from (problem.at(self.lines[key.blob]) for problem in weaknesses(key, self.policy))
        yield from self._shared_primes()

    def _shared_primes(self) -> Iterator[Problem]:
        """Of keys of this paste with each other; what is stored is compared elsewhere."""
        moduli = {key.blob: modulus for key in self.keys if (modulus := key.rsa_modulus) is not None}
        broken = shared_factors(moduli.values()) if len(moduli) > 1 else frozenset()
        for blob, modulus in moduli.items():
            if modulus in broken and blob not in self.policy.known:
                yield Refusal.WEAK_SHARED_PRIMES.problem(self.lines[blob])

    def _is_known(self, blob: bytes, line: int) -> bool:
        if blob not in self.lines:
            return False
        self.again += 1
        self.notes.append(Note.DUPLICATE.problem(line))
        return True

    def _told_once(self, note: Problem) -> bool:
        left_out = Note.LINES_LEFT_OUT.code
        return note.code == left_out and any(known.code == left_out for known in self.notes)


def _check_comment(words: Sequence[str]) -> None:
    """Raise KeyProblem if a piece of another key stands where the comment should."""
    if any(len(word) >= _SHORTEST_PIECE_IN_COMMENT and is_key_piece(word) for word in words):
        raise Refusal.KEY_PART.error()


def _key_from(found: Found) -> PublicKey:
    key = PublicKey.from_blob(found.blob, found.comment)
    if found.word not in (None, key.algorithm):
        raise Refusal.TYPE_MISMATCH.error()
    return key
