"""Is the portal alive, and can it work? For whoever watches over it: answers are words, and tell nothing else."""

import logging

from celery import current_app
from django.contrib.auth.decorators import login_not_required
from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from kombu.exceptions import OperationalError

logger = logging.getLogger(__name__)
BROKER_SECONDS = 2.0


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """Answers when the web process serves requests; says nothing else."""
    return HttpResponse("ok\n", content_type="text/plain")


@login_not_required
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """Whether what pages need is there: the database, with the tables of this version, and the broker. 503 if not."""
    told = {"database": _database(), "tables": False, "broker": _broker()}
    told["tables"] = told["database"] and tables_are_there()
    lines = "".join(f"{name}: {'ok' if is_there else 'not ready'}\n" for name, is_there in told.items())
    return HttpResponse(lines, content_type="text/plain", status=200 if all(told.values()) else 503)


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error as error:
        logger.warning("The database does not answer: %s", type(error).__name__)
        return False
    return True


def tables_are_there() -> bool:
    """Whether the database has the tables of this version."""
    executor = MigrationExecutor(connection)
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())


def _broker() -> bool:
    try:
        with current_app.connection_for_write(connect_timeout=BROKER_SECONDS) as broker:
            broker.ensure_connection(max_retries=1, timeout=BROKER_SECONDS)
    except (OperationalError, OSError) as error:
        logger.warning("The broker does not answer: %s", type(error).__name__)
        return False
    return True
