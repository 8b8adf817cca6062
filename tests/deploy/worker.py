"""Workers of a portal of its own, each in a fresh process: it does one thing, and may be killed while it does it.

Reads calls as JSON lines `{"do": name, ...}`, forks a process for each, and answers with one line: what it returned
(`{"told": ...}`), or the signal that ended it (`{"died": ...}`). Seams are counted, not named: a worker is killed at
the n-th of them, which is before or after a step of `keys.propagation`, `keys.bringing`, or between two files that
are read or written. Nothing of this is in the product's code.
"""

import functools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, connections  # noqa: E402
from django.utils import timezone  # noqa: E402

from accounts.models import OutboxMessage, SftpAccount, User  # noqa: E402
from hosts.models import Host  # noqa: E402
from hosts.remote import RemoteFiles  # noqa: E402
from keys import bringing, propagation, taking_out  # noqa: E402
from keys.models import FoundLine, HostRun, KeyFile, KeySet, PropagationRun  # noqa: E402
from keys.services import keys_save  # noqa: E402
from keys.sets import By  # noqa: E402
from tests.deploy import fleet  # noqa: E402
from tests.keys import sweeping  # noqa: E402

STEPS: dict[object, tuple[str, ...]] = {
    bringing: (
        "_call_off",
        "_take_out_early",
        "_clear_retired_names",
        "_read",
        "_judge",
        "_make_homes",
        "_write",
        "_note",
        "note_read",
    ),
    taking_out: ("_tell_found",),
    propagation: ("parts_make", "part_do", "_run_end", "_note_failures", "note_read"),
    propagation._Part: ("_begin", "look", "compare", "look_at_strangers", "_may_go_on", "_count", "_strangers_remove"),
}
FOLLOWED = ("_judge", "_write", "_note", "_count", "_run_end")


class Seams:
    """Counts them, and acts at the n-th."""

    def __init__(self, number: int, act: Callable[[], object]) -> None:
        self.number, self.act, self.count = number, act, 0
        self.names: list[str] = []

    def pass_(self, name: str) -> None:
        self.count += 1
        self.names.append(name)
        if self.count == self.number:
            self.act()

    def arm(self) -> None:
        for place, names in STEPS.items():
            for name in names:
                setattr(place, name, self._step(getattr(place, name)))
        for name in ("read_many", "write_many"):
            setattr(RemoteFiles, name, self._each(getattr(RemoteFiles, name)))

    def _step(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        def stepped(*args: Any, **told: Any) -> Any:
            self.pass_(f"before {plain.__name__}")
            result = plain(*args, **told)
            # After the others comes the beginning of the next step, and nothing between.
            if plain.__name__ in FOLLOWED:
                self.pass_(f"after {plain.__name__}")
            return result

        return stepped

    def _each(self, plain: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        def stepped(*args: Any, **told: Any) -> Iterator[Any]:
            for one in plain(*args, **told):
                self.pass_(f"in {plain.__name__}")
                yield one

        return stepped


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stand_still() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


# --- What can be asked -------------------------------------------------------------------------------------------


def prepare(columns: dict[str, Any], count: int) -> None:
    """A database with one host and its accounts, whose first sets are there; their second ones are wanted."""
    call_command("migrate", verbosity=0)
    User.objects.create(email="olga@vendor.example", name="Olga", staff_role="ops")
    row = Host.objects.create(**columns)
    fleet.fleet_make(row, count)
    fleet.sets_save("old")
    propagation.run_hourly()
    PropagationRun.objects.all().delete()
    KeySet.objects.update(run=None)


def doubt_homes() -> None:
    """As after the host has moved: whether anybody has a home there, its helper has to say."""
    KeyFile.objects.update(has_home=False)
    Host.objects.update(accounts_digest="")


def contents() -> dict[str, str]:
    return {name: content.decode() for name, content in fleet.contents().items()}


def save_all(wave: str) -> None:
    fleet.sets_save(wave)


def keep(path: str) -> None:
    """Writes the database as it is to a file."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM INTO %s", [path])


def save(name: str, seed: str) -> None:
    """One account gets another key by the way people take, in place of those it had."""
    account = SftpAccount.objects.get(username=name)
    key = fleet.public_key(seed)
    version = KeyFile.objects.get(account=account).version
    line = f"{key.algorithm} {key.blob_base64} {seed}"
    keys_save(account, line, seen_version=version, by=By(None), confirmed=account.username)


def run(seam: int = 0, act: str = "die") -> list[str]:
    """An hourly run; returns the seams it has passed."""
    seams = Seams(seam, {"die": _die, "stand still": _stand_still}[act])
    run_pk = propagation.hourly_make().pk
    seams.arm()
    propagation.run_do(run_pk)
    return seams.names


def push(name: str) -> None:
    propagation.push_one(SftpAccount.objects.get(username=name).pk)


def time_passes() -> None:
    """So much of it that the leases of dead workers have ended, and pauses too."""
    past = timezone.now() - timedelta(minutes=5)
    for model in (KeyFile, HostRun):
        model.objects.exclude(lease_until=None).update(lease_until=past)
    KeyFile.objects.update(wanted=past)
    KeyFile.objects.exclude(next_try=None).update(next_try=past)


def sweep() -> None:
    sweeping.sweep()


def recover() -> dict[str, Any]:
    """What there is when time has passed and the sweep has come."""
    time_passes()
    sweep()
    return state()


def state() -> dict[str, Any]:
    """What the database says now."""
    files, now = KeyFile.objects.order_by("pk"), timezone.now()
    return {
        "files": [
            [f.state, f.version == f.host_version, f.tries, f.code, bool(f.lease_until and f.lease_until > now)]
            for f in files
        ],
        "sets_open": KeySet.objects.filter(on_host=None).count(),
        "runs": [
            {
                "cause": run.cause,
                "state": run.state,
                "finished": run.finished is not None,
                "counts": [run.total, run.written, run.unchanged, run.failed, run.held, run.drifted],
                "parts": [[part.state, part.finished is not None] for part in run.hosts.all()],
            }
            for run in PropagationRun.objects.order_by("pk")
        ],
        "found": FoundLine.objects.count(),
        "mails": sorted(f"{message.kind} {message.to}" for message in OutboxMessage.objects.all()),
    }


_ASKED = (prepare, doubt_homes, contents, save_all, keep, save, run, push, time_passes, sweep, recover, state)
ASKED = {each.__name__: each for each in _ASKED}


def _child(call: dict[str, Any], pipe: int) -> None:
    told = ASKED[call.pop("do")](**call)
    connections.close_all()
    Path(f"/dev/fd/{pipe}").write_text(json.dumps(told))


def _answered(call: dict[str, Any]) -> dict[str, Any]:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            _child(call, write)
            code = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)
    os.close(write)
    print(json.dumps({"pid": pid}), flush=True)
    with open(read, encoding="utf-8") as answer:
        text = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"died": -status} if status < 0 else {"failed": status} if status else {"told": json.loads(text)}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(_answered(json.loads(line))), flush=True)
