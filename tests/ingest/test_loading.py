"""What a night does to the records, what is kept of what was before, and that it can be taken back exactly."""

import shutil
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from django.apps import apps
from django.conf import settings
from django.db import connection, transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from accounts.models import District
from ingest import comparing, loading, undoing
from ingest.bulk import grouped
from ingest.core.diff import Counts, What
from ingest.core.sampling import epoch as invented
from ingest.core.schema import Mode
from ingest.models import Addition, Dataset, Epoch, Lane, Record, RecordChange, RecordPage
from ingest.selectors import record_history

from . import epochs
from .applying import active, apply, arrived, compare, load, records, unchecked
from .epochs import FORMATS, ONEROSTER, STUDENTS, with_cell
from .uploading import NEXT_NIGHT, NIGHT, night

BULK = FORMATS["samegoal-bulk-2"]
THIRD_NIGHT = "20261123-020000"


def students(rows: int = 8, without: Sequence[int] = (), **cells: str) -> dict[str, bytes]:
    """A night of students; rows are numbered from 1, and `last_name_3` is the last name of row 3."""
    content = epochs.students(rows=rows)["students.csv"]
    for name, value in cells.items():
        column, _, row = name.rpartition("_")
        content = with_cell(content, int(row) + 1, column.replace("_", " ").title(), value)
    lines = content.split(b"\r\n")
    return {"students.csv": b"\r\n".join(line for at, line in enumerate(lines) if at not in without)}


def counts(epoch: Epoch) -> tuple[int, int, int, int]:
    file = epoch.files.get()
    return file.added, file.changed, file.removed, file.unchanged


def test_a_smaller_load_takes_away_guardians_of_its_students_and_nobody_else(district: District) -> None:
    left = 3
    files = invented(BULK, 20)
    apply(district, NIGHT, files, BULK)
    before, guardians, users = (active(district, table) for table in ("students", "guardians", "users"))
    assert len(before) == 20

    few = {name: files[name] for name in ("students.csv", "guardians.csv")}
    few["students.csv"] = b"\r\n".join([*few["students.csv"].split(b"\r\n")[: left + 1], b""])
    few["guardians.csv"] = b"\r\n".join([*few["guardians.csv"].split(b"\r\n")[:2], b""])
    again = apply(district, NEXT_NIGHT, few, BULK)

    assert (active(district, "students"), active(district, "users")) == (before, users)
    sent = {key for key in guardians if key.split("|")[0] in sorted(before)[:left]}
    assert active(district, "guardians") == guardians - sent | {min(guardians)}
    assert again.files.get(table="guardians").removed == left - 1


def test_comparing_says_what_loading_does_and_writes_nothing(district: District) -> None:
    apply(district, NIGHT, students())
    before = records(district)
    epoch = arrived(district, NEXT_NIGHT, students(rows=9, without=[2], last_name_4="Quill"))
    told = compare(epoch)
    assert records(district) == before
    assert [(one.table, one.base, one.counts) for one in told] == [("students", 8, Counts(1, 1, 1, 7 - 1))]
    shown = {row.what: [cell.column for cell in row.cells] for row in told[0].picked}
    assert shown[What.CHANGED] == ["Last Name"]
    assert set(shown) == set(What)
    load(epoch)
    assert counts(epoch) == (1, 1, 1, 6)
    assert Dataset.objects.get().active == 8


def test_ids_that_an_earlier_hash_took_for_one_are_two_people(district: District) -> None:
    one, two = "ytdE3231123a567a", "ytdE323a123Q567Q"
    both = apply(district, NIGHT, students(student_id_1=one, student_id_2=two))
    assert counts(both) == (8, 0, 0, 0)
    later = apply(district, NEXT_NIGHT, students(student_id_1=two, without=[2]))
    assert counts(later) == (0, 1, 1, 6)
    assert two in active(district, "students")
    assert one not in active(district, "students")


def test_a_name_that_an_earlier_hash_took_for_another_is_a_change(district: District) -> None:
    apply(district, NIGHT, students(last_name_3="kOL-3Y5D12305670"))
    assert counts(apply(district, NEXT_NIGHT, students(last_name_3="kOL-3Y58123L567L"))) == (0, 1, 0, 7)


