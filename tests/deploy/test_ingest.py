"""Epochs on a whole OpenSSH host: uploaded by real clients, found by what the host tells, claimed, loaded, archived."""

import contextlib
import hashlib
import io
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import paramiko
import pytest
from django.conf import settings

from accounts.models import District, OutboxMessage, SftpAccount
from hosts import vault
from hosts.connect import files_for, fingerprint
from hosts.core import paths
from hosts.core.errors import TooLarge
from hosts.files import Entry, HostFiles
from hosts.models import Host, UploadsSeen
from ingest import archive, holds, looking, pipeline, staging
from ingest.models import Dataset, Epoch, Record, StandingLimit
from tests.factories import MembershipFactory, StaffFactory
from tests.hosts.clients import Door, sftp
from tests.hosts.serving import until
from tests.ingest import epochs, uploading
from tests.ingest.conftest import Clock

from .host import SERVICE, OpensshHost
from .suite import connected

pytestmark = pytest.mark.django_db
NIGHT, NEXT_NIGHT = "20261122-020000", "20261123-020000"
FIRST_NUMBER = itertools.count(300_000, 1000)  # other files' tests claim on the same host


class Crash(BaseException):
    """The worker is gone at this moment: nothing catches it."""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("django.utils.timezone.now", made.now)
    return made


@pytest.fixture
def row(openssh_host: OpensshHost, db: None) -> Host:
    """The host as the portal knows it. A test's database begins anew, the numbers of claims do not."""
    return Host.objects.create(
        name="whole",
        kind=Host.Kind.OPENSSH,
        address="127.0.0.1",
        port=openssh_host.port,
        username=SERVICE,
        host_key=openssh_host.host_key,
        fingerprint=fingerprint(openssh_host.host_key),
        client_key_sealed=vault.sealed(openssh_host.portal_key.read_bytes()).decode("ascii"),
    )


def _district(row: Host, name: str) -> District:
    made = MembershipFactory(district__domain=name).district
    SftpAccount.objects.filter(district=made).update(host=row)
    return made


@pytest.fixture
def district(row: Host, ours: str) -> District:
    """A district with its account on the host, looked at while nothing was there. Any night of it passes."""
    StaffFactory(email="support@vendor.example")
    made = _district(row, ours)
    StandingLimit.objects.bulk_create(
        StandingLimit(district=made, what=what, percent=-1) for what in StandingLimit.What.values
    )
    first = next(FIRST_NUMBER)
    Epoch.objects.create(pk=first, district=made, account=made.sftp_account, name="before", state="gone")
    looking.look_at_host(row.pk)
    return made


@pytest.fixture
def door(openssh_host: OpensshHost, ours: str, keys: Path) -> Door:
    return openssh_host.door(ours, keys / "ours")


@contextlib.contextmanager
def client(door: Door) -> Iterator[paramiko.SFTPClient]:
    with connected(door) as transport:
        opened = paramiko.SFTPClient.from_transport(transport)
        assert opened is not None
        yield opened


def uploaded(door: Door, name: str, files: dict[str, bytes], *, modes: tuple[int, int] = (0o644, 0o755)) -> None:
    """An epoch sent by paramiko with COMPLETE last, then given these modes (of files, of the directory)."""
    with client(door) as session:
        session.mkdir(f"/upload/{name}")
        for file, content in {**files, "COMPLETE": b""}.items():
            session.putfo(io.BytesIO(content), f"/upload/{name}/{file}", confirm=False)
            session.chmod(f"/upload/{name}/{file}", modes[0])
        session.chmod(f"/upload/{name}", modes[1])


def seen(district: District, name: str, **values: str) -> Epoch:
    """The epoch, once looks have come so far with it."""
    host = district.sftp_account.host_id

    def there() -> bool:
        looking.look_at_host(host)
        return Epoch.objects.filter(district=district, name=name, **values).exists()

    until(there, f"the epoch {name} {values}")
    return Epoch.objects.get(district=district, name=name)


def queued(district: District, name: str, clock: Clock) -> Epoch:
    seen(district, name)
    clock.move(seconds=settings.INGEST_QUIET_SECONDS + 1)
    return seen(district, name, state="queued")


def files_of(district: District) -> HostFiles:
    return files_for(Host.objects.get(name="whole"))


