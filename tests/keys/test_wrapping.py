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
        assert paste.keys[0].comment == words["comment"], width
        assert "joined" in {note.code for note in paste.notes}


COMMENTS = ["Dana Ruiz, office PC no. 7", "a b c d e f", "x - y", "sis-server", "dana@sis-server.k12.oh.us"]


@pytest.mark.parametrize("line_end", LINE_ENDS.values(), ids=LINE_ENDS.keys())
@pytest.mark.parametrize("comment", COMMENTS)
def test_a_comment_that_was_broken_keeps_its_blanks_and_gets_no_more(comment: str, line_end: str) -> None:
    bare = samples.text("ed25519").rpartition(" ")[0]
    for width in range(2, len(bare)):
        paste = parse_paste(broken(f"{bare} {comment}", width, line_end))
        assert [key.comment for key in paste.keys] == [comment], width
        assert paste.accepted, width


@pytest.mark.parametrize("comment", COMMENTS)
def test_a_comment_whose_blanks_were_lost_at_the_ends_of_lines_is_right_or_refused(comment: str) -> None:
    bare, refused = samples.text("ed25519").rpartition(" ")[0], 0
    for width in range(2, len(bare)):
        pieces = [piece.rstrip(" ") for piece in broken(f"{bare} {comment}", width).split("\n")]
        paste = parse_paste("\n".join(pieces))
        if paste.accepted:
            assert [key.comment for key in paste.keys] == [comment], width
        else:
            assert (paste.problems[0].code, paste.problems[0].line) == ("join-uncertain", 1), width
            refused += 1
    # Where the blank before the comment, or one in it, fell on the break, nothing shows that the lines belong together.
    assert refused < 30


@pytest.mark.parametrize("width", [3, 4, 5, 7, 9, 10])
def test_a_comment_whose_blanks_may_have_been_on_either_side_of_a_break_is_refused(width: int) -> None:
    bare = samples.text("ed25519").rpartition(" ")[0]
    pieces = broken(f"{bare} nightly export of the SIS, Dana Ruiz", width).split("\n")
    paste = parse_paste("\n".join(piece.strip(" ") for piece in pieces))
    assert (paste.problems[0].code, paste.problems[0].line) == ("join-uncertain", 1)


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


@pytest.mark.parametrize("line_end", ["\n\n", "\r\r", "\r\n\r\n", "\n \n", "\n\n\n"])
@pytest.mark.parametrize("name", samples.TYPES)
def test_blank_lines_between_the_pieces_of_a_broken_key_are_skipped(name: str, line_end: str) -> None:
    line, other = samples.text(name), samples.text("ed25519_b")
    for width in (16, 33, 48, 64, 70, 76):
        paste = parse_paste(f"{broken(line, width, line_end)}{line_end}{other}")
        assert paste.accepted, width
        assert [key.line() for key in paste.keys] == [line, other], width
        assert paste.lines[1] == 1 + len(broken(line, width, "\n").split("\n")) * (line_end.count("\n") or 2)


def test_a_blank_line_in_the_middle_of_a_blob_is_skipped() -> None:
    lines = broken(samples.text("rsa3072"), 64).split("\n")
    paste = parse_paste("\n".join([*lines[:2], "", *lines[2:]]))
    assert [key.line() for key in paste.keys] == [samples.text("rsa3072")]


def test_a_line_behind_a_blank_one_is_no_comment_unless_all_lines_have_one() -> None:
    pieces = broken(samples.text("rsa2048-no-comment"), 76)
    paste = parse_paste(f"{pieces}\n\nThanks, Dana")
    assert [(problem.code, problem.line) for problem in paste.problems] == [("not-a-key", 7)]


