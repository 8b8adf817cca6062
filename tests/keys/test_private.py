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
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from keys.core.characters import text_from
from keys.core.formats import private_bytes
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


def in_entities(text: str) -> str:
    return "".join(f"&#{ord(letter)};" for letter in text)


HEX: dict[str, Callable[[bytes], str]] = {
    "plain": bytes.hex,
    "capitals": lambda content: content.hex().upper(),
    "colons": lambda content: content.hex(":"),
    "blanks": lambda content: content.hex(" "),
    "lines": lambda content: samples.broken(content.hex(), 60),
    "behind a key": lambda content: f"{samples.text('ed25519')}\n{content.hex(':')}",
}


@pytest.mark.parametrize("spelt", HEX.values(), ids=HEX.keys())
def test_it_is_found_in_hexadecimal_digits(private_key: str, spelt: Callable[[bytes], str]) -> None:
    refused(spelt(private_key.encode("ascii")), private_key)


@pytest.mark.parametrize("spelt", HEX.values(), ids=HEX.keys())
def test_its_bytes_are_found_in_hexadecimal_digits(kind: str, private_key: str, spelt: Callable[[bytes], str]) -> None:
    if kind in BARE or kind.startswith("ppk"):
        pytest.skip("nothing tells these bytes from any others")
    refused(spelt(base64.b64decode(body(private_key))), private_key)


def test_it_is_found_as_the_entities_of_a_web_page(private_key: str) -> None:
    refused(in_entities(private_key), private_key, 1)
    refused(f"{samples.text('ed25519')}\n{in_entities(private_key)}", private_key, 2)


def test_its_body_in_groups_of_four_is_found(kind: str, private_key: str) -> None:
    if kind in BARE or kind.startswith("ppk"):
        pytest.skip("nothing tells these bytes from any others")
    groups = "\n".join(" ".join(textwrap.wrap(line, 4)) for line in body(private_key).splitlines())
    refused(f"{samples.text('ed25519')}\n{groups}", private_key, 2)


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


def test_the_primes_alone_are_found() -> None:
    command = ["openssl", "pkey", "-text", "-noout"]
    key = private_keys.private_key("pkcs8-rsa")
    text = subprocess.run(command, input=key, capture_output=True, text=True, check=True).stdout
    rest = text[text.index("prime1:") :]
    for disguise in PRINTED.values():
        refused(disguise(rest), rest)


# --- A PPK without its headers -----------------------------------------------------------------------------------


PPK = private_keys.PPK_TYPES


@pytest.mark.parametrize("options", PPK.values(), ids=PPK.keys())
def test_the_two_bodies_of_a_ppk_are_found_without_any_header(options: tuple[str, ...]) -> None:
    text = private_keys.ppk(options)
    bodies = "".join(f"{line}\n" for line in text.split("\n") if line and ":" not in line)
    for shape in (bodies, f"{samples.text('rsa3072')}\n{bodies}", textwrap.indent(bodies, "> ")):
        refused(shape, text)


@pytest.mark.parametrize("options", PPK.values(), ids=PPK.keys())
@pytest.mark.parametrize("shape", ["{number}", "{public}\n{number}", "{bare}\n{number}", "{bare} dana {number}"])
def test_the_private_body_of_a_ppk_is_found_alone_and_beside_its_public_key(
    options: tuple[str, ...], shape: str
) -> None:
    text = private_keys.ppk(options)
    number = private_keys.private_body(text)
    public = private_keys.public_line(text)
    lines = number if "dana" not in shape else number.replace("\n", "")
    refused(shape.format(number=lines, public=f"{public} dana", bare=public), text)


def test_the_second_half_of_a_broken_public_key_is_not_taken_for_such_a_number() -> None:
    line = samples.text("ed25519-no-comment")
    assert parse_paste(f"{line[:32]}\n{line[32:]}").accepted
    assert parse_paste(f"{line[:32]}\n{line[32:]} dana").accepted
    assert private_key_lines(f"> {line[:32]}\n> {line[32:]}") == ()


