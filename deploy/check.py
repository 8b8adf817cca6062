"""`make check`: everything that can be judged without running the portal. Runs all, then says what failed."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

BIN = Path(sys.executable).parent
PYTHON = [sys.executable]
MANAGE = [*PYTHON, "manage.py"]
CHECKS: tuple[tuple[str, list[str]], ...] = (
    ("ruff: lint", [str(BIN / "ruff"), "check", "."]),
    ("ruff: format", [str(BIN / "ruff"), "format", "--check", "."]),
    (
        "mypy (strict in */core/)",
        [str(BIN / "mypy"), "hosts", "accounts", "keys", "ingest", "portal", "deploy"],
    ),
    ("import contract", [str(BIN / "lint-imports")]),
    ("Django system check", [*MANAGE, "check", "--fail-level", "WARNING"]),
    ("migrations are complete", [*MANAGE, "makemigrations", "--check", "--dry-run"]),
    ("templates: format", [str(BIN / "djlint"), "templates", "--check", "--quiet"]),
    ("templates: lint", [str(BIN / "djlint"), "templates", "--lint", "--quiet"]),
)


def main() -> int:
    """Exit status 1 if any check failed."""
    failed = []
    with tempfile.TemporaryDirectory() as data_dir:
        environment = {**os.environ, "DATA_DIR": data_dir}
        for name, command in CHECKS:
            print(f"--- {name}", flush=True)
            if subprocess.run(command, env=environment, check=False).returncode:
                failed.append(name)
    print("check failed: " + ", ".join(failed) if failed else "check passed")
    return 1 if failed else 0


sys.exit(main())
