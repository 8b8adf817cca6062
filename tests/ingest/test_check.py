"""The check of one epoch: every defect of the list is found, with its true line, and nothing else is."""

import codecs
import csv
import io
from pathlib import Path

import pytest

from ingest.core.check import Limits, Source, check
from ingest.core.findings import Finding, Severity, first_of_each
from ingest.core.sampling import epoch
from ingest.core.schema import Mode
from tests.ingest.epochs import (
    FORMATS,
    ONEROSTER,
    STUDENTS,
    STUDENTS_OLD,
    checked,
    found,
    line_of,
    oneroster,
    sources,
    students,
    students_old,
    with_cell,
    with_line,
)

FILE = "students.csv"


def check_students(content: bytes):
    return checked(STUDENTS, {FILE: content})


def good() -> bytes:
    return students(20)[FILE]


@pytest.mark.parametrize(
    ("known", "files"),
    [(STUDENTS, students(300)), (STUDENTS_OLD, students_old(300)), (ONEROSTER, oneroster(300))],
    ids=["students", "students-old", "oneroster"],
)
def test_a_good_epoch_has_no_findings(known, files):
    verdict = checked(known, files)
    assert verdict.ok
    assert verdict.findings == ()
    assert sum(one.rows for one in verdict.counts) == sum(content.count(b"\r\n") - 1 for content in files.values())


CELLS = {
    "required value missing": ("Last Name", "", "required"),
    "value of blanks only": ("Last Name", "   ", "required"),
    "value not in the list": ("District Enrollment", "GONE", "enum"),
    "list value in other case": ("District Enrollment", "enrolled", "enum-case"),
    "day that does not exist": ("Date of Birth", "02/29/2005", "date"),
    "month that does not exist": ("Date of Birth", "2005-13-01", "date"),
    "year of two digits": ("Date of Birth", "02/28/05", "type"),
    "date in words": ("Date of Birth", "May 1 2005", "type"),
    "key with a blank inside": ("Student Id", "S 1", "pattern"),
    "key too long": ("Student Id", "1" * 21, "too-long"),
    "key rounded by a spreadsheet": ("Student Id", "3.6E+11", "scientific-notation"),
    "key empty": ("Student Id", "", "key-empty"),
}


@pytest.mark.parametrize("case", CELLS)
def test_a_wrong_value_is_found_in_its_line_and_column(case):
    column, value, code = CELLS[case]
    verdict = check_students(with_cell(good(), 7, column, value))
    assert found(verdict) == [(code, 7, column, "error")]
    assert not verdict.ok


@pytest.mark.parametrize("value", ["02/28/2005", "02-28-2005", "2005/02/28", "2005-02-28", "2/8/2005"])
def test_each_way_to_write_a_date_of_birth_is_taken(value):
    assert check_students(with_cell(good(), 3, "Date of Birth", value)).findings == ()


def test_a_value_is_shown_by_its_shape_and_nowhere_in_full():
    verdict = check_students(with_cell(good(), 3, "Student Id", "Ab-4 Secret"))
    assert verdict.findings[0].value == "Xx-9 Xxxxxx"
    assert "Secret" not in repr(verdict)


LINES = {
    "row short": (b"S9,Hale,,Ada", [("row-short", 5, "", "error")]),
    "row long": (None, [("row-long", 5, "", "error")]),
    "stray quote": (b'S9,Ha"le,,Ada' + b"," * 15, [("quote-stray", 5, "", "error")]),
    "text after a quote": (b'S9,"Hale"x,,Ada' + b"," * 15, [("quote-stray", 5, "", "error")]),
    "byte that is not UTF-8": (b"S9,Nu\xf1ez,,Ada" + b"," * 15, [("encoding", 5, "", "error")]),
    "header once more": (b"HEADER", [("header-repeated", 5, "", "error")]),
}


@pytest.mark.parametrize("case", LINES)
def test_a_line_that_is_no_row_is_found_and_hides_no_other(case):
    line, expected = LINES[case]
    content = good()
    line = {None: line_of(content, 5) + b",more", b"HEADER": line_of(content, 1)}.get(line, line)
    content = with_cell(with_line(content, 5, line), 6, "Last Name", "")
    assert found(check_students(content)) == [*expected, ("required", 6, "Last Name", "error")]


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"], ids=["CRLF", "LF", "CR"])
def test_an_unclosed_quote_is_found_in_the_line_that_opens_it_whatever_ends_the_lines(end):
    broken = line_of(good(), 5).replace(b",", b',"', 1)
    content = with_cell(with_line(good(), 5, broken), 9, "Last Name", "").replace(b"\r\n", end)
    verdict = check_students(content)
    assert found(verdict) == [("quote-unclosed", 5, "", "error"), ("required", 9, "Last Name", "error")]
    assert verdict.counts[0].rows == 20


