"""The operator's list of keys whose private half is known: invented keys, in the form that badkeys writes."""

import base64
import datetime
import hashlib
import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import call_command

from keys.blocklist import BlocklistState, blocklist, blocklist_state
from keys.core.blocklist import Blocklist
from keys.core.parse import parse_paste
from keys.core.publickey import PublicKey
from keys.policy import thorough_policy_now
from tests.keys import samples
from tests.keys.samples import ed25519_blob

LISTED = ("ed25519", "rsa2048", "ecdsa256", "ecdsa521")
ON_SECURITY_KEYS = ("sk_ed25519", "sk_ecdsa256")
NOT_LISTED = ("ed25519_b", "rsa3072", "ecdsa384")


def key(name: str) -> PublicKey:
    return PublicKey.from_blob(base64.b64decode(samples.words(name)["base64"]))


def number(name: str) -> int:
    """The number of a key that is hashed, cut from its blob by hand."""
    blob = key(name).blob
    if "ed25519" in name:
        return int.from_bytes(blob[blob.index(b"\0\0\0 ") + 4 :][:32], "big")
    if "rsa" in name:
        return int.from_bytes(blob[-256:], "big")
    size = {"ecdsa256": 32, "ecdsa521": 66, "sk_ecdsa256": 32}[name]
    return int.from_bytes(blob[blob.index(b"\4", blob.index(b"nistp")) :][1 : 1 + size], "big")


