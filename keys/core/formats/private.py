"""Finding private keys, whole or in part, anywhere in a text, whatever surrounds them.

Knows OpenSSH, PEM (PKCS#1, SEC1, DSA), PKCS#8 plain and encrypted, PKCS#12, PuTTY's PPK in all versions,
ssh.com, SSH1, PGP and age. Gives line numbers and nothing of the text.
"""

import base64
import bisect
import itertools
import re
import string

from keys.core.characters import split_lines, visible

_ARMOUR = r"\s{1,9}(?:[A-Z0-9]{1,20}\s{1,9}){0,4}PRIVATE\s{1,9}KEY"
_START = re.compile(rf"BEGIN{_ARMOUR}|PuTTY-User-Key-File-|SSH PRIVATE KEY FILE FORMAT|AGE-SECRET-KEY-1")
_END = re.compile(rf"END{_ARMOUR}|Private-(?:MAC|Hash):")
_INSIDE = re.compile(r"Private-(?:Lines|MAC|Hash):")
_SHORTEST_SIGN = 8

_BASE64_RUN = re.compile(r"[A-Za-z0-9+/]{16,}")
_HEAD_LENGTH = 64
_OPENSSH_MAGIC = b"openssh-key-v1\0"
_SSHCOM_MAGIC = b"\x3f\x6f\xf9\xeb"
_PKCS5_AND_PKCS12 = (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05", b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c")
_VERSION_THEN_FIELD = re.compile(rb"\x02\x01[\x00-\x03][\x02\x04\x30]")

# A text without any of these, read over all breaks, holds no private key: nearly every paste ends here.
_KEPT = (string.ascii_letters + string.digits + "+/-").encode("ascii")
_DROPPED = bytes(set(range(256)) - set(_KEPT))
_SIGNS = (
    b"PRIVATEKEY",
    b"Private-",
    b"PuTTY-User-Key-File-",
    b"AGE-SECRET-KEY-1",
    b"b3BlbnNzaC1rZXkt",  # base64 of the OpenSSH magic,
    b"P2/56w",  # of ssh.com's,
    b"LS0t",  # of three dashes
    b"UHVUVFkt",  # and of PuTTY's first word
)
_DER_RUN = re.compile(r"M(?<![A-Za-z0-9+/]M)[A-P][A-Za-z0-9+/]{14}")
_BROKEN_UP = re.compile(rb"(?:BEGIN|END)[A-Z0-9]{0,40}?PRIVATEKEY|PuTTY-User-Key-File-|b3BlbnNzaC1rZXktdjEA")


def private_key_lines(text: str) -> tuple[int, ...]:
    """The line at which each private key, or what is left of one, begins."""
    shown = visible(text)
    squeezed = _squeezed(shown)
    if not any(sign in squeezed for sign in _SIGNS) and not _DER_RUN.search(shown):
        return ()
    lines = [visible(line) for line in split_lines(text)]
    found, inside = [], False
    for number, line in enumerate(lines, 1):
        if len(line) < _SHORTEST_SIGN:
            continue
        ends = bool(_END.search(line))
        if _START.search(line) or (not inside and (ends or _has_private_part(line))):
            found.append(number)
            inside = True
        inside = inside and not ends
    return tuple(found) or _broken_up(lines)


def _broken_up(lines: list[str]) -> tuple[int, ...]:
    """The same signs, if line breaks, blanks or the marks of a quoting program fell into them."""
    squeezed = [_squeezed(line) for line in lines]
    found = _BROKEN_UP.search(b"".join(squeezed))
    if found is None:
        return ()
    ends = list(itertools.accumulate(map(len, squeezed)))
    return (bisect.bisect_right(ends, found.start()) + 1,)


def _squeezed(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").translate(None, _DROPPED)


def _has_private_part(line: str) -> bool:
    if _INSIDE.search(line):
        return True
    return any(_is_private(_head(run[0])) for run in _BASE64_RUN.finditer(line))


def _head(run: str) -> bytes:
    return base64.b64decode(run[: min(_HEAD_LENGTH, len(run) // 4 * 4)])


def _is_private(head: bytes) -> bool:
    """Whether decoded base64 begins as a private key does, or as the text of one."""
    if head.startswith((_OPENSSH_MAGIC, _SSHCOM_MAGIC)):
        return True
    return _is_private_der(head) or bool(_START.search(head.decode("latin-1")))


def _is_private_der(head: bytes) -> bool:
    """A sequence that begins with a version number, or with password-based encryption; no public key does."""
    inner = _inside_sequence(head)
    if inner is None:
        return False
    if _VERSION_THEN_FIELD.match(inner):
        return True
    deeper = _inside_sequence(inner)
    return deeper is not None and deeper.startswith(_PKCS5_AND_PKCS12)


def _inside_sequence(der: bytes) -> bytes | None:
    """What follows tag and length of a DER sequence."""
    if len(der) < 2 or der[0] != 0x30:
        return None
    long_form = der[1] - 0x80 if der[1] > 0x80 else 0
    return der[2 + long_form :] if long_form <= 4 else None
