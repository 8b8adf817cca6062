"""A nudge: tells a worker, after commit, that a row waits. If the broker is away nothing is lost: a sweep looks too."""

import logging
from functools import partial

from celery import Task
from django.db import transaction
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)


def nudge(task: Task, *args: int, countdown: int = 0, expires: int = 0) -> None:
    """Sends `task` with `args` (numbers only, never content) once the running transaction has committed.

    It is begun after `countdown` seconds at the earliest; after `expires`, if given, not any more.
    """
    transaction.on_commit(partial(_send, task, args, countdown, expires))


def _send(task: Task, args: tuple[int, ...], countdown: int, expires: int) -> None:
    try:
        task.apply_async(args=args, countdown=countdown or None, expires=expires or None)
    except OperationalError as error:
        logger.warning("The broker did not take %s (%s); the next sweep will find the row.", task.name, error)
