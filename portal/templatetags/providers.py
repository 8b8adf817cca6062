"""The providers that people may sign in by beside their password."""

from django import template
from django.conf import settings

register = template.Library()


@register.simple_tag
def sign_in_providers() -> list[dict[str, str]]:
    """Those of the setting; for a page their id and name matter."""
    return [{"id": one["id"], "name": one["name"]} for one in settings.OPENID_PROVIDERS]
