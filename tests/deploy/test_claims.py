"""Looking, reading and claiming below a district's upload directory, whatever its client has set or swaps meanwhile."""

import base64
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.hosts.clients import Door, sftp, sftp_command

from .host import OpensshHost, numbers_of

EPOCH = "20261122-020000"
CONTENT = b"student_id,grade\n1,5\n"
numbers = itertools.count(100_001)  # other files' tests claim on the same host


@pytest.fixture
def door(openssh_host: OpensshHost, ours: str, keys: Path) -> Door:
    return openssh_host.door(ours, keys / "ours")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    path = tmp_path / "students.csv"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def epoch(openssh_host: OpensshHost, ours: str) -> Path:
    """An epoch in the district's upload directory, the district's own."""
    path = openssh_host.upload(ours) / EPOCH
    path.mkdir()
    (path / "students.csv").write_bytes(CONTENT)
    give(path, openssh_host.wished[ours])
    return path


def give(top: Path, uid: int) -> None:
    for path in [top, *top.rglob("*")]:
        os.chown(path, uid, uid, follow_symlinks=False)


def claim(host: OpensshHost, account: str, name: str = EPOCH, number: int = 0) -> tuple[dict[str, object], Path]:
    number = number or next(numbers)
    return host.one("claim", account=account, name=name, number=number), host.root / "claimed" / str(number)


def owners(host: OpensshHost, account: str, top: Path) -> set[tuple[int, int, str]]:
    """Owners and modes of everything there; what they should be for a claimed tree is `as_claimed`."""
    return {numbers_of(path) for path in [top, *top.rglob("*")]}


def as_claimed(host: OpensshHost, account: str) -> set[tuple[int, int, str]]:
    uid = host.wished[account]
    return {(host.portal_uid, uid, "0o2750"), (host.portal_uid, uid, "0o640")}


# --- Looking and reading ---------------------------------------------------------------------------------------------


def test_a_look_tells_all_and_follows_nothing(openssh_host: OpensshHost, ours: str, epoch: Path) -> None:
    (epoch / "link").symlink_to("/etc")
    (epoch / "inner").mkdir()
    os.mkfifo(epoch / "inner" / "fifo")
    (epoch / os.fsdecode(b"caf\xe9.csv")).write_bytes(b"x")
    told = openssh_host.one("look", account=ours)
    assert {(*entry["path"], entry["kind"]) for entry in told["entries"]} == {
        (EPOCH, "directory"),
        (EPOCH, "students.csv", "file"),
        (EPOCH, "link", "link"),
        (EPOCH, "inner", "directory"),
        (EPOCH, "inner", "fifo", "other"),
        (EPOCH, "caf\udce9.csv", "file"),
    }
    students = next(entry for entry in told["entries"] if entry["path"][-1] == "students.csv")
    status = (epoch / "students.csv").stat()
    assert (students["size"], students["links"], students["inode"]) == (len(CONTENT), 1, status.st_ino)
    assert students["modified"] == int(status.st_mtime)
    assert (told["writing"], told["cut"]) == ([], False)


def test_a_look_and_a_read_work_whatever_modes_a_client_has_set(
    openssh_host: OpensshHost, ours: str, door: Door, here: Path
) -> None:
    put = [
        "cd upload",
        f"mkdir {EPOCH}",
        f"put {here} {EPOCH}/students.csv",
        f"chmod 000 {EPOCH}/students.csv",
        f"chmod 000 {EPOCH}",
    ]
    assert sftp(door, *put).code == 0
    told = openssh_host.one("look", account=ours)
    assert [EPOCH, "students.csv"] in [entry["path"] for entry in told["entries"]]
    read = openssh_host.one("read", account=ours, path=[EPOCH, "students.csv"], offset=8, length=6)
    assert (base64.b64decode(read["data"]), read["size"]) == (CONTENT[8:14], len(CONTENT))


def test_a_file_that_is_being_written_is_told(
    openssh_host: OpensshHost, ours: str, door: Door, epoch: Path, tmp_path: Path
) -> None:
    with slow_upload(door, f"{EPOCH}/large.csv", tmp_path):
        wait_for(lambda: (epoch / "large.csv").exists())
        assert openssh_host.one("look", account=ours)["writing"] == [[EPOCH, "large.csv"]]
    wait_for(lambda: openssh_host.one("look", account=ours)["writing"] == [])


