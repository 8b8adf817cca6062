"""What whoever watches over the portal is told: whether it can work, figures, log lines that belong together."""

import json
import logging
import re
import subprocess
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pythonjsonlogger.json import JsonFormatter

from accounts.notices import message_queue
from hosts.core.trace import number_make, trace_id, traced
from hosts.models import Host
from keys.models import HostRun, PropagationRun
from portal import settings as shipped
from portal import tracing
from portal.celery import app
from tests.factories import DistrictFactory, EpochFactory

TOKEN = "a token for tests"


# --- Can it work? ------------------------------------------------------------------------------------------------


def _ready(client: Client) -> tuple[int, list[str]]:
    answer = client.get("/readyz")
    return answer.status_code, answer.content.decode().splitlines()


def test_it_is_ready_with_its_tables_and_its_broker(db: None, client: Client, broker: subprocess.Popen[bytes]) -> None:
    assert _ready(client) == (200, ["database: ok", "tables: ok", "broker: ok"])
    broker.kill()
    broker.wait()
    assert _ready(client) == (503, ["database: ok", "tables: ok", "broker: not ready"])


@pytest.mark.django_db(transaction=True)
def test_it_is_not_ready_before_the_tables_are_those_of_this_version(
    client: Client, broker: subprocess.Popen[bytes]
) -> None:
    call_command("migrate", "keys", "0008", verbosity=0)
    try:
        assert _ready(client) == (503, ["database: ok", "tables: not ready", "broker: ok"])
    finally:
        call_command("migrate", "keys", verbosity=0)


# --- Figures -----------------------------------------------------------------------------------------------------


def _figures(client: Client) -> dict[str, float]:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    assert answer.status_code == 200
    lines = [line for line in answer.content.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer wrong", TOKEN, f"Basic {TOKEN}"])
@pytest.mark.parametrize("token", ["", TOKEN])
def test_figures_are_for_whoever_has_the_token(
    db: None, client: Client, settings: LazySettings, token: str, given: str
) -> None:
    settings.METRICS_TOKEN = token
    assert client.get("/metrics", headers={"Authorization": given}).status_code == 404


def test_figures_tell_what_waits_and_how_the_hosts_are(
    db: None, client: Client, settings: LazySettings, broker: subprocess.Popen[bytes]
) -> None:
    settings.METRICS_TOKEN = TOKEN
    now = timezone.now()
    district = DistrictFactory(name="Secret Name")
    host = district.sftp_account.host
    Host.objects.filter(pk=host.pk).update(name="one", state="ready", last_ok=now - timedelta(seconds=90))
    run = PropagationRun.objects.create(cause="hourly", state="done")
    HostRun.objects.create(run=run, host=host, state="done", finished=now - timedelta(seconds=600))
    EpochFactory(district=district, state="queued", queued=now - timedelta(seconds=50))
    for state in ("held", "loaded", "loaded"):
        EpochFactory(district=district, state=state, finished=now)
    EpochFactory(district=district, state="failed", finished=now - timedelta(days=2))
    message_queue("test", "somebody@district.example", "S", "T", about="1")
    app.send_task("ingest.look")
    found = _figures(client)
    assert found['portal_epochs_open{state="held"}'] == 1
    assert found['portal_epochs_ended_last_day{state="loaded"}'] == 2
    assert 'portal_epochs_ended_last_day{state="failed"}' not in found
    assert 50 <= found["portal_epoch_oldest_queued_seconds"] < 100
    assert found['portal_key_files{state="waiting"}'] == 1
    assert found['portal_host_ready{host="one"}'] == 1
    assert 90 <= found['portal_host_last_answer_seconds{host="one"}'] < 140
    assert 600 <= found['portal_host_last_run_seconds{host="one"}'] < 650
    assert found['portal_letters{state="kept"}'] == 1
    assert (found["portal_broker_up"], found['portal_queue_tasks{queue="soon"}']) == (1, 1)
    assert not re.search(r"Secret|district\.example|somebody", str(found))
    broker.kill()
    broker.wait()
    assert _figures(client)["portal_broker_up"] == 0


# --- Log lines that belong together ------------------------------------------------------------------------------


def test_a_request_its_tasks_and_what_a_host_is_asked_bear_one_id(
    db: None, client: Client, broker: subprocess.Popen[bytes]
) -> None:
    first, second = (client.get("/healthz").headers["X-Request-ID"] for _ in range(2))
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert first != second
    with traced() as trace:
        app.send_task("ingest.look")
    assert trace_id() == ""
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue("soon").get(timeout=5)
    assert message.headers["trace"] == trace
    task = app.tasks["ingest.look"]
    task.push_request(trace=trace)
    tracing.take_up("an id", task)
    number = number_make()
    assert (trace_id(), number[:16], len(number)) == (trace, trace, 32)
    tracing.put_down("an id")
    task.pop_request()
    assert trace_id() == ""
    assert not number_make().startswith(trace)


@pytest.mark.parametrize("given", ["", "x" * 16, "A" * 16, "0" * 15, "0" * 17, "../0123456789abc"])
def test_an_id_from_elsewhere_is_one_of_ours_or_none(given: str) -> None:
    with traced(given) as trace:
        assert re.fullmatch("[0-9a-f]{16}", trace)
        assert trace != given


def test_a_log_line_is_an_object_with_the_id() -> None:
    told = {name: value for name, value in shipped.LOGGING["formatters"]["json"].items() if name != "()"}
    record = logging.LogRecord("keys.bringing", logging.WARNING, "x.py", 1, "Not %s.", ("brought",), None)
    record.ms = 7
    with traced() as trace:
        assert tracing.Trace().filter(record)
    line = json.loads(
        JsonFormatter(told["fmt"], style=told["style"], rename_fields=told["rename_fields"]).format(record)
    )
    assert line.pop("at")
    assert line == {"level": "WARNING", "logger": "keys.bringing", "message": "Not brought.", "trace": trace, "ms": 7}
