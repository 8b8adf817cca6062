"""A list of keys whose private half is known: Debian's of 2008, published ones, those in malware.

The form is that of badkeys (https://badkeys.info/): sorted records of 16 bytes, each the first 15 bytes of a SHA-256
and the number of the list it comes from. The SHA-256 is taken over one number of the key, without leading zero bytes.
"""

import bisect
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from keys.core.publickey import PublicKey

RECORD_BYTES = 16
_DIGEST_BYTES = RECORD_BYTES - 1


class Records(Protocol):
    """Records in ascending order; a list of bytes is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Blocklist:
    """The records, and the name of each list by its number."""

    records: Records
    names: Mapping[int, str]

    def find(self, key: PublicKey) -> str | None:
        """The name of the list that has this key; None if it is not known."""
        digest = hashlib.sha256(_number(key)).digest()[:_DIGEST_BYTES]
        at = bisect.bisect_left(self.records, digest)
        record = self.records[at] if at < len(self.records) else b""
        if record[:_DIGEST_BYTES] != digest:
            return None
        return self.names.get(record[-1], f"list {record[-1]}")


def _number(key: PublicKey) -> bytes:
    """The modulus (RSA), x (ECDSA) or the 32 bytes as they are (Ed25519), big-endian."""
    fields = key.fields
    if key.algorithm == "ssh-rsa":
        number = fields[1]
    elif "ecdsa" in key.algorithm:
        number = fields[1][1 : 1 + len(fields[1]) // 2]
    else:
        number = fields[0]
    return number.lstrip(b"\0")
