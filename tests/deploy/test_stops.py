"""The helper stopped before every single change it makes to the disk: accounts, files and claims stay whole.

In this process, on a tree of its own: each run is a forked child that ends itself, without any clearing up, before its
n-th change. n grows until a run gets through.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from portal_host.accounts import accounts
from portal_host.claims import claim
from portal_host.registry import registry_read
from portal_host.settings import Host, Places, Portal, Settings

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chown", "os.chmod", "open"}
UID_FIRST = 95000  # nobody else's: sessions are looked for on the whole machine
PORTAL = Portal(94000, 94000, 94001)
STOPPED = 9


@pytest.fixture
def host(tmp_path: Path) -> Host:
    if os.geteuid() != 0:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("owners are changed, which needs root")
    for place in ("keys", "homes", "claimed"):
        (tmp_path / "srv/sftp-portal" / place).mkdir(parents=True)
    for place in ("var/lib/sftp-portal", "var/lib/extrausers", "etc"):
        (tmp_path / place).mkdir(parents=True)
    for name in ("passwd", "group"):
        (tmp_path / "etc" / name).write_text("root:x:0:0::/:\n")
    return Host(Settings(uid_first=UID_FIRST, uid_last=99999), Places(tmp_path), PORTAL)


def got_through(do: Callable[[], object], stop: int) -> bool:
    """Run in a child that ends before its change number `stop`; whether it came to its end before."""
    child = os.fork()
    if child == 0:
        _stop_before(stop)
        try:
            do()
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, STOPPED)
    return code == 0


def _stop_before(stop: int) -> None:
    count = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        is_change = event in CHANGES and (event != "open" or _writes(arguments))
        count += is_change
        if is_change and count == stop:
            os._exit(STOPPED)

    sys.addaudithook(hook)


def _writes(arguments: tuple[object, ...]) -> bool:
    return isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_CREAT))


def stops(do: Callable[[], object]) -> Iterator[int]:
    """Each number of a change that `do` makes, after it was stopped before it."""
    stop = 1
    while not got_through(do, stop):
        yield stop
        stop += 1
        assert stop < 2000


def lines(host: Host, name: str) -> dict[str, list[str]]:
    path = host.places.extrausers / name
    rows = [line.split(":") for line in path.read_text().splitlines()] if path.exists() else []
    assert {len(row) for row in rows} <= {{"passwd": 7, "group": 4, "shadow": 9}[name]}
    return {row[0]: row for row in rows}


def check_whole(host: Host) -> None:
    """Who exists has a number of its own, a group, a shadow line and a whole home."""
    passwd, group, shadow = (lines(host, name) for name in ("passwd", "group", "shadow"))
    registered = registry_read(host.places)
    homes = host.places.tree / "homes"
    for name, row in passwd.items():
        assert registered.active[name] == int(row[2])
        assert f"sftpacct-{row[2]}" in group
        assert name in shadow
        assert (homes / name / "upload").stat().st_uid == int(row[2])
        assert (homes / name / "downloads/pdfs").stat().st_uid == PORTAL.uid
    uids = [one.uid for one in registered.accounts.values()]
    assert len(uids) == len(set(uids))


def test_accounts_that_come_and_go_stay_whole_wherever_the_helper_stops(host: Host) -> None:
    keys = host.places.tree / "keys"
    kept = [{"name": f"kept-{number}.example", "uid": UID_FIRST + number} for number in range(3)]
    going = [{"name": "going.example", "uid": UID_FIRST + 10}]
    coming = [{"name": f"coming-{number}.example", "uid": UID_FIRST + 20 + number} for number in range(2)]
    for before, after in (([], kept + going), (kept + going, kept + coming)):
        seen = 0
        for _ in stops(lambda after=after: accounts(host, after)):
            seen += 1
            check_whole(host)
            assert {row["name"] for row in before if row in after} <= set(lines(host, "passwd"))
        assert seen > 10
        wished = {row["name"] for row in after}
        assert set(lines(host, "passwd")) == set(lines(host, "shadow")) == wished
        assert set(registry_read(host.places).active) == wished
        (keys / "going.example").write_text("a key")
        check_whole(host)
    assert registry_read(host.places).accounts["going.example"].former


def test_a_dropped_account_is_out_before_it_is_written_down_as_former(host: Host) -> None:
    """Else the list would look done while somebody can still sign in."""
    both = [{"name": f"d{number}.example", "uid": UID_FIRST + number} for number in range(2)]
    accounts(host, both)
    (host.places.tree / "keys/d0.example").write_text("a key")
    for _ in stops(lambda: accounts(host, both[1:])):
        if registry_read(host.places).accounts["d0.example"].former:
            assert "d0.example" not in lines(host, "passwd")
            assert not (host.places.tree / "keys/d0.example").exists()
        if "d0.example" not in lines(host, "passwd"):
            assert not (host.places.tree / "keys/d0.example").exists()


@pytest.mark.parametrize("is_directory", [True, False], ids=["epoch", "loose file"])
def test_a_claim_goes_on_wherever_the_helper_stops_and_loses_nothing(is_directory: bool, host: Host) -> None:
    name, account, uid, tree = "20261122-020000", "a.example", UID_FIRST, host.places.tree
    accounts(host, [{"name": account, "uid": uid}])
    upload = tree / "homes" / account / "upload" / name
    stop, number = 1, 1
    while True:
        _epoch(upload, uid, is_directory)
        done = got_through(lambda number=number: claim(host, account, uid, name, number), stop)
        places = [path for path in tree.rglob("*.csv") if path.read_bytes() == b"x"] if is_directory else []
        assert len(places) == 2 * number if is_directory else True
        first = claim(host, account, uid, name, number)
        assert claim(host, account, uid, name, number) == first
        assert not upload.exists()
        _check_claimed(tree / "claimed" / str(number), uid, name, is_directory)
        assert [one["path"] for one in first["aside"]] == ([["inner", "link"]] if is_directory else [])
        assert not list((tree / "claiming").iterdir())
        if done:
            break
        stop, number = stop + 1, number + 1
    assert stop > 10


def _epoch(path: Path, uid: int, is_directory: bool) -> None:
    if is_directory:
        (path / "inner").mkdir(parents=True)
        (path / "inner/link").symlink_to("/etc")
        for name in ("a.csv", "inner/b.csv"):
            (path / name).write_bytes(b"x")
    else:
        path.write_bytes(b"x")
    for one in [path, *path.rglob("*")]:
        os.chown(one, uid, uid, follow_symlinks=False)


def _check_claimed(path: Path, uid: int, name: str, is_directory: bool) -> None:
    expected = {"a.csv", "inner", "inner/b.csv"} if is_directory else {name}
    assert {str(one.relative_to(path)) for one in path.rglob("*")} == expected
    for one in [path, *path.rglob("*")]:
        status = one.lstat()
        mode = 0o2750 if one.is_dir() else 0o640
        assert (status.st_uid, status.st_gid, status.st_mode & 0o7777) == (PORTAL.uid, uid, mode)
    aside = path.with_name(f"{path.name}.odd")
    assert [one.is_symlink() for one in aside.glob("*")] == ([True] if is_directory else [])
