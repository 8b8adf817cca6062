"""The embedded host as a process, and the programs districts use against it."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import paramiko
import pytest
from asyncssh import SFTPAttrs, SFTPPermissionDenied
from asyncssh.constants import FXF_TRUNC, FXF_WRITE

from hosts.connlog import Event
from hosts.core.events import Kind
from hosts.core.paths import Username, key_file, username
from hosts.core.tree import Parts
from hosts.session import DistrictTree, OpenWrites

from .clients import (
    CLIENTS,
    Client,
    Door,
    curl,
    lftp,
    paramiko_client,
    psftp,
    rclone,
    run,
    scp,
    sftp,
    sftp_command,
    ssh,
)
from .conftest import OURS, THEIRS
from .serving import PATIENCE, Serving, key_fingerprint, key_pair, public_line, until

EPOCH = "/upload/20261122-020000"
every_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)


@pytest.fixture
def big(tmp_path: Path) -> Path:
    path = tmp_path / "big.csv"
    path.write_bytes(os.urandom(3_000_017))
    return path


@pytest.fixture
def raw(door: Door) -> Iterator[paramiko.SFTPClient]:
    with paramiko_client(door) as client:
        yield client.open_sftp()


# Uploads and downloads


@every_client
def test_a_file_goes_up_is_listed_and_comes_back(client: Client, host: Serving, door: Door, big: Path) -> None:
    assert sftp(door, f"mkdir {EPOCH}").code == 0
    put = client.put(door, big, f"{EPOCH}/users.csv")
    assert put.code == 0, put.output
    assert (host.home(OURS) / EPOCH[1:] / "users.csv").read_bytes() == big.read_bytes()
    listed = client.names(door, EPOCH)
    assert "users.csv" in listed.output, listed.output
    back = big.with_name("back.csv")
    get = client.get(door, f"{EPOCH}/users.csv", back)
    assert get.code == 0, get.output
    assert back.read_bytes() == big.read_bytes()


@every_client
def test_nothing_can_be_put_outside_upload(client: Client, host: Serving, door: Door, big: Path) -> None:
    before = {str(path) for path in host.root.rglob("*")}
    for place in ("/x.csv", "/downloads/x.csv", "/downloads/pdfs/x.csv", "/upload-processed/x.csv", "/.ssh/x"):
        put = client.put(door, big, place)
        assert put.code != 0, put.output
    new = {str(path) for path in host.root.rglob("*")} - before
    assert {Path(path).relative_to(host.root).parts[0] for path in new} <= {"log"}


@every_client
def test_downloads_can_be_read(client: Client, host: Serving, door: Door, big: Path) -> None:
    (host.home(OURS) / "downloads" / "old.zip").write_bytes(b"archive")
    back = big.with_name("back.zip")
    get = client.get(door, "/downloads/old.zip", back)
    assert get.code == 0, get.output
    assert back.read_bytes() == b"archive"


def test_exactly_three_places_are_seen(host: Serving, door: Door) -> None:
    (host.home(OURS) / "elsewhere").mkdir()
    assert sftp(door, "ls -1a /").output.split("\n")[1:-1] == [
        "/.",
        "/..",
        "/downloads",
        "/upload",
        "/upload-processed",
    ]
    assert "not found" in sftp(door, "ls /elsewhere").output
    for escape in ("../../keys", "/../../keys", f"/upload/../../{THEIRS}/upload", "/homes"):
        assert sftp(door, f"ls {escape}").code != 0


def test_upload_takes_every_change(host: Serving, door: Door, big: Path) -> None:
    done = sftp(
        door,
        f"mkdir {EPOCH}",
        f"put -p {big} {EPOCH}/users.csv.filepart",
        f"rename {EPOCH}/users.csv.filepart {EPOCH}/users.csv",
        f"put {big} {EPOCH}/again.csv",
        f"put {big} {EPOCH}/again.csv",
        f"put -f {big} {EPOCH}/flushed.csv",
        f"chmod 777 {EPOCH}/users.csv",
        f"mkdir {EPOCH}/inner",
        f"rename {EPOCH}/inner /upload/outer",
        "rmdir /upload/outer",
        f"rm {EPOCH}/again.csv",
        "df",
        f"rename {EPOCH} /upload/20261123-020000",
    )
    assert done.code == 0, done.output
    epoch = host.home(OURS) / "upload" / "20261123-020000"
    assert {path.name for path in epoch.iterdir()} == {"users.csv", "flushed.csv"}
    assert epoch.stat().st_mode & 0o777 == 0o700
    assert (epoch / "users.csv").stat().st_mode & 0o777 == 0o600


def test_a_broken_upload_is_taken_up_again(host: Serving, door: Door, big: Path) -> None:
    (host.home(OURS) / "upload" / "users.csv").write_bytes(big.read_bytes()[:1_000_000])
    done = sftp(door, f"reput {big} /upload/users.csv")
    assert done.code == 0, done.output
    assert (host.home(OURS) / "upload" / "users.csv").read_bytes() == big.read_bytes()


def test_whole_directories_go_up_with_the_clients_own_ways(host: Serving, door: Door, tmp_path: Path) -> None:
    epoch = tmp_path / "20261122-020000"
    epoch.mkdir()
    for number in range(20):
        (epoch / f"file-{number}.csv").write_bytes(b"x" * number * 5000)
    for ran in (
        sftp(door, f"put -R {epoch} /upload/a"),
        psftp(door, f"put -r {epoch} /upload/b"),
        lftp(door, f"mirror -R {epoch} /upload/c"),
        rclone(door, "copy", str(epoch), ":/upload/d"),
        rclone(door, "sync", str(epoch), ":/upload/d"),
    ):
        assert ran.code == 0, ran.output
    for name in "abcd":
        made = host.home(OURS) / "upload" / name
        assert {path.name: path.read_bytes() for path in made.iterdir()} == {
            path.name: path.read_bytes() for path in epoch.iterdir()
        }


@pytest.mark.parametrize(
    "line",
    [
        "chmod 777 /",
        "chmod 777 /downloads",
        "chmod 777 /downloads/old.zip",
        "chmod 777 /upload-processed",
        "mkdir /new",
        "mkdir /downloads/new",
        "mkdir /upload-processed/new",
        "rm /downloads/old.zip",
        "rmdir /upload",
        "rmdir /upload-processed",
        "rmdir /downloads",
        "rmdir /downloads/pdfs",
        "rename /upload /upload2",
        "rename /upload/mine /downloads/mine",
        "rename /upload/mine /mine",
        "rename /downloads/old.zip /upload/old.zip",
        "rename /downloads/old.zip /downloads/new.zip",
        "rename /upload/mine /upload",
    ],
)
def test_everything_else_is_denied(line: str, host: Serving, door: Door) -> None:
    (host.home(OURS) / "upload" / "mine").write_bytes(b"mine")
    (host.home(OURS) / "downloads" / "old.zip").write_bytes(b"archive")
    before = {path: path.stat().st_mode for path in host.home(OURS).rglob("*")}
    done = sftp(door, line)
    assert done.code == 1
    assert "ermission denied" in done.output
    assert {path: path.stat().st_mode for path in host.home(OURS).rglob("*")} == before


def test_a_plain_rename_does_not_overwrite_and_posix_rename_does(raw: paramiko.SFTPClient) -> None:
    for name in ("a", "b"):
        with raw.open(f"/upload/{name}", "w") as file:
            file.write(name.encode())
    with pytest.raises(OSError, match="already"):
        raw.rename("/upload/a", "/upload/b")
    raw.posix_rename("/upload/a", "/upload/b")
    assert raw.open("/upload/b").read() == b"a"


def test_sizes_and_times_are_set_and_modes_and_owners_are_taken_and_ignored(
    host: Serving, raw: paramiko.SFTPClient
) -> None:
    with raw.open("/upload/file", "w") as file:
        file.write(b"123456789")
        file.truncate(5)
        file.utime((1, 1))
        file.chmod(0o777)
        file.chown(0, 0)
    status = (host.home(OURS) / "upload" / "file").stat()
    assert (status.st_size, status.st_mtime) == (5, 1)
    raw.truncate("/upload/file", 3)
    raw.utime("/upload/file", (1_000_000, 1_000_001))
    raw.chmod("/upload/file", 0)
    raw.chown("/upload/file", 1, 1)
    status = (host.home(OURS) / "upload" / "file").stat()
    assert (status.st_size, status.st_mode & 0o777) == (3, 0o600)
    assert (status.st_atime, status.st_mtime) == (1_000_000, 1_000_001)


def test_what_was_taken_over_is_changed_by_no_handle_that_stayed_open(host: Serving, raw: paramiko.SFTPClient) -> None:
    """While it is processed, and when it lies in /upload-processed/."""
    raw.mkdir(EPOCH)
    old, claimed = host.home(OURS) / EPOCH[1:], host.root / "claimed" / "7"
    with raw.open(f"{EPOCH}/users.csv", "w") as file:
        file.write(b"as it was")
        for place in (claimed, host.home(OURS) / "upload-processed" / "20261122-020000"):
            old.rename(place)
            lies = place / "users.csv"
            before = lies.stat()
            for change in (lambda: file.write(b"late"), lambda: file.truncate(2), lambda: file.utime((1, 1))):
                with pytest.raises(PermissionError, match="taken over"):
                    change()
            assert (lies.read_bytes(), lies.stat()) == (b"as it was", before)
            old = place
        assert file.stat().st_size == 9


def test_a_file_goes_on_being_written_when_it_or_its_directory_gets_another_name(
    host: Serving, raw: paramiko.SFTPClient
) -> None:
    raw.mkdir(EPOCH)
    with raw.open(f"{EPOCH}/users.csv.part", "w") as file:
        file.write(b"one,")
        raw.rename(f"{EPOCH}/users.csv.part", f"{EPOCH}/users.csv")
        file.write(b"two,")
        raw.rename(EPOCH, "/upload/20261123-020000")
        file.write(b"three")
        raw.remove("/upload/20261123-020000/users.csv")
        file.write(b"four")
        assert file.stat().st_size == 17


def test_nothing_is_cut_off_before_it_is_told_that_it_is_open(tmp_path: Path) -> None:
    """Who claims renames first and asks then: what was opened before that is told, what is told later cuts nothing."""
    home, taken = tmp_path / "homes" / OURS / "upload" / "night", tmp_path / "claimed" / "7"
    home.mkdir(parents=True)
    taken.parent.mkdir()
    (home / "users.csv").write_bytes(b"whole")
    root = os.open(tmp_path, os.O_RDONLY)
    told: list[str] = []

    class Claiming(OpenWrites):
        def opened(self, account: Username, handle: int, parts: Parts) -> None:
            super().opened(account, handle, parts)
            told.append((tmp_path / "open" / account).read_text())
            home.rename(taken)

    tree = DistrictTree(None, root=root, account=username(OURS), writes=Claiming(root))
    with pytest.raises(SFTPPermissionDenied, match="taken over"):
        tree.open(b"/upload/night/users.csv", FXF_WRITE | FXF_TRUNC, SFTPAttrs())
    assert ((taken / "users.csv").read_bytes(), told) == (b"whole", ["night/users.csv\n"])
    assert list((tmp_path / "open").iterdir()) == []
    taken.rename(home)
    with pytest.raises(SFTPPermissionDenied, match="taken over"):
        tree.setstat(b"/upload/night/users.csv", SFTPAttrs(size=0))
    assert (taken / "users.csv").read_bytes() == b"whole"
    assert list((tmp_path / "open").iterdir()) == []
    os.close(root)


def test_a_handle_that_is_open_for_reading_changes_nothing(host: Serving, raw: paramiko.SFTPClient) -> None:
    (host.home(OURS) / "downloads" / "old.zip").write_bytes(b"archive")
    with raw.open("/downloads/old.zip", "r") as file:
        for change in (lambda: file.truncate(0), lambda: file.utime((1, 1))):
            with pytest.raises(PermissionError):
                change()
        with pytest.raises(PermissionError):
            file.sftp._request(paramiko.sftp.CMD_WRITE, file.handle, paramiko.sftp_client.int64(0), b"x")
    assert (host.home(OURS) / "downloads" / "old.zip").read_bytes() == b"archive"


def test_a_site_can_have_time_changes_refused_without_harm_to_the_upload(tmp_path: Path, keys: Path, big: Path) -> None:
    host = Serving(tmp_path / "strict", "--refuse-times")
    try:
        host.admit(OURS, public_line(keys / "ours"))
        door = host.door(OURS, keys / "ours")
        with paramiko_client(door) as client, client.open_sftp() as raw:
            raw.put(str(big), "/upload/file")
            os.utime(big, (1, 1))
            with pytest.raises(OSError, match="times cannot be set"):
                raw.utime("/upload/file", (1, 1))
        assert sftp(door, f"put -p {big} /upload/kept").code == 0
        for name in ("file", "kept"):
            assert (host.home(OURS) / "upload" / name).read_bytes() == big.read_bytes()
            assert (host.home(OURS) / "upload" / name).stat().st_mtime > 1_000_000_000
    finally:
        host.stop()


def test_only_so_many_files_can_be_open_at_once(raw: paramiko.SFTPClient) -> None:
    kept: list[paramiko.SFTPFile] = []

    def open_files() -> None:
        for number in range(200):
            kept.append(raw.open(f"/upload/{number}", "w"))

    def open_directories() -> None:
        for _ in range(200):
            raw._request(paramiko.sftp.CMD_OPENDIR, b"/upload")

    with pytest.raises(OSError, match="too many"):
        open_files()
    assert len(raw.listdir("/upload")) == len(kept)
    with pytest.raises(OSError, match="too many"):
        open_directories()


# Links


def test_links_cannot_be_made(raw: paramiko.SFTPClient) -> None:
    raw.open("/upload/file", "w").close()
    with pytest.raises(OSError, match="Links cannot be made"):
        raw.symlink("/upload/file", "/upload/link")
    with pytest.raises(OSError, match="Links cannot be made"):
        raw._request(paramiko.sftp.CMD_EXTENDED, "hardlink@openssh.com", "/upload/file", "/upload/link")
    assert raw.listdir("/upload") == ["file"]


def test_what_would_stop_the_other_sessions_is_not_offered(raw: paramiko.SFTPClient) -> None:
    handle = raw.open("/upload/file", "w+").handle
    numbers = [paramiko.sftp_client.int64(0)] * 2
    with pytest.raises(OSError, match="Unsupported"):
        raw._request(paramiko.sftp.CMD_EXTENDED, "copy-data", handle, *numbers, handle, numbers[0])
    with pytest.raises(OSError, match="Unsupported"):
        raw._request(paramiko.sftp.CMD_EXTENDED, "ranges@asyncssh.com", handle, *numbers)


@pytest.fixture
def trapped(host: Serving, tmp_path: Path) -> Path:
    """Links laid by hand in the district's upload directory; returns the file outside that they lead to."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    upload = host.home(OURS) / "upload"
    (upload / "to-file").symlink_to(outside / "secret")
    (upload / "to-directory").symlink_to(outside)
    (upload / "to-theirs").symlink_to(host.home(THEIRS))
    os.link(outside / "secret", upload / "second-name")
    os.mkfifo(upload / "pipe")
    return outside / "secret"


