"""The programs districts use, against both kinds of host: the same rows, the same account, and one table of it all.

The table is written to test-results/clients.txt and printed at the end. A cell says what came of it: `works`,
`refused`, or `-` with the reason why this client cannot be asked.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.hosts.clients import Door, Ran, program, rclone, scp, sftp
from tests.hosts.serving import Serving, public_line
from tests.parallel import TOLD

from .host import REPOSITORY, OpensshHost
from .suite import (
    CLIENTS,
    HOSTS,
    NOT_LET_IN,
    PROBED,
    PROGRAMS,
    Cell,
    Embedded,
    Openssh,
    SftpClient,
    Side,
    Table,
    asked,
)

OURS = "smithville.k12.oh.us"
CONTENT = b"student_id,grade\n1,5\n" * 4000
LONG_AGO = 1_000_000_000  # 9 September 2001
WORKS, REFUSED = "works", "refused"
# What opens each account: options before the key `ours`.
LINES = {
    OURS: "",
    "expired.k12.oh.us": 'expiry-time="20200101" ',
    "elsewhere.k12.oh.us": 'from="10.0.0.0/8" ',
    "unknown.k12.oh.us": "no-such-option ",
    "command.k12.oh.us": 'command="/bin/sh" ',
    "quoted.k12.oh.us": 'from="127.0.0.1,*\\" ssh-ed25519 ",command="/bin/sh" ',
}
_numbers = count(1)


# --- What a row is asked on -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bench:
    """One cell at work: a client, a host, and a name that no other cell has."""

    client: SftpClient
    side: Side
    keys: Path
    here: Path
    name: str

    @property
    def door(self) -> Door:
        return self.side.door(OURS, self.keys / "ours")

    @property
    def home(self) -> Path:
        return self.side.home(OURS)

    def lay(self, path: str, content: bytes = CONTENT) -> Path:
        return self.side.lay(OURS, path, content)

    def on_disk(self, path: str) -> Path:
        return self.home / path.lstrip("/")

    def tree(self) -> dict[str, tuple[object, ...]]:
        """All that lies in the home, with what can be seen of it."""
        found = {}
        for path in [self.home, *self.home.rglob("*")]:
            status = path.lstat()
            content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
            numbers = (status.st_mode, status.st_uid, status.st_gid, status.st_nlink)
            found[str(path)] = (*numbers, hashlib.sha256(content).digest())
        return found


def worked(ran: Ran) -> str:
    assert ran.code == 0, ran.output
    return WORKS


def refused(bench: Bench, ask: Callable[[], Ran]) -> str:
    """The client is told of it, and nothing has changed."""
    before = bench.tree()
    ran = ask()
    assert ran.code != 0, ran.output
    assert bench.tree() == before
    return REFUSED


@dataclass(frozen=True, slots=True)
class Action:
    """A row: the client's method that it needs, and what must come of it."""

    name: str
    needs: str
    ask: Callable[[Bench], str]


ACTIONS: list[Action] = []


def action(name: str, needs: str) -> Callable[[Callable[[Bench], str]], Callable[[Bench], str]]:
    def noted(ask: Callable[[Bench], str]) -> Callable[[Bench], str]:
        ACTIONS.append(Action(name, needs, ask))
        return ask

    return noted


# --- Signing in ------------------------------------------------------------------------------------------------------


@action("sign in with the right key", "names")
def right_key(bench: Bench) -> str:
    return worked(bench.client.names(bench.door, "/"))


def not_let_in(bench: Bench, account: str = OURS, key: str = "ours") -> str:
    ran = bench.client.names(bench.side.door(account, bench.keys / key), "/")
    assert ran.code != 0, ran.output
    assert NOT_LET_IN not in ran.output
    return REFUSED


@action("sign in with another key", "names")
def wrong_key(bench: Bench) -> str:
    return not_let_in(bench, key="stranger")


@action("key line expired", "names")
def expired(bench: Bench) -> str:
    return not_let_in(bench, "expired.k12.oh.us")


