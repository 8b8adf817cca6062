"""Addresses that came in with a request."""

from django import template

from accounts import fresh

register = template.Library()


@register.simple_tag(takes_context=True)
def way_back(context: template.RequestContext) -> str:
    """Where whoever is asked for the password, and does not give it, goes back to; or ""."""
    return fresh.way_back(context["request"], context.get("redirect_field_value") or "")
