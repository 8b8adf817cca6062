"""How a stored key comes to its end by itself: the day it is disabled on, and when people are reminded."""

from datetime import date, timedelta

import pytest

from keys.core.errors import Refusal
from keys.core.life import Finding, Mark, finding_from, marked, reminder_due, unreadable

TODAY = date(2026, 11, 22)
SHORT = Finding("rsa-too-short", "Too short.", 14)
LEAKED = Finding("weak-known", "Leaked.", 3)
BROKEN = Finding("truncated", "Cut.", 0)


def _mark(finding: Finding, days: int, *, is_disabled: bool = False) -> Mark:
    return Mark(finding.code, finding.reason, TODAY + timedelta(days=days), is_disabled)


JUDGED = {
    "a good key stays good": (None, None, None),
    "a bad key gets a day": (None, SHORT, _mark(SHORT, 14)),
    "one that anybody can use gets few": (None, LEAKED, _mark(LEAKED, 3)),
    "one that cannot be written is disabled at once": (None, BROKEN, _mark(BROKEN, 0, is_disabled=True)),
    "the day stays as it was told": (_mark(SHORT, 5), SHORT, _mark(SHORT, 5)),
    "the day has come": (_mark(SHORT, 0), SHORT, _mark(SHORT, 0, is_disabled=True)),
    "the day has passed unseen": (_mark(SHORT, -9), SHORT, _mark(SHORT, -9, is_disabled=True)),
    "a worse reason brings the day nearer": (_mark(SHORT, 10), LEAKED, _mark(LEAKED, 3)),
    "a milder reason does not put it off": (_mark(LEAKED, 2), SHORT, _mark(SHORT, 2)),
    "marked, then no longer writable": (_mark(SHORT, 10), BROKEN, _mark(BROKEN, 0, is_disabled=True)),
    "marked with the code of one not writable": (
        _mark(BROKEN, 10),
        BROKEN,
        _mark(BROKEN, 0, is_disabled=True),
    ),
    "disabled stays disabled": (_mark(SHORT, -3, is_disabled=True), SHORT, _mark(SHORT, -3, is_disabled=True)),
    "disabled for another reason": (_mark(BROKEN, -3, is_disabled=True), SHORT, _mark(SHORT, -3, is_disabled=True)),
    "a marked key passes again": (_mark(SHORT, 4), None, None),
    "a disabled key passes again": (_mark(SHORT, -4, is_disabled=True), None, None),
}


@pytest.mark.parametrize(("before", "finding", "after"), JUDGED.values(), ids=JUDGED)
def test_a_key_that_is_judged(before: Mark | None, finding: Finding | None, after: Mark | None) -> None:
    assert marked(before, finding, TODAY) == after


def test_judging_the_same_day_again_changes_nothing() -> None:
    for before, finding, after in JUDGED.values():
        assert marked(after, finding, TODAY) == after, before


def test_a_lower_limit_of_days_does_not_move_a_day_that_was_told() -> None:
    told = marked(None, SHORT, TODAY)
    assert marked(told, Finding(SHORT.code, SHORT.reason, 1), TODAY + timedelta(days=1)) == told


WEAK = [refusal for refusal in Refusal if refusal.code.startswith("weak-")]


@pytest.mark.parametrize("refusal", WEAK, ids=lambda refusal: refusal.code)
def test_a_key_that_anybody_can_sign_for_gets_three_days_at_most(refusal: Refusal) -> None:
    # A modulus that is merely far from random, and a point that no stored key can have.
    usual = refusal in (Refusal.WEAK_BIAS, Refusal.WEAK_POINT)
    assert finding_from(refusal.problem(), 14).days == (14 if usual else 3)
    assert finding_from(refusal.problem(), 2).days == 2


def test_any_other_reason_gets_the_usual_days() -> None:
    problem = Refusal.RSA_TOO_SHORT.problem(bits=1024, minimum=2048)
    assert finding_from(problem, 14) == Finding("rsa-too-short", problem.message, 14)
    assert unreadable(problem).days == 0


@pytest.mark.parametrize("refusal", Refusal, ids=lambda refusal: refusal.code)
def test_every_reason_fits_into_its_column(refusal: Refusal) -> None:
    assert len(refusal.message) <= 380
    assert len(refusal.code) <= 60


REMINDED = {
    "long before": (31, None, None),
    "thirty days before": (30, None, 30),
    "once only": (30, 30, None),
    "between two": (12, 30, None),
    "a week before": (7, 30, 7),
    "a week before, the first was missed": (7, None, 7),
    "the portal was off for a while": (4, 30, 7),
    "several were missed: the nearest only": (3, None, 7),
    "on the last day": (0, 7, 0),
    "on the last day, all were missed": (0, None, 0),
    "on the last day, once only": (0, 0, None),
    "the last day was missed too": (-2, 7, 0),
    "over, and told": (-2, 0, None),
    "a day before": (1, 7, None),
    "no reminder after a nearer one": (20, 7, None),
}


@pytest.mark.parametrize(("left", "reminded", "due"), REMINDED.values(), ids=REMINDED)
def test_a_reminder_is_due(left: int, reminded: int | None, due: int | None) -> None:
    assert reminder_due(TODAY + timedelta(days=left), TODAY, reminded) == due
