"""Where processed epochs come to lie, under which names, and how long."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from accounts import services as district_services
from accounts.models import AuditEntry, District, RetiredUsername
from hosts import provision
from hosts.connect import files_for
from hosts.core import paths
from hosts.models import Host
from ingest import archive, staging
from ingest.models import Epoch, StepTime
from tests.factories import DistrictFactory, EpochFactory, FileFactory, HostFactory

from . import epochs
from .conftest import Clock
from .uploading import NEXT_NIGHT, NIGHT, Broken, home, night, places_make, process, use


def _processed(district: District) -> Path:
    return home(district) / "upload-processed"


def _names(place: Path) -> list[str]:
    return sorted(one.name for one in place.iterdir())


def test_a_name_that_is_taken_gets_a_number_and_nothing_is_overwritten(district: District) -> None:
    for number in range(3):
        night(district, NIGHT, epochs.students(rows=5 + number))
    assert _names(_processed(district)) == [NIGHT, f"{NIGHT}-2", f"{NIGHT}-3"]
    sizes = [len((_processed(district) / name / "students.csv").read_bytes()) for name in _names(_processed(district))]
    assert sizes == sorted(set(sizes))
    assert list(Epoch.objects.order_by("pk").values_list("archive_name", flat=True)) == _names(_processed(district))


@pytest.mark.parametrize("taken", [1, 2])
def test_the_log_does_not_overwrite_a_file_of_the_district(district: District, taken: int) -> None:
    own = {"processing-log.txt": b"ours", "processing-log-2.txt": b"ours too"}
    files = {**epochs.students(), **dict(list(own.items())[:taken])}
    epoch = night(district, NIGHT, files)
    place = _processed(district) / epoch.archive_name
    assert (place / "processing-log.txt").read_bytes() == b"ours"
    assert (place / f"processing-log-{taken + 1}.txt").read_text() == epoch.log


def test_a_directory_with_the_logs_name_is_no_trouble(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made in the moment of the claim: after the last look."""
    rest_needed = staging._rest_needed

    def made(*args: Any) -> None:
        rest_needed(*args)
        (home(district) / "upload" / NIGHT / "processing-log.txt").mkdir()

    monkeypatch.setattr(staging, "_rest_needed", made)
    epoch = night(district, NIGHT, epochs.students())
    assert (epoch.trouble, epoch.state) == ("", "loaded")
    assert (_processed(district) / epoch.archive_name / "processing-log-2.txt").read_text() == epoch.log


def test_what_a_killed_worker_left_goes_and_a_file_of_the_district_with_such_a_name_stays(district: District) -> None:
    epoch = EpochFactory(district=district, state="working")
    FileFactory(epoch=epoch, name=".portal-tmp-of-the-district")
    StepTime.objects.create(epoch=epoch, step="load")
    claimed = settings.SFTP_ROOT / "claimed" / str(epoch.pk)
    claimed.mkdir(parents=True)
    for name in (".portal-tmp-of-the-district", ".portal-tmp-0123456789abcdef", "students.csv"):
        (claimed / name).write_bytes(b"x")
    archive.log_write(epoch)
    left = [".portal-tmp-of-the-district", "processing-log.txt", "result.json", "students.csv"]
    assert _names(claimed) == left


def test_an_epoch_without_a_date_for_a_name_lies_under_the_time_it_was_taken(district: District) -> None:
    epoch = EpochFactory(district=district, name="dump", state="queued", format=epochs.STUDENTS.name)
    place = home(district) / "upload" / "dump"
    place.mkdir()
    (place / "students.csv").write_bytes(epochs.students()["students.csv"])
    process(district)
    epoch.refresh_from_db()
    assert epoch.archive_name == f"{epoch.started:%Y%m%d-%H%M%S}"
    assert _names(_processed(district)) == [epoch.archive_name]


