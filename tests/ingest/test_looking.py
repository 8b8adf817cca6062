"""Looks into /upload/: nothing is taken before it is whole, nothing hostile is read, nobody is told twice."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings

from accounts import services as district_services
from accounts.models import AuditEntry, District, OutboxMessage, User
from hosts.core.errors import Refused, TooLarge
from hosts.core.paths import HostPath
from hosts.files import Entry
from hosts.local import LocalFiles
from ingest import looking, rota, services
from ingest.core import discovery
from ingest.core.sampling import zipped
from ingest.models import Epoch
from ingest.services import Refused as NotDone
from tests.factories import DistrictFactory, StaffFactory

from . import epochs, uploading
from .conftest import Clock
from .uploading import NEXT_NIGHT, NIGHT, Broken, Watched, home, look, nothing, places_make, process, put, use

UNKNOWN = {"export.csv": b"col1,col2\r\n1,2\r\n"}


def _epoch() -> Epoch:
    return Epoch.objects.get()


def _tell(epoch: Epoch) -> tuple[str, str]:
    return epoch.state, epoch.look_code


def test_nothing_is_opened_before_complete_is_there(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    use(monkeypatch, Watched(lambda number, name: opened.append(name), nothing))
    put(district, NIGHT, epochs.students(), complete=False)
    look()
    look()
    assert _tell(_epoch()) == ("arriving", "uploading")
    assert "COMPLETE" in _epoch().look_sentence
    assert set(opened) == {"listing", "open_writes"}


def test_a_complete_epoch_is_queued_when_it_has_rested(district: District, clock: Clock) -> None:
    put(district, NIGHT, epochs.students())
    look()
    assert _tell(_epoch()) == ("arriving", "unsettled")
    clock.move(seconds=settings.INGEST_QUIET_SECONDS - 1)
    look()
    assert _epoch().state == "arriving"
    clock.move(seconds=1)
    assert looking.look_everywhere() == [district.pk]
    queued = _epoch()
    assert (queued.state, queued.format, queued.file_count) == ("queued", epochs.STUDENTS.name, 1)
    assert queued.queued is not None


def test_a_change_begins_the_rest_anew(district: District, clock: Clock) -> None:
    place = put(district, NIGHT, epochs.students())
    look()
    clock.move(seconds=settings.INGEST_QUIET_SECONDS - 1)
    with (place / "students.csv").open("ab") as file:
        file.write(b"\r\n")
    look()
    clock.move(seconds=settings.INGEST_QUIET_SECONDS - 1)
    look()
    assert _epoch().state == "arriving"
    clock.move(seconds=1)
    look()
    assert _epoch().state == "queued"


def test_a_file_that_is_open_for_writing_holds_the_epoch_back(district: District, clock: Clock) -> None:
    put(district, NIGHT, epochs.students())
    listed = settings.SFTP_ROOT / "open" / district.domain
    listed.parent.mkdir(exist_ok=True)
    listed.write_text(f"{NIGHT}/students.csv\n")
    look()
    clock.move(minutes=5)
    look()
    assert _tell(_epoch()) == ("arriving", "being_written")
    listed.write_text(f"{NEXT_NIGHT}/students.csv\n")
    look()
    assert _epoch().state == "queued"


@pytest.mark.parametrize(
    "files", [epochs.students(), epochs.students_old(), epochs.oneroster(), epochs.oneroster_zip()]
)
def test_each_format_is_recognised_in_place(district: District, clock: Clock, files: dict[str, bytes]) -> None:
    put(district, NIGHT, files)
    look()
    clock.move(minutes=1)
    look()
    assert (_epoch().state, bool(_epoch().format)) == ("queued", True)


def test_an_epoch_that_is_taken_back_is_gone(district: District) -> None:
    put(district, NIGHT, epochs.students())
    look()
    shutil.rmtree(home(district) / "upload" / NIGHT)
    look()
    assert _epoch().state == "gone"
    assert _epoch().finished is not None


def test_a_renamed_epoch_is_another_one(district: District) -> None:
    place = put(district, NIGHT, epochs.students(), complete=False)
    look()
    place.rename(place.with_name(NEXT_NIGHT))
    look()
    assert dict(Epoch.objects.values_list("name", "state")) == {NIGHT: "gone", NEXT_NIGHT: "arriving"}


def test_a_name_that_was_used_before_is_a_new_epoch(district: District) -> None:
    put(district, NIGHT, epochs.students(), complete=False)
    look()
    Epoch.objects.update(state="loaded")
    look()
    look()
    assert sorted(Epoch.objects.values_list("name", "state")) == [(NIGHT, "arriving"), (NIGHT, "loaded")]


def test_process_now_does_not_wait_for_rest_but_for_complete(district: District) -> None:
    staff = User.objects.get(email="support@vendor.example")
    place = put(district, NIGHT, epochs.students(), complete=False)
    look()
    services.epoch_hurry(_epoch(), actor=staff)
    look()
    assert (_epoch().state, _epoch().hurry) == ("arriving", False)
    (place / "COMPLETE").touch()
    look()
    services.epoch_hurry(_epoch(), actor=staff)
    look()
    assert (_epoch().state, _epoch().hurry) == ("queued", False)


def test_what_no_format_fits_is_left_untouched_and_staff_are_told_once(district: District, clock: Clock) -> None:
    place = put(district, NIGHT, UNKNOWN)
    for change in range(3):
        look()
        clock.move(minutes=1)
        look()
        look()
        assert _tell(_epoch()) == ("waiting_staff", "not-recognised")
        (place / f"more{change}.csv").write_bytes(b"x\n")
    assert [mail.to for mail in OutboxMessage.objects.all()] == ["support@vendor.example"]
    assert AuditEntry.objects.filter(action="epoch waits for staff").count() == 1
    assert (place / "export.csv").read_bytes() == UNKNOWN["export.csv"]
    assert (place / "COMPLETE").exists()


def test_what_was_not_recognised_is_taken_when_the_district_mends_it(district: District, clock: Clock) -> None:
    place = put(district, NIGHT, UNKNOWN)
    look()
    clock.move(minutes=1)
    look()
    (place / "export.csv").unlink()
    put(district, NIGHT, epochs.students())
    look()
    clock.move(minutes=1)
    look()
    assert _epoch().state == "queued"


HOSTILE = [uploading.link_out_of, uploading.link_hard, uploading.fifo, uploading.folder]


@pytest.mark.parametrize("make", HOSTILE)
@pytest.mark.parametrize("name", ["students.csv", "extra.csv", "COMPLETE2"])
def test_an_epoch_with_anything_but_plain_files_is_not_read(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch, make: object, name: str
) -> None:
    place = put(district, NIGHT, epochs.students())
    (place / name).unlink(missing_ok=True)
    make(place, name)
    put(district, NEXT_NIGHT, epochs.students())
    opened: list[str] = []
    look()
    clock.move(minutes=1)
    use(monkeypatch, Watched(lambda number, call: opened.append(call), nothing))
    look()
    assert _tell(Epoch.objects.get(name=NIGHT)) == ("arriving", "hostile")
    assert Epoch.objects.get(name=NEXT_NIGHT).state == "queued"
    assert opened.count("open_read") == 1


@pytest.mark.parametrize("name", ["a\nb.csv", "a\x1b[2J.csv", "\udcff.csv", "\u202ecsv.exe"])
def test_a_name_that_cannot_be_shown_is_not_read_and_harms_no_page(district: District, clock: Clock, name: str) -> None:
    place = put(district, NIGHT, epochs.students())
    (place / name).write_bytes(b"x")
    look()
    clock.move(minutes=1)
    look()
    assert _tell(_epoch()) == ("arriving", "hostile")
    assert _epoch().look_sentence.isprintable()


NEVER_RIPE = {
    "hostile": lambda place: uploading.folder(place, "sub"),
    "temporary_names": lambda place: (place / "old.csv.part").write_bytes(b"x"),
    "complete_misnamed": lambda place: (place / "COMPLETE").rename(place / "complete.txt"),
}


@pytest.mark.parametrize("code", NEVER_RIPE)
def test_what_can_never_become_ripe_is_left_for_staff_when_it_rests(
    district: District, clock: Clock, code: str
) -> None:
    NEVER_RIPE[code](put(district, NIGHT, epochs.students()))
    look()
    clock.move(minutes=settings.INGEST_STRANGER_QUIET_MINUTES - 1)
    look()
    assert _tell(_epoch()) == ("arriving", code)
    clock.move(minutes=1)
    look()
    look()
    assert _tell(_epoch()) == ("waiting_staff", code)
    assert [mail.to for mail in OutboxMessage.objects.all()] == ["support@vendor.example"]


UNREAD = {
    "link": lambda place: (place / "x").symlink_to("/etc/hostname"),
    "folder": lambda place: uploading.folder(place, "x"),
    "not-a-file": lambda place: os.mkfifo(place / "x"),
    "second-name": lambda place: os.link(place / "students.csv", place.parents[1] / "x"),
    "odd-name": lambda place: (place / "x\n").write_bytes(b""),
}


@pytest.mark.parametrize("code", UNREAD)
def test_what_keeps_an_epoch_from_being_read_is_a_finding_until_it_is_gone(
    district: District, clock: Clock, code: str
) -> None:
    place = put(district, NIGHT, epochs.students())
    UNREAD[code](place)
    look()
    clock.move(minutes=settings.INGEST_STRANGER_QUIET_MINUTES)
    look()
    epoch = _epoch()
    assert [(one.code, one.severity) for one in epoch.findings.all()] == [(code, "error")]
    assert (epoch.errors, epoch.findings.get().file.isprintable()) == (1, True)
    shutil.rmtree(place)
    put(district, NIGHT, epochs.students())
    look()
    assert (_epoch().errors, epoch.findings.count()) == (0, 0)


class TooMuch(LocalFiles):
    """A host that has no list of some directories: they hold too much."""

    def __init__(self, *names: str) -> None:
        super().__init__(settings.SFTP_ROOT)
        self.names = set(names)

    def listing(self, path: HostPath) -> tuple[Entry, ...]:
        if path.name in self.names:
            raise TooLarge("It holds too much. Please remove what is not needed.")
        return super().listing(path)


@pytest.mark.parametrize("name", [NEXT_NIGHT, "backup"])
def test_a_directory_that_is_too_large_waits_for_staff_and_what_lies_beside_it_is_taken(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    files = TooMuch(name)
    use(monkeypatch, files)
    put(district, NIGHT, epochs.students())
    put(district, name, epochs.students())
    look()
    assert _tell(Epoch.objects.get(name=name)) == ("arriving", "too_large")
    clock.move(minutes=settings.INGEST_STRANGER_QUIET_MINUTES)
    for _ in range(3):
        look()
        clock.move(minutes=1)
    assert Epoch.objects.get(name=NIGHT).state == "queued"
    large = Epoch.objects.get(name=name)
    assert _tell(large) == ("waiting_staff", "too_large")
    assert "Please remove" in large.look_sentence
    assert [mail.to for mail in OutboxMessage.objects.all()] == ["support@vendor.example"]
    with pytest.raises(NotDone, match="holds too much"):
        services.epoch_format_assign(
            large, epochs.STUDENTS.name, actor=User.objects.get(email="support@vendor.example")
        )
    files.names.clear()  # the district has tidied up
    look()
    assert Epoch.objects.get(name=name).state == "arriving"


def test_an_upload_directory_that_is_itself_too_full_is_told_to_staff_once_and_forgets_nothing(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = TooMuch()
    use(monkeypatch, files)
    put(district, NIGHT, epochs.students())
    look()
    files.names = {"upload"}
    look()
    clock.move(minutes=settings.INGEST_STRANGER_QUIET_MINUTES)
    look()
    look()
    states = dict(Epoch.objects.values_list("name", "state"))
    assert states == {NIGHT: "arriving", "/upload/": "waiting_staff"}
    assert [mail.to for mail in OutboxMessage.objects.all()] == ["support@vendor.example"]
    files.names.clear()
    look()
    states = dict(Epoch.objects.values_list("name", "state"))
    assert states == {NIGHT: "queued", "/upload/": "gone"}


def test_a_link_that_is_named_as_an_epoch_is_a_stranger(district: District, clock: Clock, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "COMPLETE").touch()
    (home(district) / "upload" / NIGHT).symlink_to(outside)
    look()
    clock.move(minutes=1)
    look()
    assert _tell(_epoch()) == ("arriving", "stranger")


@pytest.mark.parametrize(
    ("name", "code"),
    [("dump.sql", "stranger"), ("backup", "stranger"), ("x" * 255, "stranger"), ("\x01" * 255, "unread_stranger")],
    ids=["dump", "backup", "long", "odd"],
)
def test_a_stranger_is_told_to_staff_when_it_rests(district: District, clock: Clock, name: str, code: str) -> None:
    (home(district) / "upload" / name).write_bytes(b"x")
    look()
    assert _tell(_epoch()) == ("arriving", "stranger")
    clock.move(minutes=settings.INGEST_STRANGER_QUIET_MINUTES)
    look()
    look()
    assert _tell(_epoch()) == ("waiting_staff", code)
    assert OutboxMessage.objects.count() == 1
    assert len(_epoch().name) <= 1024


def test_process_now_for_a_stranger_tells_staff_at_once_and_waits_on(district: District) -> None:
    staff = User.objects.get(email="support@vendor.example")
    (home(district) / "upload" / "dump.sql").write_bytes(b"x")
    look()
    for _ in range(2):
        services.epoch_hurry(_epoch(), actor=staff)
        look()
        assert (_epoch().state, _epoch().hurry) == ("waiting_staff", False)
    assert AuditEntry.objects.filter(action="epoch waits for staff").count() == 1


def test_staff_who_are_quicker_than_a_look_are_not_overruled(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    staff = User.objects.get(email="support@vendor.example")
    put(district, NIGHT, UNKNOWN)
    look()
    clock.move(minutes=1)
    look()
    services.epoch_hurry(_epoch(), actor=staff)
    told = AuditEntry.objects.filter(action="epoch waits for staff").count()

    def assign(number: int, name: str) -> None:
        if name == "open_read":
            services.epoch_format_assign(_epoch(), epochs.STUDENTS.name, actor=staff)

    use(monkeypatch, Watched(assign, nothing))
    look()
    assert (_epoch().state, _epoch().format) == ("queued", epochs.STUDENTS.name)
    assert _epoch().format_by == staff
    assert AuditEntry.objects.filter(action="epoch waits for staff").count() == told


def test_a_look_that_knows_an_epoch_as_queued_leaves_what_a_worker_made_of_it(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploading.queue(district, NIGHT, epochs.students())
    did: list[int] = []

    def work(number: int, name: str) -> None:
        if name == "listing" and not did:
            did.append(number)
            process(district)

    use(monkeypatch, Watched(work, nothing))
    look()
    assert _epoch().state == "loaded"


def test_a_file_that_cannot_be_read_holds_up_only_its_own_epoch(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(district, NIGHT, epochs.students())
    put(district, NEXT_NIGHT, epochs.students())
    look()
    clock.move(minutes=1)
    first: list[int] = []

    def refuse(number: int, name: str) -> None:
        if name == "open_read" and not first:
            first.append(number)
            raise Refused("The host does not permit this for “students.csv”.")

    use(monkeypatch, Watched(refuse, nothing))
    look()
    assert _tell(Epoch.objects.get(name=NIGHT)) == ("arriving", "refused")
    assert Epoch.objects.get(name=NEXT_NIGHT).state == "queued"
    look()
    assert Epoch.objects.get(name=NIGHT).state == "queued"


def test_one_district_in_trouble_keeps_no_other_waiting(district: District, clock: Clock) -> None:
    other = DistrictFactory(name="A district before", domain="aaa.k12.oh.us")
    places_make(other)
    shutil.rmtree(home(other) / "upload")
    (home(other) / "upload").symlink_to("/tmp")
    put(district, NIGHT, epochs.students())
    look()
    clock.move(minutes=1)
    look()
    assert _epoch().state == "queued"


def test_a_host_that_is_away_changes_nothing(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    put(district, NIGHT, epochs.students())
    look()
    use(monkeypatch, Broken("listing").files)
    look()
    assert _epoch().state == "arriving"


@pytest.mark.parametrize("state", ["suspended", "closed"])
def test_a_district_that_is_not_active_is_not_looked_at(district: District, state: str) -> None:
    district_services.district_state_set(district, District.State(state), reason="x", actor=None)
    put(district, NIGHT, epochs.students())
    look()
    assert not Epoch.objects.exists()


def test_another_districts_uploads_are_its_own(district: District) -> None:
    other = DistrictFactory()
    places_make(other)
    put(other, NIGHT, epochs.students(), complete=False)
    put(district, NIGHT, epochs.students(), complete=False)
    look()
    assert {epoch.district for epoch in Epoch.objects.all()} == {district, other}


def test_a_zip_that_cannot_be_opened_waits_for_staff(district: District, clock: Clock) -> None:
    put(district, NIGHT, {"roster.zip": b"PK\x03\x04 not a zip"})
    look()
    clock.move(minutes=1)
    look()
    assert _tell(_epoch()) == ("waiting_staff", "zip-refused")


def test_staff_read_why_a_zip_was_refused_and_not_what_was_passed_over_in_it(district: District, clock: Clock) -> None:
    put(district, NIGHT, {"roster.zip": zipped({"__MACOSX/._users.csv": b"", "data/users.csv": b"a"})})
    look()
    clock.move(minutes=1)
    look()
    assert _tell(_epoch()) == ("waiting_staff", "zip-refused")
    assert _epoch().look_sentence.startswith("`data/users.csv` lies in a folder.")


def test_an_epoch_that_is_stuck_before_it_was_claimed_is_not_taken_for_a_new_one(district: District) -> None:
    epoch = uploading.queue(district, NIGHT, epochs.students())
    Epoch.objects.filter(pk=epoch.pk).update(state="stuck")
    look()
    look()
    assert Epoch.objects.count() == 1
    services.epoch_hurry(epoch, actor=StaffFactory())
    look()
    process(district)
    assert [epoch.state for epoch in Epoch.objects.all()] == ["loaded"]


# --- Files that are epochs by themselves


def _put_alone(district: District, name: str = "students_auto.csv", rows: int = 50) -> Path:
    place = home(district) / "upload" / name
    place.write_bytes(epochs.students(rows)["students.csv"])
    return place


def test_a_file_with_the_suffix_is_an_epoch_of_its_own_after_its_rest(district: District, clock: Clock) -> None:
    place = _put_alone(district)
    look()
    assert _tell(_epoch()) == ("arriving", "unsettled")
    clock.move(seconds=settings.INGEST_AUTO_QUIET_SECONDS - 1)
    look()
    assert _epoch().state == "arriving"
    clock.move(seconds=1)
    look()
    assert (_epoch().state, _epoch().format) == ("queued", epochs.STUDENTS.name)
    process(district)
    done = _epoch()
    assert (done.state, done.errors) == ("loaded", 0)
    assert done.files.get().name == "students.csv"
    assert not place.exists()
    assert discovery.is_epoch_name(done.archive_name)
    assert (home(district) / "upload-processed" / done.archive_name / "students_auto.csv").read_bytes()


def test_a_file_with_the_suffix_is_not_taken_while_it_is_written(district: District, clock: Clock) -> None:
    """Of a client that was killed half-way nothing is open any more, but then its file came without its end."""
    place = _put_alone(district)
    listed = settings.SFTP_ROOT / "open" / district.domain
    listed.parent.mkdir(exist_ok=True)
    listed.write_text("students_auto.csv\n")
    look()
    clock.move(hours=1)
    look()
    assert _tell(_epoch()) == ("arriving", "being_written")
    listed.unlink()
    with place.open("ab") as file:
        file.write(b"\r\n")
    look()
    assert _tell(_epoch()) == ("arriving", "unsettled")


def test_each_file_with_the_suffix_is_an_epoch(district: District, clock: Clock) -> None:
    _put_alone(district)
    _put_alone(district, "odd_auto.csv")
    look()
    clock.move(minutes=5)
    look()
    told = {epoch.name: (epoch.state, epoch.look_code) for epoch in Epoch.objects.all()}
    assert told == {"students_auto.csv": ("queued", ""), "odd_auto.csv": ("waiting_staff", "not-recognised")}


def test_the_same_file_comes_again_the_next_night(district: District, clock: Clock) -> None:
    for rows in (50, 51):
        _put_alone(district, rows=rows)
        look()
        clock.move(minutes=5)
        look()
        process(district)
    assert [one.state for one in Epoch.objects.all()] == ["loaded", "loaded"]
    assert len({one.archive_name for one in Epoch.objects.all()}) == 2
    assert Epoch.objects.latest("pk").files.get().added == 1


def test_complete_beside_the_epochs_says_where_it_belongs(district: District) -> None:
    (home(district) / "upload" / "COMPLETE").touch()
    look()
    assert _tell(_epoch()) == ("arriving", "stranger")
    assert _epoch().look_sentence.startswith("COMPLETE belongs into")


# --- Uploads that stop


def test_a_stalled_upload_is_told_once_to_the_district_and_to_staff(district: District, clock: Clock) -> None:
    place = put(district, NIGHT, epochs.students(), complete=False)
    look()
    clock.move(hours=settings.INGEST_STALLED_HOURS - 1)
    look()
    assert not OutboxMessage.objects.filter(kind="epoch-stalled").exists()
    clock.move(hours=1)
    look()
    look()
    assert _tell(_epoch()) == ("arriving", "stalled")
    told = OutboxMessage.objects.filter(kind="epoch-stalled")
    assert sorted(told.values_list("to", flat=True)) == ["dana@smithville.example", "support@vendor.example"]
    assert "COMPLETE" in told[0].text
    (place / "COMPLETE").touch()
    look()
    clock.move(minutes=1)
    look()
    assert _epoch().state == "queued"


def _changes_hourly(place: Path, clock: Clock, hours: int) -> None:
    for number in range(hours):
        clock.move(hours=1)
        (place / "students.csv").write_bytes(epochs.students(rows=10 + number)["students.csv"])
        look()


def test_an_upload_that_never_rests_is_told_once(district: District, clock: Clock) -> None:
    place = put(district, NIGHT, epochs.students())
    look()
    _changes_hourly(place, clock, 23)
    assert not OutboxMessage.objects.filter(kind="epoch-stalled").exists()
    _changes_hourly(place, clock, 3)
    assert _tell(_epoch()) == ("arriving", "stalled")
    told = OutboxMessage.objects.filter(kind="epoch-stalled")
    assert sorted(told.values_list("to", flat=True)) == ["dana@smithville.example", "support@vendor.example"]
    assert "again and again" in told[0].text
    clock.move(minutes=1)
    look()
    assert _epoch().state == "queued"


def test_an_old_upload_that_is_put_right_is_not_one_that_never_rests(district: District, clock: Clock) -> None:
    place = put(district, NIGHT, epochs.students(), complete=False)
    look()
    clock.move(hours=30)
    look()
    OutboxMessage.objects.all().delete()
    (place / "COMPLETE").touch()
    look()
    assert _tell(_epoch()) == ("arriving", "unsettled")
    assert not OutboxMessage.objects.exists()


def test_an_upload_that_rests_is_not_one_that_never_rests(district: District, clock: Clock) -> None:
    place = put(district, NIGHT, epochs.students(), complete=False)
    (place / "complete").touch()
    look()
    clock.move(hours=1)
    look()
    clock.move(hours=30)
    Epoch.objects.update(hurry=True)
    look()
    assert _tell(_epoch()) == ("waiting_staff", "complete_misnamed")
    assert not OutboxMessage.objects.filter(kind="epoch-stalled").exists()


def test_nobody_is_called_restless_before_the_patience_that_is_set_ends(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "INGEST_STALLED_HOURS", 48)
    put(district, NIGHT, epochs.students(), complete=False)
    look()
    clock.move(hours=30)
    look()
    assert _tell(_epoch()) == ("arriving", "uploading")


def test_the_clock_finds_what_has_stalled_on_a_host_that_tells_of_changes_only(
    district: District, clock: Clock
) -> None:
    put(district, NIGHT, epochs.students(), complete=False)
    look()
    clock.move(hours=settings.INGEST_STALLED_HOURS - 1)
    assert not rota.restless(clock.now()).exists()
    clock.move(hours=1)
    assert rota.restless(clock.now()).get() == _epoch()
    look()
    assert _tell(_epoch()) == ("arriving", "stalled")
    assert not rota.restless(clock.now()).exists()


@pytest.mark.parametrize("make", HOSTILE)
def test_no_format_by_hand_makes_anything_but_plain_files_be_read(
    district: District, clock: Clock, make: Callable[[Path, str], None]
) -> None:
    """In a directory that is no epoch, too; nor if it comes after staff have looked."""
    place = put(district, "dump", epochs.students())
    make(place, "x.csv")
    look()
    clock.move(minutes=settings.INGEST_STRANGER_QUIET_MINUTES)
    look()
    staff = User.objects.get(email="support@vendor.example")
    epoch = _epoch()
    assert (*_tell(epoch), epoch.errors > 0) == ("waiting_staff", "unread_stranger", True)
    assert epoch.findings.count() == epoch.errors
    with pytest.raises(NotDone, match="Ask the district"):
        services.epoch_format_assign(epoch, epochs.STUDENTS.name, actor=staff)
    Epoch.objects.update(state="queued", format=epochs.STUDENTS.name, format_by=staff)
    process(district)
    assert (_epoch().step, _epoch().tries, place.is_dir()) == ("", 1, True)
