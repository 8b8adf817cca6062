"""How fast a file is checked: `python benchmarks/ingest.py`, against polars.read_csv and frictionless validate.

Sets of OneRoster are invented: 1 k, 20 k, 200 k or 2 M users, five enrolments each, the same bytes for the same seed.
`users.csv` has fifteen columns; with --rows 1000000 it is the file of the goal. In damaged sets one line in a
thousand of the file that is measured (--table) has a fault, of every kind in turn, and the check must find each in
its line. Every measurement is a process of its own, both sides in turns, on the processors this machine has; what is
written in brackets is time of all processors together, which depends less on whoever else is at work. Memory is the
most that the process ever held (ru_maxrss).

polars is needed, and for the slow peer the path of a Python that has frictionless: --frictionless PATH.

Options: --rows 1000000 --table users|enrollments --rounds 3 --frictionless PYTHON --frictionless-rows 20000 --keep DIR
"""

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

FORMAT = "oneroster-1.1"
EVERY = 1000
KINDS = ("wall", "processor")
GIVEN = "Ada Ben Cleo Dan Eva Finn Gia Hugo Ida Jon Kai Lea Max Nia Otto Pia Quin Rosa Sam Tess Uma Vic Wes Yara Zoë"
FAMILY = (
    "Abel Birch Cole Drake Ellis Frost Grant Hale Irwin Joyce Keane Lowe Marsh Nash Orr Pike O'Neal Nuñez Smith-Hale"
)
HEADERS = {
    "orgs": "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId",
    "academicSessions": ("sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear"),
    "courses": "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,grades,orgSourcedId",
    "classes": (
        "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,"
        "termSourcedIds"
    ),
    "users": (
        "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,"
        "middleName,identifier,email,agentSourcedIds,grades"
    ),
    "enrollments": (
        "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate"
    ),
}
NOT_SENT = (
    "categories", "classResources", "courseResources", "demographics", "lineItems", "resources", "results",
)  # fmt: skip

Damage = Callable[[list[str]], list[str]]


# --- The files ---------------------------------------------------------------------------------------------------


def with_value(at: int, value: str) -> Damage:
    return lambda row: [*row[:at], value, *row[at + 1 :]]


# What is wrong, by table and by the code the check gives it.
OF_USERS: dict[str, Damage] = {
    "required": with_value(8, ""),
    "key-empty": with_value(0, ""),
    "enum": with_value(5, "pupil"),
    "enum-case": with_value(3, "True"),
    "pattern": with_value(0, "user 7"),
    "too-long": with_value(0, "u" * 300),
    "scientific-notation": with_value(0, "3.6E+11"),
    "reference": with_value(4, "org-999999"),
    "row-short": lambda row: row[:-1],
    "row-long": lambda row: [*row, "more"],
    "trailing-commas": lambda row: [*row, "", ""],
    "quote-stray": with_value(8, 'A"da'),
    "quote-unclosed": with_value(8, '"Ada'),
    "outer-blanks": with_value(8, " Ada"),
    "nul": with_value(8, "A\0da"),
    "control-character": with_value(8, "A\x07da"),
    "encoding": with_value(8, "\udcff"),
    "line-break": with_value(8, '"A\nda"'),
    "header-repeated": lambda row: HEADERS["users"].split(","),
    "key-duplicate": with_value(0, "user-00000000"),
}
OF_ENROLMENTS: dict[str, Damage] = {
    "required": with_value(6, ""),
    "key-empty": with_value(0, ""),
    "enum": with_value(6, "pupil"),
    "enum-case": with_value(6, "Student"),
    "pattern": with_value(0, "enrollment 7"),
    "too-long": with_value(0, "e" * 300),
    "scientific-notation": with_value(0, "3.6E+11"),
    "reference": with_value(5, "user-99999999"),
    "date": with_value(8, "2026-02-30"),
    "row-short": lambda row: row[:-1],
    "row-long": lambda row: [*row, "more"],
    "trailing-commas": lambda row: [*row, "", ""],
    "quote-stray": with_value(9, '2027"-06-05'),
    "quote-unclosed": with_value(9, '"2027-06-05'),
    "outer-blanks": with_value(6, " student"),
    "nul": with_value(6, "stu\0dent"),
    "control-character": with_value(6, "stu\x07dent"),
    "encoding": with_value(6, "\udcff"),
    "line-break": with_value(6, '"stu\ndent"'),
    "header-repeated": lambda row: HEADERS["enrollments"].split(","),
    "key-duplicate": with_value(0, "enrollment-0000000000"),
}
DAMAGES = {"users": OF_USERS, "enrollments": OF_ENROLMENTS}


