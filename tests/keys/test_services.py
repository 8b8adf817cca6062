"""Saving keys: all or nothing, never the pasted text, never over somebody else's change."""

import base64
import random
import re
from datetime import timedelta

import gmpy2
import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from accounts.core.roles import Role
from accounts.models import AuditEntry, OutboxMessage, SftpAccount, User
from keys import services
from keys.models import AccountKey, KeyFile, PropagationRun
from keys.selectors import HOURLY_TASK, box_text
from keys.sets import By
from portal.schedules import schedules_sync
from tests.factories import DistrictFactory, KeyFactory, MembershipFactory, SignInFactory, StaffFactory
from tests.rows import everything

from .samples import rsa_blob, text, words

PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"


def _save(account: SftpAccount, pasted: str, version: int | None = None, **told: str) -> services.Difference:
    seen = KeyFile.objects.get(account=account).version if version is None else version
    return services.keys_save(account, pasted, seen_version=seen, by=By(User.objects.first()), **told)[0]


def _file(account: SftpAccount) -> KeyFile:
    return KeyFile.objects.get(account=account)


def test_a_save_replaces_the_whole_set(account: SftpAccount) -> None:
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}\n")
    difference = _save(account, f"{text('ecdsa256')}\n{text('ed25519')}\n")
    assert [key.algorithm for key in difference.added] == ["ecdsa-sha2-nistp256"]
    assert [fact.label for fact in difference.removed] == ["RSA 3072"]
    assert [key.algorithm for key in difference.kept] == ["ssh-ed25519"]
    assert list(account.keys.values_list("algorithm", flat=True)) == ["ecdsa-sha2-nistp256", "ssh-ed25519"]


def test_a_kept_key_keeps_who_added_it_and_when(account: SftpAccount, dana: User) -> None:
    _save(account, text("ed25519"))
    first = account.keys.get()
    by = By(StaffFactory(), "198.51.100.7", "asked for by telephone")
    services.keys_save(account, f"{text('rsa3072')}\n{text('ed25519')}", seen_version=2, by=by)
    kept = account.keys.get(algorithm="ssh-ed25519")
    assert (kept.pk, kept.added, kept.added_by, kept.position) == (first.pk, first.added, dana, 1)


def test_a_save_marks_the_account_as_waiting_and_is_in_the_audit_log(account: SftpAccount, dana: User) -> None:
    KeyFile.objects.update(state="failed", tries=3, code="host-down", reason="x")
    _save(account, text("ed25519"))
    file = _file(account)
    assert (file.state, file.version, file.tries, file.code, file.reason) == ("waiting", 2, 0, "", "")
    entry = AuditEntry.objects.get(action="keys saved")
    assert (entry.actor, entry.district, entry.subject) == (dana.email, account.district.slug, account.username)
    assert entry.details == {"added": [account.keys.get().fingerprint]}


def test_each_save_is_a_set_with_a_token_of_its_own_and_what_changed(account: SftpAccount, dana: User) -> None:
    by = By(dana, "198.51.100.7")
    services.keys_save(account, f"{text('ed25519')}\n{text('rsa3072')}", seen_version=1, by=by)
    old, gone = account.keys.all()
    named = " ".join([*text("ed25519").split(" ")[:2], "another name"])
    services.keys_save(account, f"{named}\n{text('ecdsa256')}", seen_version=2, by=by)
    made, before, first = account.key_sets.all()
    assert [one.version for one in (made, before, first)] == [3, 2, 1]
    assert len({one.token for one in (made, before, first)}) == 3
    assert (made.cause, made.actor, made.address, made.reason) == ("saved", dana, "198.51.100.7", "")
    assert [fact["label"] for fact in made.added] == ["ECDSA P-256"]
    assert [fact["fingerprint"] for fact in made.removed] == [gone.fingerprint]
    assert [(fact["fingerprint"], fact["comment"], fact["told"]) for fact in made.changed] == [
        (old.fingerprint, "another name", f"it was called {old.comment}")
    ]
    assert (first.cause, first.is_by_people) == ("account", False)


def test_every_administrator_is_told_and_nobody_else(account: SftpAccount, dana: User) -> None:
    second = MembershipFactory(district=account.district).user
    MembershipFactory(district=account.district, role=Role.DISTRICT_VIEWER)
    MembershipFactory()
    gone = MembershipFactory(district=account.district).user
    User.objects.filter(pk=gone.pk).update(is_active=False)
    StaffFactory()
    _save(account, text("ed25519"))
    told = OutboxMessage.objects.filter(kind="keys-changed")
    assert set(told.values_list("to", flat=True)) == {dana.email, second.email}
    assert account.keys.get().fingerprint in told.first().text


