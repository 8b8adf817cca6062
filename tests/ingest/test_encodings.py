"""Windows-1252: never silently, only where the district says so, and the same for every reader."""

import io
import json
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from django.core.management import call_command
from hypothesis import given, settings
from hypothesis import strategies as st

from accounts.models import District
from ingest.core import encodings
from ingest.core.batches import read_batches
from ingest.core.check import Limits, Source, check
from ingest.core.encodings import WINDOWS_1252, as_utf_8, is_windows_1252
from ingest.core.records import read_records
from ingest.models import FileSettings, Record
from tests.ingest.epochs import STUDENTS, students

from .damaging import damaged
from .uploading import NIGHT, night

NAME = "Núñez – “O’Brien” €"
PLAIN = students(rows=60)["students.csv"].decode()
OLD = PLAIN.replace("Keane", NAME).replace("Reed", "Ÿžœ").encode("cp1252")
NEVER = 1 << 60

TEXTS = {
    "only ASCII": (b"a,b\r\n1,2\r\n", False),
    "empty": (b"", False),
    "UTF-8": ("é,b\n1,2\n".encode(), False),
    "UTF-8 in the last line only": ("a,b\n1,é".encode(), False),
    "a mark, then anything": (b"\xef\xbb\xbfa,b\n\xe9,2\n", False),
    "UTF-16": ("é,b\n".encode("utf-16"), False),
    "in the header": (b"\xe9,b\n1,2\n", True),
    "in the last line, without an end": (b"a,b\n1,\xe9", True),
    "one byte": (b"\xe9", True),
    "lines that end in CR": (b"a,b\r1,\xe9\r2,x\r", True),
    "both": (b"a,b\n1,\xe9\n" + "2,é\n".encode(), False),
    "both, with CR": (b"a,b\r1,\xe9\r" + "2,é\r".encode(), False),
    "a byte that means nothing": (b"a,b\n1,\x81\n", True),
}


@pytest.mark.parametrize("what", TEXTS)
def test_a_text_is_windows_1252_if_nothing_speaks_for_utf_8(what: str) -> None:
    content, expected = TEXTS[what]
    assert is_windows_1252(io.BytesIO(content)) is expected


@settings(deadline=None)
@given(text=st.text(st.sampled_from("aé€\r\n,“"), max_size=60), block=st.integers(1, 9), sizes=st.integers(1, 50))
def test_read_as_utf_8_it_is_the_same_text_however_it_is_read(text: str, block: int, sizes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encodings, "BLOCK", block)
        stream, out = as_utf_8(io.BytesIO(text.encode("cp1252"))), b""
        while part := stream.read(sizes):
            out += part
        assert out.decode() == text
        # Letters alone; with the marks among them, three may by chance be one character of UTF-8.
        letters = text.replace("€", "").replace("“", "")
        assert is_windows_1252(io.BytesIO(letters.encode("cp1252"))) is not letters.isascii()


def _source(content: bytes) -> Source:
    return Source("students.csv", lambda: as_utf_8(io.BytesIO(content)), WINDOWS_1252)


@settings(deadline=None, max_examples=60)
@given(dice=st.integers(0, 1 << 32).map(Random))
def test_the_fast_reader_says_what_the_slow_one_says(dice: Random) -> None:
    source = _source(damaged(dice, OLD))
    slow = check(STUDENTS, [source], Limits(sieve_from=NEVER), lambda rows: None)
    fast = check(STUDENTS, [source], Limits(sieve_from=1, block_bytes=500), lambda rows: None)
    assert fast == slow


def test_records_are_those_of_the_same_file_in_utf_8() -> None:
    table = STUDENTS.table("students")
    modern = Source("students.csv", lambda: io.BytesIO(OLD.decode("cp1252").encode()))
    expected = list(read_records(table, modern, Limits()))
    assert list(read_records(table, _source(OLD), Limits())) == expected
    batches = read_batches(table, _source(OLD), Limits(block_bytes=500))
    in_bulk = [row for batch in batches for row in batch.rows(range(len(batch)))]
    assert sorted(in_bulk) == sorted(expected)
    assert any(NAME in row.values.values() for row in expected)


def test_it_is_told_once_a_file_as_a_warning_and_a_meaningless_byte_as_an_error() -> None:
    told = check(STUDENTS, [_source(OLD.replace("Ÿžœ".encode("cp1252"), b"\x81", 1))], Limits(), lambda rows: None)
    codes = [(one.code, one.severity.value, one.line is None) for one in told.findings]
    assert sorted(codes) == [("encoding", "error", False), ("windows-1252", "warning", True)]
    (hint,) = (one.hint for one in told.findings if one.code == "encoding")
    assert hint == "It is not Windows-1252 either. Have the file exported as UTF-8."


# --- From upload to record -----------------------------------------------------------------------------------------


def test_without_the_setting_nothing_is_loaded_and_the_hint_names_the_setting(district: District) -> None:
    epoch = night(district, NIGHT, {"students.csv": OLD})
    assert epoch.state == "failed"
    hints = set(epoch.findings.values_list("code", "hint"))
    assert {code for code, _ in hints} == {"encoding"}
    assert all("file settings, under Uploads" in hint for _, hint in hints)
    assert not Record.objects.exists()


def test_with_the_setting_it_is_loaded_with_a_warning(district: District) -> None:
    FileSettings.objects.create(district=district, windows_1252=True)
    epoch = night(district, NIGHT, {"students.csv": OLD})
    assert (epoch.state, epoch.warnings) == ("loaded", 1)
    assert list(epoch.findings.values_list("code", "severity")) == [("windows-1252", "warning")]
    assert epoch.files.get().encoding == WINDOWS_1252
    assert NAME in {record.data["Last Name"] for record in Record.objects.all()}
    assert "Windows-1252" in epoch.log


def test_with_the_setting_utf_8_stays_utf_8_without_a_word(district: District) -> None:
    FileSettings.objects.create(district=district, windows_1252=True)
    epoch = night(district, NIGHT, {"students.csv": OLD.decode("cp1252").encode()})
    assert (epoch.state, epoch.warnings, epoch.files.get().encoding) == ("loaded", 0, "")
    assert NAME in {record.data["Last Name"] for record in Record.objects.all()}


def test_with_the_setting_a_file_of_both_is_still_refused(district: District) -> None:
    FileSettings.objects.create(district=district, windows_1252=True)
    lines = OLD.split(b"\r\n")
    lines[1] = lines[1].decode("cp1252").replace("Eva", "Évà").encode()
    epoch = night(district, NIGHT, {"students.csv": b"\r\n".join(lines)})
    assert epoch.state == "failed"
    assert set(epoch.findings.values_list("code", flat=True)) == {"encoding"}


@pytest.mark.parametrize(("words", "state"), [([], "errors"), (["--windows-1252"], "ok")])
def test_check_epoch_reads_it_only_if_it_is_told_to(tmp_path: Path, words: list[str], state: str) -> None:
    (tmp_path / "students.csv").write_bytes(OLD)
    out = io.StringIO()
    with suppress(SystemExit):
        call_command("check_epoch", str(tmp_path), "--json", *words, stdout=out)
    one = json.loads(out.getvalue())
    assert one["state"] == state
    assert {finding["code"] for finding in one["findings"]} == {"windows-1252" if words else "encoding"}
