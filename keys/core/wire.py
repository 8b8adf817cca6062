"""Reading base64 and the data types of RFC 4251 section 5, strictly: one value, one spelling."""

import binascii
import re

from keys.core.errors import Refusal

BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_LONGEST_NAME = 64
_CHARACTERS = re.compile(r"[A-Za-z0-9+/=]*")


def decoded(text: str) -> bytes:
    """The bytes of canonical base64 (RFC 4648 section 4, padded). Raises KeyProblem."""
    try:
        blob = binascii.a2b_base64(text)
    except ValueError:
        raise _spelling(text).error() from None
    # The text that these bytes have is the only one that is taken, so a lenient decoder does no harm.
    if not text or encoded(blob) != text:
        raise _spelling(text).error()
    return blob


def _spelling(text: str) -> Refusal:
    """What is wrong with base64 that is not canonical."""
    if not _CHARACTERS.fullmatch(text):
        return Refusal.BAD_BASE64
    body = text.rstrip("=")
    missing = -len(body) % 4 - (len(text) - len(body))
    if "=" in body or missing < 0:
        return Refusal.BAD_PADDING
    return Refusal.TRUNCATED if missing or not text else Refusal.NOT_CANONICAL


def encoded(blob: bytes) -> str:
    """The one base64 text of some bytes."""
    return binascii.b2a_base64(blob, newline=False).decode("ascii")


def encoded_length(text: str, fields: int) -> int | None:
    """How many base64 characters a blob of so many strings has, told by its own length fields.

    ``text`` may end too early; None if it ends before the last length field, or is not base64.
    """
    length = blob_length(text, fields)
    return None if length is None else -(-length // 3) * 4


def blob_length(text: str, fields: int) -> int | None:
    """The same in bytes of the blob."""
    offset = 0
    for _ in range(fields):
        length = _length_at(text, offset)
        if length is None:
            return None
        offset += 4 + length
    return offset


def encoded_name(text: str) -> str | None:
    """The type name at the beginning of a base64 text, as far as that can be told; None if it cannot."""
    length = _length_at(text, 0)
    if length is None or length > _LONGEST_NAME:
        return None
    blob = _plainly_decoded(text[: -(-(4 + length) // 3) * 4])
    name = b"" if blob is None else blob[4 : 4 + length]
    return name.decode("ascii") if name and len(name) == length and name.isascii() else None


def _length_at(text: str, offset: int) -> int | None:
    """The uint32 that begins at a byte of the blob, decoding no more than it takes."""
    start, stop = offset // 3 * 4, -(-(offset + 4) // 3) * 4
    piece = text[start:stop]
    blob = _plainly_decoded(piece) if len(piece) == stop - start else None
    field = b"" if blob is None else blob[offset % 3 : offset % 3 + 4]
    return int.from_bytes(field, "big") if len(field) == 4 else None


def _plainly_decoded(piece: str) -> bytes | None:
    """Whole groups of base64 as bytes, canonical or not; None if it is anything else."""
    try:
        return binascii.a2b_base64(piece, strict_mode=True)
    except ValueError:
        return None


class Reader:
    """Takes the fields of a blob from front to back. Every method raises KeyProblem."""

    __slots__ = ("_blob", "_offset")

    def __init__(self, blob: bytes, offset: int = 0) -> None:
        self._blob = blob
        self._offset = offset

    def string(self) -> bytes:
        """RFC 4251 ``string``: a 4-byte length and that many bytes."""
        start = self._offset + 4
        end = start + int.from_bytes(self._blob[self._offset : start], "big")
        if end > len(self._blob) or start > len(self._blob):
            raise Refusal.TRUNCATED.error()
        self._offset = end
        return self._blob[start:end]

    def positive(self) -> int:
        """RFC 4251 ``mpint`` above zero, without a needless leading zero byte."""
        digits = self.string()
        negative_or_zero = not digits or digits[0] > 0x7F or digits == b"\x00"
        if negative_or_zero or (digits[0] == 0 and digits[1] < 0x80):
            raise Refusal.NOT_CANONICAL.error()
        return int.from_bytes(digits, "big")

    def end(self) -> None:
        """Nothing may follow."""
        if self._offset != len(self._blob):
            raise Refusal.TRAILING.error()
