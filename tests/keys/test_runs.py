"""Runs over whole hosts: what is left unread, what has drifted, when a run stops, and hosts that are away."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.core.roles import Role
from accounts.models import OutboxMessage, SftpAccount, User
from hosts import provision
from hosts.connect import host_answered
from hosts.core.errors import HostDown, HostKeyChanged, HostStopped
from hosts.helper import HelperRefused
from hosts.local import LocalFiles
from hosts.models import Host
from keys import bringing, overview, propagation, services, taking_out
from keys.core.drift import Known
from keys.models import AccountKey, FoundLine, HostRun, KeyFile, KeySet, PropagationRun
from keys.retrying import FIRST_PAUSE, MOST_TRIES, fail_noted, pause_after
from keys.selectors import is_overdue
from keys.sets import By
from keys.wanted import wanted
from tests.factories import DistrictFactory, HostFactory, StaffFactory

from .samples import many_lines, text, words
from .sweeping import sweep


class Watched(LocalFiles):
    """The host's files, with a note of what was read and written."""

    def __init__(self) -> None:
        super().__init__(settings.SFTP_ROOT)
        self.read_names: list[str] = []
        self.written_names: list[str] = []

    def _read(self, path, limit):  # type: ignore[no-untyped-def]
        self.read_names.append(path.name)
        return super()._read(path, limit)

    def write(self, path, content):  # type: ignore[no-untyped-def]
        self.written_names.append(path.name)
        super().write(path, content)
        settings.SFTP_ROOT.joinpath(*path.parts).chmod(0o640)  # as on a machine of its own


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    files = Watched()

    @contextmanager
    def connected(host: Host) -> Iterator[Watched]:
        yield files

    monkeypatch.setattr(propagation, "connected", connected)
    return files


def _save(account: SftpAccount, *names: str) -> None:
    version = KeyFile.objects.get(account=account).version
    pasted = "\n".join(text(name) for name in names)
    services.keys_save(account, pasted, seen_version=version, by=By(None), confirmed=account.username)


def _on_host(name: str) -> Path:
    return settings.SFTP_ROOT / "keys" / name


def _keys_on_host(account: SftpAccount) -> int:
    header, *keys = _on_host(account.username).read_bytes().splitlines()
    assert header.startswith(b"# managed by SFTP Portal")
    return len(keys)


def _file(account: SftpAccount) -> KeyFile:
    return KeyFile.objects.get(account=account)


def _run(**told: object) -> HostRun:
    run = PropagationRun.objects.create(cause="hourly", **told)
    propagation.run_do(run.pk)
    return run.hosts.get()


def _settled(*accounts: SftpAccount) -> None:
    """Brings all, and lets so much time pass that a listing tells every later change."""
    _run()
    for account in accounts:
        path = _on_host(account.username)
        os.utime(path, (1_700_000_000, 1_700_000_000))
        KeyFile.objects.filter(account=account).update(host_modified=1_700_000_000)


# --- What is read ------------------------------------------------------------------------------------------------


def test_files_that_nobody_touched_are_neither_read_nor_written(account: SftpAccount, watched: Watched) -> None:
    _save(account, "ed25519")
    _settled(account)
    watched.read_names.clear()
    watched.written_names.clear()
    part = _run()
    assert (watched.read_names, watched.written_names) == ([], [])
    assert (part.state, part.total, part.unchanged) == ("done", 1, 1)


def test_every_file_is_read_after_a_day_and_when_asked(account: SftpAccount, watched: Watched) -> None:
    _settled(account)
    watched.read_names.clear()
    KeyFile.objects.update(read_at=timezone.now() - timedelta(hours=24))
    _run()
    assert watched.read_names == [account.username]
    _run()
    assert watched.read_names == [account.username]
    _run(thorough=True)
    assert watched.read_names == [account.username] * 2


def test_an_edit_of_the_same_size_and_time_is_found_by_the_daily_reading(account: SftpAccount) -> None:
    _save(account, "ed25519")
    _settled(account)
    path = _on_host(account.username)
    right = path.read_bytes()
    path.write_bytes(right[:-2] + b"X\n")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    assert _run().drifted == 0
    KeyFile.objects.update(read_at=timezone.now() - timedelta(hours=24))
    assert _run().drifted == 1
    assert path.read_bytes() == right


def test_a_file_that_was_only_touched_is_read_and_left(account: SftpAccount, watched: Watched) -> None:
    _settled(account)
    os.utime(_on_host(account.username))
    watched.written_names.clear()
    part = _run()
    assert (part.unchanged, part.drifted, watched.written_names) == (1, 0, [])
    watched.read_names.clear()
    _run()
    assert watched.read_names == []


# --- What has drifted --------------------------------------------------------------------------------------------


