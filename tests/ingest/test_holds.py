"""What people decide about a held night: once, bound to what they saw, and with a word for every night behind it."""

from datetime import date
from decimal import Decimal

import pytest

from accounts.models import AuditEntry, District, OutboxMessage, User
from accounts.services import Refused
from ingest import guarding, holds, limiting, looking, services
from ingest.allowances import now_in
from ingest.core.holding import Act, Fate
from ingest.holds import Seen
from ingest.models import BlackoutDays, Epoch, GuardState, HoldNote, Judgement, Record
from tests.factories import StaffFactory

from . import epochs
from .conftest import Clock
from .test_guarding import FEW, FOURTH, FULL, THIRD, active, lines, state
from .uploading import NEXT_NIGHT, NIGHT, home, night, process, staged

FEWER = lines(FULL, slice(0, 11), slice(41, None))


@pytest.fixture
def staff(district: District) -> User:
    return User.objects.get(email="support@vendor.example")


@pytest.fixture
def held(district: District) -> Epoch:
    """A night of 20 after one of 40."""
    night(district, NIGHT, FULL)
    return night(district, NEXT_NIGHT, FEW)


def seen(epoch: Epoch) -> Seen:
    """What the page of the night shows."""
    judgement = Epoch.objects.get(pk=epoch.pk).judgement
    return Seen(judgement.content, judgement.against)


def actions() -> list[str]:
    return list(AuditEntry.objects.filter(action__contains="hold").order_by("number").values_list("action", flat=True))


def test_the_page_and_the_private_copies_speak_of_the_same_content(held: Epoch) -> None:
    line = holds.line_of(held.district, holds.epochs_in_line(held.district))
    assert (line.queue[0].content, line.queue[0].state) == (held.judgement.content, held.judgement.against)
    assert line.state == held.judgement.against