def test_two_unclosed_quotes_do_not_close_each_other():
    content = good()
    for line in (5, 8):
        content = with_line(content, line, line_of(content, line) + b'"')
        content = with_line(content, line, line_of(content, line).replace(b",", b',"', 1)[:-1])
    assert [one[:2] for one in found(check_students(content))] == [("quote-unclosed", 5), ("quote-unclosed", 8)]


def test_a_line_break_inside_quotes_is_part_of_the_value_where_the_format_allows_it():
    content = with_cell(with_cell(good(), 4, "Address", '"1 Oak St\r\nFlat 2"'), 9, "City", "")
    content = with_cell(content, 10, "Last Name", "")
    verdict = check_students(content)
    assert found(verdict) == [("required", 10, "Last Name", "error")]
    assert verdict.counts[0].rows == 20


def test_a_line_break_inside_quotes_is_an_error_where_the_format_forbids_it():
    files = oneroster()
    files["orgs.csv"] = with_cell(files["orgs.csv"], 2, "name", '"Two\nlines"')
    assert found(checked(ONEROSTER, files)) == [("line-break", 2, "", "error")]


def test_line_ends_of_several_kinds_are_noted_and_do_not_shift_line_numbers():
    content = with_cell(good(), 12, "Last Name", "").replace(b"\r\n", b"\n", 4).replace(b"\r\n", b"\r", 3)
    assert found(check_students(content)) == [
        ("mixed-line-ends", None, "", "note"),
        ("required", 12, "Last Name", "error"),
    ]


def test_a_file_cut_off_in_mid_line_is_called_cut_off():
    content = good()[:-40]
    assert found(check_students(content)) == [("cut-off", 21, "", "error")]


# One reads row by row, the other in bulk.
READERS = {"exact": Limits(sieve_from=1 << 60), "bulk": Limits(sieve_from=1, block_bytes=300)}
LETTERS = {"two bytes": "é", "three bytes": "€", "four bytes": "𝔘"}


def cut_at(letter: bytes, places: int, column: str = "City") -> bytes:
    """A file that ends after so many bytes of a letter in its last row."""
    whole = with_cell(good(), 21, column, "A" + letter.decode())
    return whole[: whole.rindex(letter) + places]


def read_by(reader: str, content: bytes):
    return found(check(STUDENTS, sources({FILE: content}), READERS[reader], lambda rows: None))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("column", ["Student Id", "City", line_of(good(), 1).decode().rsplit(",", 1)[-1]])
def test_a_file_cut_off_inside_a_letter_is_called_cut_off(reader, letter, column):
    told = LETTERS[letter].encode()
    for places in range(1, len(told)):
        assert read_by(reader, cut_at(told, places, column)) == [("cut-off", 21, "", "error")]


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_may_be_whole_in_windows_1252_is_told_so_where_its_end_looks_like_half_a_letter(reader):
    content = good().removesuffix(b"\r\n") + b"Andr\xe9"
    (told,) = check(STUDENTS, sources({FILE: content}), READERS[reader], lambda rows: None).findings
    assert (told.code, told.line) == ("cut-off", 21)
    assert "Windows-1252" in told.hint


@pytest.mark.parametrize("reader", READERS)
def test_a_file_cut_off_inside_a_letter_of_its_header_is_called_cut_off(reader):
    assert read_by(reader, "Student Id,Last Name,Größe".encode()[:-2]) == [("cut-off", 1, "", "error")]


