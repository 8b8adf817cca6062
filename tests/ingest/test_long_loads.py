"""A load that lasts longer than a lease, on PostgreSQL: its lane is locked meanwhile, and nobody waits for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.conf import LazySettings
from django.db import connection
from django.utils import timezone

from accounts.models import District
from ingest import endings, forgetting, holds, pipeline, services, turns, undos
from ingest.models import Epoch, Lane
from tests.factories import DistrictFactory, EpochFactory, StaffFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # In the suite SQLite is in use; `tests.flows.test_both_databases` runs this on PostgreSQL.
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite locks no single rows"),
]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the epochs that were processed."""
    told: list[str] = []

    def load(epoch: Epoch, _: object) -> None:
        told.append(epoch.name)
        epoch.state, epoch.finished = Epoch.State.LOADED, timezone.now()

    step: pipeline.Step[None] = pipeline.Step("tell", "", lambda epoch: None, load)
    monkeypatch.setattr(pipeline, "STEPS", (step,))
    return told


def _queued(district: District, name: str, **told: Any) -> Epoch:
    return EpochFactory(district=district, name=name, **{"state": "queued", "byte_count": 1000, **told})


@contextmanager
def _loading(district: District, **told: object) -> Iterator[None]:
    """Another worker whose transaction has lasted longer than the lease it could not renew meanwhile."""
    over = timezone.now() - timedelta(seconds=1)
    lane = Lane.objects.create(district=district, lease_token="another", lease_until=over, **told)
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("UPDATE ingest_lane SET lease_until = now() WHERE id = %s", [lane.pk])
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '3s'")
            yield
            cursor.execute("RESET lock_timeout")
        other.rollback()


def test_whoever_comes_by_goes_on_to_the_next_district(done: list[str]) -> None:
    slow, small = DistrictFactory(), DistrictFactory()
    _queued(slow, "20261121-020000", state="working")
    _queued(small, "20261122-020000")
    with _loading(slow):
        assert not turns.turns_do()
    assert done == ["20261122-020000"]
    assert turns.turn_do()
    assert done == ["20261122-020000", "20261121-020000"]


def test_it_still_counts_as_one_that_is_at_a_large_epoch(done: list[str], settings: LazySettings) -> None:
    settings.WORKER_PROCESSES = 2
    large, small = DistrictFactory(), DistrictFactory()
    early = timezone.now() - timedelta(hours=1)
    _queued(large, "20261121-020000", queued=early, byte_count=turns.LARGE_BYTES)
    _queued(small, "20261122-020000", queued=timezone.now())
    with _loading(DistrictFactory(), is_large=True):
        assert turns.turn_do()
    assert done == ["20261122-020000"]


def test_who_clicks_twice_is_answered_while_the_night_is_loaded(district: District) -> None:
    epoch = _queued(district, "20261121-020000", state="working", step="compare")
    person = StaffFactory()
    with _loading(district):
        with pytest.raises(holds.Refused, match="not held any more"):
            holds.hold_approve(epoch, seen=holds.Seen("", ""), reason="Once more.", actor=person)
        with pytest.raises(holds.Refused, match="not held any more"):
            holds.hold_answer(epoch, answer="Yes.", actor=person)
        with pytest.raises(undos.Refused, match="Only a night that was loaded"):
            undos.epoch_undo(epoch, version=0, is_over_seen=False, reason="A mistake.", actor=person)


def test_nobody_waits_for_it_who_ends_what_is_left_or_forgets_what_is_old(
    district: District, settings: LazySettings
) -> None:
    settings.INGEST_HISTORY_DAYS = 0
    old = timezone.now() - timedelta(days=1)
    _queued(district, "20261120-020000", state="loaded", finished=old, applied_version=1)
    waiting = _queued(district, "20261121-020000")
    stuck = _queued(district, "20261122-020000", state="stuck", step="compare", next_try=None)
    District.objects.filter(pk=district.pk).update(state=District.State.CLOSED)
    with _loading(district):
        assert endings.closed_end() == 0
        assert forgetting.history_forget() == 0
        with pytest.raises(services.Refused, match="tried once more at this moment"):
            services.epoch_end(stuck, reason="Over.", actor=StaffFactory())
    assert endings.closed_end() == 1
    waiting.refresh_from_db()
    assert waiting.judgement.act == "discarded"
