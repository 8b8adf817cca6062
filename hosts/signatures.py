"""RSA signatures as PuTTY sends them: without the zero bytes they may begin with.

RFC 8332 section 3 has the signature as long as the modulus; PuTTY, following the older RFC 4253 section 6.6, leaves
leading zeros away, so one signature in 256 is shorter. OpenSSH pads it before it verifies; asyncssh refuses it.
"""

from typing import Any

from asyncssh.packet import SSHPacket, String
from asyncssh.rsa import RSAKey

_verify_exact = RSAKey.verify_ssh


def _verify_padded(self: RSAKey, data: bytes, sig_algorithm: bytes, packet: SSHPacket) -> bool:
    signature = packet.get_string()
    packet.check_end()
    key: Any = self.pyca_key
    whole = signature.rjust((key.key_size + 7) // 8, b"\0")
    return bool(_verify_exact(self, data, sig_algorithm, SSHPacket(String(whole))))


def accept_short_rsa_signatures() -> None:
    """From now on this process takes both forms. Only the padding differs: the number that is checked is the same."""
    RSAKey.verify_ssh = _verify_padded  # type: ignore[method-assign]