@action("key line for another network", "names")
def another_network(bench: Bench) -> str:
    return not_let_in(bench, "elsewhere.k12.oh.us")


@action("key line with an unknown option", "names")
def unknown_option(bench: Bench) -> str:
    return not_let_in(bench, "unknown.k12.oh.us")


@action("key line with an option of sshd's that is not ours", "names")
def foreign_option(bench: Bench) -> str:
    return not_let_in(bench, "command.k12.oh.us")


@action("key line with such an option behind a quote that does not end", "names")
def hidden_option(bench: Bench) -> str:
    return not_let_in(bench, "quoted.k12.oh.us")


# --- Looking and fetching --------------------------------------------------------------------------------------------


@action("list the root: three places", "names")
def list_root(bench: Bench) -> str:
    ran = bench.client.names(bench.door, "/")
    worked(ran)
    words = {word.strip("/") for line in ran.output.splitlines() for word in line.split()[-1:]}
    assert words >= {"upload", "upload-processed", "downloads"}, ran.output
    assert not words & {"homes", "keys", "log", "etc", "srv"}, ran.output
    return WORKS


def fetched(bench: Bench, path: str, content: bytes = CONTENT) -> str:
    back = bench.here / "back"
    worked(bench.client.get(bench.door, path, back))
    assert back.read_bytes() == content
    return WORKS


@action("get from /downloads", "get")
def get_download(bench: Bench) -> str:
    bench.lay(f"/downloads/pdfs/{bench.name}.pdf")
    return fetched(bench, f"/downloads/pdfs/{bench.name}.pdf")


@action("get from /upload-processed", "get")
def get_processed(bench: Bench) -> str:
    bench.lay(f"/upload-processed/{bench.name}/log.txt")
    return fetched(bench, f"/upload-processed/{bench.name}/log.txt")


# --- Uploading -------------------------------------------------------------------------------------------------------


def local(bench: Bench, content: bytes = CONTENT, name: str = "students.csv") -> Path:
    path = bench.here / name
    path.write_bytes(content)
    return path


def is_there(bench: Bench, path: str, content: bytes = CONTENT) -> str:
    assert bench.on_disk(path).read_bytes() == content
    return WORKS


@action("put into /upload", "put")
def put(bench: Bench) -> str:
    path = f"/upload/{bench.name}.csv"
    worked(bench.client.put(bench.door, local(bench), path))
    return is_there(bench, path)


@action("put over what is there", "put")
def put_over(bench: Bench) -> str:
    path = f"/upload/{bench.name}.csv"
    bench.lay(path, b"older and longer" * 10_000)
    worked(bench.client.put(bench.door, local(bench), path))
    return is_there(bench, path)


@action("put, and its time", "put_with_times")
def put_with_times(bench: Bench) -> str:
    path, here = f"/upload/{bench.name}.csv", local(bench)
    os.utime(here, (LONG_AGO, LONG_AGO))
    worked(bench.client.put_with_times(bench.door, here, path))
    is_there(bench, path)
    return "kept" if bench.on_disk(path).stat().st_mtime == LONG_AGO else "ignored"


@action("put a directory", "put_tree")
def put_tree(bench: Bench) -> str:
    epoch = bench.here / bench.name
    (epoch / "inner").mkdir(parents=True)
    for number, name in enumerate(["users.csv", "inner/photos.csv", "COMPLETE"]):
        (epoch / name).write_bytes(CONTENT * number)
    worked(bench.client.put_tree(bench.door, epoch, f"/upload/{bench.name}"))
    made = bench.on_disk(f"/upload/{bench.name}")
    assert {str(path.relative_to(made)) for path in made.rglob("*")} == {
        "users.csv", "inner", "inner/photos.csv", "COMPLETE",
    }  # fmt: skip
    assert (made / "inner/photos.csv").read_bytes() == CONTENT
    return WORKS


