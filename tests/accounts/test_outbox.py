"""The outbox: every notice once, sent through a real mail server, tried again, and forgotten when sent."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from email import message_from_string

import pytest
from django.conf import LazySettings
from django.utils import timezone

from accounts import delivery, tasks
from accounts.models import District, OutboxMessage
from accounts.notices import administrators_of, message_queue, notice_send, staff_in
from tests.factories import DistrictFactory, MembershipFactory, StaffFactory

from .post import Post, post_office


@pytest.fixture
def post(settings: LazySettings) -> Iterator[Post]:
    with post_office() as office:
        settings.EMAIL_URL = f"smtp://127.0.0.1:{office.port}"
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", office.port
        settings.EMAIL_TIMEOUT = 5
        yield office


def _queue(to: str = "dana@district.example", about: str = "1", subject: str = "A subject") -> OutboxMessage:
    message_queue("test", to, subject, "A text with a link\n", about=about)
    return OutboxMessage.objects.get(to=to, key__contains=f":{about}:")


def _due_now() -> None:
    OutboxMessage.objects.update(next_try=timezone.now() - timedelta(seconds=1))


@pytest.fixture
def district(db: None) -> District:
    return DistrictFactory()


def test_a_notice_is_queued_once_however_often_its_step_is_repeated(district: District) -> None:
    for _ in range(3):
        notice_send(
            "epoch-stuck", ["a@x.example", "b@x.example", "a@x.example"], _epoch(), about="epoch-1", district=district
        )
    notice_send("epoch-stuck", ["a@x.example"], _epoch(), about="epoch-2", district=district)
    assert sorted(OutboxMessage.objects.values_list("to", flat=True)) == ["a@x.example", "a@x.example", "b@x.example"]


def _epoch() -> dict[str, object]:
    return {"epoch": {"name": "20261121-020000", "trouble": "x", "pk": 1}}


def test_long_addresses_that_begin_alike_are_two_people(db: None) -> None:
    for end in ("a", "b"):
        message_queue("test", f"{'x' * 220}{end}@district.example", "S", "T", about="1")
    assert OutboxMessage.objects.count() == 2


def test_without_a_mail_server_notices_are_kept_to_be_read(db: None) -> None:
    message = _queue()
    assert message.state == "kept"
    tasks.sweep_mail()
    message.refresh_from_db()
    assert (message.state, message.text) == ("kept", "A text with a link\n")


def test_a_letter_is_sent_once_and_what_it_said_is_forgotten(db: None, post: Post) -> None:
    message = _queue()
    for _ in range(2):
        tasks.send_mail(message.pk)
        tasks.sweep_mail()
    message.refresh_from_db()
    assert (message.state, message.text, message.sent is not None) == ("sent", "", True)
    letter = message_from_string(post.letters[0])
    assert len(post.letters) == 1
    assert (letter["To"], letter["Subject"]) == ("dana@district.example", "A subject")
    assert letter["Message-ID"].startswith(f"<outbox-{message.pk}-")
    plain, html = letter.get_payload()
    assert plain.get_payload().strip() == "A text with a link"
    assert "<p>" in html.get_payload()


def test_a_letter_sent_twice_after_a_crash_has_one_message_id(db: None, post: Post) -> None:
    message = _queue()
    tasks.send_mail(message.pk)
    OutboxMessage.objects.update(state="waiting", text="A text", lease_until=None)
    tasks.send_mail(message.pk)
    assert len({message_from_string(letter)["Message-ID"] for letter in post.letters}) == 1


def test_a_subject_cannot_bring_in_a_header(db: None, post: Post) -> None:
    tasks.send_mail(_queue(subject="Hello\r\nBcc: everybody@x.example").pk)
    letter = message_from_string(post.letters[0])
    assert (letter["Bcc"], letter["Subject"]) == (None, "Hello Bcc: everybody@x.example")


@pytest.mark.parametrize("answer", ["451 later", "550 no such person", "421 closing"])
def test_a_letter_that_is_refused_is_tried_ever_later_and_then_given_up(db: None, post: Post, answer: str) -> None:
    post.answers["RCPT"] = answer
    message = _queue()
    pauses = []
    for tries in range(1, delivery.MOST_TRIES):
        tasks.send_mail(message.pk)
        message.refresh_from_db()
        assert (message.state, message.tries) == ("waiting", tries)
        assert "mail server" in message.reason
        pauses.append(message.next_try - timezone.now())
        tasks.sweep_mail()
        message.refresh_from_db()
        assert message.tries == tries
        _due_now()
    assert [round(pause / delivery.FIRST_PAUSE) for pause in pauses[:5]] == [1, 2, 4, 8, 16]
    assert max(pauses) < timedelta(hours=3)
    tasks.send_mail(message.pk)
    message.refresh_from_db()
    assert message.state == "failed"
    assert message.text


def test_a_server_that_is_away_loses_no_letter(db: None, post: Post, settings: LazySettings) -> None:
    message = _queue()
    with post_office() as closed:
        settings.EMAIL_PORT = closed.port
    tasks.send_mail(message.pk)
    message.refresh_from_db()
    assert (message.state, message.tries) == ("waiting", 1)
    settings.EMAIL_PORT = post.port
    _due_now()
    tasks.sweep_mail()
    assert len(post.letters) == 1


def test_a_slow_mail_server_has_two_threads_and_letters_that_come_meanwhile_are_left_to_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gate, begun = threading.Event(), threading.Semaphore(0)

    def slow() -> None:
        begun.release()
        assert gate.wait(30)

    monkeypatch.setattr(delivery, "messages_send", slow)
    busy = [threading.Thread(target=tasks.send_mail, args=(number,)) for number in range(2)]
    for thread in busy:
        thread.start()
        assert begun.acquire(timeout=30)
    tasks.sweep_mail()  # comes back at once
    gate.set()
    for thread in busy:
        thread.join(30)
    assert begun.acquire(blocking=False)  # they looked once more before they went
    assert not begun.acquire(blocking=False)


def test_a_letter_that_cannot_be_put_together_keeps_no_other_waiting(db: None, post: Post) -> None:
    bad, good = _queue("dana@district.example", about="bad"), _queue("mo@district.example", about="good")
    OutboxMessage.objects.filter(pk=bad.pk).update(subject="two\nlines", created=timezone.now() - timedelta(hours=1))
    tasks.sweep_mail()
    states = dict(OutboxMessage.objects.values_list("to", "state"))
    assert states == {"dana@district.example": "waiting", "mo@district.example": "sent"}
    assert OutboxMessage.objects.get(pk=bad.pk).tries == 1
    assert OutboxMessage.objects.get(pk=good.pk).text == ""


def test_what_another_worker_is_sending_is_left_to_it(db: None, post: Post) -> None:
    message = _queue()
    OutboxMessage.objects.update(lease_token="another", lease_until=timezone.now() + timedelta(minutes=1))
    tasks.send_mail(message.pk)
    assert not post.letters


def test_a_silent_mail_server_cannot_hold_a_worker_beyond_its_lease(settings: LazySettings) -> None:
    assert settings.EMAIL_TIMEOUT < settings.LEASE_SECONDS


def test_notices_go_to_those_who_can_sign_in(district: District) -> None:
    administrator = MembershipFactory(district=district).user
    MembershipFactory(district=district, role="district viewer")
    ended = MembershipFactory(district=district).user
    ended.is_active = False
    ended.save()
    staff = StaffFactory(staff_role="support")
    gone = StaffFactory(staff_role="support")
    gone.is_active = False
    gone.save()
    assert administrators_of(district) == [administrator.email]
    assert staff_in("support") == [staff.email]
