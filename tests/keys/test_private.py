"""Private keys are found whatever surrounds them, refused, and not a word of them is repeated.

They are made here with the real programs, so that none lies in the repository.
"""

import base64
import html
import json
import re
import subprocess
import textwrap
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

from keys.core.characters import text_from
from keys.core.formats.private import private_key_lines
from keys.core.parse import parse_paste
from tests.keys import private_keys, samples
from tests.keys.private_keys import KINDS

# What stands in these between the headers is encrypted, and nothing tells it from any other base64.
BARE = ("pem-rsa-passphrase", "ppk-v3-passphrase")


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def private_key(kind: str) -> str:
    return private_keys.private_key(kind)


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


DISGUISES: dict[str, Callable[[str], str]] = {
    "on one line": lambda text: text.replace("\n", " "),
    "on one line without blanks": lambda text: text.replace("\n", ""),
    "escaped line ends": lambda text: text.replace("\n", "\\n"),
    "json": lambda text: json.dumps({"key": text}),
    "yaml": lambda text: "key: |\n" + textwrap.indent(text, "  "),
    "a setting": lambda text: "key=" + text,
    "mail": lambda text: "".join(f"> {line}\n" for line in text.splitlines()),
    "mail, broken": lambda text: "\n".join(f"> {line}" for line in samples.broken(text, 30).split("\n")),
    "comments": lambda text: "".join(f"# {line}\n" for line in text.splitlines()),
    "numbered lines": lambda text: "".join(f"{n:3} {line}\n" for n, line in enumerate(text.splitlines(), 1)),
    "a difference": lambda text: "".join(f"+{line}\n" for line in text.splitlines()),
    "indented": lambda text: textwrap.indent(text, "    "),
    "quoted": lambda text: f'"{text}"',
    "a web page": lambda text: f"<pre>{html.escape(text)}</pre>",
    "a web page's blanks and line ends": lambda text: text.replace(" ", "&nbsp;").replace("\n", "<br/>"),
    "a web address": lambda text: "https://example.org/?key=" + urllib.parse.quote(text),
    "a form": lambda text: "key=" + urllib.parse.quote_plus(text),
    "byte order mark": lambda text: "\ufeff" + text,
    "non-breaking blanks": lambda text: text.replace(" ", "\u00a0"),
    "zero-width blanks": lambda text: "\u200b".join(text),
    "zero bytes": lambda text: "\0".join(text),
    "long dashes": lambda text: text.replace("-----", "\u2014"),
    "capitals": str.upper,
    "small letters": str.lower,
    "only the beginning": lambda text: "\n".join(text.split("\n")[:3]),
    "without its first line": lambda text: text.partition("\n")[2],
    "without its last line": lambda text: text.rstrip("\n").rpartition("\n")[0],
    "behind too much text": lambda text: "x" * 70_000 + "\n" + text,
    "behind a type": lambda text: "ssh-rsa AAAA " + text,
    "as a comment": lambda text: samples.text("ed25519") + " " + text,
    "in a command": lambda text: f"cat > id <<EOF\n{text}EOF",
    "base64 of it": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of it, broken": lambda text: samples.broken(base64.b64encode(text.encode()).decode(), 10),
}

BODY_DISGUISES: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "broken at 10": lambda text: samples.broken(text.replace("\n", ""), 10),
    "broken at 15 in a mail": lambda text: "> " + samples.broken(text.replace("\n", ""), 15, "\n> "),
    "on one line": lambda text: text.replace("\n", ""),
    "indented": lambda text: textwrap.indent(text, "    "),
    "quoted": lambda text: f'"{text.strip()}"',
    "zero-width blanks": lambda text: "\u200b".join(text),
    "blank lines between": lambda text: text.replace("\n", "\n\n"),
    "behind a public key": lambda text: samples.text("rsa3072") + "\n" + text,
}


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES.keys())
def test_no_disguise_hides_it(private_key: str, disguise: Callable[[str], str]) -> None:
    refused(disguise(private_key), private_key)


@pytest.mark.parametrize("width", [10, 16, 20, 33, 50])
def test_breaking_its_lines_does_not_hide_it(private_key: str, width: int) -> None:
    text = private_key.replace("\n", " ")
    refused("\n".join(text[at : at + width] for at in range(0, len(text), width)), private_key)


@pytest.mark.parametrize("disguise", BODY_DISGUISES.values(), ids=BODY_DISGUISES.keys())
def test_its_body_alone_is_refused_and_not_echoed(kind: str, private_key: str, disguise: Callable[[str], str]) -> None:
    text = disguise(body(private_key))
    if kind not in BARE:
        refused(text, private_key)
        return
    paste = parse_paste(text)
    assert not paste.accepted
    assert not [line for line in private_key.split() if len(line) > 20 and line[:12] in repr(paste.problems)]


def test_a_piece_of_base64_that_may_be_private_says_what_to_do_then(private_key: str) -> None:
    text = body(private_key)
    paste = parse_paste(text)
    assert paste.private_key or "private key" in paste.problems[0].hint


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
        *(samples.text(name) for name in ("ecdsa256.explicit", "rsapss.spki", "x25519.spki", "request.pem")),
        *(samples.text(name) for name in ("certificate.pem", "ed25519-cert", "ecdsa256-cert", "rsa4096.pkcs1")),
        "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----",
        samples.text("ed25519") + " my private key",
        samples.text("ed25519") + " SEND PRIVATE KEY TO NOBODY",
        samples.text("ed25519") + " at the END OF PRIVATE KEY ROTATION, BEGIN NEW PRIVATE KEY",
        samples.text("ed25519") + " PRIVATE KEY of the lab",
        "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUQ\n-----END CERTIFICATE-----",
    ],
)
def test_a_public_key_is_not_taken_for_a_private_one(text: str) -> None:
    assert private_key_lines(text) == ()


