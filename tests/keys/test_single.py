"""Changes of one key: its name and restrictions, its replacement, its removal, the computer that was lost."""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.conf import settings as django_settings
from django.utils import timezone

from accounts.core.roles import Role
from accounts.models import AuditEntry, District, OutboxMessage, SftpAccount, User
from keys import propagation, services
from keys.core.restrictions import end_of_day
from keys.models import AccountKey, KeyFile, KeySet, LostKey
from keys.sets import By
from tests.factories import DistrictFactory, KeyFactory, SignInFactory, StaffFactory
from tests.rows import everything

from .samples import fingerprints, text


@pytest.fixture
def by(dana: User) -> By:
    return By(dana, "198.51.100.7")


@pytest.fixture
def key(account: SftpAccount, by: By) -> AccountKey:
    """The first of two keys that work."""
    services.keys_save(account, f"{text('ed25519')}\n{text('rsa3072')}", seen_version=1, by=by)
    return account.keys.get(algorithm="ssh-ed25519")


def _alone(key: AccountKey) -> AccountKey:
    key.account.keys.exclude(pk=key.pk).delete()
    return key


def _file(account: SftpAccount) -> KeyFile:
    return KeyFile.objects.get(account=account)


def _today(account: SftpAccount) -> date:
    return timezone.now().astimezone(ZoneInfo(account.district.time_zone)).date()


def _edit(key: AccountKey, by: By, **told: object) -> services.Edited:
    said = {"comment": key.comment, "expires_on": key.expires_on, "networks": " ".join(key.networks), **told}
    return services.key_edit(key, by=by, **said)


# --- Name and restrictions ---------------------------------------------------------------------------------------


def test_name_last_day_and_networks_are_values_and_told(key: AccountKey, by: By, dana: User) -> None:
    until = _today(key.account) + timedelta(days=30)
    old = key.comment
    edited = _edit(key, by, comment="  office \n laptop ", expires_on=until, networks="198.51.100.9/24, 2001:db8::/32")
    key.refresh_from_db()
    assert (key.comment, key.expires_on, key.networks) == (
        "office laptop",
        until,
        ["198.51.100.0/24", "2001:db8::/32"],
    )
    assert edited.notes
    made = edited.made
    assert (made.cause, made.actor, made.address, made.version) == ("restricted", dana, "198.51.100.7", 3)
    told = made.changed[0]["told"]
    for part in (old, str(until), "198.51.100.0/24, 2001:db8::/32"):
        assert part in told
    assert (_file(key.account).state, _file(key.account).version) == ("waiting", 3)
    entry = AuditEntry.objects.get(action="key or its restrictions changed")
    assert entry.details == {"changed": [key.fingerprint], "from": "198.51.100.7"}
    assert "198.51.100.0/24" in OutboxMessage.objects.filter(kind="keys-changed").first().text


def test_the_host_gets_them_in_the_line(key: AccountKey, by: By) -> None:
    until = _today(key.account) + timedelta(days=30)
    _edit(key, by, expires_on=until, networks="198.51.100.9/24")
    propagation.push_one(key.account_id)
    content = (django_settings.SFTP_ROOT / "keys" / key.account.username).read_bytes()
    ends = end_of_day(until, ZoneInfo(key.account.district.time_zone))
    options = f'restrict,from="198.51.100.0/24",expiry-time="{ends:%Y%m%d%H%M%S}Z" ssh-ed25519 '
    assert options.encode() in content
    assert len(fingerprints(content)) == 2


def test_an_edit_that_changes_nothing_writes_nothing(key: AccountKey, by: By) -> None:
    _edit(key, by, networks="198.51.100.0/24")
    key.refresh_from_db()
    before = everything()
    assert _edit(key, by, networks="198.51.100.77/24").made is None
    assert everything() == before


def test_restrictions_can_be_taken_away(key: AccountKey, by: By) -> None:
    _edit(key, by, networks="198.51.100.0/24", expires_on=_today(key.account))
    key.refresh_from_db()
    made = _edit(key, by, networks="", expires_on=None).made
    key.refresh_from_db()
    assert (key.networks, key.expires_on) == ([], None)
    assert made.changed[0]["told"] == "works until it is removed; works from any address"


REFUSED_DAYS = {
    "yesterday": (lambda today: today - timedelta(days=1), "date-past"),
    "the end of time": (lambda today: date(9999, 12, 31), "date-far"),
    "a slip of the year": (lambda today: date(2226, 6, 30), "date-far"),
}


