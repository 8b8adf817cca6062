"""The portal's side of a whole OpenSSH host: its files over SFTP, and its helper asked by way of them."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from hosts import helper, vault
from hosts.connect import dial
from hosts.core.errors import HostError, NotSafe, NotThere, Refused
from hosts.core.paths import HostPath, claimed, downloads, home, key_file, processed, upload, username
from hosts.files import EntryKind
from hosts.models import Host
from hosts.remote import RemoteFiles
from tests.hosts.clients import sftp

from .host import SERVICE, OpensshHost, numbers_of

numbers = itertools.count(200_001)  # other files' tests claim on the same host


@pytest.fixture(scope="module")
def files(openssh_host: OpensshHost) -> Iterator[RemoteFiles]:
    host = Host(
        name="whole",
        kind=Host.Kind.OPENSSH,
        address="127.0.0.1",
        port=openssh_host.port,
        username=SERVICE,
        host_key=openssh_host.host_key,
        client_key_sealed=vault.sealed(openssh_host.portal_key.read_bytes()).decode("ascii"),
    )
    files = RemoteFiles(lambda: dial(host))
    yield files
    files.close()


def test_a_pushed_key_file_opens_the_account(
    openssh_host: OpensshHost, files: RemoteFiles, ours: str, keys: Path
) -> None:
    line = Path(f"{keys / 'ours'}.pub").read_bytes()
    files.remove(key_file(username(ours)))
    assert sftp(openssh_host.door(ours, keys / "ours"), "ls").code != 0
    assert [error for _, error in files.write_many([(key_file(username(ours)), line)]) if error] == []
    assert files.read(key_file(username(ours)), 10_000) == line
    assert sftp(openssh_host.door(ours, keys / "ours"), "ls").code == 0
    numbers = (openssh_host.portal_uid, openssh_host.keys_gid, "0o640")
    assert numbers_of(openssh_host.root / "keys" / ours) == numbers
    entry = files.stat(key_file(username(ours)))
    assert entry is not None
    assert (entry.owner, entry.mode, entry.size) == (openssh_host.portal_uid, 0o640, len(line))


def test_an_upload_is_looked_at_read_claimed_and_put_back_as_processed(
    openssh_host: OpensshHost, files: RemoteFiles, ours: str, keys: Path, tmp_path: Path
) -> None:
    name = username(ours)
    (tmp_path / "users.csv").write_bytes(b"a,b\n" * 200_000)
    put = sftp(
        openssh_host.door(ours, keys / "ours"),
        "cd upload",
        "mkdir 20261122-020000",
        f"put {tmp_path / 'users.csv'} 20261122-020000/users.csv",
        "chmod 000 20261122-020000/users.csv",
        "chmod 700 20261122-020000",
    )
    assert put.code == 0, put.output
    epoch, mine = upload(name).child("20261122-020000"), claimed(next(numbers))
    assert [(one.name, one.kind) for one in files.listing(upload(name))] == [(epoch.name, EntryKind.DIRECTORY)]
    assert [(one.name, one.size, one.links) for one in files.listing(epoch)] == [("users.csv", 800_000, 1)]
    with files.open_read(epoch.child("users.csv")) as source:
        assert source.read(9) == b"a,b\na,b\na"
        source.seek(-4, os.SEEK_END)
        assert source.read() == b"a,b\n"
    assert files.open_writes(name) == ()
    for _ in range(2):
        files.rename(epoch, mine)
    assert files.listing(upload(name)) == () or files.stat(epoch) is None
    with files.open_read(mine.child("users.csv")) as source:
        assert source.read() == (tmp_path / "users.csv").read_bytes()
    files.write(mine.child("log.txt"), b"all well")
    files.rename(mine, processed(name).child("20261122-020000"))
    got = sftp(
        openssh_host.door(ours, keys / "ours"), f"get /upload-processed/20261122-020000/log.txt {tmp_path / 'got'}"
    )
    assert got.code == 0, got.output
    assert (tmp_path / "got").read_bytes() == b"all well"
    files.remove_tree(processed(name).child("20261122-020000"))
    assert files.listing(processed(name)) == ()


def test_two_helpers_never_work_at_once(openssh_host: OpensshHost, files: RemoteFiles, ours: str) -> None:
    """Both would begin the same claim, and the slower one answer that there is nothing to claim."""
    first = openssh_host.helper
    openssh_host.helper_start()
    second = openssh_host.helper
    try:
        for number in range(30):
            epoch = openssh_host.upload(ours) / f"epoch-{number}"
            epoch.mkdir()
            files.rename(upload(username(ours)).child(epoch.name), claimed(next(numbers)))
    finally:
        openssh_host.helper = first
        openssh_host.helper_stop()
        openssh_host.helper = second
    assert helper.about(files).accounts >= 1


def test_downloads_can_be_read_by_the_district_and_its_upload_not_written_by_us(
    openssh_host: OpensshHost, files: RemoteFiles, ours: str, keys: Path, tmp_path: Path
) -> None:
    name = username(ours)
    files.write(downloads(name).child("pdfs").child("a.pdf"), b"%PDF")
    got = sftp(openssh_host.door(ours, keys / "ours"), f"get /downloads/pdfs/a.pdf {tmp_path / 'got'}")
    assert got.code == 0, got.output
    with pytest.raises(NotSafe):
        files.write(upload(name).child("file"), b"x")
    with pytest.raises(Refused):
        files.write(home(name).child("file"), b"x")


def test_the_portal_is_shut_in(files: RemoteFiles) -> None:
    assert {entry.name for entry in files.listing(HostPath())} >= {"keys", "homes", "claimed", "requests", "answers"}
    assert files.stat(HostPath(("etc", "passwd"))) is None
    with pytest.raises((Refused, NotThere)):
        files.write(HostPath(("etc", "passwd")), b"x")


def test_the_helper_tells_of_its_machine_and_ends_no_session_of_nobody(
    openssh_host: OpensshHost, files: RemoteFiles, ours: str
) -> None:
    told = helper.about(files)
    assert told.openssh.startswith("OpenSSH_")
    assert told.accounts >= 1
    assert told.keys_group == openssh_host.keys_gid
    assert helper.end(files, username(ours)) == 0
    with pytest.raises(HostError):
        helper.look(files, username("nobody.k12.oh.us"))


def test_accounts_are_made_by_the_portals_list(openssh_host: OpensshHost, files: RemoteFiles, ours: str) -> None:
    openssh_host.wished["made-by-portal.k12.oh.us"] = openssh_host.number()
    wanted = [(username(name), uid) for name, uid in openssh_host.wished.items()]
    made = helper.accounts(files, wanted)
    assert made.made == ("made-by-portal.k12.oh.us",)
    assert (made.refused, made.removed) == ((), ())
    assert files.stat(upload(username("made-by-portal.k12.oh.us"))) is not None
    others = [(name, uid) for name, uid in wanted if name != ours]
    again = helper.accounts(files, [(username(ours), openssh_host.number()), *others])
    assert [(name, bool(error.code)) for name, error in again.refused] == [(ours, True)]
    assert (again.made, again.removed) == ((), ())
