"""Which mails a person may choose, and how: each at once, together in the morning, or not at all.

What is not in the table is about the safety of an account, a key or the log: it always goes, at once.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

MORNING = time(8)


class How(StrEnum):
    """How somebody wants the mails of a group."""

    EACH = "each"
    MORNING = "morning"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Group:
    """Mails that are chosen together. Only staff, who get many, may have theirs together."""

    name: str
    title: str
    says: str
    is_staffs: bool
    kinds: tuple[str, ...]

    @property
    def choices(self) -> tuple[How, ...]:
        """What may be chosen."""
        return (How.EACH, How.MORNING, How.NONE) if self.is_staffs else (How.EACH, How.NONE)


GROUPS = (
    Group(
        "nights",
        "Nights that went wrong",
        "Your files failed, are held, were taken back, or did not come.",
        False,
        (
            "epoch-failed",
            "epoch-held",
            "epoch-discarded",
            "epoch-superseded",
            "epoch-undone",
            "epoch-files-lost",
            "epoch-stalled",
            "night-missing",
        ),
    ),
    Group("good-news", "Good news", "Your first files were loaded; a key passes again.", False, (
        "epoch-first-loaded",
        "key-cleared",
    )),
    Group("last-days", "Last days of keys", "A key ends soon, or an old one was not retired.", False, (
        "key-expiry",
        "key-kept",
    )),
    Group(
        "work",
        "Nights that wait for you",
        "A night is held, was not recognised, is stopped or missing, or a district has answered.",
        True,
        ("epoch-held-staff", "epoch-waiting-staff", "epoch-stuck", "epoch-answered", "night-missing-staff"),
    ),
    Group("keys", "Keys that wait for you", "A district wants a key that is in use elsewhere.", True, ("shared-key",)),
)  # fmt: skip
_GROUP_OF = {kind: group for group in GROUPS for kind in group.kinds}


def group_of(kind: str) -> Group | None:
    """The group a mail belongs to; None for what always goes at once."""
    return _GROUP_OF.get(kind)


def groups_for(*, is_staff: bool) -> tuple[Group, ...]:
    """The groups of which somebody gets mails."""
    return tuple(group for group in GROUPS if group.is_staffs is is_staff)


def last_morning(now: datetime, zone: ZoneInfo) -> datetime:
    """The last eight o'clock by the clock of `zone`: what was written before it goes now."""
    local = now.astimezone(zone)
    today = datetime.combine(local.date(), MORNING, zone)
    return today if today <= local else datetime.combine(local.date() - timedelta(days=1), MORNING, zone)
