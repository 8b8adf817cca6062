"""The portal and a whole OpenSSH host: a saved key opens it, a removed one ends the session, drift is put right."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings

from accounts import services as district_services
from accounts.models import District, RetiredUsername, SftpAccount, User
from hosts import helper, signins, vault
from hosts.connect import files_for, fingerprint
from hosts.core import paths
from hosts.models import Host, SessionEnd, SignIn
from keys import propagation, services
from keys.models import FoundLine, HostRun, KeyFile, PropagationRun
from keys.sets import By
from tests.factories import MembershipFactory
from tests.hosts.clients import sftp
from tests.hosts.serving import key_pair, public_line

from .host import SERVICE, running
from .journaling import Journaled, journaled
from .test_sessions import SOON, _signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journaled]:
    """A host that only the portal tells which accounts there are."""
    with (
        running(tmp_path_factory.mktemp("portal-host")) as host,
        journaled(host, tmp_path_factory.mktemp("portal-journal")) as one,
    ):
        host.may_drop_all()
        one.ship()
        yield one


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pair")
    for name in ("first", "second"):
        key_pair(directory, name)
    return directory


_domains = (f"portal{number}.k12.oh.us" for number in range(1, 1000))
_numbers = iter(range(100, 30_000, 100))


@pytest.fixture
def row(machine: Journaled, db: None, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The host as the portal knows it. A test's database begins anew, the host's register of user numbers does not."""
    monkeypatch.setattr(settings, "FIRST_USER_NUMBER", settings.FIRST_USER_NUMBER + next(_numbers))
    settings.SFTP_ROOT.mkdir(parents=True, exist_ok=True)
    host = machine.host
    for path in (host.root / "keys").iterdir():  # of a database that is no more
        path.unlink()
    return Host.objects.create(
        name="whole",
        kind=Host.Kind.OPENSSH,
        address="127.0.0.1",
        port=host.port,
        username=SERVICE,
        host_key=host.host_key,
        fingerprint=fingerprint(host.host_key),
        client_key_sealed=vault.sealed(host.portal_key.read_bytes()).decode("ascii"),
    )


@pytest.fixture
def account(row: Host) -> SftpAccount:
    district = MembershipFactory(district__domain=next(_domains)).district
    SftpAccount.objects.filter(district=district).update(host=row)
    return SftpAccount.objects.select_related("district", "host").get(district=district)


def _save(account: SftpAccount, *pairs: Path) -> None:
    version = KeyFile.objects.get(account=account).version
    text = "\n".join(public_line(pair) for pair in pairs)
    services.keys_save(account, text, seen_version=version, by=By(None), confirmed=account.username)
    propagation.push_one(account.pk)


def _file(account: SftpAccount) -> KeyFile:
    return KeyFile.objects.get(account=account)


def _run() -> HostRun:
    propagation.run_hourly()
    return PropagationRun.objects.filter(cause="hourly").first().hosts.get()


def _on_host(machine: Journaled, account: SftpAccount) -> Path:
    return machine.host.root / "keys" / account.username


def _opens(machine: Journaled, account: SftpAccount, pair: Path) -> bool:
    return sftp(machine.door(account.username, pair), "put /etc/hostname /upload/x", "ls /upload").code == 0


