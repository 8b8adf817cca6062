"""What a page costs when thirteen thousand districts use the portal: `python benchmarks/pages.py`.

PostgreSQL is started for this, with its settings as they come, and filled with 13,000 districts and two million epochs
(benchmarks/crowd.py). The portal's own gunicorn serves it, as `manage.py up` starts it. Four clients, each a person
signed in, ask for one page after the other, in a random order, as fast as they are answered. Among these is a page of
nothing (`base/`): the same middleware, a signed-in person, one query, the base template. Told is for each page the
median time against that of the page of nothing, in the same server and the same run. The goals: a median of 4 over all
pages, and none over 10.

`--queries` tells, instead, how many queries each page takes here, and in a portal of a thousand districts; exit status
1 if a page takes more here.

Options: --districts 13000 --epochs 2000000 --rounds 15 --clients 4 --queries --profile PAGE
"""

import argparse
import contextlib
import http.client
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.flows.stack import Postgres, free_port, wait_for  # noqa: E402

DISTRICTS, EPOCHS, FEW = 13_000, 2_000_000, 1_000
BASE = "/base/"
HOSTS = "localhost,127.0.0.1,testserver"
GOAL_MEDIAN, GOAL_MOST = 4.0, 10.0
# Addresses that are no pages, or that belong to things of which the crowd has none.
LEFT_OUT = ("/metrics", "/readyz", "/healthz")
OWN = (
    "", "settings/technical/", "connect/", "uploads/", "downloads/", "uploads/file-settings/", "uploads/check/",
    "sign-in/", "uploads/{epoch}/", "settings/technical/state/", "uploads/rows/", "uploads/{epoch}/state/",
)  # fmt: skip
STAFFS = (
    "/staff/ingest/", "/staff/ingest/board/", "/staff/ingest/?state=failed", "/staff/ingest/?district=District+0001",
    "/staff/ingest/blackouts/", "/staff/districts/", "/staff/districts/?q=District+0123", "/staff/districts/of/{slug}/",
    "/staff/districts/of/{slug}/limits/", "/staff/keys/", "/staff/propagation/", "/staff/propagation/runs/",
    "/staff/propagation/found/", "/staff/hosts/", "/staff/outbox/", "/staff/audit/", "/staff/second-factors/",
    "/districts/{slug}/", "/districts/{slug}/uploads/", "/districts/{slug}/uploads/{epoch}/",
)  # fmt: skip
ALL = ("/account/sessions/", "/help/sftp/")


# --- Inside: with Django ------------------------------------------------------------------------------------------


def django_ready() -> None:
    """Django with the settings of the environment."""
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
    import django  # noqa: PLC0415

    django.setup()


def people() -> dict[str, Any]:
    """Who asks, and for what: of each a cookie of a session, and the pages, those that there are."""
    from django.conf import settings  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415

    from accounts.models import District, User  # noqa: PLC0415
    from accounts.services import person_make  # noqa: PLC0415
    from ingest.models import Epoch  # noqa: PLC0415
    from portal.schedules import schedules_sync  # noqa: PLC0415

    schedules_sync()
    district = District.objects.order_by("pk")[10]
    told = {"slug": district.slug, "epoch": Epoch.objects.filter(district=district, state="loaded").first().pk}
    if not User.objects.filter(email="ada@crowd.example").exists():
        person_make("ada@crowd.example", "Ada", "five-odd-words-for-tests", staff_role="system administrator")
    own = [f"/districts/{{slug}}/{place}" for place in OWN]
    asked = {
        User.objects.get(memberships__district=district): [*own, *ALL],
        User.objects.get(email="ada@crowd.example"): [*STAFFS, *ALL],
    }
    found: dict[str, Any] = {}
    for person, places in asked.items():
        client = Client()
        client.force_login(person)
        pages = [place.format(**told) for place in places]
        answers = {page: client.get(page).status_code for page in pages}
        missing = {page: code for page, code in answers.items() if code != 200}
        if missing:
            raise SystemExit(f"These pages did not come: {missing}")
        name = settings.SESSION_COOKIE_NAME
        found[f"{name}={client.cookies[name].value}"] = pages
    return found


def queries() -> dict[str, int]:
    """How many queries each page takes, by its address with what is named in it."""
    from django.db import connection  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    counted = {}
    for cookie, pages in people().items():
        client = Client()
        client.cookies.load(cookie)
        for page in pages:
            client.get(page)
            with CaptureQueriesContext(connection) as caught:
                client.get(page)
            counted[f"{'staff' if '/staff/' in pages[0] else 'district'} {page}"] = len(caught)
    return counted


def inside(what: str, districts: int, epochs: int) -> None:
    """Runs in a process of its own, with DATABASE_URL set: fills, or tells who asks, or counts."""
    django_ready()
    if what == "fill":
        from benchmarks.crowd import crowd_make  # noqa: PLC0415

        crowd_make(districts, epochs)
    else:
        print(json.dumps({"people": people, "queries": queries}[what]()))


