"""Files of an epoch that somebody wrote to, or that came, after all had been copied: told in its log, never read."""

from collections.abc import Iterable, Iterator

from ingest.core.display import counted, shown_name
from ingest.core.findings import Finding, Severity

LATE = "late"
HINT = "If what came later is needed, send it all again as a new epoch: every file whole first, then `COMPLETE`."
Sized = tuple[str, int]


def late_findings(copied: Iterable[Sized], there: Iterable[Sized], is_loaded: bool) -> Iterator[Finding]:
    """A warning for each file there of which there is no copy of its size; both are names with sizes in bytes."""
    copies = set(copied)
    before = dict(copies)
    what = "What was loaded" if is_loaded else "What was looked at"
    for name, size in sorted(set(there) - copies):
        if name in before:
            sizes = f"it had {counted(before[name], 'byte')} then, and has {counted(size, 'byte')} now"
            message = f"The file has changed after it was taken: {sizes}. {what} is the copy taken before."
        else:
            message = "The file came after the others had been taken. Nothing of it was read."
        yield Finding(shown_name(name), LATE, Severity.WARNING, message, hint=HINT)
