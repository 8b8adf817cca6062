"""Many requests in flight: against peers that answer out of order, badly, slowly, or not at all."""

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from hosts import steps
from hosts.core import sftp
from hosts.core.errors import BadAnswer, HostDown, NotThere
from hosts.pipeline import Pipeline, Steps

from .test_sftp_codec import packet, status, version

Request = tuple[int, int, bytes]


class Peer:
    """The other end of a socket pair. `answer` makes bytes of the requests that have come, or ends it with None."""

    def __init__(self, answer: Callable[[list[Request]], bytes | None], greeting: bytes = version(3)) -> None:
        self.ours, self._theirs = socket.socketpair()
        self._answer = answer
        self._greeting = greeting
        self._rest = b""
        self.seen: list[Request] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with self._theirs:
            self._theirs.recv(9)
            self._theirs.sendall(self._greeting)
            while requests := self._requests():
                self.seen += requests
                told = self._answer(requests)
                if told is None:
                    return
                with contextlib.suppress(OSError):  # whoever asked has gone
                    self._theirs.sendall(told)

    def _requests(self) -> list[Request]:
        found: list[Request] = []
        while not found:
            try:
                chunk = self._theirs.recv(65536)
            except OSError:
                return []
            if not chunk:
                return []
            self._rest += chunk
            while len(self._rest) >= 4 and len(self._rest) >= 4 + struct.unpack(">I", self._rest[:4])[0]:
                length, kind, number = struct.unpack(">IBI", self._rest[:9])
                found.append((kind, number, self._rest[9 : 4 + length]))
                self._rest = self._rest[4 + length :]
        return found

    def stop(self) -> None:
        self.ours.close()
        self._thread.join(10)


@pytest.fixture
def peers() -> Iterator[Callable[..., Peer]]:
    made: list[Peer] = []

    def make(answer: Callable[[list[Request]], bytes | None], **options: bytes) -> Peer:
        made.append(Peer(answer, **options))
        return made[-1]

    yield make
    for peer in made:
        peer.stop()


def fine(number: int) -> bytes:
    return status(0, b"Success", number)


def all_fine(requests: list[Request]) -> bytes:
    return b"".join(fine(number) for _, number, _ in requests)


def removing(path: bytes, turns: int = 1, each: int = 1) -> Steps[bytes]:
    """Some turns of some requests; the path is the result."""
    for _ in range(turns):
        for answer in (yield [sftp.remove(path)] * each):
            if answer.code != 0:
                raise NotThere(path.decode())
    return path


def names(count: int) -> list[bytes]:
    return [f"file-{number}".encode() for number in range(count)]


