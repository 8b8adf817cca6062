"""The check of files that are only tried, in a process apart from all others.

It runs below everything else, so that no night waits for it; what a file could do to it (memory, time, a crash of an
engine) it does to nobody else; and it dies with whoever started it. It has no database, no settings and no environment.
Neither side ever writes down what the files hold: only findings come back, whose values are masked.
"""

import base64
import ctypes
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ingest.core.catalogue import read_catalogue
from ingest.core.delimiters import delimiter_of
from ingest.core.findings import Finding, Severity
from ingest.core.listing import Listing
from ingest.core.verdict import FileCounts
from ingest.examining import UNRECOGNISED, Examined, Wanted, examine
from ingest.parcels import Parcel, opened, unpacked

CODE = Path(__file__).parents[2]
POLITE = 10
PR_SET_PDEATHSIG = 1
PROGRESS_SECONDS = 0.3
MOST_FINDINGS = 1000
ORDER = (Severity.ERROR, Severity.WARNING, Severity.NOTE)
Report = dict[str, Any]


class Died(Exception):
    """The process has not come to an end by itself."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to look at: the `files` by their names and what they are called in `folder`.

    `per_code` findings of a kind are reported, and `listed` errors and as many others stand in the report's list.
    `usual`: the format that the district sends, by name.
    """

    folder: Path
    files: Mapping[str, str]
    per_code: int
    listed: int
    windows_1252: bool
    delimiter: str
    seconds: float
    usual: str = ""


def examined_apart(order: Order, progress: Callable[[int], None]) -> Report:
    """Starts the process, hands its progress on and returns its report. Raises Died."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-B", "-m", "ingest.trials.process"]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=quiet, cwd=CODE, env={}) as child:
        clock = threading.Timer(order.seconds, child.kill)
        clock.start()
        try:
            return _listen(child, order, progress)
        except (OSError, ValueError):
            raise Died from None
        finally:
            clock.cancel()
            child.kill()


def _listen(child: "subprocess.Popen[bytes]", order: Order, progress: Callable[[int], None]) -> Report:
    assert child.stdin is not None
    assert child.stdout is not None
    told = {"folder": str(order.folder), "files": dict(order.files), "owner": os.getpid()}
    told |= {name: getattr(order, name) for name in ("per_code", "listed", "windows_1252", "delimiter", "usual")}
    # Not through the buffer: what is left in it would be written once more when a dead process is closed.
    os.write(child.stdin.fileno(), json.dumps(told).encode() + b"\n")
    for line in child.stdout:
        said = json.loads(line)
        if "report" in said:
            return dict(said["report"])
        progress(said["rows"])
    raise Died


def main() -> int:
    """The other side: reads the order, says how far it is, and at last the report."""
    order = json.loads(sys.stdin.readline())
    _step_back(order["owner"])
    folder = Path(order["folder"])
    files = {name: partial(opened, folder / own) for name, own in order["files"].items()}
    delimiter = delimiter_of(order["delimiter"])
    wanted = Wanted(None, order["per_code"], order["listed"], order["windows_1252"], delimiter, order["usual"])
    # In memory, for it must not leave anything on the disk; packed, all of the list takes a few megabytes.
    packed = io.BytesIO()
    listing = Listing(packed, order["listed"])
    try:
        with unpacked(Parcel("", files)) as parcel:
            found = examine(parcel, read_catalogue(), wanted, _progress(), listing.add)
    except (OSError, MemoryError):
        return 1
    rows = listing.close(tally for tally in found.tallies if tally.code != UNRECOGNISED)
    told = {"rows": rows, "left_out": listing.left_out, "data": base64.b64encode(packed.getvalue()).decode("ascii")}
    _say({"report": _report(found) | {"list": told}})
    return 0


def _step_back(owner: int) -> None:
    """Lets all others go first, dies with the owner, and leaves nothing on the disk, not even when it crashes."""
    os.nice(POLITE)
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != owner:
        sys.exit(1)


def _progress() -> Callable[[int], None]:
    last = 0.0

    def tell(rows: int) -> None:
        nonlocal last
        if time.monotonic() - last >= PROGRESS_SECONDS:
            last = time.monotonic()
            _say({"rows": rows})

    return tell


def _say(what: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _report(found: Examined) -> Report:
    counts = found.verdict.counts if found.verdict else ()
    # That they are not recognised is the report's own sentence.
    told = [one for one in found.findings if one.code != UNRECOGNISED]
    worst_first = sorted(told, key=lambda one: ORDER.index(one.severity))
    return {
        "outcome": found.state.value,
        "format": found.format.name if found.format else "",
        "message": found.message,
        "near_misses": [[miss.title, list(miss.reasons)] for miss in found.near_misses],
        "files": [_file(one) for one in counts],
        "findings": [_finding(one) for one in worst_first[:MOST_FINDINGS]],
        "errors": found.count(Severity.ERROR) - (len(found.findings) - len(told)),
        "warnings": found.count(Severity.WARNING),
    }


def _file(one: FileCounts) -> dict[str, object]:
    return {"name": one.file, "rows": one.rows, "blank": one.blank, "errors": one.errors, "warnings": one.warnings}


def _finding(one: Finding) -> dict[str, object]:
    told = {name: getattr(one, name) for name in ("file", "line", "column", "code", "message", "hint", "value")}
    return {**told, "severity": one.severity.value}


if __name__ == "__main__":
    sys.exit(main())
