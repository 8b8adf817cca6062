"""What must hold for every text that is read as a paste, for tests that make up texts."""

import re

from keys.core.authorized_keys import render
from keys.core.characters import text_from
from keys.core.parse import Paste, parse_paste

STRICT_LINE = re.compile(
    r"(?:ssh-rsa|ssh-ed25519|ecdsa-sha2-nistp(?:256|384|521)|sk-ssh-ed25519@openssh\.com"
    r"|sk-ecdsa-sha2-nistp256@openssh\.com) [A-Za-z0-9+/]+={0,2}(?: \S(?:.{0,253}\S)?)?"
)


def check(text: str) -> Paste:
    """Read a text: a clean line a key, nothing taken beside a private key, the same when it is read again."""
    paste = parse_paste(text)
    content = render(paste.keys)
    lines = content.decode("utf-8").split("\n")
    assert len(lines) == len(paste.keys) + 2
    assert all(STRICT_LINE.fullmatch(line) for line in lines[1:-1])
    assert all(line.isprintable() for line in lines)
    assert len(paste.lines) == len(paste.keys) == len({key.blob for key in paste.keys})
    assert not (paste.private_key and (paste.accepted or paste.keys or paste.notes))
    count = text.count("\n") + text.count("\r") + 1
    assert all(told.line is None or 1 <= told.line <= count for told in (*paste.problems, *paste.notes))
    if paste.accepted:
        assert parse_paste(content.decode("utf-8")).keys == paste.keys
    return paste


def check_bytes(content: bytes) -> Paste:
    """The same, of a file's bytes."""
    return check(text_from(content))
