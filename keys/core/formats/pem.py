"""PEM public keys (RFC 7468): SubjectPublicKeyInfo and PKCS#1, as openssl writes them."""

import re
from collections.abc import Sequence
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from keys.core.characters import Line
from keys.core.errors import KeyProblem, Note, Refusal
from keys.core.formats.armour import BEGIN, Block, block_at
from keys.core.formats.contract import Found, Taken
from keys.core.wire import decoded

_LABEL = re.compile(r"-{5}BEGIN ([A-Z0-9][A-Z0-9 ]{0,40}[A-Z0-9])-{5}")
_KEY_LABELS = ("PUBLIC KEY", "RSA PUBLIC KEY")
_Key: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey


def spelling_at(lines: Sequence[Line], at: int) -> tuple[str, Block] | None:
    """The block at an index, and its text without line ends: where that is the same, so is the key."""
    if not _LABEL.fullmatch(lines[at].text):
        return None
    block = block_at(lines, at)
    return "".join((lines[at].text, *(line.text for line in block.body), block.end or "")), block


def take(lines: Sequence[Line], at: int) -> Taken | None:
    """One block, of whatever kind."""
    if not BEGIN.match(lines[at].text):
        return None
    block = block_at(lines, at)
    number = lines[at].number
    try:
        found = _read(lines[at].text, block, number)
    except KeyProblem as error:
        return Taken(block.lines, problems=(error.problem.at(number),))
    return Taken(block.lines, (found,), notes=(Note.CONVERTED.problem(number),))


def _read(first: str, block: Block, number: int) -> Found:
    begin = _LABEL.fullmatch(first)
    if begin is None or begin[1] not in _KEY_LABELS:
        raise _other_kind(first).error()
    if block.end != f"-----END {begin[1]}-----":
        raise Refusal.PEM_UNFINISHED.error()
    der = decoded("".join(line.text for line in block.body))
    return Found(_blob_from(der, begin[1]), "", number)


def _other_kind(first: str) -> Refusal:
    if "PGP" in first:
        return Refusal.PGP
    if "CERTIFICATE" in first:
        return Refusal.X509
    return Refusal.PEM_UNREADABLE


def _blob_from(der: bytes, label: str) -> bytes:
    key = _sshable(der)
    if not _is_spelling(der, key, label):
        raise Refusal.PEM_UNREADABLE.error()
    try:
        line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    except (ValueError, UnsupportedAlgorithm):
        raise Refusal.UNKNOWN_TYPE.error() from None
    return decoded(line.split(b" ")[1].decode("ascii"))


def _sshable(der: bytes) -> _Key:
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise Refusal.PEM_UNREADABLE.error() from None
    if isinstance(key, dsa.DSAPublicKey):
        raise Refusal.DSA.error()
    if isinstance(key, ed448.Ed448PublicKey):
        raise Refusal.ED448.error()
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise Refusal.UNKNOWN_TYPE.error()
    return key


def _is_spelling(der: bytes, key: _Key, label: str) -> bool:
    """Whether this key may be written so under a label. Any other could mean more than the key, as RSA-PSS does."""
    if label == "RSA PUBLIC KEY":
        return isinstance(key, rsa.RSAPublicKey) and der == key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    usual = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der == usual or (isinstance(key, ec.EllipticCurvePublicKey) and der == _compressed(key, usual))


def _compressed(key: ec.EllipticCurvePublicKey, usual: bytes) -> bytes:
    """The same key with a compressed point (RFC 5480 section 2.2), for curves whose lengths fit in a byte."""
    point = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    start = usual.index(b"\x30", 2)
    identifier = usual[start : start + 2 + usual[start + 1]]
    inner = identifier + bytes((0x03, 1 + len(point), 0)) + point
    return bytes((0x30, len(inner))) + inner
