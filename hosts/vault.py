"""Seals what the portal must be able to read again, so that a copy of the database alone gives nothing away.

Keys are `settings.SECRETS_KEYS`: the first seals, all open. Nothing here writes a log, and no message tells a secret.
"""

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from .core.errors import HostError

_BROKEN = (
    "The portal's own key for this host was sealed with a key that is not in SECRETS_KEYS. Add that key to the "
    "setting again, or make a new key for the portal on the host's page."
)


class SealBroken(HostError):
    """It was not sealed with any of the keys in `SECRETS_KEYS`, or has been changed since."""

    code = "seal-broken"


def sealed(content: bytes) -> bytes:
    """`content`, sealed; ASCII. Each time another text, also for the same content."""
    return _keys().encrypt(content)


def opened(token: bytes) -> bytes:
    """What was sealed. Raises SealBroken."""
    try:
        return _keys().decrypt(token)
    except InvalidToken:
        raise SealBroken(_BROKEN) from None


def resealed(token: bytes) -> bytes:
    """The same content sealed with the first key, for when a key is to be given up. Raises SealBroken."""
    try:
        return _keys().rotate(token)
    except InvalidToken:
        raise SealBroken(_BROKEN) from None


def _keys() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.SECRETS_KEYS])
