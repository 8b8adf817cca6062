"""What a list of wished accounts comes to, and what a rename does. Pure: what is asked, what is registered and what the
system has come in.

An entry that is wrong is refused by itself, and whatever account its name or number belongs to is left exactly as it
is: neither made nor dropped. So one bad entry costs nobody else anything, and no mistake in it can drop an account.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hosts.core.errors import HostError, NotSafe, NotThere
from hosts.core.paths import shown, username

ENTRIES_LIMIT = 50_000
# Before they look a name up, tools that take a user's name or number (chown, kill, setfacl) read it as a number.
NUMBER = re.compile(r"[0-9.-]+|0x[0-9a-f.-]*|0[bo][0-7.-]*|[0-9.]+e-?[0-9]+")


class BadRequest(HostError):
    """The request has not the shape it should have."""

    code = "bad-request"


class DropsTooMany(HostError):
    """The list would drop more accounts than a mistake may; nothing was changed."""

    code = "drops-too-many"


class NotRenamed(HostError):
    """The account does not get the name; `code` says why. Nothing was changed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int


@dataclass(frozen=True, slots=True)
class Registered:
    """What was ever given to a name. `former`: nobody signs in with it; its number stays its own.

    `renamed`: the account has another name now. Of all names with one number just one is not renamed.
    `dropped`: when a list last dropped it without root's leave, in seconds since the epoch; 0: never. `since`: when it
    came, or came back after more than a while; 0: before that was noted.
    """

    uid: int
    former: bool = False
    renamed: bool = False
    dropped: int = 0
    since: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """What belongs to the system and is never an account's: names of users and groups, and their numbers."""

    names: frozenset[str] = frozenset()
    numbers: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Limits:
    """`allowed`: how many root has allowed one list to drop. `lately`: who was dropped since then counts as well, in
    seconds since the epoch: many lists one after the other may do no more than one."""

    uid_first: int
    uid_last: int
    drop_share: float
    drop_least: int
    allowed: int = 0
    lately: int = 0

    def drops(self, active: int) -> int:
        """How many of that many accounts lists may drop: never more than half of them without being allowed to, or a
        host of few would lose all by an empty list."""
        least = min(self.drop_least, max(1, active // 2))
        return max(least, int(active * self.drop_share))


@dataclass(frozen=True, slots=True)
class Refusal:
    name: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All sorted by name. `kept` are the active accounts that stay, `made` those that come or come back.

    `damaged`: of those that stay, whose home could not be mended.
    """

    made: tuple[Account, ...]
    removed: tuple[Account, ...]
    kept: tuple[Account, ...]
    refused: tuple[Refusal, ...]
    damaged: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True)
class Renaming:
    """An account and its new name. `now`: the name it has by the register, the new one if that is done already.

    `former`: it was dropped, and stays so; `before`: all other names it has had, sorted.
    """

    account: Account
    now: str
    former: bool
    before: tuple[str, ...]

    @property
    def is_registered(self) -> bool:
        return self.now == self.account.name


class _Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(code)
        self.code, self.message = code, message


def accounts_judge(entries: object, registry: Mapping[str, Registered], taken: Taken, limits: Limits) -> Plan:
    """The plan for a whole list of wished accounts.

    `entries` is the untrusted list, `registry` every account ever made. Raises BadRequest for what is no list, and
    DropsTooMany.
    """
    rows = _rows(entries)
    accounts, refused = _judged(rows, registry, taken, limits)
    active = {name: one.uid for name, one in registry.items() if not one.former}
    staying = {account.name for account in accounts} | _mentioned([rows[number] for number, _ in refused], active)
    removed = [Account(name, uid) for name, uid in active.items() if name not in staying]
    _against_drops([account.name for account in removed], registry, limits)
    gone = {account.name for account in removed}
    return Plan(
        made=_sorted(account for account in accounts if account.name not in active),
        removed=_sorted(removed),
        kept=_sorted(Account(name, uid) for name, uid in active.items() if name not in gone),
        refused=tuple(refusal for _, refusal in refused),
    )


def _against_drops(removed: Sequence[str], registry: Mapping[str, Registered], limits: Limits) -> None:
    """Raises DropsTooMany. Counted with those of the lists before, of all accounts, and of those alone that did not
    come lately: else a list of many new ones would make room for another that drops all the others."""
    known = {name: one for name, one in registry.items() if not one.renamed}
    for some in (known, {name: one for name, one in known.items() if one.since <= limits.lately}):
        count = sum(name in some for name in removed)
        active = sum(not one.former for one in some.values())
        lately = sum(one.former and one.dropped > limits.lately for one in some.values())
        most = limits.drops(active + lately)
        if count == 0 or count <= limits.allowed or lately + count <= most:
            continue
        which = "accounts" if some is known else "accounts that were there a day ago"
        before = f", after {lately} that were dropped in the last 24 hours" if lately else ""
        raise DropsTooMany(
            f"The list would drop {count} of {active} {which}{before}: more than the {most} that may go in 24 hours. "
            f"Nothing was changed. If this is meant, root runs on the host: portal-host allow-drop {len(removed)}"
        )


def rename_judge(
    old: str, new: str, uid: int, registry: Mapping[str, Registered], taken: Taken, limits: Limits
) -> Renaming:
    """The account with this number, once known as `old`, is called `new` from now on.

    It is known by its number: whichever of its names it has today, `old` need only be one of them. So two renames of
    which the host hears late come to the last name in one step. Raises NotRenamed, BadRequest, and NotThere if the
    host has never heard of `old`.
    """
    if old == new:
        raise BadRequest("The old and the new name are the same.")
    try:
        was, account = _account({"name": old, "uid": uid}), _account({"name": new, "uid": uid})
        _against_numbers(account)
        _against_limits(account, limits)
        _against_system(account, taken)
        known, other = registry.get(was.name), registry.get(account.name)
        if known is None:
            raise NotThere(f"The host has no account “{was.name}”.")
        if known.uid != uid:
            raise _Refused("uid-changed", f"This account has had the user number {known.uid} from the start.")
        if other is not None and other.uid != uid:
            raise _Refused("name-of-another", "Another account has or had this name, and it is never given again.")
    except _Refused as error:
        raise NotRenamed(error.code, error.message) from None
    now = _owners(registry)[uid]
    before = sorted(name for name, one in registry.items() if one.uid == uid and name != account.name)
    return Renaming(account, now, registry[now].former, tuple(before))


def _owners(registry: Mapping[str, Registered]) -> dict[int, str]:
    """By user number the name its account has now."""
    return {one.uid: name for name, one in registry.items() if not one.renamed}


def _rows(entries: object) -> Sequence[object]:
    if not isinstance(entries, list):
        raise BadRequest("The accounts must be a list.")
    if len(entries) > ENTRIES_LIMIT:
        raise BadRequest(f"The list has more than {ENTRIES_LIMIT} accounts.")
    return entries


def _judged(
    rows: Sequence[object], registry: Mapping[str, Registered], taken: Taken, limits: Limits
) -> tuple[list[Account], list[tuple[int, Refusal]]]:
    names = Counter(name for name in map(_raw_name, rows) if name is not None)
    uids = Counter(uid for uid in map(_raw_uid, rows) if uid is not None)
    owners = _owners(registry)
    accounts, refused = [], []
    for number, row in enumerate(rows):
        try:
            account = _account(row)
            if names[account.name] > 1:
                raise _Refused("name-twice", "The list has this name more than once.")
            if uids[account.uid] > 1:
                raise _Refused("uid-twice", "The list has this user number more than once.")
            _against_numbers(account)
            _against_limits(account, limits)
            _against_system(account, taken)
            _against_registry(account, registry, owners)
            accounts.append(account)
        except _Refused as error:
            name = shown(_raw_name(row) or "", 80)
            refused.append((number, Refusal(name, error.code, error.message)))
    return accounts, refused


def _raw_name(row: object) -> str | None:
    name = row.get("name") if isinstance(row, dict) else None
    return name if isinstance(name, str) else None


def _raw_uid(row: object) -> int | None:
    uid = row.get("uid") if isinstance(row, dict) else None
    return uid if type(uid) is int else None


def _account(row: object) -> Account:
    name, uid = _raw_name(row), _raw_uid(row)
    if name is None or not isinstance(row, dict) or set(row) != {"name", "uid"}:
        raise _Refused("bad-entry", "An account is a name and a user number, and nothing else.")
    try:
        checked = username(name)
    except NotSafe as error:
        raise _Refused("bad-name", error.message) from None
    if uid is None:
        raise _Refused("bad-uid", "The user number is not a whole number.")
    return Account(checked, uid)


def _against_numbers(account: Account) -> None:
    if NUMBER.fullmatch(account.name):
        raise _Refused("bad-name", "This name could be taken for a number. It needs a letter that is no part of one.")


def _against_limits(account: Account, limits: Limits) -> None:
    if not limits.uid_first <= account.uid <= limits.uid_last:
        raise _Refused(
            "uid-out-of-range", f"The user number must lie between {limits.uid_first} and {limits.uid_last}."
        )


def _against_system(account: Account, taken: Taken) -> None:
    if account.name in taken.names:
        raise _Refused("name-of-system", "The host itself has a user or group of this name.")
    if account.uid in taken.numbers:
        raise _Refused("uid-of-system", "The host itself has a user or group of this number.")


def _against_registry(account: Account, registry: Mapping[str, Registered], owners: Mapping[int, str]) -> None:
    known = registry.get(account.name)
    if known is not None and known.uid != account.uid:
        raise _Refused("uid-changed", f"This account has had the user number {known.uid} from the start, and keeps it.")
    if known is not None and known.renamed:
        raise _Refused("renamed", f"This account was given another name: “{owners[account.uid]}”.")
    if owners.get(account.uid, account.name) != account.name:
        raise _Refused("uid-of-another", "This user number was given to another account, and is never given again.")


def _mentioned(rows: Sequence[object], active: Mapping[str, int]) -> set[str]:
    """The active accounts whose name or number one of these rows has."""
    owners = {uid: name for name, uid in active.items()}
    found = {_raw_name(row) for row in rows} | {owners.get(uid) for uid in map(_raw_uid, rows) if uid is not None}
    return {name for name in found if name is not None and name in active}


def _sorted(accounts: Iterable[Account]) -> tuple[Account, ...]:
    return tuple(sorted(accounts, key=lambda account: account.name))