@every_client
def test_no_client_reads_or_writes_through_a_link(client: Client, door: Door, trapped: Path, big: Path) -> None:
    for path in ("/upload/to-file", "/upload/to-directory/secret", "/upload/pipe"):
        got = big.with_name("got")
        assert client.get(door, path, got).code != 0 or not got.exists()
        got.unlink(missing_ok=True)
    for path in ("/upload/to-file", "/upload/to-directory/new", "/upload/to-theirs/upload/x", "/upload/second-name"):
        client.put(door, big, path)
    assert trapped.read_bytes() == b"secret"
    assert [path.name for path in trapped.parent.iterdir()] == ["secret"]


def test_no_request_follows_a_link(raw: paramiko.SFTPClient, trapped: Path) -> None:
    assert raw.stat("/upload/to-file").st_mode == raw.lstat("/upload/to-file").st_mode
    assert raw.lstat("/upload/to-file").st_mode & 0o170000 == 0o120000
    for ask in (
        lambda: raw.listdir("/upload/to-directory"),
        lambda: raw.stat("/upload/to-directory/secret"),
        lambda: raw.readlink("/upload/to-file"),
        lambda: raw.open("/upload/to-file", "r"),
        lambda: raw.open("/upload/to-file", "w"),
        lambda: raw.open("/upload/to-directory/new", "w"),
        lambda: raw.open("/upload/second-name", "w"),
        lambda: raw.open("/upload/second-name", "r+"),
        lambda: raw.open("/upload/second-name", "a"),
        lambda: raw.truncate("/upload/to-file", 0),
        lambda: raw.truncate("/upload/second-name", 0),
        lambda: raw.utime("/upload/second-name", (1, 1)),
        lambda: raw.utime("/upload/to-directory/secret", (1, 1)),
        lambda: raw.truncate("/upload/to-directory/secret", 0),
        lambda: raw.remove("/upload/to-directory/secret"),
        lambda: raw.mkdir("/upload/to-directory/new"),
        lambda: raw.rename("/upload/to-directory/secret", "/upload/taken"),
        lambda: raw.posix_rename("/upload/second-name", "/upload/to-directory/secret"),
        lambda: raw.open("/upload/pipe", "r"),
        lambda: raw.open("/upload/pipe", "w"),
    ):
        with pytest.raises(PermissionError):
            ask()
    raw.utime("/upload/to-file", (1, 1))
    raw.remove("/upload/to-file")
    assert trapped.read_bytes() == b"secret"
    assert trapped.stat().st_mtime > 1


