"""Workers killed between any two steps, and two at once: the next finishes, nothing is half done or told twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.hosts.serving import until

from .fleet import NAMES, check_whole, host_columns, public_key, standing, strays, time_passes
from .host import REPOSITORY, OpensshHost, running

COUNT = 4
DRIFTED = NAMES[2]


class Worker:
    """Fresh processes of the portal at `data`, one after the other."""

    def __init__(self, data: Path) -> None:
        environment = {**os.environ, "DATA_DIR": str(data), "DATABASE_URL": f"sqlite:///{data}/portal.sqlite3"}
        # What the test has sealed, the worker opens.
        environment["SECRETS_KEYS"] = ",".join(settings.SECRETS_KEYS)
        environment |= {"LOG_LEVEL": "ERROR", "EMAIL_URL": "", "BROKER_URL": ""}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.deploy.worker"],
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def begin(self, do: str, **told: Any) -> int:
        """Asks for something; the number of the process that does it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **told}) + "\n")
        self._process.stdin.flush()
        return int(self._line()["pid"])

    def end(self) -> dict[str, Any]:
        """What became of it."""
        return self._line()

    def do(self, do: str, **told: Any) -> Any:
        self.begin(do, **told)
        answer = self.end()
        assert "told" in answer, (do, answer)
        return answer["told"]

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return dict(json.loads(self._process.stdout.readline()))

    def stop(self) -> None:
        self._process.communicate()


class Scene:
    """A host with a portal beside it, where new sets are wanted; it can be put back to that."""

    def __init__(self, directory: Path, host: OpensshHost) -> None:
        self.host, self._data, self._kept = host, directory / "data", directory / "kept"
        self._data.mkdir()
        self._kept.mkdir()
        self.one, self.other = Worker(self._data), Worker(self._data)
        self.one.do("prepare", columns=host_columns(host), count=COUNT)
        with (host.root / "keys" / DRIFTED).open("a") as file:
            file.write(f"{public_key('a stranger').line()}\n")
        self.old = standing(host)
        self.one.do("save_all", wave="new")
        self.new = self.wanted()
        self.one.do("keep", path=str(self._kept / "portal.sqlite3"))
        subprocess.run(["cp", "-a", f"{host.root}/keys", str(self._kept)], check=True)

    def back(self) -> None:
        """Host and database are as they were at first."""
        for path in (self.host.root / "keys").iterdir():
            path.unlink()
        subprocess.run(["cp", "-a", f"{self._kept}/keys/.", f"{self.host.root}/keys"], check=True)
        for path in self._data.glob("portal.sqlite3*"):
            path.unlink()
        shutil.copy(self._kept / "portal.sqlite3", self._data)

    def wanted(self) -> dict[str, bytes]:
        return {name: text.encode() for name, text in self.other.do("contents").items()}

    def stop(self) -> None:
        self.one.stop()
        self.other.stop()


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with running(tmp_path_factory.mktemp("workers-host")) as host:
        scene = Scene(tmp_path_factory.mktemp("workers"), host)
        yield scene
        scene.stop()


@pytest.fixture
def scene(staged: Scene) -> Scene:
    staged.back()
    return staged


TOLD_ONCE = ["key-found dana@fleet.example", "key-found olga@vendor.example"]


def _check_ended(scene: Scene, new: dict[str, bytes], where: str, state: dict[str, Any] | None = None) -> None:
    """All is on the host and the database says so; nothing is left open; nothing was found or told twice."""
    assert standing(scene.host) == new, where
    assert strays(scene.host) == [], where
    state = state or dict(scene.one.do("state"))
    assert state["files"] == [["on_host", True, 0, "", False]] * len(new), (where, state["files"])
    assert state["sets_open"] == 0, where
    for run in state["runs"]:
        total, *counts, _ = run["counts"]
        assert (run["state"], run["finished"], sum(counts)) == ("done", True, total), (where, run)
        assert all(part == ["done", True] for part in run["parts"]), (where, run)
    assert state["found"] == 1, where
    assert [mail for mail in state["mails"] if "key-found" in mail] == TOLD_ONCE, (where, state["mails"])


