"""Accounts made and dropped by the root-side helper, from lists that are not to be trusted."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hosts.core.accountlist import list_digest
from tests.hosts.clients import Door, sftp, sftp_command
from tests.hosts.serving import PATIENCE, public_line, until

from .host import OpensshHost, numbers_of


def session(door: Door) -> subprocess.Popen[bytes]:
    """An open session that has signed in."""
    process = subprocess.Popen(
        sftp_command(door), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"pwd\n")
    process.stdin.flush()
    while b"Remote working directory" not in (line := process.stdout.readline()):
        assert line, "the session ended"
    return process


def cut(process: subprocess.Popen[bytes]) -> bool:
    """Whether the session has been ended by the host. The client notices when it is told to do something."""
    process.communicate(b"ls\n", PATIENCE)
    return process.returncode != 0


def userfile(host: OpensshHost, name: str) -> list[str]:
    return (host.machine.root / "var/lib/extrausers" / name).read_text().splitlines()


def names_in(host: OpensshHost, name: str) -> set[str]:
    return {line.split(":")[0] for line in userfile(host, name)}


def test_an_account_has_its_own_number_group_and_home(openssh_host: OpensshHost, ours: str) -> None:
    uid, portal = openssh_host.wished[ours], openssh_host.portal_uid
    told = openssh_host.machine.run("id", ours).output
    assert told.strip() == f"uid={uid}({ours}) gid={uid}(sftpacct-{uid}) groups={uid}(sftpacct-{uid})"
    home = openssh_host.home(ours)
    assert {str(path.relative_to(home)): numbers_of(path) for path in [home, *home.rglob("*")]} == {
        ".": (0, 0, "0o755"),
        "upload": (uid, uid, "0o700"),
        "upload-processed": (portal, uid, "0o2750"),
        "downloads": (portal, uid, "0o2750"),
        "downloads/backups": (portal, uid, "0o2750"),
        "downloads/docviewer": (portal, uid, "0o2750"),
        "downloads/pdfs": (portal, uid, "0o2750"),
    }


def test_the_same_list_again_writes_nothing(openssh_host: OpensshHost, ours: str) -> None:
    place = openssh_host.machine.root / "var/lib/extrausers"
    before = {path.name: path.stat().st_ino for path in place.iterdir()}
    told = openssh_host.wish()
    assert (told["made"], told["removed"], told["unchanged"]) == ([], [], len(openssh_host.wished))
    assert {path.name: path.stat().st_ino for path in place.iterdir()} == before


def _numbered_line_lost(host: OpensshHost, name: str) -> None:
    passwd = host.machine.root / "var/lib/extrausers/passwd"
    lines = passwd.read_text().splitlines(keepends=True)
    passwd.write_text("".join(line for line in lines if not line.startswith(f"{name}:")))


@pytest.mark.parametrize(
    "harm",
    [
        _numbered_line_lost,
        lambda host, name: shutil.rmtree(host.home(name)),
        lambda host, name: (host.home(name) / "downloads/pdfs").rmdir(),
        lambda host, name: host.upload(name).chmod(0o777),
    ],
    ids=["line", "home", "directory", "mode"],
)
def test_the_helper_tells_whether_just_these_accounts_are_there_and_whole(
    openssh_host: OpensshHost, ours: str, theirs: str, harm: Callable[[OpensshHost, str], None]
) -> None:
    openssh_host.wish()
    digest = list_digest(reversed(openssh_host.wished.items()))
    assert openssh_host.one("accounts-same", digest=digest) == {"same": True}
    fewer = [(name, uid) for name, uid in openssh_host.wished.items() if name != ours]
    assert openssh_host.one("accounts-same", digest=list_digest(fewer)) == {"same": False}
    harm(openssh_host, theirs)
    assert openssh_host.one("accounts-same", digest=digest) == {"same": False}
    openssh_host.wish()
    assert openssh_host.one("accounts-same", digest=digest) == {"same": True}


def test_owners_and_modes_that_somebody_changed_are_mended(openssh_host: OpensshHost, ours: str, theirs: str) -> None:
    home, uid = openssh_host.home(ours), openssh_host.wished[ours]
    os.chown(home / "downloads", uid, uid)
    (home / "upload").chmod(0)
    home.chmod(0o777)
    openssh_host.wish()
    assert numbers_of(home) == (0, 0, "0o755")
    assert numbers_of(home / "upload") == (uid, uid, "0o700")
    assert numbers_of(home / "downloads") == (openssh_host.portal_uid, uid, "0o2750")


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_home_that_cannot_be_mended_keeps_nobody_else_waiting(
    kind: str, openssh_host: OpensshHost, ours: str, theirs: str
) -> None:
    place, new = openssh_host.home(ours) / "downloads/pdfs", f"beside-{kind}.example"
    place.rmdir()
    if kind == "file":
        place.write_bytes(b"x")
    else:
        place.symlink_to("/etc")
    (openssh_host.home(theirs) / "upload").chmod(0)
    openssh_host.wished[new] = openssh_host.number()
    told = openssh_host.wish()
    assert (told["made"], told["removed"], told["refused"]) == ([new], [], [])
    assert [(one["name"], one["code"]) for one in told["damaged"]] == [(ours, "home-blocked")]
    assert "downloads/pdfs" in told["damaged"][0]["message"]
    assert f"The account {ours} stays as it is" in openssh_host.helper_log()
    assert numbers_of(openssh_host.upload(theirs))[2] == "0o700"
    assert {ours, new} <= names_in(openssh_host, "passwd")
    place.unlink()
    assert openssh_host.wish()["damaged"] == []
    assert place.is_dir()


def test_an_account_whose_home_cannot_be_made_does_not_come_until_it_can(openssh_host: OpensshHost) -> None:
    name, beside = "blocked.example", "beside-blocked.example"
    place = openssh_host.root / "homes" / name
    place.write_bytes(b"x")
    openssh_host.wished.update({name: openssh_host.number(), beside: openssh_host.number()})
    for made in ([beside], []):
        told = openssh_host.wish()
        assert told["made"] == made
        assert [(one["name"], one["code"]) for one in told["refused"]] == [(name, "upload-blocked")]
        assert name not in names_in(openssh_host, "passwd")
    place.unlink()
    told = openssh_host.wish()
    assert (told["made"], told["refused"]) == ([name], [])
    assert {name, beside} <= names_in(openssh_host, "passwd")


@pytest.mark.parametrize("place", ["upload", "."])
def test_a_home_into_which_nothing_can_be_uploaded_is_told_as_such(
    place: str, openssh_host: OpensshHost, ours: str
) -> None:
    blocked = openssh_host.home(ours) / place
    away = openssh_host.root / "homes" / f".away-{place.strip('.')}"
    blocked.rename(away)
    blocked.write_bytes(b"x")
    try:
        assert [(one["name"], one["code"]) for one in openssh_host.wish()["damaged"]] == [(ours, "upload-blocked")]
    finally:
        blocked.unlink()
        away.rename(blocked)
    assert openssh_host.wish()["damaged"] == []


def test_an_account_is_not_renamed_as_long_as_its_home_cannot_be_mended(openssh_host: OpensshHost, ours: str) -> None:
    place, uid = openssh_host.home(ours) / "downloads/pdfs", openssh_host.wished.pop(ours)
    new = f"new-{ours}"
    place.rmdir()
    place.write_bytes(b"x")
    assert openssh_host.one("rename", old=ours, new=new, uid=uid)["error"] == "home-blocked"
    assert not {ours, new} & names_in(openssh_host, "passwd")
    (openssh_host.home(new) / "downloads/pdfs").unlink()
    assert "error" not in openssh_host.one("rename", old=ours, new=new, uid=uid)
    assert new in names_in(openssh_host, "passwd")
    openssh_host.wished[new] = uid


def test_requests_are_not_answered_by_hand_beside_the_service(openssh_host: OpensshHost) -> None:
    assert openssh_host.one("about")["helper"]  # it runs
    refused = openssh_host.machine.run("/usr/sbin/portal-host", "once")
    assert refused.code == 1
    assert "sftp-portal-helper is running" in refused.output
    openssh_host.helper_stop()
    try:
        number = openssh_host.post({"operations": [{"op": "about"}]})
        done = openssh_host.machine.run("/usr/sbin/portal-host", "once")
        assert (done.code, done.output.strip()) == (0, "1 requests answered")
        assert openssh_host.answer_of(number)["answers"]
    finally:
        openssh_host.helper_start()


@pytest.mark.parametrize(
    ("name", "uid", "code"),
    [
        ("../x", None, "bad-name"),
        ("root", None, "name-of-system"),
        ("sftp-portal", None, "name-of-system"),
        ("shadow", None, "name-of-system"),
        ("-oProxyCommand=touch x", None, "bad-name"),
        ("x\nroot::0:0::/:/bin/sh", None, "bad-name"),
        ("x" * 300, None, "bad-name"),
        ("0", None, "bad-name"),
        ("evil.example", 0, "uid-out-of-range"),
        ("evil.example", 1000, "uid-out-of-range"),
        ("evil.example", 2**32, "uid-out-of-range"),
        ("evil.example", -1, "uid-out-of-range"),
        ("evil.example", "66000", "bad-uid"),
    ],
)
def test_a_hostile_entry_is_refused_and_costs_nobody_else_anything(
    name: str, uid: object, code: str, openssh_host: OpensshHost, ours: str
) -> None:
    system = [(openssh_host.machine.root / "etc" / file).read_bytes() for file in ("passwd", "shadow", "group")]
    before = {file: userfile(openssh_host, file) for file in ("passwd", "group", "shadow")}
    listed = [{"name": known, "uid": number} for known, number in openssh_host.wished.items()]
    evil = {"name": name, "uid": openssh_host.number() if uid is None else uid}
    told = openssh_host.one("accounts", accounts=[*listed, evil])
    assert [refusal["code"] for refusal in told["refused"]] == [code]
    assert (told["made"], told["removed"]) == ([], [])
    assert {file: userfile(openssh_host, file) for file in before} == before
    assert [(openssh_host.machine.root / "etc" / file).read_bytes() for file in ("passwd", "shadow", "group")] == system
    assert {path.name for path in (openssh_host.root / "homes").iterdir()} >= {ours}
    assert not (openssh_host.root / "homes" / "evil.example").exists()


def test_a_number_is_never_given_to_another_name(openssh_host: OpensshHost, keys: Path) -> None:
    uid = openssh_host.account("gone.example", public_line(keys / "ours"))
    del openssh_host.wished["gone.example"]
    assert openssh_host.wish()["removed"] == ["gone.example"]
    listed = [{"name": name, "uid": number} for name, number in openssh_host.wished.items()]
    told = openssh_host.one("accounts", accounts=[*listed, {"name": "new.example", "uid": uid}])
    assert [refusal["code"] for refusal in told["refused"]] == ["uid-of-another"]
    told = openssh_host.one("accounts", accounts=[*listed, {"name": "gone.example", "uid": openssh_host.number()}])
    assert [refusal["code"] for refusal in told["refused"]] == ["uid-changed"]


def test_a_dropped_account_is_shut_at_once_and_its_data_stay(
    openssh_host: OpensshHost, keys: Path, tmp_path: Path
) -> None:
    name = "dropped.example"
    uid = openssh_host.account(name, public_line(keys / "ours"))
    door = openssh_host.door(name, keys / "ours")
    (tmp_path / "students.csv").write_text("a")
    assert sftp(door, f"put {tmp_path}/students.csv /upload/").code == 0
    sessions = [session(door), session(door)]
    del openssh_host.wished[name]
    told = openssh_host.wish()
    assert told["removed"] == [name]
    assert told["ended"] in (2, 3)  # the one that put the file may still be on its way out
    assert all(cut(process) for process in sessions)
    assert not (openssh_host.root / "keys" / name).exists()
    assert not any(name in names_in(openssh_host, file) for file in ("passwd", "shadow"))
    assert numbers_of(openssh_host.upload(name) / "students.csv")[0] == uid
    assert sftp(door, "ls").code != 0
    openssh_host.keys(name, public_line(keys / "ours"))
    assert sftp(door, "ls").code != 0
    # Its data can still be taken until their time is over.
    assert openssh_host.one("claim", account=name, name="students.csv", number=70001)["odd"] == []


def test_a_dropped_account_comes_back_with_its_number_and_data(openssh_host: OpensshHost, keys: Path) -> None:
    name = "back.example"
    uid = openssh_host.account(name, public_line(keys / "ours"))
    (openssh_host.upload(name) / "kept.csv").write_text("a")
    openssh_host.drops_forget()
    del openssh_host.wished[name]
    assert openssh_host.wish()["removed"] == [name]
    openssh_host.wished[name] = uid
    assert openssh_host.wish()["made"] == [name]
    openssh_host.keys(name, public_line(keys / "ours"))
    assert "kept.csv" in sftp(openssh_host.door(name, keys / "ours"), "ls -1 /upload").output


def test_sessions_are_ended_on_demand_and_others_stay(
    openssh_host: OpensshHost, ours: str, theirs: str, keys: Path
) -> None:
    ending, staying = (
        session(openssh_host.door(ours, keys / "ours")),
        session(openssh_host.door(theirs, keys / "theirs")),
    )
    assert openssh_host.one("end", account=ours) == {"ended": 1}
    assert cut(ending)
    assert openssh_host.one("end", account=ours) == {"ended": 0}
    assert not cut(staying)


def test_a_list_that_drops_too_many_changes_nothing_until_root_allows_it(openssh_host: OpensshHost) -> None:
    names = [f"many-{number}.example" for number in range(25)]
    openssh_host.wished.update({name: openssh_host.number() for name in names})
    assert openssh_host.wish()["made"] == sorted(names)
    kept = {name: uid for name, uid in openssh_host.wished.items() if name not in names}
    listed = [{"name": name, "uid": uid} for name, uid in kept.items()]
    before = userfile(openssh_host, "passwd")
    refused = openssh_host.one("accounts", accounts=listed)
    assert refused["error"] == "drops-too-many"
    assert userfile(openssh_host, "passwd") == before
    allowed = openssh_host.machine.run("/usr/sbin/portal-host", "allow-drop", "25")
    assert allowed.code == 0, allowed.output
    openssh_host.wished = kept
    assert openssh_host.one("accounts", accounts=listed)["removed"] == sorted(names)
    assert not (openssh_host.state / "allow-drop").exists()


def dropped_at(host: OpensshHost, name: str) -> int:
    return json.loads((host.state / "accounts.json").read_bytes())["accounts"][name].get("dropped", 0)


def test_lists_one_after_the_other_drop_no_more_than_one_may(openssh_host: OpensshHost) -> None:
    """Neither a restart nor coming back for a moment helps."""
    host = openssh_host
    names = [f"step-{number}.example" for number in range(40)]
    numbers = {name: host.number() for name in names}
    host.wished.update(numbers)
    assert host.wish()["made"] == sorted(names)
    host.drops_forget()
    answer: dict[str, object] = {}
    for name in names:
        del host.wished[name]
        answer = host.one("accounts", accounts=[{"name": name, "uid": uid} for name, uid in host.wished.items()])
        if "error" in answer:
            break
        assert time.time() - dropped_at(host, name) < 600
        host.helper_stop()
        host.helper_start()
    assert (answer["error"], "in 24 hours" in str(answer["message"])) == ("drops-too-many", True)
    assert name in names_in(host, "passwd")
    host.wished[name] = numbers[name]
    host.wished[names[0]] = numbers[names[0]]
    assert host.wish()["made"] == [names[0]]
    before = dropped_at(host, names[0])
    assert before
    # One more than may go; the first one has made room for itself.
    del host.wished[names[0]]
    assert host.wish()["removed"] == [names[0]]
    left = [one for one in names if one in host.wished]
    assert host.machine.run("/usr/sbin/portal-host", "allow-drop", str(len(left))).code == 0
    for one in left:
        del host.wished[one]
    assert host.wish()["removed"] == sorted(left)
    assert {dropped_at(host, one) for one in left} == {0}
    host.drops_forget()


def test_a_list_of_many_new_accounts_makes_no_room_to_drop_those_before(openssh_host: OpensshHost) -> None:
    host = openssh_host
    old, new = ([f"{kind}-{number}.example" for number in range(20)] for kind in ("before", "after"))
    host.wished.update({name: host.number() for name in old})
    assert host.wish()["made"] == sorted(old)
    host.drops_forget(old)
    host.wished.update({name: host.number() for name in new})
    assert host.wish()["made"] == sorted(new)
    left = {name: uid for name, uid in host.wished.items() if name not in old[:11]}
    answer = host.one("accounts", accounts=[{"name": name, "uid": uid} for name, uid in left.items()])
    assert "drop 11 of 20 accounts that were there a day ago" in str(answer["message"])
    # Coming back at once makes nobody new.
    host.wished = {name: uid for name, uid in host.wished.items() if name not in old[:10]}
    assert host.wish()["removed"] == sorted(old[:10])
    host.wished[old[0]] = json.loads((host.state / "accounts.json").read_bytes())["accounts"][old[0]]["uid"]
    assert host.wish()["made"] == [old[0]]
    answer = host.one("accounts", accounts=[{"name": name, "uid": uid} for name, uid in left.items()][9:])
    assert answer["error"] == "drops-too-many"
    host.drops_forget()


@pytest.mark.parametrize("rounds", [int(os.environ.get("HOST_KILLS", "6"))])
def test_a_helper_killed_at_any_moment_leaves_every_file_whole(
    rounds: int, openssh_host: OpensshHost, ours: str
) -> None:
    """Killed while accounts come and go; then the same list again makes everything as it should be."""
    host = openssh_host
    stable = set(host.wished)
    for turn in range(rounds):
        coming = {f"turn-{turn}-{number}.example": host.number() for number in range(40)}
        leaving = [name for name in host.wished if name.startswith(f"turn-{turn - 1}-")][:15]
        host.drops_forget()
        host.wished = {**{name: uid for name, uid in host.wished.items() if name not in leaving}, **coming}
        wanted = [{"name": name, "uid": uid} for name, uid in host.wished.items()]
        host.one("about")  # it runs, so that the signal finds it at work
        number = host.post({"operations": [{"op": "accounts", "accounts": wanted}]})
        time.sleep(0.08 * turn / rounds)
        host.helper_stop(signal.SIGKILL)
        registry = json.loads((host.state / "accounts.json").read_bytes())["accounts"]
        for file, fields in (("passwd", 7), ("group", 4), ("shadow", 9)):
            assert {len(line.split(":")) for line in userfile(host, file)} == {fields}
        existing = names_in(host, "passwd")
        assert stable <= existing <= set(registry)
        assert all((host.home(name) / "downloads/pdfs").is_dir() for name in existing)
        host.helper_start()
        assert "error" not in host.answer_of(number)["answers"][0]
        assert names_in(host, "passwd") == names_in(host, "shadow") == set(host.wished)
        rows = json.loads((host.state / "accounts.json").read_bytes())["accounts"].values()
        uids = [row["uid"] for row in rows if "renamed" not in row]
        assert len(uids) == len(set(uids))


def test_a_register_that_cannot_be_read_stops_all_changes(openssh_host: OpensshHost, ours: str) -> None:
    path = openssh_host.state / "accounts.json"
    whole, before = path.read_bytes(), userfile(openssh_host, "passwd")
    try:
        path.write_bytes(whole[:-20])
        assert openssh_host.wish()["error"] == "host-fault"
        assert userfile(openssh_host, "passwd") == before
    finally:
        path.write_bytes(whole)
    until(lambda: "error" not in openssh_host.wish(), "a helper that reads the mended register")
