"""How portal and helper tell that they mean the same list of accounts, without sending it."""

import hashlib
from collections.abc import Iterable


def list_digest(accounts: Iterable[tuple[str, int]]) -> str:
    """SHA-256, in hex, of a list of accounts, each a user name and its number there; their order does not matter."""
    lines = sorted(f"{name} {uid}\n" for name, uid in accounts)
    return hashlib.sha256("".join(lines).encode("utf-8")).hexdigest()
