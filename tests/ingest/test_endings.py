"""Private copies, what was claimed, or both are lost; staff end what is stopped; a district is closed."""

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, District, OutboxMessage, User
from accounts.services import Refused, district_state_set
from hosts.core.errors import NotSafe
from hosts.local import LocalFiles
from ingest import archive, endings, holds, pipeline, services, tasks
from ingest.models import Epoch, Lane
from ingest.staging import FilesLost

from . import epochs
from .test_guarding import FEW, FULL, THIRD, active
from .test_late import BAD
from .test_undos import SECOND
from .test_views_holds import client_of, page
from .uploading import NEXT_NIGHT, NIGHT, Broken, TellingLess, home, look, night, process, put, queue, staged, use


@pytest.fixture
def staff(district: District) -> User:
    return User.objects.get(email="support@vendor.example")


@pytest.fixture
def support(district: District) -> Client:
    return client_of("support@vendor.example")


@pytest.fixture
def held(district: District) -> Epoch:
    """A night that is held, with another behind it."""
    night(district, NIGHT, FULL)
    made = night(district, NEXT_NIGHT, FEW)
    night(district, THIRD, FULL)
    return made


def approve(epoch: Epoch, staff: User) -> None:
    epoch = Epoch.objects.get(pk=epoch.pk)
    seen = holds.Seen(epoch.judgement.content, epoch.judgement.against)
    holds.hold_approve(epoch, seen=seen, reason="They closed a school.", actor=staff)


def now(epoch: Epoch) -> Epoch:
    return Epoch.objects.select_related("district").get(pk=epoch.pk)


def try_on(epoch: Epoch) -> Epoch:
    """Until it is given up."""
    for _ in range(8):
        Epoch.objects.filter(pk=epoch.pk).update(next_try=None)
        process(epoch.district)
    return now(epoch)


def log_of(epoch: Epoch) -> str:
    return (home(epoch.district) / "upload-processed" / epoch.archive_name / archive.LOG_NAME).read_text()


def states(district: District) -> list[str]:
    return list(Epoch.objects.filter(district=district).order_by("name").values_list("state", flat=True))


def claimed_lose() -> None:
    shutil.rmtree(settings.SFTP_ROOT / "claimed")
    (settings.SFTP_ROOT / "claimed").mkdir()


def copies_lose() -> None:
    shutil.rmtree(settings.STAGING_DIR, ignore_errors=True)


def both_lose() -> None:
    copies_lose()
    claimed_lose()


def spools_lose() -> None:
    for place in settings.STAGING_DIR.rglob("*.arrow"):
        place.unlink()


# --- What is lost and can be had again ---------------------------------------------------------------------------


@pytest.mark.parametrize("lose", [copies_lose, spools_lose])
@pytest.mark.parametrize("when", ["before the approval", "after it"])
def test_what_is_made_again_from_what_was_claimed_is_applied_as_approved(
    district: District, staff: User, held: Epoch, lose, when: str
) -> None:
    if when == "before the approval":
        lose()
    approve(held, staff)
    lose()
    process(district)
    assert states(district) == ["loaded", "loaded", "loaded"]
    assert now(held).judgement.act == "approved"
    assert now(held).judgement.sample == []


def test_a_copy_that_is_cut_short_is_made_again(district: District, staff: User, held: Epoch) -> None:
    for place in [one for one in settings.STAGING_DIR.rglob("0*") if one.is_file()]:
        place.write_bytes(place.read_bytes()[:10])
    spools_lose()
    approve(held, staff)
    process(district)
    assert now(held).state == "loaded"


def test_a_sweep_leaves_alone_what_is_being_copied_again(district: District, held: Epoch) -> None:
    begun = settings.STAGING_DIR / str(held.pk) / "begun"
    begun.mkdir()
    Lane.objects.update(lease_until=timezone.now() + timedelta(minutes=1), lease_token="theirs")
    tasks.staging.sweep()
    assert begun.is_dir()
    Lane.objects.update(lease_until=timezone.now() - timedelta(minutes=1))
    tasks.staging.sweep()
    assert not begun.exists()