def test_answers_in_any_order_reach_the_job_that_asked(peers: Callable[..., Peer]) -> None:
    kept: list[Request] = []
    chance = random.Random(1)

    def shuffled(requests: list[Request]) -> bytes:
        kept.extend(requests)
        chance.shuffle(kept)
        some, kept[:] = kept[: len(kept) // 2 + 1], kept[len(kept) // 2 + 1 :]
        return b"".join(
            fine(number) if not body.endswith(b"3") else status(2, b"No such file", number) for _, number, body in some
        )

    def answered(requests: list[Request]) -> bytes:
        told = shuffled(requests)
        while kept:
            told += shuffled([])
        return told

    pipeline = Pipeline(peers(answered).ours)
    found = dict(pipeline.run((name, removing(name, 3, 2)) for name in names(1000)))
    assert set(found) == set(names(1000))
    for name, outcome in found.items():
        assert isinstance(outcome, NotThere) if name.endswith(b"3") else outcome == name


def test_a_window_bounds_what_is_begun_and_jobs_are_taken_as_they_are_needed(peers: Callable[..., Peer]) -> None:
    begun, ended = [0], [0]

    def job(name: bytes) -> Steps[bytes]:
        begun[0] += 1
        assert begun[0] - ended[0] <= 10
        yield from removing(name)
        ended[0] += 1
        return name

    pipeline = Pipeline(peers(all_fine).ours)
    run = pipeline.run(((name, job(name)) for name in names(500)), window=10)
    next(run)
    assert begun[0] <= 20
    assert len(list(run)) == 499


def test_a_caller_that_stops_lets_what_is_begun_end_and_may_go_on(peers: Callable[..., Peer]) -> None:
    peer = peers(all_fine)
    pipeline = Pipeline(peer.ours)
    run = pipeline.run(((name, removing(name, 4)) for name in names(500)), window=50)
    next(run)
    run.close()
    assert len({body for _, _, body in peer.seen}) < 500
    assert len(peer.seen) % 4 == 0
    assert pipeline.do(removing(b"more")) == b"more"


def test_a_run_within_a_run_gets_its_own_answers(peers: Callable[..., Peer]) -> None:
    pipeline = Pipeline(peers(all_fine).ours)

    def source() -> Iterator[tuple[bytes, Steps[bytes]]]:
        for name in names(300):
            assert pipeline.do(removing(b"before")) == b"before"
            yield name, removing(name, 2)

    found = []
    for name, outcome in pipeline.run(source()):
        assert pipeline.do(removing(name + b"-inner", 2)) == name + b"-inner"
        found.append(outcome)
    assert sorted(found) == sorted(names(300))


def test_several_threads_share_a_session(peers: Callable[..., Peer]) -> None:
    pipeline = Pipeline(peers(all_fine).ours)
    found: list[object] = []

    def work(number: int) -> None:
        own = [f"{number}-{name.decode()}".encode() for name in names(100)]
        found.extend(outcome for _, outcome in pipeline.run((name, removing(name, 2)) for name in own))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(set(found)) == 400


HOSTILE = {
    "an unknown number": lambda requests: fine(0xFFFFFFF0),
    "the same answer twice": lambda requests: fine(requests[0][1]) * 2,
    "a handle for a status": lambda requests: packet(102, struct.pack(">I", 1) + b"h", requests[0][1]),
    "too long": lambda requests: b"\xff\xff\xff\xff",
    "noise": lambda requests: b"Permission denied, please try again.\r\n",
    "fine for a handle": lambda requests: b"".join(fine(number) for _, number, _ in requests),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_answer_ends_everything_and_each_job_is_told(
    peers: Callable[..., Peer], hostile: Callable[[list[Request]], bytes]
) -> None:
    def opening(path: bytes) -> Steps[bytes]:
        (answer,) = yield [sftp.open_file(path, sftp.Open.READ)]
        return bytes(answer.handle)

    # What is good for a status is bad for a handle.
    job = opening if hostile is HOSTILE["fine for a handle"] else removing
    pipeline = Pipeline(peers(hostile).ours)
    found = list(pipeline.run(((name, job(name)) for name in names(400)), window=100))
    assert {name for name, _ in found} == set(names(400))
    assert sum(isinstance(outcome, BadAnswer) for _, outcome in found) >= 399
    assert pipeline.is_broken
    with pytest.raises(BadAnswer):
        pipeline.do(removing(b"more"))


@pytest.mark.parametrize("greeting", [version(6), b"\0\0\0\5\2\0\0\0\2", b"\xff" * 9, b"This service is closed.\r\n"])
def test_a_server_of_another_kind_is_refused_at_once(peers: Callable[..., Peer], greeting: bytes) -> None:
    with pytest.raises(BadAnswer):
        Pipeline(peers(all_fine, greeting=greeting).ours)


def test_a_cut_in_the_middle_is_told_to_each_job(peers: Callable[..., Peer]) -> None:
    answered = [0]

    def some(requests: list[Request]) -> bytes | None:
        answered[0] += len(requests)
        return all_fine(requests) if answered[0] < 300 else None

    pipeline = Pipeline(peers(some).ours)
    found = dict(pipeline.run(((name, removing(name)) for name in names(1000)), window=100))
    assert set(found) == set(names(1000))
    good = [name for name, outcome in found.items() if outcome == name]
    assert 0 < len(good) < 1000
    assert all(isinstance(outcome, HostDown) for name, outcome in found.items() if name not in good)


def test_silence_ends_it_after_the_time_of_an_answer(peers: Callable[..., Peer]) -> None:
    pipeline = Pipeline(peers(lambda requests: b"").ours, answer_seconds=0.2)
    with pytest.raises(HostDown) as told:
        pipeline.do(removing(b"file"))
    assert told.value.retry


def test_a_host_that_dribbles_is_ended_by_the_time_of_the_whole(peers: Callable[..., Peer]) -> None:
    def dribble(requests: list[Request]) -> bytes:
        time.sleep(0.02)
        return all_fine(requests)

    pipeline = Pipeline(peers(dribble).ours, answer_seconds=30, deadline=time.monotonic() + 0.5)
    with pytest.raises(HostDown):
        pipeline.do(removing(b"file", 100_000))


def test_a_job_that_is_wrong_itself_is_no_job_of_the_hosts(peers: Callable[..., Peer]) -> None:
    def wrong() -> Steps[None]:
        yield [sftp.remove(b"a")]
        raise ZeroDivisionError

    pipeline = Pipeline(peers(all_fine).ours)
    with pytest.raises(ZeroDivisionError):
        pipeline.do(wrong())
    with pytest.raises(HostDown):
        pipeline.do(removing(b"a"))


def _trickle(theirs: socket.socket, told: bytes, ended: threading.Event) -> None:
    """A server that answers the greeting, and what is asked next with one byte at a time, always well before silence
    would end it."""
    theirs.recv(9)
    theirs.sendall(version(3))
    theirs.recv(65536)
    for at in range(len(told)):
        if ended.wait(0.05):
            return
        with contextlib.suppress(OSError):
            theirs.sendall(told[at : at + 1])


def test_an_answer_that_trickles_in_is_ended_by_the_time_of_an_answer() -> None:
    ours, theirs = socket.socketpair()
    ended = threading.Event()
    thread = threading.Thread(target=_trickle, args=(theirs, packet(103, bytes(200), 1), ended))
    thread.start()
    try:
        with pytest.raises(HostDown, match="did not answer in time"):
            Pipeline(ours, answer_seconds=1.0).do(removing(b"file"))
    finally:
        ended.set()
        thread.join(10)
        ours.close()
        theirs.close()


def test_many_answers_that_each_come_in_time_are_all_waited_for(peers: Callable[..., Peer]) -> None:
    def slow(requests: list[Request]) -> bytes:
        time.sleep(0.1)
        return all_fine(requests)

    pipeline = Pipeline(peers(slow).ours, answer_seconds=0.5)
    assert pipeline.do(removing(b"file", 8)) == b"file"


def test_who_takes_results_slowly_is_no_silence_of_the_host(peers: Callable[..., Peer]) -> None:
    pipeline = Pipeline(peers(all_fine).ours, answer_seconds=0.3)
    run = pipeline.run(((name, removing(name, 3)) for name in names(20)), window=5)
    found = []
    for name, outcome in run:
        if len(found) % 5 == 0:
            time.sleep(0.4)
        assert outcome == name
        found.append(name)
    assert sorted(found) == sorted(names(20))


def test_a_listing_whose_parts_hold_no_names_does_not_go_on_for_ever(peers: Callable[..., Peer]) -> None:
    def empty(requests: list[Request]) -> bytes:
        opened = packet(102, struct.pack(">I", 1) + b"h", requests[0][1])
        return b"".join(
            opened if kind == 11 else packet(104, struct.pack(">I", 0), number) if kind == 12 else fine(number)
            for kind, number, _ in requests
        )

    pipeline = Pipeline(peers(empty).ours, deadline=time.monotonic() + 10)
    with pytest.raises(BadAnswer):
        pipeline.do(steps.listing(b"/keys", "keys"))
    assert pipeline.is_broken
