"""What staff can want of an epoch."""

import pytest

from accounts.models import AuditEntry, District, User
from accounts.services import Refused
from ingest import services
from ingest.core.sampling import zipped
from ingest.models import Epoch, Record
from tests.factories import EpochFactory

from . import epochs
from .conftest import Clock
from .uploading import NIGHT, home, look, process, put


@pytest.fixture
def staff(district: District) -> User:
    return User.objects.get(email="support@vendor.example")


def test_a_bare_file_is_loaded_when_staff_say_its_format(district: District, staff: User) -> None:
    (home(district) / "upload" / "students.csv").write_bytes(epochs.students(rows=8)["students.csv"])
    look()
    services.epoch_hurry(Epoch.objects.get(), actor=staff)
    look()
    epoch = Epoch.objects.get()
    services.epoch_format_assign(epoch, epochs.STUDENTS.name, actor=staff)
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.trouble, epoch.format_by) == ("loaded", "", staff)
    assert Record.objects.count() == 8
    place = home(district) / "upload-processed" / epoch.archive_name
    assert sorted(one.name for one in place.iterdir()) == ["processing-log.txt", "result.json", "students.csv"]
    assert AuditEntry.objects.filter(action="epoch: format assigned", actor=staff.email).count() == 1


def test_a_format_that_does_not_fit_is_told_by_findings(district: District, clock: Clock, staff: User) -> None:
    put(district, NIGHT, {"export.csv": b"a,b\r\n1,2\r\n"})
    look()
    clock.move(minutes=1)
    look()
    epoch = Epoch.objects.get()
    services.epoch_format_assign(epoch, epochs.STUDENTS.name, actor=staff)
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.errors > 0) == ("failed", True)
    assert not Record.objects.exists()


def test_a_zip_that_is_refused_fails_with_a_finding_and_is_not_unpacked(
    district: District, clock: Clock, staff: User
) -> None:
    put(district, NIGHT, {"roster.zip": zipped({"../students.csv": b"x"})})
    look()
    clock.move(minutes=1)
    look()
    epoch = Epoch.objects.get()
    assert epoch.look_code == "zip-refused"
    services.epoch_format_assign(epoch, epochs.ONEROSTER.name, actor=staff)
    process(district)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.files.count()) == ("failed", 1)
    assert {finding.file for finding in epoch.findings.filter(severity="error")} == {"roster.zip"}


@pytest.mark.parametrize("beside", [{}, {".DS_Store": b"\0\0"}, {"Thumbs.db": b"\0"}], ids=["alone", "mac", "windows"])
def test_a_damaged_file_in_a_zip_is_found_whatever_lies_beside_the_zip(
    district: District, clock: Clock, beside: dict[str, bytes]
) -> None:
    """A lost optional file must not look as if it had not been sent."""
    files = epochs.oneroster(users=4)
    packed = zipped(files)
    at = packed.index(b"demographics.csv" if "demographics.csv" in files else sorted(files)[0].encode())
    damaged = bytearray(packed)
    damaged[at + 60] ^= 0xFF
    put(district, NIGHT, {"roster.zip": bytes(damaged), **beside})
    look()
    clock.move(minutes=1)
    look()
    process(district)
    epoch = Epoch.objects.get()
    codes = set(epoch.findings.filter(severity="error").values_list("code", flat=True)) | {epoch.look_code}
    assert epoch.state in ("failed", "waiting_staff")
    assert codes & {"zip-damaged", "zip-refused"}
    assert not Record.objects.exists()


@pytest.mark.parametrize("state", ["arriving", "queued", "working", "stuck", "loaded", "failed", "gone"])
def test_only_what_waits_for_staff_is_given_a_format(district: District, staff: User, state: str) -> None:
    epoch = EpochFactory(district=district, state=state)
    with pytest.raises(Refused) as refused:
        services.epoch_format_assign(epoch, epochs.STUDENTS.name, actor=staff)
    assert refused.value.code == "not-waiting"
    epoch.refresh_from_db()
    assert (epoch.state, epoch.format, epoch.format_by) == (state, "", None)


def test_a_format_nobody_knows_is_refused(district: District, staff: User) -> None:
    epoch = EpochFactory(district=district, state="waiting_staff")
    with pytest.raises(Refused) as refused:
        services.epoch_format_assign(epoch, "no-such-format", actor=staff)
    assert refused.value.code == "no-such-format"
    assert not AuditEntry.objects.filter(action__startswith="epoch").exists()


@pytest.mark.parametrize("state", ["loaded", "failed", "gone"])
def test_what_has_ended_is_not_processed_again(district: District, staff: User, state: str) -> None:
    epoch = EpochFactory(district=district, state=state)
    with pytest.raises(Refused) as refused:
        services.epoch_hurry(epoch, actor=staff)
    assert refused.value.code == "epoch-ended"
    epoch.refresh_from_db()
    assert (epoch.state, epoch.hurry) == (state, False)


@pytest.mark.parametrize(
    ("state", "step", "then"),
    [
        ("arriving", "", "arriving"),
        ("waiting_staff", "", "waiting_staff"),
        ("queued", "", "queued"),
        ("working", "copy", "working"),
        ("stuck", "copy", "working"),
        ("stuck", "", "queued"),
    ],
)
def test_process_now_takes_away_every_wait(district: District, staff: User, state: str, step: str, then: str) -> None:
    epoch = EpochFactory(district=district, state=state, step=step, tries=6, next_try=services.timezone.now())
    services.epoch_hurry(epoch, actor=staff)
    epoch.refresh_from_db()
    assert (epoch.state, epoch.tries, epoch.next_try, epoch.hurry) == (then, 0, None, True)
    assert AuditEntry.objects.filter(action="epoch: process now", actor=staff.email, subject=epoch.name).exists()