def test_a_foreign_key_is_taken_off_and_kept_and_its_district_and_ops_are_told(
    account: SftpAccount, dana: User
) -> None:
    StaffFactory(email="olga@vendor.example", staff_role=Role.OPS)
    _save(account, "ed25519")
    _settled(account)
    with _on_host(account.username).open("a") as file:
        file.write(f"{text('rsa3072')}\n")
    part = _run()
    assert (part.state, part.drifted, part.written) == ("done", 1, 1)
    assert _keys_on_host(account) == 1
    found = FoundLine.objects.get()
    assert (found.account, found.label, found.state) == (account, "RSA 3072", "kept")
    assert found.line == text("rsa3072")
    told = OutboxMessage.objects.filter(kind="key-found")
    assert sorted(told.values_list("to", flat=True)) == sorted(["olga@vendor.example", dana.email])
    _run()
    assert FoundLine.objects.count() == 1


def test_the_same_line_put_back_again_is_kept_again_only_after_a_decision(account: SftpAccount) -> None:
    _settled(account)
    for _ in range(2):
        _on_host(account.username).write_text("foreign\n")
        _run()
    assert FoundLine.objects.count() == 1
    FoundLine.objects.update(state="dismissed")
    _on_host(account.username).write_text("foreign\n")
    _run()
    assert sorted(FoundLine.objects.values_list("state", flat=True)) == ["dismissed", "kept"]


def test_a_stranger_s_file_goes_and_its_lines_are_kept(account: SftpAccount) -> None:
    _settled(account)
    _on_host("nobody.k12.oh.us").write_text(f"{text('ed25519')}\n")
    part = _run()
    assert part.state == "done"
    assert not _on_host("nobody.k12.oh.us").exists()
    found = FoundLine.objects.get()
    assert (found.account, found.username, found.label) == (None, "nobody.k12.oh.us", "ED25519")


def test_a_stranger_s_file_that_is_too_large_leaves_a_trace(account: SftpAccount) -> None:
    _settled(account)
    _on_host("stranger.k12.oh.us").write_bytes(b"x" * (taking_out.LARGEST_FILE + 1))
    _run()
    assert not _on_host("stranger.k12.oh.us").exists()
    found = FoundLine.objects.get()
    assert (found.username, found.line[:38]) == ("stranger.k12.oh.us", "# A whole file of more than 4,194,304 ")


def test_a_temporary_of_a_push_under_way_is_no_stranger(account: SftpAccount) -> None:
    _settled(account)
    other = DistrictFactory(domain="zz.k12.oh.us").sftp_account
    KeyFile.objects.filter(account=other).update(lease_until=timezone.now() + timedelta(seconds=30))
    temporary = _on_host(".portal-tmp-0123456789abcdef")
    temporary.write_bytes(b"half")
    _run()
    assert temporary.exists()


def test_a_fresh_temporary_of_a_push_that_is_over_goes_with_the_next_run(account: SftpAccount) -> None:
    _settled(account)
    temporary = _on_host(".portal-tmp-0123456789abcdef")
    temporary.write_bytes(b"half")
    assert (_run().state, temporary.exists()) == ("done", False)


def test_an_old_temporary_goes_even_while_others_push(account: SftpAccount) -> None:
    _settled(account)
    KeyFile.objects.update(lease_until=timezone.now() + timedelta(seconds=30))
    temporary = _on_host(".portal-tmp-0123456789abcdef")
    temporary.write_bytes(b"half")
    long_ago = timezone.now().timestamp() - 6 * 60
    os.utime(temporary, (long_ago, long_ago))
    assert (_run().state, temporary.exists()) == ("done", False)


def _make_link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("put", [_make_link, Path.mkdir, os.mkfifo], ids=["a link", "an empty directory", "a FIFO"])
@pytest.mark.parametrize("is_run", [True, False], ids=["run", "save"])
def test_what_is_no_file_in_a_key_file_s_place_is_replaced(
    account: SftpAccount, put: Callable[[Path], None], is_run: bool
) -> None:
    _save(account, "ed25519")
    _settled(account)
    path = _on_host(account.username)
    path.unlink()
    put(path)
    if is_run:
        part = _run()
        assert (part.state, part.drifted, part.written, part.failed) == ("done", 1, 1, 0)
    else:
        _save(account, "rsa3072")
        propagation.push_one(account.pk)
    assert path.is_file()
    assert not path.is_symlink()
    assert _keys_on_host(account) == 1
    assert _file(account).state == "on_host"


def test_a_directory_with_something_in_it_is_told_and_left(account: SftpAccount) -> None:
    _settled(account)
    path = _on_host(account.username)
    path.unlink()
    (path / "something").mkdir(parents=True)
    part = _run()
    assert (part.failed, part.run.failures.get().code) == (1, "directory-there")
    assert (path / "something").exists()


def test_a_file_that_lost_its_mode_is_put_there_anew(account: SftpAccount, watched: Watched) -> None:
    _save(account, "ed25519")
    _settled(account)
    path = _on_host(account.username)
    path.chmod(0)
    watched.written_names.clear()
    part = _run()
    assert (part.drifted, part.written, watched.written_names) == (1, 1, [account.username])
    assert path.stat().st_mode & 0o400
    part = _run()
    assert (part.drifted, part.written, part.unchanged) == (0, 0, 1)


