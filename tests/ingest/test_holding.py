"""What staff may do with a held night, and what becomes of those behind it."""

from dataclasses import replace

import pytest

from ingest.core.diff import Change, What
from ingest.core.facts import state_of
from ingest.core.holding import (
    Act,
    Approval,
    Cell,
    Fate,
    Lane,
    Picker,
    Queued,
    allowed,
    approval_of,
    behind,
    sample_row,
    settle,
    void,
)
from ingest.core.records import Row
from tests.ingest.epochs import STUDENTS, with_cell
from tests.ingest.nights import after, students

STUDENTS_TABLE = STUDENTS.table("students")
TABLE, OPEN = (
    replace(STUDENTS_TABLE, fields=tuple(replace(one, personal=personal) for one in STUDENTS_TABLE.fields))
    for personal in (True, False)
)
FIRST, SECOND, THIRD = (Queued(f"2026101{day}-020000", f"content {day}", state="now") for day in (1, 2, 3))
LANE = Lane((FIRST, SECOND, THIRD), "now")
YES = Approval("content 1", "now", "Sam Hale", "The district confirmed it by telephone.")


def fates(lane: Lane, act: Act, approval: Approval | None = None) -> list[Fate]:
    return [one.fate for one in settle(lane, act, approval)]


def test_an_approved_night_is_applied_and_the_next_is_compared_with_it():
    found = settle(LANE, Act.APPROVE, YES)
    assert [one.fate for one in found] == [Fate.APPLY, Fate.JUDGE, Fate.WAIT]
    assert [one.name for one in found] == [FIRST.name, SECOND.name, THIRD.name]
    assert found[0].message == "Applied once, approved by Sam Hale: The district confirmed it by telephone."
    assert FIRST.name in found[1].message
    assert SECOND.name in found[2].message


@pytest.mark.parametrize(
    ("approval", "says"),
    [
        (replace(YES, content="other"), "not those that were approved"),
        (replace(YES, state="then"), "Other data was applied since"),
    ],
)
def test_an_approval_of_anything_else_applies_nothing(approval, says):
    found = settle(LANE, Act.APPROVE, approval)
    assert [one.fate for one in found] == [Fate.JUDGE, Fate.WAIT, Fate.WAIT]
    assert says in found[0].message


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_an_approval_needs_a_reason(reason):
    with pytest.raises(ValueError, match="reason"):
        replace(YES, reason=reason)


def test_an_approval_is_needed_to_approve():
    with pytest.raises(ValueError, match="approval"):
        settle(LANE, Act.APPROVE)


def test_an_approval_is_bound_to_a_night_and_to_what_it_was_compared_with():
    district = after(STUDENTS, [students(20)])
    night, state = district.night(students(20, night=2)), state_of(district.last)
    approval = approval_of(night, district.last, "Sam Hale", "Asked.")
    assert void(approval, night.content, state) == ""
    changed = {"students.csv": with_cell(students(20, night=2)["students.csv"], 4, "City", "Elsewhere")}
    assert void(approval, district.night(changed).content, state)
    district.apply(students(20, night=1))
    assert void(approval, night.content, state_of(district.last))


def test_an_approval_is_used_up_by_the_night_it_lets_pass():
    district = after(STUDENTS, [students(20)])
    files = students(20, night=2)
    approval = approval_of(district.night(files), district.last, "Sam Hale", "Asked.")
    district.apply(files)
    assert void(approval, district.night(files).content, state_of(district.last))


def test_a_discarded_night_changes_nothing_and_the_next_has_its_turn():
    found = settle(LANE, Act.DISCARD)
    assert [one.fate for one in found] == [Fate.DISCARD, Fate.JUDGE, Fate.WAIT]
    assert "that judgement counts" in found[1].message


def test_a_night_judged_against_an_older_state_is_compared_again():
    lane = replace(LANE, queue=(FIRST, replace(SECOND, state="then"), THIRD))
    assert "as they are now" in settle(lane, Act.DISCARD)[1].message


