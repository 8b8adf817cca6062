"""What the portal asks of the root-side helper of an OpenSSH host: small files in `requests/`, answered in `answers/`.

The helper does what SFTP cannot do safely: look and read in a district's own directory, claim from it, make accounts,
end sessions. One request is one JSON file with a list of operations; the answer has as many entries. Names of files
travel as text with undecodable bytes as surrogates, which JSON escapes.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from .core import errors
from .core.errors import BadAnswer, HostDown, HostError, NotSafe, NotThere, TooLarge
from .core.paths import HostPath, Username, claimed_directory, shown
from .core.paths import username as username_of
from .files import Entry, EntryKind, HostFiles

REQUESTS, ANSWERS = HostPath(("requests",)), HostPath(("answers",))
ANSWER_LIMIT = 64 * 1024 * 1024
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
PATIENCE = 30.0  # seconds
BLOCK = 256 * 1024  # bytes of one `read`
LOOK_SECONDS = 1.0

_T = TypeVar("_T")
_BY_CODE: dict[str, type[HostError]] = {
    kind.code: kind
    for kind in (
        errors.NotThere,
        errors.AlreadyThere,
        errors.NotEmpty,
        errors.Refused,
        errors.NotSafe,
        errors.TooLarge,
        errors.Full,
        errors.HostDown,
        errors.HostFault,
    )
}


class HelperSilent(HostDown):
    """The helper does not answer, though the host does."""

    code = "helper-silent"


class HelperRefused(HostError):
    """The helper will not do it; `code` is its own word for why (`drops-too-many`, for one)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Something below an account's upload directory; `path` its parts from there. `modified`: seconds, host's clock."""

    path: tuple[str, ...]
    kind: EntryKind
    size: int
    links: int
    inode: int
    modified: int


@dataclass(frozen=True, slots=True)
class Look:
    """An upload directory with all in it. `writing`: display forms of what is open for writing.

    `cut`: there is more than the helper tells.
    """

    entries: tuple[Uploaded, ...]
    writing: tuple[str, ...]
    cut: bool


@dataclass(frozen=True, slots=True)
class AccountsMade:
    """What became of a list of accounts: by name, and those that were refused with their errors.

    `ended`: sessions of removed accounts that were ended.
    """

    made: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int
    refused: tuple[tuple[str, HostError], ...]
    ended: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """What came of a claim: the display forms of what was moved aside, being no plain file or directory with one name.

    `ended`: sessions that were ended because they still held a file of it.
    """

    odd: tuple[str, ...]
    ended: int


@dataclass(frozen=True, slots=True)
class About:
    """What the helper says of its machine."""

    helper: str
    openssh: str
    system: str
    accounts: int
    free_bytes: int


# --- Asking ------------------------------------------------------------------------------------------------------


def ask(
    files: HostFiles, operations: Sequence[dict[str, Any]], timeout: float = PATIENCE
) -> list[dict[str, Any] | HostError]:
    """What the helper answers to each operation: an object, or the error it met there.

    Raises HelperSilent after `timeout` seconds (the request is taken back), BadAnswer, what the helper has against the
    request as a whole, and whatever SFTP meets.
    """
    number = secrets.token_hex(16)
    request, answer = REQUESTS.child(f"{number}.json"), ANSWERS.child(f"{number}.json")
    files.write(request, json.dumps({"id": number, "operations": list(operations)}).encode("ascii"))
    content = _awaited(files, answer, time.monotonic() + timeout)
    if content is None:
        with contextlib.suppress(HostError):
            files.remove(request)
        raise HelperSilent("The helper on the SFTP host does not answer. Look whether its service runs there.")
    return _answers(content, number, len(operations))


def _awaited(files: HostFiles, answer: HostPath, deadline: float) -> bytes | None:
    pause = FIRST_PAUSE
    while True:
        with contextlib.suppress(NotThere):
            return files.read(answer, ANSWER_LIMIT)
        if time.monotonic() + pause > deadline:
            return None
        time.sleep(pause)
        pause = min(LONGEST_PAUSE, pause * 1.5)


def _answers(content: bytes, number: str, count: int) -> list[dict[str, Any] | HostError]:
    try:
        told = json.loads(content)
    except (ValueError, RecursionError):
        raise _bad("is no JSON") from None
    if _field(told, "id", str) != number:
        raise _bad("belongs to another question")
    if "error" in told:
        raise _error(told)
    answers = _field(told, "answers", list)
    if len(answers) != count:
        raise _bad("belongs to another question")
    return [_error(answer) if "error" in _an(dict, answer) else answer for answer in answers]


def _error(answer: dict[str, Any], code_name: str = "error") -> HostError:
    code, message = _field(answer, code_name, str), _field(answer, "message", str)
    kind = _BY_CODE.get(code)
    text = shown(message, 300)
    return kind(text) if kind is not None else HelperRefused(shown(code, 40), text)


def _bad(what: str) -> BadAnswer:
    return BadAnswer(f"What the helper on the SFTP host answered {what}.")


def _an(kind: type[_T], value: object) -> _T:
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _bad("has not the agreed form")
    return value


def _field(told: object, name: str, kind: type[_T]) -> _T:
    return _an(kind, _an(dict, told).get(name))


def _texts(told: object, name: str) -> tuple[str, ...]:
    return tuple(_an(str, one) for one in _field(told, name, list))


def _one(files: HostFiles, operation: dict[str, Any], timeout: float = PATIENCE) -> dict[str, Any]:
    (answer,) = ask(files, [operation], timeout)
    if isinstance(answer, HostError):
        raise answer
    return answer


# --- The operations ----------------------------------------------------------------------------------------------


def look(files: HostFiles, account: Username) -> Look:
    """All that lies below an account's upload directory, nothing followed. Raises NotThere."""
    told = _one(files, {"op": "look", "account": account})
    entries = tuple(_uploaded(one) for one in _field(told, "entries", list))
    writing = tuple(_path_shown(one) for one in _field(told, "writing", list))
    return Look(entries, writing, _field(told, "cut", bool))


