"""Rules on several columns, and on several rows: dates in order, one primary only, rows that must agree.

A judge is asked row by row, by the places of the columns, and once more at the end. A rule of which a column is not
in the file is passed over: that the column is missing is told elsewhere. So is a value that cannot be read. Of columns
that must agree, those that are in the file must.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ingest.core.display import listed
from ingest.core.findings import Severity
from ingest.core.schema import (
    Agree,
    Condition,
    Implies,
    InOrder,
    NoCircle,
    Once,
    RowRule,
    SameParts,
    Table,
)
from ingest.core.values import canonical, explain

Values = Sequence[str]
Reads = Callable[[Values], str]
Told = tuple[int, str, str, str]  # line, column, sentence, hint


@dataclass(frozen=True, slots=True)
class RowFault:
    """What is wrong in a row. `severity` None: as the table says for this code."""

    line: int
    column: str
    code: str
    message: str
    hint: str = ""
    severity: Severity | None = None


class RowJudge:
    """Judges the rows of one file, in its order. It remembers no more of a row than the rules on several rows need."""

    def __init__(self, table: Table, rules: Iterable[RowRule], places: Mapping[str, int]) -> None:
        reader = _Reader(table, places)
        self._passed_over = (
            reader.condition(Condition(table.deletion.field, (table.deletion.value,)))
            if (table.deletion and table.deletion.field in places)
            else None
        )
        self._each = [(rule, _LOOKS[type(rule.what)](rule.what, reader)) for rule in rules]

    def look(self, values: Values, line: int) -> Iterator[RowFault]:
        """The faults that can be told of this row by now. A row that takes its record away breaks no rule."""
        if self._passed_over is not None and self._passed_over(values):
            return
        for rule, judge in self._each:
            for told in judge.look(values, line):
                yield _fault(rule, told)

    def end(self) -> Iterator[RowFault]:
        """The faults that only the whole file shows."""
        for rule, judge in self._each:
            for told in judge.end():
                yield _fault(rule, told)


def row_judge(table: Table, places: Mapping[str, int]) -> RowJudge | None:
    """A judge of those rules whose columns are there (`places`: column -> its place), or None."""
    rules = rules_of(table, places)
    return RowJudge(table, rules, places) if rules else None


def rules_of(table: Table, present: Collection[str]) -> list[RowRule]:
    """The rules that can be asked of a file with these columns: of those that must agree, the ones that are there."""
    narrowed = (_narrowed(rule, present) for rule in table.row_rules)
    return [rule for rule in narrowed if spoken_of(rule.what).issubset(present)]


def _narrowed(rule: RowRule, present: Collection[str]) -> RowRule:
    if not isinstance(rule.what, Agree):
        return rule
    here = tuple(name for name in rule.what.fields if name in present)
    return replace(rule, what=replace(rule.what, fields=here)) if here else rule


def spoken_of(what: InOrder | Implies | Once | Agree | NoCircle | SameParts) -> set[str]:
    """The columns that a rule speaks of."""
    match what:
        case InOrder(first, last) | SameParts(first, last, _):
            return {first, last}
        case Implies(when, then):
            return {one.field for one in (*when, then)}
        case Once(of, where, column):
            return {*of, column, *(one.field for one in where)}
        case Agree(of, fields):
            return {*of, *fields}
        case NoCircle(field):
            return {field}


def _fault(rule: RowRule, told: Told) -> RowFault:
    line, column, message, hint = told
    return RowFault(line, column, rule.code, rule.message or message, hint, rule.severity)


class _Reader:
    """Reads values of a row as records would hold them, whatever way the file writes them."""

    def __init__(self, table: Table, places: Mapping[str, int]) -> None:
        self.table = table
        self.places = places

    def value(self, column: str) -> Reads:
        at, make = self.places[column], canonical(self.table.field(column))
        return (lambda values: values[at]) if make is None else lambda values: make(values[at])

    def values(self, columns: Sequence[str]) -> Callable[[Values], tuple[str, ...]]:
        reads = [self.value(column) for column in columns]
        return lambda values: tuple(read(values) for read in reads)

    def key(self) -> Callable[[Values], tuple[str, ...]]:
        return self.values([name for name in self.table.key if name in self.places])

    def date(self, column: str) -> Reads:
        """A date as YYYY-MM-DD, empty where it cannot be read."""
        read, field, at = self.value(column), self.table.field(column), self.places[column]
        return lambda values: "" if explain(field, False, values[at]) else read(values)

    def condition(self, one: Condition) -> Callable[[Values], bool]:
        read, choices, filled = self.value(one.field), frozenset(one.values), one.filled
        if filled is not None:
            return lambda values: bool(read(values)) is filled
        return lambda values: read(values) in choices

    def all_of(self, many: Sequence[Condition]) -> Callable[[Values], bool]:
        checks = [self.condition(one) for one in many]
        return lambda values: all(check(values) for check in checks)


class _Look:
    """How one rule is looked at; most have nothing left to say at the end."""

    def look(self, values: Values, line: int) -> Iterator[Told]:
        raise NotImplementedError

    def end(self) -> Iterator[Told]:
        return iter(())


class _InOrder(_Look):
    def __init__(self, rule: InOrder, reader: _Reader) -> None:
        self.rule = rule
        self.first, self.last = reader.date(rule.first), reader.date(rule.last)

    def look(self, values: Values, line: int) -> Iterator[Told]:
        last = self.last(values)
        if last and self.first(values) > last:
            message = f"This date is before the one in `{self.rule.first}`."
            yield line, self.rule.last, message, "Have the two dates been mixed up?"


class _Implies(_Look):
    def __init__(self, rule: Implies, reader: _Reader) -> None:
        self.rule = rule
        self.when, self.then = reader.all_of(rule.when), reader.condition(rule.then)

    def look(self, values: Values, line: int) -> Iterator[Told]:
        if self.when(values) and not self.then(values):
            yield line, self.rule.then.field, self.sentence(), ""

    def sentence(self) -> str:
        then = self.rule.then
        needed = {None: f"has to be {listed(then.values)}", True: "needs a value", False: "has to be empty"}
        others = listed(dict.fromkeys(one.field for one in self.rule.when))
        return f"This {needed[then.filled]}, going by what stands in {others}."


class _Once(_Look):
    def __init__(self, rule: Once, reader: _Reader) -> None:
        self.rule = rule
        self.of, self.where, self.key = reader.values(rule.of), reader.all_of(rule.where), reader.key()
        self.first: dict[tuple[str, ...], tuple[int, tuple[str, ...]]] = {}

    def look(self, values: Values, line: int) -> Iterator[Told]:
        if not self.where(values) or not all(found := self.of(values)):
            return
        first, key = self.first.setdefault(found, (line, self.key(values)))
        # The same record sent twice is told as that, and is no second one.
        if first != line and key != self.key(values):
            message = f"There can be one such row only for the same {listed(self.rule.of)}."
            yield line, self.rule.column, message, f"Line {first} is one already."


class _Agree(_Look):
    def __init__(self, rule: Agree, reader: _Reader) -> None:
        self.rule = rule
        self.of, self.read = reader.values(rule.of), reader.values(rule.fields)
        self.first: dict[tuple[str, ...], tuple[int, tuple[str, ...]]] = {}

    def look(self, values: Values, line: int) -> Iterator[Told]:
        found = self.read(values)
        first, before = self.first.setdefault(self.of(values), (line, found))
        for column, one, other in zip(self.rule.fields, found, before, strict=True):
            if one != other:
                message = f"Rows with the same {listed(self.rule.of)} must agree in this column."
                yield line, column, message, f"Line {first} has another value."


class _NoCircle(_Look):
    def __init__(self, rule: NoCircle, reader: _Reader) -> None:
        self.rule = rule
        self.key, self.above = reader.key(), reader.value(rule.field)
        self.rows: dict[str, tuple[str, int]] = {}

    def look(self, values: Values, line: int) -> Iterator[Told]:
        key, above = self.key(values), self.above(values)
        if key and above:  # a file without the key's column has been told of already
            self.rows.setdefault(key[0], (above, line))
        return iter(())

    def end(self) -> Iterator[Told]:
        done: set[str] = set()
        for key in self.rows:
            for found in self._circle(key, done):
                yield self.rows[found][1], self.rule.field, "This row is, by way of others, above itself.", ""

    def _circle(self, key: str, done: set[str]) -> list[str]:
        """The keys of a circle that is met on the way up from a key not yet done, else none."""
        way: dict[str, int] = {}
        while key in self.rows and key not in done and key not in way:
            way[key] = len(way)
            key = self.rows[key][0]
        done.update(way)
        return list(way)[way[key] :] if key in way else []


class _SameParts(_Look):
    def __init__(self, rule: SameParts, reader: _Reader) -> None:
        self.rule = rule
        self.first, self.last = reader.value(rule.first), reader.value(rule.last)

    def look(self, values: Values, line: int) -> Iterator[Told]:
        first, last = self.first(values), self.last(values)
        if first and last and first.count(self.rule.mark) != last.count(self.rule.mark):
            message = f"This has not as many parts, divided by `{self.rule.mark}`, as `{self.rule.first}`."
            yield line, self.rule.last, message, ""


_LOOKS: Mapping[type, Callable[..., _Look]] = {
    InOrder: _InOrder,
    Implies: _Implies,
    Once: _Once,
    Agree: _Agree,
    NoCircle: _NoCircle,
    SameParts: _SameParts,
}