def test_a_night_behind_whose_copies_are_lost_has_its_turn(district: District, staff: User, held: Epoch) -> None:
    copies_lose()
    holds.hold_discard(
        now(held),
        seen=holds.Seen(now(held).judgement.content, now(held).judgement.against),
        reason="Wrong.",
        actor=staff,
    )
    process(district)
    assert states(district) == ["loaded", "discarded", "loaded"]
    assert staged() == []


def test_an_approval_is_void_if_other_rows_would_change_now(district: District, staff: User, held: Epoch) -> None:
    approve(held, staff)
    spools_lose()
    judgement = now(held).judgement
    judgement.tables[0]["kinds"][0]["number"] += 1
    judgement.save()
    process(district)
    assert (now(held).state, now(held).judgement.act) == ("held", "")


# --- What is lost for good ---------------------------------------------------------------------------------------


def _spoil() -> None:
    """What was claimed is not what it was, and there is no copy."""
    copies_lose()
    for place in (settings.SFTP_ROOT / "claimed").rglob("*.csv"):
        place.write_bytes(place.read_bytes() + b"x")


@pytest.mark.parametrize("lose", [both_lose, _spoil])
def test_a_night_whose_files_are_lost_is_discarded_by_staff_and_later_ones_go_on(
    district: District, staff: User, support: Client, held: Epoch, lose
) -> None:
    lose()
    approve(held, staff)
    stuck = try_on(held)
    assert (stuck.state, stuck.trouble, active()) == ("stuck", FilesLost.about, 40)
    told = page(support, "epoch", stuck)
    for words in ("Discard it", "Nothing of it is applied", "Files of this epoch are lost"):
        assert words in told, words
    for words in ("safe", f"“{stuck.pk}”", "Nothing is lost"):
        assert words not in told, words
    address = reverse("epoch_end", args=[district.slug, stuck.pk])
    assert support.post(address, {"reason": ""}).status_code == 422
    assert now(held).state == "stuck"
    support.post(address, {"reason": "The disk was replaced."})
    third = Epoch.objects.get(name=THIRD)
    process(district)
    ended = now(held)
    assert (ended.state, ended.archive_name, active()) == ("discarded", NEXT_NIGHT, 40)
    assert "lost or damaged on our side" in ended.judgement.act_message
    assert "The disk was replaced." in log_of(ended)
    assert now(third).state != "behind"
    assert AuditEntry.objects.get(action="stopped epoch ended").details["reason"] == "The disk was replaced."
    assert OutboxMessage.objects.filter(kind="epoch-discarded", to="dana@smithville.example").count() == 1
    for name in ("epoch", "epoch_state"):
        page(support, name, ended)


def test_a_night_that_was_applied_before_its_files_were_lost_stays_applied(
    district: District, staff: User, support: Client, held: Epoch
) -> None:
    shutil.rmtree(settings.SFTP_ROOT / "claimed" / str(held.pk))
    approve(held, staff)
    stuck = try_on(held)
    assert (stuck.state, active()) == ("stuck", 20)
    told = page(support, "epoch", stuck)
    assert "Its rows are applied" in told
    assert "End it without its files" in told
    for words in ("safe", f"“{stuck.pk}”", "Discard it", "Nothing of it is applied", "would change"):
        assert words not in told, words
    assert services.epoch_end(stuck, reason="The disk was replaced.", actor=staff)
    process(district)
    ended = now(held)
    assert (ended.state, ended.archive_name) == ("loaded", NEXT_NIGHT)
    log = log_of(ended)
    assert log.startswith("SUCCEEDED: ")
    assert "its files were lost or damaged on our side" in log
    assert "The disk was replaced." in page(support, "epoch", ended)
    mail = OutboxMessage.objects.get(kind="epoch-files-lost")
    assert (mail.to, "are applied" in mail.text) == ("dana@smithville.example", True)
    assert (states(district)[2], active()) == ("loaded", 40)


