"""The audit log: appended to, never changed, and when somebody does behind our back, it shows."""

import json
import logging
from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts import audit
from accounts.core.chain import START, Head, read_head
from accounts.core.roles import Role
from accounts.models import AppendOnlyError, AuditEntry, AuditHead, OutboxMessage
from portal.tasks import tell_audit_head
from tests.factories import DistrictFactory, PersonFactory, StaffFactory


@pytest.fixture
def log(db: None) -> list[AuditEntry]:
    """Five entries."""
    return [audit.record(f"act {n}", subject="Ünïcode 🗝", details={"n": n, "list": [1.5, None]}) for n in range(5)]


def _behind_our_back(statement: str, *values: object) -> None:
    """Changes the table as somebody with the database's own password could."""
    with connection.cursor() as cursor:
        for verb in ("update", "delete"):
            cursor.execute(f"DROP TRIGGER IF EXISTS audit_entry_no_{verb}")
        cursor.execute(statement, values)


def test_a_whole_log_has_no_break(log: list[AuditEntry]) -> None:
    assert audit.broken_at() is None
    assert [entry.number for entry in AuditEntry.objects.order_by("number")] == [1, 2, 3, 4, 5]


def test_an_empty_log_has_no_break(db: None) -> None:
    assert audit.broken_at() is None


CHANGES = {
    "an action": ("UPDATE accounts_auditentry SET action = 'x' WHERE number = 3", 3),
    "an actor": ("UPDATE accounts_auditentry SET actor = 'x' WHERE number = 3", 3),
    "a time": ("UPDATE accounts_auditentry SET at = '2020-01-01 00:00:00' WHERE number = 3", 3),
    "a district": ("UPDATE accounts_auditentry SET district = 'x' WHERE number = 3", 3),
    "a subject": ("UPDATE accounts_auditentry SET subject = 'x' WHERE number = 3", 3),
    "a detail": ("UPDATE accounts_auditentry SET details = '{\"n\": 9}' WHERE number = 3", 3),
    "a digest": ("UPDATE accounts_auditentry SET digest = 'x' WHERE number = 3", 3),
    "the last digest": ("UPDATE accounts_auditentry SET digest = 'x' WHERE number = 5", 5),
    "a gap": ("DELETE FROM accounts_auditentry WHERE number = 3", 3),
    "the first": ("DELETE FROM accounts_auditentry WHERE number = 1", 1),
    "the tail": ("DELETE FROM accounts_auditentry WHERE number > 3", 4),
    "everything": ("DELETE FROM accounts_auditentry", 1),
    "a gap closed up": ("UPDATE accounts_auditentry SET number = number + 10 WHERE number = 3", 3),
}


@pytest.mark.parametrize(("statement", "at"), CHANGES.values(), ids=CHANGES)
def test_what_was_changed_behind_our_back_is_found(log: list[AuditEntry], statement: str, at: int) -> None:
    _behind_our_back(statement)
    assert audit.broken_at() == at


@pytest.mark.parametrize("head", ["DELETE FROM accounts_audithead", "UPDATE accounts_audithead SET digest = 'x'"])
def test_a_head_that_was_taken_away_or_changed_is_found(log: list[AuditEntry], head: str) -> None:
    _behind_our_back(head)
    assert audit.broken_at() is not None


def test_a_last_entry_that_was_forged_with_its_digest_is_found_by_the_head(log: list[AuditEntry]) -> None:
    last = AuditEntry.objects.get(number=5)
    last.action = "forged"
    forged = audit.digest(AuditEntry.objects.get(number=4).digest, audit.link(last))
    _behind_our_back("UPDATE accounts_auditentry SET action = 'forged', digest = %s WHERE number = 5", forged)
    assert audit.broken_at() == 5


