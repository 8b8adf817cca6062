"""Blocks between a BEGIN and an END line, as RFC 4716 and PEM (RFC 7468) have them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from keys.core.characters import Line

BEGIN = re.compile(r"-{2,5} ?BEGIN ")
_END = re.compile(r"-{2,5} ?END [A-Z0-9 ]{1,40}-{2,5}")
_FOLLOWER = re.compile(r"(?:ssh|ecdsa|sk)-[a-z0-9@.-]+ +AAAA|-{2,5} ?BEGIN ")


@dataclass(frozen=True, slots=True)
class Block:
    """The END line if there is one, the lines between, and how many lines all of it is."""

    body: tuple[Line, ...]
    end: str | None
    lines: int


def block_at(lines: Sequence[Line], at: int) -> Block:
    """The block whose BEGIN line is at an index. Without an END line it stops before the next key."""
    stop = at + 1
    while stop < len(lines) and not _FOLLOWER.match(lines[stop].text):
        if _END.fullmatch(lines[stop].text):
            return Block(tuple(lines[at + 1 : stop]), lines[stop].text, stop - at + 1)
        stop += 1
    return Block(tuple(lines[at + 1 : stop]), None, stop - at)
