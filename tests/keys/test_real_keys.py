"""Key pairs made by the programs districts use: pasted in every form these can write, then used to sign in."""

import functools
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from hosts import provision
from hosts.core.paths import key_file, username
from keys.core.authorized_keys import render
from keys.core.parse import parse_paste
from tests.hosts.clients import Door, Ran, program, psftp, sftp
from tests.hosts.reference import Reference
from tests.hosts.serving import Serving

CAPTION = "Public key for pasting into OpenSSH authorized_keys file:"
ACCOUNT = "smithville.k12.oh.us"


@dataclass(frozen=True, slots=True)
class Pair:
    """A private key's file, the client that signs in with it, and the public key in every form by its name."""

    key: Path
    client: Callable[..., Ran]
    fingerprint: str
    forms: dict[str, str]


def said(*command: str | Path) -> str:
    """What a program printed. A large RSA key takes puttygen long on a busy machine, so there is no limit."""
    words = [program(str(command[0])), *map(str, command[1:])]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    return done.stdout.decode("utf-8")


def written(line: str, key: Path, forms: Sequence[str]) -> dict[str, str]:
    """What ssh-keygen makes of an OpenSSH line in other forms."""
    public = key.with_name(f"{key.name}.public")
    public.write_text(line + "\n", "utf-8")
    return {form: said("ssh-keygen", "-e", "-m", form, "-f", public) for form in forms}


def fingerprint(line: str, key: Path) -> str:
    public = key.with_name(f"{key.name}.line")
    public.write_text(line + "\n", "utf-8")
    return said("ssh-keygen", "-l", "-f", public).split(" ")[1]


def by_ssh_keygen(folder: Path, kind: str, bits: str) -> Pair:
    key = folder / "key"
    said("ssh-keygen", "-q", "-t", kind, "-b", bits, "-N", "", "-C", "dana@sis server", "-f", key)
    line = Path(f"{key}.pub").read_text("utf-8").strip()
    more = ("RFC4716",) if kind == "ed25519" else ("RFC4716", "PKCS8", "PEM")
    forms = {".pub": line, "-y": said("ssh-keygen", "-y", "-f", key), **written(line, key, more)}
    return Pair(key, sftp, fingerprint(line, key), forms)


@functools.cache
def made_by_puttygen(kind: str, bits: str) -> str:
    """A new private key without a passphrase, as puttygen saves it."""
    with tempfile.TemporaryDirectory() as folder:
        empty, made = Path(folder) / "empty", Path(folder) / "made"
        empty.touch()
        said("puttygen", "-q", "-t", kind, "-b", bits, "-C", 'dana "the" key', "--new-passphrase", empty, "-o", made)
        return made.read_text("ascii")


def by_puttygen(folder: Path, kind: str, bits: str, version: str) -> Pair:
    key = folder / "key"
    ppk, empty = key.with_suffix(".ppk"), folder / "empty"
    empty.touch()
    (folder / "made").write_text(made_by_puttygen(kind, bits), "ascii")
    options = ("--ppk-param", f"version={version}", "--old-passphrase", empty, "--new-passphrase", empty)
    said("puttygen", folder / "made", "-O", "private", "--reencrypt", *options, "-o", ppk)
    assert ppk.read_text("ascii").startswith(f"PuTTY-User-Key-File-{version}:")
    line = said("puttygen", ppk, "-L").strip()
    saved = said("puttygen", ppk, "-O", "public", "-o", folder / "saved") or (folder / "saved").read_text("ascii")
    forms = {"box": line, "box with the words above it": f"{CAPTION}\n{line}", "saved": saved}
    return Pair(key, psftp, fingerprint(line, key), {**forms, **written(line, key, ("RFC4716",))})


