"""How a night of many districts is drained: `python benchmarks/queues.py`, by one worker process and by two.

So many districts' epochs lie in /upload/ and are queued in one moment, in a random order: sets of OneRoster as in
benchmarks/ingest.py, their rows log-normal around 2,000, and a few of 200,000. One district in ten sends two nights at
once. They go through the portal's own Celery worker, from the claim to the mail, on PostgreSQL and Redis that are
started for this with their settings as they come; the sweep is asked for as often as beat would. First a night that
fills empty records, then the next, with 0.5 % of the users changed; both are measured, each from the moment the worker
is told until the last epoch has ended.

Told are: whether each district's nights went in order and one at a time; when the small epochs were done and the large
ones; how often one process waited for a lock of another; and the time of two processes in that of one. The databases
are fresh for each. What is written in brackets is time of all processors, the server's too: where two processes take
as much of it as one, but no less time on the clock, others were at work on the machine.

Options: --districts 500 --large 5 --rounds 1 --processes 1,2
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402
from django.db import connections  # noqa: E402

from benchmarks.ingest import FORMAT, set_write  # noqa: E402
from benchmarks.loading import name_of, server, server_seconds  # noqa: E402
from tests.flows.stack import Redis, wait_for  # noqa: E402

MEDIAN_ROWS, LARGE_ROWS, SPREAD = 2_000, 200_000, 0.6
# One row in six is a person, the others are enrolments.
ROWS_A_PERSON = 6
KINDS = ("first", "next")
PATIENCE_SECONDS = 3600.0


# --- Districts and their nights ------------------------------------------------------------------------------------


def sizes_of(districts: int, large: int) -> list[int]:
    """How many people each district has; the large ones stand anywhere among the others."""
    chance = random.Random(1)
    rows = [round(MEDIAN_ROWS * chance.lognormvariate(0, SPREAD)) for _ in range(districts - large)]
    rows += [LARGE_ROWS] * large
    chance.shuffle(rows)
    return [max(one // ROWS_A_PERSON, 20) for one in rows]


class Portal:
    """A fresh portal in the database that DATABASE_URL names, with a worker of its own."""

    def __init__(self, districts: int, large: int) -> None:
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        import django  # noqa: PLC0415

        django.setup()
        from django.core.management import call_command  # noqa: PLC0415

        from tests.factories import DistrictFactory  # noqa: PLC0415
        from tests.ingest.uploading import places_make  # noqa: PLC0415

        call_command("migrate", verbosity=0)
        self.people = sizes_of(districts, large)
        self.districts = [DistrictFactory() for _ in self.people]
        for district in self.districts:
            places_make(district)
        self.sent = 0

    def night(self, sets: Path, kind: str) -> list[Any]:
        """Puts a night's files into every /upload/ and queues them; the rows of those epochs."""
        from django.utils import timezone  # noqa: PLC0415

        from ingest.models import Epoch  # noqa: PLC0415

        made, chance = [], random.Random(kind)
        for number, district in enumerate(self.districts):
            first, second = sets / str(number) / "first", sets / str(number) / "second"
            for place in (second, first) if number % 10 == 9 else (first if kind == "first" else second,):
                made.append(self._queued(district, place))
        chance.shuffle(made)
        for epoch in made:
            epoch.queued = timezone.now()
        return Epoch.objects.bulk_create(made)

    def _queued(self, district: Any, place: Path) -> Any:
        from django.conf import settings  # noqa: PLC0415

        from ingest.models import Epoch  # noqa: PLC0415

        self.sent += 1
        name = name_of(5, seconds=self.sent)
        target = settings.SFTP_ROOT / "homes" / district.domain / "upload" / name
        shutil.copytree(place, target)
        (target / "COMPLETE").touch()
        size = sum(file.stat().st_size for file in place.iterdir())
        told = {"format": FORMAT, "state": "queued", "byte_count": size}
        return Epoch(district=district, account=district.sftp_account, name=name, **told)


def sets_write(folder: Path, people: list[int]) -> None:
    """Every district's first night and the next one."""
    for number, count in enumerate(people):
        first = folder / str(number) / "first"
        first.mkdir(parents=True)
        set_write(first, count, count * (ROWS_A_PERSON - 1))
        second = Path(shutil.copytree(first, folder / str(number) / "second"))
        with (first / "users.csv").open(newline="") as source, (second / "users.csv").open("w", newline="") as out:
            out.writelines(line.replace(",true,", ",false,") if n % 200 == 9 else line for n, line in enumerate(source))


@contextlib.contextmanager
def worker(processes: int, log: Path) -> Iterator[int]:
    """The portal's own worker of uploads with so many processes, ready; its pid."""
    from portal.parts import worker_part  # noqa: PLC0415

    part = worker_part({"LOG_LEVEL": "INFO"})
    argv = [*part.argv[: part.argv.index("--concurrency")], "--concurrency", str(processes), "--loglevel", "INFO"]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*argv, "--without-gossip", "--without-mingle"],
            cwd=ROOT,
            env={**os.environ, **part.environment},
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        wait_for("the worker is ready", lambda: b" ready." in log.read_bytes(), 120)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


# --- One run -------------------------------------------------------------------------------------------------------


def processor_of(worker_pid: int) -> float:
    """Seconds of processor of the worker and its processes so far."""
    ticks, seconds = os.sysconf("SC_CLK_TCK"), 0.0
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            told = place.read_text().rpartition(")")[2].split()
            if worker_pid in (int(place.parent.name), int(told[1])):
                seconds += sum(map(int, told[11:13])) / ticks
    return seconds


