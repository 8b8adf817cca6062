"""From a list of wished accounts to the accounts: homes, the files of libnss-extrausers, the register.

The order of the steps is such that after a stop between any two of them, nobody can sign in who should not, no number
is given twice, and the same list again finishes the work.
"""

from __future__ import annotations

import contextlib
import grp
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hosts.core.accountlist import list_digest
from hosts.core.errors import HostError

from .homes import HomeBlocked, homes_are_whole, homes_make
from .judging import Account, Limits, Plan, Refusal, Registered, Taken, accounts_judge
from .places import Owned, below, content_of, publish, root_directory
from .processes import sessions_end
from .registry import Registry, allowance, allowance_use, registry_read, registry_write
from .settings import Host
from .userfiles import Userfiles, foreign_lines, rendered, taken, taken_elsewhere

USERFILE_LIMIT = 64 * 1024 * 1024
KEYS_LIMIT = 4 * 1024 * 1024
EVERYONE = Owned(0, 0, 0o644)
# What lists have dropped counts together for so long.
DROPS_COUNT_SECONDS = 24 * 3600


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
    old = userfiles_read(host)
    foreign = foreign_of(host, old, registry)
    plan = _plan(host, entries, registry, foreign)
    registry = _come(registry, plan.made)
    if plan.made:
        registry_write(host.places, registry)
    keys_remove(host, (account.name for account in plan.removed))
    blocked = homes_make(host, [*plan.kept, *plan.made], registry.given_up)
    there = _names(old.passwd) if blocked else set()
    homeless = [account for account in blocked if account in plan.made or account.name not in there]
    plan = _without(plan, blocked, homeless)
    userfiles_write(host, Wanted(old, rendered([*plan.kept, *plan.made], foreign)), plan.removed)
    ended = sum(sessions_end(account.name, account.uid) for account in plan.removed)
    if plan.removed or homeless:
        registry = _shut_out(registry, homeless)
        registry_write(host.places, _dropped(registry, plan.removed, allowance(host.places)))
    if plan.removed:
        allowance_use(host.places)
    return plan, ended


def accounts_same(host: Host, digest: str) -> bool:
    """Whether just the accounts of the list with this digest are here, each with its lines and a whole home. Nothing
    is changed."""
    registry = registry_read(host.places)
    if list_digest(registry.active.items()) != digest:
        return False
    active = [Account(name, uid) for name, uid in registry.active.items()]
    files = userfiles_read(host)
    return files == rendered(active, foreign_of(host, files, registry)) and homes_are_whole(host, active)


def _without(plan: Plan, blocked: Mapping[Account, HomeBlocked], homeless: Iterable[Account]) -> Plan:
    """The plan but for those who cannot come, as they have no whole home. Who was there before is left as it is."""
    refusals = {account: Refusal(account.name, error.code, error.message) for account, error in blocked.items()}
    refused = tuple(refusals.pop(account) for account in homeless)
    return replace(
        plan,
        made=tuple(account for account in plan.made if account not in blocked),
        kept=tuple(account for account in plan.kept if account not in homeless),
        refused=(*plan.refused, *refused),
        damaged=tuple(refusals.values()),
    )


def _names(passwd: bytes) -> set[str]:
    return {line.split(b":")[0].decode("utf-8", "surrogateescape") for line in passwd.splitlines()}


def _plan(host: Host, entries: object, registry: Registry, foreign: Userfiles) -> Plan:
    limits, system = limits_of(host), taken(host.places, foreign)
    plan = accounts_judge(entries, registry.accounts, system, limits)
    # Only what would be new is looked up elsewhere; a name of an active account is there by our own doing.
    other = taken_elsewhere(plan.made, host.settings)
    if not other.names and not other.numbers:
        return plan
    both = Taken(system.names | other.names, system.numbers | other.numbers)
    return accounts_judge(entries, registry.accounts, both, limits)


def limits_of(host: Host) -> Limits:
    settings = host.settings
    return Limits(
        settings.uid_first,
        settings.uid_last,
        settings.drop_share,
        settings.drop_least,
        allowance(host.places),
        lately=_lately(),
    )


