"""Bringing key files to their host: written, read back, tried again, and never the older set over the newer."""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import date, timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.conf import LazySettings, settings
from django.db import transaction
from django.utils import timezone

from accounts import services as district_services
from accounts.core.roles import Role
from accounts.models import District, OutboxMessage, RetiredUsername, SftpAccount, User
from hosts.core.errors import HostDown, HostError, Refused
from hosts.core.paths import HostPath, Username, key_file
from hosts.files import FileRead, temporary_for
from hosts.local import LocalFiles
from hosts.models import Host as HostRow
from keys import bringing, propagation, services, tasks
from keys.models import AccountKey, FoundLine, HostRun, KeyFile, KeySet, PropagationRun
from keys.retrying import retry_now
from keys.selectors import due
from keys.sets import By
from keys.stamps import token_make
from keys.telling import Roster
from portal.management.commands.up import Command
from tests.factories import DistrictFactory, KeyFactory, StaffFactory

from .samples import fingerprints, text
from .sweeping import sweep

HEADER = b"# managed by SFTP Portal | set "


def _save(account: SftpAccount, pasted: str) -> None:
    version = KeyFile.objects.get(account=account).version
    services.keys_save(account, pasted, seen_version=version, by=By(User.objects.first()))


def _file(account: SftpAccount) -> KeyFile:
    return KeyFile.objects.get(account=account)


def _on_host(name: str) -> Path:
    return settings.SFTP_ROOT / "keys" / name


def _is_due_now(account: SftpAccount) -> None:
    KeyFile.objects.filter(account=account).update(next_try=timezone.now() - timedelta(seconds=1))


class Host(LocalFiles):
    """The host, with somebody who acts before each write."""

    def __init__(self, before_write: Callable[[], None], *, keeps: bool = True) -> None:
        super().__init__(settings.SFTP_ROOT)
        self._before_write, self._keeps = before_write, keeps

    def write(self, path: object, content: bytes) -> None:
        self._before_write()
        super().write(path, content if self._keeps else content[:-1])


def _use(monkeypatch: pytest.MonkeyPatch, files: LocalFiles) -> None:
    monkeypatch.setattr(propagation, "connected", lambda host: nullcontext(files))


def test_a_saved_key_becomes_a_line_on_the_host(account: SftpAccount) -> None:
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    propagation.push_one(account.pk)
    written = _on_host(account.username).read_bytes()
    assert written.startswith(HEADER)
    assert fingerprints(written) == list(account.keys.values_list("fingerprint", flat=True))
    file = _file(account)
    assert (file.state, file.host_version, file.version, file.tries) == ("on_host", 2, 2, 0)
    assert file.on_host_since is not None
    run = PropagationRun.objects.get()
    assert (run.cause, run.state, run.total, run.written, run.failed) == ("saved", "done", 1, 1, 0)


def test_a_file_that_stands_as_it_should_is_not_touched(account: SftpAccount) -> None:
    propagation.push_one(account.pk)
    before = _on_host(account.username).stat()
    since = _file(account).on_host_since
    propagation.run_hourly()
    after = _on_host(account.username).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert _file(account).on_host_since == since
    run = PropagationRun.objects.get(cause="hourly")
    assert (run.state, run.total, run.unchanged, run.written) == ("done", 1, 1, 0)


@pytest.mark.parametrize(
    "content", [b"", b"ssh-ed25519 AAAA evil\n", HEADER + b"x" * (5 * 1024 * 1024)], ids=["empty", "foreign", "huge"]
)
def test_a_file_that_somebody_changed_is_put_right_by_the_next_run(account: SftpAccount, content: bytes) -> None:
    _save(account, text("ed25519"))
    propagation.push_one(account.pk)
    right = _on_host(account.username).read_bytes()
    _on_host(account.username).write_bytes(content)
    propagation.run_hourly()
    assert _on_host(account.username).read_bytes() == right
    run = PropagationRun.objects.get(cause="hourly")
    assert (run.written, run.drifted) == (1, 1)
    kept = FoundLine.objects.values_list("line", flat=True)
    assert [line[:60] for line in kept] == ([_told(content)] if content else [])
    assert OutboxMessage.objects.filter(kind="key-found").exists() == bool(kept)


def _told(content: bytes) -> str:
    """What the quarantine has of it, at most 60 letters."""
    return (
        "# A whole file of more than 4,194,304 bytes, which was neith"
        if len(content) > 60
        else content.decode().strip()
    )


def test_an_account_that_waits_no_longer_gets_no_run_of_its_own(account: SftpAccount) -> None:
    propagation.push_one(account.pk)
    propagation.push_one(account.pk)
    assert PropagationRun.objects.count() == 1


def test_a_removed_key_leaves_the_host(account: SftpAccount) -> None:
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    propagation.push_one(account.pk)
    _save(account, text("rsa3072"))
    propagation.push_one(account.pk)
    assert len(fingerprints(_on_host(account.username).read_bytes())) == 1


def _in_the_way(account: SftpAccount) -> Path:
    """A file where the host's directory of keys should be: a real failure, also for root."""
    place = settings.SFTP_ROOT / "keys"
    place.write_bytes(b"")
    return place


def test_a_failure_is_told_and_tried_again_ever_later(account: SftpAccount) -> None:
    place = _in_the_way(account)
    pauses = []
    for tries in range(1, 13):
        propagation.push_one(account.pk)
        file = _file(account)
        assert (file.state, file.tries, file.code) == ("failed", tries, "already-there")
        assert "host" in file.reason
        assert str(settings.SFTP_ROOT) not in file.reason
        pauses.append(file.next_try - timezone.now())
        propagation.push_one(account.pk)
        assert _file(account).tries == tries
        _is_due_now(account)
    assert pauses[0] < timedelta(seconds=16)
    assert pauses[3] > 4 * pauses[0]
    assert max(pauses) <= timedelta(minutes=5)
    failure = PropagationRun.objects.first().failures.get()
    assert (failure.account, failure.code) == (account, "already-there")

    place.unlink()
    propagation.push_one(account.pk)
    file = _file(account)
    assert (file.state, file.tries, file.code, file.reason, file.next_try) == ("on_host", 0, "", "", None)


