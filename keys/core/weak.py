"""Keys that look like any other and are broken: the offline checks of badkeys, and what it does not look for.

Nothing here reads the network, a file of ours or the clock, prints, or gives away a factor: it is a private key.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import gmpy2
from badkeys.checks import checkrsa

from keys.core.blocklist import Blocklist
from keys.core.errors import Problem, Refusal
from keys.core.publickey import PublicKey

_SMALL_PRIMES = gmpy2.primorial(65537)
_WITNESS = 2

# Named one by one, since badkeys' own choice has a blocklist in it, without which it ends the process. Left out:
# `rsainvalid` and `rsawarnings` (publickey and policy are stricter), `smallfactors` (below, as it can take long).
_BY_BADKEYS: Mapping[str, Refusal] = MappingProxyType(
    {
        "roca": Refusal.WEAK_ROCA,
        "fermat": Refusal.WEAK_FERMAT,
        # A key with so small a private exponent has a public one of over 64 bits, so publickey refuses it first.
        "smalld": Refusal.BAD_EXPONENT,
        "pattern": Refusal.WEAK_PATTERN,
        "rsapoly": Refusal.WEAK_POLYNOMIAL,
        "rsabias": Refusal.WEAK_BIAS,
        "sharedprimes": Refusal.WEAK_SHARED_PRIMES,
        "xzbackdoor": Refusal.WEAK_XZ,
    }
)


@dataclass(frozen=True, slots=True)
class WeakChecks:
    """For ``Policy.weak``: why a key is known to be weak, in problems without a line; empty if it is not.

    Costs a look-up for ECDSA and Ed25519, for RSA about 1 ms and the test whether the modulus itself is prime: here
    6 ms at 2048 bits, 40 at 4096, 260 at 8192, 1300 at 16384. That test is left out above ``prime_tested_bits``, so
    that the worst paste of 64 KiB (50 keys of 4096 bits) takes 2 s, not 30. With nobody waiting, raise it to 16384.
    """

    blocklist: Blocklist | None = None
    prime_tested_bits: int = 4096

    def __call__(self, key: PublicKey) -> tuple[Problem, ...]:
        """The problems of one key."""
        if self.blocklist is not None and self.blocklist.find(key) is not None:
            return (Refusal.WEAK_KNOWN.problem(),)
        exponent, modulus = key.rsa_exponent, key.rsa_modulus
        if exponent is None or modulus is None:
            return ()
        weaknesses = rsa_weaknesses(exponent, modulus, self.prime_tested_bits)
        return tuple(weakness.problem() for weakness in weaknesses)


def rsa_weaknesses(exponent: int, modulus: int, prime_tested_bits: int) -> tuple[Refusal, ...]:
    """What is wrong with a pair of positive numbers, the modulus odd; at most one after the other's costs.

    A small factor ends the search: the other checks would only find it again, and some take minutes over the rest.
    """
    if gmpy2.gcd(modulus, _SMALL_PRIMES) != 1:
        return (Refusal.WEAK_SMALL_FACTORS,)
    found = [refusal for name, refusal in _BY_BADKEYS.items() if checkrsa(modulus, e=exponent, checks=(name,))]
    if not found and _is_no_product(modulus, prime_tested_bits):
        found.append(Refusal.WEAK_PRIME)
    return tuple(found)


def _is_no_product(modulus: int, prime_tested_bits: int) -> bool:
    """Whether this is a prime or the power of one, so far as its size is tested; one witness is enough to refuse."""
    if gmpy2.is_power(modulus):
        return True
    return modulus.bit_length() <= prime_tested_bits and gmpy2.is_strong_prp(modulus, _WITNESS)


def shared_factors(moduli: Iterable[int]) -> frozenset[int]:
    """The RSA moduli that have a factor in common with another, different one of them; each is broken.

    Bernstein's batch gcd ("How to find smooth parts of integers", 2004): their product, and its remainder by the
    square of each, both by trees. 5,000 moduli of 3072 bits take about 8 s. The factors are not told.
    """
    leaves = [gmpy2.mpz(modulus) for modulus in sorted(set(moduli))]
    levels = [leaves]
    while len(levels[-1]) > 1:
        levels.append(list(_products(levels[-1])))
    remainders = levels.pop()
    for level in reversed(levels):
        remainders = [remainders[at // 2] % (number * number) for at, number in enumerate(level)]
    pairs = zip(leaves, remainders, strict=True)
    return frozenset(int(number) for number, rest in pairs if gmpy2.gcd(number, rest // number) != 1)


def _products(numbers: list[gmpy2.mpz]) -> Iterator[gmpy2.mpz]:
    """Each two neighbours multiplied; the last alone, if it has none."""
    for at in range(0, len(numbers) - 1, 2):
        yield numbers[at] * numbers[at + 1]
    if len(numbers) % 2:
        yield numbers[-1]
