"""What happens to keys by the clock: judged anew and disabled, retired when replaced, reminded of before their end."""

import base64
import hashlib
import json
import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import gmpy2
import pytest
from django.conf import LazySettings
from django.conf import settings as django_settings
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from accounts import services as district_services
from accounts.core.roles import Role
from accounts.models import AuditEntry, District, OutboxMessage, SftpAccount, User
from keys import nightly, propagation, services, tasks
from keys.core.publickey import PublicKey
from keys.core.wire import decoded
from keys.models import AccountKey, KeyFile, KeySet
from keys.sets import By
from tests.factories import DistrictFactory, KeyFactory, MembershipFactory, SignInFactory, StaffFactory
from tests.rows import everything

from .samples import fingerprints, rsa_blob, text
from .sweeping import nudged

NIGHT = datetime(2026, 11, 23, 2, 40, tzinfo=UTC)
# In New York, where these districts are, it is still the evening before.
TODAY = date(2026, 11, 22)


def _key(account: SftpAccount, name: str = "ed25519", **told: object) -> AccountKey:
    return KeyFactory(account=account, line=text(name), **told)


def _mails(kind: str, to: str = "") -> list[str]:
    rows = OutboxMessage.objects.filter(kind=kind).order_by("pk")
    return [row.text for row in (rows.filter(to=to) if to else rows)]


def _version(account: SftpAccount) -> int:
    return KeyFile.objects.get(account=account).version


def _on_host(account: SftpAccount) -> list[str]:
    """The fingerprints of the account's file on the host, as ssh-keygen reads them."""
    content = (django_settings.SFTP_ROOT / "keys" / account.username).read_bytes()
    return fingerprints(content) if b"ssh-" in content or b"ecdsa-" in content else []


def _another(n: int = 1) -> SftpAccount:
    return DistrictFactory(domain=f"zz{n}.k12.oh.us").sftp_account


# --- Judged anew -------------------------------------------------------------------------------------------------


def test_keys_that_pass_are_left_alone(account: SftpAccount) -> None:
    for name in ("ed25519", "rsa2048", "rsa4096", "ecdsa521", "sk_ed25519"):
        _key(account, name)
    before = everything()
    assert nightly.judge_all(NIGHT) == []
    assert everything() == before


def test_a_key_that_fails_is_marked_with_the_reason_and_a_day_and_told(account: SftpAccount, dana: User) -> None:
    support, ops = StaffFactory(), StaffFactory(staff_role=Role.OPS)
    MembershipFactory(district=account.district, role=Role.DISTRICT_VIEWER, user__email="viewer@smithville.example")
    _key(account, "ed25519")
    short = _key(account, "rsa1024")
    assert nightly.judge_all(NIGHT) == []
    short.refresh_from_db()
    assert (short.marked, short.disabled, short.mark_code) == (NIGHT, None, "rsa-too-short")
    assert short.disable_on == TODAY + timedelta(days=14)
    assert "1024 bits" in short.mark_reason
    assert _version(account) == 1
    assert account.keys.filter(marked=None).count() == 1
    (mail,) = _mails("key-marked")
    assert OutboxMessage.objects.get(kind="key-marked").to == dana.email
    for told in (short.fingerprint, short.mark_reason, "6 December 2026", account.username, "/settings/technical/"):
        assert told in mail
    assert OutboxMessage.objects.get(kind="keys-unsafe").to == support.email != ops.email
    entry = AuditEntry.objects.get(action="key marked as unsafe")
    assert entry.details == {"fingerprint": short.fingerprint, "code": "rsa-too-short", "disabled on": "2026-12-06"}


def test_the_same_night_over_again_changes_and_tells_nothing(account: SftpAccount) -> None:
    StaffFactory()
    _key(account, "rsa1024")
    nightly.judge_all(NIGHT)
    before = everything()
    for days in range(14):
        assert nightly.judge_all(NIGHT + timedelta(days=days)) == []
    assert everything() == before


