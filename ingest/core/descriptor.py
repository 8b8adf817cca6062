"""Reads a format out of its descriptor: a Data Package whose resources have Table Schemas.

The standard's names are used where it has them (https://datapackage.org/standard/table-schema/); what we add stands
under the key `sftpPortal` and is described in docs/formats/README.md. Whatever is not understood is refused with its
place, never skipped: a rule that somebody wrote and nobody applies is worse than no rule. Addresses and paths in a
descriptor are never followed.
"""

import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ingest.core.errors import DescriptorError
from ingest.core.node import OURS, Node
from ingest.core.patterns import UnsafePattern, safe_pattern
from ingest.core.ruling import row_rules, severities, unique_keys
from ingest.core.schema import (
    Container,
    Deletion,
    Field,
    FieldType,
    Format,
    HeaderRule,
    Manifest,
    MissingRow,
    Mode,
    Property,
    Reference,
    Rules,
    Table,
)
from ingest.core.soundness import sound_format, sound_table, unlike

__all__ = ["Field", "Format", "Table", "parse_format", "read_format"]

FORMAT_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
TABLE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
BARE_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,100}\.[a-z0-9]{1,5}")
DATE_FORMAT = re.compile(r"%[Ymd](?:[-/. ]?%[Ymd]){2}")

PACKAGE_KEYS = {"$schema", "profile", "name", "title", "description", "version", "licenses", "sources", "resources"}
RESOURCE_KEYS = {"name", "path", "title", "description", "profile", "mediatype", "encoding", "schema"}
SCHEMA_KEYS = {"fields", "primaryKey", "uniqueKeys", "foreignKeys", "missingValues"}
FIELD_KEYS = {
    "name", "title", "description", "type", "format", "constraints", "example",
    "trueValues", "falseValues", "delimiter", "itemType",
}  # fmt: skip
CONSTRAINT_KEYS = {"required", "unique", "pattern", "enum", "maxLength"}
PACKAGE_OURS = {"layout", "records", "containers", "recognise", "rules", "manifest"}
RECOGNISE_KEYS = {"files", "anyFiles", "noFiles", "byHand"}
RESOURCE_OURS = {
    "required", "needs", "needsRows", "ifMissing", "missingRow", "ownedBy", "optionalKey", "changeMarks", "deletion",
    "aliases", "recognise", "extraColumns", "sampleRows", "rules", "rowRules",
}  # fmt: skip
FIELD_OURS = {
    "aliases", "formats", "identifier", "references", "besides", "items", "extension", "discard", "personal", "sample",
    "rules", "schoolYear",
}  # fmt: skip


