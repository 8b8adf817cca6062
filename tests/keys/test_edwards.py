"""Which 32 bytes are an Ed25519 public key."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keys.core.edwards import SMALL_ORDER, check_point
from keys.core.errors import KeyProblem

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P


def code_for(raw: bytes) -> str | None:
    try:
        check_point(raw)
    except KeyProblem as error:
        return error.code
    return None


def test_real_public_keys_are_points() -> None:
    for number in range(200):
        seed = hashlib.sha256(b"%d" % number).digest()
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
        assert code_for(public.public_bytes(Encoding.Raw, PublicFormat.Raw)) is None


def test_the_verdict_is_eulers_criterion() -> None:
    for number in range(200):
        y = int.from_bytes(hashlib.sha256(b"y%d" % number).digest(), "little") >> 1
        numerator, denominator = (y * y - 1) % P, (D * y * y + 1) % P
        is_square = pow(numerator * pow(denominator, -1, P), (P - 1) // 2, P) == 1
        assert code_for(y.to_bytes(32, "little")) == (None if is_square else "bad-point")


@pytest.mark.parametrize("sign", [0, 1])
@pytest.mark.parametrize("y", sorted(SMALL_ORDER))
def test_points_of_small_order_are_refused(y: int, sign: int) -> None:
    assert code_for((y | sign << 255).to_bytes(32, "little")) == "weak-point"


def test_the_small_orders_are_all_there_and_real() -> None:
    assert len(SMALL_ORDER) == 5
    # 1, 2 and 4: y is 1, -1 or 0. 8: twice the point has y = 0, so x^2 = -y^2, put into the equation of the curve.
    order_8 = SMALL_ORDER - {0, 1, P - 1}
    assert all((2 * y * y + D * pow(y, 4, P) - 1) % P == 0 for y in order_8)


@pytest.mark.parametrize("y", [P, P + 1, P + 2, 2**255 - 1])
def test_numbers_beyond_the_field_are_refused(y: int) -> None:
    assert code_for(y.to_bytes(32, "little")) == "not-canonical"


@pytest.mark.parametrize(("length", "code"), [(0, "truncated"), (31, "truncated"), (33, "trailing-data")])
def test_a_point_has_32_bytes(length: int, code: str) -> None:
    assert code_for(b"\x05" * length) == code
