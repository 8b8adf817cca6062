"""sshd's own log, LogLevel VERBOSE, turned into sign-in events: one small state machine a connection.

Told from what OpenSSH 9.2 writes (tried), and 8.9 to 10.x are known to write. Much of a message is a client's text: a
user name, a goodbye, the name in a certificate. So every message is recognised whole and from its first word, which is
always sshd's; a name is what stands before the *last* `from ADDRESS port PORT`, or has no space in it when it is an
account's; and what is told of a connection must carry the address and port that connection began with.

What it cannot tell, as sshd does not: which keys were offered under a name that is no account, that a password was
tried where passwords are switched off (it looks like no key at all), and, from a process in a chroot without a
/dev/log, anything after the sign-in. That a shell was refused there can be told by somebody else (`SshdLog.refused`);
that forwarding or another subsystem was, by nobody.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from .events import OFFERED_LIMIT, TEXT_LIMIT, Event, Kind, shown_username
from .paths import USERNAME, shown
from .signin import Offer, Reason, Strangers, peer_address, telling, verdict
from .sshdlines import Line, unescaped

OFFERS_LIMIT = 64
NOTED_REFUSALS = 3  # of what one session wants and does not get
CONNECTIONS_LIMIT = 10_000
NAME_LIMIT = 100  # characters: sshd cuts names there
# A connection that has said nothing for so long has ended unseen: sshd gives two minutes to sign in, unless told more.
SILENCE = timedelta(minutes=5)
# Sessions that are over, and refusals that no session is known for yet: what is told of them may come a little late.
LATE_LIMIT = 1_000
LATE = timedelta(minutes=5)

_PEER = r"(?P<address>[0-9A-Fa-f:.]+(?:%[\w.-]+)?) port (?P<port>[0-9]{1,5})"
_KEY = r"(?P<type>[A-Z0-9-]+) (?P<fingerprint>SHA256:[A-Za-z0-9+/]{43})"
_WHO = r"(?:(?:(?P<invalid>invalid) user (?P<stranger>.*)|(?:(?P<signing_in>authenticating) )?user (?P<name>\S+)) )?"
_TRIED = {"key exchange method": "key-exchange", "host key type": "host-key", "cipher": "cipher", "MAC": "mac"}


@dataclass(frozen=True, slots=True)
class Opened:
    """Somebody has signed in: sshd's process `pid` keeps the connection."""

    pid: int
    at: datetime
    username: str
    fingerprint: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Closed:
    """A session ended. Not every end is told."""

    pid: int
    at: datetime


Told = Event | Opened | Closed


@dataclass(slots=True)
class _Connection:
    pid: int
    began: datetime
    address: str
    port: int
    last: datetime
    username: str = ""
    is_account: bool | None = None
    offers: list[Offer] = field(default_factory=list)
    methods: set[str] = field(default_factory=set)
    why: Reason | None = None  # said before the refusal it belongs to
    end: Reason | None = None
    client: str = ""
    fingerprint: str = ""
    child: int = 0
    refusals_from: str = ""
    place: str = ""
    is_foreign: bool = False
    told: int = 0

    def offered(self, offer: Offer) -> None:
        if offer not in self.offers and len(self.offers) < OFFERS_LIMIT:
            self.offers.append(offer)

    def mark(self) -> str:
        """The name of this connection's next event: the same whenever the same lines are read again."""
        self.told += 1
        text = f"{self.began.isoformat()} {self.pid} {self.address} {self.port} {self.told}"
        return hashlib.sha256(text.encode("ascii", "replace")).hexdigest()[:24]