@pytest.mark.parametrize(("day", "code"), REFUSED_DAYS.values(), ids=REFUSED_DAYS)
def test_a_day_that_cannot_be_meant_is_refused(key: AccountKey, by: By, day: Callable[[date], date], code: str) -> None:
    before = everything()
    with pytest.raises(services.FieldsRefused) as refused:
        _edit(key, by, expires_on=day(_today(key.account)))
    assert [problem.code for problem in refused.value.problems["expires_on"]] == [code]
    assert everything() == before


def test_a_key_past_its_last_day_can_still_be_given_a_name(key: AccountKey, by: By) -> None:
    AccountKey.objects.filter(pk=key.pk).update(expires_on=_today(key.account) - timedelta(days=9))
    key.refresh_from_db()
    assert _edit(key, by, comment="the old one").made is not None


def test_networks_that_cannot_be_read_are_refused(key: AccountKey, by: By) -> None:
    before = everything()
    with pytest.raises(services.FieldsRefused) as refused:
        _edit(key, by, networks="the office")
    assert set(refused.value.problems) == {"networks"}
    with pytest.raises(services.FieldsRefused):
        services.account_networks_set(key.account, "the office", by=by)
    assert everything() == before


def test_networks_of_a_key_and_of_its_account_must_overlap(key: AccountKey, by: By) -> None:
    services.account_networks_set(key.account, "198.51.100.0/24", by=by)
    with pytest.raises(services.FieldsRefused) as refused:
        _edit(key, by, networks="203.0.113.0/24")
    assert [problem.code for problem in refused.value.problems["networks"]] == ["networks-apart"]
    _edit(key, by, networks="198.51.100.64/26")
    with pytest.raises(services.FieldsRefused) as refused:
        services.account_networks_set(key.account, "203.0.113.0/24", by=by)
    (problem,) = refused.value.problems["networks"]
    assert problem.code == "networks-apart-from-keys"
    other = key.account.keys.exclude(pk=key.pk).get()
    assert (f"“{key.comment}”" in problem.message, f"“{other.comment}”" in problem.message) == (True, False)


def test_networks_of_the_account_hold_for_every_key_and_are_told(key: AccountKey, by: By) -> None:
    edited = services.account_networks_set(key.account, "198.51.100.7/24", by=by)
    assert _file(key.account).networks == ["198.51.100.0/24"]
    assert (edited.made.cause, edited.made.changed[0]["told"]) == (
        "networks",
        "all keys work from 198.51.100.0/24",
    )
    assert services.account_networks_set(key.account, "198.51.100.0/24", by=by).made is None
    propagation.push_one(key.account_id)
    content = (django_settings.SFTP_ROOT / "keys" / key.account.username).read_bytes()
    assert content.count(b'restrict,from="198.51.100.0/24" ') == 2
    assert "all keys work from 198.51.100.0/24" in OutboxMessage.objects.filter(kind="keys-changed").first().text


# --- Replaced ----------------------------------------------------------------------------------------------------


def test_a_replacement_stands_beside_the_old_key_with_its_networks_and_name(key: AccountKey, by: By) -> None:
    _edit(key, by, networks="198.51.100.0/24", comment="nightly job")
    key.refresh_from_db()
    made = services.key_replace(key, text("ecdsa256").rsplit(" ", 1)[0], days=7, by=by)
    new = key.account.keys.get(algorithm="ecdsa-sha2-nistp256")
    assert (new.replaces, new.retire_after, new.networks, new.comment) == (
        key,
        7,
        ["198.51.100.0/24"],
        "nightly job",
    )
    assert [row.algorithm for row in key.account.keys.all()] == ["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"]
    assert (made.cause, [fact["told"] for fact in made.added]) == ("replacing", ["in place of nightly job"])
    assert new.retires_old is None


def test_a_replacement_keeps_its_own_name_if_it_has_one(key: AccountKey, by: By) -> None:
    services.key_replace(key, text("ecdsa256"), days=7, by=by)
    assert key.account.keys.get(replaces=key).comment == text("ecdsa256").split(" ", 2)[2]


NOT_ONE = {
    "none": "",
    "two": f"{text('ecdsa256')}\n{text('ecdsa384')}",
    "itself": text("ed25519"),
    "another of the account": text("rsa3072"),
}


@pytest.mark.parametrize("pasted", NOT_ONE.values(), ids=NOT_ONE)
def test_a_replacement_is_exactly_one_new_key(key: AccountKey, by: By, pasted: str) -> None:
    before = everything()
    with pytest.raises(services.OneKeyWanted):
        services.key_replace(key, pasted, days=7, by=by)
    assert everything() == before


