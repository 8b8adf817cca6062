"""An account with its district, and people who may change its keys."""

import pytest
from django.conf import settings

from accounts.models import District, SftpAccount, User
from portal.schedules import schedules_sync
from tests.factories import MembershipFactory


@pytest.fixture
def district(db: None) -> District:
    """An active district with one administrator; beat's schedules are in the table, the host's directory is there."""
    schedules_sync()
    settings.SFTP_ROOT.mkdir(parents=True)
    return MembershipFactory(user__email="dana@smithville.example").district


@pytest.fixture
def account(district: District) -> SftpAccount:
    return district.sftp_account


@pytest.fixture
def dana(district: District) -> User:
    return User.objects.get(email="dana@smithville.example")