def _uploaded(told: object) -> Uploaded:
    try:
        kind = EntryKind(_field(told, "kind", str))
    except ValueError:
        raise _bad("tells of an unknown kind of thing") from None
    numbers = (_field(told, name, int) for name in ("size", "links", "inode", "modified"))
    return Uploaded(_path(told), kind, *numbers)


def _path(told: object) -> tuple[str, ...]:
    parts = _texts(told, "path")
    try:
        return HostPath(parts).parts
    except NotSafe:
        raise _bad("has a name that can be none") from None


def _path_shown(told: object) -> str:
    return "/".join(shown(_an(str, part)) for part in _an(list, told))


def read(files: HostFiles, account: Username, path: Sequence[str], offset: int, length: int) -> bytes:
    """Bytes of a regular file below an account's upload directory: at most BLOCK, fewer at its end."""
    told = _one(
        files, {"op": "read", "account": account, "path": list(path), "offset": offset, "length": min(length, BLOCK)}
    )
    try:
        data = base64.b64decode(_field(told, "data", str), validate=True)
    except binascii.Error:
        raise _bad("is no base64") from None
    if len(data) > length:
        raise _bad("is longer than was asked for")
    return data


def claim(files: HostFiles, account: Username, name: str, number: int) -> Claimed:
    """Take `name` out of an account's upload directory, to `claimed/<number>`. May be repeated."""
    told = _one(files, {"op": "claim", "account": account, "name": name, "number": number}, 10 * PATIENCE)
    odd = tuple(_path_shown(one) for one in _field(told, "odd", list))
    return Claimed(odd, _field(told, "ended", int))


def accounts(files: HostFiles, wanted: Iterable[tuple[Username, int]], timeout: float = 10 * PATIENCE) -> AccountsMade:
    """Make the host's accounts these, each with its user number. Raises HelperRefused, `drops-too-many` for one."""
    listed = [{"name": name, "uid": uid} for name, uid in wanted]
    told = _one(files, {"op": "accounts", "accounts": listed}, timeout)
    refused = tuple((_field(one, "name", str), _error(one, "code")) for one in _field(told, "refused", list))
    counts = (_field(told, "unchanged", int), refused, _field(told, "ended", int))
    return AccountsMade(_texts(told, "made"), _texts(told, "removed"), *counts)


def end(files: HostFiles, account: Username) -> int:
    """End all sessions of an account; returns how many there were."""
    return _field(_one(files, {"op": "end", "account": account}), "ended", int)


