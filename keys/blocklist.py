"""The operator's blocklist of known keys, if there is one: two files of badkeys in a directory of the settings."""

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings

from .core.blocklist import RECORD_BYTES, Blocklist

RECORDS_NAME, NAMES_NAME = "blocklist.dat", "badkeysdata.json"
_FORMAT = 0


@dataclass(frozen=True, slots=True)
class BlocklistState:
    """What an operator should know: is there a list, of how many keys, made when, and why it cannot be used."""

    is_there: bool
    records: int = 0
    made: date | None = None
    problem: str = ""


def blocklist() -> Blocklist | None:
    """The list as it is now; None if there is none or it cannot be used. Read again when its files change."""
    return _now()[1]


def blocklist_state() -> BlocklistState:
    """What there is to say about the list as it is now. Never raises."""
    return _now()[0]


class _Unusable(Exception):
    """The sentence says why."""


@dataclass(frozen=True, slots=True)
class _Records:
    """Read from the open file, not mapped: a file that is cut short under a map would end the process."""

    file: BinaryIO
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, at: int) -> bytes:
        return os.pread(self.file.fileno(), RECORD_BYTES, at * RECORD_BYTES)


def _now() -> tuple[BlocklistState, Blocklist | None]:
    directory = Path(settings.BADKEYS_BLOCKLIST_DIR)
    return _loaded(directory, _stamp(directory / RECORDS_NAME), _stamp(directory / NAMES_NAME))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


@functools.lru_cache(maxsize=1)
def _loaded(directory: Path, *stamps: tuple[int, int, int] | None) -> tuple[BlocklistState, Blocklist | None]:
    if not any(stamps):
        return BlocklistState(is_there=False), None
    try:
        names, about = _about(directory / NAMES_NAME)
        records = _checked_records(directory / RECORDS_NAME, about.get("blocklist_sha256"))
    except OSError as error:
        missing = Path(error.filename or RECORDS_NAME).name
        return BlocklistState(is_there=True, problem=f"{missing} cannot be read: {error.strerror}."), None
    except _Unusable as error:
        return BlocklistState(is_there=True, problem=str(error)), None
    return BlocklistState(True, len(records), _date(about.get("date"))), Blocklist(records, names)


def _about(path: Path) -> tuple[dict[int, str], dict[str, Any]]:
    """The names of the lists by their number, and all that the file says."""
    try:
        about = json.loads(path.read_bytes())
        names = {int(one["id"]): str(one["name"]) for one in about["blocklists"]}
    except (ValueError, KeyError, TypeError):
        raise _Unusable(f"{NAMES_NAME} is not what badkeys writes. Get both files again.") from None
    if about.get("bkformat") != _FORMAT:
        raise _Unusable(f"{NAMES_NAME} is of a form that is not known here (bkformat is not {_FORMAT}).")
    return names, about


def _checked_records(path: Path, sha256: object) -> _Records:
    """The records, once their file is known to be whole."""
    file = path.open("rb")
    count, rest = divmod(os.fstat(file.fileno()).st_size, RECORD_BYTES)
    if rest or not count:
        raise _Unusable(
            f"{RECORDS_NAME} is not whole: its size is no multiple of {RECORD_BYTES} bytes, or it is empty."
        )
    if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
        raise _Unusable(f"{RECORDS_NAME} does not belong to {NAMES_NAME}, or is not whole. Get both files again.")
    return _Records(file, count)


def _date(written: object) -> date | None:
    try:
        return date.fromisoformat(str(written))
    except ValueError:
        return None