def test_what_is_no_key_file_stays_and_is_told_in_the_run(account: SftpAccount) -> None:
    _settled(account)
    _on_host("Foo Bar").write_text("x")
    _on_host("strangelink").symlink_to("/etc/passwd")
    _on_host("strange.directory").mkdir()
    part = _run()
    assert (part.state, part.code) == ("done", "no-key-file")
    assert all(name in part.reason for name in ("Foo Bar", "strangelink", "strange.directory"))
    assert _on_host("strangelink").is_symlink()


def test_a_stranger_whose_name_an_account_takes_meanwhile_is_not_removed(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    _settled(account)
    _on_host("zz.k12.oh.us").write_text(f"{text('ed25519')}\n")
    looked = propagation._Part.look_at_strangers

    def opened_meanwhile(part, files, plan):  # type: ignore[no-untyped-def]
        looked(part, files, plan)
        DistrictFactory(domain="zz.k12.oh.us")

    monkeypatch.setattr(propagation._Part, "look_at_strangers", opened_meanwhile)
    _run()
    assert _on_host("zz.k12.oh.us").exists()


# --- When a run stops --------------------------------------------------------------------------------------------


def _many(count: int) -> list[SftpAccount]:
    accounts = [DistrictFactory(domain=f"d{number}.k12.oh.us").sftp_account for number in range(count)]
    for number, account in enumerate(accounts):
        _key_rows(account, number)
    _settled(*accounts)
    return accounts


def _key_rows(account: SftpAccount, number: int) -> None:
    """Two keys each, which nobody else has."""
    lines = many_lines(2 * number + 2)[-2:]
    version = KeyFile.objects.get(account=account).version
    services.keys_save(account, "\n".join(lines), seen_version=version, by=By(None))


@pytest.fixture
def many(db: None) -> list[SftpAccount]:
    settings.SFTP_ROOT.mkdir(parents=True)
    StaffFactory(email="olga@vendor.example", staff_role=Role.OPS)
    return _many(4)


def _brought_meanwhile(monkeypatch: pytest.MonkeyPatch, accounts: list[SftpAccount]) -> None:
    """The nudges of these accounts' saves are worked off just when a look has read what stood on the host before."""
    plain, left = propagation.read_ours, list(accounts)

    def racing(*args: object) -> object:
        found = list(plain(*args))
        while left:
            propagation.push_one(left.pop().pk)
        return iter(found)

    monkeypatch.setattr(propagation, "read_ours", racing)


def test_what_people_asked_for_and_another_worker_brings_meanwhile_stops_no_run(
    many: list[SftpAccount], monkeypatch: pytest.MonkeyPatch
) -> None:
    for account in many:
        _save(account)
    _brought_meanwhile(monkeypatch, many)
    part = _run()
    assert (part.state, part.unasked, part.held) == ("done", 0, 0)
    assert all(_keys_on_host(account) == 0 for account in many)
    assert not OutboxMessage.objects.filter(kind="keys-run-stopped").exists()


def test_what_another_worker_brings_meanwhile_takes_no_leave_from_a_sweep(
    many: list[SftpAccount], monkeypatch: pytest.MonkeyPatch
) -> None:
    for account in many:
        _save(account)
    _brought_meanwhile(monkeypatch, many)
    assert not propagation._is_too_much(LocalFiles(settings.SFTP_ROOT), [account.key_file.pk for account in many])


def test_of_a_long_history_only_what_came_after_the_known_set_was_asked_for(many: list[SftpAccount]) -> None:
    first, second = many[:2]
    for account in (first, second):
        KeySet.objects.bulk_create(
            KeySet(account=account, version=version, cause="saved", removed=[{"fingerprint": f"SHA256:{version}"}])
            for version in range(10, 20)
        )
    versions = {first.pk: 12, second.pk: 18}
    files = list(wanted(KeyFile.objects.filter(account__in=many[:3])))
    asked = taking_out.asked_since(
        replace(one, known=Known(versions.get(one.account_pk, one.known.version))) for one in files
    )
    told = {pk: sorted(one.fingerprints) for pk, one in asked.items()}
    assert told == {first.pk: [f"SHA256:{version}" for version in range(13, 20)], second.pk: ["SHA256:19"]}
    assert taking_out.asked_since([]) == {}


@pytest.mark.parametrize("line", ["# looked at by ops", text("ecdsa256").strip(), ""], ids=["comment", "key", "copy"])
def test_a_run_stops_though_the_files_that_would_lose_keys_were_changed(many: list[SftpAccount], line: str) -> None:
    """What is foreign goes at once, and lets nobody keep or lose what is ours."""
    was = {account.username: _on_host(account.username).read_bytes() for account in many}
    for account in many:
        with _on_host(account.username).open("a") as file:
            file.write(f"{line or was[account.username].decode().splitlines()[-1] + ' copied'}\n")
    AccountKey.objects.filter(account__in=many[:3]).delete()
    for _ in range(2):
        part = _run()
        assert (part.state, part.unasked, part.held) == ("stopped", 6, 3)
        assert {name: _on_host(name).read_bytes() for name in was} == was
        assert all(found.line == line or found.line.endswith("copied") for found in FoundLine.objects.all())
        assert FoundLine.objects.count() == (4 if line else 3)


def test_a_run_that_would_remove_what_nobody_asked_to_remove_stops_and_asks(many: list[SftpAccount]) -> None:
    AccountKey.objects.filter(account__in=many[:3]).delete()
    part = _run()
    assert (part.state, part.unasked, part.held, part.unchanged) == ("stopped", 6, 3, 1)
    assert all(_keys_on_host(account) == 2 for account in many)
    assert (_file(many[0]).state, _file(many[0]).code) == ("failed", "unasked-removal")
    assert list(OutboxMessage.objects.filter(kind="keys-run-stopped").values_list("to", flat=True)) == [
        "olga@vendor.example"
    ]
    _run()
    assert OutboxMessage.objects.filter(kind="keys-run-stopped").count() == 1


def test_what_people_asked_for_goes_on_while_a_run_is_stopped(many: list[SftpAccount]) -> None:
    AccountKey.objects.filter(account__in=many[:3]).delete()
    _run()
    _save(many[3], "ed25519")
    propagation.push_one(many[3].pk)
    assert _keys_on_host(many[3]) == 1
    assert _file(many[3]).state == "on_host"


@pytest.mark.parametrize("remove", [services.key_lost, services.key_remove])
@pytest.mark.parametrize("by_run", [False, True], ids=["at once", "by the next run"])
def test_what_people_remove_goes_from_a_file_that_is_held(
    many: list[SftpAccount], remove: Callable[..., KeySet], by_run: bool
) -> None:
    """The other key of the file, whose row was lost, waits for the decision as before."""
    for account in many[:3]:
        account.keys.order_by("position").first().delete()
    assert _run().unasked == 3
    account = many[0]
    key = account.keys.get()
    remove(key, by=By(None), confirmed=account.username)
    if not by_run:
        propagation.push_one(account.pk)
    for _ in range(2):
        part = _run()
        assert (part.state, part.unasked) == ("stopped", 3)
        assert key.blob not in _on_host(account.username).read_text()
        assert _keys_on_host(account) == 1
        assert (_file(account).state, _file(account).code) == ("failed", "unasked-removal")
    assert PropagationRun.objects.filter(removed=1).count() == 1
    assert not FoundLine.objects.exists()


class Killed(BaseException):
    """The worker is gone."""


class Dying(Watched):
    """A host whose worker dies just before or just after it writes."""

    def __init__(self, *, writes: bool) -> None:
        super().__init__()
        self._writes = writes

    def write(self, path, content):  # type: ignore[no-untyped-def]
        if self._writes:
            super().write(path, content)
        raise Killed


def _killed(monkeypatch: pytest.MonkeyPatch, account: SftpAccount, *, writes: bool) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(propagation, "connected", lambda host: nullcontext(Dying(writes=writes)))
        with pytest.raises(Killed):
            propagation.push_one(account.pk)


@pytest.mark.parametrize("deaths", [(True,), (False,), (True, False), (True, True)])
def test_a_worker_killed_while_it_takes_a_key_from_a_held_file_makes_no_other_key_foreign(
    many: list[SftpAccount], monkeypatch: pytest.MonkeyPatch, deaths: tuple[bool, ...]
) -> None:
    """`deaths`: of the removals one after the other, whether the file was written before the worker died."""
    account, *others = many
    version = _file(account).version
    lines = [f"{key.algorithm} {key.blob}" for key in account.keys.order_by("position")]
    lines += many_lines(22)[-2:]
    services.keys_save(account, "\n".join(lines), seen_version=version, by=By(None))
    _settled(account)
    lost, *removed = account.keys.order_by("position")
    lost.delete()
    for other in others[:2]:
        other.keys.first().delete()
    assert _run().unasked == 3
    for key, writes in zip(removed, deaths, strict=False):
        services.key_remove(key, by=By(None), confirmed=account.username)
        _killed(monkeypatch, account, writes=writes)
    part = _run()
    assert (part.state, part.unasked, part.held) == ("stopped", 3, 3)
    assert not FoundLine.objects.exists()
    there = _on_host(account.username).read_text()
    gone = removed[: len(deaths)]
    assert [key.blob in there for key in (lost, *removed)] == [True, *(key not in gone for key in removed)]
    assert _file(account).next_digest == ""


def _down(host: Host) -> None:
    raise HostDown("The host cannot be reached.")


@pytest.mark.parametrize("then_away", [False, True], ids=["", "the host was away for the next run"])
def test_neither_the_sweep_nor_a_save_gets_past_a_stopped_run(
    many: list[SftpAccount], monkeypatch: pytest.MonkeyPatch, then_away: bool
) -> None:
    AccountKey.objects.filter(account__in=many[:3]).delete()
    _run()
    if then_away:
        with monkeypatch.context() as patched:
            patched.setattr(propagation, "connected", _down)
            assert _run().state == "failed"
        Host.objects.update(tries=0, next_try=None)
    KeyFile.objects.update(wanted=timezone.now() - timedelta(minutes=30))
    sweep()
    _save(many[0], "ed25519")
    propagation.push_one(many[0].pk)
    assert all(_keys_on_host(account) == 2 for account in many)


class Lost(Watched):
    """A host whose line is cut after so many files were read."""

    reads_left = 1000

    def _read(self, path, limit):  # type: ignore[no-untyped-def]
        self._reached()
        self.reads_left -= 1
        return super()._read(path, limit)

    def stat(self, path):  # type: ignore[no-untyped-def]
        self._reached()
        return super().stat(path)

    def sweep(self, *args):  # type: ignore[no-untyped-def]
        self._reached()
        super().sweep(*args)

    def _reached(self) -> None:
        if not self.reads_left:
            raise HostDown("The connection to the host was cut.")


def test_a_run_that_stopped_waits_for_its_decision_though_the_host_was_lost_then(
    many: list[SftpAccount], monkeypatch: pytest.MonkeyPatch
) -> None:
    AccountKey.objects.filter(account__in=many[:3]).delete()
    lost = Lost()
    lost.reads_left = 3
    with monkeypatch.context() as patched:
        patched.setattr(propagation, "connected", lambda host: nullcontext(lost))
        part = _run()
    assert (part.state, part.unasked, part.code, part.failed) == ("stopped", 6, "host-down", 3)
    assert [waiting.pk for waiting in overview.stopped_parts()] == [part.pk]
    assert [(host.pk, host.looked_through < part.started) for host in overview.hosts_not_looked_through()] == [
        (part.host_id, True)
    ]
    Host.objects.update(tries=0, next_try=None)
    KeyFile.objects.update(next_try=timezone.now())
    for account in many[:3]:
        propagation.push_one(account.pk)
    assert all(_keys_on_host(account) == 2 for account in many)
    assert {_file(account).code for account in many[:3]} == {"unasked-removal"}
    services.unasked_allow(part, by=By(StaffFactory(staff_role=Role.OPS), reason="They left us."))
    assert _run().state == "done"
    assert [_keys_on_host(account) for account in many] == [0, 0, 0, 2]
    assert overview.hosts_not_looked_through() == []


@pytest.mark.parametrize("reads_left", [None, 0, 2], ids=["away", "lost at the first file", "lost in between"])
def test_a_run_that_stopped_waits_for_its_decision_though_its_worker_and_then_the_host_were_lost(
    many: list[SftpAccount], monkeypatch: pytest.MonkeyPatch, reads_left: int | None
) -> None:
    def killed(*args: object) -> None:
        raise Killed

    AccountKey.objects.filter(account__in=many[:3]).delete()
    run = propagation.hourly_make()
    with monkeypatch.context() as patched:
        patched.setattr(propagation._Part, "_sweep", killed)
        with pytest.raises(Killed):
            propagation.run_do(run.pk)
    HostRun.objects.update(lease_token="dead", lease_until=timezone.now() - timedelta(minutes=1))
    with monkeypatch.context() as patched:
        lost = Lost()
        lost.reads_left = reads_left or 0
        patched.setattr(propagation, "connected", _down if reads_left is None else lambda host: nullcontext(lost))
        propagation.run_do(run.pk)
    part = run.hosts.get()
    assert (part.state, part.unasked, part.code) == ("stopped", 6, "host-down")
    assert [waiting.pk for waiting in overview.stopped_parts()] == [part.pk]
    Host.objects.update(tries=0, next_try=None)
    KeyFile.objects.update(next_try=timezone.now())
    for account in many[:3]:
        propagation.push_one(account.pk)
    assert all(_keys_on_host(account) == 2 for account in many)
    assert (_run().state, _run().code) == ("stopped", "")


def test_the_sweep_takes_no_more_than_a_run_from_all_it_brings(many: list[SftpAccount]) -> None:
    """One lost row and one new key each: few an account, many together."""
    for number, account in enumerate(many):
        account.keys.first().delete()
        version = _file(account).version
        lines = [*(f"{key.algorithm} {key.blob}" for key in account.keys.all()), many_lines(20 + number)[-1]]
        services.keys_save(account, "\n".join(lines), seen_version=version, by=By(None))
    KeyFile.objects.update(wanted=timezone.now() - timedelta(minutes=30))
    sweep()
    run = PropagationRun.objects.get(cause="sweep")
    assert (run.held, run.removed, run.written) == (4, 0, 0)
    assert all(_keys_on_host(account) == 2 for account in many)


def test_leave_is_for_just_that_removal(many: list[SftpAccount]) -> None:
    by = By(StaffFactory(staff_role=Role.OPS), reason="These three left us; agreed by telephone.")
    AccountKey.objects.filter(account__in=many[:2]).delete()
    stopped = _run()
    AccountKey.objects.filter(account=many[2]).delete()
    services.unasked_allow(stopped, by=by)
    again = _run()
    assert (again.state, again.unasked) == ("stopped", 6)
    services.unasked_allow(again, by=by)
    assert _run().state == "done"
    assert [_keys_on_host(account) for account in many] == [0, 0, 0, 2]
    assert _file(many[0]).state == "on_host"
    with pytest.raises(services.NothingToSettle):
        services.unasked_allow(again, by=by)


def test_leave_wants_a_reason(many: list[SftpAccount]) -> None:
    AccountKey.objects.all().delete()
    stopped = _run()
    with pytest.raises(services.ReasonMissing):
        services.unasked_allow(stopped, by=By(StaffFactory(staff_role=Role.OPS), reason=" "))
    stopped.refresh_from_db()
    assert stopped.allowed is None


def test_what_would_go_can_be_looked_at(many: list[SftpAccount]) -> None:
    lost = many[1].keys.order_by("fingerprint").values_list("fingerprint", flat=True)
    expected = [(many[1].pk, many[1].username, print) for print in lost]
    AccountKey.objects.filter(account=many[1]).delete()
    assert propagation.unasked_of(_run()) == []  # two keys: mended by itself
    AccountKey.objects.filter(account__in=many[2:]).delete()
    assert len(expected) == 2
    assert {name for _, name, _ in propagation.unasked_of(_run())} == {many[2].username, many[3].username}


def test_what_everybody_asked_for_always_passes(many: list[SftpAccount]) -> None:
    for account in many:
        _save(account)
    part = _run()
    assert (part.state, part.written, part.unasked) == ("done", 4, 0)


def test_lost_account_rows_stop_the_run_too(many: list[SftpAccount]) -> None:
    KeyFile.objects.filter(account__in=many[:2]).delete()
    part = _run()
    assert (part.state, part.unasked) == ("stopped", 4)
    assert all(_on_host(account.username).exists() for account in many)


# --- Hosts that are away -----------------------------------------------------------------------------------------


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | None], None]:
    """The second host fails with this error, until it is None."""
    errors: list[Exception | None] = [None]

    @contextmanager
    def connected(host: Host) -> Iterator[LocalFiles]:
        if host.name == "away" and errors[0]:
            raise errors[0]
        place = settings.SFTP_ROOT / host.name
        place.mkdir(parents=True, exist_ok=True)
        yield LocalFiles(place)

    monkeypatch.setattr(propagation, "connected", connected)
    return lambda error: errors.__setitem__(0, error)


