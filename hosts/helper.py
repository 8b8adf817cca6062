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
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TypeVar

from .core import errors
from .core.errors import BadAnswer, HostDown, HostError, NotSafe, NotThere, TooLarge
from .core.paths import HostPath, Username, claimed_directory, shown
from .core.paths import username as username_of
from .core.trace import number_make
from .core.tree import DEPTH_LIMIT, ENTRIES_LIMIT
from .files import Entry, EntryKind, HostFiles

REQUESTS, ANSWERS = HostPath(("requests",)), HostPath(("answers",))
ANSWER_LIMIT = 64 * 1024 * 1024
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 0.5
PATIENCE = 30.0  # seconds
RENAME_PATIENCE = 60.0  # a list of 13,000 accounts may be before it
BLOCK = 256 * 1024  # bytes of one `read`
# What no honest helper goes beyond, and a column of the database can hold.
COUNT_LIMIT, GROUP_LIMIT, BYTES_LIMIT, TIME_LIMIT = 10_000_000, 2**32 - 1, 2**63 - 1, 10**11
TEXT_LIMIT = 199  # characters, and a sign that it was cut
LOOK_SECONDS = 1.0
# Accounts looked at in one request; what was seen is good for so long, as many are gone through one by one.
LOOKS_AT_ONCE = 200
AHEAD_SECONDS = 5.0

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

    `cut`: there is more at its top than the helper tells. `too_full`, `too_deep`: the directories at its top of which
    the helper does not tell all.
    """

    entries: tuple[Uploaded, ...]
    writing: tuple[str, ...]
    cut: bool
    too_full: tuple[str, ...] = ()
    too_deep: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AccountsMade:
    """What became of a list of accounts: by name, and those that were refused with their errors.

    `ended`: sessions of removed accounts that were ended; `damaged`: accounts that stay, whose home is not as it should
    be and could not be mended.
    """

    made: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int
    refused: tuple[tuple[str, HostError], ...]
    ended: int
    damaged: tuple[tuple[str, HostError], ...] = ()


@dataclass(frozen=True, slots=True)
class Claimed:
    """What came of a claim.

    `odd`: what was moved aside, being no plain file or directory with one name; the display form of its path in what
    was claimed, by its name in `claimed_aside`. `ended`: sessions that were ended because they still held a file of it.
    """

    odd: Mapping[str, str]
    ended: int


@dataclass(frozen=True, slots=True)
class About:
    """What the helper says of its machine. `keys_group`: the number of the group that reads key files.

    `clock_off`: seconds by which its clock is at least ahead of ours, below zero behind; None from an older helper.
    """

    helper: str
    openssh: str
    system: str
    accounts: int
    free_bytes: int
    keys_group: int | None = None
    clock_off: int | None = None


# --- Asking ------------------------------------------------------------------------------------------------------


def ask(
    files: HostFiles, operations: Sequence[dict[str, Any]], timeout: float = PATIENCE
) -> list[dict[str, Any] | HostError]:
    """What the helper answers to each operation: an object, or the error it met there.

    Raises HelperSilent after `timeout` seconds (the request is taken back), BadAnswer, what the helper has against the
    request as a whole, and whatever SFTP meets.
    """
    return Question.put(files, operations).answers(timeout)


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked; its answer may be fetched later, while the helper is at it."""

    files: HostFiles
    number: str
    count: int

    @classmethod
    def put(cls, files: HostFiles, operations: Sequence[dict[str, Any]]) -> Question:
        """Ask the helper. Raises whatever SFTP meets."""
        question = cls(files, number_make(), len(operations))
        told = {"id": question.number, "operations": list(operations)}
        files.write(question._request, json.dumps(told).encode("ascii"))
        return question

    def answers(self, timeout: float) -> list[dict[str, Any] | HostError]:
        """What `ask` returns and raises, from now on waited for."""
        answer = ANSWERS.child(f"{self.number}.json")
        content = _awaited(self.files, answer, time.monotonic() + timeout)
        if content is None:
            with contextlib.suppress(HostError):
                self.files.remove(self._request)
            raise HelperSilent("The helper on the SFTP host does not answer. Look whether its service runs there.")
        return _answers(content, self.number, self.count)

    @property
    def _request(self) -> HostPath:
        return REQUESTS.child(f"{self.number}.json")


