"""Finding private keys, whole or in part, anywhere in a text, whatever surrounds them.

Knows OpenSSH, PEM (PKCS#1, SEC1, DSA), PKCS#8 plain and encrypted, PKCS#12, PuTTY's PPK in all versions,
ssh.com, Dropbear, SSH1, PGP, age, JWK and XML. Gives line numbers and nothing of the text.
"""

import base64
import bisect
import html
import itertools
import re
import string
from collections.abc import Iterator

from keys.core.characters import split_lines, visible
from keys.core.formats.private_bytes import (
    PUBLIC_FIELDS,
    are_secret_numbers,
    begins_private,
    has_secret_fields,
    is_secret_number,
)
from keys.core.wire import blob_length, encoded_name

# A blank, however a mail program, an address bar or a web page spelt it.
_GAP = r"(?:[\s+_]|%20|=20|&nbsp;|&#(?:160|32);)+"
_KIND = rf"(?:(?:OPENSSH|RSA|DSA|EC|ECDSA|ED25519|SSH2|ENCRYPTED|PGP|ANY){_GAP}){{0,2}}PRIVATE{_GAP}KEY"
_ANY_KIND = rf"{_GAP}(?:[a-z0-9.]{{1,20}}{_GAP}){{0,4}}PRIVATE{_GAP}KEY"
_DASH = r"[-\u2010-\u2015\u2212]\s*"
_START = re.compile(
    rf"BEGIN{_GAP}{_KIND}|{_DASH}(?i:BEGIN{_ANY_KIND})"
    r"|(?i:PuTTY-User-Key-File-)|SSH PRIVATE KEY FILE FORMAT|(?i:AGE-SECRET-KEY-)|Private-key-format:"
)
_END = re.compile(rf"(?<![A-Z])END{_GAP}{_KIND}|{_DASH}(?i:END{_ANY_KIND})|Private-(?:MAC|Hash):")
# Headers inside a block, and the spellings of programs that print numbers: openssl -text, JWK, XML.
_INSIDE = re.compile(
    r"Private-(?:Lines|MAC|Hash):|Proc-Type:\s*4|DEK-Info:|Key-Derivation:\s*Argon2|Private-Key:|privateExponent:"
    r"|(?<![A-Za-z])(?i:priv):.{0,20}?(?:[0-9A-Fa-f]{2}:){4}"
    r'|(?<![A-Za-z])"d"\s*:\s*"[A-Za-z0-9_-]{20}|<D>\s*[A-Za-z0-9+/]{20}'
)
# A line without one of these words fits none of the patterns above: much quicker than they are.
_NAMED = re.compile(
    r"begin|end|private[-ek]|priv:|-key-file-|-secret-key-|proc-type|dek-info|argon2|\"d\"|<d>|file format"
)
# What may stand on several lines, if the word before it is in the text: a JWK in any spelling, XML, openssl -text.
_MARKS = r"[\s\\\"'>|#]*"
_SPREAD = tuple(
    (word, re.compile(pattern))
    for word, pattern in (
        ("kty", rf"(?<![\w-])d{_MARKS}[:=]{_MARKS}[A-Za-z0-9_-]{{40}}"),
        ("rsakeyvalue", rf"<(?:D|P|Q|DP|DQ|InverseQ)>{_MARKS}[A-Za-z0-9+/]{{20}}"),
        ("<d>", rf"<D>{_MARKS}[A-Za-z0-9+/]{{20}}"),
        ("prime", r"(?i:prime)[12]:(?s:.{0,40}?)(?:[0-9A-Fa-f]{2}:){8}"),
        ("exponent", r"(?i:exponent)[12]:(?s:.{0,40}?)(?:[0-9A-Fa-f]{2}:){8}"),
        ("coefficient", r"(?i:coefficient):(?s:.{0,40}?)(?:[0-9A-Fa-f]{2}:){8}"),
    )
)
_ENTITY = re.compile(r"&(?:#|[A-Za-z]{2})")
# Hexadecimal digits of DER, or of ssh.com's form: enough of them to tell a private key.
_HEX = re.compile(
    r"3(?<![0-9A-Za-z]3)(?<![0-9A-Fa-f]{2}:3)(?:0|[Ff][: ]?6[Ff][: ]?[Ff]9)[: ]?(?:[0-9A-Fa-f]{2}[: ]?){15,63}"
)
# Base64 that was cut into words.
_GROUPS = re.compile(r"[\s>|#*\"']*((?:[A-Za-z0-9+/]{1,15} ){3,}[A-Za-z0-9+/]{1,15})={0,2}\s*")
_SHORTEST_SIGN = 8
_HEADERS = (
    *("PRIVATE KEY-----", "PRIVATE KEY ----", "PRIVATE KEY BLOCK-----", "PuTTY-User-Key-File-"),
    *("SSH PRIVATE KEY FILE FORMAT", "AGE-SECRET-KEY-", "b3BlbnNzaC1rZXktdjEA"),
)
_ROUND_HEADER = 1024
_LINE_END = re.compile("\r+\n?|\n")
_WINDOW = 24 * 1024

