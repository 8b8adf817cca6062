"""What the portal asks of a host's helper: against one that stands in for it, and against the real one."""

import base64
import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts import helper
from hosts.condition import is_clock_off
from hosts.core.errors import BadAnswer, Full, HostError, NotSafe, NotThere, TooLarge
from hosts.core.paths import HostPath, username
from hosts.files import EntryKind
from hosts.local import LocalFiles
from hosts.models import Host

OURS = username("smithville.k12.oh.us")
ANSWERS: dict[str, Any] = {
    "look": {
        "entries": [
            {"path": ["e"], "kind": "directory", "size": 1, "links": 2, "inode": 1, "modified": 5},
            {"path": ["e", "odd\udcff"], "kind": "file", "size": 7, "links": 1, "inode": 2, "modified": 6},
            {"path": ["way"], "kind": "link", "size": 1, "links": 1, "inode": 3, "modified": 7},
        ],
        "writing": [["e", "odd\udcff"]],
        "cut": False,
    },
    "claim": {
        "directory": True,
        "ended": 1,
        "odd": [["inner", "pipe\udcff"]],
        "aside": [{"path": ["inner", "pipe\udcff"], "kind": "other", "as": "00001"}],
    },
    "accounts": {
        "made": ["a.us"],
        "removed": [],
        "unchanged": 3,
        "ended": 0,
        "refused": [{"name": "root", "code": "system-account", "message": "No."}],
    },
    "rename": {"renamed": True, "ended": 3},
    "end": {"ended": 2},
    "about": {"helper": "1", "openssh": "OpenSSH_9.2p1", "system": "Debian", "accounts": 4, "free": 5, "more": 6},
}


