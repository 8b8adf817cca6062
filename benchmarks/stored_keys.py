"""What thousands of stored RSA keys cost: `python benchmarks/stored_keys.py [districts]`, 5000 unless told otherwise.

Two tables, over a database of its own that is thrown away:

1. one new key compared with the moduli of all stored ones, all of 4096 bits: the first time, later, and after a change;
2. the nightly look at all keys, two a district of 2048, 3072 and 4096 bits: how long, and how much memory.
"""

import base64
import os
import resource
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import django  # noqa: E402
import gmpy2  # noqa: E402
from django.core.management import call_command  # noqa: E402

COMPARED = 13_000


def modulus(bits: int) -> int:
    """A product of primes of 256 bits, none in two of them: it costs the checks what a product of two primes does."""
    product = gmpy2.mpz(1)
    for _ in range(bits // 256):
        # The uppermost bits set, so that the product has all its bits.
        product *= gmpy2.next_prime(secrets.randbits(256) | 0xFFFF << 240)
    return int(product)


def mpint(number: int) -> bytes:
    """RFC 4251 section 5."""
    content = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return len(content).to_bytes(4, "big") + content


def blob(number: int) -> bytes:
    """RFC 4253 section 6.6."""
    return (7).to_bytes(4, "big") + b"ssh-rsa" + mpint(65537) + mpint(number)


def districts_make(count: int, sizes: Iterator[int], keys: int) -> None:
    """So many districts, each with so many keys of the sizes that come next."""
    host = Host.objects.create(name=f"host of {count}", address="localhost")
    names = [f"district{number}of{count}.example" for number in range(count)]
    made = District.objects.bulk_create(District(name=name, slug=name[:31], domain=name) for name in names)
    rows = (SftpAccount(district=one, host=host, username=one.domain) for one in made)
    accounts = SftpAccount.objects.bulk_create(rows)
    KeyFile.objects.bulk_create(KeyFile(account=account) for account in accounts)
    AccountKey.objects.bulk_create(
        (key(account, at, next(sizes)) for account in accounts for at in range(keys)), batch_size=500
    )


def key(account: "SftpAccount", position: int, bits: int) -> "AccountKey":
    """A row as a save makes it."""
    content = blob(modulus(bits))
    return AccountKey(
        account=account,
        position=position,
        algorithm="ssh-rsa",
        blob=base64.b64encode(content).decode(),
        fingerprint=PublicKey.from_blob(content).fingerprint,
    )


def everything_away() -> None:
    """For the next table."""
    for model in (AccountKey, KeyFile, SftpAccount, District, Host):
        model.objects.all().delete()


def timed(what: str, work: Callable[[], object]) -> None:
    """One line with seconds of the wall and of the CPU."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    print(f"{what:48}{time.perf_counter() - wall:10.3f} s{time.process_time() - cpu:10.3f} s CPU", flush=True)


def comparing() -> None:
    """A new key against COMPARED stored ones."""
    print(f"A new RSA key of 4096 bits against {COMPARED:,} stored ones\n")
    districts_make(COMPARED // 2, cycle((4096,)), 2)
    new = PublicKey.from_blob(blob(modulus(4096)))
    timed("the first in a process", lambda: shared_with_stored(new))
    timed("any later one", lambda: shared_with_stored(new))
    AccountKey.objects.order_by("pk")[COMPARED // 3].delete()
    timed("the first after a key was removed", lambda: shared_with_stored(new))
    everything_away()


def judging(districts: int) -> None:
    """The nightly look."""
    print(f"\nThe nightly look at {districts:,} districts with two RSA keys each\n")
    districts_make(districts, cycle((2048, 3072, 4096)), 2)
    timed("primes in common alone", nightly._shared)
    timed("all of it", nightly.judge_all)
    marked = AccountKey.objects.exclude(marked=None).count()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{marked} keys marked. At most {peak:,.0f} MB of memory, both tables together.")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        os.environ.update(DATA_DIR=place, DJANGO_SETTINGS_MODULE="portal.settings", LOG_LEVEL="ERROR")
        django.setup()
        from accounts.models import District, SftpAccount
        from hosts.models import Host
        from keys import nightly
        from keys.core.publickey import PublicKey
        from keys.models import AccountKey, KeyFile
        from keys.moduli import shared_with_stored

        call_command("migrate", verbosity=0)
        comparing()
        judging(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000)
