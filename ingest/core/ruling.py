"""What a descriptor says of rules: how bad their breach is, and rules on several columns."""

from types import MappingProxyType

from ingest.core.findings import Severity
from ingest.core.nearest import did_you_mean, nearest
from ingest.core.node import Node
from ingest.core.rules import RULES
from ingest.core.schema import (
    Agree,
    Condition,
    Implies,
    InOrder,
    NoCircle,
    Once,
    RowRule,
    Rules,
    SameParts,
)

CODES = {
    "in-order": "dates-order",
    "implies": "condition",
    "once": "once",
    "agree": "disagree",
    "no-circle": "circle",
    "same-parts": "parts",
}
KEYS = {
    "in-order": {"first", "last"},
    "implies": {"when", "then"},
    "once": {"of", "where", "column"},
    "agree": {"of", "fields"},
    "no-circle": {"field"},
    "same-parts": {"first", "last", "mark"},
}


def severities(node: Node, above: Rules) -> Rules:
    """How bad each rule's breach is here, where the place above says otherwise if nothing is said."""
    chosen: dict[str, Severity | None] = dict(above)
    if node.has("rules"):
        for code in node.at("rules").members():
            place = node.at("rules").at(code)
            if code not in RULES or not RULES[code].tunable:
                raise place.fail("rule", "no rule of this name may be set", did_you_mean(nearest(code, RULES)))
            chosen[code] = _severity(place)
    return MappingProxyType(chosen)


def _severity(node: Node) -> Severity | None:
    text = node.text()
    if text == "off":
        return None
    if text not in list(Severity):
        raise node.fail("severity", "this must be error, warning, note or off")
    return Severity(text)


def row_rules(ours: Node) -> tuple[RowRule, ...]:
    """The rules on several columns that a resource lists."""
    return tuple(_row_rule(node) for node in ours.each("rowRules"))


def unique_keys(schema: Node) -> tuple[RowRule, ...]:
    """The standard's `uniqueKeys`: columns whose values together stand once only, where all are filled."""
    made = []
    for node in schema.each("uniqueKeys"):
        columns = Node({"of": [node.value] if isinstance(node.value, str) else node.value}, node.place).words("of")
        if not columns:
            raise node.fail("unique-keys", "the names of one or more fields are needed here")
        made.append(RowRule(Once(columns, (), columns[-1]), "not-unique", None, ""))
    return tuple(made)


def _row_rule(node: Node) -> RowRule:
    kind = node.at("rule").text()
    if kind not in KEYS:
        hint = did_you_mean(nearest(kind, KEYS))
        raise node.at("rule").fail("row-rule", f"`{kind}` is not known; there are {', '.join(KEYS)}", hint)
    node.only({"rule", "severity", "message", *KEYS[kind]})
    severity = _severity(node.at("severity")) if node.has("severity") else None
    return RowRule(_what(kind, node), CODES[kind], severity, node.word("message"))


def _what(kind: str, node: Node) -> InOrder | Implies | Once | Agree | NoCircle | SameParts:
    match kind:
        case "in-order":
            return InOrder(node.at("first").text(), node.at("last").text())
        case "implies":
            return Implies(_conditions(node, "when"), _condition(node.at("then")))
        case "once":
            of = _columns(node, "of")
            return Once(of, _conditions(node, "where"), node.word("column", of[-1]))
        case "agree":
            return Agree(_columns(node, "of"), _columns(node, "fields"))
        case "no-circle":
            return NoCircle(node.at("field").text())
        case _:
            return SameParts(node.at("first").text(), node.at("last").text(), node.word("mark", ";"))


def _columns(node: Node, key: str) -> tuple[str, ...]:
    columns = node.words(key)
    if not columns:
        raise node.at(key).fail("row-rule", "the names of one or more fields are needed here")
    return columns


def _conditions(node: Node, key: str) -> tuple[Condition, ...]:
    return tuple(_condition(one) for one in node.each(key))


def _condition(node: Node) -> Condition:
    node.only({"field", "in", "filled"})
    values = node.words("in")
    if bool(values) is node.has("filled"):
        raise node.fail("row-rule", "a condition says either `in` or `filled`")
    return Condition(node.at("field").text(), values, node.flag("filled") if node.has("filled") else None)
