"""Where a person is signed in: told to them, and ended by them, and by nobody else."""

import pytest
from allauth.usersessions.models import UserSession
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.core.browsers import program
from accounts.models import AuditEntry, User
from tests.factories import PASSWORD, MembershipFactory, PersonFactory, StaffFactory

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Safari/604.1"


@pytest.fixture
def dana(db: None) -> User:
    return MembershipFactory(user__email="dana@smithville.example").user


def _browser(person: User, user_agent: str = FIREFOX, address: str = "198.51.100.7") -> Client:
    """A browser in which this person has signed in by the page."""
    client = Client(headers={"user-agent": user_agent}, REMOTE_ADDR=address)
    client.post(reverse("account_login"), {"login": person.email, "password": PASSWORD})
    assert _is_in(client)
    return client


def _is_in(client: Client) -> bool:
    return client.get(reverse("sessions")).status_code == 200


def _told(client: Client) -> list[tuple[str, str, bool]]:
    return [(one.program, one.address, one.is_here) for one in client.get(reverse("sessions")).context["sessions"]]


AGENTS = {
    FIREFOX: "Firefox on Windows",
    SAFARI: "Safari on an iPhone",
    "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/141.0 Safari/537.36 Edg/141.0": "Edge on Windows",
    "Mozilla/5.0 (X11; CrOS x86_64 1) AppleWebKit/537.36 Chrome/141.0 Safari/537.36": "Chrome on a Chromebook",
    "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/141.0 Mobile Safari/537.36": "Chrome on Android",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0) Version/18.0 Safari/605.1.15": "Safari on a Mac",
    "curl/8.0": "Another program",
    "": "Another program",
}


@pytest.mark.parametrize(("says", "is_called"), AGENTS.items(), ids=AGENTS.values())
def test_a_browser_is_called_what_people_call_it(says: str, is_called: str) -> None:
    assert program(says) == is_called


def test_each_browser_is_told_the_one_that_asks_first(dana: User) -> None:
    here = _browser(dana)
    _browser(dana, SAFARI, "203.0.113.9")
    wanted = [("Firefox on Windows", "198.51.100.7", True), ("Safari on an iPhone", "203.0.113.9", False)]
    assert _told(here) == wanted


def test_an_ended_browser_is_signed_out_and_the_others_are_not(dana: User) -> None:
    here, phone, third = _browser(dana), _browser(dana, SAFARI), _browser(dana)
    pk = next(one.pk for one in here.get(reverse("sessions")).context["sessions"] if "iPhone" in one.program)
    assert here.post(reverse("session_end", args=[pk])).status_code == 302
    assert (_is_in(here), _is_in(phone), _is_in(third)) == (True, False, True)
    entry = AuditEntry.objects.get(action="signed out elsewhere")
    assert (entry.actor, entry.subject, entry.details["sessions"]) == (dana.email, dana.email, 1)


def test_all_others_are_ended_at_once(dana: User) -> None:
    here, phone, third = _browser(dana), _browser(dana, SAFARI), _browser(dana)
    here.post(reverse("sessions_end_others"))
    assert (_is_in(here), _is_in(phone), _is_in(third)) == (True, False, False)
    assert AuditEntry.objects.get(action="signed out elsewhere").details["sessions"] == 2


def test_nothing_else_open_writes_nothing(dana: User) -> None:
    _browser(dana).post(reverse("sessions_end_others"))
    assert not AuditEntry.objects.filter(action="signed out elsewhere").exists()


@pytest.mark.parametrize("is_staff", [False, True])
def test_nobody_ends_what_is_somebody_elses(dana: User, is_staff: bool) -> None:
    theirs = _browser(dana)
    other = _browser(StaffFactory(staff_role="system administrator") if is_staff else PersonFactory())
    for session in UserSession.objects.filter(user=dana):
        assert other.post(reverse("session_end", args=[session.pk])).status_code == 404
    other.post(reverse("sessions_end_others"))
    assert _is_in(theirs)
    assert len(_told(other)) == 1


def test_this_browser_signs_out_by_signing_out_only(dana: User) -> None:
    here = _browser(dana)
    (mine,) = here.get(reverse("sessions")).context["sessions"]
    assert here.post(reverse("session_end", args=[mine.pk])).status_code == 404
    assert _is_in(here)


@pytest.mark.parametrize("name", ["session_end", "sessions_end_others"])
def test_nothing_is_ended_by_a_link(dana: User, name: str) -> None:
    here = _browser(dana)
    assert here.get(reverse(name, args=[1] if name == "session_end" else [])).status_code == 405


def test_a_browser_that_signed_out_or_ran_out_is_not_told(dana: User) -> None:
    here, gone, late = _browser(dana), _browser(dana), _browser(dana)
    gone.post(reverse("account_logout"))
    session = late.session
    session.set_expiry(timezone.now())
    session.save()
    assert len(_told(here)) == 1


def test_a_new_password_signs_out_everywhere_else_and_the_list_says_so(dana: User) -> None:
    here, phone = _browser(dana), _browser(dana, SAFARI)
    new = "quite-another-set-of-words"
    here.post(reverse("account_change_password"), {"oldpassword": PASSWORD, "password1": new, "password2": new})
    assert (_is_in(here), _is_in(phone)) == (True, False)
    assert [is_here for _, _, is_here in _told(here)] == [True]


def test_an_address_that_changes_is_noted_after_a_while(dana: User) -> None:
    here = _browser(dana)
    here.get(reverse("sessions"), REMOTE_ADDR="203.0.113.9")
    assert _told(here)[0][1] == "198.51.100.7"
    cache.clear()
    here.get(reverse("sessions"), REMOTE_ADDR="203.0.113.9")
    assert _told(here)[0][1] == "203.0.113.9"


def test_a_session_made_without_the_sign_in_page_is_told_too(dana: User) -> None:
    client = Client()
    client.force_login(dana)
    assert [is_here for _, _, is_here in _told(client)] == [True]


def test_where_nobody_knows_the_address_the_page_says_so(dana: User) -> None:
    client = _browser(dana, address="")
    assert _told(client)[0][1] == ""
    assert "not known" in client.get(reverse("sessions")).content.decode()
