"""What a run does about things on a host that are not as the portal leaves them, and what it says of them."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from accounts import services as district_services
from accounts.models import RetiredUsername, SftpAccount
from hosts.core.errors import HostDown, HostError, Refused
from hosts.core.paths import HostPath
from hosts.files import Entry, FileRead
from hosts.local import LocalFiles
from hosts.models import Host
from keys import propagation, services, taking_out
from keys.core.authorized_keys import Stamp, header_line
from keys.models import FoundLine, HostRun, KeyFile, PropagationRun
from keys.sets import By
from keys.stamps import token_make
from tests.factories import DistrictFactory

from .samples import text


class There(LocalFiles):
    """The host's files. Its clock is `off` by so many seconds, and as for anybody but root a mode of 0 is one of 0."""

    def __init__(self, off: int = 0) -> None:
        super().__init__(settings.SFTP_ROOT)
        self.off = off
        self.written_names: list[str] = []
        self.error: HostError | None = None

    def listing(self, path: HostPath) -> tuple[Entry, ...]:
        return tuple(replace(entry, modified=entry.modified + self.off) for entry in super().listing(path))

    def _read(self, path: HostPath, limit: int) -> FileRead:
        found = super()._read(path, limit)
        if not found.mode & 0o400:
            raise Refused.at(path.name)
        return replace(found, modified=found.modified + self.off)

    def write(self, path: HostPath, content: bytes) -> None:
        if self.error is not None:
            raise self.error
        self.written_names.append(path.name)
        super().write(path, content)


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> There:
    return _used(monkeypatch, There())


def _used(monkeypatch: pytest.MonkeyPatch, files: There) -> There:
    @contextmanager
    def connected(host: Host) -> Iterator[There]:
        yield files

    monkeypatch.setattr(propagation, "connected", connected)
    return files


def _save(account: SftpAccount, *names: str) -> None:
    version = KeyFile.objects.get(account=account).version
    services.keys_save(account, "\n".join(map(text, names)), seen_version=version, by=By(None))


def _on_host(name: str) -> Path:
    return settings.SFTP_ROOT / "keys" / name


def _file(account: SftpAccount) -> KeyFile:
    return KeyFile.objects.get(account=account)


def _run() -> HostRun:
    run = PropagationRun.objects.create(cause="hourly")
    propagation.run_do(run.pk)
    return run.hosts.get()


# --- Files that nobody may read ----------------------------------------------------------------------------------


def test_what_stood_in_a_file_that_nobody_may_read_is_kept(account: SftpAccount, there: There) -> None:
    _save(account, "ed25519")
    _run()
    path = _on_host(account.username)
    with path.open("a") as file:
        file.write(f"{text('rsa3072')}\n")
    path.chmod(0)
    part = _run()
    assert (part.state, part.written, part.drifted, part.failed) == ("done", 1, 1, 0)
    assert (FoundLine.objects.get().label, FoundLine.objects.get().account) == ("RSA 3072", account)
    assert len(path.read_bytes().splitlines()) == 2
    assert _run().drifted == 0


def test_a_newer_set_in_a_file_that_nobody_may_read_is_not_written_over(account: SftpAccount, there: There) -> None:
    _save(account, "ed25519")
    _run()
    path = _on_host(account.username)
    newer = f"{header_line(Stamp(99, token_make()))}\n{text('rsa3072')}\n".encode()
    path.write_bytes(newer)
    path.chmod(0)
    part = _run()
    assert (part.written, part.failed) == (0, 1)
    assert (_file(account).code, path.read_bytes()) == ("newer-on-host", newer)


def test_keys_in_files_that_nobody_may_read_count_when_a_run_must_stop(account: SftpAccount, there: There) -> None:
    _save(account, "ed25519", "rsa3072", "ecdsa256")
    _run()
    account.keys.all().delete()
    _on_host(account.username).chmod(0)
    part = _run()
    assert (part.state, part.unasked, part.held) == ("stopped", 3, 1)