def test_a_place_swapped_for_a_link_is_shut(host: Serving, raw: paramiko.SFTPClient, trapped: Path) -> None:
    upload = host.home(OURS) / "upload"
    upload.rename(host.home(OURS) / "moved")
    upload.symlink_to(trapped.parent)
    for ask in (lambda: raw.listdir("/upload"), lambda: raw.open("/upload/x", "w"), lambda: raw.stat("/upload/secret")):
        with pytest.raises(PermissionError):
            ask()


# Nothing but SFTP


@pytest.mark.parametrize(("words", "tried"), [((), "shell"), (("ls", "/"), "exec"), (("scp", "-t", "/upload"), "scp")])
def test_there_is_no_shell_and_whoever_tries_is_told(
    words: tuple[str, ...], tried: str, host: Serving, door: Door, keys: Path
) -> None:
    ran = ssh(door, *words)
    assert ran.code == 1
    assert "This account is for SFTP only" in ran.output
    event = host.last_event(2)
    assert (event.kind, event.username, event.tried) == (Kind.SHELL_REFUSED, OURS, tried)
    assert event.reason == "shell-refused"
    assert event.fingerprint == key_fingerprint(keys / "ours")


def test_there_is_no_other_subsystem(host: Serving, door: Door) -> None:
    assert ssh(door, "netconf", options=("-s",)).code != 0
    assert host.last_event(2).tried == "subsystem"


