"""What the sieve is made of: lines looked at as bytes, hashes of whole columns, sets of hashes."""

import io
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.core import sieve
from ingest.core.blocks import block_of, lines_at, odd_lines, plain_rows
from ingest.core.hashes import Doubles, Groups, KeyRing, Pair, row_hashes, text_hashes
from ingest.core.lexical import Stray, Trace, Unclosed, split, whole_lines
from ingest.core.predicates import Cells
from ingest.core.rowhash import row_hash, text_hash

TEXTS = st.lists(st.text(max_size=20), max_size=30)


def cells(texts):
    return Cells(pa.array(texts, pa.string()))


@given(st.lists(st.binary(max_size=6), max_size=9))
def test_lines_are_those_that_python_sees(parts):
    data = b"\r\n".join(parts)
    block = block_of(data)
    assert [block.line(at) for at in range(len(block.stops))] == data.splitlines()


@given(st.lists(st.text(alphabet='a,"', min_size=1, max_size=12), min_size=1, max_size=6))
def test_a_plain_line_is_a_row_by_itself_and_the_engine_reads_it_as_we_do(lines):
    block = block_of("\n".join([*lines, ""]).encode())
    odd = odd_lines(block, 1000)
    for width in (1, 2, 3):
        table, places = plain_rows(block, odd, width, range(width))
        read = dict(
            zip(places.tolist(), zip(*(column.to_pylist() for column in table.columns), strict=True), strict=True)
        )
        for at, line in enumerate(lines):
            try:
                values = tuple(split(line))
            except (Unclosed, Stray):
                values = ()
            assert odd[at] or values
            assert read.get(at) == (values if len(values) == width and not odd[at] else None)


ODD = [chr(code) for code in range(0x110000) if chr(code).isspace() or unicodedata.category(chr(code)) == "Cc"]


@pytest.mark.parametrize("letter", [one for one in ODD if one not in "\r\n"])
def test_a_line_with_a_blank_at_an_edge_or_a_control_character_is_not_plain(letter):
    block = block_of(f"a,b\n{letter}a,b\na,b{letter}\na{letter},b\na,b\n".encode())
    assert odd_lines(block, 1000).tolist() == [False, True, True, True, False]


@pytest.mark.parametrize("line", [b"\xff,b", b"a,\xc3", b"\xef\xbb\xbfa,b", b"", b"a" * 50], ids=repr)
def test_a_line_that_is_no_plain_text_is_not_plain_and_its_neighbours_are(line):
    assert odd_lines(block_of(b"a,b\n" + line + "\né,b\n".encode()), 40).tolist() == [False, True, False]


def test_blanks_and_signs_inside_a_value_are_plain():
    assert not odd_lines(block_of("O’Neal Smith,“x”,a b\r\n".encode()), 1000).any()


@given(TEXTS)
def test_a_column_has_the_hashes_of_its_texts(texts):
    hashes = cells(texts).hashes
    assert [(int(one), int(two)) for one, two in zip(*hashes, strict=True)] == [text_hash(text) for text in texts]


@given(st.lists(st.tuples(st.text(max_size=9), st.text(max_size=30)), min_size=1, max_size=9))
def test_rows_have_the_digests_of_their_values(rows):
    columns = [cells(list(column)).hashes for column in zip(*rows, strict=True)]
    assert row_hashes(len(rows), columns).bytes() == [row_hash(row) for row in rows]


def test_digests_never_change_since_they_are_on_record():
    assert row_hash(["S1", "Zoë", "", "2026-08-15"]).hex() == "9a4445f6c3bfa893b6f4d25acaf4498f"


@pytest.mark.parametrize(
    "pair", [("ytdE3231123a567a", "ytdE323a123Q567Q"), ("kOL-3Y5D12305670", "kOL-3Y58123L567L")], ids="/".join
)
def test_a_later_word_does_not_make_up_for_the_last_letter_of_one_before(pair):
    one, two = map(text_hash, pair)
    assert one != two
    assert one[0] ^ one[1] != two[0] ^ two[1]


def test_a_million_keys_that_are_nearly_alike_have_as_many_hashes():
    data = np.frombuffer(b"".join(b"user-%08d" % n for n in range(1_000_000)) + bytes(8), np.uint8)
    hashes = hashes_of(data, 13)
    assert len(np.unique(hashes.first)) == len(np.unique(hashes.second)) == 1_000_000
    # Forty bits of a good hash would meet once in two such sets.
    assert len(np.unique(hashes.first >> np.uint64(24))) > 999_990


def hashes_of(data, length):
    starts = np.arange(0, len(data) - 8, length)
    return text_hashes(data, starts, np.full(len(starts), length))


@given(TEXTS, TEXTS)
def test_a_ring_knows_its_keys_and_no_others(inside, asked):
    ring = KeyRing()
    ring.add_many(cells(inside[::2]).hashes)
    for text in inside[1::2]:
        ring.add(text)
    ring.close()
    assert ring.known(cells(asked).hashes).tolist() == [text in inside for text in asked]
    assert all(text in ring for text in inside)


def test_keys_of_which_half_the_hash_is_the_same_are_told_apart():
    ring = KeyRing()
    same = np.full(5, 7, np.uint64)
    ring.add_many(Pair(same, np.arange(5, dtype=np.uint64)))
    ring.close()
    asked = Pair(np.full(3, 7, np.uint64), np.array([0, 4, 5], np.uint64))
    assert ring.known(asked).tolist() == [True, True, False]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.booleans()), max_size=20))
def test_what_stands_twice_and_what_disagrees_is_found_with_its_lines(rows):
    doubles, groups = Doubles(), Groups()
    for line, (what, says, alone) in enumerate(rows, start=1):
        many = np.array([what], np.uint64), np.array([says], np.uint64), np.array([line])
        doubles.add(what, line) if alone else doubles.add_many(many[0], many[2])
        groups.say(what, says, line) if alone else groups.say_many(*many)
    numbered = list(enumerate(rows, start=1))
    of = {what: [says for other, says, _ in rows if other == what] for what, _, _ in rows}
    assert doubles.lines() == [line for line, (what, _, _) in numbered if len(of[what]) > 1]
    assert groups.lines() == [line for line, (what, _, _) in numbered if len(set(of[what])) > 1]


@given(st.lists(st.sampled_from([b"a", b'"b', b"", b'c"d"']), min_size=1, max_size=40), st.sets(st.integers(1, 40)))
def test_lines_are_found_again_by_their_numbers(lines, wanted):
    wanted = sorted(one for one in wanted if one <= len(lines))
    stream = io.BytesIO(b"\n".join([*lines, b""]))
    found = dict(lines_at(map(block_of, whole_lines(stream, 100, Trace())), wanted))
    assert {number: found[number] for number in wanted} == {number: lines[number - 1] for number in wanted}
    for number in wanted:
        if lines[number - 1].count(b'"') % 2:
            assert found.keys() >= set(range(number, len(lines) + 1))


def test_no_more_than_a_few_pieces_are_held_at_a_time():
    given_out, most = [], 0

    def pieces():
        for number in range(50):
            given_out.append(number)
            yield b"%d" % number

    for done, out in enumerate(sieve.in_order(int, pieces())):
        assert out == done
        most = max(most, len(given_out) - done)
    assert most <= sieve.THREADS + 1
