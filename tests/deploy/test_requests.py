"""The queue between portal and helper: whatever lies in it, the helper answers or leaves it, and goes on."""

import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from portal_host import requests
from portal_host.settings import Host, Places, Settings

from hosts import helper
from tests.hosts.serving import until

from .host import OpensshHost, numbers_of
from .test_stops import PORTAL

ABOUT = {"op": "about"}


def test_an_answer_is_for_the_portal_alone_and_its_request_is_gone(openssh_host: OpensshHost) -> None:
    number = openssh_host.post({"operations": [ABOUT, ABOUT]})
    told = openssh_host.answer_of(number)
    assert told["id"] == number
    assert len(told["answers"]) == 2
    assert numbers_of(openssh_host.root / "answers" / f"{number}.json") == (0, openssh_host.portal_gid, "0o640")
    until(lambda: not (openssh_host.root / "requests" / f"{number}.json").exists(), "the request's end")


def test_the_helper_tells_what_host_it_is(openssh_host: OpensshHost, ours: str) -> None:
    told = openssh_host.one("about")
    assert told["openssh"].startswith("OpenSSH_")
    assert told["accounts"] == len(openssh_host.wished)
    assert (told["uid_first"], told["uid_last"]) == (66000, 99999)
    assert 0 < told["free"] <= told["total"]


HOSTILE: list[tuple[str, Callable[[str], bytes]]] = [
    ("empty", lambda number: b""),
    ("no JSON", lambda number: b"{"),
    ("no object", lambda number: b"[]"),
    ("another's number", lambda number: json.dumps({"id": "0" * 32, "operations": []}).encode()),
    ("no operations", lambda number: json.dumps({"id": number}).encode()),
    ("operations no list", lambda number: json.dumps({"id": number, "operations": {}}).encode()),
    ("too many", lambda number: json.dumps({"id": number, "operations": [ABOUT] * 1001}).encode()),
    ("deep lists", lambda number: b"[" * 200_000),
    ("deep objects", lambda number: b'{"a":' * 200_000),
    ("a huge number", lambda number: b'{"id": ' + b"9" * 100_000 + b"}"),
    ("not a number", lambda number: b'{"id": NaN}'),
    ("no UTF-8", lambda number: b'{"id": "\xff"}'),
    ("too large", lambda number: b" " * (8 * 1024 * 1024 + 1)),
]


