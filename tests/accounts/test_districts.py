"""Opening, renaming, suspending and closing districts; one by one and by a CSV file."""

import re
from collections.abc import Callable

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from accounts import services
from accounts.core import names
from accounts.core.roster import read_roster
from accounts.models import AuditEntry, District, Invitation, OutboxMessage, RetiredUsername, SftpAccount
from hosts.models import Host
from keys.models import KeyFile
from tests.factories import DistrictFactory, HostFactory, StaffFactory
from tests.rows import everything
from tests.signing_in import fresh


def _open(name: str = "Oak", domain: str = "oak.k12.oh.us") -> District:
    HostFactory()
    return services.district_open(name, domain, time_zone="UTC", actor=None)


def _rename(district: District, domain: str, name: str = "Oak") -> None:
    services.district_rename(district, name=name, domain=domain, actor=None)


def _suspend(district: District) -> None:
    services.district_state_set(district, District.State.SUSPENDED, reason="x", actor=None)


def _rename_to_elm(district: District) -> None:
    _rename(district, "elm.k12.oh.us")


@pytest.mark.django_db
class TestOne:
    """One district."""

    def test_a_district_is_open_with_account_and_key_file(self) -> None:
        district = _open("  Oak  ", " OAK.k12.oh.us ")
        assert (district.name, district.slug, district.domain, district.state) == (
            "Oak",
            "oak",
            "oak.k12.oh.us",
            "active",
        )
        assert district.sftp_account.username == "oak.k12.oh.us"
        assert KeyFile.objects.get().state == "waiting"
        assert AuditEntry.objects.get().action == "district opened"

    @pytest.mark.parametrize("domain", ["", "no-dot", "a b.us", "../x.us"])
    def test_a_domain_that_is_none_opens_nothing(self, domain: str) -> None:
        with pytest.raises(names.NameRefused):
            _open(domain=domain)
        assert not District.objects.exists()

    def test_without_a_host_nothing_is_opened(self) -> None:
        Host.objects.all().delete()
        with pytest.raises(services.Refused) as refused:
            services.district_open("Oak", "oak.k12.oh.us", time_zone="UTC", actor=None)
        assert (refused.value.code, District.objects.count()) == ("no-host", 0)

    @pytest.mark.parametrize("state", ["active", "suspended", "closed"])
    def test_a_domain_that_is_taken_is_refused_whatever_became_of_its_district(self, state: str) -> None:
        services.district_state_set(_open(), District.State(state), reason="x", actor=None)
        other = DistrictFactory()
        before = everything()
        for attempt in (lambda: _open("Other"), lambda: _rename(other, "oak.k12.oh.us")):
            with pytest.raises(services.Refused) as refused:
                attempt()
            assert refused.value.code == "domain-taken"
        assert everything() == before

    def test_a_name_given_up_is_free_when_the_host_has_forgotten_it(self) -> None:
        _rename(_open(), "elm.k12.oh.us")
        with pytest.raises(services.Refused):
            _open("Other", "oak.k12.oh.us")
        RetiredUsername.objects.update(cleared=timezone.now())
        assert _open("Other", "oak.k12.oh.us").sftp_account.username == "oak.k12.oh.us"

    def test_a_district_may_go_back_to_the_name_it_just_had(self) -> None:
        district = _open()
        _rename(district, "elm.k12.oh.us")
        _rename(district, "oak.k12.oh.us")
        assert SftpAccount.objects.get().username == "oak.k12.oh.us"
        assert list(RetiredUsername.objects.values_list("username", flat=True)) == ["elm.k12.oh.us"]

    def test_a_new_name_alone_touches_no_account(self) -> None:
        district = _open()
        _rename(district, "oak.k12.oh.us", name="Oak Local")
        assert (District.objects.get().name, District.objects.get().slug) == ("Oak Local", "oak")
        assert (KeyFile.objects.get().version, RetiredUsername.objects.count()) == (1, 0)

    def test_a_change_of_state_asks_for_the_host_once_and_is_kept_with_its_reason(self) -> None:
        district = _open()
        for _ in range(2):
            services.district_state_set(district, District.State.SUSPENDED, reason="unpaid", actor=None)
        assert KeyFile.objects.get().version == 2
        entry = AuditEntry.objects.get(action="district suspended")
        assert entry.details == {"from": "active", "to": "suspended", "reason": "unpaid"}

    @pytest.mark.parametrize("change", [_suspend, _rename_to_elm], ids=["suspended", "renamed"])
    def test_the_key_file_is_locked_before_all_else_as_a_save_does(self, change: Callable[[District], None]) -> None:
        """Else the two wait for each other, and PostgreSQL ends one of them."""
        district = _open()
        with CaptureQueriesContext(connection) as asked:
            change(district)
        named = (re.search(r'(?:FROM|INTO|UPDATE) "(\w+)"', query["sql"]) for query in asked)
        tables = list(dict.fromkeys(found[1] for found in named if found))
        # The account only to know which file is its own.
        assert tables[:2] == ["accounts_sftpaccount", "keys_keyfile"]

    def test_a_change_of_domain_must_be_confirmed_on_the_page(self) -> None:
        district, client = _open(), Client()
        client.force_login(StaffFactory(staff_role="system administrator"))
        client, place = fresh(client), reverse("district_rename", args=[district.slug])
        answer = client.post(place, {"name": "Oak", "domain": "elm.k12.oh.us"})
        assert answer.status_code == 422
        assert District.objects.get().domain == "oak.k12.oh.us"
        assert client.post(place, {"name": "Oak", "domain": "elm.k12.oh.us", "understood": "on"}).status_code == 302
        assert District.objects.get().domain == "elm.k12.oh.us"

    @pytest.mark.parametrize(
        ("name", "form", "told"),
        [
            ("district_invite", "invite", {"name": "Ann", "email": "ann@oak.example", "role": "district viewer"}),
            ("district_state", "state_form", {"state": "suspended", "reason": "They asked."}),
            ("district_rename", "rename", {"name": "Elm", "domain": "oak.k12.oh.us"}),
        ],
    )
    def test_what_waits_for_the_password_is_shown_again_to_who_goes_back(
        self, name: str, form: str, told: dict[str, str]
    ) -> None:
        district, client = _open(), Client()
        client.force_login(StaffFactory(staff_role="system administrator"))
        client = fresh(client, seconds_ago=301)
        before = everything()
        asked = client.post(reverse(name, args=[district.slug]), told)
        page = f"{reverse('district_manage', args=[district.slug])}?typed"
        assert f'href="{page}"' in client.get(asked.url).content.decode()
        shown = client.get(page).context[form]
        assert {field: shown[field].value() for field in told} == told
        assert everything() == before

    def test_whoever_opens_a_district_chooses_its_host_if_there_is_a_choice(self) -> None:
        usual, other = HostFactory(), HostFactory(name="upload-2")
        HostFactory(name="upload-3", state="new")
        client, place = Client(), reverse("district_open")
        client.force_login(StaffFactory(staff_role="system administrator"))
        field = client.get(place).context["form"].fields["host"]
        assert (list(field.queryset), field.initial) == ([usual, other], usual)
        oak = {"name": "Oak", "domain": "oak.k12.oh.us", "time_zone": "UTC"}
        assert client.post(place, oak | {"host": other.pk}).status_code == 302
        assert SftpAccount.objects.get(username="oak.k12.oh.us").host == other
        assert AuditEntry.objects.get(action="district opened").details == {"host": "upload-2"}

    def test_a_host_that_was_stopped_in_the_meantime_gets_no_district_and_no_other_host_does(self) -> None:
        HostFactory()
        other = HostFactory(name="upload-2", state="stopped")
        client, place = Client(), reverse("district_open")
        client.force_login(StaffFactory(staff_role="system administrator"))
        assert "host" not in client.get(place).context["form"].fields
        oak = {"name": "Oak", "domain": "oak.k12.oh.us", "time_zone": "UTC"}
        answer = client.post(place, oak | {"host": other.pk})
        assert answer.status_code == 422
        assert "This host is not ready for districts any more." in answer.content.decode()
        assert not District.objects.exists()
        with pytest.raises(services.Refused) as refused:
            services.district_open("Oak", "oak.k12.oh.us", time_zone="UTC", actor=None, host=other)
        assert refused.value.code == "host-not-ready"
        assert client.post(place, oak).status_code == 302