def test_a_save_that_changes_nothing_writes_nothing(account: SftpAccount) -> None:
    _save(account, text("ed25519"))
    before = everything()
    assert _save(account, f"\n{text('ed25519')}\n\n").is_empty
    assert everything() == before


def test_a_new_comment_alone_is_a_change_of_the_file(account: SftpAccount) -> None:
    _save(account, text("ed25519"))
    named = " ".join([*text("ed25519").split(" ")[:2], "another name"])
    _save(account, named)
    assert (_file(account).version, account.keys.get().comment) == (3, "another name")
    difference = _save(account, " ".join([*text("ed25519").split(" ")[:2], "a third"]))
    assert [key.comment for key in difference.renamed] == ["a third"]
    assert not difference.is_empty


def test_an_empty_box_takes_every_key_away_once_that_is_confirmed(account: SftpAccount) -> None:
    _save(account, text("ed25519"))
    before = everything()
    for typed, tried in (("", False), ("yes", True), (account.district.name, True)):
        with pytest.raises(services.ShutOut) as last:
            _save(account, "", confirmed=typed)
        assert last.value.tried is tried
    assert everything() == before
    _save(account, "", confirmed=f" {account.username.upper()} ")
    assert (account.keys.count(), _file(account).version) == (0, 3)


UNUSABLE = {
    "disabled": {"disabled": timezone.now()},
    "past its last day": {"expires_on": timezone.now().date() - timedelta(days=3)},
}


@pytest.mark.parametrize("told", UNUSABLE.values(), ids=UNUSABLE)
def test_a_key_that_does_not_work_is_no_reason_not_to_ask(account: SftpAccount, told: dict[str, object]) -> None:
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    AccountKey.objects.filter(algorithm="ssh-rsa").update(**told)
    with pytest.raises(services.ShutOut):
        _save(account, text("rsa3072"))
    # Where none works any more there is nothing to lose.
    AccountKey.objects.update(**told)
    _save(account, "")
    assert account.keys.count() == 0


def test_another_key_in_the_place_of_the_only_one_that_has_signed_in_must_be_confirmed(account: SftpAccount) -> None:
    _save(account, f"{text('ed25519')}\n{text('ecdsa256')}")
    used = account.keys.get(algorithm="ssh-ed25519")
    SignInFactory(username=account.username, fingerprint=used.fingerprint)
    before = everything()
    for pasted in (text("rsa3072"), text("ecdsa256")):
        with pytest.raises(services.ShutOut) as told:
            _save(account, pasted)
        assert "No key that has ever signed in" in told.value.sentence
    assert everything() == before
    _save(account, text("rsa3072"), confirmed=account.username)
    assert [key.algorithm for key in account.keys.all()] == ["ssh-rsa"]


@pytest.mark.parametrize("told", [{"accepted": False}, {"username": "another.k12.oh.us"}, {"fingerprint": "SHA256:x"}])
def test_a_key_that_never_signed_in_is_exchanged_unasked(account: SftpAccount, told: dict[str, object]) -> None:
    _save(account, text("ed25519"))
    key = account.keys.get()
    SignInFactory(**{"username": account.username, "fingerprint": key.fingerprint, **told})
    _save(account, text("rsa3072"))
    assert [key.algorithm for key in account.keys.all()] == ["ssh-rsa"]


def test_what_is_known_of_a_key_stays_through_a_save_that_leaves_its_line(account: SftpAccount, dana: User) -> None:
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    until = services.today_in(account.district) + timedelta(days=90)
    by = By(dana)
    key, old = account.keys.all()
    services.key_edit(key, comment="laptop", expires_on=until, networks="198.51.100.0/24", by=by)
    AccountKey.objects.filter(pk=key.pk).update(replaces=old, retire_after=7, marked=timezone.now(), mark_code="x")
    kept = ("pk", "networks", "expires_on", "replaces", "retire_after", "marked", "mark_code", "added", "added_by")
    before = account.keys.values(*kept).get(pk=key.pk)
    _save(account, f"{text('ecdsa256')}\n{box_text(account)}")
    # Another name is another line, but the same key.
    _save(account, box_text(account).replace("laptop", "desk"))
    assert account.keys.values(*kept).get(comment="desk") == before


