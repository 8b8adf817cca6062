"""The mails about keys: what they tell, and that nothing a person types becomes more than text in them."""

import email
from collections.abc import Callable
from datetime import date, datetime, timedelta
from email.policy import default
from zoneinfo import ZoneInfo

import pytest
from django.conf import LazySettings
from django.core import mail as django_mail
from django.core.mail import EmailMessage

from accounts import audit
from accounts.core.roles import Role
from accounts.models import AuditEntry, OutboxMessage, SftpAccount, User
from accounts.notices import notice_send
from hosts.connect import files_for
from hosts.core import paths
from keys import nightly, propagation, services
from keys.core.characters import comment_from
from keys.models import AccountKey, KeyFile
from keys.sets import By
from tests.factories import DistrictFactory, KeyFactory, SignInFactory, StaffFactory

from .samples import text, words

NEXT_WEEK = timedelta(days=7)
EVIL = {
    "a shell": "$(id >/tmp/x); `id` && rm -rf ~ | mail '\"%s\"' #",
    "markup": "<script>alert(1)</script><img src=x onerror=alert(1)>&amp;",
    "a template": "{{ settings.SECRET_KEY }}{% include 'mail/invitation.txt' %}%(x)s {0.__class__}",
    "a header": "x\r\nBcc: everybody@example.com\r\n\r\nClick here",
    "a mail of its own": "x\n.\nSubject: hello\n\n",
    "an option": '",command="id" ssh-ed25519',
    "turned round": "abc\u202egnp.exe \u200b\ufeff",
    "another line of sorts": "a\u2028b\u0085c\x0bd\x0ce",
    "quotes": "”, SHA256:forged “ \\\" '",
    "zeros": "a\x00b\x1b[31mred\x07",
    "long": "x" * 5000,
}


def _administrator(account: SftpAccount) -> User:
    return User.objects.get(memberships__district=account.district)


def _by(account: SftpAccount) -> By:
    return By(_administrator(account), "198.51.100.7")


def _line(name: str, comment: str) -> str:
    return f"{words(name)['type']} {words(name)['base64']} {comment}"


def _named(account: SftpAccount, comment: str) -> AccountKey:
    """A key with that comment, as the page of one key would name it, beside another."""
    services.keys_save(account, f"{text('ed25519')}\n{text('rsa3072')}", seen_version=1, by=_by(account))
    key = account.keys.get(algorithm="ssh-ed25519")
    services.key_edit(key, comment=comment, expires_on=None, networks="", by=_by(account))
    key.refresh_from_db()
    return key


def _expired(key: AccountKey) -> None:
    today = services.today_in(key.account.district)
    AccountKey.objects.filter(pk=key.pk).update(expires_on=today)
    noon = datetime.combine(today, datetime.min.time(), ZoneInfo(key.account.district.time_zone))
    nightly.remind_due(noon.replace(hour=12))


def _marked(key: AccountKey) -> None:
    KeyFactory(account=key.account, line=_line("rsa1024", key.comment))
    nightly.judge_all()


def _disabled(key: AccountKey) -> None:
    AccountKey.objects.filter(pk=key.pk).update(blob="")
    nightly.judge_all()


def _cleared(key: AccountKey) -> None:
    today = services.today_in(key.account.district)
    AccountKey.objects.filter(pk=key.pk).update(marked="2026-11-01T00:00Z", mark_code="x", disable_on=today + NEXT_WEEK)
    nightly.judge_all()


def _kept(key: AccountKey) -> None:
    services.key_replace(key, text("ecdsa256"), days=1, by=_by(key.account))
    account = key.account
    new = account.keys.get(replaces=key)
    SignInFactory(username=account.username, fingerprint=new.fingerprint)
    account.keys.exclude(pk=key.pk).update(disabled="2026-11-01T00:00Z")
    nightly.retire_due(new.added + NEXT_WEEK)


def _shared(key: AccountKey) -> None:
    other = DistrictFactory().sftp_account
    with pytest.raises(services.KeyElsewhere):
        services.keys_save(other, key.line(), seen_version=1, by=_by(key.account))


def _decided(key: AccountKey) -> None:
    account = key.account
    KeyFactory(account=DistrictFactory().sftp_account, line=text("ecdsa256"))
    with pytest.raises(services.KeyElsewhere):
        services.key_replace(key, _line("ecdsa256", key.comment), days=7, by=_by(account))
    request = account.shared_key_requests.get()
    services.shared_key_decide(request, allow=True, reason="Fine.", actor=StaffFactory())