def claims_left(openssh_host: OpensshHost, district: District) -> list[str]:
    """What still lies in claimed/ and claiming/ of a district's epochs."""
    numbers = {str(pk) for pk in Epoch.objects.filter(district=district).values_list("pk", flat=True)}
    names = [name for place in ("claimed", "claiming") for name in os.listdir(openssh_host.root / place)]
    return [name for name in names if name.removesuffix(".odd") in numbers]


def archived(openssh_host: OpensshHost, district: District, name: str) -> dict[str, bytes]:
    place = openssh_host.home(district.domain) / "upload-processed" / name
    return {path.name: path.read_bytes() for path in place.iterdir()}


def same_as_loaded(openssh_host: OpensshHost, epoch: Epoch) -> bool:
    """Whether what lies in the archive is what was copied, checked and loaded."""
    there = archived(openssh_host, epoch.district, epoch.archive_name)
    copied = epoch.files.filter(archive="")
    return all(hashlib.sha256(there[file.name]).hexdigest() == file.sha256 for file in copied)


def test_an_epoch_of_the_oddest_modes_goes_all_its_way_and_its_log_is_read_but_never_written(
    openssh_host: OpensshHost, district: District, door: Door, clock: Clock, tmp_path: Path
) -> None:
    local = tmp_path / "students.csv"
    local.write_bytes(epochs.students()["students.csv"])
    local.chmod(0o000)
    (tmp_path / "COMPLETE").touch()
    done = sftp(
        door,
        f"mkdir /upload/{NIGHT}",
        f"put -p {local} /upload/{NIGHT}/students.csv",
        f"put {tmp_path}/COMPLETE /upload/{NIGHT}/COMPLETE",
        f"chmod 000 /upload/{NIGHT}/COMPLETE",
        f"chmod 700 /upload/{NIGHT}",
    )
    assert done.code == 0, done.output
    assert (openssh_host.upload(district.domain) / NIGHT / "students.csv").stat().st_mode & 0o777 == 0
    uploaded(door, NEXT_NIGHT, epochs.oneroster_zip(), modes=(0o000, 0o000))
    queued(district, NIGHT, clock)
    seen(district, NEXT_NIGHT, state="queued")
    uploading.process(district)
    held = Epoch.objects.get(name=NEXT_NIGHT, state="held")  # it is of another format than the night before
    seen_there = holds.Seen(held.judgement.content, held.judgement.against)
    holds.hold_approve(held, seen=seen_there, reason="They have another system now.", actor=StaffFactory())
    uploading.process(district)
    states = dict(Epoch.objects.exclude(name="before").values_list("name", "state"))
    assert states == {NIGHT: "loaded", NEXT_NIGHT: "loaded"}, list(Epoch.objects.values_list("trouble", "log"))
    assert Record.objects.filter(dataset__table="students").count() == 50
    assert claims_left(openssh_host, district) == []
    assert os.listdir(openssh_host.upload(district.domain)) == []
    assert all(same_as_loaded(openssh_host, epoch) for epoch in Epoch.objects.exclude(name="before"))
    place = f"/upload-processed/{NIGHT}"
    got = sftp(door, f"get {place}/processing-log.txt {tmp_path}/log", f"get {place}/students.csv {tmp_path}/back")
    assert got.code == 0, got.output
    assert (tmp_path / "log").read_text() == Epoch.objects.get(name=NIGHT).log
    for refused in (
        f"chmod 777 {place}/processing-log.txt",
        f"chmod 777 {place}",
        f"put {tmp_path}/log {place}/processing-log.txt",
        f"put {tmp_path}/log {place}/new.txt",
        f"rm {place}/students.csv",
        f"rename {place}/students.csv {place}/x",
        f"rename {place} /upload/{NIGHT}",
        f"rmdir {place}",
        f"mkdir {place}/x",
    ):
        assert sftp(door, refused).code != 0, refused
    archive.purge()
    assert len(os.listdir(openssh_host.home(district.domain) / "upload-processed")) == 2
    clock.move(days=settings.PROCESSED_DAYS + 1)
    assert archive.purge() == 2
    assert os.listdir(openssh_host.home(district.domain) / "upload-processed") == []


