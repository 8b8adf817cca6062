"""What holds for every text, tried by Hypothesis."""

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from keys.core.authorized_keys import LineKind, keys_in, read, render
from keys.core.characters import text_from
from keys.core.parse import parse_paste
from tests.keys import samples

STRICT_LINE = re.compile(
    r"(?:ssh-rsa|ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|sk-ssh-ed25519@openssh\.com"
    r"|sk-ecdsa-sha2-nistp256@openssh\.com) [A-Za-z0-9+/]+={0,2}(?: \S(?:.{0,253}\S)?)?"
)
LINES = [samples.text(name) for name in samples.TYPES]
BLOCKS = [samples.text(name) for name in ("rsa2048.puttygen", "ecdsa256.rfc4716", "rsa2048.spki", "dsa.rfc4716")]
SIGNS = [
    *("\n", "\r\n", "\r", " ", "\t", "\u2028", "\u0085", "\0", "\u200b", "\ufeff", "> ", "#", '"', "'", "\\", "="),
    *("---- BEGIN SSH2 PUBLIC KEY ----", "---- END SSH2 PUBLIC KEY ----", "-----BEGIN PUBLIC KEY-----"),
    *("Comment: ", "ssh-rsa ", "ssh-ed25519 ", "ssh-dss ", "command=", "AAAAB3NzaC1yc2E", "AAAA", "A"),
    *("; touch x #", "`id`", "$(id)", "<script>", "SHA256:", "BEGIN OPENSSH PRIVATE KEY"),
]


@st.composite
def cut(draw: st.DrawFn) -> str:
    """A part of a real key."""
    whole = draw(st.sampled_from(LINES + BLOCKS))
    start = draw(st.integers(0, len(whole)))
    return whole[start : draw(st.integers(start, len(whole)))]


PASTES = st.lists(
    st.one_of(st.sampled_from(LINES), st.sampled_from(BLOCKS), st.sampled_from(SIGNS), cut(), st.text(max_size=8)),
    max_size=14,
).map("".join)
ANY = st.text(st.characters(codec=None, categories=None), max_size=300)


@settings(max_examples=400, deadline=None)
@given(st.one_of(PASTES, ANY))
@example("\ud800")
@example('"\n"')
@example("ssh-rsa")
def test_no_text_raises_and_whatever_is_accepted_is_one_clean_line_a_key(text: str) -> None:
    paste = parse_paste(text)
    content = render(paste.keys)
    lines = content.decode("utf-8").split("\n")
    assert len(lines) == len(paste.keys) + 2
    assert all(STRICT_LINE.fullmatch(line) for line in lines[1:-1])
    assert all(line.isprintable() for line in lines)
    assert len(paste.lines) == len(paste.keys)
    assert len({key.blob for key in paste.keys}) == len(paste.keys)
    assert not (paste.private_key and (paste.accepted or paste.keys))
    count = text.count("\n") + text.count("\r") + 1
    for problem in (*paste.problems, *paste.notes):
        assert problem.line is None or 1 <= problem.line <= count


@settings(max_examples=200, deadline=None)
@given(PASTES)
def test_reading_is_idempotent(text: str) -> None:
    keys = parse_paste(text).keys
    content = render(keys)
    assert keys_in(read(content)) == keys
    assert all(line.kind is not LineKind.FOREIGN for line in read(content))
    again = parse_paste(content.decode("utf-8"))
    assert again.accepted
    assert again.keys == keys


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(LINES), st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=300))
def test_whatever_the_comment_the_key_is_the_same(line: str, comment: str) -> None:
    words = line.split(" ", 2)
    paste = parse_paste(f"{words[0]} {words[1]} {comment}")
    assert [key.blob_base64 for key in paste.keys] == [words[1]]
    assert paste.accepted


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(LINES), st.data())
def test_one_changed_character_of_a_key_never_gives_the_same_key(line: str, data: st.DataObject) -> None:
    kind, blob, _ = line.split(" ", 2)
    at = data.draw(st.integers(0, len(blob) - 1))
    other = data.draw(st.characters().filter(lambda character: character != blob[at]))
    paste = parse_paste(f"{kind} {blob[:at]}{other}{blob[at + 1 :]}")
    assert blob not in [key.blob_base64 for key in paste.keys]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=5), ANY)
def test_a_bad_line_never_drops_a_good_one_unseen(lines: list[str], junk: str) -> None:
    paste = parse_paste("\n".join([*lines, "", junk]))
    kept = {key.blob_base64 for key in paste.keys}
    assert kept >= {line.split(" ")[1] for line in lines} or not paste.accepted


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_file_can_be_read(content: bytes) -> None:
    assert isinstance(parse_paste(text_from(content)).keys, tuple)
    assert len(read(content)) <= content.count(b"\n") + 1