def test_on_the_day_that_was_told_the_key_is_disabled_and_never_deleted(account: SftpAccount) -> None:
    StaffFactory()
    good, short = _key(account, "ed25519"), _key(account, "rsa1024")
    propagation.push_one(account.pk)
    assert _on_host(account) == [good.fingerprint, short.fingerprint]
    nightly.judge_all(NIGHT)
    assert nightly.judge_all(NIGHT + timedelta(days=14)) == [account.pk]
    propagation.push_one(account.pk)
    short.refresh_from_db()
    assert short.disabled == NIGHT + timedelta(days=14)
    assert _on_host(account) == [good.fingerprint]
    made = KeySet.objects.get(account=account, version=2)
    assert (made.cause, made.actor, [fact["fingerprint"] for fact in made.changed]) == (
        "disabled",
        None,
        [short.fingerprint],
    )
    assert short.mark_reason in made.changed[0]["told"]
    (mail,) = _mails("key-disabled")
    assert short.fingerprint in mail
    assert good.fingerprint not in mail
    assert _mails("keys-changed") == []
    assert len(_mails("key-marked")) == 1
    assert len(_mails("keys-unsafe")) == 2
    assert nightly.judge_all(NIGHT + timedelta(days=15)) == []
    assert len(_mails("key-disabled")) == 1


def test_a_few_nights_that_were_missed_disable_it_all_the_same(account: SftpAccount) -> None:
    _key(account, "rsa1024")
    nightly.judge_all(NIGHT)
    assert nightly.judge_all(NIGHT + timedelta(days=40)) == [account.pk]


def test_the_task_judges_and_brings_the_file_to_the_host(account: SftpAccount) -> None:
    good, broken = _key(account, "ed25519"), _key(account, "rsa3072")
    AccountKey.objects.filter(pk=broken.pk).update(blob=broken.blob[:-8])
    with nudged():
        tasks.judge()
    assert _on_host(account) == [good.fingerprint]


def _stricter(settings: LazySettings, bits: int) -> None:
    settings.RSA_MINIMUM_BITS = bits


def test_a_limit_that_was_lowered_again_takes_the_mark_away_and_says_so(
    account: SftpAccount, settings: LazySettings
) -> None:
    key = _key(account, "rsa2048")
    _stricter(settings, 3072)
    nightly.judge_all(NIGHT)
    _stricter(settings, 2048)
    assert nightly.judge_all(NIGHT + timedelta(days=1)) == []
    key.refresh_from_db()
    told = (key.marked, key.mark_code, key.mark_reason, key.disable_on, key.disabled)
    assert told == (None, "", "", None, None)
    assert key.fingerprint in _mails("key-cleared")[0]
    assert AuditEntry.objects.filter(action="key no longer marked").count() == 1
    nightly.judge_all(NIGHT + timedelta(days=2))
    assert len(_mails("key-cleared")) == 1


def test_a_disabled_key_that_passes_again_is_enabled(account: SftpAccount, settings: LazySettings) -> None:
    key = _key(account, "rsa2048")
    _stricter(settings, 3072)
    nightly.judge_all(NIGHT)
    nightly.judge_all(NIGHT + timedelta(days=20))
    _stricter(settings, 2048)
    assert nightly.judge_all(NIGHT + timedelta(days=21)) == [account.pk]
    propagation.push_one(account.pk)
    assert _on_host(account) == [key.fingerprint]
    assert KeySet.objects.get(account=account, version=3).cause == "enabled"
    assert "works again" in _mails("keys-changed")[0]
    key.refresh_from_db()
    assert (key.disabled, key.marked) == (None, None)


def test_a_key_marked_twice_is_told_twice(account: SftpAccount, settings: LazySettings) -> None:
    StaffFactory()
    _key(account, "rsa2048")
    for night, bits in enumerate((3072, 2048, 3072)):
        _stricter(settings, bits)
        nightly.judge_all(NIGHT + timedelta(days=night))
    assert (len(_mails("key-marked")), len(_mails("keys-unsafe"))) == (2, 2)


def test_another_sentence_for_the_same_reason_is_kept_and_not_told_again(
    account: SftpAccount, settings: LazySettings
) -> None:
    key = _key(account, "rsa2048")
    for night, bits in enumerate((3072, 4096)):
        _stricter(settings, bits)
        nightly.judge_all(NIGHT + timedelta(days=night))
    key.refresh_from_db()
    assert "4096" in key.mark_reason
    assert (key.marked, key.disable_on, len(_mails("key-marked"))) == (NIGHT, TODAY + timedelta(days=14), 1)


