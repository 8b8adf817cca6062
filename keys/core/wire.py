"""Reading base64 and the data types of RFC 4251 section 5, strictly: one value, one spelling."""

import base64
import re

from keys.core.errors import Refusal

BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_LONGEST_NAME = 64
_CHARACTERS = re.compile(r"[A-Za-z0-9+/=]*")


def decoded(text: str) -> bytes:
    """The bytes of canonical base64 (RFC 4648 section 4, padded). Raises KeyProblem."""
    if not _CHARACTERS.fullmatch(text):
        raise Refusal.BAD_BASE64.error()
    body = text.rstrip("=")
    missing = -len(body) % 4 - (len(text) - len(body))
    if "=" in body or missing < 0:
        raise Refusal.BAD_PADDING.error()
    if missing or not text:
        raise Refusal.TRUNCATED.error()
    blob = base64.b64decode(text)
    if encoded(blob) != text:
        raise Refusal.NOT_CANONICAL.error()
    return blob


def encoded(blob: bytes) -> str:
    """The one base64 text of some bytes."""
    return base64.b64encode(blob).decode("ascii")


def encoded_length(text: str, fields: int) -> int | None:
    """How many base64 characters a blob of so many strings has, told by its own length fields.

    ``text`` may end too early; None if it ends before the last length field, or is not base64.
    """
    offset = 0
    for _ in range(fields):
        length = _length_at(text, offset)
        if length is None:
            return None
        offset += 4 + length
    return -(-offset // 3) * 4


def encoded_name(text: str) -> str | None:
    """The type name at the beginning of a base64 text, as far as that can be told; None if it cannot."""
    length = _length_at(text, 0)
    if length is None or length > _LONGEST_NAME:
        return None
    piece = text[: -(-(4 + length) // 3) * 4]
    if not BASE64.fullmatch(piece) or len(piece) % 4:
        return None
    name = base64.b64decode(piece)[4 : 4 + length]
    return name.decode("ascii") if len(name) == length and name.isascii() else None


def _length_at(text: str, offset: int) -> int | None:
    """The uint32 that begins at a byte of the blob, decoding no more than it takes."""
    start, stop = offset // 3 * 4, -(-(offset + 4) // 3) * 4
    piece = text[start:stop]
    if len(piece) < stop - start or not BASE64.fullmatch(piece):
        return None
    field = base64.b64decode(piece)[offset % 3 : offset % 3 + 4]
    return int.from_bytes(field, "big") if len(field) == 4 else None


class Reader:
    """Takes the fields of a blob from front to back. Every method raises KeyProblem."""

    __slots__ = ("_blob", "_offset")

    def __init__(self, blob: bytes) -> None:
        self._blob = blob
        self._offset = 0

    def string(self) -> bytes:
        """RFC 4251 ``string``: a 4-byte length and that many bytes."""
        length = int.from_bytes(self._bytes(4), "big")
        return self._bytes(length)

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

    def _bytes(self, count: int) -> bytes:
        taken = self._blob[self._offset : self._offset + count]
        if len(taken) < count:
            raise Refusal.TRUNCATED.error()
        self._offset += count
        return taken
