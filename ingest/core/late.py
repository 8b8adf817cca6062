"""What somebody wrote to, or put into an epoch, too late: told in its log, never read.

Files that changed, or came, after all had been copied; links, folders and the like that came in the moment of the
claim.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ingest.core.display import counted, shown_name
from ingest.core.findings import Finding, Severity

LATE = "late"
HINT = "If what came later is needed, send it all again as a new epoch: every file whole first, then `COMPLETE`."
AGAIN = (
    "The directory was made again in /upload/ after this upload had been taken. What is sent into it is no part of "
    "this upload: it is taken as one by itself, once it has its own `COMPLETE`."
)
ODD = {
    "link": "A link",
    "folder": "A folder",
    "not-a-file": "Something that is no plain file",
    "second-name": "A file that has a second name elsewhere (a hard link)",
    "odd-name": "A file whose name cannot be shown",
}
ODD_HINT = "Only plain files are read, in the directory itself. If it is needed, send it all again as a new epoch."


@dataclass(frozen=True, slots=True)
class Taken:
    """A file at one moment: when it was copied, or now. `sha256` may be empty where the size says enough."""

    name: str
    size: int
    sha256: str


def late_findings(copied: Iterable[Taken], there: Iterable[Taken], is_loaded: bool) -> Iterator[Finding]:
    """A warning for each file there that is not just what was copied."""
    before = {one.name: one for one in copied}
    what = "What was loaded" if is_loaded else "What was looked at"
    for now in sorted(there, key=lambda one: one.name):
        then = before.get(now.name)
        if then is None:
            yield _late(now.name, "The file came after the others had been taken. Nothing of it was read.")
        elif then != now:
            changed = f"The file has changed after it was taken: {_change(then, now)}."
            yield _late(now.name, f"{changed} {what} is the copy taken before.")


def _change(then: Taken, now: Taken) -> str:
    if then.size == now.size:
        return "it is as long as it was, but something else stands in it"
    return f"it had {counted(then.size, 'byte')} then, and has {counted(now.size, 'byte')} now"


def odd_findings(odd: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """A warning for each thing, by name and `unread_for`, that was not there when the epoch was looked at last."""
    for name, code in odd:
        yield _late(name, f"{ODD[code]} was put here in the moment in which it was taken. It was not read.", ODD_HINT)


def made_again(epoch: str) -> Finding:
    """A warning that the directory of an epoch was made once more after it was taken."""
    return _late(f"{epoch}/", AGAIN)


def _late(name: str, message: str, hint: str = HINT) -> Finding:
    return Finding(shown_name(name), LATE, Severity.WARNING, message, hint=hint)