# --- Other programs ----------------------------------------------------------------------------------------------


def jwk() -> dict[str, str]:
    numbers = load_pem_private_key(private_keys.private_key("pkcs8-rsa").encode("ascii"), None).private_numbers()
    parts = {"n": numbers.public_numbers.n, "d": numbers.d, "p": numbers.p}
    return {
        "kty": "RSA",
        "e": "AQAB",
        **{name: _base64(number, base64.urlsafe_b64encode) for name, number in parts.items()},
    }


def _base64(number: int, encode: Callable[[bytes], bytes] = base64.b64encode) -> str:
    return encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode("ascii").rstrip("=")


JWK: dict[str, Callable[[dict[str, str]], str]] = {
    "json": json.dumps,
    "json in json": lambda key: json.dumps({"key": json.dumps(key)}),
    "python": str,
    "yaml": lambda key: "\n".join(f"{name}: {value}" for name, value in key.items()),
    "value on the next line": lambda key: json.dumps(key).replace('"d": ', '"d":\n'),
    "names without quotes": lambda key: re.sub(r'"(\w+)":', r"\1:", json.dumps(key)),
}


@pytest.mark.parametrize("written", JWK.values(), ids=JWK.keys())
def test_a_json_web_key_is_found_in_any_spelling(written: Callable[[dict[str, str]], str]) -> None:
    refused(written(jwk()), json.dumps(jwk()))


def test_a_key_in_xml_is_found_over_lines_and_without_its_exponent() -> None:
    numbers = load_pem_private_key(private_keys.private_key("pkcs8-rsa").encode("ascii"), None).private_numbers()
    prime, secret = _base64(numbers.p), _base64(numbers.d)
    for text in (f"<D>{secret}</D>", f"<D>\n{secret}\n</D>", html.escape(f"<D>{secret}</D>")):
        refused(f"<RSAKeyValue>\n{text}</RSAKeyValue>", secret)
    refused(f"<RSAKeyValue><P>{prime}</P></RSAKeyValue>", prime)
    assert not parse_paste("<DSAKeyValue><P>" + prime).private_key


def dropbear() -> dict[str, bytes]:
    """RSA and Ed25519 as Dropbear writes them, and Ed25519 as agents do."""
    numbers = load_pem_private_key(private_keys.private_key("pkcs8-rsa").encode("ascii"), None).private_numbers()
    public = numbers.public_numbers
    rsa = samples.rsa_blob(public.e, public.n) + b"".join(map(samples.mpint, (numbers.d, numbers.p, numbers.q)))
    seed = bytes(range(32))
    point = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    both = samples.string(seed + point)
    name = samples.string(b"ssh-ed25519")
    return {"rsa": rsa, "ed25519": name + both, "agent": name + samples.string(point) + both}


@pytest.mark.parametrize("kind_of_blob", ["rsa", "ed25519", "agent"])
def test_a_public_key_with_its_private_numbers_behind_it_is_a_private_one(kind_of_blob: str) -> None:
    blob = dropbear()[kind_of_blob]
    code = base64.b64encode(blob).decode("ascii")
    word = "ssh-rsa" if kind_of_blob == "rsa" else "ssh-ed25519"
    for text in (code, samples.broken(code, 64), f"{word} {code}", f"{samples.text('rsa3072')}\n{word} {code} dana"):
        refused(text, code)
    assert private_bytes.is_private(blob)


def test_two_public_keys_without_a_break_between_are_not_a_private_one() -> None:
    words = samples.words("ed25519")
    assert not parse_paste(f"{words['type']} {words['base64']}{samples.words('ed25519_b')['base64']}").private_key
    assert not parse_paste(f"{words['base64']}\n{samples.words('ed25519_b')['base64']}").private_key


@pytest.mark.parametrize("comment", ["R&D; lab", "a &amp; b", "prime1: main", "kty d: x", "d: dana", "30:82 h"])
def test_a_comment_that_only_looks_a_little_like_these_is_taken(comment: str) -> None:
    assert parse_paste(f"{samples.text('ed25519')} {comment}").accepted


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
