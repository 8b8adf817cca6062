"""SIGKILL wherever the world has just become another one: nothing is lost, nothing is applied twice."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ingest.catalogue import format_named
from ingest.core import sampling

from .mishaps import joined, lines, without
from .stack import Inside, Portal, Stack

SLUG = "aspen"
FIRST, SECOND, THIRD, FOURTH = (f"2026112{number}-020000" for number in range(1, 5))
COMMITS = ("before commit", "after commit")
Night = tuple[str, dict[str, bytes]]


def some(night: int) -> dict[str, bytes]:
    """Nights of four files, of one of which the rows belong to another's: each adds, changes and removes some rows."""
    known = format_named("samegoal-students-2")
    assert known is not None
    files = sampling.epoch(known, 30 + 3 * night, 1, 10 * night)
    header, *rows = lines(files["guardians.csv"])
    return {**files, "guardians.csv": joined([header, *rows[night:]])}


def partial() -> dict[str, bytes]:
    """A night that is held, since one file of the usual set is missing."""
    return without(some(2), "user_roles.csv")


def spoilt() -> dict[str, bytes]:
    """A night with an error."""
    return {**some(1), "students.csv": some(1)["students.csv"][:-30]}


def packed() -> dict[str, bytes]:
    """A night in a zip."""
    known = format_named("oneroster-1.1")
    assert known is not None
    return {"roster.zip": sampling.zipped(sampling.epoch(known, 20))}


@dataclass(frozen=True, slots=True)
class Case:
    """What was before, what is done and killed, and how the last night ends.

    `is_whole`: killed at every seam, one time after the other; else around each commit only.
    """

    what: str
    before: tuple[Night | str, ...]
    act: str
    state: str
    is_whole: bool = False


CASES = (
    Case("a first night in a zip", ((FIRST, packed()),), "process", "loaded"),
    Case("a night that adds, changes and removes", ((FIRST, some(0)), "process", (SECOND, some(2)), "process",
         (THIRD, some(1))), "process", "loaded", is_whole=True),
    Case("the same night again", ((FIRST, some(0)), "process", (SECOND, some(0))), "process", "loaded"),
    Case("a night with an error", ((FIRST, some(0)), "process", (SECOND, spoilt())), "process", "failed"),
    Case("a night that is held", ((FIRST, some(0)), "process", (SECOND, partial())), "process", "held"),
    Case("approving", ((FIRST, some(0)), "process", (SECOND, partial()), "process"), "approve", "loaded",
         is_whole=True),
    Case("discarding", ((FIRST, some(0)), "process", (SECOND, partial()), (THIRD, some(1)), "process"), "discard",
         "loaded"),
    Case("going on with the newest", ((FIRST, some(0)), "process", (SECOND, partial()), (THIRD, some(1)), "process"),
         "skip", "loaded"),
    Case("asking", ((FIRST, some(0)), "process", (SECOND, partial()), "process"), "ask", "held"),
    Case("taking back", ((FIRST, some(0)), "process", (SECOND, some(2)), "process"), "undo", "undone", is_whole=True),
    Case("releasing", ((FIRST, some(0)), "process", (SECOND, some(2)), "process", "undo", (THIRD, some(1)), "process"),
         "release", "loaded"),
)  # fmt: skip


class World:
    """A portal's database and files without its processes; can be put back to how they were."""

    def __init__(self, stack: Stack, portal: Portal, folder: Path) -> None:
        self.portal, self.postgres, self.folder = portal, stack.postgres, folder
        self.kept: set[str] = set()
        portal.environment["INGEST_QUIET_SECONDS"] = "0"
        self.hand = Inside(portal.environment, "tests.flows.dying")

    def __call__(self, call: str, deadly: int | None = None, /, **told: object) -> dict[str, Any]:
        """One thing done in a process of its own."""
        answer: dict[str, Any] = self.hand("forked", name=call, deadly=deadly, told={"slug": SLUG, **told})
        assert "error" not in answer, answer["error"]
        return answer

    def keep(self, name: str) -> None:
        """Keeps how all is now."""
        if name in self.kept:
            self._remove(self.folder / name, name)
        self.kept.add(name)
        self._copy(self.portal.data_dir, self.folder / name, self._database, name)

    def put_back(self, name: str) -> None:
        """Makes all as it was."""
        self._remove(self.portal.data_dir, self._database)
        self._copy(self.folder / name, self.portal.data_dir, name, self._database)

    def _remove(self, place: Path, database: str) -> None:
        shutil.rmtree(place)
        if self.postgres:
            self.postgres.remove(database)

    def _copy(self, old_place: Path, new_place: Path, old: str, new: str) -> None:
        shutil.copytree(old_place, new_place)
        if self.postgres:
            self.postgres.copy(old, new)

    @property
    def _database(self) -> str:
        return self.portal.environment.get("DATABASE_URL", "").rpartition("/")[2]


@pytest.fixture(scope="module")
def empty(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A portal without a night."""
    folder = tmp_path_factory.mktemp("seams")
    made = World(stack, stack.portal(folder), folder)
    made("world")
    made.keep("empty")
    yield made
    made.hand.close()


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_killed_at_any_seam_it_comes_to_what_it_comes_to_undisturbed(empty: World, case: Case) -> None:
    world = empty
    world.put_back("empty")
    for one in case.before:
        if isinstance(one, str):
            world(one)
        else:
            world("put", name=one[0], files={file: content.decode("latin-1") for file, content in one[1].items()})
    world.keep("before")
    before = world("rows")["done"]
    seams = world(case.act, 0)["seams"]
    after = world("rows")["done"]
    audits = len(before["audit"])
    again = "" if case.act == "process" else case.act
    wanted = world("after_death", again="", audits=audits)["done"]["end"]
    assert wanted["epochs"][-1][1] == case.state, wanted["epochs"]
    assert not case.is_whole or all(sum(file[at] for file in wanted["files"]) for at in (5, 6, 7)), wanted["files"]
    for number in _deadly(seams, case):
        where = f"killed at seam {number}, {seams[number - 1]}"
        world.put_back("before")
        assert "done" not in world(case.act, number), f"not {where}"
        told = world("after_death", again=again, audits=audits)["done"]
        parts = ("records",) if case.act == "process" else tuple(before)
        assert {part: told["left"][part] for part in parts} in (
            {part: then[part] for part in parts} for then in (before, after)
        ), f"{where}: half done"
        for part, there in wanted.items():
            assert told["end"][part] == there, f"{where}: {part}"


def _deadly(seams: list[str], case: Case) -> list[int]:
    """Numbers of seams: those around commits, or all, but of more than two of one name in a row the first and last."""
    chosen = []
    for number, (before, seam, after) in enumerate(zip(["", *seams], seams, [*seams[1:], ""], strict=False), 1):
        if seam in COMMITS or (case.is_whole and not before == seam == after):
            chosen.append(number)
    return chosen
