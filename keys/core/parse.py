"""One pasted text -> keys, and everything a person should know about it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from keys.core.characters import COMMENT_LENGTH, Line, count_lines, forbidden_lines, lines_from, tidy
from keys.core.errors import KeyProblem, Note, Problem, Refusal
from keys.core.formats import FORMS, Found, Taken
from keys.core.formats.private import private_key_lines
from keys.core.policy import Policy, advise, judge
from keys.core.publickey import PublicKey


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


def parse_paste(text: str, policy: Policy = Policy()) -> Paste:  # noqa: B008 (a frozen value)
    """Read whatever somebody pasted. Never raises; an empty text is accepted and has no keys."""
    private = private_key_lines(text)
    if private:
        problems = [Refusal.PRIVATE_KEY.problem(line) for line in private]
        return Paste(problems=_listed(problems, policy), private_key=True)
    unreadable = _unreadable(text, policy)
    if unreadable:
        return Paste(problems=_listed(unreadable, policy))
    gathering = _Gathering(policy)
    for taken in _taken(lines_from(text)):
        gathering.add(taken)
        if gathering.is_full:
            break
    return gathering.paste()


def _unreadable(text: str, policy: Policy) -> list[Problem]:
    """What must be mended before anything else can be looked at."""
    length = len(text.encode("utf-8", "surrogatepass"))
    if length > policy.maximum_paste_bytes:
        return [Refusal.PASTE_TOO_LONG.problem(length=length, most=policy.maximum_paste_bytes)]
    count = count_lines(text)
    if count > policy.maximum_paste_lines:
        return [Refusal.TOO_MANY_LINES.problem(count=count, most=policy.maximum_paste_lines)]
    return [Refusal.CONTROL_CHARACTER.problem(number) for number in forbidden_lines(text)]


def _taken(lines: Sequence[Line]) -> Iterator[Taken]:
    """Cut the lines up among the forms: the first that knows them takes them."""
    at = 0
    while at < len(lines):
        taken = next(taken for form in FORMS if (taken := form(lines, at)) is not None)
        yield taken
        at += taken.lines


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

    def add(self, taken: Taken) -> None:
        self.problems += taken.problems
        self.notes += (note for note in taken.notes if not self._told_once(note))
        for found in taken.found:
            self._add_found(found)

    @property
    def is_full(self) -> bool:
        """Whether there is more than a person wants to be told, so that reading on is idle."""
        too_many_keys = len(self.keys) > self.policy.maximum_keys
        return too_many_keys or len(self.problems) > self.policy.maximum_problems

    def paste(self) -> Paste:
        most = self.policy.maximum_keys
        if len(self.keys) > most:
            line = self.lines[self.keys[most].blob]
            self.problems.append(Refusal.TOO_MANY_KEYS.problem(line, most=most))
        problems = sorted(self.problems, key=lambda problem: problem.line or 0)
        return Paste(
            keys=tuple(self.keys),
            problems=_listed(problems, self.policy),
            notes=tuple(sorted(self.notes, key=lambda note: note.line or 0)),
            lines=tuple(self.lines[key.blob] for key in self.keys),
        )

    def _add_found(self, found: Found) -> None:
        if found.blob in self.lines:
            self.notes.append(Note.DUPLICATE.problem(found.line))
            return
        try:
            key = _key_from(found)
        except KeyProblem as error:
            self.problems.append(error.problem.at(found.line))
            return
        self._add_key(key, found)

    def _add_key(self, key: PublicKey, found: Found) -> None:
        refused = judge(key, self.policy)
        self.problems += (problem.at(found.line) for problem in refused)
        if refused:
            return
        self.lines[key.blob] = found.line
        self.keys.append(key)
        if len(tidy(found.comment)) > COMMENT_LENGTH:
            self.notes.append(Note.COMMENT_SHORTENED.problem(found.line, most=COMMENT_LENGTH))
        self.notes += (advice.at(found.line) for advice in advise(key, self.policy))

    def _told_once(self, note: Problem) -> bool:
        left_out = Note.LINES_LEFT_OUT.code
        return note.code == left_out and any(known.code == left_out for known in self.notes)


def _key_from(found: Found) -> PublicKey:
    key = PublicKey.from_blob(found.blob, found.comment)
    if found.word not in (None, key.algorithm):
        raise Refusal.TYPE_MISMATCH.error()
    return key
