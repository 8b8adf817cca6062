"""OpenSSH lines that something broke over several lines."""

import pytest

from keys.core.parse import parse_paste
from tests.keys import samples

LINE_ENDS = {"lf": "\n", "crlf": "\r\n", "trailing blanks": "  \n", "indented": "\n    "}


def broken(line: str, width: int, line_end: str = "\n") -> str:
    return line_end.join(line[start : start + width] for start in range(0, len(line), width))


@pytest.mark.parametrize("line_end", LINE_ENDS.values(), ids=LINE_ENDS.keys())
@pytest.mark.parametrize("name", samples.TYPES)
def test_a_key_broken_at_any_column_is_joined(name: str, line_end: str) -> None:
    line, words = samples.text(name), samples.words(name)
    for width in range(12, len(f"{words['type']} {words['base64']}")):
        paste = parse_paste(broken(line, width, line_end))
        assert [key.blob_base64 for key in paste.keys] == [words["base64"]], width
        assert paste.accepted, width
        assert paste.keys[0].comment.replace(" ", "") == words["comment"].replace(" ", ""), width
        assert "joined" in {note.code for note in paste.notes}


@pytest.mark.parametrize("width", [20, 40, 64, 72, 76])
def test_several_broken_keys_and_blocks_are_told_apart(width: int) -> None:
    names = ["ed25519", "rsa2048", "sk_ecdsa256", "rsa4096"]
    pieces = [broken(samples.text(name), width) for name in names]
    paste = parse_paste("\n".join([*pieces, samples.text("ecdsa256.rfc4716"), samples.text("ed25519_b")]))
    expected = [*names, "ecdsa256", "ed25519_b"]
    assert paste.accepted
    assert [key.blob_base64 for key in paste.keys] == [samples.words(name)["base64"] for name in expected]


@pytest.mark.parametrize("name", samples.TYPES)
def test_a_broken_key_without_its_last_line_is_truncated(name: str) -> None:
    words = samples.words(name)
    lines = broken(f"{words['type']} {words['base64']}", 40).split("\n")
    for end in range(2, len(lines)):
        paste = parse_paste("\n".join(lines[:end]))
        assert [(problem.code, problem.line) for problem in paste.problems] == [("truncated", 1)]


def test_a_broken_key_without_a_line_in_the_middle_is_truncated() -> None:
    lines = broken(samples.text("rsa3072"), 64).split("\n")
    paste = parse_paste("\n".join(lines[:3] + lines[4:]))
    assert (paste.problems[0].code, paste.problems[0].line) == ("truncated", 1)


def test_broken_lines_in_the_wrong_order_are_refused() -> None:
    lines = broken(samples.text("ecdsa521"), 64).split("\n")
    paste = parse_paste("\n".join([lines[0], lines[2], lines[1], *lines[3:]]))
    assert not paste.accepted


def test_a_blank_line_in_the_middle_of_a_key_is_refused() -> None:
    lines = broken(samples.text("rsa3072"), 64).split("\n")
    paste = parse_paste("\n".join([*lines[:2], "", *lines[2:]]))
    assert paste.problems[0].code == "truncated"


def test_a_line_behind_a_whole_key_is_not_guessed_to_be_its_comment() -> None:
    words = samples.words("ed25519")
    paste = parse_paste(f"{words['type']} {words['base64']}\nThanks")
    assert [(problem.code, problem.line) for problem in paste.problems] == [("not-a-key", 2)]


def test_a_stray_line_behind_a_broken_key_is_not_joined() -> None:
    paste = parse_paste(broken(samples.text("rsa3072"), 64) + "\nThanks, Dana")
    assert [problem.code for problem in paste.problems] == ["not-a-key"]


def test_a_key_broken_by_blanks_on_one_line_is_not_guessed() -> None:
    paste = parse_paste(broken(samples.text("rsa3072"), 64, " "))
    assert [problem.code for problem in paste.problems] == ["truncated"]


def test_pieces_of_a_refused_type_are_no_problems_of_their_own() -> None:
    for name, code in [("dsa", "dsa"), ("rsa2048-cert", "certificate"), ("rsa1024", "rsa-too-short")]:
        paste = parse_paste(broken(samples.text(name), 64) + "\n" + samples.text("ed25519"))
        assert [problem.code for problem in paste.problems] == [code]
        assert len(paste.keys) == 1
