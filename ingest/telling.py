"""Tells people what became of an epoch. Written in the transaction that makes it so, so told once and never falsely."""

from django.db.models import Sum
from django.utils import timezone

from accounts import audit
from accounts.core.roles import Role
from accounts.notices import administrators_of, notice_send, staff_in

from .models import Epoch


def prepare(epoch: Epoch) -> None:
    """Nothing to prepare: telling is rows only."""


def record(epoch: Epoch, _: object) -> None:
    """Ends the epoch: its final state, the audit entry, and mail to those who must act (or see their first success)."""
    epoch.state = Epoch.State.LOADED if epoch.is_ok else Epoch.State.FAILED
    epoch.finished = timezone.now()
    sums = epoch.files.aggregate(added=Sum("added"), changed=Sum("changed"), removed=Sum("removed"))
    details = {"format": epoch.format, "errors": epoch.errors, "warnings": epoch.warnings, **sums}
    action = "epoch loaded" if epoch.is_ok else "epoch not loaded"
    audit.record(action, district=epoch.district, subject=epoch.name, details=details)
    if not epoch.is_ok:
        to = administrators_of(epoch.district) + staff_in(Role.SUPPORT)
        _tell(epoch, "epoch-failed", to)
    elif not epoch.district.epochs.filter(state=Epoch.State.LOADED).exists():
        _tell(epoch, "epoch-first-loaded", administrators_of(epoch.district))


def waiting_staff(epoch: Epoch) -> None:
    """Staff are told once of what was not recognised, however often it is looked at."""
    _tell(epoch, "epoch-waiting-staff", staff_in(Role.SUPPORT))
    audit.record("epoch waits for staff", district=epoch.district, subject=epoch.name)


def stuck(epoch: Epoch) -> None:
    """Staff are told that trouble on our side has stopped an epoch."""
    _tell(epoch, "epoch-stuck", staff_in(Role.SUPPORT, Role.OPS))
    audit.record("epoch stopped by trouble", district=epoch.district, subject=epoch.name)


def _tell(epoch: Epoch, kind: str, to: list[str]) -> None:
    findings = epoch.findings.filter(severity="error")[:10]
    context = {"epoch": epoch, "findings": findings}
    notice_send(kind, to, context, about=f"epoch-{epoch.pk}", district=epoch.district)
