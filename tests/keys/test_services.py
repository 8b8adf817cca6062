"""Saving keys: all or nothing, never the pasted text, never over somebody else's change."""

import re
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from accounts.models import AuditEntry, SftpAccount, User
from keys import services
from keys.models import AccountKey, KeyFile, PropagationRun
from keys.selectors import HOURLY_TASK, box_text
from portal.schedules import schedules_sync
from tests.factories import DistrictFactory, StaffFactory
from tests.rows import everything

from .samples import text, words

PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"


def _save(account: SftpAccount, pasted: str, version: int | None = None) -> services.Difference:
    seen = KeyFile.objects.get(account=account).version if version is None else version
    return services.keys_save(account, pasted, seen_version=seen, actor=User.objects.first())[0]


def _file(account: SftpAccount) -> KeyFile:
    return KeyFile.objects.get(account=account)


def test_a_save_replaces_the_whole_set(account: SftpAccount) -> None:
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}\n")
    difference = _save(account, f"{text('ecdsa256')}\n{text('ed25519')}\n")
    assert [key.algorithm for key in difference.added] == ["ecdsa-sha2-nistp256"]
    assert [key.algorithm for key in difference.removed] == ["ssh-rsa"]
    assert [key.algorithm for key in difference.kept] == ["ssh-ed25519"]
    assert list(account.keys.values_list("algorithm", flat=True)) == ["ecdsa-sha2-nistp256", "ssh-ed25519"]


def test_a_kept_key_keeps_who_added_it_and_when(account: SftpAccount, dana: User) -> None:
    _save(account, text("ed25519"))
    first = account.keys.get()
    services.keys_save(account, f"{text('rsa3072')}\n{text('ed25519')}", seen_version=2, actor=StaffFactory())
    kept = account.keys.get(algorithm="ssh-ed25519")
    assert (kept.pk, kept.added, kept.added_by, kept.position) == (first.pk, first.added, dana, 1)


def test_a_save_marks_the_account_as_waiting_and_is_in_the_audit_log(account: SftpAccount, dana: User) -> None:
    KeyFile.objects.update(state="failed", tries=3, code="host-down", reason="x")
    _save(account, text("ed25519"))
    file = _file(account)
    assert (file.state, file.version, file.tries, file.code, file.reason) == ("waiting", 2, 0, "", "")
    entry = AuditEntry.objects.get(action="keys saved")
    assert (entry.actor, entry.district, entry.subject) == (dana.email, account.district.slug, account.username)
    assert entry.details == {"added": [account.keys.get().fingerprint], "removed": [], "kept": 0}


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


def test_an_empty_box_takes_every_key_away(account: SftpAccount) -> None:
    _save(account, text("ed25519"))
    _save(account, "")
    assert (account.keys.count(), _file(account).version) == (0, 3)


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
    assert [key.algorithm for key in stale.value.difference.removed] == ["ssh-ed25519"]
    assert everything() == before


def test_a_key_that_is_pasted_twice_is_stored_once_and_another_district_may_have_it_too(account: SftpAccount) -> None:
    _save(account, f"{text('ed25519')}\n{text('ed25519')}")
    _save(DistrictFactory().sftp_account, text("ed25519"))
    assert sorted(AccountKey.objects.values_list("account__keys__position", flat=True)) == [0, 0]


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
