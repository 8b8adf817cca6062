"""The guard: what passes, what is held, and what people are told."""

import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from ingest.core.causes import Cause
from ingest.core.diff import Counts, What
from ingest.core.facts import Applied, Earlier, Night, TableFacts, absent, applied
from ingest.core.guard import Blackout, Calendar, GuardLimits, State, Weight, judge
from ingest.core.limits import Limit, Raise, Standing
from ingest.core.sampling import epoch
from ingest.core.schema import Mode
from tests.ingest.epochs import ONEROSTER, STUDENTS, Files, oneroster, with_cell
from tests.ingest.nights import FIRST, District, after, students

ROOT = Path(__file__).parents[2]
DAY = date(2026, 10, 14)
NOW = datetime(2026, 10, 14, 2, 0)
CALENDAR = Calendar(DAY)
USUAL = GuardLimits()


def table(added=0, changed=0, removed=0, base=1000, **other) -> TableFacts:
    """One file of a night, by its numbers."""
    unchanged = base - changed - removed
    told = {"rows": unchanged + changed + added, "size": 100_000, "content": "tonight", **other}
    return TableFacts("people", "people.csv", base=base, counts=Counts(added, changed, removed, unchanged), **told)


def night(*tables: TableFacts, **other) -> Night:
    return Night(**{"name": "20261014-020000", "format": "f", "arrived": NOW, "tables": tables, **other})


def last(*tables: TableFacts, **other) -> Applied:
    """A night applied the day before; without tables, one of a thousand records."""
    tables = tables or (table(content="last"),)
    then = Night("20261013-020000", "f", NOW - timedelta(days=1), tables)
    return Applied(then, **{"content": then.content, "since": then.arrived, **other})


def judged(*tables: TableFacts, before=None, limits=USUAL, calendar=CALENDAR, **other):
    return judge(night(*tables, **other), before or last(), limits, calendar)


def codes(judgement) -> list[str]:
    return [one.code for one in judgement.reasons]


def test_a_usual_night_passes_without_a_word():
    found = judged(table(added=3, changed=9, removed=4))
    assert (found.state, found.reasons, found.cause) == (State.PASS, (), None)


AT_THE_LIMIT = [
    pytest.param(What.ADDED, {"added": 500}, {"added": 501}, id="added"),
    pytest.param(What.CHANGED, {"changed": 500}, {"changed": 501}, id="changed"),
    pytest.param(What.REMOVED, {"removed": 100}, {"removed": 101}, id="removed"),
]


@pytest.mark.parametrize(("what", "at", "over"), AT_THE_LIMIT)
def test_what_is_at_the_limit_passes_and_one_more_is_held(what, at, over):
    assert judged(table(**at)).state is State.PASS
    found = judged(table(**over))
    assert (found.state, codes(found)) == (State.HELD, [f"too-many-{what}"])
    assert found.reasons[0].measured == found.reasons[0].limit + 1
    assert (found.reasons[0].table, found.reasons[0].kind) == ("people", what)


@pytest.mark.parametrize("what", list(What))
def test_each_kind_has_a_limit_of_its_own_that_can_be_off(what):
    off = GuardLimits(standing=(Standing(what, Limit(Decimal(-1))),))
    everything = table(added=1000, changed=0, removed=900)
    turned_over = table(changed=1000)
    found = {*codes(judged(everything, limits=off)), *codes(judged(turned_over, limits=off))}
    assert found == {"too-many-added", "too-many-changed", "too-many-removed"} - {f"too-many-{what}"}


def test_ten_rows_do_not_trip_on_two_removals():
    small = last(table(base=10, size=900))
    assert judged(table(removed=2, base=10, size=720), before=small).state is State.PASS
    assert judged(table(removed=6, base=10, size=360), before=small).state is State.HELD


def test_a_limit_is_told_with_its_numbers():
    found = judged(table(removed=812, size=90_000))
    assert found.reasons[0].message == (
        "812 of 1,000 records (81.2 %) of `people.csv` would be removed; 10 % or 100 may be."
    )
    assert found.message == f"Held, nothing was applied. {found.reasons[0].message}"


