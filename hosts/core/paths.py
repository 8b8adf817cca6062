"""Every path safety rule of the portal, in one place.

A path on a host is a `HostPath`: a tuple of checked parts below the host's root. Nobody joins strings. Names
come as text; bytes of a file name that are not UTF-8 are carried as surrogates (PEP 383), so that each name
has exactly one form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NewType

from .errors import NotSafe

Username = NewType("Username", str)

USERNAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")
NAME_LIMIT = 255  # bytes: NAME_MAX of every file system we know
DOWNLOADS = ("backups", "docviewer", "pdfs")


def username(text: str) -> Username:
    """The SFTP user name `text`: a district's domain, lower case.

    Raises NotSafe when it is not one. User names become file names on the host, hence the strict rule.
    """
    if USERNAME.fullmatch(text) is None or ".." in text or text.endswith("."):
        raise NotSafe(
            f"“{shown(text, 80)}” is not a valid SFTP user name. Use the district's domain in lower case: "
            "letters, digits, single dots and hyphens."
        )
    return Username(text)


def name_bytes(name: str) -> bytes:
    """The bytes of one file name.

    Raises NotSafe for a name that is none: empty, dots, slash, NUL, too long.
    """
    try:
        raw = name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise NotSafe(f"“{shown(name, 80)}” is not a file name.") from None
    if name in ("", ".", "..") or b"/" in raw or b"\0" in raw:
        raise NotSafe(f"“{shown(name, 80)}” is not a file name.")
    if len(raw) > NAME_LIMIT:
        raise NotSafe(f"The file name “{shown(name, 80)}” is longer than {NAME_LIMIT} bytes.")
    return raw


def name_text(raw: bytes) -> str:
    """The name a host gave as bytes, as text that `name_bytes` turns into the same bytes again."""
    return raw.decode("utf-8", "surrogateescape")


def shown(name: str, limit: int = 0) -> str:
    """`name` fit to be displayed or logged: control characters, undecodable bytes and the backslash are
    escaped.

    No two names have the same form, unless `limit` (characters, 0 for none) cuts them.
    """
    text = "".join(_shown_character(character) for character in name)
    return text[:limit] + "…" if limit and len(text) > limit else text


def _shown_character(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if character == " " or character.isprintable():
        return character
    return f"\\u{{{code:x}}}"


@dataclass(frozen=True, slots=True)
class HostPath:
    """A place on a host: checked parts below its root. `HostPath()` is the root itself."""

    parts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for part in self.parts:
            name_bytes(part)

    def child(self, name: str) -> HostPath:
        """The entry `name` in this directory. Raises NotSafe for anything but one plain name."""
        return HostPath((*self.parts, name))

    @property
    def parent(self) -> HostPath:
        return HostPath(self.parts[:-1])

    @property
    def name(self) -> str:
        """The last part; empty for the root."""
        return self.parts[-1] if self.parts else ""

    def __str__(self) -> str:
        return "/".join(shown(part) for part in self.parts)


def keys_directory() -> HostPath:
    return HostPath(("keys",))


def key_file(account: Username) -> HostPath:
    """The account's pushed authorized_keys file."""
    return keys_directory().child(username(account))


def home(account: Username) -> HostPath:
    return HostPath(("homes", username(account)))


def upload(account: Username) -> HostPath:
    return home(account).child("upload")


def processed(account: Username) -> HostPath:
    return home(account).child("upload-processed")


def downloads(account: Username) -> HostPath:
    return home(account).child("downloads")


def claimed_directory() -> HostPath:
    return HostPath(("claimed",))


def claimed(number: int) -> HostPath:
    """Where epoch `number` lies between being claimed and being archived; never visible over SFTP."""
    if number < 1:
        raise NotSafe("A claimed epoch has a number from 1 up.")
    return claimed_directory().child(str(number))


def claimed_aside(number: int) -> HostPath:
    """Where an OpenSSH host puts the links, pipes and the like that it finds in epoch `number` as it is claimed."""
    return claimed_directory().child(f"{claimed(number).name}.odd")


def open_writes(account: Username) -> HostPath:
    """The list of the account's files that are open for writing, kept by the SFTP server."""
    return HostPath(("open", username(account)))
