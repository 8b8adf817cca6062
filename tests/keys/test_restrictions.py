"""Restrictions: values, the options of a line, and what a real sshd and our own host make of them."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hosts.core.keyfile import read_keyfile
from keys.core.authorized_keys import Entry, Stamp, render
from keys.core.parse import parse_paste
from keys.core.restrictions import UNRESTRICTED, Network, Restrictions, combined, end_of_day, restrictions_from
from tests.hosts.clients import Ran, sftp
from tests.hosts.reference import ADDRESSES, Reference
from tests.hosts.serving import key_pair, public_line
from tests.keys import samples

END = datetime(2027, 6, 30, 23, 59, 59, tzinfo=UTC)
(KEY,) = parse_paste(samples.text("ed25519")).keys


def networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


WRITTEN = {
    "": UNRESTRICTED,
    'restrict,from="198.51.100.0/24,2001:db8::/32"': Restrictions(networks("198.51.100.0/24", "2001:db8::/32")),
    'restrict,from="198.51.100.7/32"': Restrictions(networks("198.51.100.7")),
    'restrict,expiry-time="20270630235959Z"': Restrictions(expires=END),
    'restrict,from="198.51.100.0/24,2001:db8::/32",expiry-time="20270630235959Z"': Restrictions(
        networks("198.51.100.0/24", "2001:db8::/32"), END
    ),
}


@pytest.mark.parametrize(("options", "restrictions"), WRITTEN.items(), ids=lambda value: str(value) or "none")
def test_options_are_written_as_sshd_takes_them_and_read_back(options: str, restrictions: Restrictions) -> None:
    assert restrictions.options() == options
    assert bool(restrictions) is bool(options)
    if options:
        assert restrictions_from(options) == restrictions


@pytest.mark.parametrize(
    "options",
    [
        "",
        "restrict",
        "restrict,",
        'Restrict,from="198.51.100.0/24"',
        'from="198.51.100.0/24"',
        'restrict,from=""',
        'restrict,from="198.51.100.7"',
        'restrict,from="198.51.100.7/24"',
        'restrict,from="198.51.100.0/24,"',
        'restrict,from="2001:DB8::/32"',
        'restrict,from="2001:0db8::/32"',
        'restrict,from="!198.51.100.0/24"',
        'restrict,from="198.51.100.*"',
        'restrict,expiry-time="20270630235959"',
        'restrict,expiry-time="20270630Z"',
        'restrict,expiry-time="20271330235959Z"',
        'restrict,expiry-time="19691231235959Z"',
        'restrict,expiry-time="20270630235959Z",from="198.51.100.0/24"',
        'restrict,from="198.51.100.0/24",from="198.51.100.0/24"',
        'restrict,from="198.51.100.0/24",pty',
        'restrict,command="x"',
    ],
)
def test_other_options_are_not_ours(options: str) -> None:
    assert restrictions_from(options) is None


@pytest.mark.parametrize(
    ("networks", "expires"),
    [
        ((), END.replace(tzinfo=None)),
        ((), END.replace(microsecond=1)),
        ((), END.astimezone(timezone(timedelta(hours=1)))),
        ((), datetime(1970, 1, 1, tzinfo=UTC)),
        ((), datetime(999, 1, 1, tzinfo=UTC)),
        ((IPv6Network('fe80::1%",command="x/128', strict=False),), None),
    ],
)
def test_values_that_no_line_could_carry_do_not_exist(networks: tuple[Network, ...], expires: datetime | None) -> None:
    with pytest.raises(ValueError, match=r"expiry|network"):
        Restrictions(networks, expires)


NETWORKS = st.one_of(
    st.builds(lambda n, p: IPv4Network((n, p), strict=False), st.integers(0, 2**32 - 1), st.integers(0, 32)),
    st.builds(lambda n, p: IPv6Network((n, p), strict=False), st.integers(0, 2**128 - 1), st.integers(0, 128)),
)
MOMENTS = st.datetimes(datetime(1971, 1, 1), datetime(9999, 12, 31)).map(lambda m: m.replace(microsecond=0, tzinfo=UTC))
ANY = st.builds(Restrictions, st.lists(NETWORKS, max_size=32).map(tuple), st.none() | MOMENTS)


@settings(deadline=None)
@given(ANY)
def test_whatever_is_restricted_comes_back_as_it_was_written(restrictions: Restrictions) -> None:
    assert (restrictions_from(restrictions.options()) or UNRESTRICTED) == restrictions


@settings(deadline=None)
@given(ANY, NETWORKS)
def test_our_own_host_reads_what_was_meant(restrictions: Restrictions, elsewhere: Network) -> None:
    found = read_keyfile(render([Entry(KEY, restrictions)], Stamp(7, "0123456789abcdef")))
    (line,) = found.lines
    assert not found.refused
    assert (line.blob, line.expires) == (KEY.blob, restrictions.expires)
    for address in (elsewhere.network_address, *(network.network_address for network in restrictions.networks)):
        meant = not restrictions.networks or any(address in network for network in restrictions.networks)
        assert line.allows(ip_address(address)) is meant


@pytest.mark.parametrize(
    ("account", "key", "both"),
    [
        ("", "", ""),
        ("10.0.0.0/8", "", "10.0.0.0/8"),
        ("", "10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/8", "10.1.0.0/16", "10.1.0.0/16"),
        ("10.1.0.0/16", "10.0.0.0/8", "10.1.0.0/16"),
        ("10.0.0.0/8", "10.0.0.0/8", "10.0.0.0/8"),
        ("10.0.0.0/8", "11.0.0.0/8", None),
        ("10.0.0.0/8", "2001:db8::/32", None),
        ("10.0.0.0/8 2001:db8::/32", "2001:db8:1::/48 10.2.0.0/16 192.0.2.0/24", "10.2.0.0/16 2001:db8:1::/48"),
        ("0.0.0.0/1 192.0.2.0/24", "10.1.0.0/16 192.0.2.7/32", "10.1.0.0/16 192.0.2.7/32"),
    ],
)
def test_a_key_signs_in_from_what_account_and_key_have_in_common(account: str, key: str, both: str | None) -> None:
    expected = None if both is None else networks(*both.split())
    assert combined(networks(*account.split()), networks(*key.split())) == expected


SMALL = st.lists(
    st.builds(lambda n, p: IPv4Network((0x0A000000 + n, p), strict=False), st.integers(0, 15), st.integers(28, 32)),
    min_size=1,
    max_size=5,
).map(tuple)


@settings(deadline=None)
@given(SMALL, SMALL)
def test_an_address_is_in_common_only_if_both_have_it(account: tuple[Network, ...], key: tuple[Network, ...]) -> None:
    both = combined(account, key)
    assert both is None or both
    for address in IPv4Network("10.0.0.0/28"):
        in_each = all(any(address in network for network in side) for side in (account, key))
        assert any(address in network for network in both or ()) is in_each


@pytest.mark.parametrize(
    ("zone", "day", "end"),
    [
        ("UTC", date(2027, 6, 30), "2027-06-30T23:59:59"),
        ("America/New_York", date(2027, 6, 30), "2027-07-01T03:59:59"),
        ("America/New_York", date(2027, 1, 31), "2027-02-01T04:59:59"),
        ("America/New_York", date(2027, 3, 14), "2027-03-15T03:59:59"),
        ("America/New_York", date(2027, 11, 7), "2027-11-08T04:59:59"),
        ("Pacific/Auckland", date(2027, 6, 30), "2027-06-30T11:59:59"),
        # The last hour of the day comes twice, is skipped, or the whole day never was.
        ("America/Asuncion", date(2022, 3, 26), "2022-03-27T03:59:59"),
        ("America/Havana", date(2027, 11, 6), "2027-11-07T03:59:59"),
        ("America/Nuuk", date(2025, 3, 29), "2025-03-30T00:59:59"),
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T09:59:59"),
    ],
)
def test_a_date_holds_to_the_end_of_its_day(zone: str, day: date, end: str) -> None:
    assert end_of_day(day, ZoneInfo(zone)) == datetime.fromisoformat(end).replace(tzinfo=UTC)
    assert Restrictions(expires=end_of_day(day, ZoneInfo(zone))).expires


ZONES = [ZoneInfo(name) for name in ("America/New_York", "America/Asuncion", "America/Havana", "Australia/Lord_Howe")]


@settings(deadline=None)
@given(st.sampled_from(ZONES), st.dates(date(2015, 1, 1), date(2035, 1, 1)))
def test_the_next_second_is_another_day(zone: ZoneInfo, day: date) -> None:
    end = end_of_day(day, zone)
    assert end.astimezone(zone).date() == day
    assert (end + timedelta(seconds=1)).astimezone(zone).date() > day


# A real sshd


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    reference = Reference(tmp_path_factory.mktemp("sshd"), {"TZ": "America/New_York"})
    yield reference
    reference.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return key_pair(tmp_path_factory.mktemp("pair"), "key")


def signed_in(sshd: Reference, pair: Path, restrictions: Restrictions, address: str) -> Ran:
    (key,) = parse_paste(public_line(pair)).keys
    sshd.write(render([Entry(key, restrictions)], Stamp(1, "0" * 16)))
    return sftp(sshd.door(pair, address), "pwd")


NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize(
    ("restrictions", "admitted"),
    [
        (UNRESTRICTED, ADDRESSES),
        (Restrictions(networks("127.0.0.1", "::1")), ADDRESSES),
        (Restrictions(networks("127.0.0.0/8"), NOW + HOUR), ["127.0.0.1"]),
        (Restrictions(networks("2001:db8::/32", "::/64")), ["::1"]),
        (Restrictions(networks("198.51.100.0/24", "2001:db8::/32")), []),
        (Restrictions(expires=NOW + HOUR), ADDRESSES),
        (Restrictions(expires=NOW - HOUR), []),
        (Restrictions(networks("127.0.0.1", "::1"), NOW - HOUR), []),
        (Restrictions(expires=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)), ADDRESSES),
        (Restrictions(tuple(IPv6Network((n << 64, 128)) for n in range(63)) + networks("::1", "127.0.0.1")), ADDRESSES),
    ],
    ids=["none", "both", "IPv4", "IPv6", "elsewhere", "to come", "gone", "here but gone", "far off", "many"],
)
def test_sshd_lets_in_whom_the_line_names(
    restrictions: Restrictions, admitted: list[str], address: str, sshd: Reference, pair: Path
) -> None:
    ran = signed_in(sshd, pair, restrictions, address)
    assert (ran.code == 0) is (address in admitted), ran.output + sshd.log()[-500:]
    assert ran.code == 0 or "Permission denied (publickey)" in ran.output