def test_a_preview_gives_no_file_its_mode_back(account: SftpAccount, there: There) -> None:
    _save(account, "ed25519")
    _run()
    _on_host(account.username).chmod(0)
    assert propagation.outlook(account.host).unsound == (account.username,)
    assert _on_host(account.username).stat().st_mode & 0o777 == 0


def test_one_account_that_is_pushed_by_hand_is_mended_too(account: SftpAccount, there: There) -> None:
    _save(account, "ed25519")
    _run()
    _on_host(account.username).chmod(0)
    run = propagation.push_by_command(SftpAccount.objects.get(pk=account.pk))
    assert run is not None
    assert (run.written, run.drifted) == (1, 1)


# --- What lies among the key files -------------------------------------------------------------------------------


def test_a_full_directory_with_the_name_of_a_temporary_costs_nothing_else_and_is_told(
    account: SftpAccount, there: There
) -> None:
    _run()
    (_on_host(".portal-tmp-1") / "inside").mkdir(parents=True)
    for name in (".portal-tmp-0", ".portal-tmp-2"):
        _on_host(name).write_bytes(b"half")
    _on_host(".portal-tmp-3").mkdir()
    part = _run()
    assert (part.state, part.failed, part.code) == ("done", 0, "leftover-stays")
    assert part.reason == (
        "In keys/ on the host this has the name of a temporary file, and could not be removed. "
        "Remove it there: “.portal-tmp-1”."
    )
    assert [path.name for path in sorted(_on_host("x").parent.glob(".portal-tmp-*"))] == [".portal-tmp-1"]


def test_a_stranger_that_cannot_be_read_is_told_in_a_sentence_that_says_what_to_do(
    account: SftpAccount, there: There
) -> None:
    _run()
    _on_host("zz.k12.oh.us").write_text(f"{text('ed25519')}\n")
    _on_host("zz.k12.oh.us").chmod(0)
    _on_host("Foo Bar").write_text("x")
    part = _run()
    assert (part.state, part.code) == ("done", "stranger-not-readable")
    assert part.reason == (
        "Key files of no account of ours, which the portal may not read and has left: “zz.k12.oh.us”. "
        "They lie in keys/ on the host. As root there, look at them; then remove them, or make them the portal's: "
        "the next run takes them off. "
        "Among the key files lies what is none, and lets nobody in; it was left there: “Foo Bar”."
    )
    ahead = propagation.outlook(account.host)
    assert (ahead.shut, ahead.odd) == (("zz.k12.oh.us",), ("Foo Bar",))


# --- A host whose clock is off -----------------------------------------------------------------------------------


@pytest.mark.parametrize("off", [-301, 301], ids=["behind", "ahead"])
def test_a_host_whose_clock_is_off_is_neither_written_again_nor_called_changed(
    account: SftpAccount, monkeypatch: pytest.MonkeyPatch, off: int
) -> None:
    there = _used(monkeypatch, There(off))
    _save(account, "ed25519")
    assert _run().written == 1
    for _ in range(2):
        part = _run()
        assert (part.state, part.unchanged, part.drifted) == ("done", 1, 0)
    assert there.written_names == [account.username]


# --- A renamed account -------------------------------------------------------------------------------------------


def _renamed(account: SftpAccount, put: Callable[[Path], None]) -> SftpAccount:
    path = _on_host(account.username)
    path.unlink()
    put(path)
    district_services.district_rename(account.district, name="New", domain="new.k12.oh.us", actor=None)
    propagation.push_one(account.pk)
    return SftpAccount.objects.get(pk=account.pk)


@pytest.mark.parametrize("put", [Path.mkdir, os.mkfifo], ids=["an empty directory", "a FIFO"])
def test_what_is_no_file_at_the_old_name_does_not_stop_a_rename(
    account: SftpAccount, there: There, put: Callable[[Path], None]
) -> None:
    _save(account, "ed25519")
    _run()
    old = account.username
    renamed = _renamed(account, put)
    assert (_file(renamed).state, _file(renamed).code) == ("on_host", "")
    assert RetiredUsername.objects.get(username=old).cleared is not None
    assert len(_on_host(old).read_bytes().splitlines()) == 1
    assert len(_on_host("new.k12.oh.us").read_bytes().splitlines()) == 2


