"""Somebody wants files checked before they are sent; and what a district says of how its files are written."""

from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from accounts import audit
from accounts.models import AuditEntry, District, User
from accounts.nudge import nudge
from accounts.services import Refused

from ..models import FileSettings, Trial
from ..tasks import check_trials
from .receiving import Received

__all__ = ["Refused", "file_settings_set", "trial_ask", "trial_forget", "trial_refusal"]
HOUR = timedelta(hours=1)
ASKED = "files checked before sending"


def trial_refusal(district: District, size: int = 0) -> str:
    """Why files of this many bytes cannot be taken from a district now, in plain words; or an empty text."""
    mine = Trial.objects.filter(district=district)
    most = settings.TRIAL_MOST_MEGABYTES * 1024 * 1024
    if size > most:
        return f"This is more than {filesizeformat(most)}, which is the most that can be checked here at once."
    if mine.filter(state__in=Trial.UNDER_WAY).exists():
        return "Files of your district are being checked just now. Wait until that is done."
    # Not by the rows themselves, which go when a result is removed.
    since = timezone.now() - HOUR
    lately = AuditEntry.objects.filter(action=ASKED, district=district.slug, at__gt=since).order_by("at")
    if lately.count() >= settings.TRIALS_PER_HOUR:
        minutes = max(int((lately[0].at + HOUR - timezone.now()).total_seconds() // 60) + 1, 1)
        return (
            f"Your district has checked files {settings.TRIALS_PER_HOUR} times in the last hour, which is the most. "
            f"Try again in {minutes} minute{'' if minutes == 1 else 's'}."
        )
    return ""


@transaction.atomic
def trial_ask(district: District, *, place: str, files: Sequence[Received], actor: User) -> Trial:
    """Files that lie in a private directory are to be checked, and then removed. Raises Refused."""
    # Two requests of one district do not both find that nothing is under way.
    District.objects.select_for_update().get(pk=district.pk)
    size = sum(file.size for file in files)
    refused = trial_refusal(district, size)
    if refused:
        raise Refused("trial-not-now", refused)
    told = [{"name": file.name, "size": file.size} for file in files]
    trial = Trial.objects.create(district=district, asked_by=actor, place=place, files=told, byte_count=size)
    details = {"files": len(files), "bytes": size}
    audit.record(ASKED, actor=actor, district=district, details=details)
    nudge(check_trials)
    return trial


@transaction.atomic
def trial_forget(trial: Trial, *, actor: User) -> None:
    """Removes a result before its time. Raises Refused while the check goes on."""
    trial = Trial.objects.select_for_update().get(pk=trial.pk)
    if trial.is_under_way:
        raise Refused("trial-under-way", "These files are still being checked. The result can be removed after that.")
    audit.record("result of a check removed", actor=actor, district=trial.district)
    trial.delete()


@transaction.atomic
def file_settings_set(district: District, *, windows_1252: bool, delimiter: str, actor: User) -> None:
    """How a district's files are written: maybe in Windows-1252 where not in UTF-8; what stands between values."""
    row, _ = FileSettings.objects.select_for_update().get_or_create(district=district)
    said = {"windows_1252": windows_1252, "delimiter": delimiter}
    changed = {name: value for name, value in said.items() if getattr(row, name) != value}
    if not changed:
        return
    for name, value in changed.items():
        setattr(row, name, value)
    row.save()
    audit.record("file settings changed", actor=actor, district=district, details=changed)
