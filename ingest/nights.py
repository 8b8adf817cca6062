"""What became of a district's last nights, read for its home page: what came, what did not, and how many rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Case, F, Q, QuerySet, Sum, When
from django.db.models.functions import TruncDate

from accounts.models import District

from .allowances import now_in, zone_of
from .core.arrival import Audience, Expected
from .core.discovery import STRANGERS
from .core.nights import USUAL, Came, Night, Outcome, nights_of, tallied
from .core.strip import SHAPES, Strip, strip_of
from .models import Epoch, ExpectedArrival, MissingNight

SHOWN = 60
# What only lies in /upload/ and is no epoch, and what was taken back before it was one.
NEVER_TAKEN = Q(queued=None) & (Q(look_code__in=STRANGERS) | Q(state=Epoch.State.GONE))
# The strip for wide screens, and the one for telephones, in two lines.
WIDE, NARROW = (SHOWN, 12.0), (SHOWN // 2, 11.0)
OUTCOMES: Mapping[str, Outcome] = {
    Epoch.State.LOADED: Outcome.LOADED,
    Epoch.State.HELD: Outcome.HELD,
    Epoch.State.FAILED: Outcome.FAILED,
    **dict.fromkeys((*Epoch.UNAPPLIED, Epoch.State.UNDONE, Epoch.State.GONE), Outcome.NOT_APPLIED),
}


@dataclass(frozen=True, slots=True)
class Look:
    """How an outcome is shown: always word, icon and colour together, in the strip its shape and colour."""

    word: str
    icon: str
    tone: str
    outcome: Outcome

    @property
    def shape(self) -> str:
        """The path of its mark."""
        return SHAPES[self.outcome]


# Words and colours are those of an epoch's state wherever it has the same name.
LOOKS: Mapping[Outcome, Look] = {
    look.outcome: look
    for look in (
        Look("Loaded", "check-circle", "good", Outcome.LOADED),
        Look("Held", "pause-circle", "act", Outcome.HELD),
        Look("Not loaded", "x-circle", "bad", Outcome.FAILED),
        Look("Waiting", "clock", "wait", Outcome.WAITING),
        Look("Not applied", "minus-circle", "off", Outcome.NOT_APPLIED),
        Look("Missing", "exclamation-triangle", "bad", Outcome.MISSING),
        Look("Nothing came", "minus-circle", "off", Outcome.NOTHING),
    )
}


@dataclass(frozen=True, slots=True)
class Nights:
    """The last nights, oldest first."""

    nights: tuple[Night, ...]

    @property
    def missing(self) -> date | None:
        """The newest night that should have come and did not, if nothing has come since."""
        return self.newest.day if self.newest and self.newest.outcome is Outcome.MISSING else None

    @property
    def newest(self) -> Night | None:
        """The newest night in which something came or should have."""
        return next((night for night in reversed(self.nights) if night.outcome is not Outcome.NOTHING), None)

    @property
    def has_any(self) -> bool:
        """Whether anything has come, or should have."""
        return self.newest is not None

    @property
    def newest_first(self) -> tuple[Night, ...]:
        """The nights for a table."""
        return self.nights[::-1]

    @property
    def tallied(self) -> tuple[tuple[Outcome, int], ...]:
        """How many nights had each outcome."""
        return tallied(self.nights)

    @property
    def most_rows(self) -> int:
        """The rows of the night with the most: the highest bar."""
        return max(night.rows for night in self.nights)

    @property
    def wide(self) -> Strip:
        """The strip for wide screens."""
        return strip_of(self.nights, per_line=WIDE[0], cell=WIDE[1])

    @property
    def narrow(self) -> Strip:
        """The strip for telephones."""
        return strip_of(self.nights, per_line=NARROW[0], cell=NARROW[1])


def came_of(district: District) -> QuerySet[Epoch]:
    """A district's epochs with when they `came`, whatever became of them: complete if looks found so, else first seen.

    Without what was never taken for one.
    """
    by_hand = Q(queued=None) | Q(format_by__isnull=False)
    came = Case(When(by_hand, then=F("first_seen")), default=F("queued"))
    return Epoch.objects.filter(district=district).exclude(NEVER_TAKEN).annotate(came=came)


def last_nights(district: District) -> Nights:
    """The last nights of a district, by its own clock. A fixed number of queries, however much has come.

    A night is missing if the district was told so and nothing has come in it since.
    """
    row, now = ExpectedArrival.objects.filter(district=district).first(), now_in(district)
    expected = Expected(row.by, frozenset(int(day) for day in row.days)) if row else USUAL
    since = now - timedelta(days=SHOWN + 1)
    missing = _missing(district, since.date()) if row else set()
    return Nights(nights_of(_came(district, since), missing, now.date(), SHOWN, expected))


def _missing(district: District, since: date) -> set[date]:
    told = MissingNight.objects.filter(district=district, audience=Audience.DISTRICT, day__gte=since)
    return set(told.values_list("day", flat=True))


def _came(district: District, since: datetime) -> list[Came]:
    zone, rows = zone_of(district), came_of(district).filter(first_seen__gte=since).annotate(rows=Sum("files__rows"))
    told = rows.order_by().values_list("pk", "name", "came", "state", "rows")
    return [
        Came(pk, name, came.astimezone(zone), OUTCOMES.get(state, Outcome.WAITING), count or 0)
        for pk, name, came, state, count in told
    ]


def nights_loaded(district: District, most: int) -> int:
    """On how many different days files of a district were loaded, counted up to `most`."""
    loaded = Epoch.objects.filter(district=district, state=Epoch.State.LOADED, finished__isnull=False)
    days = loaded.order_by().annotate(day=TruncDate("finished", tzinfo=zone_of(district))).values_list("day", flat=True)
    return len(days.distinct()[:most])