def test_a_raise_is_told_with_its_end():
    limits = GuardLimits(raises=(Raise(What.REMOVED, Limit(Decimal(20)), DAY, DAY + timedelta(days=3)),))
    assert judged(table(removed=200), limits=limits).state is State.PASS
    assert "raised until 17 October 2026" in judged(table(removed=201), limits=limits).message
    after_it = Calendar(DAY + timedelta(days=4))
    assert judged(table(removed=200), limits=limits, calendar=after_it).state is State.HELD


NO_LIMITS = GuardLimits(
    standing=tuple(Standing(what, Limit(Decimal(-1))) for what in What),
    shrink=Limit(Decimal(-1)),
    faulty=Limit(Decimal(-1)),
    age_days=-1,
    quiet_days=-1,
    school_year=False,
)


def test_no_rows_where_there_were_rows_are_held_whatever_the_limits():
    found = judged(table(removed=1000, rows=0), limits=NO_LIMITS)
    assert (found.state, codes(found)) == (State.HELD, ["no-rows-left"])


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", "header", "header and blank lines"])
def test_an_empty_file_never_empties_a_roster(content):
    district = after(ONEROSTER, [oneroster(50)])
    header = oneroster(50)["demographics.csv"].split(b"\r\n")[0]
    content = {"header": header + b"\r\n", "header and blank lines": header + b"\r\n\r\n\r\n"}.get(content, content)
    found = judge(district.night({**oneroster(50), "demographics.csv": content}), district.last, NO_LIMITS, CALENDAR)
    assert (found.state, codes(found)) == (State.HELD, ["no-rows-left"])


def test_a_file_of_changes_without_rows_is_no_empty_roster():
    assert judged(table(rows=0, partial=True)).state is State.NO_CHANGE


def test_a_file_of_the_usual_set_that_is_missing_is_held():
    files = oneroster(50)
    district = after(ONEROSTER, [files])
    less = {name: content for name, content in files.items() if name != "demographics.csv"}
    found = judge(district.night(less), district.last, NO_LIMITS, CALENDAR)
    assert "file-gone" in codes(found)
    assert found.state in (State.HELD, State.FAILED)


def test_a_file_that_may_miss_is_not_missed():
    other = replace(table(), table="marks", file="marks.csv")
    gone = replace(absent_of(other), base=1000)
    assert codes(judged(table(changed=1), gone, before=last(table(), other))) == ["file-gone"]
    limits = GuardLimits(may_miss=frozenset({"marks"}))
    assert judged(table(changed=1), gone, before=last(table(), other), limits=limits).state is State.PASS


def absent_of(one: TableFacts) -> TableFacts:
    return TableFacts(one.table, one.file, present=False, base=one.base, counts=Counts(unchanged=one.base))


def test_a_set_of_changes_need_not_be_whole():
    district = after(ONEROSTER, [oneroster(100)])
    files = epoch(ONEROSTER, 100, night=3, mode=Mode.CHANGES)
    del files["demographics.csv"]
    files["manifest.csv"] = files["manifest.csv"].replace(b"file.demographics,delta", b"file.demographics,absent")
    assert judge(district.night(files), district.last, USUAL, CALENDAR).state is State.PASS


def test_a_manifest_alone_changes_nothing():
    district = after(ONEROSTER, [oneroster(20)])
    manifest = oneroster(20)["manifest.csv"].replace(b",bulk", b",absent")
    found = judge(district.night({"manifest.csv": manifest}), district.last, USUAL, CALENDAR)
    assert (found.state, found.reasons) == (State.NO_CHANGE, ())


@pytest.mark.parametrize(("size", "state"), [(50_000, State.PASS), (49_999, State.HELD)])
def test_a_file_under_half_its_last_size_is_held(size, state):
    found = judged(table(changed=1, size=size))
    assert found.state is state
    if state is State.HELD:
        assert "49 % of its last size (49,999 bytes, not 100,000)" in found.message


def test_few_bytes_less_are_no_matter_whatever_the_share():
    assert judged(table(changed=1, size=100), before=last(table(size=1100))).state is State.PASS
    assert judged(table(changed=1, size=99), before=last(table(size=1100))).state is State.HELD