@action("take a broken upload up again", "resume")
def resume(bench: Bench) -> str:
    """What is there already is not sent again: it differs from the file here, and stays."""
    path, done = f"/upload/{bench.name}.csv", b"#" * 30_000
    bench.lay(path, done)
    worked(bench.client.resume(bench.door, local(bench), path))
    return is_there(bench, path, done + CONTENT[len(done) :])


@action("20 MB, whole by digest, there and back", "put")
def big_file(bench: Bench) -> str:
    here, path, back = bench.here / "big.bak", f"/upload/{bench.name}.bak", bench.here / "back"
    here.write_bytes(os.urandom(20_000_003))
    worked(bench.client.put(bench.door, here, path))
    worked(bench.client.get(bench.door, path, back))
    assert digest(here) == digest(bench.on_disk(path)) == digest(back)
    bench.on_disk(path).unlink()
    return WORKS


def digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


@action("a name with blanks and umlauts", "put")
def odd_name(bench: Bench) -> str:
    path = f"/upload/{bench.name} Schüler Größe 7.csv"
    worked(bench.client.put(bench.door, local(bench), path))
    is_there(bench, path)
    return fetched(bench, path)


@action("a name of 255 bytes", "put")
def long_name(bench: Bench) -> str:
    path = f"/upload/{bench.name.ljust(251, 'x')}.csv"
    worked(bench.client.put(bench.door, local(bench), path))
    return is_there(bench, path)


@action("a name of 256 bytes", "put")
def too_long_name(bench: Bench) -> str:
    path = f"/upload/{bench.name.ljust(252, 'x')}.csv"
    return refused(bench, lambda: bench.client.put(bench.door, local(bench), path))


# --- Changing --------------------------------------------------------------------------------------------------------


@action("make a directory in /upload", "mkdir")
def mkdir(bench: Bench) -> str:
    worked(bench.client.mkdir(bench.door, f"/upload/{bench.name}"))
    assert bench.on_disk(f"/upload/{bench.name}").is_dir()
    return WORKS


@action("remove a directory in /upload", "rmdir")
def rmdir(bench: Bench) -> str:
    bench.lay(f"/upload/{bench.name}/x").unlink()
    worked(bench.client.rmdir(bench.door, f"/upload/{bench.name}"))
    assert not bench.on_disk(f"/upload/{bench.name}").exists()
    return WORKS


@action("remove a file in /upload", "remove")
def remove(bench: Bench) -> str:
    laid = bench.lay(f"/upload/{bench.name}.csv")
    worked(bench.client.remove(bench.door, f"/upload/{bench.name}.csv"))
    assert not laid.exists()
    return WORKS


@action("rename within /upload", "rename")
def rename(bench: Bench) -> str:
    """As WinSCP ends an upload."""
    old, new = f"/upload/{bench.name}.csv.filepart", f"/upload/{bench.name}.csv"
    laid = bench.lay(old)
    worked(bench.client.rename(bench.door, old, new))
    assert not laid.exists()
    return is_there(bench, new)


@action("change modes in /upload", "chmod")
def chmod(bench: Bench) -> str:
    bench.lay(f"/upload/{bench.name}.csv")
    return worked(bench.client.chmod(bench.door, 0o600, f"/upload/{bench.name}.csv"))


# --- What is refused -------------------------------------------------------------------------------------------------


@action("put into /downloads", "put")
def put_into_downloads(bench: Bench) -> str:
    return refused(bench, lambda: bench.client.put(bench.door, local(bench), f"/downloads/{bench.name}.csv"))


@action("put into /upload-processed", "put")
def put_into_processed(bench: Bench) -> str:
    return refused(bench, lambda: bench.client.put(bench.door, local(bench), f"/upload-processed/{bench.name}.csv"))


@action("put into /", "put")
def put_into_root(bench: Bench) -> str:
    return refused(bench, lambda: bench.client.put(bench.door, local(bench), f"/{bench.name}.csv"))


@action("make a directory in /", "mkdir")
def mkdir_in_root(bench: Bench) -> str:
    return refused(bench, lambda: bench.client.mkdir(bench.door, f"/{bench.name}"))


