"""A format as values: what a descriptor says, checked once and then only read."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ingest.core.findings import Severity
from ingest.core.rules import usual


class FieldType(StrEnum):
    """The Table Schema types that are understood."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    YEAR = "year"
    LIST = "list"


class Mode(StrEnum):
    """What a file says by the rows it does not hold: FULL, they are gone; CHANGES, nothing; ABSENT, no file."""

    FULL = "full"
    CHANGES = "changes"
    ABSENT = "absent"


class MissingRow(StrEnum):
    """What becomes of a record that a full file no longer holds."""

    REMOVED = "removed"
    KEPT = "kept"


class Container(StrEnum):
    """How the files of an epoch may come."""

    LOOSE = "loose"
    ZIP = "zip"


Rules = Mapping[str, Severity | None]


@dataclass(frozen=True, slots=True)
class Field:
    """One column.

    `formats` are date formats, the first one ours; `discard`: checked, but never kept; `personal`: never shown, not
    even to staff who compare nights; `extension`: a pattern of values that may stand beside those of `enum`;
    `school_year`: the year or the day in which the school year of the file ends.
    """

    name: str
    type: FieldType
    required: bool
    unique: bool
    pattern: str | None
    enum: tuple[str, ...]
    max_length: int | None
    formats: tuple[str, ...]
    true_values: tuple[str, ...]
    false_values: tuple[str, ...]
    delimiter: str
    aliases: tuple[str, ...]
    identifier: bool
    discard: bool
    sample: tuple[str, ...]
    rules: Rules
    personal: bool = False
    extension: str | None = None
    school_year: bool = False

    def severity(self, code: str) -> Severity | None:
        """How bad a breach of this rule is in this column; None: not worth a word."""
        return self.rules[code] if code in self.rules else usual(code)


@dataclass(frozen=True, slots=True)
class Reference:
    """`field` holds a key of `table` (a list field: keys), or one of `besides`, which refer to nothing.

    `target` is that key's field, empty if not said. Where it is one field of several that make up the key, `part` is
    its name; otherwise `part` is empty.
    """

    field: str
    table: str
    target: str
    besides: tuple[str, ...] = ()
    part: str = ""

    @property
    def place(self) -> str:
        """Where the keys referred to are kept, see `Table.places`."""
        return key_place(self.table, self.part)


def key_place(table: str, part: str) -> str:
    """The name of a set of keys: a table's whole keys, or one column of them."""
    return f"{table}\0{part}" if part else table


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """Column names by which a file is recognised: every one of `all`, one of `any`, none of `none`."""

    all: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    none: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deletion:
    """In a row of which `field` equals `value`, the record is taken away."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Condition:
    """What one value has to be: one of `values`, or, where `filled` is said, any text or none."""

    field: str
    values: tuple[str, ...] = ()
    filled: bool | None = None


@dataclass(frozen=True, slots=True)
class InOrder:
    """The date in `last` is not before the one in `first`."""

    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Implies:
    """A row that meets all of `when` meets `then`."""

    when: tuple[Condition, ...]
    then: Condition


@dataclass(frozen=True, slots=True)
class Once:
    """Of the rows that meet all of `where`, no two have the same values in `of`."""

    of: tuple[str, ...]
    where: tuple[Condition, ...]
    column: str


@dataclass(frozen=True, slots=True)
class Agree:
    """Rows with the same values in `of` have the same values in `fields`."""

    of: tuple[str, ...]
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NoCircle:
    """Nobody is above himself by way of `field`, which refers to the same table."""

    field: str


@dataclass(frozen=True, slots=True)
class SameParts:
    """The values of two columns, cut at `mark`, have equally many parts."""

    first: str
    last: str
    mark: str


@dataclass(frozen=True, slots=True)
class RowRule:
    """A rule on several columns. `message` is the format's own sentence, empty where ours will do."""

    what: InOrder | Implies | Once | Agree | NoCircle | SameParts
    code: str
    severity: Severity | None
    message: str


