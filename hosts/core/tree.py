"""What a district sees over SFTP: a root with three places, of which it may change one."""

from __future__ import annotations

from .errors import NotSafe
from .paths import name_bytes, name_text

PLACES = ("upload", "upload-processed", "downloads")
DEPTH_LIMIT = 32
ENTRIES_LIMIT = 20_000  # of /upload/ itself, and of all below it together: more is not looked at

Parts = tuple[str, ...]


def resolve(raw: bytes) -> Parts:
    """The parts below the root of a path as an SFTP client gives it, relative paths being meant from the
    root.

    `.` and `..` are taken away by the text alone, as no link is ever followed; `..` at the root stays there.
    Raises NotSafe for what can be no path of ours.
    """
    parts: list[str] = []
    for piece in raw.split(b"/"):
        if piece == b"..":
            del parts[-1:]
        elif piece not in (b"", b"."):
            parts.append(name_text(piece))
    if len(parts) > DEPTH_LIMIT:
        raise NotSafe(f"A path has at most {DEPTH_LIMIT} parts here.")
    for part in parts:
        name_bytes(part)
    return tuple(parts)


def is_visible(parts: Parts) -> bool:
    """Whether there can be anything at this path for a district."""
    return not parts or parts[0] in PLACES


def is_in_upload(parts: Parts) -> bool:
    """Whether this is /upload or something below it."""
    return parts[:1] == ("upload",)


def is_writable(parts: Parts) -> bool:
    """Whether a district may change what is at this path: only below /upload, and not /upload itself."""
    return len(parts) > 1 and is_in_upload(parts)
