"""Changes of one key: its name and restrictions, its replacement, its end."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from django.db import transaction

from accounts import notices
from accounts.models import District, SftpAccount
from accounts.nudge import nudge

from ..core.characters import COMMENT_LENGTH, comment_from, tidy
from ..core.errors import Note, Problem, Refusal
from ..core.parse import Paste
from ..core.publickey import PublicKey
from ..core.restrictions import Network, ReadNetworks, combined, networks_from
from ..models import AccountKey, KeyFile, KeySet, LostKey
from ..policy import policy_for
from ..selectors import networks_of
from ..sets import By, Change, Fact, file_locked, set_make
from ..tasks import propagate_account
from .guards import (
    DECIDING,
    TakenMeanwhile,
    not_taken_meanwhile,
    reason_given,
    sharing_checked,
    today_in,
)
from .openings import Opening, left_out, opening_confirmed, opening_of, opening_without
from .saving import PasteRefused, keys_read, row_of

# How long a replaced key may stay after the first good sign-in of the new one, in days.
RETIRE_CHOICES = (1, 3, 7, 14, 30)


class FieldsRefused(Exception):
    """What was typed into the fields of a key has problems; nothing was stored. `problems` by field name."""

    def __init__(self, problems: dict[str, tuple[Problem, ...]]) -> None:
        super().__init__("The fields have problems.")
        self.problems = problems


class KeyGone(Exception):
    """The key was taken out of its set in the meantime. Nothing was stored."""


@dataclass(frozen=True, slots=True)
class Edited:
    """A set was changed, or (`made` None) there was nothing to change; `notes` say how what was typed was read."""

    made: KeySet | None
    notes: tuple[Problem, ...] = ()


def key_edit(
    key: AccountKey, *, comment: str, expires_on: date | None, networks: str, by: By, confirmed: str = ""
) -> Edited:
    """Sets a key's name, last day and source networks. Raises FieldsRefused, ReasonMissing, ShutOut or KeyGone."""
    account = key.account
    reason_given(account, by)
    read = _networks_of_key(account, networks)
    notes = _name_notes(comment) + read.notes
    if expires_on not in (None, key.expires_on):
        _day_checked(expires_on, today_in(account.district))
    new: dict[str, object] = {
        "comment": comment_from(comment),
        "expires_on": expires_on,
        "networks": _texts(read.networks),
    }
    with transaction.atomic():
        file, row = _locked(key)
        if all(getattr(row, name) == value for name, value in new.items()):
            return Edited(None, notes)
        told = _told(row, new, read.networks)
        for name, value in new.items():
            setattr(row, name, value)
        row.reminded = None
        now = opening_of(account)
        then = Opening(tuple(row if one == row else one for one in now.keys), now.networks)
        opening_confirmed(account, then, confirmed)
        notes += left_out(account, then)
        row.save(update_fields=[*new, "reminded"])
        made = set_make(file, KeySet.Cause.RESTRICTED, by, Change(changed=(Fact.of_row(row, told),)))
        nudge(propagate_account, account.pk)
    return Edited(made, notes)


def _name_notes(comment: str) -> tuple[Problem, ...]:
    return (Note.COMMENT_SHORTENED.problem(most=COMMENT_LENGTH),) if len(tidy(comment)) > COMMENT_LENGTH else ()


def _day_checked(day: date, today: date) -> None:
    if day < today:
        raise FieldsRefused({"expires_on": (PAST,)})
    # The end of the last day there is cannot be told in UTC, and a file that cannot be rendered helps nobody.
    if day.year > LAST_YEAR:
        raise FieldsRefused({"expires_on": (FAR,)})


LAST_YEAR = 2099
PAST = Problem("date-past", "This day is over.", "Choose today or a later day, or remove the key.")
FAR = Problem("date-far", f"This day is after the year {LAST_YEAR}.", "Choose an earlier day, or leave it empty.")
NO_OVERLAP = Problem(
    "networks-apart",
    "These networks have nothing in common with those of the whole account, so nobody could sign in.",
    "Change one of the two, so that they overlap.",
)


def _networks_of_key(account: SftpAccount, text: str) -> ReadNetworks:
    read = networks_from(text)
    problems = list(read.problems)
    whole = networks_of(KeyFile.objects.get(account=account).networks)
    if not problems and combined(whole, read.networks) is None:
        problems.append(NO_OVERLAP)
    if problems:
        raise FieldsRefused({"networks": tuple(problems)})
    return read


def _texts(networks: tuple[Network, ...]) -> list[str]:
    return [str(network) for network in networks]


def _told(row: AccountKey, new: dict[str, object], networks: tuple[Network, ...]) -> str:
    """The change in words, for history and mail."""
    told = []
    if new["comment"] != row.comment:
        told.append(f"new name, before {row.comment or 'none'}")
    if new["expires_on"] != row.expires_on:
        told.append(f"works until {new['expires_on'] or 'it is removed'}")
    if new["networks"] != row.networks:
        told.append(f"works from {', '.join(_texts(networks)) or 'any address'}")
    return "; ".join(told)


