"""How each SFTP program is told to reach one account: the very text to copy, with the account's own values in it.

What the texts rest on: for OpenSSH sshd(8) “SSH_KNOWN_HOSTS FILE FORMAT”, ssh_config(5) and sftp(1); for PuTTY its
manual, chapters 3.11 and 6; lftp(1); rclone's page on SFTP; curl(1); WinSCP's pages on scripting, `open`, `put` and
transfer presets. Whatever runs on Debian is run by the tests as it stands.
"""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from string import Template
from typing import NamedTuple

ALIAS = "sftp-portal"
# Whatever goes into a script: nothing that a shell or a program would read as its own.
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*|[0-9A-Fa-f:.]+")


class NotPlain(ValueError):
    """An address or a name that cannot stand in a script as it is."""


@dataclass(frozen=True, slots=True)
class Reach:
    """Where one account is reached; `host_key` is a line `type base64`. Raises NotPlain."""

    address: str
    port: int
    username: str
    host_key: str

    def __post_init__(self) -> None:
        for text in (self.address, self.username):
            if not _PLAIN.fullmatch(text):
                raise NotPlain(text)

    @property
    def in_url(self) -> str:
        """The address as a URL has it: IPv6 in brackets (RFC 3986, 3.2.2)."""
        return f"[{self.address}]" if ":" in self.address else self.address

    @property
    def known_hosts(self) -> str:
        """The line of a known_hosts file."""
        name = self.address if self.port == 22 else f"[{self.address}]:{self.port}"
        return f"{name} {self.host_key}"

    @property
    def digest(self) -> str:
        """The SHA-256 of the host key in Base64 with its padding; `ssh-keygen -l` shows it without."""
        blob = base64.b64decode(self.host_key.split(" ")[1])
        return base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii")


def _bits(host_key: str) -> int:
    """The length of a host key as PuTTY and WinSCP name it: of Ed25519 they say 255."""
    kind, blob = host_key.split(" ")
    if kind.startswith("ecdsa-sha2-nistp"):
        return int(kind.removeprefix("ecdsa-sha2-nistp"))
    # An RSA key ends with its modulus (RFC 4253, 6.6).
    fields, rest = [], base64.b64decode(blob)
    while rest:
        size = int.from_bytes(rest[:4])
        fields.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    return int.from_bytes(fields[-1]).bit_length() if kind == "ssh-rsa" else 255


class Text(NamedTuple):
    """Something to copy, and the file it goes into or what it is for."""

    place: str
    text: str


class Value(NamedTuple):
    """What to fill into one field of a program's window."""

    field: str
    value: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """One program, told in this order: what it is for, what to fill in, what to do, what to copy, what to know."""

    slug: str
    title: str
    lead: str
    values: tuple[Value, ...] = ()
    steps: tuple[str, ...] = ()
    texts: tuple[Text, ...] = ()
    notes: tuple[str, ...] = ()


def recipes(reach: Reach) -> tuple[Recipe, ...]:
    """A recipe for each program, those for Windows first."""
    return tuple(make(reach) for make in _RECIPES)


_ONE_EPOCH = "The script puts the CSV files of a folder into a new epoch, and COMPLETE last: only then are they loaded."
_STOPS = "It stops at the first thing that fails. An upload that broke off has no COMPLETE, so nothing of it is loaded."
_KEY, _PPK = "~/.ssh/id_ed25519", r"%USERPROFILE%\.ssh\id_ed25519.ppk"
_AUTO = (
    "Or put one file straight into /upload/ under a name that ends in _auto.csv, such as users_auto.csv: it becomes an "
    "epoch by itself."
)
_UPLOAD_SH = """\
#!/bin/sh
# Uploads the CSV files of a folder as one epoch: sh upload-epoch.sh FOLDER
set -eu
cd "$$1"
ls ./*.csv > /dev/null
epoch=$$(date +%Y%m%d-%H%M%S)
complete=$$(mktemp)
trap 'rm -f "$$complete"' EXIT
"""
_UPLOAD_CMD = """\
@echo off
rem Uploads the CSV files of a folder as one epoch: upload-epoch.cmd FOLDER
cd /d "%~1" || exit /b 1
for /f %%t in ('powershell -NoProfile -Command "Get-Date -Format yyyyMMdd-HHmmss"') do set EPOCH=%%t
type nul > "%TEMP%\\COMPLETE"
"""


