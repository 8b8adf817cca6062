"""How fast public keys are read, and how slow a hostile paste can be made: `python benchmarks/keys.py`.

Three tables, in CPU time of this process, so that other programs count as little as they can:

1. reading with the structural policy against bare `cryptography.load_ssh_public_key`, the same lines, in turns;
2. the checks for weak keys, which are not part of the first;
3. pastes of 64 KiB that were thought up, or found by the fuzzer, to take long.

Ends with 1 if a goal is missed. Measure on a machine that has nothing else to do.
"""

import base64
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

import gmpy2  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key  # noqa: E402

from keys.core.formats.pem import _compressed  # noqa: E402
from keys.core.parse import parse_paste  # noqa: E402
from keys.core.publickey import PublicKey  # noqa: E402
from keys.core.weak import WeakChecks  # noqa: E402
from tests.keys import samples  # noqa: E402
from tests.keys.samples import ed25519_blob, mpint, rsa_blob, string  # noqa: E402

MOST = 64 * 1024
GOAL_RATIO, GOAL_SECONDS = 2.5, 0.1
LONG_WAY = "all, the long way"
FUZZED = ROOT / "tests" / "data" / "fuzz"


def main() -> int:
    """All three tables."""
    is_quick = reading()
    weak_checks()
    return 0 if hostile() and is_quick else 1


def seconds(work: Callable[[], object], times: int) -> float:
    """CPU seconds of one call, over so many."""
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


# --- Reading -----------------------------------------------------------------------------------------------------


def reading() -> bool:
    """A row a type, then all types alike, then all lines as one paste; whether each keeps its goal."""
    lines = {name: samples.text(name) for name in samples.TYPES}
    print("Reading and structural policy: keys a second (one core), and cost against cryptography alone\n")
    print(f"{'':18}{'cryptography':>14}{'portal':>10}{'cost':>8}   goal: {GOAL_RATIO}")
    rows = {name: in_turns([line], [line]) for name, line in lines.items()}
    rows["all, one by one"] = in_turns(list(lines.values()), list(lines.values()))
    named = [f"  {line} (Zoë's C:\\\\keys)" for line in lines.values()]
    rows["all, odd comments"] = in_turns(list(lines.values()), named)
    rows["all, one paste"] = in_turns(list(lines.values()), ["\n".join(lines.values())])
    # So long a word with a capital is nothing that `keys.core.plain` takes: every form is asked. It has no goal.
    odd = [f"{line} NightlyExportOfDana" for line in lines.values()]
    rows[LONG_WAY] = in_turns(odd, odd)
    kept = [row(name, len(lines) if name.startswith("all") else 1, *spent) for name, spent in rows.items()]
    return all(kept)


def row(name: str, keys: int, theirs: float, ours: float) -> bool:
    """Prints one, and tells whether it keeps its goal."""
    is_kept = ours <= GOAL_RATIO * theirs or name == LONG_WAY
    said = "no goal" if name == LONG_WAY else "kept" if is_kept else "MISSED"
    print(f"{name:18}{keys / theirs:14,.0f}{keys / ours:10,.0f}{ours / theirs:8.2f}   {said}")
    return is_kept


