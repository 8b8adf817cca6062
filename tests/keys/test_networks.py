"""Typed networks: read strictly, every change told, nothing typed repeated."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys.core.networks import LONGEST_TEXT, NetworkNote, NetworkRefusal, distinct, network_text, networks_from


@dataclass(frozen=True, slots=True)
class Row:
    """What is typed, the networks it gives, and the codes of its notes or problems without `network-`."""

    name: str
    typed: str
    networks: str = ""
    notes: str = ""
    problems: str = ""


TAKEN = [
    Row("nothing", ""),
    Row("only blanks", " \t\r\n\u00a0"),
    Row("an address", "8.8.8.8", "8.8.8.8/32"),
    Row("an IPv6 address", "2a00:1450::8", "2a00:1450::8/128"),
    Row("a network", "8.8.8.0/24", "8.8.8.0/24"),
    Row("an IPv6 network", "2a00:1450::/32", "2a00:1450::/32"),
    Row(
        "commas, blanks and lines",
        "8.8.8.8, 9.9.9.9\t1.1.1.1\r\n4.4.4.4;",
        "1.1.1.1/32 4.4.4.4/32 8.8.8.8/32 9.9.9.9/32",
    ),
    Row("IPv4 before IPv6", "2a00:1450::/32 8.8.8.8", "8.8.8.8/32 2a00:1450::/32"),
    Row("upper case and zeros in IPv6", "2A00:1450:0000:0000::0008", "2a00:1450::8/128"),
    Row("blanks round the slash", "8.8.8.0 / 24", "8.8.8.0/24"),
    Row("characters that do not show", "\ufeff8.8.8.8\u200b", "8.8.8.8/32"),
    Row("quotes round it", '"8.8.8.8"', "8.8.8.8/32"),
    Row("host bits", "8.8.8.8/24", "8.8.8.0/24", "masked"),
    Row("host bits in IPv6", "2a00:1450::8/32", "2a00:1450::/32", "masked"),
    Row("IPv4 in IPv6 form", "::ffff:8.8.8.8", "8.8.8.8/32", "mapped"),
    Row("an IPv4 network in IPv6 form", "::ffff:8.8.8.0/120", "8.8.8.0/24", "mapped"),
    Row("an IPv4 network in IPv6 form with host bits", "::ffff:808:808/120", "8.8.8.0/24", "mapped masked"),
    Row("twice", "8.8.8.8 8.8.8.8", "8.8.8.8/32", "duplicate"),
    Row("twice in two forms", "8.8.8.8/32 ::ffff:8.8.8.8", "8.8.8.8/32", "mapped duplicate"),
    Row("one in another", "8.8.8.8 8.8.0.0/16", "8.8.0.0/16", "contained"),
    Row("one in another that comes first", "8.8.0.0/16 8.8.8.8", "8.8.0.0/16", "contained"),
    Row("neighbours are two", "8.8.8.0/25 8.8.8.128/25", "8.8.8.0/25 8.8.8.128/25"),
    Row("private 10", "10.20.0.0/16", "10.20.0.0/16", "inside"),
    Row("private 172", "172.31.255.1", "172.31.255.1/32", "inside"),
    Row("not private 172", "172.32.0.1", "172.32.0.1/32"),
    Row("private 192", "192.168.1.9/24", "192.168.1.0/24", "masked inside"),
    Row("carrier's own", "100.64.3.4", "100.64.3.4/32", "inside"),
    Row("loopback", "127.0.0.1", "127.0.0.1/32", "inside"),
    Row("IPv6 loopback", "::1", "::1/128", "inside"),
    Row("link-local", "169.254.1.1 fe80::1", "169.254.1.1/32 fe80::1/128", "inside inside"),
    Row("unique local", "fd00::/64", "fd00::/64", "inside"),
    Row("wider than private", "10.0.0.0/7", "10.0.0.0/7"),
    Row("from handbooks", "198.51.100.7 2001:db8::/32", "198.51.100.7/32 2001:db8::/32", "example example"),
]
REFUSED = [
    Row("everything", "0.0.0.0/0", problems="everything"),
    Row("everything in IPv6", "::/0", problems="everything"),
    Row("everything with host bits", "8.8.8.8/0", problems="everything"),
    Row("everything mapped", "::ffff:0:0/96", problems="everything"),
    Row("everything as zeros", "0.0.0.0", problems="everything"),
    Row("everything as a star", "*", problems="everything"),
    Row("everything as stars", "*.*.*.*", problems="everything"),
    Row("everything beside something", "8.8.8.8, ::/0", problems="everything"),
    Row("everything in two halves", "0.0.0.0/1 128.0.0.0/1", problems="networks-everything"),
    Row("everything in IPv6 halves", "::/1 8000::/1 8.8.8.8", problems="networks-everything"),
    Row("a zone", "fe80::1%eth0", problems="zone"),
    Row("a zone that hides a quote", 'fe80::1%",command="x', problems="zone not-read"),
    Row("a wildcard", "203.0.113.*", problems="wildcard"),
    Row("a single sign", "203.0.113.?", problems="wildcard"),
    Row("a range", "8.8.8.1-8.8.8.20", problems="range"),
    Row("a range with blanks", "8.8.8.1 - 8.8.8.20", problems="range"),
    Row("a range with a long dash", "8.8.8.1\u20138.8.8.20", problems="range"),
    Row("a short range", "8.8.8.1-20", problems="range"),
    Row("an IPv6 range", "2a00::1-2a00::9", problems="range"),
    Row("a host name", "sis.example.org", problems="host-name"),
    Row("a host name with a star", "*.example.org", problems="host-name"),
    Row("a word", "localhost", problems="host-name"),
    Row("a letter for a number", "8.8.8.l", problems="host-name"),
    Row("leading zeros", "010.1.2.3", problems="leading-zero"),
    Row("a leading zero at the end", "10.1.2.08", problems="leading-zero"),
    Row("a leading zero in a network", "8.08.8.0/24", problems="leading-zero"),
    Row("a port", "8.8.8.8:22", problems="port"),
    Row("brackets", "[2a00:1450::8]", problems="port"),
    Row("brackets and a port", "[2a00:1450::8]:22", problems="port"),
    Row("too many bits", "8.8.8.8/33", problems="bad-prefix"),
    Row("too many bits in IPv6", "2a00::/129", problems="bad-prefix"),
    Row("no bits", "8.8.8.8/", problems="bad-prefix"),
    Row("a zero before the bits", "8.8.8.8/08", problems="bad-prefix"),
    Row("two slashes", "8.8.8.8/24/24", problems="bad-prefix"),
    Row("a mask for IPv6", "2a00::/255.255.0.0", problems="bad-prefix"),
    Row("a mask behind the slash", "8.8.8.0/255.255.255.0", problems="netmask"),
    Row("a mask behind a blank", "8.8.8.0 255.255.255.0", problems="netmask"),
    Row("this network", "0.1.2.3", problems="impossible"),
    Row("multicast", "224.0.0.1", problems="impossible"),
    Row("IPv6 multicast", "ff02::1", problems="impossible"),
    Row("reserved", "240.0.0.1", problems="impossible"),
    Row("three numbers", "8.8.8", problems="not-read"),
    Row("a short network", "10/8", problems="not-read"),
    Row("a number", "134744072", problems="not-read"),
    Row("too large a number", "8.8.8.256", problems="not-read"),
    Row("digits of another script", "８.８.８.８", problems="not-read"),
    Row("a negation", "!8.8.8.8", problems="not-read"),
    Row("an option", 'from="8.8.8.8"', problems="not-read"),
    Row("a zero byte", "8.8.8.8\0", problems="not-read"),
    Row("markup", "<b>8.8.8.8</b>", problems="not-read"),
    Row("every problem is told", "8.8.8 a.b.c 8.8.8.8", problems="not-read host-name"),
    Row("too many", " ".join(f"8.8.{number}.8" for number in range(33)), problems="networks-too-many"),
    Row("too long", " " * (LONGEST_TEXT + 1), problems="networks-too-long"),
]


def codes(found: tuple[object, ...]) -> list[str]:
    return [str(getattr(one, "code", "")) for one in found]


def expected(names: str) -> list[str]:
    return [name if name.startswith("networks-") else f"network-{name}" for name in names.split()]


@pytest.mark.parametrize("row", [*TAKEN, *REFUSED], ids=lambda row: row.name)
def test_what_is_typed_is_read_as(row: Row) -> None:
    read = networks_from(row.typed)
    assert [str(network) for network in read.networks] == row.networks.split()
    assert codes(read.notes) == expected(row.notes)
    assert codes(read.problems) == expected(row.problems)


def test_every_refusal_and_note_has_a_row() -> None:
    named = {code for row in (*TAKEN, *REFUSED) for code in (*expected(row.notes), *expected(row.problems))}
    assert named == {reason.code for reason in (*NetworkRefusal, *NetworkNote)}


def test_as_many_as_may_be_are_taken() -> None:
    read = networks_from(
        "\n".join(f"2a00:1450:ffff:ffff:ffff:ffff:ffff:{number:x}/128" for number in range(0x8000, 0x8020))
    )
    assert len(read.networks) == 32


def test_a_problem_tells_its_entry_and_its_line() -> None:
    (problem,) = networks_from("8.8.8.8, 9.9.9.9\n\n1.1.1.1, example.org").problems
    assert problem.message.startswith("Entry 4 ")
    assert problem.line == 3


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("198.51.100.7/24", "198.51.100.7/24 was read as 198.51.100.0/24."),
        ("2A00:1450:0::7/32", "2a00:1450::7/32 was read as 2a00:1450::/32."),
        ("::ffff:8.8.8.8", "It was read as 8.8.8.8."),
        ("8.8.8.8 8.8.0.0/16 8.0.0.0/8", "8.8.8.8 is part of 8.0.0.0/8,"),
        ("8.8.8.8 8.8.8.8", "8.8.8.8 is here more than once."),
    ],
)
def test_a_note_says_what_was_made_of_it(typed: str, sentence: str) -> None:
    assert any(sentence in note.message for note in networks_from(typed).notes)


@pytest.mark.parametrize(
    ("typed", "instead"),
    [
        ("203.0.113.*", "203.0.113.0/24."),
        ("8.8.*", "8.8.0.0/16."),
        ("8.8.*.*", "8.8.0.0/16."),
        ("8.*.8.*", "203.0.113.0/24."),
        ("8.8.8.4-8.8.8.8", "8.8.8.4/30, 8.8.8.8."),
        ("8.8.8.4-7", "8.8.8.4/30."),
        ("2a00::4-2a00::7", "2a00::4/126."),
        ("8.8.8.8-8.8.8.4", "203.0.113.0/24."),
        ("8.8.8.8-2a00::4", "203.0.113.0/24."),
        ("0.0.0.1-255.255.255.254", "203.0.113.0/24."),
        ("8.8.8.0/255.255.254.0", "/23."),
    ],
)
def test_a_hint_says_how_to_write_it(typed: str, instead: str) -> None:
    (problem,) = networks_from(typed).problems
    assert problem.hint.endswith((f" {instead}", f" {instead.removesuffix('.')}."))


TYPED = st.text("0123456789abcdef.:/*-%[]! ,\n", max_size=60) | st.text(max_size=60)


@settings(deadline=None)
@given(TYPED)
def test_no_text_whatever_raises_and_what_is_read_reads_the_same_again(text: str) -> None:
    read = networks_from(text)
    assert not (read.problems and (read.networks or read.notes))
    again = networks_from("\n".join(map(network_text, read.networks)))
    assert again.networks == read.networks
    assert {note.code for note in again.notes} <= {"network-inside", "network-example"}


# Letters that none of our sentences has; the marks that could do harm in a page, a line or a log.
FOREIGN = st.text('ñΩж<>&"`$\\\x00\x1b', min_size=1, max_size=5)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["8.8.8.8", "8.8.8.8/24", "a.example", "8.8.8.*", "fe80::1%"]) | FOREIGN, max_size=8))
def test_no_sentence_repeats_what_was_typed(words: list[str]) -> None:
    for joined in ("".join(words), " ".join(words)):
        read = networks_from(joined)
        for told in (*read.notes, *read.problems):
            assert re.fullmatch(r"[A-Za-z0-9 .,:;/*?%()]+", told.message + told.hint)


NETWORKS = st.one_of(
    st.builds(lambda n, p: IPv4Network((n, p), strict=False), st.integers(0, 2**32 - 1), st.integers(8, 32)),
    st.builds(lambda n, p: IPv6Network((n, p), strict=False), st.integers(0, 2**128 - 1), st.integers(8, 128)),
)


@settings(deadline=None)
@given(st.lists(NETWORKS, max_size=12))
def test_distinct_networks_cover_the_same_and_none_holds_another(networks: list[IPv4Network | IPv6Network]) -> None:
    kept = distinct(networks)
    assert list(kept) == sorted(kept, key=lambda one: (one.version, one.network_address, one.prefixlen))
    for network in networks:
        assert sum(network.version == one.version and network.subnet_of(one) for one in kept) == 1
    assert set(kept) <= set(networks)


@pytest.mark.parametrize(
    ("network", "text"), [("8.8.8.8/32", "8.8.8.8"), ("2a00::1/128", "2a00::1"), ("8.0.0.0/8", "8.0.0.0/8")]
)
def test_a_single_address_is_shown_without_its_mask(network: str, text: str) -> None:
    assert network_text(ip_network(network)) == text