def test_a_replacement_that_is_no_good_key_is_refused(key: AccountKey, by: By) -> None:
    before = everything()
    for pasted in (text("rsa1024"), "hello", "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA"):
        with pytest.raises(services.PasteRefused):
            services.key_replace(key, pasted, days=7, by=by)
    assert everything() == before


def test_a_replacement_cannot_be_one_key_too_many(key: AccountKey, by: By) -> None:
    for number in range(48):
        line = f"ssh-ed25519 {number:044} row {number}"
        KeyFactory(account=key.account, line=line)
    with pytest.raises(services.PasteRefused) as refused:
        services.key_replace(key, text("ecdsa256"), days=7, by=by)
    assert [problem.code for problem in refused.value.paste.problems] == ["too-many-keys"]


def test_a_key_that_comes_after_one_was_removed_is_the_last_in_the_box(key: AccountKey, by: By) -> None:
    first, second = key.account.keys.all()
    services.key_remove(first, by=by)
    services.key_replace(second, text("ecdsa256"), days=7, by=by)
    assert [row.position for row in key.account.keys.all()] == [1, 2]


# --- Removed, lost -----------------------------------------------------------------------------------------------

ENDS = {"removed": services.key_remove, "lost": services.key_lost}


@pytest.mark.parametrize("cause", ENDS)
def test_one_key_goes_and_the_others_stay(key: AccountKey, by: By, dana: User, cause: str) -> None:
    made = ENDS[cause](key, by=by)
    assert [row.algorithm for row in key.account.keys.all()] == ["ssh-rsa"]
    assert (made.cause, made.actor, made.address) == (cause, dana, "198.51.100.7")
    assert made.removed[0]["fingerprint"] == key.fingerprint
    assert (_file(key.account).state, _file(key.account).version) == ("waiting", 3)
    entry = AuditEntry.objects.filter(action=made.get_cause_display().lower()).get()
    assert entry.details == {"removed": [key.fingerprint], "from": "198.51.100.7"}
    assert key.fingerprint in OutboxMessage.objects.filter(kind="keys-changed").first().text
    assert LostKey.objects.filter(fingerprint=key.fingerprint).exists() is (cause == "lost")


@pytest.mark.parametrize("cause", ENDS)
def test_the_only_key_that_works_goes_only_when_the_user_name_is_typed(key: AccountKey, by: By, cause: str) -> None:
    _alone(key)
    KeyFactory(account=key.account, line=text("rsa1024"), disabled=timezone.now())
    before = everything()
    for typed, tried in (("", False), ("yes", True)):
        with pytest.raises(services.ShutOut) as last:
            ENDS[cause](key, by=by, confirmed=typed)
        assert last.value.tried is tried
    assert everything() == before
    ENDS[cause](key, by=by, confirmed=key.account.username)
    assert not key.account.keys.filter(pk=key.pk).exists()


@pytest.mark.parametrize("cause", ENDS)
def test_a_key_that_does_not_work_goes_unasked(key: AccountKey, by: By, cause: str) -> None:
    AccountKey.objects.filter(pk=key.pk).update(disabled=timezone.now())
    ENDS[cause](_alone(key), by=by)
    assert key.account.keys.count() == 0


def test_a_key_that_is_no_longer_valid_can_be_removed(key: AccountKey, by: By) -> None:
    AccountKey.objects.filter(pk=key.pk).update(blob="not base64")
    key.refresh_from_db()
    made = services.key_remove(key, by=by)
    assert made.removed[0]["label"] == "ssh-ed25519"


def test_a_lost_key_is_never_taken_again_here_not_even_with_leave_of_staff(key: AccountKey, by: By) -> None:
    account = key.account
    services.key_lost(key, by=by)
    with pytest.raises(services.KeyElsewhere) as refused:
        services.keys_save(account, f"{text('rsa3072')}\n{text('ed25519')}", seen_version=3, by=by)
    assert [one.fingerprint for one in refused.value.lost] == [key.fingerprint]
    assert not account.shared_key_requests.exists()
    with pytest.raises(services.KeyElsewhere):
        services.key_replace(account.keys.get(), text("ed25519"), days=7, by=by)
    problem = services.refusal(refused.value.keys[0], 2, is_lost=True)
    assert (problem.code, problem.line) == ("key-lost", 2)


def test_a_key_that_was_only_removed_may_come_back(key: AccountKey, by: By) -> None:
    services.key_remove(key, by=by)
    services.keys_save(key.account, f"{text('rsa3072')}\n{text('ed25519')}", seen_version=3, by=by)
    assert key.account.keys.count() == 2


