"""One id for all that a request or a schedule brings about: in log lines, tasks, and what a host's helper is asked."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LENGTH = 16
_trace: ContextVar[str] = ContextVar("trace", default="")


def trace_id() -> str:
    """The id of what is under way in this thread: sixteen hexadecimal digits, or empty."""
    return _trace.get()


@contextmanager
def traced(given: str = "") -> Iterator[str]:
    """What is done meanwhile belongs to this id; to a new one if it is none."""
    is_one = len(given) == LENGTH and set(given) <= set("0123456789abcdef")
    trace = given if is_one else secrets.token_hex(LENGTH // 2)
    before = _trace.set(trace)
    try:
        yield trace
    finally:
        _trace.reset(before)


def number_make() -> str:
    """A number that is nobody else's, 32 hexadecimal digits: it begins with the id of what is under way, if any is."""
    return (trace_id() or secrets.token_hex(LENGTH // 2)) + secrets.token_hex(LENGTH // 2)