def test_a_saved_key_makes_the_account_and_opens_it_and_a_removed_one_does_not(
    machine: Journaled, account: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first")
    assert (_file(account).state, _file(account).code) == ("on_host", "")
    assert _opens(machine, account, pair / "first")
    assert not _opens(machine, account, pair / "second")
    _save(account, pair / "second")
    assert not _opens(machine, account, pair / "first")
    assert _opens(machine, account, pair / "second")


def test_a_second_run_changes_nothing(machine: Journaled, account: SftpAccount, pair: Path) -> None:
    _save(account, pair / "first")
    before = _on_host(machine, account).stat()
    part = _run()
    assert (part.state, part.total, part.unchanged, part.written) == ("done", 1, 1, 0)
    after = _on_host(machine, account).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_key_somebody_put_there_is_taken_off_and_kept(machine: Journaled, account: SftpAccount, pair: Path) -> None:
    _save(account, pair / "first")
    with _on_host(machine, account).open("a") as file:
        file.write(f"{public_line(pair / 'second')}\n")
    assert _opens(machine, account, pair / "second")
    part = _run()
    assert (part.state, part.drifted) == ("done", 1)
    assert not _opens(machine, account, pair / "second")
    found = FoundLine.objects.get()
    services.found_key_adopt(found, by=By(User.objects.get()))
    propagation.push_one(account.pk)
    assert _opens(machine, account, pair / "second")


def test_the_key_of_a_lost_computer_goes_and_its_open_session_ends(
    machine: Journaled, account: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first", pair / "second")
    with _signed_in(machine.door(account.username, pair / "first")) as lost:
        machine.wait(account.username, lambda found: any(event.accepted for event in found))
        _collect(account.host)
        key = account.keys.get(fingerprint=SignIn.objects.get(username=account.username).fingerprint)
        services.key_lost(key, by=By(None), confirmed=account.username)
        propagation.push_one(account.pk)
        assert lost.wait(SOON) != 0
    machine.wait(account.username, lambda found: any(event.kind.value == "ended" for event in found))
    _collect(account.host)
    ended = SessionEnd.objects.get(username=account.username)
    assert (ended.fingerprint, ended.reason) == (key.fingerprint, "key-removed")
    assert _opens(machine, account, pair / "second")


def _collect(host: Host) -> None:
    while signins.collect(host.pk):
        pass


def test_a_closed_district_is_gone_from_the_host_and_its_data_stays(
    machine: Journaled, account: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first")
    assert _opens(machine, account, pair / "first")
    district = District.objects.get(pk=account.district_id)
    district_services.district_state_set(district, District.State.CLOSED, reason="They left.", actor=None)
    propagation.push_one(account.pk)
    assert not _opens(machine, account, pair / "first")
    assert (machine.host.root / "homes" / account.username / "upload" / "x").exists()


def _rename(account: SftpAccount, domain: str) -> SftpAccount:
    district = District.objects.get(pk=account.district_id)
    district_services.district_rename(district, name=district.name, domain=domain, actor=None)
    return SftpAccount.objects.select_related("district", "host").get(pk=account.pk)


def _listed(machine: Journaled, account: SftpAccount, pair: Path) -> str:
    return sftp(machine.door(account.username, pair / "first"), "ls -1 /upload").output


def _homes(machine: Journaled) -> set[str]:
    return {path.name for path in (machine.host.root / "homes").iterdir()}


def test_a_renamed_district_goes_on_under_its_new_name_with_its_keys_and_files(
    machine: Journaled, account: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first")
    assert _opens(machine, account, pair / "first")
    staying = SftpAccount.objects.get(pk=MembershipFactory(district__domain=next(_domains)).district.sftp_account.pk)
    SftpAccount.objects.filter(pk=staying.pk).update(host=account.host)
    staying.refresh_from_db()
    _save(staying, pair / "second")
    with (
        _signed_in(machine.door(account.username, pair / "first")) as open_session,
        _signed_in(machine.door(staying.username, pair / "second")) as other_session,
    ):
        renamed = _rename(account, next(_domains))
        propagation.push_one(account.pk)
        assert open_session.wait(SOON) != 0
        assert other_session.poll() is None
    assert (_file(renamed).state, _file(renamed).code) == ("on_host", "")
    assert RetiredUsername.objects.get(account=renamed).cleared is not None
    assert not _opens(machine, account, pair / "first")
    assert "/upload/x" in _listed(machine, renamed, pair)
    door = machine.door(renamed.username, pair / "first")
    assert sftp(door, "mkdir /upload/20261122-020000", "put /etc/hostname /upload/20261122-020000/a.csv").code == 0
    name = paths.username(renamed.username)
    files = files_for(renamed.host)
    assert {entry.name for entry in files.listing(paths.upload(name))} == {"x", "20261122-020000"}
    files.rename(paths.upload(name).child("20261122-020000"), paths.claimed(800_000 + renamed.pk))
    assert files.stat(paths.claimed(800_000 + renamed.pk).child("a.csv")) is not None
    assert account.username not in _homes(machine)
    digest = Host.objects.get(pk=renamed.host_id).accounts_digest
    part = _run()
    assert (digest != "", part.state, part.unchanged, part.written) == (True, "done", 2, 0)
    assert Host.objects.get(pk=renamed.host_id).accounts_digest == digest


@pytest.mark.parametrize(
    ("names", "pushes"),
    [
        ("b a", (False,)),
        ("b a", (True,)),
        ("b c", (False,)),
        ("b c a", (True, False)),
        ("b c b", (False, True)),
    ],
    ids=str,
)
def test_several_renames_come_to_the_last_name_whenever_the_host_hears_of_them(
    names: str, pushes: tuple[bool, ...], machine: Journaled, account: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first")
    assert _opens(machine, account, pair / "first")
    called = {"a": account.username, "b": next(_domains), "c": next(_domains)}
    for number, name in enumerate(names.split()):
        account = _rename(account, called[name])
        if number < len(pushes) and pushes[number]:
            propagation.push_one(account.pk)
    propagation.push_one(account.pk)
    assert (_file(account).state, _file(account).code) == ("on_host", "")
    assert "/upload/x" in _listed(machine, account, pair)
    assert _homes(machine) & set(called.values()) == {account.username}
    assert not RetiredUsername.objects.filter(cleared=None).exists()


def test_a_rename_while_the_helper_is_down_is_done_when_it_is_back(
    machine: Journaled, account: SftpAccount, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(account, pair / "first")
    assert _opens(machine, account, pair / "first")
    renamed = _rename(account, next(_domains))
    monkeypatch.setattr(helper, "RENAME_PATIENCE", 1.0)
    machine.host.helper_stop()
    try:
        propagation.push_one(account.pk)
        assert (_file(renamed).state, _file(renamed).code) == ("failed", "helper-silent")
        # Its key is off the old name already: nobody comes in at a door that is to be shut.
        assert not _opens(machine, account, pair / "first")
    finally:
        machine.host.helper_start()
    assert _run().state == "done"
    assert "/upload/x" in _listed(machine, renamed, pair)


def test_a_closed_district_that_is_renamed_stays_shut_and_comes_back_with_its_data(
    machine: Journaled, account: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first")
    assert _opens(machine, account, pair / "first")
    district = District.objects.get(pk=account.district_id)
    district_services.district_state_set(district, District.State.CLOSED, reason="They left.", actor=None)
    propagation.push_one(account.pk)
    renamed = _rename(account, next(_domains))
    propagation.push_one(account.pk)
    assert _file(renamed).state == "on_host"
    assert not _opens(machine, renamed, pair / "first")
    assert (machine.host.root / "homes" / renamed.username / "upload/x").exists()
    district = District.objects.get(pk=account.district_id)
    district_services.district_state_set(district, District.State.ACTIVE, reason="Back.", actor=None)
    _save(renamed, pair / "first")
    assert "/upload/x" in _listed(machine, renamed, pair)


def test_a_name_that_a_host_has_known_is_nobody_elses(machine: Journaled, account: SftpAccount, pair: Path) -> None:
    """The host would refuse it for ever: so the portal does not give it in the first place."""
    _save(account, pair / "first")
    renamed = _rename(account, next(_domains))
    propagation.push_one(account.pk)
    other = MembershipFactory(district__domain=next(_domains)).district
    for refused in (
        lambda: _rename(other.sftp_account, account.username),
        lambda: district_services.district_open("New", account.username, time_zone="America/New_York", actor=None),
    ):
        with pytest.raises(district_services.Refused, match="had it before"):
            refused()
    assert _rename(renamed, account.username).username == account.username


def test_an_old_portal_database_does_not_bring_the_old_name_back(
    machine: Journaled, account: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first")
    assert _opens(machine, account, pair / "first")
    renamed = _rename(account, next(_domains))
    propagation.push_one(account.pk)
    RetiredUsername.objects.all().delete()
    SftpAccount.objects.filter(pk=account.pk).update(username=account.username)
    Host.objects.update(accounts_digest="")
    _save(account, pair / "first", pair / "second")
    assert (_file(account).state, _file(account).code) == ("failed", "renamed")
    assert renamed.username in _file(account).reason
    assert not _opens(machine, account, pair / "first")
    assert account.username not in _homes(machine)
    assert (machine.host.root / "homes" / renamed.username / "upload/x").exists()


def test_a_helper_that_is_down_fails_new_accounts_only_and_is_gone_on_with(
    machine: Journaled, account: SftpAccount, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helper.accounts, "__defaults__", (1.0,))
    machine.host.helper_stop()
    try:
        _save(account, pair / "first")
        assert (_file(account).state, _file(account).code) == ("failed", "helper-silent")
    finally:
        machine.host.helper_start()
    assert _run().state == "done"
    assert _opens(machine, account, pair / "first")


def test_a_host_with_another_key_is_told_nothing(account: SftpAccount, pair: Path, tmp_path: Path) -> None:
    key_pair(tmp_path, "another")
    other = " ".join(public_line(tmp_path / "another").split()[:2])
    Host.objects.filter(pk=account.host_id).update(host_key=other)
    account.refresh_from_db()
    part = _run()
    assert (part.state, part.code) == ("failed", "host-key-changed")
    assert _file(account).code == "host-key-changed"
    assert Host.objects.get(pk=account.host_id).state == "stopped"


def test_what_is_uploaded_can_be_read_and_claimed_whatever_its_modes(
    machine: Journaled, account: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first")
    name = paths.username(account.username)
    door = machine.door(account.username, pair / "first")
    done = sftp(
        door,
        "mkdir /upload/20261122-020000",
        "put /etc/hostname /upload/20261122-020000/students.csv",
        "chmod 000 /upload/20261122-020000/students.csv",
        "put /etc/hostname /upload/20261122-020000/COMPLETE",
        "chmod 000 /upload/20261122-020000",
    )
    assert done.code == 0, done.output
    files = files_for(account.host)
    (epoch,) = files.listing(paths.upload(name))
    inside = files.listing(paths.upload(name).child(epoch.name))
    assert [entry.name for entry in inside] == ["COMPLETE", "students.csv"]
    with files.open_read(paths.upload(name).child(epoch.name).child("students.csv")) as file:
        assert file.read() == Path("/etc/hostname").read_bytes()
    number = 900_000 + account.pk
    files.rename(paths.upload(name).child(epoch.name), paths.claimed(number))
    files.write(paths.claimed(number).child("log.txt"), b"well done\n")
    files.rename(paths.claimed(number), paths.processed(name).child("20261122-020000"))
    got = sftp(door, "ls -l /upload-processed/20261122-020000", "ls /upload")
    assert "log.txt" in got.output
    assert "students.csv" in got.output
    assert sftp(door, "rm /upload-processed/20261122-020000/log.txt").code != 0
    files.remove_tree(paths.processed(name).child("20261122-020000"))
    assert files.listing(paths.processed(name)) == ()
