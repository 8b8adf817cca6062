"""The portal's own parts as they are now: schedules, queues, workers, and what waits for them."""

import json
import logging
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import current_app
from django.conf import settings
from django.db.models import Count, Min, QuerySet
from django.utils import timezone
from django_celery_beat.models import PeriodicTask
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from accounts.models import District, OutboxMessage
from ingest.models import Epoch, Trial
from keys.models import KeyFile
from keys.selectors import HOURLY_TASK

from .celery import GENERAL_QUEUE, KEYS_QUEUE, RUNS_QUEUE, SOON_QUEUE, TRIALS_QUEUE
from .core import troubles
from .core.troubles import Planned, Queue, Running, Trouble, Waiting, Worker
from .health import tables_are_there
from .tracing import SENT

logger = logging.getLogger(__name__)
QUEUES = {
    KEYS_QUEUE: "keys that were just saved",
    GENERAL_QUEUE: "uploaded epochs",
    RUNS_QUEUE: "runs over all accounts, and what is asked of hosts",
    SOON_QUEUE: "mail, and handing out work to the others",
    TRIALS_QUEUE: "checks before sending",
}
BROKER_SECONDS = 2.0
# Each of two questions to the workers: all that answer do so at once, but nobody knows how many there are.
ANSWER_SECONDS = 1.0
AWAY = (OperationalError, OSError, RedisError)


@dataclass(frozen=True, slots=True)
class Standing:
    """How all parts stand. `queues` is None if the broker is away, `workers` if they were not asked."""

    planned: tuple[Planned, ...]
    queues: tuple[Queue, ...] | None
    workers: tuple[Worker, ...] | None
    waiting: tuple[Waiting, ...]
    free: int
    troubles: tuple[Trouble, ...]


def standing(*, ask_workers: bool) -> Standing:
    """Everything as of now. Asking the workers takes two seconds."""
    now = timezone.now()
    planned, queues, waiting = schedules(now), queues_now(), rows_waiting()
    workers = workers_now() if ask_workers and queues is not None else None
    free = _free()
    failed = OutboxMessage.objects.filter(state=OutboxMessage.State.FAILED, created__gt=now - timedelta(days=7)).count()
    found = [
        *troubles.of_queues(queues, now),
        *(troubles.of_workers(queues or (), workers) if workers is not None else ()),
        *troubles.of_schedules(planned, now),
        *troubles.of_rows(waiting, now),
        *troubles.of_health(has_tables=tables_are_there(), free=free, failed_mails=failed),
    ]
    return Standing(planned, queues, workers, waiting, free, tuple(found))


def _free() -> int:
    """Bytes that are free where the portal keeps its data, or will: the directory is made at the first need."""
    places = (settings.DATA_DIR, *settings.DATA_DIR.parents)
    return shutil.disk_usage(next(place for place in places if place.exists())).free


def schedules(now: datetime) -> tuple[Planned, ...]:
    """All of beat's, what is late first."""
    rows = PeriodicTask.objects.select_related("interval", "crontab").order_by("name")
    return tuple(sorted((_planned(row, now) for row in rows), key=lambda one: (one.is_on, not one.is_late, one.due)))


def _planned(row: PeriodicTask, now: datetime) -> Planned:
    left = row.schedule.remaining_estimate(row.last_run_at or row.date_changed)
    due = now + left
    is_late = row.enabled and troubles.is_late(due, now)
    # Of what comes every few seconds, beat has written down less than it has done.
    shown = due if is_late else max(due, now)
    return Planned(row.name, _often(row), row.last_run_at, shown, row.enabled, row.task == HOURLY_TASK, is_late)


def _often(row: PeriodicTask) -> str:
    """How often it comes, in words."""
    if row.interval is not None:
        seconds = int(row.interval.schedule.run_every.total_seconds())
        return f"every {seconds} seconds" if seconds % 60 else _minutes(seconds // 60)
    if row.crontab is None:
        return "by a rule of its own"
    minute, hour = row.crontab.minute, row.crontab.hour
    if hour == "*":
        is_part = minute.startswith("*/")
        return _minutes(int(minute[2:])) if is_part else f"every hour, at minute {minute}"
    return f"every day at {int(hour):02}:{int(minute):02} {row.crontab.timezone}" if hour.isdigit() else "some hours"


def _minutes(number: int) -> str:
    return "every minute" if number == 1 else f"every {number} minutes"


def queues_now() -> tuple[Queue, ...] | None:
    """What lies in the broker; None if it does not answer."""
    try:
        with current_app.connection_for_read(connect_timeout=BROKER_SECONDS) as broker:
            broker.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
            client = broker.default_channel.client
            return tuple(
                Queue(name, says, client.llen(name), _sent(client.lindex(name, -1))) for name, says in QUEUES.items()
            )
    except AWAY as error:
        logger.warning("The broker does not answer: %s", type(error).__name__)
        return None


def _sent(message: bytes | None) -> datetime | None:
    """When a task was sent, by the header that each of ours bears."""
    if message is None:
        return None
    at = json.loads(message).get("headers", {}).get(SENT)
    return datetime.fromtimestamp(at, UTC) if isinstance(at, float) else None


def workers_now() -> tuple[Worker, ...]:
    """Every worker that answers, and what it is at."""
    ask = current_app.control.inspect(timeout=ANSWER_SECONDS)
    try:
        queues, active = ask.active_queues() or {}, ask.active() or {}
    except AWAY as error:
        logger.warning("The workers could not be asked: %s", type(error).__name__)
        return ()
    return tuple(
        Worker(name, tuple(one["name"] for one in queues[name]), tuple(_running(task) for task in active.get(name, ())))
        for name in sorted(queues)
    )


def _running(task: dict[str, Any]) -> Running:
    began = task.get("time_start")
    return Running(task["name"], datetime.fromtimestamp(began, UTC) if began else None)


def rows_waiting() -> tuple[Waiting, ...]:
    """What waits in the database: how many of each kind, and since when the first."""
    now = timezone.now()
    letters = OutboxMessage.objects.filter(state=OutboxMessage.State.WAITING, next_try__lte=now)
    # In a district that is suspended they wait until that is over.
    epochs = Epoch.objects.filter(state=Epoch.State.QUEUED, district__state=District.State.ACTIVE)
    told: tuple[tuple[str, QuerySet, str, timedelta], ...] = (
        ("Saved keys", KeyFile.objects.filter(state=KeyFile.State.WAITING), "wanted", timedelta(minutes=30)),
        ("Epochs", epochs, "queued", timedelta(hours=6)),
        ("Checks before sending", Trial.objects.filter(state=Trial.State.WAITING), "asked", timedelta(hours=1)),
        ("Mails", letters, "next_try", timedelta(minutes=15)),
    )
    return tuple(_waiting(*one) for one in told)


def _waiting(what: str, rows: QuerySet, since: str, longest: timedelta) -> Waiting:
    found = rows.aggregate(count=Count("pk"), oldest=Min(since))
    return Waiting(what, found["count"], found["oldest"], longest)
