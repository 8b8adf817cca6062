"""What sshd lets a district do, and the portal's own account, on a host made by install.sh."""

import struct
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest
from paramiko.sftp import CMD_EXTENDED

from tests.hosts.clients import CLIENTS, Client, Door, scp, sftp, ssh
from tests.hosts.serving import public_line, until

from .host import OpensshHost, numbers_of

CONTENT = b"student_id,grade\n1,5\n"


@pytest.fixture
def door(openssh_host: OpensshHost, ours: str, keys: Path) -> Door:
    return openssh_host.door(ours, keys / "ours")


@pytest.fixture
def here(tmp_path: Path) -> Path:
    path = tmp_path / "students.csv"
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def raw(door: Door) -> Iterator[paramiko.SFTPClient]:
    transport = paramiko.Transport((door.address, door.port))
    transport.connect(username=door.username, pkey=paramiko.Ed25519Key.from_private_key_file(str(door.key)))
    client = paramiko.SFTPClient.from_transport(transport)
    assert client is not None
    yield client
    transport.close()


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_a_district_uploads_and_reads_back_with_every_client(
    client: Client, door: Door, here: Path, tmp_path: Path
) -> None:
    put = client.put(door, here, "/upload/students.csv")
    assert put.code == 0, put.output
    assert "students.csv" in client.names(door, "/upload").output
    back = client.get(door, "/upload/students.csv", tmp_path / "back.csv")
    assert back.code == 0, back.output
    assert (tmp_path / "back.csv").read_bytes() == CONTENT


def test_times_and_modes_are_the_districts_to_set(openssh_host: OpensshHost, ours: str, door: Door, here: Path) -> None:
    here.chmod(0o600)
    done = sftp(
        door,
        "cd upload",
        "mkdir 20261122-020000",
        f"put -p {here} 20261122-020000/students.csv",
        "chmod 000 20261122-020000",
    )
    assert done.code == 0, done.output
    epoch = openssh_host.upload(ours) / "20261122-020000"
    assert numbers_of(epoch)[2] == "0o0"
    assert (epoch / "students.csv").stat().st_mtime == int(here.stat().st_mtime)


def test_what_a_district_puts_is_seen_by_no_other_account_of_the_host(
    openssh_host: OpensshHost, ours: str, door: Door, here: Path
) -> None:
    assert sftp(door, f"put {here} /upload/students.csv").code == 0
    path = openssh_host.upload(ours)
    assert numbers_of(path) == (openssh_host.wished[ours], openssh_host.wished[ours], "0o700")
    assert numbers_of(path / "students.csv")[2] == "0o640"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param("symlink /upload /upload/link", id="symlink"),
        pytest.param("ln -s /etc/passwd /upload/link", id="symlink to a file"),
        pytest.param("ln /downloads/pdfs/letter.pdf /upload/link", id="hard link"),
        pytest.param("chmod 777 /upload-processed", id="chmod upload-processed"),
        pytest.param("chmod 777 /upload-processed/20261101-020000/log.txt", id="chmod what was processed"),
        pytest.param("chmod 777 /downloads/pdfs", id="chmod downloads"),
        pytest.param("chmod 777 /", id="chmod root"),
        pytest.param("put {here} /upload-processed/students.csv", id="put into upload-processed"),
        pytest.param("put {here} /upload-processed/20261101-020000/log.txt", id="overwrite what was processed"),
        pytest.param("put {here} /downloads/students.csv", id="put into downloads"),
        pytest.param("put {here} /downloads/pdfs/letter.pdf", id="overwrite a download"),
        pytest.param("rm /downloads/pdfs/letter.pdf", id="remove a download"),
        pytest.param("rename /downloads/pdfs/letter.pdf /upload/letter.pdf", id="take a download away"),
        pytest.param("rename /upload-processed/20261101-020000 /upload/again", id="take what was processed away"),
        pytest.param("put {here} /students.csv", id="put into the root"),
        pytest.param("put {here} ../../keys/root", id="put above the root"),
        pytest.param("put {here} ../../../keys/{theirs}", id="put another's key file"),
        pytest.param("put {here} ../../homes/{theirs}/upload/x", id="put into another's upload"),
        pytest.param("mkdir /.ssh", id="make a directory in the root"),
        pytest.param("rmdir /upload", id="remove upload"),
        pytest.param("rename /upload /upload-processed/upload", id="rename upload"),
        pytest.param("rename /upload /gone", id="rename upload away"),
        pytest.param("chown 0 /upload/students.csv", id="give away a file"),
        pytest.param("chgrp 0 /upload/students.csv", id="give a file to another group"),
        pytest.param("get /etc/passwd {here}.passwd", id="read the system's files"),
        pytest.param("ls /keys", id="list the keys"),
    ],
)
def test_everything_else_is_denied(
    line: str, openssh_host: OpensshHost, ours: str, theirs: str, door: Door, here: Path
) -> None:
    letter = openssh_host.home(ours) / "downloads/pdfs/letter.pdf"
    log = openssh_host.home(ours) / "upload-processed/20261101-020000/log.txt"
    log.parent.mkdir()
    letter.write_bytes(b"a letter")
    log.write_bytes(b"a log")
    assert sftp(door, f"put {here} /upload/students.csv").code == 0
    before = _tree(openssh_host.root / "homes") | _tree(openssh_host.root / "keys")
    done = sftp(door, line.format(here=here, theirs=theirs))
    assert done.code != 0, done.output
    assert _tree(openssh_host.root / "homes") | _tree(openssh_host.root / "keys") == before