def _awaited(files: HostFiles, answer: HostPath, deadline: float) -> bytes | None:
    pause = FIRST_PAUSE
    while True:
        try:
            return files.read(answer, ANSWER_LIMIT)
        except NotThere:
            pass
        except TooLarge:  # of its own file, and not of anything that was asked about
            raise _bad(f"is larger than {ANSWER_LIMIT // 1024**2} MiB, so it was not read") from None
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


def _number(told: object, name: str, most: int) -> int:
    number = _field(told, name, int)
    if not 0 <= number <= most:
        raise _bad(f"has a number in “{name}” that cannot be right")
    return number


def _texts(told: object, name: str) -> tuple[str, ...]:
    return tuple(_an(str, one) for one in _field(told, name, list))


def _one(files: HostFiles, operation: dict[str, Any], timeout: float = PATIENCE) -> dict[str, Any]:
    return _only(ask(files, [operation], timeout))


def _only(answers: list[dict[str, Any] | HostError]) -> dict[str, Any]:
    (answer,) = answers
    if isinstance(answer, HostError):
        raise answer
    return answer


# --- The operations ----------------------------------------------------------------------------------------------


def look(files: HostFiles, account: Username) -> Look:
    """All that lies below an account's upload directory, nothing followed. Raises NotThere."""
    return _look(_one(files, {"op": "look", "account": account}))


def looks(files: HostFiles, accounts: Sequence[Username]) -> Iterator[tuple[Username, Look | HostError]]:
    """`look` at each of many accounts, in any order, some hundred a request; what is one account's trouble is told.

    Raises what `ask` raises.
    """
    waiting = deque(accounts)
    while waiting:
        some = [waiting.popleft() for _ in range(min(LOOKS_AT_ONCE, len(waiting)))]
        answers = ask(files, [{"op": "look", "account": account} for account in some], 2 * PATIENCE)
        for number, (account, answer) in enumerate(zip(some, answers, strict=True)):
            if isinstance(answer, TooLarge) and number:  # the answers before it took all the room
                waiting.append(account)
            else:
                yield account, _look_or_error(answer)


def _look_or_error(answer: dict[str, Any] | HostError) -> Look | HostError:
    try:
        return answer if isinstance(answer, HostError) else _look(answer)
    except BadAnswer as error:
        return error


def _look(told: dict[str, Any]) -> Look:
    entries = tuple(_uploaded(one) for one in _field(told, "entries", list))
    writing = tuple(_path_shown(one) for one in _field(told, "writing", list))
    too_large = (_texts(told, name) if name in told else () for name in ("too_full", "too_deep"))
    return Look(entries, writing, _field(told, "cut", bool), *too_large)


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
    """Take `name` out of an account's upload directory, to `claimed/<number>`. Repeated, it is answered the same."""
    told = _one(files, {"op": "claim", "account": account, "name": name, "number": number}, 10 * PATIENCE)
    odd = {_field(one, "as", str): _path_shown(_field(one, "path", list)) for one in _field(told, "aside", list)}
    return Claimed(odd, _number(told, "ended", COUNT_LIMIT))


def accounts(files: HostFiles, wanted: Iterable[tuple[Username, int]], timeout: float = 10 * PATIENCE) -> AccountsMade:
    """Make the host's accounts these, each with its user number. Raises HelperRefused, `drops-too-many` for one."""
    listed = [{"name": name, "uid": uid} for name, uid in wanted]
    told = _one(files, {"op": "accounts", "accounts": listed}, timeout)
    unchanged, ended = _number(told, "unchanged", COUNT_LIMIT), _number(told, "ended", COUNT_LIMIT)
    damaged = _refusals(told, "damaged") if "damaged" in told else ()
    made, removed = _texts(told, "made"), _texts(told, "removed")
    return AccountsMade(made, removed, unchanged, _refusals(told, "refused"), ended, damaged)


def accounts_same_asked(files: HostFiles, digest: str) -> Question:
    """Ask whether the host has just the accounts of the list with this digest (`list_digest`), all of them whole."""
    return Question.put(files, [{"op": "accounts-same", "digest": digest}])


def accounts_same(question: Question, timeout: float = PATIENCE) -> bool:
    """The answer to `accounts_same_asked`. Raises what `ask` raises; a helper of an older version does not know it."""
    return _field(_only(question.answers(timeout)), "same", bool)


