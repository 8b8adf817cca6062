"""How fast a checked night gets into the records: `python benchmarks/loading.py`, against COPY and executemany.

The sets are those of benchmarks/ingest.py. A district's epoch goes through the pipeline's own steps, from its claimed
directory to the commit: copy, check, compare (with the guard's judgement) and load. Beside it, on the same server, in
turns: a bare COPY of users.csv into an unlogged table of fifteen text columns, and what one would write by hand for a
first load: COPY into a temporary table, then INSERT ... SELECT with digest and JSON into a table with the very columns
and indexes of the records. For SQLite: a bare executemany of rows that are made beforehand, into such a table.

The nightly file has one row in 250 changed, one in 2,000 gone and as many new: 0.5 %. A night that is byte for byte
the last one follows, then the same number of changes in files of three sizes. PostgreSQL is started for this, with its
settings as they come (flushing to disk included), and stopped at the end. Before each measurement it vacuums and sets
a checkpoint, as it does by itself between two nights. What is written in brackets is time of all
processors together, the server's too, which depends less on whoever else is at work.

Options: --rows 1000000 --rounds 3 --database postgres|sqlite --sizes 100000,300000,1000000 --profile
"""

import argparse
import contextlib
import cProfile
import csv
import functools
import json
import os
import pstats
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import psycopg  # noqa: E402

from benchmarks.ingest import FORMAT, HEADERS, set_write  # noqa: E402
from tests.flows.stack import free_port, wait_for  # noqa: E402
from tests.system_packages import find  # noqa: E402

USERS = HEADERS["users"].split(",")
BLOCK = 1 << 20
JSON = ", ".join(f"'{name}', \"{name}\"" for name in USERS)
BY_HAND = f"""
INSERT INTO by_hand (dataset_id, key, digest, data, is_removed, first_epoch_id, last_epoch_id)
SELECT 1, "sourcedId", decode(md5(staged::text), 'hex'), jsonb_build_object({JSON}), false, 1, 1 FROM staged
"""


# --- Time ---

TICKS = os.sysconf("SC_CLK_TCK")


def server_seconds() -> float:
    """Processor time of our PostgreSQL and all it has started; backends that ended count with their parent."""
    pid = os.environ.get("SERVER_PID", "")
    if not pid:
        return 0.0
    seconds = 0.0
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            told = place.read_text().rpartition(")")[2].split()
            if place.parent.name == pid or told[1] == pid:
                seconds += sum(map(int, told[11:15] if place.parent.name == pid else told[11:13])) / TICKS
    return seconds


class Took(NamedTuple):
    wall: float
    processor: float

    def since(self, begun: "Took") -> "Took":
        return Took(self.wall - begun.wall, self.processor - begun.processor)

    def plus(self, other: "Took") -> "Took":
        return Took(self.wall + other.wall, self.processor + other.processor)


def now() -> Took:
    """Seconds on the clock, and of all processors: ours and the server's."""
    return Took(time.perf_counter(), time.process_time() + server_seconds())


# --- Files ---------------------------------------------------------------------------------------------------------


def night_after(place: Path, target: Path, changes: float) -> None:
    """The same set, but so large a part of its users changed, gone or new: eight in ten, one in ten and one in ten."""
    shutil.copytree(place, target)
    every = round(1 / changes)
    with (place / "users.csv").open() as source, (target / "users.csv").open("w") as out:
        out.write(source.readline())
        for number, line in enumerate(source):
            kind = number % (every * 10) // every if number % every == every // 2 else 9
            if kind < 8:
                line = line.replace(",true,", ",false,", 1)
            if number % (every * 10) == every * 9:
                out.write(line.replace("user-", "user-new-", 1).replace(",u", ",n", 1).replace("LDAP:u", "LDAP:n"))
            if number % (every * 10) != every * 9 + 1:
                out.write(line)


def name_of(days: int, seconds: int = 0) -> str:
    """An epoch's name, so many days ago and so many seconds later."""
    return f"{datetime.now() - timedelta(days=days, seconds=-seconds):%Y%m%d-%H%M%S}"


def blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


