"""Where a request comes from, with and without proxies of ours in front, and callers who claim to be others."""

import pytest
from django.conf import LazySettings
from django.test import RequestFactory

from accounts.origin import address_of

PROXY, INNER = "10.0.0.1", "10.1.2.3"
LISTED = [PROXY, "10.1.0.0/16", "fd00::/8"]
# Who calls, what is said, what is believed.
ROWS = {
    "no proxy": ("198.51.100.7", "", "198.51.100.7"),
    "no proxy, a claim": ("198.51.100.7", "203.0.113.9", "198.51.100.7"),
    "no proxy, the claim to be one": ("198.51.100.7", "203.0.113.9, 10.0.0.1", "198.51.100.7"),
    "one proxy": (PROXY, "203.0.113.9", "203.0.113.9"),
    "one proxy, a claim before it": (PROXY, "192.0.2.1, 203.0.113.9", "203.0.113.9"),
    "two proxies": (PROXY, "192.0.2.1, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
    "a proxy of somebody else": (PROXY, "203.0.113.9, 10.2.0.1", "10.2.0.1"),
    "one proxy that says nothing": (PROXY, "", ""),
    "a colleague who sits among the proxies": (INNER, "10.1.0.8", "10.1.0.8"),
    "no address": (PROXY, "<b>unknown</b>", ""),
    "no address before a proxy": (PROXY, "unknown, 10.1.2.3", ""),
    "version six": (PROXY, "2001:DB8::1", "2001:db8::1"),
    "a proxy of version six": ("fd00::5", "2001:DB8::1", "2001:db8::1"),
    "version four in six": ("::ffff:10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
    "no peer": ("", "203.0.113.9", ""),
}


@pytest.mark.parametrize(("peer", "told", "wanted"), ROWS.values(), ids=ROWS)
def test_only_what_our_own_proxies_say_is_believed(settings: LazySettings, peer: str, told: str, wanted: str) -> None:
    settings.TRUSTED_PROXIES = LISTED
    headers = {"HTTP_X_FORWARDED_FOR": told} if told else {}
    assert address_of(RequestFactory().get("/", REMOTE_ADDR=peer, **headers)) == wanted


@pytest.mark.parametrize("peer", [PROXY, "127.0.0.1", "198.51.100.7"])
def test_where_no_proxy_is_listed_nobody_is_believed(settings: LazySettings, peer: str) -> None:
    settings.TRUSTED_PROXIES = []
    request = RequestFactory().get("/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR="203.0.113.9")
    assert address_of(request) == peer
