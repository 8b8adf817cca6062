"""One value against its column: a fast answer for the many that are right, a full one for the few that are not.

`explain` is the truth; `acceptor` must agree with it and only exists because a nightly file has fifteen million
values (tests/ingest/test_values.py compares the two).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache

from ingest.core.display import counted, listed
from ingest.core.findings import Severity
from ingest.core.nearest import did_you_mean, nearest
from ingest.core.patterns import REACH
from ingest.core.schema import Field, FieldType

# As spreadsheets write 360000000000, with a point or a comma; other programs leave the plus out. `12E5` may be an id.
SCIENTIFIC = re.compile(r"[+-]?(?:[0-9]+(?:[.,][0-9]+)?[eE]\+[0-9]+|[0-9][.,][0-9]+[eE][0-9]+)")
INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
NUMBER = re.compile(r"[+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(?:[eE][+-]?[0-9]{1,3})?")
YEAR = re.compile(r"[0-9]{4}")
ISO_DATE = re.compile(r"(?P<Y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})")
ISO_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[+-][0-9]{2}:[0-9]{2})"
)
DATE_PARTS = {"%Y": "(?P<Y>[0-9]{4})", "%m": "(?P<m>[0-9]{1,2})", "%d": "(?P<d>[0-9]{1,2})"}
REMEMBERED = 50_000

Accepts = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one value: a finding's code, a sentence without the value, a hint."""

    code: str
    message: str
    hint: str = ""


class _Memory(dict[str, object]):
    """Answers once asked, so that a column of few different values is judged only once for each."""

    def __init__(self, judge: Accepts) -> None:
        super().__init__()
        self._judge = judge

    def __missing__(self, value: str) -> object:
        if len(self) >= REMEMBERED:
            self.clear()
        self[value] = answer = self._judge(value)
        return answer


def acceptor(field: Field, required: bool) -> Accepts | None:
    """A test that is true for a right value of this column; None where every value is right."""
    more = field.pattern or field.identifier or field.max_length or field.extension
    if field.type is not FieldType.STRING or (field.enum and more):
        return _Memory(lambda value: explain(field, required, value) is None).__getitem__
    if field.enum:
        return frozenset(field.enum if required else (*field.enum, "")).__contains__
    if field.pattern or field.identifier:
        return _expression(field, required).fullmatch
    return _by_length(field.max_length, required)


def explain(field: Field, required: bool, value: str) -> Fault | None:
    """What is wrong with a value (outer blanks already gone), or None."""
    if not value:
        return Fault("required", "A value is needed here.") if required else None
    if field.identifier and SCIENTIFIC.fullmatch(value):
        return Fault("scientific-notation", "A spreadsheet has turned this id into a rounded number.", AS_TEXT)
    if field.max_length is not None and len(value) > field.max_length:
        return Fault("too-long", f"The value has more than {counted(field.max_length, 'character')}.")
    if field.type is FieldType.LIST:
        return _explain_list(field, value)
    return _explain_type(field, value) or _explain_choice(field, value)


def canonical(field: Field) -> Callable[[str], str] | None:
    """How an accepted value is written in records where several spellings mean the same; None: as it came."""
    if field.type is FieldType.DATE and field.formats != ("default",):
        return _remembered(lambda value: (_date(field, value) or "") if value else "")
    if field.type is FieldType.LIST:
        spelled = _spelling(field) or str
        return _remembered(lambda value: field.delimiter.join(map(spelled, items(field, value))) if value else "")
    if field.type is FieldType.BOOLEAN and len(field.true_values) + len(field.false_values) > 2:
        words = dict.fromkeys(field.true_values, "true") | dict.fromkeys(field.false_values, "false")
        return lambda value: words.get(value, value)
    return _spelling(field)


def _spelling(field: Field) -> Callable[[str], str] | None:
    """The list's own spelling of a value, where case is forgiven."""
    if not field.enum or field.severity("enum-case") is Severity.ERROR:
        return None
    by_fold = {choice.casefold(): choice for choice in reversed(field.enum)}
    choices = frozenset(field.enum)
    return lambda value: value if value in choices else by_fold.get(value.casefold(), value)


def items(field: Field, value: str) -> list[str]:
    """The elements of a list value, without outer blanks; no elements for the empty value."""
    return [item.strip() for item in value.split(field.delimiter)] if value else []


AS_TEXT = "Have ids exported as text, and do not open and save the file in a spreadsheet."


def _remembered(make: Callable[[str], str]) -> Callable[[str], str]:
    memory = _Memory(make)
    return lambda value: str(memory[value])


