"""How many threads of this process are at one host: whoever finds it full leaves his work to those who are there."""

import threading
from collections import Counter
from collections.abc import Callable


class Lanes:
    """At most `width` threads at each host, and nobody waits for one.

    Rows are the queue, so work can be left: one of those who are there looks at the rows once more before it goes;
    not if it `comes_again` by the clock anyway.
    """

    def __init__(self, width: int, *, comes_again: bool = False) -> None:
        self._width, self._comes_again, self._lock = width, comes_again, threading.Lock()
        self._busy: Counter[int] = Counter()
        self._left: set[int] = set()

    def work(self, host_pk: int, do: Callable[[], object]) -> bool:
        """Calls `do`, and again if others have left theirs meanwhile; False if there was no room."""
        if not self._enters(host_pk):
            return False
        is_over = False
        try:
            while not is_over:
                do()
                is_over = self._goes(host_pk)
        finally:
            if not is_over:  # it failed: what was left is for the next who comes
                self._goes(host_pk, at_once=True)
        return True

    def _enters(self, host_pk: int) -> bool:
        with self._lock:
            has_room = self._busy[host_pk] < self._width
            if has_room:
                self._busy[host_pk] += 1
            elif not self._comes_again:
                self._left.add(host_pk)
            return has_room

    def _goes(self, host_pk: int, *, at_once: bool = False) -> bool:
        """Whether it is gone: not if others have left their work and nobody has looked since."""
        with self._lock:
            if host_pk in self._left and not at_once:
                self._left.discard(host_pk)
                return False
            self._busy[host_pk] -= 1
            return True
