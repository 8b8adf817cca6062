"""What docs/security.md says is tested, is."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(test_\w+))?`")


def _tests(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_the_page_on_security_names_is_there() -> None:
    named = NAMED.findall((ROOT / "docs" / "security.md").read_text("utf-8"))
    assert len(named) > 50
    gone = [f"{file}::{test}" for file, test in named if test and test not in _tests(ROOT / file)]
    assert gone == []


def test_every_bug_of_the_page_has_a_test() -> None:
    page = (ROOT / "docs" / "security.md").read_text("utf-8")
    section = page.partition("## Bugs that others had")[2].partition("\n## ")[0]
    bugs = [line for line in section.splitlines() if line.startswith("| ")][2:]
    assert len(bugs) >= 28
    assert [bug for bug in bugs if not any(test for _, test in NAMED.findall(bug))] == []
