"""The file on the host: rendered from values, read back strictly."""

import base64

import pytest

from keys.core.authorized_keys import HEADER, LineKind, keys_in, read, render
from keys.core.publickey import PublicKey
from tests.keys import samples

KEYS = tuple(
    PublicKey.from_blob(base64.b64decode(words["base64"]), words["comment"])
    for words in map(samples.words, samples.TYPES)
)
ED25519 = KEYS[0].line().encode("ascii")


def kinds(content: bytes) -> list[LineKind]:
    return [line.kind for line in read(content)]


def test_a_file_is_a_header_and_one_line_a_key() -> None:
    content = render(KEYS)
    assert content.decode("ascii") == "\n".join([HEADER, *map(samples.text, samples.TYPES), ""])


def test_a_file_without_keys_is_its_header() -> None:
    assert render([]) == b"# managed by SFTP Portal\n"
    assert keys_in(read(render([]))) == ()


def test_what_was_rendered_is_read_back() -> None:
    lines = read(render(KEYS))
    assert keys_in(lines) == KEYS
    assert [line.kind for line in lines] == [LineKind.HEADER, *[LineKind.KEY] * len(KEYS)]
    assert [line.number for line in lines] == list(range(1, len(KEYS) + 2))


def test_ssh_keygen_reads_what_was_rendered() -> None:
    assert samples.fingerprints(render(KEYS)) == [key.fingerprint for key in KEYS]


def test_a_comment_beyond_ascii_is_read_back() -> None:
    key = PublicKey.from_blob(KEYS[0].blob, "Zoë 日本")
    assert keys_in(read(render([key]))) == (key,)


FOREIGN = {
    "an empty line": b"",
    "another comment": b"# by hand",
    "the header again": HEADER.encode("ascii"),
    "options": b'from="192.0.2.0/24" ' + ED25519,
    "restrict": b"restrict " + ED25519,
    "cert-authority": b"cert-authority " + ED25519,
    "a leading blank": b" " + ED25519,
    "two blanks": ED25519.replace(b" ", b"  ", 1),
    "a tab": ED25519.replace(b" ", b"\t", 1),
    "a trailing blank": ED25519 + b" ",
    "a carriage return": ED25519 + b"\r",
    "a zero byte": ED25519 + b"\0",
    "a comment that is not utf-8": ED25519 + b"\xff",
    "a second line by another line end": ED25519 + b"\xe2\x80\xa8x",
    "another type before the key": ED25519.replace(b"ssh-ed25519", b"ssh-rsa", 1),
    "half a key": ED25519[:40],
    "no base64": b"ssh-ed25519",
    "dsa": samples.text("dsa").encode(),
    "a certificate": samples.text("rsa2048-cert").encode(),
    "garbage": b"\x80\x81\xff" * 9,
}


@pytest.mark.parametrize("line", FOREIGN.values(), ids=FOREIGN.keys())
def test_a_line_that_we_would_not_write_is_foreign(line: bytes) -> None:
    lines = read(render(KEYS[1:2]) + line + b"\n" + KEYS[2].line().encode("ascii") + b"\n")
    assert [entry.kind for entry in lines] == [
        LineKind.HEADER,
        LineKind.KEY,
        LineKind.FOREIGN,
        LineKind.KEY,
    ]
    assert lines[2].raw == line
    assert keys_in(lines) == KEYS[1:3]


def test_a_last_line_without_its_end_is_foreign() -> None:
    assert kinds(render(KEYS[:2])[:-1]) == [LineKind.HEADER, LineKind.KEY, LineKind.FOREIGN]


def test_a_file_without_our_header_may_still_hold_our_lines() -> None:
    assert kinds(ED25519 + b"\n") == [LineKind.KEY]
    assert kinds(b"") == []


def test_a_byte_order_mark_makes_the_first_line_foreign() -> None:
    assert kinds(b"\xef\xbb\xbf" + render([])) == [LineKind.FOREIGN]
