"""Sentences as pages show them."""

import re

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
QUOTED = re.compile(r"`([^`\n]+)`")


@register.filter
def coded(sentence: str) -> SafeString:
    """A sentence of ours whose `names and commands` stand in backticks, with these set as code; all of it escaped."""
    return mark_safe(QUOTED.sub(r"<code>\1</code>", escape(sentence)))


@register.filter
def enumerated(value: object) -> str:
    """A value out of JSON for people: the items of a list joined by commas, nothing as “none”."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)
