"""What a push would do to a host, without doing it: a unified diff for each account whose file is not right."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from accounts.models import RetiredUsername
from hosts.connect import connected
from hosts.core import paths
from hosts.core.errors import HostError, NotSafe, NotThere, Refused, TooLarge
from hosts.files import FileRead
from hosts.models import Host

from .core.authorized_keys import render, stamp_of
from .core.drift import shown_lines
from .models import KeyFile
from .selectors import is_newer
from .taking_out import LARGEST_FILE, NEWER_THERE, NewerOnHost, entries_staying
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
    accounts = wanted(files)
    with connected(host) as there:
        while some := list(islice(accounts, READ_AT_ONCE)):
            before = _names_before(some)
            names = {one.account_pk: [one.username, *before.get(one.account_pk, ())] for one in some}
            by_path = {paths.key_file(paths.username(name)): name for own in names.values() for name in own}
            found = {by_path[path]: read for path, read in there.read_many(by_path, LARGEST_FILE)}
            yield from (_preview(host, one, {name: found[name] for name in names[one.account_pk]}) for one in some)


def _names_before(some: list[Wanted]) -> dict[int, list[str]]:
    """Of renamed accounts the names that they still have on the host."""
    rows = RetiredUsername.objects.filter(account__in=[one.account_pk for one in some], cleared=None).order_by("pk")
    names: dict[int, list[str]] = {}
    for account_pk, name in rows.values_list("account", "username"):
        names.setdefault(account_pk, []).append(name)
    return names


def _preview(host: Host, one: Wanted, found: dict[str, FileRead | HostError]) -> Preview:
    """Of all files the account has there, `found` by name: that of today, and those of names before, which are left
    with a header alone."""
    for read in found.values():
        if isinstance(read, HostError) and not isinstance(read, NotThere | TooLarge | Refused | NotSafe):
            return Preview(one.username, code=read.code, reason=read.message)
    there = {name: read.content if isinstance(read, FileRead) else b"" for name, read in found.items()}
    should = {name: one.content.partition(b"\n")[0] + b"\n" for name in there} | {one.username: one.content}
    if any(_is_held(one, content, should[name]) for name, content in there.items()):
        staying = {name: _staying(one, content) for name, content in there.items()}
        return Preview(one.username, _diffs(host, there, staying), NewerOnHost.code, NEWER_THERE)
    return Preview(one.username, _diffs(host, there, should))


def _is_held(one: Wanted, there: bytes, should: bytes) -> bool:
    stamp = stamp_of(there) if there != should else None
    return stamp is not None and is_newer(one.forgiven_tokens, stamp)


def _staying(one: Wanted, there: bytes) -> bytes:
    """What stays while a set waits for a decision."""
    return render(entries_staying(one, there), stamp_of(there)) if there else there


def _diffs(host: Host, there: dict[str, bytes], should: dict[str, bytes]) -> str:
    return "\n".join(filter(None, (_diff(host, name, there[name], should[name]) for name in there)))


def _diff(host: Host, name: str, there: bytes, should: bytes) -> str:
    names = (f"{host.name}:{name}", f"portal:{name}")
    return "\n".join(difflib.unified_diff(_lines(there), _lines(should), *names, lineterm="", n=1))


def _lines(content: bytes) -> list[str]:
    """The lines as they are shown; a last one that is cut off is not the same as one that is whole."""
    lines = shown_lines(content)
    return lines if not content or content.endswith(b"\n") else [*lines[:-1], f"{lines[-1]}\n{NO_NEWLINE}"]
