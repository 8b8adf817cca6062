"""What one offer of a key comes to, and why a connection that never signed in did not."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from .keyfile import Address, KeyLine

STRANGERS_PAUSE = timedelta(hours=1)
STRANGERS_LIMIT = 1_000


class Reason(StrEnum):
    """Why a sign-in was refused. Order: from what tells a person most to what tells least."""

    UNKNOWN_ACCOUNT = "unknown-account"
    TOO_MANY_SESSIONS = "too-many-sessions"
    NOT_SIGNED = "not-signed"
    EXPIRED_KEY = "expired-key"
    ADDRESS_NOT_ALLOWED = "address-not-allowed"
    SHA1_SIGNATURE = "sha1-signature"
    KEY_TYPE_NOT_TAKEN = "key-type-not-taken"
    TOO_MANY_KEYS = "too-many-keys"
    UNKNOWN_KEY = "unknown-key"
    WRONG_METHOD = "wrong-method"
    NO_KEY_OFFERED = "no-key-offered"
    NO_COMMON_ALGORITHM = "no-common-algorithm"
    TOO_SLOW = "too-slow"
    LEFT_EARLY = "left-early"
    HOST_BUSY = "host-busy"
    SHUT_OUT = "shut-out"


class Ending(StrEnum):
    """Why the host ended a session that had signed in. A file that cannot be read has no key any more."""

    KEY_REMOVED = "key-removed"
    KEY_EXPIRED = "key-expired"
    ADDRESS_NOT_ALLOWED = "address-not-allowed"


# By why its key would be refused now.
ENDINGS = {
    Reason.UNKNOWN_KEY: Ending.KEY_REMOVED,
    Reason.EXPIRED_KEY: Ending.KEY_EXPIRED,
    Reason.ADDRESS_NOT_ALLOWED: Ending.ADDRESS_NOT_ALLOWED,
}


@dataclass(frozen=True, slots=True)
class Offer:
    """One key a client offered: `reason` is None if it was accepted (a signature may still be missing)."""

    fingerprint: str
    reason: Reason | None


def fingerprint(blob: bytes) -> str:
    """`SHA256:...` without padding, as `ssh-keygen -l` prints it."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii")
    return "SHA256:" + digest.rstrip("=")


def peer_address(text: str) -> Address:
    """The client's address; IPv4 in an IPv6 socket counts as IPv4, a link-local zone is dropped."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def admit(lines: Iterable[KeyLine], blob: bytes, address: Address, now: datetime) -> Reason | None:
    """Whether one of the lines lets this key in from this address at this time: None, or the reason why not.

    `now` is aware, in the host's time zone (expiry times without a zone are read in it).
    """
    reasons = {_refusal(line, address, now) for line in lines if line.blob == blob}
    if not reasons:
        return Reason.UNKNOWN_KEY
    return None if None in reasons else foremost(reason for reason in reasons if reason)


def _refusal(line: KeyLine, address: Address, now: datetime) -> Reason | None:
    if line.expired(now):
        return Reason.EXPIRED_KEY
    return None if line.allows(address) else Reason.ADDRESS_NOT_ALLOWED


def foremost(reasons: Iterable[Reason]) -> Reason | None:
    """The reason that tells most, or None if there is none."""
    order = list(Reason)
    return min(reasons, key=order.index, default=None)


def verdict(*, account: bool, offers: Sequence[Offer], methods: Iterable[str], end: Reason | None = None) -> Reason:
    """Why a connection did not sign in.

    `account`: whether the last name it gave has a key file; `methods`: the methods it tried (RFC 4252), in
    any order; `end`: why the host ended the connection, if it did.
    """
    if not account:
        return Reason.UNKNOWN_ACCOUNT
    # That it took too long says little of one that had offered a key: it was told no.
    ended = None if end is Reason.TOO_SLOW and offers else end
    if offers:
        reason = foremost(offer.reason or Reason.NOT_SIGNED for offer in offers)
        return ended if ended and reason is Reason.UNKNOWN_KEY else reason or Reason.NO_KEY_OFFERED
    is_other = bool(set(methods) - {"none", "publickey"})
    return Reason.WRONG_METHOD if is_other else ended or Reason.NO_KEY_OFFERED


@dataclass(slots=True)
class Strangers:
    """Whoever never says who they are, such as scanners and monitors: noted, but not each time."""

    _noted: OrderedDict[str, datetime] = field(default_factory=OrderedDict)

    def is_news(self, address: str, at: datetime) -> bool:
        """Whether to note this one: one of an address in STRANGERS_PAUSE."""
        before = self._noted.pop(address, None)
        is_quiet = before is not None and at - before < STRANGERS_PAUSE
        self._noted[address] = before if is_quiet and before else at
        while len(self._noted) > STRANGERS_LIMIT:
            self._noted.popitem(last=False)
        return not is_quiet


def telling(offers: Sequence[Offer], reason: Reason) -> str:
    """The fingerprint of the offer that made the verdict; empty if no key had a part in it."""
    found = (offer.fingerprint for offer in offers if (offer.reason or Reason.NOT_SIGNED) is reason)
    return next(found, offers[0].fingerprint if offers else "")
