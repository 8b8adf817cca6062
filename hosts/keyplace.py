"""What makes a key file on a host one that is read at a sign-in: who owns it, whose group it is, who may read it.

On a machine of its own sshd's key command reads the files as another user, by way of their group. That group is the
directory's, which hands it on to each new file. Whoever restores a backup or changes a group there shuts districts out,
though every file still says what it should.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from . import helper
from .condition import condition_note
from .core.errors import HostError, Refused
from .core.paths import HostPath, keys_directory
from .files import Entry, FileRead, HostFiles
from .models import Host

_SHUT = (
    "The SFTP host cannot read its key files, so nobody can sign in there: the directory “keys” has lost its group or "
    "its permissions. Somebody has to run install.sh on that machine again, and look whether sftp-portal-helper runs."
)

_GONE = (
    "The directory “keys” is gone from the SFTP host, so nobody can sign in there. Its sftp-portal-helper makes it "
    "anew within seconds: look whether it runs there, or run install.sh on that machine again."
)


class KeysShut(HostError):
    """sshd's key command cannot reach the key files, and the helper there has not mended it."""

    code = "keys-shut"
    retry = True


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """How a key file has to stand: owner and group by number (None: any), bits it must have, and must not have."""

    owner: int | None = None
    group: int | None = None
    needs: int = stat.S_IRUSR
    forbids: int = 0

    def is_sound(self, found: Entry | FileRead) -> bool:
        """Whether whoever serves sign-ins can read this file, and nobody but its owner can write it."""
        is_ours = self.owner in (None, found.owner) and self.group in (None, found.group)
        return is_ours and found.mode & self.needs == self.needs and not found.mode & self.forbids


# On a machine of its own.
_BY_GROUP = KeyPlace(needs=stat.S_IRUSR | stat.S_IRGRP, forbids=stat.S_IWGRP | stat.S_IWOTH)
_ENTERED = stat.S_IRWXU | stat.S_IRGRP | stat.S_IXGRP | stat.S_ISGID
_DIRECTORY = replace(_BY_GROUP, needs=_ENTERED)


def key_place(host: Host, files: HostFiles, *, wakes: bool = True) -> KeyPlace:
    """What holds for key files on this host. If their directory is gone, or has lost its group or mode, the helper
    there is woken (unless nothing may be written) and mends it first.

    Raises KeysShut if it does not, and whatever SFTP meets.
    """
    if host.kind == Host.Kind.EMBEDDED:
        return KeyPlace()
    directory = files.stat(keys_directory())
    if directory is None or not _is_open(host, directory):
        if wakes:
            _helper_wake(host, files)
            directory = files.stat(keys_directory())
        if directory is None:
            raise KeysShut(_GONE)
        if not _is_open(host, directory):
            raise KeysShut(_SHUT)
    # A helper of an older version does not tell the group.
    group = directory.group if directory.mode & stat.S_ISGID else None
    return replace(_BY_GROUP, owner=directory.owner, group=group)


def _is_open(host: Host, directory: Entry) -> bool:
    """Whether sshd's key command can reach what is in the directory, as far as the helper has told its group."""
    return host.keys_group is None or replace(_DIRECTORY, group=host.keys_group).is_sound(directory)


def _helper_wake(host: Host, files: HostFiles) -> None:
    """Ask the helper something: it looks after the directory before it answers, and tells which group is right."""
    with contextlib.suppress(HostError):
        about = helper.about(files)
        condition_note(host.pk, about)
        host.keys_group = about.keys_group


def read_ours(
    files: HostFiles, paths: Iterable[HostPath], limit: int
) -> Iterator[tuple[HostPath, FileRead | HostError]]:
    """Read each as `read_many` does, and also files of ours that nobody may read any more: they are opened up for us.

    What was read of such a file tells the mode 0, as it was found; it lets nobody in until it is written anew.
    """
    shut: dict[HostPath, HostError] = {}
    for path, found in files.read_many(paths, limit):
        if isinstance(found, Refused):
            shut[path] = found
        else:
            yield path, found
    opened = []
    for path, error in files.open_up(shut):
        if error is None:
            opened.append(path)
        else:
            yield path, shut[path]
    for path, found in files.read_many(opened, limit):
        yield path, replace(found, mode=0) if isinstance(found, FileRead) else found
