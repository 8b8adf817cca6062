from pathlib import Path

import pytest

from hosts import helper
from hosts.core.errors import AlreadyThere, HostError
from hosts.core.paths import HostPath, Username, home, upload, username
from hosts.files import HostFiles
from hosts.helper import HelperRefused
from hosts.local import LocalFiles
from hosts.models import AccountsTold, Host
from hosts.provision import (
    Asked,
    account_rename,
    accounts_confirmed,
    accounts_counted,
    accounts_tell,
    accounts_told,
    home_make,
    home_rename,
)

OLD, NEW = username("old.k12.us"), username("new.k12.us")


@pytest.fixture
def files(tmp_path: Path) -> HostFiles:
    return LocalFiles(tmp_path)


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*")}


def test_a_home_has_its_places_and_may_be_made_again(files: HostFiles, tmp_path: Path) -> None:
    home_make(files, OLD)
    files.write(upload(OLD).child("kept"), b"x")
    home_make(files, OLD)
    assert tree(tmp_path / "homes" / OLD) == {
        "upload",
        "upload/kept",
        "upload-processed",
        "downloads",
        "downloads/backups",
        "downloads/docviewer",
        "downloads/pdfs",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"homes", "keys", "claimed"}


def test_a_renamed_home_keeps_its_files(files: HostFiles) -> None:
    home_make(files, OLD)
    files.write(upload(OLD).child("file"), b"kept")
    for _ in range(2):
        home_rename(files, OLD, NEW)
        assert files.read(upload(NEW).child("file"), 10) == b"kept"
        assert files.stat(home(OLD)) is None


def test_an_account_of_the_embedded_host_takes_its_home_along(files: HostFiles) -> None:
    home_make(files, OLD)
    files.write(upload(OLD).child("file"), b"kept")
    account_rename(files, Host(kind=Host.Kind.EMBEDDED), OLD, NEW, 7000)
    assert files.read(upload(NEW).child("file"), 10) == b"kept"


@pytest.mark.django_db
def test_a_host_of_its_own_is_asked_and_told_of_its_accounts_anew_even_if_it_is_silent(
    files: HostFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The portal cannot move a home there; what the silent helper does with the request is not known."""
    monkeypatch.setattr(helper, "RENAME_PATIENCE", 0.1)
    for place in ("requests", "answers"):
        (tmp_path / place).mkdir()
    home_make(files, OLD)
    host = Host.objects.create(name="own", kind=Host.Kind.OPENSSH, address="sftp.example", accounts_digest="told")
    with pytest.raises(helper.HelperSilent):
        account_rename(files, host, OLD, NEW, 7000)
    assert (files.stat(home(OLD)) is not None, files.stat(home(NEW))) == (True, None)
    host.refresh_from_db()
    assert host.accounts_digest == ""


@pytest.mark.django_db
def test_damaged_homes_are_kept_until_they_are_mended_and_asked_for_again(
    files: HostFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host.objects.create(name="own", kind=Host.Kind.OPENSSH, address="sftp.example")
    wished = [(OLD, 66001), (NEW, 66002)]
    blocked, refused = (
        HelperRefused("upload-blocked", "Something lies there."),
        HelperRefused("home-blocked", "x" * 500),
    )
    answers = [{OLD: blocked, NEW: refused, "stranger.example": blocked}, {OLD: refused}, {OLD: refused}, {}]

    def accounts(*_: object) -> helper.AccountsMade:
        return helper.AccountsMade((), (), 2, (), 0, tuple(answers.pop(0).items()))

    monkeypatch.setattr(helper, "accounts", accounts)
    assert _told(files, host, wished) == {}
    rows = {home.username: home for home in host.damaged_homes.all()}
    assert {name: (home.code, home.blocks_uploads) for name, home in rows.items()} == {
        OLD: ("upload-blocked", True),
        NEW: ("home-blocked", False),
    }
    assert (rows[OLD].reason, len(rows[NEW].reason)) == ("Something lies there.", 400)
    _told(files, host, wished)
    (home,) = host.damaged_homes.all()
    assert (home.username, home.code, home.since) == (OLD, "home-blocked", rows[OLD].since)
    _told(files, host, wished[:1])
    _told(files, host, wished)
    assert (host.damaged_homes.count(), answers) == (0, [])


def _told(files: HostFiles, host: Host, wished: list[tuple[Username, int]]) -> dict[str, HostError]:
    AccountsTold.objects.get_or_create(host=host)
    return accounts_tell(files, host, lambda: wished, AccountsTold.objects.filter(host=host))


@pytest.mark.django_db
def test_what_a_host_would_not_make_is_remembered_with_the_list_it_was_told(
    files: HostFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each save there would tell it all its accounts again, because of one."""
    host = Host.objects.create(name="own", kind=Host.Kind.OPENSSH, address="sftp.example")
    wished = [(OLD, 66001), (NEW, 66002)]
    refused = ((OLD, HelperRefused("bad-uid", "It is not for us.")), ("x\0", HelperRefused("bad-name", "No name.")))
    monkeypatch.setattr(helper, "accounts", lambda *_: helper.AccountsMade((NEW,), (), 4, refused, 0, ()))
    assert accounts_told(host, wished) is None
    assert _told(files, host, wished).keys() == {OLD}
    told = accounts_told(host, wished)
    assert told is not None
    assert {name: (error.code, error.message) for name, error in told.items()} == {
        OLD: ("bad-uid", "It is not for us.")
    }
    assert accounts_told(host, wished[:1]) is None
    accounts_counted(host.pk, 5)
    assert accounts_told(host, wished) is not None
    accounts_counted(host.pk, 4)
    assert accounts_told(host, wished) is None


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{}, {"accounts_digest": "another"}, {"address": "other.example"}], ids=str)
def test_a_late_answer_vouches_for_the_list_only_if_nothing_was_told_since(change: dict[str, str]) -> None:
    host = Host.objects.create(name="own", kind=Host.Kind.OPENSSH, address="sftp.example")
    AccountsTold.objects.create(host=host, refused=[[OLD, "bad-name", "No name."]])
    asked = Asked.of(host, [(OLD, 66001)])
    Host.objects.filter(pk=host.pk).update(**change)
    accounts_confirmed(asked)
    assert (accounts_told(host, [(OLD, 66001)]) == {}) == (not change)
    assert bool(AccountsTold.objects.get().refused) == bool(change)