def _by_length(longest: int | None, required: bool) -> Accepts | None:
    if longest is None:
        return bool if required else None
    shortest = 1 if required else 0
    return lambda value: shortest <= len(value) <= longest


def _expression(field: Field, required: bool) -> re.Pattern[str]:
    """Pattern, length and the look at rounded numbers in one expression, for `fullmatch`."""
    guard = rf"(?!{SCIENTIFIC.pattern}\Z)" if field.identifier else ""
    longest = min(field.max_length or REACH, REACH) if field.pattern else field.max_length or ""
    length = rf"(?=(?s:.{{1,{longest}}})\Z)"
    whole = f"{guard}{length}(?:{field.pattern or '(?s:.*)'})"
    return re.compile(whole if required else f"(?:{whole})?")


def _explain_type(field: Field, value: str) -> Fault | None:
    match field.type:
        case FieldType.INTEGER if not INTEGER.fullmatch(value):
            return Fault("type", "A whole number is needed here.")
        case FieldType.NUMBER if not NUMBER.fullmatch(value):
            return Fault("type", "A number is needed here, with a point and no thousands marks.")
        case FieldType.YEAR if not YEAR.fullmatch(value):
            return Fault("type", "A year of four digits is needed here.")
        case FieldType.BOOLEAN if value not in (*field.true_values, *field.false_values):
            choices = (*field.true_values, *field.false_values)
            return _not_a_choice(field, choices, value)
        case FieldType.DATETIME if not _is_time(value):
            return Fault("type", "A date and time such as `2026-08-15T14:30:00.000Z` is needed here.")
        case FieldType.DATE if _date(field, value) is None:
            return _explain_date(field, value)
    return None


def _explain_choice(field: Field, value: str) -> Fault | None:
    if field.enum and value not in field.enum and not _extends(field, value):
        return _not_a_choice(field, field.enum, value)
    if field.pattern and (len(value) > REACH or not re.fullmatch(field.pattern, value)):
        return Fault("pattern", "The value is not written as this column asks.")
    return None


def _extends(field: Field, value: str) -> bool:
    return bool(field.extension) and len(value) <= REACH and bool(re.fullmatch(field.extension or "", value))


def _explain_list(field: Field, value: str) -> Fault | None:
    for position, item in enumerate(items(field, value), start=1):
        if not item:
            return Fault("type", f"Element {position} of this list is empty.")
        if field.identifier and SCIENTIFIC.fullmatch(item):
            return Fault("scientific-notation", "A spreadsheet has turned an id into a rounded number.", AS_TEXT)
        if fault := _explain_choice(field, item):
            return Fault(fault.code, f"Element {position}: {fault.message}", fault.hint)
    return None


def _not_a_choice(field: Field, choices: tuple[str, ...], value: str) -> Fault:
    """What is near a value tells it, so that of a person's only all choices are named."""
    other_case = next((choice for choice in choices if choice.casefold() == value.casefold()), None)
    every = listed(choices, limit=12)
    if other_case is not None:
        hint = f"Write one of {every}." if field.personal else f"Write `{other_case}`."
        return Fault("enum-case", "Capital and small letters matter here.", hint)
    hint = "" if field.personal else did_you_mean(nearest(value[:100], choices))
    return Fault("enum", f"Only these values may stand here: {every}.", hint)


def _is_time(value: str) -> bool:
    if not ISO_TIME.fullmatch(value):
        return False
    try:
        datetime.fromisoformat(value[:19])
    except ValueError:
        return False
    return True


def _explain_date(field: Field, value: str) -> Fault:
    if read_as := tuple(form for form in field.formats if _date_rule(form).fullmatch(value)):
        return Fault("date", f"There is no such day when it is read as {_spoken(read_as)}.")
    return Fault("type", f"A date is needed here, written as {_spoken(field.formats)}.")


def _spoken(formats: tuple[str, ...]) -> str:
    forms = ["YYYY-MM-DD" if form == "default" else _letters(form) for form in formats]
    return " or ".join(f"`{form}`" for form in dict.fromkeys(forms))


def _letters(form: str) -> str:
    return form.replace("%Y", "YYYY").replace("%m", "MM").replace("%d", "DD")


def _date(field: Field, value: str) -> str | None:
    for form in field.formats:
        if found := _date_rule(form).fullmatch(value):
            try:
                return date(int(found["Y"]), int(found["m"]), int(found["d"])).isoformat()
            except ValueError:
                continue
    return None


@cache
def _date_rule(form: str) -> re.Pattern[str]:
    pattern = re.escape(form)
    for part, rule in DATE_PARTS.items():
        pattern = pattern.replace(part, rule)
    return ISO_DATE if form == "default" else re.compile(pattern)