@pytest.fixture
def two(account: SftpAccount) -> tuple[SftpAccount, SftpAccount]:
    other = DistrictFactory(domain="zz.k12.oh.us").sftp_account
    SftpAccount.objects.filter(pk=other.pk).update(host=HostFactory(name="away"))
    return account, SftpAccount.objects.get(pk=other.pk)


def test_a_dead_host_costs_the_others_nothing_and_its_accounts_say_why(
    two: tuple[SftpAccount, SftpAccount], away: Callable[[Exception | None], None]
) -> None:
    here, there = two
    away(HostDown("The host cannot be reached."))
    run = PropagationRun.objects.create(cause="hourly")
    propagation.run_do(run.pk)
    assert {part.host.name: part.state for part in run.hosts.all()} == {here.host.name: "done", "away": "failed"}
    assert (_file(here).state, _file(there).state) == ("on_host", "failed")
    assert (_file(there).code, _file(there).reason) == ("host-down", "The host cannot be reached.")
    run.refresh_from_db()
    assert (run.state, run.written, run.failed) == ("done", 1, 1)
    host = Host.objects.get(name="away")
    assert (host.tries, host.reason) == (1, "The host cannot be reached.")
    assert host.next_try > timezone.now()


def test_a_dead_host_is_left_alone_between_runs_ever_longer_and_a_run_tries_it(
    two: tuple[SftpAccount, SftpAccount], away: Callable[[Exception | None], None]
) -> None:
    _, there = two
    away(HostDown("The host cannot be reached."))
    _each_run()
    first = Host.objects.get(name="away").next_try
    away(None)
    KeyFile.objects.filter(account=there).update(next_try=None, state="waiting")
    propagation.push_one(there.pk)
    assert _file(there).state == "failed"
    assert Host.objects.get(name="away").next_try == first
    _each_run()
    assert _file(there).state == "on_host"
    host = Host.objects.get(name="away")
    assert (host.tries, host.next_try, host.reason) == (0, None, "")
    assert host.last_ok is not None


