"""What staff want of an epoch, written down; `looking` and `pipeline` do it."""

from django.db import transaction
from django.utils import timezone

from accounts import audit
from accounts.models import User
from accounts.nudge import nudge
from accounts.services import Refused

from . import endings
from .catalogue import format_named
from .core import discovery
from .models import Epoch, Lane, StaffNote
from .outcome import is_loaded
from .tasks import look, process

__all__ = ["Refused", "epoch_end", "epoch_format_assign", "epoch_hurry", "epoch_note_write"]


@transaction.atomic
def epoch_hurry(epoch: Epoch, *, actor: User) -> None:
    """“Process now”: no waiting for quiet time or a later try. COMPLETE and a known format are still needed.

    Raises Refused for an epoch that has come to an end.
    """
    epoch = Epoch.objects.select_for_update().get(pk=epoch.pk)
    if epoch.state in Epoch.ENDED:
        raise Refused("epoch-ended", "This epoch has been dealt with already; there is nothing left to process.")
    if epoch.state == Epoch.State.STUCK:
        epoch.state = Epoch.State.WORKING if epoch.step else Epoch.State.QUEUED
    epoch.hurry, epoch.next_try, epoch.tries = True, None, 0
    epoch.save(update_fields=["state", "hurry", "next_try", "tries"])
    audit.record("epoch: process now", actor=actor, district=epoch.district, subject=epoch.name)
    if epoch.state in (Epoch.State.QUEUED, Epoch.State.WORKING):
        nudge(process)
    else:
        nudge(look)


@transaction.atomic
def epoch_end(epoch: Epoch, *, reason: str, actor: User) -> bool:
    """Ends an epoch that trouble on our side has stopped, so that later ones go on; True if its rows stay applied.

    Raises Refused.
    """
    lane = Lane.locked_at_once(epoch.district)
    epoch = Epoch.objects.select_related("district").get(pk=epoch.pk)
    if why := endings.refusal(epoch):
        raise Refused("not-endable", why)
    if lane is None or (lane.lease_until is not None and lane.lease_until > timezone.now()):
        raise Refused("at-work", "It is being tried once more at this moment. Look again in a minute.")
    words, is_applied = " ".join(reason.split()), is_loaded(epoch)
    details = {"reason": words, "applied": is_applied, "files lost": endings.is_lost(epoch)}
    details["way"] = endings.way_of(epoch).value
    endings.stuck_end(epoch, f"Ended by {actor}: {words}", actor)
    audit.record("stopped epoch ended", actor=actor, district=epoch.district, subject=epoch.name, details=details)
    nudge(process)
    return is_applied


@transaction.atomic
def epoch_format_assign(epoch: Epoch, name: str, *, actor: User) -> None:
    """Staff say what format an unrecognised epoch is in; it is queued. Raises Refused."""
    epoch = Epoch.objects.select_for_update().get(pk=epoch.pk)
    found = format_named(name)
    if found is None:
        raise Refused("no-such-format", "That format is not known (any more). Choose another.")
    if epoch.state != Epoch.State.WAITING_STAFF:
        raise Refused("not-waiting", "Only an epoch that waits for staff can be given a format by hand.")
    if epoch.look_code in discovery.UNREADABLE:
        raise Refused("not-readable", f"{epoch.look_sentence} Ask the district to mend the upload first.")
    epoch.format, epoch.format_by, epoch.queued = found.name, actor, timezone.now()
    epoch.state = Epoch.State.QUEUED
    epoch.save(update_fields=["format", "format_by", "queued", "state"])
    details = {"format": found.name}
    audit.record("epoch: format assigned", actor=actor, district=epoch.district, subject=epoch.name, details=details)
    nudge(process)


@transaction.atomic
def epoch_note_write(epoch: Epoch, text: str, *, actor: User) -> StaffNote:
    """Adds a note for colleagues. The audit log tells that there is one, not what it says."""
    note = StaffNote.objects.create(epoch=epoch, text=text, by=actor)
    details = {"note": note.pk}
    audit.record("epoch: note written", actor=actor, district=epoch.district, subject=epoch.name, details=details)
    return note