def test_a_night_whose_directory_is_lost_before_it_is_copied_is_discarded(district: District, staff: User) -> None:
    epoch = queue(district, NIGHT, FULL)
    Epoch.objects.filter(pk=epoch.pk).update(step="claim", state="working", started=timezone.now())
    shutil.rmtree(home(district) / "upload" / NIGHT)
    stuck = try_on(epoch)
    assert (stuck.state, stuck.trouble) == ("stuck", FilesLost.about)
    assert not services.epoch_end(stuck, reason="Gone.", actor=staff)
    process(district)
    ended = now(epoch)
    assert (ended.state, ended.errors) == ("discarded", 0)
    assert night(district, NEXT_NIGHT, FULL).state == "loaded"


def test_only_what_is_stopped_is_ended_and_not_while_it_is_tried(district: District, staff: User, held: Epoch) -> None:
    with pytest.raises(Refused) as refused:
        services.epoch_end(held, reason="x", actor=staff)
    assert refused.value.code == "not-endable"
    Epoch.objects.filter(pk=held.pk).update(state="stuck")
    Lane.objects.update(lease_until=timezone.now() + timedelta(minutes=1), lease_token="theirs")
    with pytest.raises(Refused) as refused:
        services.epoch_end(held, reason="x", actor=staff)
    assert refused.value.code == "at-work"


# --- What cannot be taken over, or moved --------------------------------------------------------------------------


def stopped(district: District, monkeypatch: pytest.MonkeyPatch, epoch: Epoch, *operations: str) -> Epoch:
    """Stopped since its host refuses these operations for good, and goes on refusing."""
    use(monkeypatch, Broken(*operations, error=NotSafe).files)
    for _ in range(pipeline.MOST_TRIES):
        Epoch.objects.filter(pk=epoch.pk).update(next_try=None)
        process(district)
    stuck = now(epoch)
    assert (stuck.state, stuck.next_try) == ("stuck", None)
    return stuck


def well(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, LocalFiles(settings.SFTP_ROOT))


def test_what_cannot_be_taken_over_is_ended_where_it_lies_and_later_nights_go_on(
    district: District, monkeypatch: pytest.MonkeyPatch, support: Client
) -> None:
    epoch = stopped(district, monkeypatch, queue(district, NIGHT, FULL), "rename")
    queue(district, NEXT_NIGHT, SECOND)
    told = page(support, "epoch", epoch)
    assert "End it and leave its files" in told
    address = reverse("epoch_end", args=[district.slug, epoch.pk])
    assert support.post(address, {"reason": ""}).status_code == 422
    answer = support.post(address, {"reason": "The disk is odd."}, follow=True).content.decode()
    assert "Its files were left in /upload/ as they lie" in answer
    assert "The disk is odd." in answer
    ended = now(epoch)
    assert (ended.state, ended.trouble, ended.finished is not None) == ("discarded", "", True)
    assert AuditEntry.objects.get(action="stopped epoch ended").details["way"] == "left"
    assert AuditEntry.objects.filter(action="epoch discarded", subject=NIGHT).count() == 1
    assert OutboxMessage.objects.filter(kind="epoch-discarded", to="dana@smithville.example").count() == 1
    well(monkeypatch)
    process(district)
    assert (states(district), active()) == (["discarded", "loaded"], 43)
    for _ in range(3):
        look()
    assert archive.unmoved_move() == 0
    assert states(district) == ["discarded", "loaded"]
    assert {one.name for one in (home(district) / "upload" / NIGHT).iterdir()} == {"students.csv", "COMPLETE"}


@pytest.mark.parametrize("how", ["written over", "touched", "sent again"])
def test_what_was_left_arrives_anew_when_the_district_touches_it(
    district: District, monkeypatch: pytest.MonkeyPatch, staff: User, how: str
) -> None:
    epoch = stopped(district, monkeypatch, queue(district, NIGHT, FULL), "rename")
    services.epoch_end(epoch, reason="x", actor=staff)
    well(monkeypatch)
    look()
    place = home(district) / "upload" / NIGHT
    if how == "sent again":
        shutil.rmtree(place)
        look()
        put(district, NIGHT, FULL)
    elif how == "touched":
        os.utime(place / "students.csv", (1, 1))
    else:
        (place / "students.csv").write_bytes(FULL["students.csv"].replace(b"1", b"7"))
    look()
    assert sorted(states(district)) == ["arriving", "discarded"]
    look()
    assert sorted(states(district)) == ["arriving", "discarded"]
    assert now(epoch).look_code == ""


