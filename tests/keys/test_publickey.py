"""A PublicKey exists only if it is valid, and says the same of itself as ssh-keygen."""

import base64
import dataclasses
import math
import re
import subprocess

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from keys.core.errors import KeyProblem
from keys.core.publickey import PublicKey
from tests.keys import samples
from tests.keys.samples import ed25519_blob, mpint, rsa_blob, string

MODULUS = int.from_bytes(base64.b64decode(samples.words("rsa2048")["base64"])[-256:], "big")
POINT = base64.b64decode(samples.words("ed25519")["base64"])[-32:]
CURVE_POINT = base64.b64decode(samples.words("ecdsa256")["base64"])[-65:]


def blob(name: str) -> bytes:
    return base64.b64decode(samples.words(name)["base64"])


def ecdsa_blob(name: bytes, curve: bytes, point: bytes) -> bytes:
    return string(b"ecdsa-sha2-" + name) + string(curve) + string(point)


@pytest.mark.parametrize("name", samples.TYPES)
def test_a_key_says_what_ssh_keygen_says(name: str) -> None:
    words = samples.words(name)
    key = PublicKey.from_blob(blob(name), words["comment"])
    run = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"], input=samples.text(name).encode(), capture_output=True, check=True
    )
    said = re.fullmatch(r"(\d+) (\S+) (.*) \(([A-Z0-9-]+)\)\n", run.stdout.decode())
    assert said is not None
    assert (str(key.bits), key.fingerprint, key.comment) == said.groups()[:3]
    assert key.label.split(" ")[0] == said[4]
    assert key.line() == samples.text(name)
    assert key.algorithm == words["type"]
    assert key.blob_base64 == words["base64"]


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("ed25519", "ED25519"),
        ("rsa3072", "RSA 3072"),
        ("ecdsa256", "ECDSA P-256"),
        ("ecdsa384", "ECDSA P-384"),
        ("ecdsa521", "ECDSA P-521"),
        ("sk_ed25519", "ED25519-SK"),
        ("sk_ecdsa256", "ECDSA-SK"),
    ],
)
def test_a_label_is_in_words(name: str, label: str) -> None:
    assert PublicKey.from_blob(blob(name)).label == label


