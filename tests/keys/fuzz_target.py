"""The program that the fuzzer drives: reads what it is given as a paste, and keeps what took longest. See fuzz.py."""

import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["keys.core"]):
    from tests.keys.invariants import check_bytes

SLOW = "slow"
_KEPT = 20


class Slowest:
    """Keeps, as files of a folder, the inputs that took the most CPU time; instrumentation slows all of them down."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: list[tuple[float, int]] = []
        self._count = 0

    def tell(self, seconds: float, content: bytes) -> None:
        if len(self._kept) == _KEPT and seconds <= self._kept[0][0]:
            return
        self._count += 1
        self._kept.append((seconds, self._count))
        (self._folder / str(self._count)).write_bytes(content)
        self._kept.sort()
        for _, number in self._kept[:-_KEPT]:
            (self._folder / str(number)).unlink()
        self._kept = self._kept[-_KEPT:]


def main(work: Path, arguments: list[str]) -> None:
    """Fuzz, with libFuzzer's own arguments, in a working folder that fuzz.py has made."""
    slowest = Slowest(work / SLOW)

    def target(content: bytes) -> None:
        start = time.process_time()
        check_bytes(content)
        slowest.tell(time.process_time() - start, content)

    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
