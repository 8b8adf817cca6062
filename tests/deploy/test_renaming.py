"""An account gets another user name: its number, files and what is under way stay, whoever was signed in does not."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from portal_host import homes
from portal_host.accounts import accounts
from portal_host.changes import Changes
from portal_host.registry import registry_read
from portal_host.renaming import rename
from portal_host.settings import Host, Places, Settings

from hosts.core.errors import AlreadyThere, HostError, NotThere
from tests.hosts.clients import sftp
from tests.hosts.serving import public_line, until

from .host import OpensshHost, numbers_of
from .test_accounts import cut, names_in, session, userfile
from .test_changes import Told
from .test_stops import PORTAL, UID_FIRST, got_through, lines

OLD, NEW, OTHER = "old.example", "new.example", "other.example"
UID = UID_FIRST + 50
KEY = b"ssh-ed25519 AAAA\n"


# --- In this process, on a tree of its own -----------------------------------------------------------------------


def tree(root: Path) -> Host:
    """A host with the account OLD, which has a file and a key, and another one."""
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("owners are changed, which needs root")
    for directory in (
        "srv/sftp-portal/keys",
        "srv/sftp-portal/homes",
        "var/lib/sftp-portal",
        "var/lib/extrausers",
        "etc",
    ):
        (root / directory).mkdir(parents=True)
    for name in ("passwd", "group"):
        (root / "etc" / name).write_text("root:x:0:0::/:\n")
    host = Host(Settings(uid_first=UID_FIRST, uid_last=99999), Places(root), PORTAL)
    accounts(host, wished(OLD))
    place(host, OLD, "kept.csv")
    (host.places.tree / "keys" / OLD).write_bytes(KEY)
    return host


def wished(*names: str) -> list[dict[str, object]]:
    return [{"name": name, "uid": UID} for name in names] + [{"name": OTHER, "uid": UID_FIRST}]


def home(host: Host, name: str) -> Path:
    return host.places.tree / "homes" / name


def place(host: Host, name: str, file: str) -> None:
    path = home(host, name) / "upload" / file
    path.write_bytes(b"x")
    os.chown(path, UID, UID)


def bare_home(host: Host, name: str) -> None:
    for part in ("upload", "upload-processed", "downloads/pdfs"):
        (home(host, name) / part).mkdir(parents=True)


def check_between(host: Host) -> None:
    """Who can sign in has the account's own home with all its files; there is one copy of them, wherever it stopped."""
    passwd, registry = lines(host, "passwd"), registry_read(host.places)
    assert OTHER in passwd
    assert {name: int(row[2]) for name, row in passwd.items()}.items() <= registry.active.items()
    ours = {name for name, row in passwd.items() if int(row[2]) == UID}
    assert len(ours) <= 1
    for name in ours:
        assert [path.name for path in (home(host, name) / "upload").iterdir()] == ["kept.csv"]
    (kept,) = host.places.tree.rglob("*.csv")
    assert (kept.read_bytes(), kept.stat().st_uid) == (b"x", UID)
    keys = host.places.tree / "keys" / OLD
    assert OLD in passwd or NEW not in passwd or not keys.exists()


def check_renamed(host: Host) -> None:
    check_between(host)
    registry = registry_read(host.places)
    assert set(lines(host, "passwd")) == set(lines(host, "shadow")) == {NEW, OTHER}
    assert lines(host, "passwd")[NEW][2:4] == [str(UID)] * 2
    assert f"sftpacct-{UID}" in lines(host, "group")
    assert registry.active == {NEW: UID, OTHER: UID_FIRST}
    assert registry.given_up[UID] == [OLD]
    assert {path.name for path in (host.places.tree / "homes").iterdir()} == {NEW, OTHER}
    assert not (host.places.tree / "keys" / OLD).exists()


def stopped(root: Path, *, bare: bool = False) -> Iterator[tuple[int, Host]]:
    """Hosts on each of which a rename was stopped before another of its changes."""
    stop = 1
    while True:
        (root / str(stop)).mkdir()
        host = tree(root / str(stop))
        if bare:
            bare_home(host, NEW)
        if got_through(lambda host=host: rename_counted(host), stop):
            assert stop > 10
            check_renamed(host)
            return
        yield stop, host
        stop += 1


def rename_counted(host: Host) -> None:
    """In a child: the rename of a home is a change too, but is no call of Python's own that could be counted."""
    plain = homes.rename_exclusive

    def counted(*arguments: Any) -> None:
        sys.audit("os.rename", *arguments)
        plain(*arguments)

    homes.rename_exclusive = counted
    rename(host, OLD, NEW, UID)


BETWEEN = {
    "nothing": None,
    "the new list": wished(NEW),
    "the old list": wished(OLD),
    "a list with both": wished(OLD, NEW),
    "a list with neither": wished(),
}


