"""The recipes of the Connect page, each run as it stands by the program it is for, in a home of its own."""

import os
import pwd
from pathlib import Path

import pytest

from keys.core.recipes import Reach, Recipe, recipes

from .clients import Door, Ran, program, putty_key, run
from .conftest import OURS
from .serving import Serving

ROWS = {"students.csv": b"Student Id\r\n1\r\n", "users.csv": b"User Id\r\n2\r\n"}


@pytest.fixture
def home(door: Door, tmp_path: Path) -> Path:
    """The home of a person who has the key under its usual name, and a folder of nightly files."""
    home = tmp_path / "home"
    for place in (home / ".ssh", home / ".config/rclone", home / "nightly files"):
        place.mkdir(parents=True, mode=0o700)
    for here, there in ((door.key, "id_ed25519"), (Path(f"{door.key}.pub"), "id_ed25519.pub")):
        (home / ".ssh" / there).write_bytes(here.read_bytes())
    (home / ".ssh/id_ed25519").chmod(0o600)
    (home / ".ssh/id_ed25519.ppk").write_bytes(putty_key(door).read_bytes())
    for name, content in ROWS.items():
        (home / "nightly files" / name).write_bytes(content)
    return home


@pytest.fixture
def another(keys: Path) -> str:
    """A public key that is not the host's."""
    return " ".join((keys / "stranger.pub").read_text(encoding="ascii").split()[:2])


def _as_person(home: Path, *words: str) -> Ran:
    """OpenSSH looks in the home that the system knows, not in $HOME: for this one program it is another."""
    own = pwd.getpwuid(0).pw_dir
    unshare = [program("unshare"), "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    inside = ["sh", "-c", 'mount --bind "$1" "$2" && shift 2 && cd && exec "$@"', "sh", str(home), own, *words]
    return run([program("env"), f"HOME={own}", *unshare, *inside])


def _take(home: Path, recipe: Recipe) -> dict[str, str]:
    """Puts each text where the page says it goes; what is to be run comes back by its place."""
    run_these = {}
    for place, text in recipe.texts:
        if place.startswith("~/"):
            with (home / place.partition(",")[0].removeprefix("~/")).open("a", encoding="utf-8") as file:
                file.write(text)
        elif place.endswith(".sh"):
            (home / place).write_text(text, encoding="utf-8")
        else:
            run_these[place] = text
    return run_these


def _recipe(door: Door, slug: str) -> Recipe:
    reach = Reach(door.address, door.port, door.username, door.host_key)
    return next(one for one in recipes(reach) if one.slug == slug)


HERE = ("psftp", "openssh", "lftp", "rclone", "curl")


@pytest.mark.parametrize("slug", HERE)
def test_the_script_uploads_an_epoch_and_complete_last(slug: str, host: Serving, door: Door, home: Path) -> None:
    program("curl" if slug == "curl" else slug.replace("openssh", "sftp"))
    _take(home, _recipe(door, slug))
    done = _as_person(home, "sh", "upload-epoch.sh", "nightly files")
    assert done.code == 0, done.output
    (epoch,) = (host.home(OURS) / "upload").iterdir()
    assert {file.name: file.read_bytes() for file in epoch.iterdir()} == {**ROWS, "COMPLETE": b""}
    born = {file.name: file.stat().st_ctime_ns for file in epoch.iterdir()}
    assert max(born, key=born.__getitem__) == "COMPLETE"


@pytest.mark.parametrize("slug", HERE)
@pytest.mark.parametrize("is_empty", [False, True], ids=["a file that cannot be read", "no file at all"])
def test_what_cannot_be_uploaded_whole_has_no_complete(
    slug: str, is_empty: bool, host: Serving, door: Door, home: Path
) -> None:
    """The program fails, and says so to whoever runs it at night."""
    _take(home, _recipe(door, slug))
    for file in (home / "nightly files").iterdir():
        file.unlink()
    if not is_empty:
        (home / "nightly files/students.csv").write_bytes(ROWS["students.csv"])
        (home / "nightly files/users.csv").symlink_to("/nowhere/users.csv")
    done = _as_person(home, "sh", "upload-epoch.sh", "nightly files")
    assert done.code != 0, done.output
    assert not list(host.home(OURS).glob("upload/*/COMPLETE"))


@pytest.mark.parametrize("slug", HERE)
def test_a_host_with_another_key_gets_nothing(slug: str, host: Serving, door: Door, home: Path, another: str) -> None:
    other = Door(door.port, door.username, door.key, another, door.address)
    _take(home, _recipe(other, slug))
    done = _as_person(home, "sh", "upload-epoch.sh", "nightly files")
    assert done.code != 0, done.output
    assert not list((host.home(OURS) / "upload").iterdir())


@pytest.mark.parametrize(("slug", "batch"), [("openssh", "ls\n"), ("rclone", "")])
def test_the_line_to_try_shows_the_three_places(slug: str, batch: str, door: Door, home: Path) -> None:
    command = _take(home, _recipe(door, slug))["Try it"]
    done = _as_person(home, "sh", "-c", f"printf '{batch}' | {command}")
    assert done.code == 0, done.output
    assert all(place in done.output for place in ("downloads", "upload", "upload-processed"))