@pytest.mark.parametrize("when", ["before its end", "after its end"])
@pytest.mark.parametrize("files", [FULL, SECOND], ids=["the same", "others"])
def test_what_was_sent_again_before_the_next_look_is_not_passed_over(
    district: District, monkeypatch: pytest.MonkeyPatch, staff: User, files: dict[str, bytes], when: str
) -> None:
    epoch = stopped(district, monkeypatch, queue(district, NIGHT, FULL), "rename")

    def send() -> None:
        shutil.rmtree(home(district) / "upload" / NIGHT)
        put(district, NIGHT, files)

    if when == "before its end":
        send()
        look()
    services.epoch_end(epoch, reason="x", actor=staff)
    well(monkeypatch)
    if when == "after its end":
        send()
    look()
    look()
    assert sorted(states(district)) == ["arriving", "discarded"]


@pytest.mark.parametrize("when", ["before its end", "after its end", "not at all"])
def test_the_same_sent_again_is_something_new_though_its_host_tells_less(
    district: District, monkeypatch: pytest.MonkeyPatch, staff: User, when: str
) -> None:
    """Over SFTP no host tells when a file has changed, and its time can be anything: here it is that of the first."""
    elsewhere = TellingLess(settings.SFTP_ROOT)
    use(monkeypatch, elsewhere)
    epoch = stopped(district, monkeypatch, queue(district, NIGHT, FULL), "rename")
    place = home(district) / "upload" / NIGHT

    def send() -> None:
        times = place.joinpath("students.csv").stat()
        place.rename(settings.SFTP_ROOT / "taken away")  # so that none of its inodes is free for the new ones
        put(district, NIGHT, FULL)
        os.utime(place / "students.csv", ns=(times.st_atime_ns, times.st_mtime_ns))

    if when == "before its end":
        send()
    services.epoch_end(epoch, reason="x", actor=staff)
    use(monkeypatch, elsewhere)
    if when == "after its end":
        send()
    look()
    look()
    assert sorted(states(district)) == (["discarded"] if when == "not at all" else ["arriving", "discarded"])


def test_what_an_older_version_left_is_passed_over_as_long_as_nobody_touches_it(
    district: District, monkeypatch: pytest.MonkeyPatch, staff: User
) -> None:
    """Nothing is known of it but names and sizes."""
    epoch = stopped(district, monkeypatch, queue(district, NIGHT, FULL), "rename")
    services.epoch_end(epoch, reason="x", actor=staff)
    Epoch.objects.update(look_marks="")
    well(monkeypatch)
    look()
    assert (states(district), now(epoch).look_marks != "") == (["discarded"], True)
    (home(district) / "upload" / NIGHT / "students.csv").touch()
    look()
    assert sorted(states(district)) == ["arriving", "discarded"]


def test_what_was_left_is_not_said_to_be_deleted_or_moved(
    district: District, monkeypatch: pytest.MonkeyPatch, support: Client, staff: User, clock
) -> None:
    epoch = stopped(district, monkeypatch, queue(district, NIGHT, FULL), "rename")
    services.epoch_end(epoch, reason="x", actor=staff)
    (settings.SFTP_ROOT / "claimed" / str(epoch.pk)).mkdir()  # made for a file by itself, which could not be moved
    well(monkeypatch)
    look()
    assert archive.unmoved_move() == 0
    clock.move(days=90)
    assert (archive.purge(), archive.purge()) == (0, 0)
    assert not AuditEntry.objects.filter(action="epoch purged").exists()
    assert (home(district) / "upload" / NIGHT / "students.csv").is_file()
    assert not (settings.SFTP_ROOT / "claimed" / str(epoch.pk)).exists()
    assert "Files were deleted" not in page(client_of("support@vendor.example"), "epoch", now(epoch))


