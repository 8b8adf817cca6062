"""What people want of keys, written down: one transaction each, a nudge on commit. `propagation` does it."""

from dataclasses import dataclass

from django.db import transaction
from django.db.models import F
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, PeriodicTask

from accounts import audit
from accounts.models import SftpAccount, User
from accounts.nudge import nudge

from .core.parse import Paste, parse_paste
from .core.publickey import PublicKey
from .models import AccountKey, KeyFile, PropagationRun
from .selectors import HOURLY_TASK, keys_of
from .tasks import propagate_account, propagate_run

# Every choice divides the hour, so the clock times a page promises are plain, and none is longer than an hour.
HOURLY_CHOICES = (60, 30, 20, 15, 10, 5)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a save changed (or would change), as values in the order of the box."""

    added: tuple[PublicKey, ...]
    removed: tuple[PublicKey, ...]
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


@transaction.atomic
def keys_save(account: SftpAccount, text: str, *, seen_version: int, actor: User) -> tuple[Difference, Paste]:
    """Replaces the account's keys by those of the pasted text: all of them, or none and an exception.

    `seen_version` is the version of the set the form showed. Raises PasteRefused or StaleSet.
    """
    paste = parse_paste(text)
    if not paste.accepted:
        raise PasteRefused(paste)
    file = KeyFile.objects.select_for_update().get(account=account)
    before = {key.fingerprint: key for key in keys_of(account)}
    difference = _difference([key.value() for key in before.values()], paste.keys)
    if file.version != seen_version:
        raise StaleSet(file.version, difference)
    if [key.line() for key in paste.keys] == [key.value().line() for key in before.values()]:
        return difference, paste
    _replace(account, paste.keys, before, actor)
    _want(file)
    audit.record(
        "keys saved",
        actor=actor,
        district=account.district,
        subject=account.username,
        details=_told(difference),
    )
    return difference, paste


def _difference(before: list[PublicKey], after: tuple[PublicKey, ...]) -> Difference:
    old = {key.fingerprint: key.comment for key in before}
    new = {key.fingerprint for key in after}
    return Difference(
        added=tuple(key for key in after if key.fingerprint not in old),
        removed=tuple(key for key in before if key.fingerprint not in new),
        kept=tuple(key for key in after if old.get(key.fingerprint) == key.comment),
        renamed=tuple(key for key in after if old.get(key.fingerprint, key.comment) != key.comment),
    )


def _replace(account: SftpAccount, keys: tuple[PublicKey, ...], before: dict[str, AccountKey], actor: User) -> None:
    account.keys.exclude(fingerprint__in=[key.fingerprint for key in keys]).delete()
    for position, key in enumerate(keys):
        row = before.get(key.fingerprint) or AccountKey(
            account=account,
            algorithm=key.algorithm,
            blob=key.blob_base64,
            fingerprint=key.fingerprint,
            added_by=actor,
        )
        row.position, row.comment = position, key.comment
        row.save()


def _told(difference: Difference) -> dict[str, object]:
    return {
        "added": [key.fingerprint for key in difference.added],
        "removed": [key.fingerprint for key in difference.removed],
        "kept": len(difference.kept) + len(difference.renamed),
    }


def _want(file: KeyFile) -> None:
    KeyFile.objects.filter(pk=file.pk).update(
        version=F("version") + 1,
        state=KeyFile.State.WAITING,
        wanted=timezone.now(),
        tries=0,
        next_try=None,
        code="",
        reason="",
    )
    nudge(propagate_account, file.account_id)


@transaction.atomic
def propagation_want(account: SftpAccount) -> None:
    """Marks the account's file as waiting for its host: its name, its district's state or its host has changed."""
    file, is_new = KeyFile.objects.get_or_create(account=account)
    if is_new:
        nudge(propagate_account, account.pk)
    else:
        _want(file)


@transaction.atomic
def run_want(cause: PropagationRun.Cause, *, actor: User | None) -> PropagationRun:
    """Asks for a run over all accounts; one that is asked for and not begun yet serves everybody who asks."""
    waiting = PropagationRun.objects.filter(state=PropagationRun.State.WAITING).exclude(
        cause=PropagationRun.Cause.SAVED
    )
    run = waiting.first()
    if run is None:
        run = PropagationRun.objects.create(cause=cause, asked_by=actor)
        if actor is not None:
            audit.record("propagation asked for", actor=actor, subject="all accounts")
    nudge(propagate_run, run.pk)
    return run


@transaction.atomic
def hourly_set(minutes: int, *, actor: User) -> None:
    """Sets how often all accounts are propagated: every `minutes`, one of HOURLY_CHOICES (60 at most)."""
    if minutes not in HOURLY_CHOICES:
        raise ValueError("The run over all accounts comes every 5, 10, 15, 20, 30 or 60 minutes.")
    row = PeriodicTask.objects.get(task=HOURLY_TASK)
    crontab, _ = CrontabSchedule.objects.get_or_create(
        minute="0" if minutes == 60 else f"*/{minutes}",
        hour="*",
        day_of_month="*",
        month_of_year="*",
        day_of_week="*",
        timezone="UTC",
    )
    row.crontab = crontab
    row.save()
    audit.record("propagation schedule set", actor=actor, subject=f"every {minutes} minutes")
