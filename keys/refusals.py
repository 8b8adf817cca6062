"""What we know of the key that a refused sign-in offered.

A host can only say that it did not know a key. Whether that key was on its way just then, is disabled, or was removed,
stands in the account's own rows; nothing is told of any other account's.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from ipaddress import ip_network
from itertools import chain

from accounts.models import SftpAccount
from hosts.core.signin import Reason
from hosts.models import SignIn

from .core.errors import KeyProblem
from .core.restrictions import combined
from .models import HELD_BACK, AccountKey, FoundLine, KeySet, SharedKeyRequest

# So many sets of an account are searched for a key that it does not have any more.
MOST_SETS = 500


class Why(StrEnum):
    """Why the host did not know the key."""

    NOT_YET = "not-yet"
    CAME_SINCE = "came-since"
    DISABLED = "disabled"
    HELD_BACK = "held-back"
    NO_NETWORK = "no-network"
    REMOVED = "removed"
    RETIRED = "retired"
    LOST = "lost"
    ASKED = "asked"
    DECLINED = "declined"
    FOUND = "found"
    OURS = "ours"
    OLD_NAME = "old-name"
    UNKNOWN = "unknown"


_ASKED = {SharedKeyRequest.State.WAITING: Why.ASKED, SharedKeyRequest.State.DECLINED: Why.DECLINED}


@dataclass(frozen=True, slots=True)
class Offered:
    """The key that tells most of those offered; without one, what is known of the user name.

    `saved`: when the account's set came to hold it, or when what `why` says happened; `came`: when that set was on the
    host, None if it is not yet; `reason` is one that people gave.
    """

    why: Why
    fingerprint: str
    saved: datetime | None = None
    came: datetime | None = None
    reason: str = ""


class Memory:
    """What the rows of one account tell of keys; each kind is read once, when it is first asked for."""

    def __init__(self, account: SftpAccount) -> None:
        self.account = account

    @cached_property
    def sets(self) -> list[KeySet]:
        """Its sets, newest first."""
        return list(self.account.key_sets.order_by("-version")[:MOST_SETS])

    @cached_property
    def keys(self) -> list[AccountKey]:
        """The keys it has now, in the order of its box."""
        return list(self.account.keys.order_by("position"))

    @cached_property
    def requests(self) -> list[SharedKeyRequest]:
        """What was asked of staff and not allowed."""
        return list(self.account.shared_key_requests.filter(state__in=_ASKED))

    @cached_property
    def found(self) -> list[FoundLine]:
        """What stood in its file without its doing, and is nobody's yet."""
        return list(self.account.found_lines.filter(state=FoundLine.State.KEPT))


def offered_by(memory: Memory, sign_in: SignIn) -> Offered | None:
    """What is known of what a refused sign-in offered; None if it was refused for neither its key nor its name."""
    if sign_in.reason not in (Reason.UNKNOWN_KEY, Reason.UNKNOWN_ACCOUNT):
        return None
    if sign_in.username != memory.account.username:
        return Offered(Why.OLD_NAME, "")
    if sign_in.reason == Reason.UNKNOWN_ACCOUNT:
        made = next((one for one in memory.sets if one.cause == KeySet.Cause.ACCOUNT), None)
        return _of_set(made, "", sign_in) if made else None
    return _of_keys(memory, sign_in)


def _of_keys(memory: Memory, sign_in: SignIn) -> Offered:
    prints = list(dict.fromkeys([*sign_in.offered, sign_in.fingerprint]))
    known = [_of_key(memory, key, sign_in) for key in memory.keys if key.fingerprint in prints]
    # A key that would work is told first: whoever offers several waits for that one.
    known.sort(key=lambda one: one.why in (Why.DISABLED, Why.HELD_BACK, Why.NO_NETWORK))
    return next(chain(known, _of_others(memory, prints)), Offered(Why.UNKNOWN, sign_in.fingerprint))


def _of_key(memory: Memory, key: AccountKey, sign_in: SignIn) -> Offered:
    """Of a key that the account has now."""
    if key.disabled is not None:
        why = Why.HELD_BACK if key.mark_code == HELD_BACK else Why.DISABLED
        return Offered(why, key.fingerprint, key.disabled, reason=key.mark_reason)
    if not _has_line(memory.account, key):
        return Offered(Why.NO_NETWORK, key.fingerprint)
    made = next((one for one in memory.sets if one.brings(key.fingerprint)), None)
    return _of_set(made, key.fingerprint, sign_in) if made else Offered(Why.OURS, key.fingerprint, key.added)


def _of_set(made: KeySet, print: str, sign_in: SignIn) -> Offered:
    """Of what came to the host with this set."""
    if made.on_host is None:
        return Offered(Why.NOT_YET, print, made.at)
    return Offered(Why.OURS if made.on_host <= sign_in.at else Why.CAME_SINCE, print, made.at, made.on_host)


def _has_line(account: SftpAccount, key: AccountKey) -> bool:
    """Whether a line is written for it at all: not if it and the account share no network."""
    try:
        key.value()
    except KeyProblem:
        return False
    own, whole = (tuple(map(ip_network, texts)) for texts in (key.networks, account.key_file.networks))
    return combined(whole, own) is not None


_GONE = {KeySet.Cause.LOST: Why.LOST, KeySet.Cause.RETIRED: Why.RETIRED}


def _of_others(memory: Memory, prints: list[str]) -> Iterator[Offered]:
    """Of keys that the account had, asked for, or that stood in its file without its doing."""
    for made in memory.sets:
        for fact in made.removed:
            if fact["fingerprint"] in prints:
                why = _GONE.get(KeySet.Cause(made.cause), Why.REMOVED)
                yield Offered(why, fact["fingerprint"], made.at, reason=made.reason)
    for request in memory.requests:
        if request.fingerprint in prints:
            why = _ASKED[SharedKeyRequest.State(request.state)]
            yield Offered(why, request.fingerprint, request.decided or request.asked, reason=request.reason)
    for line in memory.found:
        if line.fingerprint in prints:
            yield Offered(Why.FOUND, line.fingerprint, line.found)
