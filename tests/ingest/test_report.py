"""The log that a district reads."""

from datetime import UTC, datetime

from ingest.core.diff import Counts
from ingest.core.findings import Finding, Severity, Tally
from ingest.core.report import EpochSummary, FileSummary, render_log, summary_of
from ingest.core.verdict import FileCounts
from tests.ingest.epochs import STUDENTS, checked, students, with_cell

NAME, TITLE = "20261122-020000", "Students"
WHEN = datetime(2026, 11, 22, 2, 5, tzinfo=UTC)


def test_a_good_night_says_so_in_its_first_line_and_in_columns():
    verdict = checked(STUDENTS, students(1200))
    changes = {"students.csv": Counts(added=1, changed=20, removed=3, unchanged=1179)}
    assert render_log(summary_of(verdict, NAME, TITLE, changes, WHEN, WHEN)) == (
        "SUCCEEDED: 1,200 rows in 1 file loaded.\n"
        "\n"
        "Epoch:     20261122-020000\n"
        "Format:    Students\n"
        "Started:   2026-11-22 02:05:00 UTC\n"
        "Finished:  2026-11-22 02:05:00 UTC\n"
        "\n"
        "file           rows  blank  errors  warnings  added  changed  removed  unchanged\n"
        "students.csv  1,200      0       0         0      1       20        3      1,179\n"
        "\n"
        "Nothing was found amiss.\n"
    )


def test_a_bad_night_says_what_where_and_how_to_mend_it():
    content = with_cell(students(5)["students.csv"], 3, "District Enrollment", "enroled")
    log = render_log(summary_of(checked(STUDENTS, {"students.csv": content}), NAME, TITLE, {}))
    assert log.startswith("FAILED: 1 error found, so nothing of this epoch was loaded.\n")
    assert "ERROR  students.csv, line 3, column District Enrollment  [enum]\n" in log
    assert "    It looks like: xxxxxxx\n" in log
    assert "    Did you mean `ENROLLED`?\n" in log
    assert "enroled" not in log
    assert "added" in log.splitlines()[5]
    assert log.splitlines()[6].split()[-1] == "-"


def test_what_is_counted_and_not_shown_is_said():
    kept = (Finding("a.csv", "enum", Severity.ERROR, "Wrong.", 2),)
    tallies = (Tally("a.csv", "enum", Severity.ERROR, 1001), Tally("a.csv", "noise-file", Severity.NOTE, 1))
    log = render_log(EpochSummary(NAME, TITLE, False, "Why.", findings=kept, tallies=tallies))
    assert "Found: 1,001 errors, 1 note." in log
    assert "    a.csv  [enum]  1,000 more\n" in log


def test_errors_come_before_warnings_and_notes():
    found = tuple(Finding("a.csv", level.value, level, "m") for level in reversed(Severity))
    tallies = tuple(Tally("a.csv", one.code, one.severity, 1) for one in found)
    log = render_log(EpochSummary(NAME, TITLE, False, "Why.", findings=found, tallies=tallies))
    assert log.index("ERROR") < log.index("WARNING") < log.index("NOTE")


def test_a_hostile_name_cannot_write_lines_of_its_own():
    name = "a\nSUCCEEDED: all is well\x1b[2J.csv"
    finding = Finding(name, "unknown-file", Severity.WARNING, "m", column="c\r\nd")
    tallies = (Tally("a.csv", "unknown-file", Severity.WARNING, 1),)
    log = render_log(EpochSummary(NAME, TITLE, False, "Why.", findings=(finding,), tallies=tallies))
    assert "WARNING  a\\nSUCCEEDED" in log
    verdict = checked(STUDENTS, {**students(2), name: b""})
    for text in (log, render_log(summary_of(verdict, NAME, TITLE, {}))):
        assert not any(line.startswith("SUCCEEDED: all") for line in text.splitlines())
        assert "\x1b" not in text


def test_the_same_summary_is_the_same_log():
    verdict = checked(STUDENTS, {"students.csv": with_cell(students(9)["students.csv"], 3, "Gender", "?")})
    one, two = (render_log(summary_of(verdict, NAME, TITLE, {}, WHEN, WHEN)) for _ in range(2))
    assert one == two


def test_a_file_of_which_nothing_was_loaded_has_dashes():
    summary = FileSummary(FileCounts("a.csv", 1, 0, 0, 0))
    log = render_log(EpochSummary(NAME, TITLE, True, "Why.", files=(summary,)))
    assert "a.csv     1      0       0         0      -        -        -          -\n" in log
