"""What can go wrong on an SFTP host, as one tree.

Foreign errors are translated into it once, where the host is touched.
"""

from __future__ import annotations


class HostError(Exception):
    """Something on an SFTP host did not work.

    `code` is a stable slug, `message` a sentence for a person, `retry` says whether the same request may work
    later without anybody changing anything.
    """

    code = "host-error"
    retry = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class NotThere(HostError):
    """The file or directory, or a directory on the way to it, does not exist."""

    code = "not-there"


class AlreadyThere(HostError):
    """The new name is taken; nothing was overwritten."""

    code = "already-there"


class NotEmpty(HostError):
    """The directory still holds something; it was not removed."""

    code = "not-empty"


class Refused(HostError):
    """The host does not permit it (rights, or a read-only file system)."""

    code = "refused"


class NotSafe(HostError):
    """A name, a link or an odd file that we do not touch, whoever asks."""

    code = "not-safe"


class TooLarge(HostError):
    """The file holds more than the caller is ready to take."""

    code = "too-large"


class Full(HostError):
    """No space, no quota or no file number left on the host."""

    code = "full"
    retry = True


class HostDown(HostError):
    """The host, or the directory it lives in, cannot be reached at the moment."""

    code = "host-down"
    retry = True


class HostFault(HostError):
    """The host answered with an error that has no name of its own here."""

    code = "host-fault"
    retry = True