def account_networks_set(account: SftpAccount, networks: str, *, by: By, confirmed: str = "") -> Edited:
    """Sets the source networks of all keys of the account. Raises FieldsRefused, ReasonMissing or ShutOut."""
    reason_given(account, by)
    read = networks_from(networks)
    apart = [key for key in account.keys.all() if combined(read.networks, networks_of(key.networks)) is None]
    problems = read.problems or ((_apart_from(apart),) if apart else ())
    if problems:
        raise FieldsRefused({"networks": problems})
    with transaction.atomic():
        file = file_locked(account)
        new = _texts(read.networks)
        if new == file.networks:
            return Edited(None, read.notes)
        then = Opening(tuple(account.keys.all()), read.networks)
        opening_confirmed(account, then, confirmed)
        notes = read.notes + left_out(account, then)
        file.networks = new
        file.save(update_fields=["networks"])
        told = f"all keys work from {', '.join(new) or 'any address'}"
        made = set_make(file, KeySet.Cause.NETWORKS, by, Change(changed=(Fact("", "", "", told),)))
        nudge(propagate_account, account.pk)
    return Edited(made, notes)


def _apart_from(keys: list[AccountKey]) -> Problem:
    names = ", ".join(f"“{key.comment or key.fingerprint}”" for key in keys)
    return Problem(
        "networks-apart-from-keys",
        f"Nobody could sign in any more with {names}: the networks set there have nothing in common with these.",
        "Change these networks, or first those of that key on its own page, so that they overlap."
        if len(keys) == 1
        else "Change these networks, or first those of each of these keys on its own page, so that they overlap.",
    )


def key_replace(key: AccountKey, text: str, *, days: int, by: By) -> KeySet:
    """Adds the one key of a paste in place of `key`, which stays `days` days after the new one's first good sign-in.

    Source networks go over to the new key; its own name stays if it has one. Nobody is shut out by it, since the old
    key goes only after a sign-in with the new one. Raises PasteRefused, OneKeyWanted,
    ReasonMissing, KeyElsewhere or KeyGone.
    """
    account = key.account
    new = _the_one(account, text)
    reason_given(account, by)
    sharing_checked(account, [new], by)
    try:
        with transaction.atomic():
            return _replacing(key, new, days, by)
    except TakenMeanwhile:
        return key_replace(key, text, days=days, by=by)


def _replacing(key: AccountKey, new: PublicKey, days: int, by: By) -> KeySet:
    account = key.account
    file, old = _locked(key)
    if account.keys.filter(fingerprint=new.fingerprint).exists():
        raise OneKeyWanted
    row = row_of(account, new, by)
    row.comment = new.comment or old.comment
    row.networks, row.replaces, row.retire_after = old.networks, old, days
    row.save()
    change = Change(added=(Fact.of_row(row, f"in place of {old.comment or old.fingerprint}"),))
    made = set_make(file, KeySet.Cause.REPLACING, by, change)
    not_taken_meanwhile(account, [new])
    nudge(propagate_account, account.pk)
    return made


class OneKeyWanted(Exception):
    """A replacement is exactly one key, and one the account does not have yet. Nothing was stored."""


def _the_one(account: SftpAccount, text: str) -> PublicKey:
    paste = keys_read(account, text)
    most = policy_for(account).maximum_keys
    if account.keys.count() >= most:
        raise PasteRefused(Paste(problems=(Refusal.TOO_MANY_KEYS.problem(most=most),)))
    if len(paste.keys) != 1:
        raise OneKeyWanted
    return paste.keys[0]


def key_remove(key: AccountKey, *, by: By, confirmed: str = "") -> KeySet:
    """Takes one key out of its set. Raises ReasonMissing, ShutOut or KeyGone."""
    return _removed(key, KeySet.Cause.REMOVED, by, confirmed, lambda made, row: None)


def key_lost(key: AccountKey, *, by: By, confirmed: str = "") -> KeySet:
    """Takes out the key of a lost computer for ever. The host ends its open sessions when it sees its line gone.

    Staff are told where other districts have the same key. Raises ReasonMissing, ShutOut or KeyGone.
    """
    return _removed(key, KeySet.Cause.LOST, by, confirmed, _remember_lost)


def _removed(
    key: AccountKey, cause: KeySet.Cause, by: By, confirmed: str, also: Callable[[KeySet, AccountKey], None]
) -> KeySet:
    account = key.account
    reason_given(account, by)
    with transaction.atomic():
        file, row = _locked(key)
        opening_confirmed(account, opening_without(account, row), confirmed)
        fact = Fact.of_row(row)
        made = set_make(file, cause, by, Change(removed=(fact,)))
        also(made, row)
        row.delete()
        nudge(propagate_account, account.pk)
    return made


def _remember_lost(made: KeySet, row: AccountKey) -> None:
    lost = LostKey.objects.create(
        account=row.account, fingerprint=row.fingerprint, label=row.label, comment=row.comment, key_set=made
    )
    others = AccountKey.objects.filter(fingerprint=row.fingerprint).exclude(account=row.account)
    others = others.exclude(account__district__state=District.State.CLOSED).select_related("account__district")
    if others:
        told = {"lost": lost, "others": list(others)}
        notices.notice_send("shared-key-lost", notices.staff_in(*DECIDING), told, about=f"lost-key-{lost.pk}")


def _locked(key: AccountKey) -> tuple[KeyFile, AccountKey]:
    """The set's file, locked, and the key as it is now."""
    file = file_locked(key.account)
    row = AccountKey.objects.filter(pk=key.pk).first()
    if row is None:
        raise KeyGone
    return file, row
