"""Files that somebody chose: text as editors save it, and private keys that are no text."""

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from keys.core.characters import text_from
from keys.core.files import pasted_from
from keys.core.parse import parse_paste
from tests.keys import samples
from tests.keys.private_keys import private_key
from tests.keys.samples import ed25519_blob


def converted(folder: Path, kind: str, *command: str) -> bytes:
    """What openssl makes of a private key."""
    (folder / "in").write_text(private_key(kind), "ascii")
    subprocess.run(["openssl", *command, "-in", "in", "-out", "out"], check=True, capture_output=True, cwd=folder)
    return (folder / "out").read_bytes()


def body(kind: str) -> bytes:
    return base64.b64decode("".join(line for line in private_key(kind).split("\n") if not line.startswith("-")))


MADE: dict[str, Callable[[Path], bytes]] = {
    "pkcs8 rsa": lambda at: converted(at, "pkcs8-rsa", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER"),
    "pkcs8 ed25519": lambda at: converted(at, "pkcs8-ed25519", "pkcs8", "-topk8", "-nocrypt", "-outform", "DER"),
    "pkcs8 with a passphrase": lambda at: converted(
        at, "pkcs8-rsa", "pkcs8", "-topk8", "-passout", "pass:x", "-outform", "DER"
    ),
    "pkcs1": lambda at: converted(at, "pem-rsa", "rsa", "-traditional", "-outform", "DER"),
    "sec1": lambda at: converted(at, "pem-ecdsa", "ec", "-outform", "DER"),
    "pkcs12": lambda at: converted(at, "pkcs8-rsa", "pkcs12", "-export", "-nocerts", "-passout", "pass:x"),
    "openssh": lambda at: body("openssh-ed25519"),
    "ssh.com": lambda at: base64.b64decode("P2/56wAAAi4AAAA3"),
    "a key store of java": lambda at: b"\xfe\xed\xfe\xed\0\0\0\2" + bytes(40),
    "dropbear": lambda at: ed25519_blob(bytes(range(64))),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_a_private_key_that_is_no_text_is_refused_as_one(make: Callable[[Path], bytes], tmp_path: Path) -> None:
    content = make(tmp_path)
    paste = parse_paste(pasted_from(content))
    assert paste.private_key
    assert [(problem.code, problem.line) for problem in paste.problems] == [("private-key", 1)]
    # Nothing of it goes on.
    assert pasted_from(content) == "-----BEGIN PRIVATE KEY-----"


PUBLIC = {
    **{name: samples.text(name).encode("ascii") for name in samples.TYPES},
    **{name: samples.text(name).encode("utf-16") for name in ("ed25519", "rsa2048.spki", "rsa3072.rfc4716")},
    "spki": base64.b64decode("".join(samples.text("rsa2048.spki").split("\n")[1:-1])),
    "pkcs1": base64.b64decode("".join(samples.text("rsa2048.pkcs1").split("\n")[1:-1])),
    "certificate": base64.b64decode("".join(samples.text("certificate.pem").split("\n")[1:-1])),
    "a blob": base64.b64decode(samples.words("ed25519")["base64"]),
    "nothing": b"",
    "a nought": b"0",
}


@pytest.mark.parametrize("content", PUBLIC.values(), ids=PUBLIC.keys())
def test_any_other_file_is_read_as_its_text(content: bytes) -> None:
    assert pasted_from(content) == text_from(content)
