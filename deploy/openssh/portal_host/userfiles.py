"""The files of libnss-extrausers: who exists beside the system's own accounts.

Lines whose user number lies outside our range are another's, and are kept as they are. Pure, but for reading the
system's own files.
"""

from __future__ import annotations

import contextlib
import pwd
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .judging import Account, Taken
from .settings import Places, Settings

# Whose sign-in fell out of sshd's Match block by a mistake would find no shell, no home and no key file.
HOME = "/nonexistent"
SHELL = "/usr/sbin/nologin"
GROUP_PREFIX = "sftpacct-"


@dataclass(frozen=True, slots=True)
class Userfiles:
    """The content of the three files, as bytes."""

    passwd: bytes
    group: bytes
    shadow: bytes


def rendered(accounts: Iterable[Account], foreign: Userfiles) -> Userfiles:
    """The three files for these accounts, after the lines that are another's.

    Each account has its own group, named by number so that no district's name can be taken for a group of the
    system. `*` as a password fits none; the account itself is not locked, or PAM would refuse its keys too.
    """
    passwd, group, shadow = [], [], []
    for account in sorted(accounts, key=lambda one: one.uid):
        passwd.append(f"{account.name}:x:{account.uid}:{account.uid}::{HOME}:{SHELL}\n")
        group.append(f"{GROUP_PREFIX}{account.uid}:x:{account.uid}:\n")
        shadow.append(f"{account.name}:*:1:0:99999:7:::\n")
    return Userfiles(
        foreign.passwd + "".join(passwd).encode("ascii"),
        foreign.group + "".join(group).encode("ascii"),
        foreign.shadow + "".join(shadow).encode("ascii"),
    )


def foreign_lines(files: Userfiles, first: int, last: int, registered: Iterable[str]) -> Userfiles:
    """What of these files is not ours. `registered` are the names of all accounts that ever were.

    A line of `shadow` has no number: it is ours if its name is, be its line in `passwd` gone already or not.
    """
    ours, passwd = _split(files.passwd, first, last)
    ours |= {name.encode("ascii") for name in registered}
    _, group = _split(files.group, first, last)
    shadow = [line for line in files.shadow.splitlines() if line.split(b":")[0] not in ours]
    return Userfiles(_joined(passwd), _joined(group), _joined(shadow))


def _split(content: bytes, first: int, last: int) -> tuple[set[bytes], list[bytes]]:
    """The names of the lines whose number (third field) lies in the range, and the other lines."""
    names, others = set(), []
    for line in content.splitlines():
        fields = line.split(b":")
        if len(fields) > 2 and fields[2].isdigit() and first <= int(fields[2]) <= last:
            names.add(fields[0])
        else:
            others.append(line)
    return names, others


def _joined(lines: Sequence[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines if line)


def taken(places: Places, foreign: Userfiles) -> Taken:
    """The names and numbers that the system's own files, and another's lines in extrausers, have given."""
    names: set[str] = set()
    numbers: set[int] = set()
    contents = [places.passwd.read_bytes(), places.group.read_bytes(), foreign.passwd, foreign.group]
    for line in b"".join(contents).splitlines():
        fields = line.split(b":")
        names.add(fields[0].decode("utf-8", "surrogateescape"))
        numbers.update(int(field) for field in fields[2:4] if field.isdigit())
    return Taken(frozenset(names), frozenset(numbers))


def taken_elsewhere(candidates: Iterable[Account], settings: Settings) -> Taken:
    """What another source of names (LDAP, say) has given of these. For new accounts only: each look-up costs."""
    names, numbers = set(), set()
    for account in candidates:
        with contextlib.suppress(KeyError, ValueError):
            names.add(pwd.getpwnam(account.name).pw_name)
        if settings.uid_first <= account.uid <= settings.uid_last:
            with contextlib.suppress(KeyError):
                numbers.add(pwd.getpwuid(account.uid).pw_uid)
    return Taken(frozenset(names), frozenset(numbers))