def users(count: int, schools: int) -> Iterator[list[str]]:
    dice = random.Random(1)
    given, family = GIVEN.split(), FAMILY.split()
    for n in range(count):
        school = dice.randrange(schools)
        orgs = f"org-{school:04}" if n % 20 else f'"org-{school:04},org-{(school + 1) % schools:04}"'
        role = "student" if n % 15 else "teacher"
        name, last = given[dice.randrange(len(given))], family[dice.randrange(len(family))]
        yield [
            f"user-{n:08}", "", "", "true", orgs, role, f"u{n:07}", f"{{LDAP:u{n:07}}}", name, last, "", f"{n:07}",
            f"u{n:07}@district.example", "", f"{n % 13:02}",
        ]  # fmt: skip


def enrolments(count: int, people: int, classes: int, schools: int) -> Iterator[list[str]]:
    dice = random.Random(2)
    for n in range(count):
        number = dice.randrange(classes)
        school, person = number % schools, dice.randrange(people)
        yield [
            f"enrollment-{n:010}", "", "", f"class-{number:07}", f"org-{school:04}", f"user-{person:08}", "student", "",
            "2026-08-17", "2027-06-05",
        ]  # fmt: skip


def set_write(place: Path, people: int, rows: int, damaged: str = "") -> list[tuple[int, str]]:
    """Writes a set with so many users and enrolments; gives the faults put in, as line of the table `damaged` and code.

    The other table is whole, so that each fault is of one file alone.
    """
    schools, classes = max(people // 500, 2), max(people // 20, 1)
    lines = {
        "orgs": (f"org-{n:04},,,School {n},school,{n:06},\r\n" for n in range(schools)),
        "academicSessions": ["term-01,,,Term 1,term,2026-08-17,2027-06-05,,2027\r\n"],
        "courses": ["course-1,,,term-01,Biology,C1,09,org-0000\r\n"],
        "classes": (
            f"class-{n:07},,,Biology,09,course-1,{n}-1,scheduled,,org-{n % schools:04},term-01\r\n"
            for n in range(classes)
        ),
    }
    for name, content in lines.items():
        with (place / f"{name}.csv").open("w", newline="") as out:
            out.write(HEADERS[name] + "\r\n")
            out.writelines(content)
    sent = dict.fromkeys(HEADERS, "bulk") | dict.fromkeys(NOT_SENT, "absent")
    properties = {"manifest.version": "1.0", "oneroster.version": "1.1"} | {f"file.{name}": sent[name] for name in sent}
    manifest = "".join(f"{name},{value}\r\n" for name, value in properties.items())
    (place / "manifest.csv").write_text("propertyName,value\r\n" + manifest, newline="")
    rows_of = {"users": users(people, schools), "enrollments": enrolments(rows, people, classes, schools)}
    faults = {name: rows_write(place, name, content, damaged == name) for name, content in rows_of.items()}
    return faults.get(damaged, [])


def rows_write(place: Path, table: str, rows: Iterable[list[str]], damaged: bool) -> list[tuple[int, str]]:
    faults, line, kinds = [], 1, list(DAMAGES[table].items())
    with (place / f"{table}.csv").open("w", newline="", encoding="utf-8", errors="surrogateescape") as out:
        out.write(HEADERS[table] + "\r\n")
        for n, row in enumerate(rows):
            line += 1
            if damaged and n % EVERY == EVERY // 2:
                code, damage = kinds[n // EVERY % len(kinds)]
                row = damage(row)
                faults.append((line, code))
                line += code == "line-break"
            out.write(",".join(row) + "\r\n")
    return faults


# --- What is measured, each in a process of its own -----------------------------------------------------------------


def check_set(place: Path, table: str) -> object:
    from ingest.core.catalogue import read_catalogue  # noqa: PLC0415
    from ingest.core.check import Limits, Source, check  # noqa: PLC0415

    known = next(known for known in read_catalogue() if known.name == FORMAT)
    sources = [Source(path.name, lambda path=path: path.open("rb")) for path in sorted(place.iterdir())]
    begun = (time.perf_counter(), time.process_time())
    verdict = check(known, sources, Limits(per_code=1_000_000), lambda rows: None)
    took = (time.perf_counter() - begun[0], time.process_time() - begun[1])
    found = [(one.line, one.code) for one in verdict.findings if one.file == f"{table}.csv"]
    return *took, {"found": found, "ok": verdict.ok}


def read_polars(place: Path, table: str) -> object:
    import polars  # noqa: PLC0415

    begun = (time.perf_counter(), time.process_time())
    frame = polars.read_csv(place / f"{table}.csv")
    return time.perf_counter() - begun[0], time.process_time() - begun[1], {"rows": frame.height}


MEASURES = {"check": check_set, "polars": read_polars}


def measured(what: str, place: Path, table: str) -> dict[str, object]:
    command = [sys.executable, __file__, "--measure", what, "--place", str(place), "--table", table]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measure(what: str, place: Path, table: str) -> None:
    wall, processor, more = MEASURES[what](place, table)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"wall": wall, "processor": processor, "memory": memory, **more}))


