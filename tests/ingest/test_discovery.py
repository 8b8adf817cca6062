"""When an epoch may be taken."""

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.core.discovery import Kind, Listed, Look, State, auto_name, epoch_time, is_epoch_name, ripeness, stalled

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


# --- Files that are epochs by themselves


@pytest.mark.parametrize(("name", "own"), [("users_auto.csv", "users.csv"), ("user_roles_auto.csv", "user_roles.csv")])
def test_a_file_with_the_suffix_stands_for_another_name(name, own):
    assert auto_name(name) == own


@pytest.mark.parametrize(
    "name", ["users.csv", "_auto.csv", "users_AUTO.csv", "users_auto.csv.part", "users_auto.txt", ".x_auto.csv", ""]
)
def test_other_files_are_no_epochs_by_themselves(name):
    assert auto_name(name) is None


ALONE = {
    "at rest": ((DATA,), QUIET, False, State.RIPE),
    "just arrived": ((DATA,), QUIET / 2, False, State.UNSETTLED),
    "open": ((DATA,), QUIET, True, State.BEING_WRITTEN),
    "with a second name on the disk": ((Listed("a_auto.csv", Kind.FILE, 5, links=2),), QUIET, False, State.HOSTILE),
}


@pytest.mark.parametrize(("entries", "still", "writing", "state"), ALONE.values(), ids=ALONE)
def test_a_file_that_is_an_epoch_by_itself_needs_rest_and_no_complete(entries, still, writing, state):
    assert ripeness(Look.of(entries), still, writing, QUIET, alone=True).state is state


# --- Uploads that stop


@pytest.mark.parametrize("writing", [False, True])
def test_an_upload_to_which_nothing_comes_for_long_has_stopped(writing):
    entries = (DATA, COMPLETE) if writing else (DATA,)
    seen, patience = told(*entries, writing=writing), timedelta(hours=6)
    assert stalled(seen, patience - timedelta(seconds=1), patience) == seen
    after = stalled(seen, patience, patience)
    assert after.state is State.STALLED
    assert "6 hours" in after.message
    assert "the upload goes on" not in after.message


def test_what_waits_for_nothing_more_has_not_stopped():
    assert stalled(told(DATA, COMPLETE), timedelta(days=9), timedelta(hours=6)).ripe
