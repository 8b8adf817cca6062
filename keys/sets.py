"""The next version of an account's set of keys: what changed, who did it, from where, why; told to all it concerns."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.utils import timezone

from accounts import audit, notices
from accounts.models import District, SftpAccount, User

from .core.publickey import PublicKey
from .models import AccountKey, KeyFile, KeySet


@dataclass(frozen=True, slots=True)
class By:
    """Who changes keys (None: the portal itself), from which address, and the reason staff must give."""

    actor: User | None
    address: str = ""
    reason: str = ""


PORTAL = By(None)


@dataclass(frozen=True, slots=True)
class Fact:
    """A key as history, mail and audit log tell it: nothing that is not public. `told` says what was changed."""

    fingerprint: str
    label: str
    comment: str
    told: str = ""

    @classmethod
    def of(cls, key: PublicKey, told: str = "") -> "Fact":
        return cls(key.fingerprint, key.label, key.comment, told)

    @classmethod
    def of_row(cls, key: AccountKey, told: str = "") -> "Fact":
        """Of a stored key, be it still valid or not."""
        return cls(key.fingerprint, key.label, key.comment, told)

    def plain(self) -> dict[str, str]:
        """For JSON columns."""
        return {
            "fingerprint": self.fingerprint,
            "label": self.label,
            "comment": self.comment,
            **({"told": self.told} if self.told else {}),
        }


@dataclass(frozen=True, slots=True)
class Change:
    """What one change did to a set."""

    added: tuple[Fact, ...] = ()
    removed: tuple[Fact, ...] = ()
    changed: tuple[Fact, ...] = ()


def file_locked(account: SftpAccount) -> KeyFile:
    """The account's key file, locked until the end of the transaction: changes of one set come one after the other."""
    return KeyFile.objects.select_for_update().get(account=account)


def set_make(file: KeyFile, cause: KeySet.Cause, by: By, change: Change = Change()) -> KeySet:
    """Notes the next version of a locked file; it waits for its host from now on. The caller nudges a worker."""
    file.version += 1
    file.state, file.wanted = KeyFile.State.WAITING, timezone.now()
    file.tries, file.next_try, file.code, file.reason = 0, None, "", ""
    file.save(update_fields=["version", "state", "wanted", "tries", "next_try", "code", "reason"])
    return _noted(file, cause, by, change)


def set_first(file: KeyFile) -> KeySet:
    """Notes the first version of a new account's file."""
    return _noted(file, KeySet.Cause.ACCOUNT, PORTAL, Change())


def _noted(file: KeyFile, cause: KeySet.Cause, by: By, change: Change) -> KeySet:
    account = file.account
    made = KeySet.objects.create(
        account=account,
        version=file.version,
        cause=cause,
        is_shut=account.district.state != District.State.ACTIVE,
        actor=by.actor,
        address=by.address,
        reason=by.reason.strip()[:400],
        added=_plain(change.added),
        removed=_plain(change.removed),
        changed=_plain(change.changed),
    )
    # Of an account's own life people are told by other means.
    if made.is_by_people:
        _audit(made, account, by)
        # The nightly look says at more length why, and what to do; another order of the lines is no news.
        if cause != KeySet.Cause.DISABLED and (change != Change() or cause != KeySet.Cause.SAVED):
            _mail(made, account)
    return made


def _plain(facts: Iterable[Fact]) -> list[dict[str, str]]:
    return [fact.plain() for fact in facts]


def _audit(made: KeySet, account: SftpAccount, by: By) -> None:
    told = {name: [fact["fingerprint"] for fact in getattr(made, name)] for name in ("added", "removed", "changed")}
    details = {name: prints for name, prints in told.items() if prints}
    said = {"from": by.address, "reason": by.reason}
    audit.record(
        made.get_cause_display().lower(),
        actor=by.actor,
        district=account.district,
        subject=account.username,
        details={**details, **{name: value for name, value in said.items() if value}},
    )


def _mail(made: KeySet, account: SftpAccount) -> None:
    district = account.district
    told = {"made": made, "account": account}
    to = notices.administrators_of(district)
    notices.notice_send("keys-changed", to, told, about=f"key-set-{made.pk}", district=district)
