"""Lines found on a host and taken off: what ops read of them, and what only the district may say."""

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from accounts.core.roles import Role
from accounts.models import OutboxMessage, SftpAccount, User
from accounts.tables import PER_PAGE
from keys import propagation, services
from keys.models import FoundLine, KeyFile, PropagationRun, SharedKeyRequest
from keys.services import found as found_services
from keys.sets import By
from tests.factories import DistrictFactory, HostFactory, MembershipFactory, StaffFactory
from tests.rows import everything
from tests.signing_in import fresh

from .samples import fingerprints, many_lines, text
from .test_views_propagation import _html, _words

OWN, FINGERPRINT = fingerprints(f"{text('rsa3072')}\n{text('ed25519')}".encode())


@pytest.fixture
def browser(dana: User) -> Client:
    client = Client()
    client.force_login(dana)
    return fresh(client)


@pytest.fixture
def ops(account: SftpAccount) -> Client:
    client = Client()
    client.force_login(StaffFactory(staff_role="ops"))
    return fresh(client)


def _run() -> None:
    propagation.run_do(PropagationRun.objects.create(cause="hourly", thorough=True).pk)


def _put_in(account: SftpAccount, *lines: str) -> FoundLine:
    """Somebody writes to the file on the host; the next run finds it."""
    _run()
    path = settings.SFTP_ROOT / "keys" / account.username
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines))
    _run()
    return account.found_lines.order_by("pk").first()


@pytest.fixture
def found(account: SftpAccount) -> FoundLine:
    """A strange key beside the district's own."""
    services.keys_save(account, text("rsa3072"), seen_version=1, by=By(None))
    return _put_in(account, text("ed25519").strip())


def _page(account: SftpAccount) -> str:
    return reverse("technical_settings", args=[account.district.slug])


def _place(name: str, found: FoundLine) -> str:
    return reverse(name, args=[found.account.district.slug, found.pk])


def _section(html: str) -> str:
    return _words(html.partition('id="found"')[2].partition("</section>")[0])


# --- The district ------------------------------------------------------------------------------------------------


def test_the_district_reads_what_was_found_and_what_it_may_do(browser: Client, found: FoundLine) -> None:
    html = browser.get(_page(found.account)).content.decode()
    assert "Somebody changed your keys on the SFTP host" in html
    section = _section(html)
    assert found.label in section
    assert FINGERPRINT in section.replace(" ", "")
    assert _place("found_adopt", found) in html
    assert _place("found_dismiss", found) in html


@pytest.mark.parametrize(
    ("line", "is_told"), [("", False), ('from="198.51.100.0/24" ', True), ('no-pty,command="x y" ', True)]
)
def test_the_district_reads_that_what_stood_before_a_key_is_not_taken_over(
    browser: Client, account: SftpAccount, line: str, is_told: bool
) -> None:
    services.keys_save(account, text("rsa3072"), seen_version=1, by=By(None))
    _put_in(account, f"{line}{text('ed25519').strip()}")
    assert ("They are not taken over" in _words(browser.get(_page(account)).content.decode())) is is_told


def test_the_districts_administrators_are_told_by_mail_where_to_answer(found: FoundLine) -> None:
    mail = OutboxMessage.objects.get(kind="key-found", to="dana@smithville.example")
    assert f"- {found.label}, {FINGERPRINT}\n" in mail.text
    assert f"{_page(found.account)}#found" in mail.text
    assert found.key_line().split()[1] not in mail.text


def test_without_a_finding_nothing_is_said_of_any(browser: Client, account: SftpAccount) -> None:
    assert 'id="found"' not in browser.get(_page(account)).content.decode()


def test_a_key_the_district_says_is_its_own_is_added_and_comes_back(browser: Client, found: FoundLine) -> None:
    answer = browser.post(_place("found_adopt", found), follow=True)
    assert "Your account has 2 keys now." in answer.content.decode()
    assert [key.fingerprint for key in found.account.keys.all()] == [
        *fingerprints(text("rsa3072").encode()),
        FINGERPRINT,
    ]
    found.refresh_from_db()
    assert (found.state, found.decided_by.email) == ("adopted", "dana@smithville.example")
    assert "Added" in _section(answer.content.decode())
    propagation.push_one(found.account.pk)
    assert text("ed25519").split()[1] in (settings.SFTP_ROOT / "keys" / found.account.username).read_text()


def test_a_key_the_district_does_not_know_stays_off(browser: Client, found: FoundLine) -> None:
    answer = browser.post(_place("found_dismiss", found), follow=True)
    assert "It stays off the SFTP host" in answer.content.decode()
    found.refresh_from_db()
    assert (found.state, found.account.keys.count()) == ("dismissed", 1)
    assert "Somebody changed your keys on the SFTP host" not in answer.content.decode()
    _run()
    assert text("ed25519").split()[1] not in (settings.SFTP_ROOT / "keys" / found.account.username).read_text()


@pytest.mark.parametrize("name", ["found_adopt", "found_dismiss"])
def test_what_was_decided_already_is_told_as_too_late(browser: Client, found: FoundLine, name: str) -> None:
    found_services.found_line_dismiss(found, by=By(User.objects.get(email="dana@smithville.example")))
    before = everything()
    answer = browser.post(_place(name, found), follow=True)
    assert "This was decided in the meantime." in answer.content.decode()
    assert everything() == before


