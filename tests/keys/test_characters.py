"""Files as editors save them, and lines as they are counted."""

import codecs

import pytest

from keys.core.characters import split_lines, text_from
from keys.core.parse import parse_paste
from tests.keys import samples

LINE = samples.text("ed25519_b")


@pytest.mark.parametrize(
    "content",
    [
        LINE.encode("utf-8"),
        codecs.BOM_UTF8 + LINE.encode("utf-8"),
        codecs.BOM_UTF16_LE + LINE.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + LINE.encode("utf-16-be"),
        LINE.encode("utf-16-le"),
        LINE.encode("utf-16-be"),
    ],
    ids=["utf-8", "utf-8 with mark", "utf-16-le with mark", "utf-16-be with mark", "utf-16-le", "utf-16-be"],
)
def test_a_pub_file_is_read_in_the_encodings_of_editors(content: bytes) -> None:
    assert [key.line() for key in parse_paste(text_from(content)).keys] == [LINE]


@pytest.mark.parametrize("content", [b"", b"\0", b"\xff", b"\xff\xfe", b"\xfe\xff\0", b"\0\0\0\0", bytes(range(256))])
def test_any_bytes_have_some_text(content: bytes) -> None:
    assert isinstance(text_from(content), str)


def test_a_comment_in_windows_1252_is_read() -> None:
    paste = parse_paste(text_from(samples.text("ed25519").encode() + b" Zo\xeb"))
    assert paste.keys[0].comment == "sis-server Zoë"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("a\nb", ["a", "b"]),
        ("a\r\nb\r\n", ["a", "b", ""]),
        ("a\rb", ["a", "b"]),
        ("a\r\r\nb", ["a", "b"]),
        ("a\r\n\r\nb", ["a", "", "b"]),
        ("a\x0bb\x0cc\x85d\u2028e", ["a\x0bb\x0cc\x85d\u2028e"]),
    ],
)
def test_lines_end_with_lf_crlf_or_cr_and_nothing_else(text: str, lines: list[str]) -> None:
    assert split_lines(text) == lines


@pytest.mark.parametrize(
    "character", "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180f\u3164\ufe00\ufe0f\uffa0\U000e0100", ids=ascii
)
def test_a_character_that_does_not_show_is_nowhere_kept(character: str) -> None:
    paste = parse_paste(character.join(LINE) + character)
    assert [key.line() for key in paste.keys] == [LINE]
    assert parse_paste(f"BEGIN PRI{character}VATE KEY").private_key