def test_a_look_at_too_deep_a_tree_is_cut(openssh_host: OpensshHost, ours: str) -> None:
    deep = openssh_host.upload(ours).joinpath(*["d"] * 40)
    deep.mkdir(parents=True)
    (openssh_host.upload(ours) / EPOCH).mkdir()
    (openssh_host.upload(ours) / EPOCH / "students.csv").touch()
    told = openssh_host.one("look", account=ours)
    assert (told["cut"], told["too_deep"], told["too_full"]) == (False, ["d"], [])
    assert max(len(entry["path"]) for entry in told["entries"]) == 32
    assert [EPOCH, "students.csv"] in [entry["path"] for entry in told["entries"]]


@pytest.mark.parametrize("inside", [".", "inner"])
def test_a_directory_that_is_too_full_leaves_room_for_those_beside_it(
    inside: str, openssh_host: OpensshHost, ours: str
) -> None:
    """The full one is listed first, by its name and as it was made first."""
    full = openssh_host.upload(ours) / "00000000-000000" / inside
    full.mkdir(parents=True)
    for number in range(20_001):
        (full / f"{number:05d}.csv").touch()
    for name in (EPOCH, "zzz"):
        (openssh_host.upload(ours) / name).mkdir()
        (openssh_host.upload(ours) / name / "students.csv").touch()
    told = openssh_host.one("look", account=ours)
    assert (told["cut"], told["too_deep"], told["too_full"]) == (False, [], ["00000000-000000"])
    paths = [entry["path"] for entry in told["entries"]]
    assert [EPOCH, "students.csv"] in paths
    assert ["zzz", "students.csv"] in paths
    assert len(paths) < 20_100


def test_a_look_at_an_upload_directory_that_is_itself_too_full_is_cut(openssh_host: OpensshHost, ours: str) -> None:
    for number in range(20_001):
        (openssh_host.upload(ours) / f"{number:05d}.csv").touch()
    told = openssh_host.one("look", account=ours)
    assert told["cut"]
    assert len(told["entries"]) == 20_000


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (["link"], "not-safe"),
        (["linked", "students.csv"], "not-safe"),
        (["twice.csv"], "not-safe"),
        (["fifo"], "not-safe"),
        ([EPOCH], "not-safe"),
        ([], "not-safe"),
        (["..", "upload-processed"], "not-safe"),
        (["/etc/passwd"], "not-safe"),
        (["gone.csv"], "not-there"),
        (["a"] * 40, "not-safe"),
        ("students.csv", "bad-request"),
        ([7], "bad-request"),
    ],
    ids=str,
)
def test_what_is_no_plain_file_is_not_read(
    path: object, code: str, openssh_host: OpensshHost, ours: str, epoch: Path
) -> None:
    upload = epoch.parent
    (upload / "link").symlink_to("/etc/passwd")
    (upload / "linked").symlink_to(EPOCH)
    (upload / "once.csv").write_bytes(b"x")
    os.link(upload / "once.csv", upload / "twice.csv")
    os.mkfifo(upload / "fifo")
    assert openssh_host.one("read", account=ours, path=path, offset=0, length=10)["error"] == code


# --- Claiming --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o750, 0o700, 0o000, 0o777, 0o2777, 0o1777])
def test_a_claimed_epoch_is_the_portals_whatever_its_modes(
    mode: int, openssh_host: OpensshHost, ours: str, door: Door, epoch: Path
) -> None:
    (epoch / "inner").mkdir()
    (epoch / "inner/more.csv").write_bytes(b"x")
    give(epoch, openssh_host.wished[ours])
    for path in (epoch / "students.csv", epoch / "inner/more.csv", epoch / "inner", epoch):
        path.chmod(mode)
    told, claimed = claim(openssh_host, ours)
    assert told == {"directory": True, "ended": 0, "odd": [], "aside": []}
    assert not epoch.exists()
    assert owners(openssh_host, ours, claimed) == as_claimed(openssh_host, ours)
    assert (claimed / "students.csv").read_bytes() == CONTENT
    assert EPOCH not in sftp(door, "ls -1 /upload").output


