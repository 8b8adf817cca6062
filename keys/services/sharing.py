"""Staff decide whether a district may have a key that another has."""

from django.db import transaction
from django.utils import timezone

from accounts import audit, notices
from accounts.models import User

from ..models import SharedKeyRequest
from .guards import ReasonMissing


class AlreadyDecided(Exception):
    """Somebody else was quicker."""


@transaction.atomic
def shared_key_decide(request: SharedKeyRequest, *, allow: bool, reason: str, actor: User) -> None:
    """Allows or declines, with a reason the district reads. Raises ReasonMissing or AlreadyDecided."""
    if not reason.strip():
        raise ReasonMissing
    state = SharedKeyRequest.State.ALLOWED if allow else SharedKeyRequest.State.DECLINED
    told = {"state": state, "decided_by": actor, "decided": timezone.now(), "reason": reason.strip()[:400]}
    rows = SharedKeyRequest.objects.filter(pk=request.pk).exclude(state=state)
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
    notices.notice_send("shared-key-decided", to, {"request": request}, about=about, district=district)
