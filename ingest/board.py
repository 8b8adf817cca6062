"""What needs a person this morning: everything that goes no further, or did not come, unless somebody acts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from django.db.models import Count, Exists, OuterRef, QuerySet, Window
from django.utils import timezone

from accounts.models import District

from . import selectors, wording
from .core.arrival import Audience
from .core.discovery import State as Look
from .models import Epoch, GuardState, HoldNote, MissingNight
from .nights import NEVER_TAKEN

# A night that failed or did not come is told for so long; what waits for a decision waits however long it takes.
RECENT = timedelta(days=7)
# So many sentences at most: the oldest of each kind.
SHOWN = 60


class Kind(Enum):
    """Why something needs a person: word, icon, tone, and what is counted of it, one and many."""

    HELD = ("Held", "pause-circle", "act", "night is held", "nights are held")
    WAITING = ("Not recognised", "hand-raised", "act", "epoch was not recognised", "epochs were not recognised")
    STUCK = ("Trouble", "exclamation-triangle", "bad", "is stopped by trouble", "are stopped by trouble")
    FAILED = ("Not loaded", "x-circle", "bad", "district’s last night failed", "districts’ last nights failed")
    MISSING = ("Missing", "question-mark-circle", "bad", "district’s night is missing", "districts’ nights are missing")
    STALLED = ("Stalled", "clock", "act", "upload stalled", "uploads stalled")
    RELEASE = ("To be released", "lock-closed", "act", "district is to be released", "districts are to be released")

    def __init__(self, word: str, icon: str, tone: str, one: str, many: str) -> None:
        self.word, self.icon, self.tone, self.one, self.many = word, icon, tone, one, many


@dataclass(frozen=True, slots=True)
class Matter:
    """One thing that needs a person. `epoch` is None where the district as a whole is meant."""

    kind: Kind
    since: datetime
    district: District
    sentence: str
    epoch: Epoch | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """The matters, oldest first, and how many there are of each kind, shown or not."""

    matters: tuple[Matter, ...]
    counts: tuple[tuple[Kind, int], ...]

    @property
    def total(self) -> int:
        """How many there are, shown or not."""
        return sum(count for _, count in self.counts)


def board(*, whole: bool = False) -> Board:
    """All that needs a person now, over all districts; the oldest matters of it, or all if the `whole` is asked."""
    most = None if whole else SHOWN
    now = timezone.now()
    # None of their sentences counts rows.
    epochs = selectors.all_epochs().prefetch_related(None)
    told: tuple[tuple[Kind, QuerySet, Callable[[Iterable], list[Matter]]], ...] = (
        (Kind.HELD, epochs.filter(state=Epoch.State.HELD).order_by("judgement__judged"), _held),
        (Kind.WAITING, epochs.filter(state=Epoch.State.WAITING_STAFF).order_by("first_seen"), _waiting),
        (Kind.STUCK, epochs.filter(state=Epoch.State.STUCK).order_by("first_seen"), _stuck),
        (Kind.FAILED, _failed_last(epochs, now).order_by("finished"), _failed),
        (Kind.MISSING, _missing_still(now).order_by("told"), _missing),
        (Kind.STALLED, _stalled_uploads(epochs).order_by("look_since"), _stalled),
        (Kind.RELEASE, _stopped().order_by("stopped_at"), _to_release),
    )
    matters: list[Matter] = []
    counts: list[tuple[Kind, int]] = []
    for kind, rows, matters_of in told:
        # Counted in the same breath: a kind with many matters costs no question more than one with few.
        if found := list(rows.annotate(of_kind=Window(Count("pk")))[:most]):
            matters += matters_of(found)
            counts.append((kind, found[0].of_kind))
    return Board(tuple(sorted(matters, key=lambda one: one.since)[:most]), tuple(counts))


def _held(epochs: Iterable[Epoch]) -> list[Matter]:
    rows = list(epochs)
    newest = HoldNote.objects.filter(epoch__in=rows).order_by("pk").values_list("epoch", "is_question")
    asked = dict(newest)
    return [
        Matter(Kind.HELD, _judged(one), one.district, f"{wording.sentence(one)}{_ASKED[asked.get(one.pk)]}", one)
        for one in rows
    ]


# By whether the last word about a held night is a question; None if there is none.
_ASKED = {True: " The district was asked and has not answered yet.", False: " The district has answered.", None: ""}


def _judged(epoch: Epoch) -> datetime:
    judgement = getattr(epoch, "judgement", None)
    return judgement.judged if judgement is not None else epoch.first_seen


def _waiting(epochs: Iterable[Epoch]) -> list[Matter]:
    return [Matter(Kind.WAITING, one.first_seen, one.district, wording.sentence(one), one) for one in epochs]


def _stuck(epochs: Iterable[Epoch]) -> list[Matter]:
    return [
        Matter(Kind.STUCK, one.started or one.first_seen, one.district, wording.sentence(one), one) for one in epochs
    ]


def _failed_last(epochs: QuerySet[Epoch], now: datetime) -> QuerySet[Epoch]:
    """Nights without a load or another failure after them: whoever mends the cause sees this one go."""
    failed = epochs.filter(state=Epoch.State.FAILED, finished__gte=now - RECENT)
    ended = (Epoch.State.LOADED, Epoch.State.FAILED)
    later = Epoch.objects.filter(district=OuterRef("district"), state__in=ended, finished__gt=OuterRef("finished"))
    later = later.filter(finished__gte=now - RECENT)
    return failed.filter(~Exists(later))


def _failed(epochs: Iterable[Epoch]) -> list[Matter]:
    return [
        Matter(Kind.FAILED, one.finished or one.first_seen, one.district, wording.sentence(one), one) for one in epochs
    ]


def _missing_still(now: datetime) -> QuerySet[MissingNight]:
    """Nights of which staff were told, the last of each district, as long as nothing has come since."""
    told = MissingNight.objects.filter(audience=Audience.STAFF, told__gte=now - RECENT)
    later = MissingNight.objects.filter(district=OuterRef("district"), audience=Audience.STAFF, day__gt=OuterRef("day"))
    came = Epoch.objects.exclude(NEVER_TAKEN).filter(district=OuterRef("district"), first_seen__gt=OuterRef("told"))
    rows = told.filter(~Exists(later), ~Exists(came), district__state=District.State.ACTIVE)
    return rows.select_related("district")


def _missing(nights: Iterable[MissingNight]) -> list[Matter]:
    return [Matter(Kind.MISSING, one.told, one.district, one.message) for one in nights]


def _stalled_uploads(epochs: QuerySet[Epoch]) -> QuerySet[Epoch]:
    return epochs.filter(state=Epoch.State.ARRIVING, look_code=Look.STALLED)


def _stalled(epochs: Iterable[Epoch]) -> list[Matter]:
    return [Matter(Kind.STALLED, one.look_since, one.district, wording.sentence(one), one) for one in epochs]


def _stopped() -> QuerySet[GuardState]:
    return GuardState.objects.exclude(stopped="").select_related("district")


def _to_release(states: Iterable[GuardState]) -> list[Matter]:
    return [
        Matter(Kind.RELEASE, one.stopped_at or timezone.now(), one.district, f"Nothing is applied: {one.stopped}")
        for one in states
    ]
