"""Log lines of a request, and of the tasks that it brings about, bear one id; the answer bears it, too."""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from celery import Task
from celery.signals import before_task_publish, task_postrun, task_prerun
from django.http import HttpRequest, HttpResponse

from hosts.core.trace import trace_id, traced

logger = logging.getLogger(__name__)
HEADER = "trace"
# When a task was sent: what lies in a queue tells by it how long it has waited.
SENT = "sent"
_open: dict[str, AbstractContextManager[str]] = {}


class Traced:
    """Gives each request an id, told in the header `X-Request-ID`, and logs what came of it, never what was sent."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        began = time.monotonic()
        with traced() as trace:
            response = self._get_response(request)
            response["X-Request-ID"] = trace
            # By the name of its page: an address may hold a token.
            name = request.resolver_match.view_name if request.resolver_match else "-"
            told = {"page": name, "status": response.status_code, "ms": round(1000 * (time.monotonic() - began))}
            logger.debug("%s %s: %s", request.method, name, response.status_code, extra=told)
            return response


class Trace(logging.Filter):
    """Adds the id to each log line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never keeps a line back."""
        record.trace = trace_id() or "-"
        return True


@before_task_publish.connect
def send_along(headers: dict[str, Any] | None = None, **_: object) -> None:
    """A task takes the id of whoever sends it with it, and the time."""
    if headers is None:
        return
    headers[SENT] = time.time()
    if trace_id():
        headers[HEADER] = trace_id()


@task_prerun.connect
def take_up(task_id: str, task: Task, **_: object) -> None:
    """What a task does bears the id it came with, or, of a schedule, one of its own."""
    held = traced(task.request.get(HEADER) or "")
    held.__enter__()
    _open[task_id] = held


@task_postrun.connect
def put_down(task_id: str, **_: object) -> None:
    """The task has ended, however it did."""
    if held := _open.pop(task_id, None):
        held.__exit__(None, None, None)
