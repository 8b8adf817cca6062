"""What is written to the records is in other words on PostgreSQL: all tests of loading once more, there."""

import os
import subprocess
import sys

import pytest

from .stack import EXTERNAL, ROOT, Stack

FILES = ("tests/ingest/test_loading.py", "tests/ingest/test_undos.py", "tests/ingest/test_long_loads.py")


@pytest.mark.parametrize("stack", [EXTERNAL], indirect=True)
def test_records_are_loaded_and_taken_back_on_postgresql_as_on_sqlite(stack: Stack) -> None:
    assert stack.postgres is not None
    stack.postgres.ready("test_loading")
    told = {name: value for name, value in os.environ.items() if not name.startswith(("DATA_DIR", "PYTEST_"))}
    told["DATABASE_URL"] = stack.postgres.ready("loading")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--reuse-db", "-p", "no:cacheprovider", *FILES]
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
