"""Files that somebody chose: what of them is read as a paste."""

from keys.core.characters import text_from
from keys.core.formats import private_bytes

_STANDS_FOR_A_PRIVATE_KEY = "-----BEGIN PRIVATE KEY-----"


def pasted_from(content: bytes) -> str:
    """The text of a file, as if it had been pasted.

    Of a private key that is no text (DER, PKCS#12, Dropbear) only a line that says so, by which it is refused as any
    other is: nothing of the key itself goes on from here.
    """
    return _STANDS_FOR_A_PRIVATE_KEY if private_bytes.is_private(content) else text_from(content)