def test_what_is_lost_with_a_night_of_changes_is_said():
    lane = replace(LANE, queue=(replace(FIRST, is_partial=True), SECOND))
    assert "lost until a full set is sent" in settle(lane, Act.DISCARD)[0].message


def test_only_the_newest_of_full_nights_may_be_kept():
    assert fates(LANE, Act.SKIP) == [Fate.DISCARD, Fate.DISCARD, Fate.JUDGE]
    for partial in range(3):
        queue = [replace(one, is_partial=at == partial) for at, one in enumerate(LANE.queue)]
        assert Act.SKIP not in allowed(replace(LANE, queue=tuple(queue)))


def test_while_the_district_is_asked_everything_stays():
    assert fates(LANE, Act.ASK) == [Fate.HOLD, Fate.WAIT, Fate.WAIT]


def test_a_stopped_district_is_released_before_anything_else():
    lane = replace(LANE, stopped="The last night was undone.")
    assert allowed(lane) == (Act.RELEASE,)
    assert fates(lane, Act.RELEASE) == [Fate.JUDGE, Fate.WAIT, Fate.WAIT]
    assert "undone" in behind(lane, FIRST.name)
    with pytest.raises(ValueError, match="cannot be done"):
        settle(lane, Act.APPROVE, YES)


def test_every_night_of_every_act_has_a_sentence_and_a_fate():
    for lane in (LANE, replace(LANE, stopped="Undone."), replace(LANE, queue=(FIRST,))):
        for act in allowed(lane):
            found = settle(lane, act, YES)
            assert [one.name for one in found] == [one.name for one in lane.queue]
            assert all(one.message.endswith(".") for one in found)


def test_nothing_can_be_done_where_nothing_waits():
    assert allowed(Lane((), "now")) == ()
    assert allowed(Lane((FIRST,), "now")) == (Act.APPROVE, Act.DISCARD, Act.ASK)


def test_a_night_behind_another_says_for_whom_it_waits():
    assert behind(LANE, FIRST.name) == ""
    assert FIRST.name in behind(LANE, THIRD.name)


def row(key: str, **values: str) -> Row:
    blank = dict.fromkeys([one.name for one in TABLE.kept_fields], "")
    return Row(key, {**blank, **{name.replace("_", " "): value for name, value in values.items()}}, b"", False, 7)


def test_a_sample_is_bounded_and_spread_over_all_changes_of_a_kind():
    changes = [Change(What.ADDED, f"a{number}", row("a")) for number in range(1000)]
    changes += [Change(What.REMOVED, "r", None)]
    picker = Picker(each=8)
    assert list(picker.passing(changes)) == changes
    kept = [one.key for one in picker.picked]
    assert 4 <= len(kept) - 1 <= 8
    assert int(kept[-2][1:]) > 700
    assert kept[-1] == "r"


def test_a_changed_row_shows_which_columns_differ_and_only_their_shape():
    before = row("S1", City="Ashford", Grade="09").values
    found = sample_row(TABLE, Change(What.CHANGED, "S1", row("S1", City="Dunmore", Grade="09")), before)
    assert (found.what, found.line) == (What.CHANGED, 7)
    assert found.cells == (Cell("City", "Xxxxxxx", "Xxxxxxx"),)


def test_what_is_not_personal_is_shown_as_it_is():
    found = sample_row(OPEN, Change(What.CHANGED, "S1", row("S1", City="Dunmore")), {"City": "Ashford"})
    assert (found.key, found.cells) == ("S1", (Cell("City", "Ashford", "Dunmore"),))


def test_an_added_row_shows_what_it_brings_and_a_removed_one_what_goes():
    added = sample_row(TABLE, Change(What.ADDED, "S1", row("S1", City="Dunmore")), None)
    assert added.cells == (Cell("City", "", "Xxxxxxx"),)
    removed = sample_row(TABLE, Change(What.REMOVED, "S1", None), {"City": "Dunmore"})
    assert removed.cells == (Cell("City", "Xxxxxxx", ""),)
    assert (removed.key, removed.line) == ("X9", None)
