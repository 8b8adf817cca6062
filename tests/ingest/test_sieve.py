"""The sieve in front of the exact reader: whatever is sent, the verdict is the one of the slow way, to the letter."""

import io
from collections.abc import Mapping
from dataclasses import fields, replace
from random import Random

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.core import lexical
from ingest.core.batches import read_batches
from ingest.core.blocks import block_of
from ingest.core.check import Limits, Source, Verdict, check
from ingest.core.errors import RowsError
from ingest.core.hashes import Doubles
from ingest.core.predicates import Cells, judge_for
from ingest.core.records import read_records
from ingest.core.sampling import epoch
from ingest.core.schema import Field, Format, Mode
from ingest.core.values import explain
from tests.ingest.damaging import VALUES, Breaking, damaged, format_by
from tests.ingest.epochs import FORMATS, ONEROSTER, oneroster, sources

NEVER = 1 << 60
MANY = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
DICE = st.integers(0, 1 << 32).map(Random)


def verdicts(known: Format, given: list[Source], dice: Random) -> tuple[Verdict, Verdict]:
    """The slow one and the fast one."""
    slow = Limits(dice.choice([1, 3, 100]), dice.choice([200, 1 << 20]), sieve_from=NEVER)
    fast = replace(slow, sieve_from=1, block_bytes=dice.choice([1, 100, 1000, 1 << 20]))
    return check(known, given, slow, lambda rows: None), check(known, given, fast, lambda rows: None)


def opened(files: Mapping[str, bytes], dice: Random) -> list[Source]:
    """The files, now and then one that breaks off."""
    broken = {name: dice.randrange(len(content) + 1) for name, content in files.items() if dice.random() < 0.04}
    return [
        Source(name, lambda name=name, content=content: Breaking(content, broken.get(name, NEVER)))
        for name, content in files.items()
    ]


@pytest.fixture
def small_reads(monkeypatch: pytest.MonkeyPatch):
    return lambda dice: monkeypatch.setattr(lexical, "BLOCK", dice.choice([16, 50, 333, 1 << 18]))


@MANY
@given(dice=DICE)
def test_whatever_is_sent_the_verdict_is_that_of_the_slow_way(dice: Random, small_reads):
    known = dice.choice(list(FORMATS.values()))
    mode = Mode.CHANGES if known.manifest and dice.random() < 0.2 else Mode.FULL
    files = epoch(known, dice.choice([3, 20, 60]), 1, 1, mode)
    files = {name: damaged(dice, content) if dice.random() < 0.6 else content for name, content in files.items()}
    small_reads(dice)
    slow, fast = verdicts(known, opened(files, dice), dice)
    assert fast == slow


@MANY
@given(dice=DICE)
def test_so_it_is_for_formats_nobody_has_seen(dice: Random, small_reads):
    known = format_by(dice)
    files = {name: damaged(dice, damaged(dice, content)) for name, content in epoch(known, 30, 1).items()}
    small_reads(dice)
    slow, fast = verdicts(known, opened(files, dice), dice)
    assert fast == slow


@MANY
@given(dice=DICE)
def test_records_in_bulk_are_the_records_one_by_one(dice: Random, small_reads):
    known = dice.choice(list(FORMATS.values()))
    files = epoch(known, dice.choice([3, 60]), 1, 1)
    table = dice.choice([table for table in known.all_tables if table.file in files])
    content = damaged(dice, files[table.file]) if dice.random() < 0.7 else files[table.file]
    small_reads(dice)
    limits, source = Limits(block_bytes=dice.choice([1, 500, 1 << 20])), Source("x", lambda: io.BytesIO(content))
    try:
        expected = list(read_records(table, source, limits))
    except RowsError:
        with pytest.raises(RowsError):
            list(read_batches(table, source, limits))
        return
    found = [row for batch in read_batches(table, source, limits) for row in batch.rows(range(len(batch)))]
    assert sorted(found, key=lambda row: row.line) == expected


def test_equal_hashes_of_unlike_keys_make_no_finding_and_hide_none(monkeypatch: pytest.MonkeyPatch):
    files = oneroster(60)
    lines = files["users.csv"].split(b"\r\n")
    files["users.csv"] = b"\r\n".join([*lines[:20], lines[7], lines[8].replace(b"true", b"false"), *lines[20:]])
    slow = check(ONEROSTER, sources(files), Limits(sieve_from=NEVER), lambda rows: None)
    assert {one.code for one in slow.findings} >= {"key-repeated", "key-duplicate"}
    # As if all keys had one hash: every line is looked at again.
    monkeypatch.setattr(Doubles, "_of", lambda self, wanted: sorted(n for some in self._lines for n in some.tolist()))
    assert check(ONEROSTER, sources(files), Limits(sieve_from=1), lambda rows: None) == slow


def test_a_small_file_does_not_go_through_the_sieve_and_a_large_one_does(monkeypatch: pytest.MonkeyPatch):
    sifted = []
    monkeypatch.setattr("ingest.core.sieve.block_of", lambda data: sifted.append(len(data)) or block_of(data))
    files = oneroster(60)
    check(ONEROSTER, sources(files), Limits(), lambda rows: None)
    assert not sifted
    check(ONEROSTER, sources(files), Limits(sieve_from=len(files["users.csv"])), lambda rows: None)
    assert sifted


FIELDS = {
    f"{known.name}.{table.name}.{field.name}": field
    for known in FORMATS.values()
    for table in known.all_tables
    for field in table.fields
}

# What can be in a plain line: no control character, no blank but the space.
PLAIN = [value for value in VALUES if value.isprintable() or value[:1] in "\u200b\ufeff"]


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("required", [True, False])
def test_a_whole_column_is_judged_as_its_values_are(name: str, required: bool):
    field = FIELDS[name]
    for one in (field, replace(field, identifier=True), replace(field, max_length=5)):
        judge = judge_for(one, required)
        doubtful = set(judge.doubtful(Cells(pa.array(PLAIN))).tolist()) if judge else set()
        assert doubtful == {at for at, value in enumerate(PLAIN) if explain(one, required, value)}


def test_the_sieve_knows_all_there_is_to_know_of_a_column():
    """A new attribute of Field may mean a new rule: `predicates` has to be looked at before it is put here."""
    assert {one.name for one in fields(Field)} == {
        "name", "type", "required", "unique", "pattern", "enum", "max_length", "formats", "true_values",
        "false_values", "delimiter", "aliases", "identifier", "discard", "sample", "rules", "personal", "extension",
        "school_year",
    }  # fmt: skip


@pytest.mark.parametrize(
    "pair", [("kOL-3Y5D12305670", "kOL-3Y58123L567L"), ("ytdE3231123a567a", "ytdE323a123Q567Q")], ids="/".join
)
def test_names_that_one_lane_takes_for_one_disagree(pair: tuple[str, str]):
    known = FORMATS["clever"]
    files = epoch(known, 30)
    header, first, *others = files["students.csv"].decode().splitlines()
    at = header.split(",").index("Last_name")
    rows = [",".join([*first.split(",")[:at], name, *first.split(",")[at + 1 :]]) for name in pair]
    files["students.csv"] = "\r\n".join([header, *rows, *others, ""]).encode()
    slow, fast = verdicts(known, opened(files, Random(2)), Random(2))
    assert fast == slow
    assert "disagree" in {one.code for one in fast.tallies}
