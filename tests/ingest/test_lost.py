"""A night of changes that is not applied leaves a gap: it is said at once, and again until a full set has come."""

import json

import pytest

from accounts.models import District, OutboxMessage, User
from ingest import holds, limiting
from ingest.allowances import now_in
from ingest.core.facts import LOST
from ingest.core.schema import Mode
from ingest.models import Epoch

from . import epochs
from .test_undos import undo
from .test_views_holds import client_of, page
from .uploading import NEXT_NIGHT, NIGHT, home, night, process

THIRD, FOURTH, FIFTH = "20261123-020000", "20261124-020000", "20261125-020000"
MISSING = f"The night {NEXT_NIGHT} is not applied; its changes are missing until a full set is sent."


def whole(number: int = 0) -> dict[str, bytes]:
    return epochs.oneroster(users=40, night=number)


def changes(number: int) -> dict[str, bytes]:
    return epochs.oneroster(users=40, night=number, mode=Mode.CHANGES)


def with_an_error(files: dict[str, bytes]) -> dict[str, bytes]:
    return {**files, "users.csv": files["users.csv"].replace(b",true,", b",maybe,", 1)}


def failed(district: District) -> Epoch:
    return night(district, NEXT_NIGHT, with_an_error(changes(2)))


def in_a_blackout(district: District) -> Epoch:
    today = now_in(district).date()
    blackout = limiting.blackout_set(district, first=today, last=today, why="Holidays", actor=staff())
    epoch = night(district, NEXT_NIGHT, changes(2))
    limiting.blackout_end(blackout, actor=staff())
    return epoch


def discarded(district: District) -> Epoch:
    for what in ("added", "changed", "removed"):
        district.limits.create(what=what, table="", percent=0, floor=0)
    epoch = night(district, NEXT_NIGHT, changes(2))
    district.limits.all().delete()
    seen = holds.Seen(epoch.judgement.content, epoch.judgement.against)
    holds.hold_discard(epoch, seen=seen, reason="wrong", actor=staff())
    process(district)
    epoch.refresh_from_db()
    return epoch


def staff() -> User:
    return User.objects.get(email="support@vendor.example")


def result_of(epoch: Epoch, district: District) -> dict[str, object]:
    place = home(district) / "upload-processed" / epoch.archive_name / "result.json"
    return json.loads(place.read_text())


def missing(epoch: Epoch) -> list[str]:
    return [one["message"] for one in epoch.judgement.reasons if one["code"] == "changes-lost"]


@pytest.mark.parametrize("how", [failed, in_a_blackout, discarded])
def test_that_its_changes_are_lost_is_said_in_log_result_and_page(district: District, how) -> None:
    night(district, NIGHT, whole())
    epoch = how(district)
    assert epoch.state in ("failed", "blackout", "discarded")
    assert LOST in epoch.log.splitlines()[0]
    assert LOST in result_of(epoch, district)["reason"]
    assert LOST in page(client_of("dana@smithville.example"), "epoch", epoch)


def test_it_is_said_in_the_mail_about_errors(district: District) -> None:
    night(district, NIGHT, whole())
    failed(district)
    assert LOST in OutboxMessage.objects.get(kind="epoch-failed", to__startswith="dana").text


def test_of_a_full_set_nothing_is_lost(district: District) -> None:
    night(district, NIGHT, whole())
    epoch = night(district, NEXT_NIGHT, with_an_error(whole(1)))
    assert epoch.state == "failed"
    assert LOST not in epoch.log
    assert LOST not in OutboxMessage.objects.get(kind="epoch-failed", to__startswith="dana").text
    assert missing(night(district, THIRD, changes(4))) == []


@pytest.mark.parametrize("how", [failed, in_a_blackout, discarded])
def test_the_next_changes_are_loaded_with_a_warning(district: District, how) -> None:
    night(district, NIGHT, whole())
    how(district)
    epoch = night(district, THIRD, changes(4))
    assert (epoch.state, missing(epoch)) == ("loaded", [MISSING])
    assert epoch.judgement.cause is None
    assert MISSING in epoch.log.splitlines()[0]
    told = result_of(epoch, district)
    assert MISSING in told["reason"]
    assert "changes-lost" in told["guard"]["reasons"]
    assert MISSING in page(client_of("dana@smithville.example"), "epoch", epoch)


def test_it_is_said_until_a_full_set_is_applied(district: District) -> None:
    night(district, NIGHT, whole())
    failed(district)
    assert missing(night(district, THIRD, changes(4))) == [MISSING]
    assert missing(night(district, "20261123-120000", with_an_error(whole(3)))) == []
    again = night(district, FOURTH, with_an_error(changes(3)))
    last = night(district, "20261124-120000", changes(5))
    assert missing(again) == [MISSING]
    told = f"2 nights, the last of them {FOURTH}, are not applied; their changes are missing until a full set is sent."
    assert missing(last) == [told]
    assert missing(night(district, FIFTH, whole(6))) == []
    assert missing(night(district, "20261126-020000", changes(7))) == []


def test_changes_that_a_full_set_of_a_later_night_says_are_not_missing(district: District) -> None:
    night(district, THIRD, whole(2))
    late = night(district, NEXT_NIGHT, changes(2))
    assert late.state == "superseded"
    assert missing(night(district, FOURTH, changes(5))) == []


def test_changes_that_were_taken_back_are_missing(district: District) -> None:
    night(district, NIGHT, whole())
    epoch = night(district, NEXT_NIGHT, changes(2))
    undo(epoch, staff())
    holds.district_release(district, reason="go on", actor=staff())
    assert missing(night(district, THIRD, changes(4))) == [MISSING]


def test_with_a_night_of_changes_that_says_nothing_nothing_is_lost(district: District) -> None:
    night(district, NIGHT, whole())
    today = now_in(district).date()
    blackout = limiting.blackout_set(district, first=today, last=today, why="Holidays", actor=staff())
    epoch = night(district, NEXT_NIGHT, changes(1))
    limiting.blackout_end(blackout, actor=staff())
    assert (epoch.state, LOST in epoch.log) == ("blackout", False)
    assert missing(night(district, THIRD, changes(4))) == []


def test_changes_that_failed_while_a_full_set_was_held_are_lost_all_the_same(district: District) -> None:
    night(district, NIGHT, whole())
    district.limits.create(what="removed", table="", percent=0, floor=0)
    held = night(district, NEXT_NIGHT, epochs.oneroster(users=30))
    assert held.state == "held"
    district.limits.all().delete()
    night(district, THIRD, with_an_error(changes(2)))
    seen = holds.Seen(held.judgement.content, held.judgement.against)
    holds.hold_approve(held, seen=seen, reason="right", actor=staff())
    process(district)
    after = night(district, FOURTH, changes(3))
    assert f"The night {THIRD} is not applied" in " ".join(one["message"] for one in after.judgement.reasons)
