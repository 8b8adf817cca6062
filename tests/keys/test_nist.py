"""Which bytes are taken as a point on a NIST curve."""

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keys.core.errors import KeyProblem
from keys.core.nist import P256, P384, P521, Curve

CURVES = {"P-256": P256, "P-384": P384, "P-521": P521}
every_curve = pytest.mark.parametrize("curve", CURVES.values(), ids=CURVES)


def is_point(curve: Curve, raw: bytes) -> bool:
    try:
        curve.check_point(raw)
    except KeyProblem as error:
        return error.code != "bad-point"
    return True


def made(curve: Curve, form: PublicFormat = PublicFormat.UncompressedPoint) -> bytes:
    return ec.generate_private_key(curve.curve).public_key().public_bytes(Encoding.X962, form)


@every_curve
def test_real_public_keys_are_points(curve: Curve) -> None:
    assert all(is_point(curve, made(curve)) for _ in range(20))


@every_curve
def test_a_point_with_one_bit_changed_is_none(curve: Curve) -> None:
    raw = made(curve)
    for at in range(1, len(raw)):
        assert not is_point(curve, raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])


@every_curve
def test_a_point_has_one_form(curve: Curve) -> None:
    raw = made(curve)
    others = [made(curve, PublicFormat.CompressedPoint), b"\6" + raw[1:], b"\7" + raw[1:], b"\0", b"", raw + b"\0"]
    assert not any(
        is_point(curve, other) for other in [*others, raw[:-1], bytes(len(raw)), b"\4" + bytes(len(raw) - 1)]
    )


def test_a_point_of_one_curve_is_none_of_another() -> None:
    for curve in CURVES.values():
        assert [is_point(other, made(curve)) for other in CURVES.values()] == [
            other is curve for other in CURVES.values()
        ]
