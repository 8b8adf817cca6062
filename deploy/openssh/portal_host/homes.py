"""The homes of accounts: made whole or not at all, mended, and carried over to an account's new name.

All of `homes/` but the upload directories is root's or the portal's, so its names can be trusted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hosts.core.errors import AlreadyThere, HostError
from hosts.core.paths import DOWNLOADS
from hosts.local import rename_exclusive, scanned, tree_empty

from .judging import Account
from .places import Owned, below, directory_make, file_system_sync, own, owned_of, root_directory
from .settings import Host

ROOT_DIRECTORY = Owned(0, 0, 0o755)
BLOCKED = {errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.ENOENT}  # the last: swapped while it was looked at
PLACES = (b"upload", b"upload-processed", *(f"downloads/{name}".encode("ascii") for name in DOWNLOADS), b"downloads")


@contextlib.contextmanager
def homes_directory(host: Host) -> Iterator[int]:
    with root_directory(host.places.tree) as tree, below(tree, b"homes") as homes:
        yield homes


class HomeBlocked(HostError):
    """Something else lies where a directory of a home should be; it is left alone."""

    code = "home-blocked"


class UploadBlocked(HomeBlocked):
    """It lies where the upload directory should be, or the home as a whole: nothing can be uploaded."""

    code = "upload-blocked"


def homes_make(
    host: Host, accounts: Iterable[Account], given_up: Mapping[int, Sequence[str]]
) -> dict[Account, HomeBlocked]:
    """Make the homes that are missing, whole or not at all, and mend owners and modes of those that are there.

    `given_up`: by user number the names an account had before. What still lies under one of them is its home: a
    rename was stopped half-way, and a second home would part its data. Returns those whose home cannot be made.
    """
    made, blocked = False, {}
    with homes_directory(host) as homes:
        for account in accounts:
            try:
                with _of_one_home(account.name):
                    made |= _home_make(host, homes, account, given_up.get(account.uid, ()))
            except HomeBlocked as error:
                blocked[account] = error
        if made:
            file_system_sync(homes)
    return blocked


def homes_are_whole(host: Host, accounts: Iterable[Account]) -> bool:
    """Whether none of these homes is missing or other than `homes_make` leaves it."""
    with homes_directory(host) as homes:
        return all(_is_whole(homes, one.name.encode("ascii"), _places(host, one)) for one in accounts)


def _home_make(host: Host, homes: int, account: Account, before: Sequence[str]) -> bool:
    name = account.name.encode("ascii")
    places = _places(host, account)
    if _is_whole(homes, name, places):
        return False
    if before and not _exists(homes, name):
        # Two homes with something in them are for a person to look at: the first is taken, the other left alone.
        with contextlib.suppress(AlreadyThere):
            home_carry_over(homes, before, account.name)
    try:
        with below(homes, name) as home:
            _home_fill(home, places)
            return False
    except FileNotFoundError:
        pass
    temporary = f".new-{account.uid}".encode("ascii")
    directory_make(homes, temporary, ROOT_DIRECTORY)
    with below(homes, temporary) as home:
        tree_empty(home)
        _home_fill(home, places)
    rename_exclusive(homes, temporary, homes, name)
    return True


def _places(host: Host, account: Account) -> list[tuple[bytes, Owned]]:
    """The places of one home. Only `upload` is the district's own, so only there it can change anything."""
    portals = Owned(host.portal.uid, account.uid, 0o2750)
    kept = [(f"downloads/{name}".encode("ascii"), portals) for name in DOWNLOADS]
    own_place = (b"upload", Owned(account.uid, account.uid, 0o700))
    return [(b".", ROOT_DIRECTORY), own_place, (b"upload-processed", portals), (b"downloads", portals), *kept]


