"""Uploads put straight onto the host's disk, and host doubles that break, count or let somebody in between."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from accounts.models import District
from hosts import provision
from hosts.connect import files_for
from hosts.core import paths
from hosts.core.errors import HostDown
from hosts.files import Entry, HostFiles
from hosts.local import LocalFiles
from ingest import looking, pipeline
from ingest.models import Epoch

NIGHT, NEXT_NIGHT = "20261121-020000", "20261122-020000"
OPERATIONS = (
    "listing",
    "stat",
    "open_read",
    "read",
    "write",
    "rename",
    "remove",
    "remove_tree",
    "make_directory",
    "open_writes",
)


TIMES = (b"Started:", b"Finished:", b' "started":', b' "finished":')


def places_make(district: District) -> None:
    """The district's home on the host, as propagation makes it."""
    settings.SFTP_ROOT.mkdir(parents=True, exist_ok=True)
    provision.home_make(files_for(district.sftp_account.host), paths.username(district.domain))


def home(district: District) -> Path:
    return settings.SFTP_ROOT / "homes" / district.domain


def put(district: District, name: str, files: Mapping[str, bytes], *, complete: bool = True) -> Path:
    """Uploads an epoch; its directory."""
    place = home(district) / "upload" / name
    place.mkdir(exist_ok=True)
    for file, content in files.items():
        (place / file).write_bytes(content)
    if complete:
        (place / "COMPLETE").touch()
    return place


def look() -> None:
    """One look, as beat asks for."""
    looking.look_everywhere()


def queue(district: District, name: str, files: Mapping[str, bytes]) -> Epoch:
    """Uploads an epoch and lets looks queue it, without waiting."""
    put(district, name, files)
    look()
    Epoch.objects.filter(district=district, name=name, state="arriving").update(hurry=True)
    look()
    epoch = Epoch.objects.get(district=district, name=name, state="queued")
    return epoch


def process(district: District) -> None:
    """What workers do until none of its epochs can go on."""
    while pipeline.process_turn(district.pk):
        pass


def night(district: District, name: str, files: Mapping[str, bytes]) -> Epoch:
    """A night from upload to its end."""
    epoch = queue(district, name, files)
    process(district)
    epoch.refresh_from_db()
    return epoch


def on_disk(district: District) -> dict[str, bytes]:
    """Every file below the district's home, and those claimed, without the lines that tell the time of a log."""
    found = {}
    for top in (home(district), settings.SFTP_ROOT / "claimed"):
        for place in sorted(top.rglob("*")):
            if place.is_file():
                lines = place.read_bytes().split(b"\n")
                kept = [line for line in lines if not line.startswith(TIMES)]
                found[str(place.relative_to(settings.SFTP_ROOT))] = b"\n".join(kept)
    return found


def staged() -> list[Path]:
    """What lies in our private staging."""
    return list(settings.STAGING_DIR.glob("*")) if settings.STAGING_DIR.exists() else []


def wipe() -> None:
    """An empty host and empty staging."""
    for place in (settings.SFTP_ROOT, settings.STAGING_DIR):
        shutil.rmtree(place, ignore_errors=True)


class Crash(BaseException):
    """The worker is gone at this moment: nothing catches it."""


class Watched:
    """A host whose every call goes past `before` and `after`, which get the call's number and name."""

    def __init__(self, before: Callable[[int, str], None], after: Callable[[int, str], None]) -> None:
        self.calls = 0
        self._before, self._after = before, after
        self._files: HostFiles = LocalFiles(settings.SFTP_ROOT)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._files, name)
        if name not in OPERATIONS:
            return call

        def watched(*args: object) -> object:
            self.calls += 1
            number = self.calls
            self._before(number, name)
            result = call(*args)
            self._after(number, name)
            return result

        return watched


def nothing(number: int, name: str) -> None:
    """Lets a call pass."""


def use(monkeypatch: pytest.MonkeyPatch, files: object) -> None:
    """Puts a host double in the place of the host, wherever the package reaches for it."""
    for module in ("ingest.looking", "ingest.staging", "ingest.archive"):
        monkeypatch.setattr(f"{module}.files_for", lambda host: files)


class Broken:
    """A host that refuses some calls while `is_broken`."""

    def __init__(self, *names: str, error: type[Exception] = HostDown) -> None:
        self.is_broken, self.names, self.error = True, names, error
        self.files = Watched(self._maybe, nothing)

    def _maybe(self, number: int, name: str) -> None:
        if self.is_broken and name in self.names:
            raise self.error("The host's disk does not answer.")


class TellingLess(LocalFiles):
    """A host that does not tell when anything of a file last changed, as what is asked over SFTP does not."""

    def listing(self, path: paths.HostPath) -> tuple[Entry, ...]:
        return tuple(replace(one, changed=0) for one in super().listing(path))


def link_out_of(place: Path, name: str) -> None:
    os.symlink("/etc/passwd", place / name)


def link_hard(place: Path, name: str) -> None:
    os.link(place / "COMPLETE", place / name)


def fifo(place: Path, name: str) -> None:
    os.mkfifo(place / name)


def folder(place: Path, name: str) -> None:
    (place / name).mkdir()


def later(epoch: Epoch) -> timedelta:
    """How long after now the epoch's next try comes."""
    assert epoch.next_try is not None
    return epoch.next_try - looking.timezone.now()
