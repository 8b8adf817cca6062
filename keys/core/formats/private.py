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

# A blank, however a mail program, an address bar or a web page spelt it.
_GAP = r"(?:[\s+_]|%20|=20|&nbsp;|&#(?:160|32);)+"
_KIND = rf"(?:(?:OPENSSH|RSA|DSA|EC|ECDSA|ED25519|SSH2|ENCRYPTED|PGP|ANY){_GAP}){{0,2}}PRIVATE{_GAP}KEY"
_ANY_KIND = rf"{_GAP}(?:[a-z0-9.]{{1,20}}{_GAP}){{0,4}}PRIVATE{_GAP}KEY"
_DASH = r"[-\u2010-\u2015\u2212]\s?"
_START = re.compile(
    rf"BEGIN{_GAP}{_KIND}|{_DASH}(?i:BEGIN{_ANY_KIND})"
    r"|(?i:PuTTY-User-Key-File-)|SSH PRIVATE KEY FILE FORMAT|AGE-SECRET-KEY-|Private-key-format:"
)
_END = re.compile(rf"(?<![A-Z])END{_GAP}{_KIND}|{_DASH}(?i:END{_ANY_KIND})|Private-(?:MAC|Hash):")
# Headers inside a block, and the spellings of programs that print numbers: openssl -text, JWK, XML.
_INSIDE = re.compile(
    r"Private-(?:Lines|MAC|Hash):|Proc-Type:\s?4|DEK-Info:|Key-Derivation:\s?Argon2|Private-Key:|privateExponent:"
    r"|(?<![A-Za-z])(?i:priv):.{0,20}?(?:[0-9A-Fa-f]{2}:){4}"
    r'|(?<![A-Za-z])"d"\s{0,3}:\s{0,3}"[A-Za-z0-9_-]{20}|<D>\s?[A-Za-z0-9+/]{20}'
)
# A line without one of these words fits none of the patterns above: much quicker than they are.
_NAMED = re.compile(
    r"begin|end|private[-ek]|priv:|-key-file-|-secret-key-|proc-type|dek-info|argon2|\"d\"|<d>|file format"
)
_SHORTEST_SIGN = 8

_BASE64_RUN = re.compile(r"[A-Za-z0-9+/]{16,}")
_QUOTED_BASE64 = re.compile(r"[\s>|#*\"']*([A-Za-z0-9+/]+)={0,2}[\s\\\"']*")
_HEAD_LENGTH = 64
_HEADS = ("b3BlbnNzaC1rZXktdjE", "P2/5", "M")
_OPENSSH_MAGIC = b"openssh-key-v1\0"
_SSHCOM_MAGIC = b"\x3f\x6f\xf9\xeb"
_PKCS5_AND_PKCS12 = (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05", b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c")
_VERSION_THEN_FIELD = re.compile(rb"\x02\x01[\x00-\x03][\x02\x04\x30](?!.\x06\x07\x2a\x86\x48\xce\x3d\x01)", re.S)
_SHORTEST_NUMBER = 32
_SHORTEST_NUMBERS = 192  # characters of base64
_SHORTEST_PIECE = 16
_SHORTEST_SECRET, _LONGEST_SECRET = 30, 66  # bytes: the one number of an unencrypted PPK of Ed25519 or ECDSA
_PIECE = re.compile(rf"(?=.*[A-Z])(?=.*[a-z])(?=.*[0-9+])[A-Za-z0-9+/]{{{_SHORTEST_PIECE},}}={{0,2}}")
_RSA_NUMBERS = 4  # of an unencrypted PPK: the private exponent, both primes and their inverse


