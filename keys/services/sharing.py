"""Keys that two districts have: held back where one was opened again, and decided by staff."""

from django.db import transaction
from django.utils import timezone

from accounts import audit, notices
from accounts.models import SftpAccount, User
from accounts.nudge import nudge

from ..models import HELD_BACK, AccountKey, KeyFile, KeySet, SharedKeyRequest
from ..sets import PORTAL, Change, Fact, file_locked, set_make
from ..tasks import propagate_account
from .guards import ReasonMissing, staff_ask, taken, today_in
from .openings import opening_confirmed, opening_without

HELD_REASON = (
    "This key is in use somewhere else or was reported lost. Our support looks at it; until they allow it, "
    "it does not work here."
)

DECLINED_REASON = "Our support does not allow this key here, since it is in use somewhere else too. Their reason:"


class AlreadyDecided(Exception):
    """Somebody else was quicker."""


@transaction.atomic
def reopened_keys_check(account: SftpAccount) -> None:
    """Disables keys that another account took or lost while this one's district was closed, and asks staff.

    To be called when it is closed no longer.
    """
    file = file_locked(account)
    keys = list(account.keys.exclude(mark_code=HELD_BACK))
    found = taken(account, [key.fingerprint for key in keys])
    held = [key for key in keys if key.fingerprint in found]
    if not held:
        return
    for key in held:
        _held_back(key, HELD_REASON)
    staff_ask(account, held, PORTAL, is_reopened=True)
    change = Change(changed=tuple(Fact.of_row(key, f"disabled: {HELD_REASON}") for key in held))
    made = set_make(file, KeySet.Cause.DISABLED, PORTAL, change)
    to = notices.administrators_of(account.district)
    told = {"account": account, "keys": held}
    notices.notice_send("key-disabled", to, told, about=f"held-back-{made.pk}", district=account.district)
    nudge(propagate_account, account.pk)


@transaction.atomic
def shared_key_decide(
    request: SharedKeyRequest,
    *,
    allow: bool,
    reason: str,
    actor: User,
    seen: str = SharedKeyRequest.State.WAITING,
    confirmed: str = "",
) -> None:
    """Allows or declines, with a reason the district reads. `seen` is the state the form showed.

    A key that the district has saved is disabled when it is declined, and works again when it is allowed. Raises
    ReasonMissing, AlreadyDecided if the state is another by now or would stay the same, or ShutOut.
    """
    if not reason.strip():
        raise ReasonMissing
    # First, as every other change of an account's keys does: nobody then waits for two locks crosswise.
    file = file_locked(request.account)
    key = _key_of(request)
    if key is not None and not allow:
        opening_confirmed(request.account, opening_without(request.account, key), confirmed)
    state = SharedKeyRequest.State.ALLOWED if allow else SharedKeyRequest.State.DECLINED
    told = {"state": state, "decided_by": actor, "decided": timezone.now(), "reason": reason.strip()[:400]}
    rows = SharedKeyRequest.objects.filter(pk=request.pk, state=seen).exclude(state=state)
    if not rows.update(**told):
        raise AlreadyDecided
    request.refresh_from_db()
    district = request.account.district
    audit.record(
        f"shared key {state.value}",
        actor=actor,
        district=district,
        subject=request.account.username,
        details={"fingerprint": request.fingerprint, "reason": request.reason},
    )
    about = f"shared-key-{request.pk}-{request.decided:%Y%m%d%H%M%S%f}"
    to = notices.administrators_of(district)
    context = {
        "request": request,
        "is_enabled": allow and key is not None and _enabled(key, file),
        "is_disabled": not allow and key is not None and _disabled(key, file, request.reason),
    }
    notices.notice_send("shared-key-decided", to, context, about=about, district=district)


def _key_of(request: SharedKeyRequest) -> AccountKey | None:
    """The key it is about, if the district has it saved."""
    return AccountKey.objects.filter(account=request.account, fingerprint=request.fingerprint).first()


def _enabled(key: AccountKey, file: KeyFile) -> bool:
    """Lets a key work again that was held back; whether it was."""
    if key.mark_code != HELD_BACK:
        return False
    key.marked = key.disabled = key.disable_on = None
    key.mark_code = key.mark_reason = ""
    key.save(update_fields=["marked", "disabled", "mark_code", "mark_reason", "disable_on"])
    set_make(file, KeySet.Cause.ENABLED, PORTAL, Change(changed=(Fact.of_row(key, "works again"),)))
    nudge(propagate_account, key.account_id)
    return True


def _disabled(key: AccountKey, file: KeyFile, reason: str) -> bool:
    """Holds a key back; whether it worked until now."""
    was_working = key.disabled is None
    _held_back(key, f"{DECLINED_REASON} {reason}")
    if was_working:
        told = Fact.of_row(key, f"disabled: {key.mark_reason}")
        set_make(file, KeySet.Cause.DISABLED, PORTAL, Change(changed=(told,)))
        nudge(propagate_account, key.account_id)
    return was_working


def _held_back(key: AccountKey, reason: str) -> None:
    key.marked = now = timezone.now()
    key.disabled = key.disabled or now
    key.mark_code, key.mark_reason, key.disable_on = HELD_BACK, reason[:400], today_in(key.account.district)
    key.save(update_fields=["marked", "disabled", "mark_code", "mark_reason", "disable_on"])
