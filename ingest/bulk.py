"""Many records at once, in the words of each database: read out for a comparison, written in, and put back."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from django.db import connection, transaction
from psycopg import Cursor

from .core.engine import engine

# Records read out by one statement.
AT_ONCE = 1 << 16
# The advisory lock under which numbers of records are taken.
NUMBERS = 5_116_001
Span = tuple[int, int]

ADDED = "ingest_record (id, dataset_id, key, digest, data, is_removed, first_epoch_id, last_epoch_id)"
CREATE_ALTERED = "CREATE TEMPORARY TABLE altered (id bigint, what varchar(8), digest {bytes}, data {json})"
CREATE_GONE = "CREATE TEMPORARY TABLE gone (id bigint)"


class Bulk(Protocol):
    """What differs from one database to the other.

    `diff`: the columns of `r.data` that `a.data` has otherwise, with their values; null for those it did not have.
    `restored`: `r.data` with the columns of `c.old` put back. `emptied`: `old` with its names, and nothing but null.
    """

    diff: str
    restored: str
    emptied: str
    types: dict[str, str]

    def on_record(self, dataset: int, spans: Sequence[Span]) -> Iterator[Any]:
        """The records of a dataset as `onrecord.Packed`, some at a time. `spans`: between which numbers they lie."""
        ...

    def numbers(self, count: int) -> int:
        """The first of so many numbers in a row that no record has or will get otherwise."""
        ...

    def add(self, spool: Any, first: int, dataset: int, epoch: int) -> int:
        """Writes the records that a spool adds, numbered from `first` on; returns how many."""
        ...

    def stage(self, spool: Any) -> None:
        """Makes the tables `altered` and `gone`."""
        ...


class Postgres:
    """COPY in both directions; reading out in pieces that PostgreSQL packs, since it hands over rows one by one."""

    diff = """
    (SELECT coalesce(jsonb_object_agg(coalesce(o.key, n.key), o.value), '{}')
     FROM jsonb_each(r.data) o FULL JOIN jsonb_each(a.data) n ON o.key = n.key
     WHERE o.value IS DISTINCT FROM n.value)
    """
    restored = "jsonb_strip_nulls(r.data || c.old)"
    emptied = "(SELECT coalesce(jsonb_object_agg(name, NULL::text), '{}') FROM jsonb_object_keys(old) AS name)"
    types = {"bytes": "bytea", "json": "jsonb"}

    OUT = """
    SELECT string_agg(int8send(id), ''), string_agg(boolsend(is_removed), ''), string_agg(digest, ''),
      string_agg(int4send(octet_length(key)), ''), convert_to(string_agg(key, ''), 'UTF8')
    FROM unnest(%s::bigint[], %s::bigint[]) AS span (first, last)
    JOIN ingest_record ON id BETWEEN span.first AND span.last AND dataset_id = %s
    """

    def on_record(self, dataset: int, spans: Sequence[Span]) -> Iterator[Any]:
        packed = engine("onrecord").Packed
        with transaction.atomic():
            connection.cursor().execute("SET LOCAL jit = off")
            with Cursor(connection.connection) as cursor:  # Django's own can only read text
                for some in grouped(spans):
                    cursor.execute(self.OUT, [*map(list, zip(*some, strict=True)), dataset], binary=True)
                    columns = cursor.fetchone() or (None,)
                    if columns[0] is not None:
                        yield packed(*columns)

    # Between the two calls nobody else may take a number; nobody does it otherwise. The lock ends with the statement:
    # a transaction may last, and while one district loads its first night, others must get their numbers.
    TAKE = """
    WITH alone AS MATERIALIZED (SELECT pg_advisory_lock(%s) IS NOT NULL AS is_mine),
    taken AS MATERIALIZED (
      SELECT nextval(pg_get_serial_sequence('ingest_record', 'id')) AS first FROM alone WHERE is_mine),
    moved AS MATERIALIZED (
      SELECT first, setval(pg_get_serial_sequence('ingest_record', 'id'), first + %s) AS last FROM taken)
    SELECT first, last, pg_advisory_unlock(%s) FROM moved WHERE last >= first
    """

    def numbers(self, count: int) -> int:
        with connection.cursor() as cursor:
            cursor.execute(self.TAKE, [NUMBERS, count - 1, NUMBERS])
            return int(cursor.fetchone()[0])

    def add(self, spool: Any, first: int, dataset: int, epoch: int) -> int:
        lines, does = engine("lines"), engine("matching").Does
        pieces = lines.numbered(spool.changes(does.ADDED), first)
        return self._copy(ADDED, (lambda one: lines.added_lines(*one, dataset, epoch)), pieces)

    def stage(self, spool: Any) -> None:
        lines, does = engine("lines"), engine("matching").Does
        self._copy("altered", lines.altered_lines, spool.changes(does.CHANGED, does.RETURNED))
        gone = spool.gone.ids.tolist()
        self._copy("gone", lambda some: "".join(f"{number}\n" for number in some).encode(), [gone] if gone else [])
        connection.cursor().execute("ANALYZE altered; ANALYZE gone")

    def _copy(self, into: str, lines: Any, pieces: Iterable[Any]) -> int:
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY {into} FROM STDIN") as copy:
                # Made by other threads while PostgreSQL takes in those before.
                for made in engine("sieve").in_order(lines, pieces):
                    copy.write(made)
            return cursor.rowcount


class Sqlite:
    """Statement by statement, each for many rows."""

    diff = """
    (SELECT json_group_object(name, value) FROM (
       SELECT o.key AS name, o.value FROM json_each(r.data) o
       LEFT JOIN json_each(a.data) n ON o.key = n.key WHERE o.value IS NOT n.value
       UNION ALL
       SELECT n.key, NULL FROM json_each(a.data) n
       WHERE NOT EXISTS (SELECT 1 FROM json_each(r.data) o WHERE o.key = n.key)))
    """
    restored = "json_patch(r.data, c.old)"
    emptied = "(SELECT json_group_object(key, NULL) FROM json_each(old))"
    types = {"bytes": "blob", "json": "text"}

    def on_record(self, dataset: int, spans: Sequence[Span]) -> Iterator[Any]:
        packed = engine("onrecord").packed
        with connection.cursor() as cursor:
            cursor.execute("SELECT id, is_removed, digest, key FROM ingest_record WHERE dataset_id = %s", [dataset])
            while rows := cursor.fetchmany(AT_ONCE):
                yield packed(rows)

    def numbers(self, count: int) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = 'ingest_record'")
            return int((cursor.fetchone() or (0,))[0]) + 1

    def add(self, spool: Any, first: int, dataset: int, epoch: int) -> int:
        lines, does = engine("lines"), engine("matching").Does
        statement = f"INSERT INTO {ADDED} VALUES (%s, {dataset:d}, %s, %s, %s, false, {epoch:d}, {epoch:d})"
        written = 0
        with connection.cursor() as cursor:
            for changes, number in lines.numbered(spool.changes(does.ADDED), first):
                cursor.executemany(statement, lines.added_rows(changes, number))
                written += len(changes)
        return written

    def stage(self, spool: Any) -> None:
        lines, does = engine("lines"), engine("matching").Does
        with connection.cursor() as cursor:
            for changes in spool.changes(does.CHANGED, does.RETURNED):
                cursor.executemany("INSERT INTO altered VALUES (%s, %s, %s, %s)", lines.altered_rows(changes))
            cursor.executemany("INSERT INTO gone VALUES (%s)", [(number,) for number in spool.gone.ids.tolist()])


def bulk() -> Bulk:
    """The way of the database in use."""
    return Postgres() if connection.vendor == "postgresql" else Sqlite()


def grouped(spans: Sequence[Span]) -> Iterator[list[Span]]:
    """The same numbers in spans that lie together in lists of about `AT_ONCE` numbers; none of them twice."""
    group: list[Span] = []
    size, reached = 0, 0
    for first, last in sorted(spans):
        first = max(first, reached + 1)
        while first <= last:
            end = min(last, first + AT_ONCE - size - 1)
            group.append((first, end))
            size, reached, first = size + end - first + 1, end, end + 1
            if size == AT_ONCE:
                yield group
                group, size = [], 0
    if group:
        yield group