def test_the_old_scp_is_refused_both_ways_and_told_why(host: Serving, door: Door, big: Path) -> None:
    for words in ((str(big), ":/upload/x"), (":/upload/x", str(big))):
        ran = scp(door, *words, options=("-O",))
        assert ran.code == 1
        assert "This account is for SFTP only" in ran.output
    assert list((host.home(OURS) / "upload").iterdir()) == []


def test_nothing_is_forwarded(host: Serving, door: Door) -> None:
    forwarded = ssh(door, options=("-W", f"127.0.0.1:{door.port}"))
    assert forwarded.code != 0
    assert "SFTP-" not in forwarded.output
    assert host.last_event(2).tried == "forwarding"
    with paramiko_client(door) as client, pytest.raises(paramiko.ChannelException, match="prohibited"):
        client.get_transport().open_channel("direct-tcpip", ("127.0.0.1", door.port), ("127.0.0.1", 1))
    back = ssh(door, options=("-N", "-oExitOnForwardFailure=yes", "-R", "0:127.0.0.1:9"))
    assert back.code == 255
    assert "remote port forwarding failed" in back.output
    socket = ssh(door, options=("-N", "-oExitOnForwardFailure=yes", "-R", f"{host.root}/s:127.0.0.1:9"))
    assert socket.code == 255
    assert not (host.root / "s").exists()