@pytest.mark.parametrize(("faulty", "held"), [(10, False), (11, True)])
def test_rows_with_errors_over_their_share_are_held(faulty, held):
    found = judged(table(changed=1, faulty=faulty))
    assert codes(found) == (["faulty-rows"] if held else [])


def test_a_night_with_errors_fails_and_its_counts_of_what_could_not_be_read_are_not_told():
    found = judged(table(removed=1000, rows=0, sound=False), failed=True)
    assert (found.state, found.reasons) == (State.FAILED, ())
    assert codes(judged(table(removed=900), failed=True)) == ["too-many-removed"]


def test_the_same_content_is_no_change_and_no_hold():
    district = after(STUDENTS, [students(50)])
    found = judge(district.night(students(50)), district.last, USUAL, CALENDAR)
    assert (found.state, found.reasons, found.cause) == (State.NO_CHANGE, (), None)


@pytest.mark.parametrize(("days", "told"), [(6, []), (7, ["nothing-new"])])
def test_days_without_any_change_are_a_warning(days, told):
    district = after(STUDENTS, [students(50)])
    found = judge(district.night(students(50), FIRST + timedelta(days=days)), district.last, USUAL, CALENDAR)
    assert (found.state, codes(found)) == (State.NO_CHANGE, told)
    if told:
        assert found.reasons[0].weight is Weight.WARNING
        assert found.cause.cause is Cause.STALE


def test_an_older_night_that_comes_again_is_told_even_if_it_passes():
    district = after(STUDENTS, [students(200, night=night) for night in range(3)])
    found = judge(district.night(students(200, night=1)), district.last, USUAL, CALENDAR)
    assert (found.state, codes(found), found.cause.cause) == (State.PASS, ["stale-content"], Cause.STALE)


def test_an_older_night_under_which_much_would_change_is_held_with_its_cause():
    district = after(STUDENTS, [students(30), students(90), students(91)])
    found = judge(district.night(students(30)), district.last, USUAL, CALENDAR)
    assert (found.state, found.cause.cause) == (State.HELD, Cause.STALE)


SCHOOL_YEARS = [
    (date(2026, 10, 14), 2027, True),
    (date(2026, 10, 14), 2026, False),
    (date(2026, 10, 14), 2028, False),
    (date(2027, 3, 1), 2027, True),
    (date(2027, 6, 20), 2027, True),
    (date(2027, 6, 20), 2028, True),
    (date(2027, 6, 20), 2026, False),
    (date(2027, 8, 1), 2027, True),
    (date(2027, 8, 1), 2028, True),
    (date(2027, 9, 16), 2027, False),
]


@pytest.mark.parametrize(("day", "year", "right"), SCHOOL_YEARS)
def test_the_school_year_is_compared_with_the_calendar(day, year, right):
    found = judged(table(changed=1, years=(year,)), calendar=Calendar(day))
    assert codes(found) == ([] if right else ["wrong-year"])
    off = GuardLimits(school_year=False)
    assert judged(table(changed=1, years=(year,)), calendar=Calendar(day), limits=off).state is State.PASS


def test_one_right_school_year_among_others_is_enough():
    assert judged(table(changed=1, years=(2025, 2026, 2027))).state is State.PASS


@pytest.mark.parametrize(("days", "told"), [(7, []), (8, ["old-epoch"]), (-2, ["future-epoch"]), (-1, [])])
def test_the_age_of_an_epoch_is_that_of_its_name(days, told):
    assert codes(judged(table(changed=1), named=NOW - timedelta(days=days))) == told


def test_the_first_night_passes_and_tells():
    found = judge(District(STUDENTS).night(students(30)), None, USUAL, CALENDAR)
    assert (found.state, codes(found)) == (State.PASS, ["first"])
    assert "30 rows in 1 file" in found.reasons[0].message


def test_what_would_hold_another_night_only_warns_on_the_first():
    found = judge(night(table(added=5, base=0, years=(1999,))), None, USUAL, CALENDAR)
    assert found.state is State.PASS
    assert {one.code: one.weight for one in found.reasons} == {"wrong-year": Weight.WARNING, "first": Weight.NOTE}


def test_records_without_facts_are_no_first_night():
    found = judge(night(table(removed=900)), None, USUAL, CALENDAR)
    assert (found.state, codes(found)) == (State.HELD, ["too-many-removed"])


