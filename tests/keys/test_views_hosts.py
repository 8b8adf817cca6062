"""SFTP hosts for ops: a new one set up step by step, its key compared, a changed key, another address."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from accounts.models import AuditEntry, SftpAccount
from hosts.connect import fingerprint
from hosts.models import Host
from tests.factories import StaffFactory
from tests.hosts.machine import Machine
from tests.hosts.serving import key_pair, public_line
from tests.rows import everything
from tests.signing_in import fresh

from .private_keys import KINDS, private_key
from .test_views_propagation import _html, _title, _words


@pytest.fixture
def ops(account: SftpAccount) -> Client:
    client = Client()
    client.force_login(StaffFactory(staff_role="ops"))
    return fresh(client)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A real sshd; the portal's key of its own `host()` is installed there, those of other rows are not."""
    made = Machine(tmp_path / "machine")
    yield made
    made.stop()


def _new(ops: Client, **told: object) -> Host:
    ops.post(reverse("host_new"), {"name": "upload-2", "address": "upload-2.example", "port": "22", **told})
    return Host.objects.get(name="upload-2")


def _connected(ops: Client, host: Host) -> str:
    return ops.post(reverse("host_connect", args=[host.pk])).content.decode()


# --- A new host --------------------------------------------------------------------------------------------------


def test_a_new_host_gets_a_key_of_the_portals_and_is_led_through_setting_it_up(ops: Client) -> None:
    host = _new(ops, address=" Upload-2.Example. ")
    assert (host.kind, host.state, host.address, host.host_key) == ("openssh", "new", "upload-2.example", "")
    assert host.client_key_public.startswith("ssh-ed25519 ")
    assert host.client_key_sealed
    assert AuditEntry.objects.get(action="host added").subject == "upload-2"
    html = _html(ops, "host", host.pk)
    assert _title(html) == "upload-2 is new. Set it up."
    assert host.client_key_public in html
    assert "install.sh --portal-key portal.pub" in html
    assert "Confirm this host key" not in html


@pytest.mark.parametrize(
    ("field", "typed"),
    [
        ("name", ""),
        ("name", "a\nb"),
        ("name", "<b>"),
        ("name", "x" * 61),
        ("address", ""),
        ("address", "sftp://upload.example"),
        ("address", "portal@upload.example"),
        ("address", "upload.example:22"),
        ("address", "-oProxyCommand=x"),
        ("address", "a..b"),
        ("port", "0"),
        ("port", "65536"),
        ("port", "x"),
    ],
)
def test_what_can_be_no_host_is_refused_beside_its_field(ops: Client, field: str, typed: str) -> None:
    before = everything()
    told = {"name": "upload-2", "address": "upload-2.example", "port": "22", field: typed}
    answer = ops.post(reverse("host_new"), told)
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    assert everything() == before


@pytest.mark.parametrize(("typed", "kept"), [("[2001:DB8::1]", "2001:db8::1"), ("203.0.113.7", "203.0.113.7")])
def test_an_ip_address_is_kept_in_its_one_form(ops: Client, typed: str, kept: str) -> None:
    assert _new(ops, address=typed).address == kept


def test_a_name_that_is_taken_is_refused_beside_its_field(ops: Client) -> None:
    _new(ops)
    before = everything()
    answer = ops.post(reverse("host_new"), {"name": "upload-2", "address": "b.example", "port": "22"})
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, ["name"])
    assert everything() == before


def test_a_private_key_typed_into_a_field_is_not_shown_again(ops: Client) -> None:
    private = private_key(next(iter(KINDS)))
    answer = ops.post(reverse("host_new"), {"name": private, "address": "a.example", "port": "22"})
    assert answer.status_code == 422
    assert private.splitlines()[1] not in answer.content.decode()


# --- Trying, comparing, confirming -------------------------------------------------------------------------------


def test_a_host_that_is_not_there_is_told_and_leaves_its_row_alone(ops: Client) -> None:
    host = _new(ops, address="127.0.0.1", port="1")
    before = everything()
    html = _connected(ops, host)
    assert "The machine answers: no" in _words(html)
    assert "Its host key is the confirmed one: not tried" in _words(html)
    assert everything() == before