@pytest.mark.parametrize("between", BETWEEN)
def test_a_rename_is_finished_wherever_the_helper_stopped_and_whatever_list_came_then(
    between: str, tmp_path: Path
) -> None:
    for _, host in stopped(tmp_path, bare=True):
        check_between(host)
        if BETWEEN[between] is not None:
            accounts(host, BETWEEN[between])
            check_between(host)
        rename(host, OLD, NEW, UID)
        check_between(host)
        accounts(host, wished(NEW))
        check_renamed(host)
        assert rename(host, OLD, NEW, UID) == (False, 0)
        check_renamed(host)


def test_the_list_alone_finishes_a_rename_that_was_registered(tmp_path: Path) -> None:
    seen = set()
    for _, host in stopped(tmp_path):
        is_registered = NEW in registry_read(host.places).active
        plan, _ = accounts(host, wished(NEW))
        seen.add(is_registered)
        if is_registered:
            check_renamed(host)
        else:
            assert [one.code for one in plan.refused] == ["uid-of-another"]
            assert not home(host, NEW).exists()
    assert seen == {True, False}


def test_a_rename_that_is_taken_back_half_way_leaves_the_old_name_with_everything(tmp_path: Path) -> None:
    for _, host in stopped(tmp_path):
        with suppress(NotThere):  # the host has not heard of the new name yet
            rename(host, NEW, OLD, UID)
        accounts(host, wished(OLD))
        assert set(lines(host, "passwd")) == {OLD, OTHER}
        assert (home(host, OLD) / "upload/kept.csv").exists()
        assert not home(host, NEW).exists()


def test_a_third_name_after_a_rename_that_was_stopped_gets_everything(tmp_path: Path) -> None:
    for _, host in stopped(tmp_path):
        rename(host, OLD, "third.example", UID)
        with suppress(NotThere):
            rename(host, NEW, "third.example", UID)
        assert set(lines(host, "passwd")) == {"third.example", OTHER}
        assert {path.name for path in (host.places.tree / "homes").iterdir()} == {"third.example", OTHER}
        assert (home(host, "third.example") / "upload/kept.csv").exists()


def test_a_home_with_anything_in_it_is_in_the_way_and_nothing_is_changed(tmp_path: Path) -> None:
    host = tree(tmp_path)
    bare_home(host, NEW)
    (home(host, NEW) / "downloads/pdfs/theirs.pdf").write_bytes(b"x")
    before = (lines(host, "passwd"), registry_read(host.places))
    with pytest.raises(AlreadyThere):
        rename(host, OLD, NEW, UID)
    assert (lines(host, "passwd"), registry_read(host.places)) == before
    assert (home(host, NEW) / "upload").is_dir()
    assert (home(host, OLD) / "upload/kept.csv").exists()
    assert (host.places.tree / "keys" / OLD).read_bytes() == KEY


def test_two_homes_that_both_hold_something_are_left_for_a_person(tmp_path: Path) -> None:
    """The register says the new name; then somebody puts the old home back from a backup."""
    host = tree(tmp_path)
    rename(host, OLD, NEW, UID)
    bare_home(host, OLD)
    place(host, OLD, "again.csv")
    for do in (lambda: rename(host, OLD, NEW, UID), lambda: rename(host, NEW, OLD, UID)):
        with pytest.raises(AlreadyThere):
            do()
        assert registry_read(host.places).active[NEW] == UID
        assert (home(host, NEW) / "upload/kept.csv").exists()
        assert (home(host, OLD) / "upload/again.csv").exists()
    accounts(host, wished(NEW))
    assert set(lines(host, "passwd")) == {NEW, OTHER}


def test_a_bare_home_under_the_old_name_gives_way(tmp_path: Path) -> None:
    host = tree(tmp_path)
    rename(host, OLD, NEW, UID)
    bare_home(host, OLD)
    rename(host, OLD, NEW, UID)
    check_renamed(host)


@pytest.mark.parametrize(
    ("content", "stays"),
    [(b"# header\n", True), (b"", True), (b"# header\n\n  # more\n", True), (b"# header\n" + KEY, False), (KEY, False)],
)
def test_the_old_names_key_file_goes_if_it_holds_a_key(content: bytes, stays: bool, tmp_path: Path) -> None:
    host = tree(tmp_path)
    path = host.places.tree / "keys" / OLD
    path.write_bytes(content)
    rename(host, OLD, NEW, UID)
    assert path.exists() == stays


def test_a_key_file_that_is_a_link_goes_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    host = tree(tmp_path)
    path = host.places.tree / "keys" / OLD
    path.unlink()
    path.symlink_to(tmp_path / "etc/passwd")
    rename(host, OLD, NEW, UID)
    assert not path.is_symlink()
    assert (tmp_path / "etc/passwd").exists()