def _tree(top: Path) -> dict[str, tuple[object, ...]]:
    found = {}
    for path in [top, *top.rglob("*")]:
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(top.parent))] = (*numbers_of(path), path.lstat().st_nlink, content)
    return found


def test_a_district_reads_its_downloads_and_what_was_processed(
    openssh_host: OpensshHost, ours: str, door: Door, tmp_path: Path
) -> None:
    """The portal puts them there over SFTP, and its files belong to the district's group by the directory's bit."""
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(b"a letter")
    put = sftp(openssh_host.portal_door(), f"put {letter} /homes/{ours}/downloads/pdfs/letter.pdf")
    assert put.code == 0, put.output
    path = openssh_host.home(ours) / "downloads/pdfs/letter.pdf"
    assert numbers_of(path) == (openssh_host.portal_uid, openssh_host.wished[ours], "0o640")
    assert sftp(door, f"get /downloads/pdfs/letter.pdf {tmp_path}/back").code == 0
    assert (tmp_path / "back").read_bytes() == b"a letter"


def test_links_are_refused_as_requests_whatever_the_client(raw: paramiko.SFTPClient) -> None:
    with pytest.raises(PermissionError):
        raw.symlink("/upload", "/upload/link")
    with pytest.raises(PermissionError):
        _extended(raw, "hardlink@openssh.com", "/upload-processed", "/upload/link")
    assert raw.listdir("/upload") == []


def test_names_of_other_accounts_are_not_told(openssh_host: OpensshHost, theirs: str, raw: paramiko.SFTPClient) -> None:
    number = struct.pack(">I", openssh_host.wished[theirs])
    try:
        _, answer = _extended(raw, "users-groups-by-id@openssh.com", number, b"")
        told = answer.asbytes()
    except OSError as error:
        told = str(error).encode()
    assert theirs.encode() not in told


def _extended(raw: paramiko.SFTPClient, name: str, *words: str | bytes) -> tuple[int, paramiko.Message]:
    return raw._request(CMD_EXTENDED, name, *words)


@pytest.mark.parametrize("words", [(), ("id",), ("sh", "-c", "id")], ids=["shell", "a program", "a shell's line"])
@pytest.mark.parametrize("who", ["district", "portal"])
def test_there_is_no_shell(words: tuple[str, ...], who: str, openssh_host: OpensshHost, door: Door) -> None:
    done = ssh(openssh_host.portal_door() if who == "portal" else door, *words)
    assert "uid=" not in done.output
    assert done.code != 0


def test_the_old_scp_is_refused(openssh_host: OpensshHost, ours: str, door: Door, here: Path) -> None:
    assert scp(door, str(here), ":/upload/students.csv", options=("-O",)).code != 0
    assert not list(openssh_host.upload(ours).iterdir())


@pytest.mark.parametrize("who", ["district", "portal"])
def test_nothing_is_forwarded(who: str, openssh_host: OpensshHost, door: Door) -> None:
    door = openssh_host.portal_door() if who == "portal" else door
    forwarded = ssh(door, options=("-W", f"127.0.0.1:{openssh_host.port}"))
    assert "SSH-2.0" not in forwarded.output
    remote = ssh(door, "-N", options=("-R", "0:127.0.0.1:22", "-o", "ExitOnForwardFailure=yes"))
    assert remote.code != 0


@pytest.mark.parametrize("name", ["root", "sftp-portal", "sftp-portal-keys", "daemon", "nobody.example"])
def test_a_pushed_key_file_named_like_a_system_account_opens_nothing(
    name: str, openssh_host: OpensshHost, keys: Path
) -> None:
    openssh_host.keys(name, public_line(keys / "stranger"))
    before = len(openssh_host.log())
    door = openssh_host.door(name, keys / "stranger")
    assert "Permission denied (publickey" in ssh(door, "id", options=("-o", "LogLevel=INFO")).output
    assert sftp(door, "ls").code != 0
    assert f"Accepted publickey for {name} " not in openssh_host.log()[before:]


