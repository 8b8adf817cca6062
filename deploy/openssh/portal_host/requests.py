"""The queue between portal and helper: `requests/` is the portal's and not trusted, `answers/` is root's."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass

from hosts.core.errors import HostError, TooLarge
from hosts.local import scanned

from .judging import BadRequest
from .operations import Answer, answer, refused
from .places import Owned, below, content_of, publish, root_directory
from .settings import Host

NAME = re.compile(rb"([0-9a-f]{32})\.json")
REQUEST_LIMIT = 8 * 1024 * 1024
ANSWER_LIMIT = 32 * 1024 * 1024
OPERATIONS_LIMIT = 1000
TURN_LIMIT = 1000
STRAY_SECONDS = 3600  # what the portal left half written
TOO_MUCH = refused(TooLarge("Ask for less at a time."))


@dataclass(frozen=True, slots=True)
class Request:
    id: str
    operations: list[object]


def request_of(content: bytes, number: str) -> Request:
    """A request as the portal wrote it. Raises BadRequest for anything that is none."""
    try:
        data = json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadRequest("The request is not JSON.") from error
    if not isinstance(data, dict) or data.get("id") != number:
        raise BadRequest("A request is an object with its own number as “id”.")
    operations = data.get("operations")
    if not isinstance(operations, list) or len(operations) > OPERATIONS_LIMIT:
        raise BadRequest(f"“operations” must be a list of at most {OPERATIONS_LIMIT}.")
    return Request(number, operations)


def _no_constant(name: str) -> object:
    raise ValueError(name)


def requests_serve(host: Host) -> int:
    """Answer what lies in the queue, the oldest first; returns how many requests."""
    with _queue(host) as (requests, answers):
        waiting = _waiting(requests)
        for name in waiting:
            content = _answered(host, requests, name)
            owned = Owned(0, host.portal.gid, 0o640)
            publish(answers, name, content, owned, durable=False)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=requests)
        return len(waiting)


@contextlib.contextmanager
def _queue(host: Host) -> Iterator[tuple[int, int]]:
    with (
        root_directory(host.places.tree) as tree,
        below(tree, b"requests") as requests,
        below(tree, b"answers") as answers,
    ):
        yield requests, answers


def _waiting(requests: int) -> list[bytes]:
    """By the time of the rename that put them there, which the portal cannot set as it can a file's own time."""
    found = [
        (status.st_ctime_ns, name)
        for name, status in scanned(requests)
        if NAME.fullmatch(name) and not stat.S_ISDIR(status.st_mode)
    ]
    return [name for _, name in sorted(found)[:TURN_LIMIT]]


def _answered(host: Host, requests: int, name: bytes) -> bytes:
    number = name.removesuffix(b".json").decode("ascii")
    try:
        request = request_of(_content(requests, name), number)
    except HostError as error:
        return _encoded({"id": number, **refused(error)})
    answers: list[Answer] = []
    room = ANSWER_LIMIT
    for operation in request.operations:
        told = answer(host, operation) if room > 0 else TOO_MUCH
        size = len(json.dumps(told))
        if size > room:
            told, size = TOO_MUCH, 0
        room -= size
        answers.append(told)
    return _encoded({"id": number, "answers": answers})


def _content(requests: int, name: bytes) -> bytes:
    try:
        return content_of(requests, name, REQUEST_LIMIT) or b""
    except OSError as error:
        raise BadRequest("The request is not a plain file.") from error


def _encoded(data: dict[str, object]) -> bytes:
    return json.dumps(data).encode("ascii") + b"\n"


def leftovers_remove(host: Host) -> None:
    """Remove old answers nobody fetched, and what the portal left half written."""
    with _queue(host) as (requests, answers):
        _remove_older(answers, host.settings.answers_kept_minutes * 60)
        _remove_older(requests, STRAY_SECONDS)


def _remove_older(directory: int, seconds: float) -> None:
    limit = time.time() - seconds
    for name, status in list(scanned(directory)):
        if status.st_ctime < limit and not stat.S_ISDIR(status.st_mode):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