def test_the_portal_reads_archives_and_purges_what_was_claimed(
    openssh_host: OpensshHost, ours: str, door: Door, epoch: Path, tmp_path: Path
) -> None:
    for path in (epoch / "students.csv", epoch):
        path.chmod(0)
    _, claimed = claim(openssh_host, ours)
    there, archive = f"/claimed/{claimed.name}", f"/homes/{ours}/upload-processed/{EPOCH}"
    (tmp_path / "log.txt").write_text("processed")
    done = sftp(
        openssh_host.portal_door(),
        f"get {there}/students.csv {tmp_path}/read",
        f"put {tmp_path}/log.txt {there}/log.txt",
        f"rename {there} {archive}",
    )
    assert done.code == 0, done.output
    assert (tmp_path / "read").read_bytes() == CONTENT
    seen = sftp(door, f"get /upload-processed/{EPOCH}/students.csv {tmp_path}/back", f"ls /upload-processed/{EPOCH}")
    assert seen.code == 0, seen.output
    assert sftp(door, f"chmod 777 /upload-processed/{EPOCH}").code != 0
    assert sftp(door, f"put {tmp_path}/log.txt /upload-processed/{EPOCH}/students.csv").code != 0
    purge = sftp(openssh_host.portal_door(), f"rm {archive}/*", f"rmdir {archive}")
    assert purge.code == 0, purge.output


def test_a_loose_file_is_claimed_into_a_directory(openssh_host: OpensshHost, ours: str, door: Door, here: Path) -> None:
    assert sftp(door, "cd upload", f"put {here} students.csv", "chmod 000 students.csv").code == 0
    told, claimed = claim(openssh_host, ours, "students.csv")
    assert told["directory"] is False
    assert owners(openssh_host, ours, claimed) == as_claimed(openssh_host, ours)
    assert (claimed / "students.csv").read_bytes() == CONTENT


def test_what_is_odd_is_moved_aside_and_never_changes_its_owner(
    openssh_host: OpensshHost, ours: str, epoch: Path
) -> None:
    secret = openssh_host.machine.root / "srv/secret"
    secret.write_bytes(b"a secret")
    secret.chmod(0o600)
    (epoch / "inner").mkdir()
    (epoch / "inner/link").symlink_to("/etc/shadow")
    (epoch / "linked").symlink_to("/")
    os.mkfifo(epoch / "fifo")
    os.link(secret, epoch / "twice.csv")
    os.mknod(epoch / "device", 0o600 | 0o020000, os.makedev(1, 3))
    told, claimed = claim(openssh_host, ours)
    aside = told["aside"]
    assert isinstance(aside, list)
    assert {("/".join(one["path"]), one["kind"]) for one in aside} == {
        ("inner/link", "link"),
        ("linked", "link"),
        ("fifo", "other"),
        ("twice.csv", "file"),
        ("device", "other"),
    }
    assert sorted(path.name for path in claimed.rglob("*")) == ["inner", "students.csv"]
    odd = claimed.with_name(f"{claimed.name}.odd")
    assert {path.name for path in odd.iterdir()} == {one["as"] for one in aside}
    assert numbers_of(secret) == (0, 0, "0o600")
    assert numbers_of(openssh_host.machine.root / "etc/shadow")[0] == 0
    assert openssh_host.machine.run("stat", "-c", "%u", "/dev/null").output.strip() == "0"
    names = " ".join(f"/claimed/{odd.name}/{path.name}" for path in odd.iterdir())
    done = sftp(openssh_host.portal_door(), *(f"rm {name}" for name in names.split()), f"rmdir /claimed/{odd.name}")
    assert done.code == 0, done.output


def test_a_claim_may_be_repeated_and_its_number_is_its_own(
    openssh_host: OpensshHost, ours: str, theirs: str, epoch: Path
) -> None:
    (epoch / "link").symlink_to("/etc")
    told, claimed = claim(openssh_host, ours)
    number = int(claimed.name)
    assert claim(openssh_host, ours, number=number)[0] == told
    assert claim(openssh_host, ours, "20261123-020000", number)[0]["error"] == "already-there"
    assert claim(openssh_host, theirs, EPOCH, number)[0]["error"] == "already-there"


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("gone", "not-there"),
        ("link", "not-safe"),
        ("fifo", "not-safe"),
        ("..", "not-safe"),
        (".", "not-safe"),
        ("", "not-safe"),
        ("../upload-processed", "not-safe"),
        (f"{EPOCH}/students.csv", "not-safe"),
        ("x" * 300, "not-safe"),
        ("a\0b", "not-safe"),
        (None, "bad-request"),
    ],
)
def test_what_cannot_be_claimed_is_left_alone_and_its_number_stays_free(
    name: str, code: str, openssh_host: OpensshHost, ours: str, epoch: Path
) -> None:
    (epoch.parent / "link").symlink_to("/etc")
    os.mkfifo(epoch.parent / "fifo")
    told, claimed = claim(openssh_host, ours, name)
    assert told["error"] == code
    assert not claimed.exists()
    assert not list((openssh_host.root / "claiming").iterdir())
    again, _ = claim(openssh_host, ours, EPOCH, int(claimed.name))
    assert "error" not in again