# --- The portal's own way ------------------------------------------------------------------------------------------


class Portal:
    """A district of a fresh portal, in the database that DATABASE_URL names."""

    def __init__(self) -> None:
        os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
        import django  # noqa: PLC0415

        django.setup()
        from django.core.management import call_command  # noqa: PLC0415

        call_command("migrate", verbosity=0)

    def district(self) -> Any:
        """A new district without records."""
        from ingest.models import Lane  # noqa: PLC0415
        from tests.factories import DistrictFactory  # noqa: PLC0415

        made = DistrictFactory()
        Lane.objects.create(district=made)
        return made

    def night(self, district: Any, place: Path, name: str, profile: bool = False) -> "Night":
        """Seconds of each step from the claimed directory to the commit."""
        from django.conf import settings  # noqa: PLC0415
        from django.utils import timezone  # noqa: PLC0415

        from accounts.leases import lease_take  # noqa: PLC0415
        from hosts.core import paths  # noqa: PLC0415
        from ingest import pipeline, staging  # noqa: PLC0415
        from ingest.models import Epoch, Lane  # noqa: PLC0415
        from tests.factories import EpochFactory  # noqa: PLC0415

        epoch = EpochFactory(district=district, name=name, format=FORMAT, state="working", step="claim")
        Epoch.objects.filter(pk=epoch.pk).update(started=timezone.now(), queued=timezone.now())
        epoch = Epoch.objects.select_related("district", "account__host").get(pk=epoch.pk)
        target = settings.SFTP_ROOT / str(paths.claimed(epoch.pk)).lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(place, target)
        lane = Lane.objects.get(district=district)
        Lane.objects.filter(pk=lane.pk).update(lease_token="", lease_until=None)
        token = lease_take(Lane.objects.filter(pk=lane.pk))
        took: dict[str, Took] = {}
        watch = cProfile.Profile() if profile else contextlib.nullcontext()
        with watch:
            for step in pipeline.steps_left(epoch):
                if step.name == "log":
                    break
                begun = now()
                pipeline.run_step(step, epoch, lane, str(token))
                took[step.name] = now().since(begun)
                if epoch.state == Epoch.State.HELD:
                    raise SystemExit(f"the guard holds {name}: {epoch.judgement.message}")
        if profile:
            pstats.Stats(watch).sort_stats("tottime").print_stats(18)
        if not epoch.is_ok:
            raise SystemExit(f"{name} has errors: {list(epoch.findings.values_list('code', 'line')[:5])}")
        staging.clear(epoch.pk)
        shutil.rmtree(target)
        Epoch.objects.filter(pk=epoch.pk).update(state="loaded")
        sums = [(one.added, one.changed, one.removed) for one in epoch.files.all()]
        return Night(took, sum(map(sum, sums)))


# --- What it is compared with --------------------------------------------------------------------------------------


def copy_bare(address: str, path: Path) -> Took:
    with psycopg.connect(address) as database:
        database.execute("DROP TABLE IF EXISTS bare")
        columns = ", ".join(f'"{name}" text' for name in USERS)
        database.execute(f"CREATE UNLOGGED TABLE bare ({columns})")
        database.commit()
        begun = now()
        copy_in(database, "bare", path)
        database.commit()
        took = now().since(begun)
        database.execute("DROP TABLE bare")
    return took


def copy_in(database: psycopg.Connection, table: str, path: Path) -> None:
    with database.cursor().copy(f"COPY {table} FROM STDIN (FORMAT csv, HEADER)") as copy:
        for block in blocks(path):
            copy.write(block)


def load_by_hand(address: str, path: Path) -> Took:
    with psycopg.connect(address) as database:
        database.execute("DROP TABLE IF EXISTS by_hand")
        database.execute("CREATE TABLE by_hand (LIKE ingest_record INCLUDING ALL)")
        database.commit()
        begun = now()
        columns = ", ".join(f'"{name}" text' for name in USERS)
        database.execute(f"CREATE TEMPORARY TABLE staged ({columns}) ON COMMIT DROP")
        copy_in(database, "staged", path)
        database.execute(BY_HAND)
        database.commit()
        took = now().since(begun)
        database.execute("DROP TABLE by_hand")
    return took


