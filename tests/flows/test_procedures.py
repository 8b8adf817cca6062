"""The procedures of docs/operations.md, as they are written there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system_packages import find

from .stack import EMBEDDED, EXTERNAL, ROOT, Portal, Stack, wait_for
from .uploads import epoch_in, ready_district, students, upload

PAGE = (ROOT / "docs/operations.md").read_text("utf-8")
NIGHT, NEXT = "20261101-020000", "20261102-020000"


def block(behind: str) -> str:
    """The commands that stand next behind these words."""
    found = re.search(r"(?:^    .*\n)+", PAGE[PAGE.index(behind) :], re.MULTILINE)
    assert found is not None
    return found[0]


def follow(portal: Portal, behind: str, backup: Path, **told: str) -> None:
    """Does what stands there, in the portal's environment."""
    programs = [Path(sys.executable).parent, Path(str(find("initdb"))).parent]
    path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
    environment = portal.environment | {"BACKUP": str(backup), "PATH": path} | told
    command = ["bash", "-euo", "pipefail", "-c", block(behind)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture
def loaded(stack: Stack, tmp_path: Path, key_pair: Path) -> Iterator[tuple[Portal, str]]:
    """A portal that has loaded a night and is stopped, and its district."""
    (tmp_path / "old").mkdir()
    portal = stack.portal(tmp_path / "old")
    try:
        portal.start()
        slug, door = ready_district(portal, "Larch", "larch.k12.oh.us", key_pair)
        upload(door, tmp_path / "night", NIGHT, students())
        epoch_in(portal, slug, NIGHT, ("loaded",))
        portal.stop()
        yield portal, slug
    finally:
        portal.close()


def _goes_on(portal: Portal, slug: str, key_pair: Path, folder: Path, before: dict[str, Any]) -> None:
    """All is there as it was, keys are sealed with the same secret, and the next night is compared with the last."""
    portal.start()
    assert portal.inside("snapshot", slug=slug)["records"] == before["records"]
    assert portal.inside("audit_is_whole")
    wait_for("the key is on the host", lambda: portal.inside("key_file", slug=slug)["state"] == "on_host")
    upload(portal.door("larch.k12.oh.us", key_pair), folder / "next", NEXT, students(night=1))
    epoch_in(portal, slug, NEXT, ("loaded",))
    added, changed, removed = portal.inside("snapshot", slug=slug)["files"][-1][5:8]
    assert added + changed + removed < 10


def test_a_backup_is_restored(stack: Stack, loaded: tuple[Portal, str], key_pair: Path, tmp_path: Path) -> None:
    portal, slug = loaded
    before, backup = portal.inside("snapshot", slug=slug), tmp_path / "backup"
    backup.mkdir()
    embedded = stack.name == EMBEDDED
    follow(portal, "*With SQLite*" if embedded else "*With PostgreSQL*", backup)
    portal.inside.close()
    secret = (portal.data_dir / "secrets-key").read_bytes()
    restored = portal
    if embedded:
        shutil.rmtree(portal.data_dir)
        follow(restored, "into an empty `DATA_DIR`:", backup)
    else:
        # The machine of the portal is lost with its database, the embedded host's files are not.
        (portal.data_dir / "secrets-key").unlink()
        assert stack.postgres is not None
        restored.environment["DATABASE_URL"] = stack.postgres.database("restored")
        follow(restored, "into an empty database:", backup)
    assert (restored.data_dir / "secrets-key").read_bytes() == secret
    assert (restored.data_dir / "secrets-key").stat().st_mode & 0o077 == 0
    _goes_on(restored, slug, key_pair, tmp_path, before)


@pytest.mark.parametrize("stack", [EXTERNAL], indirect=True)
def test_a_portal_moves_from_sqlite_to_postgresql(stack: Stack, key_pair: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "backup").mkdir()
    assert stack.postgres is not None
    portal = stack.portal(tmp_path / "old")
    del portal.environment["DATABASE_URL"]
    try:
        portal.start()
        slug, door = ready_district(portal, "Larch", "larch.k12.oh.us", key_pair)
        upload(door, tmp_path / "night", NIGHT, students())
        epoch_in(portal, slug, NIGHT, ("loaded",))
        portal.stop()
        before = portal.inside("snapshot", slug=slug)
        portal.inside.close()
        new = stack.postgres.database("moved")
        follow(portal, "**From SQLite to PostgreSQL**", tmp_path / "backup", NEW_DATABASE_URL=new)
        assert list((tmp_path / "backup").iterdir()) == []
        portal.environment["DATABASE_URL"] = new
        (portal.data_dir / "portal.sqlite3").unlink()
        _goes_on(portal, slug, key_pair, tmp_path, before)
    finally:
        portal.close()


@pytest.mark.parametrize("stack", [EXTERNAL], indirect=True)
def test_the_parts_run_as_units_of_their_own(stack: Stack, key_pair: Path, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    portal = stack.portal(tmp_path / "parts")
    lines = [shlex.split(line) for line in block("**All four workers are needed**").splitlines()]
    assert [line[3] for line in lines] == ["worker"] * 4 + ["beat"]
    names = ["worker", "worker-keys", "worker-runs", "worker-soon", "beat"]
    units = []
    try:
        portal.start(*[word for name in names for word in ("--without", name)])
        for number, line in enumerate(lines):
            with (tmp_path / f"unit{number}.log").open("wb") as log:
                command = [sys.executable, "-m", *line]
                units.append(subprocess.Popen(command, cwd=ROOT, env=portal.environment, stdout=log, stderr=log))
        slug, door = ready_district(portal, "Larch", "larch.k12.oh.us", key_pair)
        upload(door, tmp_path / "night", NIGHT, students())
        epoch_in(portal, slug, NIGHT, ("loaded",))
    finally:
        for unit in units:
            unit.terminate()
        for unit in units:
            unit.wait(60)
        portal.close()