def test_a_file_sent_for_the_first_time_passes_and_tells():
    new = replace(table(added=900, base=0), table="marks", file="marks.csv")
    for before in (last(), last(table(), replace(absent_of(new), base=0))):
        found = judged(table(), new, before=before)
        assert (found.state, codes(found)) == (State.PASS, ["file-new"])


def test_another_format_than_before_is_held():
    found = judged(table(added=9, base=0), format="g")
    assert found.state is State.HELD
    assert "format-changed" in codes(found)


def test_nothing_is_applied_on_days_of_blackout():
    out = Calendar(DAY, blackouts=(Blackout(date(2026, 10, 1), DAY), Blackout(DAY, date(2026, 10, 20), "rollover")))
    found = judged(table(removed=900), calendar=out)
    assert (found.state, codes(found)) == (State.BLACKOUT, ["too-many-removed"])
    assert "20 October 2026. Reason: rollover. The records" in found.message
    past = replace(out, today=date(2026, 10, 21))
    assert judged(table(changed=1), calendar=past).state is State.PASS


def test_a_column_that_is_empty_now_is_told():
    district = after(STUDENTS, [students(40)])
    lines = students(40)["students.csv"].split(b"\r\n")
    files = {"students.csv": b"\r\n".join([lines[0].replace(b"Grade", b"Level"), *lines[1:]])}
    found = judge(district.night(files), district.last, USUAL, CALENDAR)
    assert (found.state, codes(found)) == (State.HELD, ["too-many-changed", "column-gone"])
    assert "`Grade`" in found.reasons[1].message


def test_an_approved_night_is_what_the_next_one_is_compared_with():
    district = after(STUDENTS, [students(100)])
    small: Files = {"students.csv": b"\r\n".join([*students(100)["students.csv"].split(b"\r\n")[:21], b""])}
    held = district.night(small)
    assert judge(held, district.last, USUAL, CALENDAR).state is State.HELD
    district.apply(small)
    following = {"students.csv": with_cell(small["students.csv"], 3, "City", "Elsewhere")}
    assert judge(district.night(following), district.last, USUAL, CALENDAR).state is State.PASS


def test_a_night_that_was_approved_does_not_make_its_gaps_usual():
    files = oneroster(30)
    less = {name: content for name, content in files.items() if name != "demographics.csv"}
    district = after(ONEROSTER, [files])
    held = district.night(less)
    again = judge(district.night(less), applied(held, district.last), USUAL, CALENDAR)
    assert "file-gone" not in codes(again)
    back = judge(district.night(files), applied(held, district.last), USUAL, CALENDAR)
    assert back.state is State.NO_CHANGE


def test_reasons_that_hold_stand_first():
    before = last(earlier=(Earlier("old", night(table(removed=900)).content),))
    found = judged(table(removed=900), before=before)
    assert [one.weight for one in found.reasons] == [Weight.HOLD, Weight.WARNING]
    assert len(found.holds) == 1


def test_a_table_that_was_not_sent_is_none_that_changed():
    assert not absent(STUDENTS.table("students"), 7).counts.removed


def test_every_reason_and_every_cause_is_documented():
    told = (ROOT / "docs" / "guard.md").read_text()
    source = (ROOT / "ingest" / "core" / "guard.py").read_text()
    reasons = {code for code in re.findall(r'(?:_hold|Reason)\(\s*f?"([a-z-]+)', source) if code != "too-many-"}
    assert len(reasons) > 10
    every = [*reasons, *(f"too-many-{what}" for what in What), *Cause, *State]
    assert [code for code in every if f"`{code}`" not in told] == []


def test_a_night_that_came_after_a_later_one_was_applied_is_superseded():
    found = judge(night(table(changed=1)), last(), USUAL, CALENDAR, "20261015-020000")
    assert found.state is State.SUPERSEDED
    assert "20261015-020000" in found.message
    assert judge(night(table(), failed=True), last(), USUAL, CALENDAR, "20261015-020000").state is State.FAILED
    partial = judge(night(table(partial=True)), last(), USUAL, CALENDAR, "20261015-020000")
    assert "are lost" in partial.message
