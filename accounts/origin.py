"""From which address a person's request comes, for mails and records that tell where a change was made from."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def address_of(request: HttpRequest) -> str:
    """The person's address: the peer's, or behind PROXY_HOPS proxies of ours what the outermost of them has seen.

    Each proxy adds the address it was called from at the end of X-Forwarded-For; what stands before that is the
    caller's own claim and is not believed. Empty if there is no such address.
    """
    hops = settings.PROXY_HOPS
    if not hops:
        return _checked(request.META.get("REMOTE_ADDR", ""))
    told = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    return _checked(told[-hops].strip() if len(told) >= hops else "")


def _checked(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""