def test_a_new_machine_is_taken_for_the_right_one_only_after_somebody_has_compared(
    ops: Client, machine: Machine
) -> None:
    host = _new(ops, address="127.0.0.1", port=str(machine.sshd.port))
    shown = fingerprint(machine.host_key)
    assert "Its host key is the confirmed one: to be confirmed by you" in _words(_connected(ops, host))
    host.refresh_from_db()
    assert (host.host_key, host.offered_key) == ("", machine.host_key)
    html = _html(ops, "host", host.pk)
    assert _title(html) == "upload-2 is new. Compare its host key."
    assert f'name="offered" value="{shown}"' in html
    place = reverse("host_confirm", args=[host.pk])
    line = f"256 {shown} root@upload-2 (ED25519)"
    assert ops.post(place, {"offered": shown, "pasted": line}).url == reverse("host", args=[host.pk])
    host.refresh_from_db()
    assert (host.state, host.fingerprint) == ("ready", shown)
    assert AuditEntry.objects.get(action="host key confirmed").details["fingerprint"] == shown
    # Its key is right now, but nobody has installed the portal's own key there.
    words = _words(_connected(ops, host))
    assert "Its host key is the confirmed one: yes" in words
    assert "It lets the portal in: no" in words
    assert "sign-in-refused" in words


OTHER = "SHA256:" + "A" * 43


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"pasted": OTHER},
        {"pasted": f"256 {OTHER} root@upload-2 (ED25519)", "compared": "on"},
        {"pasted": "yes", "compared": "on"},
        {"pasted": "SHA256:", "compared": "on"},
        {"compared": "on", "offered": OTHER},
        {"compared": "on", "offered": ""},
    ],
    ids=["nothing", "another", "another, and a tick", "no fingerprint", "a stump", "not offered", "none offered"],
)
def test_a_key_that_was_not_compared_is_not_confirmed(ops: Client, tmp_path: Path, told: dict[str, str]) -> None:
    host, shown = _offered(ops, tmp_path)
    before = everything()
    answer = ops.post(reverse("host_confirm", args=[host.pk]), {"offered": shown, **told})
    assert answer.status_code == 422
    assert answer.context["form"].errors
    assert everything() == before


def _offered(ops: Client, directory: Path) -> tuple[Host, str]:
    host = _new(ops)
    host.offered_key = " ".join(public_line(key_pair(directory, "offered")).split()[:2])
    host.save()
    return host, fingerprint(host.offered_key)


@pytest.mark.parametrize("pasted", ["", "{}", "256 {} root@upload-2 (ED25519)", " {} "])
def test_a_fingerprint_is_compared_by_us_or_by_eye(ops: Client, tmp_path: Path, pasted: str) -> None:
    host, shown = _offered(ops, tmp_path)
    told = {"pasted": pasted.format(shown)} if pasted else {"compared": "on"}
    assert ops.post(reverse("host_confirm", args=[host.pk]), {"offered": shown, **told}).status_code == 302
    host.refresh_from_db()
    assert host.fingerprint == shown


def test_two_hosts_with_one_key_are_refused_and_the_page_says_why(ops: Client, tmp_path: Path) -> None:
    host, shown = _offered(ops, tmp_path)
    Host.objects.create(name="twin", kind=Host.Kind.OPENSSH, address="b.example", host_key=host.offered_key)
    before = everything()
    answer = ops.post(reverse("host_confirm", args=[host.pk]), {"offered": shown, "pasted": shown})
    assert answer.status_code == 422
    assert "“twin” has the same host key" in answer.content.decode()
    assert everything() == before


@pytest.mark.parametrize("name", ["host_confirm", "host_restart", "host_edit"])
def test_an_old_sign_in_confirms_and_changes_nothing(ops: Client, tmp_path: Path, name: str) -> None:
    host, shown = _offered(ops, tmp_path)
    told = {"offered": shown, "pasted": shown, "address": "b.example", "port": "22"}
    before = everything()
    answer = fresh(ops, 3600).post(reverse(name, args=[host.pk]), told)
    assert answer.url.startswith(reverse("account_reauthenticate"))
    assert everything() == before


