"""Comparing whole batches at once comes to just what comparing row by row does."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.core.batches import read_batches
from ingest.core.bulk import compare_file
from ingest.core.diff import What, compare
from ingest.core.facts import RowGatherer, watched
from ingest.core.gathering import BatchSpread
from ingest.core.holding import Picker
from ingest.core.matching import Does, Matcher
from ingest.core.onrecord import KEPT, OnRecord, Part, packed, pages
from ingest.core.records import Row, read_records
from ingest.core.rowhash import text_hash
from ingest.core.schema import Mode, Table
from ingest.core.spool import Spool
from ingest.core.verdict import Limits, Source
from tests.ingest.epochs import ONEROSTER

USERS = ONEROSTER.table("orgs")
NAMES = [one.name for one in USERS.fields]
# Few keys and few values, so that rows meet each other and what is on record; many rows in small blocks.
ROWS = st.lists(
    st.tuples(st.sampled_from("abcdefghij"), st.sampled_from(["active", "tobedeleted"]), st.sampled_from("xy")),
    max_size=40,
)
ON_RECORD = st.dictionaries(st.sampled_from("abcdefghijkl"), st.tuples(st.sampled_from("xy"), st.booleans()))


def source(rows: Sequence[tuple[str, str, str]], table: Table = USERS) -> Source:
    lines = [",".join(NAMES)]
    for key, status, name in rows:
        told = {"sourcedId": key, "status": status, "name": name, "type": "school"}
        lines.append(",".join(told.get(column, "") for column in NAMES))
    content = "\n".join([*lines, ""]).encode()
    return Source(table.file, lambda: io.BytesIO(content))


def digests(values: Mapping[str, tuple[str, bool]]) -> dict[str, bytes]:
    rows = [(key, "active", name) for key, (name, _) in values.items()]
    return {row.key: row.digest for row in read_records(USERS, source(rows), Limits())}


def on_record(values: Mapping[str, tuple[str, bool]]) -> OnRecord:
    known = OnRecord()
    rows = [(at, values[key][1], digest, key) for at, (key, digest) in enumerate(digests(values).items(), 1)]
    for one in (rows[:3], rows[3:]):
        if one:
            packed(one).add_to(known)
    return known.close()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(on_hand=ON_RECORD, rows=ROWS, mode=st.sampled_from([Mode.FULL, Mode.CHANGES]), block=st.sampled_from([64, 4096]))
def test_batches_give_the_changes_that_rows_give(
    on_hand: dict[str, tuple[str, bool]], rows: list[tuple[str, str, str]], mode: Mode, block: int
) -> None:
    active = {key: digest for key, digest in digests(on_hand).items() if not on_hand[key][1]}
    limits = Limits(block_bytes=block)
    batches = list(read_batches(USERS, source(rows), limits))
    in_order: list[Row] = [row for batch in batches for row in batch.rows(range(len(batch)))]
    slow = compare(active, in_order, mode)
    wanted = {(one.what, one.key): None if one.what is What.REMOVED else one.row for one in slow}

    names = dict(enumerate(digests(on_hand), 1))
    known = on_record(on_hand)
    matcher = Matcher(known, mode)
    found = [(batch, matcher.see(batch, None)) for batch in batches]
    outcome = matcher.finish()
    written = [
        (row, Does(does), int(number))
        for batch, one in found
        for row, does, number in zip(batch.rows(one.places), one.does, one.ids, strict=True)
    ]
    changes = [one for one in written if one[1] is not Does.GONE]
    kept = [one for at, one in enumerate(changes) if at not in outcome.repeated]
    does = {Does.ADDED: What.ADDED, Does.RETURNED: What.ADDED, Does.CHANGED: What.CHANGED}
    got = {(does[one], row.key): row for row, one, _ in kept}
    gone = [names[number] for _, one, number in written if one is Does.GONE]
    gone += [names[number] for number in known.ids[outcome.missing].tolist()]

    assert got | dict.fromkeys([(What.REMOVED, key) for key in gone]) == wanted
    assert len(kept) + len(gone) == len(wanted)
    assert outcome.counts == slow.counts
    assert outcome.records == len({row.key for row in in_order})
    assert all(names[number] == row.key for row, one, number in kept if one is not Does.ADDED)
    assert all(on_hand[row.key][1] for row, one, _ in kept if one is Does.RETURNED)


@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 64, 65, 1000])
@pytest.mark.parametrize("step", [1, 3, 500])
def test_a_sample_of_batches_is_that_of_a_stream(number: int, step: int) -> None:
    batches, stream = BatchSpread[int](8), BatchSpread[int](8)
    for first in range(0, number, step):
        things = range(first, min(first + step, number))
        batches.keep(things[at] for at in batches.wants(len(things)))
    for thing in range(number):
        stream.keep([thing] if len(stream.wants(1)) else [])
    assert batches.kept == stream.kept
    assert len(batches.kept) <= 8


def test_a_file_that_is_compared_leaves_its_changes_and_what_the_guard_asks_for(tmp_path: Path) -> None:
    on_hand = {key: ("x", key == "c") for key in "abcde"}
    rows = [("a", "active", "x"), ("b", "active", "y"), ("c", "active", "x"), ("d", "tobedeleted", "x")]
    rows += [("n", "active", "x"), ("n", "active", "x")]
    place = tmp_path / "changes.arrow"
    done = compare_file(USERS, source(rows), Mode.FULL, on_record(on_hand), None, place)
    counts = done.counts
    assert (counts.added, counts.changed, counts.removed, counts.unchanged, done.records) == (2, 1, 2, 1, 5)
    spool = Spool(place)
    keys = [
        (does, key)
        for does in (Does.ADDED, Does.CHANGED, Does.RETURNED)
        for some in spool.changes(does)
        for key in some.table["key"].to_pylist()
    ]
    assert keys == [(Does.ADDED, "n"), (Does.CHANGED, "b"), (Does.RETURNED, "c")]
    assert sorted(spool.gone.ids.tolist()) == [4, 5]

    gatherer, picker = RowGatherer(USERS), Picker()
    active = {key: digest for key, digest in digests(on_hand).items() if key != "c"}
    read = watched(read_records(USERS, source(rows), Limits()), gatherer)
    for _ in picker.passing(compare(active, read, Mode.FULL)):
        pass
    assert done.seen == gatherer.seen
    assert [(pick.what, pick.row.key if pick.row else None) for pick in done.picked] == [
        (change.what, change.row.key if change.row else None) for change in picker.picked
    ]


def test_two_keys_of_one_first_word_are_told_apart() -> None:
    known = OnRecord()
    packed([(1, False, bytes(16), "a"), (2, False, bytes(16), "b")]).add_to(known)
    known.close()
    known.first[:] = text_hash("a")[0]
    known.second.sort()
    batch = next(read_batches(USERS, source([("a", "active", "x")]), Limits()))
    at = known.find(batch.hashes)
    assert int(known.second[at[0]]) == text_hash("a")[1]


def test_a_record_that_no_missing_row_takes_away_stays() -> None:
    known = on_record({"a": ("x", False), "b": ("x", False)})
    known.marks |= KEPT
    outcome = Matcher(known, Mode.FULL).finish()
    assert not len(outcome.missing)
    assert outcome.counts.removed == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 9)), max_size=20))
def test_of_records_that_are_paged_again_the_later_page_counts(rows: list[tuple[int, int, int]]) -> None:
    wanted = {(first, second): (told, number) for number, (first, second, told) in enumerate(rows)}
    known = OnRecord()
    parts = []
    for number, (first, second, told) in enumerate(rows):
        one, two, says = (np.array([word], np.uint64) for word in (first, second, told))
        parts.append(Part(one, two, says, np.array([number]), np.array([0], np.uint8)))
    for _, page in pages(parts[:3]):
        known.add_page(page)
    for _, page in pages(parts[3:]):
        known.add_page(page)
    known.close()
    columns = (known.first, known.second, known.told, known.ids)
    found = {(a, b): (c, d) for a, b, c, d in zip(*(column.tolist() for column in columns), strict=True)}
    assert found == wanted
    assert len(known) == len(wanted)
