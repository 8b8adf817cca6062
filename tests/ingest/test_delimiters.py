"""What stands between values is a district's setting (E18): every reader goes by it, and none guesses."""

import csv
import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from django.test import Client
from django.urls import reverse
from hypothesis import given

from accounts.audit import AuditEntry
from accounts.models import District
from ingest import guarding, sameness
from ingest.core import lexical
from ingest.core.batches import read_batches
from ingest.core.check import Limits, Source, check
from ingest.core.choose import read_sighting, recognise
from ingest.core.delimiters import COMMA, EVERY, Delimiter, delimiter_of
from ingest.core.errors import RowsError
from ingest.core.lexical import Stray, Unclosed, split
from ingest.core.records import read_records
from ingest.core.sampling import epoch as invented
from ingest.models import Epoch, FileSettings, Record
from ingest.trials import runs
from ingest.trials.services import file_settings_set

from . import epochs
from .damaging import damaged
from .epochs import FORMATS, ONEROSTER, STUDENTS, oneroster, sources, students, with_cell
from .test_listing import lying
from .test_sieve import DICE, MANY, opened, small_reads, verdicts
from .test_trials import ask
from .uploading import NEXT_NIGHT, NIGHT, night, process, queue

__all__ = ["small_reads"]
OTHERS = EVERY[1:]
NAMES = [one.word for one in OTHERS]
ROOT = Path(__file__).parents[2]


