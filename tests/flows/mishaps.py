"""How nightly files go wrong: for each way of E1 to E22 the nights that show it, and what must become of the last one.

The numbers are those of the list that the project's formats were drawn up with; what each stands for is said here.
"""

import codecs
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ingest.catalogue import format_named
from ingest.core import sampling
from ingest.core.causes import Cause
from ingest.core.mishaps import mishaps
from ingest.core.schema import Format
from tests.ingest.epochs import with_cell

Files = dict[str, bytes]
ROWS = 60


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Nights in a row, the last of them the one that matters: the state it ends in, and codes that must be told."""

    number: str
    what: str
    nights: tuple[Files, ...]
    state: str
    codes: frozenset[str] = frozenset()
    cause: str = ""

    @property
    def slug(self) -> str:
        return f"{self.number}-{self.what}".casefold().replace(" ", "-").replace("'", "")


def known(name: str) -> Format:
    """A format that is shipped."""
    found = format_named(name)
    assert found is not None
    return found


def students(night: int = 0, rows: int = ROWS) -> Files:
    """A night of one file."""
    return {"students.csv": sampling.epoch(known("samegoal-students-2"), rows, 1, night)["students.csv"]}


def roster(night: int = 0, rows: int = ROWS) -> Files:
    """A night of many files that refer to each other."""
    return sampling.epoch(known("oneroster-1.1"), rows, 1, night)


def spoilt(change: Callable[[bytes], bytes], night: int = 1, rows: int = ROWS) -> Files:
    """A night of one file that is not as it should be."""
    return {"students.csv": change(students(night, rows)["students.csv"])}


def lines(content: bytes) -> list[bytes]:
    return content.removesuffix(b"\r\n").split(b"\r\n")


def joined(rows: list[bytes]) -> bytes:
    return b"\r\n".join([*rows, b""])


def header(content: bytes) -> bytes:
    return content.split(b"\r\n")[0] + b"\r\n"


def without(files: Mapping[str, bytes], name: str) -> Files:
    return {one: content for one, content in files.items() if one != name}


def people(night: int = 0) -> Files:
    """A night of four files, of which one need not be there."""
    return sampling.epoch(known("samegoal-students-2"), ROWS, 1, night)


def one_school() -> tuple[Files, ...]:
    """A night, and the next with the pupils of one school only."""
    before = students(0, 400)
    rows = [line.split(b",") for line in lines(before["students.csv"])]
    at = rows[0].index(b"Building")
    kept = [row for row in rows if row[at] in (b"Building", rows[1][at])]
    return before, {"students.csv": joined([b",".join(row) for row in kept])}


def guarded(cause: Cause) -> tuple[Files, ...]:
    """Nights of one file of which the last shows this cause of a hold."""
    found = next(one for one in mishaps(known("samegoal-students-2")) if one.cause is cause)
    return (*found.earlier[-2:], found.tonight)


def _twice(content: bytes) -> bytes:
    rows = lines(content)
    return joined([*rows, rows[3]])


def _twice_otherwise(content: bytes) -> bytes:
    return joined([*lines(content), lines(with_cell(content, 4, "Last Name", "Otherwise"))[3]])


def _blank_rows(content: bytes) -> bytes:
    rows = lines(content)
    blank = b"," * rows[0].count(b",")
    rows = [row + b",," for row in rows]
    return joined([*rows[:9], b"", blank, *rows[9:], b"", b"  "])


def _typo(content: bytes) -> bytes:
    return content.replace(b"Student Id", b"Student d", 1)


def _misspelt(content: bytes) -> bytes:
    return content.replace(b"Last Name", b"Lastname ", 1)


FEW = students(0, 10)["students.csv"]
TWO_LEFT = joined(lines(FEW)[:-2])
MANY = students(0, 100)["students.csv"]
AT_THE_LIMIT, OVER_IT = joined(lines(MANY)[:-10]), joined(lines(MANY)[:-11])

CASES = (
    Case("E2", "cut in mid-row", (students(), spoilt(lambda content: content[:-30])), "failed",
         frozenset({"cut-off"}), "cut-off"),
    Case("E2", "half the file", (students(0, 400), spoilt(lambda content: joined(lines(content)[:150]), 0, 400)),
         "held", frozenset({"too-many-removed"})),
    Case("E3", "an old tail", guarded(Cause.OLD_TAIL), "failed", cause="old-tail"),
    Case("E4", "no bytes", (students(), {"students.csv": b""}), "waiting_staff"),
    Case("E4", "a mark and no bytes", (students(), {"students.csv": codecs.BOM_UTF8}), "waiting_staff"),
    Case("E4", "a header and no rows", (students(), spoilt(header)), "failed", frozenset({"no-rows"})),
    Case("E4", "a header and blank rows", (students(), spoilt(lambda content: header(content) + b"\r\n" * 9)), "failed",
         frozenset({"no-rows"})),
    Case("E5", "all ids differ", guarded(Cause.NEW_IDS), "held", frozenset({"too-many-added"}), "new-ids"),
    Case("E5", "one school only", one_school(), "held", frozenset({"too-many-removed"}), "school-filter"),
    Case("E5", "a typing error in the header", (students(), spoilt(_typo)), "waiting_staff"),
    Case("E5", "what cannot be seen in the header", guarded(Cause.INVISIBLE_HEADER), "failed",
         cause="invisible-header"),
    Case("E5", "just at the limit", ({"students.csv": MANY}, {"students.csv": AT_THE_LIMIT}), "loaded"),
    Case("E5", "one over the limit", ({"students.csv": MANY}, {"students.csv": OVER_IT}), "held",
         frozenset({"too-many-removed"})),
    Case("E5", "two of ten rows", ({"students.csv": FEW}, {"students.csv": TWO_LEFT}), "loaded"),
    Case("E7", "a row twice", (students(), spoilt(_twice)), "loaded", frozenset({"key-repeated"})),
    Case("E7", "two rows of one key", (students(), spoilt(_twice_otherwise)), "failed", frozenset({"key-duplicate"})),
    Case("E8", "a byte order mark", (students(), spoilt(lambda content: codecs.BOM_UTF8 + content)), "loaded"),
    Case("E8", "UTF-16", (students(), spoilt(lambda content: content.decode().encode("utf-16"))), "loaded",
         frozenset({"utf-16"})),
    Case("E8", "no text", (students(), spoilt(lambda content: with_cell(content, 5, "Last Name", "M?ller").replace(
        b"M?ller", b"M\xfcller"))), "failed", frozenset({"encoding"})),
    Case("E8", "carriage returns", (students(), spoilt(lambda content: content.replace(b"\r\n", b"\r"))), "loaded"),
    Case("E8", "a NUL", (students(), spoilt(lambda content: with_cell(content, 5, "Last Name", "\0"))), "failed"),
    Case("E11", "a file of the usual set", (people(), without(people(), "user_roles.csv")), "held",
         frozenset({"file-gone"})),
    Case("E12", "a file misnamed", (roster(), {**without(roster(1), "enrollments.csv"), "enrolments.csv":
         roster(1)["enrollments.csv"]}), "failed", frozenset({"missing-file", "unknown-file"})),
    Case("E12", "a column misnamed", (students(), spoilt(_misspelt)), "failed", frozenset({"missing-column"}),
         "header-typo"),
    Case("E15", "last night's file again", (students(), students()), "loaded"),
    Case("E16", "a reference to nobody", (roster(), {**roster(1), "enrollments.csv": with_cell(
        roster(1)["enrollments.csv"], 3, "userSourcedId", "nobody")}), "failed", frozenset({"reference"})),
    Case("E17", "blank rows and commas behind", (students(), spoilt(_blank_rows)), "loaded"),
    Case("E18", "semicolons", (students(), spoilt(lambda content: content.replace(b",", b";"))), "waiting_staff"),
    Case("E19", "a number as spreadsheets write it", (students(), spoilt(
        lambda content: with_cell(content, 4, "Student Id", "3.6E+11"))), "failed", cause="spreadsheet"),
    Case("E19", "lost zeros", guarded(Cause.SHORTER_IDS), "held", cause="shorter-ids"),
    Case("E21", "the same upload twice", (students(), students(1), students(1)), "loaded"),
)  # fmt: skip