def test_an_epoch_whose_complete_came_first_is_not_taken_while_a_file_is_being_written(
    openssh_host: OpensshHost, district: District, door: Door, clock: Clock
) -> None:
    content = epochs.students()["students.csv"]
    with client(door) as session:
        session.mkdir(f"/upload/{NIGHT}")
        session.putfo(io.BytesIO(), f"/upload/{NIGHT}/COMPLETE")
        with session.open(f"/upload/{NIGHT}/students.csv", "wb") as file:
            file.write(content[:1000])
            file.flush()
            seen(district, NIGHT, file_count=1)
            clock.move(minutes=settings.INGEST_STRANGER_QUIET_MINUTES - 1)
            epoch = seen(district, NIGHT, state="arriving", look_code="being_written")
            file.write(content[1000:])
    seen(district, NIGHT, byte_count=len(content))
    epoch = queued(district, NIGHT, clock)
    uploading.process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.is_ok) == ("loaded", True)
    assert epoch.files.get().sha256 == hashlib.sha256(content).hexdigest()


def test_names_that_are_no_text_are_told_to_staff_and_stay_where_they_are(
    openssh_host: OpensshHost, district: District, door: Door, clock: Clock
) -> None:
    odd = b"d\xe9p\xf4t\n.zip"
    uploaded(door, NIGHT, epochs.students())
    with client(door) as session:
        session.putfo(io.BytesIO(b"x"), f"/upload/{NIGHT}/".encode() + b"caf\xe9.csv", confirm=False)
        session.putfo(io.BytesIO(b"x"), b"/upload/" + odd, confirm=False)
    loose = paths.shown(os.fsdecode(odd))
    for name in (NIGHT, loose):
        seen(district, name)
    clock.move(minutes=settings.INGEST_STRANGER_QUIET_MINUTES + 1)
    assert seen(district, NIGHT, state="waiting_staff").look_code == "hostile"
    assert seen(district, loose, state="waiting_staff").look_code == "unread_stranger"
    assert len(os.listdir(openssh_host.upload(district.domain))) == 2


def link_out(place: Path) -> None:
    (place / "students.csv").symlink_to("/etc/passwd")


def second_name(place: Path) -> None:
    os.link(place / "COMPLETE", place / "students.csv")


def pipe(place: Path) -> None:
    os.mkfifo(place / "students.csv", 0o666)


@pytest.mark.parametrize("make", [link_out, second_name, pipe])
def test_an_epoch_with_a_link_or_a_pipe_is_not_taken(
    openssh_host: OpensshHost, district: District, door: Door, clock: Clock, make: Callable[[Path], None]
) -> None:
    uploaded(door, NIGHT, {})
    make(openssh_host.upload(district.domain) / NIGHT)
    seen(district, NIGHT)
    clock.move(minutes=1)
    assert seen(district, NIGHT, look_code="hostile").state == "arriving"
    assert claims_left(openssh_host, district) == []


WHAT = {
    link_out: "A link",
    second_name: "A file that has a second name elsewhere (a hard link)",
    pipe: "Something that is no plain file",
}


@pytest.mark.parametrize("make", WHAT)
def test_what_becomes_a_link_or_a_pipe_before_the_claim_is_never_read_and_nothing_stays_behind(
    openssh_host: OpensshHost, district: District, door: Door, clock: Clock, make: Callable[[Path], None]
) -> None:
    uploaded(door, NIGHT, epochs.students())
    epoch = queued(district, NIGHT, clock)
    place = openssh_host.upload(district.domain) / NIGHT
    (place / "students.csv").unlink()
    make(place)
    uploading.process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.files.count()) == ("failed", 0)
    assert "students.csv" not in archived(openssh_host, district, epoch.archive_name)
    assert "root:" not in epoch.log
    message = f"{WHAT[make]} was put here in the moment in which it was taken. It was not read."
    names = {"students.csv", "COMPLETE"} if make is second_name else {"students.csv"}
    assert late_of(epoch) == {(name, message) for name in names}
    assert claims_left(openssh_host, district) == []


def late_of(epoch: Epoch) -> set[tuple[str, str]]:
    return set(epoch.findings.filter(code="late").values_list("file", "message"))


