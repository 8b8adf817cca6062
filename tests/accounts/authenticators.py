"""A device that keeps passkeys, as a browser would show it to the portal; its answers are signed for real."""

import base64
import hashlib
import json
import secrets
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.webauthn import AttestationObject, AttestedCredentialData, AuthenticatorData

ORIGIN = "http://localhost:8000"
FLAGS = AuthenticatorData.FLAG


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


class Device:
    """Holds one passkey. `is_unlocked`: whether a finger, face or PIN was asked for."""

    def __init__(self, *, origin: str = ORIGIN, is_unlocked: bool = True) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.credential_id = secrets.token_bytes(32)
        self.handle = b""
        self.origin = origin
        self.flags = FLAGS.UP | (FLAGS.UV if is_unlocked else FLAGS(0))

    def make(self, options: dict[str, object]) -> str:
        """The answer to what the page for adding asks of a browser."""
        asked = options["publicKey"]
        self.handle = _bytes(asked["user"]["id"])
        public = ES256.from_cryptography_key(self.key.public_key())
        held = AttestedCredentialData.create(b"\0" * 16, self.credential_id, public)
        data = AuthenticatorData.create(self._rp(asked["rp"]["id"]), self.flags | FLAGS.AT, 0, held)
        told = {
            "clientDataJSON": _text(self._client_data("webauthn.create", asked)),
            "attestationObject": _text(bytes(AttestationObject.create("none", data, {}))),
        }
        return self._credential(told, {"credProps": {"rk": True}})

    def show(self, options: dict[str, object], handle: bytes | None = None) -> str:
        """The answer to what a page asks of a browser that has passkeys."""
        asked = options["publicKey"]
        client_data = self._client_data("webauthn.get", asked)
        data = self._rp(asked["rpId"]) + struct.pack(">BI", self.flags, 1)
        signed = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        told = {
            "clientDataJSON": _text(client_data),
            "authenticatorData": _text(data),
            "signature": _text(signed),
            "userHandle": _text(self.handle if handle is None else handle),
        }
        return self._credential(told, {})

    def _rp(self, name: str) -> bytes:
        return hashlib.sha256(name.encode()).digest()

    def _client_data(self, kind: str, asked: dict[str, object]) -> bytes:
        return json.dumps({"type": kind, "challenge": asked["challenge"], "origin": self.origin}).encode()

    def _credential(self, response: dict[str, str], extensions: dict[str, object]) -> str:
        name = _text(self.credential_id)
        told = {"type": "public-key", "id": name, "rawId": name, "response": response}
        return json.dumps({**told, "clientExtensionResults": extensions})
