"""Keys that were offered and that no file holds, as the key command noted them: read with care, and taken away.

Their directory belongs to the key command's own user, so what lies there is looked at as a stranger's.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import stat
import time

from hosts.core.keyfile import ALGORITHMS
from hosts.core.signin import fingerprint
from hosts.local import DIRECTORY_FLAGS, file_open, scanned

from .places import closing
from .settings import Places

SIZE_LIMIT = 8192
KEPT_SECONDS = 3600.0


def key_taken(places: Places, wanted: str) -> str:
    """The noted key `algorithm base64` of this fingerprint, and its note removed; empty if there is none."""
    name = wanted.removeprefix("SHA256:").replace("/", "_").encode("ascii")
    with contextlib.suppress(OSError), closing(_directory(places)) as directory:
        with os.fdopen(file_open(directory, name, os.O_RDONLY), "rb") as file:
            line = file.read(SIZE_LIMIT)
        key = _key(line)
        if key and fingerprint(binascii.a2b_base64(key.split(" ")[1])) == wanted:
            os.unlink(name, dir_fd=directory)
            return key
    return ""


def offers_tidy(places: Places, now: float | None = None) -> int:
    """Remove notes nobody came for, and whatever else lies there; returns how many."""
    oldest, removed = (time.time() if now is None else now) - KEPT_SECONDS, 0
    with contextlib.suppress(OSError), closing(_directory(places)) as directory:
        for name, status in list(scanned(directory)):
            if status.st_mtime < oldest and not stat.S_ISDIR(status.st_mode):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)
                    removed += 1
    return removed


def _directory(places: Places) -> int:
    return os.open(places.state / "offers", DIRECTORY_FLAGS)


def _key(line: bytes) -> str:
    """The key of a note; empty if it is none, or not whole yet."""
    algorithm, _, rest = line.decode("ascii", "replace").partition(" ")
    blob = rest.removesuffix("\n")
    if algorithm not in ALGORITHMS or blob == rest:
        return ""
    try:
        binascii.a2b_base64(blob.encode("ascii"), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        return ""
    return f"{algorithm} {blob}"
