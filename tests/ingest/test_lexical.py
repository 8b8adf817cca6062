"""Bytes to lines to values."""

import codecs
import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.core import lexical
from ingest.core.lexical import HEADER_REACH, Rows, Stray, Trace, Unclosed, physical_lines, read_header, split

ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
CELLS = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=6)


class Dribble(io.BytesIO):
    """Gives its bytes in small pieces, as a zip or a socket may."""

    def read(self, size=-1):
        return super().read(min(size, 3) if size > 0 else size)


def lines_of(content, limit=1000, stream=io.BytesIO):
    trace = Trace()
    return list(physical_lines(stream(content), limit, trace)), trace


@given(st.lists(st.tuples(st.binary(max_size=9), ENDS), max_size=8), st.binary(max_size=5))
def test_lines_end_where_python_says_whatever_the_pieces(parts, tail):
    content = b"".join(line + end for line, end in parts) + tail
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return
    expected = content.removeprefix(codecs.BOM_UTF8).splitlines()
    assert lines_of(content)[0] == expected
    assert lines_of(content, stream=Dribble)[0] == expected


def test_a_pair_of_return_and_feed_is_one_end_also_over_two_blocks(monkeypatch):
    monkeypatch.setattr(lexical, "BLOCK", 4)
    assert lines_of(b"abc\r\ndef\r\n")[0] == [b"abc", b"def"]


def test_a_line_without_end_takes_no_more_memory_than_its_limit(monkeypatch):
    monkeypatch.setattr(lexical, "BLOCK", 64)
    lines, _ = lines_of(b"x" * 10_000 + b"\ny", limit=100)
    assert 100 < len(lines[0]) <= 200
    assert lines[1] == b"y"


def test_the_last_line_may_lack_its_end_and_that_is_noted():
    assert lines_of(b"a\nb")[1].unended
    assert not lines_of(b"a\nb\n")[1].unended


@given(st.lists(st.text(max_size=6), min_size=1, max_size=6))
def test_what_the_csv_module_writes_is_split_back(values):
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="", quoting=csv.QUOTE_ALL).writerow(values)
    assert split(out.getvalue()) == values


@given(st.text(alphabet='a,"\n', max_size=14))
def test_a_row_is_split_as_rfc_4180_says_or_refused(text):
    try:
        values = split(text)
    except (Unclosed, Stray):
        return
    # Written again in the one way that is never wrong, it is the same row.
    quoted = ",".join('"' + value.replace('"', '""') + '"' for value in values)
    assert split(quoted) == values


@pytest.mark.parametrize(
    ("text", "error", "position"),
    [('a,"b', Unclosed, 2), ('a,"b""', Unclosed, 2), ('a,b"c', Stray, 2), ('"a"b,c', Stray, 1), ('a, "b"', Stray, 2)],
)
def test_a_wrong_quote_is_told_by_its_position(text, error, position):
    with pytest.raises(error) as caught:
        split(text)
    assert caught.value.args == (position,)


def test_a_value_longer_than_the_csv_module_takes_is_read():
    assert split('"' + "x" * 200_000 + '",b')[0] == "x" * 200_000


def test_lines_are_joined_where_the_quotes_are_right_and_none_is_a_row_by_itself():
    def read(text):
        rows = Rows(io.BytesIO(text.encode()), 1000)
        rows.set_width(3)
        return [(row.line, row.values) for row in rows]

    assert read('1,"a\nb",2\n3,4,5\n') == [(1, ["1", "a\nb", "2"]), (3, ["3", "4", "5"])]
    assert read('1,"a\nb"\n3,4,5\n') == [(1, ["1", "a\nb"]), (3, ["3", "4", "5"])]
    assert read('1,2,"a\n3,4,5\n6,7,"\n') == [(1, None), (2, ["3", "4", "5"]), (3, None)]


def test_a_quote_left_open_does_not_swallow_the_file():
    text = '1,"a\n' + "x\n" * 5000 + "2,3\n"
    rows = Rows(io.BytesIO(text.encode()), 1000)
    rows.set_width(2)
    told = list(rows)
    assert len(told) == 5002
    assert told[0].flaw.code == "quote-unclosed"
    assert (told[-1].line, told[-1].values) == (5002, ["2", "3"])


HEADERS = {
    "plain": (b"a,b\r\n1,2\r\n", ("a", "b")),
    "only a header": (b"a,b", ("a", "b")),
    "mark first": (codecs.BOM_UTF8 + b"a,b\n", ("a", "b")),
    "quoted": (b'"a","b, c"\n', ("a", "b, c")),
    "blank lines first": (b"\r\n  \r\na\r\n", ("a",)),
    "UTF-16": (codecs.BOM_UTF16_LE + "a,ü\n".encode("utf-16-le"), ("a", "ü")),
    "rest is not looked at": (b"a,b\n\xff\xff", ("a", "b")),
    "empty": (b"", ()),
    "NUL": (b"a\0,b\n", None),
    "not UTF-8": (b"a\xe9,b\n", ("aé", "b")),
    "no text": (b"a\x81,b\n", None),
    "a picture": (b"\x89PNG\r\n", None),
    "not UTF-8 and not printable": (b"a\xe9,b\x1f\n", None),
    "unclosed quote": (b'"a,b\n', None),
    "one endless line": (b"x" * (HEADER_REACH + 10), None),
    "blank for ever": (b"\n" * (HEADER_REACH + 10), None),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_header_is_read_or_the_file_is_no_text(case):
    content, header = HEADERS[case]
    assert read_header(io.BytesIO(content)) == header
    assert read_header(Dribble(content)) == header


def test_no_more_than_64_kib_are_read_for_a_header():
    stream = io.BytesIO(b"a,b\n" + b"x" * 1_000_000)
    read_header(stream)
    assert stream.tell() <= HEADER_REACH + 3


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf_16_is_read_up_to_what_cannot_be_decoded(order: str) -> None:
    mark, half = "\ufeff".encode(f"utf-16-{order}"), "\ud800".encode(f"utf-16-{order}", "surrogatepass")
    text = b"".join((mark, *(f"a,{number}\r\n".encode(f"utf-16-{order}") for number in range(40_000)), half, b"xxxx"))
    found = list(Rows(io.BytesIO(text), 1000))
    assert [row.line for row in found if row.flaw] == [40_001]
    assert len(found) == 40_001