def test_staff_hear_where_else_a_lost_key_is_in_use_and_the_district_does_not(
    key: AccountKey, by: By, dana: User
) -> None:
    support = StaffFactory()
    open_one = KeyFactory(account=DistrictFactory(name="Oak Hill").sftp_account, line=text("ed25519"))
    closed = KeyFactory(account=DistrictFactory(name="Elm Grove").sftp_account, line=text("ed25519"))
    District.objects.filter(pk=closed.account.district_id).update(state="closed")
    services.key_lost(key, by=by)
    mail = OutboxMessage.objects.get(kind="shared-key-lost")
    assert mail.to == support.email
    assert ("Oak Hill" in mail.text, "Elm Grove" in mail.text) == (True, False)
    assert not any("Oak Hill" in row.text for row in OutboxMessage.objects.filter(to=dana.email))
    assert AccountKey.objects.filter(pk=open_one.pk).exists()


def test_a_lost_key_nobody_else_has_is_no_matter_of_staff(key: AccountKey, by: By) -> None:
    StaffFactory()
    services.key_lost(key, by=by)
    assert not OutboxMessage.objects.filter(kind="shared-key-lost").exists()


# --- For all of them ---------------------------------------------------------------------------------------------

CHANGES = {
    "edit": lambda key, by: _edit(key, by, comment="another"),
    "networks": lambda key, by: services.account_networks_set(key.account, "198.51.100.0/24", by=by),
    "replace": lambda key, by: services.key_replace(key, text("ecdsa256"), days=7, by=by),
    "remove": lambda key, by: services.key_remove(key, by=by),
    "lost": lambda key, by: services.key_lost(key, by=by),
}
OF_ONE_KEY = {name: change for name, change in CHANGES.items() if name != "networks"}
Change = Callable[[AccountKey, By], object]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_staff_change_nothing_without_a_reason(key: AccountKey, change: Change) -> None:
    staff = StaffFactory(staff_role=Role.SYSTEM_ADMINISTRATOR)
    before = everything()
    with pytest.raises(services.ReasonMissing):
        change(key, By(staff, "192.0.2.9", " "))
    assert everything() == before


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_district_reads_the_reason_of_staff(key: AccountKey, change: Change) -> None:
    change(key, By(StaffFactory(name="Sam Support"), "192.0.2.9", "Asked for in ticket 4711."))
    made = KeySet.objects.filter(account=key.account).first()
    assert (made.version, made.reason) == (3, "Asked for in ticket 4711.")
    mail = OutboxMessage.objects.filter(kind="keys-changed").first().text
    assert "Sam Support" in mail
    assert "Asked for in ticket 4711." in mail


@pytest.mark.parametrize("change", OF_ONE_KEY.values(), ids=OF_ONE_KEY)
def test_a_key_that_somebody_else_removed_meanwhile_is_gone(key: AccountKey, by: By, change: Change) -> None:
    services.key_remove(AccountKey.objects.get(pk=key.pk), by=by)
    before = everything()
    with pytest.raises(services.KeyGone):
        change(key, by)
    assert everything() == before


@pytest.mark.parametrize("change", OF_ONE_KEY.values(), ids=OF_ONE_KEY)
def test_a_change_of_one_key_makes_an_open_box_stale(key: AccountKey, by: By, change: Change) -> None:
    change(key, by)
    with pytest.raises(services.StaleSet):
        services.keys_save(key.account, text("ecdsa384"), seen_version=2, by=by)


def test_the_rows_keep_what_another_change_wrote_meanwhile(key: AccountKey, by: By) -> None:
    """The page of one key was opened before the other save: its own fields only are written."""
    until = datetime.now(tz=ZoneInfo(key.account.district.time_zone)).date() + timedelta(days=9)
    AccountKey.objects.filter(pk=key.pk).update(mark_code="rsa-too-short", position=7)
    services.key_edit(key, comment="another", expires_on=until, networks="", by=by)
    key.refresh_from_db()
    assert (key.mark_code, key.position, key.comment, key.expires_on) == ("rsa-too-short", 7, "another", until)


# --- Everybody shut out ------------------------------------------------------------------------------------------


def _came_from(account: SftpAccount, address: str, hours_ago: float = 1) -> None:
    at = timezone.now() - timedelta(hours=hours_ago)
    SignInFactory(username=account.username, fingerprint="SHA256:whatever", address=address, at=at)


def _signed_in(key: AccountKey) -> None:
    SignInFactory(username=key.account.username, fingerprint=key.fingerprint)


