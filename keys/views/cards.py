"""The cards under the box: each key with its journey, its end, from where it works, and what to know about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from django.utils import timezone
from django.utils.text import Truncator

from accounts.models import District, SftpAccount

from .. import selectors
from ..core.errors import Problem
from ..core.life import SOON
from ..core.policy import Policy, advise
from ..models import AccountKey, KeyFile
from ..selectors import KeyCard
from ..services import today_in


@dataclass(frozen=True, slots=True)
class Badge:
    """A state: colour, icon and word, always together."""

    tone: str
    icon: str
    word: str


@dataclass(frozen=True, slots=True)
class Stop:
    """One station of a key's journey; `is_done` False for what is still to come."""

    word: str
    at: datetime | None = None
    is_done: bool = True


@dataclass(frozen=True, slots=True)
class Card:
    """One key as its card shows it: `badge` is the one thing to see, `warnings` and `notes` are sentences."""

    key: AccountKey
    label: str
    journey: tuple[Stop, ...]
    last_address: str
    badge: Badge | None
    expiry: str
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    advice: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Way:
    """What an account's keys share on their way to the host, or off it; `is_shut_off` as `selectors` tells it."""

    district: District
    file: KeyFile
    live_by: datetime
    is_shut_off: bool

    def of(self, card: KeyCard) -> Stop:
        """How far one key has got."""
        if card.key.disabled:
            if gone := _taken_off(card, self.file):
                return Stop("taken off the host", gone)
            if not self.is_shut_off:
                return self._going()
        if self.district.state != District.State.ACTIVE:
            if self.is_shut_off:
                return Stop(f"not on the host: the district is {self.district.state}", is_done=False)
            return self._going()
        if came := (not self.file.is_doubted and card.on_host) or self._since():
            return Stop("on the host since", came)
        if self.file.state == KeyFile.State.FAILED:
            return Stop("not on the host yet, we try again", self.file.next_try, is_done=False)
        return Stop("goes live by", self.live_by, is_done=False)

    def _going(self) -> Stop:
        if self.file.state == KeyFile.State.FAILED:
            return Stop("may still work: not taken off the host yet, we try again", self.file.next_try, is_done=False)
        return Stop("may still work: taken off the host by", self.live_by, is_done=False)

    def _since(self) -> datetime | None:
        return self.file.on_host_since if self.file.state == KeyFile.State.ON_HOST else None


def _taken_off(card: KeyCard, file: KeyFile) -> datetime | None:
    """Since when the host does not have a disabled key any more; None if it may."""
    known = None if file.is_doubted else card.off_host
    return known or (card.key.disabled if file.state == KeyFile.State.ON_HOST else None)


def cards_of(account: SftpAccount, file: KeyFile, live_by: datetime, *, is_shut_off: bool) -> tuple[Card, ...]:
    """A card for each key of the account, in the order of the box; `is_shut_off` as `selectors` tells it."""
    today, policy = today_in(account.district), Policy()
    way = Way(account.district, file, live_by, is_shut_off)
    return tuple(
        Card(
            key=card.key,
            label=card.key.label,
            journey=tuple(_journey(card, way)),
            last_address=card.last_address,
            badge=_badge(card, file, today),
            expiry=expiry_told(card.key.expires_on, today),
            warnings=tuple(_warnings(card, way)),
            notes=tuple(_replacement_told(card.key)),
            advice=advise(card.value, policy) if card.value else (),
        )
        for card in selectors.cards(account)
    )


def _journey(card: KeyCard, way: Way) -> Iterator[Stop]:
    yield Stop("saved", card.key.added)
    yield way.of(card)
    if card.first_sign_in:
        yield Stop("first login", card.first_sign_in)
        yield Stop("last login", card.last_sign_in)
    else:
        yield Stop("no login so far", is_done=False)


def _badge(card: KeyCard, file: KeyFile, today: date) -> Badge | None:
    """The most important thing about a key; None where there is nothing to say."""
    key = card.key
    states = (
        (bool(key.disabled), Badge("off", "minus-circle", "Disabled")),
        (_is_over(key, today), Badge("bad", "x-circle", "Expired")),
        (bool(key.marked), Badge("act", "hand-raised", "Will be disabled")),
        (_ends_soon(key, today), Badge("act", "hand-raised", "Expires soon")),
        (_is_being_replaced(key), Badge("wait", "arrow-path", "Being replaced")),
        (bool(card.last_sign_in), Badge("good", "check-circle", "In use")),
        (file.state == KeyFile.State.ON_HOST, Badge("wait", "clock", "Not used yet")),
    )
    return next((badge for holds, badge in states if holds), None)


def _is_over(key: AccountKey, today: date) -> bool:
    return key.expires_on is not None and key.expires_on < today


def _ends_soon(key: AccountKey, today: date) -> bool:
    return key.expires_on is not None and key.expires_on <= today + SOON


def _is_being_replaced(key: AccountKey) -> bool:
    return bool(key.replaced_by.all())


def expiry_told(expires_on: date | None, today: date) -> str:
    """Until when a key works, as people say it; empty for one without an end."""
    if expires_on is None:
        return ""
    day, left = day_told(expires_on), (expires_on - today).days
    if left < 0:
        return f"Expired: it worked until {day}."
    if left == 0:
        return f"Expires today: works until the end of {day}."
    if left <= SOON.days:
        return f"Expires in {counted(left)}: works until {day}."
    return f"Works until {day}."


def _warnings(card: KeyCard, way: Way) -> Iterator[str]:
    key = card.key
    if key.disabled:
        is_off = way.is_shut_off or _taken_off(card, way.file)
        told = "It is no longer on the host." if is_off else "It may still work until the host has it."
        yield f"Disabled since {_day_of(key.disabled)}: {key.mark_reason} {told}"
    elif key.disable_on:
        yield f"This key will be disabled on {day_told(key.disable_on)}: {key.mark_reason}"


def _replacement_told(key: AccountKey) -> Iterator[str]:
    for new in key.replaced_by.all():
        if new.retires_old:
            yield f"Replaced by {name_of(new)}, which has signed in. This one retires on {_day_of(new.retires_old)}."
        else:
            days = counted(new.retire_after or 0)
            yield f"Being replaced by {name_of(new)}. This one retires {days} after the first sign-in with that one."
    if key.replaces and not key.retires_old:
        yield f"It takes the place of {name_of(key.replaces)}. Sign in with it once, and that one can go."


def name_of(key: AccountKey) -> str:
    """What people call a key: the beginning of its name, else its fingerprint."""
    return Truncator(key.comment).chars(80) or key.fingerprint


def counted(days: int) -> str:
    """A number of days in words."""
    return f"{days} day{'' if days == 1 else 's'}"


def day_told(day: date) -> str:
    """“30 June 2027”."""
    return f"{day.day} {day:%B %Y}"


def _day_of(moment: datetime) -> str:
    return day_told(timezone.localtime(moment).date())