@pytest.mark.parametrize("what", ["update", "delete", "save", "remove"])
def test_neither_we_nor_the_database_change_an_entry(log: list[AuditEntry], what: str) -> None:
    entry = AuditEntry.objects.get(number=3)
    attempts = {
        "update": lambda: AuditEntry.objects.filter(number=3).update(action="x"),
        "delete": lambda: AuditEntry.objects.filter(number=3).delete(),
        "save": entry.save,
        "remove": entry.delete,
    }
    with pytest.raises((DatabaseError, AppendOnlyError)), transaction.atomic():
        attempts[what]()
    assert AuditEntry.objects.count() == 5
    assert audit.broken_at() is None


def test_an_entry_of_a_transaction_that_fails_was_never_there(log: list[AuditEntry]) -> None:
    with transaction.atomic():
        audit.record("never")
        transaction.set_rollback(True)
    audit.record("after")
    assert (AuditEntry.objects.count(), AuditHead.objects.get().number, audit.broken_at()) == (6, 6, None)


def test_an_entry_outlives_what_it_speaks_of(db: None) -> None:
    person, district = PersonFactory(), DistrictFactory()
    entry = audit.record("looked", actor=person, district=district, subject="s" * 400)
    address = person.email
    person.delete()
    entry.refresh_from_db()
    assert (entry.actor, entry.district, len(entry.subject)) == (address, district.slug, 254)
    assert audit.broken_at() is None


def test_a_page_reads_what_came_since_the_log_was_read_through(log: list[AuditEntry]) -> None:
    assert audit.broken_lately() == (None, None)
    audit.prove()
    audit.record("since")
    broken_at, proved_at = audit.broken_lately()
    assert broken_at is None
    assert proved_at is not None
    with CaptureQueriesContext(connection) as queries:
        audit.broken_lately()
    read = next(one["sql"] for one in queries if "ORDER BY" in one["sql"] and "accounts_auditentry" in one["sql"])
    assert "> 5" in read


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts_auditentry SET action = 'forged' WHERE number = 6",
        "UPDATE accounts_auditentry SET digest = 'x' WHERE number = 5",
        "DELETE FROM accounts_auditentry WHERE number IN (5, 6)",
        "UPDATE accounts_audithead SET number = 5",
        "DELETE FROM accounts_audithead",
    ],
)
def test_what_was_changed_since_is_found_there_too(log: list[AuditEntry], statement: str) -> None:
    audit.prove()
    audit.record("since")
    _behind_our_back(statement)
    assert audit.broken_lately()[0] is not None


def test_a_log_that_is_found_broken_is_shown_so_until_it_is_mended(log: list[AuditEntry]) -> None:
    """What was changed before the last proof is found by the next day's; from then on the page reads it all."""
    audit.prove()
    _behind_our_back("UPDATE accounts_auditentry SET action = 'forged' WHERE number = 2")
    assert audit.broken_lately()[0] is None
    assert audit.prove().broken_at == 2
    assert audit.broken_lately() == (2, None)


def test_an_entry_put_in_after_the_head_is_found(log: list[AuditEntry]) -> None:
    made = AuditEntry(number=6, at=log[-1].at, action="put in", actor="x")
    made.digest = audit.digest(log[-1].digest, audit.link(made))
    made.save()
    assert audit.broken_at() == 6