FRICTIONLESS = """
import json, resource, sys, time
from frictionless import Resource, Schema
begun = (time.perf_counter(), time.process_time())
schema = Schema.from_descriptor(json.loads(sys.argv[3]))
report = Resource(path=sys.argv[1], basepath=sys.argv[2], schema=schema).validate()
took = (time.perf_counter() - begun[0], time.process_time() - begun[1])
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"wall": took[0], "processor": took[1], "memory": memory, "errors": report.stats["errors"]}))
"""


def measured_frictionless(python: str, place: Path) -> dict[str, float]:
    """The same rules for users.csv alone, in its own words; references to other files left out, in its favour."""
    package = json.loads((ROOT / "ingest" / "formats" / f"{FORMAT}.json").read_text())
    schema = next(one for one in package["resources"] if one["name"] == "users")["schema"]
    names = HEADERS["users"].split(",")
    fields = [{k: v for k, v in one.items() if k != "sftpPortal"} for one in schema["fields"] if one["name"] in names]
    for one in fields:
        # Their lists are strict about what they hold; text is quicker.
        if one.get("type") == "list":
            one["type"] = "string"
    given = json.dumps({"fields": fields, "primaryKey": schema["primaryKey"]})
    command = [python, "-c", FRICTIONLESS, "users.csv", str(place), given]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


# --- The table --------------------------------------------------------------------------------------------------------


def line_told(name: str, runs: list[dict[str, float]], against: list[float] | None = None) -> list[float]:
    wall, processor = took = [statistics.median(run[what] for run in runs) for what in KINDS]
    memory = max(run["memory"] for run in runs)
    ratio = f"  {wall / against[0]:5.2f} x  [{processor / against[1]:5.2f} x]" if against else ""
    print(f"{name:34} {wall:8.2f} s  [{processor:7.2f} s]  {memory:6.0f} MB{ratio}", flush=True)
    return took


def faults_told(faults: list[tuple[int, str]], run: dict[str, object]) -> None:
    found = {tuple(one) for one in run["found"]}
    missed = [fault for fault in faults if fault not in found]
    told = f"{len(faults)} faults of {len({code for _, code in faults})} kinds put in, {len(missed)} missed"
    print(f"{told}; findings: {len(found)}", *missed[:5])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--table", choices=["users", "enrollments"], default="users")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frictionless")
    parser.add_argument("--frictionless-rows", type=int, default=20_000)
    parser.add_argument("--measure", choices=MEASURES)
    parser.add_argument("--place", type=Path)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure, given.place, given.table)
        return
    with tempfile.TemporaryDirectory(prefix="ingest-") as directory:
        compare(Path(directory), given)


def compare(directory: Path, given: argparse.Namespace) -> None:
    people, rows = (given.rows, 0) if given.table == "users" else (given.rows // 5, given.rows)
    clean, damaged = directory / "clean", directory / "damaged"
    for place in (clean, damaged):
        place.mkdir()
    set_write(clean, people, max(rows, 1))
    faults = set_write(damaged, people, max(rows, 1), given.table)
    size = (clean / f"{given.table}.csv").stat().st_size / 1e6
    print(f"{given.table}.csv: {given.rows:,} rows, {size:,.0f} MB")
    runs: dict[str, list[dict[str, float]]] = {"polars": [], "clean": [], "damaged": []}
    for _ in range(given.rounds):
        runs["polars"].append(measured("polars", clean, given.table))
        runs["clean"].append(measured("check", clean, given.table))
        runs["damaged"].append(measured("check", damaged, given.table))
    bare = line_told("polars.read_csv, clean file", runs["polars"])
    line_told("check of the set, clean", runs["clean"], bare)
    ours = line_told("check of the set, damaged", runs["damaged"], bare)
    faults_told(faults, runs["damaged"][0])
    if given.frictionless:
        slow(directory, given, [one / given.rows for one in ours])


def slow(directory: Path, given: argparse.Namespace, ours: list[float]) -> None:
    place = directory / "slow"
    place.mkdir()
    set_write(place, given.frictionless_rows, 1)
    run = measured_frictionless(given.frictionless, place)
    line_told(f"frictionless, {given.frictionless_rows:,} rows", [run])
    wall, processor = (run[what] / given.frictionless_rows / one for what, one in zip(KINDS, ours, strict=True))
    print(f"a row takes {wall:,.0f} times as long as ours, and [{processor:,.0f}] times the processor")


if __name__ == "__main__":
    main()
