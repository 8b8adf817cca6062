"""Keys that two districts have: held back where one was opened again, and decided by staff."""

from django.db import transaction
from django.utils import timezone

from accounts import audit, notices
from accounts.models import AuditEntry, District, SftpAccount, User
from accounts.nudge import nudge

from ..models import HELD_BACK, AccountKey, KeyFile, KeySet, SharedKeyRequest
from ..sets import PORTAL, Change, Fact, file_locked, set_make
from ..tasks import propagate_account
from .guards import ReasonMissing, staff_ask, taken, today_in

HELD_REASON = (
    "This key is in use somewhere else or was reported lost. Our support looks at it; until they allow it, "
    "it does not work here."
)


class AlreadyDecided(Exception):
    """Somebody else was quicker."""


@transaction.atomic
def reopened_keys_check(account: SftpAccount) -> None:
    """Disables keys that another account took or lost while this one's district was closed, and asks staff.

    To be called after each change of the account; nothing if its district was not closed until now.
    """
    if not _is_reopened(account):
        return
    file = file_locked(account)
    keys = list(account.keys.exclude(mark_code=HELD_BACK))
    found = taken(account, [key.fingerprint for key in keys])
    held = [key for key in keys if key.fingerprint in found]
    if not held:
        return
    for key in held:
        key.marked = key.disabled = timezone.now()
        key.mark_code, key.mark_reason, key.disable_on = HELD_BACK, HELD_REASON, today_in(account.district)
        key.save(update_fields=["marked", "disabled", "mark_code", "mark_reason", "disable_on"])
    staff_ask(account, held, PORTAL, is_reopened=True)
    change = Change(changed=tuple(Fact.of_row(key, f"disabled: {HELD_REASON}") for key in held))
    made = set_make(file, KeySet.Cause.DISABLED, PORTAL, change)
    to = notices.administrators_of(account.district)
    told = {"account": account, "keys": held}
    notices.notice_send("key-disabled", to, told, about=f"held-back-{made.pk}", district=account.district)
    nudge(propagate_account, account.pk)


def _is_reopened(account: SftpAccount) -> bool:
    """Whether the last thing that happened to the district is that it was closed no longer."""
    log = AuditEntry.objects.filter(district=account.district.slug, action__startswith="district ")
    last = log.first()
    is_open = account.district.state != District.State.CLOSED
    return is_open and last is not None and last.details.get("from") == District.State.CLOSED


@transaction.atomic
def shared_key_decide(
    request: SharedKeyRequest,
    *,
    allow: bool,
    reason: str,
    actor: User,
    seen: str = SharedKeyRequest.State.WAITING,
) -> None:
    """Allows or declines, with a reason the district reads. `seen` is the state the form showed.

    Raises ReasonMissing, or AlreadyDecided if the state is another by now or would stay the same.
    """
    if not reason.strip():
        raise ReasonMissing
    # First, as every other change of an account's keys does: nobody then waits for two locks crosswise.
    file = file_locked(request.account)
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
    context = {"request": request, "is_enabled": allow and _enabled(request, file)}
    notices.notice_send("shared-key-decided", to, context, about=about, district=district)


def _enabled(request: SharedKeyRequest, file: KeyFile) -> bool:
    """Lets a key work again that was held back; whether there was one."""
    account = request.account
    key = AccountKey.objects.filter(account=account, fingerprint=request.fingerprint, mark_code=HELD_BACK).first()
    if key is None:
        return False
    key.marked = key.disabled = key.disable_on = None
    key.mark_code = key.mark_reason = ""
    key.save(update_fields=["marked", "disabled", "mark_code", "mark_reason", "disable_on"])
    set_make(file, KeySet.Cause.ENABLED, PORTAL, Change(changed=(Fact.of_row(key, "works again"),)))
    nudge(propagate_account, account.pk)
    return True
