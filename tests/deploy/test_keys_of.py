"""The command that sshd asks for an account's keys: run as it is, on directories of the test's own."""

import base64
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from hosts.core.keyfile import FILE_LIMIT
from hosts.core.signin import fingerprint
from tests.hosts.serving import key_pair

# A key that is in no file.
GOOD = ("ssh-ed25519", "BBBB", "SHA256:" + "a" * 43)
COMMAND = Path(__file__).parents[2] / "deploy/openssh/keys-of"
NAME = "smithville.k12.oh.us"
LINES = (
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOURS first\n"
    "restrict ssh-ed25519 AAAAother second, with a comma\n"
    'restrict,from="10.0.0.0/8,!10.1.1.1",EXPIRY-TIME="20300101Z"  \tecdsa-sha2-nistp256 AAAAthird\n'
    "sk-ssh-ed25519@openssh.com AAAAfourth\n"
)
# None of these is a line of the portal's, and sshd takes most of them.
FOREIGN = (
    "\n# managed by somebody\n"
    'command="/bin/sh" ssh-ed25519 AAAAcommand\n'
    'restrict,command="id ssh-rsa " ssh-ed25519 AAAAcommand\n'
    'from="10.0.0.0/8" command="id" ssh-ed25519 AAAAcommand\n'
    'environment="LD_PRELOAD=x" ssh-ed25519 AAAAenvironment\n'
    "pty ssh-ed25519 AAAApty\n"
    "cert-authority ssh-ed25519 AAAAauthority\n"
    "restrict, ssh-ed25519 AAAAcomma\n"
    'from="10.0.0.1,x\\"y" ssh-ed25519 AAAAquote\n'
    'from="127.0.0.1,*\\" ssh-ed25519 ",command="id",port-forwarding ssh-ed25519 AAAAquoted\n'
    'restrict,from="10.0.0.1,*\\",pty,from=\\" ssh-rsa " ssh-ed25519 AAAAquotes\n'
)
FILE = FOREIGN + LINES + FOREIGN


@dataclass(frozen=True, slots=True)
class Place:
    command: Path
    keys: Path
    offers: Path

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", str(self.command), *words], capture_output=True, text=True, check=False, env={}
        )

    def noted(self) -> list[str]:
        return sorted(os.listdir(self.offers))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """The command as it is installed, but for the two directories."""
    made = Place(tmp_path / "keys-of", tmp_path / "keys", tmp_path / "offers")
    made.keys.mkdir()
    made.offers.mkdir()
    text = COMMAND.read_text(encoding="utf-8")
    for name, path in (("/srv/sftp-portal/keys", made.keys), ("/var/lib/sftp-portal/offers", made.offers)):
        assert text.count(name) == 1
        text = text.replace(name, str(path))
    made.command.write_text(text, encoding="utf-8")
    (made.keys / NAME).write_text(FILE, encoding="utf-8")
    return made


def _offer(tmp_path: Path, name: str = "stranger") -> tuple[str, str, str]:
    """A key's type, blob and fingerprint, as sshd gives them."""
    key_pair(tmp_path, name)
    algorithm, blob = (tmp_path / f"{name}.pub").read_text().split()[:2]
    return algorithm, blob, fingerprint(base64.b64decode(blob))


def test_the_lines_of_the_portal_are_printed_as_they_are_and_no_others(place: Place) -> None:
    done = place.ask(NAME)
    assert (done.returncode, done.stdout, done.stderr) == (0, LINES, "")


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../keys/x", "a/b", "/etc/passwd", ".hidden", "-n", "--help", "a..b", "ends.", "UPPER",
        "two words", "a\nb", "a*", "$(id)", "`id`", "ä", "unknown.k12.us", "x" * 254,
    ],
)  # fmt: skip
def test_a_name_that_is_none_prints_nothing_and_is_no_fault(place: Place, name: str) -> None:
    (place.keys / ".hidden").write_text("secret")
    (place.keys / "-n").write_text("secret")
    done = place.ask(name, *GOOD)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert place.noted() == (["a" * 43] if name == "unknown.k12.us" else [])


