"""`manage.py check_key`: what the portal would say to a pasted text. Reads files, needs no database, keeps nothing."""

import errno
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from keys.core.errors import Advice, Problem
from keys.core.files import pasted_from
from keys.core.parse import Paste, parse_paste
from keys.core.policy import Policy
from keys.core.publickey import PublicKey
from keys.policy import thorough_policy_now

_STDIN = "-"
# Far more than any paste that is taken, in any encoding.
_MOST_BYTES_READ = 1024 * 1024
_ADVICE = frozenset(advice.code for advice in Advice)

UNREADABLE = Problem(
    "file-unreadable",
    "This file cannot be read.",
    "Look whether its name is right, and whether you may read it.",
)
TOO_LARGE = Problem(
    "file-too-large",
    "This file has more than 1 MiB. Only its beginning was looked at, and no key in it is taken.",
    "Files of public keys are far smaller: at most 64 KiB are taken. Look whether this is the right one.",
)
NO_KEY = Problem(
    "no-key",
    "There is no public key here.",
    "A key is one line that begins with its type, for example ssh-ed25519. It is in the file that ends in .pub.",
)


class Command(BaseCommand):
    """Each file is one paste; exit status 0 if all are accepted, else 1."""

    help = "Say whether public keys would be accepted, and why not. Each file is one paste; '-' is standard input."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Files, and for whom to write."""
        parser.add_argument("files", nargs="*", metavar="FILE", help="a file; '-' or none: standard input")
        parser.add_argument("--json", action="store_true", help="one JSON object a file, each on a line of its own")

    def handle(self, *args: Any, **options: Any) -> None:
        """Prints a verdict on each paste as soon as it is known."""
        policy = thorough_policy_now()
        accepted = True
        for name in options["files"] or [_STDIN]:
            verdict = _verdict(name, policy)
            accepted = accepted and verdict.accepted
            self._write(_json(verdict) if options["json"] else "\n".join(_told(verdict)))
        if not accepted:
            sys.exit(1)

    def _write(self, text: str) -> None:
        """With letters that the terminal's encoding does not have as escapes."""
        encoding = getattr(self.stdout, "encoding", None) or "utf-8"
        self.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What is said of one paste. ``keys`` are those that would be taken: all of them, or none."""

    name: str
    errors: tuple[Problem, ...]
    keys: tuple[tuple[PublicKey, int], ...] = ()
    notes: tuple[Problem, ...] = ()
    private_key: bool = False

    @property
    def accepted(self) -> bool:
        return not self.errors

    def advice(self, line: int) -> list[Problem]:
        """The advice on the key at a line."""
        return [note for note in self.notes if note.line == line and note.code in _ADVICE]


def _verdict(name: str, policy: Policy) -> _Verdict:
    try:
        content = _content(name)
    except OSError:
        return _Verdict(name, (UNREADABLE,))
    paste = parse_paste(pasted_from(content[:_MOST_BYTES_READ]), policy)
    if len(content) > _MOST_BYTES_READ and not paste.private_key:
        return _Verdict(name, (TOO_LARGE,))
    if not paste.accepted:
        return _Verdict(name, paste.problems, private_key=paste.private_key)
    return _Verdict(name, () if paste.keys else (NO_KEY,), _with_lines(paste), paste.notes)


def _content(name: str) -> bytes:
    """As much as is read, and a byte more if there is more. Raises OSError."""
    if name == _STDIN:
        if sys.stdin is None:
            raise OSError(errno.EBADF, "standard input is closed")
        return sys.stdin.buffer.read(_MOST_BYTES_READ + 1)
    with Path(name).open("rb") as file:
        return file.read(_MOST_BYTES_READ + 1)


def _with_lines(paste: Paste) -> tuple[tuple[PublicKey, int], ...]:
    return tuple(zip(paste.keys, paste.lines, strict=True))


def _json(verdict: _Verdict) -> str:
    """One line, ASCII only: nothing in a comment or a file's name can look like something else."""
    return json.dumps(
        {
            "name": verdict.name,
            "accepted": verdict.accepted,
            "keys": [_key_as_json(key, line, verdict.advice(line)) for key, line in verdict.keys],
            "errors": [{**_sentences(error), "line": error.line} for error in verdict.errors],
            "private_key": verdict.private_key,
        }
    )


def _key_as_json(key: PublicKey, line: int, advice: Iterable[Problem]) -> dict[str, object]:
    return {
        "type": key.algorithm,
        "bits": key.bits,
        "fingerprint": key.fingerprint,
        "comment": key.comment,
        "line": key.line(),
        "paste_line": line,
        "advice": [_sentences(one) for one in advice],
    }


def _sentences(problem: Problem) -> dict[str, str]:
    return {"code": problem.code, "message": problem.message, "hint": problem.hint}


def _told(verdict: _Verdict) -> Iterator[str]:
    """For people: the verdict, then what was found at which line."""
    yield f"{_printable(verdict.name)}: {'accepted' if verdict.accepted else 'refused'}"
    for key, line in verdict.keys:
        yield f"  line {line:<5}{key.label:<12}{key.fingerprint}  {key.comment}"
    for problem in (*verdict.errors, *verdict.notes):
        where = "" if problem.line is None else f"line {problem.line}: "
        yield f"  {where}{problem.message}"
        yield f"    {problem.hint} [{problem.code}]"


def _printable(name: str) -> str:
    """A file's name may hold what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)