def _filled(template: str, reach: Reach) -> str:
    return Template(template).substitute(
        address=reach.address,
        in_url=reach.in_url,
        port=reach.port,
        user=reach.username,
        alias=ALIAS,
        padded=reach.digest,
        digest=reach.digest.rstrip("="),
        kind=reach.host_key.split(" ")[0],
        bits=_bits(reach.host_key),
        key=_KEY,
        ppk=_PPK,
    )


def _known(reach: Reach) -> Text:
    return Text("~/.ssh/known_hosts, one more line", f"{reach.known_hosts}\n")


def _script(reach: Reach, body: str) -> Text:
    return Text("upload-epoch.sh", _filled(_UPLOAD_SH + body, reach))


def _window(reach: Reach, *, protocol: str = "SFTP") -> tuple[Value, ...]:
    return (
        Value("Protocol", protocol),
        Value("Host", reach.address),
        Value("Port", str(reach.port)),
        Value("User name", reach.username),
        Value("Password", "none: leave it empty"),
    )


def _by_hand(reach: Reach) -> str:
    return (
        "In /upload/ make a directory named by date and time, such as 20260901-020000. Put the CSV files into it, and "
        "last an empty file named COMPLETE."
    )


def _compare(reach: Reach) -> str:
    return f"At the first connection compare the host key's fingerprint with SHA256:{reach.digest.rstrip('=')}."


# --- Windows -------------------------------------------------------------------------------------------------------


def _winscp(reach: Reach) -> Recipe:
    batch = (
        _UPLOAD_CMD
        + 'winscp.com /ini=nul /log="%TEMP%\\upload-epoch.log" /script="%~dp0upload-epoch.txt" /parameter %EPOCH%\n'
        + "exit /b %ERRORLEVEL%\n"
    )
    commands = """\
option batch abort
option confirm off
open sftp://$user@$in_url:$port/ -hostkey="$kind $bits $digest" -privatekey="$ppk"
mkdir /upload/%1%
put -nopreservetime -nopermissions *.csv /upload/%1%/
put -nopreservetime -nopermissions "%TEMP%\\COMPLETE" /upload/%1%/
exit
"""
    return Recipe(
        "winscp",
        "WinSCP",
        f"For Windows: by hand, and at night by a script. {_ONE_EPOCH}",
        values=(*_window(reach), Value("Advanced, SSH, Authentication: private key file", _PPK)),
        steps=(
            _compare(reach),
            "Keep times as they are on the host, for this host only: in the login window choose the arrow beside "
            "Advanced, then Transfer Settings Rule. Untick Preserve timestamp, tick Automatically select this preset "
            f"when, and give the host mask {reach.address} and the user mask {reach.username}.",
            _by_hand(reach),
        ),
        texts=(
            Text("upload-epoch.txt", _filled(commands, reach)),
            Text("upload-epoch.cmd, beside it", batch),
        ),
        notes=(_STOPS,),
    )


def _putty(reach: Reach) -> Recipe:
    call = "psftp -batch -P $port -hostkey SHA256:$digest -i {key} -b {batch} $user@$address\n"
    windows = (
        _UPLOAD_CMD
        + """\
(
echo mkdir upload/%EPOCH%
echo cd upload/%EPOCH%
echo mput *.csv
echo put "%TEMP%\\COMPLETE" COMPLETE
) > "%TEMP%\\upload-epoch.txt"
"""
        + _filled(call.format(key='"$ppk"', batch='"%TEMP%\\upload-epoch.txt"'), reach)
        + "exit /b %ERRORLEVEL%\n"
    )
    elsewhere = """\
commands=$$(mktemp)
trap 'rm -f "$$complete" "$$commands"' EXIT
cat > "$$commands" <<END
mkdir upload/$$epoch
cd upload/$$epoch
mput *.csv
put "$$complete" COMPLETE
END
"""
    return Recipe(
        "psftp",
        "PuTTY psftp",
        f"For Windows and Linux. {_ONE_EPOCH}",
        texts=(
            Text("Try it, on Windows", _filled('psftp -P $port -i "$ppk" $user@$address\n', reach)),
            Text("upload-epoch.cmd, on Windows", windows),
            _script(reach, elsewhere + call.format(key="~/.ssh/id_ed25519.ppk", batch='"$$commands"')),
        ),
        notes=(_compare(reach), _STOPS),
    )