def _refusals(told: dict[str, Any], name: str) -> tuple[tuple[str, HostError], ...]:
    return tuple((_field(one, "name", str), _error(one, "code")) for one in _field(told, name, list))


def rename(files: HostFiles, old: Username, new: Username, uid: int) -> int:
    """Give the account that was once known as `old`, with this user number, the name `new`; may be repeated.

    Returns how many sessions were ended. Raises NotThere (the host has never heard of `old`), AlreadyThere (there are
    files where its home should go) and HelperRefused (`name-of-another`, for one).
    """
    told = _one(files, {"op": "rename", "old": old, "new": new, "uid": uid}, RENAME_PATIENCE)
    return _number(told, "ended", COUNT_LIMIT)


def end(files: HostFiles, account: Username) -> int:
    """End all sessions of an account; returns how many there were."""
    return _number(_one(files, {"op": "end", "account": account}), "ended", COUNT_LIMIT)


def about(files: HostFiles) -> About:
    """What the helper says of its machine. Raises BadAnswer, and what `ask` raises."""
    before = time.time()
    told = _one(files, {"op": "about"})
    after = time.time()
    helper, openssh, system = (shown(_field(told, name, str), TEXT_LIMIT) for name in ("helper", "openssh", "system"))
    keys_group = _number(told, "keys_group", GROUP_LIMIT) if "keys_group" in told else None
    accounts_there, free = _number(told, "accounts", COUNT_LIMIT), _number(told, "free", BYTES_LIMIT)
    clock_off = _clock_off(_number(told, "time", TIME_LIMIT), before, after) if "time" in told else None
    return About(helper, openssh, system, accounts_there, free, keys_group, clock_off)


def _clock_off(told: int, before: float, after: float) -> int:
    """Of a time that was told between two of ours, which may be long: what cannot be due to that alone."""
    return round(max(told - after, 0) or min(told + 1 - before, 0))


# --- Upload directories, as HostFiles asks for them --------------------------------------------------------------


class Uploads:
    """What `RemoteFiles` answers for paths below `homes/<account>/upload`.

    One look at an account answers all questions of the next second: a directory is listed, then those in it.
    """

    def __init__(self, files: HostFiles) -> None:
        self._files = files
        self._looks: dict[Username, tuple[float, Look | HostError]] = {}  # each with the end of its time
        self._lock = threading.Lock()

    def look(self, account: Username) -> Look:
        with self._lock:
            known = self._looks.get(account)
        if known is None or known[0] < time.monotonic():
            found = look(self._files, account)
            self._keep([(account, found)], LOOK_SECONDS)
            return found
        if isinstance(known[1], HostError):
            raise known[1]
        return known[1]

    def look_ahead(self, accounts: Sequence[Username]) -> None:
        """Look at them all now; the questions of the next seconds are answered from it."""
        self._keep(looks(self._files, accounts), AHEAD_SECONDS)

    def _keep(self, found: Iterable[tuple[Username, Look | HostError]], seconds: float) -> None:
        seen = dict(found)
        now = time.monotonic()
        with self._lock:
            self._looks = {one: known for one, known in self._looks.items() if known[0] >= now}
            self._looks |= {account: (now + seconds, one) for account, one in seen.items()}

    def listing(self, path: HostPath) -> tuple[Entry, ...]:
        account, inside = _split(path)
        found = self.look(account)
        if inside and self._entry(found, path, inside).kind is not EntryKind.DIRECTORY:
            raise NotThere.at(shown(path.name, 80))
        if why := _too_large(found, inside):
            raise TooLarge(why)
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


def _too_large(found: Look, inside: tuple[str, ...]) -> str:
    """Why a directory was not told whole, for its district; empty if it was."""
    if found.cut:
        return (
            f"There are more than {ENTRIES_LIMIT:,} files and directories in /upload/ itself, so nothing in it can be "
            "looked at. Please remove what does not belong there."
        )
    if inside[:1] and inside[0] in found.too_deep:
        return (
            f"It holds directories nested more than {DEPTH_LIMIT} levels deep, so it cannot be looked at. "
            "Please remove it, or send it again without them."
        )
    if inside[:1] and inside[0] in found.too_full:
        return (
            f"It is too full to be looked at: together, the directories in /upload/ may hold {ENTRIES_LIMIT:,} files "
            "and directories. Please remove what is not needed, or send it in smaller parts."
        )
    return ""


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
