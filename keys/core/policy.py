"""What is refused or advised although it is a valid key. The limits come in as a value."""

from collections.abc import Callable
from dataclasses import dataclass

from keys.core.errors import Advice, Problem, Refusal
from keys.core.publickey import PublicKey

_USUAL_EXPONENT = 65537


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits: RSA sizes in bits, keys in one account, bytes (UTF-8) and lines in one paste, problems listed.

    ``weak`` says why a key is known to be weak, in problems without a line; None: that is not asked. ``known`` are
    blobs that are taken whatever the rest says: keys that were judged before, and are judged again elsewhere.
    """

    minimum_rsa_bits: int = 2048
    maximum_rsa_bits: int = 16384
    advised_rsa_bits: int = 3072
    maximum_keys: int = 50
    maximum_paste_bytes: int = 64 * 1024
    maximum_paste_lines: int = 5000
    maximum_problems: int = 50
    weak: Callable[[PublicKey], tuple[Problem, ...]] | None = None
    known: frozenset[bytes] = frozenset()


def judge(key: PublicKey, policy: Policy) -> tuple[Problem, ...]:
    """Why a valid key is refused, as far as that can be told in no time; empty if it is taken."""
    if key.algorithm != "ssh-rsa" or key.blob in policy.known:
        return ()
    bits = key.bits
    if bits < policy.minimum_rsa_bits:
        return (Refusal.RSA_TOO_SHORT.problem(bits=bits, minimum=policy.minimum_rsa_bits),)
    if bits > policy.maximum_rsa_bits:
        return (Refusal.RSA_TOO_LONG.problem(bits=bits, maximum=policy.maximum_rsa_bits),)
    return ()


def weaknesses(key: PublicKey, policy: Policy) -> tuple[Problem, ...]:
    """Why a key that ``judge`` takes is refused nonetheless; takes milliseconds. Empty if the policy does not ask."""
    return policy.weak(key) if policy.weak is not None and key.blob not in policy.known else ()


def advise(key: PublicKey, policy: Policy) -> tuple[Problem, ...]:
    """What could be better about a key that is taken."""
    advice = _advice_on_rsa(key, policy) if key.algorithm == "ssh-rsa" else []
    if key.algorithm == "ecdsa-sha2-nistp521":
        advice.append(Advice.P521.problem())
    if key.algorithm.startswith("sk-"):
        advice.append(Advice.SECURITY_KEY.problem())
    if not key.comment:
        advice.append(Advice.NO_COMMENT.problem())
    return tuple(advice)


def _advice_on_rsa(key: PublicKey, policy: Policy) -> list[Problem]:
    advice = []
    if key.bits < policy.advised_rsa_bits:
        advice.append(Advice.RSA_SHORT.problem(bits=key.bits, advised=policy.advised_rsa_bits))
    if key.rsa_exponent != _USUAL_EXPONENT:
        advice.append(Advice.RSA_EXPONENT.problem())
    return advice
