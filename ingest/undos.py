"""Staff take the last applied night back: seen before, bound to what was seen, and nothing new until they say so."""

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from accounts.services import Refused

from . import guarding, telling, undoing
from .comparing import version_of
from .models import Epoch, Judgement, Lane
from .outcome import judgement_of

__all__ = ["Refused", "epoch_undo", "refusal", "version_of"]


def refusal(epoch: Epoch) -> str:
    """Why a night cannot be taken back now; empty if it can."""
    if epoch.state == Epoch.State.UNDONE:
        return "It was taken back already."
    if epoch.state != Epoch.State.LOADED:
        return "Only a night that was loaded can be taken back."
    if Epoch.objects.filter(district=epoch.district_id, state=Epoch.State.WORKING).exists():
        return "Another night of this district is being processed. Try again when it has ended."
    return undoing.refusal(epoch) or _blindness(epoch)


def _blindness(epoch: Epoch) -> str:
    """Why nights could not be compared with what was before it; empty if they can."""
    judgement = judgement_of(epoch)
    earlier = Epoch.objects.filter(district=epoch.district_id, applied_version__lt=epoch.applied_version)
    if (judgement is not None and judgement.before is not None) or not earlier.exists():
        return ""
    return (
        f"Only the last {guarding.UNDOABLE} nights can be taken back: of those before, nobody knows any more what the "
        "next night is to be compared with. Send the right files instead."
    )


@transaction.atomic
def epoch_undo(epoch: Epoch, *, version: int, is_over_seen: bool, reason: str, actor: User) -> None:
    """Takes the last applied night back; then nothing is applied in this district until staff release it.

    `version`: the state that was seen. `is_over_seen`: that more would change than usual was seen, if so. Raises
    Refused.
    """
    _must_be_undoable(epoch)  # before the lane is locked, so that nobody waits for a load under way
    lane = Lane.locked(epoch.district)
    epoch, words = _must_be_undoable(epoch), " ".join(reason.split())
    if lane.version != version:
        raise Refused("seen-before", "The records have changed since you opened the page. Look at it once more.")
    if not words:
        raise Refused("no-reason", "Say why, in a sentence.")
    if guarding.undo_judged(epoch).holds and not is_over_seen:
        raise Refused("over-limit", "More would change than the limits allow: tick that you have looked at it.")
    done = undoing.undo(epoch)
    message = f"Taken back by {actor}: {words}"
    Judgement.objects.filter(epoch=epoch).update(act_message=message[:600], act_by=actor, act_at=timezone.now())
    guarding.took_back(epoch, f"{epoch.name} was taken back by {actor}. {words}")
    Epoch.objects.filter(pk=epoch.pk).update(state=Epoch.State.UNDONE)
    telling.undone(epoch)
    counts = {table: [one.added, one.changed, one.removed] for table, one in done.items()}
    details = {"reason": words, "added, changed, removed": counts}
    audit.record("epoch undone", actor=actor, district=epoch.district, subject=epoch.name, details=details)


def _must_be_undoable(epoch: Epoch) -> Epoch:
    now = Epoch.objects.select_related("district").get(pk=epoch.pk)
    if why := refusal(now):
        raise Refused("not-undoable", why)
    return now
