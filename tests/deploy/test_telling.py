"""A host that has lost accounts it was told of gets them back, and two who tell it at once leave it with all."""

import shutil
from collections.abc import Callable, Sequence
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import timezone

from accounts import services as district_services
from accounts.models import District, SftpAccount
from hosts import condition, helper
from hosts.core import paths
from hosts.core.errors import HostError
from hosts.files import HostFiles
from hosts.models import AccountsTold, Host
from keys import propagation, services
from keys.models import HostRun, KeyFile, KeySet
from keys.sets import By
from tests.factories import MembershipFactory
from tests.hosts.serving import key_pair, public_line

from .journaling import Journaled
from .test_portal import _domains, _file, _on_host, _opens, _rename, _run, _save, account, machine, pair, row

__all__ = ["account", "machine", "pair", "row"]

pytestmark = pytest.mark.django_db

Wished = Sequence[tuple[paths.Username, int]]


def _restored(machine: Journaled, kept: dict[Path, bytes | None]) -> None:
    for path, content in kept.items():
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content)


@pytest.fixture
def kept(machine: Journaled, row: Host) -> dict[Path, bytes | None]:
    """Last night's backup of what the host knows of accounts."""
    root = machine.host.machine.root
    places = [root / "var/lib/extrausers" / name for name in ("passwd", "group", "shadow")]
    return {
        path: path.read_bytes() if path.exists() else None
        for path in (*places, root / "var/lib/sftp-portal/accounts.json")
    }


def test_a_machine_put_back_to_last_nights_backup_has_its_accounts_after_the_next_run(
    machine: Journaled, account: SftpAccount, pair: Path, kept: dict[Path, bytes | None]
) -> None:
    _save(account, pair / "first")
    _restored(machine, kept)
    assert not _opens(machine, account, pair / "first")
    before = _on_host(machine, account).stat()
    part = _run()
    assert (part.state, part.code, part.unchanged, part.written) == ("done", "", 1, 0)
    assert _opens(machine, account, pair / "first")
    after = _on_host(machine, account).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize("asked", ["account", "host"])