def test_a_disabled_key_is_not_put_in_again_by_taking_it_out(account: SftpAccount) -> None:
    KeyFactory(account=account, line=text("rsa1024"), disabled=timezone.now())
    _save(account, f"{box_text(account)}{text('ed25519')}")
    assert account.keys.get(algorithm="ssh-rsa").disabled is not None
    _save(account, text("ed25519"))
    with pytest.raises(services.PasteRefused):
        _save(account, f"{text('ed25519')}\n{text('rsa1024')}")


REFUSED = {
    "short rsa": text("rsa1024"),
    "dsa": text("dsa"),
    "a private key": PRIVATE,
    "words": "hello",
    "an option": f'command="id" {text("ed25519")}',
    "one good, one bad": f"{text('ed25519')}\n{text('rsa1024')}",
}


@pytest.mark.parametrize("pasted", REFUSED.values(), ids=REFUSED)
def test_nothing_is_stored_of_a_refused_paste(account: SftpAccount, pasted: str) -> None:
    _save(account, text("rsa3072"))
    before = everything()
    with pytest.raises(services.PasteRefused) as refused:
        _save(account, pasted)
    assert refused.value.paste.problems
    assert everything() == before


def test_the_pasted_text_is_nowhere_in_the_database(account: SftpAccount) -> None:
    marked = f"   {text('ed25519').rstrip()}-Marked\u00a0by   hand \r\n"
    _save(account, marked + "# a remark that is nobody's key\r\n")
    stored = str(everything())
    assert "remark" not in stored
    assert marked.strip() not in stored
    assert "\\r\\n" not in stored
    key = account.keys.get()
    assert key.blob == words("ed25519")["base64"]
    assert re.fullmatch(r"[^\s]+( [^\s]+)*", key.comment)


def test_the_box_gives_back_a_set_that_is_the_same(account: SftpAccount) -> None:
    _save(account, "\n".join(text(name) for name in ("ed25519", "rsa3072", "ecdsa521", "sk_ed25519")))
    version = _file(account).version
    assert _save(account, box_text(account)).is_empty
    assert _file(account).version == version


def test_a_save_from_a_page_of_before_is_refused_with_the_difference(account: SftpAccount) -> None:
    _save(account, text("ed25519"), version=1)
    before = everything()
    with pytest.raises(services.StaleSet) as stale:
        _save(account, text("rsa3072"), version=1)
    assert stale.value.version == 2
    assert [fact.label for fact in stale.value.difference.removed] == ["ED25519"]
    assert everything() == before


def test_a_key_that_is_pasted_twice_is_stored_once(account: SftpAccount) -> None:
    _save(account, f"{text('ed25519')}\n{text('ed25519')}")
    assert [key.position for key in account.keys.all()] == [0]


# --- Staff -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [Role.SUPPORT, Role.OPS, Role.SYSTEM_ADMINISTRATOR])
@pytest.mark.parametrize("reason", ["", "  \n"])
def test_staff_save_nothing_without_a_reason(account: SftpAccount, role: Role, reason: str) -> None:
    by = By(StaffFactory(staff_role=role), "198.51.100.7", reason)
    before = everything()
    with pytest.raises(services.ReasonMissing):
        services.keys_save(account, text("ed25519"), seen_version=1, by=by)
    assert everything() == before


def test_the_reason_of_staff_is_in_history_audit_log_and_mail(account: SftpAccount) -> None:
    sam = StaffFactory(name="Sam Support")
    services.keys_save(account, text("ed25519"), seen_version=1, by=By(sam, "192.0.2.9", "Asked for in ticket 4711."))
    made = account.key_sets.first()
    assert (made.actor, made.address, made.reason) == (sam, "192.0.2.9", "Asked for in ticket 4711.")
    details = AuditEntry.objects.get(action="keys saved").details
    assert (details["from"], details["reason"]) == ("192.0.2.9", "Asked for in ticket 4711.")
    mail = OutboxMessage.objects.get(kind="keys-changed").text
    for told in ("Sam Support", "192.0.2.9", "Asked for in ticket 4711."):
        assert told in mail


def test_a_reason_of_any_length_is_kept_as_far_as_there_is_room(account: SftpAccount) -> None:
    services.keys_save(account, text("ed25519"), seen_version=1, by=By(StaffFactory(), "192.0.2.9", "x" * 5000))
    assert account.key_sets.first().reason == "x" * 400


# --- An older set is kept ----------------------------------------------------------------------------------------


def test_an_older_set_is_kept_only_where_there_is_a_newer_one(account: SftpAccount) -> None:
    ops = StaffFactory(staff_role=Role.OPS)
    before = everything()
    with pytest.raises(services.NothingToSettle):
        services.older_set_keep(account, seen="ab" * 8, by=By(ops, reason="restored"))
    assert everything() == before