class StandIn:
    """Obeys the protocol of requests and answers on a directory; `reply` makes the whole answer to a request."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[dict[str, Any]] = []
        self.reply: Callable[[dict[str, Any]], object] = self._reply
        self.content = b"0123456789"
        for name in ("requests", "answers"):
            (root / name).mkdir()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.wait(0.01):
            for path in (self.root / "requests").glob("[0-9a-f]*.json"):
                request = json.loads(path.read_bytes())
                self.asked += request["operations"]
                told = self.reply(request)
                if told is not None:
                    content = told if isinstance(told, bytes) else json.dumps(told).encode("ascii")
                    fresh = self.root / "answers" / ".fresh"
                    fresh.write_bytes(content)
                    fresh.rename(self.root / "answers" / path.name)
                    path.unlink()

    def _reply(self, request: dict[str, Any]) -> object:
        return {"id": request["id"], "answers": [self._one(one) for one in request["operations"]]}

    def _one(self, operation: dict[str, Any]) -> object:
        if operation["op"] == "read":
            piece = self.content[operation["offset"] :][: operation["length"]]
            return {"data": base64.b64encode(piece).decode("ascii"), "size": len(self.content)}
        return ANSWERS[operation["op"]]

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    stand_in = StandIn(tmp_path)
    yield stand_in
    stand_in.stop()


@pytest.fixture
def files(stand_in: StandIn) -> LocalFiles:
    return LocalFiles(stand_in.root)


def test_each_operation_is_answered_with_its_own_value(files: LocalFiles) -> None:
    seen = helper.look(files, OURS)
    assert [one.path for one in seen.entries] == [("e",), ("e", "odd\udcff"), ("way",)]
    assert (seen.writing, seen.cut) == (("e/odd\\xff",), False)
    assert helper.read(files, OURS, ("e", "odd\udcff"), 3, 4) == b"3456"
    assert helper.claim(files, OURS, "e", 7) == helper.Claimed({"00001": "inner/pipe\\xff"}, 1)
    made = helper.accounts(files, [(username("a.us"), 7000)])
    assert (made.made, made.unchanged, made.refused[0][0], made.refused[0][1].code) == (
        ("a.us",),
        3,
        "root",
        "system-account",
    )
    assert helper.rename(files, OURS, username("new.us"), 7000) == 3
    assert helper.end(files, OURS) == 2
    assert helper.about(files) == helper.About("1", "OpenSSH_9.2p1", "Debian", 4, 5)


# Seconds by which a machine's clock is ahead, and whether that is said.
CLOCKS = {"right": (0, False), "behind": (-120, True), "ahead": (7200, True)}


@pytest.mark.parametrize(("ahead", "is_off"), CLOCKS.values(), ids=CLOCKS)
def test_a_machine_whose_clock_is_off_is_known_by_what_its_helper_tells(
    stand_in: StandIn, files: LocalFiles, ahead: int, is_off: bool
) -> None:
    def reply(asked: dict[str, Any]) -> object:
        return {"id": asked["id"], "answers": [ANSWERS["about"] | {"time": int(time.time()) + ahead}]}

    stand_in.reply = reply
    about = helper.about(files)
    assert about.clock_off is not None
    # However long the answer took: that is not held against the clock.
    assert abs(about.clock_off) <= abs(ahead)
    assert is_clock_off(about) is is_off


TOO_MUCH = {
    "accounts": {"accounts": 2**40},
    "accounts below none": {"accounts": -1},
    "free": {"free": 2**70},
    "group": {"keys_group": 2**70},
    "group below none": {"keys_group": -1},
    "group that is none": {"keys_group": True},
    "time": {"time": 2**70},
    "text that is none": {"system": 5},
}


@pytest.mark.parametrize("told", TOO_MUCH.values(), ids=TOO_MUCH)
def test_a_machine_tells_no_number_that_the_database_could_not_take(
    stand_in: StandIn, files: LocalFiles, told: dict[str, object]
) -> None:
    stand_in.reply = lambda asked: {"id": asked["id"], "answers": [ANSWERS["about"] | told]}
    with pytest.raises(BadAnswer) as refused:
        helper.about(files)
    assert str(2**70) not in refused.value.message


def test_a_number_of_accounts_made_is_no_larger_than_the_database_can_take(
    stand_in: StandIn, files: LocalFiles
) -> None:
    stand_in.reply = lambda asked: {"id": asked["id"], "answers": [ANSWERS["accounts"] | {"unchanged": 2**70}]}
    with pytest.raises(BadAnswer):
        helper.accounts(files, [])


ODD_TEXTS = {
    "zero": "Debian\0 12",
    "undecodable": "Debian\udc80",
    "half a character": "Debian\ud800",
    "control": "Debian\x1b[2J",
    "long": "D" * 4000,
}


@pytest.mark.django_db
@pytest.mark.parametrize("system", ODD_TEXTS.values(), ids=ODD_TEXTS)
def test_what_a_machine_calls_itself_can_be_kept_and_shown(stand_in: StandIn, files: LocalFiles, system: str) -> None:
    stand_in.reply = lambda asked: {"id": asked["id"], "answers": [ANSWERS["about"] | {"system": system}]}
    told = helper.about(files)
    assert told.system.isprintable()
    Host(name="own", system=told.system, address="sftp.example").full_clean()


def test_names_that_are_no_text_go_there_and_back(stand_in: StandIn, files: LocalFiles) -> None:
    helper.claim(files, OURS, "odd\udcff\n", 1)
    assert stand_in.asked[-1]["name"] == "odd\udcff\n"


@pytest.mark.parametrize(
    ("code", "kind"),
    [("not-there", NotThere), ("full", Full), ("not-safe", NotSafe), ("drops-too-many", helper.HelperRefused)],
)
def test_an_error_is_raised_by_its_code(stand_in: StandIn, files: LocalFiles, code: str, kind: type[HostError]) -> None:
    for whole in (True, False):
        error = {"error": code, "message": "No\x1b[2J."}
        stand_in.reply = lambda asked, error=error, whole=whole: (
            {"id": asked["id"], **error} if whole else {"id": asked["id"], "answers": [error]}
        )
        with pytest.raises(kind) as told:
            helper.end(files, OURS)
        assert (told.value.code, told.value.message) == (code, "No\\u{1b}[2J.")


BAD = {
    "no JSON": b"{",
    "nested without end": b"[" * 100_000,
    "no object": b"[]",
    "another number": b'{"id": "0", "answers": []}',
    "too few": lambda number: {"id": number, "answers": []},
    "no object inside": lambda number: {"id": number, "answers": [7]},
    "a field missing": lambda number: {"id": number, "answers": [{"entries": [], "writing": []}]},
    "a truth for a number": lambda number: {
        "id": number,
        "answers": [
            {
                "entries": [{"path": ["a"], "kind": "file", "size": True, "links": 1, "inode": 1, "modified": 1}],
                "writing": [],
                "cut": False,
            }
        ],
    },
    "a path that leads out": lambda number: {
        "id": number,
        "answers": [
            {
                "entries": [{"path": [".."], "kind": "file", "size": 1, "links": 1, "inode": 1, "modified": 1}],
                "writing": [],
                "cut": False,
            }
        ],
    },
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_an_answer_of_another_form_is_refused(stand_in: StandIn, files: LocalFiles, bad: Any) -> None:
    stand_in.reply = lambda asked: bad if isinstance(bad, bytes) else bad(asked["id"])
    with pytest.raises(BadAnswer):
        helper.look(files, OURS)


def test_an_answer_that_is_larger_than_any_is_not_read_and_the_person_learns_whose_it_was(
    stand_in: StandIn, files: LocalFiles
) -> None:
    stand_in.reply = lambda asked: b" " * (helper.ANSWER_LIMIT + 1)
    # Not TooLarge: that is told to a district, of what it has uploaded.
    with pytest.raises(BadAnswer) as told:
        helper.Uploads(files).listing(HostPath(("homes", OURS, "upload")))
    assert told.value.message == (
        "What the helper on the SFTP host answered is larger than 64 MiB, so it was not read."
    )
    assert told.value.retry


def test_what_found_no_room_in_an_answer_is_asked_for_again(stand_in: StandIn, files: LocalFiles) -> None:
    others = [username(f"other{number}.us") for number in range(3)]
    no_room = {"error": "too-large", "message": "Ask for less at a time."}

    def reply(asked: dict[str, Any]) -> object:
        return {"id": asked["id"], "answers": [ANSWERS["look"], *[no_room] * (len(asked["operations"]) - 1)]}

    stand_in.reply = reply
    found = list(helper.looks(files, others))
    assert [(account, isinstance(one, helper.Look)) for account, one in found] == [(one, True) for one in others]
    assert len(stand_in.asked) == 3 + 2 + 1


def test_a_helper_that_is_silent_is_told_and_the_request_is_taken_back(stand_in: StandIn, files: LocalFiles) -> None:
    stand_in.reply = lambda asked: None
    with pytest.raises(helper.HelperSilent) as told:
        helper.ask(files, [{"op": "about"}], timeout=0.2)
    assert told.value.retry
    assert files.listing(helper.REQUESTS) == ()


def test_an_upload_directory_is_listed_and_read_as_any_other(stand_in: StandIn, files: LocalFiles) -> None:
    uploads = helper.Uploads(files)
    upload = HostPath(("homes", OURS, "upload"))
    assert [(one.name, one.kind) for one in uploads.listing(upload)] == [
        ("e", EntryKind.DIRECTORY),
        ("way", EntryKind.LINK),
    ]
    assert [one.name for one in uploads.listing(upload.child("e"))] == ["odd\udcff"]
    assert [one["op"] for one in stand_in.asked] == ["look"]  # one look answers both
    with uploads.open_read(upload.child("e").child("odd\udcff")) as file:
        file.seek(5)
        assert file.read() == b"56789"
    for missing in (upload.child("x"), upload.child("e").child("x")):
        assert uploads.stat(missing) is None
        with pytest.raises(NotThere):
            uploads.open_read(missing)
    for odd in (upload.child("e"), upload.child("way"), upload.child("way").child("x")):
        with pytest.raises(NotSafe):
            uploads.open_read(odd)


def test_only_a_claim_leads_out_of_an_upload_directory(stand_in: StandIn, files: LocalFiles) -> None:
    uploads = helper.Uploads(files)
    upload, claimed = HostPath(("homes", OURS, "upload")), HostPath(("claimed", "7"))
    uploads.claim(upload.child("e"), claimed)
    uploads.claim(upload.child("e"), claimed.child("e"))
    assert [(one["op"], one["name"], one["number"]) for one in stand_in.asked] == [("claim", "e", 7)] * 2
    for old, new in (
        (upload.child("e"), HostPath(("keys", "root"))),
        (upload.child("e"), upload.child("f")),
        (upload.child("e"), claimed.child("other")),
        (upload.child("e").child("x"), claimed),
        (upload, claimed),
        (upload.child("e"), HostPath(("claimed", "x"))),
    ):
        with pytest.raises(NotSafe):
            uploads.claim(old, new)


def test_a_tree_that_was_not_told_whole_is_not_taken_for_one(stand_in: StandIn, files: LocalFiles) -> None:
    cut = {**ANSWERS["look"], "cut": True}
    stand_in.reply = lambda asked: {"id": asked["id"], "answers": [cut]}
    with pytest.raises(TooLarge):
        helper.Uploads(files).listing(HostPath(("homes", OURS, "upload")))


@pytest.mark.parametrize("why", ["too_full", "too_deep"])
def test_only_the_directory_that_was_not_told_whole_is_not_listed(
    stand_in: StandIn, files: LocalFiles, why: str
) -> None:
    beside = {"path": ["odd\udcff"], "kind": "directory", "size": 1, "links": 2, "inode": 9, "modified": 5}
    look = ANSWERS["look"]
    told = {**look, "entries": [*look["entries"], beside], why: ["odd\udcff"]}
    stand_in.reply = lambda asked: {"id": asked["id"], "answers": [told]}
    uploads, upload = helper.Uploads(files), HostPath(("homes", OURS, "upload"))
    assert [one.name for one in uploads.listing(upload)] == ["e", "odd\udcff", "way"]
    assert [one.name for one in uploads.listing(upload.child("e"))] == ["odd\udcff"]
    with pytest.raises(TooLarge, match=r"20,000|32 levels"):
        uploads.listing(upload.child("odd\udcff"))


def test_an_answer_is_waited_for_with_growing_pauses(stand_in: StandIn, files: LocalFiles) -> None:
    began = time.monotonic()

    def late(asked: dict[str, Any]) -> object:
        return {"id": asked["id"], "answers": [{"ended": 0}]} if time.monotonic() - began > 0.7 else None

    stand_in.reply = late
    assert helper.end(files, OURS) == 0
    with contextlib.suppress(NotThere):
        assert files.listing(helper.REQUESTS) == ()
