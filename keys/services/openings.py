"""Whether a change could leave nobody who can sign in: asked before it, and done only if the user name is typed."""

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from django.utils import timezone

from accounts.models import SftpAccount
from hosts.models import SignIn

from ..core.errors import Problem
from ..core.restrictions import Network, combined
from ..models import AccountKey, KeyFile
from ..selectors import networks_of, sign_ins_of
from .guards import today_in

# From where people came of late: an address that was last used before these is nobody's any more.
SIGN_INS = 20
NO_KEY = "No key that works would be left. Nobody could sign in over SFTP any more, and no files would arrive."
NO_KEY_TOMORROW = "No key would work after today: nobody could sign in over SFTP any more, and no files would arrive."
UNTRIED = (
    "No key that has ever signed in would be left. If the others do not work, nobody could sign in over SFTP any more, "
    "and no files would arrive."
)


class ShutOut(Exception):
    """Everybody would be shut out, or could be, and the user name was not typed to confirm it. Nothing was stored.

    `sentence` says how, `tried` whether something else was typed.
    """

    def __init__(self, sentence: str, tried: bool) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.tried = tried


@dataclass(frozen=True, slots=True)
class Opening:
    """What lets people in: keys, the networks of the whole account, and whether an unrestricted new key comes along."""

    keys: tuple[AccountKey, ...]
    networks: tuple[Network, ...]
    is_adding: bool = False

    def works(self, day: date) -> bool:
        """Whether any key does on that day (the district's)."""
        return self.is_adding or any(key.is_usable(day) for key in self.keys)

    def has(self, prints: set[str], day: date) -> bool:
        """Whether any of these keys works on that day."""
        return any(key.fingerprint in prints and key.is_usable(day) for key in self.keys)

    def lets_in(self, sign_in: SignIn, day: date) -> bool:
        """Whether some key works from where this sign-in came."""
        address = _address(sign_in)
        return address is not None and any(_holds(allowed, address) for allowed in self._allowed(day))

    def _allowed(self, day: date) -> Iterator[tuple[Network, ...]]:
        if self.is_adding:
            yield self.networks
        for key in self.keys:
            networks = combined(self.networks, networks_of(key.networks))
            if networks is not None and key.is_usable(day):
                yield networks


def _address(sign_in: SignIn) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(sign_in.address.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _holds(networks: tuple[Network, ...], address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return not networks or any(address in network for network in networks)


def opening_of(account: SftpAccount) -> Opening:
    """What lets people in now."""
    return Opening(tuple(account.keys.all()), networks_of(KeyFile.objects.get(account=account).networks))


def opening_without(account: SftpAccount, key: AccountKey) -> Opening:
    """What would let people in if this key was gone."""
    now = opening_of(account)
    return Opening(tuple(one for one in now.keys if one.pk != key.pk), now.networks)


def shut_out(account: SftpAccount, then: Opening) -> str:
    """How everybody who can sign in now could do so no more; empty if somebody still can who has done it before."""
    now, today = opening_of(account), today_in(account.district)
    tomorrow = today + timedelta(days=1)
    for day, sentence in ((today, NO_KEY), (tomorrow, NO_KEY_TOMORROW)):
        if now.works(day) and not then.works(day):
            return sentence
    came = [one for one in _last_sign_ins(account) if now.lets_in(one, today)]
    if came and not any(then.lets_in(one, today) for one in came):
        return f"{_came(came[0])} Nobody could sign in from there any more, and no files would arrive."
    tried = _tried(account, now.keys)
    return UNTRIED if any(now.has(tried, day) and not then.has(tried, day) for day in (today, tomorrow)) else ""


def _tried(account: SftpAccount, keys: tuple[AccountKey, ...]) -> set[str]:
    """Which of these keys have ever signed in."""
    good = sign_ins_of(account).filter(accepted=True, fingerprint__in=[key.fingerprint for key in keys])
    return set(good.order_by().values_list("fingerprint", flat=True).distinct())


def _last_sign_ins(account: SftpAccount) -> list[SignIn]:
    return list(sign_ins_of(account).filter(accepted=True)[:SIGN_INS])


def _came(sign_in: SignIn) -> str:
    day = timezone.localtime(sign_in.at)
    return f"The last good sign-in came from {sign_in.address}, on {day.day} {day:%B %Y}."


def opening_confirmed(account: SftpAccount, then: Opening, confirmed: str) -> None:
    """Raises ShutOut if everybody would be shut out, or could be, unless the user name was typed."""
    sentence = shut_out(account, then)
    if sentence and confirmed.strip().casefold() != account.username.casefold():
        raise ShutOut(sentence, tried=bool(confirmed.strip()))


def left_out(account: SftpAccount, then: Opening) -> tuple[Problem, ...]:
    """A note if the last one who signed in could no more, although others still can."""
    now, today = opening_of(account), today_in(account.district)
    last = sign_ins_of(account).filter(accepted=True).first()
    if last is None or not now.lets_in(last, today) or then.lets_in(last, today):
        return ()
    return (Problem("sign-in-left-out", f"{_came(last)} From there no key works any more.", ""),)
