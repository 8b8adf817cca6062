"""What every account's file should hold: the same text as key by key, in a fixed number of queries."""

from collections.abc import Callable
from datetime import date

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import District, SftpAccount
from keys.core import authorized_keys
from keys.core.drift import Known, Mark
from keys.models import AccountKey, KeyFile, KeySet
from keys.sets import PORTAL, set_make
from keys.wanted import Wanted, wanted
from tests.factories import DistrictFactory, KeyFactory

from .samples import text

pytestmark = pytest.mark.django_db
NAMES = ("ed25519", "rsa3072", "ecdsa256", "sk_ed25519", "ecdsa521")


def _of(account: SftpAccount) -> Wanted:
    (one,) = wanted(KeyFile.objects.filter(account=account))
    return one


def test_lines_are_those_of_the_keys_in_their_order(account: SftpAccount) -> None:
    for position, name in enumerate(NAMES):
        KeyFactory(account=account, line=text(name), position=position)
    keys = [key.value() for key in account.keys.order_by("position")]
    stamp = KeySet.objects.get(account=account)
    expected = authorized_keys.render(keys, authorized_keys.Stamp(stamp.version, stamp.token))
    assert _of(account).content == expected


def test_restrictions_of_account_and_key_stand_in_the_line(account: SftpAccount) -> None:
    KeyFactory(account=account, line=text("ed25519"), networks=["198.51.100.7/32"], expires_on=date(2099, 6, 30))
    KeyFile.objects.update(networks=["198.51.100.0/24"])
    options = 'restrict,from="198.51.100.7/32",expiry-time="20990701035959Z" ssh-ed25519 '
    assert _of(account).content.decode().splitlines()[1].startswith(options)


def test_a_key_whose_networks_have_nothing_in_common_with_the_accounts_is_left_out(account: SftpAccount) -> None:
    KeyFactory(account=account, line=text("ed25519"), networks=["203.0.113.0/24"])
    KeyFile.objects.update(networks=["198.51.100.0/24"])
    assert _of(account).content.count(b"\n") == 1


@pytest.mark.parametrize("state", ["suspended", "closed"])
def test_a_district_that_is_not_active_has_a_header_only(account: SftpAccount, state: str) -> None:
    KeyFactory(account=account, line=text("ed25519"))
    District.objects.update(state=state)
    assert _of(account).content.count(b"\n") == 1


@pytest.mark.parametrize(
    "broken",
    [
        {"blob": "AAAA"},
        {"blob": "not base64"},
        {"algorithm": "ssh-dss"},
        {"algorithm": "ssh-rsa"},
        {"comment": "two\nlines"},
        {"comment": " outer blanks"},
    ],
    ids=str,
)
def test_a_row_that_could_make_another_line_is_left_out(account: SftpAccount, broken: dict[str, str]) -> None:
    KeyFactory(account=account, line=text("ed25519"))
    sound = KeyFactory(account=account, line=text("rsa3072"), position=1)
    AccountKey.objects.exclude(pk=sound.pk).update(**broken)
    assert [line.split()[1] for line in _of(account).content.decode().splitlines()[1:]] == [sound.blob]


def test_disabled_keys_are_left_out(account: SftpAccount) -> None:
    KeyFactory(account=account, line=text("ed25519"))
    AccountKey.objects.update(disabled="2026-01-01T00:00:00Z")
    assert _of(account).content.count(b"\n") == 1


def test_what_was_read_back_comes_along(account: SftpAccount) -> None:
    assert _of(account).known == Known()
    KeyFile.objects.update(host_version=3, digest="d", host_size=9, host_modified=1_700_000_000, state="on_host")
    assert (_of(account).known, _of(account).on_host) == (Known(3, "d", Mark(9, 1_700_000_000)), True)


def test_accounts_do_not_mix_and_queries_do_not_grow(account: SftpAccount) -> None:
    others = [DistrictFactory(domain=f"d{n}.k12.oh.us").sftp_account for n in range(5)]
    for number, each in enumerate([account, *others[1:]]):  # one without any key, in between
        KeyFactory(account=each, line=text(NAMES[number]))
    with CaptureQueriesContext(connection) as counted:
        found = {one.account_pk: one.content for one in wanted(KeyFile.objects.all())}
    assert len(counted) == 1
    assert len(found) == 6
    for number, each in enumerate([account, *others[1:]]):
        assert text(NAMES[number]).split()[1].encode() in found[each.pk]
        assert found[each.pk].count(b"\n") == 2
    assert found[others[0].pk].count(b"\n") == 1


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_keys_saved_before_any_of_its_queries_come_with_the_number_of_their_set(account: SftpAccount, nth: int) -> None:
    """Not the number of one set with the keys of another: that would be written, and noted as right."""
    count = 0

    def saving(execute: Callable[..., object], *asked: object) -> object:
        nonlocal count
        count += 1
        if count == nth:
            KeyFactory(account=account, line=text("ed25519"))
            set_make(KeyFile.objects.get(account=account), KeySet.Cause.SAVED, PORTAL)
        return execute(*asked)

    with connection.execute_wrapper(saving):
        one = _of(account)
    assert (one.version, one.content.count(b"\n")) in {(1, 1), (2, 2)}
