"""What happens to keys by the clock: judged by today's rules, retired once replaced, reminded of before their last day.

Each account is dealt with in a transaction of its own, its mails in it: whatever a crash leaves, the next run does, and
nobody is told twice. What a run changes is pushed by its task.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import transaction
from django.db.models import F, Max, Q, QuerySet
from django.utils import timezone

from accounts import audit
from accounts.core.roles import Role
from accounts.models import District, SftpAccount
from accounts.notices import administrators_of, notice_send, staff_in

from .core.errors import KeyProblem, Problem, Refusal
from .core.life import REMINDERS, Finding, Mark, finding_from, marked, reminder_due, unreadable
from .core.policy import Policy, judge, weaknesses
from .core.publickey import PublicKey
from .core.weak import shared_factors
from .models import HELD_BACK, AccountKey, KeySet
from .policy import thorough_policy_now
from .selectors import sign_ins_of
from .sets import PORTAL, Change, Fact, file_locked, set_make

logger = logging.getLogger(__name__)
BATCH = 200
# What was judged so short a time ago was judged by the same night's run, which was cut off.
SAME_NIGHT = timedelta(hours=6)
# In the district's time zone: nobody reads a reminder before.
CIVIL_HOUR = 8
# A mail to staff is read, a list of thousands is not; the page has them all.
LISTED = 50
NOT_THE_SAVED = Problem("stored-key-changed", "The stored key is not the one that was saved.", "")


# --- Judged anew -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rules:
    """What stored keys are judged by: today's policy, the moduli with shared primes, the usual days of grace."""

    policy: Policy
    shared: frozenset[int]
    days: int

    def finding(self, key: AccountKey) -> Finding | None:
        """Why a stored key fails, None if it passes."""
        try:
            value = _read(key)
        except KeyProblem as error:
            return unreadable(error.problem)
        problems = judge(value, self.policy) or weaknesses(value, self.policy)
        if not problems and value.rsa_modulus in self.shared:
            problems = (Refusal.WEAK_SHARED_PRIMES.problem(),)
        return finding_from(problems[0], self.days) if problems else None


def _read(key: AccountKey) -> PublicKey:
    """The stored key as a value; raises KeyProblem if it is none, or another than was saved."""
    value = key.value()
    if (value.algorithm, value.fingerprint) != (key.algorithm, key.fingerprint):
        raise KeyProblem(NOT_THE_SAVED)
    return value


def judge_all(now: datetime | None = None, *, since: datetime | None = None) -> list[int]:
    """Judges every stored key of districts that are not closed; the accounts whose file changed by it.

    A key that fails is marked with the reason and a day, and disabled when the day has come; one that passes again is
    as it was. Nothing is deleted. Accounts whose keys were all judged after `since` are left out: so a run that was
    killed is gone on with.
    """
    now = now or timezone.now()
    rules = Rules(thorough_policy_now(), _shared(), settings.KEY_GRACE_DAYS)
    changed = [account.pk for account in _accounts(since, now) if _is_changed(account, rules, now)]
    _tell_staff()
    return changed


def _not_closed() -> QuerySet[AccountKey]:
    return AccountKey.objects.exclude(account__district__state=District.State.CLOSED)


def _shared() -> frozenset[int]:
    """The stored RSA moduli that have a prime in common with another, or are used with two exponents."""
    exponents: dict[int, set[int]] = {}
    for key in _not_closed().filter(algorithm="ssh-rsa").iterator(chunk_size=BATCH):
        if (numbers := _rsa_numbers(key)) is not None:
            exponents.setdefault(numbers[0], set()).add(numbers[1])
    return shared_factors(exponents) | {modulus for modulus, used in exponents.items() if len(used) > 1}


def _rsa_numbers(key: AccountKey) -> tuple[int, int] | None:
    """Modulus and exponent of a stored key."""
    try:
        value = _read(key)
    except Exception:  # whatever it is, the walk over all keys meets it again and tells of it
        return None
    modulus, exponent = value.rsa_modulus, value.rsa_exponent
    return (modulus, exponent) if modulus is not None and exponent is not None else None


def _accounts(since: datetime | None, now: datetime) -> Iterator[SftpAccount]:
    """The accounts with keys, a batch at a time: five thousand with all they have would not fit.

    A batch is noted as judged when it is done with, so that whoever comes after a killed worker begins there.
    """
    rows = SftpAccount.objects.exclude(district__state=District.State.CLOSED).filter(keys__isnull=False).distinct()
    if since is not None:
        rows = rows.filter(Q(keys__judged=None) | Q(keys__judged__lt=since))
    rows = rows.select_related("district").prefetch_related("keys").order_by("pk")
    after = 0
    while batch := list(rows.filter(pk__gt=after)[:BATCH]):
        yield from batch
        AccountKey.objects.filter(account__in=batch).update(judged=now)
        after = batch[-1].pk


