"""The audit log: appended to, never changed, and when somebody does behind our back, it shows."""

import pytest
from django.db import DatabaseError, connection, transaction

from accounts import audit
from accounts.models import AppendOnlyError, AuditEntry, AuditHead
from tests.factories import DistrictFactory, PersonFactory


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
