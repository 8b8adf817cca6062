"""Source addresses and networks as people type them: read strictly, with every change told."""

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import unique
from itertools import islice

from keys.core.characters import lines_from
from keys.core.errors import Problem, Reason

MOST_ENTRIES = 32
LONGEST_TEXT = 4096  # characters; 32 of the longest IPv6 networks with room to spare
MOST_PIECES = 8  # networks that a hint spells out for a range

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Fact = int | Network | Interface | tuple[Network, ...]


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


# From IANA's special-purpose address registries (RFC 6890): who comes from there does not come over the internet.
_INSIDE = _networks(
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("fc00::/7", "fe80::/10", "::1/128"),
)
_EXAMPLES = _networks("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
_IMPOSSIBLE = _networks("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "ff00::/8")
_SAMPLE = _networks("203.0.113.0/24")


class _NetworkReason(Reason):
    """A row whose figures may be networks too. By its types it never takes in typed text."""

    def problem(self, line: int | None = None, **facts: Fact) -> Problem:
        words = {name: _fact_text(fact) for name, fact in facts.items()}
        return Problem(self.code, self.message.format(**words), self.hint.format(**words), line)


@unique
class NetworkRefusal(_NetworkReason):
    """Why typed networks are not taken."""

    TOO_LONG = (
        "networks-too-long",
        "This is too long: {length} characters. At most {most} are read.",
        "Type only addresses and networks, one a line.",
    )
    TOO_MANY = (
        "networks-too-many",
        "There are {count} entries here. At most {most} are taken.",
        "Write neighbouring addresses as one network, such as 203.0.113.0/24.",
    )
    NOT_READ = (
        "network-not-read",
        "Entry {entry} is not an IP address and not a network.",
        "Type an address such as 203.0.113.7, or a network such as 203.0.113.0/24 or 2001:db8::/32.",
    )
    HOST_NAME = (
        "network-host-name",
        "Entry {entry} is a name, not an IP address.",
        "A name can be made to lead anywhere, so only addresses are taken. Ask whoever runs your network for the "
        "public address.",
    )
    WILDCARD = (
        "network-wildcard",
        "Entry {entry} has a * or ? in it.",
        "Write the network with a slash and a number, such as {instead}.",
    )
    RANGE = (
        "network-range",
        "Entry {entry} is a range from one address to another.",
        "Write it as networks, such as {instead}.",
    )
    ZONE = (
        "network-zone",
        "Entry {entry} has a % with the name of a network card behind it.",
        "That has a meaning only on your own computer. Type the public address, without the %.",
    )
    PORT = (
        "network-port",
        "Entry {entry} has a port number or brackets.",
        "Type the address alone. The port that a sign-in comes from is another each time.",
    )
    LEADING_ZERO = (
        "network-leading-zero",
        "Entry {entry} has a number that begins with 0. Some programs would read another address in it.",
        "Type the numbers without zeros in front, such as 203.0.113.7.",
    )
    BAD_PREFIX = (
        "network-bad-prefix",
        "Entry {entry} has no possible number behind the slash.",
        "The number is 1 to {most} here. It says how many bits from the left belong to the network.",
    )
    NETMASK = (
        "network-netmask",
        "Entry {entry} has a network mask written out.",
        "Write the network with a slash and a number: this mask is /{prefix}.",
    )
    EVERYTHING = (
        "network-everything",
        "Entry {entry} stands for every address, so it would restrict nothing.",
        "Leave the box empty if sign-ins may come from anywhere.",
    )
    TOGETHER_EVERYTHING = (
        "networks-everything",
        "Together these networks are every address, so they would restrict nothing.",
        "Leave the box empty if sign-ins may come from anywhere.",
    )
    IMPOSSIBLE = (
        "network-impossible",
        "No computer signs in from {network} (entry {entry}).",
        "Type the public address that your computer has when it connects.",
    )


@unique
class NetworkNote(_NetworkReason):
    """What was done to typed networks that are taken, or what to look at again."""

    MASKED = (
        "network-masked",
        "{typed} was read as {network}.",
        "Nothing to do if you mean the whole network. For one address alone, leave out the slash and the number.",
    )
    MAPPED = (
        "network-mapped",
        "Entry {entry} is an IPv4 address in IPv6 form. It was read as {network}.",
        "Nothing to do. It means the same.",
    )
    DUPLICATE = (
        "network-duplicate",
        "{network} is here more than once. It is kept once.",
        "Nothing to do.",
    )
    CONTAINED = (
        "network-contained",
        "{network} is part of {wider}, which is here too. Only the wider one is kept.",
        "If only the narrower one should be let in, remove the wider one.",
    )
    INSIDE = (
        "network-inside",
        "{network} is inside your own network. The host sees your public address.",
        "Unless there is a private line to the host, type your public address: whoever runs your network knows it.",
    )
    EXAMPLE = (
        "network-example",
        "{network} is an address for examples in handbooks. Nobody on the internet has it.",
        "Type the public address that your computer has when it connects.",
    )


_OTHER_FORMS = (
    (NetworkRefusal.EVERYTHING, re.compile(r"\*(?:[.:]\*)*|0\.0\.0\.0|::")),
    (NetworkRefusal.ZONE, re.compile(r"[0-9a-f:.]+%.*")),
    (NetworkRefusal.PORT, re.compile(r"\[[0-9a-f:.]+\](?:[:/][0-9]+)?|[0-9]+(?:\.[0-9]+){3}:[0-9]+")),
    (NetworkRefusal.LEADING_ZERO, re.compile(r"(?=[0-9.]+(?:/|$))(?:[0-9]+\.)*0[0-9]+(?:[./].*)?")),
    (NetworkRefusal.WILDCARD, re.compile(r"(?=.*[*?])[0-9a-f.:*?/]+")),
    (NetworkRefusal.RANGE, re.compile(r"[0-9a-f]*[.:][0-9a-f.:]*-[0-9a-f.:]+")),
    (NetworkRefusal.HOST_NAME, re.compile(r"(?=.*[a-z])[a-z0-9._*?-]+")),
)


@dataclass(frozen=True, slots=True)
class ReadNetworks:
    """What was typed, as networks in order of address; without any if there is a problem.

    The ``line`` of a note or problem is the line of the typed text.
    """

    networks: tuple[Network, ...] = ()
    notes: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class _Entry:
    """One typed entry, in lower case: its number among all and the line it stands in, both from 1."""

    number: int
    line: int
    text: str

    def refused(self, reason: NetworkRefusal, **facts: Fact) -> "_Read":
        return _Read(problem=reason.problem(self.line, entry=self.number, **facts))


@dataclass(frozen=True, slots=True)
class _Read:
    """What became of an entry: a network with its notes, or a problem."""

    network: Network | None = None
    notes: tuple[Problem, ...] = ()
    problem: Problem | None = None
    line: int | None = None


def networks_from(text: str) -> ReadNetworks:
    """Read addresses and networks, separated by commas, blanks or lines. Empty text is no restriction."""
    if len(text) > LONGEST_TEXT:
        return ReadNetworks(problems=(NetworkRefusal.TOO_LONG.problem(length=len(text), most=LONGEST_TEXT),))
    entries = tuple(_entries(text))
    if len(entries) > MOST_ENTRIES:
        return ReadNetworks(problems=(NetworkRefusal.TOO_MANY.problem(count=len(entries), most=MOST_ENTRIES),))
    read = [_read(entry) for entry in entries]
    networks = distinct(one.network for one in read if one.network)
    problems = [one.problem for one in read if one.problem]
    if not problems and _is_everything(networks):
        problems = [NetworkRefusal.TOGETHER_EVERYTHING.problem()]
    if problems:
        return ReadNetworks(problems=tuple(problems))
    return ReadNetworks(networks, (*(note for one in read for note in one.notes), *_merging_notes(read)))


def distinct(networks: Iterable[Network]) -> tuple[Network, ...]:
    """The networks in order of address, without those that are part of another one."""
    every = set(networks)
    kept = [one for one in every if not is_within(one, every - {one})]
    return tuple(sorted(kept, key=lambda one: (one.version, int(one.network_address))))


def is_within(network: Network, others: Iterable[Network]) -> bool:
    """Whether one of the others holds all of the network."""
    return any(_holds(other, network) for other in others)


def network_text(network: Network) -> str:
    """A network as people write it: a single address without its mask."""
    return str(network.network_address if network.prefixlen == network.max_prefixlen else network)


def _holds(wider: Network, network: Network) -> bool:
    return network.network_address in wider and wider.prefixlen <= network.prefixlen


def _entries(text: str) -> Iterator[_Entry]:
    number = 0
    for line in lines_from(text):
        # A slash or a dash belongs to what stands round it, also with blanks between.
        joined = re.sub(r"(?<=\S) *([/\u2013\u2014-]) *(?=\S)", r"\1", line.text).translate(_DASHES)
        for word in re.split(r"[\s,;]+", joined):
            if word:
                number += 1
                yield _Entry(number, line.number, word.lower())


_DASHES = str.maketrans("\u2013\u2014", "--")


def _read(entry: _Entry) -> _Read:
    other = _other_form(entry)
    if other is not None:
        return other
    typed, slash, mask = entry.text.partition("/")
    try:
        address = ipaddress.ip_address(typed)
    except ValueError:
        return entry.refused(NetworkRefusal.NOT_READ)
    most = address.max_prefixlen
    prefix = _prefix(mask, most) if slash else most
    netmask = _netmask_prefix(mask if slash else typed)
    if address.version == 4 and netmask is not None:
        return entry.refused(NetworkRefusal.NETMASK, prefix=netmask)
    if prefix is None:
        return entry.refused(NetworkRefusal.BAD_PREFIX, most=most)
    return _judged(entry, address, prefix)


def _other_form(entry: _Entry) -> _Read | None:
    """The refusal of a known form that is not taken."""
    for reason, pattern in _OTHER_FORMS:
        if pattern.fullmatch(entry.text):
            return entry.refused(reason, instead=_instead(entry.text))
    return None


def _judged(entry: _Entry, address: Address, prefix: int) -> _Read:
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) and prefix >= 96 else None
    interface = ipaddress.ip_interface((inner, prefix - 96) if inner else (address, prefix))
    if interface.network.prefixlen == 0:
        return entry.refused(NetworkRefusal.EVERYTHING)
    if is_within(interface.network, _IMPOSSIBLE):
        return entry.refused(NetworkRefusal.IMPOSSIBLE, network=interface.network)
    notes = _notes(entry, interface, mapped=inner is not None)
    return _Read(interface.network, tuple(notes), line=entry.line)


def _notes(entry: _Entry, typed: Interface, *, mapped: bool) -> Iterator[Problem]:
    network = typed.network
    if mapped:
        yield NetworkNote.MAPPED.problem(entry.line, entry=entry.number, network=network)
    if typed.ip != network.network_address:
        yield NetworkNote.MASKED.problem(entry.line, typed=typed, network=network)
    for note, special in ((NetworkNote.INSIDE, _INSIDE), (NetworkNote.EXAMPLE, _EXAMPLES)):
        if is_within(network, special):
            yield note.problem(entry.line, network=network)


def _merging_notes(read: Iterable[_Read]) -> Iterator[Problem]:
    """What is said of networks that are left out because others hold them."""
    networks = [one.network for one in read if one.network]
    lines = [one.line for one in read if one.network]
    for index, (network, line) in enumerate(zip(networks, lines, strict=True)):
        wider = [other for other in networks if other != network and _holds(other, network)]
        if network in networks[:index]:
            yield NetworkNote.DUPLICATE.problem(line, network=network)
        elif wider:
            widest = min(wider, key=lambda other: other.prefixlen)
            yield NetworkNote.CONTAINED.problem(line, network=network, wider=widest)


def _is_everything(networks: Iterable[Network]) -> bool:
    """Whether the networks together are all of IPv4 or all of IPv6."""
    every = list(networks)
    four = ipaddress.collapse_addresses(one for one in every if isinstance(one, ipaddress.IPv4Network))
    six = ipaddress.collapse_addresses(one for one in every if isinstance(one, ipaddress.IPv6Network))
    return any(one.prefixlen == 0 for one in four) or any(one.prefixlen == 0 for one in six)


def _prefix(mask: str, most: int) -> int | None:
    return int(mask) if re.fullmatch(r"0|[1-9][0-9]{0,2}", mask) and int(mask) <= most else None


def _netmask_prefix(text: str) -> int | None:
    """The length of a mask in dotted form such as 255.255.255.0; None if it is not one."""
    if not text.startswith("255."):
        return None
    try:
        return ipaddress.IPv4Network(f"0.0.0.0/{text}").prefixlen
    except ValueError:
        return None


def _instead(text: str) -> tuple[Network, ...]:
    """The networks that a wildcard or a range stands for; an example if they cannot be told, or are many."""
    try:
        pieces = _wildcard_networks(text) if "*" in text else _range_networks(text)
    except (ValueError, TypeError):
        return _SAMPLE
    return pieces if 0 < len(pieces) <= MOST_PIECES else _SAMPLE


def _wildcard_networks(text: str) -> tuple[Network, ...]:
    """``203.0.113.*`` and ``203.0.*``. Raises ValueError for any other form."""
    parts = [part for part in text.split(".") if part != "*"]
    if not text.startswith(".".join([*parts, "*"])):
        raise ValueError("a wildcard before the end")
    return _networks(".".join([*parts, *["0"] * (4 - len(parts))]) + f"/{8 * len(parts)}")


def _range_networks(text: str) -> tuple[Network, ...]:
    """``203.0.113.4-203.0.113.7`` and ``203.0.113.4-7``. Raises ValueError, or TypeError for mixed versions."""
    first, _, last = text.partition("-")
    if last.isdecimal() and "." in first:
        last = f"{first.rpartition('.')[0]}.{last}"
    ends = ipaddress.ip_address(first), ipaddress.ip_address(last)
    return tuple(islice(ipaddress.summarize_address_range(*ends), MOST_PIECES + 1))


def _fact_text(fact: Fact) -> str:
    if isinstance(fact, tuple):
        return ", ".join(map(_fact_text, fact))
    return network_text(fact) if isinstance(fact, Network) else str(fact)
