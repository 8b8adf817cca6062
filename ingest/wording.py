"""What an epoch's rows mean, in words: the sentence about it, the stages of its way, its format's title."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum

from .catalogue import format_title
from .core import guard
from .core.display import counted
from .models import Epoch
from .outcome import is_applying, is_discarded, judgement_of, loss_of
from .pipeline import JUDGED, STEPS

# What is said of nights that wait in a district that was suspended.
PAUSED: dict[str, str] = {
    Epoch.State.ARRIVING: "It lies in /upload/. The district is suspended: it is looked at again when that is over.",
    Epoch.State.QUEUED: "Complete and recognised. The district is suspended: it waits as it came until that is over.",
    Epoch.State.BEHIND: "Received and checked. The district is suspended: nothing is applied until that is over.",
}
IS_NEXT = "Its turn has come: it is compared with the records."


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of an epoch's way as the page draws it; `state` is done, now, held, failed or open."""

    name: str
    says: str
    state: str
    finished: datetime | None
    figures: str


def sentence(epoch: Epoch) -> str:
    """What has happened to the epoch, and who acts next, in one sentence."""
    if epoch.is_paused:
        return PAUSED[epoch.state]
    match epoch.state:
        case Epoch.State.ARRIVING:
            return epoch.look_sentence or "It is arriving. We look again in a few seconds."
        case Epoch.State.WAITING_STAFF:
            return epoch.look_sentence or "Not recognised. Our staff were told; you need do nothing."
        case Epoch.State.QUEUED:
            return "Complete and recognised. It is processed in a moment."
        case Epoch.State.WORKING:
            return f"{_says(epoch)} ..." if not epoch.trouble else f"{epoch.trouble} We try again by ourselves."
        case Epoch.State.STUCK:
            goes_on = " We try again by ourselves." if epoch.next_try else ""
            return f"{epoch.trouble}{goes_on} Our staff were told."
        case Epoch.State.GONE:
            return "It left /upload/ before it was processed: the district took it back."
        case Epoch.State.FAILED:
            return f"Nothing was loaded: {counted(epoch.errors, 'error')} found. {loss_of(epoch)}".strip()
        case Epoch.State.BEHIND:
            return "Received and checked. It waits until our staff have decided about an earlier night."
        case Epoch.State.UNDONE:
            judgement = judgement_of(epoch)
            why = judgement.act_message if judgement is not None else ""
            return f"Loaded, then taken back. The records are as they were before it. {why}".strip()
    return _judged(epoch) or _loaded(epoch)


def _judged(epoch: Epoch) -> str:
    """What the guard or a person said of a night that was not simply loaded."""
    judgement = judgement_of(epoch)
    if judgement is None:
        return "Held: a person has to look at it." if epoch.state == Epoch.State.HELD else ""
    if epoch.state in Epoch.UNAPPLIED:
        return judgement.act_message or judgement.message
    is_told = epoch.state == Epoch.State.HELD or judgement.state == guard.State.NO_CHANGE
    return judgement.message if is_told else ""


def _says(epoch: Epoch) -> str:
    names = [step.name for step in STEPS]
    place = names.index(epoch.step) + 1 if epoch.step in names else 0
    return STEPS[min(place, len(STEPS) - 1)].says


def _loaded(epoch: Epoch) -> str:
    added, changed, removed = (rows_of(epoch, what) for what in ("added", "changed", "removed"))
    told = f"Loaded: {added:,} added, {changed:,} changed, {removed:,} removed"
    return f"{told}, {counted(epoch.warnings, 'warning')}." if epoch.warnings else f"{told}."


def rows_of(epoch: Epoch, what: str) -> int:
    """How many rows of all its files it added, changed or removed."""
    return sum(getattr(file, what) for file in epoch.files.all())  # lists have these prefetched


def stages(epoch: Epoch) -> tuple[Stage, ...]:
    """The epoch's way, from arriving to telling people."""
    finished = dict(epoch.steps.values_list("step", "finished"))
    told = [
        Stage("arrive", "Arrived", "done", epoch.first_seen, counted(epoch.file_count, "file")),
        Stage("recognise", "Complete and recognised", *_recognised(epoch)),
    ]
    is_next = epoch.is_under_way or epoch.state == Epoch.State.STUCK
    for step in STEPS:
        if step.name in finished:
            told.append(
                Stage(
                    step.name,
                    step.says,
                    _stage_state(epoch, step.name),
                    finished[step.name],
                    _figures(epoch, step.name),
                )
            )
        else:
            told.append(Stage(step.name, step.says, "now" if is_next else "open", None, ""))
            is_next = False
    return tuple(told)


def _stage_state(epoch: Epoch, step: str) -> str:
    """How a step that is done came out."""
    if step == "check" and not (epoch.is_ok or is_discarded(epoch)):
        return "failed"
    return "held" if step == JUDGED and epoch.state == Epoch.State.HELD else "done"


def _recognised(epoch: Epoch) -> tuple[str, datetime | None, str]:
    if epoch.queued:
        return "done", epoch.queued, format_title(epoch.format)
    return ("now" if epoch.state != Epoch.State.GONE else "open"), None, ""


def _figures(epoch: Epoch, step: str) -> str:
    if step == "check":
        rows = epoch.files.aggregate(n=Sum("rows"))["n"] or 0
        return f"{rows:,} rows, {counted(epoch.errors, 'error')}, {counted(epoch.warnings, 'warning')}"
    if step == JUDGED:
        return _compared(epoch)
    if step == "load":
        return _applied(epoch)
    if step == "move":
        return f"/upload-processed/{epoch.archive_name}/"
    return ""


def _compared(epoch: Epoch) -> str:
    judgement = judgement_of(epoch)
    if judgement is None or not judgement.state:  # discarded while it waited for its turn
        return ""
    number = len([one for one in judgement.reasons if one["weight"] == guard.Weight.HOLD])
    if judgement.state == guard.State.HELD:
        approved = ", approved once" if judgement.act == judgement.Act.APPROVED else ""
        return f"held: {counted(number, 'reason')}{approved}"
    return {guard.State.PASS: "within all limits", guard.State.NO_CHANGE: "nothing has changed"}.get(
        guard.State(judgement.state), ""
    )


def is_compared(epoch: Epoch) -> bool:
    """Whether it has been told what the epoch would change."""
    judgement = judgement_of(epoch)
    return epoch.is_ok and judgement is not None and bool(judgement.state)


def _applied(epoch: Epoch) -> str:
    if not (epoch.is_ok or is_discarded(epoch)):
        return "nothing, because of the errors"
    return _loaded(epoch).removeprefix("Loaded: ") if is_applying(epoch) else "nothing was applied"
