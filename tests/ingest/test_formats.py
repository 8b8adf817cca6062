"""Every shipped format: its invented set is good, is taken for it and no other, and whatever is damaged is found."""

import codecs
import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from ingest.core.check import check
from ingest.core.choose import read_sighting, recognise
from ingest.core.records import read_records
from ingest.core.sampling import epoch
from ingest.core.schema import Container, FieldType, Format, Mode, Table
from ingest.core.verdict import Limits
from tests.ingest.epochs import FORMATS, checked, sources

SIZE = 40
KNOWN = pytest.mark.parametrize("known", FORMATS.values(), ids=list(FORMATS))
Files = dict[str, bytes]
Expected = set[tuple[str, int | None, str]]


def recognised(files: Files, container: Container = Container.LOOSE):
    seen = [read_sighting(name, io.BytesIO(content)) for name, content in files.items()]
    return recognise(seen, list(FORMATS.values()), container)


def table(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def written(rows: list[list[str]]) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\r\n").writerows(rows)
    return out.getvalue().encode()


def with_value(content: bytes, column: str, value: str, line: int = 2) -> bytes:
    rows = table(content)
    rows[line - 1][rows[0].index(column)] = value
    return written(rows)


def found_in(verdict, file: str) -> Expected:
    return {(one.code, one.line, one.column) for one in verdict.findings if one.file == file}


# what is good is good, and is what it is


@KNOWN
def test_its_invented_set_has_no_findings(known):
    assert checked(known, epoch(known, 200)).findings == ()


@KNOWN
def test_its_set_is_taken_for_it_and_for_no_other(known):
    found = recognised({**epoch(known, SIZE), "COMPLETE": b"", ".DS_Store": b"\0"})
    if known.by_hand:
        assert found.format is not known
    else:
        assert found.format is known, found.message


@KNOWN
def test_it_comes_in_a_zip_if_it_says_so(known):
    found = recognised(epoch(known, SIZE), Container.ZIP)
    assert (found.format is known) == (Container.ZIP in known.containers and not known.by_hand)


@pytest.mark.parametrize("known", [one for one in FORMATS.values() if one.manifest], ids=lambda one: one.name)
def test_a_set_of_changes_is_taken_for_the_version_its_manifest_names(known):
    files = epoch(known, SIZE, night=2, mode=Mode.CHANGES)
    assert recognised(files).format is known
    assert checked(known, files).ok
    only = {known.manifest.table.file: files[known.manifest.table.file].replace(b",delta", b",absent")}
    assert recognised(only).format is known
    verdict = checked(known, only)
    assert set(verdict.modes.values()) == {Mode.ABSENT}
    assert [one.code for one in verdict.findings] == ["nothing-sent"]


@KNOWN
def test_each_file_that_must_be_there_is_missed(known):
    for name in (one.name for one in known.tables if one.required):
        files = epoch(known, SIZE)
        del files[known.table(name).file]
        assert not checked(known, files).ok, name
        assert "missing-file" in {one.code for one in checked(known, files).findings}, name


@KNOWN
def test_its_passwords_are_looked_at_and_never_kept(known):
    for one in known.tables:
        for field in one.fields:
            assert field.discard == ("password" in field.name.casefold()), (one.name, field.name)


@KNOWN
def test_its_columns_that_show_a_person_are_marked(known):
    told = {(one.name, field.name) for one in known.tables for field in one.fields if field.personal}
    for one in known.tables:
        for field in one.fields:
            name = field.name.casefold().replace(" ", "").replace("_", "")
            if any(
                word in name for word in ("email", "firstname", "lastname", "givenname", "familyname", "birthd", "dob")
            ):
                assert (one.name, field.name) in told, (one.name, field.name)


# damage: each kind in every table of every format where it can be


Damage = Callable[[Format, Table, bytes], tuple[bytes, Expected] | None]
DAMAGES: dict[str, Damage] = {}


def damage(make: Damage) -> Damage:
    DAMAGES[make.__name__.replace("_", " ")] = make
    return make


def plain_text(one: Table) -> str | None:
    """A column in which any text will do."""
    rules = {name for rule in one.row_rules for name in getattr(rule.what, "fields", ())}
    return next(
        (
            field.name
            for field in one.fields
            if field.type is FieldType.STRING and field.sample
            and not (field.enum or field.pattern or field.identifier or field.unique or field.name in one.key)
            and field.name not in rules
        ),
        None,
    )  # fmt: skip


def lines(content: bytes) -> list[bytes]:
    return content.split(b"\r\n")


def joined(many: list[bytes]) -> bytes:
    return b"\r\n".join(many)


@damage
def byte_order_mark(known, one, content):
    return codecs.BOM_UTF8 + content, set()


@damage
def bare_returns(known, one, content):
    return content.replace(b"\r\n", b"\r"), set()


@damage
def two_kinds_of_line_ends(known, one, content):
    return content.replace(b"\r\n", b"\n", 1), {("mixed-line-ends", None, "")}


@damage
def no_last_line_end(known, one, content):
    return content.removesuffix(b"\r\n"), set()


@damage
def no_rows(known, one, content):
    needed = one.required or one.needs_rows
    return lines(content)[0] + b"\r\n", {("no-rows" if needed else "no-rows-optional", None, "")}


@damage
def no_header(known, one, content):
    return content.split(b"\r\n", 1)[1], {("no-header", 1, "")}


@damage
def header_twice(known, one, content):
    head, *rest = lines(content)
    return joined([head, head, *rest]), {("header-repeated", 2, "")}


@damage
def header_in_other_case(known, one, content):
    head, *rest = lines(content)
    name = one.key[0]
    other = name.swapcase()
    return joined([head.replace(name.encode(), other.encode(), 1), *rest]), {("header-case", 1, other)}


@damage
def header_misspelt(known, one, content):
    rows = table(content)
    rows[0][rows[0].index(one.key[0])] = one.key[0] + "x"
    told = {("missing-column", 1, one.key[0]), ("unknown-column", 1, one.key[0] + "x")}
    return written(rows), told


@damage
def header_without_a_name(known, one, content):
    optional = [at for at, field in enumerate(one.fields[:-1]) if not field.required and field.name not in one.key]
    if not optional:
        return None
    rows = table(content)
    name = rows[0][optional[0]]
    rows[0][optional[0]] = ""
    missing = one.field(name).severity("missing-optional-column")
    return written(rows), {("header-empty", 1, ""), *([("missing-optional-column", 1, name)] if missing else [])}


@damage
def short_row(known, one, content):
    if len(one.fields) < 3:
        return None
    head, _, *rest = lines(content)
    return joined([head, b"x,x", *rest]), {("row-short", 2, "")}


@damage
def long_row(known, one, content):
    head, first, *rest = lines(content)
    return joined([head, first + b",x", *rest]), {("row-long", 2, "")}


@damage
def commas_at_the_end_of_a_row(known, one, content):
    head, first, *rest = lines(content)
    return joined([head, first + b",,", *rest]), {("trailing-commas", 2, "")}


@damage
def commas_at_the_end_of_every_line(known, one, content):
    return content.replace(b"\r\n", b",\r\n"), {("header-trailing", 1, "")}


@damage
def vendor_column(known, one, content):
    rows = table(content)
    return written([rows[0] + ["Vendor"], *([*row, "x"] for row in rows[1:])]), {("unknown-column", 1, "Vendor")}


@damage
def other_order_of_columns(known, one, content):
    if len(one.fields) < 2:
        return None
    told = one.severity("header-order")
    return written([row[::-1] for row in table(content)]), {("header-order", 1, "")} if told else set()


@damage
def blank_lines(known, one, content):
    head, *rest = lines(content)
    return joined([head, b"", b"," * (len(one.fields) - 1), *rest]), set()


@damage
def blanks_around_an_id(known, one, content):
    value = table(content)[1][0]
    name = table(content)[0][0]
    return with_value(content, name, f" {value} "), {("outer-blanks", 2, name)} if value else None


@damage
def id_rounded_by_a_spreadsheet(known, one, content):
    return with_value(content, one.key[0], "3.6E+11"), {("scientific-notation", 2, one.key[0])}


@damage
def key_empty(known, one, content):
    return with_value(content, one.key[0], ""), {("key-empty", 2, one.key[0])}


@damage
def value_missing(known, one, content):
    name = next((field.name for field in one.fields if field.required and field.name not in one.key), None)
    return None if name is None else (with_value(content, name, ""), {("required", 2, name)})


@damage
def byte_of_another_encoding(known, one, content):
    name = plain_text(one)
    if name is None:
        return None
    return with_value(content, name, "Nu!ez").replace(b"Nu!ez", b"Nu\xf1ez"), {("encoding", 2, "")}


@damage
def nul_character(known, one, content):
    name = plain_text(one)
    return None if name is None else (with_value(content, name, "A!B").replace(b"A!B", b"A\0B"), {("nul", 2, name)})


@damage
def quote_that_is_not_closed(known, one, content):
    head, first, *rest = lines(content)
    return joined([head, b'"' + first.replace(b'"', b""), *rest]), {("quote-unclosed", 2, "")}


@damage
def cut_off_in_mid_line(known, one, content):
    if len(one.fields) < 3:
        return None
    many = lines(content)[:-1]
    return joined([*many, many[-1].split(b",")[0]]), {("cut-off", len(many) + 1, "")}


@damage
def line_break_in_a_value(known, one, content):
    name = plain_text(one)
    if name is None:
        return None
    told = {("line-break", 2, "")} if one.severity("line-break") else set()
    return with_value(content, name, "two\nlines"), told


@damage
def formula(known, one, content):
    name = plain_text(one)
    return None if name is None else (with_value(content, name, "=1+1"), set())


def dates(one: Table) -> Iterator[str]:
    """Dates of which the rules on several columns do not depend."""
    return (field.name for field in one.fields if field.type is FieldType.DATE and field.name not in one.key)


@damage
def day_that_does_not_exist(known, one, content):
    name = next(dates(one), None)
    return None if name is None else (with_value(content, name, "2005-02-29"), {("date", 2, name)})


@damage
def year_of_two_digits(known, one, content):
    name = next(dates(one), None)
    return None if name is None else (with_value(content, name, "02/28/05"), {("type", 2, name)})


@damage
def value_not_in_the_list(known, one, content):
    name = next((field.name for field in one.fields if field.enum and field.name not in one.change_marks), None)
    return None if name is None else (with_value(content, name, "nothing such"), {("enum", 2, name)})


@damage
def list_value_in_other_case(known, one, content):
    field = next((field for field in one.fields if field.enum and field.name not in one.change_marks), None)
    if field is None:
        return None
    other = next((value.title() for value in field.enum if value.title() not in field.enum), None)
    told = {("enum-case", 2, field.name)} if field.severity("enum-case") else set()
    return None if other is None else (with_value(content, field.name, other), told)


@damage
def reference_to_nobody(known, one, content):
    for reference in one.references:
        target = known.table(reference.table)
        if target.sample_rows and target is not one:
            pattern = one.field(reference.field).severity("reference")
            return (
                (with_value(content, reference.field, "nobody"), {("reference", 2, reference.field)})
                if pattern
                else None
            )
    return None


@dataclass(frozen=True)
class Case:
    known: Format
    name: str


CASES = [Case(known, name) for known in FORMATS.values() for name in DAMAGES]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.known.name}: {case.name}")
def test_damage_is_found_with_its_line_and_column(case):
    files = epoch(case.known, SIZE)
    tried = 0
    for one in case.known.tables:
        made = DAMAGES[case.name](case.known, one, files[one.file]) if one.file in files else None
        if made is None:
            continue
        tried += 1
        content, expected = made
        verdict = checked(case.known, {**files, one.file: content})
        assert found_in(verdict, one.file) >= expected, one.name
        more = found_in(verdict, one.file) - expected
        # What is damaged may be named by another row of the same file, or by a rule on several columns.
        assert {code for code, _, _ in more} <= {"reference", "dates-order", "disagree"}, (one.name, more)
    assert tried or case.name in RARE


