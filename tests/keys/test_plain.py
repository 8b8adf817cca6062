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
    | st.sampled_from(
        [*"'()[]{},:;!?*~$%^|`", "\u00eb", "\u0416", "\u03c3", "\u00d7", "\u115f", "\ufe0f", "e\u0301", "priv:"]
    )
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
    [
        *("X" * 16, "a private key", "a-Priv.key", "P.R.I.V", "ab " * 34 + "c", "a\tb"),
        *("Xabcdefg+Xabcdefg", "Xabcdefg/Xabcdefg", "a\u00a0b", "a\u115fb", "a\ufe0f", "\u65e5\u672c"),
    ],
)
def test_an_unusual_comment_goes_the_long_way(comment: str) -> None:
    assert plain_keys(f"{BARE[0]} dana", 50) is not None
    assert plain_keys(f"{BARE[0]} {comment}", 50) is None


@pytest.mark.parametrize(
    "comment",
    [
        *("dana!", "Zoë", "#", "- a", "(Dana)", "dana+sis@host", "Dana's [old]", "DOMAIN\\dana", "C:\\keys\\id.pub"),
        *('"a"', "<a> & b", 'Dana "the" Ruiz', "`a`"),
        *("a, b; c: d?", "50 % = half", "Жанна σ", "~/.ssh/id", "{x} | $y ^ *"),
    ],
)
@pytest.mark.parametrize(("before", "behind"), [("", ""), ("  ", " "), ("\t", "\t ")], ids=["bare", "blanks", "tabs"])
def test_a_comment_as_people_write_it_is_taken_the_short_way(comment: str, before: str, behind: str) -> None:
    text = f"{before}{BARE[0]} {comment}{behind}\n  \n{LINES[1]}"
    assert plain_keys(text, 50) is not None
    paste = parse.parse_paste(text)
    assert paste == long_way(text)
    assert paste.keys[0].comment == comment


def test_blanks_between_words_are_taken_the_short_way_and_made_one() -> None:
    text = f"{BARE[0]}  \t "
    assert plain_keys(text, 50) is not None
    text = f"{BARE[0]} Dana   Ruiz  "
    ((key, _),) = plain_keys(text, 50) or []
    assert key.comment == "Dana Ruiz"
    assert [key] == list(long_way(text).keys)


def test_the_short_way_counts_bytes_and_not_characters() -> None:
    line = f"{BARE[0]} {'ë' * 90}"
    policy = Policy(maximum_paste_bytes=len(line) + 5)
    assert [problem.code for problem in parse.parse_paste(line, policy).problems] == ["paste-too-long"]


@pytest.mark.parametrize("comment", ["BEGIN P.RIVATE KEY", "BEGIN PRIV ATE KEY", "PuTTY-User-Key-F.ile-2"])
def test_a_sign_of_a_private_key_with_marks_in_it_is_read_the_same_both_ways(comment: str) -> None:
    text = f"{BARE[0]} {comment}"
    assert parse.parse_paste(text) == long_way(text)