def _is_changed(account: SftpAccount, rules: Rules, now: datetime) -> bool:
    """Judges an account's keys; whether its file changed by it. Trouble with one account never stops the others."""
    try:
        findings = dict(_findings(account.keys.all(), rules))
        today = _day(now, account)
        judged = [key for key in account.keys.all() if key.pk in findings]
        return any(_news(key, findings[key.pk], today) for key in judged) and _judged(account, findings, now)
    except Exception:
        logger.exception("The keys of account %s could not be judged.", account.pk)
        return False


def _findings(keys: Iterable[AccountKey], rules: Rules) -> Iterator[tuple[int, Finding | None]]:
    for key in keys:
        try:
            yield key.pk, rules.finding(key)
        except Exception:  # such a key stays as it is
            logger.exception("Key %s could not be judged.", key.pk)


def _day(now: datetime, account: SftpAccount) -> date:
    """The calendar day in the district's time zone."""
    return now.astimezone(ZoneInfo(account.district.time_zone)).date()


@dataclass(frozen=True, slots=True)
class News:
    """A key whose mark is no longer what it was."""

    key: AccountKey
    before: Mark | None
    after: Mark | None

    @property
    def is_marked(self) -> bool:
        """Whether people must hear of a reason and a day that they do not know yet."""
        if self.after is None or self.after.is_disabled:
            return False
        told = self.before and (self.before.code, self.before.disable_on)
        return told != (self.after.code, self.after.disable_on)

    @property
    def is_disabled(self) -> bool:
        was = self.before is not None and self.before.is_disabled
        return not was and self.after is not None and self.after.is_disabled

    @property
    def is_enabled(self) -> bool:
        return self.after is None and self.before is not None and self.before.is_disabled

    @property
    def is_cleared(self) -> bool:
        return self.after is None and self.before is not None and not self.before.is_disabled


def _news(key: AccountKey, finding: Finding | None, today: date) -> News | None:
    if key.mark_code == HELD_BACK:
        return None
    before = _mark_of(key)
    after = marked(before, finding, today)
    return News(key, before, after) if after != before else None


def _mark_of(key: AccountKey) -> Mark | None:
    if key.disable_on is None:
        return None
    return Mark(key.mark_code, key.mark_reason, key.disable_on, key.disabled is not None)


@transaction.atomic
def _judged(account: SftpAccount, findings: dict[int, Finding | None], now: datetime) -> bool:
    """Writes what was found to the keys as they are by now, and tells of it; whether the file changed."""
    file = file_locked(account)
    today = _day(now, account)
    # Each row is read again under the lock; one that was taken out meanwhile is gone.
    rows = account.keys.filter(pk__in=findings)
    news = [one for key in rows if (one := _news(key, findings[key.pk], today))]
    for one in news:
        _keep(one, now)
    _tell_marks(account, news, now)
    disabled = tuple(Fact.of_row(one.key, f"disabled: {one.key.mark_reason}") for one in news if one.is_disabled)
    enabled = tuple(Fact.of_row(one.key, "works again") for one in news if one.is_enabled)
    if disabled:
        set_make(file, KeySet.Cause.DISABLED, PORTAL, Change(changed=disabled))
    if enabled:
        set_make(file, KeySet.Cause.ENABLED, PORTAL, Change(changed=enabled))
    return bool(disabled or enabled)


def _keep(news: News, now: datetime) -> None:
    key, after = news.key, news.after
    if after is None:
        key.marked = key.disable_on = key.disabled = None
        key.mark_code = key.mark_reason = ""
    else:
        key.mark_code, key.mark_reason, key.disable_on = after.code, after.reason, after.disable_on
        key.marked = now if news.is_marked or key.marked is None else key.marked
        key.disabled = now if news.is_disabled else key.disabled
    key.save(update_fields=["marked", "mark_code", "mark_reason", "disable_on", "disabled"])


def _tell_marks(account: SftpAccount, news: list[News], now: datetime) -> None:
    told = {
        "key-marked": [one.key for one in news if one.is_marked],
        "key-disabled": [one.key for one in news if one.is_disabled],
        "key-cleared": [one.key for one in news if one.is_cleared],
    }
    about = f"judged-{account.pk}-{now:%Y%m%d%H%M%S%f}"
    for kind, keys in told.items():
        if keys:
            _tell(account, kind, {"keys": keys}, about)
    _audit(account, "key marked as unsafe", told["key-marked"])
    _audit(account, "key no longer marked", told["key-cleared"])


def _tell(account: SftpAccount, kind: str, told: dict[str, object], about: str) -> None:
    district = account.district
    notice_send(kind, administrators_of(district), {"account": account, **told}, about=about, district=district)


def _audit(account: SftpAccount, action: str, keys: list[AccountKey]) -> None:
    for key in keys:
        said = {"code": key.mark_code, "disabled on": key.disable_on and key.disable_on.isoformat()}
        details = {"fingerprint": key.fingerprint, **{name: value for name, value in said.items() if value}}
        audit.record(action, district=account.district, subject=account.username, details=details)


