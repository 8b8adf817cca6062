"""Coverage-guided fuzzing of the reader (atheris): ``python -m tests.keys.fuzz --seconds 600``.

Starts from the cases and from data/fuzz. Ends with 1 and what it found if something raised or broke an invariant.
The slowest inputs are measured again without instrumentation and printed; ``--keep`` puts the worst into data/fuzz.
"""

import argparse
import importlib.util
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keys.core.characters import text_from
from keys.core.parse import parse_paste
from tests.keys import samples
from tests.keys.invariants import check_bytes

KEPT = Path(__file__).parent.parent / "data" / "fuzz"
MOST_BYTES = 64 * 1024
_REPOSITORY = Path(__file__).resolve().parents[2]
_WORDS = (
    *("ssh-rsa ", "ssh-ed25519 ", "ecdsa-sha2-nistp256 ", "sk-ssh-ed25519@openssh.com ", "ssh-dss ", "AAAAB3NzaC1yc2E"),
    *("AAAAC3NzaC1lZDI1NTE5AAAAI", "---- BEGIN SSH2 PUBLIC KEY ----", "---- END SSH2 PUBLIC KEY ----", "Comment: "),
    *("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----", "PRIVATE KEY"),
    *("Private-Lines: ", "b3BlbnNzaC1rZXkt", "command=", "SHA256:", "> ", "# ", "\r\n", "=="),
    *("AAAA\\", 'AAAA "', "AAAAI", "Proc-Type:  4", "<D>  ", "kty", "&#66;", "30:82:", "prime1:", "MIIE vQIB "),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to: libFuzzer's own account, the input that broke something, and the slowest by CPU seconds."""

    account: str
    broke: bytes | None
    slowest: tuple[tuple[float, bytes], ...]

    @property
    def executions(self) -> int:
        return max(map(int, re.findall(r"^#(\d+)", self.account, re.M)), default=0)

    @property
    def coverage(self) -> int:
        return max(map(int, re.findall(r"cov: (\d+)", self.account)), default=0)


def is_there() -> bool:
    """Whether atheris exists for this Python."""
    return importlib.util.find_spec("atheris") is not None


def fuzz(seconds: int, seed: int = 0) -> Outcome:
    """Fuzz for so long, in a folder that goes away. The same `seed` goes the same way, as far as the time allows; 0
    goes another way each time."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in ("corpus", "slow", "broke"):
            (work / name).mkdir()
        for number, content in enumerate(corpus()):
            (work / "corpus" / str(number)).write_bytes(content)
        (work / "words").write_text("".join(f'"{_escaped(word)}"\n' for word in _WORDS), "ascii")
        account = _run(work, seconds, seed)
        broke = [path.read_bytes() for path in (work / "broke").iterdir()]
        slow = [path.read_bytes() for path in (work / "slow").iterdir()]
    measured = sorted(((_cpu_seconds(content), content) for content in slow), reverse=True)
    return Outcome(account, broke[0] if broke else None, tuple(measured))


def corpus() -> Iterator[bytes]:
    """What fuzzing starts from: the cases but those with private keys, in two encodings, and what was kept."""
    for case in samples.cases():
        if "private-key" not in "".join(case.problems):
            text = samples.filled(case.paste)
            yield text.encode("utf-8")
            yield text[:500].encode("utf-16")
    for path in sorted(KEPT.glob("*")):
        yield path.read_bytes()


def _run(work: Path, seconds: int, seed: int) -> str:
    # What a process says it took at most begins, on Linux, with what its parent took.
    parents = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    options = (
        f"-seed={seed}",
        f"-max_total_time={seconds}",
        f"-max_len={MOST_BYTES}",
        f"-dict={work / 'words'}",
        f"-artifact_prefix={work / 'broke'}/",
        f"-rss_limit_mb={1024 + parents}",
        *("-timeout=20", "-print_final_stats=1"),
    )
    command = [sys.executable, "-m", "tests.keys.fuzz_target", str(work), *options, str(work / "corpus")]
    done = subprocess.run(command, cwd=_REPOSITORY, capture_output=True, check=False)
    account = (done.stdout + done.stderr).decode("utf-8", "replace")
    if done.returncode and not any((work / "broke").iterdir()):
        raise RuntimeError(account)
    return account


def _cpu_seconds(content: bytes) -> float:
    """The least of three readings."""
    text = text_from(content)
    readings = []
    for _ in range(3):
        start = time.process_time()
        parse_paste(text)
        readings.append(time.process_time() - start)
    return min(readings)


def _escaped(word: str) -> str:
    return "".join(character if character.isalnum() else f"\\x{ord(character):02x}" for character in word)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="go this way again; without it another each time")
    parser.add_argument("--keep", type=int, default=0, metavar="N", help="keep the N slowest inputs in data/fuzz")
    wanted = parser.parse_args()
    outcome = fuzz(wanted.seconds, wanted.seed)
    print(f"{outcome.executions} executions, coverage {outcome.coverage}")
    for seconds, content in outcome.slowest[:5]:
        print(f"{seconds * 1000:7.2f} ms CPU  {len(content):6} bytes  {content[:60]!r}")
    for number, (_, content) in enumerate(outcome.slowest[: wanted.keep], 1):
        KEPT.mkdir(exist_ok=True)
        (KEPT / f"slow-{number}").write_bytes(content)
    if outcome.broke is not None:
        print(outcome.account)
        print(f"broke: {outcome.broke!r}")
        check_bytes(outcome.broke)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