def by_openssl(folder: Path, *options: str) -> Pair:
    pem, key = folder / "pem", folder / "key"
    said("openssl", "genpkey", *options, "-out", pem)
    private = load_pem_private_key(pem.read_bytes(), None)
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    key.chmod(0o600)
    line = said("ssh-keygen", "-y", "-f", key).strip()
    forms = {"-y": line, "-pubout": said("openssl", "pkey", "-in", pem, "-pubout")}
    if "RSA" in options:
        forms["-RSAPublicKey_out"] = said("openssl", "rsa", "-in", pem, "-RSAPublicKey_out", "-out", folder / "pkcs1")
        forms["-RSAPublicKey_out"] = (folder / "pkcs1").read_text("ascii")
    if "EC" in options:
        command = ("openssl", "pkey", "-in", pem, "-pubout", "-ec_conv_form", "compressed")
        forms["compressed"] = said(*command)
    return Pair(key, sftp, fingerprint(line, key), forms)


RSA_BITS = ("2048", "3072", "4096")
CURVES = ("256", "384", "521")
MAKERS: dict[str, Callable[[Path], Pair]] = {
    **{f"ssh-keygen rsa {bits}": functools.partial(by_ssh_keygen, kind="rsa", bits=bits) for bits in RSA_BITS},
    **{f"ssh-keygen ecdsa {bits}": functools.partial(by_ssh_keygen, kind="ecdsa", bits=bits) for bits in CURVES},
    "ssh-keygen ed25519": functools.partial(by_ssh_keygen, kind="ed25519", bits="256"),
    **{
        f"puttygen {kind} {bits} ppk {version}": functools.partial(by_puttygen, kind=kind, bits=bits, version=version)
        for version in ("2", "3")
        for kind, bits in (
            *(("rsa", bits) for bits in RSA_BITS),
            *(("ecdsa", bits) for bits in CURVES),
            ("eddsa", "255"),
        )
    },
    "openssl rsa 2048": lambda folder: by_openssl(folder, "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    **{
        f"openssl ecdsa {bits}": lambda folder, bits=bits: by_openssl(
            folder, "-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:P-{bits}"
        )
        for bits in CURVES
    },
    "openssl ed25519": lambda folder: by_openssl(folder, "-algorithm", "ED25519"),
}


@pytest.fixture(scope="module", params=MAKERS.values(), ids=MAKERS.keys())
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    make: Callable[[Path], Pair] = request.param
    return make(tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    serving = Serving(tmp_path_factory.mktemp("embedded") / "sftp")
    provision.home_make(serving.files, username(ACCOUNT))
    yield serving
    serving.stop()


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reference]:
    reference = Reference(tmp_path_factory.mktemp("sshd"))
    yield reference
    reference.stop()


def signed_in(pair: Pair, door: Door) -> bool:
    ran = pair.client(door, "pwd")
    assert (ran.code == 0) == ("emote" in ran.output), ran.output
    return ran.code == 0


def rendered(pair: Pair) -> bytes:
    """The file for a paste of all forms: one line, as the other tests here show."""
    return render(parse_paste("\n".join(pair.forms.values())).keys)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_every_form_of_a_real_key_is_read_as_that_key(pair: Pair, line_end: str) -> None:
    for form, text in pair.forms.items():
        paste = parse_paste(text.replace("\n", line_end))
        assert not paste.problems, form
        assert [key.fingerprint for key in paste.keys] == [pair.fingerprint], form


def test_all_forms_in_one_paste_are_one_key(pair: Pair) -> None:
    paste = parse_paste("\n".join(pair.forms.values()))
    assert paste.accepted
    assert [key.fingerprint for key in paste.keys] == [pair.fingerprint]


def test_the_private_half_signs_in_at_the_embedded_host(pair: Pair, embedded: Serving) -> None:
    door = embedded.door(ACCOUNT, pair.key)
    embedded.files.write(key_file(username(ACCOUNT)), render([]))
    assert not signed_in(pair, door)
    embedded.files.write(key_file(username(ACCOUNT)), rendered(pair))
    assert signed_in(pair, door)


def test_the_private_half_signs_in_at_a_real_sshd(pair: Pair, sshd: Reference) -> None:
    door = sshd.door(pair.key)
    sshd.write(render([]))
    assert not signed_in(pair, door)
    sshd.write(rendered(pair))
    assert signed_in(pair, door)
