"""kill -9 of a worker at each step of the pipeline: what is left equals an undisturbed night, once."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.clients import Door, sftp

from .seams import SEAMS
from .stack import ROOT, Portal, Stack, wait_for
from .uploads import epoch_in, ready_district, students, upload

NIGHT = "20261121-020000"


class Workers:
    """One worker at a time, killed by itself at the seams; a new one is started each time, as the runner would."""

    def __init__(self, portal: Portal) -> None:
        self.portal = portal
        self.process: subprocess.Popen[bytes] | None = None
        self.deaths = 0

    def look(self) -> None:
        """Starts a worker if none runs."""
        if self.process is not None and self.process.poll() is None:
            return
        self.deaths += self.process is not None
        command = [sys.executable, "-m", "celery", "-A", "tests.flows.killing", "worker", "-c", "2"]
        options = ["--queues", "celery", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
        with (self.portal.data_dir / "killed-workers.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *options], cwd=ROOT, env=self.portal.environment, stdout=log, stderr=log, process_group=0
            )

    def stop(self) -> None:
        """Ends the worker that is left."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


@pytest.fixture(scope="module")
def portal(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Portal]:
    """A portal whose workers are ours."""
    made = stack.portal(tmp_path_factory.mktemp("kills"))
    made.start("--without", "worker")
    try:
        yield made
    finally:
        made.close()


def _tree(door: Door, place: Path) -> dict[str, str]:
    """What lies in /upload-processed/ of a district, as its own client fetches it; lines of the clock left out."""
    place.mkdir(parents=True)
    done = sftp(door, f"get -r /upload-processed {place}")
    assert done.code == 0, done.output
    told = {}
    for path in sorted(path for path in place.rglob("*") if path.is_file()):
        lines = path.read_text().splitlines()
        told[str(path.relative_to(place))] = "\n".join(
            line for line in lines if not line.startswith(("Started:", "Finished:", ' "started":', ' "finished":'))
        )
    return told


def test_a_worker_killed_at_any_step_leaves_what_an_undisturbed_night_leaves(
    portal: Portal, key_pair: Path, tmp_path: Path
) -> None:
    workers = Workers(portal)
    portal.inside("person", email="sam@vendor.example", name="Sam Support", staff_role="support")
    try:
        workers.look()
        names = ["undisturbed", *SEAMS]
        doors: dict[str, Door] = {}
        for name in names:
            _, doors[name] = ready_district(
                portal, name, f"{name}.k12.oh.us", key_pair, administrator=f"admin@{name}.example"
            )
        for name in names:
            upload(doors[name], tmp_path / "night", NIGHT, students(size=25))
        for name in names:
            wait_for(f"{name} is loaded", lambda name=name: _ended(workers, portal, name), 400)
        wanted = _without_names(portal.inside("snapshot", slug="undisturbed"), "undisturbed")
        wanted_tree = _tree(doors["undisturbed"], tmp_path / "undisturbed")
        for name in SEAMS:
            assert (portal.data_dir / f"killed-{name}").exists(), f"no worker was killed at {name}"
            assert _without_names(portal.inside("snapshot", slug=name), name) == wanted, name
            assert _tree(doors[name], tmp_path / name) == wanted_tree, name
            assert "epoch" not in sftp(doors[name], "ls -1 /upload").output
        copies = portal.data_dir / "staging"
        wait_for("no private copy is left", lambda: not [path for path in copies.rglob("*") if path.is_file()])
    finally:
        workers.stop()
    assert workers.deaths >= len(SEAMS)
    assert portal.inside("audit_is_whole")
    assert not list((portal.data_dir / "sftp" / "claimed").iterdir())


def _ended(workers: Workers, portal: Portal, name: str) -> bool:
    workers.look()
    return portal.inside("epochs", slug=name)[-1:] != [] and portal.inside("epochs", slug=name)[-1]["state"] == "loaded"


def _without_names(snapshot: dict[str, object], name: str) -> dict[str, object]:
    """The snapshot with the district's own name taken out, so that two districts can be compared."""
    told = repr(sorted(snapshot.items())).replace(name, "DISTRICT")
    return {"all": told}


def test_an_epoch_after_the_kills_is_loaded_as_any_other(portal: Portal, key_pair: Path, tmp_path: Path) -> None:
    workers = Workers(portal)
    door = portal.door("undisturbed.k12.oh.us", key_pair)
    try:
        workers.look()
        upload(door, tmp_path, "20261122-020000", students(size=25, night=1))
        assert epoch_in(portal, "undisturbed", "20261122-020000", ("loaded",))
    finally:
        workers.stop()
