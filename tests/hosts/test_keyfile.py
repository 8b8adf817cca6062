import base64
import struct
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hosts.core.keyfile import FILE_LIMIT, KeyLine, read_keyfile

BLOB = struct.pack(">I", 11) + b"ssh-ed25519" + struct.pack(">I", 32) + bytes(range(32))
KEY = f"ssh-ed25519 {base64.b64encode(BLOB).decode()}"


def only_line(text: str) -> KeyLine:
    found = read_keyfile(text.encode("latin-1"))
    assert not found.refused
    (line,) = found.lines
    return line


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        f"{KEY} a comment with  spaces",
        f"  {KEY}\r",
        f"\t{KEY}\tcomment",
        KEY.replace(" ", "   "),
        f"restrict {KEY}",
        f"RESTRICT {KEY}",
        f'restrict,from="10.0.0.0/8",expiry-time="20990101Z" {KEY} comment',
        f"# comment\n\n{KEY}\n# more",
    ],
)
def test_a_line_of_ours_names_its_key(text: str) -> None:
    assert only_line(text).blob == BLOB


@pytest.mark.parametrize(
    "text",
    [
        f'command="/bin/sh" {KEY}',
        f"no-pty {KEY}",
        f"cert-authority {KEY}",
        f"restrict,unknown {KEY}",
        f"restrict,pty {KEY}",
        f'restrict="x" {KEY}',
        f"from {KEY}",
        f"from=10.0.0.1 {KEY}",
        f'from="" {KEY}',
        f'from="10.0.0.1,,10.0.0.2" {KEY}',
        f'from="10.0.0.1/8" {KEY}',
        f'from="10.0.0.0/33" {KEY}',
        f'from="10.0.0.0/255.0.0.0" {KEY}',
        f'from="10.0.0.1",from="10.0.0.2" {KEY}',
        f'from="10.0.0.1 {KEY}',
        f'from="10.0.0.1,x\\"y" {KEY}',
        f'from="10.0.0.1,x\\" ssh-ed25519 ",command="id" {KEY}',
        f'expiry-time="soon" {KEY}',
        f'expiry-time="20261301" {KEY}',
        f'expiry-time="2026" {KEY}',
        f'expiry-time="19700101Z" {KEY}',
        f'expiry-time="20260101CET" {KEY}',
        f'expiry-time="20260101Z",expiry-time="20260101" {KEY}',
        f"restrict, {KEY}",
        f"restrict restrict {KEY}",
        f"\ufeff{KEY}".encode().decode("latin-1"),
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        f"ssh-rsa {KEY.split()[1]}",
        f"ssh-dss {KEY.split()[1]}",
        f"ssh-ed25519-cert-v01@openssh.com {KEY.split()[1]}",
        KEY.split()[1],
        KEY + "=",
        f"{KEY[:20]} {KEY[20:]}",
        f"{KEY} a\0b",
        f"{KEY} a\x1b[2J",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
    ],
)
def test_anything_else_lets_nobody_in(text: str) -> None:
    found = read_keyfile(f"{text}\n".encode("latin-1"))
    assert found.lines == ()
    assert [refused.number for refused in found.refused] == [1]


def test_a_bad_line_does_not_take_the_good_ones_with_it() -> None:
    found = read_keyfile(f"bad\n{KEY}\nno-pty {KEY}\n".encode())
    assert [line.blob for line in found.lines] == [BLOB]
    assert [refused.number for refused in found.refused] == [1, 3]


def test_an_empty_file_and_a_huge_one_let_nobody_in() -> None:
    assert read_keyfile(b"").lines == ()
    assert read_keyfile(f"{KEY}\n".encode() * (FILE_LIMIT // len(KEY) + 1)).lines == ()


@pytest.mark.parametrize(
    ("sources", "address", "allowed"),
    [
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.11", False),
        ("192.0.2.1,10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8,!10.1.0.0/16", "10.1.2.3", False),
        ("!10.1.0.0/16,10.0.0.0/8", "10.2.0.1", True),
        ("!10.1.0.0/16", "10.2.0.1", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::/32", "10.0.0.1", False),
        ("10.0.0.0/8", "2001:db8::1", False),
        ("10.1.*", "10.1.2.3", True),
        ("10.1.*", "10.11.2.3", False),
        ("10.1.2.?", "10.1.2.3", True),
        ("10.1.2.?", "10.1.2.33", False),
        ("*", "10.1.2.3", True),
        ("*,!10.1.2.3", "10.1.2.3", False),
        ("host.example", "10.1.2.3", False),
    ],
)
def test_from_means_what_it_means_in_sshd(sources: str, address: str, allowed: bool) -> None:
    assert only_line(f'from="{sources}" {KEY}').allows(ip_address(address)) is allowed


HOST_ZONE = timezone(timedelta(hours=-5))


@pytest.mark.parametrize(
    ("expiry", "now", "expired"),
    [
        ("20261122Z", datetime(2026, 11, 22, 0, 0, 0, tzinfo=UTC), False),
        ("20261122Z", datetime(2026, 11, 22, 0, 0, 0, 999999, tzinfo=UTC), False),
        ("20261122Z", datetime(2026, 11, 22, 0, 0, 1, tzinfo=UTC), True),
        ("20261122z", datetime(2026, 11, 22, 0, 0, 0, tzinfo=HOST_ZONE), True),
        ("20261122UTC", datetime(2026, 11, 22, 0, 0, 0, tzinfo=HOST_ZONE), True),
        ("20261122", datetime(2026, 11, 22, 0, 0, 0, tzinfo=HOST_ZONE), False),
        ("202611220930Z", datetime(2026, 11, 22, 4, 30, 0, tzinfo=HOST_ZONE), False),
        ("202611220930Z", datetime(2026, 11, 22, 4, 30, 1, tzinfo=HOST_ZONE), True),
        ("20261122093015", datetime(2026, 11, 22, 9, 30, 15, tzinfo=HOST_ZONE), False),
        ("20261122093015", datetime(2026, 11, 22, 9, 30, 16, tzinfo=HOST_ZONE), True),
    ],
)
def test_an_expiry_time_is_utc_with_z_and_the_hosts_own_without(expiry: str, now: datetime, expired: bool) -> None:
    assert only_line(f'expiry-time="{expiry}" {KEY}').expired(now) is expired


def test_of_two_expiry_times_the_earlier_counts() -> None:
    line = only_line(f'expiry-time="20300101Z",expiry-time="20200101Z" {KEY}')
    assert line.expires == datetime(2020, 1, 1, tzinfo=UTC)


@given(st.binary(max_size=200))
def test_no_content_whatever_raises(content: bytes) -> None:
    read_keyfile(content)


@given(st.text(alphabet='restic,fom="0123456789./!*?-pyZ \t\\', max_size=60))
def test_no_options_whatever_raise(options: str) -> None:
    read_keyfile(f"{options} {KEY}".encode())


def test_a_pattern_made_to_be_slow_is_not() -> None:
    pattern = "*1" * 5000 + "x"
    assert only_line(f'from="{pattern}" {KEY}').allows(ip_address("1111:1111:1111:1111:1111:1111:1111:1111")) is False