_BASE64_RUN = re.compile(r"[A-Za-z0-9+/]{16,}")
_QUOTED_BASE64 = re.compile(r"[\s>|#*\"']*([A-Za-z0-9+/]+)={0,2}[\s\\\"']*")
_HEAD_LENGTH = 64
_HEADS = ("b3BlbnNzaC1rZXktdjE", "P2/5", "M")
_SHORTEST_PIECE = 16
_SHORTEST_READABLE, _READABLE_SHARE = 40, 0.6
_READABLE = re.compile(r"[A-Z]?(?=[a-z]{0,20}[aeiouy])[a-z]{3,}")
_PIECE = re.compile(rf"(?=.*[A-Z])(?=.*[a-z])(?=.*[0-9+])[A-Za-z0-9+/]{{{_SHORTEST_PIECE},}}={{0,2}}")


def _encodings(text: bytes) -> list[bytes]:
    """What all base64 of a longer text has in common that this one is in: one for each place in a group of three."""
    shifted = (base64.b64encode(bytes(places) + text) for places in range(3))
    return [code[places + (places > 0) : (places + len(text)) * 4 // 3] for places, code in enumerate(shifted)]


_ENCODED = _encodings(b"PRIVATE KEY") + _encodings(b"-User-Key-File-")
_IN_HEX = [sign.hex() for sign in (b"PRIVATE KEY", b"-User-Key-File-", b"openssh-key-v1")]

# A text without any of these, in small letters and over all breaks, holds no private key: nearly every paste ends here.
_KEPT = (string.ascii_letters + string.digits + "+/-").encode("ascii")
_DROPPED = bytes(set(range(256)) - set(_KEPT))
_SIGNS = (
    *("priv", "user-key-file-", "age-secret-key-", "proc-type", "dek-info", "argon2", "kty", "rsakeyvalue"),
    "b3BlbnNzaC1rZXkt".lower(),  # base64 of the OpenSSH magic,
    "P2/56w".lower(),  # and of ssh.com's
    *(code.lower().decode("ascii") for code in _ENCODED),
    *_IN_HEX,
    *("prime1", "prime2", "exponent1", "exponent2", "coefficient"),
)
# The letter comes before what may not stand before it, so that the search leaps from letter to letter.
_RUN_OF_NUMBERS = re.compile(
    r"M(?<![A-Za-z0-9+/]M)[A-P]|A(?<![A-Za-z0-9+/]A)AA(?:[B-P]|A[g-z0-9+/])",
)
# A line that begins with a blob or a number, without a type before it.
_BARE_NUMBER = re.compile(r"(?:^|[\r\n])[ \t>|#*\"']*AAAA[B-Q]")
_BROKEN_UP = re.compile(
    rb"(?:BEGIN|(?<![A-Z])END)(?:20|OPENSSH|RSA|DSA|EC|ECDSA|ED25519|SSH2|ENCRYPTED|PGP|ANY){0,6}PRIVATE(?:20)?KEY"
    rb"|(?i:priv[0-9a-f]{40})|PuTTY-User-Key-File-|b3BlbnNzaC1rZXktdjEA|"
    + b"|".join(_ENCODED)
    + rf"|(?i:{'|'.join(_IN_HEX)})".encode("ascii")
)


def private_key_lines(text: str) -> tuple[int, ...]:
    """The line at which each private key, or what is left of one, begins."""
    shown = visible(text)
    return _lines_of(shown, text) or (_in_entities(shown) if "&" in shown else ())


def _in_entities(shown: str) -> tuple[int, ...]:
    """The first line with an entity of HTML, if such lines hold a private key once they are spelt out."""
    numbered = [(number, line) for number, line in enumerate(split_lines(shown), 1) if _ENTITY.search(line)]
    entities = "\n".join(line for _, line in numbered)
    if len(entities) > _WINDOW:
        entities = f"{entities[: _WINDOW // 2]}\n{entities[-_WINDOW // 2 :]}"
    spelt_out = visible(html.unescape(entities))
    return (numbered[0][0],) if spelt_out != entities and _lines_of(spelt_out, spelt_out) else ()


def _lines_of(shown: str, text: str) -> tuple[int, ...]:
    """The same of what a text shows."""
    is_likely = has_sign(shown) or _RUN_OF_NUMBERS.search(shown) is not None
    if not is_likely and not _BARE_NUMBER.search(shown):
        return ()
    lines = split_lines(shown)
    if shown != text and len(lines) != len(split := split_lines(text)):
        lines = [visible(line) for line in split]  # line ends have come together: count as in the text
    if not is_likely:
        return _broken_blocks(lines)
    return _whole_lines(lines) or _broken_blocks(lines) or _broken_up(lines) or _spread(lines)


def private_key_lines_of_long(text: str) -> tuple[int, ...]:
    """The same for a text that is too long to be read: looks well at both its ends, and for plain headers between.

    Costs no more than ``private_key_lines`` of 64 KiB, and a few leaps through the rest.
    """
    ends = ((0, _WINDOW), (len(text) - _WINDOW, len(text)))
    headers = ((max(at - _ROUND_HEADER, 0), at + _ROUND_HEADER) for at in _headers(text))
    found = set[int]()
    for start, stop in (*ends, *headers):
        begins = _line_start(text, start)
        lines = private_key_lines(text[begins:stop])
        before = len(split_lines(text[:begins])) - 1 if lines else 0
        found.update(before + line for line in lines)
    return tuple(sorted(found))


def _headers(text: str) -> Iterator[int]:
    """Where the first of each header stands, spelt as programs write it."""
    return (at for header in _HEADERS if (at := text.find(header)) >= 0)


def _line_start(text: str, near: int) -> int:
    """Behind the next line end, as half a line could look like something else; the index itself if none is near."""
    end = _LINE_END.search(text, near, near + _ROUND_HEADER) if near > 0 else None
    return end.end() if end else max(near, 0)


def has_sign(text: str) -> bool:
    """Whether there is a word in a text for which ``private_key_lines`` looks further."""
    small = _squeezed(text).lower().decode("ascii")
    if any(map(small.__contains__, _SIGNS)) or _HEX.search(text):
        return True
    return "&" in text and _ENTITY.search(text) is not None


def is_key_piece(word: str) -> bool:
    """Whether a word is base64 of at least 16 characters that looks random, as no name and no path does."""
    return len(word) >= _SHORTEST_PIECE and _PIECE.fullmatch(word) is not None and not _reads_as_words(word)


def is_secret(word: str) -> bool:
    """Whether a word is all that stands between the headers of a PPK that is not encrypted.

    Ask it of comments only: the second half of a broken Ed25519 public key looks the same.
    """
    piece = _QUOTED_BASE64.fullmatch(word) if "AAA" in word else None
    return piece is not None and are_secret_numbers(_decoded(piece[1]))


def _reads_as_words(word: str) -> bool:
    """Whether most of so long a word is words with a vowel, which one random text in ten thousand has."""
    if len(word) < _SHORTEST_READABLE:
        return False
    return sum(map(len, _READABLE.findall(word))) >= _READABLE_SHARE * len(word)


def _whole_lines(lines: list[str]) -> tuple[int, ...]:
    """The lines that show it by themselves; a block is told once."""
    found, inside = [], False
    for number, line in enumerate(lines, 1):
        if len(line) < _SHORTEST_SIGN:
            continue
        named = _NAMED.search(line.lower()) is not None
        ends = named and bool(_END.search(line))
        starts = named and bool(_START.search(line))
        if starts or (not inside and (ends or (named and _INSIDE.search(line)) or _shows_private(line))):
            found.append(number)
            inside = True
        inside = inside and not ends
    return tuple(found)


def _broken_blocks(lines: list[str]) -> tuple[int, ...]:
    """Blocks of base64 lines that show it only when they are put together."""
    found, block, start, before = [], list[str](), 1, ""
    for number, line in enumerate([*lines, "-"], 1):
        piece = _QUOTED_BASE64.fullmatch(line)
        if piece:
            start = start if block else number
            block.append(piece[1])
        elif line.strip():
            if block and _is_private_block("".join(block), before):
                found.append(start)
            block, before = [], line
    return tuple(found)


def _is_private_block(run: str, before: str) -> bool:
    """Whether base64 is a private key, or its numbers alone or behind the public key; ``before``: the line above."""
    if not run.startswith("AAA"):
        return _is_private(run)
    body = _decoded(run)
    if are_secret_numbers(body):
        return not (is_secret_number(body) and _is_left_open(before))
    public = _public_length(run)
    return public is not None and (has_secret_fields(body) or are_secret_numbers(_decoded(run[public:])))


def _is_left_open(line: str) -> bool:
    """Whether a line ends within a public key, so that any base64 below it is the rest of that."""
    last = line.replace("\t", " ").rstrip("\\\"' ").rpartition(" ")[2]
    if encoded_name(last) not in PUBLIC_FIELDS:
        return False
    length = _public_length(last)
    return length is None or length > len(last)


def _public_length(run: str) -> int | None:
    """How many characters of base64, without padding, the public key has that it begins with."""
    fields = PUBLIC_FIELDS.get(encoded_name(run) or "")
    length = None if fields is None else blob_length(run, fields)
    return None if length is None else -(-length * 4 // 3)


def _decoded(run: str) -> bytes:
    """The whole bytes of base64 without its padding, from wherever it was cut off."""
    return base64.b64decode(run[: len(run) - (len(run) % 4 == 1)] + "==")


def _broken_up(lines: list[str]) -> tuple[int, ...]:
    """The same signs, if line breaks, blanks or the marks of a quoting program fell into them."""
    squeezed = [_squeezed(line) if line else b"" for line in lines]
    found = _BROKEN_UP.search(b"".join(squeezed))
    if found is None:
        return ()
    ends = list(itertools.accumulate(map(len, squeezed)))
    return (bisect.bisect_right(ends, found.start()) + 1,)


def _spread(lines: list[str]) -> tuple[int, ...]:
    """Names and numbers that belong together, whatever lines they stand on."""
    text = "\n".join(lines)
    small = text.lower()
    found = (pattern.search(text) for word, pattern in _SPREAD if word in small)
    return tuple(text.count("\n", 0, one.start()) + 1 for one in found if one)[:1]


def _squeezed(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").translate(None, _DROPPED)


def _shows_private(line: str) -> bool:
    return _has_private_base64(line) or _has_private_hex(line)


def _has_private_base64(line: str) -> bool:
    if any(_is_private(run[0]) for run in _BASE64_RUN.finditer(line)):
        return True
    groups = _GROUPS.fullmatch(line) if "M" in line else None
    return groups is not None and _is_private(groups[1].replace(" ", ""))


def _has_private_hex(line: str) -> bool:
    digits = (run[0].replace(":", "").replace(" ", "") for run in _HEX.finditer(line))
    return any(begins_private(bytes.fromhex(run[: len(run) // 2 * 2])) for run in digits)


def _is_private(run: str) -> bool:
    """Whether base64 begins as that of a private key does."""
    if len(run) < _SHORTEST_SIGN or not run.startswith(_HEADS):
        return False
    return begins_private(base64.b64decode(run[: min(_HEAD_LENGTH, len(run) // 4 * 4)]))
