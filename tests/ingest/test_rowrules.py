"""Rules on several columns and rows: each is kept to the letter, and says nothing where it cannot know."""

import pytest

from ingest.core.descriptor import read_format
from ingest.core.rowrules import row_judge

FIELDS = [
    {"name": "id"},
    {"name": "above"},
    {"name": "kind", "constraints": {"enum": ["Dog", "cat"]}, "sftpPortal": {"rules": {"enum-case": "off"}}},
    {"name": "from", "type": "date", "format": "%d.%m.%Y", "sftpPortal": {"formats": ["default"]}},
    {"name": "to", "type": "date"},
    {"name": "first", "type": "boolean"},
    {"name": "home"},
    {"name": "rooms"},
    {"name": "gone"},
]
NAMES = [field["name"] for field in FIELDS]


def judged(rule: dict, rows: list[dict], places=None):
    schema = {
        "fields": FIELDS,
        "primaryKey": "id",
        "foreignKeys": [{"fields": "above", "reference": {"resource": "", "fields": "id"}}],
    }
    ours = {"required": True, "rowRules": [rule], "deletion": {"field": "gone", "equals": "yes"}}
    known = read_format(
        {
            "name": "pets",
            "title": "Pets",
            "version": "1",
            "resources": [{"name": "pets", "path": "pets.csv", "schema": schema, "sftpPortal": ours}],
            "sftpPortal": {"layout": 1},
        }
    )
    judge = row_judge(known.tables[0], {name: at for at, name in enumerate(NAMES)} if places is None else places)
    if judge is None:
        return None
    told = []
    for line, row in enumerate(rows, start=2):
        told += judge.look([row.get(name, f"{line}" if name == "id" else "") for name in NAMES], line)
    told += judge.end()
    return [(one.line, one.column, one.code) for one in told]


ORDER = {"rule": "in-order", "first": "from", "last": "to"}
HOME = {"rule": "implies", "when": [{"field": "kind", "in": ["Dog"]}], "then": {"field": "home", "filled": True}}
FIRST = {"rule": "once", "of": ["home"], "where": [{"field": "first", "in": ["true"]}], "column": "first"}
AGREE = {"rule": "agree", "of": ["home"], "fields": ["rooms", "kind"]}
CIRCLE = {"rule": "no-circle", "field": "above"}
PARTS = {"rule": "same-parts", "first": "home", "last": "rooms", "mark": ";"}

CASES = {
    "in order": (ORDER, [{"from": "01.02.2026", "to": "2026-02-02"}], []),
    "on one day": (ORDER, [{"from": "2026-02-02", "to": "2026-02-02"}], []),
    "out of order": (ORDER, [{"from": "03.02.2026", "to": "2026-02-02"}], [(2, "to", "dates-order")]),
    "no end": (ORDER, [{"from": "03.02.2026"}], []),
    "no beginning": (ORDER, [{"to": "2026-02-02"}], []),
    "no date": (ORDER, [{"from": "soon", "to": "2026-02-02"}, {"from": "31.12.2026", "to": "2026-02-31"}], []),
    "needed": (HOME, [{"kind": "Dog"}, {"kind": "Dog", "home": "a"}, {"kind": "cat"}], [(2, "home", "condition")]),
    "needed whatever the case": (HOME, [{"kind": "DOG"}], [(2, "home", "condition")]),
    "one first": (FIRST, [{"first": "true", "home": "a"}, {"first": "true", "home": "b"}, {"home": "a"}], []),
    "two first": (FIRST, [{"first": "true", "home": "a"}, {"first": "1", "home": "a"}], [(3, "first", "once")]),
    "the same first twice": (FIRST, [{"id": "x", "first": "true", "home": "a"}] * 2, []),
    "first of nobody": (FIRST, [{"first": "true"}, {"first": "true"}], []),
    "agree": (AGREE, [{"home": "a", "rooms": "1", "kind": "dog"}, {"home": "a", "rooms": "1", "kind": "Dog"}], []),
    "disagree": (AGREE, [{"home": "a", "rooms": "1"}, {"home": "a", "rooms": "2"}], [(3, "rooms", "disagree")]),
    "above oneself": (CIRCLE, [{"id": "a", "above": "a"}], [(2, "above", "circle")]),
    "above each other": (
        CIRCLE, [{"id": "a", "above": "b"}, {"id": "b", "above": "c"}, {"id": "c", "above": "b"}],
        [(3, "above", "circle"), (4, "above", "circle")],
    ),
    "a tree": (CIRCLE, [{"id": "a", "above": "b"}, {"id": "c", "above": "b"}, {"id": "b"}], []),
    "above nobody known": (CIRCLE, [{"id": "a", "above": "z"}], []),
    "as many parts": (PARTS, [{"home": "a;b", "rooms": "1;2,3"}, {"home": "a;b"}], []),
    "fewer parts": (PARTS, [{"home": "a;b", "rooms": "1"}], [(2, "rooms", "parts")]),
    "a row that takes away": (HOME, [{"kind": "Dog", "gone": "yes"}], []),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_rule_is_kept_to_the_letter(case):
    rule, rows, expected = CASES[case]
    assert judged(rule, rows) == expected


def test_a_long_chain_is_walked_once():
    rows = [{"id": str(at), "above": str(at + 1)} for at in range(50_000)]
    assert judged(CIRCLE, rows) == []
    assert len(judged(CIRCLE, [*rows, {"id": "50000", "above": "0"}])) == 50_001


def test_a_rule_of_a_column_that_is_not_there_is_passed_over():
    assert judged(ORDER, [], places={"id": 0, "from": 1}) is None


def test_of_columns_that_must_agree_those_that_are_there_must():
    rows = [{"home": "a", "kind": "dog"}, {"home": "a", "kind": "cat"}]
    places = {name: at for at, name in enumerate(NAMES) if name != "rooms"}
    assert judged(AGREE, rows, places) == [(3, "kind", "disagree")]