def test_a_link_or_a_directory_is_not_read(place: Place, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("secret")
    (place.keys / "link.k12.us").symlink_to(tmp_path / "elsewhere")
    (place.keys / "directory.k12.us").mkdir()
    os.mkfifo(place.keys / "fifo.k12.us")
    for name in ("link.k12.us", "directory.k12.us", "fifo.k12.us"):
        assert place.ask(name).stdout == ""


@pytest.mark.parametrize(("more", "shown"), [(0, LINES), (1, "")], ids=["as long as may be", "longer"])
def test_a_file_that_is_too_long_to_be_the_portals_opens_nothing(place: Place, more: int, shown: str) -> None:
    """As on the embedded host."""
    length = FILE_LIMIT - len(FILE.encode()) + more
    (place.keys / NAME).write_text("#" * (length - 1) + "\n" + FILE, encoding="utf-8")
    assert place.ask(NAME, *GOOD).stdout == shown


def test_a_key_that_is_not_in_the_file_is_noted_once(place: Place, tmp_path: Path) -> None:
    algorithm, blob, mark = _offer(tmp_path)
    for _ in range(2):
        assert place.ask(NAME, algorithm, blob, mark).stdout == LINES
    assert place.noted() == [mark.removeprefix("SHA256:").replace("/", "_")]
    note = place.offers / place.noted()[0]
    assert note.read_text() == f"{algorithm} {blob}\n"
    assert note.stat().st_mode & 0o077 == 0


def test_a_key_that_is_in_the_file_is_not_noted(place: Place, tmp_path: Path) -> None:
    algorithm, blob, mark = _offer(tmp_path)
    (place.keys / NAME).write_text(f'restrict,from="10.0.0.0/8" {algorithm} {blob} x\n')
    place.ask(NAME, algorithm, blob, mark)
    assert place.noted() == []


def test_the_key_of_these_tests_would_be_noted(place: Place) -> None:
    place.ask(NAME, *GOOD)
    assert place.noted() == ["a" * 43]


@pytest.mark.parametrize(
    "words",
    [
        ("", *GOOD[1:]),
        ("a b", *GOOD[1:]),
        ("x" * 65, *GOOD[1:]),
        (GOOD[0], "", GOOD[2]),
        (GOOD[0], "AA AA", GOOD[2]),
        (GOOD[0], "$(id)", GOOD[2]),
        (GOOD[0], "A" * 5465, GOOD[2]),
        (*GOOD[:2], ""),
        (*GOOD[:2], "MD5:" + "a" * 46),
        (*GOOD[:2], "SHA256:" + "a" * 42),
        (*GOOD[:2], "SHA256:" + "." * 43),
        (*GOOD[:2], "SHA256:../" + "a" * 40),
        (*GOOD[:2], "SHA256:" + "a" * 42 + "\n"),
    ],
)
def test_nothing_is_noted_of_what_is_no_key(place: Place, words: tuple[str, str, str]) -> None:
    assert place.ask(NAME, *words).stdout == LINES
    assert place.noted() == []


def test_the_notes_never_grow_beyond_their_number(place: Place) -> None:
    for number in range(255):
        (place.offers / f"{number}").touch()
    for number in range(5):
        place.ask(NAME, "ssh-ed25519", "BBBB", f"SHA256:{number}" + "a" * 42)
    assert len(place.noted()) == 256


def test_keys_are_printed_even_where_nothing_can_be_noted(place: Place) -> None:
    place.offers.rmdir()
    done = place.ask(NAME, *GOOD)
    assert (done.returncode, done.stdout, done.stderr) == (0, LINES, "")


def test_the_command_is_plain_sh() -> None:
    done = subprocess.run(["/bin/sh", "-n", str(COMMAND)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "eval" not in COMMAND.read_text()