# --- Outside ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def database() -> Iterator[Postgres]:
    """A PostgreSQL of our own."""
    folder = Path(tempfile.mkdtemp())
    made = Postgres(folder / "postgres")
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)


class Portal:
    """A portal in a database of its own."""

    def __init__(self, postgres: Postgres, folder: Path, name: str, districts: int, epochs: int) -> None:
        self.size = (str(districts), str(epochs))
        told = {"DATABASE_URL": postgres.ready(name), "DATA_DIR": str(folder / name), "SECOND_FACTOR_REQUIRED": "0"}
        self.environment = (
            os.environ | told | {"BROKER_URL": "memory://", "DEMO": "0", "LOG_LEVEL": "ERROR", "ALLOWED_HOSTS": HOSTS}
        )
        begun = time.perf_counter()
        self.ask("fill")
        self.took = time.perf_counter() - begun

    def ask(self, what: str) -> Any:
        """What `inside` prints."""
        command = [sys.executable, __file__, "--inside", what, "--districts", self.size[0], "--epochs", self.size[1]]
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE, check=True, cwd=ROOT)
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None

    @contextlib.contextmanager
    def served(self) -> Iterator[int]:
        """gunicorn as `manage.py up` starts it; its port."""
        port = free_port()
        pace = ["--worker-class", "gthread", "--threads", "8", "--keep-alive", "30", "--no-control-socket"]
        argv = [sys.executable, "-m", "gunicorn", "benchmarks.pages_server:application"]
        web = subprocess.Popen([*argv, "--bind", f"127.0.0.1:{port}", *pace], env=self.environment, cwd=ROOT)
        try:
            wait_for("gunicorn answers", lambda: _answers(port), 60)
            yield port
        finally:
            web.terminate()
            web.wait(30)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        asked.request("GET", "/healthz")
        return asked.getresponse().status == 200
    return False


def measured(port: int, asked: dict[str, list[str]], rounds: int, clients: int) -> dict[str, list[float]]:
    """Seconds of each answer, by page; the page of nothing as often as all others of its person together."""
    seconds: dict[str, list[float]] = defaultdict(list)
    lock = threading.Lock()

    def client(number: int) -> None:
        cookie, pages = list(asked.items())[number % len(asked)]
        chance = random.Random(number)
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for _ in range(rounds):
            turns = [*pages, *[BASE] * (len(pages) // 4)]
            chance.shuffle(turns)
            for page in turns:
                begun = time.perf_counter()
                line.request("GET", page, headers={"Cookie": cookie, "Host": "localhost"})
                answer = line.getresponse()
                answer.read()
                took = time.perf_counter() - begun
                assert answer.status == 200, (page, answer.status)
                with lock:
                    seconds[page].append(took)

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds


def tell(seconds: dict[str, list[float]]) -> None:
    """The table, slowest first."""
    base = statistics.median(seconds.pop(BASE))
    ratios = {page: statistics.median(took) / base for page, took in seconds.items()}
    print(f"\nthe page of nothing: {base * 1000:.1f} ms, median\n")
    print(f"{'page':58} {'ratio':>6} {'median ms':>10} {'95 % ms':>9}")
    for page, ratio in sorted(ratios.items(), key=lambda one: -one[1]):
        took = sorted(seconds[page])
        print(
            f"{page:58} {ratio:6.1f} {statistics.median(took) * 1000:10.1f} {took[len(took) * 95 // 100] * 1000:9.1f}"
        )
    median, most = statistics.median(ratios.values()), max(ratios.values())
    print(f"\nmedian {median:.1f} (goal {GOAL_MEDIAN:g}), largest {most:.1f} (goal {GOAL_MOST:g})")


def main() -> int:
    """Measures and tells."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--districts", type=int, default=DISTRICTS)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--queries", action="store_true")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.inside:
        inside(told.inside, told.districts, told.epochs)
        return 0
    with database() as postgres, tempfile.TemporaryDirectory() as folder:
        many = Portal(postgres, Path(folder), "many", told.districts, told.epochs)
        print(f"{told.districts:,} districts and {told.epochs:,} epochs made in {many.took:.0f} s", flush=True)
        if told.queries:
            few = Portal(postgres, Path(folder), "few", FEW, 5 * FEW).ask("queries")
            counted = many.ask("queries")
            return _tell_queries(list(few.values()), counted)
        asked = many.ask("people")
        with many.served() as port:
            measured(port, asked, 1, told.clients)
            tell(measured(port, asked, told.rounds, told.clients))
    return 0


def _tell_queries(few: list[int], counted: dict[str, int]) -> int:
    print(f"{'page':66} {'few':>5} {'many':>5}")
    for (page, many), less in zip(counted.items(), few, strict=True):
        print(f"{page:66} {less:5} {many:5}")
    return int(any(many > less for many, less in zip(counted.values(), few, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