def test_a_set_with_a_manifest_is_approved_too(district: District, staff: User) -> None:
    first = epochs.oneroster(users=60)
    night(district, NIGHT, first)
    rows = first["enrollments.csv"].split(b"\r\n")
    less = {**first, "enrollments.csv": b"\r\n".join([*rows[: len(rows) // 2], b""])}
    epoch = night(district, NEXT_NIGHT, less)
    assert epoch.state == "held", epoch.findings.values("code", "message")
    told = holds.hold_approve(epoch, seen=seen(epoch), reason="x", actor=staff)
    process(district)
    assert (told[0].fate, state(NEXT_NIGHT)) == (Fate.APPLY, "loaded")


def test_an_approved_night_is_applied_once_and_the_next_is_compared_with_it(
    district: District, held: Epoch, staff: User
) -> None:
    behind = night(district, THIRD, FULL)
    told = holds.hold_approve(held, seen=seen(held), reason="They closed a school.", actor=staff)
    assert [one.fate for one in told] == [Fate.APPLY, Fate.JUDGE]
    process(district)
    held.refresh_from_db()
    assert held.state == "loaded"
    assert held.judgement.act_message == f"Applied once, approved by {staff}: They closed a school."
    behind.refresh_from_db()
    assert (behind.state, behind.judgement.tables[0]["base"]) == ("loaded", 20)
    assert not staged()
    assert actions() == ["hold approved"]


def test_the_same_files_are_held_again_the_next_night(district: District, held: Epoch, staff: User) -> None:
    """An approval lets one night pass, not every one like it."""
    holds.hold_approve(held, seen=seen(held), reason="Yes.", actor=staff)
    process(district)
    assert night(district, THIRD, FEWER).state == "held"


def test_a_discarded_night_ends_unapplied_and_the_next_has_its_turn(
    district: District, held: Epoch, staff: User
) -> None:
    behind = night(district, THIRD, epochs.students(rows=40, night=1))
    told = holds.hold_discard(held, seen=seen(held), reason="Half a file.", actor=staff)
    assert [one.fate for one in told] == [Fate.DISCARD, Fate.JUDGE]
    process(district)
    held.refresh_from_db()
    behind.refresh_from_db()
    assert (held.state, held.archive_name, behind.state, active()) == ("discarded", NEXT_NIGHT, "loaded", 40)
    assert held.log.startswith("FAILED: Discarded, nothing was applied.")
    assert "Half a file." in held.log
    assert (home(district) / "upload-processed" / NEXT_NIGHT / "processing-log.txt").read_text() == held.log
    assert not staged()
    assert (held.judgement.sample, held.judgement.night) == ([], None)
    assert not Record.objects.filter(last_epoch=held).exists()
    assert OutboxMessage.objects.filter(kind="epoch-discarded").count() == 1


def test_skipping_ends_all_but_the_newest(district: District, held: Epoch, staff: User) -> None:
    night(district, THIRD, FEWER)
    night(district, FOURTH, FULL)
    told = holds.hold_skip(held, seen=seen(held), reason="Mended since.", actor=staff)
    assert [one.fate for one in told] == [Fate.DISCARD, Fate.DISCARD, Fate.JUDGE]
    process(district)
    assert [state(name) for name in (NEXT_NIGHT, THIRD, FOURTH)] == ["discarded", "discarded", "loaded"]
    assert active() == 40
    assert not staged()
    third = Epoch.objects.get(name=THIRD)
    assert third.log.startswith("FAILED: Discarded in favour of")
    assert (third.judgement.state, third.judgement.act) == ("", "discarded")


def test_skipping_needs_a_newer_night(held: Epoch, staff: User) -> None:
    with pytest.raises(Refused) as refused:
        holds.hold_skip(held, seen=seen(held), reason="x", actor=staff)
    assert refused.value.code == "nothing-newer"


ACTS = {
    "approve": lambda epoch, actor: holds.hold_approve(epoch, seen=seen(epoch), reason="x", actor=actor),
    "discard": lambda epoch, actor: holds.hold_discard(epoch, seen=seen(epoch), reason="x", actor=actor),
    "skip": lambda epoch, actor: holds.hold_skip(epoch, seen=seen(epoch), reason="x", actor=actor),
    "ask": lambda epoch, actor: holds.hold_ask(epoch, seen=seen(epoch), question="x", actor=actor),
}


@pytest.mark.parametrize("second", ACTS)
@pytest.mark.parametrize("first", ["approve", "discard"])
def test_of_two_people_only_the_first_is_heard(held: Epoch, staff: User, first: str, second: str) -> None:
    other = StaffFactory()
    ACTS[first](held, staff)
    before = list(AuditEntry.objects.values_list("number", flat=True))
    with pytest.raises(Refused) as refused:
        ACTS[second](held, other)
    assert refused.value.code == "not-held"
    assert "Somebody was quicker" in refused.value.message
    assert list(AuditEntry.objects.values_list("number", flat=True)) == before


@pytest.mark.parametrize("act", ["approve", "discard", "skip", "ask"])
def test_nothing_is_decided_without_a_word(district: District, held: Epoch, staff: User, act: str) -> None:
    night(district, THIRD, FULL)
    word = {"question" if act == "ask" else "reason": "  "}
    with pytest.raises(Refused) as refused:
        getattr(holds, f"hold_{act}")(held, seen=seen(held), actor=staff, **word)
    assert refused.value.code == "no-reason"
    assert state(NEXT_NIGHT) == "held"


def test_an_approval_of_other_files_does_not_count_and_the_night_is_compared_again(
    district: District, held: Epoch, staff: User
) -> None:
    told = holds.hold_approve(held, seen=Seen("another", seen(held).state), reason="x", actor=staff)
    assert told[0].fate is Fate.JUDGE
    assert "not those that were approved" in told[0].message
    process(district)
    assert (state(NEXT_NIGHT), active()) == ("held", 40)
    assert "hold: approval void" in actions()
    assert OutboxMessage.objects.filter(kind="epoch-held").count() == 1


def test_an_approval_on_top_of_another_state_does_not_count(district: District, held: Epoch, staff: User) -> None:
    told = holds.hold_approve(held, seen=Seen(seen(held).content, "another"), reason="x", actor=staff)
    assert (told[0].fate, active()) == (Fate.JUDGE, 40)
    process(district)
    assert (state(NEXT_NIGHT), active()) == ("held", 40)


@pytest.mark.parametrize("act", ["discard", "skip", "ask"])
def test_a_page_that_shows_another_comparison_decides_nothing(
    district: District, held: Epoch, staff: User, act: str
) -> None:
    night(district, THIRD, FULL)
    word = {"question" if act == "ask" else "reason": "x"}
    with pytest.raises(Refused) as refused:
        getattr(holds, f"hold_{act}")(held, seen=Seen("old", "old"), actor=staff, **word)
    assert refused.value.code == "seen-before"


def test_nothing_is_approved_in_a_blackout(district: District, held: Epoch, staff: User) -> None:
    BlackoutDays.objects.create(district=district, first=date(2020, 1, 1), last=date(2999, 1, 1), why="x")
    with pytest.raises(Refused) as refused:
        holds.hold_approve(held, seen=seen(held), reason="x", actor=staff)
    assert (refused.value.code, state(NEXT_NIGHT)) == ("blackout", "held")


def test_the_district_is_asked_by_mail_without_the_question_and_answers_on_the_page(
    district: District, held: Epoch, staff: User
) -> None:
    for _ in range(2):
        holds.hold_ask(held, seen=seen(held), question="Did Oak School close?", actor=staff)
    dana = User.objects.get(email="dana@smithville.example")
    for _ in range(2):
        holds.hold_answer(held, answer="Yes, in June.", actor=dana)
    assert list(HoldNote.objects.values_list("text", "is_question")) == [
        ("Did Oak School close?", True),
        ("Yes, in June.", False),
    ]
    told = OutboxMessage.objects.filter(kind__in=["epoch-asked", "epoch-answered"])
    assert sorted(told.values_list("kind", "to")) == [
        ("epoch-answered", "support@vendor.example"),
        ("epoch-asked", "dana@smithville.example"),
    ]
    assert not [one for one in told if "Oak" in one.text or "June" in one.text]
    assert state(NEXT_NIGHT) == "held"


def test_an_answer_comes_too_late_when_it_is_decided(held: Epoch, staff: User) -> None:
    holds.hold_discard(held, seen=seen(held), reason="x", actor=staff)
    with pytest.raises(Refused):
        holds.hold_answer(held, answer="Wait!", actor=staff)
    assert not HoldNote.objects.exists()


def test_a_stopped_district_receives_and_checks_and_goes_on_when_it_is_released(
    district: District, staff: User
) -> None:
    night(district, NIGHT, FULL)
    GuardState.objects.update(stopped="A night was undone.")
    epoch = night(district, NEXT_NIGHT, epochs.students(rows=40, night=1))
    assert (epoch.state, epoch.step) == ("behind", "check")
    holds.district_release(district, reason="Sorted out.", actor=staff)
    process(district)
    assert state(NEXT_NIGHT) == "loaded"
    with pytest.raises(Refused) as refused:
        holds.district_release(district, reason="Again.", actor=staff)
    assert refused.value.code == "not-stopped"
    assert AuditEntry.objects.filter(action="district released").count() == 1


def test_in_a_stopped_district_a_held_night_cannot_be_decided_and_is_compared_anew_later(
    district: District, held: Epoch, staff: User
) -> None:
    GuardState.objects.update(stopped="A night was undone.")
    with pytest.raises(Refused) as refused:
        holds.hold_approve(held, seen=seen(held), reason="x", actor=staff)
    assert refused.value.code == "stopped"
    holds.district_release(district, reason="Sorted out.", actor=staff)
    assert state(NEXT_NIGHT) == "behind"
    process(district)
    assert state(NEXT_NIGHT) == "held"


def test_what_each_act_would_do_is_told_before(district: District, held: Epoch) -> None:
    night(district, THIRD, FULL)
    line = holds.line_of(district, holds.epochs_in_line(district))
    told = {act: [one.fate for one in holds.decisions(line, act, seen(held))] for act in Act if act is not Act.RELEASE}
    assert told == {
        Act.APPROVE: [Fate.APPLY, Fate.JUDGE],
        Act.DISCARD: [Fate.DISCARD, Fate.JUDGE],
        Act.SKIP: [Fate.DISCARD, Fate.JUDGE],
        Act.ASK: [Fate.HOLD, Fate.WAIT],
    }


def test_a_worker_killed_after_a_discard_leaves_a_night_that_is_still_not_applied(
    district: District, held: Epoch, staff: User
) -> None:
    holds.hold_discard(held, seen=seen(held), reason="x", actor=staff)
    Epoch.objects.filter(pk=held.pk).update(step="check")
    process(district)
    assert (state(NEXT_NIGHT), active()) == ("discarded", 40)


# --- Judged again after a limit was raised -----------------------------------------------------------------------


def raise_limit(held: Epoch, staff: User, percent: int = 60) -> None:
    change = limiting.Change("removed", "", Decimal(percent), 5)
    today = now_in(held.district).date()
    limiting.limit_raise(held.district, change, first=today, last=today, reason="A school closed.", actor=staff)


def test_what_is_kept_of_a_held_night_is_judged_as_its_files_were(held: Epoch) -> None:
    judged = guarding.judged_now(held)
    assert judged is not None
    assert judged.message == held.judgement.message
    assert [one.message for one in judged.reasons] == [one["message"] for one in held.judgement.reasons]
    assert not guarding.would_pass(judged)


def test_a_raise_lets_no_held_night_pass_until_somebody_has_it_judged_again(
    district: District, held: Epoch, staff: User
) -> None:
    behind = night(district, THIRD, FULL)
    raise_limit(held, staff)
    process(district)
    assert (state(NEXT_NIGHT), active()) == ("held", 40)
    assert guarding.would_pass(guarding.judged_now(Epoch.objects.get(pk=held.pk)))
    holds.hold_judge(held, seen=seen(held), actor=staff)
    process(district)
    behind.refresh_from_db()
    held.refresh_from_db()
    assert (held.state, held.judgement.state, held.judgement.act) == ("loaded", "pass", "")
    assert behind.judgement.tables[0]["base"] == 20
    assert actions() == ["hold: judged again"]


def test_a_night_that_would_be_held_again_is_not_judged_again(held: Epoch, staff: User) -> None:
    raise_limit(held, staff, percent=40)
    with pytest.raises(Refused) as refused:
        holds.hold_judge(held, seen=seen(held), actor=staff)
    assert refused.value.code == "would-not-pass"
    assert state(NEXT_NIGHT) == "held"


def test_a_night_is_not_judged_again_in_a_blackout_which_would_end_it_unapplied(held: Epoch, staff: User) -> None:
    raise_limit(held, staff)
    today = now_in(held.district).date()
    BlackoutDays.objects.create(district=None, first=today, last=today, why="Summer")
    with pytest.raises(Refused):
        holds.hold_judge(held, seen=seen(held), actor=staff)
    assert state(NEXT_NIGHT) == "held"


@pytest.mark.parametrize("stale", [Seen("", ""), Seen("0" * 64, "0" * 64)])
def test_judging_again_is_bound_to_what_was_seen(held: Epoch, staff: User, stale: Seen) -> None:
    raise_limit(held, staff)
    with pytest.raises(Refused) as refused:
        holds.hold_judge(held, seen=stale, actor=staff)
    assert refused.value.code == "seen-before"


def test_of_two_who_have_it_judged_again_the_second_is_told(held: Epoch, staff: User) -> None:
    raise_limit(held, staff)
    told = seen(held)
    holds.hold_judge(held, seen=told, actor=staff)
    with pytest.raises(Refused) as refused:
        holds.hold_judge(held, seen=told, actor=staff)
    assert refused.value.code == "not-held"


def test_nothing_is_foretold_of_a_night_that_was_compared_with_other_records(held: Epoch) -> None:
    Judgement.objects.filter(epoch=held).update(against="another state")
    assert guarding.judged_now(Epoch.objects.get(pk=held.pk)) is None


def _blackout(district: District) -> BlackoutDays:
    today = now_in(district).date()
    return BlackoutDays.objects.create(district=district, first=today, last=today, why="x")


@pytest.mark.parametrize("act", ["discard", "skip"])
def test_in_a_blackout_nothing_is_decided_that_gives_another_night_its_turn(
    district: District, held: Epoch, staff: User, act: str
) -> None:
    behind = night(district, THIRD, epochs.students(rows=42))
    made = _blackout(district)
    deciding = {"discard": holds.hold_discard, "skip": holds.hold_skip}[act]
    with pytest.raises(Refused, match="would be lost"):
        deciding(held, seen=seen(held), reason="Wrong file.", actor=staff)
    made.delete()
    deciding(held, seen=seen(held), reason="Wrong file.", actor=staff)
    process(district)
    assert (state(NEXT_NIGHT), state(behind.name)) == ("discarded", "loaded")


def test_in_a_blackout_a_night_with_none_behind_it_is_discarded(district: District, held: Epoch, staff: User) -> None:
    _blackout(district)
    holds.hold_discard(held, seen=seen(held), reason="Wrong file.", actor=staff)
    process(district)
    assert state(NEXT_NIGHT) == "discarded"


def test_a_stopped_district_is_not_released_in_a_blackout(district: District, held: Epoch, staff: User) -> None:
    GuardState.objects.update(stopped="Taken back.")
    made = _blackout(district)
    with pytest.raises(Refused, match="blackout"):
        holds.district_release(district, reason="Go on.", actor=staff)
    made.delete()
    holds.district_release(district, reason="Go on.", actor=staff)


def test_skipping_goes_to_the_latest_name_and_never_back(district: District, staff: User) -> None:
    night(district, NIGHT, FULL)
    held = night(district, THIRD, FEW)
    night(district, NEXT_NIGHT, epochs.students(rows=42))
    with pytest.raises(Refused, match="no newer full set"):
        holds.hold_skip(held, seen=seen(held), reason="The newest.", actor=staff)
    night(district, FOURTH, epochs.students(rows=44))
    holds.hold_skip(held, seen=seen(held), reason="The newest.", actor=staff)
    process(district)
    assert [state(name) for name in (NEXT_NIGHT, THIRD, FOURTH)] == ["discarded", "discarded", "loaded"]


def test_what_staff_gave_to_a_loader_is_no_set_in_favour_of_which_nights_are_skipped(
    district: District, held: Epoch, staff: User, clock: Clock
) -> None:
    place = home(district) / "upload" / "old system"
    place.mkdir()
    (place / "students.csv").write_bytes(epochs.students(rows=3)["students.csv"])
    looking.look_everywhere()
    clock.move(minutes=11)
    looking.look_everywhere()
    loaded = Epoch.objects.get(name=place.name)
    services.epoch_format_assign(loaded, "samegoal-bulk-2", actor=staff)
    process(district)
    assert state(loaded.name) == "behind"
    with pytest.raises(Refused) as refused:
        holds.hold_skip(held, seen=seen(held), reason="There is a newer one.", actor=staff)
    assert refused.value.code == "nothing-newer"