def _lately() -> int:
    return max(0, int(time.time()) - DROPS_COUNT_SECONDS)


def _come(registry: Registry, made: Iterable[Account]) -> Registry:
    """When an account was dropped stays with it: who comes back for a moment only was not away for less. Nor is it new
    again, unless it was away for long."""
    new = {account.name: Registered(account.uid, since=int(time.time())) for account in made}
    for name in new.keys() & registry.accounts.keys():
        known = registry.accounts[name]
        since = known.since if known.dropped > _lately() else new[name].since
        new[name] = replace(known, former=False, since=since)
    return replace(registry, accounts={**registry.accounts, **new})


def _shut_out(registry: Registry, homeless: Iterable[Account]) -> Registry:
    new = {account.name: replace(registry.accounts[account.name], former=True) for account in homeless}
    return replace(registry, accounts={**registry.accounts, **new})


def _dropped(registry: Registry, removed: Sequence[Account], allowed: int) -> Registry:
    """Who was dropped, and when; what root has allowed counts for no list after it."""
    now = 0 if len(removed) <= allowed else int(time.time())
    new = {account.name: replace(registry.accounts[account.name], former=True, dropped=now) for account in removed}
    return replace(registry, accounts={**registry.accounts, **new})


def userfiles_read(host: Host) -> Userfiles:
    """The three files as they are."""
    with root_directory(host.places.extrausers) as directory:
        contents = [content_of(directory, name, USERFILE_LIMIT) or b"" for name in (b"passwd", b"group", b"shadow")]
    return Userfiles(*contents)


def foreign_of(host: Host, files: Userfiles, registry: Registry) -> Userfiles:
    """What of these files is not ours."""
    return foreign_lines(files, host.settings.uid_first, host.settings.uid_last, registry.accounts)


def userfiles_write(host: Host, wanted: Wanted, removed: Iterable[Account]) -> None:
    """Who goes is gone from `passwd` before the rest changes; who comes is there when all the rest is."""
    shadow = Owned(0, grp.getgrnam("shadow").gr_gid, 0o640)
    without = _passwd_without(wanted.old.passwd, (account.name for account in removed))
    with root_directory(host.places.extrausers) as directory:
        for name, is_now, should, owned in (
            (b"passwd", wanted.old.passwd, without, EVERYONE),
            (b"group", wanted.old.group, wanted.new.group, EVERYONE),
            (b"shadow", wanted.old.shadow, wanted.new.shadow, shadow),
            (b"passwd", without, wanted.new.passwd, EVERYONE),
        ):
            if is_now != should:
                publish(directory, name, should, owned)


def lines_remove(host: Host, names: Iterable[str]) -> None:
    """Take these accounts out of `passwd`: from then on nobody signs in with their names."""
    files = userfiles_read(host)
    without = _passwd_without(files.passwd, names)
    if without != files.passwd:
        with root_directory(host.places.extrausers) as directory:
            publish(directory, b"passwd", without, EVERYONE)


def _passwd_without(passwd: bytes, names: Iterable[str]) -> bytes:
    gone = {name.encode("ascii") for name in names}
    return b"".join(line for line in passwd.splitlines(keepends=True) if line.split(b":")[0] not in gone)


def keys_remove(host: Host, names: Iterable[str]) -> None:
    """Key files that hold a key go. One without stays: by its first line an old portal learns that it is one."""
    with root_directory(host.places.tree) as tree, below(tree, b"keys") as keys:
        for name in (one.encode("ascii") for one in names):
            if not _has_no_key(keys, name):
                # The directory is the portal's: what is no file there, no key command reads.
                with contextlib.suppress(FileNotFoundError, IsADirectoryError):
                    os.unlink(name, dir_fd=keys)


def _has_no_key(keys: int, name: bytes) -> bool:
    try:
        content = content_of(keys, name, KEYS_LIMIT) or b""
    except (OSError, HostError):
        return False
    return all(not line.strip() or line.lstrip().startswith(b"#") for line in content.splitlines())
