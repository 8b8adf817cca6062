"""`manage.py check_key`: pasted texts judged on the command line."""

import base64
import hashlib
import io
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import gmpy2
import pytest
from django.conf import settings
from django.core.management import call_command

from tests.keys import samples
from tests.keys.private_keys import private_key
from tests.keys.samples import rsa_blob

ED25519 = samples.text("ed25519")
FIELDS = ["name", "accepted", "keys", "errors", "private_key"]
ADVISED = {"code", "message", "hint"}


def checked(*names: str) -> tuple[int, str]:
    """Exit status and output, without a database."""
    output = io.StringIO()
    try:
        call_command("check_key", *names, stdout=output)
    except SystemExit as end:
        return int(str(end.code)), output.getvalue()
    return 0, output.getvalue()


def verdict(path: Path, content: bytes) -> dict[str, Any]:
    path.write_bytes(content)
    status, said = checked(str(path), "--json")
    (line,) = said.splitlines()
    found: dict[str, Any] = json.loads(line)
    assert list(found) == FIELDS
    assert status == (0 if found["accepted"] else 1)
    return found


def run(*arguments: str, given: bytes = b"", **more: str) -> subprocess.CompletedProcess[bytes]:
    """As an operator runs it, on a machine whose database does not answer."""
    nowhere = {**os.environ, "DATABASE_URL": "postgres://nobody:x@127.0.0.1:1/none", **more}
    command = [sys.executable, "manage.py", "check_key", *arguments]
    return subprocess.run(command, input=given, cwd=settings.BASE_DIR, env=nowhere, capture_output=True)


def test_several_files_give_one_object_each_and_no_database_is_asked(tmp_path: Path) -> None:
    good, bad, secret = tmp_path / "good.pub", tmp_path / "bad.pub", tmp_path / "id"
    good.write_text(f"# mine\n\n{ED25519}\n{samples.text('rsa2048')}\n", "utf-8")
    bad.write_text(f"{ED25519}\n{samples.text('dsa')}\n", "utf-8")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", secret], check=True)
    names = [str(path) for path in (good, bad, secret, tmp_path / "missing")]
    done = run("--json", *names)
    assert (done.returncode, done.stderr) == (1, b"")
    one, two, three, four = [json.loads(line) for line in done.stdout.splitlines()]
    assert [found["name"] for found in (one, two, three, four)] == names
    assert [found["accepted"] for found in (one, two, three, four)] == [True, False, False, False]
    assert [found["private_key"] for found in (one, two, three, four)] == [False, False, True, False]
    assert [(key["type"], key["bits"], key["paste_line"]) for key in one["keys"]] == [
        ("ssh-ed25519", 256, 3),
        ("ssh-rsa", 2048, 4),
    ]
    assert [key["fingerprint"] for key in one["keys"]] == samples.fingerprints(good.read_bytes())
    assert (two["keys"], [(error["code"], error["line"]) for error in two["errors"]]) == ([], [("dsa", 2)])
    assert [error["code"] for error in four["errors"]] == ["file-unreadable"]
    assert run("--json", str(good)).returncode == 0


@pytest.mark.parametrize("arguments", [["--json"], ["--json", "-"]], ids=["no file", "a dash"])
def test_without_a_file_standard_input_is_read(arguments: list[str]) -> None:
    done = run(*arguments, given=("\ufeff" + ED25519).encode("utf-16-le"))
    found = json.loads(done.stdout)
    assert (done.returncode, found["name"], found["accepted"], len(found["keys"])) == (0, "-", True, 1)


def test_a_key_is_told_with_its_advice(tmp_path: Path) -> None:
    found = verdict(tmp_path / "x", samples.text("ecdsa521").encode("utf-8"))
    (key,) = found["keys"]
    assert list(key) == ["type", "bits", "fingerprint", "comment", "line", "paste_line", "advice"]
    assert (key["type"], key["bits"], key["comment"]) == (
        "ecdsa-sha2-nistp521",
        521,
        samples.words("ecdsa521")["comment"],
    )
    (advice,) = key["advice"]
    assert set(advice) == ADVISED
    assert advice["code"] == "advice-p521"


def test_the_line_of_a_key_is_what_would_be_written_for_it(tmp_path: Path) -> None:
    words = samples.words("rsa2048")
    text = f'\n> "{words["type"]}\t{words["base64"]}  Dana\u00a0 Ruiz "\n{samples.text("rsa3072.rfc4716")}'
    one, two = verdict(tmp_path / "x", text.encode("utf-8"))["keys"]
    assert (one["line"], one["paste_line"]) == (f"{words['type']} {words['base64']} Dana Ruiz", 2)
    assert two["line"].split(" ")[:2] == ["ssh-rsa", samples.words("rsa3072")["base64"]]
    assert two["paste_line"] == 3
    for key in (one, two):
        assert samples.fingerprints(key["line"].encode("utf-8")) == [key["fingerprint"]]


def test_a_private_key_that_is_no_text_is_told(tmp_path: Path) -> None:
    pem = private_key("pkcs8-rsa").split("\n")
    found = verdict(tmp_path / "x", base64.b64decode("".join(pem[1:-2])))
    assert found["private_key"]
    assert [(error["code"], error["line"]) for error in found["errors"]] == [("private-key", 1)]


def test_advice_stands_at_its_own_key(tmp_path: Path) -> None:
    text = f"{samples.text('rsa2048')}\n{ED25519}\n{samples.text('sk_ed25519')}"
    found = verdict(tmp_path / "x", text.encode("utf-8"))
    assert [[advice["code"] for advice in key["advice"]] for key in found["keys"]] == [
        ["advice-rsa-short"],
        [],
        ["advice-security-key"],
    ]