RARE = {"list value in other case", "day that does not exist", "year of two digits", "value not in the list"}


@KNOWN
def test_a_row_twice_is_a_note_and_two_rows_of_one_key_are_both_refused(known):
    files = epoch(known, SIZE)
    for one in known.tables:
        if one.file not in files:
            continue
        rows = table(files[one.file])
        last = len(rows) + 1
        again = found_in(checked(known, {**files, one.file: written([*rows, rows[1]])}), one.file)
        assert ("key-repeated", last, one.key[0]) in again, one.name
        name = plain_text(one)
        if name:
            other = with_value(written([*rows, rows[1]]), name, "Another", last)
            assert {("key-duplicate", 2, one.key[0]), ("key-duplicate", last, one.key[0])} <= found_in(
                checked(known, {**files, one.file: other}), one.file
            ), one.name


@KNOWN
def test_the_wrong_file_under_a_right_name_is_left_for_staff(known):
    files = epoch(known, SIZE)
    tables = [one for one in known.tables if one.required or one.name in known.recognised_by_any[:1]]
    wrong = {**files, tables[0].file: b"Year,Budget\r\n2026,1\r\n"}
    found = recognised(wrong)
    assert found.format is None
    assert f"`{tables[0].file}`" in " ".join(reason for miss in found.near_misses for reason in miss.reasons)


