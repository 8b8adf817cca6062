"""Wrong tries are slowed down, for the one address at the one account; nobody can shut a district out."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from django.conf import LazySettings
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from accounts.core.slowing import FREE_TRIES, LONGEST_PAUSE, pause, waiting_words
from accounts.lockout import tries_forget, try_count
from accounts.models import OutboxMessage, User, WrongTries
from tests.factories import PASSWORD, MembershipFactory, PersonFactory

HERE, ELSEWHERE = "198.51.100.7", "203.0.113.9"


@pytest.fixture
def dana(db: None) -> User:
    return MembershipFactory(user__email="dana@smithville.example").user


def _try(password: str, email: str = "dana@smithville.example", address: str = HERE, **headers: str) -> Client:
    client = Client(REMOTE_ADDR=address, headers=headers)
    client.answer = client.post(reverse("account_login"), {"login": email, "password": password})
    return client


def _is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def _guess(times: int = FREE_TRIES, **told: str) -> None:
    for number in range(times):
        assert not _is_in(_try(f"a wrong guess {number}", **told))


def _later(**time: float) -> None:
    """Time goes by: what was noted was so much earlier."""
    for row in WrongTries.objects.all():
        row.last -= timedelta(**time)
        row.save()


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (4, 0), (5, 30), (6, 60), (7, 120), (11, 1920), (12, 3600), (10_000, 3600)]
)
def test_each_further_try_waits_longer(failures: int, seconds: int) -> None:
    assert pause(failures) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(1, "a minute"), (60, "a minute"), (61, "2 minutes"), (120, "2 minutes"), (3600, "60 minutes")],
)
def test_a_wait_is_told_rounded_up(seconds: int, says: str) -> None:
    assert waiting_words(timedelta(seconds=seconds)) == says


def test_a_slip_of_the_pen_costs_nothing(dana: User) -> None:
    _guess(FREE_TRIES - 1)
    assert _is_in(_try(PASSWORD))


def test_after_five_even_the_right_one_has_to_wait_and_is_told_how_long(dana: User) -> None:
    _guess()
    client = _try(PASSWORD)
    assert not _is_in(client)
    assert "Wait a minute, then try again" in client.answer.content.decode()
    _later(seconds=31)
    assert _is_in(_try(PASSWORD))


def test_trying_on_while_waiting_makes_the_wait_no_longer(dana: User) -> None:
    _guess()
    _guess(10)
    _later(seconds=31)
    assert _is_in(_try(PASSWORD))


def test_each_wrong_try_after_a_wait_doubles_it(dana: User) -> None:
    _guess()
    _later(seconds=31)
    _guess(1)
    _later(seconds=31)
    assert not _is_in(_try(PASSWORD))
    _later(seconds=30)
    assert _is_in(_try(PASSWORD))


def test_a_stranger_shuts_nobody_out_from_elsewhere(dana: User) -> None:
    for _ in range(20):
        _guess(FREE_TRIES)
        _later(seconds=LONGEST_PAUSE.total_seconds())
    assert _is_in(_try(PASSWORD, address=ELSEWHERE))


def test_a_colleague_at_the_same_address_is_not_shut_out(dana: User) -> None:
    PersonFactory(email="vic@smithville.example")
    _guess()
    assert _is_in(_try(PASSWORD, email="vic@smithville.example"))


@pytest.mark.parametrize("written", ["Dana@Smithville.example", " dana@smithville.example"])
def test_another_way_to_write_the_address_is_no_other_account(dana: User, written: str) -> None:
    _guess()
    assert not _is_in(_try(PASSWORD, email=written))


def test_whether_somebody_is_known_here_cannot_be_told_by_waiting(dana: User) -> None:
    _guess()
    _guess(email="nobody@x.example")
    known, unknown = _try("x" * 12), _try("x" * 12, email="nobody@x.example")
    sentence = "Wait a minute, then try again"
    assert (sentence in known.answer.content.decode(), sentence in unknown.answer.content.decode()) == (True, True)


def test_a_good_sign_in_begins_anew(dana: User) -> None:
    _guess(FREE_TRIES - 1)
    _try(PASSWORD)
    _guess(FREE_TRIES - 1)
    assert _is_in(_try(PASSWORD))


def test_the_password_asked_for_once_more_is_slowed_down_too(dana: User) -> None:
    client = _try(PASSWORD)
    for number in range(FREE_TRIES):
        client.post(reverse("account_reauthenticate"), {"password": f"wrong {number}"})
    told = client.post(reverse("account_reauthenticate"), {"password": PASSWORD})
    assert "Wait a minute" in told.content.decode()


def test_a_new_password_by_mail_ends_the_wait(dana: User) -> None:
    _guess()
    client = Client(REMOTE_ADDR=HERE)
    client.post(reverse("account_reset_password"), {"email": dana.email})
    text = OutboxMessage.objects.get(kind="password_reset_key").text
    link = next(word for word in text.split() if "/password/reset/key/" in word)
    form = client.get("/" + link.split("/", 3)[3], follow=True)
    new = "quite-another-set-of-words"
    client.post(form.redirect_chain[-1][0], {"password1": new, "password2": new})
    assert _is_in(_try(new))


def test_nothing_that_was_typed_is_kept(dana: User) -> None:
    _try("wrong", email="my-password-in-the-wrong-box@x.example")
    row = WrongTries.objects.get()
    assert len(row.pair) == 64
    assert "wrong" not in row.pair


def test_what_is_a_day_old_is_forgotten_and_goes(dana: User) -> None:
    _guess(FREE_TRIES + 1)
    _later(days=1, seconds=1)
    assert _is_in(_try(PASSWORD))
    _guess(1)
    _later(days=2)
    _guess(1, email="another@x.example")
    assert WrongTries.objects.count() == 1


def test_a_whole_network_of_version_six_is_one_place(dana: User) -> None:
    for number in range(FREE_TRIES):
        _guess(1, address=f"2001:db8:1:2::{number + 1}")
    assert not _is_in(_try(PASSWORD, address="2001:db8:1:2:ffff::1"))
    assert _is_in(_try(PASSWORD, address="2001:db8:1:3::1"))


def test_a_claimed_address_helps_no_guesser(dana: User) -> None:
    for number in range(FREE_TRIES):
        _guess(1, **{"x-forwarded-for": f"192.0.2.{number + 1}"})
    assert not _is_in(_try(PASSWORD, **{"x-forwarded-for": "192.0.2.99"}))


def test_behind_a_listed_proxy_it_is_the_visitors_address_that_counts(dana: User, settings: LazySettings) -> None:
    settings.TRUSTED_PROXIES = ["10.0.0.0/8"]
    for _ in range(FREE_TRIES):
        _guess(1, address="10.0.0.2", **{"x-forwarded-for": ELSEWHERE})
    assert not _is_in(_try(PASSWORD, address="10.0.0.2", **{"x-forwarded-for": ELSEWHERE}))
    assert _is_in(_try(PASSWORD, address="10.0.0.2", **{"x-forwarded-for": HERE}))


def _one_try(_: int) -> bool:
    try:
        try_count(RequestFactory().get("/", REMOTE_ADDR=HERE), "dana")
    except ValidationError:
        return False
    finally:
        connection.close()
    return True


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(
    "connection.vendor == 'sqlite'", reason="its tests share one connection, so nothing is side by side"
)
def test_tries_side_by_side_are_counted_each() -> None:
    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(_one_try, range(12))) == FREE_TRIES


def test_tries_one_after_the_other_are_counted_each(db: None) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR=HERE)
    for _ in range(FREE_TRIES):
        try_count(request, "dana")
    with pytest.raises(ValidationError):
        try_count(request, "dana")
    tries_forget(request, "dana")
    try_count(request, "dana")


def test_the_log_says_it_once_and_names_no_account(dana: User, caplog: pytest.LogCaptureFixture) -> None:
    _guess(FREE_TRIES + 3)
    told = [record.getMessage() for record in caplog.records if record.name == "accounts.lockout"]
    assert len(told) == 1
    assert HERE in told[0]
    assert dana.email not in told[0]


def test_a_moment_is_a_moment(dana: User) -> None:
    _guess(1)
    assert isinstance(WrongTries.objects.get().last, datetime)
    assert WrongTries.objects.get().last <= timezone.now()