def _tell_staff() -> None:
    """One mail to support for all districts, when there is a mark that the mail before did not know."""
    rows = _not_closed().filter(disable_on__isnull=False).select_related("account__district")
    newest = max(filter(None, rows.aggregate(Max("marked"), Max("disabled")).values()), default=None)
    if newest is None:
        return
    keys = rows.order_by(F("disabled").asc(nulls_first=True), "disable_on", "pk")
    told = {"keys": keys[:LISTED], "count": keys.count(), "more": max(0, keys.count() - LISTED)}
    notice_send("keys-unsafe", staff_in(Role.SUPPORT), told, about=f"unsafe-{newest:%Y%m%d%H%M%S%f}")


# --- Retired -----------------------------------------------------------------------------------------------------


def retire_due(now: datetime | None = None) -> list[int]:
    """Retires replaced keys some days after the first good sign-in of the new one; the accounts whose file changed."""
    now = now or timezone.now()
    rows = _not_closed().filter(replaces__isnull=False, retire_after__isnull=False)
    rows = rows.select_related("replaces", "account__district").order_by("pk")
    return list(dict.fromkeys(new.account_id for new in rows if _is_retired(new, now)))


def _is_retired(new: AccountKey, now: datetime) -> bool:
    try:
        retires = _retires(new)
        return retires is not None and retires <= now and _taken_out(new, now)
    except Exception:
        logger.exception("The key that key %s replaces could not be retired.", new.pk)
        return False


def _retires(new: AccountKey) -> datetime | None:
    """When the replaced key goes, noted once, at the first good sign-in of the new one; None before."""
    if new.retires_old is not None or new.retire_after is None:
        return new.retires_old
    good = sign_ins_of(new.account).filter(accepted=True, fingerprint=new.fingerprint, at__gte=new.added)
    first = good.order_by("at", "pk").first()
    if first is None:
        return None
    retires = first.at + timedelta(days=new.retire_after)
    AccountKey.objects.filter(pk=new.pk).update(retires_old=retires)
    return retires


@transaction.atomic
def _taken_out(new: AccountKey, now: datetime) -> bool:
    """Takes out the old key, unless no key that works would be left: then it stays, and its people are told once."""
    account = new.account
    file = file_locked(account)
    old = account.keys.filter(replaced_by=new).first()
    if old is None:
        return False
    if _is_needed(old, _day(now, account)):
        logger.warning("Key %s is not retired: no key that works would be left.", old.pk)
        _tell(account, "key-kept", {"key": old, "new": new}, f"key-kept-{old.pk}")
        return False
    set_make(
        file,
        KeySet.Cause.RETIRED,
        PORTAL,
        Change(removed=(Fact.of_row(old, f"replaced by {new.comment or new.fingerprint}"),)),
    )
    _hand_on(old)
    old.delete()
    return True


def _hand_on(old: AccountKey) -> None:
    """A key that goes may be the successor of a third: its own successors are so from now on."""
    heirs = AccountKey.objects.filter(replaces=old)
    if old.replaces_id is None:
        heirs.update(replaces=None, retire_after=None, retires_old=None)
        return
    # The day that was told for the third stays, with those that have signed in.
    heirs.filter(retires_old__isnull=False).update(retires_old=old.retires_old or F("retires_old"))
    heirs.update(replaces=old.replaces_id)


def _is_needed(key: AccountKey, today: date) -> bool:
    """Whether without it no key would be left that works, or none of those that have ever signed in."""
    others = {other.fingerprint for other in key.account.keys.exclude(pk=key.pk) if other.is_usable(today)}
    if not key.is_usable(today) or not others:
        return key.is_usable(today)
    good = sign_ins_of(key.account).filter(accepted=True, fingerprint__in={key.fingerprint, *others})
    tried = set(good.order_by().values_list("fingerprint", flat=True).distinct())
    return key.fingerprint in tried and not tried & others


# --- Reminded of -------------------------------------------------------------------------------------------------


def remind_due(now: datetime | None = None) -> None:
    """Reminds administrators of keys whose last day is near, from the civil hour on in their own time zone."""
    now = now or timezone.now()
    rows = AccountKey.objects.filter(account__district__state=District.State.ACTIVE, disabled=None)
    # One that retires by itself has a successor that works.
    rows = rows.filter(expires_on__lte=now.date() + timedelta(days=max(REMINDERS) + 2))
    rows = rows.exclude(replaced_by__retires_old__isnull=False)
    for key in rows.exclude(reminded=min(REMINDERS)).select_related("account__district").order_by("pk"):
        try:
            _remind(key, now)
        except Exception:
            logger.exception("Nobody could be reminded of the end of key %s.", key.pk)


def _remind(key: AccountKey, now: datetime) -> None:
    local = now.astimezone(ZoneInfo(key.account.district.time_zone))
    last_day, today = key.expires_on, local.date()
    due = reminder_due(last_day, today, key.reminded) if last_day else None
    if last_day is None or due is None or local.hour < CIVIL_HOUR:
        return
    with transaction.atomic():
        # Only if nobody gave it another day in the meantime.
        rows = AccountKey.objects.filter(pk=key.pk, expires_on=last_day, reminded=key.reminded)
        if rows.update(reminded=due):
            told = {"key": key, "left": (last_day - today).days, "is_needed": _is_needed(key, today)}
            _tell(key.account, "key-expiry", told, f"key-{key.pk}-ends-{last_day}-{due}")