def _encodings(text: bytes) -> list[bytes]:
    """What all base64 of a longer text has in common that this one is in: one for each place in a group of three."""
    shifted = (base64.b64encode(bytes(places) + text) for places in range(3))
    return [code[places + (places > 0) : (places + len(text)) * 4 // 3] for places, code in enumerate(shifted)]


_ENCODED = _encodings(b"PRIVATE KEY") + _encodings(b"-User-Key-File-")

# A text without any of these, read over all breaks, holds no private key: nearly every paste ends here.
_KEPT = (string.ascii_letters + string.digits + "+/-").encode("ascii")
_DROPPED = bytes(set(range(256)) - set(_KEPT))
_SIGNS = (
    *(b"PRIVATE", b"Private", b"private", b"User-Key-File-", b"user-key-file-", b"USER-KEY-FILE-", b"AGE-SECRET-KEY-"),
    *(b"Proc-Type", b"DEK-Info", b"Argon2", b"kty", b"RSAKeyValue", b"priv", b"PRIV"),
    b"b3BlbnNzaC1rZXkt",  # base64 of the OpenSSH magic,
    b"P2/56w",  # and of ssh.com's
    *_ENCODED,
)
_SMALL_SIGNS = tuple({sign.lower() for sign in _SIGNS})
_RUN_OF_NUMBERS = re.compile(r"(?<![A-Za-z0-9+/])(?:M[A-P]|AAA(?:[B-P]|A[g-z0-9+/]))")
_BROKEN_UP = re.compile(
    rb"(?:BEGIN|(?<![A-Z])END)(?:20|OPENSSH|RSA|DSA|EC|ECDSA|ED25519|SSH2|ENCRYPTED|PGP|ANY){0,6}PRIVATE(?:20)?KEY"
    rb"|(?i:priv[0-9a-f]{40})|PuTTY-User-Key-File-|b3BlbnNzaC1rZXktdjEA|" + b"|".join(_ENCODED)
)


def private_key_lines(text: str) -> tuple[int, ...]:
    """The line at which each private key, or what is left of one, begins."""
    shown = visible(text)
    squeezed = _squeezed(shown)
    if not any(sign in squeezed for sign in _SIGNS) and not _RUN_OF_NUMBERS.search(shown):
        return ()
    lines = split_lines(shown)
    if shown != text and len(lines) != len(split := split_lines(text)):
        lines = [visible(line) for line in split]  # line ends have come together: count as in the text
    return _whole_lines(lines) or _broken_blocks(lines) or _broken_up(lines)


def has_sign(comment: str) -> bool:
    """Whether there is anything in a comment for which ``private_key_lines`` would look further."""
    squeezed = _squeezed(comment).lower()
    return any(sign in squeezed for sign in _SMALL_SIGNS)


def is_key_piece(word: str) -> bool:
    """Whether a word is base64 of at least 16 characters that looks random, as no name and no path does."""
    return len(word) >= _SHORTEST_PIECE and _PIECE.fullmatch(word) is not None


def is_secret_number(word: str) -> bool:
    """Whether a word is all that stands between the headers of a PPK of Ed25519 or ECDSA: one RFC 4251 string.

    Ask it of comments only: the second half of a broken Ed25519 public key looks the same.
    """
    if not word.startswith("AAAA") or not _QUOTED_BASE64.fullmatch(word):
        return False
    run = word.rstrip("=")
    length = len(run) * 3 // 4 - 4
    head = base64.b64decode(run[:8].ljust(8, "A"))
    return _SHORTEST_SECRET <= length <= _LONGEST_SECRET and int.from_bytes(head[:4], "big") == length


def _whole_lines(lines: list[str]) -> tuple[int, ...]:
    """The lines that show it by themselves; a block is told once."""
    found, inside = [], False
    for number, line in enumerate(lines, 1):
        if len(line) < _SHORTEST_SIGN:
            continue
        named = _NAMED.search(line.lower()) is not None
        ends = named and bool(_END.search(line))
        starts = named and bool(_START.search(line))
        if starts or (not inside and (ends or (named and _INSIDE.search(line)) or _has_private_base64(line))):
            found.append(number)
            inside = True
        inside = inside and not ends
    return tuple(found)


def _broken_blocks(lines: list[str]) -> tuple[int, ...]:
    """Blocks of base64 lines that show it only when they are put together."""
    found, block, start = [], list[str](), 1
    for number, line in enumerate([*lines, "-"], 1):
        piece = _QUOTED_BASE64.fullmatch(line)
        if piece:
            start = start if block else number
            block.append(piece[1])
        elif line.strip():
            if block and _is_private_block("".join(block)):
                found.append(start)
            block = []
    return tuple(found)


def _is_private_block(run: str) -> bool:
    is_long = len(run) >= _SHORTEST_NUMBERS
    return _is_private(run) or (is_long and _is_rsa_numbers(base64.b64decode(run[: len(run) // 4 * 4])))


def _is_rsa_numbers(body: bytes) -> bool:
    """Whether this is what stands between the headers of a PPK: four numbers, each behind its length."""
    rest, lengths = body, list[int]()
    while len(rest) > 4 and len(lengths) < _RSA_NUMBERS:
        length = int.from_bytes(rest[:4], "big")
        lengths.append(length)
        rest = rest[4 + length :]
    # What is left of the last group of base64 may be missing.
    whole = abs(sum(lengths) + 4 * _RSA_NUMBERS - len(body)) <= 2
    return whole and len(lengths) == _RSA_NUMBERS and min(lengths) >= _SHORTEST_NUMBER


def _broken_up(lines: list[str]) -> tuple[int, ...]:
    """The same signs, if line breaks, blanks or the marks of a quoting program fell into them."""
    squeezed = [_squeezed(line) if line else b"" for line in lines]
    found = _BROKEN_UP.search(b"".join(squeezed))
    if found is None:
        return ()
    ends = list(itertools.accumulate(map(len, squeezed)))
    return (bisect.bisect_right(ends, found.start()) + 1,)


def _squeezed(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").translate(None, _DROPPED)


def _has_private_base64(line: str) -> bool:
    return any(_is_private(run[0]) for run in _BASE64_RUN.finditer(line))


def _is_private(run: str) -> bool:
    """Whether base64 begins as that of a private key does."""
    if not run.startswith(_HEADS):
        return False
    head = base64.b64decode(run[: min(_HEAD_LENGTH, len(run) // 4 * 4)])
    if head.startswith((_OPENSSH_MAGIC, _SSHCOM_MAGIC)):
        return True
    return _is_private_der(head)


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
