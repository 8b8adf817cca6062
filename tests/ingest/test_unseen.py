"""A format is a file of data: one never seen before works as it comes, and no code knows any by name."""

import io
import re
from pathlib import Path

import pytest

import ingest
from ingest.core.check import Limits, Source, check, rows
from ingest.core.choose import Sighting, recognise
from ingest.core.container import ArchiveLimits, read_archive
from ingest.core.descriptor import read_format
from ingest.core.diff import Counts, What, compare
from ingest.core.lexical import read_header
from ingest.core.rules import RULES
from ingest.core.sampling import epoch, zipped
from ingest.core.schema import Container, Mode
from tests.ingest.epochs import FORMATS

LIBRARY = read_format(
    {
        "name": "library-loans-7",
        "title": "Library loans",
        "version": "7",
        "resources": [
            {
                "name": "index",
                "path": "index.csv",
                "schema": {"fields": [{"name": "what"}, {"name": "is"}], "primaryKey": "what"},
                "sftpPortal": {"required": True, "recognise": {"all": ["what", "is"]}},
            },
            {
                "name": "books",
                "path": "books.csv",
                "schema": {
                    "fields": [
                        {"name": "isbn", "constraints": {"pattern": "[0-9]{4,13}"}, "sftpPortal": {"sample": "97##"}},
                        {"name": "title", "constraints": {"required": True, "maxLength": 40}},
                        {
                            "name": "tags", "type": "list", "delimiter": ";",
                            "sftpPortal": {"items": {"enum": ["a", "b"]}},
                        },
                    ],
                    "primaryKey": "isbn",
                },
                "sftpPortal": {"required": True, "recognise": {"all": ["isbn"]}, "sampleRows": 200},
            },
            {
                "name": "loans",
                "path": "loans.csv",
                "schema": {
                    "fields": [
                        {"name": "isbn"},
                        {"name": "reader"},
                        {"name": "out", "type": "date", "format": "%d.%m.%Y", "constraints": {"required": True}},
                        {"name": "state", "constraints": {"enum": ["out", "back"]}},
                    ],
                    "primaryKey": ["isbn", "reader"],
                    "foreignKeys": [{"fields": "isbn", "reference": {"resource": "books", "fields": "isbn"}}],
                },
                "sftpPortal": {
                    "aliases": ["lendings.csv"],
                    "changeMarks": ["state"],
                    "deletion": {"field": "state", "equals": "back"},
                    "sampleRows": 100,
                },
            },
        ],
        "sftpPortal": {
            "layout": 1,
            "containers": ["loose", "zip"],
            "recognise": {"files": ["index"]},
            "manifest": {
                "resource": "index", "name": "what", "value": "is",
                "modes": {"all": "full", "news": "changes", "nothing": "absent"},
            },
        },
    }
)  # fmt: skip

FIRST = {
    "index.csv": b"what,is\nbooks,all\nloans,all\n",
    "books.csv": b"isbn,title,tags\n9780000000001,One,a;b\n9780000000002,Two,\n",
    "lendings.csv": b"isbn,reader,out,state\n9780000000001,r|1,01.02.2026,\n9780000000002,r2,28.02.2026,\n",
}
SECOND = {
    "index.csv": b"what,is\nbooks,nothing\nloans,news\n",
    "lendings.csv": (
        b"isbn,reader,out,state\n9780000000001,r|1,01.02.2026,back\n9780000000002,r2,1.3.2026,out\n"
        b"9780000000003,r3,02.03.2026,out\n"
    ),
}


def opened(files):
    archive = read_archive(io.BytesIO(zipped(files)), "x.zip", ArchiveLimits())
    assert archive.ok
    return [Source(one.name, lambda name=one.name: archive.open(name)) for one in archive.members]


def night(files, kept):
    """One night from a zip to its changes, as the pipeline goes."""
    sources = opened(files)
    seen = [Sighting(one.name, read_header(one.open())) for one in sources]
    known = recognise(seen, [*FORMATS.values(), LIBRARY], Container.ZIP).format
    assert known is LIBRARY
    verdict = check(known, sources, Limits(), lambda count: None)
    assert verdict.ok, verdict.findings
    counts = {}
    for source in sources:
        table = known.table_of(source.name)
        mode = verdict.modes.get(table.name, Mode.ABSENT)
        if mode is Mode.ABSENT:
            continue
        changes = compare(dict(kept.get(table.name, {})), rows(known, table, source), mode)
        for change in changes:
            if change.what is What.REMOVED:
                del kept[table.name][change.key]
            else:
                kept.setdefault(table.name, {})[change.key] = change.row.digest
        counts[table.name] = changes.counts
    return counts


def test_a_format_never_seen_goes_all_the_way_from_its_descriptor_alone():
    kept = {}
    assert night(FIRST, kept) == {"books": Counts(added=2), "loans": Counts(added=2)}
    assert night(FIRST, kept) == {"books": Counts(unchanged=2), "loans": Counts(unchanged=2)}
    assert night(SECOND, kept) == {"loans": Counts(added=1, changed=1, removed=1)}
    assert set(kept["loans"]) == {"9780000000002|r2", "9780000000003|r3"}
    assert len(kept["books"]) == 2


def test_its_faults_are_found_as_well():
    books = b"isbn,title,tags\n978,One,a;c\n9780000000002,,\n"
    loans = b"isbn,reader,out,state\n9780000000009,r1,31.02.2026,\n9780000000009,,01.02.2026,\n"
    files = {**FIRST, "books.csv": books, "lendings.csv": loans}
    verdict = check(LIBRARY, opened(files), Limits(), lambda count: None)
    assert {(one.file, one.line, one.column, one.code) for one in verdict.findings} == {
        ("books.csv", 2, "isbn", "pattern"),
        ("books.csv", 2, "tags", "enum"),
        ("books.csv", 3, "title", "required"),
        ("lendings.csv", 2, "isbn", "reference"),
        ("lendings.csv", 2, "out", "date"),
        ("lendings.csv", 3, "isbn", "reference"),
        ("lendings.csv", 3, "reader", "key-empty"),
    }


def test_epochs_of_it_can_be_invented():
    files = epoch(LIBRARY, 100)
    assert check(LIBRARY, opened(files), Limits(), lambda count: None).findings == ()


def test_no_format_is_named_in_any_python_file():
    words = {word.casefold() for known in FORMATS.values() for word in re.findall(r"[A-Za-z]{5,}", known.title)}
    names = {known.name for known in FORMATS.values()} | (words & {"oneroster", "samegoal"})
    assert {"oneroster", "samegoal"} <= names
    for path in Path(ingest.__file__).parent.rglob("*.py"):
        text = path.read_text().casefold()
        assert not [name for name in names if name in text], path


DOCS = Path(ingest.__file__).parents[1] / "docs" / "formats" / "README.md"


@pytest.mark.parametrize("code", RULES)
def test_every_code_a_finding_can_carry_is_in_the_docs(code):
    row = re.search(rf"^\| `{code}` \| (\w+) \| (yes|no) \|", DOCS.read_text(), re.MULTILINE)
    assert row, code
    rule = RULES[code]
    assert row.groups() == (rule.severity.value if rule.severity else "off", "yes" if rule.tunable else "no")


def test_the_docs_name_no_code_that_is_not_there():
    told = re.findall(r"^\| `([a-z0-9-]+)` \| (?:error|warning|note|off) \|", DOCS.read_text(), re.MULTILINE)
    assert set(told) == set(RULES)
