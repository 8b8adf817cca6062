"""What the page of an epoch shows of the guard: why it is held, what would change, and what may be decided."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from django.http import HttpRequest

from accounts.access import role_in
from accounts.core.roles import Right, Tool, may

from .. import guarding, holds, selectors
from ..core.guard import State
from ..core.holding import Act, Decision, Fate
from ..forms import AnswerForm, DecisionForm
from ..holds import Seen
from ..models import Epoch, Judgement
from ..outcome import judgement_of

MOST_CELLS = 6
MOST_NIGHTS = 5
WORDS = {
    Act.APPROVE: (
        "Approve once",
        "This night is applied as it is. The limits stay as they are: the next night is compared as always.",
    ),
    Act.DISCARD: (
        "Discard",
        "Nothing of it is applied. It goes to `/upload-processed/` with a log that says so. The district gets a mail.",
    ),
    Act.SKIP: ("Skip to the newest", "This night and all behind it but the newest are discarded."),
    Act.ASK: (
        "Ask the district",
        "It stays held. The district gets a mail with a link to this page, where its administrator can answer.",
    ),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that may be decided, and what would become of each night then."""

    act: Act
    title: str
    says: str
    decisions: tuple[Decision, ...]
    more: int


@dataclass(frozen=True, slots=True)
class Sampled:
    """Some of the records of one file that would be added, changed or removed."""

    what: str
    file: str
    number: int
    rows: tuple[dict[str, Any], ...]


def context_of(request: HttpRequest, epoch: Epoch) -> dict[str, object]:
    """All of it for the epoch's page."""
    judgement = Judgement.objects.filter(epoch=epoch).select_related("act_by").first()
    told: dict[str, object] = {"judgement": judgement}
    if judgement is not None:
        told["alarms"] = [one for one in judgement.reasons if one["weight"] != "note"]
    if epoch.state == Epoch.State.BEHIND:
        told["first"] = selectors.held_of(epoch.district)
        told["stopped"] = selectors.stopped_since(epoch.district)
    notes = list(epoch.notes.select_related("by"))
    told["notes"] = notes
    if epoch.state != Epoch.State.HELD or judgement is None:
        return told
    role = role_in(request.user, epoch.district)
    is_open = epoch.district.state == epoch.district.State.ACTIVE
    told["answer_form"] = AnswerForm()
    told["may_answer"] = bool(role and may(role, Tool.UPLOADS, Right.ADD)) and is_open
    told["stopped"] = selectors.stopped_since(epoch.district)
    return {**told, **_decidable(epoch, judgement)}


def _decidable(epoch: Epoch, judgement: Judgement) -> dict[str, object]:
    choices = choices_of(epoch, judgement)
    seen = {"content": judgement.content, "state": judgement.against}
    return {
        **changes_told(judgement.tables, judgement.sample),
        "choices": choices,
        "blackout": guarding.calendar_of(epoch.district).blackout,
        "anew": anew_of(epoch),
        "decision_form": DecisionForm(initial=seen, acts=[one.act for one in choices]),
    }


@dataclass(frozen=True, slots=True)
class Anew:
    """What the guard would say today of a night that is held. `message`: why it would not pass."""

    epoch: Epoch
    judgement: Judgement
    would_pass: bool
    message: str


def anew_of(epoch: Epoch | None) -> Anew | None:
    """What would become of a held night by the limits of today; None if none is held or it cannot be known."""
    judgement = judgement_of(epoch) if epoch else None
    judged = guarding.judged_now(epoch) if epoch else None
    if epoch is None or judgement is None or judged is None:
        return None
    message = judged.holds[0].message if judged.state is State.HELD else judged.message
    return Anew(epoch, judgement, guarding.would_pass(judged), message)


def changes_told(every: list[dict[str, Any]], sample: list[dict[str, Any]]) -> dict[str, object]:
    """What would change, file by file, with some of the records."""
    tables = [_with_percents(one) for one in every]
    changing = [one for one in tables if any(kind["number"] for kind in one["kinds"])]
    return {
        "tables": sorted(changing, key=lambda one: not any(kind["is_over"] for kind in one["kinds"])),
        "tables_same": len(tables) - len(changing),
        "sample": list(_sampled(every, sample)),
    }


def choices_of(epoch: Epoch, judgement: Judgement) -> list[Choice]:
    """What may be decided about a held night, each with what it would do."""
    line = holds.line_of(epoch.district, holds.epochs_in_line(epoch.district))
    if line.stopped or not line.queue:
        return []
    seen = Seen(judgement.content, judgement.against)
    made = []
    for act in (one for one in WORDS if one in holds.allowed(line)):
        every = list(holds.decisions(line, act, seen))
        if act is Act.APPROVE and every[0].fate is Fate.APPLY:
            every[0] = replace(every[0], message="Applied once.")
        made.append(Choice(act, *WORDS[act], tuple(every[:MOST_NIGHTS]), len(every[MOST_NIGHTS:])))
    return made


def _with_percents(told: dict[str, Any]) -> dict[str, Any]:
    base = told["base"]
    kinds = [{**one, "percent": f"{one['number'] * 100 / base:.3g}" if base else ""} for one in told["kinds"]]
    return {**told, "kinds": kinds}


def _sampled(tables: list[dict[str, Any]], sample: list[dict[str, Any]]) -> Iterator[Sampled]:
    numbers = {(one["table"], kind["what"]): (one["file"], kind["number"]) for one in tables for kind in one["kinds"]}
    for (table, what), (file, number) in numbers.items():
        rows = [one for one in sample if one["table"] == table and one["what"] == what]
        if rows:
            yield Sampled(what, file, number, tuple(_shortened(one) for one in rows))


def _shortened(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "cells": row["cells"][:MOST_CELLS], "more": len(row["cells"][MOST_CELLS:])}