def by(delimiter: Delimiter, content: bytes) -> bytes:
    """The same rows, written with another delimiter."""
    out = io.StringIO(newline="")
    rows = csv.reader(io.StringIO(content.decode(), newline=""))
    csv.writer(out, delimiter=delimiter.mark, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()


def all_by(delimiter: Delimiter, files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: by(delimiter, content) for name, content in files.items()}


def read_by(delimiter: Delimiter, files: dict[str, bytes]) -> list[Source]:
    return [replace(one, delimiter=delimiter) for one in sources(files)]


# --- The readers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", EVERY, ids=lambda one: one.word)
def test_a_row_is_split_where_its_delimiter_stands_outside_quotes(delimiter: Delimiter) -> None:
    mark = delimiter.mark
    others = "".join(one.mark for one in EVERY if one != delimiter)
    assert split(mark.join(["a", f'"b{mark}c"', '"d""e"', others, ""]), mark) == ["a", f"b{mark}c", 'd"e', others, ""]
    for text, error in ((f'a{mark}"b', Unclosed), (f'a{mark}b"', Stray), (f'"a"b{mark}c', Stray)):
        with pytest.raises(error):
            split(text, mark)


@MANY
@given(dice=DICE)
def test_by_any_delimiter_the_sieve_finds_what_the_exact_reader_finds(dice: Random, small_reads) -> None:
    known, delimiter = dice.choice(list(FORMATS.values())), dice.choice(OTHERS)
    files = {name: by(delimiter, content) for name, content in invented(known, dice.choice([3, 20, 60]), 1, 1).items()}
    swapped = bytes.maketrans(b"," + delimiter.mark.encode(), delimiter.mark.encode() + b",")
    for name in files:
        if dice.random() < 0.6:
            files[name] = damaged(dice, files[name].translate(swapped)).translate(swapped)
    small_reads(dice)
    given = [replace(one, delimiter=delimiter) for one in opened(files, dice)]
    slow, fast = verdicts(known, given, dice)
    assert fast == slow


@MANY
@given(dice=DICE)
def test_by_any_delimiter_records_in_bulk_are_the_records_one_by_one(dice: Random, small_reads) -> None:
    known, delimiter = dice.choice(list(FORMATS.values())), dice.choice(OTHERS)
    files = invented(known, 60, 1, 1)
    table = dice.choice([table for table in known.all_tables if table.file in files])
    content = by(delimiter, files[table.file])
    if dice.random() < 0.6:
        content = damaged(dice, content)
    small_reads(dice)
    limits = Limits(block_bytes=dice.choice([1, 500, 1 << 20]))
    source = Source("x", lambda: io.BytesIO(content), delimiter=delimiter)
    try:
        expected = list(read_records(table, source, limits))
    except RowsError:
        with pytest.raises(RowsError):
            list(read_batches(table, source, limits))
        return
    found = [row for batch in read_batches(table, source, limits) for row in batch.rows(range(len(batch)))]
    assert sorted(found, key=lambda row: row.line) == expected


@pytest.mark.parametrize("delimiter", OTHERS, ids=NAMES)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("sieve_from", [1, 1 << 30], ids=["sieved", "row by row"])
def test_files_of_every_format_are_recognised_checked_and_read_alike(
    name: str, delimiter: Delimiter, sieve_from: int
) -> None:
    known, limits = FORMATS[name], Limits(sieve_from=sieve_from)
    plain = invented(known, 40)
    other = all_by(delimiter, plain)
    if not known.by_hand:
        seen = [read_sighting(file, io.BytesIO(content), delimiter) for file, content in other.items()]
        assert recognise(seen, list(FORMATS.values())).format == known
    mine = check(known, read_by(delimiter, other), limits, lambda rows: None)
    assert mine == check(known, sources(plain), limits, lambda rows: None)
    assert mine.ok
    for one, two in zip(read_by(delimiter, other), sources(plain), strict=True):
        table = known.table_of(one.name)
        if table is not None and table in known.tables:
            mine_too = [row[:4] for row in read_records(table, one, Limits())]
            assert mine_too == [row[:4] for row in read_records(table, two, Limits())]


@pytest.mark.parametrize("delimiter", OTHERS, ids=NAMES)
@pytest.mark.parametrize("sieve_from", [1, 1 << 30], ids=["sieved", "row by row"])
def test_what_is_found_is_told_in_the_words_of_the_delimiter(delimiter: Delimiter, sieve_from: int) -> None:
    lines = by(delimiter, students(9)["students.csv"]).split(b"\r\n")
    mark = delimiter.mark.encode()
    lines[2] += mark + mark
    lines[4] = lines[4].rsplit(mark, 1)[0]
    lines[6] += mark + b"more"
    content = b"\r\n".join(lines)
    limits = Limits(sieve_from=sieve_from)
    verdict = check(STUDENTS, read_by(delimiter, {"students.csv": content}), limits, lambda rows: None)
    told = {one.code: (one.line, f"{one.message} {one.hint}") for one in verdict.findings}
    assert {code: line for code, (line, _) in told.items()} == {"trailing-commas": 3, "row-short": 5, "row-long": 7}
    assert f"more {delimiter.many} than" in told["trailing-commas"][1]
    assert f"Is {delimiter.one} missing" in told["row-short"][1]
    assert f"A value with {delimiter.one} in it" in told["row-long"][1]


@pytest.mark.parametrize("used", OTHERS, ids=NAMES)
@pytest.mark.parametrize("sent", EVERY, ids=lambda one: one.word)
def test_files_written_otherwise_than_the_setting_says_are_told_so(used: Delimiter, sent: Delimiter) -> None:
    if used == sent:
        return
    content = students()["students.csv"].splitlines()[0].replace(b",", sent.mark.encode()) + b"\r\n"
    verdict = check(STUDENTS, read_by(used, {"students.csv": content}), Limits(), lambda rows: None)
    assert verdict.findings[0].code == "delimiter"
    assert verdict.findings[0].message == (f"The columns seem to be separated by {sent.many}; {used.many} are needed.")
    assert "file settings" in verdict.findings[0].hint
    seen = recognise([read_sighting("students.csv", io.BytesIO(content), used)], [STUDENTS])
    assert f"seem to be separated by {sent.many}; {used.many} are needed." in seen.message


def test_without_a_word_commas_are_meant() -> None:
    assert delimiter_of("") == delimiter_of("comma") == COMMA
    assert len({one.mark for one in EVERY}) == 4
    assert lexical.split("a;b,c") == ["a;b", "c"]


# --- The setting ---------------------------------------------------------------------------------------------------


def says(district: District, word: str) -> None:
    FileSettings.objects.update_or_create(district=district, defaults={"delimiter": word})


@pytest.mark.parametrize("word", NAMES)
def test_a_night_is_read_by_the_districts_setting_from_the_first_look_to_the_records(
    district: District, word: str
) -> None:
    delimiter = delimiter_of(word)
    says(district, word)
    files = oneroster(users=12)
    epoch = night(district, NIGHT, all_by(delimiter, files))
    assert (epoch.state, epoch.errors, {file.delimiter for file in epoch.files.all()}) == ("loaded", 0, {word})
    assert json.loads(lying(epoch, "result.json"))["files"][0]["delimiter"] == word
    records = dict(Record.objects.filter(dataset__table="users").values_list("key", "data"))
    table = ONEROSTER.table("users")
    source = sources({"users.csv": files["users.csv"]})[0]
    assert records == {row.key: row.values for row in read_records(table, source, Limits())}
    again = night(district, NEXT_NIGHT, all_by(delimiter, oneroster(users=12, night=1)))
    assert again.state == "loaded"


def test_a_zip_is_read_by_the_setting_too(district: District) -> None:
    says(district, "pipe")
    packed = epochs.zipped(all_by(delimiter_of("pipe"), oneroster(users=4)))
    assert night(district, NIGHT, {"roster.zip": packed}).state == "loaded"


def test_without_the_setting_such_files_wait_for_staff_with_a_word_about_it(district: District) -> None:
    from_commas = by(delimiter_of("semicolon"), students()["students.csv"])
    with pytest.raises(Epoch.DoesNotExist):
        queue(district, NIGHT, {"students.csv": from_commas})
    epoch = Epoch.objects.get()
    assert epoch.state == "waiting_staff"
    assert "seem to be separated by semicolons; commas are needed." in epoch.look_sentence


def test_a_held_night_is_approved_as_it_was_read_whatever_the_setting_says_later(district: District) -> None:
    semicolon = delimiter_of("semicolon")
    says(district, "semicolon")
    night(district, NIGHT, all_by(semicolon, students(rows=80)))
    epoch = night(district, NEXT_NIGHT, all_by(semicolon, students(rows=8)))
    assert epoch.state == "held"
    before, _ = guarding.content_of(epoch)
    assert epoch.judgement.content == before
    says(district, "tab")
    assert guarding.content_of(Epoch.objects.get(pk=epoch.pk))[0] == before
    Epoch.objects.filter(pk=epoch.pk).update(state="working")
    epoch.judgement.act = "approved"
    epoch.judgement.save()
    process(district)
    epoch.refresh_from_db()
    assert epoch.state == "loaded"
    assert Record.objects.filter(is_removed=False).count() == 8
    # Read by another delimiter the same bytes would say something else, so an approval would be void.
    epoch.files.update(delimiter="tab")
    assert guarding.content_of(Epoch.objects.get(pk=epoch.pk))[0] != before


def test_the_same_bytes_read_by_another_delimiter_are_not_the_same_night(district: District) -> None:
    first = night(district, NIGHT, students())
    same = queue(district, NEXT_NIGHT, students())
    process(district)
    assert sameness.content(first) == sameness.content(same)
    same.files.update(delimiter="tab")
    assert sameness.content(first) != sameness.content(same)


def test_a_check_before_sending_goes_by_the_setting(district: District) -> None:
    person = district.memberships.get().user
    file_settings_set(district, windows_1252=False, delimiter="tab", actor=person)
    trial = ask(district, person, all_by(delimiter_of("tab"), students()))
    runs.look_after()
    trial.refresh_from_db()
    assert (trial.outcome, trial.format) == ("ok", STUDENTS.name)


def test_the_setting_is_on_the_page_and_in_the_audit_log(district: District) -> None:
    client = Client()
    client.force_login(district.memberships.get().user)
    address = reverse("file_settings", args=[district.slug])
    assert client.post(address, {"delimiter": "colon"}).status_code == 422
    assert client.post(address, {"delimiter": "semicolon"}).status_code == 302
    assert "Values are separated by semicolons." in client.get(address).content.decode()
    assert AuditEntry.objects.get(action="file settings changed").details == {"delimiter": "semicolon"}
    client.post(address, {"delimiter": "semicolon"})
    assert AuditEntry.objects.filter(action="file settings changed").count() == 1


def test_check_epoch_is_told_the_delimiter(tmp_path: Path) -> None:
    bad = with_cell(students()["students.csv"], 3, "District Enrollment", "enroled")
    for name, content in {"old": students()["students.csv"], "new": bad}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "students.csv").write_bytes(by(delimiter_of("tab"), content))
    command = [sys.executable, "manage.py", "check_epoch", str(tmp_path / "new"), "--json", "--delimiter", "tab"]
    done = subprocess.run([*command, "--against", str(tmp_path / "old")], cwd=ROOT, capture_output=True, check=False)
    told = json.loads(done.stdout)
    assert (done.returncode, told["recognised"]) == (1, STUDENTS.name)
    assert [(one["line"], one["code"]) for one in told["findings"]] == [(3, "enum")]
    assert told["diff"]["students"]["changed"] == 1


@pytest.mark.parametrize("value", ['"\tAda"', '"Ada\t"', '"A\tda"', '"Ada"'])
def test_a_tab_inside_quotes_is_told_by_both_readers(value: str) -> None:
    lines = by(delimiter_of("tab"), students(9)["students.csv"]).split(b"\r\n")
    cells = lines[3].split(b"\t")
    cells[2] = value.encode()
    lines[3] = b"\t".join(cells)
    given = read_by(delimiter_of("tab"), {"students.csv": b"\r\n".join(lines)})
    slow, fast = (check(STUDENTS, given, Limits(sieve_from=at), lambda rows: None) for at in (1 << 30, 1))
    assert slow == fast
