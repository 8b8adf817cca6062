"""A public key that exists only if it is valid."""

import base64
import hashlib
from dataclasses import dataclass, field

from keys.core.algorithms import ALGORITHMS, refusal_for, rsa_numbers
from keys.core.characters import comment_from
from keys.core.errors import Refusal
from keys.core.wire import Reader, encoded


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A checked key: type name, blob (RFC 4253 section 6.6, exactly) and our own clean comment.

    Made by ``from_blob``. Built directly, the parts must already agree. Raises KeyProblem.
    """

    algorithm: str
    blob: bytes
    comment: str
    bits: int = field(init=False, repr=False, compare=False)
    """Size as `ssh-keygen -l` tells it: of the modulus, or of the curve."""

    @classmethod
    def from_blob(cls, blob: bytes, comment: str = "") -> "PublicKey":
        """Check a blob and clean a comment. Raises KeyProblem."""
        name = Reader(blob).string().decode("latin-1")
        return cls(name, bytes(blob), comment_from(comment))

    def __post_init__(self) -> None:
        algorithm = ALGORITHMS.get(self.algorithm)
        if algorithm is None:
            raise refusal_for(self.algorithm)
        if self.comment != comment_from(self.comment):
            raise Refusal.CONTROL_CHARACTER.error()
        object.__setattr__(self, "bits", algorithm.check(self._behind_name()))

    @property
    def rsa_exponent(self) -> int | None:
        """The public exponent; None for other types."""
        if self.algorithm != "ssh-rsa":
            return None
        return self._behind_name().positive()

    @property
    def rsa_modulus(self) -> int | None:
        """The modulus; None for other types."""
        if self.algorithm != "ssh-rsa":
            return None
        return rsa_numbers(self._behind_name())[1]

    @property
    def fields(self) -> tuple[bytes, ...]:
        """The strings of the blob behind its name (RFC 4253 section 6.6); numbers as they are written there."""
        reader = self._behind_name()
        return tuple(reader.string() for _ in range(ALGORITHMS[self.algorithm].fields - 1))

    @property
    def fingerprint(self) -> str:
        """``SHA256:`` and unpadded base64, as `ssh-keygen -l` prints it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode("ascii")
        return "SHA256:" + digest.rstrip("=")

    @property
    def label(self) -> str:
        """The type in words: ``ED25519``, ``RSA 3072``, ``ECDSA P-256``."""
        label = ALGORITHMS[self.algorithm].label
        return f"{label} {self.bits}" if self.algorithm == "ssh-rsa" else label

    @property
    def blob_base64(self) -> str:
        return encoded(self.blob)

    def line(self) -> str:
        """One line of an authorized_keys file, rendered from values; no line end."""
        return f"{self.algorithm} {self.blob_base64} {self.comment}".rstrip()

    def _behind_name(self) -> Reader:
        prefix = ALGORITHMS[self.algorithm].prefix
        if not self.blob.startswith(prefix):
            raise Refusal.TYPE_MISMATCH.error()
        return Reader(self.blob, len(prefix))
