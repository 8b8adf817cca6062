"""Claiming: an upload leaves its district's reach and becomes the portal's.

It is renamed into a directory that only root can enter (`claiming/<number>/epoch`), made the portal's there, and
renamed to `claimed/<number>` when all is done. Links, FIFOs, devices and files with a second name are moved aside to
`claimed/<number>.odd` and never get another owner: a second name could be anything. Each step is written down, so that
after a crash the same request goes on, and after the end it gives the same answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum

from hosts.core.errors import AlreadyThere, HostFault, NotSafe, TooLarge
from hosts.core.paths import name_bytes, name_text, shown
from hosts.core.tree import DEPTH_LIMIT
from hosts.local import directory_open, entry_of, file_open, rename_exclusive, scanned

from .places import Owned, below, closing, content_of, directory_make, own, publish, root_directory
from .processes import File, end, open_files, process_of, processes_of
from .registry import registry_read
from .settings import Host
from .uploads import Parts, upload_directory

EPOCH = b"epoch"
ODD = b"odd"
RECORDS = b"claims"
RECORD_LIMIT = 16 * 1024 * 1024
RECORD_SECONDS = 30 * 24 * 3600
ENTRIES_LIMIT = 100_000
PASSES = 5
ROOT_ONLY = Owned(0, 0, 0o600)
ROOT_DIRECTORY = Owned(0, 0, 0o700)


class Step(StrEnum):
    BEGUN = "begun"
    TAKEN = "taken"
    DONE = "done"


@dataclass(slots=True)
class Claim:
    """What is written down of one claim. `directory`: it was one, not a loose file; `odd`: what was moved aside."""

    account: str
    name: str
    directory: bool
    step: str = Step.BEGUN
    ended: int = 0
    odd: list[dict[str, object]] = field(default_factory=list)

    @property
    def told(self) -> dict[str, object]:
        """`odd` are the paths of what was moved aside, `aside` the same with its kind and its name there."""
        paths = [one["path"] for one in self.odd]
        return {"directory": self.directory, "ended": self.ended, "odd": paths, "aside": self.odd}


@dataclass(frozen=True, slots=True)
class Work:
    """One claim that is being worked on: its record, and the handle of its own directory in `claiming/`."""

    claim: Claim
    number: int
    records: int
    directory: int
    uid: int
    owner: int

    @property
    def as_directory(self) -> Owned:
        return Owned(self.owner, self.uid, 0o2750)

    @property
    def as_file(self) -> Owned:
        return Owned(self.owner, self.uid, 0o640)

    def record(self) -> None:
        content = json.dumps(asdict(self.claim)).encode("ascii")
        publish(self.records, _record_name(self.number), content, ROOT_ONLY)


def claim(host: Host, account: str, uid: int, name: str, number: int) -> dict[str, object]:
    """Claim one upload as `claimed/<number>`; the same call again gives the same answer.

    Raises AlreadyThere (the number is another claim's), NotSafe (a link or the like) and TooLarge (more entries, or
    deeper, than an epoch can be; it is left where it was), and OSError.
    """
    with root_directory(host.places.tree) as tree, records_directory(host) as records:
        known = _recorded(records, number) or _begun(host, tree, account, name, number)
        if registry_read(host.places).number_of(known.account) == uid:
            known.account = account  # it may have had another name when the claim was begun
        if (known.account, known.name) != (account, name):
            raise AlreadyThere(f"The number {number} belongs to another claim.")
        directory_make(tree, b"claiming", ROOT_DIRECTORY)
        with below(tree, b"claiming") as claiming, below(tree, b"claimed") as claimed:
            try:
                if known.step != Step.DONE:
                    directory_make(claiming, _number_name(number), ROOT_DIRECTORY)
                    with below(claiming, _number_name(number)) as directory:
                        _go_on(host, Work(known, number, records, directory, uid, host.portal.uid), claimed)
            finally:
                # Empty unless something is left to go on with; perhaps an earlier run was stopped just before this.
                with contextlib.suppress(OSError):
                    os.rmdir(_number_name(number), dir_fd=claiming)
        return known.told


def records_prune(host: Host) -> None:
    """Forget claims that ended long ago and whose files the portal has moved on."""
    limit = time.time() - RECORD_SECONDS
    with (
        root_directory(host.places.tree) as tree,
        below(tree, b"claimed") as claimed,
        records_directory(host) as records,
    ):
        for name, status in list(scanned(records)):
            if status.st_mtime < limit and not _exists(claimed, name.removesuffix(b".json")):
                os.unlink(name, dir_fd=records)


@contextlib.contextmanager
def records_directory(host: Host) -> Iterator[int]:
    with root_directory(host.places.state) as state:
        directory_make(state, RECORDS, ROOT_DIRECTORY)
        with below(state, RECORDS) as records:
            yield records


def _record_name(number: int) -> bytes:
    return f"{number}.json".encode("ascii")


def _number_name(number: int) -> bytes:
    return f"{number}".encode("ascii")


def _exists(above: int, name: bytes) -> bool:
    try:
        os.lstat(name, dir_fd=above)
    except FileNotFoundError:
        return False
    return True


def _recorded(records: int, number: int) -> Claim | None:
    content = content_of(records, _record_name(number), RECORD_LIMIT)
    if content is None:
        return None
    try:
        return Claim(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise HostFault(f"What the host knows of claim {number} cannot be read.") from error


def _begun(host: Host, tree: int, account: str, name: str, number: int) -> Claim:
    """The record of a claim that is about to be made. Nothing is moved or written yet."""
    with below(tree, b"claimed") as claimed:
        if _exists(claimed, _number_name(number)):
            raise AlreadyThere(f"The number {number} is taken on the host.")
    with upload_directory(host, account) as upload:
        status = os.lstat(name_bytes(name), dir_fd=upload)
    return Claim(account, name, _is_directory(status, name))


def _is_directory(status: os.stat_result, name: str) -> bool:
    """A directory, or else a regular file. Raises NotSafe for anything else."""
    if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode):
        return stat.S_ISDIR(status.st_mode)
    raise NotSafe(f"“{shown(name, 80)}” is a link, or not an ordinary file or directory; it is left alone.")


def _go_on(host: Host, work: Work, claimed: int) -> None:
    """From wherever an earlier run was stopped: take, make it the portal's, hand it over, note the end."""
    if work.claim.step == Step.BEGUN:
        work.record()
        try:
            _take(host, work)
        except BaseException:
            _forget_if_bare(work)
            raise
        work.claim.step = Step.TAKEN
        work.record()
    if _exists(work.directory, EPOCH):  # else it was handed over, and only the note of it is missing
        _make_the_portals(work)
    _hand_over(work, claimed)
    work.claim.step = Step.DONE
    work.record()