def test_the_names_of_what_was_moved_aside_outlive_a_worker_that_died_after_the_claim(
    openssh_host: OpensshHost, district: District, door: Door, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded(door, NIGHT, epochs.students())
    epoch = queued(district, NIGHT, clock)
    place = openssh_host.upload(district.domain) / NIGHT
    for name in (b"b.csv", b"a\xff\x1b.csv"):
        os.symlink("/etc/passwd", os.fsencode(place) + b"/" + name)

    def claimed_and_died(epoch: Epoch) -> None:
        staging.claim(epoch)
        raise Crash

    with monkeypatch.context() as patch:
        steps = (replace(one, do=claimed_and_died) if one.name == "claim" else one for one in pipeline.STEPS)
        patch.setattr(pipeline, "STEPS", tuple(steps))
        with pytest.raises(Crash):
            uploading.process(district)
    assert not place.exists()
    uploading.process(district)
    epoch.refresh_from_db()
    assert epoch.state == "loaded"
    assert {name for name, _ in late_of(epoch)} == {"b.csv", "a\\xff\\u{1b}.csv"}
    assert "a\\xff\\u{1b}.csv" in archived(openssh_host, district, NIGHT)["processing-log.txt"].decode()
    assert claims_left(openssh_host, district) == []


def test_what_was_moved_aside_is_told_without_its_name_where_the_host_has_lost_that(
    openssh_host: OpensshHost, district: District, door: Door, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded(door, NIGHT, epochs.students())
    epoch = queued(district, NIGHT, clock)
    (openssh_host.upload(district.domain) / NIGHT / "b.csv").symlink_to("/etc/passwd")

    def claimed_and_forgotten(epoch: Epoch) -> object:
        claimed = staging.claim(epoch)
        (openssh_host.state / "claims" / f"{epoch.pk}.json").unlink()
        return claimed

    steps = (replace(one, do=claimed_and_forgotten) if one.name == "claim" else one for one in pipeline.STEPS)
    monkeypatch.setattr(pipeline, "STEPS", tuple(steps))
    uploading.process(district)
    epoch.refresh_from_db()
    assert (epoch.state, [name for name, _ in late_of(epoch)]) == ("loaded", [f"{NIGHT}/"])
    assert claims_left(openssh_host, district) == []


def longer(file: Path) -> str:
    before = file.stat().st_size
    file.write_bytes(file.read_bytes() + b"more")
    return f"it had {before:,} bytes then, and has {before + 4:,} bytes now."


def just_as_long(file: Path) -> str:
    file.write_bytes(file.read_bytes()[::-1])
    os.utime(file, (1, 1))  # a host elsewhere tells seconds, and all this may be done within one
    return "it is as long as it was, but something else stands in it."


@pytest.mark.parametrize("write", [longer, just_as_long])
def test_what_is_written_after_the_copy_is_told_in_the_log(
    openssh_host: OpensshHost,
    district: District,
    door: Door,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path], str],
) -> None:
    """Whoever writes it: sessions with open files are ended by the claim, and nothing in it is the district's then."""
    uploaded(door, NIGHT, epochs.students())
    epoch = queued(district, NIGHT, clock)
    told: list[str] = []

    def copied_then_written(epoch: Epoch) -> object:
        copied = pipeline.staging.copy(epoch)
        told.append(write(openssh_host.root / "claimed" / str(epoch.pk) / "students.csv"))
        return copied

    steps = (replace(one, do=copied_then_written) if one.name == "copy" else one for one in pipeline.STEPS)
    monkeypatch.setattr(pipeline, "STEPS", tuple(steps))
    uploading.process(district)
    epoch.refresh_from_db()
    assert (epoch.state, list(epoch.findings.values_list("file", "code"))) == ("loaded", [("students.csv", "late")])
    there = archived(openssh_host, district, NIGHT)
    assert there["students.csv"] != epochs.students()["students.csv"]
    assert told[0] in there["processing-log.txt"].decode()


