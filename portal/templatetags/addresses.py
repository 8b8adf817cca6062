"""Addresses that came in with a request."""

from django import template
from django.utils.http import url_has_allowed_host_and_scheme

register = template.Library()


@register.filter
def is_own_address(address: str | None) -> bool:
    """Whether this leads to a page of the portal, so that it may stand in a link."""
    return url_has_allowed_host_and_scheme(address, allowed_hosts=None)
