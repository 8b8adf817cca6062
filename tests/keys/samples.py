"""Real public keys made with ssh-keygen, puttygen and openssl, blobs built by hand, and what ssh-keygen says."""

import base64
import functools
import hashlib
import math
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keys.core.blocklist import Blocklist
from keys.core.policy import Policy
from keys.core.weak import WeakChecks
from tests.keys.private_keys import KINDS, private_key

DATA = Path(__file__).parent.parent / "data" / "keys"
TYPES = ("ed25519", "rsa2048", "rsa3072", "rsa4096", "ecdsa256", "ecdsa384", "ecdsa521", "sk_ed25519", "sk_ecdsa256")
_NAMED = {"line-end": "\n", "number-sign": "#\n", "prose": "Thanks, Dana\n", "option": 'command="x"\n'}
_PLACE = re.compile(r"\{\{([\w.-]+)(?: (type|base64|comment|lines|first|broken|times) ?(\d*))?\}\}")


@dataclass(frozen=True, slots=True)
class Case:
    """A row of cases.toml: its keys are the base64 of each."""

    name: str
    paste: str
    keys: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    form: str = ""
    weak: bool = False
    blocklist: tuple[str, ...] = ()

    @property
    def policy(self) -> Policy:
        """What its keys are judged by."""
        return Policy(weak=WeakChecks(blocklist(self.blocklist))) if self.weak else Policy()


def text(name: str) -> str:
    """A key by name: a file of data/keys/public without its last line end (``x`` is ``x.pub``), or a made one."""
    if name in KINDS:
        return private_key(name).removesuffix("\n")
    if name.endswith("-no-comment"):
        return " ".join(text(name.removesuffix("-no-comment")).split(" ")[:2])
    if name.endswith("-rest"):
        return text(name.removesuffix("-rest"))[40:]
    if name in MADE:
        blob = MADE[name]()
        return f"{blob[4 : 4 + blob[3]].decode('ascii')} {base64.b64encode(blob).decode('ascii')} {name}"
    file = name if "." in name else f"{name}.pub"
    return (DATA / "public" / file).read_text("utf-8").removesuffix("\n")


def words(name: str) -> dict[str, str]:
    return dict(zip(("type", "base64", "comment"), text(name).split(" ", 2), strict=True))


@functools.cache
def cases() -> tuple[Case, ...]:
    """The rows of cases.toml, their pastes as they stand there: see ``filled``."""
    rows = tomllib.loads((DATA / "cases.toml").read_text("utf-8"))["case"]
    return tuple(_case(row) for row in rows)


def _case(row: dict[str, Any]) -> Case:
    keys = (key for name in row.get("keys", ()) for key in _key(name))
    problems = (told for problem in row.get("problems", ()) for told in _each(problem))
    notes = row.get("notes", ())
    weak = row.get("weak", False), tuple(row.get("blocklist", ()))
    return Case(row["name"], row["paste"], tuple(keys), tuple(problems), tuple(notes), row.get("form", ""), *weak)


def blocklist(names: Iterable[str]) -> Blocklist:
    """An invented list of known keys that has the keys of these names."""
    digests = (hashlib.sha256(_number(_blob(name))).digest()[:15] for name in names)
    return Blocklist(sorted(digest + b"\1" for digest in digests), {1: "invented"})


def _number(blob: bytes) -> bytes:
    """What stands for a key in such a list: the modulus, x of a P-256 point, or the 32 bytes of Ed25519."""
    words = _strings(blob)
    place = {b"ssh-rsa": words[-1].lstrip(b"\0"), b"ecdsa-sha2-nistp256": words[2][1:33] if len(words) > 2 else b""}
    return place.get(words[0], words[1])


def _strings(blob: bytes) -> list[bytes]:
    found, at = list[bytes](), 0
    while at < len(blob):
        end = at + 4 + int.from_bytes(blob[at : at + 4], "big")
        found.append(blob[at + 4 : end])
        at = end
    return found


def _each(problem: str) -> list[str]:
    """``code @ 1-3`` is one at each of three lines."""
    code, _, numbers = problem.partition(" @ ")
    first, _, last = numbers.partition("-")
    return [f"{code} @ {number}" for number in range(int(first), int(last) + 1)] if last else [problem]


def _key(name: str) -> tuple[str, ...]:
    """The base64 of the key with a name, or of so many keys."""
    if name.startswith("many "):
        return tuple(line.split(" ")[1] for line in many_lines(int(name.removeprefix("many "))))
    return (words(name)["base64"],)


def filled(paste: str) -> str:
    """A paste with its places filled in, as the head of cases.toml tells."""
    return _PLACE.sub(lambda place: _filling(place[1], place[2], place[3]), paste)


def _filling(name: str, part: str | None, number: str) -> str:
    match part:
        case None:
            return text(name)
        case "lines":
            return "\n".join(many_lines(int(number)))
        case "times":
            return _NAMED.get(name, name) * int(number)
        case "first":
            return text(name)[: int(number)]
        case "broken":
            return broken(text(name), int(number))
        case _:
            return words(name)[part]


def broken(line: str, width: int, line_end: str = "\n") -> str:
    """A line as a program leaves it that breaks lines at a column."""
    return line_end.join(line[start : start + width] for start in range(0, len(line), width))


@functools.cache
def many_lines(count: int) -> tuple[str, ...]:
    """So many different Ed25519 keys, as lines."""
    return tuple(f"ssh-ed25519 {_base64(ed25519_blob(point))} key {at}" for at, point in enumerate(_points(count), 1))


def _points(count: int) -> list[bytes]:
    """Public keys of the seeds 1, 2, 3 ...: known to everybody, and so good for tests only."""
    seeds = (number.to_bytes(32, "big") for number in range(1, count + 1))
    return [Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() for seed in seeds]


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


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


