"""The list of all findings: complete up to its limit, harmless in a spreadsheet, and beside the log."""

import csv
import io
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from django.conf import LazySettings, settings
from django.test import Client
from django.urls import reverse

from accounts.models import District, User
from ingest import archive, listings
from ingest.core.check import Limits, check
from ingest.core.findings import Finding, Severity, Tally
from ingest.core.listing import COLUMNS, NOT_LISTED, Listing, rows_of, unpacked
from ingest.core.schema import Mode
from ingest.models import Epoch, FindingList
from ingest.trials import runs
from tests.factories import MembershipFactory

from .conftest import Clock
from .epochs import ONEROSTER, STUDENTS, oneroster, sources, students, with_cell
from .test_trials import ask
from .uploading import NEXT_NIGHT, NIGHT, home, night

MANY = 150


def listed(findings: list[Finding], most: int = 10, tallies: list[Tally] | None = None) -> list[list[str]]:
    out = io.BytesIO()
    listing = Listing(out, most)
    for one in findings:
        listing.add(one)
    listing.close(tallies or [Tally(one.file, one.code, one.severity, 1) for one in findings])
    return read(b"".join(unpacked([out.getvalue()])))


def read(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def padded(rows: int = MANY, night: int = 0) -> dict[str, bytes]:
    """A file with a blank before a value in every line: as many warnings as rows."""
    first, *lines = students(rows, night=night)["students.csv"].splitlines(keepends=True)
    return {"students.csv": b"".join([first, *(b" " + line for line in lines)])}


def wrong(rows: int = MANY) -> dict[str, bytes]:
    """A file with an impossible date in every line."""
    content = students(rows)["students.csv"]
    for line in range(2, rows + 2):
        content = with_cell(content, line, "Date of Birth", "31/31/1999")
    return {"students.csv": content}


# --- The list itself -----------------------------------------------------------------------------------------------


def test_each_finding_is_a_row_in_the_order_in_which_it_came() -> None:
    one = Finding("a.csv", "enum", Severity.ERROR, "Wrong, “quoted”.", 7, "role", "Mend it.", "Xx-9")
    two = Finding("b.csv", "noise-file", Severity.NOTE, "Passed over.")
    assert listed([one, two]) == [
        list(COLUMNS),
        ["error", "a.csv", "7", "role", "enum", "Wrong, “quoted”.", "Mend it.", "Xx-9"],
        ["note", "b.csv", "", "", "noise-file", "Passed over.", "", ""],
    ]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-2", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1"])
def test_a_cell_that_a_spreadsheet_would_run_is_made_harmless(cell: str) -> None:
    file, column = listed([Finding(cell, "enum", Severity.ERROR, "m", 1, cell)])[1][1:4:2]
    assert (file, column) == (f"'{cell}", f"'{cell}")


def test_a_flood_of_warnings_pushes_no_error_out_and_the_last_row_says_what_is_missing() -> None:
    flood = [Finding("a.csv", "outer-blanks", Severity.WARNING, "m", line) for line in range(25)]
    rows = listed([*flood, Finding("z.csv", "reference", Severity.ERROR, "m", 1)], most=10)
    assert [row[0] for row in rows[1:-1]] == ["warning"] * 10 + ["error"]
    assert rows[-1][4:6] == [NOT_LISTED, "Not listed: 0 more errors, 15 more warnings and notes."]


def test_what_was_only_counted_is_missing_too() -> None:
    rows = listed([], tallies=[Tally("a.csv", "marked-in-full", Severity.ERROR, 1234)])
    assert rows[-1][5] == "Not listed: 1,234 more errors, 0 more warnings and notes."


def test_the_same_findings_give_the_same_bytes_and_can_be_read_row_by_row() -> None:
    made = []
    for _ in range(2):
        out = io.BytesIO()
        listing = Listing(out, 1)
        listing.add(Finding("=a.csv", "enum", Severity.ERROR, "m", 1))
        assert listing.close([Tally("=a.csv", "enum", Severity.ERROR, 2)]) == 1
        made.append(out.getvalue())
    assert made[0] == made[1]
    again = io.BytesIO()
    copied = Listing(again, 1)
    for row in rows_of(io.BytesIO(made[0])):
        copied.add_row(row)
    copied.close([Tally("=a.csv", "enum", Severity.ERROR, 2)])
    assert again.getvalue() == made[0]