@pytest.mark.parametrize("are_doubted", [False, True], ids=["at home", "homes in doubt"])
def test_a_worker_killed_between_any_two_steps_is_finished_by_the_next(scene: Scene, are_doubted: bool) -> None:
    def back() -> None:
        scene.back()
        if are_doubted:
            scene.one.do("doubt_homes")

    back()
    seams = scene.one.do("run")
    _check_ended(scene, scene.new, "undisturbed")
    assert len(set(seams)) > 15, seams
    assert ("before _take_out_early" in seams) == are_doubted
    for number, seam in enumerate(seams, 1):
        where = f"killed at seam {number}, {seam}"
        back()
        scene.one.begin("run", seam=number)
        assert scene.one.end() == {"died": signal.SIGKILL}, where
        check_whole(scene.host, scene.old, scene.new)
        time_passes(scene.host)
        _check_ended(scene, scene.new, where, dict(scene.one.do("recover")))


# --- Two at once -------------------------------------------------------------------------------------------------


def test_two_runs_at_once_bring_each_file_once_and_right(scene: Scene) -> None:
    workers = [scene.one, scene.other]
    for worker in workers:
        worker.begin("run")
    assert all("told" in worker.end() for worker in workers)
    _check_ended(scene, scene.new, "two runs")


def test_saves_and_their_pushes_beside_a_run_end_with_the_newest_set(scene: Scene) -> None:
    scene.one.begin("run")
    for wave in range(2):
        for name in NAMES[:COUNT]:
            scene.other.do("save", name=name, seed=f"wave {wave} of {name}")
            scene.other.do("push", name=name)
    assert "told" in scene.one.end()
    scene.one.do("recover")
    newest = scene.wanted()
    assert all(b"wave 1" in content for content in newest.values())
    _check_ended(scene, newest, "saves beside a run")


def _stand_still(scene: Scene, seam: str) -> int:
    """A run that stands still at the first seam of that name in which it writes; the number of its process."""
    seams = scene.one.do("run")
    scene.back()
    pid = scene.one.begin("run", seam=seams.index(seam) + 1, act="stand still")
    until(lambda: "State:\tT" in Path(f"/proc/{pid}/status").read_text(), "a worker that stands still")
    return pid


def test_what_is_saved_in_the_middle_of_a_run_waits_for_the_next_and_is_not_told_as_brought(scene: Scene) -> None:
    pid = _stand_still(scene, "before _write")
    scene.other.do("save", name=NAMES[0], seed="newest")
    scene.other.do("push", name=NAMES[0])  # finds the file taken
    assert b"newest" not in standing(scene.host)[NAMES[0]]
    os.kill(pid, signal.SIGCONT)
    assert "told" in scene.one.end()
    check_whole(scene.host, scene.new)
    assert scene.one.do("state")["files"][0][:2] == ["waiting", False]
    newest = scene.wanted()
    assert b"newest" in newest[NAMES[0]]
    _check_ended(scene, newest, "saved in the middle", dict(scene.one.do("recover")))


@pytest.mark.parametrize("seam", ["before _read", "before _judge", "before _make_homes"])
def test_a_worker_that_wakes_up_late_writes_no_older_set_over_a_newer_one(scene: Scene, seam: str) -> None:
    pid = _stand_still(scene, seam)
    scene.other.do("save", name=NAMES[0], seed="newest")
    scene.other.do("recover")
    newest = scene.wanted()
    assert standing(scene.host) == newest
    os.kill(pid, signal.SIGCONT)
    scene.one.end()
    assert standing(scene.host) == newest
    _check_ended(scene, newest, seam, dict(scene.one.do("recover")))


def test_a_worker_that_hangs_while_it_writes_is_put_right_by_the_next(scene: Scene) -> None:
    pid = _stand_still(scene, "in write_many")
    scene.other.do("save", name=NAMES[0], seed="newest")
    scene.other.do("recover")
    newest = scene.wanted()
    os.kill(pid, signal.SIGCONT)
    scene.one.end()
    check_whole(scene.host, scene.old, scene.new, newest)
    _check_ended(scene, newest, "hung while writing", dict(scene.one.do("recover")))
