"""Descriptors: the shipped ones are sound, and whatever is not understood is refused with its place."""

import copy
import json

import pytest

from ingest.core.catalogue import SHIPPED, read_catalogue
from ingest.core.descriptor import parse_format, read_format
from ingest.core.errors import DescriptorError
from ingest.core.schema import Container, FieldType, MissingRow, Mode

MINIMAL = {
    "name": "pets-1",
    "title": "Pets",
    "version": "1",
    "resources": [
        {
            "name": "owners",
            "path": "owners.csv",
            "schema": {"fields": [{"name": "id"}], "primaryKey": "id"},
            "sftpPortal": {"required": True},
        },
        {
            "name": "pets",
            "path": "pets.csv",
            "schema": {
                "fields": [{"name": "id"}, {"name": "owner"}, {"name": "born", "type": "date"}, {"name": "gone"}],
                "primaryKey": ["id"],
                "foreignKeys": [{"fields": ["owner"], "reference": {"resource": "owners", "fields": ["id"]}}],
            },
        },
    ],
    "sftpPortal": {"layout": 1},
}


def changed(path: str, value: object) -> dict:
    data = copy.deepcopy(MINIMAL)
    *steps, last = path.strip("/").split("/")
    at = data
    for step in steps:
        at = at[int(step)] if isinstance(at, list) else at.setdefault(step, {})
    at[int(last) if isinstance(at, list) else last] = value
    return data


def test_the_smallest_descriptor_is_read():
    known = read_format(MINIMAL)
    assert [table.name for table in known.tables] == ["owners", "pets"]
    owner = known.table("pets").field("owner")
    assert owner.type is FieldType.STRING
    assert owner.identifier
    assert not owner.required
    assert known.table("pets").field("id").required
    assert known.table("pets").missing_row is MissingRow.REMOVED
    assert known.containers == {Container.LOOSE}


def test_the_shipped_formats_are_read_and_named_after_their_files():
    known = read_catalogue()
    assert [one.name for one in known] == [path.stem for path in sorted(SHIPPED.glob("*.json"))]
    assert {one.name for one in known} == {
        "oneroster-1.1", "oneroster-1.2", "clever", "sds-1", "sds-1-uk", "sds-2", "sds-2.1",
        "samegoal-students-1", "samegoal-students-2", "samegoal-bulk-2",
    }  # fmt: skip


@pytest.mark.parametrize(("name", "files"), [("oneroster-1.1", 13), ("oneroster-1.2", 21)])
def test_the_roster_set_has_its_files_and_its_manifest(name, files):
    known = next(one for one in read_catalogue() if one.name == name)
    assert len(known.tables) == files
    assert known.manifest is not None
    assert dict(known.manifest.modes) == {"bulk": Mode.FULL, "delta": Mode.CHANGES, "absent": Mode.ABSENT}
    assert known.containers == {Container.LOOSE, Container.ZIP}
    assert known.table("users").field("password").discard


def test_tables_are_loaded_after_those_they_refer_to():
    order = [table.name for table in read_format(changed("resources", MINIMAL["resources"][::-1])).load_order]
    assert order == ["owners", "pets"]


def test_tables_that_refer_to_each_other_in_a_circle_are_still_ordered():
    circle = [{"fields": "id", "reference": {"resource": "pets", "fields": "id"}}]
    known = read_format(changed("resources/0/schema/foreignKeys", circle))
    assert {table.name for table in known.load_order} == {"owners", "pets"}


