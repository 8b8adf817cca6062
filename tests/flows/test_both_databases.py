"""What is written to the records is in other words on PostgreSQL: all tests of loading once more, there."""

import os
import subprocess
import sys

import psycopg
import pytest

from .stack import EXTERNAL, ROOT, Stack

FILES = ("tests/ingest/test_loading.py", "tests/ingest/test_undos.py", "tests/ingest/test_long_loads.py")


def records_written(address: str) -> int:
    """How many records this database has ever been given, by its own count; those rolled back since count as well."""
    with psycopg.connect(address) as connection:
        row = connection.execute("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'ingest_record'").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("stack", [EXTERNAL], indirect=True)
def test_postgresql_sorts_by_a_language_here_as_it_mostly_does(stack: Stack) -> None:
    """In its databases of tests, and in those that Django makes of its template."""
    assert stack.postgres is not None
    for address in (stack.postgres.ready("sorting"), stack.postgres.database("sorting_bare")):
        with psycopg.connect(address) as connection:
            of_its_own = "SELECT datlocprovider FROM pg_database WHERE datname = current_database()"
            assert connection.execute(of_its_own).fetchone() in [("i",), (b"i",)]
            names = "SELECT name FROM (VALUES ('b'), ('B'), ('_a'), ('a'), ('C'), ('2'), ('1-')) AS given (name)"
            rows = connection.execute(f"{names} ORDER BY name").fetchall()
            assert [name for (name,) in rows] == ["_a", "1-", "2", "a", "b", "B", "C"]


@pytest.mark.parametrize("stack", [EXTERNAL], indirect=True)
def test_records_are_loaded_and_taken_back_on_postgresql_as_on_sqlite(stack: Stack) -> None:
    assert stack.postgres is not None
    used = stack.postgres.ready("test_loading")
    told = {name: value for name, value in os.environ.items() if not name.startswith(("DATA_DIR", "PYTEST_"))}
    told["DATABASE_URL"] = stack.postgres.ready("loading")
    assert records_written(used) == 0
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--reuse-db", "-p", "no:cacheprovider", *FILES]
    done = subprocess.run(command, cwd=ROOT, env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    # It would also come to this on SQLite, were the address not heeded: some are skipped there, and this server idle.
    assert "skipped" not in done.stdout
    assert records_written(used) > 0