@pytest.mark.parametrize("number", [0, -1, 2**63, True, "1", 1.0, None, "../1"])
def test_a_number_that_is_none_is_refused(number: object, openssh_host: OpensshHost, ours: str, epoch: Path) -> None:
    assert openssh_host.one("claim", account=ours, name=EPOCH, number=number)["error"] == "bad-request"
    assert epoch.exists()


@pytest.mark.parametrize("account", ["root", "sftp-portal", "nobody.example", "../x", "", 7])
def test_nothing_is_done_for_what_is_no_account(account: object, openssh_host: OpensshHost) -> None:
    for operation in (
        {"op": "look"},
        {"op": "read", "path": ["x"], "offset": 0, "length": 1},
        {"op": "claim", "name": "x", "number": 1},
        {"op": "end"},
    ):
        told = openssh_host.ask([{**operation, "account": account}])[0]
        assert told["error"] in ("not-there", "not-safe", "bad-request")


def test_too_deep_an_epoch_is_left_where_it_was(openssh_host: OpensshHost, ours: str, epoch: Path) -> None:
    epoch.joinpath(*["d"] * 40).mkdir(parents=True)
    before = numbers_of(epoch)
    told, claimed = claim(openssh_host, ours)
    assert told["error"] == "too-large"
    assert numbers_of(epoch) == before
    assert not claimed.exists()


def test_a_session_that_holds_a_file_open_is_ended_before_the_claim_is_answered(
    openssh_host: OpensshHost, ours: str, door: Door, epoch: Path, tmp_path: Path
) -> None:
    with slow_upload(door, f"{EPOCH}/large.csv", tmp_path) as process:
        wait_for(lambda: (epoch / "large.csv").exists())
        told, claimed = claim(openssh_host, ours)
        assert told["ended"] == 1
        size = (claimed / "large.csv").stat().st_size
        assert process.wait(30) != 0
        assert (claimed / "large.csv").stat().st_size == size
    assert owners(openssh_host, ours, claimed) == as_claimed(openssh_host, ours)


def test_a_claim_by_a_helper_that_is_killed_goes_on(openssh_host: OpensshHost, ours: str) -> None:
    uid = openssh_host.wished[ours]
    rounds = int(os.environ.get("HOST_KILLS", "6"))
    for turn in range(rounds):
        epoch = openssh_host.upload(ours) / EPOCH
        epoch.mkdir()
        for number in range(300):
            (epoch / f"{number}.csv").write_bytes(CONTENT)
        (epoch / "link").symlink_to("/etc")
        give(epoch, uid)
        wanted = {"op": "claim", "account": ours, "name": EPOCH, "number": next(numbers)}
        openssh_host.one("about")  # it runs, so that the signal finds it at work
        posted = openssh_host.post({"operations": [wanted]})
        time.sleep(0.1 * turn / rounds)
        openssh_host.helper_stop(signal.SIGKILL)
        openssh_host.helper_start()
        told = openssh_host.answer_of(posted)["answers"][0]
        claimed = openssh_host.root / "claimed" / str(wanted["number"])
        assert told["odd"] == [["link"]]
        assert len(list(claimed.iterdir())) == 300
        assert owners(openssh_host, ours, claimed) == as_claimed(openssh_host, ours)
        assert len(list(claimed.with_name(f"{claimed.name}.odd").iterdir())) == 1
        assert not list((openssh_host.root / "claiming").iterdir())
        assert openssh_host.ask([wanted])[0] == told


# --- Races -----------------------------------------------------------------------------------------------------------