def record(of: int, in_list: int) -> bytes:
    return hashlib.sha256(of.to_bytes((of.bit_length() + 7) // 8, "big")).digest()[:15] + bytes([in_list])


def records(*more: bytes) -> list[bytes]:
    noise = [hashlib.sha256(b"%d" % at).digest()[:16] for at in range(200)]
    return sorted([record(number(name), at) for at, name in enumerate(LISTED, 1)] + noise + list(more))


def written(directory: Path, content: bytes, **about: object) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "blocklist.dat").write_bytes(content)
    names = [{"id": at, "name": f"invented-{at}"} for at in range(1, 5)]
    told = {"bkformat": 0, "date": "2026-10-04", "blocklist_sha256": hashlib.sha256(content).hexdigest(), **about}
    (directory / "badkeysdata.json").write_text(json.dumps({"blocklists": names, **told}))


@pytest.fixture
def directory(settings: LazySettings, tmp_path: Path) -> Path:
    settings.BADKEYS_BLOCKLIST_DIR = tmp_path / "badkeys"
    return tmp_path / "badkeys"


@pytest.mark.parametrize("name", [*LISTED, *ON_SECURITY_KEYS])
def test_a_listed_key_is_found_with_the_name_of_its_list(name: str) -> None:
    row = record(number(name), 7)
    assert Blocklist([row], {7: "invented"}).find(key(name)) == "invented"
    assert Blocklist([row], {}).find(key(name)) == "list 7"


@pytest.mark.parametrize("name", NOT_LISTED)
def test_another_key_is_not_found(name: str) -> None:
    assert Blocklist(records(), {}).find(key(name)) is None
    assert Blocklist([], {}).find(key(name)) is None


def test_a_key_is_found_at_either_end_of_the_list() -> None:
    rows = records()
    wanted = next(row for row in rows if row == record(number("ed25519"), 1))
    for rest in ([row for row in rows if row > wanted], [row for row in rows if row < wanted], []):
        assert Blocklist(sorted([*rest, wanted]), {1: "x"}).find(key("ed25519")) == "x"


def test_leading_zeros_of_a_number_are_not_hashed() -> None:
    raw = next(raw for raw in _points() if raw[0] == 0)
    row = record(int.from_bytes(raw, "big"), 1)
    assert Blocklist([row], {1: "x"}).find(PublicKey.from_blob(ed25519_blob(raw))) == "x"


def _points() -> list[bytes]:
    """Public keys, among them some that begin with a zero byte."""
    return [base64.b64decode(line.split(" ")[1])[-32:] for line in samples.many_lines(2000)]


@pytest.mark.parametrize("name", [*LISTED, *NOT_LISTED])
def test_badkeys_itself_says_the_same_of_the_same_files(tmp_path: Path, name: str) -> None:
    written(tmp_path / "badkeys", b"".join(records()))
    program = (
        "import sys, badkeys\n"
        "print(badkeys.checksshpubkey(sys.stdin.read(), checks={'blocklist'})['results'].get('blocklist'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=samples.text(name),
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    ours = Blocklist(records(), {at: f"invented-{at}" for at in range(1, 5)}).find(key(name))
    assert (f"'subtest': '{ours}'" in done.stdout) if ours else (done.stdout == "None\n")


# --- The files ---------------------------------------------------------------------------------------------------


def test_without_files_there_is_no_list(directory: Path) -> None:
    assert blocklist_state() == BlocklistState(is_there=False)
    assert blocklist() is None
    assert parse_paste(samples.text("ed25519"), thorough_policy_now()).accepted


def test_with_files_a_listed_key_is_refused_at_its_line(directory: Path) -> None:
    written(directory, b"".join(records()))
    assert blocklist_state() == BlocklistState(True, 204, datetime.date(2026, 10, 4))
    text = f"{samples.text('ed25519_b')}\n{samples.text('ed25519')}"
    problems = parse_paste(text, thorough_policy_now()).problems
    assert [(one.code, one.line) for one in problems] == [("weak-known", 2)]


def test_a_list_that_comes_grows_or_goes_is_noticed(directory: Path) -> None:
    assert blocklist() is None
    written(directory, b"".join(records()))
    assert blocklist_state().records == 204
    written(directory, b"".join(records(bytes(16))))
    assert blocklist_state().records == 205
    (directory / "blocklist.dat").unlink()
    assert "blocklist.dat cannot be read" in blocklist_state().problem
    (directory / "badkeysdata.json").unlink()
    assert not blocklist_state().is_there


def test_a_list_that_is_cut_short_while_it_is_used_finds_nothing_and_breaks_nothing(directory: Path) -> None:
    written(directory, b"".join(records()))
    loaded = blocklist()
    assert loaded is not None
    os.truncate(directory / "blocklist.dat", 0)
    assert loaded.find(key("ed25519")) is None


WHOLE = b"".join(records())
UNUSABLE = {
    "half a record": (WHOLE[:-8], {}, "not whole"),
    "empty": (b"", {}, "not whole"),
    "other content than was published": (WHOLE, {"blocklist_sha256": "0" * 64}, "does not belong"),
    "no digest": (WHOLE, {"blocklist_sha256": None}, "does not belong"),
    "another form": (WHOLE, {"bkformat": 1}, "bkformat"),
    "no lists": (WHOLE, {"blocklists": None}, "not what badkeys writes"),
    "lists without names": (WHOLE, {"blocklists": [{"id": 1}]}, "not what badkeys writes"),
}


@pytest.mark.parametrize(("content", "about", "says"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_list_that_cannot_be_used_says_why_and_stops_nobody(
    directory: Path, content: bytes, about: dict[str, object], says: str
) -> None:
    written(directory, content, **about)
    state = blocklist_state()
    assert (state.is_there, state.records, says in state.problem) == (True, 0, True)
    assert str(directory) not in state.problem
    assert parse_paste(samples.text("ed25519"), thorough_policy_now()).accepted


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"blocklists": 1}', "\xff"])
def test_names_that_are_no_json_of_badkeys_are_a_problem(directory: Path, text: str) -> None:
    written(directory, WHOLE)
    (directory / "badkeysdata.json").write_text(text, "latin-1")
    assert "badkeysdata.json is not what badkeys writes" in blocklist_state().problem


def test_a_list_without_a_date_is_used(directory: Path) -> None:
    written(directory, WHOLE, date="some day")
    assert blocklist_state() == BlocklistState(True, 204, None)


# --- The command -------------------------------------------------------------------------------------------------


def told(*arguments: str) -> tuple[int, str]:
    output = StringIO()
    try:
        call_command("blocklist", *arguments, stdout=output)
    except SystemExit as end:
        return int(str(end.code)), output.getvalue()
    return 0, output.getvalue()


def test_the_command_says_how_to_get_a_list(directory: Path) -> None:
    status, says = told()
    assert (status, told("--check")[0]) == (0, 1)
    assert "There is no blocklist" in says
    assert "pip install badkeys && badkeys --update-bl" in says
    assert str(directory) in says


def test_the_command_says_what_is_wrong_with_a_list(directory: Path) -> None:
    written(directory, WHOLE[:-1])
    status, says = told("--check")
    assert status == 1
    assert "cannot be used" in says
    assert "badkeys --update-bl" in says


def test_the_command_says_how_large_and_how_old_a_list_is(directory: Path) -> None:
    written(directory, WHOLE)
    assert told("--check") == (0, "The blocklist is there: 204 keys, made on 2026-10-04.\n")
