"""The short way through a paste: it may only be quicker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.core import parse
from keys.core.plain import plain_keys
from keys.core.policy import Policy
from tests.keys import samples

LINES = [samples.text(name) for name in (*samples.TYPES, "ed25519_b")]
BARE = [line.rsplit(" ", 1)[0] for line in LINES]


def long_way(text: str) -> parse.Paste:
    return parse._read_at_length(text, Policy())


@pytest.mark.parametrize("line", LINES, ids=(*samples.TYPES, "ed25519_b"))
def test_a_line_as_ssh_keygen_writes_it_is_taken_the_short_way(line: str) -> None:
    assert plain_keys(line + "\n", 50) is not None


COMMENTS = st.lists(
    st.sampled_from([" ", "@", ".", "-", "_", "#", '"', "\\", "\t", "\u00a0", "\ufeff", "=", "+", "/", "<b>"])
    | st.sampled_from(["dana", "PRIVATE KEY", "private-key", "BEGIN", "END", "Private-MAC:", "PuTTY-User-Key-File-2"])
    | st.sampled_from(["AGE-SECRET-KEY-1", "b3BlbnNzaC1rZXktdjEA", "MIIEpAIBAAKCAQEA", "ssh-rsa", "AAAAB3NzaC1yc2E"])
    | st.text(max_size=20),
    max_size=12,
).map("".join)
PASTES = st.lists(
    st.tuples(st.sampled_from(LINES + BARE + [""]), COMMENTS, st.sampled_from(["\n", "\r\n", "\r", "\r\r\n", "\n\n"])),
    max_size=6,
).map(lambda parts: "".join("".join(part) for part in parts))


@given(PASTES)
def test_whatever_is_taken_the_short_way_is_read_the_same_the_long_way(text: str) -> None:
    assert parse.parse_paste(text) == long_way(text)


@pytest.mark.parametrize("line", LINES, ids=(*samples.TYPES, "ed25519_b"))
def test_a_line_with_one_character_changed_is_read_the_same_both_ways(line: str) -> None:
    places = [*range(40), *range(40, len(line), 7), len(line) - 1]
    for at in places:
        for other in "A/= \n\u00a0-\x00":
            changed = line[:at] + other + line[at + 1 :]
            assert parse.parse_paste(changed) == long_way(changed)


def test_more_lines_than_keys_are_taken_go_the_long_way() -> None:
    assert plain_keys("\n".join(LINES[:3]), 3) is not None
    assert plain_keys("\n".join(LINES[:4]), 3) is None


@pytest.mark.parametrize(
    "comment",
    ["a  b", " a", "a ", "dana!", "X" * 16, "a private key", "a-Priv.key", "ab " * 34 + "c", "Zoë", "a\tb", "#", "- a"],
)
def test_an_unusual_comment_goes_the_long_way(comment: str) -> None:
    assert plain_keys(f"{BARE[0]} dana", 50) is not None
    assert plain_keys(f"{BARE[0]} {comment}", 50) is None
