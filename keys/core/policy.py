"""What is refused or advised although it is a valid key. The limits come in as a value."""

from dataclasses import dataclass

from keys.core.errors import Advice, Problem, Refusal
from keys.core.publickey import PublicKey

_USUAL_EXPONENT = 65537


@dataclass(frozen=True, slots=True)
class Policy:
    """Limits: RSA sizes in bits, keys in one account, bytes (UTF-8) and lines in one paste, problems listed."""

    minimum_rsa_bits: int = 2048
    maximum_rsa_bits: int = 16384
    advised_rsa_bits: int = 3072
    maximum_keys: int = 50
    maximum_paste_bytes: int = 64 * 1024
    maximum_paste_lines: int = 5000
    maximum_problems: int = 50


def judge(key: PublicKey, policy: Policy) -> tuple[Problem, ...]:
    """Why a valid key is refused; empty if it is taken."""
    if key.algorithm != "ssh-rsa":
        return ()
    bits = key.bits
    if bits < policy.minimum_rsa_bits:
        return (Refusal.RSA_TOO_SHORT.problem(bits=bits, minimum=policy.minimum_rsa_bits),)
    if bits > policy.maximum_rsa_bits:
        return (Refusal.RSA_TOO_LONG.problem(bits=bits, maximum=policy.maximum_rsa_bits),)
    return ()


def advise(key: PublicKey, policy: Policy) -> tuple[Problem, ...]:
    """What could be better about a key that is taken."""
    advice = []
    if key.algorithm == "ecdsa-sha2-nistp521":
        advice.append(Advice.P521.problem())
    if key.algorithm == "ssh-rsa" and (bits := key.bits) < policy.advised_rsa_bits:
        advice.append(Advice.RSA_SHORT.problem(bits=bits, advised=policy.advised_rsa_bits))
    if key.rsa_exponent not in (None, _USUAL_EXPONENT):
        advice.append(Advice.RSA_EXPONENT.problem())
    if key.algorithm.startswith("sk-"):
        advice.append(Advice.SECURITY_KEY.problem())
    if not key.comment:
        advice.append(Advice.NO_COMMENT.problem())
    return tuple(advice)