def test_there_is_no_terminal_no_x11_and_no_agent(door: Door) -> None:
    with paramiko_client(door) as client:
        transport = client.get_transport()
        assert transport is not None
        for ask in (lambda channel: channel.get_pty(), lambda channel: channel.request_x11()):
            with pytest.raises(paramiko.SSHException):
                ask(transport.open_session())
    asked = ssh(door, options=("-tt",))
    assert "PTY allocation request failed" in asked.output


def test_only_public_keys_are_offered_as_a_way_in(door: Door) -> None:
    transport = paramiko.Transport((door.address, door.port))
    try:
        transport.start_client()
        with pytest.raises(paramiko.BadAuthenticationType) as told:
            transport.auth_none(door.username)
        assert told.value.allowed_types == ["publickey"]
        with pytest.raises(paramiko.BadAuthenticationType):
            transport.auth_password(door.username, "password", fallback=False)
        with pytest.raises(paramiko.BadAuthenticationType):
            transport.auth_interactive(door.username, lambda *asked: [])
    finally:
        transport.close()


# Who may sign in


def refused(host: Serving, door: Door) -> Event:
    ran = sftp(door, "ls /")
    assert ran.code != 0
    assert "Permission denied" in ran.output
    return host.last_event(1)


def test_a_good_sign_in_is_noted(host: Serving, door: Door, keys: Path) -> None:
    assert sftp(door, "ls /").code == 0
    event = host.last_event(1)
    assert event.accepted
    assert (event.username, event.address, event.reason) == (OURS, "127.0.0.1", "")
    assert event.fingerprint == key_fingerprint(keys / "ours")
    assert event.client.startswith("SSH-2.0-OpenSSH")
    assert public_line(keys / "ours").split()[1] not in (host.root / "log" / "connections.jsonl").read_text()


def test_a_key_of_another_district_does_not_open_ours(host: Serving, keys: Path) -> None:
    event = refused(host, host.door(OURS, keys / "theirs"))
    assert (event.reason, event.username) == ("unknown-key", OURS)
    assert event.offered == (key_fingerprint(keys / "theirs"),)


@pytest.mark.parametrize(
    ("name", "noted"),
    [
        ("nobody.k12.us", "nobody.k12.us"),
        ("root", "root"),
        ("SMITHVILLE.k12.oh.us", "SMITHVILLE.k12.oh.us"),
        ("ｓmithville.k12.oh.us", "ｓmithville.k12.oh.us"),
        ("../keys/smithville.k12.oh.us", "../keys/smithville.k12.oh.us"),
        (".portal-tmp-1", ".portal-tmp-1"),
        ("a\\b", "a\\\\b"),
        ("x" * 900, "x" * 100 + "…"),
    ],
)
def test_a_name_that_is_no_account_is_refused(name: str, noted: str, host: Serving, keys: Path) -> None:
    (host.root / "keys" / ".portal-tmp-1").write_text(public_line(keys / "ours"))
    transport = paramiko.Transport(("127.0.0.1", host.port))
    try:
        transport.start_client()
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_publickey(name, paramiko.Ed25519Key(filename=str(keys / "ours")))
    finally:
        transport.close()
    event = host.last_event(1)
    assert event.reason == "unknown-account"
    assert event.username == noted


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ('expiry-time="20200101Z"', "expired-key"),
        ('restrict,expiry-time="202001010000"', "expired-key"),
        ('from="10.0.0.0/8"', "address-not-allowed"),
        ('from="127.0.0.0/8,!127.0.0.1"', "address-not-allowed"),
        ('from="127.0.0.1/8"', "unknown-key"),
        ('command="/bin/sh"', "unknown-key"),
        ("no-such-option", "unknown-key"),
        ('environment="A=b"', "unknown-key"),
        ("cert-authority", "unknown-key"),
    ],
)
def test_a_line_that_does_not_let_in_is_refused_with_its_reason(
    options: str, reason: str, host: Serving, door: Door, keys: Path
) -> None:
    host.admit(OURS, f"{options} {public_line(keys / 'ours')}")
    event = refused(host, door)
    assert event.reason == reason
    assert event.fingerprint == key_fingerprint(keys / "ours")