@action("remove /upload itself", "rmdir")
def rmdir_upload(bench: Bench) -> str:
    return refused(bench, lambda: bench.client.rmdir(bench.door, "/upload"))


@action("rename a download into /upload", "rename")
def take_download(bench: Bench) -> str:
    path = f"/downloads/pdfs/{bench.name}.pdf"
    bench.lay(path)
    return refused(bench, lambda: bench.client.rename(bench.door, path, f"/upload/{bench.name}.pdf"))


@action("remove in /upload-processed", "remove")
def remove_processed(bench: Bench) -> str:
    path = f"/upload-processed/{bench.name}/log.txt"
    bench.lay(path)
    return refused(bench, lambda: bench.client.remove(bench.door, path))


@action("change modes in /upload-processed", "chmod")
def chmod_processed(bench: Bench) -> str:
    path = f"/upload-processed/{bench.name}/log.txt"
    bench.lay(path)
    return refused(bench, lambda: bench.client.chmod(bench.door, 0o777, path))


@action("make a symbolic link", "symlink")
def symlink(bench: Bench) -> str:
    bench.lay(f"/upload/{bench.name}.csv")
    ask = (bench.door, f"/upload/{bench.name}.csv", f"/upload/{bench.name}.link")
    return refused(bench, lambda: bench.client.symlink(*ask))


@action("make a hard link", "hardlink")
def hardlink(bench: Bench) -> str:
    bench.lay(f"/upload/{bench.name}.csv")
    ask = (bench.door, f"/upload/{bench.name}.csv", f"/upload/{bench.name}.link")
    return refused(bench, lambda: bench.client.hardlink(*ask))


# --- Links that somebody else has laid -------------------------------------------------------------------------------


@contextmanager
def trap(bench: Bench) -> Iterator[tuple[str, Path]]:
    """Links in /upload to a directory and a file outside the home; the directory's path, and the file they lead to."""
    secret = bench.here / "outside" / "secret.csv"
    secret.parent.mkdir()
    secret.write_bytes(b"secret")
    for path in (secret.parent, secret):
        path.chmod(0o777)
    to_file, to_directory = (bench.on_disk(f"/upload/{bench.name}.{kind}") for kind in ("csv", "dir"))
    to_file.symlink_to(secret)
    to_directory.symlink_to(secret.parent)
    yield f"/upload/{bench.name}", secret
    assert secret.read_bytes() == b"secret"
    assert [path.name for path in secret.parent.iterdir()] == ["secret.csv"]


@action("get by a link out of the home", "get")
def get_by_link(bench: Bench) -> str:
    with trap(bench) as (name, _):
        for path in (f"{name}.csv", f"{name}.dir/secret.csv"):
            back = bench.here / "back"
            bench.client.get(bench.door, path, back)
            assert not back.exists() or b"secret" not in back.read_bytes()
    return REFUSED


@action("put by a link out of the home", "put")
def put_by_link(bench: Bench) -> str:
    with trap(bench) as (name, _):
        for path in (f"{name}.dir/new.csv", f"{name}.dir/secret.csv", f"{name}.csv"):
            bench.client.put(bench.door, local(bench), path)
    return REFUSED


@action("list by a link out of the home", "names")
def list_by_link(bench: Bench) -> str:
    with trap(bench) as (name, secret):
        assert secret.name not in bench.client.names(bench.door, f"{name}.dir").output
    return REFUSED


# --- Nothing but SFTP ------------------------------------------------------------------------------------------------


def nothing_run(bench: Bench, ask: Callable[[], Ran]) -> str:
    before = bench.tree()
    ran = ask()
    assert PROBED not in ran.output
    assert bench.tree() == before
    return REFUSED


@action("a shell", "shell")
def shell(bench: Bench) -> str:
    return nothing_run(bench, lambda: bench.client.shell(bench.door))


@action("run a program", "program")
def run_program(bench: Bench) -> str:
    return nothing_run(bench, lambda: bench.client.program(bench.door))