def test_what_was_taken_over_though_nobody_noted_it_is_moved_after_its_end(
    district: District, monkeypatch: pytest.MonkeyPatch, staff: User
) -> None:
    """A worker was killed between the rename and its row, and no later one got on."""
    epoch = queue(district, NIGHT, FULL)
    pipeline.staging.claim(epoch)
    services.epoch_end(stopped(district, monkeypatch, epoch, "stat"), reason="x", actor=staff)
    well(monkeypatch)
    look()
    assert (archive.unmoved_move(), archive.unmoved_move()) == (1, 0)
    ended = now(epoch)
    assert (ended.state, ended.archive_name) == ("discarded", NIGHT)
    assert "Reason: It could not be taken over." in log_of(ended)
    assert (home(district) / "upload-processed" / NIGHT / "students.csv").read_bytes() == FULL["students.csv"]


@pytest.mark.parametrize("operations", [("write",), ("rename",)])
def test_what_is_applied_and_cannot_be_moved_is_ended_and_moved_when_that_is_possible(
    district: District, monkeypatch: pytest.MonkeyPatch, support: Client, operations: tuple[str, ...]
) -> None:
    epoch = queue(district, NIGHT, FULL)
    while now(epoch).step != "load":
        pipeline.process_turn(district.pk, lambda: True)
    stopped(district, monkeypatch, epoch, *operations)
    queue(district, NEXT_NIGHT, SECOND)
    assert "its rows stay applied" in page(support, "epoch", epoch)
    support.post(reverse("epoch_end", args=[district.slug, epoch.pk]), {"reason": "The disk is odd."})
    ended = now(epoch)
    assert (ended.state, ended.trouble, active()) == ("loaded", "", 40)
    assert AuditEntry.objects.get(action="stopped epoch ended").details["way"] == "unmoved"
    assert "moved there as soon as that is possible. Ended by" in page(support, "epoch", ended)
    assert archive.unmoved_move() == 0
    well(monkeypatch)
    process(district)
    assert (states(district), active()) == (["loaded", "loaded"], 43)
    tasks.purge()
    assert archive.unmoved_move() == 0
    ended = now(epoch)
    assert log_of(ended).startswith("SUCCEEDED: ")
    assert (home(district) / "upload-processed" / NIGHT / "students.csv").read_bytes() == FULL["students.csv"]
    tasks.staging.sweep()
    assert private_files() == []


def test_what_failed_and_cannot_be_moved_is_ended_as_it_was_decided(
    district: District, monkeypatch: pytest.MonkeyPatch, staff: User
) -> None:
    epoch = queue(district, NIGHT, BAD)
    while now(epoch).step != "load":
        pipeline.process_turn(district.pk, lambda: True)
    services.epoch_end(stopped(district, monkeypatch, epoch, "rename"), reason="x", actor=staff)
    assert now(epoch).state == "failed"
    assert OutboxMessage.objects.filter(kind="epoch-failed", to="dana@smithville.example").count() == 1


def test_what_was_never_moved_is_deleted_after_its_days_all_the_same(
    district: District, monkeypatch: pytest.MonkeyPatch, staff: User, clock
) -> None:
    epoch = queue(district, NIGHT, FULL)
    while now(epoch).step != "load":
        pipeline.process_turn(district.pk, lambda: True)
    services.epoch_end(stopped(district, monkeypatch, epoch, "write"), reason="x", actor=staff)
    well(monkeypatch)
    clock.move(days=90)
    assert (archive.unmoved_move(), archive.purge(), archive.purge()) == (0, 1, 0)
    assert not (settings.SFTP_ROOT / "claimed" / str(epoch.pk)).exists()


def test_what_was_stopped_in_upload_is_ended_with_its_district(
    district: District, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks
) -> None:
    epoch = stopped(district, monkeypatch, queue(district, NIGHT, FULL), "rename")
    close(district, django_capture_on_commit_callbacks)
    assert (now(epoch).state, endings.closed_end()) == ("discarded", 0)
    assert (home(district) / "upload" / NIGHT / "students.csv").is_file()


# --- A district is closed ----------------------------------------------------------------------------------------


def close(district: District, capture) -> None:
    with capture(execute=True):
        district_state_set(district, District.State.CLOSED, reason="They have left.", actor=None)
    process(district)