def test_a_dropped_account_that_is_renamed_stays_dropped_until_a_list_has_it(tmp_path: Path) -> None:
    host = tree(tmp_path)
    accounts(host, wished())
    assert rename(host, OLD, NEW, UID) == (True, 0)
    assert set(lines(host, "passwd")) == {OTHER}
    accounts(host, wished())
    assert set(lines(host, "passwd")) == {OTHER}
    plan, _ = accounts(host, wished(NEW))
    assert [one.name for one in plan.made] == [NEW]
    check_renamed(host)


def test_nobody_else_gets_either_name(tmp_path: Path) -> None:
    host = tree(tmp_path)
    rename(host, OLD, NEW, UID)
    for name in (OLD, NEW):
        with pytest.raises(HostError) as refused:
            rename(host, OTHER, name, UID_FIRST)
        assert refused.value.code == "name-of-another"
        plan, _ = accounts(host, [{"name": NEW, "uid": UID}, *wished(), {"name": name, "uid": UID_FIRST + 7}])
        assert "uid-changed" in {one.code for one in plan.refused} or name == NEW
    check_renamed(host)


def test_changes_are_told_under_the_new_name(tmp_path: Path) -> None:
    host = tree(tmp_path)
    changes = Changes(host)
    changes.accounts_follow()
    rename(host, OLD, NEW, UID)
    place(host, NEW, "between.csv")
    assert changes.accounts_follow() == {NEW}
    assert changes.collect() == set()
    place(host, NEW, "after.csv")
    assert changes.collect() == {NEW}
    changes.close()


def test_an_empty_renamed_account_is_told_too(tmp_path: Path) -> None:
    """What its district took away under the old name was lost with the watches."""
    host = tree(tmp_path)
    changes = Changes(host)
    changes.accounts_follow()
    (home(host, OLD) / "upload/kept.csv").unlink()
    rename(host, OLD, NEW, UID)
    assert changes.accounts_follow() == {NEW}
    changes.close()


def test_a_home_that_comes_after_its_account_is_watched_all_the_same(tmp_path: Path) -> None:
    """The register of a rename that was stopped is ahead of the home, and is not written again when it is finished."""
    host = tree(tmp_path)
    rename(host, OLD, NEW, UID)
    home(host, NEW).rename(home(host, "aside"))
    changes = Changes(host)
    changes.accounts_follow()
    assert changes.unwatched() == set()
    home(host, "aside").rename(home(host, NEW))
    assert changes.unwatched() == {NEW}
    place(host, NEW, "after.csv")
    assert changes.collect() == {NEW}
    changes.close()


# --- On a whole host ---------------------------------------------------------------------------------------------


def renamed(host: OpensshHost, old: str, new: str) -> dict[str, Any]:
    """Rename an account as the portal does; the answer."""
    uid = host.wished.pop(old)
    host.wished[new] = uid
    return host.one("rename", old=old, new=new, uid=uid)


def row(host: OpensshHost, name: str) -> dict[str, Any]:
    told = json.loads((host.state / "accounts.json").read_bytes())["accounts"][name]
    return {key: value for key, value in told.items() if key != "since"}


def test_a_renamed_account_goes_on_under_its_new_name(openssh_host: OpensshHost, ours: str, keys: Path) -> None:
    host, new = openssh_host, f"new-{ours}"
    old_door, door = host.door(ours, keys / "ours"), host.door(new, keys / "ours")
    assert sftp(old_door, "put /etc/hostname /upload/kept.csv", "mkdir /upload/20261122-020000").code == 0
    inode, uid = host.upload(ours).stat().st_ino, host.wished[ours]
    sessions = [session(old_door), session(old_door)]
    told = Told(host)
    answer = renamed(host, ours, new)
    assert answer["renamed"]
    assert answer["ended"] in (2, 3)  # the one that put the file may still be on its way out
    assert all(cut(process) for process in sessions)
    assert not (host.root / "keys" / ours).exists()
    host.keys(ours, public_line(keys / "ours"))
    host.keys(new, public_line(keys / "ours"))
    assert sftp(old_door, "ls").code != 0
    assert "kept.csv" in sftp(door, "ls -1 /upload").output
    assert (host.upload(new).stat().st_ino, numbers_of(host.upload(new))) == (inode, (uid, uid, "0o700"))
    assert host.machine.run("id", new).output.strip().startswith(f"uid={uid}({new}) gid={uid}(sftpacct-{uid})")
    until(lambda: new in told(), "a line for the renamed account")
    told = Told(host)
    assert sftp(door, "put /etc/hostname /upload/20261122-020000/students.csv").code == 0
    until(lambda: new in told(), "a line for what is uploaded under the new name")
    assert ours not in told()
    # The same once more changes nothing, and sends nobody away.
    staying = session(door)
    before = userfile(host, "passwd")
    assert host.one("rename", old=ours, new=new, uid=uid) == {"renamed": False, "ended": 0}
    assert not cut(staying)
    assert userfile(host, "passwd") == before
    assert host.wish()["refused"] == []


