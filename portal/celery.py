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

# No run, no upload and no other host may keep a saved key waiting: each queue has a worker of its own (see parts.py).
GENERAL_QUEUE, KEYS_QUEUE, RUNS_QUEUE, TRIALS_QUEUE, SOON_QUEUE = "celery", "keys", "runs", "trials", "soon"

app = Celery("portal")
app.conf.update(
    broker_url=settings.BROKER_URL,
    task_ignore_result=True,
    accept_content=["json"],
    task_serializer="json",
    task_default_queue=GENERAL_QUEUE,
    task_routes={
        "keys.propagate_account": {"queue": KEYS_QUEUE},
        "keys.propagate_*": {"queue": RUNS_QUEUE},
        "keys.sweep_host": {"queue": RUNS_QUEUE},
        # Uploads may hold the general queue for long; when keys go, and what sign-ins are seen, is no matter of theirs.
        "keys.retire": {"queue": RUNS_QUEUE},
        "keys.judge": {"queue": RUNS_QUEUE},
        # It shares with those of one host each what it knows of pauses, in this process's memory.
        "hosts.read_sign_ins": {"queue": RUNS_QUEUE},
        # One host each, over the network: in threads, so that a slow one holds up neither uploads nor mail.
        "hosts.read_sign_ins_of": {"queue": RUNS_QUEUE},
        "hosts.ask_condition_of": {"queue": RUNS_QUEUE},
        "ingest.look_at_host": {"queue": RUNS_QUEUE},
        "ingest.purge": {"queue": RUNS_QUEUE},
        "ingest.forget": {"queue": RUNS_QUEUE},
        # Over the years it has much to read.
        "portal.tell_audit_head": {"queue": RUNS_QUEUE},
        # Some minutes for thousands of districts.
        "portal.import_districts": {"queue": RUNS_QUEUE},
        # Who hands out work to the others, and mail: short, and without a word to a host elsewhere.
        "keys.sweep": {"queue": SOON_QUEUE},
        "keys.remind": {"queue": SOON_QUEUE},
        "hosts.ask_conditions": {"queue": SOON_QUEUE},
        "ingest.look": {"queue": SOON_QUEUE},
        "ingest.sweep": {"queue": SOON_QUEUE},
        "ingest.tell_missing": {"queue": SOON_QUEUE},
        "accounts.*": {"queue": SOON_QUEUE},
        # Each check is a process of its own that goes last; what runs here only waits for it (see ingest/trials/).
        "ingest.check_trials": {"queue": TRIALS_QUEUE},
    },
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
app.autodiscover_tasks(["hosts", "accounts", "keys", "ingest", "portal"])


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
    Schedule("hosts: ask how they are", "hosts.ask_conditions", seconds=300, expires=300),
    Schedule(
        "ingest: look for uploads",
        "ingest.look",
        seconds=settings.INGEST_LOOK_SECONDS,
        expires=settings.INGEST_LOOK_SECONDS,
    ),
    Schedule("ingest: sweep", "ingest.sweep", seconds=settings.SWEEP_SECONDS, expires=settings.SWEEP_SECONDS),
    Schedule("ingest: tell of missing nights", "ingest.tell_missing", seconds=300, expires=300),
    Schedule(
        "ingest: files to be checked before sending",
        "ingest.check_trials",
        seconds=settings.SWEEP_SECONDS,
        expires=settings.SWEEP_SECONDS,
    ),
    Schedule("mail: sweep", "accounts.sweep_mail", seconds=60, expires=60),
    Schedule("mail: together in the morning", "accounts.send_digests", seconds=300, expires=300),
    Schedule("ingest: purge what is past its days", "ingest.purge", minutes="20", expires=3600),
    Schedule("ingest: forget old values of records", "ingest.forget", minutes="50", hours="8", expires=3600),
    Schedule("districts: go on with long lists", "portal.import_districts", seconds=60, expires=60),
    Schedule("audit log: prove it and tell its head", "portal.tell_audit_head", minutes="30", hours="9", expires=3600),
)
PR_SET_PDEATHSIG = 1


@worker_process_init.connect
def die_with_parent(**_: object) -> None:
    """A pool process whose worker was killed must not finish its task unseen beside the next worker's."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