def _lost(key: AccountKey) -> None:
    KeyFactory(account=DistrictFactory().sftp_account, line=text("ed25519"))
    services.key_lost(key, by=_by(key.account))


def _newer_on_host(key: AccountKey) -> None:
    propagation.push_one(key.account_id)
    key.account.key_sets.all().update(token="ab" * 8)
    KeyFile.objects.update(state="waiting")
    key.account.key_sets.filter(version=KeyFile.objects.get(account=key.account).version).update(token="cd" * 8)
    propagation.push_one(key.account_id)


# What brings about each mail, and whether the key's comment stands in it.
MAILS: dict[str, tuple[Callable[[AccountKey], None], bool]] = {
    "keys-changed": (lambda key: None, True),
    "key-expiry": (_expired, True),
    "key-marked": (_marked, True),
    "key-disabled": (_disabled, True),
    "key-cleared": (_cleared, True),
    "key-kept": (_kept, True),
    "keys-unsafe": (_marked, False),
    "shared-key": (_shared, True),
    "shared-key-decided": (_decided, True),
    "shared-key-lost": (_lost, False),
    "keys-newer-on-host": (_newer_on_host, False),
}


@pytest.fixture
def _staff(db: None) -> None:
    StaffFactory()
    StaffFactory(staff_role=Role.OPS)


def _sent(message: OutboxMessage) -> EmailMessage:
    """The mail as a mail server would get it, and as a reader's program takes it apart."""
    made = EmailMessage(message.subject, message.text, "portal@vendor.example", [message.to])
    return email.message_from_bytes(made.message().as_bytes(), policy=default)


def _inert(message: OutboxMessage, clean: str) -> None:
    assert clean not in message.subject
    lines = [line for line in message.text.split("\n") if clean in line]
    assert all(line.isprintable() for line in lines)
    got = _sent(message)
    assert (got["To"], got["Subject"], got["Bcc"]) == (message.to, message.subject, None)
    assert got.get_content_type() == "text/plain"
    assert got.get_content().rstrip() == message.text.rstrip()


@pytest.mark.usefixtures("_staff")
@pytest.mark.parametrize("kind", MAILS)
def test_a_comment_is_nothing_but_text_in_every_mail(account: SftpAccount, kind: str) -> None:
    comment = "".join(EVIL[name] for name in ("a header", "a shell", "markup", "a template", "zeros"))
    bring_about, is_named = MAILS[kind]
    bring_about(_named(account, comment))
    clean = comment_from(comment)
    message = OutboxMessage.objects.filter(kind=kind).order_by("pk").last()
    assert (clean in message.text) is is_named
    _inert(message, clean)


@pytest.mark.parametrize("comment", EVIL.values(), ids=EVIL)
def test_no_comment_at_all_is_more_than_text_in_a_mail(account: SftpAccount, comment: str) -> None:
    _named(account, comment)
    message = OutboxMessage.objects.filter(kind="keys-changed").order_by("pk").last()
    assert comment_from(comment) in message.text
    _inert(message, comment_from(comment))


@pytest.mark.usefixtures("_staff")
@pytest.mark.parametrize("kind", MAILS)
def test_every_mail_says_whose_account_and_where_to_go_on(account: SftpAccount, kind: str) -> None:
    bring_about, _ = MAILS[kind]
    bring_about(_named(account, "laptop"))
    message = OutboxMessage.objects.filter(kind=kind).order_by("pk").last()
    assert message.subject
    assert "http://localhost" in message.text
    assert not any(mark in message.subject + message.text for mark in ("{{", "{%", "&quot;", "&#x27;", "&lt;"))
    assert "\n\n\n" not in message.text
    assert account.district.name in message.subject + message.text or kind == "shared-key"


@pytest.mark.usefixtures("_staff")
@pytest.mark.parametrize("comment", EVIL.values(), ids=EVIL)
def test_a_comment_is_nothing_but_text_in_history_and_audit_log(account: SftpAccount, comment: str) -> None:
    key = _named(account, comment)
    services.key_edit(key, comment="plain", expires_on=None, networks="", by=_by(account))
    clean = comment_from(comment)
    made, before = account.key_sets.all()[:2]
    assert (before.changed[0]["comment"], clean in made.changed[0]["told"]) == (clean, True)
    assert all(word.isprintable() for fact in (*made.changed, *before.changed) for word in fact.values())
    assert audit.broken_at() is None
    # The log names keys by their fingerprints, which nobody can choose.
    assert not any(clean in str(entry.details) for entry in AuditEntry.objects.all())