@pytest.mark.parametrize("options", ["restrict", 'from="127.0.0.0/8"', 'restrict,expiry-time="20990101Z",from="127.*"'])
def test_a_line_that_lets_in_does(options: str, host: Serving, door: Door, keys: Path) -> None:
    host.admit(OURS, "# managed", "rubbish", f"{options} {public_line(keys / 'ours')}")
    assert sftp(door, "ls /").code == 0


@pytest.mark.parametrize(
    "kind", [("-t", "rsa", "-b", "2048"), ("-t", "ecdsa", "-b", "256"), ("-t", "ecdsa", "-b", "521")]
)
def test_every_kind_of_key_opens_its_account(kind: tuple[str, ...], host: Serving, tmp_path: Path) -> None:
    key = key_pair(tmp_path, "other", kind)
    host.admit(OURS, public_line(key))
    for ran in (sftp(host.door(OURS, key), "ls /"), psftp(host.door(OURS, key), "ls /")):
        assert ran.code == 0, ran.output
        assert "upload-processed" in ran.output


def test_a_signature_with_sha1_is_refused(host: Serving, tmp_path: Path) -> None:
    key = key_pair(tmp_path, "rsa", ("-t", "rsa", "-b", "2048"))
    host.admit(OURS, public_line(key))
    # libssh2 before 1.11, as in this curl, knows no other signature for RSA keys.
    assert curl(host.door(OURS, key), "/").code != 0
    assert host.last_event(1).reason == "sha1-signature"


def test_whoever_offers_no_key_or_another_way_is_noted(host: Serving, door: Door) -> None:
    nothing = ssh(door, options=("-oPubkeyAuthentication=no",))
    assert nothing.code == 255
    assert host.last_event(1).reason == "no-key-offered"
    transport = paramiko.Transport((door.address, door.port))
    transport.start_client()
    with pytest.raises(paramiko.BadAuthenticationType):
        transport.auth_password(door.username, "secret-password", fallback=False)
    transport.close()
    assert host.last_event(2).reason == "wrong-method"
    assert "secret-password" not in (host.root / "log" / "connections.jsonl").read_text()


def test_a_key_that_is_known_but_never_signed_with_is_told_apart(host: Serving, keys: Path, tmp_path: Path) -> None:
    asked = paramiko.Transport(("127.0.0.1", host.port))

    class Unwilling(paramiko.Ed25519Key):
        def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> paramiko.Message:
            return paramiko.Message(paramiko.Ed25519Key(filename=str(keys / "stranger")).sign_ssh_data(data).asbytes())

    asked.start_client()
    with pytest.raises(paramiko.AuthenticationException):
        asked.auth_publickey(OURS, Unwilling(filename=str(keys / "ours")))
    asked.close()
    assert host.last_event(1).reason == "not-signed"


def test_a_client_that_goes_on_trying_is_put_off(host: Serving, keys: Path) -> None:
    transport = paramiko.Transport(("127.0.0.1", host.port))
    transport.start_client()
    stranger = paramiko.Ed25519Key(filename=str(keys / "stranger"))
    tries = 0
    while transport.is_active() and tries < 100:
        tries += 1
        with pytest.raises(paramiko.SSHException):
            transport.auth_publickey(OURS, stranger)
    assert 5 < tries < 30
    transport.close()
    assert host.last_event(1).reason == "too-many-keys"


def test_a_client_with_no_algorithm_in_common_is_noted(host: Serving, door: Door) -> None:
    assert ssh(door, options=("-oKexAlgorithms=diffie-hellman-group1-sha1",)).code == 255
    event = host.last_event(1)
    assert (event.reason, event.username) == ("no-common-algorithm", "")