REFUSED = {
    "nothing": (b"", "truncated"),
    "a name only": (string(b"ssh-ed25519"), "truncated"),
    "an unknown name": (string(b"ssh-quantum") + string(POINT), "unknown-type"),
    "a name that is not text": (string(b"ssh-\xff\xfe") + string(POINT), "unknown-type"),
    "an empty name": (string(b"") + string(POINT), "unknown-type"),
    "a name with a zero byte": (string(b"ssh-ed25519\0") + string(POINT), "unknown-type"),
    "dsa": (blob("dsa"), "dsa"),
    "ed448": (blob("ed448"), "ed448"),
    "a certificate": (blob("rsa2048-cert"), "certificate"),
    "ed25519, a byte short": (blob("ed25519")[:-1], "truncated"),
    "ed25519, a byte more": (blob("ed25519") + b"\0", "trailing-data"),
    "ed25519, 31 bytes": (ed25519_blob(POINT[:-1]), "truncated"),
    "ed25519, 33 bytes": (ed25519_blob(POINT + b"\0"), "trailing-data"),
    "ed25519, all zero": (ed25519_blob(bytes(32)), "weak-point"),
    "ed25519, off the curve": (ed25519_blob((2).to_bytes(32, "little")), "bad-point"),
    "rsa, a byte more": (blob("rsa2048") + b"\0", "trailing-data"),
    "rsa, a byte short": (blob("rsa2048")[:-1], "truncated"),
    "rsa, even modulus": (rsa_blob(65537, MODULUS - 1), "bad-modulus"),
    "rsa, modulus with factor 3": (rsa_blob(65537, 3 * (MODULUS // 6 * 2 + 1)), "bad-modulus"),
    "rsa, exponent 1": (rsa_blob(1, MODULUS), "bad-exponent"),
    "rsa, exponent 2": (rsa_blob(2, MODULUS), "bad-exponent"),
    "rsa, even exponent": (rsa_blob(65536, MODULUS), "bad-exponent"),
    "rsa, exponent of 65 bits": (rsa_blob(2**64 + 1, MODULUS), "bad-exponent"),
    "rsa, exponent above the modulus": (rsa_blob(263, 257), "bad-exponent"),
    "rsa, exponent and modulus swapped": (rsa_blob(MODULUS, 65537), "bad-exponent"),
    "rsa, zero exponent": (string(b"ssh-rsa") + string(b"") + mpint(MODULUS), "not-canonical"),
    "rsa, modulus with a needless zero": (
        string(b"ssh-rsa") + mpint(65537) + string(b"\0" + mpint(MODULUS)[4:]),
        "not-canonical",
    ),
    "rsa, negative modulus": (
        string(b"ssh-rsa") + mpint(65537) + string(MODULUS.to_bytes(256, "big")),
        "not-canonical",
    ),
    "ecdsa, another curve inside": (ecdsa_blob(b"nistp256", b"nistp384", CURVE_POINT), "bad-curve"),
    "ecdsa, off the curve": (ecdsa_blob(b"nistp256", b"nistp256", b"\4" + b"\1" * 64), "bad-point"),
    "ecdsa, infinity": (ecdsa_blob(b"nistp256", b"nistp256", b"\0"), "bad-point"),
    "ecdsa, all zero": (ecdsa_blob(b"nistp256", b"nistp256", b"\4" + bytes(64)), "bad-point"),
    "ecdsa, compressed": (
        ecdsa_blob(b"nistp256", b"nistp256", bytes([2 + CURVE_POINT[-1] % 2]) + CURVE_POINT[1:33]),
        "bad-point",
    ),
    "ecdsa, hybrid": (
        ecdsa_blob(b"nistp256", b"nistp256", bytes([6 + CURVE_POINT[-1] % 2]) + CURVE_POINT[1:]),
        "bad-point",
    ),
    "ecdsa, a point of another size": (ecdsa_blob(b"nistp384", b"nistp384", CURVE_POINT), "bad-point"),
    "ecdsa, a byte more": (blob("ecdsa256") + b"\0", "trailing-data"),
    "ecdsa, a curve nobody has": (ecdsa_blob(b"nistp192", b"nistp192", CURVE_POINT[:49]), "unknown-type"),
    "security key, no application": (blob("sk_ed25519")[:-4] + b"", "truncated"),
    "security key, empty application": (blob("sk_ed25519")[:-8] + string(b""), "bad-application"),
    "security key, for a web site": (blob("sk_ed25519")[:-8] + string(b"https://x"), "bad-application"),
    "security key, off the curve": (
        string(b"sk-ssh-ed25519@openssh.com") + string((2).to_bytes(32, "little")) + string(b"ssh:"),
        "bad-point",
    ),
    "security key, ecdsa off the curve": (
        string(b"sk-ecdsa-sha2-nistp256@openssh.com")
        + string(b"nistp256")
        + string(b"\4" + b"\1" * 64)
        + string(b"ssh:"),
        "bad-point",
    ),
}


@pytest.mark.parametrize(("content", "code"), REFUSED.values(), ids=REFUSED.keys())
def test_a_blob_that_is_not_quite_a_key_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(KeyProblem) as error:
        PublicKey.from_blob(content, "dana")
    assert error.value.code == code
    assert error.value.message
    assert error.value.hint


@pytest.mark.parametrize("name", samples.TYPES)
def test_no_blob_survives_losing_or_gaining_a_byte(name: str) -> None:
    whole = blob(name)
    for changed in [*(whole[:end] for end in range(len(whole))), whole + b"\0", b"\0" + whole]:
        with pytest.raises(KeyProblem):
            PublicKey.from_blob(changed)


def test_an_unusual_exponent_is_still_a_key() -> None:
    assert math.gcd(MODULUS, 2 * 3 * 5 * 7) == 1
    assert PublicKey.from_blob(rsa_blob(37, MODULUS)).rsa_exponent == 37
    assert PublicKey.from_blob(blob("ed25519")).rsa_exponent is None


def test_a_key_cannot_be_built_round_the_checks() -> None:
    key = PublicKey.from_blob(blob("ed25519"), "dana")
    assert PublicKey(key.algorithm, key.blob, key.comment) == key
    for parts in [
        ("ssh-rsa", key.blob, "dana"),
        (key.algorithm, key.blob + b"\0", "dana"),
        (key.algorithm, key.blob, "dana\nssh-rsa AAAA"),
        (key.algorithm, key.blob, " dana"),
        ("", key.blob, "dana"),
    ]:
        with pytest.raises(KeyProblem):
            PublicKey(*parts)
    with pytest.raises(dataclasses.FrozenInstanceError):
        key.comment = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("  dana  ruiz\t", "dana ruiz"),
        ("dana\nssh-rsa AAAA", "dana ssh-rsa AAAA"),
        ("dana\r\u0085\u2028x\u0000y", "dana xy"),
        ("a\u200bb\u202e", "ab"),
        ("x" * 255, "x" * 255),
        ("x" * 256, "x" * 255),
        ("x" * 254 + " y", "x" * 254),
        ("Zoë 日本", "Zoë 日本"),
    ],
)
def test_a_comment_is_made_printable_and_short(given: str, kept: str) -> None:
    key = PublicKey.from_blob(blob("ed25519"), given)
    assert key.comment == kept
    assert PublicKey.from_blob(key.blob, key.comment) == key
    assert key.line().split("\n") == [key.line()]


def test_the_fields_of_a_blob_and_the_numbers_of_an_rsa_key_can_be_had() -> None:
    rsa = PublicKey.from_blob(blob("rsa2048"))
    assert (rsa.rsa_exponent, rsa.rsa_modulus) == (65537, MODULUS)
    assert rsa.fields == (b"\1\0\1", b"\0" + MODULUS.to_bytes(256, "big"))
    assert PublicKey.from_blob(blob("ed25519")).fields == (POINT,)
    assert PublicKey.from_blob(blob("ed25519")).rsa_modulus is None
    assert PublicKey.from_blob(blob("ecdsa256")).fields == (b"nistp256", CURVE_POINT)
    assert PublicKey.from_blob(blob("sk_ed25519")).fields[1] == b"ssh:"


def test_a_line_without_comment_ends_with_the_key() -> None:
    key = PublicKey.from_blob(blob("ed25519"))
    assert key.line() == f"ssh-ed25519 {key.blob_base64}"


# cryptography takes the keys of security keys too, but as ordinary ones.
@pytest.mark.parametrize("name", [name for name in samples.TYPES if not name.startswith("sk_")])
def test_a_key_is_the_same_to_cryptography(name: str) -> None:
    key = PublicKey.from_blob(blob(name))
    loaded = load_ssh_public_key(key.line().encode("ascii"))
    assert loaded.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii") == key.line()


@pytest.mark.parametrize("name", samples.TYPES)
def test_nothing_is_taken_that_cryptography_refuses(name: str) -> None:
    """One changed byte at a time: what our own arithmetic takes must be a key to OpenSSL's as well."""
    whole = bytearray(blob(name))
    taken = 0
    for at in range(len(whole)):
        for change in (1, 0x80):
            whole[at] ^= change
            try:
                key = PublicKey.from_blob(bytes(whole))
            except KeyProblem:
                pass
            else:
                load_ssh_public_key(key.line().encode("ascii"))
                taken += 1
            whole[at] ^= change
    assert taken or "ecdsa" in name