def _powershell(reach: Reach) -> Recipe:
    script = """\
# Uploads the CSV files of a folder as one epoch: .\\upload-epoch.ps1 FOLDER
param([Parameter(Mandatory)] [string] $$Folder)
$$ErrorActionPreference = 'Stop'
Set-Location -LiteralPath $$Folder
$$epoch = Get-Date -Format 'yyyyMMdd-HHmmss'
$$complete, $$batch = (New-TemporaryFile), (New-TemporaryFile)
try {
    @(
        "mkdir upload/$$epoch"
        "put *.csv upload/$$epoch/"
        "put `"$$($$complete.FullName.Replace('\\', '/'))`" upload/$$epoch/COMPLETE"
    ) | Set-Content -Encoding ascii -LiteralPath $$batch.FullName
    sftp -b $$batch.FullName -P $port -o StrictHostKeyChecking=yes -i "$$HOME\\.ssh\\id_ed25519" $user@$address
    $$code = $$LASTEXITCODE
} finally {
    Remove-Item -LiteralPath $$complete.FullName, $$batch.FullName
}
exit $$code
"""
    return Recipe(
        "powershell",
        "PowerShell",
        f"For Windows 10 and Windows Server 2019 or newer, with the OpenSSH that comes with them. {_ONE_EPOCH}",
        texts=(
            Text(r"%USERPROFILE%\.ssh\known_hosts, one more line", f"{reach.known_hosts}\n"),
            Text("upload-epoch.ps1", _filled(script, reach)),
        ),
        notes=("Run it with Task Scheduler as the user who has the private key.", _STOPS),
    )


# --- By hand -------------------------------------------------------------------------------------------------------


def _filezilla(reach: Reach) -> Recipe:
    return Recipe(
        "filezilla",
        "FileZilla",
        "For Windows, Mac and Linux, by hand. It cannot upload at night by itself.",
        values=(
            *_window(reach, protocol="SFTP - SSH File Transfer Protocol"),
            Value("Logon type", "Key file"),
            Value("Key file", "id_ed25519 or id_ed25519.ppk"),
        ),
        steps=("Choose File, Site Manager, New site, and fill in the values.", _compare(reach), _by_hand(reach)),
    )


def _cyberduck(reach: Reach) -> Recipe:
    return Recipe(
        "cyberduck",
        "Cyberduck",
        "For Mac and Windows, by hand.",
        values=(
            *_window(reach, protocol="SFTP (SSH File Transfer Protocol)"),
            Value("SSH private key", _KEY),
            Value("Path", "/upload"),
        ),
        steps=("Choose Bookmark, New Bookmark, and fill in the values.", _compare(reach), _by_hand(reach)),
        notes=("It takes keys in OpenSSH's form, and PuTTY's.",),
    )


def _infinite_campus(reach: Reach) -> Recipe:
    return Recipe(
        "infinite-campus",
        "Infinite Campus",
        "For the Data Extract Utility. Infinite Campus makes the key pair itself.",
        values=(
            Value("Delivery Mode", "SFTP (not SFTP Legacy)"),
            Value("SFTP Key Exchange", "ticked, with the configuration of step 1"),
            Value("Server", reach.address),
            Value("Port", str(reach.port)),
            Value("Username", reach.username),
            Value("Path", "/upload/"),
            Value("File Name", "the name of the file, with _auto at its end: students_auto"),
            Value("File Extension", "CSV (.csv)"),
            Value("Append Date to Filename", "No Date"),
        ),
        steps=(
            "In System Settings, Data Utilities, Data Extract Utility SFTP Key Exchange Manager make a configuration "
            "and save it. Choose Download Client SFTP Public Key.",
            "Paste that key into the box of Technical Settings here, and save.",
            "In the extract fill in the values. Choose Test Connection, then Save.",
        ),
        texts=(Text("Server public key, for the optional upload of a .pub file", f"{reach.host_key}\n"),),
        notes=(
            "It makes no directories, so each file goes straight into /upload/ under a name that ends in _auto.csv and "
            "becomes an epoch by itself.",
        ),
    )