def test_a_key_file_takes_effect_with_the_next_sign_in(host: Serving, door: Door, keys: Path) -> None:
    stranger = host.door(OURS, keys / "stranger")
    assert sftp(stranger, "ls /").code != 0
    host.admit(OURS, public_line(keys / "ours"), public_line(keys / "stranger"))
    assert sftp(stranger, "ls /").code == 0
    host.admit(OURS, public_line(keys / "ours"))
    assert sftp(stranger, "ls /").code != 0
    assert sftp(door, "ls /").code == 0


def held(door: Door, *lines: str, options: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """An sftp that stays signed in: it does these lines, and waits for more."""
    process = subprocess.Popen(
        sftp_command(door, *options, "-b", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    )
    assert process.stdin is not None
    process.stdin.write("".join(f"{line}\n" for line in lines).encode())
    return process


def ended(host: Serving) -> list[Event]:
    return [event for event in host.events() if event.kind is Kind.ENDED]


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("line gone", "key-removed"),
        ("file gone", "key-removed"),
        ("unknown option", "key-removed"),
        ("expired", "key-expired"),
        ("another address", "address-not-allowed"),
    ],
)
def test_a_session_ends_when_its_key_line_no_longer_lets_in(
    how: str, reason: str, host: Serving, door: Door, keys: Path
) -> None:
    ours, other = public_line(keys / "ours"), public_line(keys / "stranger")
    host.admit(OURS, ours, other)
    session, staying = held(door), held(host.door(OURS, keys / "stranger"))
    try:
        host.last_event(2)
        match how:
            case "file gone":
                host.files.remove(key_file(username(OURS)))
            case "line gone":
                host.admit(OURS, other)
            case "expired":
                host.admit(OURS, f'restrict,expiry-time="20200101000000Z" {ours}', other)
            case "another address":
                host.admit(OURS, f'restrict,from="10.0.0.0/8" {ours}', other)
            case "unknown option":
                host.admit(OURS, f"unknown {ours}", other)
        until(lambda: len(ended(host)) == (2 if how == "file gone" else 1), "the session's end")
        output, _ = session.communicate(b"ls /\n")
        assert b"no longer opens this account" in output
        assert b"upload-processed" not in output
        assert session.returncode != 0
        (event,) = (event for event in ended(host) if event.fingerprint == key_fingerprint(keys / "ours"))
        assert (event.username, event.address, event.reason) == (OURS, "127.0.0.1", reason)
        assert event.port > 0
        assert event.client.startswith("SSH-2.0-OpenSSH")
        if how != "file gone":
            answer, _ = staying.communicate(b"ls /\n")
            assert b"upload-processed" in answer
        assert sftp(door, "ls /").code != 0
        assert sum(event.fingerprint == key_fingerprint(keys / "ours") for event in ended(host)) == 1
    finally:
        for process in (session, staying):
            process.kill()
            process.communicate()


def test_an_upload_under_way_ends_when_its_key_is_removed(host: Serving, door: Door, big: Path) -> None:
    session = held(door, f"put {big} /upload/users.csv", options=("-l", "800"))
    try:
        until(lambda: host.files.open_writes(username(OURS)), "an open file")
        host.admit(OURS)
        session.communicate(timeout=PATIENCE)
        assert session.returncode != 0
        assert host.last_event(2).reason == "key-removed"
        until(lambda: not host.files.open_writes(username(OURS)), "the file's closing")
        assert (host.home(OURS) / "upload" / "users.csv").stat().st_size < big.stat().st_size
    finally:
        session.kill()
        session.communicate()


def test_a_key_removed_while_nobody_is_signed_in_is_no_event(host: Serving, door: Door, keys: Path) -> None:
    assert sftp(door, "ls /").code == 0
    session = held(host.door(THEIRS, keys / "theirs"))
    try:
        host.last_event(2)
        host.admit(OURS)
        host.admit(THEIRS)
        until(lambda: ended(host), "the other session's end")
        assert [event.username for event in ended(host)] == [THEIRS]
    finally:
        session.kill()
        session.communicate()


def test_a_session_that_its_client_ends_is_no_event(host: Serving, door: Door) -> None:
    assert sftp(door, "ls /").code == 0
    host.admit(OURS)
    assert sftp(door, "ls /").code != 0
    assert host.last_event(2).kind is Kind.REFUSED


def test_an_account_has_only_so_many_sessions(host: Serving, door: Door) -> None:
    kept = [paramiko_client(door) for _ in range(20)]
    with pytest.raises(paramiko.AuthenticationException):
        paramiko_client(door)
    assert host.last_event(21).reason == "too-many-sessions"
    for client in kept:
        client.close()
    until(lambda: sftp(door, "ls /").code == 0, "room for another session")


def test_a_connection_has_only_so_many_channels(door: Door) -> None:
    with paramiko_client(door) as client:
        transport = client.get_transport()
        assert transport is not None
        kept = [transport.open_session() for _ in range(8)]
        with pytest.raises(paramiko.ChannelException):
            kept += [transport.open_session() for _ in range(8)]


