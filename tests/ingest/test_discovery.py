"""When an epoch may be taken."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.core.discovery import Kind, Listed, Look, State, epoch_time, is_epoch_name, ripeness

QUIET = timedelta(seconds=60)
COMPLETE = Listed("COMPLETE", Kind.FILE, 0)
DATA = Listed("students.csv", Kind.FILE, 100)


def told(*entries, still=QUIET, writing=False):
    return ripeness(Look.of(entries), still, writing, QUIET)


def test_a_name_gives_its_time():
    assert epoch_time("20261122-020000") == datetime(2026, 11, 22, 2)


@pytest.mark.parametrize("name", ["20261322-020000", "20260230-020000", "20261122-250000", "00000000-000000"])
def test_a_name_that_is_no_real_time_still_has_the_shape(name):
    assert is_epoch_name(name)
    assert epoch_time(name) is None


@pytest.mark.parametrize(
    "name",
    ["20261122-02000", "20261122_020000", "20261122-020000\n", " 20261122-020000", "x", "", "２０２６1122-020000"],
)
def test_other_names_are_no_epochs(name):
    assert not is_epoch_name(name)
    assert epoch_time(name) is None


CASES = {
    "all there": ((DATA, COMPLETE), State.RIPE),
    "only COMPLETE": ((COMPLETE,), State.RIPE),
    "empty": ((), State.UPLOADING),
    "no COMPLETE": ((DATA,), State.UPLOADING),
    "complete in small letters": ((DATA, Listed("complete", Kind.FILE, 0)), State.COMPLETE_MISNAMED),
    "COMPLETE.txt": ((DATA, Listed("COMPLETE.txt", Kind.FILE, 0)), State.COMPLETE_MISNAMED),
    "COMPLETE with a blank": ((DATA, Listed("COMPLETE ", Kind.FILE, 0)), State.COMPLETE_MISNAMED),
    "COMPLETE with content": ((DATA, Listed("COMPLETE", Kind.FILE, 3)), State.COMPLETE_MISNAMED),
    "COMPLETE on its way": ((DATA, Listed("COMPLETE.filepart", Kind.FILE, 0)), State.UPLOADING),
    "temporary name": ((COMPLETE, Listed("a.csv.filepart", Kind.FILE, 5)), State.TEMPORARY_NAMES),
    "another temporary name": ((COMPLETE, Listed("a.csv.PART", Kind.FILE, 5)), State.TEMPORARY_NAMES),
    "link": ((COMPLETE, Listed("a.csv", Kind.LINK, 5)), State.HOSTILE),
    "hard link": ((COMPLETE, Listed("a.csv", Kind.FILE, 5, links=2)), State.HOSTILE),
    "pipe or device": ((COMPLETE, Listed("a.csv", Kind.OTHER, 0)), State.HOSTILE),
    "directory": ((COMPLETE, Listed("more", Kind.DIRECTORY, 0)), State.HOSTILE),
    "COMPLETE is a directory": ((DATA, Listed("COMPLETE", Kind.DIRECTORY, 0)), State.HOSTILE),
    "line end in a name": ((COMPLETE, Listed("a\nb.csv", Kind.FILE, 0)), State.HOSTILE),
    "bytes that are no text in a name": ((COMPLETE, Listed("a\udce9.csv", Kind.FILE, 0)), State.HOSTILE),
}


@pytest.mark.parametrize("case", CASES)
def test_an_upload_is_judged_by_what_lies_there(case):
    entries, state = CASES[case]
    found = told(*entries)
    assert found.state is state
    assert found.ripe == (state is State.RIPE)
    assert found.message.isprintable()


def test_a_misnamed_complete_is_named():
    assert "`complete.txt`" in told(DATA, Listed("complete.txt", Kind.FILE, 0)).message


def test_an_open_file_waits():
    assert told(DATA, COMPLETE, writing=True).state is State.BEING_WRITTEN


def test_the_quiet_time_must_be_over_to_the_second():
    assert told(DATA, COMPLETE, still=QUIET - timedelta(milliseconds=1)).state is State.UNSETTLED
    assert told(DATA, COMPLETE, still=QUIET).state is State.RIPE


def test_a_look_changes_with_names_sizes_and_kinds_and_not_with_order():
    same = Look.of([DATA, COMPLETE])
    assert Look.of([COMPLETE, DATA]) == same
    for other in (Listed("students.csv", Kind.FILE, 101), Listed("Students.csv", Kind.FILE, 100)):
        assert Look.of([other, COMPLETE]).digest != same.digest
    assert Look.of([DATA]).digest != same.digest


@given(st.lists(st.builds(Listed, st.text(max_size=20), st.sampled_from(Kind), st.integers(0, 9)), max_size=5))
def test_nothing_but_plain_files_beside_an_empty_complete_is_ever_ripe(entries):
    if told(*entries).ripe:
        assert COMPLETE in entries
        assert all(one.kind is Kind.FILE for one in entries)
