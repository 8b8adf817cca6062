"""What the vendor refuses or advises although it is a key."""

import base64
import re

import pytest

from keys.core.errors import Advice, Note, Reason, Refusal
from keys.core.parse import parse_paste
from keys.core.policy import Policy, advise, judge
from keys.core.publickey import PublicKey
from tests.keys import samples
from tests.keys.samples import rsa_blob


def key(name: str, comment: str = "dana") -> PublicKey:
    return PublicKey.from_blob(base64.b64decode(samples.words(name)["base64"]), comment)


def rsa_of(bits: int) -> PublicKey:
    """A modulus of so many bits without a small factor: 1 more than a multiple of them all, and odd."""
    factors = 1
    for number in range(2, 256):
        factors *= number
    modulus = ((1 << bits - 1) // factors + 1) * factors + 1
    return PublicKey.from_blob(rsa_blob(65537, modulus), "dana")


@pytest.mark.parametrize(
    ("bits", "codes"),
    [
        (2047, ["rsa-too-short"]),
        (2048, []),
        (16384, []),
        (16385, ["rsa-too-long"]),
    ],
)
def test_rsa_is_judged_by_its_true_size(bits: int, codes: list[str]) -> None:
    assert rsa_of(bits).bits == bits
    assert [problem.code for problem in judge(rsa_of(bits), Policy())] == codes


def test_the_limits_are_the_policys() -> None:
    assert judge(key("rsa2048"), Policy(minimum_rsa_bits=3072))[0].code == "rsa-too-short"
    assert judge(key("rsa1024"), Policy(minimum_rsa_bits=1024)) == ()
    assert not parse_paste(samples.text("rsa2048"), Policy(minimum_rsa_bits=3072)).accepted


def test_a_short_key_is_told_both_figures() -> None:
    (problem,) = judge(key("rsa1024"), Policy())
    assert "1024 bits" in problem.message
    assert "2048" in problem.message
    assert "ssh-keygen" in problem.hint


@pytest.mark.parametrize("name", [name for name in samples.TYPES if not name.startswith("rsa")])
def test_only_rsa_has_sizes_to_judge(name: str) -> None:
    assert judge(key(name), Policy()) == ()


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("ed25519", []),
        ("ecdsa256", []),
        ("ecdsa384", []),
        ("ecdsa521", ["advice-p521"]),
        ("rsa2048", ["advice-rsa-short"]),
        ("rsa3072", []),
        ("sk_ed25519", ["advice-security-key"]),
        ("sk_ecdsa256", ["advice-security-key"]),
    ],
)
def test_advice_by_type(name: str, codes: list[str]) -> None:
    assert [advice.code for advice in advise(key(name), Policy())] == codes


def test_advice_for_a_key_without_a_comment() -> None:
    assert [advice.code for advice in advise(key("ed25519", ""), Policy())] == ["advice-no-comment"]


def test_advice_for_an_unusual_exponent() -> None:
    modulus = int.from_bytes(base64.b64decode(samples.words("rsa3072")["base64"])[-384:], "big")
    unusual = PublicKey.from_blob(rsa_blob(3, modulus), "dana")
    assert [advice.code for advice in advise(unusual, Policy())] == ["advice-rsa-exponent"]


REASONS = [reason for table in (Refusal, Note, Advice) for reason in table]


def test_every_code_is_used_once() -> None:
    codes = [reason.code for reason in REASONS]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("reason", REASONS, ids=lambda reason: reason.code)
def test_every_reason_has_a_code_sentences_and_a_hint(reason: Reason) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", reason.code)
    for words in (reason.message, reason.hint):
        assert re.fullmatch(r"[A-Z].*[.]", words)
        assert len(words) < 240