def test_an_older_set_that_is_kept_is_newer_than_what_the_host_has(account: SftpAccount) -> None:
    _save(account, text("ed25519"))
    KeyFile.objects.update(found={"version": 9, "token": "ab" * 8, "fingerprints": []}, state="failed")
    ops = StaffFactory(staff_role=Role.OPS)
    made = services.older_set_keep(account, seen="ab" * 8, by=By(ops, "192.0.2.9", "Backup of Friday restored."))
    file = _file(account)
    assert (file.version, file.found, file.forgiven_tokens, file.state) == (10, None, "ab" * 8, "waiting")
    assert (made.version, made.cause, made.actor, made.reason) == (10, "settled", ops, "Backup of Friday restored.")
    assert "An older list of keys was kept" in OutboxMessage.objects.filter(kind="keys-changed").first().text
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    assert _file(account).version == 11


def test_who_has_seen_another_set_decides_nothing(account: SftpAccount) -> None:
    """The page was sent twice, and meanwhile another set was found under another name of the account."""
    KeyFile.objects.update(found={"version": 9, "token": "cd" * 8, "fingerprints": []})
    by = By(StaffFactory(staff_role=Role.OPS), "192.0.2.9", "Agreed.")
    before = everything()
    with pytest.raises(services.NothingToSettle):
        services.older_set_keep(account, seen="ab" * 8, by=by)
    assert everything() == before


def test_an_older_set_is_kept_only_with_a_reason(account: SftpAccount) -> None:
    KeyFile.objects.update(found={"version": 9, "token": "ab" * 8, "fingerprints": []})
    with pytest.raises(services.ReasonMissing):
        services.older_set_keep(account, seen="ab" * 8, by=By(StaffFactory(staff_role=Role.OPS), "192.0.2.9", " "))
    assert _file(account).found


# --- Runs --------------------------------------------------------------------------------------------------------


def test_a_run_that_waits_serves_everybody_who_asks(account: SftpAccount) -> None:
    first = services.run_want(PropagationRun.Cause.NOW, actor=User.objects.first())
    assert services.run_want(PropagationRun.Cause.NOW, actor=User.objects.first()) == first
    PropagationRun.objects.update(state="running")
    assert services.run_want(PropagationRun.Cause.NOW, actor=User.objects.first()) != first
    assert AuditEntry.objects.filter(action="propagation asked for").count() == 2


# --- The schedule ------------------------------------------------------------------------------------------------


def _hourly() -> PeriodicTask:
    return PeriodicTask.objects.get(task=HOURLY_TASK)


@pytest.mark.parametrize("minutes", services.HOURLY_CHOICES)
def test_the_run_over_all_accounts_can_come_more_often(account: SftpAccount, minutes: int) -> None:
    services.hourly_set(minutes, actor=User.objects.first())
    assert len(_hourly().crontab.schedule.minute) == 60 // minutes
    schedules_sync()
    assert len(_hourly().crontab.schedule.minute) == 60 // minutes


@pytest.mark.parametrize("minutes", [0, -5, 7, 61, 120])
def test_no_other_length_is_taken(account: SftpAccount, minutes: int) -> None:
    with pytest.raises(ValueError, match="60 minutes"):
        services.hourly_set(minutes, actor=User.objects.first())
    assert _hourly().crontab.minute == "0"


def _crontab(**told: str) -> CrontabSchedule:
    return CrontabSchedule.objects.create(**{"minute": "0", "hour": "*", **told})


SLOWER = {
    "switched off": lambda row: setattr(row, "enabled", False),
    "once": lambda row: setattr(row, "one_off", True),
    "every other hour": lambda row: setattr(row, "crontab", _crontab(hour="*/2")),
    "by day": lambda row: setattr(row, "crontab", _crontab(hour="8-17")),
    "on weekdays": lambda row: setattr(row, "crontab", _crontab(day_of_week="1-5")),
    "until a day": lambda row: setattr(row, "expires", row.date_changed),
    "from a day on": lambda row: setattr(row, "start_time", row.date_changed),
    "without a clock": lambda row: setattr(row, "crontab", None),
    "another task": lambda row: setattr(row, "task", "keys.sweep"),
    "to a queue nobody reads": lambda row: setattr(row, "queue", "nowhere"),
    "with arguments it does not take": lambda row: setattr(row, "args", "[1]"),
    "as good as expired": lambda row: setattr(row, "expire_seconds", 1),
    "as if done days ahead": lambda row: setattr(row, "last_run_at", row.date_changed + timedelta(days=3)),
    "in a zone half an hour aside": lambda row: setattr(row, "crontab", _crontab(timezone="Asia/Kolkata")),
    "under another name": lambda row: setattr(row, "name", "mine"),
}


