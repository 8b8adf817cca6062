"""Lists as CSV: what a page lists, all pages of it, by the filters in its address and through the page's own door.

Times are exact and have their zone, so that a file says the same to whoever opens it. No column may hold student data:
each list names its columns, in the order in which they stand.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, tzinfo
from typing import Any

import django_tables2 as tables
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone

from .core.cells import harmless

# A heading, and what stands under it of one row.
Columns = tuple[tuple[str, Callable[[Any], object]], ...]
AT_ONCE = 1000


class _Line:
    """What `csv` writes to: each row is handed back as it is."""

    def write(self, text: str) -> str:
        return text


def is_asked(request: HttpRequest) -> bool:
    """Whether a page is asked for its list as a file."""
    return request.GET.get("export") == "csv"


def csv_download(name: str, columns: Columns, rows: Iterable[Any]) -> StreamingHttpResponse:
    """The rows as a file `<name>-<today>.csv`, sent while they are read; behind a door that was opened."""
    # The person's, as on the page: when the rows are read the request is over.
    zone = timezone.get_current_timezone()
    read = rows.iterator(chunk_size=AT_ONCE) if isinstance(rows, QuerySet) else rows
    headers = {"Content-Disposition": f'attachment; filename="{name}-{timezone.localdate()}.csv"'}
    return StreamingHttpResponse(_lines(columns, read, zone), content_type="text/csv; charset=utf-8", headers=headers)


def table_download(request: HttpRequest, name: str, columns: Columns, table: tables.Table) -> StreamingHttpResponse:
    """All rows of a page's table, sorted as its address says."""
    tables.RequestConfig(request, paginate=False).configure(table)
    return csv_download(name, columns, table.data.data)


def _lines(columns: Columns, rows: Iterable[Any], zone: tzinfo) -> Iterator[str]:
    line = csv.writer(_Line(), lineterminator="\r\n").writerow
    # Without the mark Excel takes UTF-8 for something else.
    yield f"\ufeff{line([title for title, _ in columns])}"
    for row in rows:
        yield line([harmless(_told(value(row), zone)) for _, value in columns])


def _told(value: object, zone: tzinfo) -> object:
    return value.astimezone(zone).isoformat(timespec="seconds") if isinstance(value, datetime) else value
