"""The tokens of stamps: whoever can write on a host cannot make one that passes for a newer database's.

A token is 8 random bytes and 8 bytes of HMAC-SHA256 over them (RFC 2104), with a key of `SECRETS_KEYS`; in hex. The
key is the last of them, the oldest: whoever restores a database with the keys of that day knows later sets by it too.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterator

from django.conf import settings

_SIZE = 8


def token_make() -> str:
    """A new token, 32 hex digits. Without any key it is like one whose key was lost."""
    nonce = secrets.token_bytes(_SIZE)
    return (nonce + (list(_seals(nonce)) or [secrets.token_bytes(_SIZE)])[-1]).hex()


def is_ours(token: str) -> bool:
    """Whether a token was made by a portal with one of these keys."""
    try:
        made = bytes.fromhex(token)
    except ValueError:
        return False
    return any(hmac.compare_digest(made[_SIZE:], seal) for seal in _seals(made[:_SIZE]))


def _seals(nonce: bytes) -> Iterator[bytes]:
    """As each key makes it: the last makes, all know."""
    for key in settings.SECRETS_KEYS:
        yield hmac.digest(key.encode("ascii"), b"stamp of a key file" + nonce, hashlib.sha256)[:_SIZE]
