"""The file on the host: rendered from values, read back strictly."""

import base64
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.core.authorized_keys import HEADER, Entry, LineKind, Stamp, entries_in, keys_in, read, render, stamp_of
from keys.core.publickey import PublicKey
from keys.core.restrictions import Restrictions
from tests.keys import samples

KEYS = tuple(
    PublicKey.from_blob(base64.b64decode(words["base64"]), words["comment"])
    for words in map(samples.words, samples.TYPES)
)
ED25519 = KEYS[0].line().encode("ascii")
FROM = Restrictions((ip_network("198.51.100.0/24"), ip_network("2001:db8::/32")))
UNTIL = Restrictions(expires=datetime(2027, 6, 30, 23, 59, 59, tzinfo=UTC))
BOTH = Restrictions(FROM.networks, UNTIL.expires)
STAMP = Stamp(17, "3f9c0a4455667788")


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
    entries = [Entry(key, restrictions) for key in KEYS for restrictions in (Restrictions(), FROM, UNTIL, BOTH)]
    assert samples.fingerprints(render(entries, STAMP)) == [entry.key.fingerprint for entry in entries]


def test_options_stand_before_a_restricted_key_only() -> None:
    content = render([Entry(KEYS[0]), Entry(KEYS[0], BOTH)])
    assert content.splitlines()[1:] == [
        ED25519,
        b'restrict,from="198.51.100.0/24,2001:db8::/32",expiry-time="20270630235959Z" ' + ED25519,
    ]


def test_restrictions_are_read_back_with_their_key() -> None:
    entries = (Entry(KEYS[0], FROM), Entry(KEYS[1]), Entry(KEYS[2], UNTIL), Entry(KEYS[3], BOTH))
    lines = read(render(entries, STAMP))
    assert entries_in(lines) == entries
    assert keys_in(lines) == KEYS[:4]


def test_a_key_whose_comment_says_restrict_has_no_restrictions() -> None:
    key = PublicKey.from_blob(KEYS[0].blob, 'restrict,from="198.51.100.0/24" x')
    assert entries_in(read(render([key]))) == (Entry(key),)


def test_a_stamp_stands_in_the_first_line_and_is_read_back() -> None:
    content = render(KEYS, STAMP)
    assert content.splitlines()[0] == b"# managed by SFTP Portal | set 17 | 3f9c0a4455667788"
    assert stamp_of(content) == STAMP
    assert kinds(content) == [LineKind.HEADER, *[LineKind.KEY] * len(KEYS)]


@settings(deadline=None)
@given(st.builds(Stamp, st.integers(1, 10**9 - 1), st.text("0123456789abcdef", min_size=16, max_size=32)))
def test_every_stamp_comes_back_as_it_was_written(stamp: Stamp) -> None:
    assert stamp_of(render([], stamp)) == stamp


STAMPED = render([], STAMP)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        render(KEYS),
        STAMPED[:-1],
        STAMPED.replace(b"\n", b"\r\n"),
        b"\n" + STAMPED,
        b" " + STAMPED,
        b"\xef\xbb\xbf" + STAMPED,
        render(KEYS) + STAMPED,
        STAMPED.replace(b"17", b"017"),
        STAMPED.replace(b"17", b"0"),
        STAMPED.replace(b"17", b"-1"),
        STAMPED.replace(b"17", "１７".encode()),
        STAMPED.replace(b"17", b"1" * 20),
        STAMPED.replace(b"3f9c", b"3F9C"),
        STAMPED.replace(b"3f9c0a4455667788", b"3f9c0a445566778"),
        STAMPED.replace(b"3f9c0a4455667788", b"0" * 33),
        STAMPED.replace(b"\n", b" \n"),
        STAMPED.replace(b" | ", b"|"),
    ],
)
def test_a_stamp_that_we_would_not_write_is_none(content: bytes) -> None:
    assert stamp_of(content) is None


@pytest.mark.parametrize(
    ("version", "token"),
    [(0, "0" * 16), (10**9, "0" * 16), (1, "0" * 15), (1, "0" * 33), (1, "G" * 16), (1, "0" * 16 + "\n")],
)
def test_a_stamp_that_could_not_be_read_back_does_not_exist(version: int, token: str) -> None:
    with pytest.raises(ValueError, match="a version"):
        Stamp(version, token)


def test_a_comment_beyond_ascii_is_read_back() -> None:
    key = PublicKey.from_blob(KEYS[0].blob, "Zoë 日本")
    assert keys_in(read(render([key]))) == (key,)


FOREIGN = {
    "an empty line": b"",
    "another comment": b"# by hand",
    "the header again": HEADER.encode("ascii"),
    "options": b'from="192.0.2.0/24" ' + ED25519,
    "restrict": b"restrict " + ED25519,
    "an option more": b'restrict,pty,from="192.0.2.0/24" ' + ED25519,
    "a network with host bits": b'restrict,from="192.0.2.7/24" ' + ED25519,
    "a network written otherwise": b'restrict,from="2001:DB8::/32" ' + ED25519,
    "a time in the host's zone": b'restrict,expiry-time="20270630235959" ' + ED25519,
    "options in another order": b'restrict,expiry-time="20270630235959Z",from="192.0.2.0/24" ' + ED25519,
    "two blanks behind options": UNTIL.options().encode() + b"  " + ED25519,
    "options twice": UNTIL.options().encode() + b" " + UNTIL.options().encode() + b" " + ED25519,
    "options alone": UNTIL.options().encode(),
    "a stamp further down": b"# managed by SFTP Portal | set 17 | 3f9c0a4455667788",
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