def test_the_command_for_one_account_or_host_brings_a_lost_home_back(
    asked: str, machine: Journaled, account: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first")
    shutil.rmtree(machine.host.home(account.username))
    assert not _opens(machine, account, pair / "first")
    call_command("push_keys", **{asked: account.username if asked == "account" else "whole"}, stdout=StringIO())
    assert _opens(machine, account, pair / "first")


def test_a_host_that_tells_of_fewer_accounts_than_it_was_left_with_is_told_with_the_next_save(
    machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path, kept: dict[Path, bytes | None]
) -> None:
    # The one account of the test before may be in the backup.
    SftpAccount.objects.filter(pk=other.pk).update(host=account.host)
    _save(account, pair / "first")
    condition.condition_ask(account.host_id)
    assert Host.objects.get(pk=account.host_id).accounts_digest
    _restored(machine, kept)
    condition.condition_ask(account.host_id)
    assert not Host.objects.get(pk=account.host_id).accounts_digest
    _save(account, pair / "second")
    assert _opens(machine, account, pair / "second")


def test_a_database_put_back_to_last_nights_backup_takes_no_account_away(
    machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path
) -> None:
    """The account opened since is unknown to it, and its file is newer than anything it knows: people decide first."""
    _save(account, pair / "first")
    digest = Host.objects.get(pk=account.host_id).accounts_digest
    SftpAccount.objects.filter(pk=other.pk).update(host=account.host)
    other.refresh_from_db()
    _save(other, pair / "second")
    assert _opens(machine, other, pair / "second")
    SftpAccount.objects.filter(pk=other.pk).update(host=Host.objects.get(name="elsewhere"))
    KeySet.objects.filter(account=other).delete()
    Host.objects.filter(pk=account.host_id).update(accounts_digest=digest)
    AccountsTold.objects.filter(host=account.host_id).update(count=1)
    condition.condition_ask(account.host_id)
    propagation.run_hourly()
    assert HostRun.objects.get(host=account.host_id).state == "stopped"
    call_command("push_keys", account=account.username, stdout=StringIO())
    assert _opens(machine, other, pair / "second")
    assert _opens(machine, account, pair / "first")


@pytest.fixture
def other(row: Host) -> SftpAccount:
    """A second account of the host, not opened yet."""
    district = MembershipFactory(district__domain=next(_domains)).district
    SftpAccount.objects.filter(district=district).update(host=Host.objects.create(name="elsewhere"))
    return SftpAccount.objects.get(district=district)


def _moved(other: SftpAccount, account: SftpAccount) -> None:
    SftpAccount.objects.filter(pk=other.pk).update(host=account.host)
    other.refresh_from_db()


def test_an_account_that_is_opened_while_the_host_is_told_of_an_older_list_stays(
    machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opens it does not wait for long, and whoever was first tells the host of it too."""
    monkeypatch.setattr("keys.telling.BUSY_PATIENCE", 0.2)
    told = helper.accounts
    lists: list[int] = []

    def late(files: HostFiles, wanted: Wished, *more: float) -> helper.AccountsMade:
        lists.append(len(wanted))
        if len(lists) == 1:
            SftpAccount.objects.filter(pk=other.pk).update(host=account.host)
            _save(SftpAccount.objects.select_related("host", "district").get(pk=other.pk), pair / "second")
            assert (_file(other).state, _file(other).code) == ("waiting", "")
        return told(files, wanted, *more)

    monkeypatch.setattr(helper, "accounts", late)
    _save(account, pair / "first")
    assert lists == [1, 2]
    propagation.push_account(other.pk)
    assert _file(other).state == "on_host"
    assert _opens(machine, account, pair / "first")
    assert _opens(machine, other, pair / "second")
    assert lists == [1, 2]


@pytest.mark.parametrize("saved", ["first", "other"])
def test_a_save_takes_no_account_away_whose_row_is_lost(
    saved: str, machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path, tmp_path: Path
) -> None:
    """The list that leaves it out would be told with the next save, long before a run that stops and asks."""
    keys = [key_pair(tmp_path, name) for name in ("third", "fourth", "fifth")]
    _save(account, pair / "first")
    _moved(other, account)
    _save(other, *keys)
    SftpAccount.objects.filter(pk=other.pk).update(host=Host.objects.get(name="elsewhere"))
    if saved == "other":  # one who has no home there yet
        account = MembershipFactory(district__domain=next(_domains)).district.sftp_account
        SftpAccount.objects.filter(pk=account.pk).update(host=Host.objects.get(name="whole"))
    _save(account, pair / "second")
    assert _opens(machine, other, keys[0])
    propagation.run_hourly()
    assert HostRun.objects.get(host__name="whole").state == "stopped"
    assert _opens(machine, other, keys[0])


def test_a_command_after_a_restore_takes_no_account_away(
    machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path, tmp_path: Path
) -> None:
    """By the older database the host was told its very list; asked whether it has that one, it says no."""
    keys = [key_pair(tmp_path, name) for name in ("third", "fourth", "fifth")]
    _save(account, pair / "first")
    told = AccountsTold.objects.filter(host=account.host_id).values().get()
    digest = Host.objects.get(pk=account.host_id).accounts_digest
    _moved(other, account)
    _save(other, *keys)
    SftpAccount.objects.filter(pk=other.pk).update(host=Host.objects.get(name="elsewhere"))
    KeySet.objects.filter(account=other).delete()
    Host.objects.filter(pk=account.host_id).update(accounts_digest=digest)
    AccountsTold.objects.filter(pk=told.pop("id")).update(**told)
    call_command("push_keys", account=account.username, stdout=StringIO())
    assert _opens(machine, other, keys[0])
    assert _opens(machine, account, pair / "first")


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many accounts were in each list that the host was told."""
    told, lengths = helper.accounts, []

    def accounts(files: HostFiles, wanted: Wished, *more: float) -> helper.AccountsMade:
        lengths.append(len(wanted))
        return told(files, wanted, *more)

    monkeypatch.setattr(helper, "accounts", accounts)
    return lengths


def test_a_run_over_a_host_that_has_all_it_was_told_of_sends_no_list(
    machine: Journaled, account: SftpAccount, pair: Path, lists: list[int]
) -> None:
    _save(account, pair / "first")
    assert _run().code == ""
    assert lists == [1]
    shutil.rmtree(machine.host.home(account.username))
    assert _run().code == ""
    assert lists == [1, 1]
    assert _opens(machine, account, pair / "first")


def test_a_key_goes_before_a_silent_helper_is_waited_for(
    machine: Journaled,
    account: SftpAccount,
    other: SftpAccount,
    pair: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though the list of accounts is another by now, and a new account waits for its home."""
    _save(account, pair / "first", pair / "second")
    _moved(other, account)
    asked: list[str] = []

    def silent(files: HostFiles, *_: object) -> helper.AccountsMade:
        asked.append(_file(account).state)
        raise helper.HelperSilent("The helper does not answer.")

    monkeypatch.setattr(helper, "accounts", silent)
    version = KeyFile.objects.get(account=account).version
    services.keys_save(account, public_line(pair / "second"), seen_version=version, by=By(None))
    third = key_pair(tmp_path, "third")
    services.keys_save(other, public_line(third), seen_version=1, by=By(None))
    part = _run()
    assert (part.written, part.failed, part.code) == (1, 1, "helper-silent")
    assert asked == ["on_host"]
    assert not _opens(machine, account, pair / "first")
    assert (_file(other).state, _file(other).code) == ("failed", "helper-silent")


@pytest.mark.parametrize("by", ["save", "run", "save-while-another-waits"])
def test_a_key_goes_before_the_helper_of_a_host_that_moved_is_waited_for(
    by: str, machine: Journaled, account: SftpAccount, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At another address nobody has a home before the machine there says so; but that machine has the file."""
    _save(account, pair / "first", pair / "second")
    host = Host.objects.get(pk=account.host_id)
    services.host_move(host, host.address, host.port, host.username, by=By(None))
    opened: list[bool] = []

    def silent(files: HostFiles, *_: object) -> helper.AccountsMade:
        opened.append(_opens(machine, account, pair / "first"))
        raise helper.HelperSilent("The helper does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(helper, "accounts", silent)
        patched.setattr(helper, "accounts_same", lambda question: False)
        version = KeyFile.objects.get(account=account).version
        services.keys_save(account, public_line(pair / "second"), seen_version=version, by=By(None))
        if by == "run":
            part = _run()
            assert (part.failed, part.drifted) == (1, 0)
        elif by == "save":
            propagation.push_one(account.pk)
        else:
            assert propagation._helped.work(host.pk, lambda: propagation.push_one(account.pk))
    assert opened == ([] if by.endswith("waits") else [False])
    assert not _opens(machine, account, pair / "first")
    assert _opens(machine, account, pair / "second")
    assert _file(account).state == ("waiting" if by.endswith("waits") else "failed")
    part = _run()
    assert (part.failed, part.drifted, _file(account).state) == (0, 0, "on_host")


def test_a_key_of_a_renamed_account_goes_before_a_silent_helper_is_waited_for(
    machine: Journaled, account: SftpAccount, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(account, pair / "first", pair / "second")
    before = account.username
    opened: list[bool] = []

    def silent(files: HostFiles, *_: object) -> int:
        raise helper.HelperSilent("It is silent.")

    with monkeypatch.context() as patched:
        patched.setattr(helper, "rename", silent)
        district_services.district_rename(account.district, name="Renamed", domain=next(_domains), actor=None)
        account = SftpAccount.objects.get(pk=account.pk)
        version = KeyFile.objects.get(account=account).version
        confirmed = {"confirmed": account.username}
        services.keys_save(account, public_line(pair / "second"), seen_version=version, by=By(None), **confirmed)

        def another_waits() -> None:
            propagation.push_one(account.pk)
            old = SftpAccount(username=before)
            opened.extend(_opens(machine, old, pair / name) for name in ("first", "second"))

        assert propagation._helped.work(account.host_id, another_waits)
    assert opened == [False, True]
    assert _run().failed == 0
    assert not _opens(machine, account, pair / "first")
    assert _opens(machine, account, pair / "second")


@pytest.mark.parametrize("silent", [True, False], ids=["silent", "refused"])
def test_a_list_that_a_host_would_not_have_is_not_sent_again_with_each_save(
    silent: bool,
    machine: Journaled,
    account: SftpAccount,
    other: SftpAccount,
    pair: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _save(account, pair / "first")
    _moved(other, account)
    error = helper.HelperSilent("It is silent.") if silent else helper.HelperRefused("drops-too-many", "Too many.")
    asked: list[int] = []
    with monkeypatch.context() as patched:

        def accounts(files: HostFiles, wanted: Wished, *_: float) -> helper.AccountsMade:
            asked.append(len(wanted))
            raise error

        patched.setattr(helper, "accounts", accounts)
        _save(other, pair / "second")
        _save(account, pair / "first", key_pair(tmp_path, "third"))
        KeyFile.objects.filter(account=other).update(next_try=None)
        told = propagation.push_account(other.pk)
        assert (told.code, told.reason) == (error.code, error.message)
        assert (asked, _file(account).state) == ([2], "on_host")
        # A run asks once more.
        assert (_run().code, asked) == (error.code, [2, 2])
    assert (_run().code, _file(other).state) == ("", "on_host")
    assert _opens(machine, other, pair / "second")


@pytest.mark.parametrize("why", ["silent", "refused", "undecided"])
def test_a_district_that_comes_back_is_not_told_that_its_keys_work_before_its_host_has_the_account(
    why: str,
    machine: Journaled,
    account: SftpAccount,
    other: SftpAccount,
    pair: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _save(account, pair / "first")
    _moved(other, account)
    _save(other, pair / "second")
    _state(other, "closed")
    assert not _opens(machine, other, pair / "second")
    code = {"silent": "helper-silent", "refused": "bad-entry", "undecided": "awaits-decision"}[why]
    error = helper.HelperSilent("It is silent.") if why == "silent" else helper.HelperRefused("bad-entry", "No.")
    with monkeypatch.context() as patched:
        if why == "undecided":
            patched.setattr(propagation, "_awaits_decision", lambda host: True)
        else:
            patched.setattr(helper, "accounts", _raising(error))
        _state(other, "active")
        assert (_file(other).state, _file(other).code) == ("failed", code)
        assert KeySet.objects.filter(account=other).latest("version").on_host is None
    assert _run().failed == 0
    assert _file(other).state == "on_host"
    assert _opens(machine, other, pair / "second")
    assert KeySet.objects.filter(account=other).latest("version").on_host is not None


def _raising(error: HostError) -> Callable[..., helper.AccountsMade]:
    def accounts(*_: object) -> helper.AccountsMade:
        raise error

    return accounts


def _state(account: SftpAccount, state: str) -> None:
    district = District.objects.get(pk=account.district_id)
    district_services.district_state_set(district, District.State(state), reason="x", actor=None)
    propagation.push_one(account.pk)


def test_a_closed_account_keeps_its_stamp_on_the_host(
    machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path
) -> None:
    """So that a database from before the closing learns that it is one."""
    _save(account, pair / "first")
    _moved(other, account)
    _save(other, pair / "second")
    _state(other, "closed")
    assert other.username not in (machine.host.machine.root / "var/lib/extrausers/passwd").read_text()
    (line,) = _on_host(machine, other).read_text().splitlines()
    assert line.startswith("# ")


def test_a_helper_that_answers_again_is_not_called_silent(
    machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(account, pair / "first")
    _moved(other, account)
    silent = _raising(helper.HelperSilent("It is silent."))
    with monkeypatch.context() as patched:
        patched.setattr(helper, "accounts", silent)
        _save(other, pair / "second")
    assert _file(other).code == "helper-silent"
    condition.condition_ask(account.host_id)
    propagation.push_account(other.pk)
    assert _opens(machine, other, pair / "second")
    # Closed and back while it is silent, so that the list is what it was.
    with monkeypatch.context() as patched:
        patched.setattr(helper, "accounts", silent)
        _state(other, "closed")
        _state(other, "active")
    part = _run()
    assert (part.code, part.failed, _file(other).state) == ("", 0, "on_host")
    assert _opens(machine, other, pair / "second")


def test_a_closed_account_that_the_host_was_not_told_of_goes_with_the_sweep(
    machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(account, pair / "first")
    _moved(other, account)
    _save(other, pair / "second")
    with monkeypatch.context() as patched:
        patched.setattr(helper, "accounts", _raising(helper.HelperSilent("It is silent.")))
        _state(other, "closed")
        assert propagation.hosts_left_behind() == []
    condition.condition_ask(account.host_id)
    assert propagation.hosts_left_behind() == [account.host_id]
    propagation.sweep_host(account.host_id)
    passwd = machine.host.machine.root / "var/lib/extrausers/passwd"
    assert f"{other.username}:" not in passwd.read_text()
    assert propagation.hosts_left_behind() == []


def test_the_sweep_tells_a_host_nothing_that_an_older_database_would_take_away(
    machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first")
    _moved(other, account)
    _save(other, pair / "second")
    SftpAccount.objects.filter(pk=other.pk).update(host=Host.objects.get(name="elsewhere"))
    KeySet.objects.filter(account=other).delete()
    Host.objects.filter(pk=account.host_id).update(accounts_digest="")
    assert propagation.hosts_left_behind() == [account.host_id]
    propagation.sweep_host(account.host_id)
    assert _opens(machine, other, pair / "second")


def test_renamed_accounts_wait_for_a_silent_helper_once(
    machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(account, pair / "first")
    _moved(other, account)
    _save(other, pair / "second")
    asked: list[str] = []

    def silent(files: HostFiles, old: str, *_: object) -> int:
        asked.append(old)
        raise helper.HelperSilent("It is silent.")

    with monkeypatch.context() as patched:
        patched.setattr(helper, "rename", silent)
        before = other.username
        _rename(other, next(_domains))
        _rename(account, next(_domains))
        propagation.push_one(other.pk)
        propagation.push_one(account.pk)
        assert asked == [before]
        assert {_file(one).code for one in (account, other)} == {"helper-silent"}
    assert _run().failed == 0
    for one, key in ((account, "first"), (other, "second")):
        one.refresh_from_db()
        assert _opens(machine, one, pair / key)


def test_an_account_whose_home_is_no_longer_in_the_way_is_opened_by_the_very_run_that_finds_out(
    machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first")
    _moved(other, account)
    home = machine.host.home(other.username)
    home.write_bytes(b"in the way")
    _save(other, pair / "second")
    assert (_file(other).state, _file(other).code) == ("failed", "upload-blocked")
    home.unlink()
    part = _run()
    assert (part.failed, part.written, _file(other).state) == (0, 1, "on_host")
    assert _opens(machine, other, pair / "second")


def test_an_account_that_the_host_takes_after_all_is_tried_at_once(
    machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first")
    _moved(other, account)
    home = machine.host.home(other.username)
    home.write_bytes(b"in the way")
    _save(other, pair / "second")
    home.unlink()
    before = KeyFile.objects.get(account=other).next_try
    assert before > timezone.now()
    call_command("push_keys", account=account.username, stdout=StringIO())
    assert _file(other).next_try < timezone.now()


def test_one_account_that_the_host_refuses_does_not_have_it_told_of_all_with_each_save(
    machine: Journaled, account: SftpAccount, other: SftpAccount, pair: Path, lists: list[int]
) -> None:
    SftpAccount.objects.filter(pk=other.pk).update(host=account.host, username="0xab.cd")
    _save(SftpAccount.objects.select_related("host", "district").get(pk=other.pk), pair / "second")
    _save(account, pair / "first")
    propagation.push_account(account.pk)
    assert lists == [2]
    KeyFile.objects.filter(account=other).update(next_try=None)
    assert propagation.push_account(other.pk).code == "bad-name"
    assert lists == [2]
    assert _run().failed == 1
    assert lists == [2, 2]
    assert _opens(machine, account, pair / "first")


def test_a_worker_that_died_while_it_told_a_host_stops_nobody_for_longer_than_its_lease(
    machine: Journaled, account: SftpAccount, pair: Path, lists: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key is taken off at once all the same."""
    monkeypatch.setattr("keys.telling.BUSY_PATIENCE", 0.2)
    _save(account, pair / "first", pair / "second")
    rows = AccountsTold.objects.filter(host=account.host)
    now = timezone.now()
    rows.update(lease_token="died", lease_until=now + timedelta(minutes=1))
    Host.objects.filter(pk=account.host_id).update(accounts_digest="")
    _save(account, pair / "second")
    assert (_file(account).state, lists) == ("on_host", [1])
    assert not _opens(machine, account, pair / "first")
    rows.update(lease_until=now - timedelta(seconds=1))
    _save(account, pair / "first")
    assert (_file(account).state, lists) == ("on_host", [1, 1])
    assert rows.get().lease_token == ""


def test_a_run_notices_a_damaged_home_and_that_it_was_mended(
    machine: Journaled, account: SftpAccount, pair: Path
) -> None:
    _save(account, pair / "first")
    upload = machine.host.upload(account.username)
    upload.rmdir()
    upload.write_bytes(b"in the way")
    assert _run().unchanged == 1
    assert [home.blocks_uploads for home in account.host.damaged_homes.all()] == [True]
    upload.unlink()
    _run()
    assert not account.host.damaged_homes.exists()
    assert _opens(machine, account, pair / "first")


def test_a_run_says_that_the_host_was_not_told_its_accounts(
    machine: Journaled, account: SftpAccount, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(account, pair / "first")
    monkeypatch.setattr(helper.accounts_same, "__defaults__", (0.5,))
    machine.host.helper_stop()
    try:
        part = _run()
    finally:
        machine.host.helper_start()
    assert (part.state, part.code, part.unchanged) == ("done", "helper-silent", 1)
    assert Host.objects.get(pk=account.host_id).accounts_digest
    assert (_run().state, _run().code) == ("done", "")


def test_a_host_whose_directory_of_keys_is_gone_has_it_and_all_keys_again_after_a_run(
    machine: Journaled, account: SftpAccount, pair: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(account, pair / "first")
    keys = machine.host.root / "keys"
    monkeypatch.setattr(helper._one, "__defaults__", (1.0,))
    machine.host.helper_stop()
    try:
        shutil.rmtree(keys)
        part = _run()
        assert (part.state, part.code) == ("failed", "keys-shut")
        assert "The directory “keys” is gone" in part.reason
        assert _file(account).code == "keys-shut"
    finally:
        machine.host.helper_start()
    part = _run()
    assert (part.state, part.written) == ("done", 1)
    assert _opens(machine, account, pair / "first")