def test_what_is_saved_or_commanded_is_tried_though_the_host_was_away(
    two: tuple[SftpAccount, SftpAccount], away: Callable[[Exception | None], None]
) -> None:
    _, there = two
    away(HostDown("The host cannot be reached."))
    for _ in range(4):
        _each_run()
    away(None)
    Host.objects.filter(name="away").update(next_try=timezone.now() + timedelta(seconds=90))  # tried 30 s ago
    _save(there, "ed25519")
    propagation.push_one(there.pk)
    assert _file(there).state == "on_host"
    Host.objects.filter(name="away").update(next_try=timezone.now() + timedelta(seconds=120), tries=4)
    assert propagation.push_by_command(SftpAccount.objects.get(pk=there.pk)).failed == 0


def test_no_pause_is_longer_than_five_minutes(
    two: tuple[SftpAccount, SftpAccount], away: Callable[[Exception | None], None]
) -> None:
    away(HostDown("The host cannot be reached."))
    Host.objects.filter(name="away").update(tries=9)
    _each_run()
    assert Host.objects.get(name="away").next_try <= timezone.now() + timedelta(minutes=5)


def test_a_host_that_answers_anybody_is_waited_for_no_longer(
    two: tuple[SftpAccount, SftpAccount], away: Callable[[Exception | None], None]
) -> None:
    _, there = two
    away(HostDown("The host cannot be reached."))
    _each_run()
    host = Host.objects.get(name="away")
    host_answered(host)
    host.refresh_from_db()
    assert (host.tries, host.next_try, host.reason) == (0, None, "")
    assert _file(there).next_try <= timezone.now()
    away(None)
    KeyFile.objects.update(wanted=timezone.now() - timedelta(minutes=1))
    sweep()
    assert _file(there).state == "on_host"