def test_what_an_earlier_hash_has_found_is_found_anew(district: District) -> None:
    apply(district, NIGHT, students())
    epoch = arrived(district, NEXT_NIGHT, students(last_name_3="New"))
    compare(epoch)
    Epoch.objects.filter(pk=epoch.pk).update(state="held", step="compare")
    import_module("ingest.migrations.0019_second_lane").compare_anew(apps, None)
    assert not RecordPage.objects.exists()
    epoch.refresh_from_db()
    assert (epoch.state, epoch.step) == ("behind", "check")
    compare(epoch)
    assert counts(load(epoch)) == (0, 1, 0, 7)


def test_a_first_load_writes_no_history(district: District) -> None:
    epoch = apply(district, NIGHT, students())
    assert not RecordChange.objects.exists()
    assert epoch.applied_version == 1
    assert Dataset.objects.get().active == Record.objects.count() == 8


def test_a_record_tells_which_night_did_what(district: District) -> None:
    first = apply(district, NIGHT, students())
    record = Record.objects.order_by("key")[3]
    name = record.data["Last Name"]
    second = apply(district, NEXT_NIGHT, students(last_name_4="Quill"))
    third = apply(district, THIRD_NIGHT, students(without=[4]))
    fourth = apply(district, "20261124-020000", students(last_name_4="Orr"))
    record.refresh_from_db()
    added, *later = record_history(record)
    assert (added.epoch, added.what) == (first, "added")
    assert ("Last Name", "", name) in added.columns
    assert [(one.epoch, one.what, one.columns) for one in later] == [
        (second, "changed", (("Last Name", name, "Quill"),)),
        (third, "removed", ()),
        (fourth, "returned", (("Last Name", "Quill", "Orr"),)),
    ]


def test_a_record_that_comes_back_is_the_one_that_was_there(district: District) -> None:
    apply(district, NIGHT, students())
    number = Record.objects.order_by("key")[1].pk
    apply(district, NEXT_NIGHT, students(without=[2]))
    assert counts(apply(district, THIRD_NIGHT, students())) == (1, 0, 0, 7)
    record = Record.objects.get(pk=number)
    assert not record.is_removed
    assert record.first_epoch.name == NIGHT


