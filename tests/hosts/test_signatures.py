"""RSA signatures of PuTTY's form."""

import itertools
from collections.abc import Iterator

import asyncssh
import pytest
from asyncssh.packet import SSHPacket, String
from asyncssh.rsa import RSAKey

from hosts.signatures import accept_short_rsa_signatures

ALGORITHM = b"rsa-sha2-256"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = RSAKey.verify_ssh
    accept_short_rsa_signatures()
    yield
    RSAKey.verify_ssh = before  # type: ignore[method-assign]


def _signature(key: asyncssh.SSHKey, data: bytes) -> bytes:
    packet = SSHPacket(key.sign(data, ALGORITHM))
    packet.get_string()
    return packet.get_string()


def _verified(key: asyncssh.SSHKey, data: bytes, signature: bytes) -> bool:
    return bool(key.convert_to_public().verify(data, String(ALGORITHM) + String(signature)))


def test_a_signature_without_its_leading_zero_is_taken_and_any_other_change_is_not() -> None:
    key = asyncssh.generate_private_key("ssh-rsa", key_size=2048)
    tried = ((data, _signature(key, data)) for data in (str(n).encode() for n in itertools.count()))
    data, signature = next((data, signature) for data, signature in tried if signature[0] == 0)
    short = signature.lstrip(b"\0")
    assert _verified(key, data, signature)
    assert _verified(key, data, short)
    assert not _verified(key, data + b"x", short)
    assert not _verified(key, data, short[1:])
    assert not _verified(key, data, b"\0" + signature)
