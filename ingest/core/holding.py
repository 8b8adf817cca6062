"""A held night: what may be done with it, and what becomes of the nights that wait behind it.

Nights of a district go one after another, by name. While the first is held the others are received, checked and wait.
A judgement counts only for the state it was made against; as soon as another night is applied, those behind it are
compared anew.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ingest.core.diff import Change, What
from ingest.core.discovery import is_epoch_name
from ingest.core.display import masked, shown_name
from ingest.core.facts import LOST, Applied, Night, Spread, state_of
from ingest.core.schema import Table

SAMPLE_ROWS = 20


class Act(StrEnum):
    """What staff may do. SKIP: discard all but the newest night. RELEASE: let a stopped district go on."""

    APPROVE = "approve"
    DISCARD = "discard"
    SKIP = "skip"
    ASK = "ask"
    RELEASE = "release"


class Fate(StrEnum):
    """What becomes of one night: APPLY and DISCARD end it, JUDGE: compare it (again), WAIT, HOLD: it stays held."""

    APPLY = "apply"
    DISCARD = "discard"
    JUDGE = "judge"
    WAIT = "wait"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class Approval:
    """A yes for one content against one state, by a person with a reason. It is used up by the night it lets pass."""

    content: str
    state: str
    by: str
    reason: str

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError("an approval needs a reason")


@dataclass(frozen=True, slots=True)
class Queued:
    """One night of the queue. `state`: what its judgement was made against, empty if there is none yet.

    `is_alone`: no set, but one file that was sent by itself or what staff gave to a loader, so that no other night says
    what it says.
    """

    name: str
    content: str
    is_partial: bool = False
    state: str = ""
    is_alone: bool = False


@dataclass(frozen=True, slots=True)
class Lane:
    """A district's nights that are not done with, by name, and the state that is applied.

    `stopped`: why nothing at all may be applied (an applied night was undone), until staff release it. `blackout`:
    nothing is applied today, and whichever night has its turn ends so.
    """

    queue: tuple[Queued, ...]
    state: str
    stopped: str = ""
    blackout: bool = False

    @property
    def newest(self) -> Queued:
        """The night with the latest name; raises ValueError if there is none."""
        return max(self.queue, key=lambda one: one.name)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of one night, in a sentence for its page and log."""

    name: str
    fate: Fate
    message: str


def approval_of(night: Night, before: Applied | None, by: str, reason: str) -> Approval:
    """A yes to just this night on top of just this state. Raises ValueError without a reason."""
    return Approval(night.content, state_of(before), by, reason)


def void(approval: Approval, content: str, state: str) -> str:
    """Why an approval does not count, as a sentence; empty if it does."""
    if approval.content != content:
        return "The files are not those that were approved, so the approval does not count."
    if approval.state != state:
        return "Other data was applied since the approval, so what was approved is not what would happen now."
    return ""


def allowed(lane: Lane) -> tuple[Act, ...]:
    """What may be done now. A queue is only ever acted on at its head."""
    if lane.blackout and (lane.stopped or len(lane.queue) > 1):
        # Whoever had his turn now would end without being applied, and nobody has said so of him.
        return () if lane.stopped else (Act.ASK,)
    if lane.stopped:
        return (Act.RELEASE,)
    if not lane.queue:
        return ()
    if lane.blackout:
        return (Act.DISCARD, Act.ASK)
    acts = (Act.APPROVE, Act.DISCARD, Act.ASK)
    return (*acts, Act.SKIP) if lane.newest is not lane.queue[0] and _all_whole(lane.queue) else acts


def settle(lane: Lane, act: Act, approval: Approval | None = None) -> tuple[Decision, ...]:
    """What becomes of every night of the queue. Raises ValueError if this may not be done now."""
    if act not in allowed(lane):
        raise ValueError(f"{act} cannot be done now")
    match act:
        case Act.APPROVE:
            return tuple(_approved(lane, approval))
        case Act.DISCARD:
            return (_discarded(lane.queue[0]), *_next(lane, lane.queue[1:]))
        case Act.SKIP:
            return tuple(_skipped(lane))
        case Act.ASK:
            return tuple(_asked(lane))
    return tuple(_next(lane, lane.queue))


