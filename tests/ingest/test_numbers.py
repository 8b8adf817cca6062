"""Numbers of new records on PostgreSQL: never the same twice, and nobody waits for another's transaction."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from ingest.bulk import NUMBERS, Postgres
from tests.flows import stack


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with the one table whose numbers are taken."""
    server = stack.Postgres(Path(tmp_path_factory.mktemp("numbers")) / "postgres")
    try:
        made = server.database("portal")
        with psycopg.connect(made) as database:
            database.execute("CREATE TABLE ingest_record (id bigserial)")
        yield made
    finally:
        server.stop()


def take(database: psycopg.Connection, count: int) -> range:
    row = database.execute(Postgres.TAKE, [NUMBERS, count - 1, NUMBERS]).fetchone()
    assert row is not None
    return range(row[0], row[0] + count)


def test_whoever_loads_for_long_keeps_nobody_from_taking_numbers(address: str) -> None:
    with psycopg.connect(address) as slow, psycopg.connect(address) as other:
        mine = take(slow, 200_000)  # and its transaction goes on
        other.execute("SET lock_timeout = '5s'")
        theirs = take(other, 10)
        assert theirs[0] == mine[-1] + 1
        locks = slow.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
        assert locks == (0,)


def test_numbers_taken_at_one_time_are_never_the_same(address: str) -> None:
    def many(count: int) -> list[range]:
        with psycopg.connect(address, autocommit=True) as database:
            return [take(database, count) for _ in range(200)]

    with ThreadPoolExecutor(4) as pool:
        spans = sorted((one for some in pool.map(many, (1, 3, 50, 7)) for one in some), key=lambda one: one[0])
    assert all(before[-1] < after[0] for before, after in pairwise(spans))
