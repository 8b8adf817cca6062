"""Times as people say them, with the exact one beside."""

from datetime import datetime, timedelta

from django import template
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()
# A unit, and how many of it are said before the next one is.
UNITS = ((timedelta(minutes=1), "minute", 60), (timedelta(hours=1), "hour", 24), (timedelta(days=1), "day", 3))


@register.simple_tag
def moment(value: datetime | None) -> SafeString | str:
    """“12 minutes ago” with the exact time on hover and for machines; older than two days, the date itself."""
    if value is None:
        return "never"
    local = timezone.localtime(value)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        local.isoformat(timespec="seconds"),
        f"{local:%A} {local.day} {local:%B %Y, %H:%M:%S %Z}",
        said(value, timezone.now()),
    )


def said(value: datetime, now: datetime) -> str:
    """The moment in words, seen from `now`."""
    apart = abs(now - value)
    if apart < timedelta(seconds=45):
        return "just now" if value <= now else "in a moment"
    if apart >= timedelta(days=2):
        local = timezone.localtime(value)
        return f"{local.day} {local:%b}, {local:%H:%M}"
    counted = ((max(1, round(apart / length)), unit, most) for length, unit, most in UNITS)
    count, unit = next((count, unit) for count, unit, most in counted if count < most)
    words = f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{words} ago" if value <= now else f"in {words}"


@register.filter
def clock(value: datetime | str | None) -> str:
    """The clock time with its zone: “14:00 EST”; with the day if it is not today."""
    moment_of = parse_datetime(value) if isinstance(value, str) else value
    if moment_of is None:
        return ""
    local, today = timezone.localtime(moment_of), timezone.localtime()
    day = "" if local.date() == today.date() else f"{local.day} {local:%b} "
    return f"{day}{local:%H:%M %Z}"


@register.filter
def exact(value: datetime) -> str:
    """The clock time to the second, with its zone; with the day if it is not today."""
    local, today = timezone.localtime(value), timezone.localtime()
    day = "" if local.date() == today.date() else f"{local.day} {local:%b} "
    return f"{day}{local:%H:%M:%S %Z}"


@register.filter
def aloud(fingerprint: str) -> str:
    """A fingerprint in groups of four that can be read out over the telephone."""
    name, _, rest = fingerprint.partition(":")
    return f"{name}:" + " ".join(rest[start : start + 4] for start in range(0, len(rest), 4))


@register.filter
def percent_of(part: int, whole: int) -> int:
    """How many of a hundred, 0 when there is no whole."""
    return min(100, round(100 * part / whole)) if whole else 0