STORED = {
    "no base64": {"blob": "not base64"},
    "nothing": {"blob": ""},
    "cut short": {"blob": text("rsa3072").split(" ")[1][:-8]},
    "another key than was saved": {"blob": text("ed25519").split(" ")[1]},
    "under another type": {"algorithm": "ssh-ed25519"},
}


@pytest.mark.parametrize("changed", STORED.values(), ids=STORED)
def test_a_stored_row_that_cannot_be_written_is_disabled_at_once_and_stops_no_other(
    account: SftpAccount, changed: dict[str, str]
) -> None:
    broken, short, good = _key(account, "rsa3072"), _key(account, "rsa1024"), _key(account, "ecdsa256")
    other = _key(_another(), "rsa1024")
    AccountKey.objects.filter(pk=broken.pk).update(**changed)
    assert nightly.judge_all(NIGHT) == [account.pk]
    for key in (broken, short, good, other):
        key.refresh_from_db()
    assert (broken.disabled, broken.disable_on) == (NIGHT, TODAY)
    assert [key.marked is not None for key in (short, good, other)] == [True, False, True]
    assert broken.fingerprint in _mails("key-disabled")[0]
    before = everything()
    assert nightly.judge_all(NIGHT + timedelta(days=1)) == []
    assert everything() == before


def _supply_blocklist(keys: list[AccountKey]) -> None:
    """A blocklist as badkeys writes it, with the keys given."""
    place = Path(django_settings.BADKEYS_BLOCKLIST_DIR)
    place.mkdir(parents=True)
    numbers = [PublicKey.from_blob(decoded(key.blob)).fields[0].lstrip(b"\0") for key in keys]
    records = b"".join(sorted(hashlib.sha256(number).digest()[:15] + b"\1" for number in numbers))
    (place / "blocklist.dat").write_bytes(records)
    about = {
        "bkformat": 0,
        "date": "2026-11-01",
        "blocklist_sha256": hashlib.sha256(records).hexdigest(),
        "blocklists": [{"id": 1, "name": "invented"}],
    }
    (place / "badkeysdata.json").write_text(json.dumps(about))


def test_a_key_that_was_published_has_three_days(account: SftpAccount, settings: LazySettings, tmp_path: Path) -> None:
    settings.BADKEYS_BLOCKLIST_DIR = tmp_path / "badkeys"
    leaked, good = _key(account, "ed25519"), _key(account, "ecdsa256")
    _supply_blocklist([leaked])
    nightly.judge_all(NIGHT)
    for key in (leaked, good):
        key.refresh_from_db()
    assert (leaked.mark_code, leaked.disable_on, good.marked) == ("weak-known", TODAY + timedelta(days=3), None)
    assert nightly.judge_all(NIGHT + timedelta(days=2)) == []
    assert nightly.judge_all(NIGHT + timedelta(days=3)) == [account.pk]


def _rsa_line(first: int, second: int, exponent: int = 65537) -> str:
    return f"ssh-rsa {base64.b64encode(rsa_blob(exponent, first * second)).decode()} invented"


def _primes(count: int) -> list[int]:
    chance = random.Random(20261122)
    return [int(gmpy2.next_prime(chance.getrandbits(1024) | 3 << 1022)) for _ in range(count)]


def test_keys_of_two_districts_that_share_a_prime_are_found(account: SftpAccount) -> None:
    shared, second, third, fourth, fifth = _primes(5)
    other = _another()
    weak = [
        KeyFactory(account=account, line=_rsa_line(shared, second)),
        KeyFactory(account=other, line=_rsa_line(shared, third)),
    ]
    # One provider's key in two districts shares everything with itself, which is no weakness.
    good = [KeyFactory(account=one, line=_rsa_line(fourth, fifth)) for one in (account, other)]
    nightly.judge_all(NIGHT)
    codes = dict(AccountKey.objects.values_list("pk", "mark_code"))
    assert [codes[key.pk] for key in weak] == ["weak-shared-primes"] * 2
    assert [codes[key.pk] for key in good] == ["", ""]
    assert all(str(shared) not in mail for mail in _mails("key-marked"))


