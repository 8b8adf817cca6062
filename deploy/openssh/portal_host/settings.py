"""The root-owned configuration, and where everything lies."""

from __future__ import annotations

import grp
import pwd
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

# Never an account's: nobody, and the number that stands for "no number" where numbers have sixteen bits.
FORBIDDEN = frozenset({65534, 65535})


class BadSettings(ValueError):
    """helper.toml says something that cannot be meant."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What one account may store: MiB and number of files. 0 is without limit."""

    mebibytes: int = 0
    files: int = 0


@dataclass(frozen=True, slots=True)
class Settings:
    """`drop_share` and `drop_least`: lists of accounts may together drop the larger of the two within 24 hours without
    being refused, of the second never more than half of those there were."""

    portal_user: str = "sftp-portal"
    keys_group: str = "sftp-portal-keys"
    uid_first: int = 66000
    uid_last: int = 99999
    drop_share: float = 0.05
    drop_least: int = 20
    answers_kept_minutes: int = 10
    watches_per_account: int = 64
    quota: Quota = field(default_factory=Quota)

    def __post_init__(self) -> None:
        if not 1000 <= self.uid_first <= self.uid_last < 2**31:
            raise BadSettings("uid_first and uid_last must be a range of user numbers from 1000 up.")
        if any(self.uid_first <= uid <= self.uid_last for uid in FORBIDDEN):
            raise BadSettings("The range of user numbers must not contain 65534 or 65535.")
        if not 0 <= self.drop_share <= 1 or self.drop_least < 0:
            raise BadSettings("drop_share lies between 0 and 1, drop_least is not negative.")


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything lies, below a root that is `/` but in tests."""

    root: Path

    @property
    def tree(self) -> Path:
        """What the portal sees as `/`."""
        return self.root / "srv/sftp-portal"

    @property
    def config(self) -> Path:
        return self.root / "etc/sftp-portal/helper.toml"

    @property
    def state(self) -> Path:
        """What only root may know and change."""
        return self.root / "var/lib/sftp-portal"

    @property
    def extrausers(self) -> Path:
        return self.root / "var/lib/extrausers"

    @property
    def passwd(self) -> Path:
        return self.root / "etc/passwd"

    @property
    def group(self) -> Path:
        return self.root / "etc/group"


@dataclass(frozen=True, slots=True)
class Portal:
    """The numbers of the portal's service account, and of the group that may read key files."""

    uid: int
    gid: int
    keys_gid: int


@dataclass(frozen=True, slots=True)
class Host:
    """All that an operation needs to know of the machine it runs on."""

    settings: Settings
    places: Places
    portal: Portal


def settings_of(data: dict[str, Any]) -> Settings:
    """The settings of a parsed helper.toml. Raises BadSettings for names it does not know and values of other types."""
    values = dict(data)
    quota = values.pop("quota", {})
    return Settings(**_checked(Settings, values), quota=Quota(**_checked(Quota, quota)))


def _checked(shape: type, values: object) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise BadSettings(f"{shape.__name__.lower()} must be a table.")
    defaults = {one.name: one.default for one in fields(shape)}
    for name, value in values.items():
        if name not in defaults:
            raise BadSettings(f"There is no setting {name!r}.")
        wanted = type(defaults[name])
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise BadSettings(f"{name} must be of the type {wanted.__name__}.")
    return values


def settings_read(places: Places) -> Settings:
    """The settings on the disk; what the file does not name has its default. Raises BadSettings."""
    try:
        content = places.config.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    try:
        return settings_of(tomllib.loads(content))
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"helper.toml is not TOML: {error}") from error


def host_of(places: Places) -> Host:
    """This machine. Raises BadSettings, also when the system accounts of the portal are missing."""
    settings = settings_read(places)
    try:
        portal = pwd.getpwnam(settings.portal_user)
        keys = grp.getgrnam(settings.keys_group)
    except KeyError as error:
        raise BadSettings(f"A system account is missing ({error}). Run install.sh first.") from error
    if portal.pw_uid == 0:
        raise BadSettings("The portal's account must not be root.")
    return Host(settings, places, Portal(portal.pw_uid, portal.pw_gid, keys.gr_gid))
