"""Domains and slugs."""

import pytest

from accounts.core import names
from hosts.core import paths

GOOD = ["smithville.k12.oh.us", "a.b", "1st-district.k12.ca.us", "x" * 63 + ".us"]
BAD = [
    "",
    "smithville",
    "-a.us",
    "a-.us",
    "a..us",
    ".us",
    "a.us.",
    "a_b.us",
    "a/b.us",
    "a.us\nroot",
    "x" * 64 + ".us",
    "ä.us",
    ".".join(["x" * 60] * 5),
]


@pytest.mark.parametrize("text", GOOD)
def test_a_domain_is_taken_and_is_a_user_name_the_host_takes(text: str) -> None:
    assert paths.username(names.domain(text)) == text


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_domain_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(names.NameRefused, match=r"domain"):
        names.domain(text)


def test_a_domain_is_lower_case_without_outer_blanks() -> None:
    assert names.domain("  Smithville.K12.OH.us ") == "smithville.k12.oh.us"


def test_slugs_are_short_and_different() -> None:
    first = names.slug("Smithville Local Schools", set())
    second = names.slug("Smithville Local Schools", {first})
    assert first == "smithville-local-schools"
    assert names.slug("Maple Grove School District No. 7", set()) == "maple-grove-school"
    assert second == "smithville-local-schools-2"
    assert len(names.slug("x" * 200, set())) <= names.LONGEST_SLUG


@pytest.mark.parametrize("name", ["", "é", "!", "Q"])
def test_a_name_without_letters_still_gets_a_slug(name: str) -> None:
    assert names.slug(name, set()).startswith("district")