# --- The CSV file ------------------------------------------------------------------------------------------------

ZONES = ("America/New_York", "UTC")
HEADER = "name,domain,time_zone,administrator_name,administrator_email\n"


def _problems(text: str, taken: tuple[str, ...] = ()) -> list[str]:
    found = read_roster(text, taken=taken, zones=ZONES, default_zone="UTC")
    return [*found.problems, *(problem for row in found.rows for problem in row.problems)]


def test_a_good_file_is_read_row_by_row_with_its_lines() -> None:
    text = f"{HEADER}Oak,OAK.k12.oh.us,,Ann,ann@oak.example\n\nElm,elm.k12.oh.us,America/New_York,,\n"
    found = read_roster(text, taken=(), zones=ZONES, default_zone="UTC")
    assert found.is_fine
    assert [(row.line, row.domain, row.time_zone) for row in found.rows] == [
        (2, "oak.k12.oh.us", "UTC"),
        (4, "elm.k12.oh.us", "America/New_York"),
    ]


LONG = "x" * 151
BAD_FILES = {
    "empty": ("", "must name the columns"),
    "no domain column": ("name\nOak\n", "missing: domain"),
    "a column too many": ("name,domain,colour\nOak,oak.us,red\n", "Unknown columns: colour"),
    "only a header": (HEADER, "no districts"),
    "a bad domain": ("name,domain\nOak,oak\n", "parts joined by dots"),
    "twice": ("name,domain\nOak,oak.us\nElm,OAK.us\n", "twice in this file"),
    "taken": ("name,domain\nOak,taken.us\n", "is taken"),
    "no name": ("name,domain\n,oak.us\n", "needs a name"),
    "a long name": (f"name,domain\n{LONG},oak.us\n", "at most 150"),
    "a long name of a person": (f"{HEADER}Oak,oak.us,,{LONG},\n", "at most 150"),
    "a zone": (f"{HEADER}Oak,oak.us,Mars/Base,,\n", "not a time zone"),
    "no address": (f"{HEADER}Oak,oak.us,,Ann,ann at oak\n", "not an e-mail address"),
    "an address without a domain": (f"{HEADER}Oak,oak.us,,Ann,ann@oak\n", "not an e-mail address"),
    "two addresses": (f"{HEADER}Oak,oak.us,,Ann,ann@oak.us;b@oak.us\n", "not an e-mail address"),
    "an endless address": (f"{HEADER}Oak,oak.us,,Ann,{'a' * 250}@oak.us\n", "not an e-mail address"),
    "a value too many": ("name,domain\nOak,oak.us,more\n", "more values"),
    "a NUL": ("name,domain\nO\0ak,oak.us\n", "cannot be shown"),
    "an endless header": ("x" * 200_000, "not proper CSV"),
    "an endless value": (f"name,domain\n{'x' * 200_000},oak.us\n", "not proper CSV"),
}