@pytest.mark.parametrize("comment", EVIL.values(), ids=EVIL)
def test_a_comment_is_nothing_but_text_in_the_file_on_the_host(account: SftpAccount, comment: str) -> None:
    key = _named(account, comment)
    propagation.push_one(account.pk)
    content = files_for(account.host).read(paths.key_file(account.username), 100_000)
    lines = content.decode("utf-8").split("\n")
    assert [line.split(" ")[0] for line in lines] == ["#", "ssh-ed25519", "ssh-rsa", ""]
    assert lines[1] == f"{key.algorithm} {key.blob} {comment_from(comment)}".rstrip()
    assert lines[1].isprintable()


def test_a_change_says_what_who_from_where_and_when(account: SftpAccount, dana: User) -> None:
    services.keys_save(account, text("ed25519"), seen_version=1, by=By(dana, "198.51.100.7"))
    made = account.key_sets.first()
    (message,) = OutboxMessage.objects.filter(kind="keys-changed")
    local = made.at.astimezone(ZoneInfo(account.district.time_zone))
    for told in (
        f"Who: {dana.name}, {dana.email}",
        "From: 198.51.100.7",
        f"When: {local:%-d %B %Y, %H:%M %Z}",
        f"- ED25519, {account.keys.get().fingerprint}, called “{account.keys.get().comment}”",
        "If this wasn't you",
        "/settings/technical/",
    ):
        assert told in message.text
    assert message.subject == f"{account.district.name}: the SFTP keys were changed"


def test_what_the_portal_did_by_itself_asks_nobody_whether_it_was_them(account: SftpAccount) -> None:
    key = KeyFactory(account=account, line=text("rsa3072"))
    at = "2026-11-01T00:00Z"
    KeyFactory(account=account, line=text("ed25519"), replaces=key, retire_after=1, retires_old=at)
    nightly.retire_due()
    (message,) = OutboxMessage.objects.filter(kind="keys-changed")
    assert "Who: the portal, by itself" in message.text
    assert "If this wasn't you" not in message.text


def test_a_change_by_staff_names_the_vendor_and_the_reason_but_not_their_address(
    account: SftpAccount, settings: LazySettings
) -> None:
    sam = StaffFactory(name="Sam Support")
    by = By(sam, "192.0.2.9", "Asked for in ticket 4711.")
    services.keys_save(account, text("ed25519"), seen_version=1, by=by)
    (message,) = OutboxMessage.objects.filter(kind="keys-changed")
    assert f"Who: Sam Support, {settings.VENDOR_NAME}" in message.text
    assert "Reason: Asked for in ticket 4711." in message.text
    assert sam.email not in message.text


def test_one_change_is_one_mail_however_often_it_is_told(account: SftpAccount, dana: User) -> None:
    services.keys_save(account, text("ed25519"), seen_version=1, by=By(dana))
    made = account.key_sets.first()
    told = {"made": made, "account": account}
    notice_send("keys-changed", [dana.email], told, about=f"key-set-{made.pk}", district=account.district)
    assert OutboxMessage.objects.filter(kind="keys-changed").count() == 1


def test_no_mail_is_sent_of_a_save_that_was_refused(account: SftpAccount, dana: User) -> None:
    for pasted in ("hello", text("rsa1024")):
        with pytest.raises(services.PasteRefused):
            services.keys_save(account, pasted, seen_version=1, by=By(dana))
    assert (OutboxMessage.objects.count(), django_mail.outbox) == (0, [])


@pytest.mark.parametrize(
    ("left", "says"),
    [
        (30, "works for 30 more days"),
        (1, "works for 1 more day"),
        (0, "works today for the last time"),
        (-2, "has ended"),
    ],
)
def test_a_reminder_says_how_long_in_its_subject(account: SftpAccount, dana: User, left: int, says: str) -> None:
    key = KeyFactory(account=account, line=text("ed25519"), expires_on=date(2026, 12, 1))
    told = {"account": account, "key": key, "left": left, "is_needed": False}
    notice_send("key-expiry", [dana.email], told, about="x", district=account.district)
    assert OutboxMessage.objects.get().subject == f"{account.district.name}: an SFTP key {says}"
