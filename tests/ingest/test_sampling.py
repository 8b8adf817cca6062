"""Invented epochs: always good, always the same, and each night a little different from the last."""

import pytest

from ingest.core.diff import compare
from ingest.core.records import read_records
from ingest.core.sampling import WORDS, epoch, zipped
from ingest.core.schema import Mode
from ingest.core.verdict import Limits
from tests.ingest.epochs import FORMATS, ONEROSTER, STUDENTS, checked, oneroster, sources, students

KNOWN = pytest.mark.parametrize("known", FORMATS.values(), ids=list(FORMATS))


@KNOWN
@pytest.mark.parametrize("size", [1, 10, 700])
@pytest.mark.parametrize("night", [0, 1, 25])
def test_every_night_of_every_format_at_any_size_passes_its_check(known, size, night):
    assert checked(known, epoch(known, size, 3, night)).findings == ()


@KNOWN
def test_one_seed_gives_one_content_and_another_seed_another(known):
    assert epoch(known, 50, 1) == epoch(known, 50, 1)
    assert epoch(known, 50, 1) != epoch(known, 50, 2)
    assert zipped(epoch(known, 50, 1)) == zipped(epoch(known, 50, 1))


def test_a_night_changes_a_few_rows_and_leaves_the_others():
    table = STUDENTS.table("students")
    one, two = (list(read_records(table, sources(students(2000, night=night))[0], Limits())) for night in (4, 5))
    changes = compare({row.key: row.digest for row in one}, two, Mode.FULL)
    list(changes)
    assert (changes.counts.added, changes.counts.removed) == (4, 4)
    assert 4 <= changes.counts.changed <= 40


def test_a_set_of_changes_is_small_and_passes():
    files = oneroster(2000, night=2, mode=Mode.CHANGES)
    assert checked(ONEROSTER, files).ok
    assert len(files["enrollments.csv"]) < len(oneroster(2000, night=2)["enrollments.csv"]) / 20
    assert b"tobedeleted" in files["enrollments.csv"]


@pytest.mark.parametrize("night", [-1, 26])
def test_a_night_too_far_is_refused(night):
    with pytest.raises(ValueError, match="nights"):
        students(5, night=night)


def test_no_word_of_a_descriptor_stands_in_a_file():
    files = {(name, file): text for name, known in FORMATS.items() for file, text in epoch(known, 30).items()}
    assert [place for place, text in files.items() if any(word.encode() in text for word in WORDS)] == []