def test_what_a_district_swaps_while_it_is_claimed_is_checked_and_kept_as_one(
    openssh_host: OpensshHost, district: District, door: Door, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It renames and overwrites without pause, from the moment in which its night was found to rest: whatever comes of
    it, what was loaded is what lies in the archive."""
    stop, claimed = threading.Event(), [""]
    rest_needed = staging._rest_needed

    def found_to_rest(files: HostFiles, epoch: Epoch, entry: Entry) -> None:
        rest_needed(files, epoch, entry)
        claimed.append(epoch.name)

    monkeypatch.setattr(staging, "_rest_needed", found_to_rest)
    other = epochs.students(seed=2)["students.csv"]
    names = [f"202611{day:02}-020000" for day in range(1, 7)]
    for name in names:
        uploaded(door, name, epochs.students())
        seen(district, name)
    clock.move(seconds=settings.INGEST_QUIET_SECONDS + 1)
    for name in names:
        seen(district, name, state="queued")
    swapping = [threading.Thread(target=_swap, args=(door, claimed, other, stop)) for _ in range(2)]
    for thread in swapping:
        thread.start()
    try:
        uploading.process(district)
    finally:
        stop.set()
        for thread in swapping:
            thread.join()
    ended = Epoch.objects.filter(name__in=names, district=district)
    assert claimed[1:] == names
    assert {epoch.state for epoch in ended} <= {"loaded", "failed", "gone"}, list(ended.values("state", "trouble"))
    kept = [epoch for epoch in ended if epoch.state != "gone"]
    assert kept
    assert all(same_as_loaded(openssh_host, epoch) for epoch in kept)
    assert claims_left(openssh_host, district) == []


def _swap(door: Door, claimed: list[str], content: bytes, stop: threading.Event) -> None:
    """Of the last that is claimed. A session that is ended by the host is opened again."""
    while not stop.is_set():
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException), client(door) as session:
            while not stop.is_set():
                if not (name := claimed[-1]):
                    session.stat("/upload")
                    continue
                place = f"/upload/{name}/students.csv"
                with contextlib.suppress(FileNotFoundError):
                    session.rename(place, f"{place}.new")
                with contextlib.suppress(FileNotFoundError):
                    session.putfo(io.BytesIO(content), f"{place}.new", confirm=False)
                with contextlib.suppress(FileNotFoundError):
                    session.posix_rename(f"{place}.new", place)


SEAMS = [(step.name, seam) for step in pipeline.STEPS for seam in ("before", "between", "after")]


def test_a_worker_that_is_killed_between_any_two_steps_leaves_an_epoch_that_is_finished_by_the_next(
    openssh_host: OpensshHost, district: District, door: Door, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"20261001-{number:02}0000" for number in range(len(SEAMS))]
    for number, name in enumerate(names):
        uploaded(door, name, epochs.students(rows=8, night=number))
        seen(district, name)
    clock.move(seconds=settings.INGEST_QUIET_SECONDS + 1)
    for name in names:
        seen(district, name, state="queued")
    armed = dict(zip(names, SEAMS, strict=True))

    def killed(epoch: Epoch, *seam: str) -> None:
        if armed.get(epoch.name) == seam:
            del armed[epoch.name]
            raise Crash

    def arm(step: pipeline.Step[Any]) -> pipeline.Step[Any]:
        def do(epoch: Epoch) -> object:
            killed(epoch, step.name, "before")
            prepared = step.do(epoch)
            killed(epoch, step.name, "between")
            return prepared

        return replace(step, do=do)

    run_step = pipeline.run_step

    def run_and_die(step: pipeline.Step[Any], epoch: Epoch, *rest: Any) -> None:
        run_step(step, epoch, *rest)
        killed(epoch, step.name, "after")

    monkeypatch.setattr(pipeline, "STEPS", tuple(arm(step) for step in pipeline.STEPS))
    monkeypatch.setattr(pipeline, "run_step", run_and_die)
    for _ in SEAMS:
        with pytest.raises(Crash):
            uploading.process(district)
    assert not armed
    uploading.process(district)
    ended = list(Epoch.objects.filter(name__in=names))
    assert {(epoch.state, epoch.step) for epoch in ended} == {("loaded", "tell")}
    assert [epoch.archive_name for epoch in ended] == [epoch.name for epoch in ended]
    assert all(same_as_loaded(openssh_host, epoch) for epoch in ended)
    assert Dataset.objects.get().records.filter(is_removed=False).count() == 8
    assert claims_left(openssh_host, district) == []


def test_a_look_that_finds_nothing_new_asks_the_helper_nothing(
    openssh_host: OpensshHost, district: District, row: Host, theirs: str, door: Door
) -> None:
    _district(row, theirs)
    place = openssh_host.root / "answers"
    looking.look_at_host(row.pk)
    before = set(os.listdir(place))
    looking.look_at_host(row.pk)
    assert set(os.listdir(place)) == before
    uploaded(door, NIGHT, epochs.students())
    seen(district, NIGHT)
    assert set(os.listdir(place)) > before


def test_what_the_helper_cannot_be_asked_now_is_asked_when_it_is_back(
    openssh_host: OpensshHost, district: District, row: Host, door: Door, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hosts.helper.PATIENCE", 0.2)
    uploaded(door, NIGHT, epochs.students())
    log = openssh_host.root / "log/changes.jsonl"
    until(lambda: log.exists() and district.domain in log.read_text(), "a line for the upload")
    openssh_host.helper_stop()
    try:
        looking.look_at_host(row.pk)
        assert UploadsSeen.objects.get().tries == 1
        assert not Epoch.objects.filter(name=NIGHT).exists()
    finally:
        openssh_host.helper_start()
    monkeypatch.undo()
    seen(district, NIGHT)


def test_a_tree_that_is_too_deep_stops_no_epoch_beside_it_and_is_told(
    openssh_host: OpensshHost, district: District, ours: str, door: Door, clock: Clock
) -> None:
    with client(door) as session:
        for depth in range(1, 35):
            session.mkdir("/upload/" + "/".join([NEXT_NIGHT, *["d"] * depth][:depth]))
    uploaded(door, NIGHT, epochs.students())
    queued(district, NIGHT, clock)
    clock.move(minutes=settings.INGEST_STRANGER_QUIET_MINUTES)
    deep = seen(district, NEXT_NIGHT, state="waiting_staff")
    assert deep.look_code == "too_large"
    assert "32 levels" in deep.look_sentence
    assert OutboxMessage.objects.filter(to="support@vendor.example").count() == 1


def test_many_accounts_are_looked_at_in_one_request(
    openssh_host: OpensshHost, row: Host, ours: str, theirs: str, door: Door
) -> None:
    uploaded(door, NIGHT, epochs.students())
    place = openssh_host.root / "answers"
    files, names = files_for(row), [paths.username(name) for name in (ours, theirs)]
    before = len(os.listdir(place))
    files.look_ahead(names)
    assert [[entry.name for entry in files.listing(paths.upload(name))] for name in names] == [[NIGHT], []]
    assert [files.open_writes(name) for name in names] == [(), ()]
    assert len(os.listdir(place)) == before + 1


def test_a_district_with_endless_names_leaves_room_for_the_others_in_an_answer(
    openssh_host: OpensshHost, row: Host, ours: str, theirs: str
) -> None:
    """Undecodable bytes are told as six characters each, and once more at each level below."""
    place = os.fsencode(openssh_host.upload(ours))
    for _ in range(10):
        place += b"/" + b"\xff" * 250
        os.mkdir(place)
    for number in range(400):
        os.close(os.open(place + b"/%03d" % number + b"\xff" * 240, os.O_CREAT | os.O_WRONLY))
    files = files_for(row)
    files.look_ahead([paths.username(ours), paths.username(theirs)])
    assert files.listing(paths.upload(paths.username(theirs))) == ()
    upload = paths.upload(paths.username(ours))
    (only,) = files.listing(upload)
    with pytest.raises(TooLarge):
        files.listing(upload.child(only.name))
    assert max(path.stat().st_size for path in (openssh_host.root / "answers").iterdir()) < 8 * 1024 * 1024


def test_a_file_that_is_sent_once_more_in_the_moment_of_the_claim_is_not_loaded_by_half(
    openssh_host: OpensshHost, district: District, door: Door, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim ends the session that has it open, so it stays as it was cut off."""
    whole = epochs.students()["students.csv"]
    uploaded(door, NIGHT, {"students.csv": whole})
    epoch = queued(district, NIGHT, clock)
    rest_needed = staging._rest_needed
    with contextlib.ExitStack() as sessions:

        def begun_again(*args: Any) -> None:
            rest_needed(*args)
            session = sessions.enter_context(client(door))
            session.open(f"/upload/{NIGHT}/students.csv", "w").write(b"".join(whole.splitlines(True)[:5]))

        monkeypatch.setattr(staging, "_rest_needed", begun_again)
        uploading.process(district)
    epoch.refresh_from_db()
    assert (epoch.state, list(epoch.findings.values_list("code", flat=True))) == (
        "failed",
        ["changed-since-recognised"],
    )
    assert not Record.objects.exists()