def test_processed_epochs_are_deleted_when_their_days_are_over_and_not_before(district: District, clock: Clock) -> None:
    epoch = night(district, NIGHT, epochs.students())
    clock.move(days=settings.PROCESSED_DAYS - 1)
    newer = night(district, NEXT_NIGHT, epochs.students())
    assert archive.purge() == 0
    clock.move(days=1, hours=1)
    assert archive.purge() == 1
    assert _names(_processed(district)) == [newer.archive_name]
    epoch.refresh_from_db()
    assert epoch.purged is not None
    assert epoch.log
    assert archive.purge() == 0


def test_a_district_in_trouble_keeps_no_other_from_being_purged(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DistrictFactory()
    places_make(other)
    night(district, NIGHT, epochs.students())
    night(other, NIGHT, epochs.students())
    clock.move(days=settings.PROCESSED_DAYS + 1)
    host = Broken("remove_tree")
    use(monkeypatch, host.files)

    def only_first(number: int, name: str) -> None:
        if host.is_broken and name == "remove_tree":
            host.is_broken = False
            raise host.error("The host's disk does not answer.")

    host.files._before = only_first
    assert archive.purge() == 1
    assert archive.purge() == 1
    assert not _names(_processed(district))
    assert not _names(_processed(other))


def test_a_host_that_is_away_keeps_no_other_from_being_purged_however_much_is_due_there(
    district: District, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    night(district, NIGHT, epochs.students())
    clock.move(days=settings.PROCESSED_DAYS + 1)
    away = DistrictFactory(host=HostFactory(name="away")).sftp_account
    finished = clock.now() - timedelta(days=settings.PROCESSED_DAYS, hours=1)
    row = {"district": away.district, "account": away, "state": "loaded", "finished": finished, "archive_name": NIGHT}
    Epoch.objects.bulk_create(Epoch(name=f"epoch {number}", **row) for number in range(1001))
    broken, asked = Broken("stat"), []

    def files(host: Host) -> object:
        asked.append(host)
        return broken.files if host == away.host else files_for(host)

    monkeypatch.setattr("ingest.archive.files_for", files)
    assert archive.purge() == 1
    assert asked.count(away.host) == archive.ENOUGH


def test_an_account_that_is_being_renamed_is_purged_afterwards(district: District, clock: Clock) -> None:
    night(district, NIGHT, epochs.students())
    clock.move(days=settings.PROCESSED_DAYS + 1)
    old = _processed(district)
    district_services.district_rename(district, name="New", domain="new.k12.oh.us", actor=None)
    assert archive.purge() == 0
    assert _names(old) == [NIGHT]
    files = files_for(district.sftp_account.host)
    provision.home_rename(
        files, paths.username(RetiredUsername.objects.get().username), paths.username("new.k12.oh.us")
    )
    assert archive.purge() == 1
    assert not _names(_processed(district))


def test_a_purge_that_was_broken_off_takes_no_later_epoch_with_it(district: District, clock: Clock) -> None:
    """Killed between the files and the row: the place is free, and the row says that it is to be purged."""
    first = night(district, NIGHT, epochs.students())
    clock.move(days=settings.PROCESSED_DAYS + 1)
    files = files_for(first.account.host)
    files.remove_tree(paths.processed(paths.username(first.account.username)).child(NIGHT))
    later = night(district, NIGHT, epochs.students(rows=61))
    assert (archive.purge(), _names(_processed(district))) == (1, [later.archive_name])


def test_epochs_that_were_never_archived_are_not_purged(district: District) -> None:
    long_ago = archive.timezone.now() - timedelta(days=400)
    EpochFactory(district=district, state="gone", finished=long_ago)
    EpochFactory(district=district, state="working", archive_name="20260101-000000")
    assert archive.purge() == 0


def test_what_a_purge_removed_stands_in_the_audit_log_once(district: District, clock: Clock) -> None:
    epoch = night(district, NIGHT, epochs.students())
    clock.move(days=settings.PROCESSED_DAYS + 1)
    archive.purge()
    archive.purge()
    (entry,) = AuditEntry.objects.filter(action="epoch purged")
    assert (entry.subject, entry.details["place"]) == (NIGHT, f"/upload-processed/{NIGHT}/")
    assert entry.details["bytes"] == epoch.byte_count > 0