# What is open for writing


def test_a_transfer_under_way_is_told_to_the_portal(host: Serving, door: Door, big: Path) -> None:
    account = username(OURS)
    assert sftp(door, f"mkdir {EPOCH}").code == 0
    slow = subprocess.Popen(sftp_command(door, "-l", "4000", "-b", "-"), stdin=subprocess.PIPE)
    try:
        assert slow.stdin is not None
        slow.stdin.write(f"put {big} {EPOCH}/users.csv\n".encode())
        slow.stdin.close()
        until(lambda: host.files.open_writes(account), "an open file")
        assert host.files.open_writes(account) == ("20261122-020000/users.csv",)
    finally:
        slow.kill()
        slow.wait()
    until(lambda: host.files.open_writes(account) == (), "the file's closing")
    assert not (host.root / "open" / OURS).exists()


def test_open_files_are_followed_through_renames_and_reading_is_not_writing(
    host: Serving, raw: paramiko.SFTPClient
) -> None:
    account = username(OURS)
    raw.mkdir("/upload/tmp")
    first, second = raw.open("/upload/tmp/a", "w"), raw.open("/upload/tmp/b\nc", "w")
    assert host.files.open_writes(account) == ("tmp/a", "tmp/b\\u{a}c")
    raw.rename("/upload/tmp", "/upload/epoch")
    raw.rename("/upload/epoch/a", "/upload/epoch/users.csv")
    assert host.files.open_writes(account) == ("epoch/b\\u{a}c", "epoch/users.csv")
    second.close()
    reading = raw.open("/upload/epoch/users.csv", "r")
    assert host.files.open_writes(account) == ("epoch/users.csv",)
    first.close()
    assert host.files.open_writes(account) == ()
    reading.close()


def test_a_killed_server_leaves_no_file_open_at_its_next_start(own_host: Serving, keys: Path) -> None:
    account = username(OURS)
    with paramiko_client(own_host.door(OURS, keys / "ours")) as client:
        file = client.open_sftp().open("/upload/file", "w")
        assert own_host.files.open_writes(account) == ("file",)
        own_host.stop(signal.SIGKILL)
        del file
    assert own_host.files.open_writes(account) == ("file",)
    own_host.start()
    assert own_host.files.open_writes(account) == ()


# The process


def test_a_stop_ends_sessions_and_the_process_in_order(own_host: Serving, keys: Path) -> None:
    with paramiko_client(own_host.door(OURS, keys / "ours")) as client:
        raw = client.open_sftp()
        file = raw.open("/upload/file", "w")
        assert own_host.stop() == 0
        with pytest.raises((OSError, EOFError, paramiko.SSHException)):
            raw.listdir("/")
        del file
    assert not list((own_host.root / "open").iterdir())


def test_the_host_key_is_made_once_and_for_the_host_alone(own_host: Serving, keys: Path) -> None:
    door = own_host.door(OURS, keys / "ours")
    assert (own_host.root / "host_ed25519").stat().st_mode & 0o777 == 0o600
    assert door.fingerprint == own_host.fingerprint
    own_host.stop()
    own_host.start()
    assert own_host.fingerprint == door.fingerprint


def test_a_root_is_served_by_one_process_only(host: Serving) -> None:
    second = run(
        [host.process.args[0], "-m", "hosts.server", "--root", str(host.root), "--port", "0"]  # type: ignore[index]
    )
    assert second.code == 1
    assert "already serves this directory" in second.output


def test_a_client_that_asks_for_everything_and_reads_nothing_does_not_fill_the_memory(
    host: Serving, door: Door
) -> None:
    (host.home(OURS) / "downloads" / "big.zip").write_bytes(bytes(1_000_000))
    with paramiko_client(door) as client:
        raw = client.open_sftp()
        file = raw.open("/downloads/big.zip", "r")
        channel = raw.get_channel()
        assert channel is not None
        before = memory(host.process.pid)
        for _ in range(2000):
            raw._async_request(type(None), paramiko.sftp.CMD_READ, file.handle, paramiko.sftp_client.int64(0), 261_120)
        time.sleep(1)
        assert memory(host.process.pid) - before < 100_000
        assert sftp(door, "ls /").code == 0


def memory(pid: int) -> int:
    """Kilobytes the process holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def test_curl_lists_and_removes(host: Serving, door: Door, big: Path) -> None:
    assert curl(door, "/upload/a/b.csv", "-T", str(big), "--ftp-create-dirs").code == 0
    assert curl(door, "/upload/", "-Q", "-rm /upload/a/b.csv", "-Q", "-rmdir /upload/a", "--list-only").code == 0
    assert list((host.home(OURS) / "upload").iterdir()) == []
