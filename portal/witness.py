"""Tells the audit log's head every day to places outside the database, so that nobody can write the log anew unseen."""

import logging

from django.utils import timezone

from accounts import audit
from accounts.core.roles import Role
from accounts.notices import notice_send, staff_in

logger = logging.getLogger(__name__)


def audit_head_tell() -> None:
    """Once a day: the head into the log and to the system administrators, or where the chain is broken."""
    verdict = audit.prove()
    if verdict.broken_at is None:
        logger.info("The audit log is whole. Head: %s", verdict.end)
    else:
        logger.error("The audit log is broken at entry %s.", verdict.broken_at)
    kind = "audit-head" if verdict.broken_at is None else "audit-broken"
    context = {"verdict": verdict, "day": timezone.now().date()}
    administrators = staff_in(Role.SYSTEM_ADMINISTRATOR)
    notice_send(kind, administrators, context, about=f"audit-{context['day']}")
