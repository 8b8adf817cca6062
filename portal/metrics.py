"""Figures for Prometheus: what waits, what failed, how the hosts are. Numbers only, of nobody in particular.

Taken from the rows at each scrape, so that they are the same whichever web process answers. Format: the text format
of Prometheus 0.0.4, by its own client library.
"""

import hmac
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta

from celery import current_app
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db.models import Count, Max, Min, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe
from kombu.exceptions import OperationalError
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily as Gauge
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from redis.exceptions import RedisError

from accounts.models import OutboxMessage
from hosts.models import Host
from ingest.models import Epoch
from keys.models import FoundLine, HostRun, KeyFile

from .celery import GENERAL_QUEUE, KEYS_QUEUE, RUNS_QUEUE, SOON_QUEUE, TRIALS_QUEUE

logger = logging.getLogger(__name__)
QUEUES = (GENERAL_QUEUE, KEYS_QUEUE, RUNS_QUEUE, TRIALS_QUEUE, SOON_QUEUE)
UNDER_WAY = (*Epoch.OUTSIDE, *Epoch.OURS)


@login_not_required
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """For whoever has the token; without a token in the settings there is no such page."""
    token, given = settings.METRICS_TOKEN, request.headers.get("Authorization", "")
    if not token or not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
        raise Http404
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Portal())
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Portal:
    """All figures, as of now."""

    def collect(self) -> Iterator[Gauge]:
        """For the library."""
        now = timezone.now()
        day = now - timedelta(days=1)
        yield _by("portal_epochs_open", "Epochs not done with.", "state", Epoch.objects.filter(state__in=UNDER_WAY))
        ended = Epoch.objects.filter(state__in=Epoch.ENDED, finished__gt=day)
        yield _by("portal_epochs_ended_last_day", "Epochs that came to their end in the last 24 hours.", "state", ended)
        oldest = Epoch.objects.filter(state=Epoch.State.QUEUED).aggregate(at=Min("queued"))["at"]
        yield Gauge("portal_epoch_oldest_queued_seconds", "How long the first in the queue waits.", _age(oldest, now))
        yield _by("portal_key_files", "Key files by how far they have got.", "state", KeyFile.objects.all())
        waiting = KeyFile.objects.filter(state=KeyFile.State.WAITING).aggregate(at=Min("wanted"))["at"]
        yield Gauge(
            "portal_key_file_oldest_waiting_seconds", "How long the oldest saved keys wait.", _age(waiting, now)
        )
        found = FoundLine.objects.filter(state=FoundLine.State.KEPT).count()
        yield Gauge("portal_found_lines_undecided", "Lines found in key files that are nobody's yet.", found)
        yield from _hosts(now)
        yield _by("portal_letters", "Letters by state.", "state", OutboxMessage.objects.all())
        yield from _queues()


def _by(name: str, told: str, column: str, rows: QuerySet) -> Gauge:
    gauge = Gauge(name, told, labels=[column])
    for value, count in rows.order_by().values_list(column).annotate(Count("pk")):
        gauge.add_metric([value], count)
    return gauge


def _hosts(now: datetime) -> Iterator[Gauge]:
    """Of each host whether it may be used, when it answered last, and when a run over it was done last."""
    ready = Gauge("portal_host_ready", "1 if keys are brought to the host, 0 if it is new or stopped.", labels=["host"])
    answered = Gauge("portal_host_last_answer_seconds", "How long ago the host answered.", labels=["host"])
    gone_over = Gauge("portal_host_last_run_seconds", "How long ago a run over the host was done.", labels=["host"])
    done = dict(HostRun.objects.filter(state=HostRun.State.DONE).values_list("host").annotate(Max("finished")))
    for host in Host.objects.order_by("name"):
        ready.add_metric([host.name], host.state == Host.State.READY)
        for gauge, at in ((answered, host.last_ok), (gone_over, done.get(host.pk))):
            if at is not None:
                gauge.add_metric([host.name], _age(at, now))
    yield from (ready, answered, gone_over)


def _queues() -> Iterator[Gauge]:
    """How many tasks each queue holds. If the broker does not answer that is all that is told."""
    there = Gauge("portal_broker_up", "1 if the broker answers.", value=0)
    lengths = Gauge("portal_queue_tasks", "Tasks that wait for a worker.", labels=["queue"])
    try:
        with current_app.connection_for_read(connect_timeout=2) as broker:
            channel = broker.default_channel
            for name in QUEUES:
                lengths.add_metric([name], channel.client.llen(name))
        there = Gauge("portal_broker_up", "1 if the broker answers.", value=1)
    except (OperationalError, OSError, RedisError) as error:
        logger.warning("The broker does not answer: %s", type(error).__name__)
        lengths = Gauge("portal_queue_tasks", "Tasks that wait for a worker.", labels=["queue"])
    yield from (there, lengths)


def _age(at: datetime | None, now: datetime) -> float:
    return max(0.0, (now - at).total_seconds()) if at is not None else 0.0
