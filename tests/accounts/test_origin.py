"""Where a request comes from, with and without proxies of ours in front, and callers who claim to be others."""

import pytest
from django.conf import LazySettings
from django.test import RequestFactory

from accounts.origin import address_of

ROWS = {
    "no proxy": (0, "", "198.51.100.7"),
    "no proxy, a claim": (0, "203.0.113.9", "198.51.100.7"),
    "one proxy": (1, "203.0.113.9", "203.0.113.9"),
    "one proxy, a claim before it": (1, "192.0.2.1, 203.0.113.9", "203.0.113.9"),
    "two proxies": (2, "192.0.2.1, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
    "one proxy that says nothing": (1, "", ""),
    "fewer than there should be": (3, "203.0.113.9", ""),
    "no address": (1, "<b>unknown</b>", ""),
    "version six": (1, "2001:DB8::1", "2001:db8::1"),
}


@pytest.mark.parametrize(("hops", "told", "wanted"), ROWS.values(), ids=ROWS)
def test_only_what_our_own_proxies_say_is_believed(settings: LazySettings, hops: int, told: str, wanted: str) -> None:
    settings.PROXY_HOPS = hops
    headers = {"HTTP_X_FORWARDED_FOR": told} if told else {}
    assert address_of(RequestFactory().get("/", REMOTE_ADDR="198.51.100.7", **headers)) == wanted
