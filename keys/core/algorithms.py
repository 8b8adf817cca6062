"""The seven types of key that are taken, and what the blob of each must look like.

RFC 4253 section 6.6 (RSA), RFC 5656 section 3.1 (ECDSA), RFC 8709 section 4 (Ed25519),
OpenSSH PROTOCOL.u2f (sk-).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import gmpy2

from keys.core.edwards import check_point
from keys.core.errors import KeyProblem, Refusal
from keys.core.nist import P256, P384, P521, Curve
from keys.core.wire import Reader

_SMALL_FACTORS = gmpy2.primorial(255)
_EXPONENT_BITS = 64  # OpenSSL verifies nothing above this once the modulus is over 3072 bits
_CERTIFICATE = re.compile(r"[a-z0-9-]{1,40}-cert-v0[01]@openssh\.com")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One type: how many strings its blob has, its label, and the check that returns its bits."""

    name: str
    fields: int
    label: str
    check: Callable[[Reader], int]
    prefix: bytes = field(init=False)
    """The beginning of every blob of this type: its name as an RFC 4251 string."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", len(self.name).to_bytes(4, "big") + self.name.encode("ascii"))


def refusal_for(name: str) -> KeyProblem:
    """Why a key with this type name, which is none of the seven, is not taken."""
    if _CERTIFICATE.fullmatch(name):
        return Refusal.CERTIFICATE.error()
    return _REFUSED.get(name, Refusal.UNKNOWN_TYPE).error()


def refused_by_name(word: str) -> bool:
    """Whether a word is the name of a type that we know and do not take."""
    return word in _REFUSED or bool(_CERTIFICATE.fullmatch(word))


def rsa_numbers(reader: Reader) -> tuple[int, int]:
    """Exponent and modulus of an RSA blob, from behind its name."""
    return reader.positive(), reader.positive()


def _rsa(reader: Reader) -> int:
    exponent, modulus = rsa_numbers(reader)
    reader.end()
    if gmpy2.gcd(modulus, _SMALL_FACTORS) != 1:
        raise Refusal.BAD_MODULUS.error()
    if exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > _EXPONENT_BITS or exponent >= modulus:
        raise Refusal.BAD_EXPONENT.error()
    return modulus.bit_length()


def _ecdsa(curve: Curve) -> Callable[[Reader], int]:
    def check(reader: Reader) -> int:
        _nist_point(reader, curve)
        reader.end()
        return curve.bits

    return check


def _nist_point(reader: Reader, curve: Curve) -> None:
    if reader.string() != curve.name:
        raise Refusal.BAD_CURVE.error()
    curve.check_point(reader.string())


def _ed25519(reader: Reader) -> int:
    point = reader.string()
    reader.end()
    check_point(point)
    return 256


def _sk_ed25519(reader: Reader) -> int:
    point = reader.string()
    _application(reader)
    check_point(point)
    return 256


def _sk_ecdsa(reader: Reader) -> int:
    _nist_point(reader, P256)
    _application(reader)
    return P256.bits


def _application(reader: Reader) -> None:
    application = reader.string()
    reader.end()
    if not application.startswith(b"ssh:") or not application.isascii():
        raise Refusal.BAD_APPLICATION.error()


ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType(
    {
        algorithm.name: algorithm
        for algorithm in (
            Algorithm("ssh-rsa", 3, "RSA", _rsa),
            Algorithm("ecdsa-sha2-nistp256", 3, "ECDSA P-256", _ecdsa(P256)),
            Algorithm("ecdsa-sha2-nistp384", 3, "ECDSA P-384", _ecdsa(P384)),
            Algorithm("ecdsa-sha2-nistp521", 3, "ECDSA P-521", _ecdsa(P521)),
            Algorithm("ssh-ed25519", 2, "ED25519", _ed25519),
            Algorithm("sk-ssh-ed25519@openssh.com", 3, "ED25519-SK", _sk_ed25519),
            Algorithm("sk-ecdsa-sha2-nistp256@openssh.com", 4, "ECDSA-SK", _sk_ecdsa),
        )
    }
)

_REFUSED: Mapping[str, Refusal] = MappingProxyType({"ssh-dss": Refusal.DSA, "ssh-ed448": Refusal.ED448})