def test_a_long_list_is_never_in_memory_as_a_whole() -> None:
    out = io.BytesIO()
    listing, found = Listing(out, 50_000), Finding("a.csv", "enum", Severity.ERROR, "A sentence. " * 20, 1)
    tracemalloc.start()
    for _ in range(50_000):
        listing.add(found)
    listing.close([])
    size = sum(len(piece) for piece in unpacked([out.getvalue()]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size > 10_000_000
    assert peak < size / 5


@pytest.mark.parametrize("sieve_from", [1, 1 << 30], ids=["sieved", "row by row"])
def test_every_finding_of_a_check_is_told_by_either_reader(sieve_from: int) -> None:
    marked = oneroster(200)
    lines = marked["users.csv"].split(b"\r\n")
    for at in range(1, 151):
        first, _, _, rest = lines[at].split(b",", 3)
        lines[at] = b",".join([first, b"active", b"2026-08-15T00:00:00.000Z", rest])
    marked["users.csv"] = b"\r\n".join(lines)
    for known, files in ((STUDENTS, wrong()), (STUDENTS, padded()), (ONEROSTER, marked)):
        told: list[Finding] = []
        limits = Limits(per_code=3, sieve_from=sieve_from)
        verdict = check(known, sources(files), limits, lambda rows: None, told.append)
        assert len(told) == sum(one.count for one in verdict.tallies) >= MANY
        assert {*verdict.findings} <= {*told}
        assert len({(one.file, one.line, one.column, one.code) for one in told}) == len(told)
    assert verdict.modes["users"] is Mode.FULL


# --- Beside the log, and on the pages ------------------------------------------------------------------------------


def lying(epoch: Epoch, name: str = "findings.csv") -> bytes:
    return (home(epoch.district) / "upload-processed" / epoch.archive_name / name).read_bytes()


def shown(client: Client, address: str) -> bytes:
    answer = client.get(address)
    assert answer.status_code == 200
    return b"".join(answer.streaming_content)


@pytest.mark.parametrize(("files", "state"), [(wrong(), "failed"), (padded(), "loaded")], ids=["errors", "warnings"])
def test_the_database_keeps_some_findings_and_the_list_beside_the_log_all(
    district: District, files: dict[str, bytes], state: str
) -> None:
    epoch = night(district, NIGHT, files)
    rows = read(lying(epoch))
    assert (epoch.state, epoch.findings.count(), len(rows) - 1) == (state, 100, MANY)
    assert "Counted, but not shown one by one (findings.csv has more):" in epoch.log
    assert [int(row[2]) for row in rows[1:]] == list(range(2, MANY + 2))
    client = Client()
    client.force_login(district.memberships.get().user)
    assert shown(client, reverse("epoch_findings", args=[district.slug, epoch.pk])) == lying(epoch)
    page = client.get(reverse("epoch", args=[district.slug, epoch.pk])).content.decode()
    assert reverse("epoch_findings", args=[district.slug, epoch.pk]) in page
    assert f"{MANY} rows for a spreadsheet" in page


def test_beyond_the_limit_the_list_says_how_many_more_there_are(district: District, settings: LazySettings) -> None:
    settings.INGEST_FINDINGS_LISTED = 20
    epoch = night(district, NIGHT, wrong())
    rows = read(lying(epoch))
    assert len(rows) == 22
    assert rows[-1][5] == f"Not listed: {MANY - 20} more errors, 0 more warnings and notes."
    assert f"{MANY - 20} more were found and are not in it" in page_of(district, "epoch", epoch.pk)


def page_of(district: District, name: str, pk: int) -> str:
    client = Client()
    client.force_login(district.memberships.get().user)
    return " ".join(client.get(reverse(name, args=[district.slug, pk])).content.decode().split())


def test_a_list_that_has_all_says_nothing_of_more(district: District) -> None:
    assert "more were found" not in page_of(district, "epoch", night(district, NIGHT, wrong()).pk)


def test_no_value_of_a_student_is_in_the_list_and_no_formula(district: District) -> None:
    content = with_cell(students()["students.csv"], 3, "Date of Birth", "=Zanzibar")
    text = lying(night(district, NIGHT, {"students.csv": content, "=SUM(A1).csv": b"x"})).decode()
    assert "Zanzibar" not in text
    assert "'=Xxxxxxxx" in text
    assert "'=SUM(A1).csv" in text
    assert ",=" not in text


def test_the_same_files_again_have_the_same_list_but_for_the_name(district: District) -> None:
    first = night(district, NIGHT, padded())
    again = night(district, "20261322-020000", padded())
    assert (again.state, again.rules) == ("loaded", first.rules)
    rows = read(lying(again))
    assert rows[1][4] == "epoch-name"
    assert [rows[0], *rows[2:]] == read(lying(first))


def test_where_the_list_is_gone_the_same_files_are_checked_anew(district: District) -> None:
    night(district, NIGHT, padded())
    FindingList.objects.all().delete()
    assert len(read(lying(night(district, NEXT_NIGHT, padded())))) == MANY + 1


def test_a_night_without_findings_has_no_list(district: District) -> None:
    epoch = night(district, NIGHT, students())
    assert not FindingList.objects.exists()
    place = home(district) / "upload-processed" / epoch.archive_name
    assert not (place / "findings.csv").exists()
    client = Client()
    client.force_login(district.memberships.get().user)
    assert client.get(reverse("epoch_findings", args=[district.slug, epoch.pk])).status_code == 404


def test_the_list_goes_with_the_files_and_the_log_stays(district: District, clock: Clock) -> None:
    epoch = night(district, NIGHT, wrong())
    clock.move(days=settings.PROCESSED_DAYS + 1)
    assert archive.purge() == 1
    assert not FindingList.objects.exists()
    assert epoch.findings.count() == 100


def test_a_file_of_the_district_with_the_lists_name_stays(district: District) -> None:
    epoch = night(district, NIGHT, {**wrong(5), "findings.csv": b"ours"})
    assert lying(epoch) == b"ours"
    assert len(read(lying(epoch, "findings-2.csv"))) > 5


def test_a_check_that_breaks_off_leaves_no_list(tmp_path: Path) -> None:
    with suppress(OSError), listings.spooling(tmp_path) as (listing, path):
        listing.add(Finding("a.csv", "enum", Severity.ERROR, "m", 1))
        assert path.exists()
        raise OSError
    assert not path.exists()


def test_a_check_before_sending_has_the_list_of_an_upload(district: District) -> None:
    person = district.memberships.get().user
    trial = ask(district, person, wrong())
    runs.look_after()
    client = Client()
    client.force_login(person)
    mine = shown(client, reverse("trial_findings", args=[district.slug, trial.pk]))
    assert mine == lying(night(district, NIGHT, wrong()))
    page = client.get(reverse("trial", args=[district.slug, trial.pk])).content.decode()
    assert reverse("trial_findings", args=[district.slug, trial.pk]) in page


def test_a_check_before_sending_says_what_its_list_leaves_out(district: District, settings: LazySettings) -> None:
    settings.INGEST_FINDINGS_LISTED = 20
    trial = ask(district, district.memberships.get().user, wrong())
    runs.look_after()
    assert f"{MANY - 20} more were found and are not in it" in page_of(district, "trial", trial.pk)


def test_files_that_are_not_recognised_have_no_list_of_findings(district: District) -> None:
    person: User = MembershipFactory(district=district).user
    ask(district, person, {"strange.csv": b"a,b\r\n1,2\r\n"})
    runs.look_after()
    assert not FindingList.objects.exists()


def test_the_list_of_a_result_goes_with_it(district: District, clock: Clock) -> None:
    ask(district, district.memberships.get().user, wrong(3))
    runs.look_after()
    assert FindingList.objects.count() == 1
    clock.move(hours=settings.TRIAL_RESULT_HOURS + 1)
    runs.look_after()
    assert not FindingList.objects.exists()
