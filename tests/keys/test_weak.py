"""Keys that are broken although they are well formed."""

import base64
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable

import gmpy2
import pytest
from badkeys.checks import allchecks
from cryptography.hazmat.primitives.asymmetric import rsa

from keys.core import weak
from keys.core.blocklist import Blocklist
from keys.core.errors import Refusal
from keys.core.parse import parse_paste
from keys.core.policy import Policy, weaknesses
from keys.core.publickey import PublicKey
from keys.core.weak import WeakChecks, rsa_weaknesses, shared_factors
from tests.keys import samples
from tests.keys.samples import rsa_blob

E = 65537
SMALL_PRIMES = gmpy2.primorial(E)
RANDOM = random.Random("weak keys, made by hand")
PAIR = rsa.generate_private_key(E, 2048).private_numbers()
P, Q = PAIR.p, PAIR.q
WEAK = Policy(weak=WeakChecks())


def searched(make: Callable[[], int]) -> int:
    """The first of these numbers that has no small factor, so that this is not what is found."""
    return next(number for number in iter(make, 0) if gmpy2.gcd(number, SMALL_PRIMES) == 1)


def any_number() -> int:
    return RANDOM.getrandbits(2048) | 1 << 2047 | 1


def prime_near(number: int) -> int:
    return int(gmpy2.next_prime(number))


def roca() -> int:
    """As chips of that kind make them: a power of 65537, as far as the first 39 primes can tell."""
    small = int(gmpy2.primorial(167))
    return any_number() // small * small + pow(E, RANDOM.randrange(small), small)


def patterned() -> int:
    return any_number() | (1 << 128) - 1 << 800


def poly() -> int:
    return any_number() & any_number() | 1 << 2047 | 1


def biased() -> int:
    return any_number() | any_number()


def xz_call() -> int:
    """The first 16 bytes, as they stand in a blob, are three numbers: a * b + c is the call."""
    head = b"\0" + bytes([0x80 + RANDOM.randrange(128)]) + RANDOM.randbytes(6)
    product = int.from_bytes(head[:4], "little") * int.from_bytes(head[4:], "little")
    call = (-product % 2**64).to_bytes(8, "little")
    return int.from_bytes(head + call + RANDOM.randbytes(241), "big") | 1


MODULI: dict[str, tuple[Callable[[], int], str]] = {
    "a factor of 9 bits": (lambda: 257 * P * prime_near(Q >> 8), "weak-small-factors"),
    "a factor of 16 bits": (lambda: 65521 * P * prime_near(Q >> 14), "weak-small-factors"),
    "a factor of 12 bits": (lambda: 4093 * P * prime_near(Q >> 11), "weak-small-factors"),
    "neighbouring primes": (lambda: P * prime_near(P), "weak-fermat"),
    "primes in the same neighbourhood": (lambda: P * prime_near(P + 2**510), "weak-fermat"),
    "a square": (lambda: P * P, "weak-fermat"),
    "a third power": (lambda: prime_near(P >> 340) ** 3, "weak-prime"),
    "a prime": (lambda: prime_near(P * Q), "weak-prime"),
    "a larger prime": (lambda: prime_near(P * Q + 2**1000), "weak-prime"),
    **{f"made by chip {n} with ROCA": (lambda: searched(roca), "weak-roca") for n in (1, 2, 3)},
    **{f"sixteen equal bytes, {n}": (lambda: searched(patterned), "weak-pattern") for n in (1, 2, 3)},
    **{f"mostly zeros, {n}": (lambda: searched(poly), "weak-polynomial") for n in (1, 2, 3)},
    **{f"mostly ones, {n}": (lambda: searched(biased), "weak-bias") for n in (1, 2, 3)},
    **{f"call {n} of the xz back door": (lambda: searched(xz_call), "weak-xz") for n in (1, 2, 3)},
}


@pytest.mark.parametrize(("make", "code"), MODULI.values(), ids=MODULI.keys())
def test_a_broken_rsa_key_is_refused_and_only_by_the_weak_checks(make: Callable[[], int], code: str) -> None:
    modulus = make()
    line = PublicKey.from_blob(rsa_blob(E, modulus), "dana").line()
    assert parse_paste(line).accepted
    (problem,) = parse_paste(f"\n{line}", WEAK).problems
    assert (problem.code, problem.line) == (code, 2)


@pytest.mark.parametrize("bits", [300, 400, 480])
def test_a_small_private_exponent_is_refused_even_if_so_long_an_exponent_were_taken(bits: int) -> None:
    inverse = pow(prime_near(2**bits), -1, (P - 1) * (Q - 1))
    assert rsa_weaknesses(inverse, P * Q, 4096) == (Refusal.BAD_EXPONENT,)
    assert rsa_weaknesses(E, P * Q, 4096) == ()
    line = "ssh-rsa " + base64.b64encode(rsa_blob(inverse, P * Q)).decode("ascii")
    assert [problem.code for problem in parse_paste(line, WEAK).problems] == ["bad-exponent"]


def test_a_prime_that_badkeys_has_seen_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = sys.modules["badkeys.rsakeys.sharedprimes"]._moduli
    monkeypatch.setitem(seen, 2048, gmpy2.mpz(P) * prime_near(2**1023))
    assert rsa_weaknesses(E, P * Q, 4096) == (Refusal.WEAK_SHARED_PRIMES,)


@pytest.mark.parametrize("name", samples.TYPES)
def test_an_honest_key_passes(name: str) -> None:
    paste = parse_paste(samples.text(name), WEAK)
    assert paste.accepted
    assert len(paste.keys) == 1


