"""Celery's handles on what looks over all packages."""

from celery import shared_task

from . import witness


@shared_task(name="portal.tell_audit_head")
def tell_audit_head() -> None:
    """Proves the audit log and tells its head."""
    witness.audit_head_tell()
