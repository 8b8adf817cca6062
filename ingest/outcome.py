"""How a night ends, read from what the check, the guard and people have said of it."""

from .core.facts import LOST
from .core.guard import State, Weight
from .models import Epoch, Judgement

# Noted beside the steps: a person has ended an epoch that trouble on our side had stopped.
ENDED = "ended"
# Noted of what was last seen: a person has ended it where it lies in /upload/. As long as nobody touches it, it is
# passed over there.
LEFT = "left"
NOT_APPLIED = {State.BLACKOUT: Epoch.State.BLACKOUT, State.SUPERSEDED: Epoch.State.SUPERSEDED}


def judgement_of(epoch: Epoch) -> Judgement | None:
    """What the guard said of it, if it has come so far."""
    return getattr(epoch, "judgement", None)


def held_for(judgement: Judgement | None) -> str:
    """What a night was held for when it was judged last: each reason and its table, without numbers; or empty."""
    if judgement is None or judgement.state != State.HELD:
        return ""
    return " ".join(
        sorted(f"{one['code']}/{one['table']}" for one in judgement.reasons if one["weight"] == Weight.HOLD)
    )


def is_discarded(epoch: Epoch) -> bool:
    """Whether a person has said that nothing of it is to be applied."""
    judgement = judgement_of(epoch)
    return judgement is not None and judgement.act == Judgement.Act.DISCARDED


def end_of(epoch: Epoch) -> Epoch.State:
    """The state in which a night that is done with ends."""
    judgement = judgement_of(epoch)
    if is_discarded(epoch):
        return Epoch.State.DISCARDED
    if not epoch.is_ok:
        return Epoch.State.FAILED
    if judgement is not None and judgement.state in NOT_APPLIED:
        return NOT_APPLIED[State(judgement.state)]
    return Epoch.State.LOADED


def loss_of(epoch: Epoch) -> str:
    """What is lost with a night that failed, in a sentence; empty if nothing is."""
    judgement = judgement_of(epoch)
    return LOST if judgement is not None and judgement.message.endswith(LOST) else ""


def missing_before(epoch: Epoch) -> str:
    """What is missing on record because a night of changes before this one is not applied; empty if nothing is."""
    judgement = judgement_of(epoch)
    reasons = judgement.reasons if judgement is not None else []
    return next((one["message"] for one in reasons if one["code"] == "changes-lost"), "")


def is_applying(epoch: Epoch) -> bool:
    """Whether the records become those of the files: it passed, changes nothing, or a person approved it."""
    judgement = judgement_of(epoch)
    if judgement is None or end_of(epoch) != Epoch.State.LOADED:
        return False
    is_approved = judgement.state == State.HELD and judgement.act == Judgement.Act.APPROVED
    return is_approved or judgement.state in (State.PASS, State.NO_CHANGE)


def is_loaded(epoch: Epoch) -> bool:
    """Whether its rows have been applied, though it may not have ended yet."""
    return is_applying(epoch) and epoch.steps.filter(step="load").exists()


def is_ended(epoch: Epoch) -> bool:
    """Whether a person has ended it, so that it goes on without files that are lost."""
    return is_discarded(epoch) or epoch.steps.filter(step=ENDED).exists()