@dataclass(slots=True)
class SshdLog:
    """Reads lines in order, tells what happened.

    `is_account` says whether a name that the system knows is a district's: what administrators, services and the
    portal itself do is nobody's business here. `whole_name` completes a name that sshd has cut.
    """

    is_account: Callable[[str], bool] = lambda name: bool(USERNAME.fullmatch(name))
    whole_name: Callable[[str], str] = lambda name: name
    limit: int = CONNECTIONS_LIMIT
    _open: OrderedDict[int, _Connection] = field(default_factory=OrderedDict)
    _signed_in: OrderedDict[tuple[str, int], _Connection] = field(default_factory=OrderedDict)
    _strangers: Strangers = field(default_factory=Strangers)
    _over_lately: OrderedDict[int, _Connection] = field(default_factory=OrderedDict)
    _refused_early: OrderedDict[int, datetime] = field(default_factory=OrderedDict)

    def read(self, line: Line) -> list[Told]:
        """What a line tells: mostly nothing, or nothing yet."""
        return list(self._read(line))

    def overdue(self, now: datetime) -> list[Told]:
        """What has come of the connections that fell silent, as those do that sshd cuts off for being slow."""
        told: list[Told] = []
        for connection in [one for one in self._open.values() if now - one.last > SILENCE]:
            connection.end = connection.end or Reason.TOO_SLOW
            told.extend(self._over(connection))
        return told

    def refused(self, child: int, at: datetime) -> list[Told]:
        """Somebody else than sshd's log tells that a session wanted a shell or a command, and did not get it.

        `child`: the process of sshd that runs as the account. The log may come to speak of it earlier or later.
        """
        connection = self._session_of(child, at)
        if connection is not None:
            return list(self._not_sftp(connection, max(at, connection.last), "ends", "shell"))
        self._refused_early[child] = at
        _shorten(self._refused_early, LATE_LIMIT)
        return []

    def _session_of(self, child: int, at: datetime) -> _Connection | None:
        known = [one for one in self._signed_in.values() if one.child == child and at > one.last - LATE]
        over = self._over_lately.get(child)
        if known or over is None:
            return known[-1] if known else None
        return over if abs(at - over.last) < LATE else None

    @property
    def needed_from(self) -> str:
        """The place of the first line that is needed to go on after a restart; empty if none is that was read."""
        return next((one.place for one in self._open.values()), "")

    def _read(self, line: Line) -> Iterator[Told]:
        message = line.message.removesuffix(" [preauth]").removeprefix("error: ").removeprefix("fatal: ")
        for pattern, rule, anybody in _RULES:
            found = pattern.fullmatch(message)
            if found is not None:
                # After the sign-in a process runs as the account. It may speak of its own session, of nothing else.
                if anybody or not line.uid:
                    yield from rule(self, line, found)
                return

    # --- Where a line belongs

    def _connection(self, line: Line, found: re.Match[str] | None = None) -> _Connection | None:
        """The connection a line speaks of, begun now if we came late; None if the line belongs to none we know."""
        peer = _peer(found) if found is not None else None
        connection = self._open.get(line.pid) if line.pid else self._by_peer(peer)
        if connection is None:
            connection = self._begin(line, peer) if peer else None
        elif peer and peer != (connection.address, connection.port):
            return None
        if connection is not None:
            connection.last = line.at
        return connection

    def _by_peer(self, peer: tuple[str, int] | None) -> _Connection | None:
        """Without process numbers: by address and port, or the only one there is."""
        if peer is None:
            return next(iter(self._open.values())) if len(self._open) == 1 else None
        return next((one for one in self._open.values() if (one.address, one.port) == peer), None)

    def _begin(self, line: Line, peer: tuple[str, int]) -> _Connection:
        connection = _Connection(line.pid, line.at, *peer, line.at, place=line.place)
        self._open[_key(line.pid, peer)] = connection
        return connection

    def _forget(self, connection: _Connection) -> None:
        self._open.pop(_key(connection.pid, (connection.address, connection.port)), None)

    # --- The rules: what a message means

    def began(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        peer = _peer(found)
        former = self._open.get(line.pid) if line.pid else self._by_peer(peer) if peer else None
        if former is not None:  # the process number is in use again: its end was not told
            yield from self._over(former)
        if peer:
            self._begin(line, peer)
        while len(self._open) > self.limit:
            yield from self._over(next(iter(self._open.values())))

    def stranger(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._connection(line, found)
        if connection is not None:
            connection.username, connection.is_account = found["stranger"], False
        return iter(())

    def not_allowed(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._connection(line)
        if connection is not None:
            connection.username, connection.is_account = found["name"], False
            connection.is_foreign = not self.is_account(found["name"])
        return iter(())

    def failed(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._connection(line, found)
        if connection is not None:
            self._named(connection, found["name"])
            connection.methods.add(found["method"])
            if found["fingerprint"]:
                connection.offered(Offer(found["fingerprint"], connection.why or Reason.UNKNOWN_KEY))
            connection.why = None
        return iter(())

    def stranger_failed(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._connection(line, found)
        if connection is not None:
            connection.methods.add(found["method"])
            connection.username = connection.username or found["stranger"]
            connection.is_account = False
        return iter(())

    def because(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        """Why the refusal that follows: the address first, for sshd says of it that the options refused, too."""
        connection = self._connection(line)
        if connection is not None and connection.why is None:
            is_address = found[0].endswith(").")
            connection.why = Reason.ADDRESS_NOT_ALLOWED if is_address else Reason.EXPIRED_KEY
        return iter(())

    def algorithm(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._connection(line)
        if connection is not None:
            is_old = found["algorithm"] in ("ssh-rsa", "ssh-rsa-cert-v01@openssh.com")
            connection.offered(Offer("", Reason.SHA1_SIGNATURE if is_old else Reason.KEY_TYPE_NOT_TAKEN))
        return iter(())

    def key_known(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._connection(line)
        if connection is not None:
            connection.offered(Offer(found["fingerprint"], None))
            connection.why = None
        return iter(())

    def postponed(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._connection(line, found)
        if connection is not None:
            self._named(connection, found["name"])
        return iter(())

    def software(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._connection(line)
        if connection is not None:
            connection.client = shown(f"SSH-{found['version']}-{found['software']}", TEXT_LIMIT)
        return iter(())

    def accepted(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._connection(line, found)
        if connection is None:
            return
        self._named(connection, found["name"])
        connection.fingerprint = found["fingerprint"] or ""
        self._forget(connection)
        if not self.is_account(connection.username):
            return
        self._signed_in[connection.address, connection.port] = connection
        _shorten(self._signed_in, self.limit)
        yield self._event(connection, Kind.ACCEPTED, line.at, fingerprint=connection.fingerprint)
        peer = (connection.address, connection.port)
        yield Opened(line.pid, line.at, connection.username, connection.fingerprint, *peer)

    def child(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        newest_first = reversed(self._signed_in.values())
        connection = next((one for one in newest_first if one.pid == line.pid), None)
        if connection is None:
            return
        connection.child = int(found["child"])
        refused = self._refused_early.pop(connection.child, None)
        if refused is not None and abs(refused - line.at) < LATE:
            yield from self._not_sftp(connection, max(refused, connection.last), "ends", "shell")

    def no_agreement(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._connection(line, found)
        if connection is not None:
            self._forget(connection)
            tried = _TRIED.get(found["what"], "")
            yield self._event(connection, Kind.REFUSED, line.at, reason=Reason.NO_COMMON_ALGORITHM, tried=tried)

    def too_many(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._connection(line)
        if connection is not None:
            connection.end = Reason.TOO_MANY_KEYS
        return iter(())

    def over(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        # Words of a process we do not know are those of one that has signed in, unless they tell that it had not.
        is_known = bool(self._open.get(line.pid) if line.pid else self._by_peer(_peer(found)))
        connection = self._connection(line, found) if is_known or found["invalid"] or found["signing_in"] else None
        if connection is None:
            return
        if found["invalid"]:
            connection.is_account = False
            connection.username = connection.username or found["stranger"]
        elif found["name"]:
            self._named(connection, found["name"])
        if found["late"]:
            connection.end = Reason.TOO_SLOW
        yield from self._over(connection)

    def late(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._open.get(int(found["pid"]))
        if connection is not None:
            connection.last, connection.end = line.at, Reason.TOO_SLOW
            yield from self._over(connection)

    def dropped(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        peer = _peer(found)
        if peer is not None:
            connection = _Connection(line.pid, line.at, *peer, line.at)
            connection.end = Reason.HOST_BUSY if found["why"] == "past" else Reason.SHUT_OUT
            yield from self._over(connection)

    def tried_else(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        """Signed in, and then wanted what there is not."""
        connection = self._session(line, found)
        if connection is not None:
            tried = "subsystem" if found["what"].startswith("subsystem") else "shell"
            yield from self._not_sftp(connection, line.at, "log", tried)

    def _not_sftp(self, connection: _Connection, at: datetime, source: str, tried: str) -> Iterator[Told]:
        # What both can tell of a session is believed of the first only: it would be told twice.
        connection.refusals_from = connection.refusals_from or source
        if connection.refusals_from != source or connection.told > NOTED_REFUSALS:
            return
        yield self._event(
            connection,
            Kind.SHELL_REFUSED,
            at,
            fingerprint=connection.fingerprint,
            reason=Kind.SHELL_REFUSED,
            tried=tried,
        )

    def too_many_sessions(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._session(line, found)
        if connection is not None:
            yield self._event(
                connection,
                Kind.REFUSED,
                line.at,
                fingerprint=connection.fingerprint,
                reason=Reason.TOO_MANY_SESSIONS,
            )

    def session_over(self, line: Line, found: re.Match[str]) -> Iterator[Told]:
        connection = self._session(line, found)
        if connection is not None:
            del self._signed_in[connection.address, connection.port]
            connection.last = line.at
            self._over_lately[connection.child] = connection
            _shorten(self._over_lately, LATE_LIMIT)
            yield Closed(connection.pid, line.at)

    def _session(self, line: Line, found: re.Match[str]) -> _Connection | None:
        """The session a line speaks of: by address and port where it tells them, else by sshd's process."""
        peer = _peer(found)
        if peer is not None:
            connection = self._signed_in.get(peer)
        else:
            named = [one for one in self._signed_in.values() if one.username == self._whole(found["name"])]
            own = [one for one in named if line.pid in (one.pid, one.child)]
            connection = own[0] if own else named[0] if line.uid and len(named) == 1 else None
        is_right = connection is not None and connection.username == self._whole(found["name"])
        return connection if is_right else None

    # --- What comes of it

    def _named(self, connection: _Connection, name: str) -> None:
        if connection.is_account is not False:
            connection.username, connection.is_account = self._whole(name), True

    def _whole(self, name: str) -> str:
        return self.whole_name(name) if len(name) == NAME_LIMIT else name

    def _over(self, connection: _Connection) -> Iterator[Told]:
        """A connection ended before it signed in."""
        self._forget(connection)
        if connection.is_account is None and not connection.offers:
            yield from self._stranger_gone(connection)
            return
        if connection.is_foreign or (connection.is_account and not self.is_account(connection.username)):
            return
        is_account = bool(connection.is_account)
        reason = verdict(account=is_account, offers=connection.offers, methods=connection.methods, end=connection.end)
        offered = tuple(dict.fromkeys(offer.fingerprint for offer in connection.offers if offer.fingerprint))
        yield self._event(
            connection,
            Kind.REFUSED,
            connection.last,
            reason=reason,
            fingerprint=telling(connection.offers, reason),
            offered=offered[:OFFERED_LIMIT],
        )

    def _stranger_gone(self, connection: _Connection) -> Iterator[Told]:
        """Scanners, monitors and clients that did not like our key."""
        if self._strangers.is_news(connection.address, connection.last):
            reason = connection.end or Reason.LEFT_EARLY
            yield self._event(connection, Kind.REFUSED, connection.last, reason=reason)

    def _event(
        self,
        connection: _Connection,
        kind: Kind,
        at: datetime,
        *,
        reason: str = "",
        fingerprint: str = "",
        offered: tuple[str, ...] = (),
        tried: str = "",
    ) -> Event:
        return Event(
            kind=kind,
            at=at,
            username=shown_username(unescaped(connection.username)),
            address=connection.address,
            port=connection.port,
            client=connection.client,
            fingerprint=fingerprint,
            reason=str(reason),
            offered=offered,
            tried=tried,
            mark=connection.mark(),
        )


def _shorten(kept: OrderedDict[Any, Any], limit: int) -> None:
    """Forget what is oldest."""
    while len(kept) > limit:
        kept.popitem(last=False)


def _key(pid: int, peer: tuple[str, int]) -> int:
    """What connections are kept by: the process number, or where there is none something of the peer's below zero."""
    return pid or -abs(hash(peer)) - 1


def _peer(found: re.Match[str]) -> tuple[str, int] | None:
    """The address and port that a message tells, if it does."""
    groups = found.groupdict()
    try:
        port = int(groups.get("port") or 0)
        return (str(peer_address(groups["address"])), port) if groups.get("address") and port <= 65535 else None
    except ValueError:
        return None


def with_keys(event: Event, keys: tuple[str, ...]) -> Event:
    """The event with the public keys that were offered, as far as they are known."""
    return dataclasses.replace(event, keys=keys)


_Rule = tuple[re.Pattern[str], Callable[[SshdLog, Line, re.Match[str]], Iterator[Told]], bool]


def _rule(
    pattern: str, rule: Callable[[SshdLog, Line, re.Match[str]], Iterator[Told]], *, anybody: bool = False
) -> _Rule:
    return re.compile(pattern, re.ASCII), rule, anybody


_RULES: tuple[_Rule, ...] = (
    _rule(rf"Connection from {_PEER} on \S+ port [0-9]+(?: rdomain .*)?", SshdLog.began),
    _rule(rf"Accepted key {_KEY} found at .*", SshdLog.key_known),
    _rule(rf"Postponed publickey for (?P<name>\S+) from {_PEER} ssh2", SshdLog.postponed),
    _rule(
        rf"Accepted [a-z-]+(?:/\S+)? for (?P<name>\S+) from {_PEER} ssh2(?:: {_KEY}(?: ID .*)?)?",
        SshdLog.accepted,
    ),
    _rule(
        rf"Failed (?P<method>[a-z-]+)(?:/\S+)? for (?P<name>\S+) from {_PEER} ssh2(?:: {_KEY}(?: ID .*)?)?",
        SshdLog.failed,
    ),
    _rule(
        rf"Failed (?P<method>[a-z-]+)(?:/\S+)? for invalid user (?P<stranger>.*) from {_PEER} ssh2(?:: {_KEY})?",
        SshdLog.stranger_failed,
    ),
    _rule(rf"Invalid user (?P<stranger>.*) from {_PEER}", SshdLog.stranger),
    _rule(r"User (?P<name>\S+)(?: from \S+)? not allowed because .*", SshdLog.not_allowed),
    _rule(
        r"(?:/.*:[0-9]+: )?Authentication tried for \S+ with correct key but not from a permitted host \(host=.*\)\.",
        SshdLog.because,
    ),
    _rule(r"Refused by key options", SshdLog.because),
    _rule(r"userauth_pubkey: (?:signature algorithm|key type) (?P<algorithm>\S+) not in Pubkey\S+", SshdLog.algorithm),
    _rule(r"userauth_pubkey: unsupported public key algorithm: (?P<algorithm>.*)", SshdLog.algorithm),
    _rule(
        rf"Unable to negotiate with {_PEER}: no matching (?P<what>[a-zA-Z ]+) found\..*",
        SshdLog.no_agreement,
    ),
    _rule(r"maximum authentication attempts exceeded for .*", SshdLog.too_many),
    _rule(rf"Connection (?:closed|reset) by {_WHO}{_PEER}(?P<late>)", SshdLog.over),
    _rule(rf"Disconnected from {_WHO}{_PEER}(?P<late>)", SshdLog.over),
    _rule(rf"Disconnecting {_WHO}{_PEER}: .*(?P<late>)", SshdLog.over),
    _rule(rf"banner exchange: Connection from {_WHO}{_PEER}: .*(?P<late>)", SshdLog.over),
    _rule(rf"(?P<late>Timeout) before authentication for {_WHO}{_PEER}", SshdLog.over),
    _rule(
        r"Timeout before authentication for connection from \S+ to \S+, pid = (?P<pid>[0-9]{1,10})",
        SshdLog.late,
    ),
    _rule(
        r"drop connection #[0-9]+ from \[(?P<address>[^\]]+)\]:(?P<port>[0-9]{1,5}) on .*? (?P<why>past|penalty).*",
        SshdLog.dropped,
    ),
    _rule(r"User child is on pid (?P<child>[0-9]{1,10})", SshdLog.child),
    _rule(
        r"debug1: Remote protocol version (?P<version>[0-9.]+), remote software version (?P<software>.*)",
        SshdLog.software,
    ),
    _rule(
        rf"Connection from user (?P<name>\S+) {_PEER}: (?P<what>refusing) non-sftp session",
        SshdLog.tried_else,
        anybody=True,
    ),
    _rule(
        r"(?P<what>subsystem) request for .* by user (?P<name>\S+) failed, subsystem not found",
        SshdLog.tried_else,
        anybody=True,
    ),
    _rule(r"pam_limits\(sshd:session\): Too many logins .*for (?P<name>\S+)", SshdLog.too_many_sessions),
    _rule(r"pam_unix\(sshd:session\): session closed for user (?P<name>\S+)", SshdLog.session_over),
)
