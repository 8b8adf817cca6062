"""Real public keys made with ssh-keygen, puttygen and openssl, blobs built by hand, and what ssh-keygen says."""

import re
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent.parent / "data" / "keys"
TYPES = ("ed25519", "rsa2048", "rsa3072", "rsa4096", "ecdsa256", "ecdsa384", "ecdsa521", "sk_ed25519", "sk_ecdsa256")
_PLACE = re.compile(r"\{\{([\w.-]+)(?: (type|base64|comment))?\}\}")


@dataclass(frozen=True, slots=True)
class Case:
    """A row of cases.toml."""

    name: str
    paste: str
    keys: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def text(name: str) -> str:
    """A file of data/keys/public without its last line end; ``x`` is ``x.pub``."""
    file = name if "." in name else f"{name}.pub"
    return (DATA / "public" / file).read_text("utf-8").removesuffix("\n")


def words(name: str) -> dict[str, str]:
    return dict(zip(("type", "base64", "comment"), text(name).split(" ", 2), strict=True))


def cases() -> list[Case]:
    rows = tomllib.loads((DATA / "cases.toml").read_text("utf-8"))["case"]
    return [
        Case(
            row["name"],
            filled(row["paste"]),
            tuple(row.get("keys", ())),
            tuple(row.get("problems", ())),
            tuple(row.get("notes", ())),
        )
        for row in rows
    ]


def filled(paste: str) -> str:
    return _PLACE.sub(lambda place: words(place[1])[place[2]] if place[2] else text(place[1]), paste)


def string(content: bytes) -> bytes:
    """RFC 4251 string."""
    return len(content).to_bytes(4, "big") + content


def mpint(number: int) -> bytes:
    """RFC 4251 mpint of a positive number."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big"))


def rsa_blob(exponent: int, modulus: int) -> bytes:
    return string(b"ssh-rsa") + mpint(exponent) + mpint(modulus)


def ed25519_blob(point: bytes) -> bytes:
    return string(b"ssh-ed25519") + string(point)


def fingerprints(content: bytes) -> list[str]:
    """What the real ssh-keygen reads in an authorized_keys file, line by line."""
    command = ["ssh-keygen", "-l", "-E", "sha256", "-f", "-"]
    run = subprocess.run(command, input=content, capture_output=True, check=True)
    return [line.split(" ")[1] for line in run.stdout.decode("utf-8", "replace").splitlines()]