def test_one_modulus_with_two_exponents_is_found(account: SftpAccount) -> None:
    first, second = _primes(2)
    keys = [KeyFactory(account=account, line=_rsa_line(first, second, exponent)) for exponent in (65537, 3)]
    nightly.judge_all(NIGHT)
    codes = dict(AccountKey.objects.values_list("pk", "mark_code"))
    assert [codes[key.pk] for key in keys] == ["weak-shared-primes"] * 2


def test_a_night_that_was_cut_off_is_gone_on_with_where_it_was(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nightly, "BATCH", 1)
    keys = [_key(place, "rsa1024") for place in [account, *(_another(n) for n in range(2))]]
    real = nightly._is_changed

    def killed(place: SftpAccount, *told: object) -> bool:
        if place == keys[1].account:
            raise KeyboardInterrupt
        return real(place, *told)

    monkeypatch.setattr(nightly, "_is_changed", killed)
    with pytest.raises(KeyboardInterrupt):
        nightly.judge_all(NIGHT)
    seen: list[SftpAccount] = []
    monkeypatch.setattr(nightly, "_is_changed", lambda place, *told: bool(seen.append(place)))
    nightly.judge_all(NIGHT + timedelta(minutes=5), since=NIGHT - timedelta(hours=1))
    assert seen == [key.account for key in keys[1:]]
    # The next night all are looked at.
    nightly.judge_all(NIGHT + timedelta(days=1), since=NIGHT + timedelta(hours=18))
    assert len(seen) == 5


@pytest.mark.parametrize(("state", "is_judged"), [("active", True), ("suspended", True), ("closed", False)])
def test_the_keys_of_closed_districts_rest(account: SftpAccount, state: str, is_judged: bool) -> None:
    key = _key(account, "rsa1024")
    District.objects.filter(pk=account.district_id).update(state=state)
    nightly.judge_all(NIGHT)
    key.refresh_from_db()
    assert (key.marked is not None) is is_judged


def test_every_account_is_judged_however_many_there_are(account: SftpAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nightly, "BATCH", 2)
    for place in [account, *(_another(n) for n in range(4))]:
        _key(place, "rsa1024")
        _key(place, "ed25519")
    nightly.judge_all(NIGHT)
    assert AccountKey.objects.exclude(marked=None).count() == 5


def test_trouble_with_one_account_stops_no_other(account: SftpAccount, caplog: pytest.LogCaptureFixture) -> None:
    District.objects.filter(pk=account.district_id).update(time_zone="Nowhere/At_All")
    _key(account, "rsa1024")
    other = _key(_another(), "rsa1024")
    nightly.judge_all(NIGHT)
    other.refresh_from_db()
    assert other.marked == NIGHT
    assert f"account {account.pk}" in caplog.text