HALVES = {
    "with a line end after it": (lambda content: content + b"\r\n", [21]),
    "with a blank line after it": (lambda content: content + b"\r\n  ", [21]),
    "below a line that is no UTF-8": (lambda content: with_line(content, 5, b"S9,Nu\xf1ez"), [5, 21]),
    "behind a byte that is no UTF-8": (lambda content: content.replace(b"S0000020,", b"S0000020,\xf1"), [21]),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", HALVES)
def test_half_a_letter_elsewhere_is_no_utf_8(reader, case):
    spoil, lines = HALVES[case]
    assert read_by(reader, spoil(cut_at("é".encode(), 1))) == [("encoding", line, "", "error") for line in lines]


def test_a_file_without_a_last_line_end_is_good():
    assert check_students(good().removesuffix(b"\r\n")).findings == ()


def test_a_nul_byte_is_refused_with_its_line():
    assert found(check_students(with_cell(good(), 6, "City", "A\0B"))) == [("nul", 6, "City", "error")]


def test_a_control_character_is_a_warning():
    assert found(check_students(with_cell(good(), 6, "City", "A\x1bB"))) == [
        ("control-character", 6, "City", "warning")
    ]


def test_a_line_longer_than_the_limit_is_an_error_and_the_next_line_is_read():
    content = with_cell(with_cell(good(), 4, "City", "x" * 5000), 5, "Last Name", "")
    verdict = check(STUDENTS, sources({FILE: content}), Limits(line_bytes=2000), lambda rows: None)
    assert found(verdict) == [("line-too-long", 4, "", "error"), ("required", 5, "Last Name", "error")]


# E8: encodings


def test_e8_a_byte_order_mark_is_dropped():
    assert check_students(codecs.BOM_UTF8 + good()).findings == ()


def test_e8_utf_16_with_its_mark_is_read_with_a_warning():
    content = with_cell(good(), 5, "City", "Łódź")
    for encoding, mark in (("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", codecs.BOM_UTF16_BE)):
        verdict = check_students(mark + content.decode().encode(encoding))
        assert found(verdict) == [("utf-16", None, "", "warning")]
        assert verdict.ok
        assert verdict.counts[0].rows == 20


def test_e8_broken_utf_16_is_an_error():
    assert not check_students(codecs.BOM_UTF16_LE + good().decode().encode("utf-16-le")[:-1]).ok


def test_e8_an_undecodable_byte_is_named_with_its_line():
    verdict = check_students(with_line(good(), 3, line_of(good(), 3).replace(b"S", b"\xe9", 1)))
    assert [(one.code, one.line) for one in verdict.findings] == [("encoding", 3)]
    assert "Byte 1" in verdict.findings[0].message
    assert "0xE9" in verdict.findings[0].message


# E4: nothing in the file


@pytest.mark.parametrize(
    "content",
    [b"", codecs.BOM_UTF8, line_of(good(), 1), line_of(good(), 1) + b"\r\n\r\n  \r\n,,,\r\n\r\n"],
    ids=["0 bytes", "mark only", "header only", "header and blank lines"],
)
def test_e4_a_required_file_without_rows_is_an_error(content):
    verdict = check_students(content)
    assert [(code, level) for code, _, _, level in found(verdict)] == [("no-rows", "error")]


def test_e4_an_optional_file_without_rows_counts_as_not_sent():
    files = oneroster()
    files["demographics.csv"] = line_of(files["demographics.csv"], 1) + b"\r\n"
    verdict = checked(ONEROSTER, files)
    assert verdict.ok
    assert verdict.modes["demographics"] is Mode.ABSENT
    assert [one.code for one in verdict.findings] == ["no-rows-optional"]


# E7: keys that stand twice


def test_e7_a_row_sent_twice_is_a_note_on_the_later_row():
    content = good() + line_of(good(), 4) + b"\r\n"
    verdict = check_students(content)
    assert found(verdict) == [("key-repeated", 22, "Student Id", "note")]
    assert verdict.ok


def test_e7_one_key_with_two_contents_makes_every_such_row_an_error():
    content = with_cell(good(), 9, "Student Id", line_of(good(), 4).split(b",")[0].decode())
    content += line_of(good(), 4) + b"\r\n"
    verdict = check_students(content)
    assert found(verdict) == [("key-duplicate", line, "Student Id", "error") for line in (4, 9, 22)]


def test_e7_the_same_date_written_in_two_ways_is_the_same_row():
    content = with_cell(good(), 4, "Date of Birth", "02/03/2010")
    again = line_of(with_cell(content, 4, "Date of Birth", "2010-02-03"), 4)
    assert [one.code for one in check_students(content + again + b"\r\n").findings] == ["key-repeated"]


# E11, E12: the set of files and their columns


def test_e11_a_missing_required_file_is_named():
    files = oneroster()
    del files["enrollments.csv"]
    files["manifest.csv"] = files["manifest.csv"].replace(b"file.enrollments,bulk", b"file.enrollments,absent")
    verdict = checked(ONEROSTER, files)
    assert [(one.code, one.file) for one in verdict.findings] == [("missing-file", "enrollments.csv")]


def test_e12_a_misnamed_file_gets_a_did_you_mean():
    files = oneroster()
    files["enrollmnets.csv"] = files.pop("enrollments.csv")
    by_code = {one.code: one for one in checked(ONEROSTER, files).findings}
    assert "`enrollmnets.csv` is here. Did you mean `enrollments.csv`?" in by_code["missing-file"].hint
    assert by_code["unknown-file"].hint == "Did you mean `enrollments.csv`?"


HEADERS = {
    "column misspelled": ("Last Name", "Last Nmae", {("missing-column", "Last Name"), ("unknown-column", "Last Nmae")}),
    "column in other case": ("Last Name", "last name", {("header-case", "last name")}),
    "column with underscore": (
        "Last Name", "Last_Name", {("missing-column", "Last Name"), ("unknown-column", "Last_Name")},
    ),
    "column with a blank behind": ("Last Name", "Last Name ", {("header-case", "Last Name ")}),
    "column twice": ("Middle Name", "Last Name", {("header-duplicate", "Last Name")}),
    "column without a name": ("Middle Name", "", {("header-empty", "")}),
}  # fmt: skip


@pytest.mark.parametrize("case", HEADERS)
def test_e12_a_wrong_header_is_told_with_the_column(case):
    old, new, expected = HEADERS[case]
    content = with_line(good(), 1, line_of(good(), 1).replace(old.encode(), new.encode()))
    verdict = check_students(content)
    assert {(one.code, one.column) for one in verdict.findings} == expected
    assert all(one.line == 1 for one in verdict.findings)
    assert not verdict.ok
    if "missing-column" in {code for code, _ in expected}:
        assert {"Did you mean `Last Name`?"} <= {one.hint for one in verdict.findings}


def test_an_unknown_column_is_a_warning_and_the_others_are_read():
    lines = [line + b",x" if line else b"" for line in good().split(b"\r\n")]
    content = b"\r\n".join(lines).replace(b",x", b",Vendor Column", 1)
    verdict = check_students(content)
    assert found(verdict) == [("unknown-column", 1, "Vendor Column", "warning")]
    assert verdict.ok


def test_a_line_of_excels_above_the_names_has_to_go():
    (one,) = check_students(b"sep=,\r\n" + good()).findings
    assert (one.code, one.line) == ("no-header", 1)
    assert "Excel's `sep=`" in one.message
    assert one.hint == "Leave that line out, so that the column names come first."


def test_columns_in_another_order_are_read_by_name():
    table = list(csv.reader(io.StringIO(good().decode())))
    content = "".join(",".join(reversed(row)) + "\n" for row in table).encode()
    assert check_students(content).findings == ()


def test_a_file_without_a_header_does_not_show_its_first_row():
    content = good().split(b"\r\n", 1)[1]
    verdict = check_students(content)
    assert [one.code for one in verdict.findings] == ["no-header"]
    assert line_of(good(), 2).decode().split(",")[1] not in repr(verdict)


@pytest.mark.parametrize(("mark", "spoken"), [(";", "semicolons"), ("\t", "tabs"), ("|", "upright bars")])
def test_e18_another_delimiter_is_named(mark, spoken):
    verdict = check_students(good().replace(b",", mark.encode()))
    assert [one.code for one in verdict.findings] == ["delimiter"]
    assert spoken in verdict.findings[0].message


# E16: references


def test_e16_a_reference_to_nobody_is_an_error_with_line_and_column():
    files = oneroster()
    files["enrollments.csv"] = with_cell(files["enrollments.csv"], 8, "userSourcedId", "user-99999999")
    verdict = checked(ONEROSTER, files)
    assert found(verdict) == [("reference", 8, "userSourcedId", "error")]
    assert verdict.findings[0].value == "xxxx-99999999"


@pytest.mark.parametrize(
    ("value", "is_told"), [("1", True), ("0001", True), ("00000001x", False), ("12345678", False), ("", False)]
)
def test_e16_zeros_that_excel_took_away_are_named_as_the_likely_cause(value, is_told):
    files = {name: content.replace(b"user-", b"") for name, content in oneroster().items()}
    (first,) = {line.split(b",")[0] for line in files["users.csv"].split(b"\r\n")[1:2]}
    files["enrollments.csv"] = files["enrollments.csv"].replace(first, b"00000001")
    files["users.csv"] = files["users.csv"].replace(first, b"00000001")
    assert checked(ONEROSTER, files).ok
    files["enrollments.csv"] = with_cell(files["enrollments.csv"], 8, "userSourcedId", value or "user")
    (told,) = checked(ONEROSTER, files).findings
    assert (told.code, told.line, "Excel" in told.hint) == ("reference", 8, is_told)


def test_e16_each_element_of_a_list_is_looked_up():
    files = oneroster()
    lines = files["users.csv"].split(b"\r\n")
    lines[3] = lines[3].replace(b"true,org-0001", b'true,"org-0001,org-7777"', 1)
    if b"org-7777" not in lines[3]:
        values = lines[3].split(b",")
        values[4] = b'"' + values[4] + b',org-7777"'
        lines[3] = b",".join(values)
    files["users.csv"] = b"\r\n".join(lines)
    assert found(checked(ONEROSTER, files)) == [("reference", 4, "orgSourcedIds", "error")]


def test_e16_a_reference_within_one_file_may_point_further_down():
    files = oneroster(500)
    content = files["orgs.csv"]
    files["orgs.csv"] = with_cell(content, 2, "parentSourcedId", line_of(content, 4).split(b",")[0].decode())
    assert checked(ONEROSTER, files).ok
    files["orgs.csv"] = with_cell(content, 2, "parentSourcedId", "org-none")
    assert found(checked(ONEROSTER, files)) == [("reference", 2, "parentSourcedId", "error")]


@pytest.mark.parametrize("broken", ["no key column", "no header", "nothing"])
def test_e16_a_file_that_cannot_be_read_does_not_make_every_reference_to_it_wrong(broken):
    files = oneroster()
    header, rows = files["users.csv"].split(b"\r\n", 1)
    files["users.csv"] = {
        "no key column": header.replace(b"sourcedId,", b"id,", 1) + b"\r\n" + rows,
        "no header": rows,
        "nothing": b"",
    }[broken]
    verdict = checked(ONEROSTER, files)
    assert not verdict.ok
    assert "reference" not in {one.code for one in verdict.tallies}


# E17: blank lines, trailing commas


def test_e17_blank_lines_are_counted_and_shift_no_line_number():
    lines = with_cell(good(), 6, "Last Name", "").split(b"\r\n")
    content = b"\r\n".join([*lines[:3], b"", b",,,,", b"   ", b"," * 18, *lines[3:], b"", b""])
    assert content.endswith(b"\r\n\r\n\r\n")  # four blank lines in the midst, two at the end
    verdict = check_students(content)
    assert found(verdict) == [("required", 10, "Last Name", "error")]
    assert (verdict.counts[0].rows, verdict.counts[0].blank) == (20, 6)


def test_e17_more_commas_at_the_end_of_rows_are_a_warning():
    verdict = check_students(with_line(good(), 5, line_of(good(), 5) + b",,"))
    assert found(verdict) == [("trailing-commas", 5, "", "warning")]
    assert verdict.ok


def test_e17_a_header_and_rows_that_end_in_a_comma_are_read():
    content = b"\r\n".join(line + b"," if line else b"" for line in good().split(b"\r\n"))
    assert found(check_students(content)) == [("header-trailing", 1, "", "warning")]


# E19: what spreadsheets do to ids


def test_e19_a_rounded_id_is_named_as_such_also_where_it_refers():
    files = oneroster()
    files["enrollments.csv"] = with_cell(files["enrollments.csv"], 4, "userSourcedId", "1.00E+15")
    verdict = checked(ONEROSTER, files)
    assert found(verdict)[0] == ("scientific-notation", 4, "userSourcedId", "error")


def test_e19_leading_zeros_are_kept():
    files = students(3)
    files[FILE] = with_cell(files[FILE], 2, "Student Id", "00042")
    assert checked(STUDENTS, files).ok


def test_blanks_around_a_value_are_left_out_with_a_warning():
    verdict = check_students(with_cell(good(), 4, "Student Id", " S0000999 "))
    assert found(verdict) == [("outer-blanks", 4, "Student Id", "warning")]
    assert verdict.ok


# the manifest and its modes


def manifest(files, old: bytes, new: bytes):
    assert old in files["manifest.csv"]
    return {**files, "manifest.csv": files["manifest.csv"].replace(old, new)}


MANIFESTS = {
    "says absent, file is here": (b"file.users,bulk", b"file.users,absent", "manifest-mismatch"),
    "says bulk, no file": (b"file.results,absent", b"file.results,bulk", "missing-file"),
    "another version": (b"oneroster.version,1.1", b"oneroster.version,1.2", "manifest-value"),
    "value unknown": (b"file.results,absent", b"file.results,none", "manifest-value"),
    "version row missing": (b"oneroster.version,1.1\r\n", b"", "manifest-missing"),
    "value empty": (b"file.results,absent", b"file.results,", "required"),
}


@pytest.mark.parametrize("case", MANIFESTS)
def test_a_manifest_that_disagrees_is_an_error(case):
    old, new, code = MANIFESTS[case]
    verdict = checked(ONEROSTER, manifest(oneroster(), old, new))
    assert code in [one.code for one in verdict.findings]
    assert not verdict.ok


def test_a_manifest_row_too_few_for_a_file_not_sent_is_a_warning():
    verdict = checked(ONEROSTER, manifest(oneroster(), b"file.results,absent\r\n", b""))
    assert [(one.code, one.severity) for one in verdict.findings] == [("manifest-incomplete", "warning")]


def test_the_manifest_of_a_known_producer_that_names_its_source_wrongly_is_taken():
    files = manifest(oneroster(), b"manifest.version,1.0", b"manifest.version,1.0\r\nfile.systemName,SIS")
    assert checked(ONEROSTER, files).findings == ()


def test_only_a_manifest_means_that_nothing_has_changed():
    files = {"manifest.csv": oneroster()["manifest.csv"].replace(b",bulk", b",absent")}
    verdict = checked(ONEROSTER, files)
    assert verdict.ok
    assert set(verdict.modes.values()) == {Mode.ABSENT}
    assert [one.code for one in verdict.findings] == ["nothing-sent"]


def test_without_a_manifest_the_set_is_refused():
    files = oneroster()
    del files["manifest.csv"]
    assert [(one.code, one.file) for one in checked(ONEROSTER, files).findings] == [("missing-file", "manifest.csv")]


def test_a_file_of_changes_needs_its_marks_in_every_row():
    files = oneroster(1000, night=1, mode=Mode.CHANGES)
    verdict = checked(ONEROSTER, files)
    assert verdict.ok
    assert verdict.modes["users"] is Mode.CHANGES
    files["users.csv"] = with_cell(files["users.csv"], 2, "status", "")
    assert ("required", 2, "status", "error") in found(checked(ONEROSTER, files))


def test_a_full_file_with_marks_in_some_rows_stays_full_with_warnings():
    files = oneroster()
    files["users.csv"] = with_cell(files["users.csv"], 3, "status", "active")
    verdict = checked(ONEROSTER, files)
    assert found(verdict) == [("marked-in-full", 3, "status", "warning")]
    assert verdict.modes["users"] is Mode.FULL


def test_a_full_file_with_one_row_wholly_marked_stays_full():
    files = oneroster()
    line = line_of(files["users.csv"], 3).replace(b",,,", b",active,2026-08-15T00:00:00Z,", 1)
    files["users.csv"] = with_line(files["users.csv"], 3, line)
    verdict = checked(ONEROSTER, files)
    assert [one.code for one in verdict.findings] == ["marked-in-full"]
    assert verdict.modes["users"] is Mode.FULL


def test_a_full_file_with_marks_in_every_row_removes_nobody():
    files = oneroster()
    lines = files["users.csv"].split(b"\r\n")
    marked = [line.replace(b",,,", b",active,2026-08-15T00:00:00Z,", 1) for line in lines[1:]]
    files["users.csv"] = b"\r\n".join([lines[0], *marked])
    verdict = checked(ONEROSTER, files)
    assert found(verdict) == [("manifest-mode", None, "", "warning")]
    assert verdict.modes["users"] is Mode.CHANGES


# counts, limits, robustness


def test_all_findings_are_counted_and_only_so_many_are_kept():
    content = b"\r\n".join(
        line if at == 0 or not line else line.replace(b",", b",x", 1) + b",too,many"
        for at, line in enumerate(good().split(b"\r\n"))
    )
    verdict = checked(STUDENTS, {FILE: content}, per_code=3)
    assert [(one.code, one.count) for one in verdict.tallies] == [("row-long", 20)]
    assert [one.line for one in verdict.findings] == [2, 3, 4]
    assert verdict.counts[0].errors == 20


def test_of_each_code_so_many_are_kept_whatever_the_number_of_files():
    found = [
        Finding(f"{file}.csv", code, Severity.ERROR, "m", line=line)
        for file, code, lines in (("a", "x", 5), ("b", "x", 3), ("c", "x", 1), ("c", "y", 1))
        for line in range(lines)
    ]
    kept = [(one.file, one.code, one.line) for one in first_of_each(found, 4)]
    assert kept == [("a.csv", "x", 0), ("a.csv", "x", 1), ("b.csv", "x", 0), ("c.csv", "x", 0), ("c.csv", "y", 0)]


def test_errors_of_a_code_are_kept_before_warnings_of_the_same():
    found = [
        Finding("a.csv", "x", severity, "m", line=line)
        for line, severity in enumerate([Severity.WARNING] * 3 + [Severity.NOTE, Severity.ERROR, Severity.ERROR])
    ]
    assert [one.line for one in first_of_each(found, 3)] == [0, 4, 5]


def test_a_hundred_unknown_files_are_counted_and_a_few_are_kept():
    files = {FILE: good(), **{f"odd{number}.csv": b"a\r\n1\r\n" for number in range(100)}}
    verdict = checked(STUDENTS, files, per_code=3)
    assert sum(one.count for one in verdict.tallies if one.code == "unknown-file") == 100
    assert len([one for one in verdict.findings if one.code == "unknown-file"]) == 3


def test_a_problem_of_the_disk_is_not_taken_for_one_of_the_data():
    def gone():
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        check(STUDENTS, [Source(FILE, gone)], Limits(), lambda rows: None)


def test_progress_tells_rows_over_all_files():
    told = []
    check(STUDENTS, sources(students(25_000)), Limits(), told.append)
    assert told == [10_000, 20_000, 25_000]


def test_every_copy_of_a_file_is_told():
    verdict = check(STUDENTS, [*sources(students(3)), *sources(students(3))], Limits(), lambda rows: None)
    assert [one.code for one in verdict.findings] == ["file-twice"]


def test_what_systems_leave_about_is_passed_over():
    verdict = checked(STUDENTS, {**students(3), "COMPLETE": b"", ".DS_Store": b"\0", "notes.txt": b"hello"})
    assert [(one.file, one.code) for one in verdict.findings] == [
        (".DS_Store", "noise-file"),
        ("notes.txt", "unknown-file"),
    ]
    assert verdict.ok


# real samples: read where they lie, if they are there

SAMPLES = Path(__file__).parents[3] / "shared" / "samples"


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the shared samples are not on this machine")
def test_a_real_roster_of_another_make_is_read_to_the_end_and_refused():
    folder = SAMPLES / "microsoft_sds" / "SDS v2.1"
    files = {path.name: path.read_bytes() for path in folder.glob("*.csv")}
    verdict = checked(ONEROSTER, files)
    assert not verdict.ok
    assert {"missing-file", "missing-column"} <= {one.code for one in verdict.tallies}
    assert next(one.rows for one in verdict.counts if one.file == "users.csv") == 8


GLUED = {
    "the first line end is a comma": lambda content: content.replace(b"\r\n", b",", 1),
    "the first line end is gone": lambda content: content.replace(b"\r\n", b"", 1),
    "every line end is gone": lambda content: content.replace(b"\r\n", b","),
    "every line end is two letters": lambda content: content.replace(b"\r\n", rb"\n"),
    "every line end is a line separator": lambda content: content.replace(b"\r\n", "\u2028".encode()),
}


@pytest.mark.parametrize("glue", GLUED.values(), ids=GLUED)
@pytest.mark.parametrize("files", [students(3), students_old(3)], ids=["students", "students-old"])
def test_the_row_that_a_lost_line_end_leaves_in_the_header_is_told_once_and_not_shown(files, glue):
    known = STUDENTS if files == students(3) else STUDENTS_OLD
    verdict = checked(known, {FILE: glue(files[FILE])})
    assert [(one.code, one.column) for one in verdict.findings if one.line == 1] == [("header-glued", "")]
    assert_unseen(files[FILE], verdict.findings)


def assert_unseen(content: bytes, findings: object) -> None:
    """No value of the first row is told anywhere."""
    header, row = list(csv.reader(io.StringIO(content.decode())))[:2]
    told = str(findings)
    assert [value for value in row if len(value) > 2 and value in told and value not in ",".join(header)] == []


HALF_GLUED = {
    "two values more, one a number": ("77,Keane", ["99", "Xxxxx"]),
    "values of letters only, as many as the columns": (",".join("abcdefghijklmnopqrstuvwxyz"), ["x"]),
    "a value twice": ("Keane 7,Keane 7", ["Xxxxx 9"]),
    "behind the last name": ("Locker7", ["Xxxxxx9"]),
}


@pytest.mark.parametrize(("more", "shapes"), HALF_GLUED.values(), ids=HALF_GLUED)
def test_what_may_be_a_value_in_a_header_is_told_as_a_shape(more, shapes):
    header, rest = good().split(b"\r\n", 1)
    verdict = check_students(header + b"," + more.encode() + b"\r\n" + rest)
    told = [one for one in verdict.findings if one.line == 1]
    assert sorted({one.column for one in told}) == shapes
    assert "Only the shape of its name is shown" in str(told)
    assert "Keane" not in str(verdict.findings)


def test_the_column_meant_for_a_missing_one_is_not_named_where_it_may_be_a_value():
    header, rest = good().split(b"\r\n", 1)
    content = header.replace(b"First Name", b"First Name77") + b"\r\n" + rest
    told = {one.code: one for one in check_students(content).findings if one.line == 1}
    assert told["missing-column"].hint == "Is column 4 meant for it?"
    assert told["unknown-column"].hint.endswith("Did you mean `First Name`?")
    assert "77" not in str(told.values())


def test_a_vendors_own_columns_are_named():
    lines = good().split(b"\r\n")
    content = b"\r\n".join(
        [lines[0] + b",Locker Number,Bus Route (AM)", *(line + b",1,2" for line in lines[1:] if line)]
    )
    told = [(one.code, one.column) for one in check_students(content + b"\r\n").findings]
    assert told == [("unknown-column", "Bus Route (AM)"), ("unknown-column", "Locker Number")]


SEVERAL_LINES = {"too short": ("", -3, "row-short"), "too long": (",x", None, "row-long")}


@pytest.mark.parametrize(("more", "end", "code"), SEVERAL_LINES.values(), ids=SEVERAL_LINES)
def test_a_row_with_a_value_of_two_lines_is_told_by_its_width(more, end, code):
    lines = good().split(b"\r\n")
    values = lines[2].split(b",")[:end]
    values[8] = b'"12\nElm"'
    lines[2] = b",".join(values) + more.encode()
    assert [one[:2] for one in found(check_students(b"\r\n".join(lines)))] == [(code, 3)]


ROUNDED = ["3.6E+11", "3,6E+11", "1,23457E+12", "3.6E11", "3.6e+11"]


@pytest.mark.parametrize("value", ROUNDED)
@pytest.mark.parametrize(
    ("known", "file", "column"),
    [
        (ONEROSTER, "users.csv", "identifier"),
        (ONEROSTER, "orgs.csv", "identifier"),
        (STUDENTS, "students.csv", "SIS Internal ID"),
        (FORMATS["oneroster-1.2"], "users.csv", "identifier"),
        (FORMATS["clever"], "students.csv", "State_id"),
    ],
)
def test_an_id_that_a_spreadsheet_has_rounded_is_found_by_both_engines(known, file, column, value):
    files = epoch(known, 20, 1, 0)
    rows = list(csv.reader(io.StringIO(files[file].decode())))
    rows[1][rows[0].index(column)] = value
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    files[file] = out.getvalue().encode()
    for sieve_from in (0, 1 << 30):
        verdict = check(known, sources(files), Limits(sieve_from=sieve_from), lambda rows: None)
        assert ("scientific-notation", 2, column, "error") in found(verdict)


def test_a_day_that_does_not_exist_is_told_with_the_order_in_which_it_was_read():
    (told,) = check_students(with_cell(good(), 3, "Date of Birth", "31/12/2010")).findings
    assert told.message == "There is no such day when it is read as `MM/DD/YYYY`."
