"""Single values: the fast answer and the full one must be the same answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.core.catalogue import read_catalogue
from ingest.core.descriptor import read_format
from ingest.core.values import acceptor, canonical, explain


def field(**more):
    one = {"name": "x", **more}
    data = {
        "name": "f", "title": "F", "version": "1", "sftpPortal": {"layout": 1},
        "resources": [{
            "name": "t", "path": "t.csv", "sftpPortal": {"required": True},
            "schema": {"fields": [{"name": "id"}, one], "primaryKey": "id"},
        }],
    }  # fmt: skip
    return read_format(data).table("t").field("x")


MADE = {
    "pattern": field(constraints={"pattern": "[A-Z]-?[0-9]*", "maxLength": 5}),
    "pattern that takes nothing": field(constraints={"pattern": "[a-c]*"}),
    "id without pattern": field(sftpPortal={"identifier": True}),
    "short id": field(constraints={"maxLength": 7}, sftpPortal={"identifier": True}),
    "id from a list": field(constraints={"enum": ["1", "2E+5"]}, sftpPortal={"identifier": True}),
    "list with length": field(constraints={"enum": ["a", "bcd"], "maxLength": 2}),
    "integer": field(type="integer"),
    "number": field(type="number"),
    "boolean": field(type="boolean"),
    "datetime": field(type="datetime"),
    "year": field(type="year"),
    "iso date": field(type="date"),
    "dates": field(type="date", format="%m/%d/%Y", sftpPortal={"formats": ["default", "%d.%m.%Y"]}),
    "list": field(type="list", delimiter=";", sftpPortal={"items": {"pattern": "[a-z]+"}}),
}
SHIPPED = {f"{t.name}.{f.name}": f for known in read_catalogue() for t in known.tables for f in t.fields}
# One column of each kind is enough: hundreds are alike but for their names.
KINDS = {(f.type, f.pattern, f.enum, f.max_length, f.formats, f.identifier): name for name, f in SHIPPED.items()}
TEXTS = st.one_of(
    st.text(max_size=12),
    st.text("0123456789-/.:TZE+ aA,;", max_size=24),
    st.dates().map(str),
    st.dates().map(lambda day: day.strftime("%m/%d/%Y")),
    st.datetimes().map(lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ")),
    st.integers(0, 300).map("x".__mul__),
    st.sampled_from(["3.6E+11", "1E+5", "A-4", "true", "TRUE", "active", "student", "M", "2005-02-29", "\n", "a\n"]),
)


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("name", [*MADE, *KINDS.values()])
def test_the_fast_answer_is_the_full_answer(name, required):
    one = {**MADE, **SHIPPED}[name]
    accepts = acceptor(one, required) or (lambda value: True)

    @given(TEXTS)
    def same(value):
        assert bool(accepts(value)) == (explain(one, required, value) is None), value

    same()


def test_dates_of_several_kinds_become_one_kind():
    write = canonical(MADE["dates"])
    assert [write(text) for text in ("02/03/2010", "2/3/2010", "2010-02-03", "03.02.2010", "")] == [
        *["2010-02-03"] * 4,
        "",
    ]


def test_a_list_is_written_without_blanks_between_its_elements():
    assert canonical(MADE["list"])("a; b;c") == "a;b;c"


def test_a_list_names_the_element_that_is_wrong():
    assert explain(MADE["list"], False, "a;B").message.startswith("Element 2")
    assert explain(MADE["list"], False, "a;;b").message.startswith("Element 2")


def test_a_value_near_one_of_the_list_gets_a_did_you_mean():
    assert explain(SHIPPED["users.role"], True, "techer").hint == "Did you mean `teacher`?"
    assert explain(SHIPPED["users.role"], True, "Teacher").hint == "Write `teacher`."


@pytest.mark.parametrize("value", ["Female", "femal"])
def test_no_hint_gives_away_a_value_of_a_person(value):
    one = field(constraints={"enum": ["female", "male"]}, sftpPortal={"personal": True})
    other = {"Female": "Male", "femal": "mal"}[value]
    assert explain(one, True, value) == explain(one, True, other)
    race = SHIPPED["demographics.white"]
    assert explain(race, False, "TRUE") == explain(race, False, "FALSE")


def test_case_is_set_right_only_where_a_format_makes_it_less_than_an_error():
    lenient = field(constraints={"enum": ["yes", "no"]}, sftpPortal={"rules": {"enum-case": "warning"}})
    assert canonical(lenient)("YES") == "yes"
    assert canonical(field(constraints={"enum": ["yes", "no"]})) is None
