"""Tells people what became of an epoch. Written in the transaction that makes it so, so told once and never falsely."""

import hashlib
from datetime import date

from django.db.models import Sum
from django.utils import timezone

from accounts import audit
from accounts.core.roles import Role
from accounts.models import District
from accounts.notices import administrators_of, notice_send, staff_in

from .core.arrival import Audience
from .models import Epoch, Judgement
from .outcome import end_of, held_for, loss_of


def prepare(epoch: Epoch) -> None:
    """Nothing to prepare: telling is rows only."""


def record(epoch: Epoch, _: object) -> None:
    """Ends the epoch: its final state, the audit entry, and mail to those who must act (or see their first success)."""
    epoch.state = end_of(epoch)
    epoch.finished = timezone.now()
    audit.record(ACTIONS[epoch.state], district=epoch.district, subject=epoch.name, details=_details(epoch))
    if epoch.state == Epoch.State.FAILED:
        to = administrators_of(epoch.district) + staff_in(Role.SUPPORT)
        _tell(epoch, "epoch-failed", to, lost=loss_of(epoch))
    elif epoch.state == Epoch.State.DISCARDED and epoch.district.state != District.State.CLOSED:
        _tell(epoch, "epoch-discarded", administrators_of(epoch.district))
    elif epoch.state == Epoch.State.SUPERSEDED:
        _tell(epoch, "epoch-superseded", administrators_of(epoch.district))
    elif epoch.state == Epoch.State.LOADED and not _has_loaded_before(epoch):
        _tell(epoch, "epoch-first-loaded", administrators_of(epoch.district))


ACTIONS = {
    Epoch.State.LOADED: "epoch loaded",
    Epoch.State.FAILED: "epoch not loaded",
    Epoch.State.DISCARDED: "epoch discarded",
    Epoch.State.BLACKOUT: "epoch not applied: blackout",
    Epoch.State.SUPERSEDED: "epoch not applied: superseded",
}


def _details(epoch: Epoch) -> dict[str, object]:
    told: dict[str, object] = {"format": epoch.format, "errors": epoch.errors, "warnings": epoch.warnings}
    if epoch.state in Epoch.UNAPPLIED:
        return told
    sums = epoch.files.aggregate(added=Sum("added"), changed=Sum("changed"), removed=Sum("removed"))
    return {**told, **sums}


def _has_loaded_before(epoch: Epoch) -> bool:
    loaded = (Epoch.State.LOADED, Epoch.State.UNDONE)
    return epoch.district.epochs.filter(state__in=loaded).exists()


def held(epoch: Epoch, judgement: Judgement, before: str) -> None:
    """Staff and the district are told of a held night. However often it is compared, again only for other reasons.

    `before`: what it was held for when it was judged the last time (`held_for`); empty if it was not.
    """
    why = held_for(judgement)
    if why != before:
        mark = judgement.judged.isoformat() if before else hashlib.blake2b(why.encode(), digest_size=8).hexdigest()
        about, context = f"epoch-{epoch.pk}-{mark}", {"epoch": epoch, "judgement": judgement, "is_again": bool(before)}
        notice_send("epoch-held", administrators_of(epoch.district), context, about=about, district=epoch.district)
        notice_send("epoch-held-staff", staff_in(Role.SUPPORT), context, about=about, district=epoch.district)
    details = {"reasons": [one["code"] for one in judgement.reasons if one["weight"] == "hold"]}
    details["cause"] = [judgement.cause["cause"]] if judgement.cause else []
    audit.record("epoch held", district=epoch.district, subject=epoch.name, details=details)


def asked(epoch: Epoch, number: int) -> None:
    """The district is told that staff ask about a held night; the question itself stands on the page only."""
    notice_send(
        "epoch-asked",
        administrators_of(epoch.district),
        {"epoch": epoch},
        about=f"note-{number}",
        district=epoch.district,
    )


def answered(epoch: Epoch, number: int) -> None:
    """Staff are told that the district has answered."""
    to = staff_in(Role.SUPPORT)
    notice_send("epoch-answered", to, {"epoch": epoch}, about=f"note-{number}", district=epoch.district)


def undone(epoch: Epoch) -> None:
    """The district is told that a night of its own was taken back."""
    _tell(epoch, "epoch-undone", administrators_of(epoch.district))


def missing(district: District, audience: Audience, day: date, message: str) -> None:
    """Whoever has to look is told that no night has come."""
    to = administrators_of(district) if audience is Audience.DISTRICT else staff_in(Role.SUPPORT)
    context = {"message": message, "day": day}
    kind = "night-missing" if audience is Audience.DISTRICT else "night-missing-staff"
    notice_send(kind, to, context, about=f"night-{district.pk}-{day}", district=district)


def waiting_staff(epoch: Epoch) -> None:
    """Staff are told once of what was not recognised, however often it is looked at."""
    _tell(epoch, "epoch-waiting-staff", staff_in(Role.SUPPORT))
    audit.record("epoch waits for staff", district=epoch.district, subject=epoch.name)


def stalled(epoch: Epoch, sentence: str) -> None:
    """The district and staff are told once of an upload that stopped half-way."""
    to = administrators_of(epoch.district) + staff_in(Role.SUPPORT)
    context = {"epoch": epoch, "sentence": sentence}
    notice_send("epoch-stalled", to, context, about=f"epoch-{epoch.pk}", district=epoch.district)


def stuck(epoch: Epoch) -> None:
    """Staff are told that trouble on our side has stopped an epoch."""
    _tell(epoch, "epoch-stuck", staff_in(Role.SUPPORT, Role.OPS))
    audit.record("epoch stopped by trouble", district=epoch.district, subject=epoch.name)


def files_lost(epoch: Epoch) -> None:
    """The district is told that its rows are applied and its files are lost, unless it is closed."""
    if epoch.district.state != District.State.CLOSED:
        _tell(epoch, "epoch-files-lost", administrators_of(epoch.district))


def _tell(epoch: Epoch, kind: str, to: list[str], **more: object) -> None:
    findings = epoch.findings.filter(severity="error")[:10]
    context = {"epoch": epoch, "findings": findings, **more}
    notice_send(kind, to, context, about=f"epoch-{epoch.pk}", district=epoch.district)