@pytest.mark.parametrize("cause", ENDS)
def test_the_only_key_that_has_signed_in_goes_only_when_the_user_name_is_typed(
    key: AccountKey, by: By, cause: str
) -> None:
    """Beside its unused replacement and another key nobody has used."""
    services.key_replace(key, text("ecdsa256"), days=7, by=by)
    _signed_in(key)
    before = everything()
    with pytest.raises(services.ShutOut) as told:
        ENDS[cause](key, by=by)
    assert "No key that has ever signed in" in told.value.sentence
    assert everything() == before
    ENDS[cause](key, by=by, confirmed=key.account.username)
    assert key.account.keys.count() == 2


def test_a_key_whose_replacement_has_signed_in_goes_unasked(key: AccountKey, by: By) -> None:
    services.key_replace(key, text("ecdsa256"), days=7, by=by)
    for one in (key, key.account.keys.get(replaces=key)):
        _signed_in(one)
    services.key_remove(key, by=by)
    assert key.account.keys.count() == 2


def test_the_only_key_that_has_signed_in_does_not_end_today_unasked(key: AccountKey, by: By) -> None:
    _signed_in(key)
    with pytest.raises(services.ShutOut):
        _edit(key, by, expires_on=_today(key.account))
    _edit(key, by, expires_on=_today(key.account) + timedelta(days=1))


def _edited_to(**told: object) -> Callable[[AccountKey, By, str], object]:
    return lambda key, by, typed: _edit(key, by, confirmed=typed, **told)


def _ends_today(key: AccountKey, by: By, typed: str) -> object:
    return _edit(key, by, confirmed=typed, expires_on=_today(key.account))


def _whole_networks(key: AccountKey, by: By, typed: str) -> object:
    return services.account_networks_set(key.account, "8.8.4.0/24", by=by, confirmed=typed)


SHUTTING_OUT = {
    "the only key ends today": (_ends_today, "No key would work after today"),
    "its networks leave out whoever signed in": (_edited_to(networks="8.8.4.0/24"), "came from 8.8.8.8"),
    "the account's networks do": (_whole_networks, "came from 8.8.8.8"),
}


@pytest.mark.parametrize(("change", "said"), SHUTTING_OUT.values(), ids=SHUTTING_OUT)
def test_what_would_shut_everybody_out_is_done_only_when_the_user_name_is_typed(
    key: AccountKey, by: By, change: Callable[[AccountKey, By, str], object], said: str
) -> None:
    _came_from(_alone(key).account, "::ffff:8.8.8.8")
    before = everything()
    for typed, tried in (("", False), ("yes", True)):
        with pytest.raises(services.ShutOut) as told:
            change(key, by, typed)
        assert told.value.tried is tried
        assert said in told.value.sentence.replace("::ffff:", "")
    assert everything() == before
    change(key, by, key.account.username.upper())
    assert _file(key.account).version == 3


def test_a_restriction_of_one_key_is_not_asked_about_while_another_lets_people_in(key: AccountKey, by: By) -> None:
    _came_from(key.account, "8.8.8.8")
    _edit(key, by, networks="8.8.4.0/24")
    _edit(key, by, networks="8.8.4.0/24", expires_on=_today(key.account))
    with pytest.raises(services.ShutOut):
        services.key_remove(key.account.keys.exclude(pk=key.pk).get(), by=by)


def test_whoever_signed_in_from_within_the_networks_keeps_them_from_being_asked_about(key: AccountKey, by: By) -> None:
    _came_from(key.account, "8.8.8.8", hours_ago=1)
    _came_from(key.account, "8.8.4.4", hours_ago=2)
    _came_from(key.account, "not an address", hours_ago=3)
    edited = services.account_networks_set(key.account, "8.8.4.0/24", by=by)
    assert [note.code for note in edited.notes] == ["sign-in-left-out"]
    assert "8.8.8.8" in edited.notes[0].message
    # Who was shut out before is no reason to ask.
    assert services.account_networks_set(key.account, "8.8.4.0/25", by=by).notes == ()


def test_a_restriction_before_the_first_sign_in_is_not_asked_about(key: AccountKey, by: By) -> None:
    edited = _edit(_alone(key), by, networks="8.8.4.0/24", expires_on=_today(key.account) + timedelta(days=1))
    assert (edited.made is not None, edited.notes) == (True, ())


def test_a_replacement_shuts_nobody_out_since_both_keys_work(key: AccountKey, by: By) -> None:
    _came_from(_alone(key).account, "8.8.8.8")
    _edit(key, by, networks="8.8.4.0/24", confirmed=key.account.username)
    services.key_replace(key, text("ecdsa256"), days=1, by=by)
    assert key.account.keys.count() == 2
