"""OpenSSH lines that something broke over several lines."""

import textwrap

import pytest

from keys.core.parse import parse_paste
from tests.keys import samples
from tests.keys.samples import broken

LINE_ENDS = {
    "lf": "\n",
    "crlf": "\r\n",
    "cr": "\r",
    "trailing blanks": "  \n",
    "indented": "\n    ",
    "a tab": "\n\t",
    "mail": "\n> ",
}


@pytest.mark.parametrize("line_end", LINE_ENDS.values(), ids=LINE_ENDS.keys())
@pytest.mark.parametrize("name", samples.TYPES)
def test_a_key_broken_at_any_column_is_joined(name: str, line_end: str) -> None:
    line, words = samples.text(name), samples.words(name)
    for width in range(2, min(len(f"{words['type']} {words['base64']}"), 130)):
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


@pytest.mark.parametrize("name", samples.TYPES)
def test_a_key_that_was_broken_where_words_end_is_joined_with_its_comment(name: str) -> None:
    line = samples.text(name)
    # From 80 on, the break may be in the comment only, and then nothing shows that the lines belong together.
    for width in range(36, 80):
        for long_words in (True, False):
            pieces = textwrap.wrap(line, width, break_long_words=long_words, break_on_hyphens=False)
            paste = parse_paste("\n".join(pieces))
            assert [key.line() for key in paste.keys] == [line], width
            assert paste.accepted, width


def test_a_name_of_the_shape_user_at_host_below_a_key_is_its_comment() -> None:
    words = samples.words("ed25519")
    paste = parse_paste(f"{words['type']} {words['base64']}\ndana@sis-server")
    assert paste.accepted
    assert paste.keys[0].comment == "dana@sis-server"


@pytest.mark.parametrize(
    ("comment", "below"), [("dana@smithv", "ille.k12.oh.us"), ("dana", "@sis-server"), ("dana@sis-serv", "er-01")]
)
def test_the_end_of_such_a_name_below_a_key_is_the_end_of_its_comment(comment: str, below: str) -> None:
    words = samples.words("ed25519")
    paste = parse_paste(f"{words['type']} {words['base64']} {comment}\n{below}\n{samples.text('rsa3072')}")
    assert paste.accepted
    assert paste.keys[0].comment == comment + below


@pytest.mark.parametrize(
    ("comment", "below"),
    [("dana@sis", "Thanks"), ("dana", "ruiz@sis.example extra"), ("sis", "server-01"), ("a b", "c@d")],
)
def test_what_may_be_a_word_of_its_own_below_a_comment_is_refused(comment: str, below: str) -> None:
    words = samples.words("ed25519")
    paste = parse_paste(f"{words['type']} {words['base64']} {comment}\n{below}")
    assert [(problem.code, problem.line) for problem in paste.problems] == [("not-a-key", 2)]


@pytest.mark.parametrize("below", ["dana@sis-server\nThanks", "LFHP3k77OeECzJzldQ84iHWoG2nR2XtvJEv0LFHP", "1234"])
def test_what_may_be_something_else_below_a_key_is_not_its_comment(below: str) -> None:
    words = samples.words("ed25519")
    paste = parse_paste(f"{words['type']} {words['base64']}\n{below}")
    assert not paste.accepted


def test_a_piece_of_another_key_is_never_taken_for_a_comment() -> None:
    piece = samples.words("rsa4096")["base64"][100:164]
    line = f"{samples.words('rsa3072')['type']} {samples.words('rsa3072')['base64']}"
    for width in range(33, 100):
        paste = parse_paste(broken(line, width) + "\n" + piece)
        assert not paste.accepted, width


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


OF_ITS_OWN = {
    'command="x"': "options",
    'from="1.2.3.4"': "options",
    "no-pty,restrict": "options",
    "cert-authority": "not-a-key",
    "restrict": "not-a-key",
    "/home/x/.ssh/id_rsa.pub": "file-name",
    "~/.ssh/id_rsa.pub": "file-name",
    "C:\\keys\\id.pub": "file-name",
    "id_ed25519.pub": "file-name",
}


@pytest.mark.parametrize(("below", "code"), OF_ITS_OWN.items(), ids=OF_ITS_OWN.keys())
@pytest.mark.parametrize("shape", ["{type}\n{base64}", "{type} {base64}", "{type} {base64} {below}"])
def test_options_and_paths_below_a_key_are_never_its_comment(below: str, code: str, shape: str) -> None:
    words = samples.words("ed25519")
    key = shape.format(below="dana", **words) if "below" in shape else shape.format(**words)
    paste = parse_paste(f"{key}\n{below}")
    assert [problem.code for problem in paste.problems] == [code]


@pytest.mark.parametrize("below", ['command="x"', "/home/x/.ssh/id_rsa.pub"])
def test_nor_are_they_below_a_key_that_was_broken_at_a_column(below: str) -> None:
    line = samples.text("rsa3072").rpartition(" ")[0]
    for width in range(40, 100):
        assert not parse_paste(f"{broken(line, width)}\n{below}").accepted, width
