"""From a list of wished accounts to the accounts: homes, the files of libnss-extrausers, the register.

The order of the steps is such that after a stop between any two of them, nobody can sign in who should not, no number
is given twice, and the same list again finishes the work.
"""

from __future__ import annotations

import contextlib
import grp
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from hosts.core.paths import DOWNLOADS
from hosts.local import rename_exclusive, tree_empty

from .judging import Account, Limits, Plan, Registered, Taken, accounts_judge
from .places import Owned, below, content_of, directory_make, file_system_sync, own, owned_of, publish, root_directory
from .processes import sessions_end
from .registry import Registry, allowance, allowance_use, registry_read, registry_write
from .settings import Host
from .userfiles import Userfiles, foreign_lines, rendered, taken, taken_elsewhere

USERFILE_LIMIT = 64 * 1024 * 1024
ROOT_DIRECTORY = Owned(0, 0, 0o755)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The three files as they are and as they should be."""

    old: Userfiles
    new: Userfiles


def accounts(host: Host, entries: object) -> tuple[Plan, int]:
    """Make the host have these accounts; the plan that was carried out, and how many sessions were ended.

    Raises BadRequest, DropsTooMany: then nothing was changed.
    """
    registry = registry_read(host.places)
    old = _userfiles(host)
    foreign = foreign_lines(old, host.settings.uid_first, host.settings.uid_last, registry.accounts)
    plan = _plan(host, entries, registry, foreign)
    wanted = Wanted(old, rendered([*plan.kept, *plan.made], foreign))
    registry = _registered(registry, plan.made, former=False)
    if plan.made:
        registry_write(host.places, registry)
    _keys_remove(host, plan.removed)
    _homes_make(host, [*plan.kept, *plan.made])
    _userfiles_write(host, wanted, plan)
    ended = sum(sessions_end(account.name, account.uid) for account in plan.removed)
    if plan.removed:
        registry_write(host.places, _registered(registry, plan.removed, former=True))
        allowance_use(host.places)
    return plan, ended


def _plan(host: Host, entries: object, registry: Registry, foreign: Userfiles) -> Plan:
    settings = host.settings
    limits = Limits(
        settings.uid_first, settings.uid_last, settings.drop_share, settings.drop_least, allowance(host.places)
    )
    system = taken(host.places, foreign)
    plan = accounts_judge(entries, registry.accounts, system, limits)
    # Only what would be new is looked up elsewhere; a name of an active account is there by our own doing.
    other = taken_elsewhere(plan.made, settings)
    if not other.names and not other.numbers:
        return plan
    both = Taken(system.names | other.names, system.numbers | other.numbers)
    return accounts_judge(entries, registry.accounts, both, limits)


def _registered(registry: Registry, changed: Iterable[Account], *, former: bool) -> Registry:
    new: Mapping[str, Registered] = {account.name: Registered(account.uid, former) for account in changed}
    return replace(registry, accounts={**registry.accounts, **new})


def _userfiles(host: Host) -> Userfiles:
    with root_directory(host.places.extrausers) as directory:
        contents = [content_of(directory, name, USERFILE_LIMIT) or b"" for name in (b"passwd", b"group", b"shadow")]
    return Userfiles(*contents)


def _userfiles_write(host: Host, wanted: Wanted, plan: Plan) -> None:
    """Who goes is gone from `passwd` before the rest changes; who comes is there when all the rest is."""
    shadow = Owned(0, grp.getgrnam("shadow").gr_gid, 0o640)
    everyone = Owned(0, 0, 0o644)
    gone = {account.name.encode("ascii") for account in plan.removed}
    lines = wanted.old.passwd.splitlines(keepends=True)
    without = b"".join(line for line in lines if line.split(b":")[0] not in gone)
    with root_directory(host.places.extrausers) as directory:
        for name, is_now, should, owned in (
            (b"passwd", wanted.old.passwd, without, everyone),
            (b"group", wanted.old.group, wanted.new.group, everyone),
            (b"shadow", wanted.old.shadow, wanted.new.shadow, shadow),
            (b"passwd", without, wanted.new.passwd, everyone),
        ):
            if is_now != should:
                publish(directory, name, should, owned)


def _keys_remove(host: Host, removed: Iterable[Account]) -> None:
    with root_directory(host.places.tree) as tree, below(tree, b"keys") as keys:
        for account in removed:
            # The directory is the portal's: what is no file there, no key command reads.
            with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                os.unlink(account.name.encode("ascii"), dir_fd=keys)


def _homes_make(host: Host, accounts: Iterable[Account]) -> None:
    """Make the homes that are missing, whole or not at all, and mend owners and modes of those that are there."""
    made = False
    with root_directory(host.places.tree) as tree, below(tree, b"homes") as homes:
        for account in accounts:
            made |= _home_make(host, homes, account)
        if made:
            file_system_sync(homes)


def _home_make(host: Host, homes: int, account: Account) -> bool:
    name = account.name.encode("ascii")
    places = _places(host, account)
    if _is_whole(homes, name, places):
        return False
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
            with below(home, *above) as directory:
                directory_make(directory, name, owned)
