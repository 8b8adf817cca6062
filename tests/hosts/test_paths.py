import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts.core.errors import NotSafe
from hosts.core.paths import (
    HostPath,
    Username,
    claimed,
    downloads,
    home,
    key_file,
    name_bytes,
    name_text,
    open_writes,
    processed,
    shown,
    upload,
    username,
)

OURS = username("smithville.k12.oh.us")


@pytest.mark.parametrize("text", ["a", "4j.lane.edu", "smithville.k12.oh.us", "a" * 253, "a-b.example"])
def test_a_domain_is_a_user_name(text: str) -> None:
    assert username(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "a..b", "a.", "../x", "a/b", "-oProxyCommand=x", ".hidden", "Smithville.us", "a_b", "ä.de"),
        *("a\n", "\na", "a b", "a\0", "a\u2028", "ａ.us"),
    ],
)
def test_anything_else_is_no_user_name(text: str) -> None:
    with pytest.raises(NotSafe):
        username(text)


def test_a_name_longer_than_any_domain_is_no_user_name() -> None:
    with pytest.raises(NotSafe):
        username("a" * 254)


def test_a_place_checks_the_user_name_again() -> None:
    for place in (home, upload, processed, downloads, key_file, open_writes):
        with pytest.raises(NotSafe):
            place(Username("../root"))


def test_the_places_lie_where_the_host_expects_them() -> None:
    places = (key_file(OURS), upload(OURS), processed(OURS), downloads(OURS), claimed(7), open_writes(OURS))
    assert [str(place) for place in places] == [
        "keys/smithville.k12.oh.us",
        "homes/smithville.k12.oh.us/upload",
        "homes/smithville.k12.oh.us/upload-processed",
        "homes/smithville.k12.oh.us/downloads",
        "claimed/7",
        "open/smithville.k12.oh.us",
    ]


@pytest.mark.parametrize("number", [0, -1])
def test_a_claimed_epoch_has_a_positive_number(number: int) -> None:
    with pytest.raises(NotSafe):
        claimed(number)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\0b", "é" * 128, "\ud800"])
def test_what_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(NotSafe):
        HostPath(("homes",)).child(name)
    with pytest.raises(NotSafe):
        HostPath((name,))


@pytest.mark.parametrize("name", ["a", "...", " ", "-rf", "a\nb", "a\\b", "é" * 127, "\udcff"])
def test_any_other_name_is_one(name: str) -> None:
    assert HostPath().child(name).name == name


@given(st.binary(min_size=1, max_size=255).filter(lambda raw: not set(raw) & {0, 47} and raw.strip(b".")))
def test_every_name_of_a_file_system_comes_back_as_the_same_bytes(raw: bytes) -> None:
    assert name_bytes(name_text(raw)) == raw


@given(st.binary(max_size=12), st.binary(max_size=12))
def test_two_names_are_never_shown_alike_nor_with_anything_but_printable_characters(a: bytes, b: bytes) -> None:
    shown_a, shown_b = shown(name_text(a)), shown(name_text(b))
    assert (shown_a == shown_b) == (a == b)
    assert shown_a.isprintable()


def test_a_shown_name_is_escaped_and_can_be_cut() -> None:
    assert shown("a\nb\\\x1b\udcff\u2028") == "a\\u{a}b\\\\\\u{1b}\\xff\\u{2028}"
    assert shown("x" * 200, 10) == "x" * 10 + "…"
