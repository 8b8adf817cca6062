"""Ends epochs that would never end: those that trouble on our side has stopped, and what waits in closed districts.

Their files, as far as there are any, go to /upload-processed/ with a log, and from there by retention.
"""

from collections.abc import Iterable
from enum import StrEnum

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts import audit
from accounts.models import District, User

from . import guarding, telling
from .core import holding
from .core.discovery import UNREADABLE
from .core.holding import Act, Queued
from .models import Epoch, Judgement, Lane, StepTime
from .outcome import ENDED, LEFT, is_applying, is_loaded, judgement_of
from .staging import FilesLost

CLOSED = "The district was closed."
LOST = "Its files were lost or damaged on our side."
IN_UPLOAD = (
    "It could not be taken over. Its files were left in /upload/ as they lie, and are passed over until they change."
)
UNMOVED = (
    "Its files could not be moved to /upload-processed/. They are kept, and moved there as soon as that is possible."
)
LOADED = "Its rows are applied, but its files were lost or damaged on our side: what is left of them was moved."
# When these steps are done, what becomes of it is decided; only its place is missing, and that people are told.
DECIDED = ("load", "log", "move")
# Nobody works on these, and in a closed district nobody may decide about them.
WAITING = (Epoch.State.WAITING_STAFF, Epoch.State.QUEUED, Epoch.State.HELD, Epoch.State.BEHIND)


def is_lost(epoch: Epoch) -> bool:
    """Whether trouble has stopped it since its files are not where we put them."""
    return epoch.trouble == FilesLost.about


def refusal(epoch: Epoch) -> str:
    """Why staff cannot end an epoch now; empty if they can."""
    if epoch.state != Epoch.State.STUCK:
        return "Only an epoch that trouble on our side has stopped can be ended. Look at how it stands now."
    return ""


class Way(StrEnum):
    """How an epoch that trouble has stopped can be ended.

    LEFT: it stays in /upload/, not taken over. UNMOVED: as it was decided, its place in /upload-processed/ comes later.
    LOST: applied, without its files. DISCARDED: nothing of it is applied.
    """

    LEFT = "left"
    UNMOVED = "unmoved"
    LOST = "lost"
    DISCARDED = "discarded"


def way_of(epoch: Epoch) -> Way:
    """What ending this epoch would mean."""
    if not epoch.step:
        return Way.LEFT
    if epoch.step in DECIDED and not is_lost(epoch):
        return Way.UNMOVED
    return Way.LOST if is_loaded(epoch) else Way.DISCARDED


def stuck_end(epoch: Epoch, reason: str, actor: User | None) -> None:
    """Ends an epoch that trouble has stopped, or lets it go on to its end.

    Whoever calls holds the lane, and has asked `refusal`.
    """
    way = way_of(epoch)
    StepTime.objects.get_or_create(epoch=epoch, step=ENDED)
    if way is Way.LEFT:
        _discard(epoch, f"{IN_UPLOAD} {reason}", actor)
        _end_here(epoch, look_code=LEFT)
        return
    if way is Way.UNMOVED:
        _note(epoch, f"{UNMOVED} {reason}")
        _end_here(epoch)
        return
    if way is Way.LOST:
        _note(epoch, f"{LOADED} {reason}")
        telling.files_lost(epoch)
    else:
        _discard(epoch, f"{LOST} {reason}" if is_lost(epoch) else reason, actor)
    StepTime.objects.get_or_create(epoch=epoch, step="load")
    Epoch.objects.filter(pk=epoch.pk).update(step="load", trouble="")
    _go_on(epoch)


def _end_here(epoch: Epoch, **more: str) -> None:
    """Without another step. What lies in `claimed/` of its host is moved later, by `archive.unmoved_move`."""
    fresh = Epoch.objects.select_related("district").get(pk=epoch.pk)
    telling.record(fresh, None)
    told = {"state": fresh.state, "finished": fresh.finished, "trouble": "", "next_try": None, "tries": 0}
    Epoch.objects.filter(pk=epoch.pk).update(**told, **more)


def _note(epoch: Epoch, message: str) -> None:
    judgement = judgement_of(epoch)
    if judgement is not None:
        before = judgement.act_message or ("" if is_applying(epoch) else judgement.message)
        Judgement.objects.filter(epoch=epoch).update(act_message=f"{before} {message}".strip()[:600])


def _discard(epoch: Epoch, reason: str, actor: User | None) -> None:
    content, is_partial = guarding.content_of(epoch)
    lane = holding.Lane((Queued(epoch.name, content, is_partial),), "")
    message = f"{holding.settle(lane, Act.DISCARD)[0].message} Reason: {reason}"
    act = {"act": Judgement.Act.DISCARDED, "act_message": message[:600], "act_by": actor, "act_at": timezone.now()}
    Judgement.objects.update_or_create(epoch=epoch, defaults={**act, "sample": [], "night": None})


def _go_on(epoch: Epoch) -> None:
    """One that was not taken over yet is first."""
    state = Epoch.State.WORKING if epoch.step else Epoch.State.QUEUED
    Epoch.objects.filter(pk=epoch.pk).update(state=state, next_try=None, tries=0)


# --- Closed districts --------------------------------------------------------------------------------------------


def left_behind() -> QuerySet[Epoch]:
    """Epochs of closed districts that wait for a turn, or for somebody to decide, and never will be decided about."""
    waits = Q(state__in=WAITING) | Q(state=Epoch.State.STUCK, next_try=None)
    # Of what is never read there is no copy of ours: it stays in /upload/.
    unread = Q(state=Epoch.State.WAITING_STAFF, look_code__in=UNREADABLE)
    rows = Epoch.objects.filter(waits & ~unread, district__state=District.State.CLOSED)
    return rows.exclude(judgement__act=Judgement.Act.DISCARDED).exclude(steps__step=ENDED)


def closed_end() -> int:
    """Discards what closed districts left behind; in how many of them there was something."""
    districts = District.objects.filter(pk__in=left_behind().values("district"))
    return sum(district_end(one) for one in districts)


@transaction.atomic
def district_end(district: District) -> bool:
    """Discards what waits in a district that was closed; whether there was anything. Not while a night is loaded."""
    if Lane.locked_at_once(district) is None:
        return False  # the next sweep comes again
    ended = list(_each_ended(left_behind().filter(district=district).select_related("district").order_by("name")))
    if ended:
        audit.record("epochs of a closed district discarded", district=district, details={"epochs": ended})
    return bool(ended)


def _each_ended(epochs: Iterable[Epoch]) -> Iterable[str]:
    for epoch in epochs:
        if epoch.state == Epoch.State.STUCK:
            stuck_end(epoch, CLOSED, None)
        else:
            _discard(epoch, CLOSED, None)
            _go_on(epoch)
        yield epoch.name