@pytest.mark.parametrize("slow", SLOWER.values(), ids=SLOWER)
def test_the_run_over_all_accounts_cannot_be_slowed(account: SftpAccount, slow: object) -> None:
    row = _hourly()
    slow(row)
    if row.crontab is None:
        row.interval = IntervalSchedule.objects.create(every=2, period="hours")
    with pytest.raises(ValidationError):
        row.save()
    assert (_hourly().enabled, _hourly().crontab.hour) == (True, "*")


def test_nor_can_its_clock_be_changed_under_it(account: SftpAccount) -> None:
    crontab = _hourly().crontab
    crontab.hour = "3"
    with pytest.raises(ValidationError):
        crontab.save()
    CrontabSchedule.objects.filter(pk=crontab.pk).get().save()


def test_what_was_broken_by_hand_is_whole_at_the_next_start(account: SftpAccount) -> None:
    PeriodicTask.objects.filter(task=HOURLY_TASK).update(enabled=False, queue="nowhere", args="[1]")
    schedules_sync()
    row = _hourly()
    assert (row.enabled, row.queue, row.args, row.crontab.hour) == (True, None, "[]", "*")


def test_nor_can_it_be_deleted(account: SftpAccount) -> None:
    with pytest.raises(ValidationError), transaction.atomic():
        _hourly().delete()
    with pytest.raises(ValidationError), transaction.atomic():
        _hourly().crontab.delete()
    assert _hourly()


def test_every_schedule_is_in_the_table_once_however_often_we_start(account: SftpAccount) -> None:
    before = sorted(PeriodicTask.objects.values_list("name", flat=True))
    PeriodicTask.objects.filter(name="keys: sweep").update(enabled=False)
    schedules_sync()
    assert sorted(PeriodicTask.objects.values_list("name", flat=True)) == before
    assert PeriodicTask.objects.get(name="keys: sweep").enabled


# --- Primes in common with keys of others ------------------------------------------------------------------------


@pytest.fixture
def primes() -> list[int]:
    chance = random.Random(20261122)
    return [int(gmpy2.next_prime(chance.getrandbits(1024) | 3 << 1022)) for _ in range(5)]


def _rsa(one: int, other: int, exponent: int = 65537) -> str:
    return f"ssh-rsa {base64.b64encode(rsa_blob(exponent, one * other)).decode()} of a test"


def _codes(account: SftpAccount, pasted: str) -> list[str]:
    with pytest.raises(services.PasteRefused) as refused:
        _save(account, pasted)
    return [problem.code for problem in refused.value.paste.problems]


def test_an_rsa_key_that_shares_a_prime_with_a_stored_one_is_refused_at_once(
    account: SftpAccount, primes: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    one, two, three, four, five = primes
    other = DistrictFactory().sftp_account
    _save(account, _rsa(four, five))
    stored = KeyFactory(account=other, line=_rsa(one, two))
    before = everything()
    assert _codes(account, f"{_rsa(four, five)}\n{_rsa(one, three)}") == ["weak-shared-primes"]
    assert everything() == before
    assert str([stored.pk]) in caplog.text
    assert all(str(prime) not in caplog.text for prime in primes)
    # What was stored with it does not count for ever.
    stored.delete()
    _save(account, _rsa(one, three))
    assert account.keys.count() == 1


def test_the_modulus_of_a_stored_key_is_refused_with_another_exponent(account: SftpAccount, primes: list[int]) -> None:
    KeyFactory(account=DistrictFactory().sftp_account, line=_rsa(*primes[:2]))
    assert _codes(account, _rsa(*primes[:2], exponent=3)) == ["weak-shared-primes"]


def test_the_very_key_of_another_district_shares_nothing_but_itself(account: SftpAccount, primes: list[int]) -> None:
    for _ in range(2):
        KeyFactory(account=DistrictFactory().sftp_account, line=_rsa(*primes[:2]))
    with pytest.raises(services.KeyElsewhere):
        _save(account, _rsa(*primes[:2]))


def test_a_stored_key_that_is_none_is_passed_over(account: SftpAccount, primes: list[int]) -> None:
    KeyFactory(account=DistrictFactory().sftp_account, line="ssh-rsa AAAA")
    _save(account, _rsa(*primes[:2]))
    assert account.keys.count() == 1
