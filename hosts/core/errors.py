"""What can go wrong on an SFTP host, as one tree.

Foreign errors are translated into it once, where the host is touched.
"""

from __future__ import annotations

from typing import Self


class HostError(Exception):
    """Something on an SFTP host did not work.

    `code` is a stable slug, `message` a sentence for a person, `retry` says whether the same request may work
    later without anybody changing anything.
    """

    code = "host-error"
    retry = False
    about = "The host failed at “{name}”."

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @classmethod
    def at(cls, name: str) -> Self:
        """This error met at something; `name` in its display form."""
        return cls(cls.about.format(name=name))


class NotThere(HostError):
    """The file or directory, or a directory on the way to it, does not exist."""

    code = "not-there"
    about = "“{name}” is not on the host."


class AlreadyThere(HostError):
    """The new name is taken; nothing was overwritten."""

    code = "already-there"
    about = "“{name}” is already on the host."


class NotEmpty(HostError):
    """The directory still holds something; it was not removed."""

    code = "not-empty"
    about = "The directory “{name}” is not empty."


class Refused(HostError):
    """The host does not permit it (rights, or a read-only file system)."""

    code = "refused"
    about = "The host does not permit this for “{name}”."


class NotSafe(HostError):
    """A name, a link or an odd file that we do not touch, whoever asks."""

    code = "not-safe"
    about = "“{name}” is a link, or not an ordinary file or directory; it is left alone."


class TooLarge(HostError):
    """The file holds more than the caller is ready to take."""

    code = "too-large"


class Full(HostError):
    """No space, no quota or no file number left on the host."""

    code = "full"
    about = "The host has no room for “{name}”: its disk, quota or file table is full."
    retry = True


class HostDown(HostError):
    """The host, or the directory it lives in, cannot be reached at the moment."""

    code = "host-down"
    about = "The host's disk does not answer."
    retry = True


class HostFault(HostError):
    """The host answered with an error that has no name of its own here."""

    code = "host-fault"
    retry = True


class BadAnswer(HostFault):
    """The host sent what the protocol does not allow; nothing more is read of that connection."""

    code = "bad-answer"

    @classmethod
    def of(cls, what: str) -> Self:
        """This error for something that was sent, as the end of a sentence."""
        return cls(f"The host's SFTP server sent {what}; the connection was given up.")


class NoAtomicRename(HostFault):
    """The host's SFTP server cannot replace a file in one step, so nothing is written to it at all."""

    code = "no-atomic-rename"
    retry = False


class SignInRefused(HostError):
    """The host does not let the portal itself in."""

    code = "sign-in-refused"


class HostKeyUnknown(HostError):
    """Nobody has confirmed yet that the host is the one that was meant."""

    code = "host-key-unknown"


class HostKeyChanged(HostError):
    """The host showed another key than the confirmed one; nothing was sent to it."""

    code = "host-key-changed"


class HostStopped(HostError):
    """The host was stopped, and stays so until a person has looked."""

    code = "host-stopped"
