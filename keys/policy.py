"""The policy that holds now: limits from the settings, and the weak keys that the operator's blocklist knows."""

from django.conf import settings

from accounts.models import SftpAccount

from .blocklist import blocklist
from .core.errors import KeyProblem, Problem
from .core.policy import Policy
from .core.publickey import PublicKey
from .core.weak import WeakChecks
from .core.wire import decoded
from .models import AccountKey
from .moduli import shared_with_stored


def policy_for(account: SftpAccount) -> Policy:
    """For a text that somebody waits for: an RSA key takes milliseconds (see WeakChecks).

    Keys the account has already are taken as they are: the nightly look judges them, with a date and a mail, and no
    save of other keys is held up by them.
    """
    known = frozenset(blob for key in account.keys.all() if (blob := _blob(key)))
    weak = WeakChecks(blocklist())

    def new(key: PublicKey) -> tuple[Problem, ...]:
        return weak(key) or shared_with_stored(key)

    return Policy(minimum_rsa_bits=settings.RSA_MINIMUM_BITS, weak=new, known=known)


def thorough_policy_now() -> Policy:
    """For the nightly run and the command line, where nobody waits: no RSA key is too large for any check."""
    most = Policy().maximum_rsa_bits
    weak = WeakChecks(blocklist(), prime_tested_bits=most)
    return Policy(minimum_rsa_bits=settings.RSA_MINIMUM_BITS, weak=weak)


def _blob(key: AccountKey) -> bytes:
    try:
        return decoded(key.blob)
    except KeyProblem:
        return b""
