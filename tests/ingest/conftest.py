"""A district with its places on a host, and a clock that tests move."""

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from accounts.models import District
from tests.factories import MembershipFactory, StaffFactory

from .uploading import places_make


class Clock:
    """The time as the portal sees it; real until it is moved on."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self._real = timezone.now

    def now(self) -> datetime:
        """What `timezone.now` gives."""
        return self._real() + self.ahead

    def move(self, **length: float) -> None:
        """Lets time pass: `move(seconds=10)`."""
        self.ahead += timedelta(**length)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("django.utils.timezone.now", made.now)
    return made


@pytest.fixture
def district(db: None) -> District:
    """An active district with one administrator and its places on the host; the vendor has one of support and ops."""
    StaffFactory(email="support@vendor.example")
    StaffFactory(email="ops@vendor.example", staff_role="ops")
    made = MembershipFactory(user__email="dana@smithville.example").district
    places_make(made)
    return made