@action("the old scp", "old_scp")
def old_scp(bench: Bench) -> str:
    path = f"/upload/{bench.name}.csv"
    return refused(bench, lambda: bench.client.old_scp(bench.door, local(bench), path))


@action("forward a port", "forward")
def forward(bench: Bench) -> str:
    ran = bench.client.forward(bench.door, bench.door.port)
    assert ran.code != 0
    assert "SSH-2.0" not in ran.output
    return REFUSED


# --- The rows ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    """Filled by the tests below; written and told when the last of them has run."""
    table = Table(one.name for one in ACTIONS)
    yield table
    text = table.text()
    results = REPOSITORY / "test-results"
    results.mkdir(exist_ok=True)
    (results / "clients.txt").write_text(f"{text}\n", encoding="utf-8")
    TOLD.append(f"Clients against both kinds of host:\n{text}")


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Side]:
    serving = Serving(tmp_path_factory.mktemp("embedded") / "sftp")
    yield _with_accounts(Embedded(serving), keys)
    serving.stop()


@pytest.fixture(scope="module")
def openssh(openssh_host: OpensshHost, keys: Path) -> Side:
    return _with_accounts(Openssh(openssh_host), keys)


def _with_accounts(side: Side, keys: Path) -> Side:
    for account, options in LINES.items():
        side.admit(account, options + public_line(keys / "ours"))
    return side