def private_files() -> list[Path]:
    places = [settings.STAGING_DIR, settings.SFTP_ROOT / "claimed"]
    return [one for place in places for one in place.rglob("*") if one.is_file()]


def test_closing_a_district_discards_what_is_held_and_all_that_waits(
    district: District, support: Client, held: Epoch, clock, django_capture_on_commit_callbacks
) -> None:
    queue(district, "20261124-020000", FULL)
    put(district, "20261125-020000", {"odd.csv": b"a,b\n1,2\n"})
    tasks.looking.look_everywhere()
    Epoch.objects.filter(name="20261125-020000").update(hurry=True)
    tasks.looking.look_everywhere()
    assert states(district) == ["loaded", "held", "behind", "queued", "waiting_staff"]
    close(district, django_capture_on_commit_callbacks)
    assert states(district) == ["loaded", *["discarded"] * 4]
    assert active() == 40
    assert private_files() == []
    for epoch in Epoch.objects.filter(state="discarded"):
        assert epoch.judgement.act_message.endswith("Reason: The district was closed.")
        assert epoch.errors == 0
        for name in ("epoch", "epoch_state", "epoch_log"):
            assert support.get(reverse(name, args=[district.slug, epoch.pk])).status_code == 200
    told = AuditEntry.objects.get(action="epochs of a closed district discarded").details
    assert told["epochs"] == [NEXT_NIGHT, THIRD, "20261124-020000", "20261125-020000"]
    assert not OutboxMessage.objects.filter(kind="epoch-discarded").exists()
    clock.move(days=90)
    assert archive.purge() == 5
    assert list((home(district) / "upload-processed").iterdir()) == []


def test_what_was_left_in_a_closed_district_is_swept_once(district: District, held: Epoch) -> None:
    District.objects.update(state="closed")
    assert (endings.closed_end(), endings.closed_end()) == (1, 0)
    process(district)
    assert states(district) == ["loaded", "discarded", "discarded"]


def test_what_is_stopped_in_a_closed_district_ends_too(
    district: District, staff: User, held: Epoch, django_capture_on_commit_callbacks
) -> None:
    claimed_lose()
    approve(held, staff)
    try_on(held)
    close(district, django_capture_on_commit_callbacks)
    assert states(district) == ["loaded", "loaded", "discarded"]
    assert endings.closed_end() == 0


def test_suspending_a_district_discards_nothing(
    district: District, held: Epoch, django_capture_on_commit_callbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        district_state_set(district, District.State.SUSPENDED, reason="Unpaid.", actor=None)
    assert endings.closed_end() == 0
    assert states(district) == ["loaded", "held", "behind"]


@pytest.mark.parametrize("state", ["suspended", "closed"])
def test_who_may_not_act_is_told_whether_it_is_closed_or_suspended(
    district: District, support: Client, held: Epoch, state: str
) -> None:
    District.objects.update(state=state)
    answer = support.post(reverse("epoch_decide", args=[district.slug, held.pk]), {"act": "discard", "reason": "x"})
    assert answer.status_code == 403
    told = answer.content.decode()
    assert [word for word in ("suspended", "closed") if f"This district is {word}" in told] == [state]


def test_a_second_night_after_a_discard_by_staff_is_compared_with_what_is_on_record(
    district: District, staff: User, held: Epoch
) -> None:
    both_lose()
    approve(held, staff)
    services.epoch_end(try_on(held), reason="Lost.", actor=staff)
    third = try_on(Epoch.objects.get(name=THIRD))
    assert third.state == "stuck"
    services.epoch_end(third, reason="Lost, too.", actor=staff)
    assert night(district, "20261124-020000", SECOND).state == "loaded"
    assert active() == 43


def test_what_is_never_read_stays_in_the_upload_of_a_closed_district(district: District) -> None:
    place = put(district, NIGHT, epochs.students())
    (place / "link").symlink_to("/etc/hostname")
    look()
    Epoch.objects.update(state="waiting_staff", look_code="hostile")
    District.objects.update(state="closed")
    assert endings.closed_end() == 0
    assert states(district) == ["waiting_staff"]
    assert not list((settings.SFTP_ROOT / "claimed").iterdir())
