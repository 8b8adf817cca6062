"""From where and until when a key may sign in: typed values, written into its line as sshd takes them."""

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo

from keys.core.networks import Network, ReadNetworks, distinct, is_within, network_text, networks_from

__all__ = [
    "UNRESTRICTED",
    "Network",
    "ReadNetworks",
    "Restrictions",
    "combined",
    "end_of_day",
    "network_text",
    "networks_from",
    "restrictions_from",
]

_OPTIONS = re.compile(r'restrict(?:,from="(?P<networks>[0-9a-f.:/,]+)")?(?:,expiry-time="(?P<expires>[0-9]{14})Z")?')
_TIME_FORMAT = "%Y%m%d%H%M%S"
# sshd takes a time of zero or before for none at all, and drops the line.
_FIRST_EXPIRY = datetime(1971, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Restrictions:
    """What a line says before its key: source networks (none: from anywhere), and the last second it holds.

    ``expires`` is aware, in UTC, a whole second. Raises ValueError for values that no line could carry.
    """

    networks: tuple[Network, ...] = ()
    expires: datetime | None = None

    def __post_init__(self) -> None:
        if self.expires is not None:
            in_utc = self.expires.tzinfo is not None and not self.expires.utcoffset()
            if not in_utc or self.expires.microsecond or self.expires < _FIRST_EXPIRY:
                raise ValueError("an expiry is a whole second in UTC, from 1971 on")
        if self and not _OPTIONS.fullmatch(self.options()):
            raise ValueError("a network that no line can carry")

    def __bool__(self) -> bool:
        return bool(self.networks or self.expires)

    def options(self) -> str:
        """The options of sshd(8), AUTHORIZED_KEYS FILE FORMAT; empty without restrictions.

        The Z behind the time (UTC) is known to OpenSSH from 9.1 on. An older sshd drops the whole line: it lets
        nobody in rather than read the time in its own zone.
        """
        if not self:
            return ""
        words = ["restrict"]
        if self.networks:
            words.append(f'from="{",".join(map(str, self.networks))}"')
        if self.expires:
            words.append(f'expiry-time="{self.expires.strftime(_TIME_FORMAT)}Z"')
        return ",".join(words)


UNRESTRICTED = Restrictions()


def restrictions_from(options: str) -> Restrictions | None:
    """The restrictions of an option text; None if ``Restrictions.options`` would not have written just this."""
    found = _OPTIONS.fullmatch(options)
    if found is None:
        return None
    networks, expires = found["networks"], found["expires"]
    try:
        read = Restrictions(
            tuple(ipaddress.ip_network(text) for text in networks.split(",")) if networks else (),
            datetime.strptime(expires, _TIME_FORMAT).replace(tzinfo=UTC) if expires else None,
        )
    except ValueError:
        return None
    return read if read.options() == options else None


def combined(account: tuple[Network, ...], key: tuple[Network, ...]) -> tuple[Network, ...] | None:
    """The networks a key may sign in from when its account has some too: what is in both.

    Without any on one side, those of the other. None if nothing is left: such a key could never sign in.
    """
    if not account or not key:
        return account or key
    # Of two networks one holds the other, or they have nothing in common.
    narrower = [one for one in account if is_within(one, key)] + [one for one in key if is_within(one, account)]
    return distinct(narrower) or None


def end_of_day(day: date, zone: tzinfo) -> datetime:
    """The last second of a day in a time zone, as UTC: what an expiry *date* means.

    Where clocks are put back over the end of the day it is the later of the two; where they are put forward over it,
    the second before (PEP 495). Raises OverflowError for the last day of the year 9999 west of Greenwich.
    """
    return datetime.combine(day, time(23, 59, 59, fold=1), zone).astimezone(UTC)