@dataclass(frozen=True, slots=True)
class Table:
    """One file of a format.

    `change_marks`: columns filled in a file of changes and empty in a full one. `optional_key`: columns of the key
    that may be empty. `referred`: columns of a composite key that others refer to by themselves. `owner`: the column
    that names whose row it is; such rows live and are removed with what they belong to (see `ownership`). `needs`:
    tables without which this one is not sent; `needs_rows`: an empty file of it is an error.
    """

    name: str
    file: str
    fields: tuple[Field, ...]
    key: tuple[str, ...]
    references: tuple[Reference, ...]
    required: bool
    missing_row: MissingRow
    change_marks: tuple[str, ...]
    deletion: Deletion | None
    aliases: tuple[str, ...]
    recognise: HeaderRule
    extra_columns: str | None
    sample_rows: int
    rules: Rules
    optional_key: tuple[str, ...] = ()
    referred: tuple[str, ...] = ()
    owner: str = ""
    needs: tuple[str, ...] = ()
    needs_rows: bool = False
    if_missing: str = ""
    row_rules: tuple[RowRule, ...] = ()

    def field(self, name: str) -> Field:
        return next(field for field in self.fields if field.name == name)

    def severity(self, code: str) -> Severity | None:
        return self.rules[code] if code in self.rules else usual(code)

    @property
    def files(self) -> tuple[str, ...]:
        """Every file name under which this table may come, the proper one first."""
        return (self.file, *self.aliases)

    @property
    def places(self) -> tuple[str, ...]:
        """The names of the sets of keys that a check of this table fills."""
        return (self.name, *(key_place(self.name, column) for column in self.referred))

    @property
    def owner_table(self) -> str:
        """The table of those to whom the rows belong; empty where they belong to nobody."""
        return next((ref.table for ref in self.references if ref.field == self.owner), "")

    @property
    def kept_fields(self) -> tuple[Field, ...]:
        """The columns of which values are kept in records."""
        return tuple(field for field in self.fields if not field.discard)


@dataclass(frozen=True, slots=True)
class Property:
    """One named value of a manifest. Without `values` anything goes. `tells`: the format is known by it."""

    name: str
    values: tuple[str, ...]
    required: bool
    aliases: tuple[str, ...]
    tells: bool = False


@dataclass(frozen=True, slots=True)
class Manifest:
    """A file that says, as pairs of name and value, what the other files are."""

    table: Table
    name_field: str
    value_field: str
    properties: tuple[Property, ...]
    mode_prefix: str
    modes: Mapping[str, Mode]


@dataclass(frozen=True, slots=True)
class Format:
    """A set of files that belong together. `tables` are the data files, without the manifest.

    `recognised_by` must all be there, of `recognised_by_any` one; `by_hand`: never recognised, only ever chosen.
    `records`: whose records they are about; formats that share it speak of the same ones, whichever of them comes.
    """

    name: str
    title: str
    version: str
    tables: tuple[Table, ...]
    manifest: Manifest | None
    containers: frozenset[Container]
    recognised_by: tuple[str, ...]
    foreign_files: tuple[str, ...]
    rules: Rules
    recognised_by_any: tuple[str, ...] = ()
    by_hand: bool = False
    records: str = ""

    def table(self, name: str) -> Table:
        """The table of this name; KeyError if there is none."""
        for table in self.all_tables:
            if table.name == name:
                return table
        raise KeyError(name)

    def table_of(self, file: str) -> Table | None:
        """The table whose file has exactly this bare name."""
        return next((table for table in self.all_tables if file in table.files), None)

    def severity(self, code: str) -> Severity | None:
        return self.rules[code] if code in self.rules else usual(code)

    @property
    def all_tables(self) -> tuple[Table, ...]:
        return (self.manifest.table, *self.tables) if self.manifest else self.tables

    @property
    def load_order(self) -> tuple[Table, ...]:
        """The data tables, those referred to before those that refer (circles: in the order given)."""
        placed: dict[str, Table] = {}
        waiting = list(self.tables)
        while waiting:
            ready = [table for table in waiting if _ready(table, placed)] or waiting[:1]
            placed |= {table.name: table for table in ready}
            waiting = [table for table in waiting if table.name not in placed]
        return tuple(placed.values())


def _ready(table: Table, placed: Mapping[str, Table]) -> bool:
    return all(ref.table in placed or ref.table == table.name for ref in table.references)
