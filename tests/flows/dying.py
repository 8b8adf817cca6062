"""A hand that does the portal's own work in children of its own, each killed with SIGKILL at one moment of it.

A *seam* is a moment after which the world is another one: before a statement that writes, before and after a commit,
before a piece of rows goes to the database, before a file or a directory is made, flushed, renamed or removed. So
whatever is added to the work later has its seams without anybody listing them.
"""

import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

# Each child works alone and for a moment; threads of these do not outlive a fork.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from . import inside  # noqa: I001

from django.conf import settings
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from django.utils import timezone

from accounts.models import District, User
from hosts import local, provision
from hosts.connect import files_for
from hosts.core import paths
from hosts.models import Host
from ingest import bulk, guarding, holds, looking, pipeline, staging, undos
from ingest.catalogue import formats
from ingest.core.engine import engine
from ingest.models import Epoch, Lane
from ingest.sameness import rules

CHANGING = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "shutil.rmtree")
WRITING = os.O_WRONLY | os.O_RDWR
# What changes nothing, or nothing that a commit does not make so.
READING = ("SELECT", "PRAGMA", "SET", "SHOW", "ANALYZE", "SAVEPOINT", "RELEASE", "BEGIN", "WITH")
PLACES = ("staging", "claimed", "homes")
CLOCK = re.compile(r"^(Started|Finished): .*$|\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\s\",]*", re.MULTILINE)
OURS = re.compile(r"^\d+/\w{16}/|(?<=claimed/)\d+/|(?<=/findings-)[0-9a-f]{16}$")


class Seams:
    """Tells each seam that is passed, and dies at one of them."""

    def __init__(self, deadly: int, tell: Callable[[str], None]) -> None:
        self.passed, self.deadly, self.tell = 0, deadly, tell

    def __call__(self, name: str) -> None:
        self.passed += 1
        self.tell(name)
        if self.passed == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)

    def statement(self, execute: Callable[..., Any], sql: str, *told: Any) -> Any:
        """Before a statement that writes; `told` as Django hands it on."""
        words = sql.replace('"', "").split()
        if words[0].upper() not in READING:
            self(" ".join(words[:3]))
        return execute(sql, *told)

    def event(self, name: str, told: tuple[Any, ...]) -> None:
        """Before what Python tells its auditors of files and directories."""
        is_reading = name == "open" and not (isinstance(told[2], int) and told[2] & WRITING)
        if name not in CHANGING or is_reading or not isinstance(told[0], str | bytes):
            return
        place = os.fsdecode(told[0])
        if not place.startswith(("/dev", "/proc")) and "sqlite" not in place:
            self(f"{name} in {next((part for part in Path(place).parts if part in PLACES), 'a directory')}")

    def pieces(self, name: str, pieces: Iterable[Any]) -> Iterator[Any]:
        """Before each piece of rows."""
        for piece in pieces:
            self(name)
            yield piece
        self(f"{name}, all")

    def before(self, place: Any, name: str) -> None:
        """Before a call. What is after it is before the next one."""
        plain = getattr(place, name)

        def call(*args: Any, **told: Any) -> Any:
            self(name)
            return plain(*args, **told)

        setattr(place, name, call)

    def around(self, place: Any, name: str) -> None:
        """Before and after a call behind which somebody is told."""
        plain = getattr(place, name)

        def call(*args: Any, **told: Any) -> Any:
            self(f"before {name.strip('_')}")
            done = plain(*args, **told)
            self(f"after {name.strip('_')}")
            return done

        setattr(place, name, call)

    def arm(self) -> None:
        """From now on they count; this process does nothing else any more."""
        writer, copy = engine("spool").SpoolWriter, bulk.Postgres._copy
        self.around(BaseDatabaseWrapper, "_commit")
        for place, name in ((local, "rename_exclusive"), (os, "fsync"), (writer, "write"), (writer, "finish")):
            self.before(place, name)
        bulk.Postgres._copy = lambda way, into, lines, pieces: copy(  # type: ignore[method-assign]
            way, into, lines, self.pieces(f"COPY {into.split()[0]}", pieces)
        )
        connection.execute_wrappers.append(self.statement)
        sys.addaudithook(self.event)


# --- What is done --------------------------------------------------------------------------------------------------


def world(slug: str) -> None:
    """A host on this machine, a district with its home on it, and Sam of the vendor's support."""
    Host.objects.get_or_create(name="upload-1", defaults={"address": "localhost", "port": 2222})
    settings.SFTP_ROOT.mkdir(parents=True, exist_ok=True)
    inside.person("sam@vendor.example", "Sam Support", staff_role="support")
    inside.district(slug, f"{slug}.example", administrator=f"admin@{slug}.example")
    account = District.objects.get(slug=slug).sftp_account
    provision.home_make(files_for(account.host), paths.username(account.username))


def put(slug: str, name: str, files: dict[str, str]) -> None:
    """The files of a night, as a client leaves them."""
    account = District.objects.get(slug=slug).sftp_account
    place = settings.SFTP_ROOT / "homes" / account.username / "upload" / name
    place.mkdir()
    for file, content in files.items():
        (place / file).write_bytes(content.encode("latin-1"))
    (place / "COMPLETE").touch()


def process(slug: str) -> None:
    """What workers do until nothing is left to do: they look twice, as an upload has to rest, and process."""
    for _ in range(2):
        looking.look_everywhere()
    district_pk = District.objects.get(slug=slug).pk
    while pipeline.process_turn(district_pk):
        pass