def _forget_if_bare(work: Work) -> None:
    """Nothing was taken: the number may be used for something else."""
    with contextlib.suppress(FileNotFoundError):
        if not _loose_or_directory_taken(work):
            os.unlink(_record_name(work.number), dir_fd=work.records)


def _loose_or_directory_taken(work: Work) -> bool:
    if work.claim.directory or not _exists(work.directory, EPOCH):
        return _exists(work.directory, EPOCH)
    with below(work.directory, EPOCH) as epoch:
        return _exists(epoch, name_bytes(work.claim.name))


def _take(host: Host, work: Work) -> None:
    """Rename the upload out of the district's reach: to `epoch`, a loose file to `epoch/<its name>`."""
    if _loose_or_directory_taken(work):
        return
    name = name_bytes(work.claim.name)
    with contextlib.ExitStack() as stack:
        upload = stack.enter_context(upload_directory(host, work.claim.account))
        above, new = work.directory, EPOCH
        if not work.claim.directory:
            directory_make(work.directory, EPOCH, work.as_directory)
            above, new = stack.enter_context(below(work.directory, EPOCH)), name
        rename_exclusive(upload, name, above, new)
        try:
            _check_taken(work, above, new)
        except (NotSafe, TooLarge):
            # Back to where it was; if the district has put another there meanwhile, both are lost to nobody.
            rename_exclusive(above, new, upload, name)
            raise
        os.fsync(above)
        os.fsync(upload)


