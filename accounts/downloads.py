"""What lies in a district's /downloads/ on its host, and one file of it for a person who fetches it in a browser.

A file is asked for by the number that a listing gave it, never by a path: whatever is asked, only what a listing finds
at that moment is opened, and no listing follows a link.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from django.db import transaction
from django.template.defaultfilters import filesizeformat
from django.utils.crypto import salted_hmac

from hosts.connect import files_for
from hosts.core.errors import HostError, NotThere
from hosts.core.paths import HostPath, downloads, shown, username
from hosts.files import Entry, EntryKind, HostFiles, is_temporary

from . import audit, notices
from .core.shelf import Folder, Lying, folders_of
from .models import District, SftpAccount, User

# More than that is not looked at; whoever has more fetches it over SFTP.
MOST_FILES, MOST_DIRECTORIES, DEEPEST = 1000, 200, 6


@dataclass(frozen=True, slots=True)
class Shelf:
    """What was found; `is_cut`: there is more than a page shows. `trouble`: why the host could not be looked at."""

    folders: tuple[Folder, ...] = ()
    is_cut: bool = False
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One file opened for reading, and its name made fit to be shown."""

    lying: Lying
    name: str
    file: BinaryIO


def shelf_of(account: SftpAccount) -> Shelf:
    """What lies in the account's /downloads/ now; links and what is still being written are left out."""
    walk = _Walk(files_for(account.host), downloads(username(account.username)))
    try:
        lying = list(walk.files())
    except HostError as error:
        return Shelf(trouble=error.message)
    return Shelf(folders_of(walk.folders, lying), walk.is_cut)


def number_of(account: SftpAccount, place: tuple[str, ...]) -> str:
    """What stands for a file in an address: nobody reads a name out of it, and it is another one in each account."""
    return salted_hmac("accounts.downloads", f"{account.pk}\0" + repr(place), algorithm="sha256").hexdigest()[:32]


def download_open(account: SftpAccount, number: str) -> Fetched | None:
    """The file that has this number in a listing made now, opened; None if there is none. Raises HostError."""
    files, root = files_for(account.host), downloads(username(account.username))
    found = next((one for one in _Walk(files, root).files() if number_of(account, one.place) == number), None)
    if found is None:
        return None
    try:
        return Fetched(found, shown(found.place[-1]), files.open_read(_path(root, found.place)))
    except NotThere:
        return None


@transaction.atomic
def download_note(district: District, fetched: Fetched, *, actor: User, address: str) -> None:
    """Writes down that a file goes out, and tells the district's administrators. Its name may be a student's."""
    folder, lying = f"/downloads/{fetched.lying.folder}".rstrip("/") + "/", fetched.lying
    changed = datetime.fromtimestamp(lying.modified, UTC)
    details = {
        "file": number_of(district.sftp_account, lying.place),
        "bytes": lying.size,
        "changed": changed.isoformat(),
        "address": address,
    }
    entry = audit.record("download fetched", actor=actor, district=district, subject=folder, details=details)
    told = {"actor": actor, "folder": folder, "size": filesizeformat(lying.size), "changed": changed}
    notices.notice_send(
        "download-fetched",
        notices.administrators_of(district),
        {**told, "at": entry.at, "address": address},
        about=f"download-{entry.number}",
        district=district,
    )


def _path(root: HostPath, place: tuple[str, ...]) -> HostPath:
    return HostPath((*root.parts, *place))


class _Walk:
    """One look through all below a directory, directory by directory, within limits."""

    def __init__(self, files: HostFiles, root: HostPath) -> None:
        self._files, self._root = files, root
        self.folders: list[str] = []
        self.is_cut = False

    def files(self) -> Iterator[Lying]:
        """Every ordinary file that is finished. Raises HostError if the host cannot be looked at."""
        waiting, looked, count = deque[tuple[str, ...]]([()]), 0, 0
        while waiting:
            if looked == MOST_DIRECTORIES:
                self.is_cut = True
                return
            here, looked = waiting.popleft(), looked + 1
            for entry in self._listing(here):
                place = (*here, entry.name)
                if entry.kind is EntryKind.DIRECTORY:
                    self._enter(place, waiting)
                elif entry.kind is EntryKind.FILE and not is_temporary(entry.name):
                    if count == MOST_FILES:
                        self.is_cut = True
                        return
                    count += 1
                    yield Lying(place, entry.size, entry.modified)

    def _enter(self, place: tuple[str, ...], waiting: deque[tuple[str, ...]]) -> None:
        if len(place) == 1:
            self.folders.append(place[0])
        if len(place) < DEEPEST:
            waiting.append(place)
        else:
            self.is_cut = True

    def _listing(self, here: tuple[str, ...]) -> tuple[Entry, ...]:
        """Empty for a directory that is not there (yet, or any more)."""
        try:
            return self._files.listing(_path(self._root, here))
        except NotThere:
            return ()