# rules on several columns, as the formats use them

PRIMARY = {"classSourcedId": "SAME", "role": "teacher", "primary": "true"}
BROKEN = {
    "dates of a session": (
        "oneroster-1.1", "academicSessions", {2: {"endDate": "2026-01-01"}}, ("dates-order", 2, "endDate", "error"),
    ),
    "dates of an enrolment": (
        "oneroster-1.2", "enrollments", {3: {"endDate": "2026-01-01"}}, ("dates-order", 3, "endDate", "warning"),
    ),
    "a primary student": (
        "oneroster-1.2", "enrollments", {2: {"role": "student", "primary": "true"}},
        ("condition", 2, "role", "warning"),
    ),
    "two primary teachers": (
        "oneroster-1.2", "enrollments", {2: PRIMARY, 5: PRIMARY}, ("once", 5, "primary", "warning"),
    ),
    "two primary roles": (
        "oneroster-1.2", "roles", {4: {"userSourcedId": "SAME", "orgSourcedId": "SAME"}},
        ("once", 4, "roleType", "warning"),
    ),
    "an organisation above itself": (
        "oneroster-1.1", "orgs", {2: {"parentSourcedId": "OWN"}}, ("circle", 2, "parentSourcedId", "error"),
    ),
    "an organisation of another make above itself": (
        "sds-2.1", "orgs", {2: {"parentSourcedId": "OWN"}}, ("circle", 2, "parentSourcedId", "error"),
    ),
    "dates of a term written in two ways": (
        "sds-1", "Section", {2: {"Term StartDate": "9/1/2026", "Term EndDate": "2026-08-31"}},
        ("dates-order", 2, "Term EndDate", "warning"),
    ),
    "a student who is two": (
        "clever", "students", {3: {"Student_id": "SAME", "Contact_name": "Ada Hale", "Last_name": "Another"}},
        ("disagree", 3, "Last_name", "error"),
    ),
    "roles without their buildings": (
        "samegoal-students-2", "users", {2: {"Role": "A;B;C", "Buildings": "North School;North School,South School"}},
        ("parts", 2, "Buildings", "warning"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_rule_on_several_columns_is_found_broken(case):
    name, of, edits, expected = BROKEN[case]
    known = FORMATS[name]
    files = epoch(known, 500)
    content = files[known.table(of).file]
    for at, values in edits.items():
        for key, value in values.items():
            meant = {"OWN": value_of(content, known.table(of).key[0], at), "SAME": value_of(content, key, 2)}
            content = with_value(content, key, meant.get(value, value), at)
    verdict = checked(known, {**files, known.table(of).file: content})
    assert expected in {(one.code, one.line, one.column, one.severity) for one in verdict.findings}


def value_of(content: bytes, column: str, line: int) -> str:
    rows = table(content)
    return rows[line - 1][rows[0].index(column)]


# what only one format knows


@pytest.mark.parametrize("sieve_from", [1, 1 << 40])
def test_rows_of_one_student_must_agree_also_without_a_column_that_may_be_missing(sieve_from):
    known = FORMATS["clever"]
    files = epoch(known, SIZE)
    rows = table(files["students.csv"])
    second = list(rows[1])
    second[rows[0].index("Contact_name")], second[rows[0].index("First_name")] = "Ada Hale", "Other"
    left = [at for at, name in enumerate(rows[0]) if name != "Middle_name"]
    files["students.csv"] = written([[row[at] for at in left] for row in [*rows, second]])
    found = check(known, sources(files), Limits(sieve_from=sieve_from), lambda rows: None).findings
    assert [(one.line, one.column, one.code) for one in found] == [(len(rows) + 1, "First_name", "disagree")]


def test_a_student_stands_in_as_many_rows_as_he_has_contacts():
    known = FORMATS["clever"]
    files = epoch(known, SIZE)
    rows = table(files["students.csv"])
    second = list(rows[1])
    second[rows[0].index("Contact_name")] = "Ada Hale"
    files["students.csv"] = written([*rows, second])
    verdict = checked(known, files)
    assert verdict.findings == ()
    kept = list(read_records(known.table("students"), sources({"students.csv": files["students.csv"]})[0], Limits()))
    assert len({row.key for row in kept}) == len(rows)


def test_a_teacher_of_two_schools_stands_in_two_rows_and_is_referred_to_by_one_id():
    known = FORMATS["clever"]
    files = epoch(known, 500)
    rows = table(files["teachers.csv"])
    second = list(rows[1])
    second[rows[0].index("School_id")] = value_of(files["schools.csv"], "School_id", 3)
    files["teachers.csv"] = written([*rows, second])
    assert checked(known, files).findings == ()
    files["sections.csv"] = with_value(files["sections.csv"], "Teacher_2_id", "tch-99999")
    assert found_in(checked(known, files), "sections.csv") == {("reference", 2, "Teacher_2_id")}


def test_staff_of_the_whole_district_need_no_school():
    known = FORMATS["clever"]
    files = epoch(known, 500)
    files["staff.csv"] = with_value(files["staff.csv"], "School_id", "district")
    assert checked(known, files).findings == ()


@pytest.mark.parametrize("twelve", ["with", "without"])
def test_both_makes_of_the_later_roster_are_taken_with_and_without_the_column_that_was_withdrawn(twelve):
    known = FORMATS["oneroster-1.2"]
    files = epoch(known, SIZE)
    rows = table(files["users.csv"])
    at = rows[0].index("resourceSourcedIds")
    if twelve == "without":
        rows = [row[:at] + row[at + 1 :] for row in rows]
    files["users.csv"] = written(rows)
    assert len(rows[0]) == (24 if twelve == "with" else 23) - 1
    assert checked(known, files).findings == ()


def test_a_vocabulary_may_be_extended_where_the_later_roster_allows_it():
    known = FORMATS["oneroster-1.2"]
    files = epoch(known, 500)
    files["classes.csv"] = with_value(files["classes.csv"], "classType", "ext:club")
    assert checked(known, files).findings == ()
    files["roles.csv"] = with_value(files["roles.csv"], "roleType", "ext:third")
    assert found_in(checked(known, files), "roles.csv") == {("enum", 2, "roleType")}


@pytest.mark.parametrize(
    ("of", "new", "old"),
    [
        ("demographics", "sourcedId", "userSourcedId"),
        ("users", "agentSourcedIds", "agents"),
        ("courses", "grades", "grade"),
    ],
)  # fmt: skip
def test_columns_of_the_oldest_roster_are_read_with_a_warning(of, new, old):
    known = FORMATS["oneroster-1.1"]
    files = epoch(known, SIZE)
    file = f"{of}.csv"
    files[file] = files[file].replace(new.encode(), old.encode(), 1)
    assert recognised(files).format is known
    verdict = checked(known, files)
    assert found_in(verdict, file) == {("header-alias", 1, old)}
    assert verdict.ok


@pytest.mark.parametrize(("value", "told"), [("{LDAP:ada},{SIS:00042}", set()), ("ada", {("pattern", 2, "userIds")})])
@pytest.mark.parametrize("name", ["oneroster-1.1", "oneroster-1.2"])
def test_further_ids_of_a_user_name_their_kind(name, value, told):
    known = FORMATS[name]
    files = epoch(known, SIZE)
    files["users.csv"] = with_value(files["users.csv"], "userIds", value)
    verdict = checked(known, files)
    assert found_in(verdict, "users.csv") == told
    assert verdict.ok


def test_classes_and_enrolments_come_together_or_not_at_all():
    known = FORMATS["sds-2.1"]
    files = epoch(known, SIZE)
    both = {name: content for name, content in files.items() if name not in ("classes.csv", "enrollments.csv")}
    assert recognised(both).format is known
    assert checked(known, both).ok
    verdict = checked(known, {**both, "classes.csv": files["classes.csv"]})
    assert [(one.file, one.code) for one in verdict.findings if one.code == "missing-file"] == [
        ("enrollments.csv", "missing-file")
    ]


def test_a_flag_that_is_a_number_stays_a_text():
    known = FORMATS["sds-2.1"]
    content = b"userSourcedId,flag\r\n1,504\r\n1,0504\r\n"
    rows = read_records(known.table("userFlags"), sources({"userFlags.csv": content})[0], Limits())
    assert [row.values["flag"] for row in rows] == ["504", "0504"]


def test_roles_in_any_case_are_one_role():
    known = FORMATS["sds-2"]
    content = b"classSourcedId,userSourcedId,role\r\n1,2,Student\r\n1,2,student\r\n"
    rows = list(read_records(known.table("enrollments"), sources({"e": content})[0], Limits()))
    assert [row.values["role"] for row in rows] == ["student", "student"]
    assert rows[0].key == rows[1].key
    files = {**epoch(known, SIZE), "enrollments.csv": content}
    assert ("key-repeated", 3, "classSourcedId") in found_in(checked(known, files), "enrollments.csv")


@pytest.mark.parametrize("alone", ["students.csv", "users.csv", "user_roles.csv"])
def test_a_file_that_comes_alone_is_known(alone):
    known = FORMATS["samegoal-students-2"]
    files = {alone: epoch(known, SIZE)[alone]}
    assert recognised(files).format is known
    assert checked(known, files).ok


def test_guardians_do_not_come_without_students():
    known = FORMATS["samegoal-students-2"]
    files = {"guardians.csv": epoch(known, SIZE)["guardians.csv"]}
    verdict = checked(known, files)
    assert ("students.csv", "missing-file") in {(one.file, one.code) for one in verdict.findings}


NIGHTLY, BULK = FORMATS["samegoal-students-2"], FORMATS["samegoal-bulk-2"]


def test_the_bulk_loader_has_the_columns_of_the_nightly_files():
    names = [[(one.file, [field.name for field in one.fields]) for one in known.tables] for known in (NIGHTLY, BULK)]
    assert names[0] == names[1]


def test_the_bulk_loader_never_takes_students_away_and_the_nightly_files_do():
    files = epoch(BULK, SIZE)
    assert checked(NIGHTLY, files).modes["students"] is Mode.FULL
    modes = checked(BULK, files).modes
    assert {name: mode for name, mode in modes.items() if mode is Mode.FULL} == {"guardians": Mode.FULL}


# near misses: what staff read


def without(name: str, file: str) -> Files:
    files = epoch(FORMATS[name], SIZE)
    del files[file]
    return files


def changed(name: str, file: str, old: bytes, new: bytes) -> Files:
    files = epoch(FORMATS[name], SIZE)
    assert old in files[file]
    return {**files, file: files[file].replace(old, new)}


def renamed(name: str, file: str, other: str) -> Files:
    return {other if known == file else known: content for known, content in epoch(FORMATS[name], SIZE).items()}


NEAR = {
    "no manifest": (
        without("oneroster-1.1", "manifest.csv"), "oneroster-1.1", "have the export write version 1.1 or 1.2",
    ),
    "a version to come": (
        changed("oneroster-1.2", "manifest.csv", b"oneroster.version,1.2", b"oneroster.version,2.0"), "oneroster-1.2",
        "`oneroster.version` in `manifest.csv` is `2.0`",
    ),
    "columns of one version, name of the other": (
        changed("oneroster-1.1", "manifest.csv", b"oneroster.version,1.1", b"oneroster.version,1.2"), "oneroster-1.1",
        "is `1.2` and not `1.1`",
    ),
    "no teachers": (without("sds-1", "Teacher.csv"), "sds-1", "`Teacher.csv` is missing."),
    "teachers misnamed": (
        renamed("sds-1-uk", "Teacher.csv", "Teachers.csv"), "sds-1-uk", "did you mean `Teacher.csv`?",
    ),
    "a column misspelt": (
        changed("clever", "students.csv", b"Student_id", b"Studnt_id"), "clever", "is `Studnt_id` meant for it?",
    ),
    "semicolons": (
        changed("clever", "schools.csv", b",", b";"), "clever", "seem to be separated by semicolons",
    ),
    "no classes": (without("sds-2", "classes.csv"), "sds-2", "`classes.csv` is missing."),
}  # fmt: skip


@pytest.mark.parametrize("case", NEAR)
def test_a_near_miss_names_the_format_meant_and_what_is_to_be_mended(case):
    files, name, sentence = NEAR[case]
    found = recognised(files)
    assert found.format is None
    assert found.near_misses[0].format == name, found.near_misses
    assert sentence in found.message
