"""Saving the box: all the keys of a paste replace those the account has, or nothing happens."""

from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from accounts.models import SftpAccount
from accounts.nudge import nudge

from ..core.parse import Paste, parse_paste
from ..core.publickey import PublicKey
from ..models import AccountKey, KeySet
from ..policy import policy_for
from ..selectors import keys_of, networks_of
from ..sets import By, Change, Fact, file_locked, set_make
from ..tasks import propagate_account
from .guards import TakenMeanwhile, not_taken_meanwhile, reason_given, sharing_checked
from .openings import Opening, opening_confirmed


@dataclass(frozen=True, slots=True)
class Difference:
    """What a save changed (or would change), as values in the order of the box."""

    added: tuple[PublicKey, ...]
    removed: tuple[Fact, ...]
    kept: tuple[PublicKey, ...]
    renamed: tuple[PublicKey, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.removed or self.renamed)


class PasteRefused(Exception):
    """The paste has problems; nothing was stored. `paste` has them, each with its line."""

    def __init__(self, paste: Paste) -> None:
        super().__init__("The paste has problems.")
        self.paste = paste


class StaleSet(Exception):
    """The account's keys were changed since this form was opened. Nothing was stored.

    `difference` says how the keys as they are now differ from what this form would have saved.
    """

    def __init__(self, version: int, difference: Difference) -> None:
        super().__init__("The keys were changed in the meantime.")
        self.version = version
        self.difference = difference


def keys_read(account: SftpAccount, text: str) -> Paste:
    """The keys of a pasted text as they would be saved. Raises PasteRefused. Nothing is stored."""
    paste = parse_paste(text, policy_for(account))
    if not paste.accepted:
        raise PasteRefused(paste)
    return paste


def keys_save(
    account: SftpAccount, text: str, *, seen_version: int, by: By, confirmed: str = ""
) -> tuple[Difference, Paste]:
    """Replaces the account's keys by those of the pasted text: all of them, or none and an exception.

    `seen_version` is the version of the set the form showed; `confirmed` the account's user name, typed, where
    everybody would be shut out. Raises PasteRefused, StaleSet, ReasonMissing, ShutOut or KeyElsewhere.
    """
    paste = keys_read(account, text)
    reason_given(account, by)
    # Asked for in a transaction of its own: staff shall hear of it although this save is refused.
    sharing_checked(account, paste.keys, by)
    try:
        with transaction.atomic():
            return _save(account, paste, seen_version, by, confirmed), paste
    except TakenMeanwhile:
        return keys_save(account, text, seen_version=seen_version, by=by, confirmed=confirmed)


def _save(account: SftpAccount, paste: Paste, seen_version: int, by: By, confirmed: str) -> Difference:
    file = file_locked(account)
    before = {key.fingerprint: key for key in keys_of(account)}
    difference = _difference(list(before.values()), paste.keys)
    if file.version != seen_version:
        raise StaleSet(file.version, difference)
    if [key.line() for key in paste.keys] == [key.line() for key in before.values()]:
        return difference
    staying = tuple(before[key.fingerprint] for key in paste.keys if key.fingerprint in before)
    then = Opening(staying, networks_of(file.networks), is_adding=bool(difference.added))
    opening_confirmed(account, then, confirmed)
    # Told before the rows are changed: they know what a key was called.
    change = _change(difference, before)
    _replace(account, paste.keys, before, by)
    set_make(file, KeySet.Cause.SAVED, by, change)
    not_taken_meanwhile(account, difference.added)
    nudge(propagate_account, account.pk)
    return difference


def _difference(before: list[AccountKey], after: tuple[PublicKey, ...]) -> Difference:
    old = {key.fingerprint: key.comment for key in before}
    new = {key.fingerprint for key in after}
    return Difference(
        added=tuple(key for key in after if key.fingerprint not in old),
        removed=tuple(Fact.of_row(key) for key in before if key.fingerprint not in new),
        kept=tuple(key for key in after if old.get(key.fingerprint) == key.comment),
        renamed=tuple(key for key in after if old.get(key.fingerprint, key.comment) != key.comment),
    )


def _change(difference: Difference, before: dict[str, AccountKey]) -> Change:
    return Change(
        added=tuple(Fact.of(key) for key in difference.added),
        removed=difference.removed,
        changed=tuple(Fact.of(key, _renamed(before[key.fingerprint])) for key in difference.renamed),
    )


def _renamed(old: AccountKey) -> str:
    return f"it was called {old.comment}" if old.comment else "it had no name"


def _replace(account: SftpAccount, keys: tuple[PublicKey, ...], before: dict[str, AccountKey], by: By) -> None:
    account.keys.exclude(fingerprint__in=[key.fingerprint for key in keys]).delete()
    for position, key in enumerate(keys):
        row = before.get(key.fingerprint) or row_of(account, key, by)
        row.position, row.comment = position, key.comment
        row.save()


def row_of(account: SftpAccount, key: PublicKey, by: By) -> AccountKey:
    """A row for a new key, at the end of the set; not saved yet."""
    return AccountKey(
        account=account,
        position=1 + max(account.keys.values_list("position", flat=True), default=-1),
        algorithm=key.algorithm,
        blob=key.blob_base64,
        comment=key.comment,
        fingerprint=key.fingerprint,
        added_by=by.actor,
        added=timezone.now(),
    )