# What a district could do over SFTP at most, and more: it also makes links, as fast as it can.
_SWAPPER = """
import os, sys
upload, uid, secret = sys.argv[1], int(sys.argv[2]), sys.argv[3]
os.setgroups([]); os.setgid(uid); os.setuid(uid)
os.chdir(upload)
turn = 0
while True:
    turn += 1
    for name in ("inner", "inner.csv", "top"):
        try:
            os.rename("20261122-020000/" + name, "spare-" + name)
            os.symlink(secret, "20261122-020000/" + name)
            os.rename("20261122-020000/" + name, "away")
            os.rename("spare-" + name, "20261122-020000/" + name)
        except OSError:
            pass
    for name in ("20261122-020000", "spare"):
        try:
            if turn % 2:
                os.rename("20261122-020000", "spare"); os.symlink(secret, "20261122-020000")
            else:
                os.unlink("20261122-020000"); os.rename("spare", "20261122-020000")
        except OSError:
            pass
"""


def test_no_swap_while_it_is_claimed_or_read_leads_out(openssh_host: OpensshHost, ours: str) -> None:
    uid, upload = openssh_host.wished[ours], openssh_host.upload(ours)
    secret = openssh_host.machine.root / "srv/secrets"
    (secret / "inner").mkdir(parents=True)
    for name in ("students.csv", "inner.csv", "inner/more.csv"):
        (secret / name).write_bytes(b"a secret")
    before = {path: numbers_of(path) for path in [secret, *secret.rglob("*")]}
    swapper = subprocess.Popen(
        openssh_host.machine.command(
            sys.executable if openssh_host.machine.root == Path("/") else "/usr/bin/python3",
            "-c", _SWAPPER, f"/srv/sftp-portal/homes/{ours}/upload", str(uid), "/srv/secrets",
        )
    )  # fmt: skip
    stop, seen = threading.Event(), []
    try:
        reader = threading.Thread(target=_read_on, args=(openssh_host, ours, stop, seen))
        reader.start()
        claimed = [_claim_under_fire(openssh_host, ours, upload, uid) for _ in range(25)]
    finally:
        stop.set()
        for pid in Path(f"/proc/{swapper.pid}/task/{swapper.pid}/children").read_text().split() or [swapper.pid]:
            os.kill(int(pid), signal.SIGKILL)
        swapper.wait(30)
        reader.join()
    assert {path: numbers_of(path) for path in [secret, *secret.rglob("*")]} == before
    assert b"a secret" not in seen
    done = [path for path in claimed if path is not None]
    assert done, "no claim ever won against the swapper"
    for path in done:
        assert owners(openssh_host, ours, path) <= as_claimed(openssh_host, ours)
        assert not any(one.is_symlink() for one in path.rglob("*"))


def _claim_under_fire(host: OpensshHost, account: str, upload: Path, uid: int) -> Path | None:
    if not (upload / EPOCH).is_dir() and not (upload / "spare").is_dir():
        epoch = upload / f"new-{next(numbers)}"
        (epoch / "inner").mkdir(parents=True)
        for name in ("top", "inner.csv", "inner/more.csv"):
            (epoch / name).write_bytes(CONTENT)
        give(epoch, uid)
        (upload / EPOCH).unlink(missing_ok=True)
        os.rename(epoch, upload / EPOCH)
    for _ in range(200):
        told, claimed = claim(host, account)
        if "error" not in told:
            return claimed
        assert told["error"] in ("not-there", "not-safe", "already-there", "host-fault"), told
    return None


def _read_on(host: OpensshHost, account: str, stop: threading.Event, seen: list[bytes]) -> None:
    paths = [[EPOCH, "students.csv"], [EPOCH, "inner.csv"], [EPOCH, "inner", "more.csv"], [EPOCH, "top"]]
    wanted = [{"op": "read", "account": account, "path": path, "offset": 0, "length": 100} for path in paths]
    while not stop.is_set():
        for told in host.ask([*wanted, {"op": "look", "account": account}]):
            if "data" in told:
                seen.append(base64.b64decode(told["data"]))


# --- Slow clients ----------------------------------------------------------------------------------------------------


class slow_upload:
    """A client that has a file open for writing on the host, and sends no more of it."""

    def __init__(self, door: Door, there: str, directory: Path) -> None:
        large = directory / "large"
        with large.open("wb") as file:
            file.truncate(200 * 1024 * 1024)
        self._command = [*sftp_command(door, "-l", "800"), "-b", "-"]
        target = self._command.pop(-3)
        self._command.append(target)
        self._line = f"put {large} /upload/{there}\n".encode()

    def __enter__(self) -> subprocess.Popen[bytes]:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin is not None
        self._process.stdin.write(self._line)
        self._process.stdin.flush()
        return self._process

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait(30)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
