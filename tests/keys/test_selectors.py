"""What pages read of keys: whose sign-ins they are, and when the next run comes."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import services as district_services
from accounts.models import District, RetiredUsername, SftpAccount, User
from hosts.models import Host, SignIn
from keys import selectors, services
from keys.models import KeyFile
from keys.sets import By
from tests.factories import DistrictFactory

from .samples import text

T0 = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)


def _sign_in(username: str, hours: float, *, accepted: bool = True, fingerprint: str = "", address: str = "") -> SignIn:
    return SignIn.objects.create(
        host=Host.objects.get(),
        username=username,
        at=T0 + timedelta(hours=hours),
        accepted=accepted,
        fingerprint=fingerprint,
        address=address or f"192.0.2.{int(hours) % 250}",
    )


def _save(account: SftpAccount, *names: str) -> None:
    version = KeyFile.objects.get(account=account).version
    pasted = "\n".join(text(name) for name in names)
    services.keys_save(account, pasted, seen_version=version, by=By(User.objects.first()))


def test_each_key_tells_its_own_first_and_last_good_sign_in(account: SftpAccount) -> None:
    _save(account, "ed25519", "rsa3072")
    used, unused = (key.fingerprint for key in selectors.keys_of(account))
    for hours in (3, 1, 2):
        _sign_in(account.username, hours, fingerprint=used)
    _sign_in(account.username, 9, fingerprint=used, accepted=False)
    _sign_in("another.k12.oh.us", 8, fingerprint=used)
    first, second = selectors.cards(account)
    assert (first.first_sign_in, first.last_sign_in, first.last_address) == (
        T0 + timedelta(hours=1),
        T0 + timedelta(hours=3),
        "192.0.2.3",
    )
    assert (second.key.fingerprint, second.first_sign_in, second.last_address) == (unused, None, "")


def test_the_cards_cost_the_same_however_many_keys_there_are(account: SftpAccount) -> None:
    def cost() -> int:
        for key in selectors.keys_of(account):
            _sign_in(account.username, 1, fingerprint=key.fingerprint)
        with CaptureQueriesContext(connection) as queries:
            selectors.cards(account)
        return len(queries)

    _save(account, "ed25519")
    few = cost()
    _save(account, "ed25519", "rsa3072", "rsa4096", "ecdsa256", "ecdsa384")
    assert cost() == few


def test_a_refused_sign_in_is_told_until_a_good_one_follows(account: SftpAccount) -> None:
    assert selectors.sign_in_state(account) == selectors.SignInState(None, None, None)
    refused = _sign_in(account.username, 1, accepted=False)
    assert selectors.sign_in_state(account).refused == refused
    good = _sign_in(account.username, 2)
    assert selectors.sign_in_state(account) == selectors.SignInState(good, good, None)
    again = _sign_in(account.username, 3, accepted=False)
    assert selectors.sign_in_state(account).refused == again


def test_a_renamed_account_keeps_its_history(district: District, account: SftpAccount) -> None:
    old = _sign_in(account.username, 1)
    district_services.district_rename(district, name="X", domain="new.k12.oh.us", actor=None)
    new = _sign_in("new.k12.oh.us", 2)
    state = selectors.sign_in_state(SftpAccount.objects.get(pk=account.pk))
    assert (state.first, state.last) == (old, new)


def test_a_user_name_that_changed_hands_shows_each_district_its_own_time_only(account: SftpAccount) -> None:
    """Cedar gives a name up, Oak takes it, gives it up too, and Cedar takes it back."""
    oak = DistrictFactory(name="Oak", domain="oak.k12.oh.us").sftp_account
    shared = "shared.k12.oh.us"

    def retire(owner: SftpAccount, hours: float) -> None:
        RetiredUsername.objects.create(account=owner, username=shared, retired=T0, cleared=T0 + timedelta(hours=hours))

    retire(account, 10)
    retire(oak, 20)
    SftpAccount.objects.filter(pk=account.pk).update(username=shared)
    account.refresh_from_db()
    for hours in (5, 15, 25):
        _sign_in(shared, hours)
    hours_of = {
        name: sorted((row.at - T0).total_seconds() / 3600 for row in selectors.sign_ins_of(owner))
        for name, owner in (("cedar", account), ("oak", oak))
    }
    assert hours_of == {"cedar": [5, 25], "oak": [15]}


def test_the_next_run_is_the_next_of_the_clock_times(account: SftpAccount) -> None:
    assert selectors.next_hourly_run(T0) == T0 + timedelta(hours=1)
    assert selectors.next_hourly_run(T0 - timedelta(seconds=1)) == T0
    assert selectors.next_hourly_run(T0.replace(hour=23, minute=59)) == T0 + timedelta(hours=22)


@pytest.mark.parametrize("minutes", services.HOURLY_CHOICES)
def test_the_next_run_is_never_more_than_its_length_away(account: SftpAccount, minutes: int) -> None:
    services.hourly_set(minutes, actor=User.objects.first())
    for minute in range(60):
        now = T0 + timedelta(minutes=minute, seconds=30)
        assert timedelta(0) < selectors.next_hourly_run(now) - now <= timedelta(minutes=minutes)
    assert selectors.next_hourly_run() > timezone.now()


def test_without_a_schedule_the_hour_is_still_promised(db: None) -> None:
    assert selectors.next_hourly_run(T0) == T0 + timedelta(hours=1)
