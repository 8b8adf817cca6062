"""SFTP hosts for ops: set up step by step, keys compared and made anew, another address, condition, removed."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import AuditEntry, SftpAccount, User
from hosts import condition, helper
from hosts.connect import fingerprint
from hosts.models import AccountsTold, DamagedHome, Host, SignIn
from keys import propagation
from keys.models import HostRun, PropagationRun
from keys.trial import Step, Trial
from tests.factories import DistrictFactory, HostFactory, KeyFactory, StaffFactory
from tests.hosts.machine import Machine
from tests.hosts.serving import key_pair, public_line
from tests.rows import everything
from tests.signing_in import fresh

from .private_keys import KINDS, private_key
from .samples import text
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


CHANGES = ["host_confirm", "host_restart", "host_edit", "host_portal_key", "host_remove"]


@pytest.mark.parametrize("name", CHANGES)
def test_an_old_sign_in_confirms_and_changes_nothing(ops: Client, tmp_path: Path, name: str) -> None:
    host, shown = _offered(ops, tmp_path)
    place = {"address": "b.example", "port": "22", "username": "sftp-portal"}
    told = {"offered": shown, "pasted": shown, "reason": "A test.", "typed": host.name, **place}
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
    Host.objects.update(accounts_digest="0" * 64)
    ops.post(reverse("host_confirm", args=[host.pk]), {"offered": shown, "pasted": shown})
    host.refresh_from_db()
    # A machine that was set up anew is told of its accounts again.
    assert (host.state, host.host_key, host.accounts_digest) == ("ready", machine.host_key, "")
    assert AuditEntry.objects.get(action="host key confirmed").details["before"] == fingerprint(was)


def test_a_host_that_may_be_tried_again_is_not_called_working_before_it_was(
    ops: Client, account: SftpAccount, tmp_path: Path
) -> None:
    key = " ".join(public_line(key_pair(tmp_path, "was")).split()[:2])
    told = {"state": "stopped", "reason": "It was stopped.", "last_ok": timezone.now()}
    host = HostFactory(name="upload-3", kind=Host.Kind.OPENSSH, host_key=key, **told)
    ops.post(reverse("host_restart", args=[host.pk]))
    html = _html(ops, "host", host.pk)
    assert _title(html) == f"{host.name} needs you."
    assert "nothing was tried yet" in html
    assert "Nobody needs to do anything." not in html
    # The first answer that is good makes it so.
    Host.objects.filter(pk=host.pk).update(kind=Host.Kind.EMBEDDED)
    SftpAccount.objects.filter(pk=account.pk).update(host=host)
    propagation.run_do(PropagationRun.objects.create(cause="hourly").pk)
    assert _title(_html(ops, "host", host.pk)) == f"{host.name} is working."


def test_new_districts_go_where_ops_say(ops: Client, account: SftpAccount) -> None:
    host, other = _new(ops), HostFactory(name="upload-3")
    assert "go elsewhere" in _html(ops, "host", other.pk)
    assert DistrictFactory().sftp_account.host == account.host
    ops.post(reverse("host_take_new", args=[other.pk]))
    assert "go here" in _words(_html(ops, "host", other.pk))
    assert "go elsewhere" in _html(ops, "host", account.host.pk)
    assert AuditEntry.objects.get(action="new districts sent to host").subject == "upload-3"
    assert DistrictFactory().sftp_account.host == other
    # One that is not ready gets none before it is.
    ops.post(reverse("host_take_new", args=[host.pk]))
    assert "go here as soon as it is ready" in _words(_html(ops, "host", host.pk))
    assert DistrictFactory().sftp_account.host == account.host
    Host.objects.filter(pk=host.pk).update(state="ready")
    assert DistrictFactory().sftp_account.host == host
    # What a removed host was chosen for does not stand in the way of the next.
    Host.objects.filter(pk=host.pk).update(removed=timezone.now())
    ops.post(reverse("host_take_new", args=[other.pk]))
    assert DistrictFactory().sftp_account.host == other


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
    assert "or run the installer there once more." in words


# --- Address, and the embedded host ------------------------------------------------------------------------------


def test_another_address_keeps_the_confirmed_key(ops: Client, tmp_path: Path) -> None:
    host, shown = _offered(ops, tmp_path)
    ops.post(reverse("host_confirm", args=[host.pk]), {"offered": shown, "pasted": shown})
    Host.objects.update(accounts_digest="0" * 64)
    told = {"address": "b.example", "port": "2022", "username": "portal_2"}
    answer = ops.post(reverse("host_edit", args=[host.pk]), told)
    assert answer.url == reverse("host", args=[host.pk])
    host.refresh_from_db()
    assert (host.address, host.port, host.username, host.fingerprint) == ("b.example", 2022, "portal_2", shown)
    # Whatever machine stands there is told of its accounts again.
    assert host.accounts_digest == ""
    details = AuditEntry.objects.get(action="host address set").details
    assert (details["address"], details["user name"]) == ("b.example:2022", "portal_2")


def test_another_machine_at_the_new_address_stops_the_host_and_is_asked_about(
    ops: Client, machine: Machine, tmp_path: Path
) -> None:
    host, shown = _offered(ops, tmp_path)
    ops.post(reverse("host_confirm", args=[host.pk]), {"offered": shown, "pasted": shown})
    told = {"address": "127.0.0.1", "port": str(machine.sshd.port), "username": "sftp-portal"}
    ops.post(reverse("host_edit", args=[host.pk]), told)
    _connected(ops, host)
    host.refresh_from_db()
    assert (host.state, host.fingerprint, host.offered_key) == ("stopped", shown, machine.host_key)


@pytest.mark.parametrize("typed", ["", "root", "Portal", "-x", "a b", "a/b", "a:b", "x" * 33])
def test_a_user_name_that_is_none_or_roots_is_refused_beside_its_field(ops: Client, typed: str) -> None:
    host = _new(ops)
    before = everything()
    told = {"address": "b.example", "port": "22", "username": typed}
    answer = ops.post(reverse("host_edit", args=[host.pk]), told)
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, ["username"])
    assert everything() == before


@pytest.mark.parametrize("name", ["host_connect", *CHANGES])
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


@pytest.mark.parametrize(
    ("told", "title", "said"),
    [
        (
            {"declined_code": "helper-silent", "declined_reason": "Its helper does not answer."},
            "1 host has a helper that does not answer.",
            "answers, but its helper does not.",
        ),
        ({"declined_code": "drops-too-many", "declined_reason": "Too many."}, "1 host needs you.", "Too many."),
        (
            {"refused": [["a.us", "name-of-system", "It has such a user."]]},
            "1 host needs you.",
            "“a.us”: It has such a",
        ),
    ],
    ids=["silent", "refused", "one of them"],
)
def test_a_host_without_the_accounts_it_should_have_is_not_called_well(
    ops: Client, account: SftpAccount, told: dict[str, object], title: str, said: str
) -> None:
    AccountsTold.objects.create(host=account.host, declined_since=timezone.now(), **told)
    assert _title(_html(ops, "hosts")) == title
    assert said in _words(_html(ops, "host", account.host_id))
    assert account.host.name in _words(_html(ops, "propagation"))
    assert "Nobody needs to do anything" not in _words(_html(ops, "propagation"))


# --- A new key for the portal ------------------------------------------------------------------------------------


def _set_up(machine: Machine) -> Host:
    host = machine.host(name="upload-2", fingerprint=fingerprint(machine.host_key))
    host.last_ok = timezone.now() - timedelta(hours=1)
    host.save()
    return host


def test_a_new_key_for_the_portal_is_shown_until_the_host_lets_it_in(ops: Client, machine: Machine) -> None:
    host = _set_up(machine)
    place = reverse("host_portal_key", args=[host.pk])
    assert place in _html(ops, "host", host.pk)
    before = host.client_key_sealed
    answer = ops.post(place, {"reason": "A backup was lost."})
    assert answer.url == reverse("host", args=[host.pk])
    host.refresh_from_db()
    assert host.client_key_sealed != before
    assert AuditEntry.objects.get(action="portal key for host made").details["reason"] == "A backup was lost."
    html = _html(ops, "host", host.pk)
    assert _title(html) == "upload-2 does not have the portal’s new key yet."
    assert "Nothing is brought to it until the key is there." in _words(html)
    assert host.client_key_public in html
    assert _title(_html(ops, "hosts")) == "1 host needs you."
    # It is really of no use before it is installed.
    assert "sign-in-refused" in _connected(ops, host)
    machine.sshd.write(host.client_key_public.encode("ascii") + b"\n")
    assert "It lets the portal in: yes" in _words(_connected(ops, host))
    # As the next run notes it.
    Host.objects.update(last_ok=timezone.now(), reason="")
    assert _title(_html(ops, "host", host.pk)) == "upload-2 is working."


def test_no_key_is_made_without_a_reason(ops: Client, machine: Machine) -> None:
    host = _set_up(machine)
    before = everything()
    answer = ops.post(reverse("host_portal_key", args=[host.pk]), {"reason": " "})
    assert (answer.status_code, list(answer.context["form"].errors)) == (422, ["reason"])
    assert everything() == before


# --- Removing ----------------------------------------------------------------------------------------------------


def test_a_host_goes_with_its_keys_and_leaves_its_history(ops: Client, tmp_path: Path) -> None:
    host, shown = _offered(ops, tmp_path)
    offered = host.offered_key
    ops.post(reverse("host_confirm", args=[host.pk]), {"offered": shown, "pasted": shown})
    SignIn.objects.create(host=host, username="a.example", at=timezone.now(), accepted=True, address="203.0.113.7")
    run = PropagationRun.objects.create(cause="hourly", state="done")
    HostRun.objects.create(run=run, host=host, state=HostRun.State.STOPPED, finished=timezone.now(), unasked=30)
    assert "Run stopped on upload-2" in _html(ops, "propagation")
    place = reverse("host_remove", args=[host.pk])
    answer = ops.post(place, {"reason": "Too old.", "typed": "upload-2"})
    assert answer.url == reverse("hosts")
    assert not Host.objects.filter(pk=host.pk).exists()
    gone = Host.every.get(pk=host.pk)
    assert (gone.client_key_sealed, gone.host_key, gone.state) == ("", "", "stopped")
    assert SignIn.objects.get().host == gone
    entry = AuditEntry.objects.get(action="host removed")
    assert (entry.subject, entry.details["reason"], entry.details["fingerprint"]) == ("upload-2", "Too old.", shown)
    assert ops.get(reverse("host", args=[host.pk])).status_code == 404
    assert gone.name in _html(ops, "propagation_run", run.pk)
    assert "Run stopped on" not in _html(ops, "propagation")
    # Name and machine may come back.
    again = _new(ops)
    Host.objects.filter(pk=again.pk).update(offered_key=offered)
    ops.post(reverse("host_confirm", args=[again.pk]), {"offered": shown, "pasted": shown})
    assert Host.objects.get(name="upload-2").fingerprint == shown


@pytest.mark.parametrize("told", [{"typed": "upload-2"}, {"reason": "x"}, {"reason": "x", "typed": "Upload-2"}])
def test_a_host_is_not_removed_without_its_name_and_a_reason(ops: Client, told: dict[str, str]) -> None:
    host = _new(ops)
    before = everything()
    assert ops.post(reverse("host_remove", args=[host.pk]), told).status_code == 422
    assert everything() == before


def test_a_host_with_an_account_is_not_removed(ops: Client, account: SftpAccount) -> None:
    host = _new(ops)
    SftpAccount.objects.update(host=host)
    before = everything()
    place = reverse("host_remove", args=[host.pk])
    assert place not in _html(ops, "host", host.pk)
    answer = ops.post(place, {"reason": "x", "typed": "upload-2"})
    assert answer.status_code == 422
    assert "Move them first." in answer.content.decode()
    assert everything() == before


# --- How its machine is ------------------------------------------------------------------------------------------


def test_what_the_machine_told_is_shown_and_a_full_disk_needs_somebody(ops: Client, account: SftpAccount) -> None:
    assert "Free space not known yet" in _words(_html(ops, "host", account.host.pk))
    (asked,) = condition.hosts_to_ask()
    condition.condition_ask(asked)
    account.host.refresh_from_db()
    assert account.host.free_bytes > 0
    assert "Free space not known yet" not in _words(_html(ops, "host", account.host.pk))
    told = {"openssh": "OpenSSH_9.2p1", "system": "Debian 12", "helper": "1", "accounts_there": 7}
    Host.objects.update(free_bytes=5 * 1024**3, last_ok=timezone.now(), **told)
    words = _words(_html(ops, "host", account.host.pk))
    assert "; 7 on the machine" in words
    assert "OpenSSH_9.2p1, Debian 12, helper 1" in words
    assert _title(_html(ops, "hosts")) == "All clear. 1 host, none in trouble."
    Host.objects.update(free_bytes=300 * 1024**2)
    assert _title(_html(ops, "host", account.host.pk)) == f"The disk of {account.host.name} is nearly full."
    assert _title(_html(ops, "hosts")) == "1 host needs you."


def test_only_hosts_that_may_be_spoken_to_are_asked(ops: Client, account: SftpAccount, tmp_path: Path) -> None:
    host, _ = _offered(ops, tmp_path)
    assert condition.hosts_to_ask() == [account.host.pk]
    for told, is_asked in (
        ({"host_key": host.offered_key, "state": "ready"}, True),
        ({"next_try": timezone.now() + timedelta(hours=1)}, False),
        ({"next_try": timezone.now() - timedelta(hours=1)}, True),
        ({"state": "stopped"}, False),
    ):
        Host.objects.filter(pk=host.pk).update(**told)
        assert (host.pk in condition.hosts_to_ask()) is is_asked


def test_a_host_that_does_not_answer_keeps_what_it_told_last(ops: Client, tmp_path: Path) -> None:
    host, shown = _offered(ops, tmp_path)
    ops.post(reverse("host_confirm", args=[host.pk]), {"offered": shown, "pasted": shown})
    Host.objects.filter(pk=host.pk).update(address="127.0.0.1", port=1, free_bytes=7)
    before = everything()
    condition.condition_ask(host.pk)
    assert everything() == before


# --- Damaged homes -----------------------------------------------------------------------------------------------


def _damaged(account: SftpAccount, code: str, **told: object) -> DamagedHome:
    reason = "Something lies in its home on the host where the directory “upload” should be. Remove it there."
    return DamagedHome.objects.create(
        host=account.host, username=account.username, **({"code": code, "reason": reason} | told)
    )


def test_a_damaged_home_is_told_with_its_account_what_is_wrong_and_what_to_do(
    ops: Client, account: SftpAccount
) -> None:
    Host.objects.update(last_ok=timezone.now())
    assert "Damaged homes" not in _html(ops, "host", account.host.pk)
    other = DistrictFactory(domain="aa.k12.oh.us").sftp_account
    _damaged(account, "upload-blocked")
    _damaged(other, "home-blocked", reason="<b>It</b> is odd.")
    html = _html(ops, "host", account.host.pk)
    assert _title(html) == f"{account.host.name} needs you."
    words = _words(html)
    assert "2 accounts have a home on this machine that is not as it should be" in words
    assert "Move what lies there elsewhere." in words
    # Who cannot upload comes first.
    assert words.index(f"{account.username} Not possible") < words.index(f"{other.username} Possible")
    assert reverse("technical_settings", args=[account.district.slug]) in html
    assert "&lt;b&gt;It&lt;/b&gt; is odd." in html
    assert _title(_html(ops, "hosts")) == "1 host needs you."
    assert f"{account.host.name}: 2 accounts have a damaged home there." in _words(_html(ops, "propagation"))
    DamagedHome.objects.all().delete()
    assert _title(_html(ops, "hosts")) == "All clear. 1 host, none in trouble."


def test_of_many_damaged_homes_some_are_shown_and_all_are_counted(ops: Client, account: SftpAccount) -> None:
    DamagedHome.objects.bulk_create(
        DamagedHome(host=account.host, username=f"d{number}.example", code="home-blocked", reason="x")
        for number in range(51)
    )
    words = _words(_html(ops, "host", account.host.pk))
    assert "51 accounts have a home" in words
    assert "The first 50 of 51 are shown." in words


@pytest.mark.parametrize(("code", "is_told"), [("upload-blocked", True), ("home-blocked", False)])
def test_a_district_reads_that_it_cannot_upload_and_only_then(account: SftpAccount, code: str, is_told: bool) -> None:
    KeyFactory(account=account, line=text("ed25519"))
    propagation.push_one(account.pk)
    _damaged(account, code)
    client = Client()
    client.force_login(User.objects.get(email="dana@smithville.example"))
    for name in ("technical_settings", "technical_settings_state"):
        html = _html(client, name, account.district.slug)
        assert ("You cannot upload files just now." in html) is is_told
        assert "Something lies in its home" not in html
    assert 'hx-trigger="every 5s"' in html


def test_the_place_where_new_districts_go_is_not_offered_that_again(ops: Client, account: SftpAccount) -> None:
    """Also where nobody has chosen it."""
    words = _words(_html(ops, "host", account.host.pk))
    assert "New districts go here" in words
    assert "Send new districts here" not in words
    assert "Send new districts here" in _words(_html(ops, "host", _new(ops).pk))


@pytest.mark.parametrize(
    ("off", "sentence"),
    [
        (-130, "The machine’s clock is 2 minutes behind the portal’s."),
        (61, "is 1 minute ahead of the portal’s."),
        (60, ""),
    ],
)
def test_a_try_tells_of_a_clock_that_is_off(off: int, sentence: str) -> None:
    about = helper.About("1", "OpenSSH_9.2p1", "Debian", 4, 5, clock_off=off)
    shown = render_to_string("keys/_trial.html", {"trial": Trial(timezone.now(), tuple(Step), about=about)})
    assert sentence in shown
    assert ("clock" in shown) == bool(sentence)
