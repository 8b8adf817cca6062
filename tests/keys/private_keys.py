"""Private keys of every kind, made with the real programs when a test asks for one: none lies in the repository."""

import functools
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

PASSPHRASE = "correct horse"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _keygen(folder: Path, *options: str, passphrase: str = "") -> str:
    file = folder / "key"
    _run("ssh-keygen", "-q", "-N", passphrase, "-C", "dana", "-f", str(file), *options)
    return file.read_text("ascii")


def _keygen_with_passphrase(folder: Path, *options: str) -> str:
    return _keygen(folder, *options, passphrase=PASSPHRASE)


def _puttygen(folder: Path, *options: str) -> str:
    _keygen(folder, "-t", "rsa", "-b", "2048")
    (folder / "phrase").write_text(PASSPHRASE if "--protected" in options else "", "ascii")
    rest = [option for option in options if option != "--protected"]
    out = folder / "out"
    phrase = str(folder / "phrase")
    _run("puttygen", str(folder / "key"), *rest, "--new-passphrase", phrase, "-o", str(out))
    return out.read_text("ascii")


def _openssl(folder: Path, *options: str) -> str:
    out = folder / "out"
    size = ("1024",) if options[0] == "dsaparam" else ()
    _run("openssl", *options, "-out", str(out), *size)
    return out.read_text("ascii")


def _openssl_encrypted(folder: Path, *options: str) -> str:
    plain, out = folder / "plain", folder / "out"
    _run("openssl", "genpkey", "-algorithm", "ed25519", "-out", str(plain))
    _run("openssl", "pkcs8", "-topk8", "-in", str(plain), "-out", str(out), *options, "-passout", "pass:" + PASSPHRASE)
    return out.read_text("ascii")


KINDS: dict[str, tuple[Callable[..., str], tuple[str, ...]]] = {
    "openssh-ed25519": (_keygen, ("-t", "ed25519")),
    "openssh-rsa": (_keygen, ("-t", "rsa", "-b", "2048")),
    "openssh-ecdsa-passphrase": (_keygen_with_passphrase, ("-t", "ecdsa")),
    "pem-rsa": (_keygen, ("-t", "rsa", "-b", "2048", "-m", "PEM")),
    "pem-rsa-passphrase": (_keygen_with_passphrase, ("-t", "rsa", "-b", "2048", "-m", "PEM")),
    "pem-ecdsa": (_keygen, ("-t", "ecdsa", "-m", "PEM")),
    "pem-dsa": (_openssl, ("dsaparam", "-noout", "-genkey")),
    "pkcs8-rsa": (_keygen, ("-t", "rsa", "-b", "2048", "-m", "PKCS8")),
    "pkcs8-ed25519": (_openssl, ("genpkey", "-algorithm", "ed25519")),
    "pkcs8-ecdsa": (_openssl, ("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")),
    "pkcs8-encrypted": (_openssl_encrypted, ()),
    "pkcs8-encrypted-old": (_openssl_encrypted, ("-v1", "PBE-SHA1-3DES")),
    "ppk-v3": (_puttygen, ("-O", "private")),
    "ppk-v2": (_puttygen, ("-O", "private", "--ppk-param", "version=2")),
    "ppk-v3-passphrase": (_puttygen, ("-O", "private", "--protected")),
    "ssh.com": (_puttygen, ("-O", "private-sshcom")),
    "ssh.com-passphrase": (_puttygen, ("-O", "private-sshcom", "--protected")),
}


@functools.cache
def private_key(kind: str) -> str:
    """A new private key of a kind, the same one for the whole run."""
    make, options = KINDS[kind]
    with tempfile.TemporaryDirectory() as folder:
        return make(Path(folder), *options)


PPK_TYPES: dict[str, tuple[str, ...]] = {
    "ed25519": ("-t", "ed25519"),
    "rsa": ("-t", "rsa", "-b", "2048"),
    **{f"p{bits}": ("-t", "ecdsa", "-b", bits) for bits in ("256", "384", "521")},
}


@functools.cache
def ppk(options: tuple[str, ...]) -> str:
    """A new PPK without a passphrase, of a type."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _keygen(place, *options)
        (place / "phrase").write_text("", "ascii")
        command = ("puttygen", str(place / "key"), "-O", "private", "--new-passphrase", str(place / "phrase"))
        _run(*command, "-o", str(place / "out"))
        return (place / "out").read_text("ascii")


def private_body(text: str) -> str:
    """The lines of base64 below ``Private-Lines`` of a PPK."""
    return _body(text, "Private-Lines: ")


def public_line(text: str) -> str:
    """The public key of a PPK as an OpenSSH line without a comment."""
    kind = text.partition("\n")[0].partition(": ")[2]
    return f"{kind} {_body(text, 'Public-Lines: ').replace(chr(10), '')}"


def _body(text: str, header: str) -> str:
    count, _, rest = text.partition(header)[2].partition("\n")
    return "\n".join(rest.split("\n")[: int(count)])