@pytest.mark.parametrize("name", ["found_adopt", "found_dismiss"])
def test_an_old_sign_in_says_nothing_for_the_district(browser: Client, found: FoundLine, name: str) -> None:
    before = everything()
    answer = fresh(browser, 3600).post(_place(name, found))
    assert answer.url.startswith(reverse("account_reauthenticate"))
    assert everything() == before


def test_a_line_without_a_key_can_only_be_dismissed(browser: Client, account: SftpAccount) -> None:
    found = _put_in(account, "# <b>do not remove</b>")
    html = browser.get(_page(account)).content.decode()
    assert "A line without a key we can read" in html
    assert "do not remove" not in html
    assert _place("found_adopt", found) not in html
    before = everything()
    assert "Nothing was changed." in browser.post(_place("found_adopt", found), follow=True).content.decode()
    assert everything() == before
    assert browser.post(_place("found_dismiss", found)).status_code == 302
    assert FoundLine.objects.get().state == "dismissed"


def test_a_key_that_is_another_districts_is_not_added_and_staff_are_asked(browser: Client, found: FoundLine) -> None:
    theirs = DistrictFactory().sftp_account
    services.keys_save(theirs, text("ed25519"), seen_version=1, by=By(None))
    html = browser.post(_place("found_adopt", found), follow=True).content.decode()
    assert "The key was not added. This key is in use somewhere else" in html
    assert theirs.district.name not in html
    assert SharedKeyRequest.objects.get().account == found.account
    found.refresh_from_db()
    assert (found.state, found.account.keys.count()) == ("kept", 1)


def test_a_key_that_is_not_safe_is_not_added_and_the_district_reads_why(browser: Client, account: SftpAccount) -> None:
    found = _put_in(account, text("rsa1024").strip())
    html = browser.post(_place("found_adopt", found), follow=True).content.decode()
    assert "The key was not added. This RSA key has 1024 bits." in html
    assert "<code>ssh-keygen" in html
    found.refresh_from_db()
    assert (found.state, account.keys.count()) == ("kept", 0)


@pytest.mark.parametrize(
    "options", ['command="{key} {pad}"', 'command="{pad}"', 'command="\\" {key} \\""'], ids=["long", "pad", "quotes"]
)
def test_the_key_that_is_told_is_the_one_that_is_added(browser: Client, account: SftpAccount, options: str) -> None:
    options = options.format(key=text("rsa3072").strip(), pad="a" * 17_000)
    found = _put_in(account, f"{options} {text('ed25519').strip()}")
    assert found.fingerprint == FINGERPRINT
    browser.post(_place("found_adopt", found))
    found.refresh_from_db()
    assert found.state == "adopted"
    assert [key.fingerprint for key in account.keys.all()] == [FINGERPRINT]


def test_long_lines_that_begin_alike_are_each_kept(account: SftpAccount) -> None:
    begin = f'command="{"a" * 17_000}"'
    _put_in(account, f"{begin} {text('rsa3072').strip()}", f"{begin} {text('ed25519').strip()}")
    assert set(account.found_lines.values_list("fingerprint", flat=True)) == {OWN, FINGERPRINT}


def test_viewers_and_staff_read_it_and_have_no_button(account: SftpAccount, found: FoundLine) -> None:
    viewer = MembershipFactory(district=account.district, role=Role.DISTRICT_VIEWER).user
    for person in (viewer, StaffFactory(), StaffFactory(staff_role="system administrator")):
        client = Client()
        client.force_login(person)
        html = fresh(client).get(_page(account)).content.decode()
        assert "An administrator of the district says whether it is theirs." in _section(html)
        assert _place("found_adopt", found) not in html
        before = everything()
        assert client.post(_place("found_adopt", found)).status_code == 403
        assert everything() == before


# --- Ops ---------------------------------------------------------------------------------------------------------


def test_ops_see_each_line_with_nothing_in_it_that_acts(ops: Client, account: SftpAccount) -> None:
    _put_in(account, "# <script>alert(1)</script>\x1b[31m\u202etxt", text("ed25519").strip())
    html = _html(ops, "propagation_found")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u{1b}[31m\\u{202e}txt" in html
    assert "<script>alert" not in html
    assert FINGERPRINT in html
    assert "2 lines nobody has decided about." in html


def test_the_list_is_filtered_by_the_address(ops: Client, account: SftpAccount, found: FoundLine) -> None:
    other = HostFactory(name="upload-2")
    facts = {"username": "ghost.example.com", "line": "x", "line_digest": "1"}
    ghost = FoundLine.objects.create(host=other, state="dismissed", **facts)
    place = reverse("propagation_found")

    def rows(query: str) -> list[FoundLine]:
        return [row.record for row in ops.get(f"{place}?{query}").context["table"].rows]

    assert rows("") == [ghost, found]
    assert rows("state=kept") == [found]
    assert rows(f"host={other.pk}") == [ghost]
    assert rows("username=ghost") == [ghost]
    assert "No account of ours" in _html(ops, "propagation_found")


def test_all_clear_is_said(ops: Client) -> None:
    assert "All clear. Nothing undecided was found on a host." in _html(ops, "propagation_found")


def test_many_lines_come_a_page_at_a_time(ops: Client, account: SftpAccount) -> None:
    host = account.host
    FoundLine.objects.bulk_create(
        FoundLine(host=host, account=account, username=account.username, line=line, line_digest=str(number))
        for number, line in enumerate(many_lines(60))
    )
    assert len(ops.get(reverse("propagation_found")).context["table"].page.object_list) == PER_PAGE
    assert KeyFile.objects.count() == 1