def parse_format(content: str | bytes) -> Format:
    """A format from the bytes of its JSON file. Raises DescriptorError; a key that stands twice is refused."""
    try:
        data = json.loads(content, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        raise DescriptorError("not-json", "", f"this is not JSON: {error}") from None
    return read_format(data)


def read_format(data: Mapping[str, object]) -> Format:
    """A format from its descriptor. Raises DescriptorError, whose message begins with the JSON place."""
    root = Node(data).only(PACKAGE_KEYS | {OURS})
    ours = root.ours(PACKAGE_OURS)
    if ours.number("layout") != 1:
        raise ours.at("layout").fail("layout", "this must be 1, the only layout there is")
    rules = severities(ours, {})
    tables = tuple(_table(node, rules) for node in root.each("resources"))
    unlike(root.at("resources"), tables)
    manifest = _manifest(ours.at("manifest"), tables) if ours.has("manifest") else None
    data_tables = tuple(table for table in tables if manifest is None or table != manifest.table)
    recognise = (ours.at("recognise") if ours.has("recognise") else Node({})).only(RECOGNISE_KEYS)
    name = _name(root.at("name"))
    found = Format(
        name=name,
        title=root.at("title").text(),
        version=root.at("version").text(),
        tables=data_tables,
        manifest=manifest,
        containers=_containers(ours),
        recognised_by=recognise.words("files"),
        foreign_files=recognise.words("noFiles"),
        rules=rules,
        recognised_by_any=recognise.words("anyFiles"),
        by_hand=recognise.flag("byHand"),
        records=_name(ours.at("records")) if ours.has("records") else name,
    )
    return sound_format(root, found)


def _name(node: Node) -> str:
    return node.matching(FORMAT_NAME, "name", "a name is lower-case letters, digits, `.`, `_`, `-`")


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return made


def _containers(ours: Node) -> frozenset[Container]:
    names = ours.words("containers") or ("loose",)
    if unknown := set(names) - set(Container):
        raise ours.at("containers").fail("container", f"`{min(unknown)}` is not known; there are loose and zip")
    return frozenset(Container(name) for name in names)


def _table(node: Node, above: Rules) -> Table:
    node.only(RESOURCE_KEYS | {OURS})
    ours = node.ours(RESOURCE_OURS)
    rules = severities(ours, above)
    schema = node.at("schema").only(SCHEMA_KEYS)
    if schema.has("missingValues") and schema.at("missingValues").value != [""]:
        raise schema.at("missingValues").fail("missing-values", 'only [""] is understood')
    key = _primary_key(schema)
    references = (*_foreign_keys(schema, node), *_list_references(schema))
    identifiers = {*key, *(reference.field for reference in references)}
    needed = set(key) - set(ours.words("optionalKey"))
    fields = tuple(_field(field, rules, needed, identifiers) for field in schema.each("fields"))
    table = Table(
        name=node.at("name").matching(TABLE_NAME, "name", "a table's name is letters, digits, `_` and `-`"),
        file=_file(node.at("path")),
        fields=fields,
        key=key,
        references=references,
        required=ours.flag("required"),
        missing_row=_missing_row(ours),
        change_marks=ours.words("changeMarks"),
        deletion=_deletion(ours.at("deletion")) if ours.has("deletion") else None,
        aliases=tuple(_file(alias) for alias in ours.each("aliases")),
        recognise=_header_rule(ours.at("recognise")) if ours.has("recognise") else HeaderRule(),
        extra_columns=_pattern(ours.at("extraColumns")) if ours.has("extraColumns") else None,
        sample_rows=ours.number("sampleRows") or 0,
        rules=rules,
        optional_key=ours.words("optionalKey"),
        owner=ours.word("ownedBy"),
        needs=ours.words("needs"),
        needs_rows=ours.flag("needsRows"),
        if_missing=ours.word("ifMissing"),
        row_rules=(*unique_keys(schema), *row_rules(ours)),
    )
    return sound_table(node, table)


def _file(node: Node) -> str:
    return node.matching(BARE_FILE, "path", "a bare file name such as `users.csv` is needed: no folder, no address")


def _missing_row(ours: Node) -> MissingRow:
    word = ours.word("missingRow", MissingRow.REMOVED)
    if word not in list(MissingRow):
        raise ours.at("missingRow").fail("missing-row", "this must be removed or kept")
    return MissingRow(word)


def _deletion(node: Node) -> Deletion:
    node.only({"field", "equals"})
    return Deletion(node.at("field").text(), node.at("equals").text())


def _header_rule(node: Node) -> HeaderRule:
    node.only({"all", "any", "none"})
    return HeaderRule(node.words("all"), node.words("any"), node.words("none"))


def _primary_key(schema: Node) -> tuple[str, ...]:
    node = schema.at("primaryKey")
    key = (node.text(),) if isinstance(node.value, str) else schema.words("primaryKey")
    if not key:
        raise node.fail("key", "every file needs a primary key, or its records could not be told apart")
    return key


def _foreign_keys(schema: Node, resource: Node) -> tuple[Reference, ...]:
    return tuple(_foreign_key(node, resource) for node in schema.each("foreignKeys"))


def _foreign_key(node: Node, resource: Node) -> Reference:
    node.only({"fields", "reference"})
    target = node.at("reference").only({"resource", "fields"})
    itself = target.at("resource").value == ""
    table = resource.at("name").text() if itself else target.at("resource").text()
    field = _one_field(node.at("fields"))
    return Reference(field, table, _one_field(target.at("fields")), _besides(resource.at("schema"), field))


def _besides(schema: Node, field: str) -> tuple[str, ...]:
    for node in schema.each("fields"):
        if node.at("name").value == field:
            return node.ours(FIELD_OURS).words("besides")
    return ()


def _one_field(node: Node) -> str:
    only = node.value[0] if isinstance(node.value, list) and len(node.value) == 1 else node.value
    if not isinstance(only, str):
        raise node.fail("foreign-key", "the name of one field is needed here")
    return only


def _list_references(schema: Node) -> Iterator[Reference]:
    for node in schema.each("fields"):
        ours = node.ours(FIELD_OURS)
        if ours.has("references"):
            yield Reference(node.at("name").text(), ours.at("references").text(), "", ours.words("besides"))


def _field(node: Node, above: Rules, needed: set[str], identifiers: set[str]) -> Field:
    node.only(FIELD_KEYS | {OURS})
    ours = node.ours(FIELD_OURS)
    limits = node.at("constraints") if node.has("constraints") else Node({}, f"{node.place}/constraints")
    limits.only(CONSTRAINT_KEYS)
    type_ = _field_type(node)
    items = ours.at("items") if ours.has("items") else limits
    if ours.has("items") and type_ is not FieldType.LIST:
        raise items.fail("items", "only a list has items")
    name = node.at("name").text()
    return Field(
        name=name,
        type=type_,
        required=limits.flag("required") or name in needed,
        unique=limits.flag("unique"),
        pattern=_pattern(items.at("pattern")) if items.has("pattern") else None,
        enum=items.words("enum"),
        max_length=limits.number("maxLength"),
        formats=_date_formats(node, ours, type_),
        true_values=node.words("trueValues") or ("true", "True", "TRUE", "1"),
        false_values=node.words("falseValues") or ("false", "False", "FALSE", "0"),
        delimiter=_delimiter(node),
        aliases=ours.words("aliases"),
        identifier=ours.flag("identifier") or name in identifiers,
        discard=ours.flag("discard"),
        sample=_sample(ours),
        rules=severities(ours, above),
        personal=ours.flag("personal"),
        extension=_pattern(ours.at("extension")) if ours.has("extension") else None,
        school_year=_is_school_year(ours, type_),
    )


def _is_school_year(ours: Node, type_: FieldType) -> bool:
    if ours.flag("schoolYear") and type_ not in (FieldType.YEAR, FieldType.DATE):
        raise ours.at("schoolYear").fail("type", "only a year or a date tells a school year")
    return ours.flag("schoolYear")


def _field_type(node: Node) -> FieldType:
    word = node.word("type", FieldType.STRING)
    if word not in list(FieldType):
        raise node.at("type").fail("type", f"`{word}` is not known; there are {', '.join(FieldType)}")
    if node.word("itemType", "string") != "string":
        raise node.at("itemType").fail("type", "the items of a list can only be strings")
    return FieldType(word)


def _pattern(node: Node) -> str:
    try:
        return safe_pattern(node.text())
    except UnsafePattern as error:
        raise node.fail("pattern", f"this pattern is refused: {error}") from None


def _date_formats(node: Node, ours: Node, type_: FieldType) -> tuple[str, ...]:
    standard = node.word("format", "default")
    if type_ is not FieldType.DATE:
        if standard != "default" or ours.has("formats"):
            raise node.at("format").fail("format", "only a date may have a format other than default")
        return ()
    every = tuple(dict.fromkeys((standard, *ours.words("formats"))))
    for form in every:
        if form != "default" and (not DATE_FORMAT.fullmatch(form) or {*"Ymd"} - {*form}):
            raise node.at("format").fail("format", f"`{form}` is not a day, a month and a year: %d, %m, %Y")
    return every


def _delimiter(node: Node) -> str:
    mark = node.word("delimiter", ",")
    if len(mark) != 1 or mark == '"':
        raise node.at("delimiter").fail("delimiter", "one character other than a quote is needed here")
    return mark


def _sample(ours: Node) -> tuple[str, ...]:
    """One template or several to choose from; here, and only here, a text may be empty."""
    node = ours.at("sample")
    every = node.value if isinstance(node.value, list) else [] if node.value is None else [node.value]
    for text in every:
        if not isinstance(text, str) or not text.isprintable():
            raise node.fail("not-a-text", "a text or a list of texts is needed here")
    return tuple(every)


def _manifest(node: Node, tables: tuple[Table, ...]) -> Manifest:
    node.only({"resource", "name", "value", "properties", "modePrefix", "modes"})
    table = next((table for table in tables if table.name == node.at("resource").value), None)
    if table is None:
        raise node.at("resource").fail("manifest", "no resource has this name")
    modes = {word: _mode(node.at("modes").at(word)) for word in node.at("modes").members()}
    fields = {field.name for field in table.fields}
    for key in ("name", "value"):
        if node.at(key).text() not in fields:
            raise node.at(key).fail("manifest", "the manifest has no such column")
    return Manifest(
        table=table,
        name_field=node.at("name").text(),
        value_field=node.at("value").text(),
        properties=tuple(_property(entry) for entry in node.each("properties")),
        mode_prefix=node.word("modePrefix"),
        modes=MappingProxyType(modes),
    )


def _property(node: Node) -> Property:
    node.only({"name", "values", "required", "aliases", "recognise"})
    values, tells = node.words("values"), node.flag("recognise")
    if tells and not values:
        raise node.at("values").fail("manifest", "a format can only be known by values that are said")
    return Property(node.at("name").text(), values, node.flag("required"), node.words("aliases"), tells)


def _mode(node: Node) -> Mode:
    if node.text() not in list(Mode):
        raise node.fail("mode", "this must be full, changes or absent")
    return Mode(node.text())