def _approved(lane: Lane, approval: Approval | None) -> Iterator[Decision]:
    if approval is None:
        raise ValueError("an approval is needed")
    first, *others = lane.queue
    if why := void(approval, first.content, lane.state):
        yield Decision(first.name, Fate.JUDGE, f"{why} It is compared again.")
        yield from _waiting(others, first.name)
        return
    told = f"Applied once, approved by {approval.by}: {approval.reason.strip()}"
    yield Decision(first.name, Fate.APPLY, told)
    if others:
        is_older = is_epoch_name(first.name) and is_epoch_name(others[0].name) and others[0].name < first.name
        what = "is older, and is judged as one that comes late" if is_older else "is then compared with it"
        message = f"{shown_name(first.name)} was approved and is applied; this night {what}."
        yield Decision(others[0].name, Fate.JUDGE, message)
        yield from _waiting(others[1:], others[0].name)


def _discarded(night: Queued) -> Decision:
    if night.is_partial:
        message = f"Discarded, nothing was applied. {LOST}"
    else:
        message = "Discarded, nothing was applied. The records stay as they were."
    return Decision(night.name, Fate.DISCARD, message)


def _next(lane: Lane, queue: Sequence[Queued]) -> Iterator[Decision]:
    """The first of the queue has its turn. If it was judged against the same state already, that still counts."""
    if not queue:
        return
    first, *others = queue
    again = "It is compared with the records as they are now."
    known = "It was compared with the same records already; that judgement counts."
    yield Decision(first.name, Fate.JUDGE, f"Its turn has come. {known if first.state == lane.state else again}")
    yield from _waiting(others, first.name)


def _waiting(queue: Sequence[Queued], first: str) -> Iterator[Decision]:
    for night in queue:
        yield Decision(night.name, Fate.WAIT, f"Received and checked; it waits behind {shown_name(first)}.")


def _skipped(lane: Lane) -> Iterator[Decision]:
    message = f"Discarded in favour of {shown_name(lane.newest.name)}, which is a full set. Nothing was applied."
    for night in lane.queue:
        if night is lane.newest:
            yield from _next(lane, (night,))
        else:
            yield Decision(night.name, Fate.DISCARD, message)


def _asked(lane: Lane) -> Iterator[Decision]:
    first, *others = lane.queue
    yield Decision(first.name, Fate.HOLD, "Held. The district was asked; it may also send a new epoch.")
    yield from _waiting(others, first.name)


def behind(lane: Lane, name: str) -> str:
    """Why a night that is checked is not judged yet; empty if it has its turn."""
    if lane.stopped:
        return f"Received and checked. Nothing is applied for now: {lane.stopped}"
    first = lane.queue[0].name if lane.queue else name
    return "" if first == name else f"Received and checked; it waits behind {shown_name(first)}."


def _all_whole(queue: Iterable[Queued]) -> bool:
    """Whether each of the nights is a full set, so that passing over it loses nothing that a later one does not say."""
    return not any(night.is_partial or night.is_alone for night in queue)


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a sampled row, before and after; a shape only where the column is personal."""

    column: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One record that would be added, changed (`cells`: the columns that differ) or removed."""

    what: What
    key: str
    line: int | None
    cells: tuple[Cell, ...]


class Picker:
    """Keeps some changes of each kind while they go by, evenly spread over them all."""

    def __init__(self, each: int = SAMPLE_ROWS) -> None:
        self._kept: dict[What, Spread[Change]] = {what: Spread(each) for what in What}

    def passing(self, changes: Iterable[Change]) -> Iterator[Change]:
        """The same changes, looked at on their way."""
        for change in changes:
            self._kept[change.what].see(change)
            yield change

    @property
    def picked(self) -> tuple[Change, ...]:
        return tuple(change for spread in self._kept.values() for change in spread.kept)


def sample_row(table: Table, change: Change, before: Mapping[str, str] | None) -> SampleRow:
    """One change as it may be shown. `before`: the values on record; None or incomplete ones read as empty."""
    old = before or {}
    new = change.row.values if change.row is not None and change.what is not What.REMOVED else {}
    names = [one.name for one in table.kept_fields if one.name not in table.change_marks]
    different = [name for name in names if old.get(name, "") != new.get(name, "")]
    cells = tuple(_cell(table, name, old.get(name, ""), new.get(name, "")) for name in different)
    key = masked(change.key) if any(table.field(name).personal for name in table.key) else change.key
    return SampleRow(change.what, key, change.row.line if change.row else None, cells)


def _cell(table: Table, name: str, old: str, new: str) -> Cell:
    if table.field(name).personal:
        return Cell(name, masked(old), masked(new))
    return Cell(name, old, new)