FIELD = "resources/1/schema/fields/1"
BORN = "resources/1/schema/fields/2"
PETS = "resources/1/sftpPortal"
REFUSED = {
    "unknown key at the top": ("colour", 1, "unknown-key", "/colour"),
    "unknown key of ours": ("sftpPortal/require", True, "unknown-key", "/sftpPortal/require"),
    "unknown constraint": (f"{FIELD}/constraints/minimum", 1, "unknown-key", f"/{FIELD}/constraints/minimum"),
    "no layout": ("sftpPortal/layout", None, "layout", "/sftpPortal/layout"),
    "layout to come": ("sftpPortal/layout", 2, "layout", "/sftpPortal/layout"),
    "path with a folder": ("resources/0/path", "data/owners.csv", "path", "/resources/0/path"),
    "path upwards": ("resources/0/path", "../owners.csv", "path", "/resources/0/path"),
    "path is an address": ("resources/0/path", "https://example.org/owners.csv", "path", "/resources/0/path"),
    "path is a list": ("resources/0/path", ["owners.csv"], "not-a-text", "/resources/0/path"),
    "schema is an address": ("resources/0/schema", "https://a.org/s.json", "not-an-object", "/resources/0/schema"),
    "name with capitals": ("name", "Pets", "name", "/name"),
    "no key": ("resources/0/schema/primaryKey", None, "key", "/resources/0/schema/primaryKey"),
    "key of no field": ("resources/0/schema/primaryKey", "no", "field", "/resources/0/schema"),
    "two fields of a name": (f"{FIELD}/name", "id", "fields", "/resources/1/schema"),
    "two resources of a name": ("resources/0/name", "pets", "resources", "/resources"),
    "two resources of a file": ("resources/0/path", "pets.csv", "resources", "/resources"),
    "type unknown": (f"{FIELD}/type", "geopoint", "type", f"/{FIELD}/type"),
    "format of a text": (f"{FIELD}/format", "email", "format", f"/{FIELD}/format"),
    "date without a year": (f"{BORN}/format", "%d/%m", "format", f"/{BORN}/format"),
    "list as a key": ("resources/0/schema/fields/0/type", "list", "key", "/resources/0/schema"),
    "items of a text": (f"{FIELD}/sftpPortal/items", {"enum": ["a"]}, "items", f"/{FIELD}/sftpPortal/items"),
    "rule unknown": ("sftpPortal/rules/colour", "error", "rule", "/sftpPortal/rules/colour"),
    "rule that is fixed": ("sftpPortal/rules/key-duplicate", "off", "rule", "/sftpPortal/rules/key-duplicate"),
    "severity unknown": ("sftpPortal/rules/enum", "fatal", "severity", "/sftpPortal/rules/enum"),
    "container unknown": ("sftpPortal/containers", ["tar"], "container", "/sftpPortal/containers"),
    "reference to no resource": (
        "resources/1/schema/foreignKeys/0/reference/resource", "cats", "reference", "/resources",
    ),
    "reference to no key": ("resources/1/schema/foreignKeys/0/reference/fields", "name", "reference", "/resources"),
    "recognised by no resource": ("sftpPortal/recognise", {"files": ["cats"]}, "recognise", "/sftpPortal/recognise"),
    "recognised by nothing": ("resources/0/sftpPortal/required", False, "recognise", "/sftpPortal"),
    "flag in words": ("resources/0/sftpPortal/required", "yes", "not-a-flag", "/resources/0/sftpPortal/required"),
    "discarded key": ("resources/0/schema/fields/0/sftpPortal/discard", True, "key", "/resources/0/schema"),
    "null values": ("resources/0/schema/missingValues", ["NA"], "missing-values", "/resources/0/schema/missingValues"),
    "references of several fields": (
        "resources/1/schema/foreignKeys/0/fields", ["id", "owner"], "foreign-key",
        "/resources/1/schema/foreignKeys/0/fields",
    ),
    "optional key of all fields": (f"{PETS}/optionalKey", ["id"], "key", f"/{PETS}/optionalKey"),
    "optional key of no key": (f"{PETS}/optionalKey", ["born"], "key", f"/{PETS}/optionalKey"),
    "owner beside the key": (f"{PETS}/ownedBy", "owner", "owner", f"/{PETS}/ownedBy"),
    "needs what is not there": (f"{PETS}/needs", ["cats"], "recognise", "/sftpPortal/recognise"),
    "recognised by any of what is not there": (
        "sftpPortal/recognise", {"anyFiles": ["cats"]}, "recognise", "/sftpPortal/recognise",
    ),
    "recognised by a misspelt key": (
        "sftpPortal/recognise", {"anyFile": ["pets"]}, "unknown-key", "/sftpPortal/recognise/anyFile",
    ),
    "recognised by a column that is not there": (
        f"{PETS}/recognise", {"all": ["colour"]}, "field", "/resources/1/schema",
    ),
    "extension of no list": (f"{FIELD}/sftpPortal/extension", "ext:.+", "extension", "/resources/1/schema"),
    "extension that is no pattern": (
        f"{FIELD}/sftpPortal/extension", "(a+)+", "pattern", f"/{FIELD}/sftpPortal/extension",
    ),
    "personal in words": (f"{FIELD}/sftpPortal/personal", "yes", "not-a-flag", f"/{FIELD}/sftpPortal/personal"),
    "unique keys of no field": (
        "resources/1/schema/uniqueKeys", [["owner", "colour"]], "field", "/resources/1/schema",
    ),
    "unique keys of nothing": (
        "resources/1/schema/uniqueKeys", [[]], "unique-keys", "/resources/1/schema/uniqueKeys/0",
    ),
    "row rule unknown": (f"{PETS}/rowRules", [{"rule": "in-ordre"}], "row-rule", f"/{PETS}/rowRules/0/rule"),
    "row rule of no field": (
        f"{PETS}/rowRules", [{"rule": "in-order", "first": "born", "last": "died"}], "field", "/resources/1/schema",
    ),
    "row rule with a key of another": (
        f"{PETS}/rowRules", [{"rule": "in-order", "first": "born", "last": "gone", "of": ["id"]}], "unknown-key",
        f"/{PETS}/rowRules/0/of",
    ),
    "row rule of nothing": (f"{PETS}/rowRules", [{"rule": "once", "of": []}], "row-rule", f"/{PETS}/rowRules/0/of"),
    "condition that says nothing": (
        f"{PETS}/rowRules", [{"rule": "implies", "when": [], "then": {"field": "id"}}], "row-rule",
        f"/{PETS}/rowRules/0/then",
    ),
    "condition that says both": (
        f"{PETS}/rowRules", [{"rule": "implies", "then": {"field": "id", "in": ["a"], "filled": True}}], "row-rule",
        f"/{PETS}/rowRules/0/then",
    ),
    "circle by way of another file": (
        f"{PETS}/rowRules", [{"rule": "no-circle", "field": "owner"}], "row-rule", f"/{PETS}/rowRules",
    ),
    "severity of a row rule unknown": (
        f"{PETS}/rowRules", [{"rule": "once", "of": ["owner"], "severity": "fatal"}], "severity",
        f"/{PETS}/rowRules/0/severity",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_understood_is_refused_with_its_place(case):
    path, value, code, place = REFUSED[case]
    with pytest.raises(DescriptorError) as caught:
        read_format(changed(path, value))
    assert (caught.value.code, caught.value.place) == (code, place)
    assert caught.value.message.startswith(place)


@pytest.mark.parametrize("text", ["", "[]", "{", "1", '{"name": "a", "name": "b"}', "[" * 100_000])
def test_what_is_no_object_of_json_is_refused(text):
    with pytest.raises(DescriptorError):
        parse_format(text)


def test_a_misspelled_key_gets_a_did_you_mean():
    with pytest.raises(DescriptorError) as caught:
        read_format(changed("resources/0/sftpPortal/requierd", True))
    assert caught.value.hint == "Did you mean `required`?"


def test_a_rule_of_a_column_goes_over_that_of_its_file_and_its_format():
    data = changed("sftpPortal/rules", {"type": "warning"})
    data["resources"][1]["sftpPortal"] = {"rules": {"type": "note"}}
    data["resources"][1]["schema"]["fields"][2]["sftpPortal"] = {"rules": {"type": "off"}}
    known = read_format(data)
    assert known.severity("type") == "warning"
    assert known.table("pets").field("owner").severity("type") == "note"
    assert known.table("pets").field("born").severity("type") is None


def test_a_condition_that_no_value_can_meet_is_refused():
    data = changed(f"{PETS}/rowRules", [{"rule": "implies", "when": [], "then": {"field": "gone", "in": ["yse"]}}])
    data["resources"][1]["schema"]["fields"][3]["constraints"] = {"enum": ["yes", "no"]}
    with pytest.raises(DescriptorError, match="can never have"):
        read_format(data)


def test_a_manifest_property_without_values_tells_no_format():
    data = changed(
        "sftpPortal/manifest",
        {
            "resource": "owners",
            "name": "id",
            "value": "id",
            "modes": {},
            "properties": [{"name": "a", "recognise": True}],
        },
    )
    with pytest.raises(DescriptorError, match="values that are said"):
        read_format(data)


def test_one_field_of_a_key_of_several_can_be_referred_to():
    data = changed(
        "resources/0/schema", {"fields": [{"name": "id"}, {"name": "school"}], "primaryKey": ["id", "school"]}
    )
    known = read_format(data)
    assert known.table("owners").referred == ("id",)
    assert known.table("owners").places == ("owners", "owners\0id")
    assert known.table("pets").references[0].place == "owners\0id"


def test_a_field_of_the_key_that_may_be_empty_is_not_required():
    data = changed("resources/1/schema/primaryKey", ["id", "owner"])
    data["resources"][1]["sftpPortal"] = {"optionalKey": ["owner"]}
    pets = read_format(data).table("pets")
    assert [one.required for one in pets.fields] == [True, False, False, False]


def test_what_rows_belong_to_is_the_table_that_the_first_of_the_key_refers_to():
    data = changed("resources/1/schema/primaryKey", ["owner", "id"])
    data["resources"][1]["sftpPortal"] = {"ownedBy": "owner"}
    assert read_format(data).table("pets").owner_table == "owners"


def test_a_folder_with_a_misnamed_descriptor_is_refused(tmp_path):
    (tmp_path / "dogs.json").write_text(json.dumps(MINIMAL))
    with pytest.raises(DescriptorError, match=r"dogs\.json"):
        read_catalogue(tmp_path)


def test_formats_of_the_same_records_must_know_them_by_the_same_key(tmp_path):
    for name in ("cats", "dogs"):
        data = changed("sftpPortal/records", "animals")
        data["name"] = name
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    assert {one.records for one in read_catalogue(tmp_path)} == {"animals"}
    data["resources"][1]["schema"]["primaryKey"] = ["born"]
    (tmp_path / "dogs.json").write_text(json.dumps(data))
    with pytest.raises(DescriptorError, match=r"dogs\.json.*another key"):
        read_catalogue(tmp_path)
