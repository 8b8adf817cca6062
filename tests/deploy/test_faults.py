"""Faults in mid-push on a whole OpenSSH host: every key file the old or the new one, and the pages tell the truth.

`KILLS=50 pytest tests/deploy/test_faults.py` kills sshd that often instead of five times.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import paramiko
import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from accounts.models import OutboxMessage, SftpAccount, User
from hosts import condition, connect, helper, signins
from hosts.connect import Times, connected, fingerprint
from hosts.core.errors import HostDown, HostError
from hosts.core.paths import key_file, username
from hosts.models import Host
from keys import propagation
from keys.core.authorized_keys import Stamp, header_line
from keys.models import FoundLine, HostRun, KeyFile, PropagationRun
from keys.stamps import token_make
from keys.trial import Step, host_try
from portal.templatetags.moments import clock
from tests.factories import StaffFactory
from tests.hosts.machine import hurried
from tests.hosts.serving import PATIENCE, until
from tests.parallel import TOLD
from tests.signing_in import fresh

from .fleet import (
    COUNT,
    NAMES,
    TEMPORARY,
    Contents,
    check_whole,
    contents,
    fleet_make,
    host_cleared,
    host_columns,
    sets_save,
    standing,
    strays,
)
from .host import OpensshHost, numbers_of, running
from .links import Link

pytestmark = pytest.mark.django_db
KILLS = int(os.environ.get("KILLS", "5"))
ANSWER = 1.0


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpensshHost]:
    """A host that only this portal tells which accounts there are."""
    with running(tmp_path_factory.mktemp("faulty-host")) as host:
        yield host


@pytest.fixture
def row(host: OpensshHost, db: None, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The host as the portal knows it, with two hundred accounts that have their old sets there."""
    StaffFactory(email="olga@vendor.example", staff_role="ops")
    host_cleared(host)
    row = Host.objects.create(**host_columns(host))
    fleet_make(row)
    sets_save("old")
    assert _counts(_run()) == ("done", COUNT, COUNT, 0, 0)
    return row


@pytest.fixture
def olga(row: Host) -> Client:
    return _client("olga@vendor.example")


def _client(email: str) -> Client:
    client = Client()
    client.force_login(User.objects.get(email=email))
    return fresh(client)


def _run() -> HostRun:
    propagation.run_hourly()
    return PropagationRun.objects.filter(cause="hourly").order_by("-pk").first().hosts.get()


def _counts(part: HostRun) -> tuple[str, int, int, int, int]:
    return part.state, part.total, part.written, part.unchanged, part.failed


