"""Private keys as bytes: files that are no text, and what base64 or hexadecimal digits of one decode to."""

import re
from collections.abc import Mapping

from keys.core.algorithms import ALGORITHMS

_HEAD_LENGTH = 64
_OPENSSH_AND_SSHCOM = (b"openssh-key-v1\0", b"\x3f\x6f\xf9\xeb")
_KEY_STORES_OF_JAVA = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")
_PKCS5_AND_PKCS12 = (b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05", b"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c")
_VERSION_THEN_FIELD = re.compile(rb"\x02\x01[\x00-\x03][\x02\x04\x30](?!.\x06\x07\x2a\x86\x48\xce\x3d\x01)", re.S)
_RSA_NUMBERS = 4  # of an unencrypted PPK: the private exponent, both primes and their inverse
_SHORTEST_NUMBER = 32
_SHORTEST_SECRET, _LONGEST_SECRET = 30, 66  # the one number of an unencrypted PPK of Ed25519 or ECDSA
_SHORTEST_BEHIND = 20  # the private number of DSA
_SEED_AND_POINT = 64  # how Dropbear and OpenSSH write the private half of Ed25519

# How many strings the blob of a public key has.
PUBLIC_FIELDS: Mapping[str, int] = {name: algorithm.fields for name, algorithm in ALGORITHMS.items()} | {"ssh-dss": 5}


def is_private(content: bytes) -> bool:
    """Whether a file that is no text is a private key or a store of them: DER, PKCS#12, OpenSSH, Dropbear, Java."""
    return content.startswith(_KEY_STORES_OF_JAVA) or begins_private(content) or has_secret_fields(content)


def begins_private(content: bytes) -> bool:
    """Whether bytes begin as the key of OpenSSH, of ssh.com or of a PEM block does; the first 64 are enough."""
    return content.startswith(_OPENSSH_AND_SSHCOM) or _is_private_der(content[:_HEAD_LENGTH])


def has_secret_fields(blob: bytes) -> bool:
    """Whether private numbers stand behind the fields of a public key, as Dropbear and agents write them."""
    strings = _strings(blob)
    fields = PUBLIC_FIELDS.get(strings[0].decode("latin-1")) if strings else None
    if fields is None:
        return False
    secret = strings[fields:]
    if not secret:
        return strings[0] == b"ssh-ed25519" and len(strings[-1]) == _SEED_AND_POINT
    return min(map(len, secret)) >= _SHORTEST_BEHIND


def are_secret_numbers(body: bytes) -> bool:
    """Whether this is all that stands between the headers of an unencrypted PPK."""
    return is_secret_number(body) or _are_rsa_numbers(body)


def is_secret_number(body: bytes) -> bool:
    """The same, of Ed25519 or ECDSA only. The second half of a broken Ed25519 public key looks alike."""
    length = len(body) - 4
    return _SHORTEST_SECRET <= length <= _LONGEST_SECRET and int.from_bytes(body[:4], "big") == length


def _are_rsa_numbers(body: bytes) -> bool:
    rest, lengths = body, list[int]()
    while len(rest) > 4 and len(lengths) < _RSA_NUMBERS:
        length = int.from_bytes(rest[:4], "big")
        lengths.append(length)
        rest = rest[4 + length :]
    # What is left of the last group of base64 may be missing.
    whole = abs(sum(lengths) + 4 * _RSA_NUMBERS - len(body)) <= 2
    return whole and len(lengths) == _RSA_NUMBERS and min(lengths) >= _SHORTEST_NUMBER


def _strings(blob: bytes) -> list[bytes]:
    """RFC 4251 strings from end to end; none if anything is left over."""
    found, at, most = list[bytes](), 0, 16
    while at < len(blob) and len(found) < most:
        end = at + 4 + int.from_bytes(blob[at : at + 4], "big")
        found.append(blob[at + 4 : end])
        at = end
    return found if at == len(blob) else []


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