def test_a_run_tries_a_failed_account_without_waiting_for_its_pause(account: SftpAccount) -> None:
    place = _in_the_way(account)
    propagation.push_one(account.pk)
    place.unlink()
    propagation.run_hourly()
    assert _file(account).state == "on_host"


def test_what_the_host_does_not_keep_is_not_called_done(account: SftpAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, Host(lambda: None, keeps=False))
    _save(account, text("ed25519"))
    propagation.push_one(account.pk)
    file = _file(account)
    assert (file.state, file.code, file.host_version) == ("failed", "read-back-differs", 0)


def test_one_account_that_fails_keeps_no_other_waiting(account: SftpAccount) -> None:
    other = DistrictFactory(domain="zz.k12.oh.us").sftp_account
    _on_host("x").parent.mkdir()
    (_on_host(account.username) / "something").mkdir(parents=True)
    propagation.run_hourly()
    run = PropagationRun.objects.get()
    assert (run.state, run.total, run.written, run.failed, run.looked_at) == ("done", 2, 1, 1, 2)
    assert (_file(account).state, _file(other).state) == ("failed", "on_host")
    assert [failure.account for failure in run.failures.all()] == [account]


@pytest.mark.parametrize("blob", ["not base64", "AAAA", ""])
def test_a_stored_row_that_is_no_key_is_left_out_and_keeps_no_other_key_back(account: SftpAccount, blob: str) -> None:
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    broken, sound = account.keys.all()
    AccountKey.objects.filter(pk=broken.pk).update(blob=blob)
    propagation.run_hourly()
    assert _file(account).state == "on_host"
    assert fingerprints(_on_host(account.username).read_bytes()) == [sound.fingerprint]


