"""What people choose of the mail they get: none of some, staff's together at eight, and all that is about safety."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from zoneinfo import ZoneInfo

import pytest
from django.conf import LazySettings, settings
from django.test import Client
from django.urls import reverse

from accounts import delivery, digests
from accounts.core.letters import blocks_of, first_link
from accounts.core.mailing import GROUPS, How, group_of, groups_for, last_morning
from accounts.delivery import html_of
from accounts.models import AuditEntry, MailChoice, OutboxMessage, User
from accounts.notices import message_queue, notice_send
from tests.factories import DistrictFactory, MembershipFactory, StaffFactory

from .post import Post, post_office

MAILS = settings.BASE_DIR / "templates" / "mail"


@pytest.fixture
def post(settings: LazySettings) -> Iterator[Post]:
    with post_office() as office:
        settings.EMAIL_URL = f"smtp://127.0.0.1:{office.port}"
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", office.port
        yield office


def _stuck(to: str, number: int = 1) -> None:
    epoch = {"name": f"2026112{number}-020000", "trouble": "x", "pk": number}
    notice_send("epoch-stuck", [to], {"epoch": epoch}, about=f"epoch-{number}", district=DistrictFactory(name="Oak"))


def _states() -> list[str]:
    return list(OutboxMessage.objects.order_by("pk").values_list("state", flat=True))


# --- The table ----------------------------------------------------------------------------------------------------


def test_every_kind_in_the_table_is_a_mail_and_stands_there_once() -> None:
    kinds = [kind for group in GROUPS for kind in group.kinds]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) <= {path.stem for path in MAILS.glob("*.txt")}


SAFETY = (
    "invitation",
    "second-factor-asked",
    "second-factor-off",
    "keys-changed",
    "key-disabled",
    "key-found",
    "key-marked",
    "download-fetched",
    "audit-broken",
    "audit-head",
    "shared-key-lost",
    "keys-unsafe",
    "host-stopped",
    "keys-run-stopped",
    "password_reset_key",
    "password_changed",
)


@pytest.mark.parametrize("kind", SAFETY)
def test_what_is_about_safety_cannot_be_chosen(kind: str) -> None:
    assert group_of(kind) is None


def test_only_staff_may_have_theirs_together() -> None:
    assert all(How.MORNING in group.choices for group in groups_for(is_staff=True))
    assert not any(How.MORNING in group.choices for group in groups_for(is_staff=False))


@pytest.mark.parametrize(
    ("zone", "now", "morning"),
    [
        ("America/New_York", "2026-11-23T13:00:00+00:00", "2026-11-23T13:00:00+00:00"),
        ("America/New_York", "2026-11-23T12:59:59+00:00", "2026-11-22T13:00:00+00:00"),
        ("Australia/Perth", "2026-11-23T00:30:00+00:00", "2026-11-23T00:00:00+00:00"),
        # The clocks were set back in that night.
        ("America/New_York", "2026-11-01T13:30:00+00:00", "2026-11-01T13:00:00+00:00"),
        ("America/New_York", "2026-11-01T12:30:00+00:00", "2026-10-31T12:00:00+00:00"),
    ],
)
def test_eight_is_by_the_persons_own_clock(zone: str, now: str, morning: str) -> None:
    assert last_morning(datetime.fromisoformat(now), ZoneInfo(zone)).astimezone(UTC) == datetime.fromisoformat(morning)


# --- What goes ----------------------------------------------------------------------------------------------------


def test_who_chose_none_gets_none_and_others_do(db: None, post: Post) -> None:
    quiet, usual = StaffFactory(), StaffFactory()
    MailChoice.objects.create(user=quiet, group="work", how="none")
    for person in (quiet, usual):
        _stuck(person.email)
    assert list(OutboxMessage.objects.values_list("to", "state")) == [(usual.email, "waiting")]


def test_safety_goes_whatever_stands_in_the_database(db: None, post: Post) -> None:
    person = MembershipFactory().user
    for group in GROUPS:
        MailChoice.objects.create(user=person, group=group.name, how="none")
    message_queue("password_changed", person.email, "S", "T", about="1")
    notice_send("audit-broken", [person.email], {"day": None, "verdict": {"broken_at": 1}}, about="x")
    assert _states() == ["waiting", "waiting"]


def _gathered(person: User, now: datetime) -> None:
    for number in (1, 2):
        _stuck(person.email, number)
    assert _states() == ["gathered", "gathered"]
    OutboxMessage.objects.update(created=now)


def test_staff_get_theirs_together_at_eight_once(db: None, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    person = StaffFactory()
    User.objects.filter(pk=person.pk).update(time_zone="Australia/Perth")
    MailChoice.objects.create(user=person, group="work", how="morning")
    eight = datetime(2026, 11, 24, 0, 0, tzinfo=UTC)
    _gathered(person, eight - timedelta(hours=3))
    monkeypatch.setattr(digests.timezone, "now", lambda: eight - timedelta(seconds=1))
    digests.digests_send()
    assert _states() == ["gathered", "gathered"]
    monkeypatch.setattr(digests.timezone, "now", lambda: eight + timedelta(seconds=1))
    for _ in range(2):
        digests.digests_send()
    monkeypatch.undo()
    assert _states() == ["sent", "sent", "waiting"]
    delivery.messages_send()
    (letter,) = post.letters
    assert message_from_bytes(letter.encode())["Subject"] == "2 things for you this morning"
    text, html = (part.get_payload(decode=True).decode() for part in message_from_bytes(letter.encode()).get_payload())
    for said in (text, html):
        assert "Oak: 20261121-020000 is stopped" in said
        assert reverse("epoch", args=["oak", 1]) in said
    assert not OutboxMessage.objects.exclude(text="").exists()


def test_what_came_after_eight_waits_for_the_next_morning(
    db: None, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    person = StaffFactory()
    MailChoice.objects.create(user=person, group="work", how="morning")
    eight = datetime(2026, 11, 24, 13, 0, tzinfo=UTC)
    _gathered(person, eight + timedelta(minutes=1))
    monkeypatch.setattr(digests.timezone, "now", lambda: eight + timedelta(hours=10))
    digests.digests_send()
    assert _states() == ["gathered", "gathered"]
    monkeypatch.setattr(digests.timezone, "now", lambda: eight + timedelta(hours=24))
    digests.digests_send()
    assert _states() == ["sent", "sent", "waiting"]


# --- HTML ---------------------------------------------------------------------------------------------------------


def test_text_becomes_paragraphs_lists_and_links_and_nothing_of_it_markup(db: None) -> None:
    message_queue(
        "test",
        "a@x.example",
        "A <b>subject</b>",
        "First line\nsecond <img src=x onerror=alert(1)> line.\n\n- one\n  more of it\n- two\n\nhttps://p.example/x?a=1&b=2\n",
        about="1",
    )
    html = html_of(OutboxMessage.objects.get())
    assert "<h1>A &lt;b&gt;subject&lt;/b&gt;</h1>" in html
    assert "second &lt;img src=x onerror=alert(1)&gt; line." in html
    assert html.count("<li>") == 2
    assert "one more of it" in html
    assert '<a href="https://p.example/x?a=1&amp;b=2">https://p.example/x?a=1&amp;b=2</a>' in html
    assert not {"<img", "<script", "<link", "style="} & set(html.split())
    assert "src=" not in html.replace("&lt;img src=x", "")


def test_an_address_at_the_end_of_a_sentence_is_a_link_without_its_full_stop() -> None:
    assert first_link("See https://p.example/a/. Then go on.") == "https://p.example/a/"
    assert first_link("No link.") == ""
    assert blocks_of("") == ()


def test_a_letter_says_the_same_as_text_and_as_html(db: None, post: Post) -> None:
    message_queue("test", "a@x.example", "S", "Hello ünïcode\n\nhttps://p.example/\n", about="1")
    delivery.messages_send()
    parts = message_from_bytes(post.letters[0].encode()).get_payload()
    assert [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
    for part in parts:
        said = part.get_payload(decode=True).decode()
        assert "Hello ünïcode" in said
        assert "https://p.example/" in said


# --- The page -----------------------------------------------------------------------------------------------------


def _client(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def test_a_person_chooses_for_themselves_and_it_is_written_down(db: None) -> None:
    person = StaffFactory()
    sent = {"work": "morning", "keys": "none", "time_zone": "America/Denver", "nights": "none"}
    assert _client(person).post(reverse("mails"), sent).status_code == 302
    # What is a district's to choose is none of theirs.
    assert dict(MailChoice.objects.values_list("group", "how")) == {"work": "morning", "keys": "none"}
    assert User.objects.get(pk=person.pk).time_zone == "America/Denver"
    entry = AuditEntry.objects.get(action="mails chosen")
    assert entry.details == {"work": "morning", "keys": "none", "time zone": "America/Denver"}
    page = _client(person).get(reverse("mails")).content.decode()
    assert '<option value="morning" selected>' in page


@pytest.mark.parametrize("sent", [{"nights": "morning"}, {"nights": "x"}, {"time_zone": "Mars/Base"}])
def test_what_is_no_choice_of_theirs_is_refused(db: None, sent: dict[str, str]) -> None:
    person = MembershipFactory().user
    fine = {"nights": "each", "good-news": "each", "last-days": "each", "time_zone": ""}
    assert _client(person).post(reverse("mails"), fine | sent).status_code == 422
    assert not MailChoice.objects.exists()
    assert _client(person).post(reverse("mails"), fine).status_code == 302
