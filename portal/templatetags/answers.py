"""The box at the top of a page that answers its first question."""

from django import template
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_block_tag(end_name="endanswer")
def answer(content: SafeString, tone: str, icon: str) -> SafeString:
    """`{% answer "good" "check-circle" %}` title and sentences `{% endanswer %}`."""
    return render_to_string("portal/_answer.html", {"tone": tone, "icon": icon, "content": content})