def test_a_full_directory_at_the_old_name_is_told_and_left(account: SftpAccount, there: There) -> None:
    _save(account, "ed25519")
    _run()
    renamed = _renamed(account, lambda path: (path / "inside").mkdir(parents=True))
    assert (_file(renamed).state, _file(renamed).code) == ("failed", "directory-there")


@pytest.mark.parametrize("fails", [False, True], ids=["", "the new name is not to be had"])
def test_a_foreign_line_at_the_old_name_counts_as_drift(account: SftpAccount, there: There, fails: bool) -> None:
    other = DistrictFactory(domain="zz.k12.oh.us").sftp_account
    for one, name in ((account, "ed25519"), (other, "rsa3072")):
        _save(one, name)
    _run()
    with _on_host(account.username).open("a") as file:
        file.write("no line of ours\n")
    for one, domain in ((account, "new.k12.oh.us"), (other, "newer.k12.oh.us")):
        district_services.district_rename(one.district, name=domain, domain=domain, actor=None)
    if fails:
        (_on_host("new.k12.oh.us") / "inside").mkdir(parents=True)
    part = _run()
    assert (part.state, part.drifted, part.written, part.failed) == ("done", 1, 2 - fails, int(fails))
    assert FoundLine.objects.get().username == account.username
    assert _run().drifted == 0


def test_a_file_at_the_old_name_that_is_too_large_leaves_a_trace(account: SftpAccount, there: There) -> None:
    _save(account, "ed25519")
    _run()
    old = account.username
    renamed = _renamed(account, _too_large)
    assert (_file(renamed).state, len(_on_host(old).read_bytes().splitlines())) == ("on_host", 1)
    found = FoundLine.objects.get()
    assert (found.account, found.username, found.line[:38]) == (account, old, "# A whole file of more than 4,194,304 ")
    assert PropagationRun.objects.latest("pk").drifted == 1


def _too_large(path: Path) -> None:
    path.write_bytes(b"x" * (taking_out.LARGEST_FILE + 1))


# --- What waits for another try ----------------------------------------------------------------------------------

LATER = timedelta(minutes=4)


def _waits(accounts: Iterable[SftpAccount], code: str) -> None:
    files = KeyFile.objects.filter(account__in=list(accounts))
    files.update(state="failed", code=code, tries=6, next_try=timezone.now() + LATER)


@pytest.mark.parametrize(
    ("code", "at_once"), [("host-down", True), ("sign-in-refused", True), ("directory-there", False)]
)
def test_a_good_save_lets_what_the_host_kept_waiting_go_at_once(
    account: SftpAccount, there: There, code: str, at_once: bool
) -> None:
    other = DistrictFactory(domain="zz.k12.oh.us").sftp_account
    elsewhere = DistrictFactory(domain="yy.k12.oh.us").sftp_account
    away = Host.objects.create(name="away", kind=Host.Kind.OPENSSH, address="127.0.0.1", port=1)
    SftpAccount.objects.filter(pk=elsewhere.pk).update(host=away)
    _waits([other, elsewhere], code)
    _save(account, "ed25519")
    propagation.push_one(account.pk)
    assert _file(account).state == "on_host"
    assert (_file(other).next_try <= timezone.now()) is at_once
    assert _file(elsewhere).next_try > timezone.now()


def test_a_host_that_breaks_off_each_push_is_not_asked_again_at_once(account: SftpAccount, there: There) -> None:
    other = DistrictFactory(domain="zz.k12.oh.us").sftp_account
    _waits([other], "host-down")
    _save(account, "ed25519")
    there.error = HostDown("The connection to the host was cut.")
    propagation.push_one(account.pk)
    assert (_file(account).state, _file(account).code) == ("failed", "host-down")
    for one in (account, other):
        assert _file(one).next_try > timezone.now()
