"""How a host stands, and what on it or on a run somebody has to look at: in words, the most urgent first."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.template.defaultfilters import filesizeformat
from django.urls import reverse

from hosts.helper import HelperSilent
from hosts.models import AccountsTold, Host

from .. import overview

# Below this an upload of a large district may not fit any more.
LITTLE_SPACE = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Standing:
    """A host's state: colour, icon and word, and the sentence beside them.

    `since` is when it began, if that is known; `needs_you` says that nothing goes on before a person has acted.
    """

    tone: str
    icon: str
    word: str
    sentence: str
    needs_you: bool = False
    since: datetime | None = None
    next_try: datetime | None = None


@dataclass(frozen=True, slots=True)
class Matter:
    """Something to look at, with the page on which it is dealt with."""

    name: str
    standing: Standing
    sentence: str
    address: str
    link: str


def is_new(host: Host) -> bool:
    """Whether nobody has confirmed the host's key yet, so that it is not spoken to."""
    return host.kind == Host.Kind.OPENSSH and not host.host_key


def key_waits(host: Host) -> bool:
    """Whether the portal has a new key for a host that is set up, and has not been let in with it yet."""
    return bool(host.last_ok and host.client_key_made and host.client_key_made > host.last_ok)


def has_little_space(host: Host) -> bool:
    """Whether the host's disk is nearly full, as far as it has told."""
    return host.free_bytes is not None and host.free_bytes < LITTLE_SPACE


def standing_of(host: Host) -> Standing:
    """How a host stands."""
    if host.state == Host.State.STOPPED:
        has_other_key = host.offered_key and host.host_key
        why = "It shows another host key than the confirmed one." if has_other_key else host.reason
        return _needs_you(f"Stopped. {why}", host.offered_at)
    if is_new(host):
        shown = "It has shown a host key: compare it." if host.offered_key else "Its host key is not confirmed yet."
        return _needs_you(f"New. {shown}", None)
    if key_waits(host):
        return _needs_you("It does not have the portal’s new key yet. Nothing is brought there.", host.client_key_made)
    if host.tries:
        sentence = f"Does not answer. {host.reason}"
        return Standing("bad", "x-circle", "Failed", sentence, since=host.last_ok, next_try=host.next_try)
    if host.reason:
        return _needs_you(host.reason, host.last_ok)
    if has_little_space(host):
        return _needs_you(f"Its disk is nearly full: {filesizeformat(host.free_bytes or 0)} are free.", None)
    if damaged := getattr(host, "damaged_count", 0):
        return _needs_you(f"{_accounts_told(damaged)} a damaged home there.", None)
    if (standing := _of_accounts(getattr(host, "accounts_told", None))) is not None:
        return standing
    if host.last_ok is None:
        return Standing("wait", "clock", "Waiting", "Not used yet.")
    return Standing("good", "check-circle", "Working", "Answers, and takes keys.")


def _of_accounts(told: AccountsTold | None) -> Standing | None:
    """Whether a host has the accounts that it should: if not, new, renamed and closed ones wait."""
    if told is None:
        return None
    if told.declined_code == HelperSilent.code:
        sentence = f"Takes keys, but new, renamed and closed accounts wait. {told.declined_reason}"
        return Standing("bad", "x-circle", "Failed", sentence, since=told.declined_since, next_try=told.declined_until)
    if told.declined_code:
        why = f"It refused the list of its accounts, so new, renamed and closed ones wait. {told.declined_reason}"
        return _needs_you(why, told.declined_since)
    if told.refused:
        name, _, reason = told.refused[0]
        others = f" So it is with {len(told.refused) - 1:,} more." if len(told.refused) > 1 else ""
        return _needs_you(f"It refused the account “{name}”: {reason}{others}", None)
    return None


def _needs_you(sentence: str, since: datetime | None) -> Standing:
    return Standing("act", "hand-raised", "Needs you", sentence, needs_you=True, since=since)


def matters(hosts: Iterable[Host], *, newer: int, held: int) -> tuple[Matter, ...]:
    """All there is to look at; what nothing goes on without comes first.

    `newer` accounts have a newer set on their host than here, `held` would lose keys nobody asked to remove.
    """
    found = [*_stopped_runs(), *_hosts(hosts), *_accounts(newer, held), *_found()]
    return tuple(sorted(found, key=lambda matter: not matter.standing.needs_you))


def _stopped_runs() -> Iterator[Matter]:
    for part in overview.stopped_parts():
        keys = f"{part.unasked:,} key{'' if part.unasked == 1 else 's'}"
        sentence = f"Run stopped on {part.host.name}: {keys} would go although nobody asked."
        address = reverse("propagation_stopped", args=[part.pk])
        yield Matter(f"stopped-{part.pk}", _needs_you("", part.finished), sentence, address, "Look and decide")


def _hosts(hosts: Iterable[Host]) -> Iterator[Matter]:
    for host in hosts:
        standing = standing_of(host)
        if standing.tone in ("act", "bad"):
            sentence = f"{host.name}: {standing.sentence}"
            yield Matter(f"host-{host.pk}", standing, sentence, reverse("host", args=[host.pk]), "What to do")


def _accounts(newer: int, held: int) -> Iterator[Matter]:
    if newer:
        sentence = f"{_accounts_told(newer)} a newer set of keys on the host than here."
        yield Matter("newer", _needs_you("", None), sentence, "#newer-sets", "Which")
    if held:
        standing = Standing("act", "pause-circle", "Held", "")
        sentence = f"{_accounts_told(held)} keys that would go although nobody asked. The next run decides or asks."
        yield Matter("held", standing, sentence, "#held-accounts", "Which")


def _accounts_told(count: int) -> str:
    return f"{count:,} account{' has' if count == 1 else 's have'}"


def _found() -> Iterator[Matter]:
    count, nobodys = overview.found_undecided()
    if count:
        lines = f"{count:,} foreign line{' was' if count == 1 else 's were'}"
        whose = "The districts say whether they know them." if count > nobodys else "They are of no account of ours."
        if 0 < nobodys < count:
            whose = f"{nobodys:,} of no account of ours; of the others the districts say whether they know them."
        sentence = f"{lines} taken off hosts in the last 7 days. {whose}"
        standing = Standing("wait", "clock", "Waiting", "")
        yield Matter("found", standing, sentence, f"{reverse('propagation_found')}?state=kept", "Which")