FILES = {
    "CRLF": (f"{ED25519}\r\n".encode(), None),
    "a byte order mark": (b"\xef\xbb\xbf" + ED25519.encode(), None),
    "UTF-16 without its mark": (ED25519.encode("utf-16-be"), None),
    "Windows-1252": (f"{ED25519} Zoë".encode("cp1252"), None),
    "RFC 4716": (samples.text("rsa3072.rfc4716").encode(), None),
    "nothing": (b"", "no-key"),
    "nothing but a comment": (b"# no key yet\r\n\r\n", "no-key"),
    "two keys of which one is too short": (f"{ED25519}\n{samples.text('rsa1024')}".encode(), "rsa-too-short"),
    "much too long": (b"x" * 1024 * 1024, "paste-too-long"),
    "more than is ever read": (b"x" * (1024 * 1024 + 1), "file-too-large"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0\0", "document"),
}


@pytest.mark.parametrize(("content", "code"), FILES.values(), ids=FILES.keys())
def test_a_file_is_read_as_editors_save_it(tmp_path: Path, content: bytes, code: str | None) -> None:
    found = verdict(tmp_path / "x", content)
    assert [error["code"] for error in found["errors"]] == ([code] if code else [])
    assert len(found["keys"]) == (0 if code else 1)


def test_a_weak_key_is_refused_here_too(tmp_path: Path) -> None:
    prime = gmpy2.next_prime(int.from_bytes(hashlib.shake_256(b"weak").digest(128), "big") | 3 << 1022)
    line = b"ssh-rsa " + base64.b64encode(rsa_blob(65537, int(prime * gmpy2.next_prime(prime))))
    (error,) = verdict(tmp_path / "x", line)["errors"]
    assert (set(error), error["code"], error["line"]) == (ADVISED | {"line"}, "weak-fermat", 1)


def test_nothing_of_a_private_key_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "", "-C", "", "-f", path], check=True)
    secret = path.read_bytes()
    path.write_bytes(ED25519.encode() + b"\n" + secret)
    for arguments in (["--json"], []):
        status, said = checked(str(path), *arguments)
        assert status == 1
        assert not any(line in said for line in secret.decode("ascii").splitlines())
        assert ED25519.split(" ")[1] not in said
    found = verdict(path, path.read_bytes())
    assert (found["private_key"], found["keys"]) == (True, [])
    assert {error["code"] for error in found["errors"]} == {"private-key"}


def test_a_directory_and_a_file_one_may_not_read_are_errors_of_their_own(tmp_path: Path) -> None:
    status, said = checked(str(tmp_path), str(tmp_path / "missing"), "--json")
    found = [json.loads(line) for line in said.splitlines()]
    assert status == 1
    assert [[(error["code"], error["line"]) for error in one["errors"]] for one in found] == [
        [("file-unreadable", None)]
    ] * 2


@pytest.mark.parametrize("lines_before", [0, 1500])
def test_a_private_key_in_a_file_of_megabytes_is_told(tmp_path: Path, lines_before: int) -> None:
    line = samples.text("rsa3072").encode("ascii") + b"\n"
    content = line * lines_before + private_key("openssh-ed25519").encode("ascii") + line * 2000
    found = verdict(tmp_path / "x", content)
    assert found["private_key"]
    assert [(error["code"], error["line"]) for error in found["errors"]] == [("private-key", lines_before + 1)]


def test_a_closed_standard_input_is_a_file_that_cannot_be_read() -> None:
    command = f"exec {shlex.quote(sys.executable)} manage.py check_key --json <&-"
    done = subprocess.run(["sh", "-c", command], cwd=settings.BASE_DIR, capture_output=True)
    assert (done.returncode, done.stderr) == (1, b"")
    assert [error["code"] for error in json.loads(done.stdout)["errors"]] == ["file-unreadable"]


def test_letters_that_the_terminal_does_not_have_are_told_as_escapes() -> None:
    done = run(given=f"{ED25519} Zo\u00eb \u65e5".encode(), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"Zo\\xeb \\u65e5" in done.stdout


def test_a_data_directory_that_cannot_be_made_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(given=ED25519.encode(), DATA_DIR=str(tmp_path / "file" / "data"), SECRET_KEY="")
    assert (done.returncode, done.stdout) == (1, b"")
    (line,) = done.stderr.splitlines()
    assert line.startswith(b"DATA_DIR cannot be used")
    able = run("--json", given=ED25519.encode(), DATA_DIR=str(tmp_path / "file" / "data"), SECRET_KEY="x" * 50)
    assert (able.returncode, able.stderr) == (0, b"")


def test_an_odd_name_or_comment_stays_one_line_of_json(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\n\x1b[2J.pub"
    Path(os.fsdecode(path)).write_text(f"{ED25519} \u2603 <script> $(id)", "utf-8")
    done = run("--json", os.fsdecode(path))
    assert done.stdout.isascii()
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert os.fsencode(found["name"]) == path
    assert found["keys"][0]["comment"].endswith("\u2603 <script> $(id)")
    told = run(os.fsdecode(path), PYTHONIOENCODING="utf-8")
    assert told.returncode == 0
    assert b"\x1b" not in told.stdout


def test_people_are_told_the_same_in_words(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.pub", tmp_path / "bad.pub"
    good.write_text(samples.text("rsa2048"), "utf-8")
    bad.write_text(f"\n{samples.text('dsa')}", "utf-8")
    status, said = checked(str(good), str(bad))
    assert status == 1
    assert f"{good}: accepted" in said
    assert samples.fingerprints(good.read_bytes())[0] in said
    assert "advice-rsa-short" in said
    assert f"{bad}: refused\n  line 2: This is a DSA key." in said
