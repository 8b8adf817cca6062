"""Whether 32 bytes are a usable Ed25519 public key (RFC 8032 section 5.1.3); no loader checks this."""

import gmpy2

from keys.core.errors import Refusal

_P = gmpy2.mpz(2**255 - 19)
_D = -121665 * gmpy2.invert(121666, _P) % _P
_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_WITHOUT_SIGN = (1 << 255) - 1

# The y of the eight points whose order divides 8: with these anybody can sign.
SMALL_ORDER = frozenset({0, 1, _P - 1, _ORDER_8, _P - _ORDER_8})


def check_point(raw: bytes) -> None:
    """Raise KeyProblem unless the bytes are the one spelling of a point on the curve that is not weak."""
    if len(raw) != 32:
        raise (Refusal.TRUNCATED if len(raw) < 32 else Refusal.TRAILING).error()
    y = int.from_bytes(raw, "little") & _WITHOUT_SIGN
    if y >= _P:
        raise Refusal.NOT_CANONICAL.error()
    if y in SMALL_ORDER:
        raise Refusal.WEAK_POINT.error()
    # x^2 = (y^2 - 1) / (d y^2 + 1) has a root if the product of both has one.
    square = gmpy2.square(y) % _P
    if gmpy2.jacobi((square - 1) * (_D * square + 1) % _P, _P) != 1:
        raise Refusal.BAD_POINT.error()