@pytest.mark.parametrize("content", [row[1] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_what_is_no_request_is_answered_so(content: Callable[[str], bytes], openssh_host: OpensshHost) -> None:
    number = secrets.token_hex(16)
    openssh_host.put_raw(number, content(number))
    assert openssh_host.answer_of(number)["error"] in ("bad-request", "not-safe")
    assert "error" not in openssh_host.one("about")


@pytest.mark.parametrize(
    "operation",
    [None, [], "about", {}, {"op": None}, {"op": ["about"]}, {"op": {}}, {"op": "shell"}, {"op": "__init__"}],
)
def test_what_is_no_operation_is_answered_so_and_the_others_are_done(
    operation: object, openssh_host: OpensshHost
) -> None:
    told = openssh_host.ask([operation, ABOUT])
    assert told[0]["error"] == "bad-request"
    assert "error" not in told[1]


def _link(path: Path) -> None:
    path.symlink_to("/etc/shadow")


def _fifo(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_link, _fifo], ids=["link", "fifo"])
def test_a_request_that_is_no_plain_file_is_refused_and_removed(
    make: Callable[[Path], None], openssh_host: OpensshHost
) -> None:
    number = secrets.token_hex(16)
    path = openssh_host.root / "requests" / f"{number}.json"
    make(path)
    assert openssh_host.one("about")
    assert openssh_host.answer_of(number)["error"] == "bad-request"
    assert numbers_of(openssh_host.machine.root / "etc/shadow")[0] == 0


def test_other_names_in_the_queue_are_left_alone(openssh_host: OpensshHost) -> None:
    queue = openssh_host.root / "requests"
    names = [f".portal-tmp-{secrets.token_hex(4)}", "x.json", f"{'A' * 32}.json", f"{'a' * 32}.json.json"]
    for name in names:
        (queue / name).write_bytes(b"{}")
    (queue / f"{'b' * 32}.json").mkdir()
    assert "error" not in openssh_host.one("about")
    assert {path.name for path in queue.iterdir()} >= {*names, f"{'b' * 32}.json"}
    (queue / f"{'b' * 32}.json").rmdir()
    for name in names:
        (queue / name).unlink()


def test_requests_are_answered_in_the_order_they_came(openssh_host: OpensshHost, ours: str) -> None:
    upload = openssh_host.upload(ours)
    (upload / "first").mkdir()
    openssh_host.helper_stop()
    wanted = {"op": "claim", "account": ours, "name": "first"}
    posted = [openssh_host.post({"operations": [{**wanted, "number": number}]}) for number in (80_001, 80_002, 80_003)]
    # A file's own time may be set by whoever owns it; it counts for nothing.
    os.utime(openssh_host.root / "requests" / f"{posted[2]}.json", (0, 0))
    openssh_host.helper_start()
    told = [openssh_host.answer_of(number)["answers"][0] for number in posted]
    assert ["error" in one for one in told] == [False, True, True]


def test_many_requests_at_once_are_all_answered(openssh_host: OpensshHost) -> None:
    posted = [openssh_host.post({"operations": [ABOUT]}) for _ in range(100)]
    assert all(openssh_host.answer_of(number)["answers"] for number in posted)


def test_old_answers_and_what_was_left_half_written_are_removed(openssh_host: OpensshHost) -> None:
    """Their age is that of the rename, which nobody can set; so the helper is told of a shorter time instead."""
    config = openssh_host.machine.root / "etc/sftp-portal/helper.toml"
    whole = config.read_text()
    openssh_host.one("about")
    try:
        config.write_text(whole.replace("answers_kept_minutes = 10", "answers_kept_minutes = 0"))
        openssh_host.helper_stop()
        time.sleep(0.05)
        openssh_host.helper_start()
        until(lambda: not list((openssh_host.root / "answers").iterdir()), "an empty directory of answers")
    finally:
        config.write_text(whole)
        openssh_host.helper_stop()
        openssh_host.helper_start()


def test_an_answer_holds_no_more_than_the_portal_reads_and_says_what_found_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operations are made up: one account's true answer is bounded far below."""
    host = Host(Settings(uid_first=66000, uid_last=99999), Places(tmp_path), PORTAL)
    for name in ("requests", "answers"):
        (host.places.tree / name).mkdir(parents=True)
    half = requests.ANSWER_LIMIT // 2

    def answered(host: Host, operation: dict[str, int]) -> dict[str, object]:
        return {"told": "x" * operation["size"]}

    monkeypatch.setattr(requests, "answer", answered)
    number = "a" * 32
    sizes = [half, half, half - 100, 10, 2 * half, 5]
    request = {"id": number, "operations": [{"size": size} for size in sizes]}
    (host.places.tree / "requests" / f"{number}.json").write_text(json.dumps(request))
    assert requests.requests_serve(host) == 1
    content = (host.places.tree / "answers" / f"{number}.json").read_bytes()
    assert len(content) < requests.ANSWER_LIMIT + 1000 < helper.ANSWER_LIMIT
    told = json.loads(content)["answers"]
    assert [one.get("error", "") for one in told] == ["", "too-large", "", "", "too-large", ""]
    assert told[1]["message"] == "Ask for less at a time."


@pytest.mark.parametrize(
    "line",
    ["uid_first = 0", "uid_last = 65535", "drop_share = 2.0", "nonsense = 1", "uid_first = '66000'", "quota = 1"],
)
def test_settings_that_cannot_be_meant_stop_the_helper(line: str, openssh_host: OpensshHost) -> None:
    root = openssh_host.machine.root / "tmp/settings"
    (root / "etc/sftp-portal").mkdir(parents=True, exist_ok=True)
    (root / "etc/sftp-portal/helper.toml").write_text(line + "\n")
    done = openssh_host.machine.run("/usr/sbin/portal-host", "--root", "/tmp/settings", "once")
    assert done.code == 2, done.output
    assert "Traceback" not in done.output
