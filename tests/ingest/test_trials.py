"""Check before sending: the report of an upload, nothing applied, and no file left, whoever dies."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.conf import settings as django_settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.audit import AuditEntry
from accounts.models import District, User
from ingest import pipeline
from ingest.core.sampling import zipped
from ingest.models import Epoch, FileSettings, Finding, Trial
from ingest.trials import places, process, runs
from ingest.trials.process import Died, Order, examined_apart
from ingest.trials.receiving import Received, Receiver, StopUpload
from ingest.trials.services import Refused, file_settings_set, trial_ask, trial_forget
from ingest.trials.views import UPLOADS
from tests.factories import MembershipFactory

from .epochs import ONEROSTER, STUDENTS, oneroster, students, with_cell
from .uploading import NIGHT, night, queue


def damaged_far_below(content: bytes, name: str) -> bytes:
    """The zip with a member whose end is spoilt; its first lines can be read."""
    spoilt, member = bytearray(content), zipfile.ZipFile(io.BytesIO(content)).getinfo(name)
    at = member.header_offset + member.compress_size - 100
    spoilt[at : at + 20] = bytes(20)
    return bytes(spoilt)


BAD = {"students.csv": with_cell(students()["students.csv"], 7, "Date of Birth", "31/31/1999")}
DAMAGED = {"roster.zip": damaged_far_below(zipped(oneroster(10_000)), "users.csv")}
QUIET = {"per_code": 100, "listed": 100, "windows_1252": False, "delimiter": "comma", "seconds": 60.0}


@pytest.fixture
def person(district: District) -> User:
    """The district's administrator."""
    return district.memberships.get().user


@pytest.fixture
def browser(person: User) -> Client:
    made = Client()
    made.force_login(person)
    return made


def ask(district: District, person: User, files: Mapping[str, bytes]) -> Trial:
    """What a form does, without the form."""
    with places.incoming() as place:
        for number, content in enumerate(files.values()):
            (place.path / f"{number:05}").write_bytes(content)
        told = [Received(name, len(content)) for name, content in files.items()]
        trial = trial_ask(district, place=place.name, files=told, actor=person)
        place.kept = True
    return trial


def send(browser: Client, district: District, files: Mapping[str, bytes], field: str = "files"):
    sent = [SimpleUploadedFile(name, content) for name, content in files.items()]
    return browser.post(reverse("trials", args=[district.slug]), {field: sent})


def left() -> list[str]:
    """Directories of files that are there."""
    return [path.name for path in places.root().glob("*") if path.is_dir()] if places.root().exists() else []


def end(trial: Trial) -> Trial:
    runs.look_after()
    trial.refresh_from_db()
    return trial


# --- What comes of it ----------------------------------------------------------------------------------------------


def test_good_files_are_in_order_nothing_is_applied_and_they_are_gone(district: District, person: User) -> None:
    trial = ask(district, person, oneroster())
    assert left() == [trial.place]
    end(trial)
    assert (trial.state, trial.outcome, trial.format, trial.errors) == ("done", "ok", ONEROSTER.name, 0)
    assert trial.rows_read == sum(one["rows"] for one in trial.counts) > 100
    assert left() == []
    assert not Epoch.objects.exists()


def test_the_report_is_that_of_an_upload(district: District, person: User, db: None) -> None:
    for number, files in enumerate((BAD, {"students.zip.csv": b"x", **students()}, oneroster(), DAMAGED)):
        trial = end(ask(district, person, files))
        epoch = queue(district, f"2026112{number}-020000", files)
        for step in checking_steps():
            step(epoch)
        rows = Finding.objects.filter(epoch=epoch).values_list("file", "line", "column", "code", "message", "hint")
        mine = [tuple(one[name] for name in FIELDS) for one in trial.findings]
        assert sorted(mine, key=str) == sorted(rows, key=str)
        counts = {file.name: (file.rows, file.errors) for file in epoch.files.exclude(table="")}
        assert {one["name"]: (one["rows"], one["errors"]) for one in trial.counts} == counts
        assert (trial.errors, trial.warnings) == (epoch.errors, epoch.warnings)
        assert trial.format == epoch.format or files is DAMAGED
    assert [one["code"] for one in trial.findings] == ["zip-damaged"]