def test_an_entry_added_while_the_log_is_read_breaks_nothing(
    log: list[AuditEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_one_more(links: Iterator[object], *told: object) -> object:
        audit.record("meanwhile")
        return walk(links, *told)

    walk = audit.walk
    monkeypatch.setattr(audit, "walk", with_one_more)
    verdict = audit.verify()
    assert (verdict.broken_at, verdict.end.number) == (None, 6)


# --- A head kept elsewhere ---------------------------------------------------------------------------------------


def _verified(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=out)
    except SystemExit as left:
        return int(left.code), out.getvalue()
    return 0, out.getvalue()


def _written_anew(since: int) -> None:
    """The log from `since` on as somebody would forge it who knows how digests are made, the head included."""
    entries = [audit.link(entry) for entry in AuditEntry.objects.order_by("number")]
    before = START.digest
    for link in entries:
        if link.number >= since:
            link = type(link)(link.number, link.at, "forged", link.actor, "", link.subject, link.details)
        before = audit.digest(before, link)
        _behind_our_back(
            "UPDATE accounts_auditentry SET action = %s, digest = %s WHERE number = %s",
            link.action,
            before,
            link.number,
        )
    _behind_our_back("UPDATE accounts_audithead SET digest = %s", before)


def _head_of(entry: AuditEntry) -> str:
    return str(Head(entry.number, entry.digest))


def test_a_whole_log_is_proved_and_its_head_told(log: list[AuditEntry]) -> None:
    status, told = _verified()
    assert status == 0
    assert f"Head: {_head_of(log[4])}" in told


@pytest.mark.parametrize("number", range(1, 6))
def test_a_head_of_any_day_is_found_again(log: list[AuditEntry], number: int) -> None:
    status, told = _verified("--head", _head_of(log[number - 1]))
    assert status == 0
    assert f"up to entry {number} it is as it was then" in told


def test_a_log_that_was_written_anew_is_whole_and_not_the_same(log: list[AuditEntry]) -> None:
    _written_anew(since=3)
    assert _verified()[0] == 0
    assert _verified("--head", _head_of(log[1]))[0] == 0
    status, told = _verified("--head", _head_of(log[2]))
    assert status == 1
    assert told.startswith("NOT THE SAME")


def test_a_log_that_is_shorter_than_what_was_kept_is_not_the_same(log: list[AuditEntry]) -> None:
    assert _verified("--head", str(Head(6, "0" * 64)))[0] == 1


def test_a_broken_log_is_told_and_where(log: list[AuditEntry]) -> None:
    _behind_our_back(CHANGES["an action"][0])
    status, told = _verified()
    assert status == 1
    assert told.startswith("BROKEN at entry 3:")


def test_programs_are_told_the_same(log: list[AuditEntry]) -> None:
    status, told = _verified("--json", "--head", _head_of(log[0]))
    assert (status, json.loads(told)) == (
        0,
        {"sound": True, "entries": 5, "head": _head_of(log[4]), "broken_at": None, "has_given_head": True},
    )
    _behind_our_back(CHANGES["a gap"][0])
    status, told = _verified("--json")
    assert (status, json.loads(told)["broken_at"], json.loads(told)["has_given_head"]) == (1, 3, None)


@pytest.mark.parametrize("text", ["", "5", "5:abc", f"x:{'0' * 64}", f"5:{'0' * 65}", f"-1:{'0' * 64}"])
def test_a_head_that_cannot_be_read_is_neither_found_nor_missed(log: list[AuditEntry], text: str) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("verify_audit", f"--head={text}", stdout=StringIO())
    assert refused.value.returncode == 2


# --- Every day ---------------------------------------------------------------------------------------------------


def test_the_head_is_told_once_a_day_to_system_administrators_and_the_log(
    log: list[AuditEntry], caplog: pytest.LogCaptureFixture
) -> None:
    administrator = StaffFactory(staff_role=Role.SYSTEM_ADMINISTRATOR)
    StaffFactory(staff_role=Role.OPS)
    caplog.set_level(logging.INFO, "portal.witness")
    tell_audit_head()
    tell_audit_head()
    mail = OutboxMessage.objects.get(kind="audit-head")
    head = next(line.removeprefix("Head: ") for line in mail.text.splitlines() if line.startswith("Head: "))
    assert mail.to == administrator.email
    assert read_head(head).number == AuditEntry.objects.count()
    assert head in caplog.text
    assert _verified("--head", head)[0] == 0


def test_a_break_is_told_in_its_stead(log: list[AuditEntry], caplog: pytest.LogCaptureFixture) -> None:
    StaffFactory(staff_role=Role.SYSTEM_ADMINISTRATOR)
    _behind_our_back(CHANGES["a subject"][0])
    tell_audit_head()
    mail = OutboxMessage.objects.get()
    assert (mail.kind, "broken at entry 3" in mail.subject) == ("audit-broken", True)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
