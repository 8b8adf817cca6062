"""Leases: one worker at a time, and a late one learns that it is late."""

import threading
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db.models import QuerySet
from django.utils import timezone

from accounts.leases import LeaseLost, free_to_take, lease_end, lease_kept, lease_renew, lease_take
from ingest.models import Lane
from tests.factories import DistrictFactory


@pytest.fixture
def rows(db: None) -> QuerySet[Lane]:
    return Lane.objects.filter(pk=Lane.objects.create(district=DistrictFactory()).pk)


def _run_out(rows: QuerySet[Lane]) -> None:
    rows.update(lease_until=timezone.now() - timedelta(seconds=1))


def test_a_lease_is_taken_by_one(rows: QuerySet[Lane], settings: LazySettings) -> None:
    token = lease_take(rows)
    assert token
    assert lease_take(rows) is None
    assert not rows.filter(free_to_take()).exists()
    left = rows.get().lease_until - timezone.now()
    assert timedelta(0) < left <= timedelta(seconds=settings.LEASE_SECONDS)


def test_a_lease_given_back_can_be_taken(rows: QuerySet[Lane]) -> None:
    lease_end(rows, lease_take(rows))
    assert lease_take(rows)


def test_a_lease_whose_holder_went_silent_is_taken_over_and_the_holder_learns_it(rows: QuerySet[Lane]) -> None:
    first = lease_take(rows)
    _run_out(rows)
    lease_renew(rows, first)
    assert lease_take(rows) is None
    _run_out(rows)
    second = lease_take(rows)
    with pytest.raises(LeaseLost):
        lease_renew(rows, first)
    lease_end(rows, first)
    assert rows.get().lease_token == second


def test_no_lease_is_taken_of_a_row_that_does_not_match(rows: QuerySet[Lane]) -> None:
    assert lease_take(rows.filter(lease_token="x")) is None


@pytest.mark.parametrize("error", [None, ValueError, SystemExit])
def test_a_lease_that_is_kept_is_given_back_however_the_work_ends(
    rows: QuerySet[Lane], error: type[BaseException] | None
) -> None:
    token = lease_take(rows)
    before = threading.active_count()
    try:
        with lease_kept(rows, token):
            assert threading.active_count() == before + 1
            if error:
                raise error
    except (ValueError, SystemExit):
        pass
    assert rows.get().lease_token == ""
    assert threading.active_count() == before
