"""Reads a CSV file of districts to open: all rows or none, with every problem named by its line."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field

from . import names

COLUMNS = ("name", "domain", "time_zone", "administrator_name", "administrator_email")
REQUIRED = ("name", "domain")
LONGEST_NAME = 150
LONGEST_ADDRESS = 254


@dataclass(frozen=True, slots=True)
class Row:
    """One district to open: `line` is its line in the file, `problems` are sentences; none means it is fine."""

    line: int
    name: str
    domain: str
    time_zone: str
    administrator_name: str
    administrator_email: str
    problems: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Roster:
    """What a file says: rows in its order, and what is wrong with the file as a whole."""

    rows: tuple[Row, ...]
    problems: tuple[str, ...]

    @property
    def is_fine(self) -> bool:
        return not self.problems and bool(self.rows) and not any(row.problems for row in self.rows)


def read_roster(text: str, *, taken: Iterable[str], zones: Iterable[str], default_zone: str) -> Roster:
    """The districts of a CSV file with a header row.

    `taken` are domains that exist, `zones` the time zones that may be named; an empty zone means `default_zone`.
    Nothing is raised: what is wrong stands in `problems`.
    """
    reader = csv.DictReader(text.splitlines(), restkey="")
    try:
        header = [(column or "").strip().lower() for column in reader.fieldnames or ()]
    except csv.Error as error:
        return Roster((), (f"The first line is not proper CSV: {error}.",))
    reader.fieldnames = header
    missing = [column for column in REQUIRED if column not in header]
    unknown = [column for column in header if column not in COLUMNS]
    if missing:
        return Roster((), (f"The first line must name the columns; missing: {', '.join(missing)}.",))
    if unknown:
        return Roster((), (f"Unknown columns: {', '.join(unknown)}. Known are: {', '.join(COLUMNS)}.",))
    seen = set(taken)
    rows = []
    try:
        for values in reader:
            if any(values.values()):
                rows.append(_row(reader.line_num, values, seen, frozenset(zones), default_zone))
    except csv.Error as error:
        return Roster((), (f"Line {reader.line_num} is not proper CSV: {error}.",))
    return Roster(tuple(rows), () if rows else ("The file has no districts in it.",))


def _row(line: int, values: dict[str, str | None], seen: set[str], zones: frozenset[str], default_zone: str) -> Row:
    told = {column: (values.get(column) or "").strip() for column in COLUMNS}
    problems = []
    try:
        told["domain"] = names.domain(told["domain"])
        if told["domain"] in seen:
            problems.append(f"The domain {told['domain']} is taken, or stands twice in this file.")
        seen.add(told["domain"])
    except names.NameRefused as refused:
        problems.append(str(refused))
    if "" in values:
        problems.append("This line has more values than the header has columns.")
    if not told["name"] or len(told["name"]) > LONGEST_NAME:
        problems.append(f"A district needs a name of at most {LONGEST_NAME} characters.")
    if len(told["administrator_name"]) > LONGEST_NAME:
        problems.append(f"A person's name has at most {LONGEST_NAME} characters.")
    if not all(value.isprintable() for value in told.values()):
        problems.append("This line has a character in it that cannot be shown. Type the line anew.")
    told["time_zone"] = told["time_zone"] or default_zone
    if told["time_zone"] not in zones:
        problems.append(f"“{told['time_zone']}” is not a time zone. Write one such as America/New_York.")
    email = told["administrator_email"]
    if email and not _is_address(email):
        problems.append(f"“{email}” is not an e-mail address.")
    return Row(line, **told, problems=tuple(problems))


def _is_address(email: str) -> bool:
    """Enough to find a slip of the pen; whether mail arrives, only mail can tell."""
    name, at, domain = email.partition("@")
    whole = bool(name and at) and "." in domain.strip(".") and "@" not in domain and len(email) <= LONGEST_ADDRESS
    return whole and not any(character.isspace() for character in email)