def test_the_same_files_are_neither_checked_nor_compared_nor_loaded_again(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = apply(district, NIGHT, students(rows=8))
    before, version = records(district), Lane.objects.get().version

    def refuse(*args: object) -> None:
        raise AssertionError("a file was read")

    for name in ("ingest.checking.staged_open", "ingest.checking.staged_source", "ingest.comparing.staged_source"):
        monkeypatch.setattr(name, refuse)
    epoch = apply(district, NEXT_NIGHT, students(rows=8))
    assert counts(epoch) == (0, 0, 0, 8)
    told = [(one.table, one.rows, one.blank, one.mode) for one in (first.files.get(), epoch.files.get())]
    assert told[0] == told[1]
    assert (records(district), Lane.objects.get().version) == (before, version)
    assert epoch.applied_version is None


def test_the_same_files_by_another_rule_are_checked_again(district: District) -> None:
    first = apply(district, NIGHT, students())
    Epoch.objects.filter(pk=first.pk).update(rules="of an older portal")
    epoch = arrived(district, NEXT_NIGHT, students())
    assert not compare(epoch)[0].is_same


def test_a_night_whose_records_moved_after_it_was_compared_is_not_loaded(district: District) -> None:
    apply(district, NIGHT, students())
    late = arrived(district, THIRD_NIGHT, students(without=[1]))
    compare(late)
    apply(district, NEXT_NIGHT, students(without=[2]))
    before = records(district)
    with pytest.raises(loading.Outdated):
        load(late)
    assert records(district) == before
    compare(late)
    load(late)
    assert counts(late) == (1, 0, 1, 6)


def test_a_night_that_is_overtaken_on_its_way_goes_back_and_is_compared_again(
    district: District, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int | None] = []

    def overtaken(epoch: Epoch) -> None:
        seen.append(epoch.compared_version)
        if len(seen) == 1:
            Lane.objects.filter(district=district).update(version=7)

    monkeypatch.setattr("ingest.loading.prepare", overtaken)
    epoch = night(district, NIGHT, students())
    assert (epoch.state, epoch.applied_version, seen) == ("loaded", 8, [0, 7])
    assert Record.objects.count() == 8


def _of_another_version(place: Path) -> None:
    with place.open("wb") as file:
        np.savez(file, numbers=np.zeros(9))


def test_a_night_whose_spool_is_lost_is_compared_again(district: District) -> None:
    epoch = arrived(district, NIGHT, students())
    compare(epoch)
    comparing.spool_of(epoch, epoch.files.get()).with_suffix(".end").unlink()
    with pytest.raises(loading.Outdated):
        load(epoch)


@pytest.mark.parametrize("damage", [lambda place: place.write_bytes(b"PK"), _of_another_version], ids=["cut", "older"])
def test_a_spool_that_cannot_be_read_is_made_anew(district: District, damage: Callable[[Path], object]) -> None:
    epoch = arrived(district, NIGHT, students())
    compare(epoch)
    damage(comparing.spool_of(epoch, epoch.files.get()).with_suffix(".end"))
    with pytest.raises(loading.Outdated):
        load(epoch)


def test_other_numbers_than_were_compared_load_nothing(district: District) -> None:
    epoch = arrived(district, NIGHT, students())
    compare(epoch)
    epoch.files.update(added=7)
    with pytest.raises(loading.Miscounted):
        load(epoch)
    assert not Record.objects.exists()


def org_rows(rows: Sequence[tuple[str, str, str]]) -> bytes:
    names = [one.name for one in ONEROSTER.table("orgs").fields]
    lines = [",".join(names)]
    for key, status, name in rows:
        told = {"sourcedId": key, "status": status, "name": name, "type": "school"}
        lines.append(",".join('"' + told.get(column, "").replace('"', '""') + '"' for column in names))
    return "\r\n".join([*lines, ""]).encode()


@pytest.mark.parametrize(
    "name", ['He said "no"', "back\\slash", "tab\tand\u0001", "line\nend", "é€\u2028😀", "\\N", "\\.", "{}"]
)
def test_every_text_is_loaded_changed_and_put_back_as_it_is(district: District, name: str) -> None:
    def named(at: str, key: str, value: str) -> Epoch:
        made = unchecked(district, at, {"orgs": (Mode.FULL, org_rows([(key, "active", value)]))}, ONEROSTER)
        compare(made)
        return load(made)

    named(NIGHT, name, name)
    record = Record.objects.get()
    assert (record.key, record.data["name"]) == (name, name)
    before = records(district)
    undone = named(NEXT_NIGHT, name, "other")
    assert RecordChange.objects.get().old == {"name": name}
    undoing.undo(undone)
    assert records(district) == before


def test_undo_takes_back_the_last_applied_night_only_and_once(district: District) -> None:
    first, second = apply(district, NIGHT, students()), apply(district, NEXT_NIGHT, students(without=[1]))
    third = apply(district, THIRD_NIGHT, students(without=[1]))
    with pytest.raises(undoing.Refused, match=NEXT_NIGHT):
        undoing.undo(first)
    with pytest.raises(undoing.Refused, match="changed no record"):
        undoing.undo(third)
    assert undoing.undo(second) == {"students": Counts(1, 0, 0, 7)}
    assert second.undone
    with pytest.raises(undoing.Refused, match="already"):
        undoing.undo(second)
    undoing.undo(first)
    assert not Record.objects.exists()
    assert not Addition.objects.exists()
    assert Dataset.objects.get().active == 0


def test_an_undone_night_is_not_the_same_as_what_is_on_record(district: District) -> None:
    apply(district, NIGHT, students())
    undoing.undo(apply(district, NEXT_NIGHT, students(without=[1])))
    again = arrived(district, THIRD_NIGHT, students(without=[1]))
    told = compare(again)
    assert (told[0].is_same, told[0].counts) == (False, Counts(0, 0, 1, 7))
    load(again)
    assert counts(again) == (0, 0, 1, 7)


def test_an_undo_shows_what_it_would_do_before_it_is_done(district: District) -> None:
    apply(district, NIGHT, students(without=[5]))
    before = records(district)
    epoch = apply(district, NEXT_NIGHT, students(without=[2], last_name_4="Quill"))
    now = records(district)
    (told,) = undoing.undo_compared(epoch)
    assert (told.counts, told.base) == (Counts(1, 1, 1, 5), 7)
    assert sorted(row.what for row in told.picked) == ["added", "changed", "removed"]
    assert records(district) == now
    undoing.undo(epoch)
    assert records(district) == before


# Capitals and accents count, blanks around a key do not.
KEYS = ("a", "b", "c", "d", "A", "é", "e\u0301", " a", "b ", "\u00a0c")
NIGHTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            table: st.tuples(
                st.sampled_from([Mode.FULL, Mode.CHANGES]),
                st.lists(
                    st.tuples(
                        st.sampled_from(KEYS), st.sampled_from(["active", "tobedeleted"]), st.sampled_from("xyz")
                    ),
                    max_size=8,
                ),
            )
            for table in ("orgs", "courses")
        },
    ),
    min_size=1,
    max_size=4,
)
Told = dict[str, dict[str, str]]
NAMED = {"orgs": "name", "courses": "title"}


