"""The top floor: settings, addresses, the Celery app, and the pages that show keys and uploads together."""

from .celery import app as celery_app

__all__ = ["celery_app"]
