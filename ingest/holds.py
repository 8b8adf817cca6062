"""What people decide about a held night, written down; the pipeline does it.

Each act is bound to what the person saw: the digest of the files and of the state they were compared with. Both are
compared again under the district's lock, so that of two people only the first is heard.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import District, User
from accounts.nudge import nudge
from accounts.services import Refused

from . import guarding, telling
from .core import facts, holding
from .core.holding import Act, Approval, Decision, Fate, Queued
from .models import Epoch, GuardState, HoldNote, Judgement, Lane
from .tasks import process

__all__ = ["Refused", "Seen", "epochs_in_line", "hold_approve", "hold_ask", "hold_discard", "hold_judge", "hold_skip"]
LONGEST = 1000
IN_BLACKOUT = (
    "Today is a blackout: nothing is applied, and a night that had its turn now would be lost. Decide afterwards, or "
    "end the blackout."
)


@dataclass(frozen=True, slots=True)
class Seen:
    """What the page of a held night showed: digests of its content and of the state it was compared with."""

    content: str
    state: str


# --- What there is to decide -------------------------------------------------------------------------------------


def epochs_in_line(district: District) -> list[Epoch]:
    """The nights that are not done with: the held one first, then those behind it by name."""
    rows = Epoch.objects.filter(district=district, state__in=[Epoch.State.HELD, Epoch.State.BEHIND])
    by_name = rows.select_related("judgement").prefetch_related("files").order_by("name", "pk")
    return sorted(by_name, key=lambda one: one.state != Epoch.State.HELD)


def line_of(district: District, epochs: Iterable[Epoch]) -> holding.Lane:
    """The queue as the core sees it."""
    state = GuardState.objects.filter(district=district).first()
    queue = tuple(_queued(one) for one in epochs)
    is_blackout = guarding.calendar_of(district).blackout is not None
    applied = facts.state_of(guarding.applied_of(state))
    return holding.Lane(queue, applied, state.stopped if state else "", is_blackout)


def _queued(epoch: Epoch) -> Queued:
    content, is_partial = guarding.content_of(epoch)
    judgement = Judgement.objects.filter(epoch=epoch).only("against").first()
    state = judgement.against if judgement else ""
    return Queued(epoch.name, content, is_partial, state, guarding.is_no_set(epoch))


def allowed(lane: holding.Lane) -> tuple[Act, ...]:
    """What may be done now."""
    return holding.allowed(lane)


def decisions(lane: holding.Lane, act: Act, seen: Seen) -> tuple[Decision, ...]:
    """What would become of every night of the queue."""
    approval = Approval(seen.content, seen.state, "you", "your reason") if act is Act.APPROVE else None
    return holding.settle(lane, act, approval)


# --- Acts --------------------------------------------------------------------------------------------------------


@transaction.atomic
def hold_approve(epoch: Epoch, *, seen: Seen, reason: str, actor: User) -> tuple[Decision, ...]:
    """Applies a held night once. If the files or the state are not those that were seen, it is compared again.

    Raises Refused: it is not held any more, nothing can be applied today, or there is no reason.
    """
    line = _Line(epoch)
    line.allows(Act.APPROVE)
    approval = Approval(seen.content, seen.state, str(actor), _given(reason))
    settled = holding.settle(line.lane, Act.APPROVE, approval)
    details = {"reason": reason, "content": seen.content, "state": seen.state}
    if settled[0].fate is Fate.JUDGE:
        _judge_again(line.held)
        line.record("hold: approval void", actor, {**details, "why": settled[0].message})
    else:
        _decide(line.held, Judgement.Act.APPROVED, settled[0].message, actor)
        line.record("hold approved", actor, details)
    line.go_on()
    return settled


@transaction.atomic
def hold_judge(epoch: Epoch, *, seen: Seen, actor: User) -> None:
    """Has a held night compared and judged again, since it would pass by the limits of today; if so it is applied.

    Raises Refused: it is not held any more, was compared again since the page was shown, or would not pass.
    """
    line = _Line(epoch, seen)
    if not guarding.would_pass(guarding.judged_now(line.held)):
        told = "By the limits of today this night would not pass (any more). Raise a limit first, or decide about it."
        raise Refused("would-not-pass", told)
    _judge_again(line.held)
    line.record("hold: judged again", actor, {"content": seen.content, "state": seen.state})
    line.go_on()


@transaction.atomic
def hold_discard(epoch: Epoch, *, seen: Seen, reason: str, actor: User) -> tuple[Decision, ...]:
    """Ends a held night; nothing of it is applied. The next one has its turn. Raises Refused."""
    line = _Line(epoch, seen)
    line.allows(Act.DISCARD)
    settled = holding.settle(line.lane, Act.DISCARD)
    message = f"{settled[0].message} Reason: {_given(reason)}"
    _decide(line.held, Judgement.Act.DISCARDED, message, actor)
    line.record("hold discarded", actor, {"reason": reason, "content": seen.content})
    line.go_on()
    return settled


@transaction.atomic
def hold_skip(epoch: Epoch, *, seen: Seen, reason: str, actor: User) -> tuple[Decision, ...]:
    """Ends the held night and all behind it but the newest, which has its turn. Raises Refused."""
    line = _Line(epoch, seen)
    if not line.lane.blackout and Act.SKIP not in holding.allowed(line.lane):
        told = "There is no newer full set to go on with: discard this night, or wait until the next one is checked."
        raise Refused("nothing-newer", told)
    line.allows(Act.SKIP)
    settled = holding.settle(line.lane, Act.SKIP)
    why = _given(reason)
    for one, decision in zip(line.epochs, settled, strict=True):
        if decision.fate is Fate.DISCARD:
            _decide(one, Judgement.Act.DISCARDED, f"{decision.message} Reason: {why}", actor)
    names = [one.name for one in settled if one.fate is Fate.DISCARD]
    line.record("hold: skipped to the newest", actor, {"reason": reason, "discarded": names})
    line.go_on()
    return settled


@transaction.atomic
def hold_ask(epoch: Epoch, *, seen: Seen, question: str, actor: User) -> tuple[Decision, ...]:
    """Asks the district; the night stays held. The same question twice is one. Raises Refused."""
    line = _Line(epoch, seen)
    settled = holding.settle(line.lane, Act.ASK)
    text = _given(question)
    last = line.held.notes.last()
    if last is None or (last.text, last.by) != (text, actor):
        note = HoldNote.objects.create(epoch=line.held, text=text, by=actor, is_question=True)
        telling.asked(line.held, note.pk)
        line.record("hold: district asked", actor, {})
    return settled


@transaction.atomic
def hold_answer(epoch: Epoch, *, answer: str, actor: User) -> None:
    """What the district says about a held night. The same sentence twice is one. Raises Refused."""
    _must_be_held(epoch)
    Lane.locked(epoch.district)
    epoch = _must_be_held(epoch)
    text, last = _given(answer), epoch.notes.last()
    if last is None or (last.text, last.by) != (text, actor):
        note = HoldNote.objects.create(epoch=epoch, text=text, by=actor, is_question=False)
        telling.answered(epoch, note.pk)
        audit.record("hold: district answered", actor=actor, district=epoch.district, subject=epoch.name)


@transaction.atomic
def district_release(district: District, *, reason: str, actor: User) -> None:
    """Lets nights be applied again after one was undone; those that wait are compared anew. Raises Refused."""
    Lane.locked(district)
    state = GuardState.objects.filter(district=district).exclude(stopped="").first()
    if state is None:
        raise Refused("not-stopped", "This district is not stopped (any more); somebody may have been quicker.")
    if guarding.calendar_of(district).blackout is not None:
        raise Refused("blackout", IN_BLACKOUT)
    why = _given(reason)
    state.stopped, state.stopped_at = "", None
    state.save(update_fields=["stopped", "stopped_at"])
    for held in Epoch.objects.filter(district=district, state=Epoch.State.HELD):
        _judge_again(held)
    audit.record("district released", actor=actor, district=district, details={"reason": why})
    nudge(process)


class _Line:
    """A district's queue under its lock, with the held night in front. Raises Refused if it is not (any more)."""

    def __init__(self, epoch: Epoch, seen: Seen | None = None) -> None:
        _must_be_held(epoch)
        Lane.locked(epoch.district)
        self.district = epoch.district
        self.epochs = epochs_in_line(epoch.district)
        self.lane = line_of(epoch.district, self.epochs)
        if self.lane.stopped:
            told = "Nothing can be decided here before the district is released: " + self.lane.stopped
            raise Refused("stopped", told)
        if not self.epochs or self.epochs[0].pk != epoch.pk or self.epochs[0].state != Epoch.State.HELD:
            raise Refused("not-held", _over(Epoch.objects.get(pk=epoch.pk)))
        self.held = self.epochs[0]
        if seen is not None and seen != Seen(self.lane.queue[0].content, self.held.judgement.against):
            told = "This night has been compared again since you opened the page. Look at it once more, then decide."
            raise Refused("seen-before", told)

    def allows(self, act: Act) -> None:
        """Raises Refused if today's blackout is in the way."""
        if self.lane.blackout and act not in holding.allowed(self.lane):
            raise Refused("blackout", IN_BLACKOUT)

    def record(self, action: str, actor: User, details: Mapping[str, object]) -> None:
        audit.record(action, actor=actor, district=self.district, subject=self.held.name, details=details)

    def go_on(self) -> None:
        nudge(process)