def as_checked(rows: Sequence[tuple[str, ...]], keys: int) -> list[tuple[str, ...]]:
    """The rows of a file that has passed its check: what names one record twice says the same of it."""
    said: dict[tuple[str, ...], tuple[str, ...]] = {}
    return [(*row[:keys], *said.setdefault(tuple(one.strip() for one in row[:keys]), row[keys:])) for row in rows]


def file_of(table: str, rows: Sequence[tuple[str, str, str]]) -> bytes:
    fields = [one.name for one in ONEROSTER.table(table).fields]
    lines = [",".join(fields)]
    for key, status, name in rows:
        told = {"sourcedId": key, "status": status, NAMED[table]: name}
        lines.append(",".join(told.get(column, "") for column in fields))
    return "\n".join([*lines, ""]).encode()


def after(before: Told, night: dict[str, tuple[Mode, list[tuple[str, str, str]]]]) -> Told:
    """What a night makes of the records, told in the simplest way there is."""
    now = {table: dict(rows) for table, rows in before.items()}
    for table, (mode, rows) in night.items():
        was = now.get(table, {})
        sent: dict[str, tuple[str, str]] = {}
        for key, status, name in rows:
            sent.setdefault(key.strip(), (status, name))
        kept = {} if mode is Mode.FULL else {key: name for key, name in was.items() if key not in sent}
        now[table] = kept | {key: name for key, (status, name) in sent.items() if status == "active"}
    return now


def told_by_records(district: District) -> Told:
    rows = Record.objects.filter(dataset__district=district, is_removed=False).select_related("dataset")
    told: Told = {}
    for row in rows:
        told.setdefault(row.dataset.table, {})[row.key] = row.data[NAMED[row.dataset.table]]
    return told


@given(nights=NIGHTS)
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_nights_applied_one_after_the_other_give_the_last_and_undone_give_each_one_before(
    district: District, nights: list[dict[str, tuple[Mode, list[tuple[str, str, str]]]]]
) -> None:
    shutil.rmtree(settings.STAGING_DIR, ignore_errors=True)
    with transaction.atomic():
        model: Told = {}
        done = []
        for number, told in enumerate(nights):
            before = records(district)
            told = {table: (mode, as_checked(rows, 1)) for table, (mode, rows) in told.items()}
            files = {table: (mode, file_of(table, rows)) for table, (mode, rows) in told.items()}
            epoch = unchecked(district, f"20261101-00000{number}", files, ONEROSTER)
            compare(epoch)
            load(epoch)
            model = after(model, told)
            assert told_by_records(district) == {table: rows for table, rows in model.items() if rows}
            numbers = dict(Dataset.objects.filter(district=district).values_list("table", "active"))
            assert numbers == {table: len(model[table]) for table in numbers}
            done.append((epoch, before))
        for epoch, before in reversed(done):
            if epoch.applied_version is not None:
                undoing.undo(epoch)
            assert records(district) == before
        transaction.set_rollback(True)


NAMES = ("n", "N", "n ", "|", "\\", "\\|n")
OWNERS = ("S1", "S2", "S3", "s1", " S2")
BULK_NIGHTS = st.lists(
    st.fixed_dictionaries(
        {"students": st.lists(st.tuples(st.sampled_from(OWNERS), st.sampled_from("xyz")), max_size=5)},
        optional={
            "guardians": st.lists(
                st.tuples(
                    st.sampled_from(OWNERS),
                    st.sampled_from(["n", "N", "n ", "|", "\\", "\\|n"]),
                    st.sampled_from("xyz"),
                ),
                max_size=8,
            )
        },
    ),
    min_size=1,
    max_size=4,
)
Bulk = dict[str, list[tuple[str, ...]]]


def bulk_file(table: str, rows: Sequence[tuple[str, ...]]) -> bytes:
    columns = {"students": ["Student Id", "Last Name"], "guardians": ["Student Id", "Last Name", "Relationship"]}[table]
    fields = [one.name for one in BULK.table(table).fields]
    told = [dict(zip(columns, row, strict=True)) for row in rows]
    return "\n".join([",".join(fields), *(",".join(row.get(name, "") for name in fields) for row in told), ""]).encode()


