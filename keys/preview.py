"""What a push would do to a host, without doing it: a unified diff for each account whose file is not right."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from hosts.connect import connected
from hosts.core import paths
from hosts.core.errors import HostError, NotSafe, NotThere, Refused, TooLarge
from hosts.files import FileRead
from hosts.models import Host

from .bringing import LARGEST_FILE, NEWER_THERE, NewerOnHost, entries_staying
from .core.authorized_keys import render, stamp_of
from .core.drift import shown_lines
from .models import KeyFile
from .selectors import is_newer
from .wanted import Wanted, wanted

READ_AT_ONCE = 1000
# As diff says it.
NO_NEWLINE = "\\ No newline at end of file"


@dataclass(frozen=True, slots=True)
class Preview:
    """One account: the unified diff from what stands on the host to what should (empty: nothing to do), or why not.

    Both for one whose set on the host waits for a decision: then the diff is of what goes all the same.
    """

    username: str
    diff: str = ""
    code: str = ""
    reason: str = ""


def previews(host: Host, username: str | None = None) -> Iterator[Preview]:
    """A preview of each account of a host, by name. Raises HostError if the host cannot be reached."""
    files = KeyFile.objects.filter(account__host=host)
    if username is not None:
        files = files.filter(account__username=username)
    every = wanted(files)
    with connected(host) as there:
        while some := list(islice(every, READ_AT_ONCE)):
            by_path = {paths.key_file(paths.username(one.username)): one for one in some}
            found = dict(there.read_many(by_path, LARGEST_FILE))
            yield from (_preview(host, by_path[path], found[path]) for path in by_path)


def _preview(host: Host, one: Wanted, found: FileRead | HostError) -> Preview:
    if isinstance(found, HostError) and not isinstance(found, NotThere | TooLarge | Refused | NotSafe):
        return Preview(one.username, code=found.code, reason=found.message)
    content = found.content if isinstance(found, FileRead) else b""
    stamp = stamp_of(content) if content != one.content else None
    if stamp is not None and is_newer(one.forgiven_tokens, stamp):
        staying = render(entries_staying(one.account_pk, content), stamp)
        return Preview(one.username, _diff(host, one, content, staying), NewerOnHost.code, NEWER_THERE)
    return Preview(one.username, _diff(host, one, content, one.content))


def _diff(host: Host, one: Wanted, there: bytes, should: bytes) -> str:
    names = (f"{host.name}:{one.username}", f"portal:{one.username}")
    return "\n".join(difflib.unified_diff(_lines(there), _lines(should), *names, lineterm="", n=1))


def _lines(content: bytes) -> list[str]:
    """The lines as they are shown; a last one that is cut off is not the same as one that is whole."""
    lines = shown_lines(content)
    return lines if not content or content.endswith(b"\n") else [*lines[:-1], f"{lines[-1]}\n{NO_NEWLINE}"]
