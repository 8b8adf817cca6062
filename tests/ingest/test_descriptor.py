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
    assert {"oneroster-1.1", "samegoal-students-1", "samegoal-students-2"} <= {one.name for one in known}


def test_the_roster_set_has_its_thirteen_files_and_its_manifest():
    known = next(one for one in read_catalogue() if one.name == "oneroster-1.1")
    assert len(known.tables) == 13
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
    "several references": (
        "resources/1/schema/foreignKeys/0/fields", ["id", "owner"], "foreign-key",
        "/resources/1/schema/foreignKeys/0/fields",
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


def test_a_folder_with_a_misnamed_descriptor_is_refused(tmp_path):
    (tmp_path / "dogs.json").write_text(json.dumps(MINIMAL))
    with pytest.raises(DescriptorError, match=r"dogs\.json"):
        read_catalogue(tmp_path)