def test_why_a_host_was_stopped_stays_as_it_was_told(
    two: tuple[SftpAccount, SftpAccount], away: Callable[[Exception | None], None]
) -> None:
    Host.objects.filter(name="away").update(reason="It showed another key.")
    for error in (HostKeyChanged("It was stopped. It showed another key."), HostStopped("It is stopped. It showed")):
        away(error)
        _each_run()
        assert Host.objects.get(name="away").reason == "It showed another key."


@pytest.mark.parametrize("cause", ["saved", "sweep", "command"])
def test_only_a_run_over_all_accounts_keeps_the_hourly_promise(account: SftpAccount, cause: str) -> None:
    KeyFile.objects.update(wanted=timezone.now() - timedelta(hours=3))
    PropagationRun.objects.create(cause=cause)
    assert is_overdue()
    PropagationRun.objects.create(cause="start")
    assert not is_overdue()


def _each_run() -> None:
    propagation.run_hourly()


def test_a_changed_host_key_alarms_ops_once_a_day(
    two: tuple[SftpAccount, SftpAccount], away: Callable[[Exception | None], None]
) -> None:
    StaffFactory(email="olga@vendor.example", staff_role=Role.OPS)
    away(HostKeyChanged("The SFTP host “away” was stopped. It showed another host key."))
    _each_run()
    _each_run()
    assert OutboxMessage.objects.filter(kind="host-stopped").count() == 1
    part = HostRun.objects.filter(host__name="away").first()
    assert (part.state, part.code) == ("failed", "host-key-changed")