def drained(epochs: list[Any], worker_pid: int) -> dict[str, Any]:
    """Tells the worker, and waits until every epoch has ended."""
    from django.conf import settings  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from ingest import tasks  # noqa: PLC0415
    from ingest.models import Epoch  # noqa: PLC0415

    rows = Epoch.objects.filter(pk__in=[one.pk for one in epochs])
    left = rows.exclude(state__in=Epoch.ENDED)
    before, begun, start = processor_of(worker_pid) + server_seconds(), time.perf_counter(), timezone.now()
    swept, looks, waits_seen = begun, 0, 0
    tasks.sweep()
    while left.exists():
        time.sleep(0.2)
        looks, waits_seen = looks + 1, waits_seen + waiting_for_locks()
        if time.perf_counter() - swept > settings.SWEEP_SECONDS:
            tasks.sweep()
            swept = time.perf_counter()
        if time.perf_counter() - begun > PATIENCE_SECONDS or left.exclude(trouble="").exists():
            raise SystemExit(f"not drained: {list(left.values_list('name', 'state', 'trouble')[:5])}")
    wall = time.perf_counter() - begun
    done = list(rows.order_by("finished").values_list("district", "name", "state", "started", "finished", "byte_count"))
    not_loaded = [one for one in done if one[2] != "loaded"]
    if not_loaded:
        raise SystemExit(f"{len(not_loaded)} epochs were not loaded: {not_loaded[:3]}")
    waits = {
        is_large: [(end - start).total_seconds() for *_, end, size in done if (size > 4_000_000) is is_large]
        for is_large in (False, True)
    }
    return {
        "wall": wall,
        "processor": processor_of(worker_pid) + server_seconds() - before,
        "epochs": len(done),
        "in order": is_in_order(done),
        "locked": waits_seen / max(looks, 1),
        "small": [statistics.median(waits[False]), max(waits[False])],
        "large": [statistics.median(waits[True]), max(waits[True])] if waits[True] else [0.0, 0.0],
    }


def waiting_for_locks() -> int:
    """How many of the worker's connections wait at this moment for another to let go of a lock."""
    with connections["default"].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return int(cursor.fetchone()[0])


def is_in_order(done: list[tuple[Any, ...]]) -> bool:
    """Whether each district's nights went by name, each begun when the one before had ended."""
    last: dict[int, tuple[str, Any]] = {}
    for district, name, _, started, finished, _ in done:
        before = last.get(district)
        if before and not (before[0] < name and before[1] <= started):
            return False
        last[district] = (name, finished)
    return True


def run(given: argparse.Namespace) -> None:
    """One portal with so many processes; prints what it came to as JSON."""
    portal = Portal(given.districts, given.large)
    sets_write(given.place / "sets", portal.people)
    told = {}
    with worker(int(given.processes), given.place / "worker.log") as pid:
        for kind in KINDS:
            told[kind] = drained(portal.night(given.place / "sets", kind), pid)
    print(json.dumps(told))


# --- The table -----------------------------------------------------------------------------------------------------


def told_of(processes: str, kind: str, one: dict[str, Any]) -> None:
    order = "in order" if one["in order"] else "NOT IN ORDER"
    small, large = ("{:6.1f} / {:6.1f} s".format(*one[name]) for name in ("small", "large"))
    rate = f"{one['epochs'] / one['wall']:5.1f}/s"
    times = f"{one['wall']:7.1f} s [{one['processor']:7.1f} s]"
    print(f"{kind:5} night, {processes} processes: {one['epochs']} epochs, {order}, {times} {rate}", flush=True)
    print(f"    done after (median, last): small {small}, large {large}", flush=True)
    print(f"    waited for each other's locks at {one['locked']:.1%} of the looks", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--districts", type=int, default=500)
    parser.add_argument("--large", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--processes", default="1,2")
    parser.add_argument("--place", type=Path)
    given = parser.parse_args()
    if given.place:
        run(given)
        return
    runs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="queues-") as directory:
        place = Path(directory)
        redis = Redis(place / "redis")
        try:
            with server(place / "server") as address:
                for number in range(given.rounds):
                    for processes in given.processes.split(","):
                        for kind, one in measured(place / f"{number}-{processes}", processes, address, redis).items():
                            runs.setdefault((kind, processes), []).append(one)
                            told_of(processes, kind, one)
        finally:
            redis.stop()
    fewest, most = given.processes.split(",")[0], given.processes.split(",")[-1]
    for kind in KINDS:
        walls = [statistics.median(one["wall"] for one in runs[kind, name]) for name in (most, fewest)]
        print(f"{kind} night: {most} processes take {walls[0] / walls[1]:.2f} of the time of {fewest}; goal 0.65")


def measured(folder: Path, processes: str, address: str, redis: Redis) -> dict[str, Any]:
    """A run in a process of its own, with a database and a broker of its own."""
    folder.mkdir()
    name = f"queues_{folder.name.replace('-', '_')}"
    with psycopg.connect(address, autocommit=True) as database:
        database.execute(f"CREATE DATABASE {name}")
    told = {
        **os.environ,
        "LOG_LEVEL": "ERROR",
        "DATABASE_URL": address.rpartition("/")[0] + f"/{name}",
        "BROKER_URL": redis.broker(int(folder.name.split("-")[0]) * 2 % 16 + int(processes) % 2),
        "DATA_DIR": str(folder / "data"),
        "WORKER_PROCESSES": processes,
        "GUARD_AGE_DAYS": "-1",
        "GUARD_SCHOOL_YEAR": "false",
    }
    argv = [sys.executable, *sys.argv, "--processes", processes, "--place", str(folder)]
    done = subprocess.run(argv, env=told, stdout=subprocess.PIPE, check=True)
    shutil.rmtree(folder / "sets")
    return dict(json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