def test_an_unexpected_fault_fails_its_account_only_and_is_not_retold(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DistrictFactory(domain="zz.k12.oh.us").sftp_account
    monkeypatch.setattr(bringing.provision, "home_make", _faulty_for(account.username))
    propagation.run_hourly()
    assert _file(account).code == "unexpected"
    assert "secret" not in _file(account).reason
    assert _file(other).state == "on_host"
    assert PropagationRun.objects.get().state == "done"


def test_a_fault_in_the_middle_of_many_is_told_of_all_of_them_and_ends_the_run(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault() -> None:
        raise ValueError("a secret path")

    _use(monkeypatch, Host(fault))
    propagation.run_hourly()
    assert (_file(account).state, _file(account).code) == ("failed", "unexpected")
    run = PropagationRun.objects.get()
    assert (run.state, run.failed) == ("done", 1)


def _overflow(*_: object, **__: object) -> None:
    raise OverflowError("a secret number")


@pytest.mark.parametrize("step", ["key_place", "_leave_between_runs"])
def test_a_fault_before_a_saved_key_is_brought_is_told_and_tried_again(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    _save(account, text("ed25519"))
    with monkeypatch.context() as patched:
        patched.setattr(propagation, step, _overflow)
        propagation.push_saved(account.pk)
    file = _file(account)
    assert (file.state, file.code, file.tries) == ("failed", "unexpected", 1)
    assert "OverflowError" in file.reason
    assert "secret" not in file.reason
    assert file.next_try > timezone.now()
    assert PropagationRun.objects.get().failures.get().code == "unexpected"
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [OverflowError]
    _is_due_now(account)
    KeyFile.objects.update(wanted=timezone.now() - timedelta(minutes=1))
    sweep()
    assert _file(account).state == "on_host"


@pytest.mark.parametrize("step", ["look", "_sweep"])
def test_a_fault_in_a_run_s_part_ends_it_and_is_told_to_what_waits(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str
) -> None:
    _save(account, text("ed25519"))
    with monkeypatch.context() as patched:
        patched.setattr(propagation._Part, step, _overflow)
        propagation.run_hourly()
    run = PropagationRun.objects.get()
    part = run.hosts.get()
    assert (run.state, part.state, part.code) == ("done", "failed", "unexpected")
    assert "secret" not in part.reason
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [OverflowError]
    # What was brought before the fault is told as brought.
    told = ("failed", "unexpected", 1, 0) if step == "look" else ("on_host", "", 0, 1)
    assert (_file(account).state, _file(account).code, part.failed, part.written) == told
    assert propagation.runs_left() == []
    propagation.run_hourly()
    assert _file(account).state == "on_host"


def test_what_was_brought_before_a_fault_is_not_told_as_failed(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(account, text("ed25519"))
    monkeypatch.setattr(Roster, "settle", _overflow)
    run = propagation.push_by_command(account)
    assert run is not None
    assert (_file(account).state, run.written, run.failed) == ("on_host", 1, 0)


def test_what_another_worker_has_brought_meanwhile_is_not_told_as_failed(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(account, text("ed25519"))

    @contextmanager
    def connected(host: object) -> Iterator[LocalFiles]:
        KeyFile.objects.update(state="on_host")
        raise HostDown("The line broke.")
        yield

    monkeypatch.setattr(propagation, "connected", connected)
    propagation.push_one(account.pk)
    assert (_file(account).state, _file(account).code) == ("on_host", "")


def test_nobody_on_the_embedded_host_waits_for_a_helper(account: SftpAccount) -> None:
    """There is none: what is saved there must not wait behind another's."""
    _save(account, text("ed25519"))
    assert bringing.by_haste([_file(account).pk]) == ([_file(account).pk], [])


def _faulty_for(name: str) -> Callable[..., None]:
    plain = bringing.provision.home_make

    def make(files: LocalFiles, username: str) -> None:
        if username == name:
            raise ValueError("a secret path")
        plain(files, username)

    return make


# --- Districts that change ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["suspended", "closed"])
def test_a_district_that_is_not_active_has_no_key_on_the_host(
    district: District, account: SftpAccount, state: str
) -> None:
    _save(account, text("ed25519"))
    propagation.push_one(account.pk)
    district_services.district_state_set(district, District.State(state), reason="x", actor=None)
    propagation.push_one(account.pk)
    assert len(_on_host(account.username).read_bytes().splitlines()) == 1
    district_services.district_state_set(district, District.State.ACTIVE, reason="x", actor=None)
    propagation.push_one(account.pk)
    assert len(fingerprints(_on_host(account.username).read_bytes())) == 1


def _rename(district: District, domain: str) -> None:
    district_services.district_rename(district, name=district.name, domain=domain, actor=None)


def _fresh(account: SftpAccount) -> SftpAccount:
    return SftpAccount.objects.get(pk=account.pk)


def _lets_in() -> set[str]:
    """The user names with a key on the host; of the others only a header is left."""
    files = {place.name: place.read_bytes() for place in (settings.SFTP_ROOT / "keys").iterdir()}
    assert all(content.startswith(HEADER) for content in files.values())
    return {name for name, content in files.items() if len(content.splitlines()) > 1}


def test_a_renamed_districts_keys_and_files_move_and_the_old_name_lets_nobody_in(
    district: District, account: SftpAccount
) -> None:
    _save(account, text("ed25519"))
    propagation.push_one(account.pk)
    old = account.username
    (settings.SFTP_ROOT / "homes" / old / "upload" / "kept.csv").write_bytes(b"x")
    _rename(district, "new.k12.oh.us")
    assert len(fingerprints(_on_host(old).read_bytes())) == 1
    propagation.push_one(account.pk)
    assert _lets_in() == {"new.k12.oh.us"}
    assert not (settings.SFTP_ROOT / "homes" / old).exists()
    assert (settings.SFTP_ROOT / "homes" / "new.k12.oh.us" / "upload" / "kept.csv").exists()
    assert len(fingerprints(_on_host("new.k12.oh.us").read_bytes())) == 1
    assert RetiredUsername.objects.get(username=old).cleared is not None


@pytest.mark.parametrize("pushes", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("names", ["b a", "b c", "b c a"])
def test_several_renames_leave_one_name_with_the_files(
    district: District, account: SftpAccount, names: str, pushes: tuple[bool, bool]
) -> None:
    first = account.username
    _save(account, text("ed25519"))
    propagation.push_one(account.pk)
    (settings.SFTP_ROOT / "homes" / first / "upload" / "kept.csv").write_bytes(b"x")
    domains = [first if name == "a" else f"{name}.k12.oh.us" for name in names.split()]
    for number, domain in enumerate(domains):
        _rename(district, domain)
        if number < len(pushes) and pushes[number]:
            propagation.push_one(account.pk)
    propagation.push_one(account.pk)
    last = domains[-1]
    assert _lets_in() == {last}
    assert [place.name for place in (settings.SFTP_ROOT / "homes").iterdir()] == [last]
    assert (settings.SFTP_ROOT / "homes" / last / "upload" / "kept.csv").exists()
    assert not RetiredUsername.objects.filter(cleared=None).exists()


def test_a_rename_while_the_file_is_being_written_is_not_lost(
    district: District, account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = account.username
    _save(account, text("ed25519"))
    renamed: list[str] = []
    plain = bringing.provision.home_make

    def rename_now(files: LocalFiles, username: Username) -> None:
        if not renamed:
            renamed.append(old)
            _rename(District.objects.get(pk=district.pk), "new.k12.oh.us")
        plain(files, username)

    monkeypatch.setattr(bringing.provision, "home_make", rename_now)
    propagation.push_one(account.pk)
    assert _file(account).state == "waiting"
    assert RetiredUsername.objects.get().cleared is None
    propagation.push_one(account.pk)
    assert _lets_in() == {"new.k12.oh.us"}
    assert [place.name for place in (settings.SFTP_ROOT / "homes").iterdir()] == ["new.k12.oh.us"]


def test_a_district_that_takes_over_a_retired_name_is_no_restore(district: District, account: SftpAccount) -> None:
    old = account.username
    propagation.push_one(account.pk)
    _rename(district, "new.k12.oh.us")
    propagation.push_one(account.pk)
    other = DistrictFactory(domain=old).sftp_account
    _save(other, text("ed25519"))
    propagation.push_one(other.pk)
    assert (_file(other).state, _lets_in()) == ("on_host", {old})


def test_a_rename_that_meets_a_home_with_files_fails_and_nothing_is_lost(
    district: District, account: SftpAccount
) -> None:
    propagation.push_one(account.pk)
    theirs = settings.SFTP_ROOT / "homes" / "new.k12.oh.us" / "upload"
    theirs.mkdir(parents=True)
    (theirs / "x.csv").write_bytes(b"x")
    _rename(district, "new.k12.oh.us")
    propagation.push_one(account.pk)
    assert (_file(account).state, _file(account).code) == ("failed", "already-there")
    assert (theirs / "x.csv").exists()


# --- Several at once ---------------------------------------------------------------------------------------------


def test_what_is_saved_while_the_file_is_written_still_waits(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(account, text("ed25519"))
    saved: list[str] = []

    def save_again() -> None:
        if not saved:
            saved.append("")
            _save(account, text("rsa3072"))

    _use(monkeypatch, Host(save_again))
    propagation.push_one(account.pk)
    file = _file(account)
    assert (file.state, file.host_version, file.version) == ("waiting", 2, 3)
    assert due().get() == file
    propagation.push_one(account.pk)
    assert (_file(account).state, _file(account).host_version) == ("on_host", 3)
    assert b"ssh-rsa" in _on_host(account.username).read_bytes()


def test_a_failure_of_the_older_set_does_not_stop_the_newer(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save_and_fail() -> None:
        _save(account, text("rsa3072"))
        raise HostDown("The host's disk does not answer.")

    _use(monkeypatch, Host(save_and_fail))
    propagation.push_one(account.pk)
    assert (_file(account).state, _file(account).tries) == ("waiting", 0)


def test_what_another_worker_holds_is_left_to_it(account: SftpAccount) -> None:
    KeyFile.objects.update(lease_token="another", lease_until=timezone.now() + timedelta(minutes=1))
    propagation.push_one(account.pk)
    propagation.run_hourly()
    assert not _on_host(account.username).exists()
    assert PropagationRun.objects.get().cause == "hourly"
    KeyFile.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    propagation.push_one(account.pk)
    assert _on_host(account.username).exists()


def test_a_nudge_that_meets_another_worker_is_sent_again_a_moment_later_and_not_for_ever(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[int, int, int]] = []

    def send(_: object, account_pk: int, tries: int, *, countdown: int) -> None:
        sent.append((account_pk, tries, countdown))

    monkeypatch.setattr(tasks, "nudge", send)
    KeyFile.objects.update(lease_token="another", lease_until=timezone.now() + timedelta(minutes=1))
    tasks.propagate_account(account.pk)
    assert sent == [(account.pk, 1, tasks.BUSY_SECONDS)]
    tasks.propagate_account(account.pk, tasks.BUSY_TRIES)
    KeyFile.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    tasks.propagate_account(account.pk, 1)
    tasks.propagate_account(account.pk, 1)  # nothing waits any more
    assert len(sent) == 1
    assert _on_host(account.username).exists()


def test_a_worker_that_wakes_up_late_does_not_leave_the_older_set_on_the_host(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs before its write; meanwhile the set changes and another brings the new one."""
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    woken: list[str] = []

    def other() -> None:
        if not woken:
            woken.append("")
            KeyFile.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
            _save(account, text("rsa3072"))
            propagation.push_one(account.pk)

    _use(monkeypatch, Host(other))
    propagation.push_one(account.pk)
    KeyFile.objects.update(wanted=timezone.now() - timedelta(hours=1))
    sweep()
    assert len(fingerprints(_on_host(account.username).read_bytes())) == 1
    assert _file(account).state == "on_host"


class StoodStill(LocalFiles):
    """The host, which stood still before the last request of a write: the file is there whole, the rename is not done.

    `late` are those renames, for the moment when it goes on.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(settings.SFTP_ROOT)
        self._error = error
        self.late: list[Callable[[], None]] = []

    def write(self, path: HostPath, content: bytes) -> None:
        place = settings.SFTP_ROOT.joinpath(*path.parts)
        begun = place.parent / (temporary_for(path.name.encode()).decode() + "the first session")
        begun.write_bytes(content)
        self.late.append(lambda: begun.rename(place))
        raise self._error


def _broken_off(monkeypatch: pytest.MonkeyPatch, account: SftpAccount) -> StoodStill:
    """A session of which nobody waits for the end has an older set of this account under way."""
    first = StoodStill(HostDown("The host did not answer in time."))
    with monkeypatch.context() as still:
        _use(still, first)
        propagation.push_one(account.pk)
    assert (_file(account).state, _file(account).code) == ("failed", "host-down")
    return first


def test_what_a_host_that_stood_still_does_late_puts_no_older_set_over_a_newer(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    propagation.push_one(account.pk)
    _save(account, text("ed25519"))
    first = _broken_off(monkeypatch, account)
    _save(account, text("rsa3072"))
    # Somebody else reaches the host in between.
    HostRow.objects.update(tries=0, next_try=None, reason="")
    propagation.push_one(account.pk)
    assert _file(account).state == "on_host"
    right = _on_host(account.username).read_bytes()
    with pytest.raises(FileNotFoundError):
        first.late[0]()
    assert _on_host(account.username).read_bytes() == right
    assert fingerprints(right) == list(account.keys.values_list("fingerprint", flat=True))


def test_what_was_done_late_before_the_next_try_is_no_drift(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    propagation.push_one(account.pk)
    _save(account, text("ed25519"))
    first = _broken_off(monkeypatch, account)
    _save(account, text("rsa3072"))
    HostRow.objects.update(tries=0, next_try=None, reason="")
    first.late[0]()
    propagation.push_one(account.pk)
    assert (_file(account).state, PropagationRun.objects.latest("pk").drifted) == ("on_host", 0)
    assert not OutboxMessage.objects.filter(kind="key-found").exists()


@pytest.mark.parametrize("ending", [KeyboardInterrupt, SystemExit])
def test_a_worker_that_is_stopped_in_mid_push_leaves_word_of_what_may_come_late(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch, ending: type[BaseException]
) -> None:
    _save(account, text("ed25519"))
    first = StoodStill(ending())
    with monkeypatch.context() as still:
        _use(still, first)
        with pytest.raises(ending):
            propagation.push_one(account.pk)
    propagation.push_one(account.pk)
    assert _file(account).state == "on_host"
    with pytest.raises(FileNotFoundError):
        first.late[0]()


def test_what_a_killed_worker_had_under_way_is_called_off_by_who_takes_over(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(account, text("ed25519"))
    first = _broken_off(monkeypatch, account)
    a_while_ago = timezone.now() - timedelta(seconds=1)
    KeyFile.objects.update(lease_token="a" * 32, lease_until=a_while_ago, next_try=a_while_ago, tries=0)
    HostRow.objects.update(tries=0, next_try=None, reason="")
    propagation.push_one(account.pk)
    assert (_file(account).state, _file(account).lease_token) == ("on_host", "")
    with pytest.raises(FileNotFoundError):
        first.late[0]()


def test_what_a_living_session_has_under_way_beside_is_left_to_it(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = DistrictFactory(domain="beside.k12.oh.us").sftp_account
    _save(account, text("ed25519"))
    _broken_off(monkeypatch, account)
    living = StoodStill(HostDown("not yet"))
    with suppress(HostDown):
        living.write(key_file(Username(beside.username)), b"of a session that goes on")
    HostRow.objects.update(tries=0, next_try=None, reason="")
    _is_due_now(account)
    propagation.push_one(account.pk)
    living.late[0]()
    assert _on_host(beside.username).read_bytes() == b"of a session that goes on"


def test_what_cannot_be_called_off_is_not_called_done(account: SftpAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(account, text("ed25519"))
    first = _broken_off(monkeypatch, account)
    HostRow.objects.update(tries=0, next_try=None, reason="")
    for _ in range(2):
        with monkeypatch.context() as refusing:
            refusing.setattr(LocalFiles, "call_off", _refused)
            _is_due_now(account)
            propagation.push_one(account.pk)
        assert (_file(account).state, _file(account).code) == ("failed", "refused")
    _is_due_now(account)
    propagation.push_one(account.pk)
    assert _file(account).state == "on_host"
    with pytest.raises(FileNotFoundError):
        first.late[0]()


def _refused(*args: object) -> None:
    raise Refused.at("keys")


def test_one_account_that_cannot_be_called_off_fails_alone(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = DistrictFactory(domain="beside.k12.oh.us").sftp_account
    for one, key in ((account, "ed25519"), (beside, "rsa3072")):
        _save(one, text(key))
        _broken_off(monkeypatch, one)
        HostRow.objects.update(tries=0, next_try=None, reason="")
    stays = temporary_for(account.username.encode()) + b"the first session"
    unlink = os.unlink

    def unlinked(name: bytes, **named: int) -> None:
        if name == stays:
            raise PermissionError(errno.EPERM, "it stays")
        unlink(name, **named)

    with monkeypatch.context() as refusing:
        refusing.setattr(os, "unlink", unlinked)
        propagation.run_hourly()
    assert [(_file(one).state, _file(one).code) for one in (account, beside)] == [
        ("failed", "refused"),
        ("on_host", ""),
    ]
    propagation.run_hourly()
    assert _file(account).state == "on_host"


def test_what_is_saved_while_a_run_walks_waits_for_its_own_push(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = DistrictFactory(domain="zz.k12.oh.us").sftp_account
    saved: list[str] = []

    def save_last() -> None:
        if not saved:
            saved.append("")
            _save(last, text("ed25519"))

    _use(monkeypatch, Host(save_last))
    propagation.run_hourly()
    assert (_file(account).state, _file(last).state) == ("on_host", "waiting")
    propagation.push_one(last.pk)
    assert len(fingerprints(_on_host(last.username).read_bytes())) == 1
    assert _file(last).state == "on_host"


# --- Runs and the sweep ------------------------------------------------------------------------------------------


def test_a_run_that_was_asked_for_is_done_once(account: SftpAccount) -> None:
    run = services.run_want(PropagationRun.Cause.NOW, actor=User.objects.first())
    propagation.run_do(run.pk)
    finished = PropagationRun.objects.get().finished
    propagation.run_do(run.pk)
    sweep()
    assert PropagationRun.objects.get(cause="now").finished == finished


class Killed(BaseException):
    """The worker is gone."""


def test_a_run_whose_worker_was_killed_is_finished_once_by_the_sweep(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    DistrictFactory(domain="zz.k12.oh.us")
    _on_host("x").parent.mkdir()
    (_on_host(account.username) / "something").mkdir(parents=True)
    run = services.run_want(PropagationRun.Cause.NOW, actor=User.objects.first())

    def kill() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        _use(patch, Host(kill))
        with pytest.raises(Killed):
            propagation.run_do(run.pk)
    run.refresh_from_db()
    assert (run.state, run.total) == ("running", 2)
    sweep()
    run.refresh_from_db()
    assert (run.state, run.looked_at, run.failed, run.failures.count()) == ("done", 2, 1, 1)


def test_a_run_that_another_took_over_is_left_to_it(account: SftpAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    run = services.run_want(PropagationRun.Cause.NOW, actor=User.objects.first())
    _use(monkeypatch, Host(lambda: HostRun.objects.update(lease_token="another") and None))
    propagation.run_do(run.pk)
    run.refresh_from_db()
    part = run.hosts.get()
    assert (run.state, run.finished, run.written) == ("running", None, 0)
    assert (part.state, part.lease_token) == ("running", "another")


def test_the_sweep_finds_what_a_lost_message_left_and_leaves_the_fresh(account: SftpAccount) -> None:
    _save(account, text("ed25519"))
    sweep()
    assert _file(account).state == "waiting"
    KeyFile.objects.update(wanted=timezone.now() - timedelta(seconds=settings.SWEEP_SECONDS + 1))
    sweep()
    assert _file(account).state == "on_host"


def test_an_account_that_is_gone_is_no_trouble(account: SftpAccount) -> None:
    assert propagation.push_account(account.pk + 1000) is None
    propagation.push_one(account.pk + 1000)
    assert not PropagationRun.objects.exists()


def test_nobody_else_can_read_what_is_on_the_host(account: SftpAccount) -> None:
    propagation.push_one(account.pk)
    mode = stat.S_IMODE(os.stat(_on_host(account.username)).st_mode)
    assert mode & 0o022 == 0


def test_a_run_that_did_not_come_for_an_hour_is_done_by_the_sweep(account: SftpAccount) -> None:
    sweep()
    assert not PropagationRun.objects.filter(cause="hourly").exists()
    KeyFile.objects.update(wanted=timezone.now() - timedelta(hours=1, minutes=3))
    sweep()
    assert [run.state for run in PropagationRun.objects.filter(cause="hourly")] == ["done"]
    sweep()
    assert PropagationRun.objects.filter(cause="hourly").count() == 1


# --- Restrictions and disabled keys ------------------------------------------------------------------------------


def _lines(account: SftpAccount) -> list[str]:
    propagation.push_one(account.pk)
    return _on_host(account.username).read_text().splitlines()[1:]


def test_restrictions_stand_in_the_line_in_the_form_sshd_takes(account: SftpAccount) -> None:
    _save(account, text("ed25519"))
    by = By(User.objects.first())
    services.key_edit(account.keys.get(), comment="x", expires_on=date(2099, 6, 30), networks="198.51.100.7/24", by=by)
    # The end of 30 June in New York, daylight saving time.
    options = 'restrict,from="198.51.100.0/24",expiry-time="20990701035959Z" ssh-ed25519 '
    assert [line.startswith(options) for line in _lines(account)] == [True]


def test_networks_of_the_account_and_of_a_key_both_hold(account: SftpAccount) -> None:
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    by, key = By(User.objects.first()), account.keys.first()
    services.account_networks_set(account, "198.51.100.0/24, 203.0.113.9", by=by)
    services.key_edit(key, comment="x", expires_on=None, networks="198.51.0.0/16", by=by)
    assert [line.split()[0] for line in _lines(account)] == [
        'restrict,from="198.51.100.0/24"',
        'restrict,from="198.51.100.0/24,203.0.113.9/32"',
    ]


def test_a_disabled_key_is_not_on_the_host_and_not_deleted(account: SftpAccount) -> None:
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    AccountKey.objects.filter(algorithm="ssh-rsa").update(disabled=timezone.now())
    assert [line.split()[0] for line in _lines(account)] == ["ssh-ed25519"]
    assert account.keys.count() == 2


# --- A database that was put back to an older state --------------------------------------------------------------


def _older_database(account: SftpAccount, change: Callable[[], None]) -> None:
    """Does a change and brings it to the host, then puts the database back to what it was before."""
    with suppress(PutBack), transaction.atomic():
        change()
        propagation.push_one(account.pk)
        raise PutBack
    account.refresh_from_db()


class PutBack(Exception):
    """The database goes back to its backup; the host does not."""


def _removed_and_put_back(account: SftpAccount) -> bytes:
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    propagation.push_one(account.pk)
    _older_database(account, lambda: _save(account, text("rsa3072")))
    return _on_host(account.username).read_bytes()


def test_a_restored_database_does_not_put_a_removed_key_back(account: SftpAccount) -> None:
    StaffFactory(email="olga@vendor.example", staff_role=Role.OPS)
    newer = _removed_and_put_back(account)
    assert len(fingerprints(newer)) == 1
    assert account.keys.count() == 2
    propagation.run_hourly()
    propagation.run_hourly()
    file = _file(account)
    assert _on_host(account.username).read_bytes() == newer
    assert (file.state, file.code) == ("failed", "newer-on-host")
    assert file.found["fingerprints"] == fingerprints(newer)
    assert [mail.to for mail in OutboxMessage.objects.filter(kind="keys-newer-on-host")] == ["olga@vendor.example"]


def test_each_start_of_the_portal_asks_every_host_so_a_restored_database_shows_at_once(account: SftpAccount) -> None:
    newer = _removed_and_put_back(account)
    KeyFile.objects.update(state="on_host")
    settings.DATA_DIR.joinpath("sftp", "host_ed25519.pub").write_text("ssh-ed25519 AAAA invented\n")
    for _ in range(2):
        Command()._prepare(2222)
    run = PropagationRun.objects.get(cause="start")
    assert (run.state, run.asked_by) == ("waiting", None)
    sweep()
    assert _on_host(account.username).read_bytes() == newer
    assert (_file(account).state, _file(account).code) == ("failed", "newer-on-host")
    run.refresh_from_db()
    assert (run.state, run.failed) == ("done", 1)


def test_saving_after_a_restore_does_not_get_past_the_hold(account: SftpAccount) -> None:
    newer = _removed_and_put_back(account)
    for pasted in ("ed25519", "ecdsa256", "rsa4096", "ed25519"):
        _save(account, text(pasted))
        propagation.push_one(account.pk)
    assert _file(account).version > 4
    assert _on_host(account.username).read_bytes() == newer


def test_a_key_that_is_removed_after_a_restore_leaves_the_newer_set(account: SftpAccount) -> None:
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    propagation.push_one(account.pk)
    _older_database(account, lambda: _save(account, f"{text('rsa3072')}\n{text('ecdsa256')}"))
    propagation.run_hourly()
    services.key_remove(account.keys.get(algorithm="ssh-rsa"), by=By(None))
    propagation.push_one(account.pk)
    assert fingerprints(_on_host(account.username).read_bytes()) == fingerprints(text("ecdsa256").encode())
    assert (_file(account).code, len(_file(account).found["fingerprints"])) == ("newer-on-host", 1)


def _lost_then_renamed(district: District, account: SftpAccount) -> None:
    services.key_lost(account.keys.get(algorithm="ssh-ed25519"), by=By(None))
    propagation.push_one(account.pk)
    _rename(District.objects.get(pk=district.pk), "new.k12.oh.us")


def test_a_database_from_before_a_rename_does_not_put_a_lost_key_back_under_the_old_name(
    district: District, account: SftpAccount
) -> None:
    StaffFactory(email="olga@vendor.example", staff_role=Role.OPS)
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    propagation.push_one(account.pk)
    _older_database(account, lambda: _lost_then_renamed(district, account))
    assert account.keys.count() == 2
    propagation.run_hourly()
    propagation.run_hourly()
    assert _lets_in() == {"new.k12.oh.us"}
    assert not (settings.SFTP_ROOT / "homes" / account.username).exists()
    file = _file(account)
    assert (file.state, file.code, file.found["fingerprints"]) == ("failed", "newer-on-host", [])
    assert [mail.to for mail in OutboxMessage.objects.filter(kind="keys-newer-on-host")] == ["olga@vendor.example"]


def _keep(account: SftpAccount, *, by: By) -> None:
    """Whoever decides has looked at what the host has now."""
    services.older_set_keep(account, seen=(_file(account).found or {}).get("token", ""), by=by)


def test_a_rename_after_a_restore_does_not_get_past_the_hold(district: District, account: SftpAccount) -> None:
    newer = _removed_and_put_back(account)
    old = account.username
    _rename(district, "new.k12.oh.us")
    propagation.push_one(account.pk)
    assert (_lets_in(), _on_host(old).read_bytes()) == ({old}, newer)
    _keep(account, by=By(None))
    propagation.push_one(account.pk)
    assert (_file(account).state, _lets_in()) == ("on_host", {"new.k12.oh.us"})


def test_ops_settle_it_with_a_reason_and_the_older_set_is_written(account: SftpAccount) -> None:
    _removed_and_put_back(account)
    propagation.run_hourly()
    by = By(StaffFactory(staff_role=Role.OPS), reason="Backup of Monday, agreed with the district.")
    _keep(account, by=by)
    propagation.push_one(account.pk)
    assert len(fingerprints(_on_host(account.username).read_bytes())) == 2
    file = _file(account)
    assert (file.state, file.found) == ("on_host", None)
    assert KeySet.objects.filter(account=account).first().reason == by.reason
    with pytest.raises(services.NothingToSettle):
        _keep(account, by=by)


def test_a_lost_key_leaves_the_host_while_the_newer_set_is_unsettled(account: SftpAccount) -> None:
    _save(account, text("rsa3072"))
    propagation.push_one(account.pk)
    newer = f"{text('ed25519')}\n{text('rsa3072')}\n{text('ecdsa256')}"
    _older_database(account, lambda: _save(account, newer))
    stamp = _on_host(account.username).read_bytes().partition(b"\n")[0]
    with _on_host(account.username).open("ab") as file:
        file.write(b"# foreign\n")
    key = account.keys.get()
    services.key_lost(key, by=By(None), confirmed=account.username)
    propagation.push_one(account.pk)
    content = _on_host(account.username).read_bytes()
    assert content.partition(b"\n")[0] == stamp
    assert (len(fingerprints(content)), key.fingerprint in fingerprints(content)) == (2, False)
    assert b"foreign" not in content
    file = _file(account)
    assert (file.state, file.code) == ("failed", "newer-on-host")
    assert file.found["fingerprints"] == fingerprints(content)


def test_without_a_lost_key_a_newer_set_stands_as_it_is(account: SftpAccount) -> None:
    services.key_lost(KeyFactory(account=account, line=text("ecdsa384")), by=By(None), confirmed=account.username)
    before = _removed_and_put_back(account)
    propagation.run_hourly()
    assert _on_host(account.username).read_bytes() == before


def _stamped_anew(account: SftpAccount, token: str) -> bytes:
    """Somebody on the host adds a key and writes a stamp of his own over the file."""
    path = _on_host(account.username)
    lines = path.read_bytes().splitlines()[1:]
    header = f"# managed by SFTP Portal | set 9 | {token}".encode("ascii")
    path.write_bytes(b"\n".join([header, *lines, text("ed25519").strip().encode("ascii")]) + b"\n")
    return path.read_bytes()


@pytest.mark.parametrize("token", ["0123456789abcdef", "0123456789abcdef" * 2])
def test_a_stamp_that_no_portal_made_hides_no_foreign_key(account: SftpAccount, token: str) -> None:
    _save(account, text("rsa3072"))
    propagation.push_one(account.pk)
    before = _on_host(account.username).read_bytes()
    _stamped_anew(account, token)
    propagation.run_hourly()
    assert _on_host(account.username).read_bytes() == before
    assert _file(account).state == "on_host"
    assert [FoundLine.objects.get().fingerprint] == fingerprints(text("ed25519").encode("ascii"))


def test_a_stamp_made_with_a_key_that_was_rotated_is_ours(account: SftpAccount, settings: LazySettings) -> None:
    _save(account, text("rsa3072"))
    propagation.push_one(account.pk)
    newer = token_make()
    settings.SECRETS_KEYS = [Fernet.generate_key().decode("ascii"), *settings.SECRETS_KEYS]
    there = _stamped_anew(account, newer)
    propagation.run_hourly()
    assert (_file(account).code, _on_host(account.username).read_bytes()) == ("newer-on-host", there)


@pytest.mark.parametrize("version", [9, 10**18])
def test_a_stamp_copied_under_another_version_hides_no_foreign_key(account: SftpAccount, version: int) -> None:
    _save(account, text("rsa3072"))
    propagation.push_one(account.pk)
    before = _on_host(account.username).read_bytes()
    there = _stamped_anew(account, account.key_sets.get(version=_file(account).version).token)
    for name in (account.username, "nobody.k12.oh.us"):
        _on_host(name).write_bytes(there.replace(b"set 9 ", b"set %d " % version))
    propagation.run_hourly()
    assert (_file(account).state, _on_host(account.username).read_bytes()) == ("on_host", before)
    assert not _on_host("nobody.k12.oh.us").exists()
    assert HostRun.objects.latest("pk").state == "done"


def test_whoever_restores_the_keys_of_that_day_too_holds_the_sets_made_after_they_were_rotated(
    account: SftpAccount, settings: LazySettings
) -> None:
    _save(account, text("rsa3072"))
    propagation.push_one(account.pk)
    backed_up = settings.SECRETS_KEYS
    settings.SECRETS_KEYS = [Fernet.generate_key().decode("ascii"), *backed_up]
    there = _stamped_anew(account, token_make())
    settings.SECRETS_KEYS = backed_up
    propagation.run_hourly()
    assert (_file(account).code, _on_host(account.username).read_bytes()) == ("newer-on-host", there)


@pytest.mark.parametrize("state", [District.State.SUSPENDED, District.State.CLOSED])
def test_a_district_that_leaves_has_no_key_in_a_newer_set_either(account: SftpAccount, state: District.State) -> None:
    _save(account, text("rsa3072"))
    propagation.push_one(account.pk)
    _stamped_anew(account, token_make())
    propagation.run_hourly()
    district_services.district_state_set(account.district, state, reason="They have left.", actor=None)
    propagation.push_one(account.pk)
    assert len(_on_host(account.username).read_bytes().splitlines()) == 1
    # It is still for a person to say which set is the right one.
    assert (_file(account).code, _file(account).found["fingerprints"]) == ("newer-on-host", [])


def test_newer_sets_under_the_name_of_today_and_the_one_before_are_decided_once_each(
    account: SftpAccount, dana: User
) -> None:
    _save(account, text("rsa3072"))
    propagation.push_one(account.pk)
    # The database is from before a rename, which is done once more.
    old, new = account.username, "renamed.k12.oh.us"
    _on_host(old).write_text(f"# managed by SFTP Portal | set 8 | {token_make()}\n")
    _on_host(new).write_text(f"# managed by SFTP Portal | set 9 | {token_make()}\n")
    district_services.district_rename(account.district, name="Renamed", domain=new, actor=None)
    decided = []
    while len(decided) < 4:
        propagation.run_hourly()
        if (found := _file(account).found) is None:
            break
        decided.append(found["version"])
        _keep(account, by=By(dana, reason="It is the one of today."))
    assert (decided, _file(account).state) == ([9, 8], "on_host")
    assert fingerprints(_on_host(new).read_bytes()) == fingerprints(text("rsa3072").encode("ascii"))


@pytest.mark.parametrize("version", [999_999_998, 999_999_999])
def test_whatever_number_a_stamp_has_after_the_decision_keys_are_brought(
    account: SftpAccount, dana: User, version: int
) -> None:
    _save(account, text("rsa3072"))
    propagation.push_one(account.pk)
    there = _stamped_anew(account, token_make())
    _on_host(account.username).write_bytes(there.replace(b"set 9 ", b"set %d " % version))
    propagation.run_hourly()
    _keep(account, by=By(dana, reason="It is the one of today."))
    for pasted in ("ed25519", "ecdsa256"):
        _save(account, text(pasted))
        propagation.push_one(account.pk)
    propagation.run_hourly()
    assert (_file(account).state, HostRun.objects.latest("pk").state) == ("on_host", "done")
    assert fingerprints(_on_host(account.username).read_bytes()) == fingerprints(text("ecdsa256").encode("ascii"))


@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "suspended"])
def test_what_waits_for_no_decision_goes_under_the_name_before_too(account: SftpAccount, is_lost: bool) -> None:
    _save(account, f"{text('ed25519')}\n{text('rsa3072')}")
    propagation.push_one(account.pk)
    old, new = account.username, "renamed.k12.oh.us"
    # In the newer database somebody else has given this name up.
    _on_host(new).write_text(f"# managed by SFTP Portal | set 9 | {token_make()}\n")
    district_services.district_rename(account.district, name="Renamed", domain=new, actor=None)
    account.refresh_from_db()
    propagation.run_hourly()
    with _on_host(old).open("a") as file:
        file.write(text("ecdsa256").replace(" ", "  ", 1) + "\n")
    if is_lost:
        services.key_lost(account.keys.get(algorithm="ssh-ed25519"), by=By(None), confirmed=new)
    else:
        state = District.State.SUSPENDED
        district_services.district_state_set(account.district, state, reason="They have left.", actor=None)
    propagation.push_one(account.pk)
    staying = [text("rsa3072").strip()] if is_lost else []
    assert (_file(account).code, _on_host(old).read_text().splitlines()[1:]) == ("newer-on-host", staying)
    assert FoundLine.objects.get().username == old


def test_who_has_lost_the_keys_of_stamps_holds_what_may_be_newer(account: SftpAccount, settings: LazySettings) -> None:
    _save(account, text("rsa3072"))
    propagation.push_one(account.pk)
    newer = token_make()
    settings.SECRETS_KEYS = [Fernet.generate_key().decode("ascii")]
    there = _stamped_anew(account, newer)
    propagation.run_hourly()
    assert (_file(account).code, _on_host(account.username).read_bytes()) == ("newer-on-host", there)


def test_a_made_up_stamp_under_a_name_of_no_account_stops_no_run(account: SftpAccount) -> None:
    propagation.run_hourly()
    there = _stamped_anew(account, "0123456789abcdef")
    _on_host("nobody.k12.oh.us").write_bytes(there)
    propagation.run_hourly()
    assert not _on_host("nobody.k12.oh.us").exists()
    assert HostRun.objects.latest("pk").state == "done"


def test_a_foreign_line_is_taken_out_of_a_newer_set_that_waits_for_a_decision(account: SftpAccount, dana: User) -> None:
    newer = _removed_and_put_back(account)
    # sshd takes it with two blanks; the portal never writes it so.
    foreign = text("ecdsa256").replace(" ", "  ", 1)
    with _on_host(account.username).open("a") as file:
        file.write(f"{foreign}\n")
    assert len(fingerprints(_on_host(account.username).read_bytes())) == 2
    for _ in range(2):
        propagation.run_hourly()
    assert _on_host(account.username).read_bytes() == newer
    file = _file(account)
    assert (file.code, file.found["fingerprints"]) == ("newer-on-host", fingerprints(newer))
    found = FoundLine.objects.get()
    assert (found.account, found.line, found.label) == (account, foreign, "ECDSA P-256")
    assert [mail.to for mail in OutboxMessage.objects.filter(kind="key-found")] == [dana.email]
    assert list(HostRun.objects.order_by("pk").values_list("drifted", flat=True)) == [1, 0]


def test_a_worker_killed_between_writing_and_noting_is_no_restore(account: SftpAccount) -> None:
    _save(account, text("ed25519"))
    propagation.push_one(account.pk)
    # What was written is not noted, and meanwhile the next set is saved.
    KeyFile.objects.update(host_version=1, state="waiting")
    _save(account, text("rsa3072"))
    propagation.push_one(account.pk)
    assert _file(account).state == "on_host"


class Mute(LocalFiles):
    """A host that is gone before anything was asked of it but to read."""

    def read_many(self, paths: Iterable[HostPath], limit: int) -> Iterator[tuple[HostPath, FileRead | HostError]]:
        for path in paths:
            yield path, HostDown("The host did not answer in time.")


def test_what_was_only_read_cannot_come_late(account: SftpAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    _save(account, text("ed25519"))
    with monkeypatch.context() as mute:
        _use(mute, Mute(settings.SFTP_ROOT))
        propagation.push_one(account.pk)
    assert (_file(account).code, _file(account).lease_token) == ("host-down", "")


def test_a_file_that_is_just_being_tried_is_not_touched_when_its_host_is_to_be_tried_again(
    account: SftpAccount,
) -> None:
    later = timezone.now() + timedelta(minutes=5)
    KeyFile.objects.update(state="failed", code="host-down", next_try=later, lease_token="x", lease_until=later)
    retry_now(HostRow.objects.get())
    assert _file(account).next_try == later
    KeyFile.objects.update(lease_token="", lease_until=None)
    retry_now(HostRow.objects.get())
    assert _file(account).next_try < later
