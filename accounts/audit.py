"""The audit log: append-only, in a hash chain."""

from collections.abc import Mapping

from django.db import transaction
from django.utils import timezone

from .core.chain import FIRST, Link, digest, first_break
from .models import AuditEntry, AuditHead, District, User

SYSTEM = "the portal"


def record(
    action: str,
    *,
    actor: User | None = None,
    district: District | None = None,
    subject: str = "",
    details: Mapping[str, object] | None = None,
) -> AuditEntry:
    """Adds one entry inside the caller's transaction (or one of its own). `actor` None means the portal itself.

    `details` must be plain JSON and hold no student data and no secret.
    """
    with transaction.atomic():
        AuditHead.objects.get_or_create(pk=1, defaults={"digest": FIRST})
        head = AuditHead.objects.select_for_update().get(pk=1)
        entry = AuditEntry(
            number=head.number + 1,
            at=timezone.now(),
            action=action,
            actor=actor.email if actor else SYSTEM,
            district=district.slug if district else "",
            subject=subject[:254],
            details=dict(details or {}),
        )
        entry.digest = digest(head.digest, link(entry))
        entry.save()
        head.number, head.digest = entry.number, entry.digest
        head.save()
    return entry


def link(entry: AuditEntry) -> Link:
    """The entry's values as the chain sees them."""
    return Link(
        number=entry.number,
        at=entry.at.isoformat(),
        action=entry.action,
        actor=entry.actor,
        district=entry.district,
        subject=entry.subject,
        details=entry.details,
    )


def broken_at() -> int | None:
    """The number of the first entry that was changed, lost or put in, or None if the whole log is sound."""
    entries = AuditEntry.objects.order_by("number").iterator(chunk_size=2000)
    found = first_break((link(entry), entry.digest) for entry in entries)
    if found is not None:
        return found
    last = AuditEntry.objects.order_by("number").last()
    kept, digest_kept = (last.number, last.digest) if last else (0, FIRST)
    head = AuditHead.objects.filter(pk=1).first()
    if head is None:
        return kept + 1 if last else None
    if head.number != kept:
        return kept + 1
    return None if head.digest == digest_kept else max(kept, 1)
