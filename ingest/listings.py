"""Lists of all findings: written to our disk while a check runs, kept with the epoch or trial, and read again."""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from django.conf import settings

from .core.findings import Finding, Tally
from .core.listing import Listing, rows_of, unpacked
from .models import Epoch, FindingList


@dataclass(frozen=True, slots=True)
class Spooled:
    """A packed list on our disk that nobody writes to any more, how many findings stand in it, and how many do not."""

    path: Path
    rows: int
    left_out: int


@contextmanager
def spooling(place: Path) -> Iterator[tuple[Listing, Path]]:
    """A list being written into a directory of ours, under a name that no other worker has. What fails leaves none."""
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = place / f"findings-{secrets.token_hex(8)}"
    try:
        with path.open("xb") as out:
            listing = Listing(out, settings.INGEST_FINDINGS_LISTED)
            try:
                yield listing, path
            finally:
                listing.release()
    except Exception:
        path.unlink(missing_ok=True)
        raise


def keep(epoch: Epoch, spooled: Spooled) -> None:
    """Keeps an epoch's list with its row, in place of an older one; a list of nothing is none."""
    FindingList.objects.filter(epoch=epoch).delete()
    if spooled.rows:
        told = {"rows": spooled.rows, "left_out": spooled.left_out}
        FindingList.objects.create(epoch=epoch, data=spooled.path.read_bytes(), **told)


def longer(epoch: Epoch, found: Iterable[Finding], tallies: Iterable[Tally]) -> FindingList:
    """The epoch's list with some findings more, as a row that is not saved; `tallies` count all."""
    out = BytesIO()
    listing = Listing(out, settings.INGEST_FINDINGS_LISTED)
    for one in found:
        listing.add(one)
    for row in rows_before(epoch):
        listing.add_row(row)
    kept = FindingList.objects.filter(epoch=epoch).first() or FindingList(epoch=epoch)
    kept.rows = listing.close(tallies)
    kept.left_out, kept.data = listing.left_out, out.getvalue()
    return kept


def rows_before(epoch: Epoch) -> Iterator[list[str]]:
    """The findings of an epoch's list, as rows of another; none if it has no list."""
    kept = FindingList.objects.filter(epoch=epoch).first()
    if kept is not None:
        yield from rows_of(BytesIO(kept.data))


def text(kept: FindingList) -> Iterator[bytes]:
    """A list as CSV, piece by piece."""
    return unpacked([bytes(kept.data)])
