"""Accounts made and dropped by the root-side helper, from lists that are not to be trusted."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

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


def test_owners_and_modes_that_somebody_changed_are_mended(openssh_host: OpensshHost, ours: str, theirs: str) -> None:
    home, uid = openssh_host.home(ours), openssh_host.wished[ours]
    os.chown(home / "downloads", uid, uid)
    (home / "upload").chmod(0)
    home.chmod(0o777)
    openssh_host.wish()
    assert numbers_of(home) == (0, 0, "0o755")
    assert numbers_of(home / "upload") == (uid, uid, "0o700")
    assert numbers_of(home / "downloads") == (openssh_host.portal_uid, uid, "0o2750")


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
    del openssh_host.wished[name]
    openssh_host.wish()
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
        uids = [row["uid"] for row in json.loads((host.state / "accounts.json").read_bytes())["accounts"].values()]
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
