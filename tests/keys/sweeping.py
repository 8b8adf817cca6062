"""The tasks of this package as workers would do them, but one after the other and in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from celery import Task

from keys import tasks


@contextmanager
def nudged() -> Iterator[None]:
    """In this block a task that is sent is done at once."""

    def do(task: Task, *args: int, **_: int) -> None:
        task(*args)

    with patch.object(tasks, "nudge", do):
        yield


def sweep() -> None:
    """A sweep with all that it sends for."""
    with nudged():
        tasks.sweep()