def test_many_honest_rsa_keys_pass() -> None:
    for bits in (2048, 2056, 3072, 4096):
        numbers = rsa.generate_private_key(E, bits).public_key().public_numbers()
        assert rsa_weaknesses(numbers.e, numbers.n, 4096) == ()


def test_the_sentences_give_no_factor_away() -> None:
    key = PublicKey.from_blob(rsa_blob(E, P * prime_near(P)))
    (problem,) = WeakChecks()(key)
    assert not any(letters in repr(problem) for letters in (str(P)[:12], f"{P:x}"[:12]))


def test_a_policy_without_weak_checks_asks_for_none() -> None:
    key = PublicKey.from_blob(rsa_blob(E, P * P))
    assert weaknesses(key, Policy()) == ()
    assert [problem.code for problem in weaknesses(key, WEAK)] == ["weak-fermat"]


def test_a_paste_with_another_problem_is_not_put_to_the_weak_checks() -> None:
    def never(key: PublicKey) -> tuple[()]:
        raise AssertionError(key.fingerprint)

    text = f"{samples.text('rsa2048')}\n{samples.text('dsa')}"
    assert [problem.code for problem in parse_paste(text, Policy(weak=never)).problems] == ["dsa"]


def test_a_large_modulus_is_tested_for_being_prime_only_if_that_is_asked_for() -> None:
    prime = prime_near(P * Q)
    assert rsa_weaknesses(E, prime, 2047) == ()
    assert rsa_weaknesses(E, prime, prime.bit_length()) == (Refusal.WEAK_PRIME,)


def test_a_known_key_is_refused_and_nothing_else_is_asked() -> None:
    key = PublicKey.from_blob(rsa_blob(E, P * P))
    record = hashlib.sha256((P * P).to_bytes(256, "big")).digest()[:15] + b"\1"
    checks = WeakChecks(Blocklist([record], {1: "invented"}))
    assert [problem.code for problem in checks(key)] == ["weak-known"]


def test_badkeys_has_no_check_that_nobody_has_thought_about() -> None:
    left_out = {"blocklist", "dsasparse", "rsainvalid", "rsawarnings", "smallfactors"}
    assert set(allchecks) - left_out == set(weak._BY_BADKEYS)


def test_nothing_is_printed_or_fetched_and_the_process_goes_on() -> None:
    program = (
        "import sys\n"
        "sys.addaudithook(lambda event, _: event.startswith('socket.') and sys.exit('the network'))\n"
        "from keys.core.parse import parse_paste\n"
        "from keys.core.policy import Policy\n"
        "from keys.core.weak import WeakChecks\n"
        "paste = parse_paste(sys.stdin.read(), Policy(weak=WeakChecks()))\n"
        "sys.exit(40 + len(paste.keys))\n"
    )
    nowhere = {**os.environ, "XDG_CACHE_HOME": "/nonexistent"}
    text = "\n".join(samples.text(name) for name in ("ed25519", "rsa2048", "ecdsa256"))
    done = subprocess.run([sys.executable, "-c", program], input=text, env=nowhere, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (43, "", "")


# --- Factors that stored keys share ------------------------------------------------------------------------------


def small_primes(count: int) -> list[int]:
    found = [prime_near(2**200)]
    while len(found) < count:
        found.append(prime_near(found[-1]))
    return found


@pytest.mark.parametrize(
    ("pairs", "broken"),
    [
        ([], []),
        ([(0, 1)], []),
        ([(0, 1), (2, 3)], []),
        ([(0, 1), (0, 1)], []),
        ([(0, 1), (1, 2)], [0, 1]),
        ([(0, 1), (2, 3), (4, 5), (6, 7), (1, 8)], [0, 4]),
        ([(0, 1), (1, 2), (2, 0), (4, 5)], [0, 1, 2]),
        ([(0, 0), (0, 1)], [0, 1]),
    ],
    ids=["none", "one", "two strangers", "one key twice", "two", "first and last", "a ring", "a square"],
)
def test_moduli_that_share_a_prime_are_found(pairs: list[tuple[int, int]], broken: list[int]) -> None:
    primes = small_primes(9)
    moduli = [primes[one] * primes[other] for one, other in pairs]
    assert shared_factors(moduli) == {moduli[at] for at in broken}


def test_two_among_hundreds_are_found() -> None:
    primes = small_primes(401)
    moduli = [primes[at] * primes[at + 1] for at in range(0, 400, 2)]
    assert shared_factors(moduli) == frozenset()
    assert shared_factors([*moduli, primes[100] * primes[400]]) == {moduli[50], primes[100] * primes[400]}


@pytest.mark.parametrize("count", [2, 3, 50])
def test_keys_of_one_paste_that_share_a_prime_are_refused_with_their_lines(count: int) -> None:
    primes = [prime_near(Q + 2**900 * at) for at in range(1, count + 1)]
    lines = [PublicKey.from_blob(rsa_blob(E, P * prime), "dana").line() for prime in primes]
    text = "\n".join([samples.text("rsa3072"), *lines[: min(count, 49)]])
    assert parse_paste(text).accepted
    policy = Policy(weak=lambda key: ())
    told = [(problem.code, problem.line) for problem in parse_paste(text, policy).problems]
    assert told == [("weak-shared-primes", 2 + at) for at in range(min(count, 49))]


def test_a_key_that_is_known_is_compared_and_not_refused() -> None:
    keys = [PublicKey.from_blob(rsa_blob(E, P * prime_near(Q + 2**900 * at)), "dana") for at in (1, 2)]
    policy = Policy(weak=lambda key: (), known=frozenset({keys[0].blob}))
    problems = parse_paste("\n".join(key.line() for key in keys), policy).problems
    assert [(problem.code, problem.line) for problem in problems] == [("weak-shared-primes", 2)]