def _hurry(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> None:
    """Shorter time limits than the usual ones, for every connection of a run."""
    times: Times = hurried(**{"answer": ANSWER, "banner": ANSWER, "key_exchange": ANSWER, **seconds})
    monkeypatch.setattr(propagation, "connected", partial(connected, times=times))


# --- What must hold after each fault -----------------------------------------------------------------------------


def _check(host: OpensshHost, part: HostRun, old: Contents, new: Contents) -> None:
    """Every file whole; what the database says of each is so; and so say the pages."""
    check_whole(host, old, new)
    found = standing(host)
    files = list(KeyFile.objects.select_related("account__district"))
    for file in files:
        if file.state == "on_host":
            assert file.host_version == file.version
            assert found[file.account.username] == new[file.account.username]
        else:
            assert (file.state, bool(file.code), bool(file.reason)) == ("failed", True, True)
            assert file.code != "unexpected"
            assert file.next_try is not None
    failed = [file for file in files if file.state == "failed"]
    part.refresh_from_db()
    assert part.finished is not None
    assert part.failed == len(failed)
    assert part.written + part.unchanged + part.failed + part.held == part.total == COUNT
    _check_pages(part, failed, [file for file in files if file.state == "on_host"])


def _check_pages(part: HostRun, failed: list[KeyFile], well: list[KeyFile]) -> None:
    dana, olga = _client("dana@fleet.example"), _client("olga@vendor.example")
    for file in failed[:2]:
        html = _html(dana, "technical_settings", file.account.district.slug)
        assert "Your last change has not reached the SFTP host." in html
        assert escape(file.reason) in html
        assert f"Next try at {clock(file.next_try)}." in html
        assert "on the SFTP host since" not in html
        assert "On the host since" not in html
    for file in well[:2]:
        html = _html(dana, "technical_settings", file.account.district.slug)
        assert "They are on the SFTP host since" in html
        assert "has not reached" not in html
    html = _html(olga, "propagation_run", part.run_id)
    for reason in {part.reason or file.reason for file in failed}:
        assert escape(reason) in html
    assert ("> Failures" in html or "Failures" in html) == bool(failed)
    html = _html(olga, "propagation")
    assert (f"{COUNT} of {COUNT} accounts are as they should be." in html) == (not failed)


def _html(client: Client, name: str, *args: object) -> str:
    answer = client.get(reverse(name, args=args))
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def _check_mended(host: OpensshHost, new: Contents) -> None:
    """The next run, at once, brings what is missing, and leaves nothing that does not belong there."""
    part = _run()
    assert (part.state, part.failed, part.code) == ("done", 0, "")
    assert standing(host) == new
    assert strays(host) == []
    assert set(KeyFile.objects.values_list("state", "code", "reason", "next_try")) == {("on_host", "", "", None)}
    _check(host, part, new, new)


def _new_sets(keys: int = 1) -> tuple[Contents, Contents]:
    """New sets for all; what stood in the files before, and what should from now on."""
    old = contents()
    sets_save("new", keys)
    return old, contents()


# --- At the right moment -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def _meanwhile(act: Callable[[], None], ready: Callable[[], bool] | None = None, after: float = 0) -> Iterator[None]:
    """While the block runs, does `act` as soon as it is `ready`, or `after` some seconds; waits for its end."""
    ended, errors = threading.Event(), []

    def wait() -> None:
        try:
            if ready is None:
                ended.wait(after)
            else:
                while not ready() and not ended.is_set():
                    time.sleep(0.0005)
            act()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    assert not errors, errors


def _pushing(host: OpensshHost) -> Callable[[], bool]:
    """Whether temporary files of a push are there now."""
    place = host.root / "keys"
    return lambda: any(name.startswith(TEMPORARY) for name in os.listdir(place))


def _signal(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


# --- sshd --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def span() -> list[float]:
    """How long an undisturbed push took, once one was made."""
    return []


@pytest.mark.parametrize("attempt", range(KILLS))
def test_sshd_killed_at_any_moment_leaves_whole_files_and_true_pages(
    host: OpensshHost, row: Host, span: list[float], attempt: int
) -> None:
    if not span:
        began = time.monotonic()
        sets_save("undisturbed")
        _run()
        span.append(time.monotonic() - began)
    old, new = _new_sets()
    whole, is_pushing = bool(attempt % 2), bool(attempt // 2 % 2)
    # Most of a run is looking: every other time it is hit while it writes.
    after = random.uniform(0, 0.05 if is_pushing else span[0])

    def kill() -> None:
        if is_pushing:
            time.sleep(after)
        if whole:
            host.sshd_kill()
        else:
            _signal(host.sessions(), signal.SIGKILL)

    with _meanwhile(kill, ready=_pushing(host)) if is_pushing else _meanwhile(kill, after=after):
        part = _run()
    if whole:
        host.sshd_start()
    until(lambda: not host.sessions(), "the end of the sessions")
    moment = f"{after:.3f} s after {'the first temporary file' if is_pushing else 'the start'}"
    brought = sum(content == new[name] for name, content in standing(host).items() if name in new)
    TOLD.append(f"{'sshd' if whole else 'session'} killed {moment}: {brought} of {COUNT} new, {_counts(part)}")
    _check(host, part, old, new)
    _check_mended(host, new)


# --- A host that says nothing, or little -------------------------------------------------------------------------


def test_a_host_that_stands_still_in_the_middle_is_given_up_and_gone_on_with(
    host: OpensshHost, row: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hurry(monkeypatch)
    old, new = _new_sets()
    stopped: list[int] = []

    def stop() -> None:
        stopped.extend(host.sessions())
        _signal(stopped, signal.SIGSTOP)

    with _meanwhile(stop, ready=_pushing(host)):
        part = _run()
    check_whole(host, old, new)
    _signal(stopped, signal.SIGCONT)  # what we had asked for before we gave up may still be done now
    until(lambda: not host.sessions(), "the end of the session")
    assert part.failed
    assert set(_reasons()) == {"The host did not answer in time."}
    _check(host, part, old, new)
    _check_mended(host, new)


@pytest.mark.parametrize("attempt", range(max(2, KILLS // 2)))
def test_what_a_session_that_stood_still_does_late_undoes_nothing_that_is_called_done(
    host: OpensshHost, row: Host, monkeypatch: pytest.MonkeyPatch, attempt: int
) -> None:
    _hurry(monkeypatch)
    sets_save("given up")
    stopped: list[int] = []

    before = set(_inodes(host))

    def renaming() -> bool:
        return not before.issuperset(_inodes(host))

    def stop() -> None:
        stopped.extend(host.sessions())
        _signal(stopped, signal.SIGSTOP)

    with _meanwhile(stop, ready=renaming):
        part = _run()
    TOLD.append(f"stood still with {part.failed} of {COUNT} to bring, {len(strays(host))} of them begun")
    monkeypatch.undo()
    sets_save("newest")
    newest = contents()
    Host.objects.update(next_try=None, tries=0)  # somebody else reaches the host
    propagation.push_saved(KeyFile.objects.first().account_id)
    assert set(KeyFile.objects.values_list("state", flat=True)) == {"on_host"}
    _signal(stopped, signal.SIGCONT)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in stopped), "the end of the session")
    found = standing(host)
    assert {name: found[name] for name in NAMES} == newest
    part = _run()
    assert (_counts(part), part.drifted) == (("done", COUNT, 0, COUNT, 0), 0)
    assert not OutboxMessage.objects.filter(kind="key-found").exists()


def _inodes(host: OpensshHost) -> list[int]:
    """Of the key files that stand in their place."""
    with os.scandir(host.root / "keys") as entries:
        return [entry.inode() for entry in entries if not entry.name.startswith(TEMPORARY)]


def test_a_host_that_takes_long_over_everything_is_waited_for(host: OpensshHost, row: Host) -> None:
    _, new = _new_sets()
    ended = threading.Event()

    def hamper() -> None:
        while not ended.is_set():
            pids = host.sessions()
            _signal(pids, signal.SIGSTOP)
            time.sleep(0.1)
            _signal(pids, signal.SIGCONT)
            time.sleep(0.02)

    thread = threading.Thread(target=hamper)
    thread.start()
    part = _run()
    ended.set()
    thread.join()
    assert _counts(part) == ("done", COUNT, COUNT, 0, 0)
    assert standing(host) == new


def test_a_host_that_is_silent_from_the_start_costs_one_time_limit_and_changes_nothing(
    host: OpensshHost, row: Host, olga: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hurry(monkeypatch)
    old, new = _new_sets()
    with host.sshd_still():
        part = _run()
    monkeypatch.undo()
    assert (part.state, part.code, part.reason) == ("failed", "host-down", "The host did not answer in time.")
    assert standing(host) == old
    _check(host, part, old, new)
    assert "The host did not answer in time." in _html(olga, "hosts")
    _check_mended(host, new)


@pytest.mark.parametrize("moment", ["_check_host_key", "_sign_in"])
def test_a_host_that_stands_still_around_the_sign_in_is_told_as_silent(
    host: OpensshHost, row: Host, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    _hurry(monkeypatch, sign_in=ANSWER)
    old, new = _new_sets()
    done, pids = getattr(connect, moment), []

    def stopped(*args: object) -> None:
        done(*args)
        pids.extend(host.sessions())
        _signal(pids, signal.SIGSTOP)

    monkeypatch.setattr(connect, moment, stopped)
    part = _run()
    monkeypatch.undo()
    _signal(pids, signal.SIGCONT)
    assert (part.state, part.code, part.failed) == ("failed", "host-down", COUNT)
    assert "did not answer in time" in part.reason
    assert standing(host) == old
    _check(host, part, old, new)
    _check_mended(host, new)


def test_an_sshd_killed_in_the_sign_in_is_not_told_as_one_that_refuses_the_portal(
    host: OpensshHost, row: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = _new_sets()
    check = connect._check_host_key

    def killed(*args: object) -> None:
        check(*args)
        _signal(host.sessions(), signal.SIGKILL)

    monkeypatch.setattr(connect, "_check_host_key", killed)
    part = _run()
    monkeypatch.undo()
    assert (part.state, part.code) == ("failed", "host-down")
    _check(host, part, old, new)


def test_a_host_that_stops_before_it_opens_sftp_is_given_up(
    host: OpensshHost, row: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = _new_sets()
    opened, pids = paramiko.Transport.open_session, []

    def stopped(transport: paramiko.Transport, **told: float) -> paramiko.Channel:
        channel = opened(transport, **told)
        pids.extend(host.sessions())
        _signal(pids, signal.SIGSTOP)
        return channel

    _hurry(monkeypatch)
    monkeypatch.setattr(paramiko.Transport, "open_session", stopped)
    part = _run()
    monkeypatch.undo()
    _signal(pids, signal.SIGCONT)
    assert (part.state, part.code, part.reason) == ("failed", "host-down", "The host did not answer in time.")
    _check(host, part, old, new)
    _check_mended(host, new)


def _reasons() -> Iterator[str]:
    return iter(KeyFile.objects.filter(state="failed").values_list("reason", flat=True))


# --- Disks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def disk(host: OpensshHost, db: None) -> Iterator[Path]:
    """The directory of keys on a small file system of its own, in memory."""
    place = host.root / "keys"
    status, inside = place.stat(), "/srv/sftp-portal/keys"
    owner = f"uid={status.st_uid},gid={status.st_gid},mode={status.st_mode & 0o7777:o}"
    done = host.machine.run("mount", "-t", "tmpfs", "-o", f"size=2m,{owner}", "none", inside)
    assert done.code == 0, done.output
    yield place
    assert host.machine.run("umount", "-l", inside).code == 0


def test_a_disk_that_fills_up_keeps_the_old_files_and_says_so(host: OpensshHost, disk: Path, row: Host) -> None:
    room = os.statvfs(disk)
    (disk.parent / "keys/.ballast").write_bytes(b"x" * (room.f_bavail - 20) * room.f_bsize)
    try:
        old, new = _new_sets(keys=2)
        part = _run()
    finally:
        (disk / ".ballast").unlink()
    assert 0 < part.failed < COUNT
    assert all("disk, quota or file table is full" in reason for reason in _reasons())
    assert strays(host) == []
    _check(host, part, old, new)
    _check_mended(host, new)


def test_a_disk_that_is_read_only_is_told_for_every_account_and_nothing_changes(
    host: OpensshHost, disk: Path, row: Host
) -> None:
    old, new = _new_sets()
    assert host.machine.run("mount", "-o", "remount,ro", "/srv/sftp-portal/keys").code == 0
    part = _run()
    assert host.machine.run("mount", "-o", "remount,rw", "/srv/sftp-portal/keys").code == 0
    assert part.failed == COUNT
    assert standing(host) == old
    _check(host, part, old, new)
    _check_mended(host, new)


def _immutable(host: OpensshHost, name: str) -> Callable[[], None]:
    path = str(host.root / "keys" / name)
    assert subprocess.run(["chattr", "+i", path], check=False).returncode == 0
    return lambda: subprocess.run(["chattr", "-i", path], check=True) and None


def _directory(host: OpensshHost, name: str) -> Callable[[], None]:
    path = host.root / "keys" / name
    aside = path.with_name("aside").parent.parent / "log" / name
    path.rename(aside)
    (path / "inside").mkdir(parents=True)

    def back() -> None:
        (path / "inside").rmdir()
        path.rmdir()
        aside.rename(path)

    return back


@pytest.mark.parametrize("hindrance", [_immutable, _directory])
def test_one_file_that_cannot_be_written_fails_alone(
    host: OpensshHost, row: Host, hindrance: Callable[[OpensshHost, str], Callable[[], None]]
) -> None:
    old, new = _new_sets()
    away = hindrance(host, NAMES[7])
    part = _run()
    away()
    assert (part.state, part.written, part.failed) == ("done", COUNT - 1, 1)
    assert KeyFile.objects.get(state="failed").account.username == NAMES[7]
    assert strays(host) == []
    _check(host, part, old, new)
    _check_mended(host, new)


def _root_s(path: Path) -> None:
    os.chown(path, 0, 0)


def _another_group_s(path: Path) -> None:
    os.chown(path, -1, 0)


def _unreadable(path: Path) -> None:
    path.chmod(0)


def _others_may_write(path: Path) -> None:
    path.chmod(0o666)


def _link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def _empty_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    shutil.copymode(path.parent, path)
    os.chown(path, path.parent.stat().st_uid, -1)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "spoil", [_root_s, _another_group_s, _unreadable, _others_may_write, _link, _empty_directory, _fifo]
)
def test_what_became_of_a_key_file_is_mended_by_the_next_run_and_only_once(
    host: OpensshHost, row: Host, spoil: Callable[[Path], None]
) -> None:
    _, new = _new_sets()
    _run()
    path = host.root / "keys" / NAMES[7]
    right = path.stat()
    spoil(path)
    part = _run()
    assert (_counts(part), part.drifted) == (("done", COUNT, 1, COUNT - 1, 0), 1)
    found = path.lstat()
    assert (found.st_mode, found.st_uid, found.st_gid) == (right.st_mode, right.st_uid, right.st_gid)
    assert standing(host) == new
    part = _run()
    assert (_counts(part), part.drifted) == (("done", COUNT, 0, COUNT, 0), 0)


def _is_readable(host: OpensshHost, name: str) -> bool:
    """Whether sshd's key command, as whoever runs it, finds a key in an account's file."""
    user = ["setpriv", "--reuid", "sftp-portal-keys", "--regid", "sftp-portal-keys", "--clear-groups", "--"]
    done = host.machine.run(*user, "/usr/lib/sftp-portal/keys-of", name, "", "", "")
    return "ssh-ed25519" in done.output


def _by_run(account: SftpAccount) -> PropagationRun:
    return _run().run


def _by_command(account: SftpAccount) -> PropagationRun:
    run = propagation.push_by_command(account)
    assert run is not None
    return run


@pytest.mark.parametrize("push", [_by_run, _by_command])
def test_a_key_file_of_another_group_is_mended_before_it_is_called_well(
    host: OpensshHost, row: Host, push: Callable[[SftpAccount], PropagationRun]
) -> None:
    path = host.root / "keys" / NAMES[7]
    _another_group_s(path)
    assert not _is_readable(host, NAMES[7])
    run = push(SftpAccount.objects.get(username=NAMES[7]))
    assert (run.written, run.drifted, run.failed) == (1, 1, 0)
    assert path.stat().st_gid == host.keys_gid
    assert _is_readable(host, NAMES[7])


def _changed(*words: str) -> Callable[[Path], None]:
    return lambda keys: subprocess.run([*words, str(keys)], check=True) and None


# What somebody does as root, and how many files a run has to write anew after it.
SHUT = {
    "the directory's group": (_changed("chgrp", "root"), 0),
    "the group of all of it": (_changed("chgrp", "-R", "root"), COUNT),
    "the directory's mode": (_changed("chmod", "0700"), 0),
    "the bit that hands the group on": (_changed("chmod", "g-s"), 0),
}


@pytest.mark.parametrize(("shut", "written"), SHUT.values(), ids=SHUT.keys())
def test_a_directory_of_key_files_that_was_shut_is_open_again_with_the_next_run(
    host: OpensshHost, row: Host, shut: Callable[[Path], None], written: int
) -> None:
    condition.condition_ask(row.pk)
    assert Host.objects.get().keys_group == host.keys_gid
    shut(host.root / "keys")
    part = _run()
    assert (_counts(part), part.drifted) == (("done", COUNT, written, COUNT - written, 0), written)
    assert numbers_of(host.root / "keys") == (host.portal_uid, host.keys_gid, "0o2750")
    assert all(_is_readable(host, name) for name in NAMES[:2])
    assert _counts(_run()) == ("done", COUNT, 0, COUNT, 0)


@pytest.mark.parametrize("shut", [_changed("chgrp", "root"), _changed("chown", "root"), _changed("chmod", "0")])
def test_the_helper_mends_the_directory_of_key_files_by_itself(host: OpensshHost, shut: Callable[[Path], None]) -> None:
    right = (host.portal_uid, host.keys_gid, "0o2750")
    shut(host.root / "keys")
    until(lambda: numbers_of(host.root / "keys") == right, "the directory's own group")
    assert "The directory of key files had lost" in host.helper_log()


def test_a_directory_of_key_files_that_stays_shut_is_called_so_everywhere_until_it_is_open(
    host: OpensshHost, row: Host, olga: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    condition.condition_ask(row.pk)
    monkeypatch.setattr(helper._one, "__defaults__", (1.0,))
    _, new = _new_sets()
    host.helper_stop()
    try:
        _changed("chgrp", "root")(host.root / "keys")
        part = _run()
        _check_shut(olga, part)
        saved = propagation.push_by_command(SftpAccount.objects.get(username=NAMES[7]))
        assert saved is not None
        assert (saved.written, saved.failures.get().code) == (0, "keys-shut")
    finally:
        host.helper_start()
    _check_mended(host, new)
    assert all(_is_readable(host, name) for name in NAMES[:2])


def _check_shut(olga: Client, part: HostRun) -> None:
    assert (part.state, part.code, part.failed) == ("failed", "keys-shut", COUNT)
    assert set(KeyFile.objects.values_list("state", "code")) == {("failed", "keys-shut")}
    for name in ("propagation", "hosts"):
        assert "nobody can sign in there: the directory “keys” has lost its group" in _html(olga, name)
    told = OutboxMessage.objects.get(kind="host-stopped")
    assert "Until then no district can sign in there." in told.text
    assert "districts can sign in with it" not in told.text
    trial = host_try(Host.objects.get())
    assert trial.failed in (Step.KEYS, Step.HELPER)


# --- Files of others ---------------------------------------------------------------------------------------------


def test_a_file_of_somebody_else_s_among_the_key_files_is_told_and_what_to_do_about_it(
    host: OpensshHost, row: Host, olga: Client
) -> None:
    path = host.root / "keys" / "zz.k12.oh.us"
    path.write_text("ssh-ed25519 AAAA\n")
    path.chmod(0o600)
    try:
        part = _run()
        assert (part.state, part.code, part.failed) == ("done", "stranger-not-readable", 0)
        assert "which the portal may not read and has left: “zz.k12.oh.us”" in _html(
            olga, "propagation_run", part.run_id
        )
        assert propagation.outlook(row).shut == ("zz.k12.oh.us",)
    finally:
        os.chown(path, host.portal_uid, host.keys_gid)
    # Now it is the portal's, as the sentence says.
    part = _run()
    assert (part.state, part.code, part.drifted) == ("done", "", 1)
    assert not path.exists()


def test_what_stood_in_a_file_that_the_portal_could_not_read_is_kept(host: OpensshHost, row: Host) -> None:
    path = host.root / "keys" / NAMES[7]
    right = path.read_bytes()
    path.write_bytes(right + b"ssh-ed25519 a line of somebody\n")
    path.chmod(0)
    part = _run()
    assert (_counts(part), part.drifted) == (("done", COUNT, 1, COUNT - 1, 0), 1)
    assert FoundLine.objects.get().line == "ssh-ed25519 a line of somebody"
    assert path.read_bytes() == right


def test_a_file_that_nobody_could_read_lets_nobody_in_while_it_waits_for_a_person(host: OpensshHost, row: Host) -> None:
    path = host.root / "keys" / NAMES[7]
    _, keys = path.read_bytes().split(b"\n", 1)
    newer = f"{header_line(Stamp(99, token_make()))}\n".encode("ascii") + keys
    path.write_bytes(newer)
    path.chmod(0)
    for _ in range(2):
        part = _run()
        assert (part.written, part.failed) == (0, 1)
        assert (KeyFile.objects.get(state="failed").code, path.read_bytes()) == ("newer-on-host", newer)
        assert not _is_readable(host, NAMES[7])


# --- The host key ------------------------------------------------------------------------------------------------

OTHER_KEY = "/etc/ssh/another_host_key"


@pytest.fixture
def other_key(host: OpensshHost) -> Iterator[str]:
    """The host answers with another key than before; its fingerprint."""
    host.machine.run("rm", "-f", OTHER_KEY, f"{OTHER_KEY}.pub")
    made = host.machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", OTHER_KEY)
    assert made.code == 0, made.output
    host.sshd_kill()
    host.sshd_start(OTHER_KEY)
    public = (host.machine.root / f"{OTHER_KEY[1:]}.pub").read_text()
    yield fingerprint(" ".join(public.split()[:2]))
    host.sshd_kill()
    host.sshd_start()


@pytest.mark.parametrize("meets", [signins.collect_from, condition.condition_ask])
def test_a_changed_host_key_alarms_whoever_meets_it_first(
    host: OpensshHost, row: Host, other_key: str, meets: Callable[[int], object]
) -> None:
    meets(row.pk)
    assert Host.objects.get().state == "stopped"
    for _ in range(2):
        assert (_run().code, _run().state) == ("host-stopped", "failed")
    told = OutboxMessage.objects.get(kind="host-stopped")
    assert (told.to, other_key in told.text) == ("olga@vendor.example", True)
    Host.objects.update(offered_at=F("offered_at") - timedelta(hours=25))
    _run()
    _run()
    assert OutboxMessage.objects.filter(kind="host-stopped").count() == 2


def test_a_changed_host_key_stops_the_host_until_a_person_takes_it(
    host: OpensshHost, row: Host, olga: Client, other_key: str
) -> None:
    old, new = _new_sets()
    before = _touched(host)
    for _ in range(2):
        part = _run()
        assert (part.state, part.failed) == ("failed", COUNT)
    assert _touched(host) == before
    assert standing(host) == old
    told = OutboxMessage.objects.filter(kind="host-stopped")
    assert [(message.to, message.subject.count(row.name)) for message in told] == [("olga@vendor.example", 1)]
    assert Host.objects.get().state == "stopped"
    words = _html(olga, "host", row.pk)
    assert other_key in words
    assert "stopped" in words
    dana = _html(_client("dana@fleet.example"), "technical_settings", "fleet-5001")
    assert "has not reached the SFTP host" in dana

    olga.post(reverse("host_confirm", args=[row.pk]), {"offered": other_key, "compared": "on"})
    assert Host.objects.get().state == "ready"
    _check_mended(host, new)


def test_a_second_host_with_the_same_key_is_refused(host: OpensshHost, row: Host, olga: Client) -> None:
    columns = {**host_columns(host), "name": "copy", "host_key": "", "fingerprint": "", "address": "localhost"}
    second = Host.objects.create(**columns)
    olga.post(reverse("host_connect", args=[second.pk]))
    answer = olga.post(reverse("host_confirm", args=[second.pk]), {"offered": row.fingerprint, "compared": "on"})
    assert answer.status_code == 422
    assert "has the same host key" in answer.content.decode()
    assert Host.objects.get(name="copy").host_key == ""


def _touched(host: OpensshHost) -> dict[str, tuple[int, int]]:
    """By file what changes whenever it is written or replaced."""
    found = ((path.name, path.stat()) for path in (host.root / "keys").iterdir())
    return {name: (status.st_ino, status.st_mtime_ns) for name, status in found}


# --- The link ----------------------------------------------------------------------------------------------------


@pytest.fixture
def link(host: OpensshHost, row: Host) -> Iterator[Link]:
    """A link on which the portal reaches the host from now on."""
    link = Link()
    try:
        with host.sshd_at(link.address, link.far) as port:
            Host.objects.update(address=link.address, port=port)
            yield link
    finally:
        link.stop()


def test_a_link_that_comes_back_soon_costs_nothing_but_time(host: OpensshHost, link: Link) -> None:
    _, new = _new_sets()

    def blink() -> None:
        link.down()
        time.sleep(0.5)
        link.up()

    with _meanwhile(blink, ready=_pushing(host)):
        part = _run()
    assert _counts(part) == ("done", COUNT, COUNT, 0, 0)
    assert standing(host) == new


def test_a_link_that_stays_away_ends_the_run_and_what_comes_late_does_no_harm(
    host: OpensshHost, link: Link, olga: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hurry(monkeypatch, connect=ANSWER)
    old, new = _new_sets()
    with _meanwhile(link.down, ready=_pushing(host)):
        part = _run()
    assert part.failed
    assert part.state == "failed"
    _check(host, part, old, new)
    assert escape(part.reason) in _html(olga, "hosts")
    again = _run()
    assert (again.state, again.code, again.failed) == ("failed", "host-down", COUNT)
    link.up()
    time.sleep(1)  # what the kernel still holds would come now
    check_whole(host, old, new)
    monkeypatch.undo()
    _check_mended(host, new)


def test_a_dead_link_ends_even_a_push_that_waits_to_send(host: OpensshHost, link: Link, row: Host) -> None:
    """More than the kernel's buffers take: paramiko would try to send the rest for ever."""
    row.refresh_from_db()
    files = [(key_file(username(name)), b"x" * 200_000) for name in NAMES]
    told: list[HostError | None] = []

    def push() -> None:
        with connected(row, hurried(answer=2.0)) as host_files:
            told.extend(error for _, error in host_files.write_many(files))

    thread = threading.Thread(target=push, daemon=True)
    with _meanwhile(link.down, ready=_pushing(host)):
        thread.start()
        until(_pushing(host), "the beginning")
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert {type(error) for error in told if error} == {HostDown}
