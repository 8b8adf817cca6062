"""The places an SFTP account needs on its host: made, and given another user name.

Every call may be repeated.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence

from . import helper
from .core.errors import AlreadyThere, HostError, NotEmpty, NotThere
from .core.paths import (
    DOWNLOADS,
    HostPath,
    Username,
    claimed_directory,
    downloads,
    home,
    keys_directory,
    processed,
    upload,
)
from .files import HostFiles
from .models import Host


def home_make(files: HostFiles, account: Username) -> None:
    """Make the account's home with `/upload`, `/upload-processed` and `/downloads`, and the host's own
    places."""
    for place in (keys_directory(), claimed_directory(), *_places(account)):
        files.make_directory(place)


def accounts_tell(files: HostFiles, host: Host, wished: Sequence[tuple[Username, int]]) -> dict[str, HostError]:
    """Have a host of its own make just these accounts, each with its user number; nothing if it has been told them.

    Returns those it would not make, by name: the others are there. Raises HelperRefused if its helper will not do it
    at all (`drops-too-many`, for one), and whatever SFTP meets.
    """
    digest = hashlib.sha256(repr(wished).encode("utf-8")).hexdigest()
    if host.accounts_digest == digest:
        return {}
    refused = dict(helper.accounts(files, wished).refused)
    if not refused:
        host.accounts_digest = digest
        Host.objects.filter(pk=host.pk).update(accounts_digest=digest)
    return refused


def home_rename(files: HostFiles, old: Username, new: Username) -> None:
    """Give a home its new user name. Nobody may sign in with the old one any more: the caller has seen to it.

    A home of the new name gives way if it is bare (made too early). Raises AlreadyThere if it holds anything.
    """
    if old != new and files.stat(home(old)) is not None:
        _bare_home_remove(files, new)
        # Lost to another run of this same rename: then the new home is there, as wanted.
        with contextlib.suppress(NotThere):
            files.rename(home(old), home(new))
    home_make(files, new)


def _places(account: Username) -> tuple[HostPath, ...]:
    kept = downloads(account)
    return (upload(account), processed(account), *(kept.child(name) for name in DOWNLOADS))


def _bare_home_remove(files: HostFiles, account: Username) -> None:
    """Remove a home directory by directory, each only if it is empty: nothing can be lost, whoever writes
    meanwhile."""
    try:
        for place in (*_places(account), downloads(account), home(account)):
            with contextlib.suppress(NotThere):
                files.remove(place)
    except NotEmpty:
        raise AlreadyThere(f"The SFTP account “{account}” already has files on the host.") from None
