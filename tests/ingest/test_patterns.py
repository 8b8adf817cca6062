"""Patterns in descriptors: no text of a district's may keep one busy for long."""

import re

import pytest

from ingest.core.patterns import UnsafePattern, safe_pattern

SAFE = [
    "[0-9A-Za-z._/@-]+",
    r"\d{4}-\d{2}-\d{2}",
    "[A-Z]{1,3}-?[0-9]+",
    "(?:KG|PK|0[1-9]|1[0-2])",
    r"[0-9]+(?:\.[0-9]{1,2})?",
    r"metadata\..+",
    r"[^@\s]+@[^@\s]+",
    r"\{[^:{}]+:[^{}]+\}",
    r"[0-9]+\.[0-9]+\.[0-9]+-[a-z]*",
    "[]a]x",
    "",
]
UNSAFE = {
    "(a+)+": "nested repeats",
    "(a|a)*": "alternatives repeated",
    "(a?){30}a{30}": "group repeated a fixed number of times",
    "((a?)?)*": "nested optional groups repeated",
    "a?" * 25 + "a" * 25: "many optional parts",
    ".*.*.*x": "three repeats that share out the same text",
    r"\w*\w*\d": "two repeats that share out the same text",
    r"[a-z.]+\.[a-z.]+": "two repeats, and the character between them is of the first",
    "[a-z]+-?[a-z]+": "two repeats, and nothing must stand between them",
    "(?:[a-z]+)?[a-z]+": "two repeats, one of them in a group",
    r"(a)\1": "back-reference",
    "(?P<x>a)(?P=x)": "named group",
    "(?=a)b": "look-ahead",
    "(?<=a)b": "look-behind",
    "(?i)a": "flags",
    "a*?": "lazy repeat",
    "a**": "repeat of a repeat",
    "*a": "nothing to repeat",
    "(a": "does not compile",
    "a)": "does not compile",
    "[a": "does not compile",
    r"\p{L}": "unknown escape",
    "(" * 6 + "a" + ")" * 6: "nested deep",
    "a" * 201: "too long",
    "a{9999999999}": "too many",
}


@pytest.mark.parametrize("pattern", SAFE)
def test_a_plain_pattern_is_taken(pattern):
    assert safe_pattern(pattern) == pattern
    assert re.compile(pattern)


@pytest.mark.parametrize("pattern", UNSAFE, ids=UNSAFE.values())
def test_a_pattern_that_could_run_for_long_is_refused(pattern):
    with pytest.raises(UnsafePattern):
        safe_pattern(pattern)