@pytest.mark.django_db
@pytest.mark.parametrize("change", [{"address": "other.example"}, {"host_key": "another"}, {"port": 2022}], ids=str)
def test_another_machine_that_came_there_meanwhile_was_told_nothing(
    change: dict[str, object], files: HostFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host.objects.create(name="own", kind=Host.Kind.OPENSSH, address="sftp.example")

    def accounts(*_: object) -> helper.AccountsMade:
        Host.objects.update(**change)
        return helper.AccountsMade((), (), 1, (), 0, ())

    monkeypatch.setattr(helper, "accounts", accounts)
    _told(files, host, [(OLD, 66001)])
    assert accounts_told(host, [(OLD, 66001)]) is None


@pytest.mark.django_db
def test_whoever_has_lost_the_lease_leaves_the_host_to_be_told_again(
    files: HostFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two lists that crossed nobody knows which came last."""
    host = Host.objects.create(name="own", kind=Host.Kind.OPENSSH, address="sftp.example")
    monkeypatch.setattr(helper, "accounts", lambda *_: helper.AccountsMade((), (), 1, (), 0, ()))
    wished = [(OLD, 66001)]
    _told(files, host, wished)
    assert accounts_told(host, wished) == {}
    accounts_tell(files, host, lambda: wished, AccountsTold.objects.none())
    assert accounts_told(host, wished) is None


def test_a_bare_home_of_the_new_name_gives_way(files: HostFiles) -> None:
    home_make(files, OLD)
    files.write(upload(OLD).child("file"), b"kept")
    home_make(files, NEW)
    home_rename(files, OLD, NEW)
    assert files.read(upload(NEW).child("file"), 10) == b"kept"


def test_a_home_of_the_new_name_with_files_stays_and_so_does_the_old_one(files: HostFiles) -> None:
    home_make(files, OLD)
    files.write(upload(OLD).child("file"), b"old")
    home_make(files, NEW)
    files.write(upload(NEW).child("file"), b"new")
    with pytest.raises(AlreadyThere):
        home_rename(files, OLD, NEW)
    assert files.read(upload(OLD).child("file"), 10) == b"old"
    assert files.read(upload(NEW).child("file"), 10) == b"new"


def test_a_rename_without_an_old_home_makes_the_new_one(files: HostFiles) -> None:
    home_rename(files, OLD, NEW)
    assert files.stat(upload(NEW)) is not None


class Killed(HostError):
    pass


class Dying:
    """Files that fail at the n-th change, as a killed process would stop there."""

    def __init__(self, files: HostFiles, changes: int) -> None:
        self._files = files
        self._left = changes

    def __getattr__(self, name: str):
        if name in ("write", "rename", "remove", "remove_tree", "make_directory"):
            if self._left == 0:
                raise Killed("killed")
            self._left -= 1
        return getattr(self._files, name)


def test_a_rename_killed_anywhere_is_finished_by_the_next_try(tmp_path: Path) -> None:
    changes = 0
    while True:
        files = LocalFiles(tmp_path / str(changes))
        (tmp_path / str(changes)).mkdir()
        home_make(files, OLD)
        home_make(files, NEW)
        files.write(upload(OLD).child("file"), b"kept")
        try:
            home_rename(Dying(files, changes), OLD, NEW)
        except Killed:
            home_rename(files, OLD, NEW)
            changes += 1
        else:
            break
        assert files.read(upload(NEW).child("file"), 10) == b"kept"
        assert files.stat(HostPath(("homes", OLD))) is None
    assert changes > 10
