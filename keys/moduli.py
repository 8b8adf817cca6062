"""The RSA moduli of all stored keys, multiplied together: what a new one has in common with any costs milliseconds."""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import gmpy2
from django.db.models import Count, F, Max, Min

from .core.errors import KeyProblem, Problem, Refusal
from .core.publickey import PublicKey
from .models import AccountKey

logger = logging.getLogger(__name__)
# Keys of neighbouring numbers have one product; so a key that comes or goes makes no other shelf anew.
SHELF = 256
Version = list[object]


@dataclass(frozen=True, slots=True)
class Shelf:
    """Stored keys: by modulus, the number and the exponent of each, and the product of the moduli."""

    version: Version
    keys: Mapping[int, tuple[tuple[int, int], ...]]
    product: gmpy2.mpz

    def shares(self, modulus: int, exponent: int) -> bool:
        """Whether one of them has a prime of this modulus, or all of it with another exponent."""
        same = self.keys.get(modulus)
        if same is None:
            return bool(gmpy2.gcd(modulus, self.product % modulus) != 1)
        rest = (self.product % (modulus * modulus)) // modulus
        return bool(gmpy2.gcd(modulus, rest) != 1) or any(used != exponent for _, used in same)

    def sharers(self, modulus: int) -> list[int]:
        """The numbers of the keys that have one."""
        found = (keys for other, keys in self.keys.items() if gmpy2.gcd(modulus, other) != 1)
        return [number for keys in found for number, _ in keys]


_shelves: dict[int, Shelf] = {}
_lock = threading.Lock()


def shared_with_stored(key: PublicKey) -> tuple[Problem, ...]:
    """For ``Policy.weak``: that an RSA key has a prime in common with a stored one of any district, else nothing.

    The first call in a process reads all stored keys, later ones only what has changed.
    """
    modulus, exponent = key.rsa_modulus, key.rsa_exponent
    if modulus is None or exponent is None:
        return ()
    sharing = [shelf for shelf in shelves() if shelf.shares(modulus, exponent)]
    if not sharing:
        return ()
    numbers = [number for shelf in sharing for number in shelf.sharers(modulus)]
    logger.error("%s shares a prime with the stored keys %s, which must be replaced too.", key.fingerprint, numbers)
    return (Refusal.WEAK_SHARED_PRIMES.problem(),)


def shelves() -> list[Shelf]:
    """All stored RSA keys as they are now."""
    with _lock:
        versions = _versions()
        for gone in set(_shelves) - set(versions):
            del _shelves[gone]
        for number, version in versions.items():
            if number not in _shelves or _shelves[number].version != version:
                _shelves[number] = _shelf(number, version)
        return list(_shelves.values())


def _versions() -> dict[int, Version]:
    """What a shelf holds, in few words: a key's number is never given again."""
    keys = AccountKey.objects.filter(algorithm="ssh-rsa").annotate(shelf=F("pk") / SHELF).order_by()
    told = Count("pk"), Max("pk"), Min("fingerprint"), Max("fingerprint")
    return {shelf: version for shelf, *version in keys.values_list("shelf").annotate(*told)}


def _shelf(number: int, version: Version) -> Shelf:
    keys: dict[int, tuple[tuple[int, int], ...]] = {}
    rows = AccountKey.objects.filter(algorithm="ssh-rsa", pk__gte=number * SHELF, pk__lt=(number + 1) * SHELF)
    for pk, modulus, exponent in _numbers(rows):
        keys[modulus] = (*keys.get(modulus, ()), (pk, exponent))
    return Shelf(version, keys, gmpy2.mpz(1) if not keys else _product([gmpy2.mpz(modulus) for modulus in keys]))


def _numbers(rows: Iterable[AccountKey]) -> Iterator[tuple[int, int, int]]:
    for row in rows:
        try:
            value = row.value()
        except KeyProblem:  # the nightly look tells of it
            continue
        if value.rsa_modulus is not None and value.rsa_exponent is not None:
            yield row.pk, value.rsa_modulus, value.rsa_exponent


def _product(numbers: list[gmpy2.mpz]) -> gmpy2.mpz:
    """By halves, so that the factors stay of one size."""
    if len(numbers) == 1:
        return numbers[0]
    half = len(numbers) // 2
    return _product(numbers[:half]) * _product(numbers[half:])