# --- Linux and Mac -------------------------------------------------------------------------------------------------


def _openssh(reach: Reach) -> Recipe:
    config = """\
Host $alias
    HostName $address
    Port $port
    User $user
    IdentityFile $key
    IdentitiesOnly yes
    StrictHostKeyChecking yes
"""
    body = """\
sftp -b - $alias <<END
mkdir upload/$$epoch
put *.csv upload/$$epoch/
put "$$complete" upload/$$epoch/COMPLETE
END
"""
    return Recipe(
        "openssh",
        "OpenSSH",
        f"For Linux and Mac; on Windows see PowerShell. {_ONE_EPOCH}",
        texts=(
            _known(reach),
            Text("~/.ssh/config, at its end", _filled(config, reach)),
            Text("Try it", f"sftp {ALIAS}\n"),
            _script(reach, body),
        ),
        notes=(_STOPS, _AUTO),
    )


def _lftp(reach: Reach) -> Recipe:
    ssh = "ssh -a -x -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes -i $key"
    body = f"""\
lftp --norc <<END
set cmd:fail-exit true
set net:max-retries 3
set sftp:connect-program "{ssh}"
open -u $user, -p $port sftp://$in_url
mkdir upload/$$epoch
mput -O upload/$$epoch *.csv
put "$$complete" -o upload/$$epoch/COMPLETE
END
"""
    return Recipe(
        "lftp",
        "lftp",
        f"For Linux and Mac. {_ONE_EPOCH}",
        texts=(_known(reach), _script(reach, body)),
        notes=(_STOPS,),
    )


def _rclone(reach: Reach) -> Recipe:
    config = """\
[$alias]
type = sftp
host = $address
port = $port
user = $user
key_file = $key
known_hosts_file = ~/.ssh/known_hosts
shell_type = none
md5sum_command = none
sha1sum_command = none
"""
    body = """\
rclone copy . "$alias:upload/$$epoch" --max-depth 1 --include "*.csv" --copy-links
rclone copyto "$$complete" "$alias:upload/$$epoch/COMPLETE"
"""
    return Recipe(
        "rclone",
        "rclone",
        f"For every system. {_ONE_EPOCH}",
        texts=(
            _known(reach),
            Text("~/.config/rclone/rclone.conf, at its end", _filled(config, reach)),
            Text("Try it", f"rclone lsf {ALIAS}:\n"),
            _script(reach, body),
        ),
        notes=("There is no shell behind the account, so rclone is told not to look for one.", _STOPS),
    )


def _curl(reach: Reach) -> Recipe:
    body = """\
to="sftp://$user@$in_url:$port/upload/$$epoch"
set -- --fail --silent --show-error --ftp-create-dirs --hostpubsha256 "$padded" \\
    --key $key --pubkey $key.pub
for file in *.csv; do
    curl "$$@" --upload-file "$$file" "$$to/"
done
curl "$$@" --upload-file "$$complete" "$$to/COMPLETE"
"""
    return Recipe(
        "curl",
        "curl",
        f"For every system whose curl speaks SFTP. {_ONE_EPOCH}",
        texts=(_script(reach, body),),
        notes=(
            "curl --version names sftp among its protocols if it can. The curl that comes with Windows cannot.",
            _STOPS,
        ),
    )


_RECIPES: tuple[Callable[[Reach], Recipe], ...] = (
    _winscp,
    _putty,
    _powershell,
    _filezilla,
    _cyberduck,
    _infinite_campus,
    _openssh,
    _lftp,
    _rclone,
    _curl,
)
