"""The embedded host and a real sshd read the same lines: what one lets in, the other does; never more than sshd."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from .clients import sftp
from .conftest import OURS
from .reference import Reference
from .serving import Serving, key_pair, public_line

# Both hosts keep this zone (POSIX spells the sign the other way round), five hours ahead of UTC.
ZONE = {"TZ": "PORTAL-5"}
HOST_ZONE = timezone(timedelta(hours=5))
FOUR = "127.0.0.1"
SIX = "::1"


@dataclass(frozen=True, slots=True)
class Row:
    """A line (`KEY` stands for the key), where the client comes from, and whether it gets in: at sshd, and at ours."""

    name: str
    line: str
    sshd: bool
    ours: bool
    source: str = FOUR


def both(name: str, line: str, admitted: bool, source: str = FOUR) -> Row:
    return Row(name, line, admitted, admitted, source)


def stricter(name: str, line: str) -> Row:
    """What sshd lets in and we do not: the portal never writes it, and it may have been meant to forbid something."""
    return Row(name, line, sshd=True, ours=False)


def moment(hours: float, zone: timezone, shape: str = "%Y%m%d%H%M%S") -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).astimezone(zone).strftime(shape)


PLAIN = [
    both("a plain line", "KEY", True),
    both("restrict alone", "restrict KEY", True),
    both("upper case restrict", "RESTRICT KEY", True),
    both("upper case from", 'FROM="127.0.0.1" KEY', True),
    both("upper case from of another", 'FROM="10.0.0.0/8" KEY', False),
    both("upper case expiry-time", 'Expiry-Time="20200101Z" KEY', False),
    both("all that we write", 'restrict,from="127.0.0.0/8,::1/128",expiry-time="20990630235959Z" KEY', True),
    both("all that we write, other address", 'restrict,from="10.0.0.0/8",expiry-time="20990630235959Z" KEY', False),
    both("all that we write, past", 'restrict,from="127.0.0.0/8",expiry-time="20200630235959Z" KEY', False),
    both("an unknown option", "no-such-option KEY", False),
    both("an unknown option after restrict", "restrict,no-such-option KEY", False),
    both("an unknown option with a value", 'no-such="x" KEY', False),
    both("restrict with a value", 'restrict="x" KEY', False),
    both("an option without its comma", 'restrict from="127.0.0.1" KEY', False),
    both("from without quotes", "from=127.0.0.1 KEY", False),
    both("from without an end", 'from="127.0.0.1 KEY', False),
    both("from twice", 'from="127.0.0.1",from="127.0.0.1" KEY', False),
    both("a certificate authority", "cert-authority KEY", False),
    both("half a key", "KEY"[:2], False),
]
NETWORKS = [
    both("the address", 'from="127.0.0.1" KEY', True),
    both("the address with its mask", 'from="127.0.0.1/32" KEY', True),
    both("another address", 'from="127.0.0.2" KEY', False),
    both("the beginning of the address", 'from="127.0.0" KEY', False),
    both("the network", 'from="127.0.0.0/8" KEY', True),
    both("the second of two", 'from="10.0.0.0/8,127.0.0.0/8" KEY', True),
    both("host bits", 'from="127.0.0.1/8" KEY', False),
    both("host bits beside a good entry", 'from="127.0.0.1,10.0.0.1/8" KEY', False),
    both("a mask too long", 'from="127.0.0.0/33" KEY', False),
    both("a mask in dotted form", 'from="127.0.0.0/255.0.0.0" KEY', False),
    both("everything", 'from="0.0.0.0/0" KEY', True),
    both("not this one", 'from="127.0.0.0/8,!127.0.0.1" KEY', False),
    both("not another one", 'from="127.0.0.0/8,!127.0.0.2" KEY', True),
    both("not this network", 'from="!127.0.0.0/8,127.0.0.1" KEY', False),
    both("only a negation", 'from="!10.0.0.0/8" KEY', False),
    both("a wildcard", 'from="127.0.*" KEY', True),
    both("a wildcard elsewhere", 'from="127.1.*" KEY', False),
    both("one sign", 'from="127.0.0.?" KEY', True),
    both("IPv4 at an IPv6 network", 'from="::1/128" KEY', False),
    both("IPv4 at its mapped form", 'from="::ffff:127.0.0.1" KEY', False),
    both("IPv6 address", 'from="::1" KEY', True, SIX),
    both("IPv6 address with its mask", 'from="::1/128" KEY', True, SIX),
    both("IPv6 address written long", 'from="0:0:0:0:0:0:0:1" KEY', True, SIX),
    both("IPv6 network", 'from="::/64" KEY', True, SIX),
    both("another IPv6 network", 'from="2001:db8::/32" KEY', False, SIX),
    both("IPv6 host bits", 'from="::1/64" KEY', False, SIX),
    both("IPv6 but not this one", 'from="::/64,!::1" KEY', False, SIX),
    both("IPv6 at an IPv4 network", 'from="0.0.0.0/0" KEY', False, SIX),
    both("IPv6 in a mixed list", 'from="10.0.0.0/8,::/64" KEY', True, SIX),
]
TIMES = [
    both("a date to come, UTC", 'expiry-time="20990101Z" KEY', True),
    both("a date to come", 'expiry-time="20990101" KEY', True),
    both("a date gone, UTC", 'expiry-time="20200101Z" KEY', False),
    both("a date gone", 'expiry-time="20200101" KEY', False),
    both("to the minute", 'expiry-time="209901010101Z" KEY', True),
    both("an hour to come, UTC", f'expiry-time="{moment(1, UTC)}Z" KEY', True),
    both("an hour gone, UTC", f'expiry-time="{moment(-1, UTC)}Z" KEY', False),
    both("an hour to come, the host's zone", f'expiry-time="{moment(1, HOST_ZONE)}" KEY', True),
    both("an hour gone, the host's zone", f'expiry-time="{moment(-1, HOST_ZONE)}" KEY', False),
    both("the same digits without Z are another time", f'expiry-time="{moment(1, UTC)}" KEY', False),
    both("to come and gone", 'expiry-time="20990101Z",expiry-time="20200101Z" KEY', False),
    both("to come, twice", 'expiry-time="20990101Z",expiry-time="20980101Z" KEY', True),
    both("a small z", 'expiry-time="20990101z" KEY', True),
    both("UTC in letters", 'expiry-time="20990101UTC" KEY', True),
    both("UTC in letters, gone", 'expiry-time="20200101utc" KEY', False),
    both("another zone in letters", 'expiry-time="20990101CET" KEY', False),
    both("no such month", 'expiry-time="20991301Z" KEY', False),
    both("no such length", 'expiry-time="2099010101Z" KEY', False),
    both("a word", 'expiry-time="never" KEY', False),
    both("empty", 'expiry-time="" KEY', False),
    both("the beginning of time", 'expiry-time="19700101Z" KEY', False),
    both("with a sign", 'expiry-time="+9990101Z" KEY', False),
]
STRICTER = [
    stricter("a forced command", 'command="/bin/false" KEY'),
    stricter("an option that forbids", "no-pty KEY"),
    stricter("an option that gives back", "restrict,pty KEY"),
    stricter("an environment", 'environment="A=B" KEY'),
    stricter("times of two kinds", 'expiry-time="20990101Z",expiry-time="20990101" KEY'),
]
ROWS = [*PLAIN, *NETWORKS, *TIMES, *STRICTER]


@dataclass(frozen=True, slots=True)
class Hosts:
    """The two hosts; ours listens once for each kind of address."""

    reference: Reference
    ours: dict[str, Serving]
    key: Path

    def lets_in(self, line: str, source: str) -> tuple[bool, bool]:
        """Whether sshd lets the line in, and whether we do."""
        whole = line.replace("KEY", public_line(self.key))
        self.reference.write(f"{whole}\n".encode())
        self.ours[source].admit(OURS, whole)
        doors = self.reference.door(self.key, source), self.ours[source].door(OURS, self.key, source)
        theirs, ours = (sftp(door, "pwd") for door in doors)
        for ran in (theirs, ours):
            assert ran.code == 0 or "Permission denied (publickey)" in ran.output, ran.output
        return theirs.code == 0, ours.code == 0


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    directory = tmp_path_factory.mktemp("agreement")
    started: list[Serving | Reference] = []
    try:
        started.append(reference := Reference(directory / "sshd", ZONE))
        ours = {source: Serving(directory / source, "--address", source, environment=ZONE) for source in (FOUR, SIX)}
        started += ours.values()
        yield Hosts(reference, ours, key_pair(directory, "key"))
    finally:
        for host in started:
            host.stop()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_line_means_the_same_to_both(row: Row, hosts: Hosts) -> None:
    assert hosts.lets_in(row.line, row.source) == (row.sshd, row.ours)


def test_no_row_stands_twice() -> None:
    assert len({row.name for row in ROWS}) == len({(row.line, row.source) for row in ROWS}) == len(ROWS)
