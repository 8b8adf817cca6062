"""The Celery app, and every schedule in one table."""

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from celery import Celery
from celery.signals import worker_process_init
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")

app = Celery("portal")
app.conf.update(
    broker_url=settings.BROKER_URL,
    task_ignore_result=True,
    accept_content=["json"],
    task_serializer="json",
    # A task is taken off the broker only when it is done; one whose worker died is delivered again.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    # kombu's own defaults look for orphaned messages every 100 s only (see docs/decisions/0004).
    broker_transport_options={
        "visibility_timeout": 3600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # Somebody waits for a page while a nudge is sent; kombu would try again for six seconds.
        "max_retries": 0,
        "interval_start": 0,
        "socket_connect_timeout": 2,
        "socket_timeout": 30,
    },
    broker_connection_retry_on_startup=True,
    # A page must not hang because the broker is away: the row is the queue, the sweep finds it.
    task_publish_retry=False,
    worker_hijack_root_logger=False,
    worker_cancel_long_running_tasks_on_connection_loss=False,
    beat_scheduler="django_celery_beat.schedulers:DatabaseScheduler",
    beat_max_loop_interval=5,
    enable_utc=True,
    timezone="UTC",
)
app.autodiscover_tasks(["hosts", "accounts", "keys", "ingest"])


@dataclass(frozen=True, slots=True)
class Schedule:
    """One row of beat: a task, and either every so many seconds or at minutes of the hour (of which hours, in UTC)."""

    name: str
    task: str
    seconds: int | None = None
    minutes: str | None = None
    hours: str = "*"
    expires: int | None = None
    options: Mapping[str, str] = field(default_factory=dict)


SCHEDULES = (
    Schedule("keys: all accounts to their hosts", "keys.propagate_all", minutes="0"),
    Schedule("keys: sweep", "keys.sweep", seconds=settings.SWEEP_SECONDS, expires=settings.SWEEP_SECONDS),
    Schedule("keys: judge all anew", "keys.judge", minutes="40", hours="2"),
    Schedule("keys: retire what is replaced", "keys.retire", seconds=300, expires=300),
    # Each reminder is sent once, and only in the civil hours of its district: one of these runs is the right one.
    Schedule("keys: remind of last days", "keys.remind", minutes="5", expires=3600),
    Schedule(
        "hosts: read sign-in events",
        "hosts.read_sign_ins",
        seconds=settings.SIGN_IN_EVENTS_SECONDS,
        expires=settings.SIGN_IN_EVENTS_SECONDS,
    ),
    Schedule(
        "ingest: look for uploads",
        "ingest.look",
        seconds=settings.INGEST_LOOK_SECONDS,
        expires=settings.INGEST_LOOK_SECONDS,
    ),
    Schedule("ingest: sweep", "ingest.sweep", seconds=settings.SWEEP_SECONDS, expires=settings.SWEEP_SECONDS),
    Schedule("mail: sweep", "accounts.sweep_mail", seconds=60, expires=60),
    Schedule("ingest: purge what is past its days", "ingest.purge", minutes="20", expires=3600),
)
PR_SET_PDEATHSIG = 1


@worker_process_init.connect
def die_with_parent(**_: object) -> None:
    """A pool process whose worker was killed must not finish its task unseen beside the next worker's."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