@pytest.mark.parametrize("name", samples.TYPES)
def test_a_key_that_was_broken_where_words_end_is_right_or_refused(name: str) -> None:
    line = samples.text(name)
    # From 80 on, the break may be in the comment only, and then nothing shows that the lines belong together.
    for width in range(36, 80):
        for long_words in (True, False):
            pieces = textwrap.wrap(line, width, break_long_words=long_words, break_on_hyphens=False)
            paste = parse_paste("\n".join(pieces))
            if paste.accepted:
                assert [key.line() for key in paste.keys] == [line], width
            else:
                # What had no room and stands below could be anything, a password too.
                assert paste.problems[0].code == "join-uncertain"
                assert not pieces[-1].endswith(samples.words(name)["base64"][-2:])


FOREIGN = ["hunter2!", "http://smithville.example", "Sent from my iPhone", "password123", "Thanks, Dana", "id_rsa.txt"]


@pytest.mark.parametrize("below", FOREIGN)
@pytest.mark.parametrize("comment", ["", " dana@smithville.example"])
@pytest.mark.parametrize("name", samples.TYPES)
def test_what_stands_below_a_whole_key_never_gets_into_its_comment(name: str, comment: str, below: str) -> None:
    line = samples.text(f"{name}-no-comment") + comment
    for width in range(40, 80):
        pieces = textwrap.wrap(line, width, break_on_hyphens=False)
        # A full last line may well go on.
        is_full = len(pieces[-1]) >= width - 1
        if not is_full and pieces[-1].endswith(comment.strip() or line[-2:]):
            assert not parse_paste("\n".join([*pieces, below])).accepted, width


@pytest.mark.parametrize(
    ("comment", "below"),
    [("", "dana@sis-server"), ("", "P@ssw0rd"), (" dana@smithville.", "k12.oh.us"), (" dana", "@sis-server")],
)
def test_a_name_or_its_end_below_a_whole_key_is_told_as_uncertain(comment: str, below: str) -> None:
    words = samples.words("ed25519")
    paste = parse_paste(f"{words['type']} {words['base64']}{comment}\n{below}\n{samples.text('rsa3072')}")
    assert [(problem.code, problem.line) for problem in paste.problems] == [("join-uncertain", 1)]


def test_a_key_that_was_broken_at_its_blanks_only_has_the_name_below_for_its_comment() -> None:
    words = samples.words("rsa4096")
    paste = parse_paste(f"{words['type']}\n{words['base64']}\ndana@sis-server")
    assert [key.comment for key in paste.keys] == ["dana@sis-server"]


@pytest.mark.parametrize(
    "below", ["Summer2024", "password: hunter2", "Thanks!", "Port: 22", "EOF", "https://x.org", "```"]
)
def test_what_stands_below_a_broken_key_with_a_comment_is_not_eaten(below: str) -> None:
    line = f"{samples.text('rsa2048-no-comment')} rsa-key-20240131"
    for width in range(30, 130):
        pieces = broken(line, width).split("\n")
        # Only where the last line is full, or one short, may it go on.
        if len(pieces[-1]) < width - 1:
            paste = parse_paste("\n".join([*pieces, below]))
            assert not paste.accepted or paste.keys[0].comment == "rsa-key-20240131", width


@pytest.mark.parametrize(
    ("comment", "below"),
    [
        *(("dana@sis", "Thanks"), ("dana", "ruiz@sis.example extra"), ("sis", "server-01"), ("a b", "c@d")),
        *(("dana@sis-server", below) for below in ("Password123", "user1", "10.0.0.5", "555-1234", "1")),
    ],
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


@pytest.mark.parametrize("name", samples.TYPES)
def test_a_broken_key_with_every_line_indented_alike_has_the_same_comment(name: str) -> None:
    line = f"{samples.text(f'{name}-no-comment')} root@upload.smithville.k12.oh.us"
    for width in range(16, min(len(line), 130)):
        flat = parse_paste(broken(line, width))
        for indent in ("    ", "\t", " "):
            paste = parse_paste(textwrap.indent(broken(line, width), indent))
            assert paste == flat, width
            assert not paste.accepted or paste.keys[0].line() == line, width


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
