"""An account gets another name: its number, its files and what is under way stay, whoever was signed in is not.

First the old name lets nobody in any more: no line, no keys, no session. Then the register says the new name; from here
on each list of accounts finishes what a stop has left, as the home is looked for under the names of before. Only when
it lies under the new one, that one lets somebody in.
"""

from __future__ import annotations

from dataclasses import replace

from .accounts import Wanted, foreign_of, keys_remove, limits_of, lines_remove, userfiles_read, userfiles_write
from .homes import home_carry_over, home_place_clear, homes_directory, homes_make
from .judging import Account, Registered, Renaming, Taken, rename_judge
from .processes import sessions_end
from .registry import Registry, registry_read, registry_write
from .settings import Host
from .userfiles import rendered, taken, taken_elsewhere


def rename(host: Host, old: str, new: str, uid: int) -> tuple[bool, int]:
    """Give the account that was once known as `old` the name `new`; the same call again finishes what was stopped.

    Returns whether it had another name until now, and how many sessions were ended. A dropped account stays dropped.
    Raises NotThere (no such account), NotRenamed, BadRequest, AlreadyThere: then nothing was changed. AlreadyThere may
    also come later, if somebody has put files where the home should go: then nobody signs in until a person has looked.
    """
    registry = registry_read(host.places)
    renaming = _judged(host, old, new, uid, registry)
    ended = 0
    with homes_directory(host) as homes:
        if not renaming.is_registered:
            home_place_clear(homes, renaming.before, new, is_own=new in registry.accounts)
            ended = _shut(host, renaming)
            registry = _registered(registry, renaming)
            registry_write(host.places, registry)
        keys_remove(host, renaming.before)
        home_carry_over(homes, renaming.before, new)
    if not renaming.former:
        _open(host, renaming.account, registry)
    return not renaming.is_registered, ended


def _judged(host: Host, old: str, new: str, uid: int, registry: Registry) -> Renaming:
    system = taken(host.places, foreign_of(host, userfiles_read(host), registry))
    limits = limits_of(host)
    renaming = rename_judge(old, new, uid, registry.accounts, system, limits)
    if renaming.is_registered:
        return renaming
    # The number is known elsewhere by our own doing, under the name of until now.
    other = taken_elsewhere([renaming.account], host.settings)
    both = Taken(system.names | other.names, system.numbers)
    return rename_judge(old, new, uid, registry.accounts, both, limits)


def _registered(registry: Registry, renaming: Renaming) -> Registry:
    uid = renaming.account.uid
    was = registry.accounts[renaming.now]
    names = {name: Registered(uid, former=True, renamed=True) for name in renaming.before}
    return replace(
        registry,
        accounts={**registry.accounts, **names, renaming.account.name: replace(was, renamed=False)},
    )


def _shut(host: Host, renaming: Renaming) -> int:
    """Nobody signs in with the name of until now any more, and who has is sent away; how many sessions that were."""
    if renaming.former:
        return 0
    lines_remove(host, [renaming.now])
    keys_remove(host, renaming.before)
    return sessions_end(renaming.now, renaming.account.uid)


def _open(host: Host, account: Account, registry: Registry) -> None:
    files = userfiles_read(host)
    active = [Account(name, uid) for name, uid in registry.active.items()]
    for error in homes_make(host, [account], {}).values():
        raise error
    userfiles_write(host, Wanted(files, rendered(active, foreign_of(host, files, registry))), ())