def in_turns(lines: list[str], pastes: list[str]) -> tuple[float, float]:
    """The median CPU seconds of reading some lines, by cryptography and by us, a little of each at a time."""
    encoded = [line.encode("ascii") for line in lines]
    assert all(parse_paste(paste).accepted for paste in pastes)
    times = max(20, 200 // len(lines))
    pairs = [
        (
            seconds(lambda: [load_ssh_public_key(line) for line in encoded], times),
            seconds(lambda: [parse_paste(paste) for paste in pastes], times),
        )
        for _ in range(41)
    ]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


# --- Weak keys ---------------------------------------------------------------------------------------------------


def weak_checks() -> None:
    """Milliseconds a key of each size: badkeys with what we add, without and with the test for a prime."""
    print("\nWeak keys: milliseconds a key\n")
    print(f"{'':16}{'badkeys':>10}{'with prime test':>18}")
    for name in ("ed25519", "ecdsa256", "rsa2048", "rsa3072", "rsa4096"):
        weak_row(name, PublicKey.from_blob(base64.b64decode(samples.words(name)["base64"])))
    for bits in (8192, 16384):
        weak_row(f"rsa{bits}", PublicKey.from_blob(rsa_blob(2**64 - 59, number_of(bits))))


def weak_row(name: str, key: PublicKey) -> None:
    """One size."""
    badkeys, all_of_it = WeakChecks(prime_tested_bits=0), WeakChecks(prime_tested_bits=16384)
    assert badkeys(key) == ()
    print(f"{name:16}{1000 * seconds(lambda: badkeys(key), 5):10.2f}{1000 * seconds(lambda: all_of_it(key), 2):18.2f}")


def number_of(bits: int) -> int:
    """A modulus without small factors that stands for a real one: the checks cost the same."""
    factors = gmpy2.primorial(65537)
    numbers = iter(lambda: secrets.randbits(bits) | 1 << bits - 1 | 1, 0)
    return next(number for number in numbers if gmpy2.gcd(number, factors) == 1)


# --- Hostile pastes ----------------------------------------------------------------------------------------------


def hostile() -> bool:
    """The slowest ten; whether all keep the goal."""
    print(f"\nHostile pastes of 64 KiB: milliseconds to read, the slowest first; goal: {1000 * GOAL_SECONDS:.0f}\n")
    once = sorted(((slowness(text, 1), name, text) for name, text in pastes()), reverse=True)
    timed = sorted(((slowness(text, 5), name) for _, name, text in once[:40]), reverse=True)
    for spent, name in timed[:10]:
        print(f"{1000 * spent:10.1f}  {name}")
    is_kept = timed[0][0] <= GOAL_SECONDS
    print(f"\n{len(once)} pastes; the worst of them {'keeps' if is_kept else 'MISSES'} the goal.")
    return is_kept


def slowness(text: str, times: int) -> float:
    """The least of so many, so that other programs are not measured."""
    text = text.encode("utf-8", "surrogatepass")[:MOST].decode("utf-8", "ignore")
    return min(seconds(lambda: parse_paste(text), 1) for _ in range(times))


def pastes() -> Iterator[tuple[str, str]]:
    """Name and text; each is cut at 64 KiB."""
    for letters in REPEATED:
        yield f"{letters[:40]!r} all over", letters * (MOST // len(letters.encode("utf-8", "surrogatepass")) + 1)
    for opening in OPENINGS:
        for tail in TAILS:
            yield f"{opening[:24]!r} and {tail[:12]!r}", opening + tail * (MOST // len(tail.encode()))
    yield from built()
    for path in sorted(FUZZED.glob("*")) if FUZZED.is_dir() else []:
        yield f"fuzzed: {path.name}", path.read_bytes().decode("utf-8", "surrogateescape")


LINE = samples.text("ed25519")
RSA = samples.text("rsa2048")
REPEATED = (
    *("A", "=", " ", "\t", ">", "> ", "#", "#\n", '"', "\\", "-", "<", "\n", "\r", "\r\r\n", "\0", "\x85", "\u2028"),
    *(
        "\u200b",
        "\ufeff",
        "\u00a0",
        "\ud800",
        "é",
        "日",
        "\U000e0041",
        "AAAA\n",
        "A\n",
        "A A\n",
        "AAAA",
        "M",
        "MII",
        "MA",
    ),
    *("ssh-rsa ", "ssh-rsa\n", "ssh-rsa AAAA\n", "ssh-rsa AAAAB3NzaC1yc2E\n", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI"),
    *("ss", "s\n", "ssh-\n", "ecdsa-sha2-\nnistp256 AAAA\n", "BEGIN", "BEGIN ", "-----BEGIN ", "-----BEGIN A-----\n"),
    *("-----BEGIN PUBLIC KEY-----\n", "-----END PUBLIC KEY-----\n", "---- BEGIN SSH2 PUBLIC KEY ----\n", "a: b\\\n"),
    *(
        "PRIVATE",
        "PRIVATE KEY",
        "BEGIN PRIVATE KEY\n",
        "Private-",
        "Private-MAC:",
        "Private-Lines: 1\n",
        "P\u200bRIVATE KEY",
    ),
    *("PuTTY-User-Key-File-", "b3BlbnNzaC1rZXkt", "b3BlbnNzaC1rZXktdjEA ", "LS0t", "UHVUVFkt", "AGE-SECRET-KEY-1"),
    *("command=", 'command="x" ', "from=", "no-pty,", "restrict ", '\\"', "cert-authority ", "|1|", "[a]:1 ", "a.b,"),
    *("<a", "</", "<p>\n", "SHA256:", "MD5:", "aa:", "aa:" * 15 + "\n", "1 ", "1024 35 1", "http://", "~/", ".pub\n"),
    *(
        "1. ",
        "- ",
        "* ",
        "• ",
        "&amp;",
        "&#x41;",
        "%41",
        "\\u0041",
        "\\n",
        "=\n",
        "=3D",
        "ssh-rsa AAAA \\\n",
        "“",
        "”\n",
    ),
    *(f"{LINE}\n", f"{RSA}\n", f"> {LINE}\n", f'"{LINE}"\n', f"{LINE[:60]}\n", f"{LINE} ", f"{LINE[:-30]}=\n"),
    *(
        "\n".join(RSA[at : at + 64] for at in range(0, len(RSA), 64)) + "\n",
        "\n".join(RSA),
        " ".join(RSA),
        "\u200b".join(RSA),
    ),
    *(
        samples.text("ed25519.rfc4716") + "\n",
        samples.text("rsa2048.spki") + "\n",
        samples.text("rsa2048.pkcs1") + "\n",
    ),
    *(samples.text("rsa2048.puttygen") + "\n", samples.text("dsa") + "\n", samples.text("rsa2048-cert") + "\n"),
)
OPENINGS = (
    *(
        "ssh-rsa ",
        "ssh-rsa\n",
        "ssh-rsa AAAA",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB",
        f"{LINE} ",
        f"{LINE}\n",
        f"{LINE[:50]}\n",
    ),
    *("ssh-rsa AAAAB3NzaC1yc2E//////8", "-----BEGIN PUBLIC KEY-----\n", "-----BEGIN RSA PUBLIC KEY-----\nMIIB", "> "),
    *(
        "---- BEGIN SSH2 PUBLIC KEY ----\n",
        "---- BEGIN SSH2 PUBLIC KEY ----\nComment: ",
        'command="',
        "-----BEGIN ",
        '"',
    ),
    *("<", "SHA256:", "BEGIN ", "PuTTY-User-Key-File-2: ssh-rsa\n", "b3BlbnNzaC1rZXktdjEA", "P R I V A T E", "1. "),
)
TAILS = (
    *(
        "A",
        "A ",
        "A\n",
        "AA A\n",
        " ",
        "\n",
        " \n",
        "\\\n",
        "A\\\n",
        "x y ",
        "a" * 70 + "\n",
        "A" * 64 + "\n",
        "=",
        "a=",
        '"',
    ),
    *(
        "\u200b",
        "\u00a0\n",
        "> ",
        ">\n",
        "# \n",
        "a: b\n",
        "A" * 16 + "\n",
        "-",
        "--",
        "-----",
        "é",
        "/",
        "//8",
        "ssh-rsa ",
    ),
    *(
        "BEGIN PRIVATE ",
        "PRIVATE\n",
        "-----END ",
        "M",
        "MIIE",
        "AAAAB3NzaC1yc2E",
        "AAAAB3NzaC1yc2E\n",
        "b3Bl",
        "0",
        "\t",
    ),
)


def ders_of(curve: ec.EllipticCurve) -> tuple[list[bytes], list[bytes]]:
    """Fifty different keys, each as it is usually written and with its point compressed."""
    keys = [ec.generate_private_key(curve).public_key() for _ in range(50)]
    usual = [key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) for key in keys]
    return usual, [_compressed(key, der) for key, der in zip(keys, usual, strict=True)]


def as_blocks(ders: Iterable[bytes]) -> str:
    bodies = (samples.broken(base64.b64encode(der).decode("ascii"), 64) for der in ders)
    return "".join(f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n" for body in bodies)


def again_and_again(text: str) -> str:
    return text * (MOST // len(text) + 1)


def off_the_curve(ders: Iterable[bytes]) -> list[bytes]:
    """Points whose last byte was changed until no key has them."""
    return [der[:-1] + bytes([der[-1] ^ 1]) for der in ders]


def sums() -> Iterator[tuple[str, str]]:
    """Everything that takes long at once: keys in two spellings, points off the curve, words that look private."""
    for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()):
        usual, compressed = ders_of(curve)
        other, _ = ders_of(curve)
        bad = off_the_curve(other)
        rest = "# PRIVATE KEX BEGIN Private-\n" * (MOST // 29)
        for name, ders in {
            "good, good again, bad": [*compressed, *usual, *bad, bad[0][:-2] + b"xy"],
            "bad, good, good again": [*bad, *compressed, *usual],
            "in turns": [der for three in zip(compressed, bad, usual, strict=True) for der in three],
        }.items():
            yield f"blocks of {curve.name}: {name}", as_blocks(ders) + rest


def built() -> Iterator[tuple[str, str]]:
    """Blobs that are nearly keys, or keys and costly."""

    def line(blob: bytes) -> str:
        return f"{blob[4 : 4 + blob[3]].decode('latin-1')} {base64.b64encode(blob).decode('ascii')}\n"

    point = base64.b64decode(LINE.split(" ")[1])[-32:]
    for bits in (2048, 4096, 16384, 300_000):
        yield (
            f"different rsa keys of {bits} bits",
            "".join(line(rsa_blob(65537, number_of(bits))) for _ in range(MOST * 6 // bits + 1)),
        )
    yield "an rsa key of 390,000 bits", line(rsa_blob(65537, number_of(390_000)))
    yield "an rsa exponent of 390,000 bits", line(rsa_blob(number_of(390_000), 3))
    for name in ("ecdsa256.compressed", "ecdsa256.spki", "ecdsa384.spki", "ecdsa521.spki"):
        yield f"{name} again and again", f"{samples.text(name)}\n" * (MOST // len(samples.text(name)) + 1)
    for curve in (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()):
        for is_compressed in (False, True):
            kind = "compressed" if is_compressed else "usual"
            text = as_blocks(ders_of(curve)[is_compressed])
            yield f"50 different {kind} blocks of {curve.name}", again_and_again(text)
    yield from sums()
    yield "different ed25519 keys", "\n".join(samples.many_lines(800))
    yield (
        "ed25519 keys off the curve",
        "".join(line(ed25519_blob(bytes([2]) + secrets.token_bytes(31))) for _ in range(800)),
    )
    yield "a key, its end on the next line", "".join(f"{row[:70]}\n{row[70:]}\n" for row in samples.many_lines(700))
    yield "keys broken at every character", "".join("\n".join(row) + "\n" for row in samples.many_lines(400))
    yield (
        "keys that claim to be longer than they are",
        "".join(
            line(string(b"ssh-rsa") + mpint(65537) + (size.to_bytes(4, "big") + point)) for size in range(33, 1000)
        ),
    )
    yield (
        "rfc 4716 with one header that goes on",
        ("---- BEGIN SSH2 PUBLIC KEY ----\nComment: " + "a\\\n" * 21_000 + "\n---- END SSH2 PUBLIC KEY ----\n"),
    )
    yield "a private key at the end", "ssh-rsa AAAA\n" * 4900 + "-----BEGIN OPENSSH PRIVATE KEY-----\n"
    yield "base64 of three zero bytes in 16 letters", ("MII" + "A" * 13 + " ") * 4000
    yield from looked_for()
    yield "words of base64 that begin as a sequence does", "\n".join(f"MC{at:05}AAAAAAAAAAAA" for at in range(3300))


def looked_for() -> Iterator[tuple[str, str]]:
    """What the search for private keys goes into."""
    for letters in (
        "&#45;",
        "&aa",
        "&lt;D&gt;",
        "30:82:",
        "3082 ",
        "MIIE vQIB ",
        "kty d:",
        "prime1:\n aa:",
        "<D>\n",
        "AAAAI\n",
    ):
        yield f"{letters!r} all over, looked for", again_and_again(letters)
        yield f"{letters!r} beside other signs", again_and_again(f"kty prime1 coefficient rsakeyvalue {letters}")
    yield "keys with a blank line in each", "".join(f"{row[:40]}\n\n{row[40:]}\n" for row in samples.many_lines(700))
    yield "a type and pieces, all with blank lines between", "ssh-rsa AAAA\n\n" + "AAAA\n\n" * 2400
    yield "types and blank lines", "ssh-rsa\n\n" * 2400
    yield "types whose key is a comment's", "ssh-rsa AAAAB3NzaC1yc2E\n\n- x\n\n" * 1200


if __name__ == "__main__":
    sys.exit(main())
