"""A Celery app whose worker lives so many hours later (`MOVED_HOURS`), as if that time had gone by.

Run as `celery -A tests.flows.moved worker`.
"""

import os
from datetime import timedelta

from django.utils import timezone

_real, _ahead = timezone.now, timedelta(hours=float(os.environ["MOVED_HOURS"]))
# Before anything of the portal is loaded: models keep the function itself.
timezone.now = lambda: _real() + _ahead

import django  # noqa: E402

from portal.celery import app  # noqa: E402

django.setup()
__all__ = ["app"]