def test_trouble_with_one_key_stops_no_other_and_leaves_it_as_it_is(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    odd, short = _key(account, "rsa3072"), _key(account, "rsa1024")
    plain = AccountKey.value

    def value(key: AccountKey) -> PublicKey:
        if key.pk == odd.pk:
            raise ZeroDivisionError
        return plain(key)

    monkeypatch.setattr(AccountKey, "value", value)
    nightly.judge_all(NIGHT)
    for key in (odd, short):
        key.refresh_from_db()
    assert (odd.marked, short.marked) == (None, NIGHT)
    assert f"Key {odd.pk}" in caplog.text


class Killed(BaseException):
    """The worker is gone."""


@pytest.mark.parametrize("alive", range(4))
def test_wherever_it_is_killed_the_next_run_finishes_and_tells_each_once(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch, alive: int
) -> None:
    StaffFactory()
    for place in (account, _another()):
        _key(place, "rsa1024")
        MembershipFactory(district=place.district)
    plain, calls = nightly.notice_send, []

    def send(*told: object, **more: object) -> None:
        plain(*told, **more)
        calls.append("")
        if len(calls) > alive:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(nightly, "notice_send", send)
        if alive < 3:
            with pytest.raises(Killed):
                nightly.judge_all(NIGHT)
        else:
            nightly.judge_all(NIGHT)
    nightly.judge_all(NIGHT + timedelta(minutes=5))
    assert AccountKey.objects.filter(marked=None).count() == 0
    assert (len(_mails("key-marked")), len(_mails("keys-unsafe"))) == (3, 1)


def test_a_key_that_is_removed_meanwhile_is_gone_and_not_told_of(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    _key(account, "rsa1024")
    plain = nightly.file_locked

    def removed_first(place: SftpAccount) -> KeyFile:
        AccountKey.objects.all().delete()
        return plain(place)

    monkeypatch.setattr(nightly, "file_locked", removed_first)
    assert nightly.judge_all(NIGHT) == []
    assert not OutboxMessage.objects.exists()


def test_staff_are_told_once_for_all_districts_and_again_only_of_new_ones(account: SftpAccount) -> None:
    StaffFactory()
    others = [_another(n) for n in range(3)]
    keys = [_key(place, "rsa1024") for place in others]
    nightly.judge_all(NIGHT)
    (mail,) = _mails("keys-unsafe")
    assert [place.district.name in mail for place in others] == [True] * 3
    keys[0].delete()
    nightly.judge_all(NIGHT + timedelta(days=1))
    assert len(_mails("keys-unsafe")) == 1
    _key(account, "rsa1024")
    nightly.judge_all(NIGHT + timedelta(days=2))
    assert len(_mails("keys-unsafe")) == 2


# --- Retired -----------------------------------------------------------------------------------------------------

SAVED = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def _replaced(account: SftpAccount, *, days: int = 7) -> tuple[AccountKey, AccountKey]:
    old = _key(account, "rsa3072", added=SAVED - timedelta(days=300))
    return old, _key(account, "ed25519", added=SAVED, replaces=old, retire_after=days)


def _used(key: AccountKey, hours: float = 1, **told: object) -> None:
    said = {"username": key.account.username, "fingerprint": key.fingerprint, **told}
    SignInFactory(at=SAVED + timedelta(hours=hours), **said)


def test_the_old_key_stays_until_the_new_one_was_used_however_long_that_takes(account: SftpAccount) -> None:
    _, new = _replaced(account)
    assert nightly.retire_due(SAVED + timedelta(days=400)) == []
    new.refresh_from_db()
    assert (account.keys.count(), new.retires_old) == (2, None)


def test_the_first_good_sign_in_of_the_new_key_sets_the_day_once(account: SftpAccount) -> None:
    _, new = _replaced(account, days=7)
    _used(new, 5)
    assert nightly.retire_due(SAVED + timedelta(hours=6)) == []
    _used(new, 3)
    _used(new, 50)
    nightly.retire_due(SAVED + timedelta(hours=60))
    new.refresh_from_db()
    assert new.retires_old == SAVED + timedelta(hours=5, days=7)
    assert _version(account) == 1


def test_of_two_in_its_place_the_one_that_was_seen_first_sets_the_day(account: SftpAccount) -> None:
    old, new = _replaced(account, days=7)
    second = _key(account, "ecdsa256", added=SAVED, replaces=old, retire_after=30)
    for key, hours in ((new, 5), (second, 9)):
        _used(key, hours)
    assert nightly.retire_due(SAVED + timedelta(days=7)) == []
    assert nightly.retire_due(SAVED + timedelta(days=7, hours=5)) == [account.pk]
    assert set(account.keys.values_list("replaces", "retire_after", "retires_old")) == {(None, None, None)}


def test_when_its_time_has_come_the_old_key_is_taken_out_and_told(account: SftpAccount) -> None:
    old, new = _replaced(account, days=7)
    _used(new)
    assert nightly.retire_due(SAVED + timedelta(days=7)) == []
    assert nightly.retire_due(SAVED + timedelta(days=7, hours=1)) == [account.pk]
    new = account.keys.get()
    assert (new.fingerprint, new.replaces, new.retire_after) == (new.fingerprint, None, None)
    made = KeySet.objects.get(account=account, version=2)
    assert (made.cause, made.actor) == ("retired", None)
    assert made.removed[0]["fingerprint"] == old.fingerprint
    assert old.fingerprint in _mails("keys-changed")[0]
    assert nightly.retire_due(SAVED + timedelta(days=8)) == []
    assert _version(account) == 2


def test_the_task_retires_and_brings_the_file_to_the_host(account: SftpAccount) -> None:
    _, new = _replaced(account, days=1)
    _used(new)
    with nudged():
        tasks.retire()
    assert _on_host(account) == [new.fingerprint]


NOT_A_FIRST_SIGN_IN = {
    "a refused one": {"accepted": False},
    "one from before it was saved": {"hours": -1},
    "one with the old key": {"fingerprint": "SHA256:old"},
    "one of another account": {"username": "another.k12.oh.us"},
}


@pytest.mark.parametrize("told", NOT_A_FIRST_SIGN_IN.values(), ids=NOT_A_FIRST_SIGN_IN)
def test_no_other_sign_in_retires_it(account: SftpAccount, told: dict[str, object]) -> None:
    _, new = _replaced(account)
    _used(new, **told)
    assert nightly.retire_due(SAVED + timedelta(days=100)) == []
    new.refresh_from_db()
    assert new.retires_old is None


def test_a_sign_in_under_the_name_of_before_counts_too(district: District, account: SftpAccount) -> None:
    _, new = _replaced(account)
    _used(new)
    district_services.district_rename(district, name=district.name, domain="new.k12.oh.us", actor=None)
    nightly.retire_due(SAVED + timedelta(days=1))
    new.refresh_from_db()
    assert new.retires_old == SAVED + timedelta(days=7, hours=1)


@pytest.mark.parametrize(
    "spoiled",
    [{"disabled": SAVED}, {"expires_on": SAVED.date() + timedelta(days=1)}],
    ids=["disabled", "past its last day"],
)
def test_the_old_key_is_kept_while_no_other_works_and_that_is_told_once(
    account: SftpAccount, spoiled: dict[str, object]
) -> None:
    old, new = _replaced(account)
    _used(new)
    AccountKey.objects.filter(pk=new.pk).update(**spoiled)
    for days in (8, 9, 10):
        assert nightly.retire_due(SAVED + timedelta(days=days)) == []
    assert account.keys.filter(pk=old.pk).exists()
    (mail,) = _mails("key-kept")
    assert old.fingerprint in mail
    assert new.fingerprint in mail
    AccountKey.objects.filter(pk=new.pk).update(disabled=None, expires_on=None)
    assert nightly.retire_due(SAVED + timedelta(days=11)) == [account.pk]


def test_an_old_key_that_works_no_longer_itself_is_retired(account: SftpAccount) -> None:
    old, new = _replaced(account)
    _used(new)
    AccountKey.objects.update(disabled=SAVED)
    assert nightly.retire_due(SAVED + timedelta(days=8)) == [account.pk]
    assert not account.keys.filter(pk=old.pk).exists()


def test_if_the_new_key_is_taken_out_again_the_old_one_stays(account: SftpAccount) -> None:
    old, new = _replaced(account)
    _used(new)
    nightly.retire_due(SAVED + timedelta(days=1))
    new.delete()
    assert nightly.retire_due(SAVED + timedelta(days=30)) == []
    assert account.keys.get() == old


OUT_AGAIN = {
    "removed": lambda new, others: services.key_remove(new, by=By(None)),
    "lost": lambda new, others: services.key_lost(new, by=By(None)),
    "taken out of the box": lambda new, others: services.keys_save(
        new.account,
        "\n".join(key.line() for key in others),
        seen_version=1,
        by=By(None),
        confirmed=new.account.username,
    ),
}


@pytest.mark.parametrize("takes_out", OUT_AGAIN.values(), ids=OUT_AGAIN)
@pytest.mark.parametrize("is_replaced_after", [False, True], ids=["two at once", "the second afterwards"])
def test_of_two_in_its_place_the_one_that_was_used_and_taken_out_retires_nothing(
    account: SftpAccount, takes_out: Callable[..., object], is_replaced_after: bool
) -> None:
    old, used = _replaced(account)
    _used(old)
    unused = None if is_replaced_after else _key(account, "ecdsa256", added=SAVED, replaces=old, retire_after=1)
    _used(used)
    nightly.retire_due(SAVED + timedelta(days=1))
    takes_out(used, [old, *([unused] if unused else [])])
    unused = unused or _key(account, "ecdsa256", added=SAVED, replaces=old, retire_after=1)
    assert nightly.retire_due(SAVED + timedelta(days=400)) == []
    assert set(account.keys.all()) == {old, unused}


def test_a_day_that_was_told_holds_although_the_replacement_is_itself_replaced(account: SftpAccount) -> None:
    """A by B, B by C, both used: A stays until the day that was told when B signed in."""
    first, second = _replaced(account, days=30)
    third = _key(account, "ecdsa256", added=SAVED, replaces=second, retire_after=1)
    _used(second, 1)
    _used(third, 2)
    assert nightly.retire_due(SAVED + timedelta(days=2)) == [account.pk]
    assert set(account.keys.all()) == {first, third}
    assert nightly.retire_due(SAVED + timedelta(days=30)) == []
    assert nightly.retire_due(SAVED + timedelta(days=30, hours=1)) == [account.pk]


def test_a_replacement_that_is_replaced_before_it_was_used_forgets_no_key(account: SftpAccount) -> None:
    """A by B, B by C: only C is ever used, and in the end only C is left."""
    first, second = _replaced(account, days=7)
    third = _key(account, "ecdsa256", added=SAVED, replaces=second, retire_after=1)
    _used(third)
    now = SAVED + timedelta(days=3)
    assert nightly.retire_due(now) == [account.pk]
    assert set(account.keys.all()) == {first, third}
    assert nightly.retire_due(now) == [account.pk]
    assert set(account.keys.all()) == {third}
    third.refresh_from_db()
    assert (third.replaces, third.retire_after) == (None, None)


def test_trouble_with_one_replacement_stops_no_other(account: SftpAccount, caplog: pytest.LogCaptureFixture) -> None:
    for place in (account, _another()):
        _, new = _replaced(place)
        _used(new)
    District.objects.filter(pk=account.district_id).update(time_zone="Nowhere/At_All")
    assert len(nightly.retire_due(SAVED + timedelta(days=8))) == 1
    assert "could not be retired" in caplog.text


def test_a_replacement_as_the_page_makes_it_comes_to_its_end(account: SftpAccount, dana: User) -> None:
    by = By(dana, "198.51.100.7")
    services.keys_save(account, text("rsa3072"), seen_version=1, by=by)
    services.key_replace(account.keys.get(), text("ed25519"), days=1, by=by)
    new = account.keys.get(algorithm="ssh-ed25519")
    SignInFactory(username=account.username, fingerprint=new.fingerprint)
    assert nightly.retire_due() == []
    assert nightly.retire_due(timezone.now() + timedelta(days=1)) == [account.pk]
    assert account.keys.get() == new
    assert _version(account) == 4


# --- Reminded of -------------------------------------------------------------------------------------------------

# Ten in the morning in New York.
MORNING = datetime(2026, 11, 22, 15, 0, tzinfo=UTC)


def _ending(account: SftpAccount, days: int, **told: object) -> AccountKey:
    return _key(account, expires_on=TODAY + timedelta(days=days), **told)


def _subjects() -> list[str]:
    return list(OutboxMessage.objects.filter(kind="key-expiry").order_by("pk").values_list("subject", flat=True))


def test_administrators_are_reminded_three_times(account: SftpAccount, dana: User) -> None:
    MembershipFactory(district=account.district, role=Role.DISTRICT_VIEWER, user__email="viewer@smithville.example")
    StaffFactory()
    key = _ending(account, 40)
    for day in range(60):
        for hour in range(24):
            nightly.remind_due(MORNING + timedelta(days=day, hours=hour))
    name = account.district.name
    assert _subjects() == [
        f"{name}: an SFTP key works for 30 more days",
        f"{name}: an SFTP key works for 7 more days",
        f"{name}: an SFTP key works today for the last time",
    ]
    assert set(OutboxMessage.objects.values_list("to", flat=True)) == {dana.email}
    mail = _mails("key-expiry")[0]
    for told in (key.fingerprint, "1 January 2027", account.username, "/settings/technical/", "the only key"):
        assert told in mail


@pytest.mark.parametrize(
    ("zone", "hours"),
    [("America/New_York", range(8, 24)), ("Pacific/Honolulu", range(8, 24)), ("Asia/Kolkata", range(8, 24))],
)
def test_a_reminder_comes_in_the_civil_hours_of_the_district(account: SftpAccount, zone: str, hours: range) -> None:
    District.objects.filter(pk=account.district_id).update(time_zone=zone)
    key = _ending(account, 7)
    for minutes in range(0, 3 * 24 * 60, 30):
        AccountKey.objects.update(reminded=None)
        now = MORNING + timedelta(minutes=minutes)
        nightly.remind_due(now)
        key.refresh_from_db()
        assert (key.reminded is not None) == (now.astimezone(nightly.ZoneInfo(zone)).hour in hours)


def test_after_missed_days_only_the_nearest_reminder_is_sent(account: SftpAccount) -> None:
    _ending(account, 4)
    nightly.remind_due(MORNING)
    nightly.remind_due(MORNING + timedelta(hours=1))
    assert _subjects() == [f"{account.district.name}: an SFTP key works for 4 more days"]


def test_a_last_day_that_was_missed_is_told_afterwards(account: SftpAccount) -> None:
    _ending(account, -3, reminded=7)
    nightly.remind_due(MORNING)
    nightly.remind_due(MORNING + timedelta(days=1))
    assert _subjects() == [f"{account.district.name}: an SFTP key has ended"]


def test_another_day_starts_the_reminders_anew(account: SftpAccount, dana: User) -> None:
    today = services.today_in(account.district)
    noon = datetime.combine(today, datetime.min.time(), nightly.ZoneInfo(account.district.time_zone)).replace(hour=12)
    key = _key(account, expires_on=today + timedelta(days=7))
    nightly.remind_due(noon)
    services.key_edit(key, comment="x", expires_on=today + timedelta(days=30), networks="", by=By(dana))
    nightly.remind_due(noon)
    assert [subject.split(" for ")[1] for subject in _subjects()] == ["7 more days", "30 more days"]


UNTOLD = {
    "a disabled key": {"disabled": MORNING},
    "one without a last day": {"expires_on": None},
    "one whose last day is far": {"expires_on": TODAY + timedelta(days=31)},
}


@pytest.mark.parametrize("told", UNTOLD.values(), ids=UNTOLD)
def test_nobody_is_reminded_of(account: SftpAccount, told: dict[str, object]) -> None:
    key = _ending(account, 7)
    AccountKey.objects.filter(pk=key.pk).update(**told)
    nightly.remind_due(MORNING)
    assert _subjects() == []


def test_nobody_is_reminded_of_one_that_retires_by_itself(account: SftpAccount) -> None:
    new = _key(account, "ecdsa256", replaces=_ending(account, 7), retires_old=MORNING + timedelta(days=2))
    nightly.remind_due(MORNING)
    assert _subjects() == []
    AccountKey.objects.filter(pk=new.pk).update(retires_old=None)
    nightly.remind_due(MORNING)
    assert len(_subjects()) == 1


@pytest.mark.parametrize("state", ["suspended", "closed"])
def test_a_district_that_is_not_active_gets_no_reminders(account: SftpAccount, state: str) -> None:
    _ending(account, 7)
    District.objects.filter(pk=account.district_id).update(state=state)
    nightly.remind_due(MORNING)
    assert _subjects() == []


def test_trouble_with_one_reminder_stops_no_other(account: SftpAccount, caplog: pytest.LogCaptureFixture) -> None:
    other = _another()
    MembershipFactory(district=other.district)
    for place in (account, other):
        _ending(place, 7)
    District.objects.filter(pk=account.district_id).update(time_zone="Nowhere/At_All")
    nightly.remind_due(MORNING)
    assert _subjects() == [f"{other.district.name}: an SFTP key works for 7 more days"]
    assert "could be reminded" in caplog.text


# --- The schedule ------------------------------------------------------------------------------------------------


def test_the_clock_has_all_three(account: SftpAccount) -> None:
    judge, remind = (PeriodicTask.objects.get(task=name).crontab for name in ("keys.judge", "keys.remind"))
    assert (judge.hour, judge.minute, str(judge.timezone)) == ("2", "40", "UTC")
    assert (remind.hour, str(remind.timezone)) == ("*", "UTC")
    assert PeriodicTask.objects.get(task="keys.retire").interval.every == 300