def after_bulk(before: dict[str, dict[tuple[str, ...], str]], night: Bulk) -> dict[str, dict[tuple[str, ...], str]]:
    """Students stay for ever; guardians are those of the last night in which their student was sent."""
    sent: dict[str, dict[tuple[str, ...], str]] = {table: {} for table in ("students", "guardians")}
    for table, rows in night.items():
        for *key, value in rows:
            sent[table].setdefault(tuple(one.strip() for one in key), value)
    owners = {key[0] for key in sent["students"]}
    of_others = {key: value for key, value in before["guardians"].items() if key[0] not in owners}
    mine = {key: value for key, value in sent["guardians"].items() if key[0] in owners}
    guardians = of_others | mine if "guardians" in night else before["guardians"]
    return {"students": before["students"] | sent["students"], "guardians": guardians}


def told_of_bulk(district: District) -> dict[str, dict[tuple[str, ...], str]]:
    told: dict[str, dict[tuple[str, ...], str]] = {"students": {}, "guardians": {}}
    for row in Record.objects.filter(dataset__district=district, is_removed=False).select_related("dataset"):
        key = BULK.table(row.dataset.table).key[:2]
        value = row.data["Relationship" if len(key) > 1 else "Last Name"]
        told[row.dataset.table][tuple(row.data[name] for name in key)] = value
    return told


@given(nights=BULK_NIGHTS)
@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_rows_that_belong_to_others_come_and_go_with_them_and_undone_are_as_before(
    district: District, nights: list[Bulk]
) -> None:
    shutil.rmtree(settings.STAGING_DIR, ignore_errors=True)
    with transaction.atomic():
        model: dict[str, dict[tuple[str, ...], str]] = {"students": {}, "guardians": {}}
        done = []
        for number, told in enumerate(nights):
            before = records(district)
            told = {table: as_checked(rows, len(rows[0]) - 1) if rows else rows for table, rows in told.items()}
            files = {table: (Mode.FULL, bulk_file(table, rows)) for table, rows in told.items()}
            files["students"] = (Mode.CHANGES, files["students"][1])
            epoch = unchecked(district, f"20261101-00000{number}", files, BULK)
            compare(epoch)
            load(epoch)
            model = after_bulk(model, told)
            assert told_of_bulk(district) == model
            done.append((epoch, before))
        for epoch, before in reversed(done):
            if epoch.applied_version is not None:
                undoing.undo(epoch)
            assert records(district) == before
        transaction.set_rollback(True)


def test_pages_that_were_thrown_away_are_made_again_from_the_records(district: District) -> None:
    apply(district, NIGHT, students())
    apply(district, NEXT_NIGHT, students(without=[2]))
    RecordPage.objects.all().delete()
    assert counts(apply(district, THIRD_NIGHT, students(without=[3], last_name_4="Quill"))) == (1, 1, 1, 5)
    assert RecordPage.objects.count() == 2
    assert counts(apply(district, "20261124-020000", students(last_name_4="Quill"))) == (1, 0, 0, 7)


def test_pages_that_are_mostly_out_of_date_are_thrown_away(district: District, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.loading.ENOUGH", 0)
    apply(district, NIGHT, students(rows=2))
    for number in range(1, 8):
        name = f"2026113{number}-020000"
        assert counts(apply(district, name, students(rows=2, last_name_1=f"Quill{number}"))) == (0, 1, 0, 1)
        rows = sum(RecordPage.objects.values_list("rows", flat=True))
        assert rows <= 2 * 2 + 1


def test_numbers_are_grouped_without_any_of_them_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.bulk.AT_ONCE", 4)
    groups = list(grouped([(8, 9), (1, 6), (5, 5), (12, 12)]))
    assert groups == [[(1, 4)], [(5, 6), (8, 9)], [(12, 12)]]


def test_unchanged_rows_write_nothing(district: District) -> None:
    apply(district, NIGHT, students(rows=60))
    with_statements: list[str] = []

    def watch(execute: object, sql: str, params: object, many: bool, context: object) -> object:
        with_statements.append(sql)
        return execute(sql, params, many, context)  # type: ignore[operator]

    epoch = arrived(district, NEXT_NIGHT, students(rows=60, last_name_4="Quill"))
    compare(epoch)
    untouched = list(Record.objects.filter(last_epoch__name=NIGHT).values_list("pk", "data"))
    with connection.execute_wrapper(watch):
        load(epoch)
    assert len(untouched) - 1 == Record.objects.filter(last_epoch__name=NIGHT).count()
    assert not [sql for sql in with_statements if sql.startswith("INSERT INTO ingest_record ")]
    assert STUDENTS.name == epoch.format