def ecdsa_blob(curve: bytes, point: bytes, name: bytes | None = None) -> bytes:
    return string(b"ecdsa-sha2-" + (name or curve)) + string(curve) + string(point)


def _blob(name: str) -> bytes:
    return base64.b64decode(words(name)["base64"])


def _modulus() -> int:
    return int.from_bytes(_blob("rsa2048")[-256:], "big")


def _point() -> bytes:
    return _blob("ecdsa256")[-65:]


def _wide_modulus(bits: int) -> int:
    """An invented number of so many bits without small factors: a power of a real modulus, cut to size."""
    number = _modulus() ** (bits // 2048 + 1)
    number >>= number.bit_length() - bits
    while math.gcd(number, _SMALL) != 1:
        number += 1
    return number


_SMALL = math.prod(number for number in range(2, 256))

# Blobs that no program makes: each has one fault. Their line's comment is their name.
MADE: dict[str, Callable[[], bytes]] = {
    "rsa-16384": lambda: rsa_blob(65537, _wide_modulus(16384)),
    "rsa-16385": lambda: rsa_blob(65537, _wide_modulus(16385)),
    "rsa-20000": lambda: rsa_blob(65537, _wide_modulus(20000)),
    "rsa-32768": lambda: rsa_blob(65537, _wide_modulus(32768)),
    "rsa-even": lambda: rsa_blob(65537, _modulus() - 1),
    "rsa-factor-3": lambda: rsa_blob(65537, 3 * (_modulus() // 6 * 2 + 1)),
    "rsa-factor-251": lambda: rsa_blob(65537, 251 * (_modulus() // 512 * 2 + 1)),
    "rsa-e-1": lambda: rsa_blob(1, _modulus()),
    "rsa-e-2": lambda: rsa_blob(2, _modulus()),
    "rsa-e-3": lambda: rsa_blob(3, _modulus()),
    "rsa-e-17": lambda: rsa_blob(17, _modulus()),
    "rsa-e-37": lambda: rsa_blob(37, _modulus()),
    "rsa-e-65536": lambda: rsa_blob(65536, _modulus()),
    "rsa-e-wide": lambda: rsa_blob(2**64 + 1, _modulus()),
    "rsa-leading-zero": lambda: string(b"ssh-rsa") + mpint(65537) + string(b"\0" + mpint(_modulus())[4:]),
    "rsa-leading-zero-e": lambda: string(b"ssh-rsa") + string(b"\0\x01\0\x01") + mpint(_modulus()),
    "rsa-negative": lambda: string(b"ssh-rsa") + mpint(65537) + string(_blob("rsa2048")[-256:]),
    "ed25519-zero": lambda: ed25519_blob(bytes(32)),
    "ed25519-one": lambda: ed25519_blob((1).to_bytes(32, "little")),
    "ed25519-order-8": lambda: ed25519_blob(
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7.to_bytes(32, "little")
    ),
    "ed25519-off-curve": lambda: ed25519_blob((2).to_bytes(32, "little")),
    "ed25519-above-p": lambda: ed25519_blob((2**255 - 19 + 3).to_bytes(32, "little")),
    "ed25519-31-bytes": lambda: ed25519_blob(_blob("ed25519")[-31:]),
    "ed25519-33-bytes": lambda: ed25519_blob(_blob("ed25519")[-32:] + b"\0"),
    "ecdsa-off-curve": lambda: ecdsa_blob(b"nistp256", _point()[:-1] + bytes([_point()[-1] ^ 1])),
    "ecdsa-zero": lambda: ecdsa_blob(b"nistp256", b"\x04" + bytes(64)),
    "ecdsa-compressed": lambda: ecdsa_blob(b"nistp256", bytes([2 + _point()[-1] % 2]) + _point()[1:33]),
    "ecdsa-hybrid": lambda: ecdsa_blob(b"nistp256", bytes([6 + _point()[-1] % 2]) + _point()[1:]),
    "ecdsa-other-curve": lambda: ecdsa_blob(b"nistp256", _point(), b"nistp384"),
    "ecdsa-p384-called-p256": lambda: ecdsa_blob(b"nistp384", _blob("ecdsa384")[-97:], b"nistp256"),
    "ecdsa-curve-nobody-knows": lambda: ecdsa_blob(b"nistp257", _point(), b"nistp256"),
    "ecdsa-p192": lambda: ecdsa_blob(b"nistp192", b"\x04" + bytes(range(48))),
    "sk-for-web": lambda: _sk_ed25519(b"https://example.org"),
    "sk-no-application": lambda: _sk_ed25519(b""),
    "sk-not-ascii": lambda: _sk_ed25519(b"ssh:\xff"),
    "sk-own-application": lambda: _sk_ed25519(b"ssh:smithville"),
    "xmss": lambda: string(b"ssh-xmss@openssh.com") + string(b"XMSS_SHA2-256_W16_H10") + string(bytes(68)),
    "webauthn": lambda: string(b"webauthn-sk-ecdsa-sha2-nistp256@openssh.com") + _blob("sk_ecdsa256")[38:],
    "ml-dsa": lambda: string(b"ssh-mldsa-65") + string(bytes(range(200))),
}


def _sk_ed25519(application: bytes) -> bytes:
    return string(b"sk-ssh-ed25519@openssh.com") + string(_blob("ed25519")[-32:]) + string(application)


def fingerprints(content: bytes) -> list[str]:
    """What the real ssh-keygen reads in an authorized_keys file, line by line."""
    command = ["ssh-keygen", "-l", "-E", "sha256", "-f", "-"]
    run = subprocess.run(command, input=content, capture_output=True, check=True)
    return [line.split(" ")[1] for line in run.stdout.decode("utf-8", "replace").splitlines()]
