"""How the outcomes of nights are shown."""

from django import template

from ingest.core.nights import Outcome
from ingest.nights import LOOKS, Look

register = template.Library()


@register.filter
def look(outcome: Outcome) -> Look:
    """Its word, icon, colour and shape."""
    return LOOKS[outcome]