def test_each_set_tells_which_run_brought_it(account: SftpAccount) -> None:
    _save(account, "ed25519")
    propagation.push_one(account.pk)
    made = KeySet.objects.get(account=account, version=2)
    assert made.run == PropagationRun.objects.get(cause="saved")
    assert made.on_host >= made.at


# --- Adopting what was found -------------------------------------------------------------------------------------


def _found(account: SftpAccount, line: str) -> FoundLine:
    _settled(account)
    with _on_host(account.username).open("a") as file:
        file.write(f"{line}\n")
    _run()
    return FoundLine.objects.get()


def test_a_district_may_adopt_a_key_that_was_found(account: SftpAccount, dana: User) -> None:
    found = _found(account, f'from="10.0.0.0/8" {text("ed25519")}')
    services.found_key_adopt(found, by=By(dana))
    assert [key.blob for key in account.keys.all()] == [words("ed25519")["base64"]]
    found.refresh_from_db()
    assert (found.state, found.decided_by) == ("adopted", dana)
    with pytest.raises(services.NotKept):
        services.found_key_adopt(found, by=By(dana))


@pytest.mark.parametrize("role", [Role.OPS, Role.SUPPORT, Role.SYSTEM_ADMINISTRATOR])
def test_staff_never_adopt_for_a_district(account: SftpAccount, role: Role) -> None:
    found = _found(account, text("ed25519"))
    by = By(StaffFactory(staff_role=role), reason="I put it there.")
    for decide in (services.found_key_adopt, services.found_line_dismiss):
        with pytest.raises(services.OnlyTheDistrict):
            decide(found, by=by)
    assert not account.keys.exists()


def test_a_line_without_a_key_can_only_be_dismissed(account: SftpAccount, dana: User) -> None:
    found = _found(account, "no key at all")
    with pytest.raises(services.NotKept):
        services.found_key_adopt(found, by=By(dana))
    services.found_line_dismiss(found, by=By(dana))
    found.refresh_from_db()
    assert found.state == "dismissed"


