"""Rules of the house that a grep can keep."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.catalogue import formats

ROOT = Path(__file__).parents[2]
PACKAGES = ("portal", "ingest", "keys", "accounts", "hosts", "deploy")
SOURCES = [
    path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")) if "migrations" not in path.parts
]
PAGES = [path for place in ("templates", "static") for path in sorted((ROOT / place).rglob("*")) if path.is_file()]
FORBIDDEN = {
    "a shell": re.compile(r"shell\s*=\s*True|os\.system|os\.popen|subprocess\.getoutput"),
    "a pickle": re.compile(r"\bpickle\b|\bmarshal\b|\bshelve\b|yaml\.load\("),
    "a host key taken unseen": re.compile(r"AutoAddPolicy|WarningPolicy|known_hosts\s*=\s*None"),
    "code from text": re.compile(r"(?<![\w.])(eval|exec)\("),
    "a drawer": re.compile(r"^from .*(utils|helpers|common)\b.* import", re.MULTILINE),
    "something left undone": re.compile(r"\b(TODO|FIXME|XXX)\b"),
}
OURS = re.compile(r"https?://(localhost|127\.0\.0\.1)?(?![\w.-])|http://www\.w3\.org/(2000/svg|1999/xhtml)")
# Libraries that are named so, and where Django itself keeps what we need.
NAMED_SO = ("django.utils", "django.contrib", "django_celery_beat.utils")


def _title(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_source_holds(what: str) -> None:
    found = []
    for path in SOURCES:
        for line in path.read_text("utf-8").splitlines():
            if FORBIDDEN[what].search(line) and not any(name in line for name in NAMED_SO):
                found.append(f"{_title(path)}: {line.strip()}")
    assert found == []


def test_no_format_has_its_name_in_a_source() -> None:
    names = {known.name for known in formats()} | {known.name.partition("-")[0] for known in formats()}
    found = [
        (_title(path), name) for path in SOURCES for name in names if name.lower() in path.read_text("utf-8").lower()
    ]
    assert found == []


def test_no_page_reaches_for_another_host() -> None:
    found = []
    for path in PAGES:
        for line in path.read_text("utf-8").splitlines():
            rest = OURS.sub("", line)
            if re.search(r"https?://|(?:src|href)=[\"']//|url\(\s*[\"']?//", rest):
                found.append(f"{_title(path)}: {line.strip()}")
    assert found == []


def _public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node


# The hosts package is written by its own rule: what its interface documents is not said again where it is implemented.
@pytest.mark.parametrize("package", ["portal", "ingest", "keys", "accounts"])
def test_every_public_function_of_the_coat_says_what_it_is_for(package: str) -> None:
    found = [
        f"{_title(path)}: {node.name}"
        for path in SOURCES
        if path.relative_to(ROOT).parts[0] == package and "core" not in path.parts
        for node in _public(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and not ast.get_docstring(node)
    ]
    assert found == []


@pytest.mark.parametrize("path", SOURCES, ids=_title)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    text = path.read_text("utf-8")
    assert not text.strip() or ast.get_docstring(ast.parse(text))


def test_no_source_imports_inside_a_function_unless_it_says_why() -> None:
    found = []
    for path in SOURCES:
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef):
                continue
            inner = [one for one in ast.walk(node) if isinstance(one, ast.Import | ast.ImportFrom)]
            found += [
                f"{_title(path)}:{one.lineno}" for one in inner if "noqa" not in text.splitlines()[one.lineno - 1]
            ]
    assert found == []


def test_functions_are_short() -> None:
    lengths = sorted(
        node.end_lineno - node.lineno + 1
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef)
    )
    assert lengths[len(lengths) // 2] <= 9
    assert lengths[len(lengths) * 9 // 10] <= 30
