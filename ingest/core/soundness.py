"""Whether what a descriptor says fits together: every name spoken of is there, every reference has its key."""

from dataclasses import replace

from ingest.core.node import OURS, Node
from ingest.core.rowrules import spoken_of
from ingest.core.schema import (
    Condition,
    Field,
    FieldType,
    Format,
    Implies,
    NoCircle,
    Once,
    Reference,
    RowRule,
    Table,
)


def sound_table(node: Node, table: Table) -> Table:
    """The table itself. Raises DescriptorError where its parts contradict each other."""
    place = node.at("schema")
    names = [name for field in table.fields for name in (field.name, *field.aliases)]
    if not names or len(set(names)) != len(names):
        raise place.fail("fields", "fields are needed, and each name (and alias) once only")
    for name in _spoken_of(table):
        if name not in [field.name for field in table.fields]:
            raise place.fail("field", f"`{name}` is spoken of, but there is no such field")
    for field in table.fields:
        _sound_field(place, table, field)
    if set(table.optional_key) >= set(table.key) or set(table.optional_key) - set(table.key):
        raise node.at(OURS).at("optionalKey").fail("key", "these must be some, and not all, of the key's fields")
    if table.owner and (table.key[0] != table.owner or not table.owner_table):
        raise node.at(OURS).at("ownedBy").fail("owner", "this must be the key's first field, and refer to a resource")
    for rule in table.row_rules:
        _sound_rule(node.at(OURS).at("rowRules"), table, rule)
    return table


def _spoken_of(table: Table) -> list[str]:
    deletion = [table.deletion.field] if table.deletion else []
    rules = [name for rule in table.row_rules for name in sorted(spoken_of(rule.what))]
    references = [reference.field for reference in table.references]
    return [*table.key, *references, *table.change_marks, *deletion, *rules, *table.recognise.all]


def _sound_field(place: Node, table: Table, field: Field) -> None:
    marks = [*table.change_marks, *([table.deletion.field] if table.deletion else [])]
    if field.discard and field.name in (*table.key, *marks):
        raise place.fail("key", f"`{field.name}` is needed to read the rows and cannot be discarded")
    if field.name in table.key and (field.type is FieldType.LIST or field.formats not in ((), ("default",))):
        raise place.fail("key", f"`{field.name}` has several spellings and cannot be a key")
    if field.extension and not field.enum:
        raise place.fail("extension", f"`{field.name}` has no list of values that could be extended")


def _sound_rule(place: Node, table: Table, rule: RowRule) -> None:
    conditions: tuple[Condition, ...] = ()
    if isinstance(rule.what, Implies):
        conditions = (*rule.what.when, rule.what.then)
    elif isinstance(rule.what, Once):
        conditions = rule.what.where
    elif isinstance(rule.what, NoCircle):
        _sound_circle(place, table, rule.what)
    for one in conditions:
        choices = table.field(one.field).enum
        if choices and set(one.values) - set(choices):
            raise place.fail("row-rule", f"`{one.field}` can never have all of the values that a rule names")


def _sound_circle(place: Node, table: Table, rule: NoCircle) -> None:
    above = [reference.table for reference in table.references if reference.field == rule.field]
    if above != [table.name] or len(table.key) != 1:
        raise place.fail("row-rule", f"`{rule.field}` does not refer to the one-field key of its own table")


def unlike(node: Node, tables: tuple[Table, ...]) -> None:
    """Raises DescriptorError where two tables share a name or a file."""
    names = [table.name for table in tables]
    files = [file for table in tables for file in table.files]
    if not tables or len(set(names)) != len(names) or len(set(files)) != len(files):
        raise node.fail("resources", "resources are needed, each name and each file (and alias) once only")


def sound_format(root: Node, found: Format) -> Format:
    """The format with its references resolved. Raises DescriptorError where its parts contradict each other."""
    place = root.at(OURS).at("recognise")
    names = {table.name for table in found.all_tables}
    for name in (*found.recognised_by, *found.recognised_by_any, *(one for t in found.tables for one in t.needs)):
        if name not in names:
            raise place.fail("recognise", f"no resource is named `{name}`")
    if not (found.recognised_by or found.recognised_by_any or any(table.required for table in found.all_tables)):
        raise root.at(OURS).fail("recognise", "nothing tells this format: name files or require one")
    tables = tuple(
        replace(table, references=tuple(_resolved(root, found, table, one) for one in table.references))
        for table in found.tables
    )
    parts = {(one.table, one.part) for table in tables for one in table.references if one.part}
    return replace(found, tables=tuple(_with_parts(table, parts) for table in tables))


def _with_parts(table: Table, parts: set[tuple[str, str]]) -> Table:
    return replace(table, referred=tuple(name for name in table.key if (table.name, name) in parts))


def _resolved(root: Node, found: Format, table: Table, reference: Reference) -> Reference:
    key = found.table(reference.table).key if reference.table in {one.name for one in found.tables} else ()
    if len(key) == 1 and reference.target in ("", key[0]):
        return reference
    if len(key) > 1 and reference.target in key:
        return replace(reference, part=reference.target)
    what = f"`{reference.field}` of `{table.name}` must refer to the primary key of a resource, or to one field of it"
    raise root.at("resources").fail("reference", what)