def test_an_adopted_key_is_judged_as_any_other(account: SftpAccount, dana: User) -> None:
    found = _found(account, text("rsa1024"))
    with pytest.raises(services.PasteRefused):
        services.found_key_adopt(found, by=By(dana))
    found.refresh_from_db()
    assert found.state == "kept"


# --- What a look from outside found


@pytest.mark.parametrize(("code", "state"), [("bad-name", "on_host"), ("renamed", "failed")])
def test_a_removed_key_goes_though_the_host_will_not_keep_the_account_in_its_list(
    account: SftpAccount, watched: Watched, monkeypatch: pytest.MonkeyPatch, code: str, state: str
) -> None:
    """If it knows the account by another name, nobody signs in by that file, and the page does not say so."""
    _save(account, "ed25519", "rsa3072")
    propagation.push_one(account.pk)
    Host.objects.update(kind=Host.Kind.OPENSSH)
    KeyFile.objects.update(has_home=True)
    refused = {account.username: HelperRefused(code, "It is not for us.")}
    monkeypatch.setattr(provision, "accounts_tell", lambda *_: refused)
    _save(account, "ed25519")
    propagation.push_one(account.pk)
    assert _keys_on_host(account) == 1
    assert (_file(account).state, _file(account).code) == (state, code if state == "failed" else "")
    propagation.push_account(account.pk)
    assert _file(account).state == state


@pytest.fixture
def shut(account: SftpAccount, watched: Watched, monkeypatch: pytest.MonkeyPatch) -> SftpAccount:
    """An account with keys whose host will not have it any more."""
    _save(account, "ed25519", "rsa3072")
    propagation.push_one(account.pk)
    Host.objects.update(kind=Host.Kind.OPENSSH)
    refused = {account.username: HelperRefused("bad-name", "It is not for us.")}
    monkeypatch.setattr(provision, "accounts_tell", lambda *_: refused)
    return account


def test_an_account_that_its_host_will_not_have_is_tried_ever_more_seldom(shut: SftpAccount) -> None:
    _save(shut, "ed25519")
    pauses = []
    for _ in range(3):
        KeyFile.objects.update(next_try=timezone.now())
        propagation.push_one(shut.pk)
        pauses.append((_file(shut).next_try - timezone.now()).total_seconds())
    assert _keys_on_host(shut) == 1
    assert [round(pause / 15) for pause in pauses] == [1, 2, 4]


def test_a_worker_that_dies_before_it_says_why_leaves_no_account_told_as_brought(
    shut: SftpAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(shut, "ed25519")
    with monkeypatch.context() as patched:
        patched.setattr(bringing, "fail_noted", _dies)
        with pytest.raises(KeyboardInterrupt):
            propagation.push_one(shut.pk)
    assert _file(shut).state == "waiting"
    assert KeySet.objects.filter(account=shut).latest("version").on_host is None


def _dies(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_file_whose_row_was_lost_is_a_strangers(account: SftpAccount, watched: Watched) -> None:
    _save(account, "ed25519")
    propagation.push_one(account.pk)
    account.key_file.delete()
    assert _run().removed == 1
    assert not _on_host(account.username).exists()
    assert FoundLine.objects.get().username == account.username


def test_many_pushes_that_fail_at_once_tell_of_one_try(account: SftpAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def connected(host: Host) -> Iterator[Watched]:
        raise HostDown("The host did not answer in time.")
        yield

    monkeypatch.setattr(propagation, "connected", connected)
    for host in [Host.objects.get() for _ in range(16)]:
        with pytest.raises(HostDown), propagation._reached(host, at_once=True):
            pass
    host = Host.objects.get()
    assert host.tries == 1
    assert propagation._tried_lately(host)


def test_files_that_fail_together_are_each_tried_again_after_a_pause_of_their_own(many: list[SftpAccount]) -> None:
    for tries, account in enumerate(many):
        KeyFile.objects.filter(account=account).update(tries=tries, state="failed" if tries else "waiting")
    before = timezone.now()
    fail_noted(KeyFile.objects.all(), "host-down", "It is away.")
    for tries, account in enumerate(many):
        file = _file(account)
        assert (file.state, file.tries) == ("failed", tries + 1)
        assert timedelta(0) <= file.next_try - before - pause_after(tries) < FIRST_PAUSE
    fail_noted(KeyFile.objects.filter(tries=4), "unasked-removal", "", again=False)
    assert (_file(many[3]).tries, _file(many[3]).next_try) == (5, None)
    assert [pause_after(tries).seconds for tries in range(8)] == [15, 30, 60, 120, 240, 300, 300, 300]


def test_the_tries_at_a_host_that_never_comes_back_are_counted_no_further_one_day(account: SftpAccount) -> None:
    KeyFile.objects.filter(account=account).update(tries=MOST_TRIES - 1)
    for _ in range(2):
        fail_noted(KeyFile.objects.all(), "host-down", "It is away.")
    assert _file(account).tries == MOST_TRIES
