"""What is wrong with the portal's own parts, in words: judged from what was seen of schedules, queues and workers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# Beat writes down every three minutes what it has sent off.
BEAT_WRITES = timedelta(minutes=3)
LATE = 2 * BEAT_WRITES
# A worker that is there takes a task at once, unless all its places are taken.
LONG_WAIT = timedelta(minutes=10)
LITTLE_SPACE = 2 * 10**9


@dataclass(frozen=True, slots=True)
class Planned:
    """One schedule: how often it comes in words, when it came last, and when it should come next."""

    name: str
    often: str
    last: datetime | None
    due: datetime
    is_on: bool
    can_change: bool
    is_late: bool = False


@dataclass(frozen=True, slots=True)
class Queue:
    """What waits in the broker for a worker. `oldest` is when the first in line was sent, if that is known."""

    name: str
    says: str
    length: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Running:
    """A task that a worker is at, and since when."""

    task: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that has answered."""

    name: str
    queues: tuple[str, ...]
    running: tuple[Running, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows that wait to be worked on: the database is the queue, the broker only says “now”."""

    what: str
    count: int
    oldest: datetime | None
    longest: timedelta


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong, what that means, and what to do."""

    title: str
    says: str


def is_late(due: datetime, now: datetime) -> bool:
    """Whether a schedule has not come though beat has had time to write down that it has."""
    return now > due + LATE


def of_schedules(planned: Sequence[Planned], now: datetime) -> list[Trouble]:
    """Beat away, or single schedules late or switched off."""
    late = [one for one in planned if one.is_late]
    # Some come every few seconds, others once a day: beat is there if any has come lately.
    is_there = any(one.last is not None and now - one.last <= LATE for one in planned)
    told = []
    if late and not is_there:
        told.append(
            Trouble(
                "No schedule comes any more.",
                "Beat is not running. Saved keys still go at once; nothing else is looked at. Start beat.",
            )
        )
    elif late:
        says = "Beat runs, but these did not come when they were due. Look at its log."
        told.append(Trouble(f"Late: {_listed(one.name for one in late)}.", says))
    if off := [one for one in planned if not one.is_on]:
        says = "Somebody has switched it off in the database. At the next start of the portal it is on again."
        told.append(Trouble(f"Switched off: {_listed(one.name for one in off)}.", says))
    return told


def of_queues(queues: Sequence[Queue] | None, now: datetime) -> list[Trouble]:
    """The broker away (None), or tasks that nobody takes."""
    if queues is None:
        says = "Nothing that is saved is begun at once. Nothing is lost: it goes on when the broker is back. Start it."
        return [Trouble("The broker does not answer.", says)]
    slow = [one for one in queues if one.oldest is not None and now - one.oldest > LONG_WAIT]
    return [
        Trouble(
            f"{one.length:,} task{'s' if one.length > 1 else ''} of the queue “{one.name}” cannot begin.",
            f"It is for {one.says}. The first has waited for more than ten minutes: see what its worker is at.",
        )
        for one in slow
    ]


def of_workers(queues: Iterable[Queue], workers: Sequence[Worker]) -> list[Trouble]:
    """Queues that no worker reads."""
    read = {name for worker in workers for name in worker.queues}
    return [
        Trouble(
            f"No worker answers for the queue “{one.name}”.",
            f"It is for {one.says}. Start its worker; what waits is begun then.",
        )
        for one in queues
        if one.name not in read
    ]


def of_rows(waiting: Iterable[Waiting], now: datetime) -> list[Trouble]:
    """Work that has waited longer than it ever should."""
    return [
        Trouble(
            f"{one.what} have waited too long.", f"{one.count:,} wait. Look at the workers below, and at their logs."
        )
        for one in waiting
        if one.oldest is not None and now - one.oldest > one.longest
    ]


def of_health(*, has_tables: bool, free: int, failed_mails: int) -> list[Trouble]:
    """The database of another version, a disk that fills up, mail that did not go."""
    told = []
    if not has_tables:
        told.append(Trouble("The database is of another version.", "Run “manage.py migrate” with this version."))
    if free < LITTLE_SPACE:
        says = "Epochs are copied there before they are checked. Make room, or nights stop."
        told.append(Trouble(f"Only {free / 10**9:.1f} GB are free where the portal keeps its data.", says))
    if failed_mails:
        says = "The mail server refused them for hours. The page Outbox says which, and why."
        told.append(Trouble(f"{failed_mails:,} mail{'s' if failed_mails > 1 else ''} could not be sent.", says))
    return told


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"“{name}”" for name in names)