def execute_many(path: Path) -> Took:
    """Into SQLite, by the portal's own connection: the same journal, the same flushing."""
    from django.db import connection, transaction  # noqa: PLC0415

    with path.open(newline="") as source:
        made = [(row["sourcedId"], bytes(16), json.dumps(row)) for row in csv.DictReader(source)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = 'ingest_record'")
        cursor.execute(cursor.fetchone()[0].replace('"ingest_record"', "by_hand"))
        cursor.execute("CREATE UNIQUE INDEX by_hand_key ON by_hand (dataset_id, key)")
        begun = now()
        with transaction.atomic():
            columns = "dataset_id, key, digest, data, is_removed, first_epoch_id, last_epoch_id"
            cursor.executemany(f"INSERT INTO by_hand ({columns}) VALUES (1, %s, %s, %s, 0, 1, 1)", made)
        took = now().since(begun)
        cursor.execute("DROP TABLE by_hand")
    return took


# --- The table -----------------------------------------------------------------------------------------------------

STEPS = ("copy", "check", "compare", "load")
TO_RECORDS = ("compare", "load")


class Night(NamedTuple):
    steps: dict[str, Took]
    changes: int

    def of(self, *names: str) -> Took:
        return functools.reduce(Took.plus, (self.steps[name] for name in names))


Runs = dict[str, list[Night]]


def middle(runs: Iterable[Took]) -> Took:
    """The median of each."""
    return Took(*map(statistics.median, zip(*runs, strict=True)))


def told(name: str, runs: list[Night], what: tuple[str, ...], peer: list[Took], goal: str) -> None:
    ours, bare = middle(run.of(*what) for run in runs), middle(peer)
    ratios = f"{ours.wall / bare.wall:5.2f} x [{ours.processor / bare.processor:5.2f} x]"
    print(f"{name:46} {shown(ours)} {shown(bare)} {ratios}  goal {goal}", flush=True)
    print("    " + ", ".join(f"{step} {shown(middle(run.steps[step] for run in runs))}" for step in STEPS))


def shown(took: Took) -> str:
    return f"{took.wall:6.2f} s [{took.processor:6.2f} s]"


def settle(address: str) -> None:
    """What the server does by itself in the hours between two nights; else it does it while we measure."""
    with psycopg.connect(address, autocommit=True) as database:
        database.execute("VACUUM ANALYZE ingest_record")
        database.execute("CHECKPOINT")


def size_of(address: str) -> int:
    with psycopg.connect(address) as database:
        row = database.execute("SELECT pg_total_relation_size('ingest_record')").fetchone()
        return int(row[0]) if row else 0


def postgres(given: argparse.Namespace, directory: Path) -> None:
    address, portal = os.environ["DATABASE_URL"], Portal()
    first, second = sets(directory, given.rows)
    runs: Runs = {"first": [], "night": [], "same": []}
    bare, hand = [], []
    for number in range(given.rounds):
        district = portal.district()
        settle(address)
        hand.append(load_by_hand(address, first / "users.csv"))
        settle(address)
        runs["first"].append(portal.night(district, first, name_of(3), given.profile))
        settle(address)
        bare.append(copy_bare(address, second / "users.csv"))
        runs["night"].append(portal.night(district, second, name_of(2), given.profile))
        before = size_of(address)
        runs["same"].append(portal.night(district, second, name_of(1), given.profile))
        grown = size_of(address) - before
        told(f"round {number + 1}: nightly", runs["night"][-1:], STEPS, bare[-1:], "3")
    print(f"{given.rows:,} rows; {runs['night'][0].changes:,} changes in the nightly file")
    told("first load: compare, load / by hand", runs["first"], TO_RECORDS, hand, "2")
    told("first load: claimed to applied / by hand", runs["first"], STEPS, hand, "-")
    told("nightly: claimed to applied / bare COPY", runs["night"], STEPS, bare, "3 (aim 2)")
    same = middle(run.of(*STEPS) for run in runs["same"])
    print(f"{'identical night: claimed to applied':46} {shown(same)}   goal 1 s; the table grew by {grown} bytes")
    memory()


def postgres_sizes(given: argparse.Namespace, directory: Path) -> None:
    address, portal = os.environ["DATABASE_URL"], Portal()
    print(f"{'rows':>10} {'changes':>8} {'load':>19} {'compare':>19} {'copy, check':>19} {'table grew':>12}")
    for rows in map(int, given.sizes.split(",")):
        first, second = sets(directory / str(rows), rows, changes=1000 / rows)
        district = portal.district()
        portal.night(district, first, name_of(3))
        settle(address)
        before = size_of(address)
        run = portal.night(district, second, name_of(2))
        grown = size_of(address) - before
        load, compare, read = (shown(run.of(*names)) for names in (("load",), ("compare",), ("copy", "check")))
        print(f"{rows:10,} {run.changes:8,} {load} {compare} {read} {grown:12,}", flush=True)


def sqlite(given: argparse.Namespace, directory: Path) -> None:
    portal = Portal()
    first, second = sets(directory, given.rows)
    runs: Runs = {"first": [], "night": []}
    bare = []
    for _ in range(given.rounds):
        district = portal.district()
        bare.append(execute_many(first / "users.csv"))
        runs["first"].append(portal.night(district, first, name_of(3), given.profile))
        runs["night"].append(portal.night(district, second, name_of(2), given.profile))
    told("first load: compare, load / bare executemany", runs["first"], TO_RECORDS, bare, "3")
    told("nightly: claimed to applied / executemany", runs["night"], STEPS, bare, "-")
    memory()


def memory() -> None:
    print(f"most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


def sets(directory: Path, rows: int, changes: float = 0.005) -> tuple[Path, Path]:
    first, second = directory / "first", directory / "second"
    first.mkdir(parents=True)
    set_write(first, rows, 1)
    night_after(first, second, changes)
    return first, second


RUNS: dict[str, Callable[[argparse.Namespace, Path], None]] = {
    "postgres": postgres,
    "sizes": postgres_sizes,
    "sqlite": sqlite,
}


# --- A server of our own -------------------------------------------------------------------------------------------


@contextlib.contextmanager
def server(folder: Path) -> Iterator[str]:
    """A PostgreSQL with Debian's settings; as root it runs as the user Debian made for it."""
    programs, port = Path(str(find("initdb"))).parent, free_port()
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    folder.mkdir()
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
        folder.parent.chmod(0o711)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    make = [*as_user, str(programs / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "portal", "-E", "UTF8"]
    subprocess.run(make, check=True, **quiet)  # type: ignore[call-overload]
    run = [*as_user, str(programs / "postgres"), "-D", str(folder / "data"), "-p", str(port)]
    run += ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    process = subprocess.Popen(run, **quiet)  # type: ignore[call-overload]
    try:
        wait_for("PostgreSQL answers", lambda: answers(port), 60)
        os.environ["SERVER_PID"] = str(process.pid)
        yield f"postgres://portal@127.0.0.1:{port}/postgres"
    finally:
        del os.environ["SERVER_PID"]
        process.send_signal(signal.SIGINT)
        process.wait(60)


def answers(port: int) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(f"postgres://portal@127.0.0.1:{port}/postgres").close()
        return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", choices=RUNS)
    parser.add_argument("--sizes", default="100000,300000,1000000")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--place", type=Path)
    given = parser.parse_args()
    if given.place:
        RUNS[given.database](given, given.place)
        return
    for name in [given.database] if given.database else RUNS:
        with tempfile.TemporaryDirectory(prefix="loading-") as directory:
            place = Path(directory)
            with (
                contextlib.nullcontext(f"sqlite:///{place}/portal.sqlite3")
                if name == "sqlite"
                else server(place / "server") as address
            ):
                again = [*sys.argv, "--database", name, "--place", str(place / "sets")]
                child = {**os.environ, "LOG_LEVEL": "ERROR", "DATABASE_URL": address, "DATA_DIR": str(place / "data")}
                subprocess.run([sys.executable, *again], check=True, env=child)


if __name__ == "__main__":
    main()
