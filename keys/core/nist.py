"""Points of the NIST curves in the one form sshd takes. Whether a point lies on its curve is the library's to say."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from keys.core.errors import Refusal

_UNCOMPRESSED = 4


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve of RFC 5656 section 10.1: the name that SSH gives it, and the library's."""

    name: bytes
    curve: ec.EllipticCurve

    @property
    def bits(self) -> int:
        return self.curve.key_size

    def check_point(self, raw: bytes) -> None:
        """Raise KeyProblem unless the bytes are a point of the curve, uncompressed.

        These curves have no points of small order, so a point on one of them is a usable key.
        """
        if raw[:1] != bytes([_UNCOMPRESSED]):
            raise Refusal.BAD_POINT.error()
        try:
            ec.EllipticCurvePublicKey.from_encoded_point(self.curve, raw)
        except ValueError:
            raise Refusal.BAD_POINT.error() from None


P256 = Curve(b"nistp256", ec.SECP256R1())
P384 = Curve(b"nistp384", ec.SECP384R1())
P521 = Curve(b"nistp521", ec.SECP521R1())