def _check_taken(work: Work, above: int, name: bytes) -> None:
    if _is_directory(os.lstat(name, dir_fd=above), work.claim.name) != work.claim.directory:
        raise NotSafe(f"“{shown(work.claim.name, 80)}” was something else a moment ago; it is left alone.")
    if work.claim.directory:
        with closing(directory_open(above, name)) as directory:
            _measured(directory, 1, 0)


def _measured(directory: int, depth: int, count: int) -> int:
    """The number of entries so far. Raises TooLarge for what can be no epoch."""
    for name, status in scanned(directory):
        count += 1
        if depth >= DEPTH_LIMIT or count > ENTRIES_LIMIT:
            raise TooLarge(
                f"It holds more than {ENTRIES_LIMIT} entries, or more than {DEPTH_LIMIT} levels of directories; "
                "it is left alone."
            )
        if stat.S_ISDIR(status.st_mode):
            with closing(directory_open(directory, name)) as inner:
                count = _measured(inner, depth + 1, count)
    return count


def _make_the_portals(work: Work) -> None:
    """Owner, modes and odd things, until one pass finds nothing to do and no session has anything of it open.

    More than one pass: a request that the server had begun before the rename may still end inside.
    """
    for _ in range(PASSES):
        files: set[File] = set()
        with below(work.directory, EPOCH) as epoch:
            changed = _pass(work, epoch, (), files)
        holders = open_files((process.pid for process in processes_of(work.uid)), writing=False)
        closed = {pid for file, pids in holders.items() if file in files for pid in pids}
        if not changed and not closed:
            return
        work.claim.ended += end(closed, lambda pid: work.uid in process_of(pid).uids)
    raise HostFault("The upload does not come to rest; ask again.")


def _pass(work: Work, directory: int, parts: Parts, files: set[File]) -> bool:
    """One walk over everything; whether anything had to be changed. `files` collects what is there.

    The directory itself comes first: once it is the portal's, the district can change nothing in it.
    """
    changed = own(directory, work.as_directory)
    files.add(_file(os.fstat(directory)))
    odd = []
    for name, status in list(scanned(directory)):
        if stat.S_ISDIR(status.st_mode):
            with closing(directory_open(directory, name)) as inner:
                changed |= _pass(work, inner, (*parts, name_text(name)), files)
        elif (mine := _own_file(work, directory, name, status, files)) is None:
            odd.append(name)
        else:
            changed |= mine
    _move_aside(work, directory, parts, odd)
    return changed or bool(odd)


def _own_file(work: Work, directory: int, name: bytes, status: os.stat_result, files: set[File]) -> bool | None:
    """Make a plain file the portal's; whether that changed it, or None if it is odd."""
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        return None
    with closing(file_open(directory, name, os.O_RDONLY)) as handle:
        if os.fstat(handle).st_nlink != 1:
            return None
        files.add(_file(status))
        return own(handle, work.as_file)


def _file(status: os.stat_result) -> File:
    return status.st_dev, status.st_ino


def _move_aside(work: Work, directory: int, parts: Parts, names: Sequence[bytes]) -> None:
    """Move odd things out, under numbers. Written down before, so that none is ever moved untold."""
    if not names:
        return
    directory_make(work.directory, ODD, work.as_directory)
    first = len(work.claim.odd) + 1
    for number, name in enumerate(names, first):
        kind = entry_of(name_text(name), os.lstat(name, dir_fd=directory)).kind.value
        work.claim.odd.append({"path": [*parts, name_text(name)], "kind": kind, "as": f"{number:05d}"})
    work.record()
    with below(work.directory, ODD) as aside:
        for number, name in enumerate(names, first):
            rename_exclusive(directory, name, aside, f"{number:05d}".encode("ascii"))


def _hand_over(work: Work, claimed: int) -> None:
    """Each rename may have been done by an earlier run."""
    for name, ending in ((ODD, b".odd"), (EPOCH, b"")):
        if _exists(work.directory, name):
            rename_exclusive(work.directory, name, claimed, _number_name(work.number) + ending)
    os.fsync(claimed)
