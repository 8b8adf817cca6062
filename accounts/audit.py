"""The audit log: append-only, in a hash chain."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from .core.chain import FIRST, START, Head, Link, Walk, digest, walk
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
        head.save(update_fields=["number", "digest"])
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the log is whole up to `end`, else at which entry it is broken, and whether it has the head asked for."""

    end: Head
    broken_at: int | None
    has_kept_head: bool

    @property
    def is_sound(self) -> bool:
        """Whole, and what somebody has kept of it belongs to it."""
        return self.broken_at is None and self.has_kept_head


def verify(kept: Head | None = None, start: Head = START) -> Verdict:
    """Reads the log behind `start`, entry by entry; `kept` is a head that somebody noted elsewhere."""
    # Before the entries: whoever adds one meanwhile moves the head on.
    noted = _head()
    entries = AuditEntry.objects.filter(number__gt=start.number).order_by("number").iterator(chunk_size=2000)
    heads = {head for head in (noted, kept) if head is not None}
    way = walk(((link(entry), entry.digest) for entry in entries), heads, start)
    found = _broken_before_the_head(way, noted) if way.broken_at is None else way.broken_at
    return Verdict(way.end, found, kept is None or kept in way.met)


def _broken_before_the_head(way: Walk, noted: Head | None) -> int | None:
    if noted is not None and noted.number > way.end.number:
        return way.end.number + 1
    if noted is not None and noted not in way.met:
        return max(noted.number, 1)
    now = _head() or START
    return now.number + 1 if now.number < way.end.number else None


def _head() -> Head | None:
    row = AuditHead.objects.filter(pk=1).first()
    return Head(row.number, row.digest) if row else None


def broken_at() -> int | None:
    """The number of the first entry that was changed, lost or put in, or None if the whole log is sound."""
    return verify().broken_at


def prove() -> Verdict:
    """Reads the whole log, and notes up to where it was sound, or that nothing is proved any more."""
    verdict = verify()
    end, at = (verdict.end, timezone.now()) if verdict.broken_at is None else (START, None)
    AuditHead.objects.filter(pk=1).update(proved_number=end.number, proved_digest=end.digest, proved_at=at)
    return verdict


def broken_lately() -> tuple[int | None, datetime | None]:
    """Like `broken_at`, of what came since the log was last read through; and when that was, None if it never was.

    A page cannot read an ever longer log each time somebody looks at it.
    """
    row = AuditHead.objects.filter(pk=1, proved_at__isnull=False).first()
    if row is None:
        return broken_at(), None
    start = Head(row.proved_number, row.proved_digest)
    stands = AuditEntry.objects.filter(number=start.number, digest=start.digest).exists() or start == START
    return (verify(start=start).broken_at if stands else start.number), row.proved_at