def _is_whole(homes: int, name: bytes, places: Iterable[tuple[bytes, Owned]]) -> bool:
    """A quick look, the same for 13,000 homes that are as they should be."""
    try:
        for place, owned in places:
            status = os.stat(name + b"/" + place, dir_fd=homes, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode) or owned_of(status) != owned:
                return False
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _home_fill(home: int, places: Iterable[tuple[bytes, Owned]]) -> None:
    own(home, ROOT_DIRECTORY)
    for place, owned in places:
        *above, name = place.split(b"/")
        if name != b".":
            with _of_one_home(place.decode("ascii")), below(home, *above) as directory:
                directory_make(directory, name, owned)


@contextlib.contextmanager
def _of_one_home(what: str) -> Iterator[None]:
    """Raises HomeBlocked for what is in the way in one home; a full disk, say, is everybody's trouble."""
    try:
        yield
    except OSError as error:
        if error.errno not in BLOCKED:
            raise
        kind = HomeBlocked if what.startswith(("upload-processed", "downloads")) else UploadBlocked
        raise kind(
            f"Something lies in its home on the host where the directory “{what}” should be. Remove it there; "
            "the directory is made with the next list of accounts."
        ) from error


def home_carry_over(homes: int, before: Iterable[str], new: str) -> None:
    """Give the home that lies under one of the names of before its new name. Nothing if that was done already.

    Of two homes a bare one gives way. Raises AlreadyThere if both hold anything: neither is touched.
    """
    target = new.encode("ascii")
    for name in (one.encode("ascii") for one in before):
        if not _exists(homes, name):
            continue
        if _exists(homes, target):
            if _is_bare(homes, name):
                _bare_remove(homes, name)
                continue
            _give_way(homes, new)
        rename_exclusive(homes, name, homes, target)
        os.fsync(homes)


def home_place_clear(homes: int, before: Iterable[str], new: str, *, is_own: bool) -> None:
    """Make sure that the home that lies under one of the names of before can have its new name.

    A bare one that is there gives way. Raises AlreadyThere if it holds anything, unless it is the account's own: it had
    this name before (`is_own`), and its home has not left it or holds all there is.
    """
    others = [name for name in (one.encode("ascii") for one in before) if _exists(homes, name)]
    target = new.encode("ascii")
    if is_own and _exists(homes, target):
        is_all = not _is_bare(homes, target) and all(_is_bare(homes, name) for name in others)
        if is_all or not others:
            return
    _give_way(homes, new)


def _give_way(homes: int, name: str) -> None:
    """Remove a home directory by directory, each only if it is empty. AlreadyThere if it holds anything: it stays."""
    raw = name.encode("ascii")
    if _exists(homes, raw):
        if not _is_bare(homes, raw):
            raise _already_there(name)
        _bare_remove(homes, raw)


def _exists(homes: int, name: bytes) -> bool:
    try:
        os.lstat(name, dir_fd=homes)
    except FileNotFoundError:
        return False
    return True


def _is_bare(homes: int, name: bytes) -> bool:
    """Whether nothing is in it but the places that every home has; some may be missing."""
    with below(homes, name) as home:
        return _has_only(home, b"", {place.split(b"/")[0] for place in PLACES}) and all(
            _has_only(home, place, {one.split(b"/")[1] for one in PLACES if one.startswith(place + b"/")})
            for place in PLACES
        )


def _has_only(home: int, place: bytes, names: set[bytes]) -> bool:
    """Whether this place of a home is missing, or a directory with nothing in it but directories of these names."""
    try:
        with below(home, *filter(None, place.split(b"/"))) as directory:
            found = list(scanned(directory))
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in BLOCKED:
            raise
        return False
    return all(entry in names and stat.S_ISDIR(status.st_mode) for entry, status in found)


def _bare_remove(homes: int, name: bytes) -> None:
    try:
        for place in (*(name + b"/" + place for place in PLACES), name):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(place, dir_fd=homes)
    except OSError as error:
        # Somebody was quicker and has put something in; what is missing now is made again with the next list.
        raise _already_there(os.fsdecode(name)) from error
    os.fsync(homes)


def _already_there(name: str) -> AlreadyThere:
    return AlreadyThere(f"The SFTP account “{name}” already has files on the host.")