def approve(slug: str) -> None:
    """Staff approve the held night."""
    holds.hold_approve(_held(slug), seen=_seen(slug), reason="As agreed.", actor=_sam())


def discard(slug: str) -> None:
    """Staff discard the held night."""
    holds.hold_discard(_held(slug), seen=_seen(slug), reason="Wrong file.", actor=_sam())


def skip(slug: str) -> None:
    """Staff go on with the newest night behind the held one."""
    holds.hold_skip(_held(slug), seen=_seen(slug), reason="The newest is right.", actor=_sam())


def ask(slug: str) -> None:
    """Staff ask the district about the held night."""
    holds.hold_ask(_held(slug), seen=_seen(slug), question="Is that so?", actor=_sam())


def _held(slug: str) -> Epoch:
    return Epoch.objects.select_related("judgement", "district").get(district__slug=slug, state=Epoch.State.HELD)


def _seen(slug: str) -> holds.Seen:
    epoch = _held(slug)
    return holds.Seen(guarding.content_of(epoch)[0], epoch.judgement.against)


def _sam() -> User:
    return User.objects.get(email="sam@vendor.example")


def undo(slug: str) -> None:
    """Staff take the last applied night back."""
    epoch = Epoch.objects.filter(district__slug=slug, applied_version__isnull=False).latest("applied_version")
    told = {"version": undos.version_of(epoch), "is_over_seen": True, "reason": "Wrong year."}
    undos.epoch_undo(epoch, **told, actor=_sam())


def release(slug: str) -> None:
    """Staff let nights be applied again."""
    holds.district_release(District.objects.get(slug=slug), reason="Mended.", actor=_sam())


def rows(slug: str) -> dict[str, Any]:
    """What an act of a person changes, all of it or nothing."""
    told, epochs = inside.snapshot(slug), Epoch.objects.filter(district__slug=slug).order_by("pk")
    acts = [[epoch.judgement_act, epoch.undone is None] for epoch in epochs.annotate(judgement_act=F("judgement__act"))]
    return {"acts": acts, **{name: told[name] for name in ("records", "audit", "mail")}}


def after_death(slug: str, again: str, audits: int) -> dict[str, Any]:
    """What a death has left; then what comes after it, when the lease has run out, until nothing is left to do.

    `again`: what its person does once more if it was not done: there are no more than these `audits`.
    """
    left = rows(slug)
    Lane.objects.filter(district__slug=slug).update(lease_until=timezone.now())
    if again and len(left["audit"]) == audits:
        ACTS[again](slug)
    process(slug)
    staging.sweep()
    return {"left": left, "end": end(slug)}


def end(slug: str) -> dict[str, Any]:
    """All there is of a district when its work is done: rows, mail, audit entries, files.

    The numbers of epochs and the names of private copies are not: a number that was taken back is not given twice.
    """
    return {**inside.snapshot(slug), "disk": _disk(settings.SFTP_ROOT), "staging": _disk(settings.STAGING_DIR)}


def _disk(top: Path) -> dict[str, str]:
    found = sorted(place for place in top.rglob("*") if place.is_file() and "log" not in place.parts)
    texts = {str(place.relative_to(top)): CLOCK.sub("", place.read_bytes().decode("latin-1")) for place in found}
    return {OURS.sub("", name): "" if name.endswith((".arrow", ".end")) else text for name, text in texts.items()}


CALLS: tuple[Callable[..., Any], ...] = (
    world, put, process, approve, discard, skip, ask, undo, release, rows, after_death, end,
)  # fmt: skip
ACTS = {call.__name__: call for call in CALLS}


# --- Children ------------------------------------------------------------------------------------------------------


def _child(out: int, name: str, deadly: int | None, told: dict[str, Any]) -> None:
    """Does one thing and tells of it, line by line: each seam, in the end what came of it."""
    tell = lambda what: os.write(out, f"{what}\n".encode())  # noqa: E731
    try:
        if deadly is not None:
            Seams(deadly, lambda seam: tell(f"seam {seam}")).arm()
        result = ACTS[name](**told)
        _tell_all(out, "done " + json.dumps(result, default=str))
    except BaseException:
        _tell_all(out, "error " + json.dumps(traceback.format_exc()))
    finally:
        os._exit(0)


def _tell_all(out: int, line: str) -> None:
    with os.fdopen(out, "w") as stream:
        stream.write(line + "\n")


def forked(name: str, deadly: int | None, told: dict[str, Any]) -> dict[str, Any]:
    """What a child did: the seams it passed, and its result or its error; neither if it was killed.

    `deadly`: the number of the seam at which it dies, counted from 1; 0: at none; None: they are not told.
    """
    ours, out = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        _child(out, name, deadly, told)
    os.close(out)
    with os.fdopen(ours) as stream:
        said = [line.rstrip("\n").partition(" ") for line in stream]
    os.waitpid(child, 0)
    answer: dict[str, Any] = {"seams": [what for kind, _, what in said if kind == "seam"]}
    return answer | {kind: json.loads(what) for kind, _, what in said if kind != "seam"}


def main() -> None:
    """Answers until its input ends. What children would each make for themselves is made once."""
    formats(), rules()
    for module in ("batches", "bulk", "lines", "matching", "onrecord", "sieve", "spool", "tablesieve"):
        engine(module)
    for line in sys.stdin:
        _, told = json.loads(line)
        print(json.dumps({"result": forked(**told)}), flush=True)


if __name__ == "__main__":
    main()