FIELDS = ("file", "line", "column", "code", "message", "hint")


def checking_steps():
    def doer(step):
        return lambda epoch: (step.record(epoch, step.do(epoch)), epoch.save())

    return [doer(step) for step in pipeline.STEPS if step.name in ("claim", "copy", "check")]


def test_a_zip_is_taken_as_well(district: District, person: User) -> None:
    trial = end(ask(district, person, {"roster.zip": zipped(oneroster())}))
    assert (trial.outcome, trial.format, len(trial.counts)) == ("ok", ONEROSTER.name, len(oneroster()))


REFUSED = {
    "in a folder": (zipped({"data/users.csv": b"a"}), "`data/users.csv` lies in a folder."),
    "in a folder, with what macOS leaves": (
        zipped({"__MACOSX/._users.csv": b"", "data/users.csv": b"a"}), "`data/users.csv` lies in a folder.",
    ),
    "another file that is called a zip": (b"a,b\r\n1,2\r\n", "This is not a whole zip file."),
    "damaged": (DAMAGED["roster.zip"], "The zip cannot be read to its end."),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_of_a_zip_that_may_not_be_read_the_reason_is_told(district: District, person: User, case: str) -> None:
    content, reason = REFUSED[case]
    trial = end(ask(district, person, {"roster.zip": content}))
    assert trial.outcome == "errors"
    assert trial.message.startswith(reason)
    assert trial.message.endswith(" Nothing in the zip was looked at.")


def test_what_nobody_knows_says_what_it_resembles(district: District, person: User) -> None:
    trial = end(ask(district, person, {"student.csv": students()["students.csv"]}))
    assert (trial.state, trial.outcome, left()) == ("done", "unrecognised", [])
    assert "did you mean `students.csv`?" in json.dumps(trial.near_misses)
    assert (trial.findings, trial.errors) == ([], 0)


def test_values_are_not_in_the_row_the_audit_log_or_the_log(
    district: District, person: User, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    surname = "Zyxwvutsrq"
    files = {"students.csv": with_cell(BAD["students.csv"], 7, "Last Name", surname)}
    trial = end(ask(district, person, files))
    row = json.dumps(list(Trial.objects.values()), default=str) + json.dumps(
        list(AuditEntry.objects.values()), default=str
    )
    assert trial.errors
    for secret in (surname, "31/31/1999"):
        assert secret not in row
        assert secret not in caplog.text


# --- Limits --------------------------------------------------------------------------------------------------------


def test_one_at_a_time_and_so_many_an_hour(district: District, person: User, settings: LazySettings, clock) -> None:
    settings.TRIALS_PER_HOUR = 2
    first = ask(district, person, students())
    with pytest.raises(Refused, match="being checked just now"):
        ask(district, person, students())
    end(first)
    end(ask(district, person, students()))
    with pytest.raises(Refused, match="2 times in the last hour"):
        ask(district, person, students())
    assert left() == []
    for trial in Trial.objects.all():  # to remove the results makes no room for more
        trial_forget(trial, actor=person)
    with pytest.raises(Refused, match="2 times in the last hour"):
        ask(district, person, students())
    clock.move(minutes=61)
    assert end(ask(district, person, students())).outcome == "ok"


@pytest.mark.parametrize(
    ("setting", "value", "files", "says"),
    [
        ("TRIAL_MOST_FILES", 3, {f"{number}.csv": b"x" for number in range(4)}, "more than 3 files"),
        ("TRIAL_MOST_MEGABYTES", 1, {"students.csv": b"x" * (1 << 21)}, "more than 1.0"),
    ],
)
def test_over_a_limit_nothing_is_kept_and_the_page_says_why(
    browser: Client, district: District, settings: LazySettings, setting: str, value: int, files: dict, says: str
) -> None:
    setattr(settings, setting, value)
    answer = send(browser, district, files)
    assert (answer.status_code, says in answer.content.decode()) == (422, True)
    assert (left(), Trial.objects.count()) == ([], 0)


def test_the_size_is_watched_even_if_the_browser_lied_about_it(district: District, settings: LazySettings) -> None:
    settings.TRIAL_MOST_MEGABYTES = 1
    with places.incoming() as place:
        receiver = Receiver(None, place.path)
        receiver.new_file("files", "a.csv", "text/csv", None)
        receiver.receive_data_chunk(b"x" * (1 << 20), 0)
        with pytest.raises(StopUpload):
            receiver.receive_data_chunk(b"x", 1 << 20)
    assert "more than" in receiver.refused
    assert left() == []


def test_two_files_of_one_name_are_refused(browser: Client, district: District) -> None:
    sent = [SimpleUploadedFile("a.csv", b"1"), SimpleUploadedFile("a.csv", b"2")]
    answer = browser.post(reverse("trials", args=[district.slug]), {"files": sent})
    assert (answer.status_code, "Two of the files are named a.csv" in answer.content.decode(), left()) == (
        422,
        True,
        [],
    )


def test_without_files_nothing_is_asked_for(browser: Client, district: District) -> None:
    answer = browser.post(reverse("trials", args=[district.slug]))
    assert (answer.status_code, "Choose the files" in answer.content.decode(), left()) == (422, True, [])
    assert send(browser, district, students(), field="other").status_code == 422
    assert left() == []


def test_when_too_many_send_at_once_the_others_are_asked_to_wait(browser: Client, district: District) -> None:
    held = 0
    while UPLOADS.acquire(blocking=False):
        held += 1
    try:
        answer = send(browser, district, students())
    finally:
        for _ in range(held):
            UPLOADS.release()
    assert (answer.status_code, "Try again in a minute" in answer.content.decode(), left()) == (422, True, [])
    assert send(browser, district, students()).status_code == 302


def test_no_file_is_taken_when_the_disk_is_nearly_full(browser: Client, district: District, monkeypatch) -> None:
    monkeypatch.setattr(places, "free_bytes", lambda: 1 << 29)
    answer = send(browser, district, students())
    assert (answer.status_code, "no room" in answer.content.decode(), left()) == (422, True, [])


# --- The pages -----------------------------------------------------------------------------------------------------


def test_a_form_leads_to_a_page_that_tells_all(browser: Client, district: District) -> None:
    answer = send(browser, district, {**BAD, "notes.txt": b"hello"})
    assert answer.status_code == 302
    page = browser.get(answer.url)
    assert "hx-get" in page.content.decode()
    runs.look_after()
    html = browser.get(answer.url).content.decode()
    assert "hx-get" not in html
    for says in ("These files have errors", "the files have been deleted", "line 7", "Date of Birth", "notes.txt"):
        assert says in html
    assert "31/31" not in html
    listed = browser.get(reverse("trials", args=[district.slug])).content.decode()
    assert answer.url in listed


def test_nothing_is_ever_in_the_systems_directory_for_temporary_files(
    browser: Client, district: District, tmp_path: Path, monkeypatch
) -> None:
    place = tmp_path / "system"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    made: list[str] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *more, **told: (made.append(str(path)), real(path, *more, **told))[1])
    answer = send(browser, district, {"students.csv": b"x" * (6 << 20)})
    assert answer.status_code == 302
    assert list(place.iterdir()) == []
    assert not [path for path in made if path.startswith(str(place))]
    (name,) = left()
    assert (places.place(name) / "00000").stat().st_size == 6 << 20
    assert (places.place(name).stat().st_mode & 0o777, places.root().stat().st_mode & 0o777) == (0o700, 0o700)


def test_a_name_with_a_path_or_odd_characters_becomes_a_harmless_one(browser: Client, district: District) -> None:
    send(browser, district, {"../../etc/passwd": b"a", "evil\x1b[31m.csv": b"b"})
    names = {file["name"] for file in Trial.objects.get().files}
    assert "passwd" in names
    assert all(name.isprintable() and "/" not in name for name in names)
    assert sorted(path.name for path in places.place(left()[0]).iterdir()) == ["00000", "00001", "lock"]


def test_a_viewer_reads_results_and_has_no_form(browser: Client, district: District, person: User) -> None:
    trial = end(ask(district, person, students()))
    viewer = Client()
    viewer.force_login(MembershipFactory(district=district, role="district viewer").user)
    html = viewer.get(reverse("trials", args=[district.slug])).content.decode()
    assert 'type="file"' not in html
    assert viewer.get(reverse("trial", args=[district.slug, trial.pk])).status_code == 200
    assert "Remove this result" not in viewer.get(reverse("trial", args=[district.slug, trial.pk])).content.decode()


def test_a_result_can_be_removed_before_its_time_but_not_while_it_is_made(
    browser: Client, district: District, person: User
) -> None:
    trial = ask(district, person, students())
    with pytest.raises(Refused):
        trial_forget(trial, actor=person)
    end(trial)
    assert browser.post(reverse("trial_forget", args=[district.slug, trial.pk])).status_code == 302
    assert not Trial.objects.exists()


# --- Nobody's files stay -------------------------------------------------------------------------------------------


def test_results_go_away_by_age(district: District, person: User, clock) -> None:
    end(ask(district, person, students()))
    clock.move(hours=23)
    runs.look_after()
    assert Trial.objects.exists()
    clock.move(hours=2)
    runs.look_after()
    assert not Trial.objects.exists()


def test_files_that_nobody_came_to_check_go_away_by_age(district: District, person: User, clock) -> None:
    trial = ask(district, person, students())
    clock.move(hours=25)
    assert end(trial).state == "stopped"
    assert left() == []


def test_a_worker_that_dies_is_followed_by_another_and_after_two_the_files_go(
    district: District, person: User, clock, monkeypatch
) -> None:
    class Crash(BaseException):
        """The worker is gone at this moment."""

    def crash(*words: object) -> None:
        raise Crash

    trial = ask(district, person, students())
    real = runs.examined_apart
    monkeypatch.setattr(runs, "lease_kept", lambda rows, token: nullcontext())  # a dead worker gives nothing back
    monkeypatch.setattr(runs, "examined_apart", crash)
    with pytest.raises(Crash):
        runs.run_waiting()
    trial.refresh_from_db()
    assert (trial.state, left()) == ("checking", [trial.place])
    assert end(trial).state == "checking"  # its lease still runs
    clock.move(seconds=django_settings.LEASE_SECONDS + 1)
    with pytest.raises(Crash):
        runs.run_waiting()
    clock.move(seconds=django_settings.LEASE_SECONDS + 1)
    monkeypatch.setattr(runs, "examined_apart", real)
    assert end(trial).state == "stopped"
    assert left() == []


def test_one_death_costs_only_time(district: District, person: User, clock) -> None:
    trial = ask(district, person, students())
    Trial.objects.update(
        state="checking", tries=1, lease_token="dead", lease_until=timezone.now() + timedelta(seconds=9)
    )
    assert end(trial).state == "checking"
    clock.move(seconds=10)
    assert (end(trial).outcome, left()) == ("ok", [])


FILLER = """
import os, sys, time, django
os.environ["DATA_DIR"] = sys.argv[1]
os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
django.setup()
from ingest.trials import places
with places.incoming() as place:
    (place.path / "00000").write_bytes(b"x" * 100_000)
    print(place.name, flush=True)
    time.sleep(60)
"""


def test_files_whose_receiver_was_killed_are_swept_and_those_of_the_living_are_not(db: None) -> None:
    command = [sys.executable, "-c", FILLER, str(django_settings.DATA_DIR)]
    process_of = subprocess.Popen(command, cwd=django_settings.BASE_DIR, stdout=subprocess.PIPE, text=True)
    try:
        assert process_of.stdout is not None
        name = process_of.stdout.readline().strip()
        runs.sweep()
        assert left() == [name]
        process_of.send_signal(signal.SIGKILL)
        process_of.wait(10)
        runs.sweep()
        assert left() == []
    finally:
        process_of.kill()
        process_of.communicate()


def test_a_file_that_is_an_epoch_by_itself_is_taken_for_one_of_what_the_district_sends(
    district: District, person: User
) -> None:
    files = oneroster(users=5)
    alone = {"orgs_auto.csv": files["orgs.csv"]}
    assert end(ask(district, person, alone)).outcome == "unrecognised"
    night(district, NIGHT, files)
    trial = end(ask(district, person, alone))
    assert (trial.outcome, trial.format) == ("ok", ONEROSTER.name)


# --- The process apart ---------------------------------------------------------------------------------------------


def order(place: Path, files: Mapping[str, bytes], **told: object) -> Order:
    place.mkdir()
    for number, content in enumerate(files.values()):
        (place / f"{number:05}").write_bytes(content)
    names = {name: f"{number:05}" for number, name in enumerate(files)}
    return Order(folder=place, files=names, **{**QUIET, **told})


def test_the_process_tells_how_far_it_is_and_leaves_nothing(tmp_path: Path) -> None:
    seen: list[int] = []
    wanted = order(tmp_path / "a", {"students.csv": students(rows=60_000)["students.csv"]})
    report = examined_apart(wanted, seen.append)
    assert (report["outcome"], report["format"]) == ("ok", STUDENTS.name)
    assert seen == sorted(seen)
    assert seen
    assert os.listdir(wanted.folder) == ["00000"]


def test_a_process_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(Died):
        examined_apart(order(tmp_path / "a", students(), seconds=0.01), lambda rows: None)


def test_a_process_that_is_killed_is_told_and_the_files_go(district: District, person: User, monkeypatch) -> None:
    real = process.subprocess.Popen

    def killed(*words: object, **told: object) -> object:
        child = real(*words, **told)
        child.send_signal(signal.SIGKILL)
        return child

    monkeypatch.setattr(process.subprocess, "Popen", killed)
    trial = end(ask(district, person, students()))
    assert (trial.state, left()) == ("stopped", [])
    assert "came to no end" in trial.message


STARTER = """
import sys, threading
from pathlib import Path
from ingest.trials.process import Order, examined_apart
order = Order(Path(sys.argv[1]), {"students.csv": "00000"}, 100, 100, False, "comma", 60)
examined_apart(order, lambda rows: print(rows, flush=True))
"""


def test_the_process_dies_with_whoever_started_it_and_goes_behind_everything_else(tmp_path: Path) -> None:
    big = students(rows=3_000)["students.csv"].splitlines(keepends=True)
    wanted = order(tmp_path / "a", {"students.csv": b"".join([big[0], *big[1:] * 400])})
    command = [sys.executable, "-c", STARTER, str(wanted.folder)]
    starter = subprocess.Popen(command, cwd=django_settings.BASE_DIR, stdout=subprocess.PIPE, text=True)
    try:
        assert starter.stdout is not None
        starter.stdout.readline()
        (child,) = Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()
        status = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()
        assert int(status[16]) >= process.POLITE
        assert Path(f"/proc/{child}/environ").read_bytes() == b""
        starter.send_signal(signal.SIGKILL)
        starter.wait(10)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and _lives(child):
            time.sleep(0.05)
        assert not _lives(child)
    finally:
        starter.kill()
        starter.communicate()


def _lives(number: str) -> bool:
    try:
        return Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_no_more_than_the_setting_says_are_checked_at_once(district: District, person: User) -> None:
    trial = ask(district, person, students())
    with places.turn(1) as mine, places.turn(1) as others:
        assert (mine, others) == (True, False)
        runs.run_waiting()
        trial.refresh_from_db()
        assert trial.state == "waiting"
    assert end(trial).outcome == "ok"


# --- File settings -------------------------------------------------------------------------------------------------


def test_file_settings_are_set_once_and_told_in_the_audit_log(district: District, person: User) -> None:
    for wanted in (True, True, False):
        file_settings_set(district, windows_1252=wanted, delimiter="comma", actor=person)
    told = list(
        AuditEntry.objects.filter(action="file settings changed").order_by("number").values_list("details", flat=True)
    )
    assert told == [{"windows_1252": True}, {"windows_1252": False}]
    assert not FileSettings.objects.get().windows_1252


def test_a_district_that_may_send_windows_1252_has_it_checked_so(district: District, person: User) -> None:
    content = students()["students.csv"].replace(b"Keane", "Núñez".encode()).decode().encode("cp1252")
    trial = end(ask(district, person, {"students.csv": content}))
    assert (trial.outcome, {one["code"] for one in trial.findings}) == ("errors", {"encoding"})
    assert "file settings" in trial.findings[0]["hint"]
    file_settings_set(district, windows_1252=True, delimiter="comma", actor=person)
    trial = end(ask(district, person, {"students.csv": content}))
    assert (trial.outcome, [one["code"] for one in trial.findings]) == ("ok", ["windows-1252"])
