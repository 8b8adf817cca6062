"""Schedules and workers: what is wrong with the portal's own parts is seen, and said first."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from celery import current_app
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from accounts.models import District, OutboxMessage
from accounts.notices import message_queue
from portal import operations
from portal.celery import SCHEDULES, app
from portal.core import troubles
from portal.core.troubles import LATE, LONG_WAIT, Planned, Queue, Waiting, Worker
from portal.schedules import schedules_sync
from tests.factories import EpochFactory, StaffFactory
from tests.flows.stack import wait_for

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
QUEUES = tuple(Queue(name, f"what {name} does", 0, None) for name in ("keys", "runs"))


def _planned(name: str, *, last: datetime | None = None, is_on: bool = True, is_late: bool = False) -> Planned:
    return Planned(name, "every minute", last, NOW, is_on, False, is_late)


# --- What is judged -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after", "late"), [(timedelta(0), False), (LATE, False), (LATE + timedelta(seconds=1), True)])
def test_a_schedule_is_late_when_beat_has_had_time_to_say_that_it_came(after: timedelta, late: bool) -> None:
    assert troubles.is_late(NOW, NOW + after) is late


def test_where_none_has_come_lately_beat_is_what_is_wrong() -> None:
    def titles(*planned: Planned) -> list[str]:
        return [one.title for one in troubles.of_schedules(planned, NOW)]

    late, daily = _planned("a", last=NOW - LATE * 2, is_late=True), _planned("b", last=NOW - timedelta(hours=20))
    assert titles(late, daily) == ["No schedule comes any more."]
    assert titles(late, daily, _planned("c", last=NOW)) == ["Late: “a”."]
    assert titles(_planned("a", is_on=False), daily) == ["Switched off: “a”."]
    assert titles(daily, _planned("new")) == []


def test_a_queue_that_nobody_takes_from_and_one_that_nobody_reads() -> None:
    long_ago = NOW - LONG_WAIT - timedelta(seconds=1)
    (slow,) = troubles.of_queues([Queue("keys", "keys", 1200, long_ago), *QUEUES], NOW)
    assert slow.title == "1,200 tasks of the queue “keys” cannot begin."
    assert troubles.of_queues([Queue("keys", "keys", 3, NOW)], NOW) == []
    assert troubles.of_queues(None, NOW)[0].title == "The broker does not answer."
    (unread,) = troubles.of_workers(QUEUES, [Worker("worker@a", ("keys",), ())])
    assert unread.title == "No worker answers for the queue “runs”."
    assert troubles.of_workers(QUEUES, [Worker("worker@a", ("keys", "runs"), ())]) == []


def test_what_has_waited_too_long_and_a_disk_that_fills_up() -> None:
    hour = timedelta(hours=1)
    assert troubles.of_rows([Waiting("Mails", 3, NOW - hour, hour), Waiting("Epochs", 0, None, hour)], NOW) == []
    (mails,) = troubles.of_rows([Waiting("Mails", 3, NOW - 2 * hour, hour)], NOW)
    assert mails.title == "Mails have waited too long."
    assert troubles.of_health(has_tables=True, free=10**12, failed_mails=0) == []
    titles = [one.title for one in troubles.of_health(has_tables=False, free=10**9, failed_mails=1)]
    assert titles == [
        "The database is of another version.",
        "Only 1.0 GB are free where the portal keeps its data.",
        "1 mail could not be sent.",
    ]


# --- What is seen -------------------------------------------------------------------------------------------------


def test_every_schedule_is_told_with_how_often_it_comes_and_when_next(db: None) -> None:
    schedules_sync()
    now = timezone.now()
    told = {one.name: one for one in operations.schedules(now)}
    assert set(told) == {schedule.name for schedule in SCHEDULES}
    often = {name: told[name].often for name in ("keys: sweep", "mail: sweep", "keys: judge all anew")}
    assert often == {
        "keys: sweep": "every 15 seconds",
        "mail: sweep": "every minute",
        "keys: judge all anew": "every day at 02:40 UTC",
    }
    hourly = told["keys: all accounts to their hosts"]
    assert (hourly.often, hourly.can_change) == ("every hour, at minute 0", True)
    assert [one.name for one in told.values() if one.can_change] == [hourly.name]
    assert all(now <= one.due <= now + timedelta(days=1, minutes=1) and not one.is_late for one in told.values())


def test_a_schedule_that_beat_left_out_is_late_and_comes_first(db: None) -> None:
    schedules_sync()
    PeriodicTask.objects.filter(name="mail: sweep").update(last_run_at=timezone.now() - timedelta(minutes=8))
    first, *others = operations.schedules(timezone.now())
    assert (first.name, first.is_late) == ("mail: sweep", True)
    assert not any(one.is_late for one in others)


def test_rows_that_wait_are_counted_and_those_of_a_suspended_district_are_not(db: None) -> None:
    told = {"state": "queued", "queued": timezone.now() - timedelta(hours=7)}
    EpochFactory(**told)
    paused = EpochFactory(state="queued", queued=told["queued"] - timedelta(hours=1)).district
    District.objects.filter(pk=paused.pk).update(state="suspended")
    epochs = next(one for one in operations.rows_waiting() if one.what == "Epochs")
    assert (epochs.count, epochs.oldest) == (1, told["queued"])
    assert [one.title for one in troubles.of_rows([epochs], timezone.now())] == ["Epochs have waited too long."]


def _system() -> Client:
    client = Client()
    client.force_login(StaffFactory(staff_role="system administrator"))
    return client


def test_without_a_broker_the_page_says_so_first(db: None) -> None:
    schedules_sync()
    message_queue("test", "a@x.example", "S", "T", about="1")
    OutboxMessage.objects.update(state="failed")
    for name in ("operations", "operations_state"):
        answer = _system().get(reverse(name))
        titles = [one.title for one in answer.context["standing"].troubles]
        assert titles == ["The broker does not answer.", "1 mail could not be sent."]
        html = answer.content.decode()
        assert "2 things need you." in html
        assert html.index("The broker does not answer.") < html.index("<h2>Workers</h2>")


def test_the_page_asks_the_workers_by_itself_and_does_not_wait_for_them(db: None, broker: object) -> None:
    schedules_sync()
    html = _system().get(reverse("operations")).content.decode()
    assert "The workers are being asked." in html
    assert f'hx-get="{reverse("operations_state")}"' in html


def test_what_lies_in_the_broker_is_counted_with_its_age_and_who_reads_it(
    db: None, broker: object, tmp_path: Path
) -> None:
    before = timezone.now()
    current_app.send_task("keys.propagate_account", args=[1])
    current_app.send_task("keys.propagate_account", args=[2])
    found = {queue.name: queue for queue in operations.queues_now()}
    assert {name: queue.length for name, queue in found.items()} == {
        "keys": 2, "celery": 0, "runs": 0, "soon": 0, "trials": 0
    }  # fmt: skip
    assert before - timedelta(seconds=1) <= found["keys"].oldest <= timezone.now()
    assert operations.workers_now() == ()
    assert len(troubles.of_workers(found.values(), ())) == 5
    argv = ("-m", "celery", "-A", "portal", "worker", "--hostname", "worker-soon@here", "--queues", "soon,trials")
    told = {**os.environ, "DATA_DIR": str(tmp_path), "BROKER_URL": app.conf.broker_url, "CELERY_SKIP_CHECKS": "1"}
    with subprocess.Popen(
        [sys.executable, *argv, "--pool", "threads", "--concurrency", "1"],
        cwd=settings.BASE_DIR,
        env=told,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as worker:
        try:
            (seen,) = wait_for("the worker", operations.workers_now)
        finally:
            worker.terminate()
    assert (seen.name, set(seen.queues), seen.running) == ("worker-soon@here", {"soon", "trials"}, ())
    unread = [one.title for one in troubles.of_workers(found.values(), [seen])]
    assert unread == [f"No worker answers for the queue “{name}”." for name in ("keys", "celery", "runs")]
