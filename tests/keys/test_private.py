"""Private keys are found whatever surrounds them, refused, and not a word of them is repeated.

They are made here with the real programs, so that none lies in the repository.
"""

import base64
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from keys.core.characters import text_from
from keys.core.formats.private import private_key_lines
from keys.core.parse import parse_paste
from tests.keys import samples

PASSPHRASE = "correct horse"


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def keygen(folder: Path, *options: str, passphrase: str = "") -> str:
    file = folder / "key"
    run("ssh-keygen", "-q", "-N", passphrase, "-C", "dana", "-f", str(file), *options)
    return file.read_text("ascii")


def keygen_with_passphrase(folder: Path, *options: str) -> str:
    return keygen(folder, *options, passphrase=PASSPHRASE)


def puttygen(folder: Path, *options: str) -> str:
    keygen(folder, "-t", "rsa", "-b", "2048")
    (folder / "phrase").write_text(PASSPHRASE if "--protected" in options else "", "ascii")
    rest = [option for option in options if option != "--protected"]
    out = folder / "out"
    phrase = str(folder / "phrase")
    run("puttygen", str(folder / "key"), *rest, "--new-passphrase", phrase, "-o", str(out))
    return out.read_text("ascii")


def openssl(folder: Path, *options: str) -> str:
    out = folder / "out"
    size = ("1024",) if options[0] == "dsaparam" else ()
    run("openssl", *options, "-out", str(out), *size)
    return out.read_text("ascii")


def openssl_encrypted(folder: Path, *options: str) -> str:
    plain, out = folder / "plain", folder / "out"
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", str(plain))
    run("openssl", "pkcs8", "-topk8", "-in", str(plain), "-out", str(out), *options, "-passout", "pass:" + PASSPHRASE)
    return out.read_text("ascii")


KINDS: dict[str, tuple[Callable[..., str], tuple[str, ...]]] = {
    "openssh ed25519": (keygen, ("-t", "ed25519")),
    "openssh rsa": (keygen, ("-t", "rsa", "-b", "2048")),
    "openssh ecdsa with a passphrase": (keygen_with_passphrase, ("-t", "ecdsa")),
    "pem rsa": (keygen, ("-t", "rsa", "-b", "2048", "-m", "PEM")),
    "pem rsa with a passphrase": (keygen_with_passphrase, ("-t", "rsa", "-b", "2048", "-m", "PEM")),
    "pem ecdsa": (keygen, ("-t", "ecdsa", "-m", "PEM")),
    "dsa": (openssl, ("dsaparam", "-noout", "-genkey")),
    "pkcs8 rsa": (keygen, ("-t", "rsa", "-b", "2048", "-m", "PKCS8")),
    "pkcs8 ed25519": (openssl, ("genpkey", "-algorithm", "ed25519")),
    "pkcs8 ecdsa": (openssl, ("genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")),
    "pkcs8 encrypted": (openssl_encrypted, ()),
    "pkcs8 encrypted the old way": (openssl_encrypted, ("-v1", "PBE-SHA1-3DES")),
    "ppk v3": (puttygen, ("-O", "private")),
    "ppk v2": (puttygen, ("-O", "private", "--ppk-param", "version=2")),
    "ppk v3 with a passphrase": (puttygen, ("-O", "private", "--protected")),
    "ssh.com": (puttygen, ("-O", "private-sshcom")),
    "ssh.com with a passphrase": (puttygen, ("-O", "private-sshcom", "--protected")),
}


