"""What an epoch's rows mean, in words: the sentence about it, the stages of its way, its format's title."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Sum

from .catalogue import format_title
from .core.display import counted
from .models import Epoch
from .pipeline import STEPS


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of an epoch's way as the page draws it; `state` is done, now, failed or open."""

    name: str
    says: str
    state: str
    finished: datetime | None
    figures: str


def sentence(epoch: Epoch) -> str:
    """What has happened to the epoch, and who acts next, in one sentence."""
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
            return f"{epoch.trouble} Our staff were told."
        case Epoch.State.GONE:
            return "It left /upload/ before it was processed: the district took it back."
        case Epoch.State.FAILED:
            return f"Nothing was loaded: {counted(epoch.errors, 'error')} found."
    return _loaded(epoch)


def _says(epoch: Epoch) -> str:
    names = [step.name for step in STEPS]
    place = names.index(epoch.step) + 1 if epoch.step in names else 0
    return STEPS[min(place, len(STEPS) - 1)].says


def _loaded(epoch: Epoch) -> str:
    files = epoch.files.all()  # lists have these prefetched
    added, changed, removed = (sum(getattr(file, what) for file in files) for what in ("added", "changed", "removed"))
    told = f"Loaded: {added:,} added, {changed:,} changed, {removed:,} removed"
    return f"{told}, {counted(epoch.warnings, 'warning')}." if epoch.warnings else f"{told}."


def stages(epoch: Epoch) -> tuple[Stage, ...]:
    """The epoch's way, from arriving to telling people."""
    finished = dict(epoch.steps.values_list("step", "finished"))
    told = [
        Stage("arrive", "Arrived", "done", epoch.first_seen, counted(epoch.file_count, "file")),
        Stage("recognise", "Complete and recognised", *_recognised(epoch)),
    ]
    is_next = epoch.state in (Epoch.State.QUEUED, *Epoch.OURS)
    for step in STEPS:
        if step.name in finished:
            is_bad = step.name == "check" and not epoch.is_ok
            told.append(
                Stage(
                    step.name,
                    step.says,
                    "failed" if is_bad else "done",
                    finished[step.name],
                    _figures(epoch, step.name),
                )
            )
        else:
            told.append(Stage(step.name, step.says, "now" if is_next else "open", None, ""))
            is_next = False
    return tuple(told)


def _recognised(epoch: Epoch) -> tuple[str, datetime | None, str]:
    if epoch.queued:
        return "done", epoch.queued, format_title(epoch.format)
    return ("now" if epoch.state != Epoch.State.GONE else "open"), None, ""


def _figures(epoch: Epoch, step: str) -> str:
    if step == "check":
        rows = epoch.files.aggregate(n=Sum("rows"))["n"] or 0
        return f"{rows:,} rows, {counted(epoch.errors, 'error')}, {counted(epoch.warnings, 'warning')}"
    if step == "load":
        return _loaded(epoch).removeprefix("Loaded: ") if epoch.is_ok else "nothing, because of the errors"
    if step == "move":
        return f"/upload-processed/{epoch.archive_name}/"
    return ""
