"""Uploads as a district's nightly job makes them: a directory, the files, COMPLETE last, with a real client."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ingest.catalogue import format_named
from ingest.core import sampling
from tests.hosts.clients import Door, sftp

from .stack import Portal, wait_for

ENDED = ("loaded", "failed")


def students(night: int = 0, size: int = 40) -> dict[str, bytes]:
    """A night of one file of students."""
    return {"students.csv": _night("samegoal-students-2", size, night)["students.csv"]}


def rostering(night: int = 0, size: int = 40) -> dict[str, bytes]:
    """A night of many files and a manifest."""
    return _night("oneroster-1.1", size, night)


def _night(name: str, size: int, night: int) -> dict[str, bytes]:
    known = format_named(name)
    assert known is not None
    return sampling.epoch(known, size=size, night=night)


def upload(door: Door, folder: Path, name: str, files: Mapping[str, bytes], *, complete: bool = True) -> None:
    """Puts an epoch into /upload/ with OpenSSH's sftp."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"-mkdir /upload/{name}"]
    for file, content in files.items():
        (folder / file).write_bytes(content)
        lines.append(f'put "{folder / file}" "/upload/{name}/{file}"')
    if complete:
        (folder / "COMPLETE").touch()
        lines.append(f"put {folder / 'COMPLETE'} /upload/{name}/COMPLETE")
    done = sftp(door, *lines)
    assert done.code == 0, done.output


def epoch_in(
    portal: Portal, slug: str, name: str, states: tuple[str, ...] = ENDED, seconds: float = 120.0
) -> dict[str, Any]:
    """The epoch of that name once it is in one of the states."""

    def look() -> dict[str, Any] | None:
        found = [one for one in portal.inside("epochs", slug=slug) if one["name"] == name]
        return found[-1] if found and found[-1]["state"] in states else None

    found: dict[str, Any] = wait_for(f"{name} of {slug} is {' or '.join(states)}", look, seconds)
    return found


def ready_district(portal: Portal, slug_of: str, domain: str, key: Path, administrator: str = "") -> tuple[str, Door]:
    """A district whose key is on the host: its slug and the way in."""
    slug = portal.inside("district", name=slug_of, domain=domain, administrator=administrator)
    portal.inside("save_keys", slug=slug, text=key.with_suffix(".pub").read_text())
    wait_for("the key is on the host", lambda: portal.inside("key_file", slug=slug)["state"] == "on_host")
    return slug, portal.door(domain, key)