def test_a_try_comes_as_a_part_of_the_page_or_as_one_of_its_own(ops: Client) -> None:
    place = reverse("host_connect", args=[_new(ops, address="127.0.0.1", port="1").pk])
    assert "<h1>" in ops.post(place).content.decode()
    part = ops.post(place, headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith('<div id="host-body">')


# --- A host whose key has changed --------------------------------------------------------------------------------


def test_a_changed_key_stops_the_host_and_both_are_shown(ops: Client, machine: Machine, tmp_path: Path) -> None:
    was = " ".join(public_line(key_pair(tmp_path, "was")).split()[:2])
    host = _new(ops, address="127.0.0.1", port=str(machine.sshd.port))
    Host.objects.filter(pk=host.pk).update(host_key=was, fingerprint=fingerprint(was), state="ready")
    assert "host-key-changed" in _connected(ops, host)
    html = _html(ops, "host", host.pk)
    assert _title(html) == "upload-2 is stopped, until you have looked."
    plain = _words(html).replace(" ", "")
    assert fingerprint(was) in plain
    assert fingerprint(machine.host_key) in plain
    # Tried once more, it still shows the other key.
    assert ops.post(reverse("host_restart", args=[host.pk])).status_code == 302
    host.refresh_from_db()
    assert (host.state, host.host_key) == ("ready", was)
    _connected(ops, host)
    host.refresh_from_db()
    assert (host.state, host.host_key) == ("stopped", was)
    shown = fingerprint(machine.host_key)
    ops.post(reverse("host_confirm", args=[host.pk]), {"offered": shown, "pasted": shown})
    host.refresh_from_db()
    assert (host.state, host.host_key) == ("ready", machine.host_key)
    assert AuditEntry.objects.get(action="host key confirmed").details["before"] == fingerprint(was)


def test_a_host_that_is_not_stopped_is_not_started_again(ops: Client) -> None:
    host = _new(ops)
    before = everything()
    answer = ops.post(reverse("host_restart", args=[host.pk]), follow=True)
    assert "is not stopped any more" in answer.content.decode()
    assert everything() == before


def test_a_host_to_which_the_portal_has_a_key_is_told_how_far_it_gets(ops: Client, machine: Machine) -> None:
    host = machine.host(fingerprint=fingerprint(machine.host_key))
    host.save()
    words = _words(_connected(ops, host))
    assert "It lets the portal in: yes" in words
    assert "The portal reaches the directory of key files: no" in words
    assert "Run the installer on the machine once more." in words


# --- Address, and the embedded host ------------------------------------------------------------------------------


def test_another_address_keeps_the_confirmed_key(ops: Client, tmp_path: Path) -> None:
    host, shown = _offered(ops, tmp_path)
    ops.post(reverse("host_confirm", args=[host.pk]), {"offered": shown, "pasted": shown})
    answer = ops.post(reverse("host_edit", args=[host.pk]), {"address": "b.example", "port": "2022"})
    assert answer.url == reverse("host", args=[host.pk])
    host.refresh_from_db()
    assert (host.address, host.port, host.fingerprint) == ("b.example", 2022, shown)
    assert AuditEntry.objects.get(action="host address set").details["address"] == "b.example:2022"


@pytest.mark.parametrize("name", ["host_connect", "host_confirm", "host_restart", "host_edit"])
def test_the_embedded_host_sets_itself_up(ops: Client, account: SftpAccount, name: str) -> None:
    before = everything()
    assert ops.post(reverse(name, args=[account.host.pk])).status_code == 404
    assert everything() == before


def test_the_list_says_who_needs_somebody(ops: Client, account: SftpAccount) -> None:
    assert _title(_html(ops, "hosts")) == "All clear. 1 host, none in trouble."
    _new(ops)
    assert _title(_html(ops, "hosts")) == "1 host needs you."
    Host.objects.filter(name="upload-2").delete()
    Host.objects.update(tries=2, reason="The host did not answer in time.")
    assert _title(_html(ops, "hosts")) == "1 host does not answer."