@pytest.fixture(autouse=True)
def _names_in_utf8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
@pytest.mark.parametrize("row", ACTIONS, ids=lambda row: row.name)
def test_a_client_and_a_host_do_what_the_row_says(
    row: Action, client: SftpClient, host: str, table: Table, keys: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    side: Side = request.getfixturevalue(host)
    cell = Cell(row.name, client.name, host)
    if row.needs in client.cannot:
        table.cannot(cell, client.cannot[row.needs])
        return
    table.words[cell] = "FAILED"
    bench = Bench(client, side, keys, tmp_path, f"{client.name}-{next(_numbers)}-")
    table.words[cell] = row.ask(bench)
    side.sweep(OURS, bench.name)


@pytest.mark.usefixtures("embedded", "openssh")
def test_no_cell_of_the_table_is_empty(table: Table) -> None:
    for name in PROGRAMS:
        program(name)
    assert table.empty() == []
    assert set(table.words.values()) <= {WORKS, REFUSED, "kept", "ignored", "-"}


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_what_a_client_is_said_not_to_do_it_has_no_way_to_do(client: SftpClient) -> None:
    for name in vars(SftpClient):
        has = getattr(type(client), name) is not getattr(SftpClient, name)
        if name in client.cannot:
            assert not has, f"{client.name}: {name}"
        elif not name.startswith("_") and callable(getattr(SftpClient, name)):
            assert has, f"{client.name}: {name}"


# --- Sites that refuse times ------------------------------------------------------------------------------------------

SAY_SO = {"rclone", "paramiko"}  # and WinSCP; sftp says it and is content, lftp says nothing


@pytest.fixture(scope="module")
def strict_embedded(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[Side]:
    serving = Serving(tmp_path_factory.mktemp("strict") / "sftp", "--refuse-times")
    yield _with_accounts(Embedded(serving), keys)
    serving.stop()


@pytest.fixture(scope="module")
def strict_openssh(openssh: Openssh) -> Iterator[Side]:
    told = openssh.host.install("--refuse-times", "on")
    assert told.code == 0, told.output
    try:
        with openssh.host.fresh_sshd() as port:
            yield Openssh(openssh.host, port)
    finally:
        openssh.host.install("--refuse-times", "off")


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_where_times_are_refused_uploads_are_whole(
    client: SftpClient, host: str, keys: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    side: Side = request.getfixturevalue(f"strict_{host}")
    bench = Bench(client, side, keys, tmp_path, f"{client.name}-{next(_numbers)}-")
    path, here = f"/upload/{bench.name}.csv", local(bench)
    os.utime(here, (LONG_AGO, LONG_AGO))
    ask = client.put if "put_with_times" in client.cannot else client.put_with_times
    ran = ask(bench.door, here, path)
    is_there(bench, path)
    assert bench.on_disk(path).stat().st_mtime != LONG_AGO
    assert (ran.code != 0) is (client.name in SAY_SO), ran.output
    side.sweep(OURS, bench.name)


@pytest.mark.parametrize("host", HOSTS)
def test_where_times_are_refused_rclone_can_be_told_so(
    host: str, keys: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    side: Side = request.getfixturevalue(f"strict_{host}")
    here = tmp_path / "students.csv"
    here.write_bytes(CONTENT)
    where = ":/upload/told.csv"
    worked(rclone(side.door(OURS, keys / "ours"), "copyto", "--sftp-set-modtime=false", str(here), where))
    side.sweep(OURS, "told.csv")


@pytest.mark.parametrize("host", HOSTS)
def test_a_session_starts_where_the_three_places_are_seen(
    host: str, keys: Path, request: pytest.FixtureRequest
) -> None:
    """Scripts say `cd upload`."""
    side: Side = request.getfixturevalue(host)
    ran = asked(side.door(OURS, keys / "ours"), lambda raw: (raw.normalize("."), raw.listdir("upload") and "")[0])
    assert ran == Ran(0, "/")


@pytest.mark.parametrize("host", HOSTS)
def test_what_is_in_a_directory_is_put_into_upload_itself_without_a_complaint(
    host: str, keys: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """sftp and scp then set the modes, and with -p the times, of /upload itself."""
    side: Side = request.getfixturevalue(host)
    (tmp_path / "night/inner").mkdir(parents=True)
    (tmp_path / "night/inner/direct.csv").write_bytes(CONTENT)
    door, here = side.door(OURS, keys / "ours"), f"{tmp_path}/night/."
    for ran in (
        sftp(door, f"put -r {here} /upload"),
        sftp(door, f"put -rp {here} /upload"),
        scp(door, "-rp", here, ":/upload", options=("-s",)),
        sftp(door, "chmod 700 /upload"),
    ):
        assert (ran.code, "denied" in ran.output) == (0, False), ran.output
    assert (side.home(OURS) / "upload/inner/direct.csv").read_bytes() == CONTENT
    side.sweep(OURS, "inner")


@pytest.mark.parametrize("host", HOSTS)
def test_no_host_makes_copies_by_itself(host: str, keys: Path, request: pytest.FixtureRequest) -> None:
    side: Side = request.getfixturevalue(host)
    side.lay(OURS, "/upload/once.csv", CONTENT)
    ran = sftp(side.door(OURS, keys / "ours"), "cp /upload/once.csv /upload/twice.csv")
    assert (ran.code, "copy-data" in ran.output) == (1, True), ran.output
    assert not (side.home(OURS) / "upload/twice.csv").exists()
    side.sweep(OURS, "once.csv")


@pytest.mark.parametrize(("host", "code"), [("embedded", 0), ("openssh", 1)])
def test_only_sshd_keeps_modes_so_a_read_only_file_is_sent_once(
    host: str, code: int, keys: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Where the hosts differ: sshd cannot be told to leave modes alone (README.md)."""
    side: Side = request.getfixturevalue(host)
    door, half, whole = side.door(OURS, keys / "ours"), tmp_path / "half.csv", tmp_path / "whole.csv"
    for here, content in ((half, CONTENT[:1000]), (whole, CONTENT)):
        here.write_bytes(content)
        here.chmod(0o444)
    worked(sftp(door, f"put {half} /upload/read-only.csv"))
    again = [sftp(door, f"{word} {whole} /upload/read-only.csv") for word in ("reput", "put")]
    assert [ran.code for ran in again] == [code, code], again
    worked(sftp(door, "rm /upload/read-only.csv", f"put {whole} /upload/read-only.csv"))
    side.sweep(OURS, "read-only.csv")