@pytest.fixture(scope="module", params=KINDS.values(), ids=KINDS.keys())
def private_key(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    make, options = request.param
    return make(tmp_path_factory.mktemp("private"), *options)


def refused(text: str, secret: str, line: int | None = None) -> None:
    """The paste is refused for its private key alone, at that line, and repeats nothing of it."""
    paste = parse_paste(text)
    assert paste.private_key
    assert not paste.accepted
    assert not paste.keys
    assert not paste.notes
    assert {problem.code for problem in paste.problems} == {"private-key"}
    if line is not None:
        assert [problem.line for problem in paste.problems] == [line]
    shown = repr(paste)
    assert not [word for word in re.findall(r"[A-Za-z0-9+/]{12,}", secret) if word in shown]


def body(text: str) -> str:
    """The longest run of base64 lines: what is left when somebody copies without the first and last lines."""
    runs = re.findall(r"(?:^[A-Za-z0-9+/=]+\n)+", text, re.M)
    return max(runs, key=len)


def test_a_private_key_is_refused_and_not_echoed(private_key: str) -> None:
    refused(private_key, private_key, 1)


def test_it_says_to_throw_the_key_away_and_make_a_new_pair(private_key: str) -> None:
    (problem,) = parse_paste(private_key).problems
    assert "exposed" in problem.message
    assert "throw this key away" in problem.message
    assert "new pair" in problem.message
    assert "ssh-keygen" in problem.hint


@pytest.mark.parametrize("line_end", ["\r\n", "\r", "\r\r\n"], ids=["crlf", "cr", "crcrlf"])
def test_line_ends_do_not_hide_it(private_key: str, line_end: str) -> None:
    refused(private_key.replace("\n", line_end), private_key, 1)


def test_public_keys_round_it_do_not_hide_it(private_key: str) -> None:
    text = f"{samples.text('ed25519')}\n\n{private_key}\n{samples.text('rsa3072')}\n"
    refused(text, private_key, 3)


@pytest.mark.parametrize(
    "disguise",
    [
        lambda text: text.replace("\n", " "),
        lambda text: text.replace("\n", ""),
        lambda text: text.replace("\n", "\\n"),
        lambda text: "".join(f"> {line}\n" for line in text.splitlines()),
        lambda text: "".join(f"# {line}\n" for line in text.splitlines()),
        lambda text: "".join(f"    {line}\n" for line in text.splitlines()),
        lambda text: f'"{text}"',
        lambda text: "\ufeff" + text,
        lambda text: text.replace(" ", "\u00a0"),
        lambda text: "\u200b".join(text),
        lambda text: "\0".join(text),
        lambda text: text.replace("-----", "\u2014"),
        lambda text: "\n".join(text.split("\n")[:3]),
        lambda text: "x" * 70_000 + "\n" + text,
        lambda text: "ssh-rsa AAAA " + text,
        lambda text: base64.b64encode(text.encode()).decode(),
    ],
    ids=[
        "on one line",
        "on one line without blanks",
        "escaped line ends",
        "mail",
        "comments",
        "indented",
        "quoted",
        "byte order mark",
        "non-breaking blanks",
        "zero-width blanks",
        "zero bytes",
        "long dashes",
        "only the beginning",
        "behind too much text",
        "behind a type",
        "base64 of it",
    ],
)
def test_no_disguise_hides_it(private_key: str, disguise: Callable[[str], str]) -> None:
    refused(disguise(private_key), private_key)


@pytest.mark.parametrize("width", [10, 16, 20, 33, 50])
def test_breaking_its_lines_does_not_hide_it(private_key: str, width: int) -> None:
    text = private_key.replace("\n", " ")
    refused("\n".join(text[at : at + width] for at in range(0, len(text), width)), private_key)


def test_its_body_alone_is_refused_and_not_echoed(private_key: str) -> None:
    text = body(private_key)
    # The bodies of these two are bare numbers, with nothing to know them by: refused as what no key looks like.
    if private_key.startswith("PuTTY") or "Proc-Type" in private_key:
        paste = parse_paste(text)
        assert not paste.accepted
        assert not [line for line in text.split() if line[:12] in repr(paste)]
    else:
        refused(text, private_key, 1)


def test_the_last_lines_alone_are_found(private_key: str) -> None:
    refused("\n".join(private_key.split("\n")[-4:]), private_key)


def test_a_utf_16_file_of_it_is_found(private_key: str) -> None:
    refused(text_from(private_key.encode("utf-16")), private_key, 1)
    refused(text_from(private_key.encode("utf-16-le")), private_key, 1)


def test_each_of_several_is_told(private_key: str) -> None:
    count = private_key.count("\n")
    paste = parse_paste(private_key + samples.text("ed25519") + "\n" + private_key)
    assert [problem.line for problem in paste.problems] == [1, count + 2]


@pytest.mark.parametrize(
    "text",
    [
        *(samples.text(name) for name in samples.TYPES),
        *(samples.text(name) for name in ("rsa3072.rfc4716", "rsa2048.spki", "rsa2048.pkcs1", "ed25519.spki")),
        *(samples.text(name) for name in ("dsa", "dsa.spki", "rsa2048-cert", "ed448.spki", "secp256k1.spki")),
        samples.text("ed25519") + " my private key",
        samples.text("ed25519") + " PRIVATE KEY of the lab",
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ\n-----END CERTIFICATE-----",
    ],
)
def test_a_public_key_is_not_taken_for_a_private_one(text: str) -> None:
    assert private_key_lines(text) == ()
