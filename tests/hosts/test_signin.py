from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from hosts.core.keyfile import KeyLine, Pattern
from hosts.core.signin import ENDINGS, Ending, Offer, Reason, Strangers, admit, peer_address, telling, verdict

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ADDRESS = ip_address("192.0.2.7")
ELSEWHERE = (Pattern(negated=False, network=None, text="10.*"),)


def line(blob: bytes = b"key", *, expires: datetime | None = None, elsewhere: bool = False) -> KeyLine:
    return KeyLine("ssh-ed25519", blob, ELSEWHERE if elsewhere else (), expires)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], Reason.UNKNOWN_KEY),
        ([line(b"other")], Reason.UNKNOWN_KEY),
        ([line()], None),
        ([line(expires=datetime(2026, 1, 1, tzinfo=UTC))], Reason.EXPIRED_KEY),
        ([line(elsewhere=True)], Reason.ADDRESS_NOT_ALLOWED),
        ([line(elsewhere=True), line(expires=datetime(2026, 1, 1, tzinfo=UTC))], Reason.EXPIRED_KEY),
        ([line(elsewhere=True), line()], None),
    ],
)
def test_a_key_is_let_in_if_one_line_lets_it_in(lines: list[KeyLine], reason: Reason | None) -> None:
    assert admit(lines, b"key", ADDRESS, NOW) is reason


@pytest.mark.parametrize(
    ("lines", "ending"),
    [
        ([], Ending.KEY_REMOVED),
        ([line(b"other")], Ending.KEY_REMOVED),
        ([line(expires=datetime(2026, 1, 1, tzinfo=UTC))], Ending.KEY_EXPIRED),
        ([line(elsewhere=True)], Ending.ADDRESS_NOT_ALLOWED),
    ],
)
def test_a_session_ends_for_what_would_refuse_its_key(lines: list[KeyLine], ending: Ending) -> None:
    assert ENDINGS[admit(lines, b"key", ADDRESS, NOW)] is ending


UNKNOWN, EXPIRED, SILENT = (
    Offer("SHA256:u", Reason.UNKNOWN_KEY),
    Offer("SHA256:e", Reason.EXPIRED_KEY),
    Offer("SHA256:s", None),
)


@pytest.mark.parametrize(
    ("account", "offers", "methods", "reason", "told"),
    [
        (False, [UNKNOWN], {"none", "publickey"}, Reason.UNKNOWN_ACCOUNT, "SHA256:u"),
        (True, [UNKNOWN], {"none", "publickey"}, Reason.UNKNOWN_KEY, "SHA256:u"),
        (True, [UNKNOWN, EXPIRED], {"publickey"}, Reason.EXPIRED_KEY, "SHA256:e"),
        (True, [UNKNOWN, SILENT], {"publickey"}, Reason.NOT_SIGNED, "SHA256:s"),
        (True, [], {"none"}, Reason.NO_KEY_OFFERED, ""),
        (True, [], {"none", "password"}, Reason.WRONG_METHOD, ""),
    ],
)
def test_the_reason_of_a_refusal_is_the_one_that_tells_most(
    account: bool, offers: list[Offer], methods: set[str], reason: Reason, told: str
) -> None:
    assert verdict(account=account, offers=offers, methods=methods) is reason
    assert telling(offers, reason) == told


@pytest.mark.parametrize(
    ("offers", "methods", "end", "reason"),
    [
        ([UNKNOWN], {"publickey"}, Reason.TOO_MANY_KEYS, Reason.TOO_MANY_KEYS),
        ([UNKNOWN, EXPIRED], {"publickey"}, Reason.TOO_MANY_KEYS, Reason.EXPIRED_KEY),
        ([UNKNOWN], {"publickey"}, Reason.TOO_SLOW, Reason.UNKNOWN_KEY),
        ([], {"none"}, Reason.TOO_SLOW, Reason.TOO_SLOW),
        ([], {"none", "password"}, Reason.TOO_SLOW, Reason.WRONG_METHOD),
    ],
)
def test_why_the_host_ended_it_counts_where_nothing_tells_more(
    offers: list[Offer], methods: set[str], end: Reason, reason: Reason
) -> None:
    assert verdict(account=True, offers=offers, methods=methods, end=end) is reason


def test_strangers_are_news_once_an_hour_each_and_few_are_remembered() -> None:
    strangers, hour = Strangers(), timedelta(hours=1)
    now = datetime(2026, 11, 22, tzinfo=UTC)
    assert [strangers.is_news("192.0.2.7", now + hour * part) for part in (0, 0.5, 0.9, 1.0, 1.5)] == [
        True,
        False,
        False,
        True,
        False,
    ]
    for number in range(2000):
        assert strangers.is_news(f"2001:db8::{number:x}", now)
    assert strangers.is_news("192.0.2.7", now + hour * 1.6)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::1"),
        ("::1", "::1"),
    ],
)
def test_an_address_has_one_form(text: str, address: str) -> None:
    assert peer_address(text) == ip_address(address)