def _must_be_held(epoch: Epoch) -> Epoch:
    """The epoch as it is now. Raises Refused; asked before the lane is locked, nobody waits for a load under way."""
    now = Epoch.objects.select_related("district").get(pk=epoch.pk)
    if now.state != Epoch.State.HELD:
        raise Refused("not-held", _over(now))
    return now


def _given(text: str) -> str:
    words = " ".join(text.split())[:LONGEST]
    if not words:
        raise Refused("no-reason", "Say why, in a sentence.")
    return words


def _over(epoch: Epoch) -> str:
    judgement = Judgement.objects.filter(epoch=epoch).select_related("act_by").first()
    if judgement is None or not judgement.act:
        return "This night is not held any more. Look at how it stands now."
    return f"Somebody was quicker: {judgement.act_message}"


def _decide(epoch: Epoch, act: Judgement.Act, message: str, actor: User) -> None:
    """Writes the decision down and lets the pipeline go on with the night."""
    told = {"act": act, "act_message": message[:600], "act_by": actor, "act_at": timezone.now(), "sample": []}
    if act == Judgement.Act.DISCARDED:
        told["night"] = None
    Judgement.objects.update_or_create(epoch=epoch, defaults=told)
    Epoch.objects.filter(pk=epoch.pk).update(state=Epoch.State.WORKING, next_try=None, tries=0)


def _judge_again(epoch: Epoch) -> None:
    """Puts a held night back to where it is compared; until its turn comes it waits like any other."""
    epoch.steps.filter(step="compare").delete()
    Epoch.objects.filter(pk=epoch.pk).update(state=Epoch.State.BEHIND, step="check", next_try=None, tries=0)