def about(files: HostFiles) -> About:
    """What the helper says of its machine."""
    told = _one(files, {"op": "about"})
    helper, openssh, system = (_field(told, name, str)[:200] for name in ("helper", "openssh", "system"))
    return About(helper, openssh, system, _field(told, "accounts", int), _field(told, "free", int))


# --- Upload directories, as HostFiles asks for them --------------------------------------------------------------


class Uploads:
    """What `RemoteFiles` answers for paths below `homes/<account>/upload`.

    One look at an account answers all questions of the next second: a directory is listed, then those in it.
    """

    def __init__(self, files: HostFiles) -> None:
        self._files = files
        self._looks: dict[Username, tuple[float, Look]] = {}
        self._lock = threading.Lock()

    def look(self, account: Username) -> Look:
        now = time.monotonic()
        with self._lock:
            self._looks = {one: known for one, known in self._looks.items() if now - known[0] < LOOK_SECONDS}
            known = self._looks.get(account)
        if known is not None:
            return known[1]
        found = look(self._files, account)
        with self._lock:
            self._looks[account] = (time.monotonic(), found)
        return found

    def listing(self, path: HostPath) -> tuple[Entry, ...]:
        account, inside = _split(path)
        found = self.look(account)
        if inside and self._entry(found, path, inside).kind is not EntryKind.DIRECTORY:
            raise NotThere.at(shown(path.name, 80))
        if found.cut:
            raise TooLarge("There is more in the upload directory than can be listed.")
        entries = (_entry(one) for one in found.entries if one.path[:-1] == inside)
        return tuple(sorted(entries, key=lambda entry: entry.name))

    def stat(self, path: HostPath) -> Entry | None:
        account, inside = _split(path)
        try:
            found = self.look(account)
            return _entry(self._entry(found, path, inside)) if inside else _UPLOAD
        except NotThere:
            return None

    def open_read(self, path: HostPath) -> BinaryIO:
        account, inside = _split(path)
        found = self._entry(self.look(account), path, inside)
        if found.kind is not EntryKind.FILE:
            raise NotSafe.at(shown(path.name, 80))

        def ranged(offset: int, length: int) -> bytes:
            return read(self._files, account, inside, offset, length)

        return io.BufferedReader(RangedFile(ranged, found.size), BLOCK)

    def claim(self, old: HostPath, new: HostPath) -> None:
        """The one rename that leads out of an upload directory: an entry of it becomes `claimed/<number>`."""
        account, inside = _split(old)
        number = new.parts[1] if new.parts[:1] == claimed_directory().parts and len(new.parts) > 1 else ""
        is_loose = len(new.parts) == 3 and new.parts[2:] == inside
        if len(inside) != 1 or not (number.isascii() and number.isdecimal()) or not (len(new.parts) == 2 or is_loose):
            raise NotSafe(f"“{shown(old.name, 80)}” can be claimed as a whole, and not be moved.")
        with self._lock:
            self._looks.pop(account, None)
        claim(self._files, account, inside[0], int(number))

    @staticmethod
    def _entry(found: Look, path: HostPath, inside: tuple[str, ...]) -> Uploaded:
        for one in found.entries:
            if one.path == inside:
                return one
            if one.path == inside[: len(one.path)] and one.kind is EntryKind.LINK:
                raise NotSafe.at(shown(one.path[-1], 80))
        raise NotThere.at(shown(path.name, 80))


_UPLOAD = Entry("upload", EntryKind.DIRECTORY, 0, 1, 0)


def _split(path: HostPath) -> tuple[Username, tuple[str, ...]]:
    """The account of a path below `homes/<account>/upload`, and the parts below that."""
    return username_of(path.parts[1]), path.parts[3:]


def _entry(one: Uploaded) -> Entry:
    return Entry(one.path[-1], one.kind, one.size, one.links, one.inode, one.modified)


class RangedFile(io.RawIOBase):
    """A file read by pieces: `ranged(offset, length)` gives up to that many bytes; `closing` is called once."""

    def __init__(
        self, ranged: Callable[[int, int], bytes], size: int, closing: Callable[[], None] | None = None
    ) -> None:
        self._ranged = ranged
        self._size = size
        self._closing = closing
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        content = self._ranged(self._at, len(buffer))
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def close(self) -> None:
        if not self.closed:
            super().close()
            if self._closing is not None:
                with contextlib.suppress(HostError):
                    self._closing()
