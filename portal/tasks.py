"""Celery's handles on what looks over all packages."""

from celery import shared_task

from . import opening, witness


@shared_task(name="portal.tell_audit_head")
def tell_audit_head() -> None:
    """Proves the audit log and tells its head."""
    witness.audit_head_tell()


@shared_task(name="portal.import_districts")
def import_districts() -> None:
    """Goes on with lists of districts that are to be opened."""
    opening.imports_run()
