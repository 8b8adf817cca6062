"""What sshd said, out of the forms in which logs keep it: journald's JSON, syslog's and journalctl's lines.

sshd escapes whatever a client sent before it gives a message to syslog (vis(3): a line end becomes `\\n`), so a message
is one line there. With `sshd -E FILE` it does not, and a user name may hold whole forged lines: that form can only be
read with the word of the caller that nobody hostile could reach that sshd.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

# sshd has been three programs since 9.8 and 10.0.
PROGRAMS = frozenset({"sshd", "sshd-session", "sshd-auth"})
MESSAGE_LIMIT = 4096  # characters; sshd itself stops at about 1,000 before escaping
RECORD_LIMIT = 64 * 1024  # bytes
_SYSTEM_PLACES = ("/usr/sbin/", "/usr/lib/openssh/", "/usr/lib/ssh/", "/usr/libexec/", "/sbin/")
_STAMPED = re.compile(
    r"(?P<at>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.,]+(?:Z|[+-][0-9:]{4,5})) "
    r"(?P<host>\S+) (?P<program>sshd|sshd-session|sshd-auth)\[(?P<pid>[0-9]{1,10})\]: (?P<message>.*)",
    re.ASCII,
)
_OCTAL = re.compile(r"\\(?:([0-7]{3})|(.))", re.DOTALL)
_LETTERS = {"n": 10, "t": 9, "r": 13, "a": 7, "b": 8, "v": 11, "f": 12, "s": 32, "0": 0, "\\": 92}
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Line:
    """One message of one sshd process.

    `at` is aware; `uid` is the process's user, None where the log does not tell; `place` whatever finds the line again.
    """

    at: datetime
    pid: int
    message: str
    uid: int | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """An entry of the journal: where it stands, and what sshd said in it, if it was sshd who said it."""

    cursor: str
    line: Line | None


LineReader = Callable[[bytes], Line | None]


def journal_record(raw: bytes) -> Record | None:
    """One line of `journalctl -o json`; None if it is not one.

    Who said it is told by what the kernel told journald of the sender, not by what the sender says of itself. Only
    for a process that had ended before journald looked, its program is not known: then root's word is taken.
    """
    try:
        data = json.loads(raw) if len(raw) <= RECORD_LIMIT else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(data, dict) or not isinstance(data.get("__CURSOR"), str):
        return None
    return Record(data["__CURSOR"], _journal_line(data))


def _journal_line(data: dict[str, object]) -> Line | None:
    message, pid, uid = data.get("MESSAGE"), _number(data.get("_PID")), _number(data.get("_UID"))
    moment = _number(data.get("__REALTIME_TIMESTAMP"))
    if not isinstance(message, str) or pid is None or uid is None or moment is None:
        return None
    if data.get("SYSLOG_IDENTIFIER") not in PROGRAMS or not _is_sshd(data.get("_EXE"), data.get("_COMM"), uid):
        return None
    at = datetime.fromtimestamp(moment // 1_000_000, UTC) + timedelta(microseconds=moment % 1_000_000)
    return Line(at, pid, message[:MESSAGE_LIMIT], uid, str(data["__CURSOR"]))


def _is_sshd(path: object, name: object, uid: int) -> bool:
    if isinstance(path, str):
        folder, _, program = path.rpartition("/")
        return f"{folder}/" in _SYSTEM_PLACES and program in PROGRAMS
    return uid == 0 and (name is None or name in PROGRAMS)


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20 else None


def stamped_line(raw: bytes, now: datetime) -> Line | None:
    """A line of syslog's file or of `journalctl -o short-iso`; None if sshd did not say it.

    `now` is aware, in the host's time zone: the old form has neither year nor zone. Whoever may write to the syslog of
    the host can say what he likes here, so this is for hosts where only root and SFTP-only accounts live.
    """
    found = _STAMPED.fullmatch(raw.rstrip(b"\r\n")[:RECORD_LIMIT].decode("utf-8", "replace"))
    if found is None:
        return None
    try:
        at = _moment(found["at"], now)
    except ValueError:
        return None
    return Line(at, int(found["pid"]), found["message"][:MESSAGE_LIMIT])


def _moment(text: str, now: datetime) -> datetime:
    if text[0].isdigit():
        return datetime.fromisoformat(text).astimezone(UTC)
    assert now.tzinfo is not None
    return _year_found(text, now, now.tzinfo).astimezone(UTC)


def _year_found(text: str, now: datetime, zone: tzinfo) -> datetime:
    """The latest such moment that is not in the future, but for a day's difference of clocks."""
    for year in (now.year + 1, now.year, now.year - 1):
        try:
            at = datetime.strptime(f"{year} {text}", "%Y %b %d %H:%M:%S").replace(tzinfo=zone)
        except ValueError:  # 29 February
            continue
        if at <= now + _DAY:
            return at
    raise ValueError("no such day")


def plain_line(raw: bytes, at: datetime) -> Line:
    """A line of `sshd -E FILE`, which tells neither time nor process. See the module's word on trust."""
    return Line(at, 0, raw.rstrip(b"\r\n")[:MESSAGE_LIMIT].decode("utf-8", "replace"))


def unescaped(text: str) -> bytes:
    """The bytes that sshd's escaping stands for: `\\n` and the like, three octal digits, a doubled backslash."""
    return _OCTAL.sub(_unescaped_one, text).encode("latin-1", "replace")


def _unescaped_one(found: re.Match[str]) -> str:
    if found[1]:
        return chr(int(found[1], 8) & 0xFF)
    return chr(_LETTERS[found[2]]) if found[2] in _LETTERS else found[0]
