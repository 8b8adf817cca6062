"""Many SFTP requests in flight on one channel: jobs are generators, the pipeline carries their questions and answers.

A job yields the requests of one turn and is resumed with their answers, in the order it asked, once all have come; it
returns its result or raises a `HostError`, which ends that job alone. Answers of different jobs come in any order.

What jobs ask is kept until a good part of them have asked, and then sent as one run of bytes: all first requests of
the jobs' turns, then all second ones, and so on. So a few large packets go out where thousands of small ones would,
and a disk gets many writes before the first flush. An answer that the protocol does not allow, one that is not whole in
its time, or the end of the channel ends everything: each job, begun or not, comes out with the error. Runs may be
nested (a caller may start one while it takes results of another) and used by several threads.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

from .core import sftp
from .core.errors import BadAnswer, HostDown, HostError
from .core.sftp import Reply, Request, Status

WINDOW = 256  # jobs in flight; measured: half costs time at 20 ms, more gains none
ANSWER_SECONDS = 20.0
RECEIVE = 256 * 1024
# Sent when one job in so many has something to send; the others keep the server busy meanwhile.
SHARE = 4
# In the time of an answer at least so many bytes have to leave.
LEAVING = 256 * 1024

_T = TypeVar("_T")
_K = TypeVar("_K")
Steps = Generator[Sequence[Request], list[Any], _T]

CUT = "The connection to the host was cut."
SILENT = "The host did not answer in time."
TOO_LONG = "The host took longer than the whole work may take."
LEFT = "The work was broken off."


class Channel(Protocol):
    """What carries the bytes: a paramiko channel, or a socket. Raises OSError, TimeoutError for too long a wait."""

    def send(self, content: bytes, /) -> int: ...
    def recv(self, most: int, /) -> bytes: ...
    def settimeout(self, seconds: float | None, /) -> None: ...


class _Job:
    """One generator, and the answers of the turn it waits for."""

    __slots__ = ("answers", "key", "missing", "run", "steps")

    def __init__(self, run: _Run[Any, Any], key: object, steps: Steps[Any]) -> None:
        self.run = run
        self.key = key
        self.steps = steps
        self.answers: list[Reply | None] = []
        self.missing = 0


class _Run(Generic[_K, _T]):
    """The jobs of one call of `Pipeline.run`: those to come, how many are begun, and what came out."""

    __slots__ = ("active", "done", "source", "window")

    def __init__(self, source: Iterator[tuple[_K, Steps[_T]]], window: int) -> None:
        self.source = source
        self.window = window
        self.active = 0
        self.done: deque[tuple[_K, _T | HostError]] = deque()


class Pipeline:
    """An SFTP session on a channel. `deadline`, by `time.monotonic`, bounds all it does from then on.

    `heard`: when, by the same clock, something last went to the server or came from it.
    """

    def __init__(
        self, channel: Channel, *, answer_seconds: float = ANSWER_SECONDS, deadline: float | None = None
    ) -> None:
        """Greets the server. Raises HostDown, BadAnswer."""
        self.deadline = deadline
        self._channel = channel
        self._answer_seconds = answer_seconds
        self._lock = threading.RLock()
        self._out: list[bytearray] = []
        self._jobs = 0
        self._asked = 0
        self._replies = sftp.Replies()
        self._number = 0
        self._waiting: dict[int, tuple[_Job, int, type[Reply]]] = {}
        self._broken: HostError | None = None
        # Seconds waited since the last whole answer came, or enough was sent.
        self._waited = 0.0
        self.heard = time.monotonic()
        self.extensions = self._greet()
        self.limits = self._limits()

    @property
    def is_broken(self) -> bool:
        return self._broken is not None

    def offers(self, extension: bytes) -> bool:
        return extension in self.extensions

    def do(self, steps: Steps[_T]) -> _T:
        """One job alone. Raises what it raises."""
        for _, outcome in self.run([(None, steps)]):
            if isinstance(outcome, HostError):
                raise outcome
            return outcome
        raise AssertionError("a run loses no job")

    def run(self, jobs: Iterable[tuple[_K, Steps[_T]]], window: int = WINDOW) -> Iterator[tuple[_K, _T | HostError]]:
        """The outcome of each job, as they come. At most `window` are begun at a time.

        A caller that stops taking them leaves what is begun to be finished first, and the rest not begun.
        """
        run: _Run[_K, _T] = _Run(iter(jobs), window)
        try:
            while self._fill(run):
                self._turn(run)
                while run.done:
                    yield run.done.popleft()
        finally:
            run.source = iter(())
            while run.active and not self.is_broken:
                run.done.clear()
                self._turn(run)

    def _greet(self) -> dict[bytes, bytes]:
        self._send(sftp.greeting())
        heard = b""
        while (version := sftp.version_in(heard)) is None:
            heard += self._receive()
        return version.extensions

    def _limits(self) -> sftp.Limits:
        return self.do(_ask_limits()) if self.offers(sftp.LIMITS) else sftp.Limits(0, 0, 0)

    def _fill(self, run: _Run[Any, Any]) -> bool:
        """Begin as many jobs as the window has room for; whether there is anything left to wait for or to hand out."""
        with self._lock:
            while run.active < run.window and len(run.done) < run.window:
                key, steps = next(run.source, (None, None))
                if steps is None:
                    break
                job = _Job(run, key, steps)
                run.active += 1
                self._jobs += 1
                self._advance(job, None)
            return bool(run.active or run.done)

    def _advance(self, job: _Job, answers: list[Reply | None] | None) -> None:
        if self._broken is not None:
            self._finish(job, self._broken)
            return
        try:
            requests = job.steps.send(answers)  # type: ignore[arg-type]
        except StopIteration as end:
            self._finish(job, end.value)
        except HostError as error:
            self._finish(job, error)
        except BaseException:
            self._forget(job)
            raise
        else:
            self._ask(job, requests)

    def _ask(self, job: _Job, requests: Sequence[Request]) -> None:
        self._asked += 1
        job.missing = len(requests)
        job.answers = [None] * job.missing
        self._out += (bytearray() for _ in range(job.missing - len(self._out)))
        for place, request in enumerate(requests):
            self._number = number = (self._number + 1) & 0xFFFFFFFF
            self._waiting[number] = (job, place, request.wants)
            self._out[place] += request.packet(number)

    def _finish(self, job: _Job, outcome: object) -> None:
        self._forget(job)
        job.run.done.append((job.key, outcome))

    def _forget(self, job: _Job) -> None:
        job.steps.close()
        job.run.active -= 1
        self._jobs -= 1

    def _turn(self, run: _Run[Any, Any]) -> None:
        """Send what is asked, if it is enough, and take what is answered; nothing if this run has results already."""
        with self._lock:
            if run.done or self._broken is not None:
                return
            try:
                if self._asked * SHARE >= self._jobs:
                    asked, self._out, self._asked = b"".join(self._out), [], 0
                    self._send(asked)
                for reply in self._replies.feed(self._receive()):
                    self._waited = 0.0
                    self._take(reply)
            except HostError as error:
                self._break(error)
            except BaseException:
                self._break(HostDown(LEFT))
                raise

    def _take(self, reply: Reply) -> None:
        asked = self._waiting.get(reply.number)
        if asked is None:
            raise BadAnswer.of("an answer to nothing that was asked")
        job, place, wants = asked
        if type(reply) is not wants and (type(reply) is not Status or reply.code == sftp.Code.OK):
            raise BadAnswer.of("an answer of the wrong kind")
        del self._waiting[reply.number]
        job.answers[place] = reply
        job.missing -= 1
        if not job.missing:
            self._advance(job, job.answers)

    def _break(self, error: HostError) -> None:
        self._broken = error
        self._out = []
        jobs = {id(job): job for job, _, _ in self._waiting.values()}
        self._waiting.clear()
        for job in jobs.values():
            self._finish(job, error)

    def _send(self, content: bytes) -> None:
        left, mark = memoryview(content), len(content)
        while left:
            if len(left) <= mark:
                mark, self._waited = len(left) - LEAVING, 0.0
            with self._waiting_for_host():
                count = self._channel.send(left)  # type: ignore[arg-type]
            if not count:
                raise HostDown(CUT)
            left = left[count:]
        self._waited = 0.0

    def _receive(self) -> bytes:
        with self._waiting_for_host():
            content = self._channel.recv(RECEIVE)
        if not content:
            raise HostDown(CUT)
        return content

    @contextmanager
    def _waiting_for_host(self) -> Iterator[None]:
        """Bounds one wait for bytes, either way, and counts it. Only that: whoever takes results may be slow."""
        began = time.monotonic()
        self._channel.settimeout(self._patience(began))
        try:
            yield
        except TimeoutError:
            raise HostDown(SILENT) from None
        except OSError:
            raise HostDown(CUT) from None
        self.heard = time.monotonic()
        self._waited += self.heard - began

    def _patience(self, now: float) -> float:
        """Seconds that the host still has, of those for one answer and of those for the whole."""
        left = self._answer_seconds - self._waited
        if left <= 0:
            raise HostDown(SILENT)
        if self.deadline is None:
            return left
        if now >= self.deadline:
            raise HostDown(TOO_LONG)
        return min(left, self.deadline - now)


def _ask_limits() -> Steps[sftp.Limits]:
    (answer,) = yield [sftp.limits()]
    return sftp.limits_in(answer) if isinstance(answer, sftp.Extended) else sftp.Limits(0, 0, 0)
