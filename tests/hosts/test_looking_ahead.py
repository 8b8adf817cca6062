"""Many accounts' uploads are looked at in few requests; each is answered or refused by itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hosts import helper
from hosts.core.errors import BadAnswer, HostError, NotThere, TooLarge
from hosts.core.paths import Username, upload, username
from hosts.local import LocalFiles

from .test_helper import StandIn

EMPTY = {"entries": [], "writing": [], "cut": False}


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    stand_in = StandIn(tmp_path)
    yield stand_in
    stand_in.stop()


@pytest.fixture
def files(stand_in: StandIn) -> LocalFiles:
    return LocalFiles(stand_in.root)


def names(count: int) -> list[Username]:
    return [username(f"d{number}.k12.oh.us") for number in range(count)]


def answering(stand_in: StandIn, room: int = 10**6, **odd: dict[str, Any]) -> list[int]:
    """Has every account answered as empty, those named by their first word as they are given; sizes of requests."""
    sizes: list[int] = []

    def reply(request: dict[str, Any]) -> object:
        asked = [one["account"] for one in request["operations"]]
        sizes.append(len(asked))
        told = [odd.get(account.partition(".")[0], EMPTY) for account in asked[:room]]
        late = {"error": "too-large", "message": "Ask for less at a time."}
        return {"id": request["id"], "answers": told + [late] * (len(asked) - len(told))}

    stand_in.reply = reply
    return sizes


def test_some_hundred_accounts_are_asked_for_in_one_request(stand_in: StandIn, files: LocalFiles) -> None:
    sizes = answering(stand_in)
    assert {name for name, _ in helper.looks(files, names(450))} == set(names(450))
    assert sizes == [200, 200, 50]


def test_those_an_answer_had_no_room_for_are_asked_for_again(stand_in: StandIn, files: LocalFiles) -> None:
    sizes = answering(stand_in, room=4)
    found = dict(helper.looks(files, names(10)))
    assert set(found) == set(names(10))
    assert not any(isinstance(one, HostError) for one in found.values())
    assert sizes == [10, 6, 2]


def test_an_account_that_has_no_room_even_alone_is_told_so_and_ends_it(stand_in: StandIn, files: LocalFiles) -> None:
    answering(stand_in, room=0)
    assert {type(one) for _, one in helper.looks(files, names(3))} == {TooLarge}


def test_what_is_one_accounts_trouble_is_raised_for_it_alone(stand_in: StandIn, files: LocalFiles) -> None:
    answering(stand_in, d1={"error": "not-there", "message": "No."}, d2={"entries": 7})
    uploads = helper.Uploads(files)
    uploads.look_ahead(names(4))
    listed = [_outcome(uploads, name) for name in names(4)]
    assert listed == [(), NotThere, BadAnswer, ()]


def _outcome(uploads: helper.Uploads, name: Username) -> object:
    try:
        return uploads.listing(upload(name))
    except HostError as error:
        return type(error)


def test_what_was_looked_at_ahead_is_not_asked_again_for_some_seconds(
    stand_in: StandIn, files: LocalFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = answering(stand_in)
    uploads = helper.Uploads(files)
    uploads.look_ahead(names(3))
    assert [uploads.look(name).entries for name in names(3)] == [(), (), ()]
    assert sizes == [3]
    now = helper.time.monotonic() + helper.AHEAD_SECONDS
    monkeypatch.setattr(helper.time, "monotonic", lambda: now)
    uploads.look(names(1)[0])
    assert sizes == [3, 1]


def test_nobody_is_asked_for_nobody(stand_in: StandIn, files: LocalFiles) -> None:
    sizes = answering(stand_in)
    helper.Uploads(files).look_ahead([])
    assert sizes == []
