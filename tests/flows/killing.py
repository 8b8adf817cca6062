"""A Celery app whose worker is killed with SIGKILL, once, at each seam of the pipeline.

Run as `celery -A tests.flows.killing worker`. A district whose slug is the name of a seam has its worker killed there.
"""

import os
import signal
from dataclasses import replace
from pathlib import Path

import django
from django.conf import settings

from portal.celery import app

django.setup()

from ingest import pipeline  # noqa: E402
from ingest.models import Epoch, Lane  # noqa: E402

__all__ = ["app"]


def _killed(epoch: Epoch, seam: str) -> None:
    """Kills the whole worker, pool and all, the first time a district's epoch reaches its seam."""
    if epoch.district.slug != seam:
        return
    mark = Path(settings.DATA_DIR) / f"killed-{seam}"
    if not mark.exists():
        mark.touch()
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _armed(step: pipeline.Step) -> pipeline.Step:
    def do(epoch: Epoch) -> object:
        _killed(epoch, f"{step.name}-before")
        prepared = step.do(epoch)
        _killed(epoch, f"{step.name}-between")
        return prepared

    def record(epoch: Epoch, prepared: object) -> None:
        step.record(epoch, prepared)
        _killed(epoch, f"{step.name}-inside")

    return replace(step, do=do, record=record)


def _run_step(step: pipeline.Step, epoch: Epoch, lane: Lane, token: str) -> None:
    _plain_run_step(step, epoch, lane, token)
    _killed(epoch, f"{step.name}-after")


_plain_run_step = pipeline.run_step
pipeline.run_step = _run_step
pipeline.STEPS = tuple(_armed(step) for step in pipeline.STEPS)