def test_an_account_may_have_its_old_name_back(openssh_host: OpensshHost, ours: str, keys: Path) -> None:
    host, new = openssh_host, f"new-{ours}"
    (host.upload(ours) / "kept.csv").write_text("a")
    assert renamed(host, ours, new)["renamed"]
    assert renamed(host, new, ours)["renamed"]
    host.keys(ours, public_line(keys / "ours"))
    assert "kept.csv" in sftp(host.door(ours, keys / "ours"), "ls -1 /upload").output
    assert row(host, new) == {"uid": host.wished[ours], "former": True, "renamed": True}
    assert row(host, ours) == {"uid": host.wished[ours], "former": False}
    assert host.wish()["refused"] == []


def test_a_list_with_the_old_name_is_refused_for_it_and_drops_nobody(openssh_host: OpensshHost, ours: str) -> None:
    host, new = openssh_host, f"new-{ours}"
    renamed(host, ours, new)
    before = userfile(host, "passwd")
    listed = [{"name": ours if name == new else name, "uid": uid} for name, uid in host.wished.items()]
    told = host.one("accounts", accounts=listed)
    assert [(one["name"], one["code"]) for one in told["refused"]] == [(ours, "renamed")]
    assert new in told["refused"][0]["message"]
    assert (told["made"], told["removed"]) == ([], [])
    assert userfile(host, "passwd") == before
    assert not host.home(ours).exists()


def test_what_was_begun_under_the_old_name_is_finished_under_the_new_one(openssh_host: OpensshHost, ours: str) -> None:
    host, new, uid = openssh_host, f"new-{ours}", openssh_host.wished[ours]
    for number, name in ((71001, "20261122-020000"), (71002, "20261123-020000")):
        path = host.upload(ours) / name
        path.mkdir()
        os.chown(path, uid, uid)
        if number == 71001:
            first = host.one("claim", account=ours, name=name, number=number)
    renamed(host, ours, new)
    assert host.one("claim", account=new, name="20261122-020000", number=71001) == first
    assert "error" not in host.one("claim", account=new, name="20261123-020000", number=71002)
    assert numbers_of(host.root / "claimed/71002") == (host.portal_uid, uid, "0o2750")
    for op in ({"op": "look"}, {"op": "end"}, {"op": "claim", "name": "x", "number": 71003}):
        assert host.ask([{**op, "account": ours}])[0]["error"] == "not-there"


@pytest.mark.parametrize(
    ("new", "uid", "code"),
    [
        ("root", None, "name-of-system"),
        ("sftp-portal", None, "name-of-system"),
        ("shadow", None, "name-of-system"),
        ("../x", None, "bad-name"),
        ("-oProxyCommand=touch x", None, "bad-name"),
        ("x\nroot::0:0::/:/bin/sh", None, "bad-name"),
        ("x" * 300, None, "bad-name"),
        ("{theirs}", None, "name-of-another"),
        ("{ours}", None, "bad-request"),
        ("new.example", 0, "uid-out-of-range"),
        ("new.example", 1000, "uid-out-of-range"),
        ("new.example", -1, "bad-request"),
        ("new.example", "66000", "bad-request"),
        ("new.example", True, "bad-request"),
        ("new.example", 99998, "uid-changed"),
        (7, None, "bad-request"),
    ],
)
def test_a_hostile_rename_is_refused_and_changes_nothing(
    new: object, uid: object, code: str, openssh_host: OpensshHost, ours: str, theirs: str
) -> None:
    host = openssh_host
    places = [*(host.machine.root / "var/lib/extrausers").iterdir(), host.state / "accounts.json"]
    places += [host.machine.root / "etc" / file for file in ("passwd", "shadow", "group")]
    before = {path: path.read_bytes() for path in places}
    names = {path.name for path in (host.root / "homes").iterdir()}
    asked = new.format(ours=ours, theirs=theirs) if isinstance(new, str) else new
    told = host.one("rename", old=ours, new=asked, uid=host.wished[ours] if uid is None else uid)
    assert told["error"] == code
    assert {path: path.read_bytes() for path in places} == before
    assert {path.name for path in (host.root / "homes").iterdir()} == names


@pytest.mark.parametrize("old", ["never.example", "root", "sftp-portal"])
def test_what_is_no_account_cannot_be_renamed(old: str, openssh_host: OpensshHost) -> None:
    told = openssh_host.one("rename", old=old, new="new.example", uid=openssh_host.number())
    assert told["error"] == "not-there"
    assert "new.example" not in names_in(openssh_host, "passwd")
    assert not openssh_host.home("new.example").exists()
