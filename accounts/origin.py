"""From which address a person's request comes, and whether over TLS: what a proxy says counts only if it is ours."""

import ipaddress
from functools import lru_cache

from django.conf import settings
from django.http import HttpRequest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def address_of(request: HttpRequest) -> str:
    """The person's address: the peer's, or what a proxy of ours says, if it is one of TRUSTED_PROXIES that asks.

    Each proxy adds the address it was called from at the end of X-Forwarded-For. So it is read from its end, for as
    long as a listed proxy has written it; what stands before that is the caller's own claim and is not believed.
    Empty if a proxy of ours tells no address.
    """
    peer = _checked(request.META.get("REMOTE_ADDR", ""))
    if not _is_ours(peer):
        return peer
    address = ""
    for claim in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        address = _checked(claim.strip())
        if not _is_ours(address):
            break
    return address


def is_from_our_proxy(request: HttpRequest) -> bool:
    """Whether one of TRUSTED_PROXIES calls, so that what it writes into the headers of proxies is to be believed."""
    return _is_ours(_checked(request.META.get("REMOTE_ADDR", "")))


def networks(places: tuple[str, ...]) -> tuple[Network, ...]:
    """Those addresses and networks. Raises ValueError."""
    return tuple(ipaddress.ip_network(place) for place in places)


_networks = lru_cache(networks)


def _is_ours(address: str) -> bool:
    if not address:
        return False
    found = ipaddress.ip_address(address)
    return any(found in network for network in _networks(tuple(settings.TRUSTED_PROXIES)))


def _checked(text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return str(getattr(found, "ipv4_mapped", None) or found)