@pytest.mark.parametrize(("text", "says"), BAD_FILES.values(), ids=BAD_FILES)
def test_what_is_wrong_with_a_file_is_said(text: str, says: str) -> None:
    assert any(says in problem for problem in _problems(text, taken=("taken.us",)))


@pytest.fixture
def system(db: None) -> Client:
    HostFactory()
    client = Client()
    client.force_login(StaffFactory(staff_role="system administrator"))
    return fresh(client)


def _import(client: Client, text: str, **more: str) -> int:
    return client.post(reverse("districts_import"), {"text": text, **more}).status_code


def test_a_preview_opens_nothing_and_a_second_yes_opens_all(system: Client) -> None:
    text = f"{HEADER}Oak,oak.k12.oh.us,,Ann,ann@oak.example\nElm,elm.k12.oh.us,,,\n"
    before = everything()
    assert _import(system, text) == 200
    assert everything() == before
    assert _import(system, text, confirm="1") == 302
    assert sorted(District.objects.values_list("domain", flat=True)) == ["elm.k12.oh.us", "oak.k12.oh.us"]
    assert [invitation.email for invitation in Invitation.objects.all()] == ["ann@oak.example"]
    assert OutboxMessage.objects.filter(kind="invitation").count() == 1


@pytest.mark.parametrize("last", ["Bad,no-dot,,,", "Elm,elm.k12.oh.us,,Sam,staff@vendor.example"])
def test_one_bad_row_opens_none_and_is_said(system: Client, last: str) -> None:
    StaffFactory(email="staff@vendor.example")
    before = everything()
    assert _import(system, f"{HEADER}Oak,oak.k12.oh.us,,,\n{last}\n", confirm="1") == 422
    assert everything() == before


@pytest.mark.parametrize("text", ["\0", "x" * 200_000, "name,domain\n" + "x" * 200_000])
def test_a_file_of_nonsense_is_refused_and_not_fallen_over(system: Client, text: str) -> None:
    assert _import(system, text, confirm="1") == 422