# --- As openssl prints its numbers -------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["pkcs8-ed25519", "pkcs8-ecdsa", "pem-ecdsa", "pkcs8-rsa"])
def printed(request: pytest.FixtureRequest) -> str:
    """What `openssl pkey -text -noout` says of a private key."""
    key = private_keys.private_key(request.param)
    command = ["openssl", "pkey", "-text", "-noout"]
    return subprocess.run(command, input=key, capture_output=True, text=True, check=True).stdout


PRINTED: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "on one line": lambda text: " ".join(text.split()),
    "as a comment": lambda text: samples.text("ed25519") + " " + " ".join(text.split()),
    "behind number signs": lambda text: "".join(f"# {line}\n" for line in text.splitlines()) + samples.text("ed25519"),
    "in a mail": lambda text: samples.text("rsa3072") + "\n" + "".join(f"> {line}\n" for line in text.splitlines()),
    "numbered": lambda text: "".join(f"{n:3} {line}\n" for n, line in enumerate(text.splitlines(), 1)),
    "escaped line ends": lambda text: text.replace("\n", "\\n"),
    "broken at 30": lambda text: samples.broken(text.replace("\n", " "), 30),
}


@pytest.mark.parametrize("disguise", PRINTED.values(), ids=PRINTED.keys())
def test_the_numbers_of_a_private_key_are_found(printed: str, disguise: Callable[[str], str]) -> None:
    refused(disguise(printed), printed)


@pytest.mark.parametrize("kind", ["pkcs8-ed25519", "pkcs8-ecdsa"])
@pytest.mark.parametrize("disguise", PRINTED.values(), ids=PRINTED.keys())
def test_they_are_found_without_their_first_line(kind: str, disguise: Callable[[str], str]) -> None:
    command = ["openssl", "pkey", "-text", "-noout"]
    key = private_keys.private_key(kind)
    text = subprocess.run(command, input=key, capture_output=True, text=True, check=True).stdout
    refused(disguise(text.partition("\n")[2]), text)


@pytest.mark.parametrize("comment", ["priv: dana", "priv: ab:cd", "privacy office", "priv", "apriv:00:11:22:33:44:55"])
def test_a_comment_that_only_speaks_of_priv_is_taken(comment: str) -> None:
    assert parse_paste(f"{samples.text('ed25519')} {comment}").accepted


# --- Pieces behind number signs and in comments --------------------------------------------------------------------


@pytest.mark.parametrize("marks", ["# ", "#", "## > ", '# "', "  # * "])
@pytest.mark.parametrize("width", [20, 64, 70])
def test_the_middle_of_a_private_key_behind_number_signs_is_refused(
    kind: str, private_key: str, marks: str, width: int
) -> None:
    middle = body(private_key).replace("\n", "")[80:]
    if len(middle) < 60:
        pytest.skip("there is no middle in so short a key")
    paste = parse_paste(marks + samples.broken(middle, width, f"\n{marks}") + "\n" + samples.text("ed25519"))
    assert not paste.accepted
    assert paste.private_key or [problem.code for problem in paste.problems] == ["key-part"]


def test_the_middle_of_a_private_key_in_a_comment_is_refused(kind: str, private_key: str) -> None:
    middle = body(private_key).replace("\n", "")[80:140]
    if len(middle) < 40:
        pytest.skip("there is no middle in so short a key")
    paste = parse_paste(f"{samples.text('ed25519')} {middle}")
    assert not paste.accepted
    assert not paste.keys
    assert middle not in repr(paste)


@pytest.mark.parametrize("options", [("-t", "ed25519"), ("-t", "ecdsa"), ("-t", "ecdsa", "-b", "384")])
def test_the_number_of_a_ppk_as_a_comment_is_a_private_key(options: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "phrase").write_text("", "ascii")
    subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", tmp_path / "key", *options], check=True, capture_output=True)
    command = ["puttygen", "key", "-O", "private", "--new-passphrase", "phrase", "-o", "out"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    lines = (tmp_path / "out").read_text("ascii").split("\n")
    first = next(at for at, line in enumerate(lines) if line.startswith("Private-Lines:"))
    number = "".join(lines[first + 1 : first + 1 + int(lines[first].split(" ")[1])])
    refused(f"{samples.text('rsa3072')}\n{samples.text('ed25519').rpartition(' ')[0]} {number}", number, 2)


@pytest.mark.parametrize(
    "line",
    [
        f"# {samples.text('ed25519')}",
        f"# {samples.text('rsa3072')} old",
        "# " + samples.broken(samples.text("rsa3072").rpartition(" ")[0], 64, "\n# "),
        "".join(f"# {line}\n" for line in samples.text("rsa2048.spki").split("\n")),
        "".join(f"# {line}\n" for line in samples.text("rsa2048.rfc4716").split("\n"))
        if (samples.DATA / "public" / "rsa2048.rfc4716").exists()
        else "# rsa",
        "# dana.ruiz@a-very-long-name-of-a-host.of-the-district.smithville.k12.example.org",
        "# 3f786850e387550fdab836ed7e6dc881de23001b",
        "# 2026-11-22T08:54:00+00:00",
        "# ////////////////////////////////////////////////////",
        "# /home/dana/Documents/Keys/Production/Server/Backup",
        "# SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
    ],
)
def test_an_honest_line_with_a_number_sign_is_left_out_and_no_more(line: str) -> None:
    paste = parse_paste(f"{line}\n{samples.text('ed25519_b')}")
    assert paste.accepted
    assert len(paste.keys) == 1
