"""RFC 4716, what PuTTYgen's "Save public key" and ssh.com write: headers and base64 between markers."""

import re
from collections import deque
from collections.abc import Sequence

from keys.core.characters import Line
from keys.core.errors import KeyProblem, Note, Refusal
from keys.core.formats.armour import Block, block_at
from keys.core.formats.contract import Found, Taken
from keys.core.wire import decoded

_BEGIN = re.compile(r"-{2,5} ?BEGIN SSH2 PUBLIC KEY ?-{2,5}")
_END = re.compile(r"-{2,5} ?END SSH2 PUBLIC KEY ?-{2,5}")
_HEADER = re.compile(r"([!-9;-~]{1,64}): ?(.*)")
_ESCAPED = re.compile(r'\\(["\\])')


def take(lines: Sequence[Line], at: int) -> Taken | None:
    """One block."""
    begin = _BEGIN.match(lines[at].text)
    if begin is None:
        return None
    block = block_at(lines, at)
    number = lines[at].number
    if begin[0] != lines[at].text or block.end is None or not _END.fullmatch(block.end):
        return Taken(block.lines, problems=(Refusal.RFC4716_UNFINISHED.problem(number),))
    try:
        found = _read(block, number)
    except KeyProblem as error:
        return Taken(block.lines, problems=(error.problem.at(number),))
    return Taken(block.lines, (found,), notes=(Note.CONVERTED.problem(number),))


def _read(block: Block, number: int) -> Found:
    comment, body = _comment_and_body([line.text for line in block.body if line.text])
    return Found(decoded("".join(body)), comment, number)


def _comment_and_body(texts: list[str]) -> tuple[str, list[str]]:
    """Headers come first; a backslash at the end of one continues it (section 3.3)."""
    comment, rest = "", deque(texts)
    while rest and (header := _HEADER.fullmatch(rest[0])):
        rest.popleft()
        value = header[2]
        while value.endswith("\\") and rest:
            value = value[:-1] + rest.popleft()
        if header[1].lower() == "comment":
            comment = _unquoted(value)
    return comment, list(rest)


def _unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        return _ESCAPED.sub(r"\1", value[1:-1])
    return value