def test_a_key_opens_its_own_account_only(openssh_host: OpensshHost, ours: str, theirs: str, keys: Path) -> None:
    assert sftp(openssh_host.door(ours, keys / "ours"), "ls").code == 0
    assert sftp(openssh_host.door(theirs, keys / "ours"), "ls").code != 0
    assert sftp(openssh_host.door(ours, keys / "stranger"), "ls").code != 0


@pytest.mark.parametrize(
    ("options", "lets_in"),
    [
        ("restrict", True),
        ('from="127.0.0.0/8"', True),
        ('from="10.0.0.0/8"', False),
        ('expiry-time="20200101"', False),
        ('expiry-time="20990101"', True),
        ("no-such-option", False),
        ('command="/bin/sh"', False),
        ('environment="A=b"', False),
    ],
)
def test_options_of_a_line_hold(options: str, lets_in: bool, openssh_host: OpensshHost, ours: str, keys: Path) -> None:
    openssh_host.keys(ours, f"{options} {public_line(keys / 'ours')}")
    assert (sftp(openssh_host.door(ours, keys / "ours"), "ls").code == 0) is lets_in


@pytest.mark.parametrize("name", ["long-" + "x" * 240 + ".k12.us", "a", "4.example"], ids=["253", "1", "digit"])
def test_names_of_every_allowed_length_sign_in(name: str, openssh_host: OpensshHost, keys: Path) -> None:
    openssh_host.account(name, public_line(keys / "ours"))
    done = sftp(openssh_host.door(name, keys / "ours"), "pwd")
    assert done.output.endswith("Remote working directory: /\n")


def test_only_keys_are_asked_for(openssh_host: OpensshHost, ours: str, keys: Path) -> None:
    for name in (ours, "sftp-portal"):
        told = ssh(openssh_host.door(name, keys / "stranger"), "id", options=("-o", "LogLevel=INFO")).output
        assert "Permission denied (publickey)." in told, told


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        (["KexAlgorithms=diffie-hellman-group14-sha1"], "key exchange method"),
        (["Ciphers=aes128-cbc"], "cipher"),
        (["Ciphers=aes128-ctr", "MACs=hmac-sha1"], "MAC"),
        (["HostKeyAlgorithms=ssh-rsa"], "host key type"),
    ],
    ids=["key exchange", "cipher", "mac", "host key"],
)
def test_old_algorithms_are_refused(options: list[str], missing: str, openssh_host: OpensshHost, door: Door) -> None:
    before = len(openssh_host.log())
    assert ssh(door, options=[f"-o{option}" for option in options]).code != 0
    until(lambda: f"no matching {missing} found" in openssh_host.log()[before:], "a line in the log that says so")


# --- The portal's own account ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "put {here} /students.csv",
        "put {here} /log/connections.jsonl",
        "put {here} /answers/x.json",
        "put {here} /homes/{ours}/students.csv",
        "put {here} /homes/{ours}/upload/students.csv",
        "put {here} /claiming/1",
        "ls /homes/{ours}/upload",
        "ls /claiming",
        "rename /homes/{ours} /homes/other.example",
        "rename /homes/{ours}/upload /homes/{ours}/downloads/upload",
        "rmdir /homes/{ours}/upload",
        "rm /log/changes.jsonl",
        "mkdir /homes/root",
        "chmod 777 /homes/{ours}",
        "chmod 777 /homes",
        "chmod 777 /",
        "symlink /etc /claimed/link",
        "ln /answers /claimed/link",
        "get /etc/passwd {here}.passwd",
        "get ../../../etc/passwd {here}.passwd",
        "get /var/lib/extrausers/shadow {here}.shadow",
    ],
)
def test_the_portals_account_has_no_power_outside_its_places(
    line: str, openssh_host: OpensshHost, ours: str, here: Path
) -> None:
    (openssh_host.root / "log/changes.jsonl").touch()
    done = sftp(openssh_host.portal_door(), line.format(here=here, ours=ours))
    assert done.code != 0, done.output


def test_the_portals_keys_are_roots_alone(openssh_host: OpensshHost, keys: Path) -> None:
    config = openssh_host.machine.root / "etc/sftp-portal"
    assert numbers_of(config) == (0, 0, "0o755")
    assert numbers_of(config / "portal_keys") == (0, 0, "0o644")
    assert sftp(openssh_host.door("sftp-portal", keys / "ours"), "ls").code != 0
